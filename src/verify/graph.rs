//! A graph: nodes from their properties and the links that the state holds of them, edges by relation, and that there is nothing else.
//!
//! A node's hash covers its properties and its record's links. It is taken anew from the properties that the graph holds and the links
//! that the state holds; whether the graph holds those links is seen from its relationships.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use roaring::{RoaringBitmap, RoaringTreemap};

use super::{Differences, Verified};
use crate::graph::{Chunk, EdgeIds, Look};
use crate::model::graph::{Coded, Dictionary, LinkKind, Projection, Relation};
use crate::model::{Digest, Fingerprint, Key, Kind, PerKind};
use crate::sinks::{Graph, StoredName, StoredNode};
use crate::state::{Rows, State, load_dictionary};
use crate::telemetry::{Progress, Subject};

/// Relationships of no relation that discodiff writes, or between other nodes.
const OTHER: &str = "other";

/// Compares a graph with the state.
pub fn hold_against(state: &State, graph: &mut dyn Graph, progress: &Progress) -> Result<Verified> {
    let (storage, manifest) = (state.storage(), state.manifest());
    if let Some(kind) = Kind::ALL.into_iter().find(|kind| !manifest.holds_links(*kind)) {
        bail!("the state does not hold the links of all {kind}s: a refresh with --neo4j brings them in, and verify can compare them then");
    }
    let dictionary = load_dictionary(storage, manifest)?;
    let expected = Expected::of(state)?;
    let mut compared = Compared {
        dictionary: &dictionary,
        fingerprints: Rows::open(storage, manifest, &manifest.parts)?,
        fingerprint: None,
        links: Rows::open(storage, manifest, manifest.links.as_ref().map_or(&[], |links| &links.links))?,
        link: None,
        expected: &expected,
        verified: Verified::default(),
        nodes: 0,
        relationships: 0,
        scratch: Vec::new(),
    };
    compared.fingerprint = compared.fingerprints.next()?;
    compared.link = compared.links.next()?;
    for kind in Kind::ALL {
        let records = expected.live[kind].union_len(&expected.referenced[kind]);
        compared.verified.kinds.insert(kind, Differences { records, ..Differences::default() });
    }
    for relation in Relation::ALL {
        compared.verified.relations.insert(relation.name(), Differences::default());
    }
    let mut junk = Vec::new();
    let ids = |graph: &mut dyn Graph, kind: Kind| {
        let (stored, odd) = graph.ids(kind)?;
        junk.extend(odd.into_iter().map(|id| (kind, id)));
        Ok(stored | &expected.live[kind] | &expected.referenced[kind])
    };
    let edges = EdgeIds::open(storage, manifest)?;
    let rows = manifest.links.iter().flat_map(|links| links.links.iter().chain(&links.edges)).map(|part| part.rows).sum();
    progress.started(Subject::Edges, Some(rows));
    let mut read = 0;
    Look { graph, wanted: &|_| true, empty: false }.at_all(edges, ids, |graph, chunk| {
        progress.advance(Subject::Edges, chunk.read - read, chunk.expected.len() as u64);
        read = chunk.read;
        compared.chunk(graph, chunk)
    })?;
    progress.done(Subject::Edges);
    for (kind, id) in junk {
        compared.nodes += 1;
        let found = compared.verified.kinds.entry(kind).or_default();
        found.extra += 1;
        found.faults.junk = true;
        found.name(id, "no record has such an id");
    }
    compared.names(graph)?;
    compared.rest(graph)?;
    Ok(compared.verified)
}

/// What there is to be in the graph.
struct Expected {
    live: PerKind<RoaringTreemap>,
    /// Records that links point at, there or not.
    referenced: PerKind<RoaringTreemap>,
    /// Codes of the names, by label.
    names: BTreeMap<&'static str, RoaringBitmap>,
}

