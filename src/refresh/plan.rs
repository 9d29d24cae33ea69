//! What a refresh would do, without writing anything anywhere.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Result, bail};
use roaring::RoaringTreemap;
use serde::Serialize;

use super::apply::{Kept, Target, apply};
use super::{Member, Refreshed, Request, Stand, judge, members, note_unread, run_of};
use crate::dataflows::TooManyRejected;
use crate::model::{Change, Key, Kind, PerKind, Verdict};
use crate::sinks::driver::Missed;
use crate::sinks::{Batch, Holds, Need, Sink, SinkError, Writer, Writers, Written, changed_fields};
use crate::sources::Snapshot;
use crate::state::State;

/// How many keys of each kind and verdict are named.
const SAMPLES: usize = 5;

/// Documents asked of a store at once.
const FETCH: usize = 500;

/// What a refresh would do.
#[derive(Clone, Debug, Default)]
pub struct Foreseen {
    /// Counts and notes as a refresh would give them, but for sinks.
    pub refreshed: Refreshed,
    /// Some of the keys.
    pub samples: BTreeMap<Kind, Samples>,
    /// How often each top-level field differs among the updates; empty where no document store was named.
    pub fields: BTreeMap<Kind, BTreeMap<String, u64>>,
}

/// Some of the ids that would change.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Samples {
    /// New ones.
    pub inserted: Vec<u64>,
    /// Changed ones.
    pub updated: Vec<u64>,
    /// Gone ones.
    pub deleted: Vec<u64>,
}

/// Foresees a refresh. `stores` are opened for reading; the first that holds documents says which fields would change.
pub fn foresee(request: &Request, dumps: &Path, mut stores: Vec<Box<dyn Sink>>) -> Result<Foreseen> {
    let begun = Instant::now();
    let snapshot = Snapshot::find(dumps)?;
    let state = State::look(&request.state)?;
    let manifest = state.manifest().clone();
    let mut stand: Vec<Member> = members(&manifest, &mut stores, &request.measures)?;
    if state.is_fresh() {
        stand.clear();
    }
    let mut foreseen = Foreseen::default();
    foreseen.refreshed.report.snapshot = snapshot.month.clone();
    // What the folder holds of a kind brings a store up that is new or behind; what it lacks leaves it so.
    let there = PerKind::from_fn(|kind| snapshot.files[kind].is_some());
    note_unread(&manifest, &stand, &stores, &there, &mut foreseen.refreshed.notes);
    for (member, store) in stand.iter().zip(&stores).filter(|(member, _)| !member.holds.is_feed()) {
        let stands = judge(&manifest, member.holds, &member.standing, None);
        let brought_up = stands.iter().filter(|(kind, stand)| there[*kind] && **stand != Stand::Current);
        foreseen.refreshed.notes.brought_up.extend(brought_up.map(|(kind, _)| (store.name(), kind)));
    }
    let Some(plan) = super::judge::plan(&manifest, &snapshot, &[], request.allowed, request.deletes())? else {
        foreseen.refreshed.report.seconds = begun.elapsed().as_secs_f64();
        return Ok(foreseen);
    };
    let seen = Arc::new(Mutex::new(Foreseen::default()));
    let store = stores.into_iter().find(|store| store.holds() == Holds::Documents);
    let needs = PerKind::from_fn(|kind| plan.read[kind].then_some(Need::Changes));
    let run = run_of(&manifest, &snapshot, &plan, &needs, None, request.first().peers, &[]);
    let onlooker: Box<dyn Writer> = Box::new(Onlooker { seen: Arc::clone(&seen), store });
    let target =
        Target { name: "plan", by: Writers::Alone, holds: Holds::Documents, run, writers: vec![onlooker], missed: Missed::default() };
    let kept = Kept { save: false, links: None, checkpoint: None, run: None };
    let applied = apply(request, &snapshot, &plan, &manifest, state.storage(), vec![target], kept)
        .map_err(|error| if error.is::<TooManyRejected>() { error.context("a refresh would fail") } else { error })?;
    let mut seen = std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner));
    seen.refreshed = foreseen.refreshed;
    for kind in Kind::ALL.into_iter().filter(|kind| plan.read[*kind]) {
        let Some(verdict) = &applied.findings.verdicts[kind] else { bail!("the {kind}s were not read to their end") };
        seen.refreshed.notes.defects.extend(verdict.defect.clone().map(|defect| (kind, defect)));
        seen.refreshed.notes.withheld.extend(verdict.withheld.clone().map(|why| (kind, verdict.missing, why)));
        seen.refreshed.report.kinds.insert(kind, applied.findings.counts[kind]);
    }
    seen.refreshed.notes.rejected = applied.findings.rejected;
    seen.refreshed.notes.twins = applied.findings.twins;
    seen.refreshed.notes.unmapped = applied.findings.unmapped;
    seen.refreshed.report.seconds = begun.elapsed().as_secs_f64();
    Ok(seen)
}

/// Takes batches like any sink's writer, and only looks at them.
struct Onlooker {
    seen: Arc<Mutex<Foreseen>>,
    store: Option<Box<dyn Sink>>,
}

impl Onlooker {
    fn compare(&mut self, kind: Kind, updates: &[&Change]) -> Result<(), SinkError> {
        let Some(documents) = self.store.as_mut().and_then(|store| store.documents()) else { return Ok(()) };
        for updates in updates.chunks(FETCH) {
            let ids: Vec<u64> = updates.iter().map(|change| change.key.id()).collect();
            let stored: BTreeMap<u64, String> = documents.fetch(kind, &ids)?.into_iter().collect();
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            for change in updates {
                let (Some(old), Some((_, new))) = (stored.get(&change.key.id()), &change.document) else { continue };
                for field in changed_fields(old, new) {
                    *seen.fields.entry(kind).or_default().entry(field).or_default() += 1;
                }
            }
        }
        Ok(())
    }
}

impl Writer for Onlooker {
    fn write(&mut self, batch: &Batch, _attempt: u32) -> Result<Written, SinkError> {
        for kind in Kind::ALL {
            let changes = batch.changes.iter().filter(|change| change.key.kind() == kind);
            let updates: Vec<&Change> = changes.clone().filter(|change| change.verdict == Verdict::Update).collect();
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            for Change { key, verdict, .. } in changes {
                let samples = seen.samples.entry(kind).or_default();
                let list = match verdict {
                    Verdict::Insert => &mut samples.inserted,
                    Verdict::Update => &mut samples.updated,
                    Verdict::Delete => &mut samples.deleted,
                    Verdict::Unchanged => continue,
                };
                if list.len() < SAMPLES {
                    list.push(Key::id(*key));
                }
            }
            drop(seen);
            self.compare(kind, &updates)?;
        }
        Ok(Written::default())
    }

    fn stored_ids(&mut self, _kind: Kind) -> Result<(RoaringTreemap, u64), SinkError> {
        Ok((RoaringTreemap::new(), 0))
    }
}
