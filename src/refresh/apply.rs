//! Runs one epoch: reader, dataflow and writers' threads, from start to the last commit.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use crossbeam_channel::bounded;
use roaring::RoaringTreemap;

use super::checkpoints::{Rounds, Scribe, delivered};
use super::dataflow::{self, Equipment, SavedLinks, Setting};
use super::{Plan, Request};
use crate::dataflows::{Asked, DiffOptions, Excess, Findings, Flow, Guard, Journal, RejectLimit, SinkPort};
use crate::model::graph::Dictionary;
use crate::model::{Kind, PerKind, Seat};
use crate::sinks::driver::{Driver, Missed, Report};
use crate::sinks::{Holds, Need, Run, Writer, Writers};
use crate::sources::{Budget, Holder, Reading, Snapshot, Stop, StoppedOnRequest, Surroundings, Trail, read};
use crate::state::{Checkpoint, Manifest, Part, Storage};
use crate::telemetry::{Cause, InFlight, Phase};
use uuid::Uuid;

/// A sink's writers and what they need to know.
pub struct Target {
    /// The sink's name.
    pub name: &'static str,
    /// Who writes to it.
    pub by: Writers,
    /// What the sink holds.
    pub holds: Holds,
    /// What is being applied, as the sink needs it.
    pub run: Run,
    /// In the order of workers.
    pub writers: Vec<Box<dyn Writer>>,
    /// Where keys that it does not get are noted.
    pub missed: Missed,
}

/// What is kept of an epoch beside what sinks take.
pub struct Kept {
    /// Whether the next generation is written.
    pub save: bool,
    /// The dictionary, where links are kept.
    pub links: Option<Arc<Dictionary>>,
    /// What this run's checkpoints go on from; `None`: it takes none.
    pub checkpoint: Option<Checkpoint>,
    /// What the run is called among several processes.
    pub run: Option<Uuid>,
}

/// What an epoch came to.
pub struct Applied {
    /// Of all workers.
    pub findings: Findings,
    /// The next generation's parts, where asked for.
    pub parts: Vec<Part>,
    /// Its links, where they are kept.
    pub links: Vec<SavedLinks>,
    /// What flowed to a graph.
    pub flow: Flow,
    /// In the order of targets.
    pub reports: Vec<Report>,
    /// The most bytes that were in flight.
    pub peak_in_flight: usize,
}

