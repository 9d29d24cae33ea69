//! Compares what document stores hold with the state, from content: every digest is taken anew, and a stored hash is never believed.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};
use serde::Serialize;

use crate::model::document::digest_of_stored;
use crate::model::{Fingerprint, Key, Kind};
use crate::sinks::{Row, Sink};
use crate::state::{Rows, State};

/// How many keys of each kind are named; all are counted.
const NAMED: usize = 1_000;

/// What was found in one store.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verified {
    /// By kind.
    pub kinds: BTreeMap<Kind, Differences>,
}

/// How a store differs from the state in one kind.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Differences {
    /// Records that the state holds.
    pub records: u64,
    /// Rows with another document, or with a hash that is not their document's.
    pub differ: u64,
    /// Records that have no row.
    pub missing: u64,
    /// Rows that the state knows nothing of.
    pub extra: u64,
    /// Which, and what is wrong with each.
    pub named: Vec<Named>,
}

/// A row that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Named {
    /// Its `data_id`.
    pub id: String,
    /// What is wrong.
    pub what: String,
}

impl Differences {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.differ + self.missing + self.extra == 0
    }

    fn name(&mut self, id: impl Into<String>, what: impl Into<String>) {
        if self.named.len() < NAMED {
            self.named.push(Named { id: id.into(), what: what.into() });
        }
    }
}

/// What the state holds of one kind: ids in order, the short digest of each, and whether a row was met.
#[derive(Default)]
struct Expected {
    ids: Vec<u64>,
    digests: Vec<u64>,
    met: Vec<bool>,
}

impl Expected {
    fn of(state: &State, wanted: Kind) -> Result<Expected> {
        let mut expected = Expected::default();
        let mut rows = Rows::<(Key, Fingerprint)>::open(state.folder(), state.manifest(), &state.manifest().parts)?;
        while let Some((key, fingerprint)) = rows.next()? {
            if key.kind() == wanted {
                expected.ids.push(key.id());
                expected.digests.push(fingerprint.document);
            }
        }
        expected.met = vec![false; expected.ids.len()];
        Ok(expected)
    }

    fn compare(&mut self, kind: Kind, row: Row<'_>, found: &mut Differences) {
        let id = row.data_id.parse::<u64>().ok().filter(|id| id.to_string() == row.data_id);
        let Some(at) = id.and_then(|id| self.ids.binary_search(&id).ok()) else {
            found.extra += 1;
            found.name(row.data_id, "the state holds no such record");
            return;
        };
        self.met[at] = true;
        let what = match digest_of_stored(kind, row.data) {
            Err(why) => why,
            Ok((own, _)) if Some(own) != id => format!("its document is that of {own}"),
            Ok((_, digest)) if digest.short() != self.digests[at] => "its document is not the one that was written".to_owned(),
            Ok((_, digest)) if digest.to_string() != row.hash => "its hash is not that of its document".to_owned(),
            Ok(_) => return,
        };
        found.differ += 1;
        found.name(row.data_id, what);
    }
}

/// Compares every document store among `sinks` with the state. Holds the digests of one kind at a time in memory, 17 bytes a record.
pub fn verify(state: &Path, sinks: &mut [Box<dyn Sink>]) -> Result<BTreeMap<&'static str, Verified>> {
    let state = State::look(state)?;
    if state.is_fresh() {
        bail!("there is no state in {}: name the folder that refresh was given as --state", state.folder().display());
    }
    for sink in sinks.iter_mut() {
        let standing = sink.standing()?;
        if let Some(other) = standing.state.filter(|other| *other != state.manifest().state) {
            bail!("{}: the store belongs to the state {other}, and this is the state {}", sink.name(), state.manifest().state);
        }
    }
    let mut verified = BTreeMap::<&'static str, Verified>::new();
    for kind in Kind::ALL {
        let mut expected = Expected::of(&state, kind)?;
        for sink in sinks.iter_mut() {
            let name = sink.name();
            let Some(documents) = sink.documents() else { continue };
            expected.met.fill(false);
            let mut found = Differences { records: expected.ids.len() as u64, ..Differences::default() };
            documents.scan(kind, &mut |row| expected.compare(kind, row, &mut found))?;
            for (id, _) in expected.ids.iter().zip(&expected.met).filter(|(_, met)| !**met) {
                found.missing += 1;
                found.name(id.to_string(), "it has no row");
            }
            verified.entry(name).or_default().kinds.insert(kind, found);
        }
    }
    Ok(verified)
}

/// The counts of all differences, for a summary.
pub fn total(verified: &BTreeMap<&'static str, Verified>) -> u64 {
    let each = verified.values().flat_map(|store| store.kinds.values());
    each.map(|found| found.differ + found.missing + found.extra).sum()
}
