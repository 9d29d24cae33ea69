//! The thread that drives a writer: takes closed ticks, makes batches of them, writes each until it is committed, and says so.
//!
//! Batches take as many whole ticks as are waiting, so that a slow store gets large ones and a fast one small ones; a tick larger than
//! a batch is cut. A batch, once made, stays as it is through all its attempts. Where a store refuses what a batch contains, the batch
//! is halved down to the record, which becomes a dead letter.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use roaring::RoaringTreemap;
use serde::{Deserialize, Serialize};
use timely::scheduling::SyncActivator;

use super::patience::{given_up, patience};
use super::{Batch, Class, Need, Run, SinkError, Tally, Writer, Written};
use crate::model::graph::EdgeChange;
use crate::model::{Change, DeadLetter, Event, Key, Kind, PerKind, Stage, Verdict};
use crate::sources::{Budget, Holder, Stop, Tick, first_delete_tick};
use crate::telemetry::{Measures, Outcome, Recorder, RunStage, SinkMeter};

/// Rows of a batch. PostgreSQL's rate is flat from some 5,000 rows on; larger ones only hold more memory and locks.
pub const BATCH_ROWS: usize = 5_000;

/// Bytes of a batch: labels can be 12 MB each.
pub const BATCH_BYTES: usize = 8 << 20;

/// Pauses between attempts: from the first, doubled, to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// One closed tick, or one worker's part of it.
#[derive(Debug)]
pub struct Part {
    /// Which.
    pub tick: Tick,
    /// What happened in it that concerns this sink.
    pub events: Vec<Event>,
    /// For a feed: fields that a document store found changed.
    pub fields: Vec<(Key, Vec<String>)>,
    /// Bytes that the changes hold on to, counted in the budget.
    pub bytes: usize,
}

impl Part {
    /// An empty part.
    pub fn new(tick: Tick) -> Part {
        Part { tick, events: Vec::new(), fields: Vec::new(), bytes: 0 }
    }
}

/// A tick that the store has committed.
#[derive(Debug)]
pub struct Acknowledgement {
    /// Which.
    pub tick: Tick,
    /// Fields that the store found changed, where asked for.
    pub fields: Vec<(Key, Vec<String>)>,
}

/// What a writer came to in a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// Records for which something was written.
    pub tally: Tally,
    /// Keys of each kind that the state holds and this sink did not get.
    pub undelivered: PerKind<u64>,
}

/// Keys that the state holds and that a store did not get, with all its writers: how many, by tick and kind.
pub type Missed = Arc<Mutex<BTreeMap<(Tick, Kind), u64>>>;

/// What a driver needs.
pub struct Driver {
    /// `postgres 0`, for thread names and messages.
    pub name: String,
    /// The sink's name in messages.
    pub sink: &'static str,
    /// The writer.
    pub writer: Box<dyn Writer>,
    /// The workers, among [`Run::peers`], whose keys it writes: each sends it an `End` of a kind.
    pub workers: Range<usize>,
    /// What is being applied.
    pub run: Run,
    /// Closed ticks.
    pub parts: Receiver<Part>,
    /// Where committed ticks go.
    pub acknowledgements: Sender<Acknowledgement>,
    /// Where the operator leaves its handle.
    pub wakers: Receiver<SyncActivator>,
    /// Bytes in flight.
    pub budget: Arc<Budget>,
    /// As which the sink holds them.
    pub holder: Holder,
    /// What the run measures of itself.
    pub measures: Arc<Measures>,
    /// Ids that were delivered before a run was taken up, of kinds that are being brought up.
    pub delivered: PerKind<RoaringTreemap>,
    /// Where keys that the store does not get are noted.
    pub missed: Missed,
    /// The run's stop signal.
    pub stop: Stop,
}

