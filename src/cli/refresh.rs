//! `discodiff refresh`: the main job.

use std::ops::ControlFlow::{Break, Continue};
use std::path::Path;
use std::sync::Arc;

use clap::Args;

use super::exit::Exit;
use super::publish::NewTopicFlags;
use super::{cluster, fetch, open, output, report, stages};
use crate::refresh::{FromTopics, Refreshed, Report, Request, Selection, refresh, refresh_if_held};
use crate::sinks::Access;
use crate::sources::kafka::Until;
use crate::telemetry::Measures;

use crate::settings::{
    ClusterFlags, DumpsFlags, FeedPlace, FetchFlags, Flags, Group, KafkaFlags, Key, Mistakes, MonitorFlags, OutputFlags, RecoveryFlags,
    RunFlags, Settings, SinkFlags, StateFlags, load,
};

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
  discodiff refresh --dumps 2025-12 --state state --brokers kafka:9092 \\
      --feed kafka:discogs.changes --document-topics discogs.documents
      keep Kafka topics: each change as a message, and each document under its id
  discodiff refresh --fetch --dumps dumps --state state
      get the newest month from Discogs into dumps/2026-01, or whichever it is, and bring
      state/discodiff.sqlite to it; where it was applied already, do nothing: for a timer
  discodiff refresh --kafka --brokers kafka:9092 --state state
      apply each month that was published completely and not applied yet
  discodiff refresh --kafka --brokers kafka:9092 --state state --follow
      the same, and then each month that comes, until Ctrl-C or SIGTERM
  discodiff refresh --kafka --brokers kafka:9092 --topic-prefix theirs --state state --until now
      apply what another program has published to theirs.artists and so on; nothing is deleted
  discodiff refresh --kafka --brokers kafka:9092 --state /shared/state --null \\
      --processes 3 --process 0 --hostfile hosts
      the same by three processes, here the first: the others are given --process 1 and 2
  discodiff refresh --dumps 2025-12 --state state --listen 9599 --metrics-file refresh.prom
      be watched: http://127.0.0.1:9599/metrics, /health and /ready while it runs, the file after it
  discodiff refresh --dumps 2025-12 --state state --allow-deletes
      take the deletes that the run before withheld and told of (exit status 3)

An interrupted run is made good by the same command, which goes on at its last checkpoint. A sink
that is new or was left behind is brought up in the same run. Always give the same --state: it is
what the month is compared with.";

/// What `discodiff refresh` takes.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = EXAMPLES)]
pub struct RefreshArgs {
    /// The dumps.
    #[command(flatten)]
    pub dumps: DumpsFlags,
    /// Dumps from Discogs.
    #[command(flatten)]
    pub fetch: FetchFirstFlags,
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
    /// With which other processes.
    #[command(flatten)]
    pub cluster: ClusterFlags,
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

/// Whether dumps are fetched first.
#[derive(Args, Clone, Debug, Default)]
pub struct FetchFirstFlags {
    /// First get the newest month that is complete at Discogs, unless it was applied: --dumps then names the folder above those of the months
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub fetch: Option<String>,
    /// Where from.
    #[command(flatten)]
    pub from: FetchFlags,
}

impl Group for FetchFirstFlags {
    fn put(&self, flags: &mut Flags) {
        flags.give(Key::Fetch, self.fetch.as_ref());
        self.from.put(flags);
    }
}

/// Whether dumps come from topics.
#[derive(Args, Clone, Debug, Default)]
pub struct FromFlags {
    /// Read the dumps that were published to Kafka topics, instead of a folder: all months that are complete, then end
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true, help_heading = "Kafka")]
    pub kafka: Option<String>,
    /// Stay, and apply each month as soon as all of it was published; --json prints a line for each
    #[arg(long, help_heading = "Kafka")]
    pub follow: bool,
    /// Topics that another program fills, without markers: read each partition to what is there now, or to this offset; nothing is deleted
    #[arg(long, value_name = "now|OFFSET", value_parser = until, conflicts_with = "follow", help_heading = "Kafka")]
    pub until: Option<Until>,
}

impl Group for FromFlags {
    fn put(&self, flags: &mut Flags) {
        flags.give(Key::Kafka, self.kafka.as_ref());
    }
}

impl RefreshArgs {
    /// The settings, or everything that is wrong with them.
    pub fn settings(&self) -> Result<Settings, Mistakes> {
        self.needing(&[Key::State])
    }

    /// Likewise, where these settings are needed.
    pub fn needing(&self, needed: &[Key]) -> Result<Settings, Mistakes> {
        let groups: [&dyn Group; 12] = [
            &self.dumps,
            &self.fetch,
            &self.from,
            &self.kafka,
            &self.new,
            &self.state,
            &self.sinks,
            &self.run,
            &self.cluster,
            &self.recovery,
            &self.monitor,
            &self.output,
        ];
        let mut settings = load(&Flags::of(&groups).needing(needed).needing_dumps())?;
        cluster::settle(&mut settings);
        let mut mistakes = Mistakes::default();
        for flag in [self.from.follow.then_some("--follow"), self.from.until.map(|_| "--until")].into_iter().flatten() {
            if !settings.kafka {
                mistakes.add(flag, "is said of topics, and dumps are read from a folder here: say --kafka and --brokers, or leave it out");
            }
        }
        if self.from.until.is_some() && settings.processes > 1 {
            mistakes.add("--until", "reads topics that another program fills, as one process alone can: leave out --processes");
        }
        settings.check_sinks(&mut mistakes);
        let files = [(Key::Sqlite, settings.sqlite_file().is_some()), (Key::Feed, matches!(settings.feed, Some(FeedPlace::File(_))))];
        for (key, _) in files.into_iter().filter(|(_, named)| *named && settings.processes > 1) {
            let words = "is a file that one process writes, and several were asked for: name servers or topics, or no sink at all (--null)";
            mistakes.add(settings.origin(key).place(key), words);
        }
        if mistakes.is_empty() { Ok(settings) } else { Err(mistakes) }
    }
}

