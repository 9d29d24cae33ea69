//! What all sources share: blocks, the way of blocks to the workers, and a reading under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, Sender, bounded};
use serde::{Deserialize, Serialize};
use timely::scheduling::SyncActivator;

use super::{
    Block, Budget, DumpFile, Inlet, Mark, Place, SourcePosition, Stop, Tick, Trail, dump_files, first_tick, kafka, kind_of, last_tick,
};
use crate::model::{Kind, Seat};
use crate::telemetry::{Measures, Recorder, RunStage};
use crate::xml::{Ending, Record};

/// Where blocks are cut: by position alone, so that ticks are the same whatever the number of workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockSize {
    /// Most records of a block. Larger blocks cost less per record and more latency: some 10 ms at 16,384 with 34 M keys held.
    pub records: usize,
    /// Most bytes of a block, so that blocks of large records do not use up what may be in flight.
    pub bytes: usize,
}

impl Default for BlockSize {
    fn default() -> BlockSize {
        BlockSize { records: 16_384, bytes: 8 << 20 }
    }
}

/// How far the reader has come; read by the progress display.
#[derive(Debug, Default)]
pub struct Position {
    /// Size of what is read, in bytes: a file's as it is on disk, of a topic that of its records; 0 where it is not known.
    pub total: u64,
    /// Bytes of that that were read.
    pub bytes: AtomicU64,
    /// Records.
    pub records: AtomicU64,
    /// Whether the kind has been read to its end.
    pub done: AtomicBool,
}

/// How long a reader that is to read no more waits before it looks whether the run is over.
const LOOK: Duration = Duration::from_millis(20);

/// A reading under way.
#[derive(Debug)]
pub struct Reading {
    thread: JoinHandle<()>,
    /// How far it has come, a file each, in order.
    pub positions: Vec<(Kind, Arc<Position>)>,
}

impl Reading {
    /// Waits for the reader's end. Its error, if any, has ended the run, and names the file or the topic.
    pub fn join(self) {
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    }
}

/// Makes ready to read one kind: while the one before it is read, so that connecting is not waited for.
pub(super) type Work = Box<dyn FnOnce() -> Ready + Send>;

/// Reads one kind into blocks, from first to last.
pub(super) type Ready = Box<dyn FnOnce(&mut Blocks<'_>) -> Result<(), Interrupted>>;

/// What a reader shares with the rest of the run.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Bytes in flight.
    pub budget: Arc<Budget>,
    /// Where the reader notes how far it has come.
    pub trail: Arc<Trail>,
    /// What the run measures of itself.
    pub measures: Arc<Measures>,
    /// The run's stop signal.
    pub stop: Stop,
}

/// One kind to be read.
struct Task<W> {
    /// Its first block's.
    tick: Tick,
    /// Records that a run before has read.
    before: u64,
    /// Whether each process reads all of it.
    whole: bool,
    work: W,
}

