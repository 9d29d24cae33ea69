//! `discodiff refresh`: the main job.

use clap::Args;

use super::exit::Exit;
use super::publish::NewTopicFlags;
use super::{open, output, report};
use crate::refresh::{Refreshed, refresh, refresh_topics};
use crate::sinks::Access;

use crate::settings::{DumpsFlags, Flags, Group, KafkaFlags, Key, Mistakes, OutputFlags, RunFlags, Settings, SinkFlags, StateFlags, load};

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
  discodiff refresh --dumps 2025-12 --state state --brokers kafka:9092 \
      --feed kafka:discogs.changes --document-topics discogs.documents
      keep Kafka topics: each change as a message, and each document under its id
  discodiff refresh --kafka --brokers kafka:9092 --state state
      apply each month that was published completely and not applied yet
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
    /// Dumps from topics.
    #[command(flatten)]
    pub from: FromFlags,
    /// The topics.
    #[command(flatten)]
    pub kafka: KafkaFlags,
    /// New topics.
    #[command(flatten)]
    pub new: NewTopicFlags,
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

/// Whether dumps come from topics.
#[derive(Args, Clone, Debug, Default)]
pub struct FromFlags {
    /// Read the dumps that were published to Kafka topics, instead of a folder: all months that are complete, then end
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true, help_heading = "Kafka")]
    pub kafka: Option<String>,
}

impl Group for FromFlags {
    fn put(&self, flags: &mut Flags) {
        flags.give(Key::Kafka, self.kafka.as_ref());
    }
}

impl RefreshArgs {
    /// The settings, or everything that is wrong with them.
    pub fn settings(&self) -> Result<Settings, Mistakes> {
        let groups: [&dyn Group; 8] = [&self.dumps, &self.from, &self.kafka, &self.new, &self.state, &self.sinks, &self.run, &self.output];
        load(&Flags::of(&groups).needing(&[Key::State]).needing_dumps())
    }
}

/// Applies the month, and says what it came to.
pub fn run(settings: &Settings) -> anyhow::Result<Exit> {
    let request = open::request(settings)?;
    let mut all = if settings.kafka {
        refresh_topics(&request, &settings.topics()?, || open::sinks(settings, Access::Write))?
    } else {
        vec![refresh(&request, settings.dumps_dir()?, || open::sinks(settings, Access::Write))?]
    };
    drop(request);
    if all.is_empty() {
        all.push(Refreshed::default());
    }
    if settings.json {
        match &all[..] {
            [one] => output::json(&one.report)?,
            all => output::json(&all.iter().map(|one| &one.report).collect::<Vec<_>>())?,
        }
    } else {
        all.iter().try_for_each(|one| output::text(&report::table(one)))?;
    }
    let mut exit = Exit::Complete;
    for refreshed in &all {
        for (sink, kind) in &refreshed.notes.brought_up {
            tracing::info!("{sink} was new or behind: its {} were brought up in this run", kind.plural());
        }
        report::notes(&refreshed.notes).iter().for_each(|note| tracing::warn!("{note}"));
        if report::exit(refreshed) != Exit::Complete {
            exit = Exit::Incomplete;
        }
    }
    Ok(exit)
}
