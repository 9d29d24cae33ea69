//! What a correct diff must find in the generated months.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::{Kind, PerKind};

/// What a correct diff finds of one kind in one month, against the month before.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Truth {
    /// Whole records, each id once.
    pub records: u64,
    /// Ids that were not there; empty in the first month.
    pub inserted: Vec<u64>,
    /// Ids whose text differs from when it was last whole.
    pub updated: Vec<u64>,
    /// Ids that are there no more.
    pub deleted: Vec<u64>,
    /// Ids that are written again, and how.
    pub duplicates: Vec<(u64, &'static str)>,
    /// Ids that were merged, into which.
    pub merged: BTreeMap<u64, u64>,
    /// Ids that were deleted and are back; in `inserted` too.
    pub reinserted: Vec<u64>,
    /// Ids whose records are malformed, and how; not in `records`.
    pub broken: Vec<(u64, &'static str)>,
}

/// By name of the month and of the kind, as `truth.json` has it.
pub(super) type Truths = BTreeMap<String, BTreeMap<&'static str, Truth>>;

/// How much of each there is in one month's file of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Whole records, each id once.
    pub records: u64,
    /// Records that were not there the month before; 0 in the first month.
    pub inserted: u64,
    /// Records that differ from when they were last whole.
    pub updated: u64,
    /// Records that are there no more.
    pub deleted: u64,
    /// Records that are written again.
    pub duplicates: u64,
    /// Records that were merged into others; among `deleted`.
    pub merged: u64,
    /// Records that are back; among `inserted`.
    pub reinserted: u64,
    /// Malformed records.
    pub broken: u64,
    /// Bytes of XML.
    pub bytes: u64,
    /// Bytes of the file.
    pub gzipped: u64,
}

impl Truth {
    pub fn counts(&self, bytes: u64, gzipped: u64) -> Counts {
        Counts {
            records: self.records,
            inserted: self.inserted.len() as u64,
            updated: self.updated.len() as u64,
            deleted: self.deleted.len() as u64,
            duplicates: self.duplicates.len() as u64,
            merged: self.merged.len() as u64,
            reinserted: self.reinserted.len() as u64,
            broken: self.broken.len() as u64,
            bytes,
            gzipped,
        }
    }
}

/// What was generated.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Months in their order, with counts by kind.
    pub months: Vec<(String, PerKind<Counts>)>,
}

impl Summary {
    /// One month's counts of one kind.
    pub fn counts(&self, month: usize, kind: Kind) -> Counts {
        self.months[month].1[kind]
    }

    /// Bytes of XML in all files.
    pub fn bytes(&self) -> u64 {
        self.months.iter().flat_map(|(_, counts)| counts.0).map(|counts| counts.bytes).sum()
    }
}