/// Reads what the plan says, runs it through the dataflow, and has every target write it.
pub fn apply(
    request: &Request,
    snapshot: &Snapshot,
    plan: &Plan,
    manifest: &Manifest,
    storage: &Storage,
    targets: Vec<Target>,
    kept: Kept,
) -> Result<Applied> {
    let first = Seat { run: kept.run.map(|run| run.as_fields().0), ..request.first() };
    let budget = Arc::new(Budget::new(request.memory));
    let stop = Stop::new(Arc::clone(&budget));
    if let Some(cluster) = &request.cluster {
        cluster.watch(&stop);
    }
    let beyond = |target: &Target, kind: Kind| target.run.kinds[kind].as_ref().is_some_and(|run| run.need != Need::Changes);
    let graphs = || targets.iter().filter(|target| target.holds == Holds::Graph);
    let flow = Flow { graph: graphs().next().is_some(), mended: PerKind::from_fn(|kind| graphs().any(|target| beyond(target, kind))) };
    // One without journals is no run's yet.
    let taken_up = kept.checkpoint.as_ref().filter(|checkpoint| !checkpoint.segments.is_empty()).map(|one| Arc::new(one.clone()));
    let mark = taken_up.as_ref().map(|checkpoint| checkpoint.mark.clone());
    let to_read = |kind: Kind| plan.read[kind] && mark.as_ref().is_none_or(|mark| kind >= mark.kind());
    let files: Vec<_> = snapshot.files.iter().filter(|(kind, _)| to_read(*kind)).filter_map(|(_, file)| file.clone()).collect();
    let delivered = match &taken_up {
        Some(checkpoint) => delivered(storage, manifest, checkpoint)?,
        None => PerKind::from_fn(|_| RoaringTreemap::new()),
    };
    let trail = Arc::new(Trail::new(plan.epoch.number));
    let excess = Excess::default();
    let diff = DiffOptions {
        epoch: plan.epoch.number,
        peers: first.peers,
        files: PerKind::from_fn(|kind| snapshot.files[kind].as_ref().map_or_else(|| Arc::from(""), |file| Arc::from(file.name.as_str()))),
        asked: PerKind::from_fn(|kind| asked(&targets, kind)),
        projections: (kept.links.is_some() || flow.graph).then_some(flow.mended),
        trust_raw: manifest.digests_are_current(),
        excess: excess.clone(),
    };
    let measures = Arc::clone(&request.measures);
    let surroundings =
        Surroundings { budget: Arc::clone(&budget), trail: Arc::clone(&trail), measures: Arc::clone(&measures), stop: stop.clone() };
    let (reading, inlets) = read(files, mark, request.block, first, surroundings.clone())?;
    let mut equipment: Vec<_> = inlets.into_iter().map(|inlet| Equipment { inlet, ports: Vec::new() }).collect();
    let mut threads = Vec::with_capacity(targets.len());
    let missed: Vec<Missed> = targets.iter().map(|target| Arc::clone(&target.missed)).collect();
    let mut causes = vec![(Holder::WORKERS, Cause::Cpu), (Holder::JOURNAL, Cause::State)];
    for (at, target) in targets.into_iter().enumerate() {
        causes.push((Holder::sink(at), Cause::Sink(target.name)));
        threads.push(start(target, Holder::sink(at), first, &mut equipment, &surroundings, &delivered)?);
    }
    let holders =
        causes.iter().map(|(holder, cause)| (*holder, if *holder == Holder::WORKERS { "workers" } else { cause.name() })).collect();
    measures.carries(InFlight { budget: Arc::clone(&budget), holders });
    measures.course().enter(Phase::Reading);
    let (mut journal, mut rounds, mut scribe) = (Journal::new(None, Arc::clone(&budget)), Rounds::default(), None);
    if let Some(checkpoint) = kept.checkpoint {
        let dictionary = kept.links.clone().unwrap_or_default();
        let (storage, trail) = (storage.clone(), Arc::clone(&trail));
        let (budget, interval) = (Arc::clone(&budget), request.checkpoint_interval);
        let (measures, excess, stop) = (Arc::clone(&measures), excess.clone(), stop.clone());
        let cluster = request.cluster.clone();
        let one = Scribe { storage, checkpoint, interval, first, cluster, trail, dictionary, missed, budget, excess, measures, stop };
        let thread;
        (journal, rounds, thread) = one.start(manifest)?;
        scribe = Some(thread);
    }
    let setting = Setting {
        storage: storage.clone(),
        manifest: Arc::new(manifest.clone()),
        first,
        cluster: request.cluster.clone().zip(kept.run),
        guard: Guard {
            limit_percent: request.delete_limit_percent,
            allow_deletes: request.allowed.deletes,
            rejects: RejectLimit { percent: request.reject_limit_percent },
            files: diff.files.clone(),
            excess,
        },
        diff,
        budget: Arc::clone(&budget),
        causes: Arc::new(causes),
        measures,
        stop: stop.clone(),
        save: kept.save,
        links: kept.links.map(|dictionary| (dictionary, flow)),
        journal,
        rounds,
        taken_up,
    };
    // With checkpoints it ends with one, and without at once.
    let gently = scribe.is_some();
    let end = move |stop: &Stop| if gently { trail.end() } else { stop.fail(StoppedOnRequest.into()) };
    let outcomes = watched(&reading, request, || end(&stop), || dataflow::run(setting, equipment));
    // Before writers are waited for, which may be waiting for a server.
    if let (Err(error), Some(cluster)) = (&outcomes, &request.cluster) {
        cluster.warn(error);
    }
    // On every way out the reader is let go of, and the writers have ended.
    budget.close();
    let mut reports = Vec::with_capacity(threads.len());
    for threads in threads {
        let mut total = Report::default();
        for thread in threads {
            let report = thread.join().map_err(|_| anyhow!("a sink's thread panicked"))?;
            total.tally += report.tally;
            for (kind, undelivered) in report.undelivered.iter() {
                total.undelivered[kind] += undelivered;
            }
        }
        reports.push(total);
    }
    if let Some(scribe) = scribe {
        scribe.join().map_err(|_| anyhow!("the checkpoints' thread panicked"))?;
    }
    reading.join();
    let outcomes = outcomes?;
    if let Some(reason) = stop.take_reason() {
        return Err(reason);
    }
    let mut findings = Findings::default();
    let (mut parts, mut links) = (Vec::new(), Vec::new());
    for outcome in outcomes {
        findings.merge(outcome.findings);
        parts.extend(outcome.part);
        links.extend(outcome.links);
    }
    Ok(Applied { findings, parts, links, flow, reports, peak_in_flight: budget.peak() })
}

