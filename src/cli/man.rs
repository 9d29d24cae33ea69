//! `discodiff man`: the help as man pages.

use std::fs;
use std::path::PathBuf;

use clap::{Args, CommandFactory};

use super::Cli;
use super::exit::Exit;
use crate::disk;

const EXAMPLES: &str = "\
Examples:
  discodiff man ~/.local/share/man/man1
      then `man discodiff`, `man discodiff-refresh`, `man discodiff-dead-letters-list`
  discodiff man . && man -l discodiff-refresh.1
      read one without installing it";

/// What `discodiff man` takes.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ManArgs {
    /// Folder to write to; made where it is not there, pages of the same name are replaced
    pub dir: PathBuf,
}

/// Writes the pages.
pub fn run(args: &ManArgs) -> anyhow::Result<Exit> {
    let dir = &args.dir;
    let written = fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(Cli::command().disable_help_subcommand(true), dir));
    written.map_err(|error| {
        let what = format!("cannot write man pages to {}{}", dir.display(), disk::advice(&error));
        anyhow::Error::new(error).context(what)
    })?;
    Ok(Exit::Complete)
}
