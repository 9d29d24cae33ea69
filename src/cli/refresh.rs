//! `discodiff refresh`: the main job.

use clap::Args;

use super::exit::Exit;
use super::{open, output, report};
use crate::refresh::refresh;
use crate::sinks::Access;

use crate::settings::{DumpsFlags, Flags, Key, Mistakes, OutputFlags, RunFlags, Settings, SinkFlags, StateFlags, load};

const EXAMPLES: &str = "\
Examples:
  discodiff refresh --dumps 2025-12 --state state
      bring state/discodiff.sqlite to that month; the first time, load all of it
  discodiff refresh --dumps 2025-12 --state state -w 4 --feed changes.jsonl \\
      --postgres postgresql://discogs@db:5432/discogs --postgres-password-file /run/secrets/discogs
      bring PostgreSQL to it with four workers, and add each change to a file
  discodiff refresh --dumps 2025-12 --state state \\
      --neo4j bolt://neo4j@db:7687 --neo4j-password-file /run/secrets/neo4j
      bring the graph of all records in Neo4j to it
  discodiff refresh --dumps 2025-12 --state state --allow-deletes
      take the deletes that the run before withheld and told of (exit status 3)

An interrupted run is made good by the same command, which reads the month again. A sink that is
new or was left behind is brought up in the same run. Always give the same --state: it is what the
month is compared with.";

/// What `discodiff refresh` takes.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = EXAMPLES)]
pub struct RefreshArgs {
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

impl RefreshArgs {
    /// The settings, or everything that is wrong with them.
    pub fn settings(&self) -> Result<Settings, Mistakes> {
        load(&Flags::of(&[&self.dumps, &self.state, &self.sinks, &self.run, &self.output]).needing(&[Key::Dumps, Key::State]))
    }
}

/// Applies the month, and says what it came to.
pub fn run(settings: &Settings) -> anyhow::Result<Exit> {
    let request = open::request(settings, settings.dumps_dir()?)?;
    let refreshed = refresh(&request, || open::sinks(settings, Access::Write))?;
    drop(request);
    if settings.json {
        output::json(&refreshed.report)?;
    } else {
        output::text(&report::table(&refreshed))?;
    }
    for (sink, kind) in &refreshed.notes.brought_up {
        tracing::info!("{sink} was new or behind: its {} were brought up in this run", kind.plural());
    }
    report::notes(&refreshed.notes).iter().for_each(|note| tracing::warn!("{note}"));
    Ok(report::exit(&refreshed))
}
