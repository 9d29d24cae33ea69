//! The main job: brings sinks to a snapshot at the cost of what changed.
//!
//! ```text
//!   find the snapshot ─ open the state ─ ask the sinks how they stand ─ plan (nothing is written up to here)
//!     ─ note the epoch as begun ─ begin the sinks ─ run the dataflow ─ complete the sinks ─ put the next generation in place
//! ```
//!
//! A run that ends anywhere on the way leaves the generation before in force; the next run of the same snapshot takes the same epoch
//! up again, and writes the same things again.

mod abroad;
mod account;
mod apply;
mod checkpoints;
mod connected;
mod dataflow;
mod due;
mod judge;
mod led;
mod mend;
mod plan;
mod repair;
mod report;
mod selection;
mod topics;
mod unmarked;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use roaring::RoaringBitmap;

use crate::cluster::Cluster;
use crate::dataflows::Flow;
use crate::model::graph::{Dictionary, LINKS_VERSION};
use crate::model::{Kind, Peers, PerKind, Seat};
use crate::sinks::driver::Missed;
use crate::sinks::{self, Holds, KindEnd, KindRun, Need, Run, Sink};
use crate::sources::{BlockSize, DumpFile, Folder, Place, Snapshot, StoppedOnRequest};
use crate::state::{Applied, Begun, Checkpoint, Deletes, Links, Manifest, Part, State, Storage, check, save_dictionary};
use crate::telemetry::{Cause, Measures, Phase, Progress, RunStage};
use apply::{Kept, Target, apply};
use checkpoints::Grounds;
use dataflow::{SavedLinks, bytes_of};
pub use due::{Due, Lag, Unfinished};
pub use judge::{Allowed, Member, Plan, Stand, judge, judge_messages};
pub use led::{Sources, led};
use led::{Task, gather, suits};
use mend::mend;
pub use plan::{Foreseen, foresee};
pub use repair::{Dumps, Repaired, repair};
pub use report::{Notes, Refreshed, Report, ResumedFrom, Wrote};
pub use selection::{From, Selection};
pub use topics::FromTopics;

/// What is asked of a run.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where the state is.
    pub state: Storage,
    /// Number of timely workers of this process.
    pub workers: usize,
    /// The other processes.
    pub cluster: Option<Arc<Cluster>>,
    /// Where blocks are cut.
    pub block: BlockSize,
    /// Bytes that may be in flight.
    pub memory: usize,
    /// Deletes are taken up to this share of a kind, in percent.
    pub delete_limit_percent: f64,
    /// Up to this share of a kind's records may be rejected, in percent.
    pub reject_limit_percent: f64,
    /// What the user allows.
    pub allowed: Allowed,
    /// How often a checkpoint is taken.
    pub checkpoint_interval: Duration,
    /// Set when the user wants the run to stop.
    pub stop: Arc<AtomicBool>,
    /// Where progress is shown.
    pub progress: Arc<Progress>,
    /// What the run measures of itself.
    pub measures: Arc<Measures>,
}

impl Request {
    /// The first worker of this process, among all.
    fn first(&self) -> Seat {
        self.cluster.as_ref().map_or(Peers::alone(self.workers).first_of(0), |cluster| cluster.peers.first_of(cluster.process))
    }

    fn deletes(&self) -> Deletes {
        Deletes { limit_percent: self.delete_limit_percent, allowed: self.allowed.deletes }
    }
}

/// Brings the sinks that `open` gives to the snapshot in the folder `dumps`. They are opened when the state is locked, and closed at the
/// end, however that comes.
pub fn refresh(request: &Request, dumps: &Path, open: impl FnOnce() -> Result<Vec<Box<dyn Sink>>>) -> Result<Refreshed> {
    let begun = Instant::now();
    request.measures.begin();
    request.measures.course().enter(Phase::Identifying);
    let folder = Folder::look(dumps)?;
    let state = State::open(&request.state)?;
    let manifest = state.manifest();
    // What the state knows is read beforehand: the same month with other bytes is another snapshot, whatever CHECKSUM.txt states.
    // So is whatever might be what a run that did not end has begun.
    let all = request.allowed.retry || manifest.begun.is_some();
    let known = |kind: Kind, sha256: &str| all || manifest.kinds[kind].as_ref().is_some_and(|applied| applied.sha256 == sha256);
    let snapshot = folder.identify_measured(&request.measures, known)?;
    // Identifying a whole month's files takes some seconds.
    if request.stop.load(Ordering::Relaxed) {
        return Err(StoppedOnRequest.into());
    }
    refresh_to(request, begun, snapshot, state, open)
}

