//! `discodiff plan`: what a refresh would do.

use clap::Args;

use crate::settings::{DumpsFlags, Flags, Key, Mistakes, OutputFlags, RunFlags, Settings, StateFlags, StoreFlags, load};

const EXAMPLES: &str = "\
Examples:
  discodiff plan --dumps 2026-01 --state state
      count what would be inserted, updated and deleted, and what the delete guard would say
  discodiff plan --dumps 2026-01 --state state --sqlite state/discodiff.sqlite --json
      the same with the fields that change, as JSON

Nothing is written, neither to the state nor to any store.";

/// What `discodiff plan` takes.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = EXAMPLES)]
pub struct PlanArgs {
    /// The dumps.
    #[command(flatten)]
    pub dumps: DumpsFlags,
    /// The state.
    #[command(flatten)]
    pub state: StateFlags,
    /// The document store that is asked which fields changed.
    #[command(flatten)]
    pub stores: StoreFlags,
    /// How the run goes.
    #[command(flatten)]
    pub run: RunFlags,
    /// What is printed.
    #[command(flatten)]
    pub output: OutputFlags,
}

impl PlanArgs {
    /// The settings, or everything that is wrong with them.
    pub fn settings(&self) -> Result<Settings, Mistakes> {
        let mut settings =
            load(&Flags::of(&[&self.dumps, &self.state, &self.stores, &self.run, &self.output]).needing(&[Key::Dumps, Key::State]))?;
        // One store is enough to ask for fields. Where several are named, that of the strongest layer is asked, else PostgreSQL.
        if settings.sqlite.is_some() && settings.postgres.is_some() {
            if settings.origin(Key::Sqlite) > settings.origin(Key::Postgres) {
                settings.postgres = None;
            } else {
                settings.sqlite = None;
            }
        }
        Ok(settings)
    }
}
