//! Reading back, and mending what was found wrong.

use std::sync::{Arc, PoisonError};

use neo4rs::{BoltMap, BoltType, Query};
use roaring::RoaringTreemap;

use super::connect::Answer;
use super::nodes::{Known, identity, title};
use super::{Neo4j, binding, edges, nodes, values};
use crate::model::graph::{Edge, Family, Node, Properties, Relation, category};
use crate::model::{Key, Kind};
use crate::sinks::patience::{patience, patiently};
use crate::sinks::{Graph, GraphSize, GraphWritten, SinkError, StoredEdge, StoredName, StoredNode, tables};

/// Nodes that are stripped in one transaction.
const STRIPPED: usize = 5_000;

impl Graph for Neo4j {
    fn written(&self) -> GraphWritten {
        self.written
    }

    fn size(&mut self) -> Result<GraphSize, SinkError> {
        self.reading("counting", Some(patience()), async |tx| {
            let (all, own) = (binding::nodes(tx).await?, binding::own(tx).await?);
            Ok(GraphSize { nodes: all.saturating_sub(own), relationships: binding::relationships(tx).await? })
        })
    }

    fn ids(&mut self, kind: Kind) -> Result<(RoaringTreemap, Vec<String>), SinkError> {
        let label = kind.label();
        self.reading(&format!("reading the ids of nodes {label}"), None, async |tx| {
            let (mut ids, mut junk) = (RoaringTreemap::new(), Vec::new());
            tx.each(Query::new(format!("MATCH (n:{label}) RETURN n.id AS id")), |row| {
                let id = row.get("id")?;
                match values::id_of(kind, &id) {
                    Some(id) => drop(ids.insert(id)),
                    None => junk.push(shown(&id)),
                }
                Ok(())
            })
            .await?;
            Ok((ids, junk))
        })
    }

    fn nodes(&mut self, kind: Kind, ids: &[u64]) -> Result<Vec<StoredNode>, SinkError> {
        let label = kind.label();
        self.reading(&format!("reading nodes {label}"), Some(patience()), async |tx| {
            let read = format!(
                "UNWIND $ids AS x MATCH (n:{label} {{id: x}}) USING INDEX SEEK n:{label}(id) RETURN elementId(n) AS element, properties(n) AS properties, labels(n) AS labels"
            );
            let mut found = Vec::with_capacity(ids.len());
            tx.each(Query::new(read).param("ids", values::ids(ids.iter().copied())), |row| {
                found.extend(stored_node(kind, row.get("element")?, row.get("labels")?, row.get("properties")?));
                Ok(())
            })
            .await?;
            Ok(found)
        })
    }

