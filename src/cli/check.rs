//! `discodiff check`: would a run go well?

use clap::Args;

use crate::settings::{DumpsFlags, Flags, Mistakes, OutputFlags, RunFlags, Settings, SinkFlags, StateFlags, load};

const EXAMPLES: &str = "\
Examples:
  discodiff check
      show the settings and where each came from, and try what they name
  discodiff check --dumps 2025-12 --state state --postgres postgresql://discogs@db/discogs
      are the files there, can the state be locked and written, does the server answer?

Only what is named is tried; nothing is written.";

/// What `discodiff check` takes.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = EXAMPLES)]
pub struct CheckArgs {
    /// The dumps.
    #[command(flatten)]
    pub dumps: DumpsFlags,
    /// The state.
    #[command(flatten)]
    pub state: StateFlags,
    /// The sinks.
    #[command(flatten)]
    pub sinks: SinkFlags,
    /// How the run goes.
    #[command(flatten)]
    pub run: RunFlags,
    /// What is printed.
    #[command(flatten)]
    pub output: OutputFlags,
}

impl CheckArgs {
    /// The settings, or everything that is wrong with them.
    pub fn settings(&self) -> Result<Settings, Mistakes> {
        load(&Flags::of(&[&self.dumps, &self.state, &self.sinks, &self.run, &self.output]))
    }
}
