//! One refresh dataflow on every worker of this process, from inlets to saved parts.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use roaring::RoaringBitmap;
use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::generic::operator::empty;
use timely::dataflow::operators::{Concatenate, ConnectLoop, Feedback, Probe};
use timely::worker::Worker;

use super::checkpoints::{Memory, Rounds};
use crate::dataflows::{
    Diff, DiffOptions, Edges, Findings, Fingerprints, Flow, Guard, Journal, Links, SinkPort, edges, guard, links, records, sink,
};
use crate::model::PerKind;
use crate::model::graph::Dictionary;
use crate::sources::{Budget, Inlet, Stop};
use crate::state::{Checkpoint, Manifest, Part};

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
    /// The state's folder.
    pub folder: PathBuf,
    /// The valid generation.
    pub manifest: Arc<Manifest>,
    /// What the diff needs to know.
    pub diff: DiffOptions,
    /// What the guard goes by.
    pub guard: Guard,
    /// Bytes in flight.
    pub budget: Arc<Budget>,
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
#[derive(Debug)]
pub struct SavedLinks {
    /// What records assert.
    pub links: Part,
    /// Edges that several records may assert.
    pub edges: Part,
    /// Codes of the dictionary that are used in them.
    pub used: RoaringBitmap,
    /// Records of each kind whose links were asked for and did not come.
    pub held: PerKind<u64>,
}

/// Runs the dataflow on as many workers as there is equipment for, until every sink has committed every tick, and saves the state.
pub fn run(setting: Setting, equipment: Vec<Equipment>) -> Result<Vec<Outcome>> {
    let workers = equipment.len();
    let slots: Arc<Vec<_>> = Arc::new(equipment.into_iter().map(|one| Mutex::new(Some(one))).collect());
    let config = if workers == 1 { timely::Config::thread() } else { timely::Config::process(workers) };
    let stop = setting.stop.clone();
    let guards = timely::execute(config, move |worker| {
        let slot = slots[worker.index()].lock().unwrap_or_else(PoisonError::into_inner).take();
        let outcome =
            slot.ok_or_else(|| anyhow!("worker {} has no inlet", worker.index())).and_then(|equipment| work(worker, &setting, equipment));
        if let Err(error) = &outcome {
            setting.stop.fail(anyhow!("{error:#}"));
        }
        outcome
    })
    .map_err(|error| anyhow!("cannot start the workers: {error}"))?;
    let outcomes: Vec<_> = guards.join().into_iter().collect();
    if let Some(reason) = stop.take_reason() {
        return Err(reason);
    }
    outcomes.into_iter().map(|outcome| outcome.map_err(|error| anyhow!("a worker failed: {error}"))?).collect()
}

fn work(worker: &mut Worker, setting: &Setting, equipment: Equipment) -> Result<Outcome> {
    let (index, peers) = (worker.index(), worker.peers());
    let trace = Fingerprints::restore(&setting.folder, &setting.manifest, index, peers)?;
    let trace = Rc::new(RefCell::new(trace));
    let findings = Rc::new(RefCell::new(Findings::default()));
    let probe = ProbeHandle::new();
    let budget = Arc::clone(&setting.budget);
    let mut diff = Diff::new(setting.diff.clone(), Rc::clone(&trace), budget, Rc::clone(&findings), setting.journal.clone());
    let kept = match &setting.links {
        None => None,
        Some((dictionary, flow)) => {
            let kept = Links::restore(&setting.folder, &setting.manifest, index, peers)?;
            let shared = Edges::restore(&setting.folder, &setting.manifest, index, peers)?;
            Some((Rc::new(RefCell::new(kept)), Rc::new(RefCell::new(shared)), Arc::clone(dictionary), *flow))
        }
    };
    if let Some(checkpoint) = &setting.taken_up {
        let (mut trace, mut findings) = (trace.borrow_mut(), findings.borrow_mut());
        let mut links = kept.as_ref().map(|(kept, shared, ..)| (kept.borrow_mut(), shared.borrow_mut()));
        let links = links.as_mut().map(|(links, edges)| (&mut **links, &mut **edges));
        let mut memory = Memory { worker: (index, peers), trace: &mut trace, diff: &mut diff, findings: &mut findings, links };
        memory.take_up(&setting.folder, &setting.manifest, checkpoint).context("cannot take up the run that did not end")?;
    }
    let counted = setting.taken_up.as_ref().map(|checkpoint| findings.borrow().tally(checkpoint.mark.kind())).unwrap_or_default();
    let journal = setting.journal.clone();
    let dataflow = worker.next_dataflow_index();
    worker.dataflow_named("Refresh", |scope| {
        let (back, verdicts) = scope.feedback(1);
        let (events, tallies) = diff.build(records(scope, equipment.inlet), verdicts);
        guard(tallies, setting.guard.clone(), counted).probe_with(&probe).connect_loop(back);
        let graph = kept.as_ref().map(|(kept, shared, dictionary, flow)| {
            let (own, assertions) = links(events.clone(), Rc::clone(kept), Arc::clone(dictionary), *flow, journal.clone());
            let (budget, epoch) = (Arc::clone(&setting.budget), setting.diff.epoch);
            let others = edges(assertions, Rc::clone(shared), Arc::clone(dictionary), *flow, epoch, budget, journal.clone());
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
            committed.push(sink(events, fields, port, Arc::clone(&setting.budget)));
        }
        if committed.is_empty() {
            events.probe_with(&probe);
        } else {
            scope.concatenate(committed).probe_with(&probe);
        }
    });
    let mut answered = 0;
    while !probe.done() {
        worker.step_or_park(Some(NAP));
        let done = || probe.with_frontier(|frontier| frontier.first().copied());
        setting.rounds.answer(&mut answered, index, done, &setting.journal);
        if let Some(found) = setting.diff.excess.found().filter(|found| !probe.less_equal(&found.tick)) {
            setting.stop.fail(found.clone().into());
        }
        if setting.stop.is_set() {
            worker.drop_dataflow(dataflow);
            return Err(anyhow!("stopped"));
        }
        fail::fail_point!("worker-panics", index == peers - 1, |_| panic!("failpoint worker-panics"));
    }
    let mut outcome = Outcome { findings: findings.take(), part: None, links: None };
    if setting.save {
        let (folder, manifest) = (&setting.folder, &setting.manifest);
        outcome.part = Some(trace.borrow_mut().save(folder, manifest, index, peers).context("cannot save the state")?);
        if let Some((kept, shared, ..)) = kept {
            let mut used = RoaringBitmap::new();
            let links = kept.borrow_mut().save(folder, manifest, index, peers, &mut used).context("cannot save the links")?;
            let edges = shared.borrow_mut().save(folder, manifest, index, peers, &mut used).context("cannot save the edges")?;
            outcome.links = Some(SavedLinks { links, edges, used, held: kept.borrow().held() });
        }
    }
    Ok(outcome)
}