/// The same to a snapshot whose files may not be here. `None`: some of them would be read, and nothing was done. A state that holds a newer
/// month is left as it is.
pub fn refresh_if_held(
    request: &Request,
    snapshot: Snapshot,
    open: impl FnOnce() -> Result<Vec<Box<dyn Sink>>>,
) -> Result<Option<Refreshed>> {
    let begun = Instant::now();
    let mut state = State::open(&request.state)?;
    request.measures.course().holds(state.storage(), state.manifest());
    let newest = state.manifest().kinds.iter().filter_map(|(_, applied)| applied.as_ref().map(|applied| applied.month.clone())).max();
    if let Some(newest) = newest.filter(|newest| *newest > snapshot.month && !request.allowed.older) {
        tracing::info!("the state holds {newest}, and {} is offered: nothing of it is applied (--allow-older goes back)", snapshot.month);
        let mut refreshed = Refreshed::default();
        refreshed.report.snapshot = newest;
        return Ok(Some(refreshed));
    }
    with_sinks(&request.measures, open, |sinks| {
        let members = members(state.manifest(), sinks, &request.measures)?;
        match judge::plan(state.manifest(), &snapshot, &members, request.allowed, request.deletes())? {
            None => nothing_to_do(begun, &snapshot, &mut state, &members, sinks).map(Some),
            Some(_) => Ok(None),
        }
    })
}

fn refresh_to(
    request: &Request,
    begun: Instant,
    snapshot: Snapshot,
    state: State,
    open: impl FnOnce() -> Result<Vec<Box<dyn Sink>>>,
) -> Result<Refreshed> {
    let (measures, course) = (&request.measures, request.measures.course());
    course.enter(Phase::Opening);
    measures.shows(&request.progress);
    course.holds(state.storage(), state.manifest());
    with_sinks(measures, open, |sinks| refresh_opened(request, begun, snapshot, state, sinks))
}

/// Opens sinks, and closes them, however the work with them ends.
fn with_sinks<T>(
    measures: &Measures,
    open: impl FnOnce() -> Result<Vec<Box<dyn Sink>>>,
    work: impl FnOnce(&mut [Box<dyn Sink>]) -> Result<T>,
) -> Result<T> {
    // The servers may be slow, and a store of before may be brought to a new form.
    let waiting = measures.waits().within("sinks");
    let mut sinks = open()?;
    drop(waiting);
    let result = work(&mut sinks);
    let closed = sinks.iter_mut().try_for_each(|sink| sink.close());
    let done = result?;
    closed?;
    Ok(done)
}

/// Where all that is offered is held, and all sinks are current.
fn nothing_to_do(
    begun: Instant,
    snapshot: &Snapshot,
    state: &mut State,
    members: &[Member],
    sinks: &mut [Box<dyn Sink>],
) -> Result<Refreshed> {
    let mut manifest = state.manifest().clone();
    // What was begun of this very snapshot has left nothing in the sinks.
    manifest.abandoned.extend(manifest.begun.take_if(|begun| begun.is_of(snapshot)).map(|begun| begun.epoch.number));
    note_reached(&mut manifest, snapshot);
    if manifest != *state.manifest() {
        state.replace(manifest)?;
    }
    let mut refreshed = Refreshed::default();
    refreshed.report.snapshot = snapshot.month.clone();
    note_unread(state.manifest(), members, sinks, &PerKind::default(), &mut refreshed.notes);
    note_owed(state.manifest(), sinks, &PerKind::default(), &mut refreshed.notes)?;
    for (kind, applied) in state.manifest().kinds.iter() {
        let withheld = applied.as_ref().filter(|applied| applied.deletes_withheld > 0 && snapshot.files[kind].is_some());
        let why = || "they were withheld when this snapshot was applied; --allow-deletes takes them".to_owned();
        refreshed.notes.withheld.extend(withheld.map(|applied| (kind, applied.deletes_withheld, why())));
    }
    refreshed.report.seconds = begun.elapsed().as_secs_f64();
    Ok(refreshed)
}