    fn names(&mut self, label: &'static str, each: &mut dyn FnMut(StoredName<'_>)) -> Result<(), SinkError> {
        self.connection.transaction(&format!("reading nodes {label}"), None, async |tx| {
            let read = format!(
                "MATCH (n:{label}) RETURN elementId(n) AS element, n.name AS name,
                 [x IN keys(n) WHERE x <> 'name'] AS more, [x IN labels(n) WHERE x <> '{label}'] AS labels"
            );
            tx.each(Query::new(read), |row| {
                let mut odd = Vec::new();
                let name = match row.get::<BoltType>("name")? {
                    BoltType::String(name) => name.value,
                    other => {
                        odd.push(format!("its name is {}", shown(&other)));
                        String::new()
                    }
                };
                odd.extend(row.get::<Vec<String>>("more")?.iter().map(|property| format!("it has a property {property}")));
                odd.extend(row.get::<Vec<String>>("labels")?.iter().map(|label| format!("it has the label {label} too")));
                each(StoredName { element: &row.get::<String>("element")?, name: &name, odd: words(odd) });
                Ok(())
            })
            .await
        })
    }

    fn edges(&mut self, family: Family, ids: &[u64]) -> Result<Vec<StoredEdge>, SinkError> {
        self.reading("reading relationships", Some(patience()), async |tx| {
            let mut found = Vec::new();
            let (from, to) = family.relations();
            for (relations, pattern) in [(from, "(a)-[e:TYPES]->(o)"), (to, "(a)<-[e:TYPES]-(o)")] {
                if relations.is_empty() {
                    continue;
                }
                let types: Vec<&str> = relations.iter().map(|relation| relation.name()).collect();
                let pattern = pattern.replace("TYPES", &types.join("|"));
                let read = match family.anchor().map(Kind::label) {
                    Some(label) => format!("UNWIND $ids AS x MATCH (a:{label} {{id: x}}) USING INDEX SEEK a:{label}(id) MATCH {pattern}"),
                    None => format!("MATCH {}", pattern.replace("(a)", "(a:Style)")),
                };
                let answer = "RETURN elementId(e) AS element, type(e) AS type, properties(e) AS properties,
                     labels(startNode(e)) AS source_labels, startNode(e).id AS source_id, startNode(e).name AS source_name,
                     labels(endNode(e)) AS target_labels, endNode(e).id AS target_id, endNode(e).name AS target_name";
                tx.each(Query::new(format!("{read} {answer}")).param("ids", values::ids(ids.iter().copied())), |row| {
                    found.push(StoredEdge { element: row.get("element")?, edge: stored_edge(row)? });
                    Ok(())
                })
                .await?;
            }
            Ok(found)
        })
    }

    fn mend(&mut self, added: &[Edge], removed: &[String]) -> Result<(), SinkError> {
        let number = self.begun()?;
        // told by the watermark, so that it is not done again where only the answer to its commit was lost: the server may have given
        // the name of what was removed to something new
        self.mended += 1;
        let (this, mut bare) = (self.mended, self.bare);
        let shared = Arc::clone(&self.known);
        let mut known = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let there = patiently(|| {
            self.connection.transaction("mending edges", Some(patience()), async |tx| {
                let mut there = Known::default();
                match binding::watermark(tx).await? {
                    Some((run, _, mended)) if run == number && mended == this => {
                        // What the lost commit made is there, and must not be made again.
                        added.iter().flat_map(|edge| [&edge.source, &edge.target]).for_each(|node| there.insert(node));
                        return Ok(there);
                    }
                    Some((run, ..)) if run == number => {}
                    _ => return Err(tables::fenced(tx.place)),
                }
                if this == 1 {
                    bare = binding::relationships(tx).await? == 0;
                }
                let mark = "MATCH (w:DiscodiffWatermark {writer: 0}) SET w.mended = $mended";
                tx.run(Query::new(mark.to_owned()).param("mended", this)).await?;
                edges::remove_elements(tx, removed).await?;
                nodes::ends(tx, added.iter(), &known, &mut there).await?;
                let made = match bare {
                    true => edges::create(tx, added.iter()).await?,
                    false => edges::create_missing(tx, added.iter()).await?,
                };
                if made != added.len() as u64 {
                    *known = Known::default();
                    return Err(edges::end_is_gone(tx.place, added.len() as u64, made));
                }
                Ok(there)
            })
        })?;
        known.add(there);
        drop(known);
        self.bare = bare;
        Ok(())
    }

    fn strip(&mut self, label: &'static str, elements: &[String]) -> Result<(), SinkError> {
        let (number, these) = (self.begun()?, format!("UNWIND $elements AS x MATCH (n:{label}) WHERE elementId(n) = x"));
        for elements in elements.chunks(STRIPPED) {
            let all = || values::texts(elements.iter().map(String::as_str));
            self.reading("taking labels off nodes", Some(patience()), async |tx| {
                binding::fence(tx, number).await?;
                let mut others: Vec<String> = Vec::new();
                let read = format!("{these} UNWIND labels(n) AS other WITH DISTINCT other WHERE other <> '{label}' RETURN other");
                tx.each(Query::new(read).param("elements", all()), |row| {
                    others.push(row.get("other")?);
                    Ok(())
                })
                .await?;
                for other in others {
                    // a label cannot be a parameter
                    let other = other.replace('`', "``");
                    tx.run(Query::new(format!("{these} REMOVE n:`{other}`")).param("elements", all())).await?;
                }
                if identity(label) == "name" {
                    tx.run(Query::new(format!("{these} SET n = {{name: n.name}}")).param("elements", all())).await?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn remove_nodes(&mut self, elements: &[String]) -> Result<(), SinkError> {
        let number = self.begun()?;
        for elements in elements.chunks(nodes::REMOVED) {
            self.reading("removing nodes", Some(patience()), async |tx| {
                binding::fence(tx, number).await?;
                nodes::remove(tx, elements).await.map(drop)
            })?;
        }
        Ok(())
    }
}

fn words(odd: Vec<String>) -> Option<String> {
    if odd.is_empty() { None } else { Some(odd.join(", ")) }
}

/// A value in words.
fn shown(value: &BoltType) -> String {
    match value {
        BoltType::String(text) => format!("\"{}\"", text.value),
        BoltType::Integer(number) => number.value.to_string(),
        BoltType::Float(number) => number.value.to_string(),
        BoltType::Boolean(value) => value.value.to_string(),
        BoltType::Null(_) => "absent".to_owned(),
        BoltType::List(list) => format!("[{}]", list.value.iter().map(shown).collect::<Vec<_>>().join(", ")),
        _ => "a value of another type".to_owned(),
    }
}

/// A node as it is held; `None` where its id is no record's.
fn stored_node(kind: Kind, element: String, labels: Vec<String>, properties: BoltType) -> Option<StoredNode> {
    let BoltType::Map(BoltMap { value: properties }) = properties else { return None };
    let mut id = None;
    let mut node = StoredNode {
        element,
        id: 0,
        stub: false,
        hash: None,
        properties: Properties { title: None, year: None, formats: Vec::new(), catalog_number: None },
        odd: None,
    };
    let mut odd: Vec<String> =
        labels.iter().filter(|label| *label != kind.label()).map(|label| format!("it has the label {label} too")).collect();
    let release = kind == Kind::Release;
    let mut properties: Vec<_> = properties.into_iter().collect();
    properties.sort_by(|(a, _), (b, _)| a.value.cmp(&b.value));
    for (name, value) in properties {
        match (name.value.as_str(), value) {
            ("id", value) => id = values::id_of(kind, &value),
            ("stub", BoltType::Boolean(value)) if value.value => node.stub = true,
            ("hash", BoltType::String(text)) => node.hash = Some(text.value),
            (name, BoltType::String(text)) if name == title(kind) => node.properties.title = Some(text.value.into()),
            ("catalog_number", BoltType::String(text)) if release => node.properties.catalog_number = Some(text.value.into()),
            ("year", BoltType::Integer(year)) if matches!(kind, Kind::Master | Kind::Release) && u32::try_from(year.value).is_ok() => {
                node.properties.year = u32::try_from(year.value).ok();
            }
            ("formats", BoltType::List(list)) if release && !list.value.is_empty() => {
                for format in list.value {
                    match format {
                        BoltType::String(text) => node.properties.formats.push(text.value.into()),
                        other => odd.push(format!("one of its formats is {}", shown(&other))),
                    }
                }
            }
            (name, value) => odd.push(format!("its property {name} is {}", shown(&value))),
        }
    }
    node.id = id?;
    node.odd = words(odd);
    Some(node)
}

/// The node at an end of a relationship, or what it is in words.
fn stored_end(row: Answer<'_>, end: &str) -> Result<Result<Node, String>, SinkError> {
    let labels: Vec<String> = row.get(&format!("{end}_labels"))?;
    let [label] = labels.as_slice() else { return Ok(Err(format!("a node with the labels {}", labels.join(", ")))) };
    let kind = Kind::ALL.into_iter().find(|kind| kind.label() == label);
    let value: BoltType = row.get(&format!("{end}_{}", identity(label)))?;
    let node = match (kind, &value) {
        (Some(kind), value) => values::id_of(kind, value).and_then(|id| Key::new(kind, id)).map(Node::Record),
        (None, BoltType::String(name)) => {
            let name: Arc<str> = name.value.as_str().into();
            match label.as_str() {
                "Genre" => Some(Node::Genre(name)),
                "Style" => Some(Node::Style(name)),
                "Person" => Some(Node::Person(name)),
                _ => None,
            }
        }
        _ => None,
    };
    Ok(node.ok_or_else(|| format!("a node {label} whose {} is {}", identity(label), shown(&value))))
}

/// A relationship as it is held, or what it is in words.
fn stored_edge(row: Answer<'_>) -> Result<Result<Edge, String>, SinkError> {
    let kind: String = row.get("type")?;
    let (source, target) = (stored_end(row, "source")?, stored_end(row, "target")?);
    let BoltType::Map(BoltMap { value: properties }) = row.get::<BoltType>("properties")? else { return Ok(Err(kind)) };
    let name = |end: &Result<Node, String>| end.as_ref().map_or_else(Clone::clone, Node::to_string);
    let text = format!("{} {kind} {}", name(&source), name(&target));
    let (Some(relation), Ok(source), Ok(target)) = (Relation::from_name(&kind), source, target) else { return Ok(Err(text)) };
    if !edges::SHAPES.contains(&(relation, source.label(), target.label())) {
        return Ok(Err(text));
    }
    let (mut property, mut held, mut odd) = (None, None, Vec::new());
    for (name, value) in properties {
        match value {
            BoltType::String(text) if Some(name.value.as_str()) == relation.property() => property = Some(Arc::from(text.value.as_str())),
            BoltType::String(text) if relation == Relation::CreditedOn && name.value == "category" => held = Some(text.value),
            other => odd.push(format!("{} {}", name.value, shown(&other))),
        }
    }
    if relation == Relation::CreditedOn && held.as_deref() != Some(category(property.as_deref())) {
        odd.push(held.map_or_else(|| "no category".to_owned(), |held| format!("category \"{held}\"")));
    }
    odd.sort_unstable();
    Ok(match words(odd) {
        Some(odd) => Err(format!("{text} with {odd}")),
        None => Ok(Edge { relation, source, target, property }),
    })
}
