//! What goes at the end of an epoch: stubs, genres, styles and persons that no relationship touches.

use std::collections::HashSet;
use std::sync::Arc;

use neo4rs::{BoltType, Query};
use roaring::RoaringTreemap;

use super::binding::fence;
use super::connect::{Connection, planned_once};
use super::nodes::{NAMED, identity};
use super::values;
use crate::model::graph::{Edge, Node};
use crate::model::{Key, Kind, PerKind};
use crate::sinks::SinkError;
use crate::sinks::patience::patience;

/// Nodes removed in one transaction.
const SLICE: usize = 5_000;

/// Nodes that one reading of the whole graph gives at most.
const READING: usize = 100_000;

/// Names that are remembered. Where more lost a relationship, the whole graph is looked at.
const NAMES: usize = 1_000_000;

/// Nodes that may have lost their last relationship, or become stubs that never had one.
#[derive(Default)]
pub(super) struct Candidates {
    records: PerKind<RoaringTreemap>,
    names: [HashSet<Arc<str>>; 3],
    /// Whether there are more than can be remembered.
    pub(super) incomplete: bool,
}

impl Candidates {
    /// None; `incomplete`: there were more, which nobody remembers.
    pub(super) fn new(incomplete: bool) -> Candidates {
        Candidates { incomplete, ..Candidates::default() }
    }

    /// The ends of an edge that went.
    pub(super) fn add_edge(&mut self, edge: &Edge) {
        for node in [&edge.source, &edge.target] {
            match node {
                Node::Record(key) => self.add_record(*key),
                Node::Genre(name) => self.add_name(0, name),
                Node::Style(name) => self.add_name(1, name),
                Node::Person(name) => self.add_name(2, name),
            }
        }
    }

    /// A record that was deleted, or that may be a stub.
    pub(super) fn add_record(&mut self, key: Key) {
        self.records[key.kind()].insert(key.id());
    }

    fn add_name(&mut self, label: usize, name: &Arc<str>) {
        if self.names[label].len() < NAMES {
            self.names[label].insert(Arc::clone(name));
        } else {
            self.incomplete = true;
        }
    }
}

/// What makes a node of this label, named `n`, one that goes.
fn loose(label: &str) -> &'static str {
    if NAMED.contains(&label) { "NOT EXISTS { (n)--() }" } else { "n.stub = true AND NOT EXISTS { (n)--() }" }
}

fn slice(connection: &mut Connection, run: i64, statement: &str, of: BoltType) -> Result<u64, SinkError> {
    connection.transaction("removing what nothing points at", Some(patience()), async |tx| {
        fence(tx, run).await?;
        tx.number(planned_once(statement, [of.clone()])).await
    })
}

/// Removes those candidates that nothing points at, and gives their number.
pub(super) fn candidates(connection: &mut Connection, run: i64, candidates: &Candidates) -> Result<u64, SinkError> {
    let statement = |label: &str| {
        let identity = identity(label);
        format!(
            "UNWIND $all[0] AS x MATCH (n:{label} {{{identity}: x}}) USING INDEX SEEK n:{label}({identity}) WHERE {} DELETE n RETURN count(*) AS n",
            loose(label)
        )
    };
    let mut removed = 0;
    for (kind, ids) in candidates.records.iter() {
        let mut ids = ids.iter().peekable();
        while ids.peek().is_some() {
            removed += slice(connection, run, &statement(kind.label()), values::ids(ids.by_ref().take(SLICE)))?;
        }
    }
    for (label, names) in NAMED.into_iter().zip(&candidates.names) {
        let mut names = names.iter().map(|name| &**name).peekable();
        while names.peek().is_some() {
            removed += slice(connection, run, &statement(label), values::texts(names.by_ref().take(SLICE)))?;
        }
    }
    Ok(removed)
}

/// Looks at the whole graph for nodes that nothing points at, removes them, and gives their number.
pub(super) fn whole(connection: &mut Connection, run: i64) -> Result<u64, SinkError> {
    let mut removed = 0;
    for label in Kind::ALL.map(Kind::label).into_iter().chain(NAMED) {
        loop {
            let found = connection.transaction("looking for what nothing points at", None, async |tx| {
                let read = format!("MATCH (n:{label}) WHERE {} RETURN elementId(n) AS element LIMIT {READING}", loose(label));
                let mut found: Vec<String> = Vec::new();
                tx.each(Query::new(read), |row| {
                    found.push(row.get("element")?);
                    Ok(())
                })
                .await?;
                Ok(found)
            })?;
            // looked at once more: what was read may have changed since
            let statement = format!(
                "UNWIND $all[0] AS x MATCH (n) WHERE elementId(n) = x AND n:{label} AND {} DELETE n RETURN count(*) AS n",
                loose(label)
            );
            let before = removed;
            for elements in found.chunks(SLICE) {
                removed += slice(connection, run, &statement, values::texts(elements.iter().map(String::as_str)))?;
            }
            if found.len() < READING || removed == before {
                break;
            }
        }
    }
    Ok(removed)
}
