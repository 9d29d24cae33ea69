//! Writing nodes: those of records, stubs, and those that have a name only.

use std::collections::HashSet;
use std::sync::Arc;

use neo4rs::{BoltType, Query};
use roaring::RoaringTreemap;

use super::connect::{Tx, planned_once};
use super::values;
use crate::model::graph::{Edge, Node, Projection, Properties};
use crate::model::{Digest, Key, Kind, PerKind};
use crate::sinks::{SinkError, Tally};

/// Labels of nodes that are there only while a relationship touches them, and have a name only.
pub(super) const NAMED: [&str; 3] = ["Genre", "Style", "Person"];

/// Names that are remembered as being there. Most credits name the same people again and again; asking for all others once more
/// costs less than the memory of all of them.
const REMEMBERED: usize = 250_000;

/// What a node is found by: `id` or `name`.
pub(super) fn identity(label: &str) -> &'static str {
    if NAMED.contains(&label) { "name" } else { "id" }
}

/// The property that holds [`Properties::title`].
pub(super) fn title(kind: Kind) -> &'static str {
    match kind {
        Kind::Artist | Kind::Label => "name",
        Kind::Master | Kind::Release => "title",
    }
}

/// All properties of a record's node.
pub(super) fn row(key: Key, hash: Digest, projection: &Projection<Box<str>>) -> BoltType {
    let Properties { title: name, year, formats, catalog_number } = &projection.properties;
    values::map([
        ("id", Some(values::id(key.id()))),
        ("hash", Some(values::text(&hash.to_string()))),
        (title(key.kind()), name.as_deref().map(values::text)),
        ("year", year.map(|year| values::number(year.into()))),
        ("formats", Some(formats).filter(|all| !all.is_empty()).map(|all| values::texts(all.iter().map(|format| &**format)))),
        ("catalog_number", catalog_number.as_deref().map(values::text)),
    ])
}

/// Writes nodes of a kind; those that hold the same already, as their hash says, are let be unless they are written `anyway`.
pub(super) async fn write(tx: &mut Tx<'_>, kind: Kind, rows: Vec<BoltType>, anyway: bool, tally: &mut Tally) -> Result<(), SinkError> {
    if rows.is_empty() {
        return Ok(());
    }
    // what is set is all that there is: a stub is none any more
    let differs = if anyway { "true" } else { "was IS NULL OR was <> r.hash" };
    let write = format!(
        "UNWIND $all[0] AS r MERGE (n:{} {{id: r.id}}) WITH n, r, n.hash AS was WHERE {differs}
         SET n = r RETURN sum(CASE WHEN was IS NULL THEN 1 ELSE 0 END) AS inserted, count(*) AS written",
        kind.label()
    );
    let written =
        tx.first(planned_once(&write, [values::list(rows)]), |row| Ok((row.get::<u64>("inserted")?, row.get::<u64>("written")?))).await?;
    let (inserted, written) = written.unwrap_or_default();
    tally.inserted += inserted;
    tally.updated += written - inserted;
    Ok(())
}

/// Writes nodes of a kind that are known not to be there.
pub(super) async fn create(tx: &mut Tx<'_>, kind: Kind, rows: Vec<BoltType>, tally: &mut Tally) -> Result<(), SinkError> {
    if rows.is_empty() {
        return Ok(());
    }
    tally.inserted += rows.len() as u64;
    let create = format!("UNWIND $all[0] AS r CREATE (n:{}) SET n = r", kind.label());
    tx.run(planned_once(&create, [values::list(rows)])).await
}

/// Makes stubs of nodes of a kind, and gives the number of those that were none, or of all where stubs are made bare `anyway`.
pub(super) async fn delete(tx: &mut Tx<'_>, kind: Kind, ids: &RoaringTreemap, anyway: bool) -> Result<u64, SinkError> {
    if ids.is_empty() {
        return Ok(0);
    }
    let label = kind.label();
    let wanted = if anyway { "true" } else { "n.stub IS NULL OR n.stub <> true" };
    let delete = format!(
        "UNWIND $all[0] AS x MATCH (n:{label} {{id: x}}) USING INDEX SEEK n:{label}(id) WHERE {wanted}
         SET n = {{id: x, stub: true}} RETURN count(*) AS n"
    );
    tx.number(planned_once(&delete, [values::ids(ids)])).await
}

