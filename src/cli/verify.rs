//! `discodiff verify`: sinks against the state, from content.

use clap::Args;

use crate::settings::{Flags, Key, Mistakes, OutputFlags, Settings, SinkFlags, StateFlags, load};

const EXAMPLES: &str = "\
Examples:
  discodiff verify --state state
      read every document of state/discodiff.sqlite back and compare it with the state
  discodiff verify --state state --postgres postgresql://discogs@db/discogs --json
      the same for PostgreSQL, as JSON

Digests are recomputed from the stored documents; a stored hash is not believed. Exit status 1 when
anything differs. A feed holds changes and no state, so it is left out.";

/// What `discodiff verify` takes.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = EXAMPLES)]
pub struct VerifyArgs {
    /// The state.
    #[command(flatten)]
    pub state: StateFlags,
    /// The sinks.
    #[command(flatten)]
    pub sinks: SinkFlags,
    /// What is printed.
    #[command(flatten)]
    pub output: OutputFlags,
}

impl VerifyArgs {
    /// The settings, or everything that is wrong with them.
    pub fn settings(&self) -> Result<Settings, Mistakes> {
        load(&Flags::of(&[&self.state, &self.sinks, &self.output]).needing(&[Key::State]))
    }
}
