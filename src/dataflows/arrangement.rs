//! A differential trace that one operator owns, reads by cursor, and writes a batch a tick.
//!
//! Restored from sorted rows as one batch, without a batcher and without a merge; what was committed is compacted at once, since
//! nobody asks how it stood at an earlier tick. The trace is differential's spine; how its batches are laid out and merged is in [`batch`].

mod batch;
mod cursor;
mod piece;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::rc::Rc;

use differential_dataflow::consolidation::consolidate;
use differential_dataflow::operators::arrange::{TraceAgent, TraceWriter};
use differential_dataflow::trace::cursor::{CursorList, Navigable, cursor_list};
use differential_dataflow::trace::implementations::spine_fueled::{Spine as FueledSpine, SpineBatch};
use differential_dataflow::trace::{Cursor as _, Description, Span, Trace, TraceReader};
use timely::dataflow::operators::generic::OperatorInfo;
use timely::progress::{Antichain, Stamp};

use crate::sources::Tick;
use crate::state::{Part, PartWriter, Row, StateError};
use batch::{Batch, gallop};
use piece::{Builder, FULL};

type Spine<K, V> = FueledSpine<Rc<Batch<K, V>>>;

/// What keys and values have to be.
pub trait Datum: Ord + Clone + 'static {}

impl<T: Ord + Clone + 'static> Datum for T {}

/// Updates of one tick: sorted by key, then value.
pub type Updates<K, V> = Vec<((K, V), Tick, isize)>;

/// The trace of one worker.
pub struct Arrangement<K: Datum, V: Datum> {
    reader: TraceAgent<Spine<K, V>>,
    writer: TraceWriter<Spine<K, V>>,
    upper: Antichain<Tick>,
}

impl<K: Datum, V: Datum> Arrangement<K, V> {
    /// One that holds nothing.
    pub fn new() -> Arrangement<K, V> {
        let rows: Result<Option<(K, V, isize)>, std::convert::Infallible> = Ok(None);
        match Arrangement::restore(|| rows.clone()) {
            Ok(arrangement) => arrangement,
            Err(never) => match never {},
        }
    }

    /// One that holds what `next` gives, sorted by key and value, with multiplicities.
    pub fn restore<E>(mut next: impl FnMut() -> Result<Option<(K, V, isize)>, E>) -> Result<Self, E> {
        let info = OperatorInfo::new(0, 0, Rc::from([]));
        let (reader, writer) = TraceAgent::new(Spine::new(info.clone(), None, None), info, None);
        let mut builder = Builder::with_room(FULL);
        while let Some((key, value, records)) = next()? {
            builder.push(&key, &value, records);
        }
        let mut arrangement = Arrangement { reader, writer, upper: Antichain::from_elem(0) };
        arrangement.insert(builder.finish(0), 0);
        Ok(arrangement)
    }

    /// Adds one tick's updates as a batch. Ticks must rise; updates must be consolidated: sorted, each key and value once, no zeros.
    pub fn commit(&mut self, updates: Updates<K, V>, tick: Tick) {
        if updates.is_empty() {
            return;
        }
        let mut builder = Builder::with_room(updates.len());
        updates.iter().for_each(|((key, value), _, difference)| builder.push(key, value, *difference));
        self.insert(builder.finish(tick), tick);
    }

    fn insert(&mut self, batch: Option<Batch<K, V>>, tick: Tick) {
        let upper = Antichain::from_elem(tick + 1);
        let description = Description::new(self.upper.clone(), upper.clone(), Antichain::from_elem(0));
        self.writer.insert(Span::new(description, batch.map(Rc::new)), Stamp::from_elem(tick));
        self.upper = upper;
        self.reader.set_logical_compaction(self.upper.borrow());
        self.reader.set_physical_compaction(self.upper.borrow());
    }

    /// A cursor over what was committed so far. It moves forward only.
    pub fn cursor(&mut self) -> Cursor<K, V> {
        Cursor::over(self.batches())
    }

