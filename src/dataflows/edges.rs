//! `edges`: the edges that several records may assert, as a differential collection with multiplicities.
//!
//! ```text
//!   assertions (edge, +1 or -1), exchanged by anchor
//!       │
//!       v   a batch a tick                         once all kinds have ended: a walk over what this month changed
//!   ┌─ edges ───────────────────────────────────────────────────────────────────────────────────┐
//!   │  base: edge x records, as the state has it       recent: what this month added and took   │
//!   └───────────────────────────────────────┬───────────────────────────────────────────────────┘
//!                                           v  edges that no record asserted before and some does now, or the reverse;
//!                                              their texts are put in at the first worker
//! ```
//!
//! An edge is there while any record asserts it. One record may give it up in one tick and another take it up in a later one, even of
//! another kind; so nothing is said before all kinds have ended, and then only what differs from the month before.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use differential_dataflow::consolidation::consolidate_updates;
use roaring::RoaringBitmap;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::generic::{Operator, OutputBuilder, OutputBuilderSession};

use super::arrangement::Arrangement;
use super::diff::NO_ROOM;
use super::journal::Entry;
use super::links::{Assertion, Flow, Ground};
use crate::model::graph::{Anchor, Coded, EdgeChange, EdgeId, Family};
use crate::model::{Event, Seat};
use crate::sources::{Budget, Tick, first_epilogue_tick};
use crate::state::{Manifest, Part, PartWriter, Rows, StateError, Storage};
use crate::telemetry::Recorder;

/// Anchors walked in one activation, and given in one tick: the walk must neither hold up the worker nor fill the memory.
const SLICE: usize = 4_096;

/// An edge that came (true) or went.
type Told = (EdgeId, bool);

/// The collection of one worker.
pub struct Edges {
    base: Arrangement<Anchor, Coded>,
    recent: Arrangement<Anchor, Coded>,
}

impl Edges {
    /// The edges whose anchors a worker owns, restored from a generation.
    pub fn restore(storage: &Storage, manifest: &Manifest, seat: Seat) -> Result<Edges, StateError> {
        let parts = manifest.links.as_ref().map_or(&[][..], |links| &links.edges);
        let mut rows = Rows::<(EdgeId, u32)>::of_worker(storage, manifest, parts, seat)?;
        let base =
            Arrangement::restore(|| Ok::<_, StateError>(rows.next()?.map(|(edge, records)| (edge.anchor, edge.link, records as isize))))?;
        Ok(Edges { base, recent: Arrangement::new() })
    }

    /// Adds assertions of one tick, or of another run that is taken up. Ticks must rise.
    pub fn commit(&mut self, assertions: Vec<Assertion>, tick: Tick) {
        let of_edge = |(edge, difference): Assertion| ((edge.anchor, edge.link), tick, difference);
        let mut updates = assertions.into_iter().map(of_edge).collect();
        consolidate_updates(&mut updates);
        self.recent.commit(updates, tick);
    }

    /// Calls `each` with the edges that came or went, from an anchor on, and gives the anchor to go on from.
    fn walk(&mut self, from: Option<Anchor>, mut each: impl FnMut(EdgeId, bool)) -> Option<Anchor> {
        let (mut recent, mut base) = (self.recent.cursor(), self.base.cursor());
        if let Some(from) = from {
            recent.seek(&from);
        }
        let (mut before, mut changed) = (Vec::new(), Vec::new());
        for _ in 0..SLICE {
            let anchor = recent.key()?;
            before.clear();
            changed.clear();
            recent.values(|link, difference| changed.push((*link, difference)));
            if !changed.is_empty() && base.seek(&anchor) {
                base.values(|link, records| before.push((*link, records)));
            }
            for &(link, difference) in &changed {
                let records = before.binary_search_by_key(&link, |(link, _)| *link).map_or(0, |at| before[at].1);
                if (records > 0) != (records + difference > 0) {
                    each(EdgeId { anchor, link }, records + difference > 0);
                }
            }
            recent.step();
        }
        recent.key()
    }

