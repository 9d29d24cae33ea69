//! `discodiff plan`: what a refresh would do.

use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::exit::Exit;
use super::{open, output, report};
use crate::refresh::foresee;
use crate::sinks::Access;
use crate::telemetry::Measures;

use crate::settings::{DumpsFlags, FeedPlace, Flags, Key, Mistakes, OutputFlags, RunFlags, Settings, StateFlags, StoreFlags, load};

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
        // One store is enough to ask for fields.
        settings.keep_one_with_tables();
        // A plan takes no brokers: where none are known, it looks away from what is in topics.
        if settings.brokers.is_none() {
            settings.document_topics = None;
            settings.feed = settings.feed.filter(|feed| matches!(feed, FeedPlace::File(_)));
        }
        Ok(settings)
    }
}

/// Looks, and says what a refresh would do.
pub fn run(settings: &Settings, measures: &Arc<Measures>) -> anyhow::Result<Exit> {
    let request = open::request(settings, measures)?;
    // A store that a refresh would refuse is not needed to count what changes.
    let sinks = match open::second_store(settings)? {
        None => open::sinks(settings, Access::Read)?,
        Some(words) => {
            tracing::info!("a refresh would not begin: {words}");
            Vec::new()
        }
    };
    let foreseen = foresee(&request, settings.dumps_dir()?, sinks)?;
    drop(request);
    if settings.json {
        let withheld: Vec<_> = foreseen.refreshed.notes.withheld.iter().collect();
        let mut object = serde_json::to_value(&foreseen.refreshed.report)?;
        // Said of what was done.
        for said in ["stages", "waited"] {
            object.as_object_mut().and_then(|object| object.remove(said));
        }
        object["samples"] = serde_json::to_value(&foreseen.samples)?;
        object["fields"] = serde_json::to_value(&foreseen.fields)?;
        object["withheld"] = withheld.iter().map(|(kind, number, why)| json!({"kind": kind, "deletes": number, "why": why})).collect();
        output::json(&object)?;
    } else {
        let table = report::table(&foreseen.refreshed).replacen(" applied in ", " would be applied; looked at in ", 1);
        output::text(&(table + &report::foreseen(&foreseen)))?;
    }
    for (sink, kind) in &foreseen.refreshed.notes.brought_up {
        tracing::info!("{sink} is new or behind: a refresh would bring its {} up", kind.plural());
    }
    report::notes(&foreseen.refreshed.notes).iter().for_each(|note| tracing::warn!("{note}"));
    Ok(report::exit(&foreseen.refreshed))
}
