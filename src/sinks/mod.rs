//! What a sink is. Each has the same rooms: `mod.rs` (opening, standing, begin and complete), `writer.rs` (batches),
//! `error.rs` (which of the client's errors is retried, rejected or ends the run) and, for document stores, `rows.rs` (reading back)
//! and `letters.rs` (dead letters).
//!
//! ```text
//!   open ── standing ──(judged against the state)── begin ── Writer, one a thread ── complete
//! ```
//!
//! A sink is opened and its standing read before anything is written anywhere. `begin` binds a new store to the state, raises the
//! store's run number and hands out writers; each is driven by a thread of its own ([`driver`]), gets batches of whole ticks, and
//! writes each in one transaction with its watermark. Every write is absolute, so writing a batch again changes nothing.

pub mod documents;
pub mod driver;
mod error;
pub mod feed;
mod fields;
mod hint;
pub mod kafka;
pub mod letters;
pub mod neo4j;
mod patience;
pub mod postgres;
pub mod sqlite;
mod tables;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use roaring::RoaringTreemap;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::graph::{Edge, EdgeChange, Family, Properties};
use crate::model::{Change, DeadLetter, Key, Kind, Peers, PerKind, Verdict};
use crate::sources::Tick;
pub use error::{Class, SinkError};
pub use fields::changed_fields;
pub use hint::hint;
pub use letters::DeadLetters;
pub(crate) use tables::id_of;

/// What a store is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading only: nothing is made, migrated or locked, and a store that is not there reads as an empty one.
    Read,
    /// A run: the store may be begun, and no other run may have it open.
    Write,
}

/// One application of a snapshot: its number in the order of application, and an id that no other run of that number shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epoch {
    /// From 1 on; never used again once begun.
    pub number: u64,
    /// Tells this application from one of the same number that another copy of the state made.
    pub id: Uuid,
}

/// What a store says about itself; by default, that nothing was written to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The state that it is bound to; `None`: to none, and it holds no data.
    pub state: Option<Uuid>,
    /// Its own id, which it gets when it is bound; `None` also for one that keeps none.
    pub store: Option<Uuid>,
    /// The epoch that was last applied whole, for each kind.
    pub kinds: PerKind<Option<Epoch>>,
    /// For each kind the epoch that was begun in it and not completed: it may hold some of that.
    pub begun: PerKind<Option<Epoch>>,
}

impl Standing {
    /// The highest number of an epoch that it knows of; 0 where it knows of none.
    pub fn newest(&self) -> u64 {
        self.kinds.0.iter().chain(&self.begun.0).flatten().map(|epoch| epoch.number).max().unwrap_or(0)
    }
}

/// How a sink stands for one kind, as judged against the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Need {
    /// It holds what the state holds: it gets the changes.
    Changes,
    /// It is new, empty or behind: it gets every record of the snapshot, and keys that the state lacks are deleted.
    Everything,
    /// It was found to differ: it gets the keys that do, and no others. See [`Faults`].
    Repair,
}

/// In which keys of a kind a store differs from the state.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Ids that the state holds: these are written, whatever the store holds of them.
    pub write: RoaringTreemap,
    /// Ids that the state does not hold: these are removed; in a graph, made bare stubs.
    pub remove: RoaringTreemap,
    /// Whether there are rows or nodes whose id no record can have.
    pub junk: bool,
}

impl Faults {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.write.is_empty() && self.remove.is_empty() && !self.junk
    }
}

/// Who writes to a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writers {
    /// One writer, and none where there are several processes.
    Alone,
    /// One writer, at process 0, which is given what the others have.
    First,
    /// One writer a process.
    Processes,
    /// One writer a worker.
    Workers,
}

impl Writers {
    /// The workers that share a worker's writer; the first of them has it.
    pub fn sharing(self, worker: usize, peers: Peers) -> Range<usize> {
        match self {
            Writers::Alone | Writers::First => 0..peers.count(),
            Writers::Processes => {
                let first = worker - worker % peers.workers;
                first..first + peers.workers
            }
            Writers::Workers => worker..worker + 1,
        }
    }
}

