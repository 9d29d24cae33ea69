//! `discodiff publish`: dumps into Kafka topics.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::exit::Exit;
use super::{open, output, stages};
use crate::settings::{DumpsFlags, Flags, Group, KafkaFlags, Key, Mistakes, MonitorFlags, OutputFlags, Settings, load};
use crate::sources::kafka::{Published, Publishing, publish};
use crate::telemetry::Measures;
use crate::telemetry::words::{count, duration};

const EXAMPLES: &str = "\
Examples:
  discodiff publish --dumps 2025-12 --brokers kafka:9092
      publish each record of the dumps to discogs.artists, discogs.labels and so on
  discodiff refresh --kafka --brokers kafka:9092 --state state
      apply what was published and is complete

An interrupted run goes on where it was: give the same command again. What was published
completely is not published again, unless --again says so or the file is another one.";

/// What `discodiff publish` takes.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = EXAMPLES)]
pub struct PublishArgs {
    /// The dumps.
    #[command(flatten)]
    pub dumps: DumpsFlags,
    /// The topics.
    #[command(flatten)]
    pub kafka: KafkaFlags,
    /// New topics.
    #[command(flatten)]
    pub new: NewTopicFlags,
    /// Publish anew what was published before
    #[arg(long)]
    pub again: bool,
    /// Settings file [default: DISCODIFF_CONFIG, else discodiff.toml in this folder, if it is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<std::path::PathBuf>,
    /// How it is watched.
    #[command(flatten)]
    pub monitor: MonitorFlags,
    /// What is printed.
    #[command(flatten)]
    pub output: OutputFlags,
}

/// How topics are made.
#[derive(Args, Clone, Debug, Default)]
pub struct NewTopicFlags {
    /// Partitions of topics that are made, 1 to 64; those that are there must have as many [default: 16]
    #[arg(long, value_name = "N", help_heading = "Kafka")]
    pub partitions: Option<String>,
}

impl Group for NewTopicFlags {
    fn put(&self, flags: &mut Flags) {
        flags.give(Key::Partitions, self.partitions.as_ref());
    }
}

impl PublishArgs {
    /// The settings, or everything that is wrong with them.
    pub fn settings(&self) -> Result<Settings, Mistakes> {
        let mut flags = Flags::of(&[&self.dumps, &self.kafka, &self.new, &self.monitor, &self.output]).needing(&[Key::Dumps, Key::Brokers]);
        flags.config.clone_from(&self.config);
        // A file that says where refresh reads from says nothing here.
        flags.give(Key::Kafka, Some("false"));
        load(&flags)
    }
}

/// Publishes, and says what came of it.
pub fn run(args: &PublishArgs, settings: &Settings, measures: &Arc<Measures>) -> anyhow::Result<Exit> {
    let request = Publishing {
        topics: settings.topics()?,
        partitions: settings.partitions,
        again: args.again,
        stop: Arc::clone(open::stop_requested()),
        progress: Arc::new(open::progress()),
        measures: Arc::clone(measures),
    };
    let published = publish(&request, settings.dumps_dir()?)?;
    drop(request);
    if settings.json {
        output::json(&published)?;
    } else {
        output::text(&(table(&published) + &stages::table(&published.stages, &published.waited)))?;
    }
    let mut exit = Exit::Complete;
    for (kind, publication) in &published.kinds {
        if let Some(defect) = &publication.defect {
            tracing::warn!("{kind}s: the dump was not read whole: {defect}. Deletes will be withheld where it is applied");
            exit = Exit::Incomplete;
        }
    }
    Ok(exit)
}

fn table(published: &Published) -> String {
    let mut text = format!("{} published in {}\n\n", published.snapshot, duration(Duration::from_secs_f64(published.seconds)));
    text += &format!("{:<10} {:>11} {:>11} {:>8} {:>11}  topic\n", "", "records", "published", "attempt", "partitions");
    for (kind, of) in &published.kinds {
        let (records, sent) = (count(of.records), count(of.published));
        let said = if of.published == 0 && of.records > 0 { ": it is there already, nothing was written" } else { "" };
        text += &format!("{:<10} {records:>11} {sent:>11} {:>8} {:>11}  {}{said}\n", kind.plural(), of.attempt, of.partitions, of.topic);
    }
    text
}
