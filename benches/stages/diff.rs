//! From workers to verdicts: exchanging records, and what is known of their keys.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Result, ensure};
use crossbeam_channel::{bounded, unbounded};
use discodiff::dataflows::{Arrival, Fingerprints, records};
use discodiff::model::{Fingerprint, Key, Kind, Peers, Seat};
use discodiff::sources::{Block, BlockSize, Inlet, first_tick};
use discodiff::state::{Manifest, Storage};
use discodiff::xml::Record;
use timely::dataflow::ProbeHandle;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Probe;
use timely::dataflow::operators::generic::Operator;

use super::Dump;
use super::measure::stage;

/// Keys that the trace holds, as many as there are masters and labels in all of Discogs together.
const KEYS: u64 = 5_000_000;

/// Bytes of a key and its fingerprint.
const ROW: usize = size_of::<(Key, Fingerprint)>();

const WORKERS: usize = 2;

pub fn measure(dumps: &[Dump]) -> Result<()> {
    let all: Arc<[Record]> = dumps.iter().flat_map(|dump| dump.records.iter().cloned()).collect();
    let size = (all.len(), all.iter().map(|record| record.raw.len()).sum());
    stage("exchange between two workers", size, || exchanged(Arc::clone(&all)), "crossbeam's channels", || sent(&all))?;

    let block = BlockSize::default().records;
    let rows: Vec<(Key, Fingerprint)> = (1..=KEYS).filter_map(|id| Some((Key::new(Kind::Release, id)?, fingerprint(id)))).collect();
    let size = (rows.len(), rows.len() * ROW);
    let mut mixed = rows.clone();
    mixed.sort_unstable_by_key(|(_, fingerprint)| fingerprint.raw);
    let sort = || {
        let mut rows = mixed.clone();
        rows.sort_unstable();
        rows
    };
    stage("arrange, a tick each 16,384 keys", size, || arranged(&rows, block), "sorting them", sort)?;

    let mut held = arranged(&rows, block)?;
    let asked: Vec<Key> = rows.iter().map(|(key, _)| *key).collect();
    let mut seek = || {
        let mut sum = 0;
        for keys in asked.chunks(block) {
            let mut cursor = held.cursor();
            sum = keys.iter().fold(sum, |sum, key| sum ^ cursor.seek(*key).map_or(0, |found| found.raw));
        }
        sum
    };
    let search = || {
        let raw = |key| rows.binary_search_by_key(key, |(key, _)| *key).map_or(0, |at| rows[at].1.raw);
        asked.iter().fold(0, |sum, key| sum ^ raw(key))
    };
    ensure!(seek() == search(), "the trace holds something else");
    stage("look up, a cursor each 16,384 keys", size, seek, "binary search", search)
}

fn fingerprint(id: u64) -> Fingerprint {
    let mixed = id.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    Fingerprint { raw: mixed, document: mixed.rotate_left(21), graph: mixed.rotate_left(42) }
}

/// The trace, as a first load makes it.
fn arranged(rows: &[(Key, Fingerprint)], block: usize) -> Result<Fingerprints> {
    let mut held = Fingerprints::restore(&Storage::from(""), &Manifest::new(), Seat::ALONE)?;
    for (tick, rows) in (1..).zip(rows.chunks(block)) {
        let mut updates = Vec::with_capacity(rows.len());
        rows.iter().for_each(|(key, fingerprint)| held.replace(&mut updates, *key, None, Some(*fingerprint), tick));
        held.commit(updates, tick);
    }
    Ok(held)
}

/// Every second record each: half of them belong to the other worker.
fn half(records: &[Record], worker: usize) -> impl Iterator<Item = Record> {
    records.iter().skip(worker).step_by(WORKERS).cloned()
}

fn worker_of(record: &Record) -> usize {
    record.key.map_or(0, |key| Peers::alone(WORKERS).owner(key.shard()))
}

/// Through the product's source operator and timely's exchange.
fn exchanged(all: Arc<[Record]>) -> usize {
    let guards = timely::execute(timely::Config::process(WORKERS), move |worker| {
        let (sender, blocks) = unbounded();
        let (waker, _wakers) = bounded(1);
        let (mut own, mut tick) = (half(&all, worker.index()).peekable(), first_tick(1, Kind::Artist));
        while own.peek().is_some() {
            let records = own.by_ref().take(BlockSize::default().records / WORKERS).collect();
            let _ = sender.send(Block { tick, kind: Kind::Artist, records, ending: None });
            tick += 1;
        }
        drop(sender);
        let count = Rc::new(Cell::new(0));
        let counted = Rc::clone(&count);
        let probe = ProbeHandle::new();
        worker.dataflow::<u64, _, _>(|scope| {
            let route = Exchange::new(|arrival: &Arrival| match arrival {
                Arrival::Record(record) => worker_of(record) as u64,
                Arrival::End { worker, .. } => *worker as u64,
            });
            records(scope, Inlet { blocks, waker })
                .unary::<timely::container::CapacityContainerBuilder<Vec<()>>, _, _, _>(route, "count", move |_, _| {
                    move |input, _| input.for_each(|_, arrivals| counted.set(counted.get() + arrivals.len()))
                })
                .probe_with(&probe);
        });
        worker.step_while(|| !probe.done());
        count.get()
    });
    guards.map_or(0, |guards| guards.join().into_iter().map(|count| count.unwrap_or_default()).sum())
}

/// Through two channels, in batches as large as timely's.
fn sent(all: &[Record]) -> usize {
    const BATCH: usize = 1024;
    let (to_first, of_first) = unbounded::<Vec<Record>>();
    let (to_second, of_second) = unbounded::<Vec<Record>>();
    let work = |worker, to: crossbeam_channel::Sender<Vec<Record>>, of: crossbeam_channel::Receiver<Vec<Record>>| {
        let (mut own, mut others) = (0, Vec::with_capacity(BATCH));
        for record in half(all, worker) {
            if worker_of(&record) == worker {
                own += 1;
                continue;
            }
            others.push(record);
            if others.len() == BATCH {
                let _ = to.send(std::mem::replace(&mut others, Vec::with_capacity(BATCH)));
            }
        }
        let _ = to.send(others);
        drop(to);
        own + of.iter().map(|records| records.len()).sum::<usize>()
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(move || work(1, to_first, of_second));
        work(0, to_second, of_first) + other.join().unwrap_or_default()
    })
}
