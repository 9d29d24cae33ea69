//! A month through the operators `records`, `diff` and `guard`, a tick at a time.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use discodiff::dataflows::{
    Asked, Counts, Diff, DiffOptions, Excess, Findings, Fingerprints, Guard, Journal, RejectLimit, Tally, guard, records,
};
use discodiff::model::{Key, Kind, Peers, PerKind};
use discodiff::sources::{Block, Budget, Inlet, Tick, first_tick};
use discodiff::telemetry::Measures;
use discodiff::xml::Ending;
use hdrhistogram::Histogram;
use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::{ConnectLoop, Feedback, Probe};
use timely::scheduling::SyncActivator;
use timely::worker::Worker;

use crate::made;

/// Records of a block, as the reader cuts them.
const BLOCK: usize = 16_384;

const EPOCH: u64 = 1;

/// What a month came to.
pub struct Month {
    /// From a block's hand-over until its tick has passed, in microseconds.
    pub latencies: Histogram<u64>,
    /// In all, the making of records not counted.
    pub seconds: f64,
    /// Of all kinds.
    pub counts: Counts,
}

/// Runs the records of `keys`, sorted, through the operators; `changed` says of which the bytes are others than before.
pub fn run(trace: &Rc<RefCell<Fingerprints>>, keys: impl Iterator<Item = Key>, changed: impl Fn(Key) -> bool) -> Result<Month> {
    let findings = Rc::new(RefCell::new(Findings::default()));
    let mut pipe = Pipe::new(Rc::clone(trace), Rc::clone(&findings))?;
    let mut keys = keys.peekable();
    for kind in Kind::ALL {
        let (mut tick, mut given) = (first_tick(EPOCH, kind), 0);
        loop {
            let mut records = Vec::with_capacity(BLOCK);
            while let Some(key) = keys.next_if(|key| records.len() < BLOCK && key.kind() == kind) {
                records.push(made::record(key, given, changed(key)));
                given += 1;
            }
            let ended = keys.peek().is_none_or(|key| key.kind() != kind);
            let ending = ended.then_some(Ending { records: given, defect: None, partial: false });
            pipe.give(Block { tick, kind, records, ending })?;
            if ended {
                break;
            }
            tick += 1;
        }
    }
    let (latencies, seconds) = pipe.end()?;
    let mut counts = Counts::default();
    findings.borrow().counts.iter().for_each(|(_, of_kind)| counts += *of_kind);
    ensure!(counts.rejected == 0 && counts.duplicates == 0, "records were not taken as they were made: {counts:?}");
    Ok(Month { latencies, seconds, counts })
}

/// A worker with a dataflow, and the way into it.
struct Pipe {
    worker: Worker,
    probe: ProbeHandle<Tick>,
    blocks: Sender<Block>,
    waker: SyncActivator,
    latencies: Histogram<u64>,
    spent: Duration,
}

impl Pipe {
    fn new(trace: Rc<RefCell<Fingerprints>>, findings: Rc<RefCell<Findings>>) -> Result<Pipe> {
        let allocator = timely::communication::Allocator::Thread(Default::default());
        let mut worker = Worker::new(timely::WorkerConfig::default(), allocator, None);
        let (blocks, receiver) = unbounded();
        let (waker, wakers): (_, Receiver<SyncActivator>) = bounded(1);
        let probe = ProbeHandle::new();
        let excess = Excess::default();
        let files = PerKind::from_fn(|_| Arc::from(""));
        let options = DiffOptions {
            epoch: EPOCH,
            peers: Peers::alone(1),
            files: files.clone(),
            asked: PerKind::from_fn(|_| Asked::None),
            projections: None,
            trust_raw: true,
            excess: excess.clone(),
        };
        let judge = Guard { limit_percent: 1.0, allow_deletes: false, rejects: RejectLimit { percent: 1.0 }, files, excess };
        let budget = Arc::new(Budget::new(1 << 28));
        let diff = Diff::new(options, trace, Arc::clone(&budget), findings, Journal::new(None, budget), &Measures::default());
        worker.dataflow(|scope| {
            let (back, verdicts) = scope.feedback(1);
            let (events, tallies) = diff.build(records(scope, Inlet { blocks: receiver, waker }), verdicts);
            guard(tallies, judge, Tally::default()).probe_with(&probe).connect_loop(back);
            events.probe_with(&probe);
        });
        let waker = wakers.recv().context("the source has left no waker")?;
        Ok(Pipe { worker, probe, blocks, waker, latencies: Histogram::new(3)?, spent: Duration::ZERO })
    }

    /// Hands a block over, and waits until its tick has passed.
    fn give(&mut self, block: Block) -> Result<()> {
        let (tick, begun) = (block.tick, Instant::now());
        self.blocks.send(block)?;
        self.waker.activate()?;
        while self.probe.less_equal(&tick) {
            self.worker.step();
        }
        let spent = begun.elapsed();
        self.spent += spent;
        self.latencies.record(spent.as_micros() as u64)?;
        Ok(())
    }

    fn end(mut self) -> Result<(Histogram<u64>, f64)> {
        let begun = Instant::now();
        drop(self.blocks);
        self.waker.activate()?;
        while !self.probe.done() {
            self.worker.step();
        }
        Ok((self.latencies, (self.spent + begun.elapsed()).as_secs_f64()))
    }
}
