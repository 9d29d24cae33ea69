//! One refresh dataflow on every worker, from inlets to saved parts: of this process, together with those of others where there are some.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};
use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::generic::operator::empty;
use timely::dataflow::operators::{Concatenate, ConnectLoop, Feedback, Probe};
use timely::worker::Worker;
use uuid::Uuid;

use super::abroad::Abroad;
use super::account::Account;
use super::checkpoints::{Memory, Rounds};
use super::connected;
use crate::cluster::Cluster;
use crate::dataflows::{
    Diff, DiffOptions, Edges, Findings, Fingerprints, Flow, Ground, Guard, Journal, Links, SinkPort, codes, edges, guard, links, records,
    sink,
};
use crate::model::graph::{Coded, Dictionary, EdgeId};
use crate::model::{Fingerprint, Key, Kind, PerKind, Seat};
use crate::sources::{Budget, Holder, Inlet, Stop};
use crate::state::{Checkpoint, Manifest, Part, Row, Storage};
use crate::telemetry::{Cause, Measures, RunStage};

/// How long a worker sleeps when it has nothing to do, before it looks whether the run is to end. Records and acknowledgements wake it.
const NAP: Duration = Duration::from_millis(50);

/// What one worker gets.
#[derive(Debug)]
pub struct Equipment {
    /// Its blocks.
    pub inlet: Inlet,
    /// Its ends of the ways to the sinks, documents first, feed last.
    pub ports: Vec<SinkPort>,
}

/// What all workers share.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Where the state's files are.
    pub storage: Storage,
    /// The valid generation.
    pub manifest: Arc<Manifest>,
    /// The first worker of this process.
    pub first: Seat,
    /// The other processes, and what the run is called among them.
    pub cluster: Option<(Arc<Cluster>, Uuid)>,
    /// What the diff needs to know.
    pub diff: DiffOptions,
    /// What the guard goes by.
    pub guard: Guard,
    /// Bytes in flight.
    pub budget: Arc<Budget>,
    /// What holders of these are called where the run waited for them.
    pub causes: Arc<Vec<(Holder, Cause)>>,
    /// What the run measures of itself.
    pub measures: Arc<Measures>,
    /// The run's stop signal.
    pub stop: Stop,
    /// Whether the next generation is written.
    pub save: bool,
    /// Where links are kept: their dictionary, and what flows to a graph.
    pub links: Option<(Arc<Dictionary>, Flow)>,
    /// Where operators note what they do.
    pub journal: Journal,
    /// When workers say how far they have come.
    pub rounds: Rounds,
    /// What is taken up.
    pub taken_up: Option<Arc<Checkpoint>>,
}

/// What one worker came to.
#[derive(Debug)]
pub struct Outcome {
    /// Counts and what else was found.
    pub findings: Findings,
    /// Its part of the next generation.
    pub part: Option<Part>,
    /// Its part of the next generation's links, where they are kept.
    pub links: Option<SavedLinks>,
}

/// One worker's part of a generation's links.
#[derive(Debug, Serialize, Deserialize)]
pub struct SavedLinks {
    /// What records assert.
    pub links: Part,
    /// Edges that several records may assert.
    pub edges: Part,
    /// Codes of the dictionary that are used in them.
    #[serde(skip)]
    pub used: RoaringBitmap,
    /// Records of each kind whose links were asked for and did not come.
    pub held: PerKind<u64>,
}

