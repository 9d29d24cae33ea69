//! What operators write down of each tick, so that a run that died can be taken up: a journal of their memories.
//!
//! ```text
//!   diff ──Records, Swept──┐
//!   links ──Links──────────┼──> Journal ──channel──> who writes it (a thread of the run's)
//!   edges ──Assertions─────┘
//! ```
//!
//! An entry is written before anything that its tick gives can be committed anywhere, so whatever the probe says is done stands in it. Which
//! worker wrote it is of no importance: each that takes the run up picks out what it owns.

use std::sync::Arc;

use crossbeam_channel::Sender;
use serde::{Deserialize, Serialize};

use super::diff::{Findings, Stretch};
use super::links::Assertion;
use crate::model::graph::Coded;
use crate::model::{Fingerprint, Key, PerKind};
use crate::sources::{Budget, Holder, Tick};

/// Records of a tick, on one worker.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Records {
    /// Keys whose fingerprint is another one now, sorted.
    pub updates: Vec<(Key, Fingerprint)>,
    /// Ids that were claimed by a whole record, sorted.
    pub seen: Vec<u64>,
    /// Ids of rejected records.
    pub rejected: Vec<u64>,
    /// Rejected records whose id is not known.
    pub anonymous: u64,
    /// Where they were claimed.
    pub stretch: Option<Stretch>,
    /// What else was found.
    pub findings: Findings,
}

/// What an operator did in one tick.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Entry {
    /// Records were compared.
    Records(Box<Records>),
    /// Keys were deleted, sorted; or the verdict came, among what was found.
    Swept(Vec<Key>, Box<Findings>),
    /// Links that came (true) or went, sorted by key; records that the snapshot did not deliver.
    Links(Vec<(Key, Coded, bool)>, PerKind<u64>),
    /// Records that assert an edge, or do so no more.
    Assertions(Vec<Assertion>),
    /// Texts that came into the dictionary, under their codes.
    Texts(Vec<(u32, Arc<str>)>),
}

impl Entry {
    /// What [`Entry::what`] is of records.
    pub const RECORDS: u8 = 0;
    /// What [`Entry::what`] is of texts.
    pub const TEXTS: u8 = 4;

    /// Which sort it is.
    pub const fn what(&self) -> u8 {
        match self {
            Entry::Records(_) => Entry::RECORDS,
            Entry::Swept(..) => 1,
            Entry::Links(..) => 2,
            Entry::Assertions(_) => 3,
            Entry::Texts(_) => Entry::TEXTS,
        }
    }

    /// How many keys were inserted, updated or deleted.
    pub fn changes(&self) -> u64 {
        match self {
            Entry::Records(records) => records.findings.counts.iter().map(|(_, counts)| counts.inserted + counts.updated).sum(),
            Entry::Swept(deleted, _) => deleted.len() as u64,
            _ => 0,
        }
    }

    /// As bytes.
    pub fn encode(&self) -> anyhow::Result<Vec<u8>> {
        Ok(bincode::serialize(self)?)
    }

    /// From bytes that [`Entry::encode`] gave.
    pub fn decode(bytes: &[u8]) -> anyhow::Result<Entry> {
        Ok(bincode::deserialize(bytes)?)
    }

    /// About how many bytes it takes in memory.
    fn bytes(&self) -> usize {
        match self {
            Entry::Records(records) => records.updates.len() * 32 + records.seen.len() * 8,
            Entry::Swept(deleted, _) => deleted.len() * 8,
            Entry::Links(links, _) => links.len() * 24,
            Entry::Assertions(assertions) => assertions.len() * 32,
            Entry::Texts(texts) => texts.iter().map(|(_, text)| text.len() + 24).sum(),
        }
    }
}

/// What is sent to who writes the journal.
#[derive(Debug)]
pub enum Note {
    /// An entry of a tick; so many bytes are counted as in flight until it is written.
    Entry(Tick, Entry, usize),
    /// All of this worker's entries below this tick were sent.
    Done(usize, Tick),
}

/// An operator's end of the way to the journal.
#[derive(Clone, Debug)]
pub struct Journal {
    sender: Option<Sender<Note>>,
    budget: Arc<Budget>,
}

impl Journal {
    /// One that is written by who has the other end of `sender`; by nobody where there is none.
    pub fn new(sender: Option<Sender<Note>>, budget: Arc<Budget>) -> Journal {
        Journal { sender, budget }
    }

    /// Whether it is written at all.
    pub fn is_kept(&self) -> bool {
        self.sender.is_some()
    }

    /// Writes an entry down.
    pub fn note(&self, tick: Tick, entry: impl FnOnce() -> Entry) {
        let Some(sender) = &self.sender else { return };
        let entry = entry();
        let bytes = entry.bytes();
        self.budget.add(Holder::JOURNAL, bytes);
        // Who is gone has said why through the run's stop signal.
        let _ = sender.send(Note::Entry(tick, entry, bytes));
    }

    /// Says that all of a worker's entries below this tick were written down.
    pub fn done(&self, worker: usize, below: Tick) {
        if let Some(sender) = &self.sender {
            let _ = sender.send(Note::Done(worker, below));
        }
    }
}