fn refresh_opened(
    request: &Request,
    begun: Instant,
    snapshot: Snapshot,
    mut state: State,
    sinks: &mut [Box<dyn Sink>],
) -> Result<Refreshed> {
    let members = members(state.manifest(), sinks, &request.measures)?;
    let Some(mut plan) = judge::plan(state.manifest(), &snapshot, &members, request.allowed, request.deletes())? else {
        return nothing_to_do(begun, &snapshot, &mut state, &members, sinks);
    };
    request.measures.course().applies(plan.epoch.number, &snapshot.month);
    let _epoch = tracing::error_span!("epoch", epoch = plan.epoch.number, month = snapshot.month).entered();
    request.progress.belongs_here();
    let before = state.manifest().clone();
    // A damaged state is found before anything is written, at the cost of reading it twice: about a second for 34 M records.
    let rows = |parts: &[Part]| parts.iter().map(|part| part.rows).sum();
    let (links, edges) = before.links.as_ref().map_or((0, 0), |links| (rows(&links.links), rows(&links.edges)));
    let keys = rows(&before.parts);
    let size = |_: &_| (keys, bytes_of(keys, links, edges));
    request.measures.waiting(RunStage::Check, Cause::State, size, || check(state.storage(), &before))?;
    // Once kept, links are kept for good: a graph that is left out of some months is brought up without a first load.
    let keeps_links = before.links.is_some() || members.iter().any(|member| member.holds == Holds::Graph);
    let storage = state.storage().clone();
    let grounds = Grounds { storage: &storage, before: &before, snapshot: &snapshot, members: &members, block: request.block, keeps_links };
    let cluster = request.cluster.as_deref();
    if let Some(cluster) = cluster {
        // Before anything is noted of the run, here or in a sink.
        suits(cluster, &plan, &snapshot, sinks)?;
        cluster.check()?;
    }
    let (taken_up, dictionary) = grounds.take_up(&plan)?;
    if let Some(checkpoint) = &taken_up {
        plan.needs =
            members.iter().map(|member| member.participant(checkpoint).map_or_else(PerKind::default, |known| known.needs)).collect();
        tracing::info!("going on where the run before was: {}", told(checkpoint));
    } else {
        // What it says is of no use to a run that begins anew, and wrong as soon as that has come to one of its own.
        state.forget_checkpoint()?;
    }
    let from = taken_up.as_ref().map(|checkpoint| sinks::From { tick: checkpoint.mark.tick, changes: checkpoint.changes });
    let mut manifest = before.clone();
    manifest.last_epoch = plan.epoch.number;
    manifest.abandoned.extend(&plan.abandoned);
    manifest.begun = Some(Begun {
        epoch: plan.epoch,
        files: PerKind::from_fn(|kind| snapshot.files[kind].as_ref().map(DumpFile::noted)),
        deletes: Some(request.deletes()),
        retry: request.allowed.retry,
    });
    state.replace(manifest.clone())?;

    let mut runs: Vec<Run> =
        plan.needs.iter().map(|needs| run_of(&before, &snapshot, &plan, needs, from, request.first().peers, sinks)).collect();
    let waits = request.measures.waits();
    let mut targets = Vec::with_capacity(sinks.len());
    for (sink, run) in sinks.iter_mut().zip(&runs) {
        let writers = waits.during(Cause::Sink(sink.name()), || sink.begin(run))?;
        targets.push(Target {
            name: sink.name(),
            by: sink.writers(),
            holds: sink.holds(),
            run: run.clone(),
            writers,
            missed: Missed::default(),
        });
    }
    let links = keeps_links.then(|| Arc::clone(&dictionary));
    let checkpoint = grounds.begin(&plan, sinks, taken_up.as_ref())?;
    let mut kept = Kept { save: true, links, checkpoint, run: None };
    if let Some(cluster) = cluster {
        let sinks: Vec<_> = sinks.iter().map(|sink| &**sink).zip(&runs).collect();
        let task = Task::of(&before, &plan, &snapshot, &sinks, &kept)?;
        state.name_run(task.run)?;
        task.assign(cluster)?;
        kept.run = Some(task.run);
    }
    let mut applied = apply(request, &snapshot, &plan, &before, state.storage(), targets, kept)?;
    if let Some(cluster) = cluster {
        gather(cluster, &request.stop, &mut applied)?;
    }
    request.measures.course().enter(Phase::Completing);
    fail::fail_point!("before-complete", |_| bail!("failpoint before-complete"));

    let mut refreshed = Refreshed::default();
    manifest.generation += 1;
    manifest.begun = None;
    (manifest.canonical, manifest.rules) = (crate::model::CANONICAL_VERSION, crate::model::RULES_VERSION);
    manifest.parts = applied.parts;
    let records = before.records();
    for (kind, file) in snapshot.files.iter().filter(|(kind, _)| plan.read[*kind]) {
        let (Some(file), Some(verdict)) = (file, &applied.findings.verdicts[kind]) else {
            bail!("the {kind}s were not read to their end: nothing of this month is taken over, run the same command again");
        };
        let counts = applied.findings.counts[kind];
        // Where nothing changed, sinks that were left out of this run still hold what the state holds.
        let changed = counts.inserted + counts.updated + counts.deleted > 0;
        let epoch = before.kinds[kind].as_ref().filter(|_| !changed).map_or(plan.epoch, |applied| applied.epoch);
        manifest.kinds[kind] = Some(Applied {
            epoch,
            month: snapshot.month.clone(),
            file: file.name.clone(),
            sha256: file.read_sha256().to_owned(),
            records: records[kind] + counts.inserted - counts.deleted,
            rejected: counts.rejected,
            deletes_withheld: counts.deletes_withheld,
            defect: verdict.defect.clone(),
            unmapped: applied.findings.unmapped[kind].clone(),
        });
        refreshed.notes.defects.extend(verdict.defect.clone().map(|defect| (kind, defect)));
        refreshed.notes.withheld.extend(verdict.withheld.clone().map(|why| (kind, verdict.missing, why)));
        refreshed.report.kinds.insert(kind, counts);
    }
    // A feed that is left out of a run in which nothing changed misses nothing.
    let changed = refreshed.report.kinds.values().any(|counts| counts.inserted + counts.updated + counts.deleted > 0);
    if changed || members.iter().any(|member| member.holds.is_feed()) {
        manifest.completed = Some(plan.epoch);
    }
    if keeps_links {
        let links = std::mem::take(&mut applied.links);
        let save = || save_links(&state, &before, &dictionary, &plan, links, &applied.flow);
        manifest.links = Some(waits.during(Cause::State, save)?);
    }
    let (held, written): (u64, u64) = (manifest.records().0.iter().sum(), manifest.parts.iter().map(|part| part.rows).sum());
    if held != written {
        bail!("counts do not add up: {held} records by the counts, {written} in the state. This is a defect of discodiff");
    }
    for (kind, file) in snapshot.files.iter() {
        let Some(file) = file else { continue };
        runs.iter_mut().filter_map(|run| run.kinds[kind].as_mut()).for_each(|read| file.read_sha256().clone_into(&mut read.sha256));
    }
    for (((sink, member), run), report) in sinks.iter_mut().zip(&members).zip(&runs).zip(&applied.reports) {
        let mut undelivered = report.undelivered;
        let known = taken_up.as_ref().and_then(|checkpoint| member.participant(checkpoint));
        known.iter().flat_map(|known| known.missed.iter()).for_each(|(kind, missed)| undelivered[kind] += missed);
        let name = sink.name();
        if let Some(graph) = sink.graph() {
            let work = || mend(state.storage(), &manifest, &dictionary, (name, graph), &applied.flow, request);
            let refused = waits.during(Cause::Sink(name), work)?;
            refused.iter().for_each(|(kind, refused)| undelivered[kind] += refused);
        }
        let ends = PerKind::from_fn(|kind| {
            run.kinds[kind].as_ref().map(|_| KindEnd {
                epoch: manifest.kinds[kind].as_ref().map_or(plan.epoch, |applied| applied.epoch),
                current: undelivered[kind] == 0,
                whole: applied.findings.verdicts[kind].as_ref().is_some_and(|verdict| verdict.defect.is_none() && !verdict.partial),
                records: manifest.records()[kind],
                deletes_withheld: applied.findings.counts[kind].deletes_withheld,
                rejected: applied.findings.counts[kind].rejected,
            })
        });
        request.measures.waiting(RunStage::Complete(name), Cause::Sink(name), |_| (0, 0), || sink.complete(run, &ends))?;
        let graph = sink.graph().map(|graph| graph.written());
        refreshed.report.sinks.insert(name, Wrote { records: report.tally, graph });
        for (kind, end) in ends.iter() {
            let brought_up = run.kinds[kind].as_ref().is_some_and(|kind| kind.need == Need::Everything);
            match end {
                Some(end) if !end.current => refreshed.notes.behind.push((sink.name(), kind, undelivered[kind])),
                Some(_) if brought_up && before.kinds[kind].is_some() => refreshed.notes.brought_up.push((sink.name(), kind)),
                _ => {}
            }
        }
    }
    note_reached(&mut manifest, &snapshot);
    note_unread(&before, &members, sinks, &plan.read, &mut refreshed.notes);
    note_owed(&manifest, sinks, &plan.read, &mut refreshed.notes)?;
    fail::fail_point!("before-state", |_| bail!("failpoint before-state"));
    waits.during(Cause::State, || state.replace(manifest))?;
    request.measures.course().holds(state.storage(), state.manifest());
    refreshed.notes.rejected = applied.findings.rejected;
    refreshed.notes.twins = applied.findings.twins;
    refreshed.notes.unmapped = applied.findings.unmapped;
    refreshed.notes.removed_characters = applied.findings.removed_characters;
    refreshed.notes.lone_ampersands = applied.findings.lone_ampersands;
    refreshed.notes.peak_in_flight = applied.peak_in_flight;
    refreshed.report.snapshot = snapshot.month;
    refreshed.report.resumed_from = taken_up.map(|checkpoint| ResumedFrom::of(&checkpoint));
    refreshed.report.end(begun, &request.measures);
    Ok(refreshed)
}