/// Starts to read `files`, in the order of kinds, the first from `mark` on, where there is one. Returns at once, with an inlet for each
/// worker of this process, of whom `first` is the first.
///
/// Of a file every process reads all and keeps what its workers own; of a topic it reads their partitions.
pub fn read(
    files: Vec<DumpFile>,
    mark: Option<Mark>,
    size: BlockSize,
    first: Seat,
    surroundings: Surroundings,
) -> Result<(Reading, Vec<Inlet>)> {
    let mut outlets = Vec::with_capacity(first.peers.workers);
    let mut inlets = Vec::with_capacity(first.peers.workers);
    for _ in 0..first.peers.workers {
        // Bounded by the budget in bytes, not in blocks.
        let (sender, blocks) = crossbeam_channel::unbounded();
        let (waker, wakers) = bounded(1);
        outlets.push(Outlet { sender, wakers, waker: None });
        inlets.push(Inlet { blocks, waker });
    }
    let mut works = Vec::with_capacity(files.len());
    let mut positions = Vec::with_capacity(files.len());
    for file in files {
        let position = Arc::new(Position { total: file.bytes, ..Position::default() });
        positions.push((file.kind, Arc::clone(&position)));
        let kind = file.kind;
        let from = mark.as_ref().filter(|mark| mark.kind() == kind);
        let tick = from.map_or_else(|| first_tick(surroundings.trail.epoch(), kind), |mark| mark.tick);
        let whole = matches!(file.place, Place::File(_));
        let from = from
            .and_then(|mark| mark.position.clone())
            .map(|from| if whole { from } else { from.only(|partition| first.reads(partition)) });
        // Of a file all processes have read the same.
        let before = from.as_ref().filter(|_| !whole || first.is_first()).map_or(0, |from| from.records);
        if let Some(from) = &from {
            surroundings.trail.note(tick - 1, from.clone(), false);
        }
        let work: Work = match &file.place {
            Place::File(_) => dump_files::work(file, position, from, &surroundings.measures).context("cannot start the reader")?,
            Place::Topic(stretch) => kafka::work(Arc::clone(stretch), position, from, first),
            Place::Unmarked(span) => kafka::unmarked_work(Arc::clone(span), position),
        };
        works.push(Task { tick, before, whole, work });
    }
    let span = tracing::error_span!("read", stage = "read");
    let reader = move || {
        let _entered = span.enter();
        read_all(works, (size, first), outlets, &surroundings);
    };
    let thread = thread::Builder::new().name("read".to_owned()).spawn(reader).context("cannot start the reader")?;
    Ok((Reading { thread, positions }, inlets))
}

/// The reader's thread: whatever way it ends, the workers' inlets are closed and the workers woken.
fn read_all(works: Vec<Task<Work>>, cut: (BlockSize, Seat), mut outlets: Vec<Outlet>, surroundings: &Surroundings) {
    let result = read_in_turn(works, cut, &mut outlets, surroundings);
    surroundings.budget.all_is_read();
    // Before the inlets are closed: an operator would take that for the end of all that is to be read.
    if let Err(Interrupted::Failed(error)) = result {
        surroundings.stop.fail(error);
    }
    for Outlet { sender, wakers, waker } in outlets {
        drop(sender);
        // A worker that has not built its graph yet leaves its waker first; one that is gone never will.
        if let Some(waker) = waker.or_else(|| wakers.recv().ok()) {
            let _ = waker.activate();
        }
    }
}

fn read_in_turn(
    works: Vec<Task<Work>>,
    cut: (BlockSize, Seat),
    outlets: &mut [Outlet],
    surroundings: &Surroundings,
) -> Result<(), Interrupted> {
    let mut works = works.into_iter().map(|Task { tick, before, whole, work }| Task { tick, before, whole, work: work() });
    let mut next = works.next();
    while let Some(Task { tick, before, whole, work: read }) = next {
        next = works.next();
        let _kind = tracing::error_span!("kind", kind = kind_of(tick).name()).entered();
        read(&mut Blocks::new((tick, before, whole), cut, outlets, surroundings))?;
    }
    Ok(())
}

/// Why a kind was not read to its end.
#[derive(Debug)]
pub(super) enum Interrupted {
    /// The run is over.
    Stopped,
    /// The source failed.
    Failed(anyhow::Error),
}

#[derive(Debug)]
struct Outlet {
    sender: Sender<Block>,
    wakers: Receiver<SyncActivator>,
    waker: Option<SyncActivator>,
}

impl Outlet {
    /// False when the worker is gone.
    fn send(&mut self, block: Block) -> bool {
        let sent = self.sender.send(block).is_ok();
        self.wake();
        sent
    }

    fn wake(&mut self) {
        if self.waker.is_none() {
            self.waker = self.wakers.try_recv().ok();
        }
        if let Some(waker) = &self.waker {
            // Fails only when the worker is gone.
            let _ = waker.activate();
        }
    }
}

/// The block of one kind that is being filled, and the workers that it goes to.
pub(super) struct Blocks<'a> {
    size: BlockSize,
    first: Seat,
    whole: bool,
    tick: Tick,
    parts: Vec<Vec<Record>>,
    /// Records of the kind that each worker was given.
    given: Vec<u64>,
    records: usize,
    bytes: usize,
    /// Of these, of records that this process keeps.
    kept: usize,
    /// Since when.
    begun: Instant,
    consume: Option<Recorder>,
    outlets: &'a mut [Outlet],
    surroundings: &'a Surroundings,
}

