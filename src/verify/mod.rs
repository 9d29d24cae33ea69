//! Compares what stores hold with the state, from content: every digest is taken anew, and a stored hash is never believed.

mod documents;
mod graph;

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde::Serialize;

use crate::model::Kind;
use crate::sinks::{Faults, Sink, unwritten};
use crate::state::{State, Storage};
use crate::telemetry::{Cause, Measures, Phase, Progress, RunStage};
use documents::Expected;

/// How many keys of each kind are named; all are counted.
const NAMED: usize = 1_000;

/// What was found in one store.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verified {
    /// Documents, or nodes of records and stubs, by kind.
    pub kinds: BTreeMap<Kind, Differences>,
    /// Of a graph: genres, styles and persons, by label.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub names: BTreeMap<&'static str, Differences>,
    /// Of a graph: edges by relation, and all other relationships under `other`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub relations: BTreeMap<&'static str, Differences>,
    /// Of a graph: nodes with labels that discodiff never writes, and names with such properties, each with the label that it keeps.
    #[serde(skip)]
    pub odd: Vec<(&'static str, String)>,
    /// Of a graph: nodes that another one stands for.
    #[serde(skip)]
    pub doubled: Vec<String>,
}

impl Verified {
    /// How many differences there are.
    pub fn differences(&self) -> u64 {
        self.all().map(|found| found.differ + found.missing + found.extra).sum()
    }

    /// All that was compared.
    pub fn all(&self) -> impl Iterator<Item = &Differences> {
        self.kinds.values().chain(self.names.values()).chain(self.relations.values())
    }
}

/// How a store differs from the state in one kind, label or relation.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Differences {
    /// Records, names or edges that the state holds.
    pub records: u64,
    /// Rows with another document, or with a hash that is not their document's; nodes likewise.
    pub differ: u64,
    /// What the state holds and the store does not.
    pub missing: u64,
    /// What the store holds and the state knows nothing of.
    pub extra: u64,
    /// Which, and what is wrong with each.
    pub named: Vec<Named>,
    /// All ids of records among them.
    #[serde(skip)]
    pub faults: Faults,
}

/// A row, node or edge that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Named {
    /// Its `data_id`, id or name; of an edge, both ends and the property.
    pub id: String,
    /// What is wrong.
    pub what: String,
}

impl Differences {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.differ + self.missing + self.extra == 0
    }

    /// How many differences there are beside those that are named.
    pub fn unnamed(&self) -> u64 {
        match self.named.len() < NAMED {
            true => 0,
            false => (self.differ + self.missing + self.extra).saturating_sub(NAMED as u64),
        }
    }

    fn name(&mut self, id: impl Into<String>, what: impl Into<String>) {
        if self.named.len() < NAMED {
            self.named.push(Named { id: id.into(), what: what.into() });
        }
    }
}

/// Compares every store among `sinks` with the state there.
pub fn verify(
    storage: &Storage,
    sinks: &mut [Box<dyn Sink>],
    progress: &Progress,
    measures: &Measures,
) -> Result<BTreeMap<&'static str, Verified>> {
    compare(&State::look(storage)?, sinks, progress, measures)
}

/// Compares every store among `sinks` with the state. Holds the digests of one kind at a time in memory, 17 bytes a record; for a graph
/// the dictionary and some bits a node.
pub fn compare(
    state: &State,
    sinks: &mut [Box<dyn Sink>],
    progress: &Progress,
    measures: &Measures,
) -> Result<BTreeMap<&'static str, Verified>> {
    if state.is_fresh() {
        bail!("there is no state in {}: name what refresh was given as --state", state.storage());
    }
    for sink in sinks.iter_mut() {
        let standing = sink.standing()?;
        if let Some(other) = standing.state.filter(|other| *other != state.manifest().state) {
            bail!("{}: the store belongs to the state {other}, and this is the state {}", sink.name(), state.manifest().state);
        }
        if standing.state.is_none() && !sink.holds().is_feed() {
            bail!("{}", unwritten(&**sink));
        }
    }
    if let Some(begun) = &state.manifest().begun {
        tracing::warn!(
            "epoch {} was begun and did not end: what stores hold of it differs from the state until it has",
            begun.epoch.number
        );
    }
    let course = measures.course();
    course.holds(state.storage(), state.manifest());
    course.enter(Phase::Verifying);
    measures.shows(progress);
    let mut verified = BTreeMap::<&'static str, Verified>::new();
    for kind in Kind::ALL {
        let _kind = tracing::error_span!("kind", kind = kind.name()).entered();
        let mut expected = measures.waits().during(Cause::State, || Expected::of(state, kind))?;
        for sink in sinks.iter_mut() {
            let name = sink.name();
            let Some(documents) = sink.documents() else { continue };
            let size = |found: &Result<Differences>| (found.as_ref().map_or(0, |found| found.records), 0);
            let work = || expected.hold_against(kind, documents);
            let found = measures.waiting(RunStage::Compare(name), Cause::Sink(name), size, work)?;
            verified.entry(name).or_default().kinds.insert(kind, found);
        }
    }
    for sink in sinks.iter_mut() {
        let name = sink.name();
        if let Some(graph) = sink.graph() {
            let size = |found: &Result<Verified>| (found.as_ref().map_or(0, |found| found.all().map(|of| of.records).sum()), 0);
            let work = || graph::hold_against(state, graph, progress);
            verified.insert(name, measures.waiting(RunStage::Compare(name), Cause::Sink(name), size, work)?);
        }
    }
    for (name, found) in &verified {
        course.differs(name, found.differences());
    }
    Ok(verified)
}

/// The counts of all differences, for a summary.
pub fn total(verified: &BTreeMap<&'static str, Verified>) -> u64 {
    verified.values().map(Verified::differences).sum()
}
