//! `discodiff verify`: sinks against the state, from content.

use std::io::IsTerminal;

use clap::Args;
use serde_json::json;

use super::exit::Exit;
use super::{open, output};
use crate::sinks::Access;
use crate::telemetry::words::count;
use crate::telemetry::{Progress, Style};
use crate::verify::{Differences, Named, total, verify};

use crate::settings::{Flags, KafkaFlags, Key, Mistakes, OutputFlags, Settings, SinkFlags, StateFlags, load};

const EXAMPLES: &str = "\
Examples:
  discodiff verify --state state
      read every document of state/discodiff.sqlite back and compare it with the state
  discodiff verify --state state --postgres postgresql://discogs@db/discogs --json
      the same for PostgreSQL, as JSON
  discodiff verify --state state --neo4j bolt://neo4j@db --neo4j-password-file password
      every node and relationship of the graph

Digests are recomputed from what is stored; a stored hash is not believed. Exit status 1 when
anything differs. A feed holds changes and no state, so it is left out.";

/// What `discodiff verify` takes.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = EXAMPLES)]
pub struct VerifyArgs {
    /// The state.
    #[command(flatten)]
    pub state: StateFlags,
    /// The topics.
    #[command(flatten)]
    pub kafka: KafkaFlags,
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
        load(&Flags::of(&[&self.state, &self.kafka, &self.sinks, &self.output]).needing(&[Key::State]))
    }
}

/// Compares, and names what differs.
pub fn run(settings: &Settings) -> anyhow::Result<Exit> {
    let mut sinks = open::sinks(settings, Access::Read)?;
    if sinks.iter().all(|sink| sink.holds().is_feed()) {
        anyhow::bail!("no store is named: verify compares --sqlite, --postgres, --document-topics and --neo4j with the state");
    }
    let verified = verify(settings.state_dir()?, &mut sinks, &Progress::new(Style::of(false, std::io::stderr().is_terminal())))?;
    let differences = total(&verified);
    if settings.json {
        output::json(&json!({ "equal": differences == 0, "sinks": verified }))?;
    } else {
        let mut text = String::new();
        for (sink, store) in &verified {
            let is_graph = !store.relations.is_empty();
            for (kind, found) in &store.kinds {
                let what = if is_graph { format!("{kind} nodes") } else { kind.plural().to_owned() };
                describe(&mut text, sink, &what, kind.name(), found);
            }
            for (label, found) in &store.names {
                describe(&mut text, sink, &format!("{label} nodes"), label, found);
            }
            for (relation, found) in &store.relations {
                describe(&mut text, sink, &format!("{relation} relationships"), "", found);
            }
        }
        output::text(&text)?;
    }
    Ok(if differences == 0 { Exit::Complete } else { Exit::Failed })
}

/// How many differences of one sort are shown; a store that is behind has thousands.
const SHOWN: usize = 20;

fn describe(text: &mut String, sink: &str, what: &str, one: &str, found: &Differences) {
    *text += &match found.is_empty() {
        true => format!("{sink}: {} {what} equal the state\n", count(found.records)),
        false => format!(
            "{sink}: of {} {what} in the state {} differ, {} are missing, {} are not in the state\n",
            count(found.records),
            count(found.differ),
            count(found.missing),
            count(found.extra)
        ),
    };
    for Named { id, what } in found.named.iter().take(SHOWN) {
        let space = if one.is_empty() { "" } else { " " };
        *text += &format!("  {one}{space}{id}: {what}\n");
    }
    let unshown = found.named.len().saturating_sub(SHOWN) as u64 + found.unnamed();
    if unshown > 0 {
        *text += &format!("  and {} more; --json names up to a thousand\n", count(unshown));
    }
}
