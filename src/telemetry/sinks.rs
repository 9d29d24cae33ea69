//! What each sink's writers have done in a run, and what went wrong.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

use super::course::milliseconds;
use crate::sinks::{Class, Tally};

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The sink has it.
    Committed,
    /// The sink refuses what it contains: its halves follow.
    Refused,
    /// The run ends for it.
    Failed,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Outcome; 3] = [Outcome::Committed, Outcome::Refused, Outcome::Failed];

    /// As metrics name it.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Committed => "committed",
            Outcome::Refused => "refused",
            Outcome::Failed => "failed",
        }
    }
}

/// The counts of one sink, which all of its writers add to.
#[derive(Debug, Default)]
pub struct SinkMeter {
    batches: [AtomicU64; 3],
    errors: [AtomicU64; 3],
    retries: AtomicU64,
    refused: AtomicU64,
    records: [AtomicU64; 3],
    committed_at: AtomicU64,
}

impl SinkMeter {
    /// One more batch; records for which something was written by it.
    pub fn batch(&self, outcome: Outcome, Tally { inserted, updated, deleted }: Tally) {
        self.batches[outcome as usize].fetch_add(1, Relaxed);
        if outcome == Outcome::Committed {
            self.committed_at.store(milliseconds(SystemTime::now()), Relaxed);
        }
        for (counter, more) in self.records.iter().zip([inserted, updated, deleted]) {
            counter.fetch_add(more, Relaxed);
        }
    }

    /// One more error.
    pub fn error(&self, class: Class) {
        self.errors[class as usize].fetch_add(1, Relaxed);
    }

    /// One more attempt at what failed.
    pub fn retry(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    /// So many more records or edges that the sink refuses.
    pub fn refused(&self, number: usize) {
        self.refused.fetch_add(number as u64, Relaxed);
    }

    /// Batches of this outcome.
    pub fn batches(&self, outcome: Outcome) -> u64 {
        self.batches[outcome as usize].load(Relaxed)
    }

    /// Errors of this class.
    pub fn errors(&self, class: Class) -> u64 {
        self.errors[class as usize].load(Relaxed)
    }

    /// Attempts at what had failed.
    pub fn retries(&self) -> u64 {
        self.retries.load(Relaxed)
    }

    /// Records and edges that were refused.
    pub fn refusals(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Records for which something was written.
    pub fn records(&self) -> Tally {
        let [inserted, updated, deleted] = [0, 1, 2].map(|op: usize| self.records[op].load(Relaxed));
        Tally { inserted, updated, deleted }
    }

    /// When a batch was last committed, in milliseconds since 1970; 0: never.
    pub fn committed_at(&self) -> u64 {
        self.committed_at.load(Relaxed)
    }
}