fn told(checkpoint: &Checkpoint) -> String {
    let ResumedFrom { kind, records, .. } = ResumedFrom::of(checkpoint);
    format!("{}, record {}", kind.plural(), crate::telemetry::words::count(records))
}

/// Notes where the state stands in topics: behind what it holds of them.
fn note_reached(manifest: &mut Manifest, snapshot: &Snapshot) {
    for (kind, file) in snapshot.files.iter() {
        let (Some(file), Some(applied)) = (file, &manifest.kinds[kind]) else { continue };
        let reached = match &file.place {
            Place::Topic(stretch) => Some(stretch.attempt.reached()),
            Place::Unmarked(span) => span.reached(),
            Place::File(_) => None,
        };
        if file.sha256 == applied.sha256 && reached.is_some() {
            manifest.topics[kind] = reached;
        }
    }
}

/// What the next generation's manifest says of the links, whose dictionary is saved here.
fn save_links(
    state: &State,
    before: &Manifest,
    dictionary: &Dictionary,
    plan: &Plan,
    saved: Vec<SavedLinks>,
    flow: &Flow,
) -> Result<Links> {
    let mut used = RoaringBitmap::new();
    let mut held = PerKind::<u64>::default();
    let (mut links, mut edges) = (Vec::new(), Vec::new());
    for part in saved {
        used |= part.used;
        Kind::ALL.iter().for_each(|kind| held[*kind] += part.held[*kind]);
        links.push(part.links);
        edges.push(part.edges);
    }
    let complete = |kind: Kind| before.holds_links(kind) || (plan.read[kind] && flow.mended[kind] && held[kind] == 0);
    // A kind that the state holds nothing of is complete as it is, and what this run read of it came with its links.
    Ok(Links {
        version: LINKS_VERSION,
        complete: PerKind::from_fn(|kind| complete(kind) || (before.links.is_none() && before.kinds[kind].is_none())),
        links,
        edges,
        dictionary: save_dictionary(state.storage(), before, dictionary, &used)?,
    })
}