impl Driver {
    /// Starts the thread. It ends when the operator closes its side, or at the first error that ends the run.
    pub fn start(self) -> io::Result<JoinHandle<Report>> {
        let (name, stop, sink) = (self.name.clone(), self.stop.clone(), self.sink);
        let worker = (self.workers.len() < self.run.peers.count()).then_some(self.workers.start);
        let span = tracing::error_span!("write", stage = RunStage::Write(sink).name(), sink, worker);
        thread::Builder::new().name(name).spawn(move || {
            let _entered = span.enter();
            let mut driving = Driving {
                waker: None,
                batch: Batch::default(),
                bytes: 0,
                open: VecDeque::new(),
                fields: Vec::new(),
                delivered: self.delivered.clone(),
                ends: PerKind::default(),
                report: Report::default(),
                meter: self.measures.sink(sink),
                recorder: self.measures.recorder(RunStage::Write(sink)),
                driver: self,
            };
            if let Err(error) = driving.drive() {
                stop.fail(anyhow::anyhow!("{sink}: {}", given_up(error)));
            }
            driving.report
        })
    }
}

struct Driving {
    driver: Driver,
    waker: Option<SyncActivator>,
    batch: Batch,
    /// Bytes in flight that the batch holds.
    bytes: usize,
    /// Ticks in the batch that are whole once it is written.
    open: VecDeque<Tick>,
    /// Fields that the store found changed, until their tick is whole.
    fields: Vec<(Tick, Key, Vec<String>)>,
    /// Ids delivered or held, of kinds that are being brought up: what the store may keep.
    delivered: PerKind<RoaringTreemap>,
    ends: PerKind<usize>,
    report: Report,
    meter: Arc<SinkMeter>,
    recorder: Recorder,
}

impl Driving {
    fn drive(&mut self) -> Result<(), SinkError> {
        self.remove_faults()?;
        loop {
            // Only when nothing more is waiting is a small batch written.
            let part = match self.driver.parts.try_recv() {
                Ok(part) => part,
                Err(_) => {
                    self.flush()?;
                    match self.driver.parts.recv() {
                        Ok(part) => part,
                        Err(_) => return Ok(()),
                    }
                }
            };
            if self.driver.stop.is_set() {
                return Ok(());
            }
            self.take(part)?;
        }
    }

    fn take(&mut self, mut part: Part) -> Result<(), SinkError> {
        self.batch.fields.append(&mut part.fields);
        part.events.sort_unstable();
        for event in part.events {
            match event {
                Event::Change(change) => {
                    let kind = change.key.kind();
                    if self.is_brought_up(kind) && change.verdict != Verdict::Delete {
                        self.delivered[kind].insert(change.key.id());
                    }
                    self.bytes += change.bytes();
                    self.batch.changes.push(change);
                    self.batch.tick = part.tick;
                    self.flush_if_full()?;
                }
                Event::Edge(change) => {
                    self.bytes += change.edge.bytes();
                    self.batch.edges.push(change);
                    self.batch.tick = part.tick;
                    self.flush_if_full()?;
                }
                Event::DeadLetter(letter) => {
                    self.batch.tick = part.tick;
                    self.batch.dead_letters.push(letter);
                }
                Event::Held(key) => match self.need(key.kind()) {
                    Some(Need::Everything) => {
                        self.delivered[key.kind()].insert(key.id());
                        if self.driver.writer.lacks(key) {
                            self.note_missed(part.tick, key.kind());
                        }
                    }
                    Some(Need::Repair) => self.note_missed(part.tick, key.kind()),
                    Some(Need::Changes) | None => {}
                },
                Event::End(kind) => {
                    self.ends[kind] += 1;
                    if self.ends[kind] == self.driver.workers.len() && self.is_brought_up(kind) {
                        self.flush()?;
                        self.remove_stale(kind, part.tick)?;
                    }
                }
            }
        }
        self.open.push_back(part.tick);
        Ok(())
    }

    fn need(&self, kind: Kind) -> Option<Need> {
        self.driver.run.kinds[kind].as_ref().map(|run| run.need)
    }

    fn is_brought_up(&self, kind: Kind) -> bool {
        self.need(kind) == Some(Need::Everything)
    }

