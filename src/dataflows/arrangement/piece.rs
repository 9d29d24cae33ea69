//! A sorted run of updates, in columns, and what gathers updates into such runs.

use std::ops::Range;
use std::rc::Rc;

use super::batch::Batch;
use crate::sources::Tick;

/// Values of a piece, from half of this to half as much again. Merges copy pieces that overlap and share the others: of larger ones more
/// overlap, and smaller ones are more to walk. Few in tests, so that small ones meet many pieces.
pub(super) const FULL: usize = if cfg!(test) { 8 } else { 8_192 };

/// A piece below this is copied where it could be shared, or many merges would leave many small ones.
const LEAST: usize = FULL / 2;

/// Some keys, each with all values that the batch has of it, and how often each value comes, or (below zero) goes.
pub struct Piece<K, V> {
    keys: Vec<K>,
    /// Where each key's values end. Empty where each key has one.
    ends: Vec<u32>,
    values: Vec<V>,
    /// Empty where each value comes once.
    counts: Vec<isize>,
}

impl<K: Ord + Clone, V: Ord + Clone> Piece<K, V> {
    fn with_room(values: usize) -> Piece<K, V> {
        Piece { keys: Vec::with_capacity(values), ends: Vec::new(), values: Vec::with_capacity(values), counts: Vec::new() }
    }

    /// Its keys.
    pub fn keys(&self) -> &[K] {
        &self.keys
    }

    /// How many values it has.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// The values of the key at this place.
    pub fn values_of(&self, key: usize) -> Range<usize> {
        if self.ends.is_empty() {
            return key..key + 1;
        }
        let start = if key == 0 { 0 } else { self.ends[key - 1] as usize };
        start..self.ends[key] as usize
    }

    /// The values of the keys at these places; there is one at least.
    pub fn values_of_all(&self, keys: &Range<usize>) -> Range<usize> {
        self.values_of(keys.start).start..self.values_of(keys.end - 1).end
    }

    /// The value at this place.
    pub fn value(&self, at: usize) -> &V {
        &self.values[at]
    }

    /// How often it comes.
    pub fn count(&self, at: usize) -> &isize {
        self.counts.get(at).unwrap_or(&1)
    }

    fn push(&mut self, key: &K, value: &V, count: isize) {
        let more = self.keys.last() == Some(key);
        if more {
            self.write_ends();
            self.ends.pop();
        } else {
            self.keys.push(key.clone());
        }
        if count != 1 {
            self.write_counts();
        }
        if count != 1 || !self.counts.is_empty() {
            self.counts.push(count);
        }
        self.values.push(value.clone());
        if more || !self.ends.is_empty() {
            self.ends.push(self.values.len() as u32);
        }
    }

    /// Adds the keys at these places of another piece, which are greater than its own.
    fn append(&mut self, other: &Piece<K, V>, keys: Range<usize>) {
        let values = other.values_of_all(&keys);
        if !other.ends.is_empty() {
            self.write_ends();
        }
        if !other.ends.is_empty() || !self.ends.is_empty() {
            let before = self.values.len();
            self.ends.extend(keys.clone().map(|key| (other.values_of(key).end - values.start + before) as u32));
        }
        if !other.counts.is_empty() {
            self.write_counts();
        }
        if !other.counts.is_empty() || !self.counts.is_empty() {
            self.counts.extend(values.clone().map(|at| other.count(at)));
        }
        self.keys.extend_from_slice(&other.keys[keys]);
        self.values.extend_from_slice(&other.values[values]);
    }

    fn write_ends(&mut self) {
        if self.ends.is_empty() {
            self.ends.extend(1..=self.keys.len() as u32);
        }
    }

    fn write_counts(&mut self) {
        if self.counts.is_empty() {
            self.counts.resize(self.values.len(), 1);
        }
    }

    /// Gives back the room that is not needed.
    fn shrink(&mut self) {
        self.keys.shrink_to_fit();
        self.ends.shrink_to_fit();
        self.values.shrink_to_fit();
        self.counts.shrink_to_fit();
    }
}

