//! How long each stage of a run takes, and how much goes through it.
//!
//! Whoever does the work of a stage, a thread or a worker's operator, has a [`Recorder`] of its own and writes to it without waiting for
//! anybody, once for each piece, tick or batch, and never for each record. [`Measures`] brings together what all of a stage's recorders
//! wrote: exactly once these were dropped, and while a run goes on nearly, as histograms are handed over when their owner records next.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use hdrhistogram::sync::{Recorder as Durations, SyncHistogram};
use serde::Serialize;

use super::course::Course;
use super::progress::{Counted, Progress};
use super::pulse::Pulse;
use super::records::Records;
use super::sinks::SinkMeter;
use super::ticks::Ticks;
use super::waits::{Cause, Waits};
use crate::sources::{Budget, Holder};

/// Durations are told apart from a microsecond on, up to an hour, to one part in a hundred: 27 kB a histogram.
const SHORTEST: u64 = 1_000;
const LONGEST: u64 = 3_600_000_000_000;
const DIGITS: u8 = 2;

/// A part of the work of a run, in the order in which records meet them. What an item of it is stands beside each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RunStage {
    /// A folder of dumps: the sha256 of all its files; bytes as they are on disk.
    Identify,
    /// A reading of the state's files that finds out whether they are sound.
    Check,
    /// A worker's taking of what the state holds into memory; records are keys.
    Load,
    /// A piece of XML, read from its file and inflated.
    Decompress,
    /// A piece of XML, cut into records.
    Split,
    /// A block, gathered from the partitions of a topic: the waiting for them too.
    Consume,
    /// The records of a piece of XML, handed to the client that publishes them: the waiting for room too.
    Publish,
    /// A transaction, from when all of it was handed to the client until it is committed.
    Commit,
    /// A tick on one worker: each record looked up, and a verdict given.
    Diff,
    /// The records of a tick, within `Diff`, that were parsed and made canonical, with their lookups and verdicts.
    Parse,
    /// A slice of the keys that a dump lacks.
    Sweep,
    /// A tick: links of records that changed; records are these.
    Links,
    /// A tick, or a slice of the walk over what changed: shared edges; records are assertions.
    Edges,
    /// A batch, until its sink has committed it, all attempts included; records are changes and edges.
    Write(&'static str),
    /// A checkpoint.
    Checkpoint,
    /// A worker's writing of the next generation; records are keys.
    Save,
    /// What a sink does once all batches are there.
    Complete(&'static str),
    /// A kind of a store, or a graph, read back and compared with the state; records are those that the state holds.
    Compare(&'static str),
    /// A kind of a store, taken into a state that is made anew.
    Rebuild,
    /// A block, from when the reader hands it to the workers until every sink has committed what came of it.
    Tick,
}

impl RunStage {
    /// As reports name it.
    pub const fn name(self) -> &'static str {
        match self {
            RunStage::Identify => "identify",
            RunStage::Check => "check",
            RunStage::Load => "load",
            RunStage::Decompress => "decompress",
            RunStage::Split => "split",
            RunStage::Consume => "consume",
            RunStage::Publish => "publish",
            RunStage::Commit => "commit",
            RunStage::Diff => "diff",
            RunStage::Parse => "parse",
            RunStage::Sweep => "sweep",
            RunStage::Links => "links",
            RunStage::Edges => "edges",
            RunStage::Write(_) => "write",
            RunStage::Checkpoint => "checkpoint",
            RunStage::Save => "save",
            RunStage::Complete(_) => "complete",
            RunStage::Compare(_) => "compare",
            RunStage::Rebuild => "rebuild",
            RunStage::Tick => "tick",
        }
    }

    /// Whose it is, where each sink has one of its own.
    pub const fn sink(self) -> Option<&'static str> {
        match self {
            RunStage::Write(sink) | RunStage::Complete(sink) | RunStage::Compare(sink) => Some(sink),
            _ => None,
        }
    }
}

