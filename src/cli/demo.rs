//! `discodiff demo`: two small months that are built in.

use clap::Args;

use crate::settings::{Flags, Key, Mistakes, Origin, OutputFlags, Settings, StateFlags, load};

const EXAMPLES: &str = "\
Examples:
  discodiff demo
      apply both months to SQLite in a folder of their own, discodiff-demo, and show what changed
  discodiff demo --state somewhere --json";

/// What `discodiff demo` takes.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = EXAMPLES)]
pub struct DemoArgs {
    /// The state.
    #[command(flatten)]
    pub state: StateFlags,
    /// What is printed.
    #[command(flatten)]
    pub output: OutputFlags,
}

impl DemoArgs {
    /// The settings, or everything that is wrong with them.
    pub fn settings(&self) -> Result<Settings, Mistakes> {
        let mut flags = Flags::of(&[&self.state, &self.output]);
        // The demo is the same everywhere and touches nothing of anyone's: sinks and a state named elsewhere are not for it.
        flags.give(Key::Null, Some("true"));
        let mut settings = load(&flags)?;
        (settings.null, settings.dumps) = (false, None);
        if settings.origin(Key::State) != Origin::Flag {
            settings.state = Some("discodiff-demo".into());
        }
        Ok(settings)
    }
}
