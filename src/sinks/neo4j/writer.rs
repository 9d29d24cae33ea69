//! Writing batches into the graph: one transaction each, first the watermark, then nodes, then edges that go, then edges that come.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use neo4rs::{BoltType, Query};
use roaring::RoaringTreemap;

use super::connect::{Connection, Tx};
use super::nodes::Known;
use super::sweep::Candidates;
use super::{binding, edges, nodes, values};
use crate::model::graph::{Edge, EdgeChange, Projection};
use crate::model::{Change, Digest, Key, Kind, PerKind, Verdict};
use crate::sinks::patience::patience;
use crate::sinks::tables;
use crate::sinks::{Batch, Need, Run, SinkError, Writer, Written};

/// The writer of a graph.
pub(super) struct Neo4jWriter {
    pub(super) connection: Connection,
    pub(super) candidates: Arc<Mutex<Candidates>>,
    /// Where what it knows to be there goes at its end: edges that are mended spare themselves the same questions.
    pub(super) left: Arc<Mutex<Known>>,
    pub(super) job: Job,
}

impl Drop for Neo4jWriter {
    fn drop(&mut self) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = std::mem::take(&mut self.job.known);
    }
}

impl Writer for Neo4jWriter {
    fn write(&mut self, batch: &Batch, attempt: u32) -> Result<Written, SinkError> {
        let Neo4jWriter { connection, candidates, job, .. } = self;
        let plan = job.plan(batch)?;
        plan.note(&mut candidates.lock().unwrap_or_else(PoisonError::into_inner));
        let number = job.number;
        let committed = attempt > 0
            && connection.transaction("reading the watermark", Some(patience()), async |tx| match binding::watermark(tx).await? {
                Some((run, at, _)) if run == number => Ok(at == batch.number.cast_signed()),
                _ => Err(tables::fenced(tx.place)),
            })?;
        if let Some((_, written, there)) = job.tried.take_if(|(number, ..)| committed && *number == batch.number) {
            return Ok(job.committed(batch, written, there));
        }
        if !batch.dead_letters.is_empty() {
            tracing::debug!("{} dead letters are not kept in the graph", batch.dead_letters.len());
        }
        connection.transaction("writing a batch", Some(patience()), async |tx| job.write(tx, batch, &plan).await)?;
        let (_, written, there) = job.tried.take().unwrap_or_default();
        Ok(job.committed(batch, written, there))
    }

    fn stored_ids(&mut self, kind: Kind) -> Result<(RoaringTreemap, u64), SinkError> {
        let Neo4jWriter { connection, job: Job { number, .. }, .. } = self;
        let label = kind.label();
        let doing = format!("reading the ids of nodes {label}");
        // as long as it takes: all nodes of the kind are read
        let (ids, junk) = connection.transaction(&doing, None, async |tx| {
            binding::fence(tx, *number).await?;
            let (mut ids, mut junk) = (RoaringTreemap::new(), false);
            let read = Query::new(format!("MATCH (n:{label}) RETURN n.id AS id, n.stub = true AS stub"));
            tx.each(read, |row| {
                match values::id_of(kind, &row.get("id")?) {
                    Some(_) if row.get::<Option<bool>>("stub")? == Some(true) => {}
                    Some(id) => drop(ids.insert(id)),
                    None => junk = true,
                }
                Ok(())
            })
            .await?;
            Ok((ids, junk))
        })?;
        if !junk {
            return Ok((ids, 0));
        }
        let junk = connection.transaction(&doing, None, async |tx| {
            let mut junk: Vec<String> = Vec::new();
            tx.each(Query::new(format!("MATCH (n:{label}) RETURN n.id AS id, elementId(n) AS element")), |row| {
                if values::id_of(kind, &row.get("id")?).is_none() {
                    junk.push(row.get("element")?);
                }
                Ok(())
            })
            .await?;
            Ok(junk)
        })?;
        let mut removed = 0;
        for junk in junk.chunks(nodes::REMOVED) {
            removed += connection.transaction("removing nodes that are no records'", Some(patience()), async |tx| {
                binding::fence(tx, *number).await?;
                nodes::remove(tx, junk).await
            })?;
        }
        Ok((ids, removed))
    }
}

/// A record's node: its key, hash and content.
type Node<'b> = (Key, Digest, &'b Projection<Box<str>>);

/// What is to be done about a batch.
#[derive(Default)]
struct Plan<'b> {
    nodes: PerKind<Vec<Node<'b>>>,
    deleted: PerKind<RoaringTreemap>,
    removed: Vec<&'b Edge>,
    /// Edges that are not there.
    new: Vec<&'b Edge>,
    /// Edges that may be there.
    maybe: Vec<&'b Edge>,
}

