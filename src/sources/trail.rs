//! The reader's trail: where it stood after each block, so that it can go on from there.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::{Tick, first_tick, kind_of, last_tick};
use crate::model::{Kind, PerKind};

/// A place in what is read of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourcePosition {
    /// Records before it.
    pub records: u64,
    /// Of a file: where the last of them begins, in bytes of XML.
    pub last: u64,
    /// Of a topic: the partitions that were read.
    pub lanes: Vec<Lane>,
}

/// A place in a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lane {
    /// Which.
    pub partition: usize,
    /// The offset that was read last.
    pub last: i64,
    /// Records before it.
    pub records: u64,
    /// Whether the end marker was read.
    pub ended: bool,
    /// What was wrong with it.
    pub defect: Option<String>,
}

/// From where on an epoch is to be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// The first tick.
    pub tick: Tick,
    /// The place in its kind; `None`: at its beginning.
    pub position: Option<SourcePosition>,
}

impl Mark {
    /// The kind that is read first.
    pub fn kind(&self) -> Kind {
        kind_of(self.tick)
    }

    /// From where on two processes that read the same kind are to read: each goes on where it stood, at the tick of who has come farther,
    /// as the other has then come to the end of its part.
    pub fn with(self, other: Mark) -> Mark {
        let position = match (self.position, other.position) {
            (Some(ours), Some(theirs)) => Some(ours.with(theirs)),
            (ours, theirs) => ours.or(theirs),
        };
        Mark { tick: self.tick.max(other.tick), position }
    }
}

impl SourcePosition {
    /// A place in the partitions of both; in a file they are the same.
    fn with(mut self, other: SourcePosition) -> SourcePosition {
        if !other.lanes.is_empty() {
            self.records += other.records;
            self.lanes.extend(other.lanes);
            self.lanes.sort_by_key(|lane| lane.partition);
        }
        self
    }

    /// The same in some of the partitions.
    pub fn only(self, mine: impl Fn(usize) -> bool) -> SourcePosition {
        let lanes: Vec<_> = self.lanes.into_iter().filter(|lane| mine(lane.partition)).collect();
        SourcePosition { records: lanes.iter().map(|lane| lane.records).sum(), last: 0, lanes }
    }
}

/// Where the reader stood after each block that is not everywhere done with yet. Shared by the reader and who takes checkpoints.
#[derive(Debug)]
pub struct Trail {
    epoch: u64,
    inner: Mutex<Inner>,
    /// The block that comes next.
    next: AtomicU64,
    /// Nothing more is to be read.
    ending: AtomicBool,
}

#[derive(Debug, Default)]
struct Inner {
    after: BTreeMap<Tick, SourcePosition>,
    /// Kinds that were read to their end.
    ended: PerKind<bool>,
}

impl Trail {
    /// A trail of this epoch.
    pub fn new(epoch: u64) -> Trail {
        Trail { epoch, inner: Mutex::default(), next: AtomicU64::new(0), ending: AtomicBool::new(false) }
    }

    /// The epoch's number.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Has the reader read no more: what is on its way goes on, and then there is a last checkpoint.
    pub fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    /// Whether the reader is to read no more.
    pub fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    /// Notes that the block of this tick comes next.
    pub fn goes_on_at(&self, tick: Tick) {
        self.next.store(tick, Ordering::Relaxed);
    }

    /// The block that comes next.
    pub fn next(&self) -> Tick {
        self.next.load(Ordering::Relaxed)
    }

    /// Notes where the reader stands after the block of this tick, which may be its kind's last.
    pub fn note(&self, tick: Tick, position: SourcePosition, last: bool) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.after.insert(tick, position);
        if last {
            inner.ended[kind_of(tick)] = true;
        }
    }

    /// From where on an epoch is to be read of which all ticks below this one are done: not behind the block with which a kind ends
    /// before its deletes are done too, since they come from that. `None`: it is not known.
    pub fn mark(&self, done: Tick) -> Option<Mark> {
        // Before anything was read, the frontier is timely's own beginning.
        if done < first_tick(self.epoch, Kind::Artist) {
            return None;
        }
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, ended) = (first_tick(self.epoch, kind_of(done)), inner.ended[kind_of(done)]);
        let done = if ended { done.min(last_tick(self.epoch, kind_of(done))) } else { done };
        let kept = inner.after.range(..done).next_back().map_or(done, |(tick, _)| *tick);
        inner.after = inner.after.split_off(&kept);
        let Some((tick, position)) = inner.after.range(first..done).next_back() else {
            return (ended || done == first).then_some(Mark { tick: first, position: None });
        };
        (ended || tick + 1 == done).then(|| Mark { tick: tick + 1, position: Some(position.clone()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::first_delete_tick;

    #[test]
    fn a_mark_stands_at_a_block_of_which_none_before_is_open_and_a_kind_is_behind_it_only_with_its_deletes() {
        let trail = Trail::new(3);
        let at = |records| SourcePosition { records, ..SourcePosition::default() };
        let (labels, masters) = (first_tick(3, Kind::Label), first_tick(3, Kind::Master));
        assert_eq!(trail.mark(0), None);
        assert_eq!(trail.mark(labels), Some(Mark { tick: labels, position: None }));
        (0..3).for_each(|block| trail.note(labels + block, at(block + 1), false));
        trail.note(last_tick(3, Kind::Label), at(4), true);
        assert_eq!(trail.mark(labels + 2), Some(Mark { tick: labels + 2, position: Some(at(2)) }));
        let deletes = first_delete_tick(3, Kind::Label);
        for done in [labels + 3, last_tick(3, Kind::Label), deletes, deletes + 9] {
            assert_eq!(trail.mark(done), Some(Mark { tick: labels + 3, position: Some(at(3)) }), "{done:x}");
        }
        trail.note(masters, at(1), false);
        assert_eq!(trail.mark(masters), Some(Mark { tick: masters, position: None }));
        assert_eq!(trail.mark(masters + 1), Some(Mark { tick: masters + 1, position: Some(at(1)) }));
        assert_eq!(trail.mark(masters + 5), None, "no block of which nothing is known");
    }
}
