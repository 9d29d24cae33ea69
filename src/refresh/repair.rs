//! Brings stores that differ from the state back to it, whatever befell them, and writes only what differs.
//!
//! ```text
//!   verify ─ keys that differ ─ the very dumps that the state holds ─ diff: nothing changed, those keys are given ─ stores
//!      │                                                                                                              │
//!      └─ in a graph: labels, doubled nodes, relationships, from the state's links ───────────────────────────────────┴─ verify
//! ```
//!
//! The state stays as it is. A repair has an epoch of its own, under which `changes` says what was written. One that did not end leaves
//! its kinds behind; the next one, or a refresh, goes on from what it finds.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::{Result, bail};
use serde::Serialize;

use super::apply::{Applied, Kept, Target, apply};
use super::judge::newest_epoch;
use super::mend::mend;
use super::{Member, Plan, Request, Stand, Wrote, judge, members, with_sinks};
use crate::dataflows::Flow;
use crate::model::{Kind, PerKind};
use crate::sinks::driver::Missed;
use crate::sinks::{Epoch, KindEnd, KindRun, Need, Run, Sink};
use crate::sources::kafka::{Catalogue, Finder, Topics};
use crate::sources::{DumpFile, Folder, Snapshot, StoppedOnRequest};
use crate::state::{Manifest, State, load_dictionary};
use crate::telemetry::{Measures, Phase};
use crate::verify::{Verified, compare, total};

/// Where the dumps that the state holds are read again.
#[derive(Clone, Copy, Debug)]
pub enum Dumps<'a> {
    /// A folder.
    Folder(&'a Path),
    /// Topics that they were published to.
    Topics(&'a Topics),
}

/// What a repair came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Repaired {
    /// How long it took.
    pub seconds: f64,
    /// How the stores differed.
    pub found: BTreeMap<&'static str, Verified>,
    /// What was written into each store that differed.
    pub wrote: BTreeMap<&'static str, Wrote>,
    /// How they differ still.
    pub left: BTreeMap<&'static str, Verified>,
    /// Why some keys could not be written, a kind.
    #[serde(skip)]
    pub unread: Vec<(Kind, String)>,
}

/// Compares the stores that `open` gives with the state, repairs those that differ, and compares them again.
pub fn repair(request: &Request, dumps: Dumps<'_>, open: impl FnOnce() -> Result<Vec<Box<dyn Sink>>>) -> Result<Repaired> {
    request.measures.course().enter(Phase::Opening);
    request.measures.shows(&request.progress);
    let mut state = State::open(&request.state)?;
    request.measures.course().holds(state.storage(), state.manifest());
    with_sinks(&request.measures, open, |sinks| repair_opened(request, dumps, &mut state, sinks))
}

fn repair_opened(request: &Request, dumps: Dumps<'_>, state: &mut State, sinks: &mut [Box<dyn Sink>]) -> Result<Repaired> {
    let begun = Instant::now();
    for (kind, held) in state.manifest().kinds.iter().filter_map(|(kind, held)| Some((kind, held.as_ref()?))) {
        if held.sha256.is_empty() {
            bail!(
                "the {kind}s of the state were made anew from a store that was not as it was written: refresh with the dumps of {} or of a \
                 later month first, and repair then",
                held.month
            );
        }
    }
    if state.manifest().begun.is_some() {
        bail!(
            "a refresh was begun and did not end, and stores may hold some of it: run it again first (dead-letters retry, where that was begun), which brings them to the end of it"
        );
    }
    if !state.is_fresh() && !state.manifest().digests_are_current() {
        bail!("the state was written by a discodiff that takes digests otherwise: a refresh brings it and its stores up, do that first");
    }
    let found = compare(state, sinks, &request.progress, &request.measures)?;
    let mut repaired = Repaired { found, ..Repaired::default() };
    if request.stop.load(Ordering::Relaxed) {
        return Err(StoppedOnRequest.into());
    }
    let manifest = state.manifest().clone();
    let members = members(&manifest, sinks, &request.measures)?;
    let epoch = Epoch { number: newest_epoch(&manifest, &members) + 1, id: crate::state::new_id() };
    request.measures.course().applies(epoch.number, "");
    let _epoch = tracing::error_span!("epoch", epoch = epoch.number).entered();
    let needs = needs(&manifest, &members, sinks, &repaired.found);
    let faulty: Vec<usize> = (0..sinks.len()).filter(|at| needs[*at].0.iter().any(Option::is_some)).collect();
    if !faulty.is_empty() {
        let to_read = |kind: Kind| needs.iter().filter_map(|needs| needs[kind].as_ref()).any(|run| !run.faults.write.is_empty());
        let snapshot = match PerKind::from_fn(to_read) {
            none if !none.0.contains(&true) => Snapshot { month: String::new(), files: PerKind::default() },
            wanted => find(dumps, &manifest, &wanted, &mut repaired.unread, &request.measures)?,
        };
        let work = Work { request, manifest, epoch, snapshot };
        // Should this not end, `snapshots` of each store says that it was given up.
        let mut noted = state.manifest().clone();
        noted.last_epoch = epoch.number;
        noted.abandoned.push(epoch.number);
        state.replace(noted)?;
        repaired.wrote = work.repair(state, sinks, &faulty, &needs, &repaired.found)?;
        let mut noted = state.manifest().clone();
        noted.abandoned.retain(|number| *number != epoch.number);
        state.replace(noted)?;
    }
    repaired.left = match total(&repaired.found) {
        0 => repaired.found.clone(),
        _ => compare(state, sinks, &request.progress, &request.measures)?,
    };
    repaired.seconds = begun.elapsed().as_secs_f64();
    Ok(repaired)
}

