//! `discodiff man`: the help as man pages.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;
use time::OffsetDateTime;

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
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let today = OffsetDateTime::now_utc().date().to_string();
    let written = fs::create_dir_all(dir).and_then(|()| write(&command, &today, dir));
    written.map_err(|error| {
        let what = format!("cannot write man pages to {}{}", dir.display(), disk::advice(&error));
        anyhow::Error::new(error).context(what)
    })?;
    Ok(Exit::Complete)
}

/// A page for the command, and for each below it. Without a date, its readers would take what follows for one.
fn write(command: &Command, date: &str, dir: &Path) -> io::Result<()> {
    command.get_subcommands().try_for_each(|sub| write(sub, date, dir))?;
    let page = Man::new(command.clone()).date(date).source(concat!("discodiff ", env!("CARGO_PKG_VERSION")));
    let mut text = Vec::new();
    page.render(&mut text)?;
    fs::write(dir.join(page.get_filename()), text)
}