impl Plan<'_> {
    /// Notes what may have nothing left that points at it, once this is done. Said of what is asked for and not of what is found, so
    /// that a run that takes up another finds the same.
    fn note(&self, candidates: &mut Candidates) {
        self.removed.iter().for_each(|edge| candidates.add_edge(edge));
        for (kind, ids) in self.deleted.iter() {
            ids.iter().filter_map(|id| Key::new(kind, id)).for_each(|key| candidates.add_record(key));
        }
    }
}

/// A writer without its connection.
pub(super) struct Job {
    pub(super) run: Arc<Run>,
    /// The run's number.
    pub(super) number: i64,
    /// Whether an earlier run of the same epoch wrote something.
    pub(super) resumed: bool,
    /// Whether the graph had no relationships when the run began.
    pub(super) bare: bool,
    pub(super) known: Known,
    /// What the batch came to whose commit was tried last, and which nodes are there with it.
    pub(super) tried: Option<(u64, Written, Known)>,
}

impl Job {
    fn needs(&self, kind: Kind) -> Option<Need> {
        self.run.kinds[kind].as_ref().map(|kind| kind.need)
    }

    /// Whether an edge that comes may be there already: of a run that this one takes up, or where the graph is brought up.
    ///
    /// Of a run that is taken up, ticks do not tell how far it came: those of deletes depend on the number of workers.
    fn may_be_there(&self, edge: &Edge) -> bool {
        let everything = || edge.family().asserted_by().iter().any(|kind| self.needs(*kind) == Some(Need::Everything));
        !self.bare && (self.resumed || everything())
    }

    fn plan<'b>(&self, batch: &'b Batch) -> Result<Plan<'b>, SinkError> {
        let mut plan = Plan::default();
        for Change { key, verdict, graph, .. } in &batch.changes {
            let Some(need) = self.needs(key.kind()) else {
                return Err(SinkError::stop(format!("a change of {key}, whose kind is no part of this run")));
            };
            match (verdict, graph) {
                (Verdict::Delete, _) => drop(plan.deleted[key.kind()].insert(key.id())),
                (Verdict::Unchanged, _) if need == Need::Changes => {}
                (_, Some((hash, projection))) => plan.nodes[key.kind()].push((*key, *hash, projection)),
                (_, None) => {}
            }
        }
        // an edge can come and go again in one batch: its last change counts, and what goes is removed before anything comes
        let mut went: HashMap<&Edge, u64> = HashMap::new();
        for EdgeChange { edge, tick, .. } in batch.edges.iter().filter(|change| !change.added) {
            plan.removed.push(edge);
            went.insert(edge, *tick);
        }
        for change in batch.edges.iter().filter(|change| change.added) {
            if went.get(&change.edge).is_some_and(|went| *went > change.tick) {
                continue;
            }
            let kept = if self.may_be_there(&change.edge) { &mut plan.maybe } else { &mut plan.new };
            kept.push(&change.edge);
        }
        Ok(plan)
    }

    /// Takes note of a commit.
    fn committed(&mut self, batch: &Batch, written: Written, there: Known) -> Written {
        self.known.add(there);
        self.tried = Some((batch.number, written.clone(), Known::default()));
        written
    }

    /// Leaves what it came to in `tried`, for the commit that follows.
    async fn write(&mut self, tx: &mut Tx<'_>, batch: &Batch, plan: &Plan<'_>) -> Result<(), SinkError> {
        self.tried = None;
        binding::advance(tx, &self.run, self.number, batch).await?;
        let (mut written, mut there) = (Written::default(), Known::default());
        for (kind, changes) in plan.nodes.iter() {
            let (mut new, mut maybe): (Vec<BoltType>, Vec<BoltType>) = (Vec::new(), Vec::new());
            for (key, hash, projection) in changes {
                there.records[kind].insert(key.id());
                let rows = if self.known.lacks(*key) { &mut new } else { &mut maybe };
                rows.push(nodes::row(*key, *hash, projection));
            }
            nodes::create(tx, kind, new, &mut written.tally).await?;
            nodes::write(tx, kind, maybe, self.needs(kind) == Some(Need::Repair), &mut written.tally).await?;
        }
        for (kind, ids) in plan.deleted.iter() {
            written.tally.deleted += nodes::delete(tx, kind, ids, self.needs(kind) == Some(Need::Repair)).await?;
        }
        edges::remove(tx, plan.removed.iter().copied()).await?;
        nodes::ends(tx, plan.new.iter().chain(&plan.maybe).copied(), &self.known, &mut there).await?;
        let found = edges::create(tx, plan.new.iter().copied()).await? + edges::create_missing(tx, plan.maybe.iter().copied()).await?;
        let wanted = (plan.new.len() + plan.maybe.len()) as u64;
        if found != wanted {
            // only where someone else removes nodes while this goes on
            self.known = Known::default();
            return Err(edges::end_is_gone(tx.place, wanted, found));
        }
        self.tried = Some((batch.number, written, there));
        Ok(())
    }
}