/// What a sink needs to know of a run before it begins.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// The state's id.
    pub state: Uuid,
    /// What is being applied.
    pub epoch: Epoch,
    /// The snapshot's month, `2025-12`.
    pub month: String,
    /// The kinds that are read, and what the sink needs of each; `None`: the kind is not read.
    pub kinds: PerKind<Option<KindRun>>,
    /// Where an unfinished run of the epoch is taken up within it.
    pub from: Option<From>,
    /// All workers: as many writers as there are can be used.
    pub peers: Peers,
    /// Whether [`Written::fields`] is asked for (a feed is among the sinks).
    pub want_fields: bool,
    /// Epochs begun earlier and never completed: marked so in `snapshots`.
    pub abandoned: Vec<u64>,
    /// The completed epoch at which a feed that lacks nothing stands; `None`: none yet.
    pub before: Option<Epoch>,
}

/// A place within an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct From {
    /// What lies below this tick was committed in every sink.
    pub tick: Tick,
    /// Keys that were inserted, updated or deleted below it.
    pub changes: u64,
}

impl Run {
    /// Whether the sink is to get a change, or to be told of a key.
    pub fn concerns(&self, key: Key, verdict: Option<Verdict>) -> bool {
        match &self.kinds[key.kind()] {
            None => false,
            Some(KindRun { need: Need::Changes, .. }) => verdict != Some(Verdict::Unchanged),
            Some(KindRun { need: Need::Everything, .. }) => true,
            Some(KindRun { need: Need::Repair, faults, .. }) => faults.write.contains(key.id()),
        }
    }

    /// A kind's [`KindRun::sha256`]; empty where the kind takes no part.
    pub fn sha256(&self, kind: Kind) -> &str {
        self.kinds[kind].as_ref().map_or("", |kind| &kind.sha256)
    }
}

/// One kind's part of a [`Run`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KindRun {
    /// What this sink needs.
    pub need: Need,
    /// Where that is a repair: of which keys. Several processes repair nothing together.
    #[serde(skip)]
    pub faults: Arc<Faults>,
    /// The month of the file, `2025-12`.
    pub month: String,
    /// Name of the dump file, without its folder.
    pub file: String,
    /// The file's sha256 in hexadecimal: until it has been read, maybe the one that is stated of it.
    pub sha256: String,
}

/// How one kind ended in one sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindEnd {
    /// The epoch whose content of this kind the state now holds: an earlier one than the run's where nothing changed.
    pub epoch: Epoch,
    /// Whether the sink now holds what the state holds; if not, it stays behind.
    pub current: bool,
    /// Whether all of the kind was read: what earlier epochs rejected of it is then obsolete.
    pub whole: bool,
    /// Records that the state now holds.
    pub records: u64,
    /// Deletes that were withheld.
    pub deletes_withheld: u64,
    /// Records that were rejected.
    pub rejected: u64,
}

/// A batch: whole ticks of one writer, or a part of a tick; written in one transaction.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Counts a writer's batches in a run, from 1 on.
    pub number: u64,
    /// The last tick of which the batch holds anything.
    pub tick: u64,
    /// Each key at most once, sorted by tick and key.
    pub changes: Vec<Change>,
    /// For a graph: edges that came or went, each at most once, sorted by tick. Nodes are written before them.
    pub edges: Vec<EdgeChange>,
    /// For a feed: the top-level fields that a document store found changed, sorted by key.
    pub fields: Vec<(Key, Vec<String>)>,
    /// Records that were rejected before they reached any sink, sorted by tick.
    pub dead_letters: Vec<DeadLetter>,
}

/// Numbers of records for which a store was changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Rows that were not there before.
    pub inserted: u64,
    /// Rows that were replaced by different ones.
    pub updated: u64,
    /// Rows that were removed.
    pub deleted: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.deleted += other.deleted;
    }
}

/// What a batch came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Records for which something was written, by what happened in the store.
    pub tally: Tally,
    /// Where [`Run::want_fields`]: top-level document fields that changed, sorted, for each key whose verdict is an update.
    pub fields: Vec<(Key, Vec<String>)>,
}

/// What a sink holds of the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Every record's document.
    Documents,
    /// Every record's node, and the edges that records assert.
    Graph,
    /// Changes, not a state: it is never brought up. Those of an epoch that was given up are taken back.
    Changes,
    /// Changes that cannot be taken back: what a given-up epoch said of a key is made good by the next one.
    Messages,
}

impl Holds {
    /// Whether it holds changes, not a state.
    pub fn is_feed(self) -> bool {
        matches!(self, Holds::Changes | Holds::Messages)
    }
}

/// A store or feed that has been opened.
pub trait Sink: Send {
    /// `postgres`, `sqlite`, `neo4j`, `document_topics` or `feed`.
    fn name(&self) -> &'static str;

