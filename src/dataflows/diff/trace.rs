//! The arrangement `fingerprints`: a differential trace that the diff owns, reads by cursor, and writes a batch a tick.

use std::path::Path;
use std::rc::Rc;

use differential_dataflow::operators::arrange::{TraceAgent, TraceWriter};
use differential_dataflow::trace::cursor::{CursorList, Navigable, cursor_list};
use differential_dataflow::trace::implementations::{ValBuilder, ValSpine};
use differential_dataflow::trace::{Builder, Cursor as _, Description, Span, Trace, TraceReader};
use timely::dataflow::operators::generic::OperatorInfo;
use timely::progress::{Antichain, Stamp};

use crate::model::{Fingerprint, Key, Kind, PerKind};
use crate::sources::Tick;
use crate::state::{Manifest, Part, PartWriter, StateError, rows_of_worker};

type Spine = ValSpine<Key, Fingerprint, Tick, isize>;
type BatchBuilder = ValBuilder<Key, Fingerprint, Tick, isize>;
type Batch = <Spine as TraceReader>::Batch;

/// Updates of one tick: sorted by key, then fingerprint.
pub type Updates = Vec<((Key, Fingerprint), Tick, isize)>;

/// Rows handed to the batch builder at once while restoring.
const CHUNK: usize = 4096;

/// The trace of one worker, and how many keys of each kind it holds.
pub struct Fingerprints {
    reader: TraceAgent<Spine>,
    writer: TraceWriter<Spine>,
    upper: Antichain<Tick>,
    live: PerKind<u64>,
}

impl Fingerprints {
    /// The trace of `worker` among `workers`, restored from a generation as one batch, without a batcher and without a merge.
    pub fn restore(folder: &Path, manifest: &Manifest, worker: usize, workers: usize) -> Result<Fingerprints, StateError> {
        let info = OperatorInfo::new(0, 0, Rc::from([]));
        let (mut reader, mut writer) = TraceAgent::new(Spine::new(info.clone(), None, None), info, None);
        let all: u64 = manifest.parts.iter().map(|part| part.rows).sum();
        let exact = manifest.parts.iter().find(|part| part.workers == workers && part.worker == worker).map(|part| part.rows);
        let capacity = exact.unwrap_or(all / workers as u64) as usize;
        let mut live = PerKind::<u64>::default();
        let mut batch = BatchBuilder::with_capacity(capacity, capacity, 2);
        let mut chunk = Vec::with_capacity(CHUNK);
        rows_of_worker(folder, manifest, worker, workers, |key, fingerprint| {
            live[key.kind()] += 1;
            chunk.push(((key, fingerprint), 0, 1));
            if chunk.len() == CHUNK {
                batch.push(&mut chunk);
                chunk.clear();
            }
        })?;
        batch.push(&mut chunk);
        let upper = Antichain::from_elem(1);
        let description = Description::new(Antichain::from_elem(0), upper.clone(), Antichain::from_elem(0));
        writer.insert(Span::new(description, batch.done().map(Rc::new)), Stamp::from_elem(0));
        reader.set_logical_compaction(upper.borrow());
        reader.set_physical_compaction(upper.borrow());
        Ok(Fingerprints { reader, writer, upper, live })
    }

    /// Number of keys of a kind.
    pub fn live(&self, kind: Kind) -> u64 {
        self.live[kind]
    }

    /// A cursor over what was committed so far. It moves forward only.
    pub fn cursor(&mut self) -> Cursor {
        // The empty frontier asks for all there is, which a trace never refuses.
        let batches = self.reader.batches_through(Antichain::new().borrow()).unwrap_or_default();
        let (cursor, storage) = cursor_list(batches);
        Cursor { cursor, storage }
    }

    /// Adds to `updates` that a key's fingerprint is another one now, or none.
    pub fn replace(&mut self, updates: &mut Updates, key: Key, old: Option<Fingerprint>, new: Option<Fingerprint>, tick: Tick) {
        match (old, new) {
            (None, Some(_)) => self.live[key.kind()] += 1,
            (Some(_), None) => self.live[key.kind()] -= 1,
            _ => {}
        }
        let mut both = [old.map(|old| ((key, old), tick, -1)), new.map(|new| ((key, new), tick, 1))];
        both.sort_unstable();
        updates.extend(both.into_iter().flatten());
    }

    /// Adds one tick's updates as a batch. Ticks must rise; keys in `updates` too.
    pub fn commit(&mut self, mut updates: Updates, tick: Tick) {
        if updates.is_empty() {
            return;
        }
        let mut batch = BatchBuilder::with_capacity(updates.len(), updates.len(), 2);
        batch.push(&mut updates);
        let upper = Antichain::from_elem(tick + 1);
        let description = Description::new(self.upper.clone(), upper.clone(), Antichain::from_elem(0));
        self.writer.insert(Span::new(description, batch.done().map(Rc::new)), Stamp::from_elem(tick));
        self.upper = upper;
        self.reader.set_logical_compaction(self.upper.borrow());
        self.reader.set_physical_compaction(self.upper.borrow());
    }

    /// Writes all rows as this worker's part of the next generation.
    pub fn save(&mut self, folder: &Path, manifest: &Manifest, worker: usize, workers: usize) -> Result<Part, StateError> {
        let mut writer = PartWriter::create(folder, manifest.state, manifest.generation + 1, worker, workers)?;
        let mut cursor = self.cursor();
        while let Some((key, fingerprint)) = cursor.next() {
            writer.push(key, fingerprint)?;
        }
        writer.finish()
    }
}

/// A cursor over a trace that gives the fingerprint in force for each key.
pub struct Cursor {
    cursor: CursorList<<Batch as Navigable>::Cursor>,
    storage: Vec<Batch>,
}

impl Cursor {
    /// The fingerprint of `key`. Keys asked for must not fall.
    pub fn seek(&mut self, key: Key) -> Option<Fingerprint> {
        self.cursor.seek_key(&self.storage, &key);
        if self.cursor.get_key(&self.storage) == Some(&key) { self.current() } else { None }
    }

    /// Goes to the first key that is not below `key`.
    pub fn skip_to(&mut self, key: Key) {
        self.cursor.seek_key(&self.storage, &key);
    }

    /// The next key that is there, and its fingerprint; steps past it.
    pub fn next(&mut self) -> Option<(Key, Fingerprint)> {
        while let Some(&key) = self.cursor.get_key(&self.storage) {
            let found = self.current();
            self.cursor.step_key(&self.storage);
            if let Some(fingerprint) = found {
                return Some((key, fingerprint));
            }
        }
        None
    }

    fn current(&mut self) -> Option<Fingerprint> {
        self.cursor.rewind_vals(&self.storage);
        let mut found = None;
        while let Some(&fingerprint) = self.cursor.get_val(&self.storage) {
            let mut count = 0;
            self.cursor.map_times(&self.storage, |_, difference| count += *difference);
            if count > 0 {
                found = Some(fingerprint);
            }
            self.cursor.step_val(&self.storage);
        }
        found
    }
}