    /// Deletes what a store that is repaired was found to hold and the state does not: nothing needs to be read for that.
    fn remove_faults(&mut self) -> Result<(), SinkError> {
        for kind in Kind::ALL {
            let Some(faults) = self.driver.run.kinds[kind].as_ref().map(|run| Arc::clone(&run.faults)) else { continue };
            if faults.junk {
                self.report.tally.deleted += self.patiently(|writer, _| writer.stored_ids(kind))?.1;
            }
            self.delete(kind, &faults.remove, first_delete_tick(self.driver.run.epoch.number, kind))?;
        }
        self.flush()
    }

    /// Deletes what a store that is brought up holds and the state does not.
    fn remove_stale(&mut self, kind: Kind, tick: Tick) -> Result<(), SinkError> {
        let (stored, removed) = self.patiently(|writer, _| writer.stored_ids(kind))?;
        self.report.tally.deleted += removed;
        let kept = std::mem::take(&mut self.delivered[kind]);
        self.delete(kind, &(stored - kept), tick)
    }

    /// Deletes those of these ids that are this writer's.
    fn delete(&mut self, kind: Kind, ids: &RoaringTreemap, tick: Tick) -> Result<(), SinkError> {
        let (workers, peers) = (self.driver.workers.clone(), self.driver.run.peers);
        for id in ids {
            let Some(key) = Key::new(kind, id) else { continue };
            if workers.contains(&peers.owner(key.shard())) {
                self.batch.tick = tick;
                self.batch.changes.push(Change { key, verdict: Verdict::Delete, tick, document: None, graph: None });
                self.flush_if_full()?;
            }
        }
        Ok(())
    }

    fn flush_if_full(&mut self) -> Result<(), SinkError> {
        let rows = self.batch.changes.len() + self.batch.edges.len();
        if rows >= batch_rows() || self.bytes >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        if !self.batch.changes.is_empty() || !self.batch.edges.is_empty() || !self.batch.dead_letters.is_empty() {
            let number = self.batch.number;
            let mut batch = std::mem::replace(&mut self.batch, Batch { number, ..Batch::default() });
            batch.fields.sort_unstable();
            let (begun, records, bytes) = (Instant::now(), batch.changes.len() + batch.edges.len(), self.bytes);
            self.write(batch)?;
            self.recorder.since(begun, records, bytes);
            self.driver.budget.release(self.driver.holder, std::mem::take(&mut self.bytes));
        }
        if self.open.is_empty() {
            return Ok(());
        }
        while let Some(tick) = self.open.pop_front() {
            let of_tick = self.fields.extract_if(.., |(of, ..)| *of == tick).map(|(_, key, fields)| (key, fields)).collect();
            // The operator is gone only when the run is over.
            let _ = self.driver.acknowledgements.send(Acknowledgement { tick, fields: of_tick });
        }
        if self.waker.is_none() {
            self.waker = self.driver.wakers.try_recv().ok();
        }
        if let Some(waker) = &self.waker {
            let _ = waker.activate();
        }
        Ok(())
    }

    /// Writes a batch; where the store refuses what it contains, its halves.
    fn write(&mut self, mut batch: Batch) -> Result<(), SinkError> {
        self.batch.number += 1;
        batch.number = self.batch.number;
        fail::fail_point!("before-write");
        fail::fail_point!("before-feed-write", self.driver.sink == "feed", |_| Ok(()));
        match self.patiently(|writer, attempt| writer.write(&batch, attempt)) {
            Ok(Written { tally, fields }) => {
                fail::fail_point!("after-write");
                self.meter.batch(Outcome::Committed, tally);
                self.report.tally += tally;
                if !fields.is_empty() {
                    let ticks: BTreeMap<Key, Tick> = batch.changes.iter().map(|change| (change.key, change.tick)).collect();
                    self.fields.extend(fields.into_iter().filter_map(|(key, fields)| Some((*ticks.get(&key)?, key, fields))));
                }
                Ok(())
            }
            // Nodes go before edges in the halves too.
            Err(error) if error.class == Class::Reject => match (batch.changes.len(), batch.edges.len()) {
                (0, 0) => self.failed(error),
                (0, 1) | (1, 0) => self.refused(batch, &error),
                (changes, edges) => {
                    self.meter.batch(Outcome::Refused, Tally::default());
                    let (changes, edges) = match changes {
                        0 => (Vec::new(), batch.edges.split_off(edges / 2)),
                        1 => (Vec::new(), std::mem::take(&mut batch.edges)),
                        _ => (batch.changes.split_off(changes / 2), std::mem::take(&mut batch.edges)),
                    };
                    let rest = Batch { changes, edges, dead_letters: Vec::new(), fields: batch.fields.clone(), ..batch };
                    self.write(batch)?;
                    self.write(rest)
                }
            },
            Err(error) => self.failed(error),
        }
    }