    /// A cursor over two at once: what they come to together.
    pub fn cursor_with(&mut self, other: &mut Arrangement<K, V>) -> Cursor<K, V> {
        Cursor::over(self.batches().into_iter().chain(other.batches()).collect())
    }

    fn batches(&mut self) -> Vec<Rc<Batch<K, V>>> {
        // The empty frontier asks for all there is, which a trace never refuses.
        self.reader.batches_through(Antichain::new().borrow()).unwrap_or_default()
    }
}

impl<K: Datum, V: Datum> Default for Arrangement<K, V> {
    fn default() -> Self {
        Arrangement::new()
    }
}

/// A cursor that gives keys in order, and with each the values that are there.
pub struct Cursor<K: Datum, V: Datum> {
    cursor: CursorList<<Rc<Batch<K, V>> as Navigable>::Cursor>,
    storage: Vec<Rc<Batch<K, V>>>,
}

impl<K: Datum, V: Datum> Cursor<K, V> {
    fn over(batches: Vec<Rc<Batch<K, V>>>) -> Cursor<K, V> {
        let (cursor, storage) = cursor_list(batches);
        Cursor { cursor, storage }
    }

    /// Goes to the first key that is not below `key`, and says whether it is that one. Keys asked for must not fall.
    pub fn seek(&mut self, key: &K) -> bool {
        self.cursor.seek_key(&self.storage, key);
        self.cursor.get_key(&self.storage) == Some(key)
    }

    /// The key that the cursor stands at.
    pub fn key(&self) -> Option<K> {
        self.cursor.get_key(&self.storage).cloned()
    }

    /// Goes to the next key.
    pub fn step(&mut self) {
        self.cursor.step_key(&self.storage);
    }

    /// Calls `each` with every value of the key that the cursor stands at, in order, and how often it is there: never zero times.
    pub fn values(&mut self, mut each: impl FnMut(&V, isize)) {
        self.cursor.rewind_vals(&self.storage);
        while let Some(value) = self.cursor.get_val(&self.storage) {
            let mut records = 0;
            self.cursor.map_times(&self.storage, |_, difference| records += *difference);
            if records != 0 {
                each(value, records);
            }
            self.cursor.step_val(&self.storage);
        }
    }

    /// Writes all that there is into a file of the state, as the rows that `row` makes of it.
    pub fn save<R: Row>(self, mut writer: PartWriter<R>, mut row: impl FnMut(&K, &V, isize) -> Option<R>) -> Result<Part, StateError> {
        let mut give = |key: &K, value: &V, count| row(key, value, count).map_or(Ok(()), |row| writer.push(row));
        let mut batches = self.storage;
        batches.sort_by_key(|batch| std::cmp::Reverse(batch.len()));
        // Nearly all is in one, and most of its keys are in no other: these are taken from it as they stand.
        let mut others = Cursor::over(batches.split_off(batches.len().min(1)));
        let mut values = Vec::new();
        for piece in batches.iter().flat_map(|batch| batch.pieces()) {
            let mut at = 0;
            while let Some(key) = piece.keys().get(at) {
                let other = others.key();
                let order = other.as_ref().map_or(Ordering::Less, |other| key.cmp(other));
                if order == Ordering::Less {
                    let end = other.map_or(piece.keys().len(), |other| at + gallop(&piece.keys()[at..], |key| *key < other));
                    for key in at..end {
                        piece.values_of(key).try_for_each(|value| give(&piece.keys()[key], piece.value(value), *piece.count(value)))?;
                    }
                    at = end;
                    continue;
                }
                others.values(|value, count| values.push((value.clone(), count)));
                if order == Ordering::Equal {
                    values.extend(piece.values_of(at).map(|value| (piece.value(value).clone(), *piece.count(value))));
                    consolidate(&mut values);
                    at += 1;
                }
                values.drain(..).try_for_each(|(value, count)| give(other.as_ref().unwrap_or(key), &value, count))?;
                others.step();
            }
        }
        while let Some(key) = others.key() {
            others.values(|value, count| values.push((value.clone(), count)));
            values.drain(..).try_for_each(|(value, count)| give(&key, &value, count))?;
            others.step();
        }
        writer.finish()
    }
}