/// What a run measures of itself. Shared by all of its threads; can be read at any time.
#[derive(Debug)]
pub struct Measures {
    course: Course,
    meters: Mutex<BTreeMap<RunStage, Arc<Meter>>>,
    sinks: Mutex<BTreeMap<&'static str, Arc<SinkMeter>>>,
    records: Mutex<Arc<Records>>,
    waits: Waits,
    ticks: Ticks,
    pulse: Pulse,
    counted: Mutex<Option<Counted>>,
    in_flight: Mutex<Option<InFlight>>,
}

/// Bytes that are on their way.
#[derive(Clone, Debug)]
pub struct InFlight {
    /// How many, and how many there may be.
    pub budget: Arc<Budget>,
    /// What holders of these are called.
    pub holders: Vec<(Holder, &'static str)>,
}

impl Default for Measures {
    fn default() -> Measures {
        Measures::of("")
    }
}

impl Measures {
    /// Those of a command.
    pub fn of(command: &'static str) -> Measures {
        Measures {
            course: Course::of(command),
            meters: Mutex::default(),
            sinks: Mutex::default(),
            records: Mutex::default(),
            waits: Waits::default(),
            ticks: Ticks::default(),
            pulse: Pulse::default(),
            counted: Mutex::default(),
            in_flight: Mutex::default(),
        }
    }

    /// Forgets what was measured: another run begins.
    pub fn begin(&self) {
        locked(&self.meters).clear();
        locked(&self.sinks).clear();
        *locked(&self.records) = Arc::default();
        *locked(&self.counted) = None;
        *locked(&self.in_flight) = None;
        self.course.begin();
        self.waits.clear();
        self.ticks.clear();
    }

    /// The run as a whole.
    pub fn course(&self) -> &Course {
        &self.course
    }

    /// What is counted of a sink.
    pub fn sink(&self, name: &'static str) -> Arc<SinkMeter> {
        Arc::clone(locked(&self.sinks).entry(name).or_default())
    }

    /// The sinks of which something is counted.
    pub fn sinks(&self) -> BTreeMap<&'static str, Arc<SinkMeter>> {
        locked(&self.sinks).clone()
    }

    /// What becomes of records.
    pub fn records(&self) -> Arc<Records> {
        Arc::clone(&locked(&self.records))
    }

    /// Progress is shown by this from now on.
    pub fn shows(&self, progress: &Progress) {
        *locked(&self.counted) = Some(progress.counted());
    }

    /// How far reading has come.
    pub fn counted(&self) -> Option<Counted> {
        locked(&self.counted).clone()
    }

    /// These bytes are on their way from now on.
    pub fn carries(&self, in_flight: InFlight) {
        *locked(&self.in_flight) = Some(in_flight);
    }

    /// Bytes that are on their way, where there are any.
    pub fn in_flight(&self) -> Option<InFlight> {
        locked(&self.in_flight).clone()
    }

    /// Whether the run is alive.
    pub fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// A number that changes whenever a piece of work is done, in any stage.
    pub(super) fn moved(&self) -> u64 {
        let items: u64 = locked(&self.meters).values().map(|meter| meter.items.load(Relaxed)).sum();
        items + self.counted().map_or(0, |counted| counted.all()) + u64::from(self.course.phase() as u8)
    }

    /// A recorder of a stage, for one thread.
    pub fn recorder(&self, stage: RunStage) -> Recorder {
        let meter = Arc::clone(locked(&self.meters).entry(stage).or_default());
        let durations = locked(&meter.durations).recorder();
        Recorder { meter, durations }
    }

    /// Does something that is one item of a stage, and that the run waits for because of `cause`. `size`: records and bytes of it.
    pub fn waiting<T>(&self, stage: RunStage, cause: Cause, size: impl FnOnce(&T) -> (u64, u64), work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let waiting = self.waits.within(cause.name());
        let done = work();
        drop(waiting);
        let took = begun.elapsed();
        let (records, bytes) = size(&done);
        self.recorder(stage).add(took, took, records, bytes);
        self.waits.add(cause, took);
        done
    }

    /// What the run waited for.
    pub fn waits(&self) -> &Waits {
        &self.waits
    }

