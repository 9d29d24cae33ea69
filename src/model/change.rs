//! Changes and dead letters.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::graph::{EdgeChange, Projection};
use super::{Digest, Key, Kind};

/// What the diff finds of a key in one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The key was not in the state.
    Insert,
    /// The document differs from the state's.
    Update,
    /// The key is in the state and was not in the snapshot.
    Delete,
    /// The document is the state's; flows only to sinks that are being brought up.
    Unchanged,
}

impl Verdict {
    /// `insert`, `update`, `delete` or `unchanged`.
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Insert => "insert",
            Verdict::Update => "update",
            Verdict::Delete => "delete",
            Verdict::Unchanged => "unchanged",
        }
    }
}

/// One key's verdict with what a sink stores of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Change {
    /// Whose.
    pub key: Key,
    /// What the diff found, by the state, whatever a sink's standing.
    pub verdict: Verdict,
    /// The tick in which it was found.
    pub tick: u64,
    /// The digest and canonical JSON of the document; `None` for deletes.
    pub document: Option<(Digest, Arc<str>)>,
    /// The digest and content of what the graph holds of it, where a graph is kept and that is not what it was, or is asked for.
    pub graph: Option<(Digest, Arc<Projection<Box<str>>>)>,
}

impl Change {
    /// Bytes that it holds on to, for bounding what is in flight.
    pub fn bytes(&self) -> usize {
        let document = self.document.as_ref().map_or(0, |(_, json)| json.len());
        size_of::<Change>() + document + self.graph.as_ref().map_or(0, |(_, projection)| projection.bytes())
    }
}

/// Where a record was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// While the dump was cut into records.
    Split,
    /// While the record's XML was read.
    Parse,
    /// By a sink.
    Sink,
}

impl Stage {
    /// `split`, `parse` or `sink`.
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Split => "split",
            Stage::Parse => "parse",
            Stage::Sink => "sink",
        }
    }
}

/// A record that was rejected, with all that is needed to understand it and to try it again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Kind of the dump that it stood in.
    pub kind: Kind,
    /// Its id, where that is known.
    pub id: Option<u64>,
    /// Name of the dump file.
    pub file: Arc<str>,
    /// Offset of its first byte in the decompressed file; of what a sink refused, [`DeadLetter::no_offset`].
    pub position: u64,
    /// The tick in which it was found.
    pub tick: u64,
    /// Where it was rejected.
    pub stage: Stage,
    /// Why, in words.
    pub reason: String,
    /// Its bytes as read.
    pub raw: Vec<u8>,
}

impl DeadLetter {
    /// What stands for the position of a document that a sink refused, of which only the key is known: one number a key, and none that
    /// a position in a file can be, since two letters of one file are told apart by it.
    pub const fn no_offset(key: Key) -> u64 {
        (1 << 62) | key.id()
    }
}

/// What flows out of the diff.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Event {
    /// A key's verdict.
    Change(Change),
    /// An edge that came or went; flows only to graphs.
    Edge(EdgeChange),
    /// A record that was rejected.
    DeadLetter(DeadLetter),
    /// A key that the state holds and the snapshot did not deliver. Flows only where a sink is being brought up.
    Held(Key),
    /// All of the kind's events have been given, deletes included. One from each worker.
    End(Kind),
}

impl Event {
    /// Bytes that it holds on to, for bounding what is in flight.
    pub fn bytes(&self) -> usize {
        match self {
            Event::Change(change) => change.bytes(),
            Event::Edge(change) => change.edge.bytes(),
            Event::DeadLetter(_) | Event::Held(_) | Event::End(_) => 0,
        }
    }
}