/// For each store the kinds that are repaired in it: those that differ, and those that are as they should be but say otherwise.
fn needs(
    manifest: &Manifest,
    members: &[Member],
    sinks: &[Box<dyn Sink>],
    found: &BTreeMap<&'static str, Verified>,
) -> Vec<PerKind<Option<KindRun>>> {
    let mut needs = Vec::with_capacity(sinks.len());
    for (member, sink) in members.iter().zip(sinks) {
        let Some(found) = found.get(sink.name()) else {
            needs.push(PerKind::default());
            continue;
        };
        let stands = judge(manifest, member.holds, &member.standing, None);
        // Relationships and names are of no one kind: a graph that differs in them is behind in all of them until they are mended.
        let everywhere = found.names.values().chain(found.relations.values()).any(|found| !found.is_empty());
        needs.push(PerKind::from_fn(|kind| {
            let applied = manifest.kinds[kind].as_ref()?;
            let of_kind = found.kinds.get(&kind)?;
            let wanted = everywhere || !of_kind.is_empty() || stands[kind] != Stand::Current;
            wanted.then(|| KindRun {
                need: Need::Repair,
                faults: Arc::new(of_kind.faults.clone()),
                month: applied.month.clone(),
                file: applied.file.clone(),
                sha256: applied.sha256.clone(),
            })
        }));
    }
    needs
}

/// Finds the dumps of these kinds that the state holds; where that of a kind is not there, says so.
fn find(
    dumps: Dumps<'_>,
    manifest: &Manifest,
    wanted: &PerKind<bool>,
    unread: &mut Vec<(Kind, String)>,
    measures: &Measures,
) -> Result<Snapshot> {
    let mut files: PerKind<Option<DumpFile>> = PerKind::default();
    let wanted = || manifest.kinds.iter().filter(|(kind, _)| wanted[*kind]).filter_map(|(kind, held)| Some((kind, held.as_ref()?)));
    match dumps {
        Dumps::Folder(folder) => {
            let mut there = Folder::look(folder)?.identify_measured(measures, |_, _| true)?.files;
            for (kind, held) in wanted() {
                files[kind] = there[kind].take_if(|file| file.sha256 == held.sha256);
                if files[kind].is_none() {
                    let words = format!("{} has no {} of {} with the sha256 {}", folder.display(), held.file, held.month, held.sha256);
                    unread.push((kind, words));
                }
            }
        }
        Dumps::Topics(topics) => {
            let catalogue = Catalogue::find(topics)?;
            let mut finder = Finder::open(topics)?;
            for (kind, held) in wanted() {
                let attempt = catalogue.of(kind).rfind(|attempt| attempt.snapshot == held.sha256 && attempt.ends.is_some());
                match attempt.map(|attempt| finder.stretch(attempt)) {
                    Some(Ok(stretch)) => files[kind] = Some(super::topics::file(Arc::new(stretch))),
                    Some(Err(error)) => unread.push((kind, format!("{error:#}"))),
                    None => unread.push((kind, format!("{} of {} is not in {}", held.file, held.month, topics.of(kind)))),
                }
            }
        }
    }
    if files.0.iter().all(Option::is_none) {
        let words: Vec<&str> = unread.iter().map(|(_, words)| words.as_str()).collect();
        bail!("what the state holds is not there to be read again: {}. Nothing was written", words.join("; "));
    }
    let month = wanted().find(|(kind, _)| files[*kind].is_some()).map(|(_, held)| held.month.clone()).unwrap_or_default();
    Ok(Snapshot { month, files })
}