/// Runs the dataflow on as many workers as there is equipment for, until every sink has committed every tick, and saves the state.
pub fn run(setting: Setting, equipment: Vec<Equipment>) -> Result<Vec<Outcome>> {
    let (workers, first) = (equipment.len(), setting.first.worker);
    let slots: Arc<Vec<_>> = Arc::new(equipment.into_iter().map(|one| Mutex::new(Some(one))).collect());
    let (stop, cluster, run) = (setting.stop.clone(), setting.cluster.clone(), tracing::Span::current());
    let connecting = match &cluster {
        None => connected::alone(workers).map(|allocators| (allocators, None)),
        Some((cluster, run)) => connected::with_others(cluster, *run, &stop).map(|(allocators, connected)| (allocators, Some(connected))),
    };
    // That another process has failed is the reason, where nothing comes of connecting.
    let (allocators, connected) = connecting.map_err(|error| stop.take_reason().unwrap_or(error))?;
    let guards = timely::execute::execute_from(allocators, Box::new(()), timely::WorkerConfig::default(), move |worker| {
        let _entered = tracing::error_span!(parent: &run, "worker", worker = worker.index()).entered();
        let slot = slots[worker.index() - first].lock().unwrap_or_else(PoisonError::into_inner).take();
        let outcome =
            slot.ok_or_else(|| anyhow!("worker {} has no inlet", worker.index())).and_then(|equipment| work(worker, &setting, equipment));
        if let Err(error) = &outcome {
            setting.stop.fail(anyhow!("{error:#}"));
        }
        outcome
    })
    .map_err(|error| anyhow!("cannot start the workers: {error}"))?;
    let outcomes: Vec<_> = guards.join().into_iter().collect();
    if let Some(connected) = connected {
        connected.end(&stop);
    }
    if let Some(reason) = stop.take_reason() {
        return Err(reason);
    }
    outcomes.into_iter().map(|outcome| outcome.map_err(|error| anyhow!("a worker failed: {error}"))?).collect()
}

