//! `links`: what each record asserts of others, as a differential arrangement, and the edges that come and go with it.
//!
//! ```text
//!             events (from diff, on the worker that owns the record)     codes (that another process gave to texts)
//!                 │                                                         │
//!                 v   once a tick is closed: sorted by key                  v
//!   ┌─ links ──────────────────────────────────────────────────────────────────────────┐
//!   │  cursor over the trace:  key -> links, coded                                     │
//!   │    the links it has now, against those it had: (key, link, -1), (key, link, +1)  │
//!   └──────┬───────────────────────────────────────────────────┬───────────────────────┘
//!          v nodes that changed; edges that no other record    v assertions of edges that others may
//!            may assert; all else as it came                     assert too: (edge, -1), (edge, +1)
//! ```
//!
//! A record whose projection is as it was never gets here with one, so its links are not even looked at. What this operator cannot see:
//! links of records that were applied before a graph was kept. A kind's links are complete once every record of it was given with its
//! projection.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use differential_dataflow::consolidation::consolidate_updates;
use roaring::RoaringBitmap;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::generic::{OutputBuilder, OutputBuilderSession};

use super::arrangement::{Arrangement, Updates};
use super::codes::Answer;
use super::journal::{Entry, Journal};
use crate::model::graph::{Coded, Dictionary, EdgeChange, EdgeId, Family, Projection};
use crate::model::{Change, Event, Key, Peers, PerKind, Seat, Verdict};
use crate::sources::Tick;
use crate::state::{Manifest, Part, PartWriter, Rows, StateError, Storage};
use crate::telemetry::Recorder;

/// That a record asserts an edge (+1), or does so no more (-1).
pub type Assertion = (EdgeId, isize);

/// What flows to a graph as changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Whether there is a graph at all; if not, the links are kept for one that will come back.
    pub graph: bool,
    /// Kinds whose edges are mended at the end, since the graph is being brought up with them.
    pub mended: PerKind<bool>,
}

impl Flow {
    /// Whether edges of a family flow as changes.
    pub fn carries(&self, family: Family) -> bool {
        self.graph && !self.mends(family)
    }

    /// Whether edges of a family are mended at the end.
    pub fn mends(&self, family: Family) -> bool {
        self.graph && family.asserted_by().iter().any(|kind| self.mended[*kind])
    }
}

/// What the operators of a graph share.
#[derive(Clone, Debug)]
pub struct Ground {
    /// The dictionary of links.
    pub dictionary: Arc<Dictionary>,
    /// What flows to a graph.
    pub flow: Flow,
    /// Where they note what they do.
    pub journal: Journal,
    /// All workers.
    pub peers: Peers,
}

impl Ground {
    /// What a graph needs of a change: it may go to another process, and its links went before.
    fn bare(&self, change: Change) -> Change {
        let graph = match change.graph {
            Some((hash, projection)) if self.peers.processes > 1 => {
                let properties = projection.properties.clone();
                Some((hash, Arc::new(Projection { properties, links: Vec::new() })))
            }
            graph => graph,
        };
        Change { document: None, graph, ..change }
    }
}

/// The arrangement of one worker.
pub struct Links {
    trace: Arrangement<Key, Coded>,
    /// Records of each kind that the state holds and the snapshot did not deliver, where it was asked for all.
    held: PerKind<u64>,
}

impl Links {
    /// The links of a worker's records, restored from a generation.
    pub fn restore(storage: &Storage, manifest: &Manifest, seat: Seat) -> Result<Links, StateError> {
        let parts = manifest.links.as_ref().map_or(&[][..], |links| &links.links);
        let mut rows = Rows::<(Key, Coded)>::of_worker(storage, manifest, parts, seat)?;
        let trace = Arrangement::restore(|| Ok::<_, StateError>(rows.next()?.map(|(key, link)| (key, link, 1))))?;
        Ok(Links { trace, held: PerKind::default() })
    }

    /// Number of records, a kind, that were not delivered.
    pub fn held(&self) -> PerKind<u64> {
        self.held
    }

    fn add_held(&mut self, held: &PerKind<u64>) {
        held.iter().for_each(|(kind, held)| self.held[kind] += held);
    }

    /// Takes up what another run noted: links of this worker's records, sorted by key. Ticks must rise. `held` is for one worker only.
    pub fn resume(&mut self, links: impl Iterator<Item = (Key, Coded, bool)>, held: &PerKind<u64>, tick: Tick) {
        let mut updates: Updates<Key, Coded> = links.map(|(key, link, come)| ((key, link), tick, if come { 1 } else { -1 })).collect();
        consolidate_updates(&mut updates);
        self.trace.commit(updates, tick);
        self.add_held(held);
    }

    /// Writes all links as this worker's part of the next generation, and notes which codes they use.
    pub fn save(&mut self, storage: &Storage, manifest: &Manifest, seat: Seat, used: &mut RoaringBitmap) -> Result<Part, StateError> {
        let writer = PartWriter::create(storage, manifest.state, manifest.generation + 1, seat)?;
        self.trace.cursor().save(writer, |key, link, _| {
            used.extend(link.codes());
            Some((*key, *link))
        })
    }
}

type Output<'a, 'b, D> = OutputBuilderSession<'a, Tick, CapacityContainerBuilder<Vec<D>>>;