impl<'a> Blocks<'a> {
    fn new(
        (tick, before, whole): (Tick, u64, bool),
        (size, first): (BlockSize, Seat),
        outlets: &'a mut [Outlet],
        surroundings: &'a Surroundings,
    ) -> Blocks<'a> {
        let parts = outlets.iter().map(|_| Vec::new()).collect();
        // What was read before counts for one worker, as all that counts is the sum.
        let given = (0..outlets.len()).map(|worker| if worker == 0 { before } else { 0 }).collect();
        // Of a file it is known more closely what its blocks take.
        let consume = (!whole).then(|| surroundings.measures.recorder(RunStage::Consume));
        let (records, bytes, kept, begun) = (0, 0, 0, Instant::now());
        Blocks { size, first, whole, tick, parts, given, records, bytes, kept, begun, consume, outlets, surroundings }
    }

    /// Where blocks are to be cut.
    pub(super) fn size(&self) -> BlockSize {
        self.size
    }

    /// So many messages are still to be read of a partition.
    pub(super) fn lags(&self, topic: &str, partition: usize, messages: i64) {
        self.surroundings.measures.course().lags(topic, partition, messages.max(0).unsigned_abs());
    }

    /// Whether the run is over, and nothing is to be waited for any more.
    pub(super) fn is_closed(&self) -> bool {
        self.surroundings.budget.is_closed()
    }

    /// Adds a record to the block.
    pub(super) fn push(&mut self, record: Record) {
        // A record without a key only becomes a dead letter: once, whoever reads it.
        let owner = record.key.map_or(if self.whole { 0 } else { self.first.worker }, |key| self.first.peers.owner(key.shard()));
        self.records += 1;
        self.bytes += record.raw.len();
        if let Some(part) = owner.checked_sub(self.first.worker).and_then(|worker| self.parts.get_mut(worker)) {
            self.kept += record.raw.len();
            part.push(record);
        } else if !self.whole {
            // It is in a partition where it does not belong: that a record is missing is found, and nothing is deleted.
            self.given[0] += 1;
        }
    }

    /// Whether the block is as large as one may be.
    pub(super) fn is_full(&self) -> bool {
        self.records >= self.size.records || self.bytes >= self.size.bytes
    }

    /// Waits for room, sends every worker its part, and begins the next block; the kind's last one says how it ended. `position`: where
    /// the next one begins, if it is known how to go on from there.
    pub(super) fn send(&mut self, ending: Option<Ending>, position: Option<SourcePosition>) -> Result<(), Interrupted> {
        fail::fail_point!("before-block");
        fail::fail_point!("read-fails", |_| Err(Interrupted::Failed(anyhow::anyhow!("failpoint read-fails"))));
        if let Some(consume) = &mut self.consume {
            consume.since(self.begun, self.records, self.bytes);
        }
        let Surroundings { budget, trail, measures, .. } = self.surroundings;
        while trail.is_ending() {
            // The inlets stay open: closed, they would say that all was read.
            if budget.is_closed() {
                return Err(Interrupted::Stopped);
            }
            thread::sleep(LOOK);
        }
        if !budget.acquire(self.kept) {
            return Err(Interrupted::Stopped);
        }
        let kind = kind_of(self.tick);
        if ending.is_some() {
            self.tick = last_tick(trail.epoch(), kind);
        }
        if let Some(position) = position {
            trail.note(self.tick, position, ending.is_some());
        }
        measures.ticks().handed_over(self.tick, self.records, self.bytes);
        for ((part, given), outlet) in self.parts.iter_mut().zip(&mut self.given).zip(self.outlets.iter_mut()) {
            let records = std::mem::take(part);
            *given += records.len() as u64;
            let ending = ending.clone().map(|ending| Ending { records: *given, ..ending });
            if !outlet.send(Block { tick: self.tick, kind, records, ending }) {
                return Err(Interrupted::Stopped);
            }
        }
        self.tick += 1;
        trail.goes_on_at(self.tick);
        (self.records, self.bytes, self.kept, self.begun) = (0, 0, 0, Instant::now());
        Ok(())
    }
}