    /// How long ticks take.
    pub fn ticks(&self) -> &Ticks {
        &self.ticks
    }

    /// Takes over what recorders have in hand, as far as they have recorded anything since this was done last.
    pub(super) fn gather(&self) {
        let meters = locked(&self.meters).clone();
        meters.values().for_each(|meter| locked(&meter.durations).refresh_timeout(Duration::ZERO));
    }

    /// How the items of each stage are spread over these durations, which rise.
    pub(super) fn spreads(&self, bounds: &[Duration]) -> Vec<Spread> {
        let meters = locked(&self.meters).clone();
        meters.iter().map(|(stage, meter)| meter.spread(*stage, bounds)).collect()
    }

    /// The stages that took part, in order.
    pub fn stages(&self) -> Vec<Measured> {
        let meters = locked(&self.meters).clone();
        meters.iter().filter_map(|(stage, meter)| meter.measured(*stage)).collect()
    }
}

/// What all recorders of a stage add to.
#[derive(Debug)]
struct Meter {
    items: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
    busy_nanoseconds: AtomicU64,
    /// Of all items, those that overlap counted in full.
    nanoseconds: AtomicU64,
    /// Locked by who makes a recorder and who reads, never by who records.
    durations: Mutex<SyncHistogram<u64>>,
}

impl Default for Meter {
    fn default() -> Meter {
        let number = AtomicU64::default;
        let durations = Mutex::new(durations().into());
        Meter { items: number(), records: number(), bytes: number(), busy_nanoseconds: number(), nanoseconds: number(), durations }
    }
}

fn durations() -> Histogram<u64> {
    Histogram::new_with_bounds(SHORTEST, LONGEST, DIGITS).unwrap_or_else(|error| unreachable!("the bounds are constants: {error}"))
}

/// How the items of a stage are spread over durations.
#[derive(Clone, Debug)]
pub(super) struct Spread {
    pub(super) stage: RunStage,
    /// Items that took no longer than each of the bounds, and all.
    pub(super) up_to: Vec<u64>,
    pub(super) items: u64,
    pub(super) seconds: f64,
    pub(super) busy_seconds: f64,
    pub(super) records: u64,
    pub(super) bytes: u64,
}

impl Meter {
    fn spread(&self, stage: RunStage, bounds: &[Duration]) -> Spread {
        let mut durations = locked(&self.durations);
        durations.refresh_timeout(Duration::ZERO);
        let seconds = |nanoseconds: &AtomicU64| nanoseconds.load(Relaxed) as f64 / 1e9;
        Spread {
            stage,
            up_to: bounds.iter().map(|bound| durations.count_between(0, bound.as_nanos() as u64)).collect(),
            items: durations.len(),
            seconds: seconds(&self.nanoseconds),
            busy_seconds: seconds(&self.busy_nanoseconds),
            records: self.records.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
        }
    }

    fn measured(&self, stage: RunStage) -> Option<Measured> {
        let count = self.items.load(Relaxed);
        let (records, bytes) = (self.records.load(Relaxed), self.bytes.load(Relaxed));
        let busy = Duration::from_nanos(self.busy_nanoseconds.load(Relaxed));
        let mut durations = locked(&self.durations);
        durations.refresh_timeout(Duration::ZERO);
        let seconds = |nanoseconds: u64| rounded(nanoseconds as f64 / 1e9, 1e6);
        let rate = |number: f64| if busy.is_zero() { 0.0 } else { rounded(number / busy.as_secs_f64(), 10.0) };
        (count > 0).then(|| Measured {
            name: stage.name(),
            sink: stage.sink(),
            count,
            records,
            bytes,
            busy_seconds: rounded(busy.as_secs_f64(), 1e6),
            p50_seconds: seconds(durations.value_at_quantile(0.5)),
            p99_seconds: seconds(durations.value_at_quantile(0.99)),
            max_seconds: seconds(durations.max()),
            records_per_second: rate(records as f64),
            megabytes_per_second: rate(bytes as f64 / 1e6),
        })
    }
}