/// Nodes that are removed in one transaction: each may have many relationships.
pub(super) const REMOVED: usize = 1_000;

/// Removes nodes with their relationships, by the server's own names for them, and gives their number.
pub(super) async fn remove(tx: &mut Tx<'_>, elements: &[String]) -> Result<u64, SinkError> {
    let remove = "UNWIND $elements AS x MATCH (n) WHERE elementId(n) = x DETACH DELETE n RETURN count(*) AS n";
    tx.number(Query::new(remove.to_owned()).param("elements", values::texts(elements.iter().map(String::as_str)))).await
}

/// What is known to be there, since it was written in this run: nothing is removed before the run's end.
#[derive(Default)]
pub(super) struct Known {
    /// Nodes of records, stubs among them.
    pub(super) records: PerKind<RoaringTreemap>,
    names: [HashSet<Arc<str>>; 3],
    /// Whether nothing else is there: the graph was empty when the run began.
    all: bool,
}

impl Known {
    /// Nothing; `all`: nothing is there.
    pub(super) fn new(all: bool) -> Known {
        Known { all, ..Known::default() }
    }

    /// Adds what a committed batch wrote.
    pub(super) fn add(&mut self, more: Known) {
        for kind in Kind::ALL {
            self.records[kind] |= &more.records[kind];
        }
        for (names, more) in self.names.iter_mut().zip(more.names) {
            if names.len() + more.len() > REMEMBERED {
                names.clear();
            }
            names.extend(more);
        }
    }

    /// Whether a record's node is known not to be there.
    pub(super) fn lacks(&self, key: Key) -> bool {
        self.all && !self.records[key.kind()].contains(key.id())
    }

    /// Whether a node is known to be there.
    fn has(&self, node: &Node) -> bool {
        match node {
            Node::Record(key) => self.records[key.kind()].contains(key.id()),
            Node::Genre(name) => self.names[0].contains(name),
            Node::Style(name) => self.names[1].contains(name),
            Node::Person(name) => self.names[2].contains(name),
        }
    }

    /// Takes note of a node that is there.
    pub(super) fn insert(&mut self, node: &Node) {
        match node {
            Node::Record(key) => drop(self.records[key.kind()].insert(key.id())),
            Node::Genre(name) => drop(self.names[0].insert(Arc::clone(name))),
            Node::Style(name) => drop(self.names[1].insert(Arc::clone(name))),
            Node::Person(name) => drop(self.names[2].insert(Arc::clone(name))),
        }
    }
}

/// Makes the ends of edges that may not be there, records' as stubs. Adds to `batch` what was made in this transaction and was there in it.
pub(super) async fn ends<'e>(
    tx: &mut Tx<'_>,
    edges: impl Iterator<Item = &'e Edge>,
    known: &Known,
    batch: &mut Known,
) -> Result<(), SinkError> {
    let mut records: PerKind<Vec<BoltType>> = PerKind::default();
    let mut names: [Vec<BoltType>; 3] = Default::default();
    for node in edges.flat_map(|edge| [&edge.source, &edge.target]) {
        if known.has(node) || batch.has(node) {
            continue;
        }
        batch.insert(node);
        match node {
            Node::Record(key) => records[key.kind()].push(values::id(key.id())),
            Node::Genre(name) => names[0].push(values::text(name)),
            Node::Style(name) => names[1].push(values::text(name)),
            Node::Person(name) => names[2].push(values::text(name)),
        }
    }
    let stub = |kind: Kind| {
        let label = kind.label();
        match known.all {
            true => format!("CREATE (:{label} {{id: x, stub: true}})"),
            false => format!("MERGE (n:{label} {{id: x}}) ON CREATE SET n.stub = true"),
        }
    };
    let name = |label: &&str| format!("MERGE (:{label} {{name: x}})");
    let lists: Vec<_> = records.0.into_iter().chain(names).collect();
    if lists.iter().all(Vec::is_empty) {
        return Ok(());
    }
    // The same statement whatever is missing, so that it is planned once.
    let makes = Kind::ALL.into_iter().map(stub).chain(NAMED.iter().map(name)).enumerate();
    let statement: String = makes.map(|(i, make)| format!("CALL {{ UNWIND $all[{i}] AS x {make} }} ")).collect();
    tx.run(planned_once(&format!("{statement}RETURN 1"), lists.into_iter().map(values::list))).await
}
