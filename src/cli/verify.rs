//! `discodiff verify`: sinks against the state, from content.

use clap::Args;
use serde_json::json;

use super::exit::Exit;
use super::{open, output};
use crate::sinks::{Access, Holds};
use crate::telemetry::words::count;
use crate::verify::{total, verify};

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

/// Compares, and names what differs.
pub fn run(settings: &Settings) -> anyhow::Result<Exit> {
    let mut sinks = open::sinks(settings, Access::Read)?;
    if sinks.iter().all(|sink| sink.holds() == Holds::Changes) {
        anyhow::bail!("no document store is named: verify compares --sqlite and --postgres with the state");
    }
    let verified = verify(settings.state_dir()?, &mut sinks)?;
    let differences = total(&verified);
    if settings.json {
        output::json(&json!({ "equal": differences == 0, "sinks": verified }))?;
    } else {
        let mut text = String::new();
        for (sink, store) in &verified {
            for (kind, found) in &store.kinds {
                text += &match found.is_empty() {
                    true => format!("{sink}: {} {} equal the state\n", count(found.records), kind.plural()),
                    false => format!(
                        "{sink}: of {} {} in the state {} differ, {} are missing, {} are not in the state\n",
                        count(found.records),
                        kind.plural(),
                        count(found.differ),
                        count(found.missing),
                        count(found.extra)
                    ),
                };
                found.named.iter().for_each(|named| text += &format!("  {kind} {}: {}\n", named.id, named.what));
                let unnamed = found.differ + found.missing + found.extra - found.named.len() as u64;
                if unnamed > 0 {
                    text += &format!("  and {} more\n", count(unnamed));
                }
            }
        }
        output::text(&text)?;
    }
    Ok(if differences == 0 { Exit::Complete } else { Exit::Failed })
}