impl Expected {
    fn of(state: &State) -> Result<Expected> {
        let (storage, manifest) = (state.storage(), state.manifest());
        let empty = || PerKind::from_fn(|_| RoaringTreemap::new());
        let names = ["Genre", "Style", "Person"].map(|label| (label, RoaringBitmap::new()));
        let mut expected = Expected { live: empty(), referenced: empty(), names: BTreeMap::from(names) };
        let mut rows = Rows::<(Key, Fingerprint)>::open(storage, manifest, &manifest.parts)?;
        while let Some((key, _)) = rows.next()? {
            expected.live[key.kind()].insert(key.id());
        }
        let links = manifest.links.as_ref().map_or(&[][..], |links| &links.links);
        let mut rows = Rows::<(Key, Coded)>::open(storage, manifest, links)?;
        while let Some((_, link)) = rows.next()? {
            if let Some(key) = link.record() {
                expected.referenced[key.kind()].insert(key.id());
            }
            let [first, last] = link.codes();
            let named = match link.kind() {
                Some(LinkKind::IsGenre) => ("Genre", first),
                Some(LinkKind::IsStyle) => ("Style", first),
                Some(LinkKind::CreditedOn) => ("Person", first),
                Some(LinkKind::SameAs) => ("Person", last),
                _ => continue,
            };
            expected.names.entry(named.0).or_default().insert(named.1);
        }
        Ok(expected)
    }
}

struct Compared<'c> {
    dictionary: &'c Dictionary,
    fingerprints: Rows<(Key, Fingerprint)>,
    fingerprint: Option<(Key, Fingerprint)>,
    links: Rows<(Key, Coded)>,
    link: Option<(Key, Coded)>,
    expected: &'c Expected,
    verified: Verified,
    /// Nodes that were looked at.
    nodes: u64,
    /// Relationships that were looked at.
    relationships: u64,
    scratch: Vec<u8>,
}

