//! `discodiff dead-letters retry`.

use std::sync::Arc;

use clap::Args;

use crate::cli::exit::Exit;
use crate::cli::open;
use crate::cli::publish::NewTopicFlags;
use crate::cli::refresh::{Reports, apply, from_files};
use crate::refresh::{From, Selection};
use crate::settings::{
    DumpsFlags, Flags, Group, KafkaFlags, Key, MonitorFlags, OutputFlags, RecoveryFlags, RunFlags, Settings, SinkFlags, StateFlags,
};
use crate::telemetry::Measures;

const EXAMPLES: &str = "\
Examples:
  discodiff dead-letters retry --dumps 2025-12 --state state
      read once more what was rejected, after discodiff was upgraded or the store's rule was changed
  discodiff dead-letters retry --kafka --brokers kafka:9092 --state state \\
      --postgres postgresql://discogs@db/discogs
      the same from the topics that the month was published to

The dumps are those that were applied last: whether a rejected copy of a record counts depends on
the others beside it. Kinds of which nothing was rejected are not read, and what is as it was is not
written. Name the sinks as for refresh. What is rejected again stays open, with exit status 3.";

/// What `discodiff dead-letters retry` takes.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = EXAMPLES)]
pub struct RetryArgs {
    /// The dumps.
    #[command(flatten)]
    pub dumps: DumpsFlags,
    /// Read the dumps that were published to Kafka topics, instead of a folder
    #[arg(long, conflicts_with = "dumps", help_heading = "Kafka")]
    pub kafka: bool,
    /// The topics.
    #[command(flatten)]
    pub topics: KafkaFlags,
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
    /// How it can be taken up.
    #[command(flatten)]
    pub recovery: RecoveryFlags,
    /// How it is watched.
    #[command(flatten)]
    pub monitor: MonitorFlags,
    /// What is printed.
    #[command(flatten)]
    pub output: OutputFlags,
}

impl RetryArgs {
    /// The flags that were given.
    pub fn flags(&self) -> Flags {
        let groups: [&dyn Group; 9] =
            [&self.dumps, &self.topics, &self.new, &self.state, &self.sinks, &self.run, &self.recovery, &self.monitor, &self.output];
        let mut flags = Flags::of(&groups).needing(&[Key::State]).needing_dumps();
        flags.give(Key::Kafka, self.kafka.then_some("true"));
        flags
    }
}

/// Applies what was applied last once more, as far as something of it was rejected.
pub fn run(settings: &Settings, measures: &Arc<Measures>) -> anyhow::Result<Exit> {
    let mut request = open::request(settings, measures)?;
    request.allowed.retry = true;
    if settings.kafka {
        return apply(request, settings, Reports::Object, |topics| topics.once(&Selection { from: From::Last, to: None }));
    }
    from_files(request, settings, settings.dumps_dir()?)
}