    /// Writes all edges as this worker's part of the next generation, and notes which codes they use.
    pub fn save(&mut self, storage: &Storage, manifest: &Manifest, seat: Seat, used: &mut RoaringBitmap) -> Result<Part, StateError> {
        let writer = PartWriter::create(storage, manifest.state, manifest.generation + 1, seat)?;
        self.base.cursor_with(&mut self.recent).save(writer, |&anchor, &link, records| {
            let Ok(records) = u32::try_from(records) else {
                tracing::error!("an edge is asserted by {records} records: this is a defect of discodiff, and verify will find more");
                return None;
            };
            used.extend(link.codes());
            Some((EdgeId { anchor, link }, records))
        })
    }
}

/// Builds the operator: the shared edges that came and went, after everything else.
pub fn edges<'scope>(
    assertions: Stream<'scope, Tick, Vec<Assertion>>,
    edges: Rc<RefCell<Edges>>,
    ground: Ground,
    epoch: u64,
    budget: Arc<Budget>,
    mut recorder: Recorder,
) -> Stream<'scope, Tick, Vec<Event>> {
    let Ground { dictionary, flow, journal, peers } = ground;
    let mut builder = OperatorBuilder::new("Edges".to_owned(), assertions.scope());
    let activator = assertions.scope().activator_for(Rc::clone(&builder.operator_info().address));
    let mut assertions = builder.new_input(assertions, Exchange::new(move |(edge, _): &Assertion| peers.owner(edge.anchor.shard()) as u64));
    let (output, stream) = builder.new_output();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<Told>>>::from(output);
    let texts = Arc::clone(&dictionary);

    builder.build(move |mut capabilities| {
        // Nothing is given before the last kind's last tick, so nothing earlier waits for this.
        let mut tick = first_epilogue_tick(epoch);
        let mut held = capabilities.pop();
        if let Some(held) = &mut held {
            held.downgrade(&tick);
        }
        let mut stash: Vec<(Tick, Vec<Assertion>)> = Vec::new();
        let mut from = None;
        move |frontiers| {
            assertions.for_each(|capability, data| {
                let Some(&tick) = capability.least() else { return };
                // As soon as they are here: nothing holds back the probe from then on.
                journal.note(tick, || Entry::Assertions(data.clone()));
                match stash.iter_mut().find(|(stashed, _)| *stashed == tick) {
                    Some((_, assertions)) => assertions.append(data),
                    None => stash.push((tick, std::mem::take(data))),
                }
            });
            stash.sort_unstable_by_key(|(tick, _)| *tick);
            let closed = stash.partition_point(|(tick, _)| !frontiers[0].less_equal(tick));
            for (tick, assertions) in stash.drain(..closed) {
                let (begun, number) = (Instant::now(), assertions.len());
                edges.borrow_mut().commit(assertions, tick);
                recorder.since(begun, number, 0);
            }
            if !frontiers[0].is_empty() {
                return;
            }
            let Some(capability) = &mut held else { return };
            // Nor is there anything to walk for where all families are mended at the end, as in a first load.
            if !Family::ALL.iter().any(|family| flow.carries(*family)) {
                held = None;
                return;
            }
            if !budget.has_room() {
                activator.activate_after(NO_ROOM);
                return;
            }
            capability.downgrade(&tick);
            let begun = Instant::now();
            from = give(&mut edges.borrow_mut(), from, flow, capability, &mut output.activate());
            recorder.since(begun, 0, 0);
            tick += 1;
            match from {
                Some(_) => activator.activate(),
                None => held = None,
            }
        }
    });
    // Of several processes only the first, where a graph's writer is, knows all codes: those of an edge are its asserter's.
    stream.unary::<CapacityContainerBuilder<_>, _, _, _>(Exchange::new(|_: &Told| 0), "Texts", move |_, _| {
        move |told, output| {
            told.for_each(|time, ids| {
                let Some(&tick) = time.least() else { return };
                let change = |(id, added): Told| Some(EdgeChange { added, edge: id.edge(&texts)?, tick });
                output.session(&time).give_iterator(ids.drain(..).filter_map(change).map(Event::Edge));
            });
        }
    })
}

fn give(
    edges: &mut Edges,
    from: Option<Anchor>,
    flow: Flow,
    capability: &Capability<Tick>,
    output: &mut OutputBuilderSession<'_, Tick, CapacityContainerBuilder<Vec<Told>>>,
) -> Option<Anchor> {
    let mut session = output.session(capability);
    edges.walk(from, |id, added| {
        if flow.carries(id.family()) {
            session.give((id, added));
        }
    })
}