impl Compared<'_> {
    fn chunk(&mut self, graph: &mut dyn Graph, chunk: Chunk) -> Result<()> {
        self.relationships += chunk.stored.len() as u64;
        if let Some(kind) = chunk.kind {
            let mut stored = BTreeMap::<u64, Vec<StoredNode>>::new();
            for node in graph.nodes(kind, &chunk.ids)? {
                self.nodes += 1;
                stored.entry(node.id).or_default().push(node);
            }
            for &id in &chunk.ids {
                let nodes = stored.remove(&id).unwrap_or_default();
                if let Some(key) = Key::new(kind, id) {
                    self.node(key, nodes)?;
                }
            }
        }
        for id in &chunk.expected {
            if let Some(edge) = id.edge(self.dictionary) {
                self.verified.relations.entry(edge.relation.name()).or_default().records += 1;
            }
        }
        let wrong = chunk.compare(self.dictionary);
        for edge in wrong.missing {
            let found = self.verified.relations.entry(edge.relation.name()).or_default();
            found.missing += 1;
            found.name(edge.to_string(), "a record asserts it, and it is not there");
        }
        for (stored, why) in wrong.extra {
            let (relation, edge, why) = match stored.edge {
                Ok(edge) => (edge.relation.name(), edge.to_string(), why),
                Err(words) => (OTHER, words, "discodiff writes no such relationship"),
            };
            let found = self.verified.relations.entry(relation).or_default();
            found.extra += 1;
            found.name(edge, why);
        }
        Ok(())
    }

    /// Compares one node; those asked for must rise.
    fn node(&mut self, key: Key, nodes: Vec<StoredNode>) -> Result<()> {
        while self.fingerprint.is_some_and(|(at, _)| at < key) {
            self.fingerprint = self.fingerprints.next()?;
        }
        let live = self.fingerprint.filter(|(at, _)| *at == key).map(|(_, fingerprint)| fingerprint);
        let links = self.links_of(key)?;
        let is_referenced = self.expected.referenced[key.kind()].contains(key.id());
        let id = key.id().to_string();
        let mut nodes = nodes.into_iter();
        let first = nodes.next();
        let what = match (&first, live) {
            (None, Some(_)) => Some("it has no node".to_owned()),
            (None, None) => Some("it has no node, and others point at it").filter(|_| is_referenced).map(str::to_owned),
            (Some(node), Some(fingerprint)) => self.wrong_with(key, node, fingerprint, links),
            (Some(_), None) if !is_referenced => Some("the state holds no such record, and nothing points at it".to_owned()),
            (Some(node), None) => wrong_with_stub(node),
        };
        let found = self.verified.kinds.entry(key.kind()).or_default();
        if let Some(what) = what {
            match (&first, live.is_some() || is_referenced) {
                (None, _) => found.missing += 1,
                (Some(_), true) => found.differ += 1,
                (Some(_), false) => found.extra += 1,
            }
            // A stub that is missing comes with the edges that point at it.
            match (&first, live) {
                (_, Some(_)) => drop(found.faults.write.insert(key.id())),
                (Some(_), None) => drop(found.faults.remove.insert(key.id())),
                (None, None) => {}
            }
            found.name(id.clone(), what);
        }
        self.verified.odd.extend(first.filter(|node| node.odd.is_some()).map(|node| (key.kind().label(), node.element)));
        for node in nodes {
            found.extra += 1;
            self.verified.doubled.push(node.element);
            found.name(id.clone(), "it has another node");
        }
        Ok(())
    }

    fn links_of(&mut self, key: Key) -> Result<Vec<Coded>> {
        let mut links = Vec::new();
        while let Some((at, link)) = self.link.filter(|(at, _)| *at <= key) {
            if at == key {
                links.push(link);
            }
            self.link = self.links.next()?;
        }
        Ok(links)
    }

    fn wrong_with(&mut self, key: Key, node: &StoredNode, fingerprint: Fingerprint, links: Vec<Coded>) -> Option<String> {
        if let Some(odd) = &node.odd {
            return Some(odd.clone());
        }
        if node.stub {
            return Some("it is a stub, and the state holds its record".to_owned());
        }
        let links = links.into_iter().filter_map(|link| link.link(self.dictionary)).map(|link| crate::model::graph::Link {
            kind: link.kind,
            id: link.id,
            name: link.name.map(|name| Box::from(&*name)),
            property: link.property.map(|property| Box::from(&*property)),
        });
        let projection = Projection::<Box<str>>::new(node.properties.clone(), links.collect());
        let digest: Digest = projection.digest(key.id(), &mut self.scratch);
        if digest.short() != fingerprint.graph {
            Some("its properties are not those that were written".to_owned())
        } else if node.hash.as_deref() != Some(&digest.to_string()) {
            Some("its hash is not that of its properties and links".to_owned())
        } else {
            None
        }
    }

    fn names(&mut self, graph: &mut dyn Graph) -> Result<()> {
        for (&label, codes) in &self.expected.names {
            let mut found = Differences { records: codes.len(), ..Differences::default() };
            let mut met = RoaringBitmap::new();
            let Verified { odd: strange, doubled, .. } = &mut self.verified;
            let nodes = &mut self.nodes;
            graph.names(label, &mut |StoredName { element, name, odd }| {
                *nodes += 1;
                let code = self.dictionary.find(name).filter(|code| codes.contains(*code));
                match (code, odd) {
                    (Some(code), odd) if met.insert(code) => {
                        if let Some(odd) = odd {
                            strange.push((label, element.to_owned()));
                            found.differ += 1;
                            found.name(name, odd);
                        }
                    }
                    (Some(_), _) => {
                        found.extra += 1;
                        doubled.push(element.to_owned());
                        found.name(name, "it has another node");
                    }
                    (None, _) => {
                        found.extra += 1;
                        found.name(name, "no record names it");
                    }
                }
            })?;
            for code in codes - met {
                found.missing += 1;
                found.name(&*self.dictionary.text(code).unwrap_or_default(), "it has no node");
            }
            self.verified.names.insert(label, found);
        }
        Ok(())
    }

    /// What stands in the graph and was not looked at, since discodiff writes nothing of the kind.
    fn rest(&mut self, graph: &mut dyn Graph) -> Result<()> {
        let size = graph.size()?;
        let nodes = size.nodes.saturating_sub(self.nodes);
        if nodes > 0 {
            let mut found = Differences { extra: nodes, ..Differences::default() };
            found.name(format!("{nodes} nodes"), "discodiff writes no nodes with such labels");
            self.verified.names.insert(OTHER, found);
        }
        let relationships = size.relationships.saturating_sub(self.relationships);
        if relationships > 0 {
            let found = self.verified.relations.entry(OTHER).or_default();
            found.extra += relationships;
            found.name(format!("{relationships} relationships"), "discodiff writes none of such types, or between such nodes");
        }
        Ok(())
    }
}

fn wrong_with_stub(node: &StoredNode) -> Option<String> {
    let bare = node.hash.is_none() && node.properties == crate::model::graph::Properties::default() && node.odd.is_none();
    match (node.stub, bare) {
        (true, true) => None,
        (true, false) => Some("it is a stub, and has properties besides".to_owned()),
        (false, _) => Some("the state holds no such record, and it is no stub".to_owned()),
    }
}
