//! `discodiff status`: what was applied, and where the sinks stand.

use clap::Args;

use crate::settings::{Flags, Key, Mistakes, OutputFlags, Settings, SinkFlags, StateFlags, load};

const EXAMPLES: &str = "\
Examples:
  discodiff status --state state
      months applied, the checkpoint, records of each kind, and where each sink stands
  discodiff status --state state --json | jq .sinks";

/// What `discodiff status` takes.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = EXAMPLES)]
pub struct StatusArgs {
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

impl StatusArgs {
    /// The settings, or everything that is wrong with them.
    pub fn settings(&self) -> Result<Settings, Mistakes> {
        load(&Flags::of(&[&self.state, &self.sinks, &self.output]).needing(&[Key::State]))
    }
}