    fn failed(&self, error: SinkError) -> Result<(), SinkError> {
        self.meter.batch(Outcome::Failed, Tally::default());
        Err(error)
    }

    fn note_missed(&mut self, tick: Tick, kind: Kind) {
        self.report.undelivered[kind] += 1;
        *self.driver.missed.lock().unwrap_or_else(PoisonError::into_inner).entry((tick, kind)).or_default() += 1;
    }

    fn refused(&mut self, batch: Batch, error: &SinkError) -> Result<(), SinkError> {
        self.meter.batch(Outcome::Refused, Tally::default());
        self.meter.refused(batch.changes.len() + batch.edges.len());
        for EdgeChange { edge, tick, .. } in &batch.edges {
            tracing::error!(tick, "{} refuses the edge {edge}: {error}", self.driver.sink);
            for kind in edge.family().asserted_by() {
                self.note_missed(*tick, *kind);
            }
        }
        let mut dead_letters = batch.dead_letters;
        for Change { key, document, tick, .. } in batch.changes {
            let fate = if document.is_some() { "becomes a dead letter" } else { "is left out" };
            tracing::error!(kind = key.kind().name(), tick, "{} refuses {key}, which {fate}: {error}", self.driver.sink);
            self.note_missed(tick, key.kind());
            dead_letters.push(DeadLetter {
                kind: key.kind(),
                id: Some(key.id()),
                file: self.driver.run.kinds[key.kind()].as_ref().map_or_else(|| Arc::from(""), |run| Arc::from(run.file.as_str())),
                position: DeadLetter::no_offset(key),
                tick,
                stage: Stage::Sink,
                reason: error.to_string(),
                raw: document.map(|(_, json)| json.as_bytes().to_vec()).unwrap_or_default(),
            });
        }
        self.write(Batch { changes: Vec::new(), edges: Vec::new(), dead_letters, ..batch })
    }

    /// Tries until it is done, is refused, or patience is at an end; twice at least, since a first answer that does not come may use all
    /// of it up, and a new connection may be all that is needed.
    fn patiently<T>(&mut self, mut act: impl FnMut(&mut dyn Writer, u32) -> Result<T, SinkError>) -> Result<T, SinkError> {
        let begun = Instant::now();
        let mut pause = FIRST_PAUSE;
        let mut attempt = 0;
        loop {
            let waiting = self.driver.measures.waits().within(self.driver.sink);
            let done = act(self.driver.writer.as_mut(), attempt);
            if let Err(error) = &done {
                self.meter.error(error.class);
            }
            match done {
                Err(error)
                    if error.class == Class::Retry && (attempt == 0 || begun.elapsed() < patience()) && !self.driver.stop.is_set() =>
                {
                    tracing::warn!("{}: {error}; trying again in {:.1} s", self.driver.sink, pause.as_secs_f64());
                    self.driver.stop.sleep(pause);
                    drop(waiting);
                    self.meter.retry();
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    attempt += 1;
                }
                other => return other,
            }
        }
    }
}

/// Tests cut small months into many batches.
fn batch_rows() -> usize {
    fail::fail_point!("batch-rows", |rows| rows.and_then(|rows| rows.parse().ok()).unwrap_or(1));
    BATCH_ROWS
}