    /// What it is and where, as messages name it.
    fn place(&self) -> String {
        self.name().to_owned()
    }

    /// Whether there is anything at its place. A server that answers is there.
    fn is_there(&self) -> bool {
        true
    }

    /// What it says about itself; an error where it holds data that no discodiff wrote. Writes nothing.
    fn standing(&mut self) -> Result<Standing, SinkError>;

    /// What it holds: documents unless it says otherwise.
    fn holds(&self) -> Holds {
        Holds::Documents
    }

    /// Who writes to it.
    fn writers(&self) -> Writers;

    /// Makes or migrates what is missing, binds the store to the state, notes the snapshot as begun, raises the run number, and hands
    /// out the writers of this process, in the order of workers.
    fn begin(&mut self, run: &Run) -> Result<Vec<Box<dyn Writer>>, SinkError>;

    /// What other processes need to write along in the run that was begun here, for their [`Sink::join`]; `None`: there is no writing along.
    fn pass(&self) -> Option<String> {
        None
    }

    /// Writers for these workers, in a run that another process has begun.
    fn join(&mut self, _run: &Run, _pass: &str, _workers: Range<usize>) -> Result<Vec<Box<dyn Writer>>, SinkError> {
        Err(SinkError::stop(format!("{} is written to by one process only", self.name())))
    }

    /// Notes for each kind that was read how it ended, and that the epoch is begun no more, all in one transaction. Called once, after
    /// all writers have been dropped.
    fn complete(&mut self, run: &Run, ends: &PerKind<Option<KindEnd>>) -> Result<(), SinkError>;

    /// The documents, for reading back.
    fn documents(&mut self) -> Option<&mut dyn Documents> {
        None
    }

    /// The rejected records, for reading back; `None` where they are not kept.
    fn dead_letters(&mut self) -> Option<&mut dyn DeadLetters> {
        None
    }

    /// The graph, for reading back and for mending its edges.
    fn graph(&mut self) -> Option<&mut dyn Graph> {
        None
    }

    /// Leaves the store as it should stand when no program is connected (SQLite: one file). Called at the end of every run.
    fn close(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

/// What is said of a store that says nothing of a state, where one that a refresh wrote is needed.
pub fn unwritten(store: &dyn Sink) -> String {
    let what = if store.is_there() { "holds nothing that a refresh wrote" } else { "is not there" };
    format!("{} {what}: name the store that refresh was given", store.place())
}

/// Writes batches. Used by one thread.
pub trait Writer: Send {
    /// Writes the batch in one transaction, with the watermark.
    ///
    /// `attempt` counts from 0. After an error of class Retry the same batch comes again with the next number: the writer then
    /// connects anew where it must, reads its watermark, and where that says that the batch was committed after all, it writes
    /// nothing and returns what the batch came to.
    fn write(&mut self, batch: &Batch, attempt: u32) -> Result<Written, SinkError>;

    /// Every id that the store holds of a kind; of a graph those of nodes that are no stubs. Rows or nodes whose id no record can have
    /// are removed, and counted.
    fn stored_ids(&mut self, kind: Kind) -> Result<(RoaringTreemap, u64), SinkError>;

    /// Whether a store that is brought up stays behind because this key, which the state holds, did not come.
    fn lacks(&self, _key: Key) -> bool {
        true
    }
}

/// One row of a document store.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The `data_id` column.
    pub data_id: &'a str,
    /// The `hash` column.
    pub hash: &'a str,
    /// The `data` column as JSON text.
    pub data: &'a str,
}

/// A month of a kind, as a document store noted it.
#[derive(Clone, Debug)]
pub struct StoredSnapshot {
    /// The number of the epoch.
    pub epoch: u64,
    /// The kind.
    pub kind: Kind,
    /// `2025-12`.
    pub month: String,
    /// Name of the dump file.
    pub file: String,
    /// Its sha256 in hexadecimal.
    pub sha256: String,
    /// Whether the kind came to its end.
    pub complete: bool,
    /// Records held then.
    pub records: Option<u64>,
    /// Records that were rejected.
    pub rejected: u64,
    /// Deletes that were withheld.
    pub deletes_withheld: u64,
}

/// Reading back what a document store holds.
pub trait Documents {
    /// What was applied to it, in the order of epochs; nothing where no such history is kept.
    fn snapshots(&mut self) -> Result<Vec<StoredSnapshot>, SinkError> {
        Ok(Vec::new())
    }