/// Applies the month, or those that are in the topics, and says what each came to.
pub fn run(args: &RefreshArgs, settings: &Settings, measures: &Arc<Measures>) -> anyhow::Result<Exit> {
    let waiting = measures.waits().within("processes");
    let request = Request { cluster: cluster::assemble(settings)?, ..open::request(settings, measures)? };
    drop(waiting);
    cluster::together(request, settings, |request| applied(args, request, settings))
}

fn applied(args: &RefreshArgs, request: Request, settings: &Settings) -> anyhow::Result<Exit> {
    if settings.kafka {
        let reports = if args.from.follow { Reports::Lines } else { Reports::Object };
        return apply(request, settings, reports, |topics| match args.from.until {
            Some(until) => topics.until(until),
            None if args.from.follow => topics.follow(),
            None => topics.once(&Selection::default()),
        });
    }
    if settings.fetch {
        return fetched(request, settings);
    }
    from_files(request, settings, settings.dumps_dir()?)
}

/// Applies the newest month that is offered, fetched before where the state or a sink lacks it.
fn fetched(request: Request, settings: &Settings) -> anyhow::Result<Exit> {
    let measures = Arc::clone(&request.measures);
    let fetched = fetch::fetching(settings, &measures, |fetcher| {
        let offered = fetcher.newest()?;
        let held = refresh_if_held(&request, fetcher.snapshot(&offered), || open::sinks(settings, Access::Write))?;
        held.map_or_else(|| Ok(Continue(fetcher.take(offered)?)), |refreshed| Ok(Break(refreshed)))
    })?;
    let fetched = match fetched {
        Break(refreshed) => {
            drop(request);
            return told_all(&refreshed, settings);
        }
        Continue(fetched) => fetched,
    };
    if !settings.json {
        output::text(&(fetch::table(&fetched) + "\n"))?;
    }
    let refreshed = refresh(&request, &fetched.folder, || open::sinks(settings, Access::Write))?;
    drop(request);
    let report = Report { fetched: Some(fetched), ..refreshed.report };
    told_all(&Refreshed { report, ..refreshed }, settings)
}

/// Applies the month in a folder of dumps, and says what it came to.
pub fn from_files(request: Request, settings: &Settings, dumps: &Path) -> anyhow::Result<Exit> {
    let refreshed = refresh(&request, dumps, || open::sinks(settings, Access::Write))?;
    drop(request);
    told_all(&refreshed, settings)
}

fn told_all(refreshed: &Refreshed, settings: &Settings) -> anyhow::Result<Exit> {
    if settings.json {
        output::json(&refreshed.report)?;
    } else {
        output::text(&told(refreshed))?;
    }
    Ok(report::notes_and_exit(refreshed))
}

/// What was done, and what it took.
fn told(refreshed: &Refreshed) -> String {
    report::table(refreshed) + &stages::table(&refreshed.report.stages, &refreshed.report.waited)
}

fn until(text: &str) -> Result<Until, String> {
    let offset = || text.parse().ok().filter(|offset| *offset >= 0).map(Until::Offset);
    let until = if text == "now" { Some(Until::Now) } else { offset() };
    until.ok_or_else(|| format!("{text} is neither `now` nor an offset"))
}

/// How reports are printed as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reports {
    /// One object; a list where several snapshots were applied.
    Object,
    /// A list of objects, at the end.
    List,
    /// A line for each, as soon as it is applied.
    Lines,
}

/// Applies snapshots from topics. What was applied is told, however the last of them ended.
pub fn apply(
    request: Request,
    settings: &Settings,
    reports: Reports,
    work: impl FnOnce(&mut FromTopics<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<Exit> {
    let (mut all, mut exit) = (Vec::new(), Exit::Complete);
    let result = work(&mut FromTopics {
        request: &request,
        topics: &settings.topics()?,
        open: &mut || open::sinks(settings, Access::Write),
        applied: &mut |refreshed: Refreshed| {
            match (settings.json, reports) {
                (false, _) => output::text(&told(&refreshed))?,
                (true, Reports::Lines) => output::json(&refreshed.report)?,
                (true, _) => {}
            }
            if report::notes_and_exit(&refreshed) != Exit::Complete {
                exit = Exit::Incomplete;
            }
            all.push(refreshed.report);
            Ok(())
        },
    });
    drop(request);
    match &all[..] {
        [] if result.is_err() || reports == Reports::Lines => {}
        [] if settings.json && reports == Reports::Object => output::json(&Report::default())?,
        [] if !settings.json => output::text(&report::table(&Refreshed::default()))?,
        [one] if settings.json && reports == Reports::Object => output::json(one)?,
        all if settings.json && reports != Reports::Lines => output::json(&all)?,
        _ => {}
    }
    result.map(|()| exit)
}