/// Asks the sinks how they stand; refuses one that belongs to another state.
fn members(manifest: &Manifest, sinks: &mut [Box<dyn Sink>], measures: &Measures) -> Result<Vec<Member>> {
    let mut members = Vec::with_capacity(sinks.len());
    for sink in sinks {
        let waiting = measures.waits().within(sink.name());
        let standing = sink.standing()?;
        drop(waiting);
        if let Some(other) = standing.state.filter(|state| *state != manifest.state) {
            bail!(
                "{}: the store belongs to the state {other}, and this is the state {}: name the state that it was filled from (or make that anew: state rebuild), or an empty store. It stays as it was",
                sink.name(),
                manifest.state
            );
        }
        members.push(Member { standing, holds: sink.holds() });
    }
    Ok(members)
}

/// Notes kinds that a sink does not hold as the state does, and that this run does not read.
fn note_unread(manifest: &Manifest, members: &[Member], sinks: &[Box<dyn Sink>], read: &PerKind<bool>, notes: &mut Notes) {
    for (member, sink) in members.iter().zip(sinks).filter(|(member, _)| !member.holds.is_feed()) {
        let stands = judge(manifest, member.holds, &member.standing, None);
        for (kind, _) in stands.iter().filter(|(kind, stand)| !read[*kind] && **stand != Stand::Current) {
            let records = manifest.records()[kind];
            // Where neither ever had any, nothing is missed.
            if records > 0 || member.standing.kinds[kind].is_some() || member.standing.begun[kind].is_some() {
                notes.behind.push((sink.name(), kind, records));
            }
        }
    }
}

