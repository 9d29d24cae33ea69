//! A sink's operator: hands closed ticks to the thread of a writer, and holds each tick until the store has committed it.
//!
//! ```text
//!   events ──(to the worker that has the writer)────> sink ──parts──> driver's thread ──batches──> store
//!   fields ──(feed only)────────────────────────────>  │ <──acknowledgements──┘
//!                                                      v  fields that changed; its frontier says what is durable
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::scheduling::SyncActivator;

use crate::model::{Change, Event, Key, Verdict};
use crate::sinks::Run;
use crate::sinks::driver::{Acknowledgement, Part};
use crate::sources::{Budget, Holder, Tick};

/// The fields of documents that changed, as a document store found them.
pub type Fields = (Key, Vec<String>);

/// The operator's end of the way to a writer's thread.
#[derive(Debug)]
pub struct SinkPort {
    /// `postgres`, `sqlite` or `feed`.
    pub name: &'static str,
    /// The worker whose port has the writer.
    pub home: usize,
    /// Whether all processes send to that one.
    pub is_far: bool,
    /// What is being applied, as the sink needs it.
    pub run: Arc<Run>,
    /// Takes closed ticks; `None` on workers that have no writer.
    pub parts: Option<Sender<Part>>,
    /// As which the sink holds bytes that are in flight.
    pub holder: Holder,
    /// Gives ticks that the store has committed.
    pub acknowledgements: Receiver<Acknowledgement>,
    /// Where the operator leaves the handle by which the thread wakes it.
    pub waker: Sender<SyncActivator>,
}

/// Builds the operator. `fields` are what document stores found changed, for a feed.
pub fn sink<'scope>(
    events: Stream<'scope, Tick, Vec<Event>>,
    fields: Stream<'scope, Tick, Vec<Fields>>,
    port: SinkPort,
    budget: Arc<Budget>,
) -> Stream<'scope, Tick, Vec<Fields>> {
    let SinkPort { name, home, is_far: _, run, parts, holder, acknowledgements, waker } = port;
    let scope = events.scope();
    let mut builder = OperatorBuilder::new(format!("Sink {name}"), scope);
    let info = builder.operator_info();
    // The thread may have failed and gone already: the run then ends by its stop signal.
    let _ = waker.send(scope.worker().sync_activator_for(info.address.to_vec()));
    let home = home as u64;
    let mut events = builder.new_input(events, Exchange::new(move |_: &Event| home));
    let mut fields = builder.new_input(fields, Exchange::new(move |_: &Fields| home));
    let (output, stream) = builder.new_output();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<Fields>>>::from(output);

    builder.build(move |_| {
        let mut parts = parts;
        let mut stash: BTreeMap<Tick, (Capability<Tick>, Part)> = BTreeMap::new();
        // Bytes of what operators give ahead of each other, and give only while there is room: counted once its tick is closed, since one
        // that waits for room may be what keeps the tick open.
        let mut ahead: BTreeMap<Tick, usize> = BTreeMap::new();
        let mut early: BTreeMap<Tick, Vec<Fields>> = BTreeMap::new();
        let mut handed: BTreeMap<Tick, Capability<Tick>> = BTreeMap::new();
        move |frontiers| {
            events.for_each(|capability, data| {
                let Some(held) = capability.retain_least(0) else { return };
                let tick = *held.time();
                let (_, part) = stash.entry(tick).or_insert_with(|| (held, Part::new(tick)));
                for event in data.drain(..) {
                    match &event {
                        Event::Change(Change { key, verdict, .. }) if !run.concerns(*key, Some(*verdict)) => continue,
                        Event::Held(key) if !run.concerns(*key, None) => continue,
                        Event::DeadLetter(letter) if run.kinds[letter.kind].is_none() => continue,
                        _ => {}
                    }
                    let bytes = event.bytes();
                    part.bytes += bytes;
                    match &event {
                        Event::Change(Change { verdict: Verdict::Delete, .. }) | Event::Edge(_) => *ahead.entry(tick).or_default() += bytes,
                        _ => budget.add(holder, bytes),
                    }
                    part.events.push(event);
                }
            });
            fields.for_each(|capability, data| {
                if let Some(tick) = capability.least() {
                    early.entry(*tick).or_default().append(data);
                }
            });
            // A tick is closed when neither input can bring more of it.
            while let Some(entry) = stash.first_entry() {
                let tick = *entry.key();
                if frontiers.iter().any(|frontier| frontier.less_equal(&tick)) {
                    break;
                }
                let (capability, mut part) = entry.remove();
                part.fields = early.remove(&tick).unwrap_or_default();
                if part.events.is_empty() {
                    continue;
                }
                budget.add(holder, ahead.remove(&tick).unwrap_or_default());
                if let Some(parts) = &parts {
                    handed.insert(tick, capability);
                    budget.begin_tick(holder);
                    // A thread that is gone has said why through the stop signal; the tick then stays open.
                    let _ = parts.send(part);
                }
            }
            if stash.is_empty() && frontiers.iter().all(|frontier| frontier.is_empty()) {
                parts = None;
            }
            let mut output = output.activate();
            for acknowledgement in acknowledgements.try_iter() {
                if let Some(capability) = handed.remove(&acknowledgement.tick) {
                    budget.end_tick(holder);
                    output.session(&capability).give_iterator(acknowledgement.fields.into_iter());
                }
            }
        }
    });
    stream
}