fn work(worker: &mut Worker, setting: &Setting, equipment: Equipment) -> Result<Outcome> {
    let seat = Seat { worker: worker.index(), ..setting.first };
    let (index, workers) = (seat.worker, seat.peers.workers);
    let (begun, measures) = (Instant::now(), &setting.measures);
    let loading = measures.waits().within(Cause::State.name());
    let trace = Fingerprints::restore(&setting.storage, &setting.manifest, seat)?;
    let trace = Rc::new(RefCell::new(trace));
    let findings = Rc::new(RefCell::new(Findings::default()));
    let probe = ProbeHandle::new();
    let budget = Arc::clone(&setting.budget);
    let mut diff = Diff::new(setting.diff.clone(), Rc::clone(&trace), budget, Rc::clone(&findings), setting.journal.clone(), measures);
    let kept = match &setting.links {
        None => None,
        Some((dictionary, flow)) => {
            let kept = Links::restore(&setting.storage, &setting.manifest, seat)?;
            let shared = Edges::restore(&setting.storage, &setting.manifest, seat)?;
            let ground = Ground { dictionary: Arc::clone(dictionary), flow: *flow, journal: setting.journal.clone(), peers: seat.peers };
            Some((Rc::new(RefCell::new(kept)), Rc::new(RefCell::new(shared)), ground))
        }
    };
    if let Some(checkpoint) = &setting.taken_up {
        let (mut trace, mut findings) = (trace.borrow_mut(), findings.borrow_mut());
        let mut links = kept.as_ref().map(|(kept, shared, ..)| (kept.borrow_mut(), shared.borrow_mut()));
        let links = links.as_mut().map(|(links, edges)| (&mut **links, &mut **edges));
        let mut memory = Memory { seat, trace: &mut trace, diff: &mut diff, findings: &mut findings, links };
        memory.take_up(&setting.storage, &setting.manifest, checkpoint).context("cannot take up the run that did not end")?;
    }
    let keys = |trace: &Fingerprints| Kind::ALL.iter().map(|kind| trace.live(*kind)).sum();
    let room = |parts: &[Part]| Part::room(parts, seat) as u64;
    let of_graph = setting.manifest.links.as_ref().filter(|_| kept.is_some()).map_or((0, 0), |of| (room(&of.links), room(&of.edges)));
    let loaded = bytes_of(room(&setting.manifest.parts), of_graph.0, of_graph.1);
    measures.recorder(RunStage::Load).took(begun.elapsed(), keys(&trace.borrow()), loaded);
    measures.waits().add(Cause::State, begun.elapsed() / workers as u32);
    drop(loading);
    // Of a run that is taken up, what was counted before.
    Kind::ALL.iter().for_each(|kind| measures.records().add(*kind, &findings.borrow().counts[*kind], 0));
    let counted = setting.taken_up.as_ref().map(|checkpoint| findings.borrow().tally(checkpoint.mark.kind())).unwrap_or_default();
    let abroad = Abroad::new(Arc::clone(&setting.budget), seat.process() > 0);
    let dataflow = worker.next_dataflow_index();
    worker.dataflow_named("Refresh", |scope| {
        let (back, verdicts) = scope.feedback(1);
        let (events, tallies) = diff.build(records(scope, equipment.inlet), verdicts);
        guard(tallies, setting.guard.clone(), counted).probe_with(&probe).connect_loop(back);
        let graph = kept.as_ref().map(|(kept, shared, ground)| {
            let (events, codes) = codes(events.clone(), &ground.dictionary, seat.peers);
            let (own, assertions) = links(events, codes, Rc::clone(kept), ground.clone(), measures.recorder(RunStage::Links));
            let (budget, epoch) = (Arc::clone(&setting.budget), setting.diff.epoch);
            let others = edges(assertions, Rc::clone(shared), ground.clone(), epoch, budget, measures.recorder(RunStage::Edges));
            scope.concatenate([own, others]).probe_with(&probe)
        });
        let mut committed = vec![];
        for port in equipment.ports {
            // Document stores say which fields changed; a feed, which comes last, hears it.
            let fields = match port.name {
                "feed" => scope.concatenate(committed.iter().cloned()),
                _ => empty(scope),
            };
            let events = match &graph {
                Some(graph) if port.name == "neo4j" => graph.clone(),
                _ => events.clone(),
            };
            // Built by all workers, as timely needs it.
            let events = if port.is_far { abroad.count(events, port.holder) } else { events };
            committed.push(sink(events, fields, port, Arc::clone(&setting.budget)));
        }
        if committed.is_empty() {
            events.probe_with(&probe);
        } else {
            scope.concatenate(committed).probe_with(&probe);
        }
    });
    let (mut answered, mut passed) = (0, None);
    let mut ticks = (index == setting.first.worker).then(|| measures.recorder(RunStage::Tick));
    let mut account = Account::new(Arc::clone(&setting.budget), Arc::clone(measures), Arc::clone(&setting.causes), workers);
    while !probe.done() {
        account.step(worker, NAP);
        let done = || probe.with_frontier(|frontier| frontier.first().copied());
        abroad.release(done());
        if let Some(ticks) = ticks.as_mut().filter(|_| passed != done()) {
            passed = done();
            measures.ticks().done(passed, ticks);
        }
        setting.rounds.answer(&mut answered, index, done, &setting.journal);
        if let Some(found) = setting.diff.excess.found().filter(|found| !probe.less_equal(&found.tick)) {
            setting.stop.fail(found.clone().into());
        }
        if setting.stop.is_set() {
            worker.drop_dataflow(dataflow);
            return Err(anyhow!("stopped"));
        }
        fail::fail_point!("worker-panics", index + 1 == setting.first.worker + workers, |_| panic!("failpoint worker-panics"));
    }
    account.note(Cause::Cpu);
    // What is saved beyond the end of the others' run is nobody's.
    if setting.stop.is_set() {
        return Err(anyhow!("stopped"));
    }
    fail::fail_point!("before-part");
    let mut outcome = Outcome { findings: findings.take(), part: None, links: None };
    if setting.save {
        let (begun, storage, manifest) = (Instant::now(), &setting.storage, &setting.manifest);
        let _saving = measures.waits().within(Cause::State.name());
        let part = trace.borrow_mut().save(storage, manifest, seat).context("cannot save the state")?;
        let mut saved = bytes_of(part.rows, 0, 0);
        outcome.part = Some(part);
        if let Some((kept, shared, ..)) = kept {
            let mut used = RoaringBitmap::new();
            let links = kept.borrow_mut().save(storage, manifest, seat, &mut used).context("cannot save the links")?;
            let edges = shared.borrow_mut().save(storage, manifest, seat, &mut used).context("cannot save the edges")?;
            saved += bytes_of(0, links.rows, edges.rows);
            outcome.links = Some(SavedLinks { links, edges, used, held: kept.borrow().held() });
        }
        measures.recorder(RunStage::Save).took(begun.elapsed(), keys(&trace.borrow()), saved);
        measures.waits().add(Cause::State, begun.elapsed() / workers as u32);
    }
    Ok(outcome)
}

/// Bytes of so many rows of the state's files: fingerprints, links, edges.
pub(super) fn bytes_of(fingerprints: u64, links: u64, edges: u64) -> u64 {
    let sizes = [<(Key, Fingerprint)>::SIZE, <(Key, Coded)>::SIZE, <(EdgeId, u32)>::SIZE].map(|size| size as u64);
    fingerprints * sizes[0] + links * sizes[1] + edges * sizes[2]
}