/// Notes kinds that this run does not read and of which a feed owes something to its readers.
fn note_owed(manifest: &Manifest, sinks: &mut [Box<dyn Sink>], read: &PerKind<bool>, notes: &mut Notes) -> Result<()> {
    for sink in sinks.iter_mut().filter(|sink| sink.holds() == Holds::Messages) {
        for (kind, begun) in sink.standing()?.begun.iter().filter(|(kind, _)| !read[*kind]) {
            notes.behind.extend(begun.map(|_| (sink.name(), kind, manifest.records()[kind])));
        }
    }
    Ok(())
}

fn run_of(
    before: &Manifest,
    snapshot: &Snapshot,
    plan: &Plan,
    needs: &PerKind<Option<Need>>,
    from: Option<sinks::From>,
    peers: Peers,
    sinks: &[Box<dyn Sink>],
) -> Run {
    let kind_run = |kind: Kind| {
        let file = snapshot.files[kind].as_ref()?;
        let (month, file, sha256) = (snapshot.month.clone(), file.name.clone(), file.sha256.clone());
        Some(KindRun { need: needs[kind]?, faults: Arc::default(), month, file, sha256 })
    };
    Run {
        state: before.state,
        epoch: plan.epoch,
        month: snapshot.month.clone(),
        kinds: PerKind::from_fn(kind_run),
        from,
        peers,
        want_fields: sinks.iter().any(|sink| sink.holds().is_feed()),
        abandoned: before.abandoned.iter().chain(&plan.abandoned).copied().collect(),
        before: before.completed,
    }
}
