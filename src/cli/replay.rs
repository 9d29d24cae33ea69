//! `discodiff replay`: sinks from topics.

use std::sync::Arc;

use clap::Args;
use time::format_description::well_known::Rfc3339;
use time::{Date, OffsetDateTime, macros::format_description};

use super::exit::Exit;
use super::open;
use super::publish::NewTopicFlags;
use super::refresh::{Reports, apply};
use crate::model::Kind;
use crate::refresh::{From, Selection};
use crate::settings::{
    Flags, Group, KafkaFlags, Key, Mistakes, MonitorFlags, OutputFlags, RecoveryFlags, RunFlags, Settings, SinkFlags, StateFlags, load,
};
use crate::telemetry::Measures;

const EXAMPLES: &str = "\
Examples:
  discodiff replay --brokers kafka:9092 --state state --postgres postgresql://discogs@db/discogs
      a PostgreSQL that was lost, or is new: bring it to what the state holds; other sinks stay as
      they are, and the state too
  discodiff replay --brokers kafka:9092 --state other --sqlite other.sqlite --from earliest
      a new state and a new store: apply all months that are in the topics, one after the other
  discodiff replay --brokers kafka:9092 --state other --sqlite other.sqlite \\
      --from-snapshot 2025-11 --to-snapshot 2026-01
      the same with these months only
  discodiff replay --brokers kafka:9092 --state other --sqlite other.sqlite --to-snapshot 2025-12
      only that month, as if it were the first

What a state holds is never applied to it again: sinks that lack it are brought up from it. For
going through months again, name a new state and new stores. An interrupted replay is made good by
the same command. Months whose records have expired in the topics are an error, told before
anything is written.";

/// What `discodiff replay` takes.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = EXAMPLES)]
pub struct ReplayArgs {
    /// Where to begin.
    #[command(flatten)]
    pub from: FromFlags,
    /// The last month to apply [default: the newest that is complete; without --from, of kinds that the state holds, that]
    #[arg(long, value_name = "MONTH", value_parser = month)]
    pub to_snapshot: Option<String>,
    /// The topics.
    #[command(flatten)]
    pub kafka: KafkaFlags,
    /// Topics that sinks write to.
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

/// Where a replay begins: at most one of these.
#[derive(Args, Clone, Debug, Default)]
#[group(multiple = false)]
pub struct FromFlags {
    /// Begin with the first month that was published [default: only the last one is applied]
    #[arg(long, value_name = "earliest", value_parser = ["earliest"], hide_possible_values = true)]
    pub from: Option<String>,
    /// Begin with this month, as 2025-11
    #[arg(long, value_name = "MONTH", value_parser = month)]
    pub from_snapshot: Option<String>,
    /// Begin with the snapshot that holds this offset: releases:3=120000 is offset 120000 of partition 3 of discogs.releases
    #[arg(long, value_name = "KIND:PARTITION=OFFSET", value_parser = offset)]
    pub from_offset: Option<From>,
    /// Begin with what was complete at this time or later: 2025-11-03, or 2025-11-03T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = timestamp)]
    pub from_timestamp: Option<i64>,
}

impl ReplayArgs {
    /// The settings, or everything that is wrong with them.
    pub fn settings(&self) -> Result<Settings, Mistakes> {
        let groups: [&dyn Group; 8] =
            [&self.kafka, &self.new, &self.state, &self.sinks, &self.run, &self.recovery, &self.monitor, &self.output];
        let mut flags = Flags::of(&groups).needing(&[Key::State, Key::Brokers]);
        // Whatever a file says for refresh: it is read from topics.
        flags.give(Key::Kafka, Some("true"));
        let settings = load(&flags)?;
        let mut mistakes = Mistakes::default();
        settings.check_sinks(&mut mistakes);
        if mistakes.is_empty() { Ok(settings) } else { Err(mistakes) }
    }

    fn selection(&self) -> Selection {
        let FromFlags { from, from_snapshot, from_offset, from_timestamp } = &self.from;
        let from = match (from, from_snapshot, from_offset, from_timestamp) {
            (_, Some(month), ..) => From::Snapshot(month.clone()),
            (_, _, Some(offset), _) => offset.clone(),
            (.., Some(time)) => From::Time(*time),
            (Some(_), ..) => From::Earliest,
            _ => From::Last,
        };
        Selection { from, to: self.to_snapshot.clone() }
    }
}

/// Applies the snapshots that were asked for, and says what each came to.
pub fn run(args: &ReplayArgs, settings: &Settings, measures: &Arc<Measures>) -> anyhow::Result<Exit> {
    apply(open::request(settings, measures)?, settings, Reports::List, |topics| topics.once(&args.selection()))
}

fn month(text: &str) -> Result<String, String> {
    let words = || format!("{text} is no month such as 2025-11");
    let (year, month) = text.split_once('-').ok_or_else(words)?;
    let digits = |part: &str, length| part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit());
    let in_year = month.parse().is_ok_and(|month: u8| (1..=12).contains(&month));
    if digits(year, 4) && digits(month, 2) && in_year { Ok(text.to_owned()) } else { Err(words()) }
}

fn offset(text: &str) -> Result<From, String> {
    let parse = || {
        let (place, offset) = text.split_once('=')?;
        let (kind, partition) = place.split_once(':')?;
        let kind = Kind::ALL.into_iter().find(|of| of.plural() == kind)?;
        Some(From::Offset { kind, partition: partition.parse().ok()?, offset: offset.parse().ok().filter(|offset| *offset >= 0)? })
    };
    parse()
        .ok_or_else(|| format!("{text} is no offset such as releases:3=120000 (artists, labels, masters or releases; partition; offset)"))
}

fn timestamp(text: &str) -> Result<i64, String> {
    let day = || Date::parse(text, format_description!("[year]-[month]-[day]")).ok().map(|date| date.midnight().assume_utc());
    let time = OffsetDateTime::parse(text, &Rfc3339).ok().or_else(day);
    let time = time.ok_or_else(|| format!("{text} is no time such as 2025-11-03 or 2025-11-03T12:00:00Z"))?;
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).map_err(|error| error.to_string())
}