/// Gathers sorted updates into the pieces of a batch.
pub struct Builder<K, V> {
    pieces: Vec<Rc<Piece<K, V>>>,
    /// A full piece, which takes in what is left over behind it.
    full: Option<Piece<K, V>>,
    open: Piece<K, V>,
    room: usize,
}

impl<K: Ord + Clone, V: Ord + Clone> Builder<K, V> {
    /// For a batch of about so many values.
    pub fn with_room(values: usize) -> Builder<K, V> {
        let room = values.min(FULL);
        Builder { pieces: Vec::new(), full: None, open: Piece::with_room(room), room }
    }

    /// Adds a value. Keys and values must rise; a key's values must all come by this, one after another.
    pub fn push(&mut self, key: &K, value: &V, count: isize) {
        if self.open.values.len() >= FULL && self.open.keys.last() != Some(key) {
            self.turn();
        }
        self.open.push(key, value, count);
    }

    /// Adds the keys at these places of a piece, which are greater than what there is.
    pub fn append(&mut self, piece: &Piece<K, V>, mut keys: Range<usize>) {
        while !keys.is_empty() {
            if self.open.values.len() >= FULL {
                self.turn();
            }
            let room = FULL - self.open.values.len();
            let end = if piece.ends.is_empty() {
                keys.end.min(keys.start + room)
            } else {
                let most = piece.values_of(keys.start).start + room;
                keys.start + piece.ends[keys.clone()].partition_point(|end| *end as usize <= most)
            };
            // A key has more values than there is room for.
            let end = end.max(keys.start + 1);
            self.open.append(piece, keys.start..end);
            keys.start = end;
        }
    }

    /// Adds a whole piece, whose keys are greater than what there is, without copying it; false where that would leave small pieces.
    pub fn share(&mut self, piece: &Rc<Piece<K, V>>) -> bool {
        let shared = piece.values.len() >= LEAST && self.close();
        if shared {
            self.pieces.push(Rc::clone(piece));
        }
        shared
    }

    /// Adds two lists of one key's values, as what they come to together.
    pub fn merge(&mut self, (one, at): (&Piece<K, V>, usize), (other, other_at): (&Piece<K, V>, usize)) {
        let key = &one.keys[at];
        let (mut left, mut right) = (one.values_of(at), other.values_of(other_at));
        while !left.is_empty() || !right.is_empty() {
            let (a, b) = (one.values[left.clone()].first(), other.values[right.clone()].first());
            let takes_left = b.is_none_or(|b| a.is_some_and(|a| a <= b));
            let takes_right = a.is_none_or(|a| b.is_some_and(|b| b <= a));
            let mut count = 0;
            if takes_left {
                count += one.count(left.start);
                left.start += 1;
            }
            if takes_right {
                count += other.count(right.start);
                right.start += 1;
            }
            if let Some(value) = if takes_left { a } else { b }.filter(|_| count != 0) {
                self.push(key, value, count);
            }
        }
    }

    /// The batch, as of a tick, if there is anything in it.
    pub fn finish(mut self, tick: Tick) -> Option<Batch<K, V>> {
        if !self.close() {
            self.turn();
            self.pieces.extend(self.full.take().map(Rc::new));
        }
        Batch::new(self.pieces, tick)
    }

    /// Opens another piece.
    fn turn(&mut self) {
        let mut full = std::mem::replace(&mut self.open, Piece::with_room(self.room));
        full.shrink();
        self.pieces.extend(self.full.replace(full).map(Rc::new));
    }

    /// Ends the pieces that there are; false where that would leave a small one.
    fn close(&mut self) -> bool {
        let open = self.open.values.len();
        if open >= LEAST {
            self.turn();
        } else if let (Some(full), true) = (&mut self.full, open > 0) {
            full.append(&self.open, 0..self.open.keys.len());
            full.shrink();
            self.open = Piece::with_room(self.room);
        } else if open > 0 {
            return false;
        }
        self.pieces.extend(self.full.take().map(Rc::new));
        true
    }
}