    /// Calls `each` for every row of a kind, in any order, in bounded memory.
    fn scan(&mut self, kind: Kind, each: &mut dyn FnMut(Row<'_>)) -> Result<(), SinkError>;

    /// The documents with these ids, as JSON text, in any order; ids that are not there are left out, and all where the store cannot
    /// look one up. At most 1,000 ids a call.
    fn fetch(&mut self, kind: Kind, ids: &[u64]) -> Result<Vec<(u64, String)>, SinkError>;
}

/// A node of a record, or a stub, as a graph holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredNode {
    /// The store's own name for it, by which it can be removed.
    pub element: String,
    /// Its id.
    pub id: u64,
    /// Whether it is a stub: it has `stub: true`.
    pub stub: bool,
    /// Its `hash`.
    pub hash: Option<String>,
    /// Its properties beside these.
    pub properties: Properties<Box<str>>,
    /// What is there that discodiff never writes: an unknown property, one of another type, a further label; in words.
    pub odd: Option<String>,
}

/// A genre, style or person, as a graph holds it.
#[derive(Clone, Debug)]
pub struct StoredName<'a> {
    /// The store's own name for it, by which it can be removed.
    pub element: &'a str,
    /// Its name.
    pub name: &'a str,
    /// What is there that discodiff never writes, in words.
    pub odd: Option<String>,
}

/// A relationship as a graph holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEdge {
    /// The store's own name for it, by which it can be removed.
    pub element: String,
    /// Which edge it is; where discodiff never writes one like it (an end of another label, an unknown property, a category that is not
    /// its role's), what it is, in words.
    pub edge: Result<Edge, String>,
}

/// How many nodes and relationships a graph holds, whatever they are, without what is discodiff's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GraphSize {
    /// Nodes.
    pub nodes: u64,
    /// Relationships.
    pub relationships: u64,
}

/// What a run wrote into a graph, as the server counted it, without what is discodiff's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GraphWritten {
    /// Nodes, stubs among them.
    pub nodes_created: u64,
    /// Nodes that nothing points at any more.
    pub nodes_deleted: u64,
    /// Relationships.
    pub relationships_created: u64,
    /// Relationships.
    pub relationships_deleted: u64,
}

impl std::ops::AddAssign for GraphWritten {
    fn add_assign(&mut self, other: GraphWritten) {
        self.nodes_created += other.nodes_created;
        self.nodes_deleted += other.nodes_deleted;
        self.relationships_created += other.relationships_created;
        self.relationships_deleted += other.relationships_deleted;
    }
}

/// Reading a graph back, and mending its edges.
pub trait Graph {
    /// What the run that was completed last wrote.
    fn written(&self) -> GraphWritten;

    /// How much it holds.
    fn size(&mut self) -> Result<GraphSize, SinkError>;

    /// Ids of all nodes of a kind, stubs among them; and the ids, as text, that no record can have.
    fn ids(&mut self, kind: Kind) -> Result<(RoaringTreemap, Vec<String>), SinkError>;

    /// The nodes of a kind with these ids, in any order; one id can have several where someone else made them. At most 5,000 ids a call.
    fn nodes(&mut self, kind: Kind, ids: &[u64]) -> Result<Vec<StoredNode>, SinkError>;

    /// Calls `each` for every node with this label: `Genre`, `Style` or `Person`.
    fn names(&mut self, label: &'static str, each: &mut dyn FnMut(StoredName<'_>)) -> Result<(), SinkError>;

    /// The relationships of a family at the anchors with these ids; of [`Family::PartOf`], all, whatever the ids. At most 5,000 ids a call.
    fn edges(&mut self, family: Family, ids: &[u64]) -> Result<Vec<StoredEdge>, SinkError>;

    /// Adds edges that are not there, with stubs, genres, styles and persons where they are missing, and removes others by
    /// [`StoredEdge::element`]; in one transaction, fenced. Only between `begin` and `complete`, after all writers have been dropped.
    fn mend(&mut self, added: &[Edge], removed: &[String]) -> Result<(), SinkError>;

    /// Takes every other label from nodes that have this one, and from genres, styles and persons every property but the name. Only
    /// between `begin` and `complete`.
    fn strip(&mut self, label: &'static str, elements: &[String]) -> Result<(), SinkError>;

    /// Removes nodes with their relationships. Only between `begin` and `complete`.
    fn remove_nodes(&mut self, elements: &[String]) -> Result<(), SinkError>;
}
