//! Batches of the trace, and their merging.
//!
//! ```text
//!   batch   [a .. d] [e .. h] [i .. m]        pieces of some thousand values, in the order of keys
//!   batch            [f .. g]          [n .. q]
//!   merged  [a .. d] [e f g h] [i .. m] [n .. q]
//!           shared   copied    shared   shared
//! ```
//!
//! Pieces that overlap no other are shared by a merge, not copied. In the dumps keys rise, so a first load holds each once at any time, however
//! large the batches that are being merged; and a month's changes are spread over the ids, but are few.
//!
//! All updates of a batch are at one tick: what was committed may be compacted before it is merged, up to the newest tick.

use std::rc::Rc;

use differential_dataflow::trace::implementations::spine_fueled::{Merger, SpineBatch};
use timely::progress::frontier::AntichainRef;

use super::Datum;
use super::piece::{Builder, Piece};
use crate::sources::Tick;

/// Some updates, sorted by key and value.
pub struct Batch<K, V> {
    pieces: Vec<Rc<Piece<K, V>>>,
    /// The last key of each, together for the sake of searching.
    lasts: Vec<K>,
    values: usize,
    tick: Tick,
}

impl<K: Ord + Clone, V: Ord + Clone> Batch<K, V> {
    pub(super) fn new(pieces: Vec<Rc<Piece<K, V>>>, tick: Tick) -> Option<Batch<K, V>> {
        let lasts = pieces.iter().filter_map(|piece| piece.keys().last().cloned()).collect();
        let values = pieces.iter().map(|piece| piece.len()).sum();
        (values > 0).then_some(Batch { pieces, lasts, values, tick })
    }

    /// Its pieces.
    pub fn pieces(&self) -> &[Rc<Piece<K, V>>] {
        &self.pieces
    }

    /// The last key of each.
    pub fn lasts(&self) -> &[K] {
        &self.lasts
    }

    /// When all of it was committed, at the latest.
    pub fn tick(&self) -> &Tick {
        &self.tick
    }
}

impl<K: Datum, V: Datum> SpineBatch for Batch<K, V> {
    type Time = Tick;
    type Merger = Merge<K, V>;

    fn len(&self) -> usize {
        self.values
    }
}

/// A merge under way.
pub struct Merge<K, V> {
    places: [Place; 2],
    builder: Builder<K, V>,
    tick: Tick,
}

/// How far a batch has been merged.
#[derive(Clone, Copy, Default)]
struct Place {
    piece: usize,
    key: usize,
}

impl Place {
    fn of<'b, K: Ord + Clone, V: Ord + Clone>(&self, batch: &'b Batch<K, V>) -> Option<&'b Rc<Piece<K, V>>> {
        batch.pieces.get(self.piece)
    }

    fn go_to<K: Ord + Clone, V: Ord + Clone>(&mut self, key: usize, piece: &Piece<K, V>) {
        self.key = key;
        if key == piece.keys().len() {
            *self = Place { piece: self.piece + 1, key: 0 };
        }
    }
}

impl<K: Datum, V: Datum> Merger<Batch<K, V>> for Merge<K, V> {
    fn new(one: &Batch<K, V>, other: &Batch<K, V>, frontier: AntichainRef<'_, Tick>) -> Self {
        let tick = one.tick.max(other.tick).max(frontier.first().copied().unwrap_or_default());
        Merge { places: [Place::default(); 2], builder: Builder::with_room(one.values + other.values), tick }
    }

    fn work(&mut self, one: &Batch<K, V>, other: &Batch<K, V>, fuel: &mut isize) {
        while *fuel > 0 {
            let [at, other_at] = self.places;
            let cost = match (at.of(one), other_at.of(other)) {
                (None, None) => return,
                (Some(piece), None) => self.take(0, piece, piece.keys().len()),
                (None, Some(piece)) => self.take(1, piece, piece.keys().len()),
                (Some(piece), Some(other)) => self.step(piece, other),
            };
            *fuel = fuel.saturating_sub_unsigned(cost);
        }
    }

    fn done(self) -> Option<Batch<K, V>> {
        self.builder.finish(self.tick)
    }
}

impl<K: Datum, V: Datum> Merge<K, V> {
    /// Takes the lesser keys up to the other batch's next, or what both have of one key; gives the number of values copied.
    fn step(&mut self, piece: &Rc<Piece<K, V>>, other: &Rc<Piece<K, V>>) -> usize {
        let [at, other_at] = self.places.map(|place| place.key);
        let (key, other_key) = (&piece.keys()[at], &other.keys()[other_at]);
        match key.cmp(other_key) {
            std::cmp::Ordering::Less => self.take(0, piece, at + gallop(&piece.keys()[at..], |key| key < other_key)),
            std::cmp::Ordering::Greater => self.take(1, other, other_at + gallop(&other.keys()[other_at..], |other_key| other_key < key)),
            std::cmp::Ordering::Equal => {
                self.builder.merge((piece, at), (other, other_at));
                self.places[0].go_to(at + 1, piece);
                self.places[1].go_to(other_at + 1, other);
                piece.values_of(at).len() + other.values_of(other_at).len()
            }
        }
    }

    /// Takes one side's keys up to a place.
    fn take(&mut self, side: usize, piece: &Rc<Piece<K, V>>, end: usize) -> usize {
        let keys = self.places[side].key..end;
        self.places[side].go_to(end, piece);
        let whole = keys == (0..piece.keys().len());
        if whole && self.builder.share(piece) {
            return 1;
        }
        let copied = piece.values_of_all(&keys).len();
        self.builder.append(piece, keys);
        copied
    }
}

/// How many there are at the head of a sorted list of which something holds that holds of none behind them. Cheapest where they are few.
pub(super) fn gallop<T>(sorted: &[T], holds: impl Fn(&T) -> bool) -> usize {
    let mut reach = 1;
    while sorted.get(reach - 1).is_some_and(&holds) {
        reach *= 2;
    }
    let from = reach / 2;
    from + sorted[from..reach.min(sorted.len())].partition_point(holds)
}
