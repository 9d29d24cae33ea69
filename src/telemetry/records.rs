//! What became of the records of each kind, counted while a run goes on.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::dataflows::Counts;
use crate::model::{Kind, PerKind};

/// Counts of each kind, which workers add to once a tick.
#[derive(Debug, Default)]
pub struct Records(PerKind<Counters>);

#[derive(Debug, Default)]
struct Counters {
    parsed: AtomicU64,
    received: AtomicU64,
    inserted: AtomicU64,
    updated: AtomicU64,
    deleted: AtomicU64,
    unchanged: AtomicU64,
    duplicates: AtomicU64,
    rejected: AtomicU64,
    deletes_withheld: AtomicU64,
}

impl Records {
    /// So many more, of which so many were parsed. Withheld deletes are those of all workers, as every worker knows them.
    pub fn add(&self, kind: Kind, counts: &Counts, parsed: u64) {
        let of = &self.0[kind];
        for (counter, more) in [
            (&of.parsed, parsed),
            (&of.received, counts.received),
            (&of.inserted, counts.inserted),
            (&of.updated, counts.updated),
            (&of.deleted, counts.deleted),
            (&of.unchanged, counts.unchanged),
            (&of.duplicates, counts.duplicates),
            (&of.rejected, counts.rejected),
        ] {
            if more > 0 {
                counter.fetch_add(more, Relaxed);
            }
        }
        of.deletes_withheld.fetch_max(counts.deletes_withheld, Relaxed);
    }

    /// The counts of a kind so far, and how many records were parsed.
    pub fn of(&self, kind: Kind) -> (Counts, u64) {
        let of = &self.0[kind];
        let counts = Counts {
            received: of.received.load(Relaxed),
            inserted: of.inserted.load(Relaxed),
            updated: of.updated.load(Relaxed),
            deleted: of.deleted.load(Relaxed),
            unchanged: of.unchanged.load(Relaxed),
            duplicates: of.duplicates.load(Relaxed),
            rejected: of.rejected.load(Relaxed),
            deletes_withheld: of.deletes_withheld.load(Relaxed),
        };
        (counts, of.parsed.load(Relaxed))
    }
}
