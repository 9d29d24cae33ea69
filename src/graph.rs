//! A graph held against the links of the state, some thousand nodes at a time.

use std::collections::BTreeMap;
use std::iter::Peekable;

use anyhow::Result;
use roaring::RoaringTreemap;

use crate::model::graph::{Anchor, Coded, Dictionary, Edge, EdgeId, Family};
use crate::model::{Key, Kind};
use crate::sinks::{Graph, StoredEdge};
use crate::state::{Manifest, Rows, StateError, Storage};

/// Nodes looked at together: some ten thousand edges, a few MB.
pub const CHUNK: usize = 2_000;

/// All edges that the state holds, by anchor.
pub struct EdgeIds {
    own: Rows<(Key, Coded)>,
    shared: Rows<(EdgeId, u32)>,
    next_own: Option<EdgeId>,
    next_shared: Option<EdgeId>,
    read: u64,
}

impl EdgeIds {
    /// Those of the valid generation, or of one that is about to become valid; none where no links are kept.
    pub fn open(storage: &Storage, manifest: &Manifest) -> Result<EdgeIds, StateError> {
        let (links, edges) = manifest.links.as_ref().map_or((&[][..], &[][..]), |links| (&links.links, &links.edges));
        let (own, shared) = (Rows::open(storage, manifest, links)?, Rows::open(storage, manifest, edges)?);
        let mut ids = EdgeIds { own, shared, next_own: None, next_shared: None, read: 0 };
        ids.advance_own()?;
        ids.advance_shared()?;
        Ok(ids)
    }

    /// Rows that were read of the state's files.
    pub fn read(&self) -> u64 {
        self.read
    }

    /// The anchor of the next edge.
    pub fn anchor(&self) -> Option<Anchor> {
        self.next_own.iter().chain(&self.next_shared).map(|id| id.anchor).min()
    }

    /// Moves the edges of `anchor` to `edges`. Anchors asked for must rise.
    pub fn take(&mut self, anchor: Anchor, edges: &mut Vec<EdgeId>) -> Result<(), StateError> {
        while let Some(id) = self.next_own.filter(|id| id.anchor <= anchor) {
            edges.extend(Some(id).filter(|id| id.anchor == anchor));
            self.advance_own()?;
        }
        while let Some(id) = self.next_shared.filter(|id| id.anchor <= anchor) {
            edges.extend(Some(id).filter(|id| id.anchor == anchor));
            self.advance_shared()?;
        }
        Ok(())
    }

    fn advance_own(&mut self) -> Result<(), StateError> {
        self.next_own = None;
        while let Some((key, link)) = self.own.next()? {
            self.read += 1;
            // Edges that others may assert too are read where they are counted.
            if link.kind().is_some_and(|kind| !kind.is_shared()) {
                self.next_own = Some(EdgeId::of(key, link));
                break;
            }
        }
        Ok(())
    }

    fn advance_shared(&mut self) -> Result<(), StateError> {
        self.next_shared = self.shared.next()?.map(|(edge, _)| edge);
        self.read += u64::from(self.next_shared.is_some());
        Ok(())
    }
}

/// Nodes of one kind, and what state and graph hold at them.
pub struct Chunk {
    /// The kind; `None`: styles, all at once.
    pub kind: Option<Kind>,
    /// Ids of the nodes, in order.
    pub ids: Vec<u64>,
    /// The edges that the state holds.
    pub expected: Vec<EdgeId>,
    /// The edges that the graph holds; none where the graph was not asked.
    pub stored: Vec<StoredEdge>,
    /// Rows of the state's files that were read up to here.
    pub read: u64,
}

/// Which families are looked at, and where.
pub struct Look<'g> {
    /// The graph.
    pub graph: &'g mut dyn Graph,
    /// Whether a family is looked at.
    pub wanted: &'g dyn Fn(Family) -> bool,
    /// Whether the graph is known to hold no edges, so that it need not be asked.
    pub empty: bool,
}

