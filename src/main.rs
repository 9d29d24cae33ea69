//! The program; everything is in the library.

use std::process::ExitCode;

use clap::Parser;
use discodiff::cli::{self, Cli, panics};

fn main() -> ExitCode {
    panics::end_the_process();
    cli::run(&Cli::parse())
}