/// Builds the operator: the events for graphs, and the assertions of shared edges. `codes`: those that another process gives.
pub fn links<'scope>(
    events: Stream<'scope, Tick, Vec<Event>>,
    codes: Stream<'scope, Tick, Vec<Answer>>,
    links: Rc<RefCell<Links>>,
    ground: Ground,
    mut recorder: Recorder,
) -> (Stream<'scope, Tick, Vec<Event>>, Stream<'scope, Tick, Vec<Assertion>>) {
    let mut builder = OperatorBuilder::new("Links".to_owned(), events.scope());
    let mut events = builder.new_input(events, Pipeline);
    let mut codes = builder.new_input(codes, Exchange::new(|answer: &Answer| answer.worker as u64));
    let (graph, graph_stream) = builder.new_output();
    let (shared, shared_stream) = builder.new_output();
    let mut graph = OutputBuilder::from(graph);
    let mut shared = OutputBuilder::from(shared);

    builder.build(move |_| {
        let mut stash: BTreeMap<Tick, Waiting> = BTreeMap::new();
        move |frontiers| {
            events.for_each(|capability, data| {
                let (Some(graph), Some(shared)) = (capability.retain_least(0), capability.retain_least(1)) else { return };
                let tick = *graph.time();
                stash.entry(tick).or_insert_with(|| Waiting { graph, shared, events: Vec::new() }).events.append(data);
            });
            codes.for_each(|_, answers| {
                for Answer { code, text, .. } in answers.drain(..) {
                    assert!(ground.dictionary.adopt(code, &text), "a text has two codes: this is a defect of discodiff");
                }
            });
            let mut graph = graph.activate();
            let mut shared = shared.activate();
            while let Some(entry) = stash.first_entry() {
                if frontiers.iter().any(|frontier| frontier.less_equal(entry.key())) {
                    break;
                }
                let (tick, waiting) = entry.remove_entry();
                let begun = Instant::now();
                let mut tick = OneTick { tick, links: &mut links.borrow_mut(), ground: &ground };
                let records = tick.process(waiting.events, (&mut graph, &waiting.graph), (&mut shared, &waiting.shared));
                recorder.since(begun, records, 0);
            }
        }
    });
    (graph_stream, shared_stream)
}

/// A tick that is not closed yet: its events, and the capabilities to answer them.
struct Waiting {
    graph: Capability<Tick>,
    shared: Capability<Tick>,
    events: Vec<Event>,
}

/// What one tick is processed with.
struct OneTick<'t> {
    tick: Tick,
    links: &'t mut Links,
    ground: &'t Ground,
}

impl OneTick<'_> {
    /// Gives the number of records whose links may differ.
    fn process(
        &mut self,
        events: Vec<Event>,
        (graph, graph_capability): (&mut Output<'_, '_, Event>, &Capability<Tick>),
        (shared, shared_capability): (&mut Output<'_, '_, Assertion>, &Capability<Tick>),
    ) -> usize {
        let Ground { dictionary, flow, journal, .. } = self.ground;
        let mut graph = graph.session(graph_capability);
        let mut shared = shared.session(shared_capability);
        let mut changes = Vec::with_capacity(events.len());
        let mut held = PerKind::<u64>::default();
        for event in events {
            match event {
                Event::Change(change) if change.graph.is_some() || change.verdict == Verdict::Delete => changes.push(change),
                Event::Change(_) => {}
                other => {
                    if let Event::Held(key) = &other {
                        held[key.kind()] += 1;
                    }
                    // A graph keeps no letters.
                    if flow.graph && !matches!(other, Event::DeadLetter(_)) {
                        graph.give(other);
                    }
                }
            }
        }
        changes.sort_unstable_by_key(|change| change.key);
        let records = changes.len();
        let mut updates: Updates<Key, Coded> = Vec::new();
        let mut cursor = self.links.trace.cursor();
        let (mut old, mut new) = (Vec::new(), Vec::new());
        for change in changes {
            let key = change.key;
            old.clear();
            if cursor.seek(&key) {
                cursor.values(|link, _| old.push(*link));
            }
            new.clear();
            if let Some((_, projection)) = &change.graph {
                new.extend(projection.links.iter().map(|link| Coded::of(link, dictionary)));
                new.sort_unstable();
                new.dedup();
            }
            differences(&old, &new, |link, difference| {
                updates.push(((key, link), self.tick, difference));
                let id = EdgeId::of(key, link);
                if link.kind().is_some_and(|kind| kind.is_shared()) {
                    shared.give((id, difference));
                } else if flow.carries(id.family())
                    && let Some(edge) = id.edge(dictionary)
                {
                    graph.give(Event::Edge(EdgeChange { added: difference > 0, edge, tick: self.tick }));
                }
            });
            if flow.graph {
                graph.give(Event::Change(self.ground.bare(change)));
            }
        }
        drop(cursor);
        self.links.add_held(&held);
        if !updates.is_empty() || held.0.iter().any(|held| *held > 0) {
            let coming = |((key, link), _, difference): &((Key, Coded), Tick, isize)| (*key, *link, *difference > 0);
            journal.note(self.tick, || Entry::Links(updates.iter().map(coming).collect(), held));
        }
        self.links.trace.commit(updates, self.tick);
        records
    }
}

/// Calls `each` with what is in one of two sorted lists only: -1 for the old, +1 for the new.
fn differences<T: Copy + Ord>(old: &[T], new: &[T], mut each: impl FnMut(T, isize)) {
    let (mut old, mut new) = (old.iter().copied().peekable(), new.iter().copied().peekable());
    loop {
        match (old.peek().copied(), new.peek().copied()) {
            (Some(gone), Some(come)) if gone == come => {
                old.next();
                new.next();
            }
            (Some(gone), come) if come.is_none_or(|come| gone < come) => {
                old.next();
                each(gone, -1);
            }
            (_, Some(come)) => {
                new.next();
                each(come, 1);
            }
            (_, None) => return,
        }
    }
}