impl Look<'_> {
    /// Calls `each` with chunk after chunk, in the order of kinds and ids, styles last. `ids` says of which nodes of a kind there is to be
    /// one; those that have edges in the state are added.
    pub fn at_all(
        &mut self,
        mut edges: EdgeIds,
        mut ids: impl FnMut(&mut dyn Graph, Kind) -> Result<RoaringTreemap>,
        mut each: impl FnMut(&mut dyn Graph, Chunk) -> Result<()>,
    ) -> Result<()> {
        for kind in Kind::ALL {
            let families: Vec<Family> =
                Family::ALL.into_iter().filter(|family| family.anchor() == Some(kind) && (self.wanted)(*family)).collect();
            if families.is_empty() {
                continue;
            }
            let ids = ids(self.graph, kind)?;
            let mut ids = ids.iter().peekable();
            loop {
                let chunk = self.next(kind, &families, &mut ids, &mut edges)?;
                if chunk.ids.is_empty() {
                    break;
                }
                each(self.graph, chunk)?;
            }
        }
        if !(self.wanted)(Family::PartOf) {
            return Ok(());
        }
        let mut chunk = Chunk { kind: None, ids: Vec::new(), expected: Vec::new(), stored: Vec::new(), read: 0 };
        while let Some(anchor) = edges.anchor() {
            match anchor.key() {
                None => edges.take(anchor, &mut chunk.expected)?,
                // Of kinds that are not looked at.
                Some(_) => edges.take(anchor, &mut Vec::new())?,
            }
        }
        chunk.read = edges.read();
        if !self.empty {
            chunk.stored = self.graph.edges(Family::PartOf, &[])?;
        }
        each(self.graph, chunk)
    }

    fn next(
        &mut self,
        kind: Kind,
        families: &[Family],
        ids: &mut Peekable<roaring::treemap::Iter<'_>>,
        edges: &mut EdgeIds,
    ) -> Result<Chunk> {
        let mut chunk = Chunk { kind: Some(kind), ids: Vec::with_capacity(CHUNK), expected: Vec::new(), stored: Vec::new(), read: 0 };
        while chunk.ids.len() < CHUNK {
            let of_edges = loop {
                match edges.anchor() {
                    // What lies before this kind is of a kind that is not looked at.
                    Some(anchor) if anchor < Anchor::record(Key::floor(kind)) => edges.take(anchor, &mut Vec::new())?,
                    Some(anchor) => break anchor.key().filter(|key| key.kind() == kind).map(Key::id),
                    None => break None,
                }
            };
            let Some(id) = ids.peek().copied().into_iter().chain(of_edges).min() else { break };
            ids.next_if_eq(&id);
            chunk.ids.push(id);
            if let Some(key) = Key::new(kind, id) {
                edges.take(Anchor::record(key), &mut chunk.expected)?;
            }
        }
        chunk.read = edges.read();
        chunk.expected.retain(|id| families.contains(&id.family()));
        if !self.empty && !chunk.ids.is_empty() {
            for family in families {
                chunk.stored.extend(self.graph.edges(*family, &chunk.ids)?);
            }
        }
        Ok(chunk)
    }
}

/// What is wrong with the edges of a chunk.
#[derive(Debug, Default)]
pub struct Wrong {
    /// Edges that the state holds and the graph does not.
    pub missing: Vec<Edge>,
    /// Relationships that the graph holds and the state does not, those that stand twice among them; each with what it is.
    pub extra: Vec<(StoredEdge, &'static str)>,
}

impl Chunk {
    /// Compares the edges.
    pub fn compare(self, dictionary: &Dictionary) -> Wrong {
        let mut wrong = Wrong::default();
        let mut expected: BTreeMap<_, bool> = self.expected.iter().filter_map(|id| id.edge(dictionary)).map(|edge| (edge, false)).collect();
        for stored in self.stored {
            let met = match &stored.edge {
                Ok(edge) => expected.get_mut(edge),
                Err(_) => None,
            };
            match met {
                Some(met) if !*met => *met = true,
                Some(_) => wrong.extra.push((stored, "it stands there twice")),
                None => wrong.extra.push((stored, "no record asserts it")),
            }
        }
        wrong.missing = expected.into_iter().filter(|(_, met)| !met).map(|(edge, _)| edge).collect();
        wrong
    }
}
