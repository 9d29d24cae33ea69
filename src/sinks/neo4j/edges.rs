//! Writing edges: many at once, grouped so that the labels of both ends stand in the statement, and unique indexes find them.
//!
//! All groups go in one statement: the client lets the server's operating system wait for the rest of a message (it does not set
//! `TCP_NODELAY`), some tens of milliseconds for each large one. And it is the same statement whatever groups a batch has, so that the
//! server plans it once.

use std::collections::BTreeMap;

use neo4rs::{BoltType, Query};

use super::connect::{Tx, planned_once};
use super::nodes::identity;
use super::values;
use crate::model::graph::{Edge, Node, Relation, category};
use crate::sinks::{Class, SinkError};

/// What edges lie between, by label: there are no others.
pub(in crate::sinks) const SHAPES: [(Relation, &str, &str); 14] = [
    (Relation::By, "Release", "Artist"),
    (Relation::By, "Master", "Artist"),
    (Relation::On, "Release", "Label"),
    (Relation::DerivedFrom, "Release", "Master"),
    (Relation::Is, "Release", "Genre"),
    (Relation::Is, "Release", "Style"),
    (Relation::Is, "Master", "Genre"),
    (Relation::Is, "Master", "Style"),
    (Relation::MemberOf, "Artist", "Artist"),
    (Relation::AliasOf, "Artist", "Artist"),
    (Relation::SublabelOf, "Label", "Label"),
    (Relation::PartOf, "Style", "Genre"),
    (Relation::CreditedOn, "Person", "Release"),
    (Relation::SameAs, "Person", "Artist"),
];

type Shape = (Relation, &'static str, &'static str);

/// Edges by shape, of which all are there.
fn groups<'e>(edges: impl Iterator<Item = &'e Edge>) -> BTreeMap<Shape, Vec<&'e Edge>> {
    let mut groups: BTreeMap<Shape, Vec<&Edge>> = SHAPES.map(|shape| (shape, Vec::new())).into();
    for edge in edges {
        groups.entry((edge.relation, edge.source.label(), edge.target.label())).or_default().push(edge);
    }
    groups
}

fn end(node: &Node) -> BoltType {
    match node {
        Node::Record(key) => values::id(key.id()),
        Node::Genre(name) | Node::Style(name) | Node::Person(name) => values::text(name),
    }
}

/// Source, target, property and category; the latter two only where the relation has them.
fn row(edge: &Edge) -> BoltType {
    let mut row = vec![end(&edge.source), end(&edge.target)];
    if edge.relation.property().is_some() {
        row.push(values::or_null(edge.property.as_deref().map(values::text)));
    }
    if edge.relation == Relation::CreditedOn {
        row.push(values::text(category(edge.property.as_deref())));
    }
    values::list(row)
}

/// Finds both ends of a row by their indexes, whatever the planner thinks: statistics say nothing yet of a graph that is being loaded.
fn ends((_, source, target): Shape) -> String {
    let (from, to) = (identity(source), identity(target));
    format!(
        "MATCH (s:{source} {{{from}: r[0]}}) USING INDEX SEEK s:{source}({from}) MATCH (t:{target} {{{to}: r[1]}}) USING INDEX SEEK t:{target}({to})"
    )
}

/// The edge of a row, `e`; an absent property is told from every other.
fn same((relation, ..): Shape) -> String {
    match relation.property() {
        Some(property) => format!("(e.{property} = r[2] OR (e.{property} IS NULL AND r[2] IS NULL))"),
        None => "true".to_owned(),
    }
}

fn new((relation, ..): Shape) -> String {
    let properties = match (relation, relation.property()) {
        (Relation::CreditedOn, Some(property)) => format!(" {{{property}: r[2], category: r[3]}}"),
        (_, Some(property)) => format!(" {{{property}: r[2]}}"),
        (_, None) => String::new(),
    };
    format!("CREATE (s)-[:{}{properties}]->(t)", relation.name())
}

/// One statement over all groups; gives for how many rows of all both ends were found.
async fn over<'e>(tx: &mut Tx<'_>, edges: impl Iterator<Item = &'e Edge>, act: impl Fn(Shape) -> String) -> Result<u64, SinkError> {
    let groups = groups(edges);
    if groups.values().all(Vec::is_empty) {
        return Ok(0);
    }
    let (mut statement, mut sum, mut lists) = (String::new(), String::new(), Vec::new());
    for (i, (shape, edges)) in groups.into_iter().enumerate() {
        statement += &format!("CALL {{ UNWIND $all[{i}] AS r {} {} RETURN count(*) AS c{i} }} ", ends(shape), act(shape));
        sum += &format!("{}c{i}", if i == 0 { "" } else { " + " });
        lists.push(values::list(edges.into_iter().map(row)));
    }
    tx.number(planned_once(&format!("{statement}RETURN {sum} AS n"), lists)).await
}

/// Adds edges that are known not to be there; gives for how many of them both ends were found.
pub(super) async fn create<'e>(tx: &mut Tx<'_>, edges: impl Iterator<Item = &'e Edge>) -> Result<u64, SinkError> {
    over(tx, edges, new).await
}

/// The error of edges of which an end was not found: someone else removes nodes meanwhile.
pub(super) fn end_is_gone(place: &str, wanted: u64, found: u64) -> SinkError {
    let message = format!("{place}: of {wanted} edges {} have an end that is gone", wanted - found.min(wanted));
    SinkError { class: Class::Retry, message, source: None }
}

/// Adds those edges that are not there; gives for how many both ends were found.
pub(super) async fn create_missing<'e>(tx: &mut Tx<'_>, edges: impl Iterator<Item = &'e Edge>) -> Result<u64, SinkError> {
    let act = |shape: Shape| {
        format!(
            "OPTIONAL MATCH (s)-[e:{}]->(t) WHERE {} WITH s, t, r, count(e) AS there
             FOREACH (x IN CASE WHEN there = 0 THEN [1] ELSE [] END | {})",
            shape.0.name(),
            same(shape),
            new(shape)
        )
    };
    over(tx, edges, act).await
}

/// Removes edges, if they are there.
pub(super) async fn remove<'e>(tx: &mut Tx<'_>, edges: impl Iterator<Item = &'e Edge>) -> Result<(), SinkError> {
    // where the match is not OPTIONAL, the plan may be to look at all edges of one end
    let act = |shape: Shape| format!("OPTIONAL MATCH (s)-[e:{}]->(t) WHERE {} DELETE e", shape.0.name(), same(shape));
    over(tx, edges, act).await.map(drop)
}

/// Removes relationships by the server's own names for them.
pub(super) async fn remove_elements(tx: &mut Tx<'_>, elements: &[String]) -> Result<(), SinkError> {
    if elements.is_empty() {
        return Ok(());
    }
    let remove = Query::new("UNWIND $elements AS x MATCH ()-[e]->() WHERE elementId(e) = x DELETE e".to_owned());
    tx.run(remove.param("elements", values::texts(elements.iter().map(String::as_str)))).await
}