/// Writes down the items of a stage that one thread does.
#[derive(Debug)]
pub struct Recorder {
    meter: Arc<Meter>,
    durations: Durations<u64>,
}

impl Recorder {
    /// One more item, done just now, that was begun then.
    pub fn since(&mut self, begun: Instant, records: usize, bytes: usize) {
        self.took(begun.elapsed(), records as u64, bytes as u64);
    }

    /// One more item.
    pub fn took(&mut self, time: Duration, records: u64, bytes: u64) {
        self.add(time, time, records, bytes);
    }

    /// One more item, of a stage whose items overlap: so much `busy` more is the stage for it.
    pub(super) fn add(&mut self, time: Duration, busy: Duration, records: u64, bytes: u64) {
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.meter.items.fetch_add(1, Relaxed);
        self.meter.records.fetch_add(records, Relaxed);
        self.meter.bytes.fetch_add(bytes, Relaxed);
        self.meter.busy_nanoseconds.fetch_add(nanoseconds(busy), Relaxed);
        self.meter.nanoseconds.fetch_add(nanoseconds(time), Relaxed);
        self.durations.saturating_record(nanoseconds(time));
    }
}

/// What a stage came to, on all threads.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// See [`RunStage::name`].
    pub name: &'static str,
    /// See [`RunStage::sink`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sink: Option<&'static str>,
    /// Items: pieces, ticks, batches.
    pub count: u64,
    /// Records that went through it; 0 where it knows of none.
    pub records: u64,
    /// Their bytes, of XML where nothing else is said; 0 where they are not known.
    pub bytes: u64,
    /// How long all threads were at it, together.
    pub busy_seconds: f64,
    /// Half of the items took so long at most.
    pub p50_seconds: f64,
    /// 99 in a hundred did.
    pub p99_seconds: f64,
    /// All did.
    pub max_seconds: f64,
    /// Records in a second of one thread that does nothing else.
    pub records_per_second: f64,
    /// Millions of bytes in such a second.
    pub megabytes_per_second: f64,
}

pub(super) fn rounded(number: f64, parts: f64) -> f64 {
    (number * parts).round() / parts
}

/// Counters stay right even when a thread that held the lock has panicked.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_many_threads_record_of_a_stage_is_told_as_one() {
        let measures = Measures::default();
        std::thread::scope(|scope| {
            for thread in 1..=4 {
                let mut recorder = measures.recorder(RunStage::Diff);
                scope.spawn(move || (0..100).for_each(|_| recorder.took(Duration::from_millis(thread), 10, 1_000)));
            }
        });
        measures.recorder(RunStage::Write("sqlite")).took(Duration::from_secs(2), 7, 0);
        let _ = measures.recorder(RunStage::Write("feed"));
        let stages = measures.stages();
        assert_eq!(stages.iter().map(|stage| (stage.name, stage.sink)).collect::<Vec<_>>(), [("diff", None), ("write", Some("sqlite"))]);
        let diff = &stages[0];
        assert_eq!((diff.count, diff.records, diff.bytes, diff.busy_seconds), (400, 4_000, 400_000, 1.0));
        assert_eq!((diff.records_per_second, diff.megabytes_per_second), (4_000.0, 0.4));
        for (found, expected) in [(diff.p50_seconds, 0.002), (diff.p99_seconds, 0.004), (diff.max_seconds, 0.004)] {
            assert!((found / expected - 1.0).abs() < 0.01, "{found} for {expected}");
        }
    }

    #[test]
    fn a_stage_can_be_read_while_its_recorders_go_on_and_says_nothing_twice() {
        let measures = Measures::default();
        let mut recorder = measures.recorder(RunStage::Split);
        for items in 1..=5 {
            recorder.took(Duration::from_millis(items), 1, 1);
            assert_eq!(measures.stages()[0].count, items);
        }
        drop(recorder);
        let last = &measures.stages()[0];
        assert_eq!((last.count, last.records), (5, 5));
        assert_eq!(locked(&locked(&measures.meters)[&RunStage::Split].durations).len(), 5);
    }
}
