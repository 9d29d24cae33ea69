//! `codes`: of several processes the first gives texts their codes, and the others ask it, so that all say the same by them.
//!
//! ```text
//!   events ──> ask ──────────────────────── events ────────────────────────────────> links
//!               └──(text, worker)──> answer, at process 0 ──(code, text, worker)──────┘
//! ```
//!
//! An answer has the tick of its question, and `links` works on a tick once both are closed.

use std::collections::HashSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::generic::operator::{Operator, empty};
use xxhash_rust::xxh3::xxh3_64;

use crate::model::graph::{Code, Coded, Dictionary};
use crate::model::{Event, Peers};
use crate::sources::Tick;

/// A text that a worker of another process has no code of.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Question {
    text: Box<str>,
    worker: usize,
}

/// The code of a text, for the worker that asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// The code.
    pub code: Code,
    /// The text.
    pub text: Box<str>,
    /// The worker.
    pub worker: usize,
}

/// Builds the operators: the events as they came, and the answers. One process alone asks nobody.
pub fn codes<'scope>(
    events: Stream<'scope, Tick, Vec<Event>>,
    dictionary: &Arc<Dictionary>,
    peers: Peers,
) -> (Stream<'scope, Tick, Vec<Event>>, Stream<'scope, Tick, Vec<Answer>>) {
    let scope = events.scope();
    if peers.processes == 1 {
        let none = empty(scope);
        return (events, none);
    }
    let (events, questions) = ask(events, Arc::clone(dictionary));
    let (dictionary, workers) = (Arc::clone(dictionary), peers.workers as u64);
    // The first workers are those of process 0.
    let route = Exchange::new(move |question: &Question| xxh3_64(question.text.as_bytes()) % workers);
    let answers = questions.unary::<CapacityContainerBuilder<_>, _, _, _>(route, "Answer", move |_, _| {
        move |questions, output| {
            questions.for_each(|time, asked| {
                let answer = |Question { text, worker }| Answer { code: dictionary.code(&text), text, worker };
                output.session(&time).give_iterator(asked.drain(..).map(answer));
            });
        }
    });
    (events, answers)
}

fn ask<'scope>(
    events: Stream<'scope, Tick, Vec<Event>>,
    dictionary: Arc<Dictionary>,
) -> (Stream<'scope, Tick, Vec<Event>>, Stream<'scope, Tick, Vec<Question>>) {
    let worker = events.scope().index();
    let mut builder = OperatorBuilder::new("Ask".to_owned(), events.scope());
    let mut events = builder.new_input(events, Pipeline);
    let (through, through_stream) = builder.new_output();
    let (asked, asked_stream) = builder.new_output();
    let mut through = OutputBuilder::<_, CapacityContainerBuilder<Vec<Event>>>::from(through);
    let mut asked = OutputBuilder::<_, CapacityContainerBuilder<Vec<Question>>>::from(asked);
    builder.build(move |_| {
        move |_| {
            let (mut through, mut asked) = (through.activate(), asked.activate());
            events.for_each(|time, data| {
                let (Some(on), Some(ask)) = (time.retain_least(0), time.retain_least(1)) else { return };
                if dictionary.follows() {
                    let projections = data.iter().filter_map(|event| match event {
                        Event::Change(change) => change.graph.as_ref().map(|(_, projection)| projection),
                        _ => None,
                    });
                    let texts = projections.flat_map(|projection| projection.links.iter().flat_map(Coded::texts));
                    let unknown: HashSet<&str> = texts.filter(|text| dictionary.find(text).is_none()).collect();
                    asked.session(&ask).give_iterator(unknown.into_iter().map(|text| Question { text: text.into(), worker }));
                }
                through.session(&on).give_container(data);
            });
        }
    });
    (through_stream, asked_stream)
}