/// What a repair is done with.
struct Work<'a> {
    request: &'a Request,
    manifest: Manifest,
    epoch: Epoch,
    snapshot: Snapshot,
}

impl Work<'_> {
    fn repair(
        &self,
        state: &State,
        sinks: &mut [Box<dyn Sink>],
        faulty: &[usize],
        needs: &[PerKind<Option<KindRun>>],
        found: &BTreeMap<&'static str, Verified>,
    ) -> Result<BTreeMap<&'static str, Wrote>> {
        let mut targets = Vec::with_capacity(faulty.len());
        for &at in faulty {
            let (run, sink) = (self.run_of(&needs[at]), &mut sinks[at]);
            let writers = sink.begin(&run)?;
            let (name, by, holds) = (sink.name(), sink.writers(), sink.holds());
            if let (Some(graph), Some(Verified { odd, doubled, .. })) = (sink.graph(), found.get(name)) {
                graph.remove_nodes(doubled)?;
                for odd in odd.chunk_by(|(a, _), (b, _)| a == b) {
                    graph.strip(odd[0].0, &odd.iter().map(|(_, element)| element.clone()).collect::<Vec<_>>())?;
                }
            }
            targets.push(Target { name, by, holds, run, writers, missed: Missed::default() });
        }
        let runs: Vec<Run> = targets.iter().map(|target| target.run.clone()).collect();
        let plan = Plan {
            epoch: self.epoch,
            resumed: false,
            read: PerKind::from_fn(|kind| self.snapshot.files[kind].is_some()),
            needs: Vec::new(),
            abandoned: Vec::new(),
        };
        let kept = Kept { save: false, links: None, checkpoint: None, run: None };
        let applied = apply(self.request, &self.snapshot, &plan, &self.manifest, state.storage(), targets, kept)?;
        for (kind, counts) in applied.findings.counts.iter() {
            if counts.inserted + counts.updated + counts.deleted > 0 {
                bail!("the {kind}s that were read are not those of the state, whose sha256 they have: this is a defect of discodiff");
            }
        }
        fail::fail_point!("before-complete", |_| bail!("failpoint before-complete"));
        let mut wrote = BTreeMap::new();
        for ((&at, run), report) in faulty.iter().zip(&runs).zip(&applied.reports) {
            let (sink, mut undelivered) = (&mut sinks[at], report.undelivered);
            let name = sink.name();
            if let Some(graph) = sink.graph() {
                let refused = self.mend(state, name, graph)?;
                refused.iter().for_each(|(kind, refused)| undelivered[kind] += refused);
            }
            sink.complete(run, &PerKind::from_fn(|kind| self.end(kind, run, undelivered[kind], &applied)))?;
            let graph = sink.graph().map(|graph| graph.written());
            wrote.insert(sink.name(), Wrote { records: report.tally, graph });
        }
        Ok(wrote)
    }

    fn run_of(&self, kinds: &PerKind<Option<KindRun>>) -> Run {
        Run {
            state: self.manifest.state,
            epoch: self.epoch,
            month: self.snapshot.month.clone(),
            kinds: kinds.clone(),
            from: None,
            peers: self.request.first().peers,
            want_fields: false,
            abandoned: self.manifest.abandoned.clone(),
            before: self.manifest.completed,
        }
    }

    fn mend(&self, state: &State, name: &'static str, graph: &mut dyn crate::sinks::Graph) -> Result<PerKind<u64>> {
        let dictionary = load_dictionary(state.storage(), &self.manifest)?;
        let all = Flow { graph: true, mended: PerKind::from_fn(|_| true) };
        mend(state.storage(), &self.manifest, &dictionary, (name, graph), &all, self.request)
    }

    fn end(&self, kind: Kind, run: &Run, undelivered: u64, applied: &Applied) -> Option<KindEnd> {
        let (run, held) = (run.kinds[kind].as_ref()?, self.manifest.kinds[kind].as_ref()?);
        let read = self.snapshot.files[kind].is_some();
        Some(KindEnd {
            epoch: held.epoch,
            current: undelivered == 0 && (read || run.faults.write.is_empty()),
            whole: applied.findings.verdicts[kind].as_ref().is_some_and(|verdict| verdict.defect.is_none() && !verdict.partial),
            records: held.records,
            deletes_withheld: held.deletes_withheld,
            rejected: held.rejected,
        })
    }
}
