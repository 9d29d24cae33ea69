//! The budget of rejects: a file of which too many records are rejected is no dump with some bad records.
//!
//! `guard` counts, tick by tick, and says so in the [`Excess`] of the run. Nothing ends at once: the kind's deletes are held back, and when
//! all sinks have committed what came up to that tick, dead letters included, the run fails. Ticks are cut by position alone, so whether it
//! does, and at which tick, is the same whatever the number of workers.

use std::sync::{Arc, OnceLock};

use thiserror::Error;

use crate::model::{DeadLetter, Kind};
use crate::sources::Tick;
use crate::telemetry::words::count;

/// So many records of a kind may be rejected, however small it is: a month of artists that lacks some dozens is of use still.
const ALWAYS_ALLOWED: u64 = 100;

/// Before so many records were read it is judged as if they had been: what lies close together in a file, as damage does, must not end it
/// before it is known how good the rest is.
const ENOUGH: u64 = 100_000;

/// How many rejected records an error names.
pub(super) const NAMED: usize = 3;

/// How many records of a kind may be rejected.
#[derive(Clone, Copy, Debug)]
pub struct RejectLimit {
    /// This share of the records that were read, in percent.
    pub percent: f64,
}

impl RejectLimit {
    /// How many of `read`; `ended`: they are all that there are of the kind.
    pub(super) fn of(self, read: u64, ended: bool) -> u64 {
        let read = if ended { read } else { read.max(ENOUGH) };
        ALWAYS_ALLOWED.max((read as f64 * self.percent / 100.0) as u64)
    }
}

/// More records of a kind were rejected than are allowed.
#[derive(Clone, Debug, Error)]
#[error("{}", self.words())]
pub struct TooManyRejected {
    /// The last tick that was counted.
    pub tick: Tick,
    /// The kind.
    pub kind: Kind,
    /// What it is read from.
    pub file: Arc<str>,
    /// Records read up to that tick.
    pub read: u64,
    /// Those that were rejected.
    pub rejected: u64,
    /// How many could have been.
    pub limit: u64,
    /// The first of them.
    pub first: Vec<DeadLetter>,
}

impl TooManyRejected {
    fn words(&self) -> String {
        let first: Vec<_> = self.first.iter().map(|letter| format!("at byte {}: {}", letter.position, letter.reason)).collect();
        format!(
            "{}: {} of the {} {} read so far were rejected, more than the limit of {}: this is no dump with some bad records. The first of \
             them: {}. None of its deletes were taken, and the state is as it was. If the file is damaged, fetch it again; if it is as \
             Discogs wrote it, look at `discodiff dead-letters list`, and raise --reject-limit-percent to go on all the same",
            self.file,
            count(self.rejected),
            count(self.read),
            self.kind.plural(),
            count(self.limit),
            first.join("; "),
        )
    }
}

/// Where it is said that too many were rejected.
#[derive(Clone, Debug, Default)]
pub struct Excess(Arc<OnceLock<TooManyRejected>>);

impl Excess {
    /// Says so; the first that does counts.
    pub(super) fn note(&self, found: TooManyRejected) {
        let _ = self.0.set(found);
    }

    /// What was said.
    pub fn found(&self) -> Option<&TooManyRejected> {
        self.0.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_are_always_allowed_and_a_share_of_what_was_read_once_that_is_enough() {
        let limit = RejectLimit { percent: 1.0 };
        for (read, within, at_the_end) in [(50, 1_000, 100), (20_000, 1_000, 200), (100_000, 1_000, 1_000), (3_000_000, 30_000, 30_000)] {
            assert_eq!((limit.of(read, false), limit.of(read, true)), (within, at_the_end), "{read}");
        }
        assert_eq!(RejectLimit { percent: 0.0 }.of(1_000_000, false), 100);
        assert!(RejectLimit { percent: 100.0 }.of(1_000, true) >= 1_000);
    }
}