/// Which records that did not change are asked for.
fn asked(targets: &[Target], kind: Kind) -> Asked {
    let mut ids: Option<RoaringTreemap> = None;
    for run in targets.iter().filter_map(|target| target.run.kinds[kind].as_ref()) {
        match run.need {
            Need::Changes => {}
            Need::Everything => return Asked::All,
            Need::Repair => *ids.get_or_insert_default() |= &run.faults.write,
        }
    }
    ids.map_or(Asked::None, |ids| Asked::Only(Arc::new(ids)))
}

/// Starts a target's threads and gives the workers their ends.
fn start(
    target: Target,
    holder: Holder,
    first: Seat,
    equipment: &mut [Equipment],
    surroundings: &Surroundings,
    delivered: &PerKind<RoaringTreemap>,
) -> Result<Vec<thread::JoinHandle<Report>>> {
    let Target { name, by, run, writers, missed, .. } = target;
    let shared = Arc::new(run.clone());
    let mut writers = writers.into_iter();
    let mut threads = Vec::new();
    for (worker, equipment) in equipment.iter_mut().enumerate() {
        let (parts, part_receiver) = crossbeam_channel::unbounded();
        let (acknowledgements, acknowledged) = crossbeam_channel::unbounded();
        let (waker, wakers) = bounded(1);
        let sharing = by.sharing(first.worker + worker, first.peers);
        let writer = if sharing.start == first.worker + worker { writers.next() } else { None };
        let parts = writer.is_some().then_some(parts);
        let run_of_port = Arc::clone(&shared);
        let (home, is_far) = (sharing.start, sharing.len() > first.peers.workers);
        equipment.ports.push(SinkPort { name, home, is_far, run: run_of_port, parts, holder, acknowledgements: acknowledged, waker });
        let Some(writer) = writer else { continue };
        let driver = Driver {
            name: format!("{name} {worker}"),
            sink: name,
            writer,
            workers: sharing,
            run: run.clone(),
            parts: part_receiver,
            acknowledgements,
            wakers,
            budget: Arc::clone(&surroundings.budget),
            holder,
            measures: Arc::clone(&surroundings.measures),
            delivered: delivered.clone(),
            missed: Arc::clone(&missed),
            stop: surroundings.stop.clone(),
        };
        threads.push(driver.start().context("cannot start a sink's thread")?);
    }
    Ok(threads)
}

/// Runs `work` while showing how far the reader has come, and stops it when the user wants that.
fn watched<T: Send>(reading: &Reading, request: &Request, end: impl Fn() + Send, work: impl FnOnce() -> T + Send) -> T {
    const LOOK: Duration = Duration::from_millis(100);
    thread::scope(|scope| {
        let (done, ended) = bounded::<()>(0);
        let positions = reading.positions.clone();
        let progress = Arc::clone(&request.progress);
        scope.spawn(move || {
            let mut shown = vec![(0, 0, false); positions.len()];
            loop {
                let last = ended.recv_timeout(LOOK) != Err(crossbeam_channel::RecvTimeoutError::Timeout);
                for ((kind, position), shown) in positions.iter().zip(&mut shown) {
                    let now = (position.bytes.load(Ordering::Relaxed), position.records.load(Ordering::Relaxed));
                    // Decompressors run ahead; a kind begins when its first records are cut.
                    if now.1 == 0 && !position.done.load(Ordering::Relaxed) {
                        break;
                    }
                    if shown.1 == 0 {
                        progress.started(*kind, Some(position.total).filter(|total| *total > 0));
                    }
                    progress.advance(*kind, now.0 - shown.0, now.1 - shown.1);
                    (shown.0, shown.1) = now;
                    if position.done.load(Ordering::Relaxed) && !shown.2 {
                        shown.2 = true;
                        progress.done(*kind);
                    }
                }
                if last {
                    return;
                }
                if request.stop.load(Ordering::Relaxed) {
                    end();
                }
            }
        });
        let result = work();
        drop(done);
        result
    })
}
