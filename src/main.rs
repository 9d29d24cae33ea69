//! The program; everything is in the library.

use std::process::ExitCode;

use clap::Parser;
use discodiff::cli::{self, Cli, panics};
use discodiff::disk;

fn main() -> ExitCode {
    panics::end_the_process();
    disk::outlive_limits();
    // FAILPOINTS in the environment says where the run is to fail.
    #[cfg(feature = "failpoints")]
    let _scenario = fail::FailScenario::setup();
    cli::run(&Cli::parse())
}
