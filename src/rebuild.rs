//! Makes a lost state anew from what a document store holds, so that a month can be compared with it again and nothing is loaded anew.
//!
//! ```text
//!   scan of each table ─ digests taken anew ─ sorted ─ one part of fingerprints ─┐
//!   snapshots: month, file and sha256 of each kind ──────────────────────────────┴─ manifest, with the store's own id of the state
//! ```
//!
//! What a store does not hold is not there afterwards: that a dump broke off, raw hashes (every record of the next month is parsed, once), links (a graph is
//! compared edge by edge in the next refresh), and how far topics were read.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde::Serialize;

use crate::model::document::{Stored, stored};
use crate::model::{Fingerprint, Key, Kind, Seat};
use crate::sinks::{Epoch, Sink, id_of, unwritten};
use crate::state::{Applied, Manifest, PartWriter, State, new_id};
use crate::telemetry::{Cause, Measures, Phase, Progress, RunStage, Subject};

/// What a rebuilt state holds of a kind.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Rebuilt {
    /// The month that was applied last, and the name of its file.
    pub month: String,
    /// The name of its file.
    pub file: String,
    /// Rows that were taken in.
    pub records: u64,
    /// Rows that the store held when the month was complete, as it noted.
    pub noted: Option<u64>,
    /// Rows among them that are not what was written, as their hash says.
    pub altered: u64,
    /// Rows whose id no record can have: these were left out.
    pub junk: u64,
    /// Whether an epoch was begun in the store and did not end: it and all others are brought up by the next refresh.
    pub unfinished: bool,
}

impl Rebuilt {
    /// Whether the store holds exactly what was written.
    pub fn is_sound(&self) -> bool {
        self.altered + self.junk == 0 && !self.unfinished && self.noted.is_none_or(|noted| noted == self.records)
    }
}

/// A fingerprint's raw hash where the bytes are not known: the record is parsed when it comes.
const UNKNOWN: u64 = 0;

/// Makes the state in an empty folder from a store.
pub fn rebuild(state: &mut State, store: &mut dyn Sink, progress: &Progress, measures: &Measures) -> Result<BTreeMap<Kind, Rebuilt>> {
    if !state.is_fresh() {
        bail!("there is a state in {} already: name another --state, that has none", state.storage());
    }
    let name = store.name();
    let standing = store.standing()?;
    let Some(id) = standing.state else { bail!("{}", unwritten(store)) };
    let Some(documents) = store.documents() else { bail!("{name} holds no documents") };
    let snapshots = documents.snapshots()?;
    let mut manifest = Manifest { state: id, ..Manifest::new() };
    manifest.last_epoch = snapshots.iter().map(|row| row.epoch).fold(standing.newest(), u64::max);
    manifest.abandoned = snapshots.iter().filter(|row| !row.complete).map(|row| row.epoch).collect();
    manifest.abandoned.dedup();
    // A kind that is not as an epoch left it gets one that no sink knows: all are brought up to what the next refresh reads.
    let own = Epoch { number: manifest.last_epoch + 1, id: new_id() };
    measures.course().enter(Phase::Rebuilding);
    measures.shows(progress);
    let mut writer = PartWriter::create(state.storage(), id, manifest.generation + 1, Seat::ALONE)?;
    let mut rebuilt = BTreeMap::new();
    for kind in Kind::ALL {
        let last = snapshots.iter().filter(|row| row.kind == kind && row.complete).max_by_key(|row| row.epoch);
        let unfinished = standing.begun[kind].is_some();
        let (Some(epoch), Some(last)) = (standing.kinds[kind].or(unfinished.then_some(own)), last) else {
            // The state holds nothing of it; what its first load has written so far is brought up by the next.
            if let Some(begun) = snapshots.iter().filter(|row| row.kind == kind).max_by_key(|row| row.epoch).filter(|_| unfinished) {
                let (month, file) = (begun.month.clone(), begun.file.clone());
                rebuilt.insert(kind, Rebuilt { month, file, unfinished, ..Rebuilt::default() });
            }
            continue;
        };
        progress.started(Subject::Kind(kind), None);
        let mut found = Rebuilt { month: last.month.clone(), file: last.file.clone(), unfinished, ..Rebuilt::default() };
        found.noted = last.records.filter(|_| !unfinished);
        let mut rows = Vec::new();
        let scan = || {
            documents.scan(kind, &mut |row| {
                progress.advance(Subject::Kind(kind), row.data.len() as u64, 1);
                match take(kind, row.data_id, row.data) {
                    None => found.junk += 1,
                    Some((key, fingerprint, hash)) => {
                        found.altered += u64::from(hash.as_deref() != Some(row.hash));
                        rows.push((key, fingerprint));
                    }
                }
            })
        };
        measures.waiting(RunStage::Rebuild, Cause::Sink(name), |_| (last.records.unwrap_or(0), 0), scan)?;
        rows.sort_unstable();
        found.records = rows.len() as u64;
        rows.into_iter().try_for_each(|row| writer.push(row))?;
        progress.done(Subject::Kind(kind));
        let sound = found.is_sound();
        if !sound {
            manifest.last_epoch = own.number;
        }
        manifest.kinds[kind] = Some(Applied {
            epoch: if sound { epoch } else { own },
            month: last.month.clone(),
            file: last.file.clone(),
            // Of the same month again, what was lost is not passed over.
            sha256: if sound { last.sha256.clone() } else { String::new() },
            records: found.records,
            rejected: last.rejected,
            deletes_withheld: last.deletes_withheld,
            defect: None,
            unmapped: BTreeMap::new(),
        });
        rebuilt.insert(kind, found);
    }
    if manifest.kinds.0.iter().all(Option::is_none) {
        bail!("no month was ever complete in {}: begin with a new state and an empty store", store.place());
    }
    manifest.completed = manifest.kinds.0.iter().flatten().map(|applied| applied.epoch).max_by_key(|epoch| epoch.number);
    manifest.generation += 1;
    manifest.parts = vec![writer.finish()?];
    state.replace(manifest)?;
    measures.course().holds(state.storage(), state.manifest());
    Ok(rebuilt)
}

/// The key, the fingerprint and the hash of a row; `None` where its id is no record's. Of a document that is not canonical there is no
/// hash, and its digest is that of none, so that the record counts as changed when it comes.
fn take(kind: Kind, data_id: &str, data: &str) -> Option<(Key, Fingerprint, Option<String>)> {
    let key = Key::new(kind, id_of(kind, data_id)?)?;
    Some(match stored(kind, data).ok().filter(|stored| stored.id == key.id()) {
        Some(Stored { hash, graph, .. }) => {
            (key, Fingerprint { raw: UNKNOWN, document: hash.short(), graph: graph.short() }, Some(hash.to_string()))
        }
        None => (key, Fingerprint { raw: UNKNOWN, document: 0, graph: 0 }, None),
    })
}
