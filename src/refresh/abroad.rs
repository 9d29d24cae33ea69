//! What a worker gives to a writer in another process counts here until it is committed there: that process counts only what it is about to
//! write, so that what it waits for always has room.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::operator::Operator;

use crate::model::Event;
use crate::sources::{Budget, Holder, Tick};

/// Bytes of ticks that are not committed yet, and as whose they count.
type Given = BTreeMap<Tick, Vec<(Holder, usize)>>;

/// What one worker has given away.
pub struct Abroad {
    budget: Arc<Budget>,
    /// Whether this process is not the one that has the writer.
    counts: bool,
    given: Rc<RefCell<Given>>,
}

impl Abroad {
    /// Nothing yet.
    pub fn new(budget: Arc<Budget>, counts: bool) -> Abroad {
        Abroad { budget, counts, given: Rc::default() }
    }

    /// Counts what flows.
    pub fn count<'scope>(&self, events: Stream<'scope, Tick, Vec<Event>>, holder: Holder) -> Stream<'scope, Tick, Vec<Event>> {
        let (budget, given, counts) = (Arc::clone(&self.budget), Rc::clone(&self.given), self.counts);
        events.unary(Pipeline, "Abroad", move |_, _| {
            move |events, output| {
                events.for_each(|time, events| {
                    let bytes = events.iter().map(Event::bytes).sum();
                    if let Some(tick) = time.least().filter(|_| counts && bytes > 0) {
                        budget.add(holder, bytes);
                        given.borrow_mut().entry(*tick).or_default().push((holder, bytes));
                    }
                    output.session(&time).give_container(events);
                });
            }
        })
    }

    /// Gives back what lies below the frontier; `None`: all.
    pub fn release(&self, done: Option<Tick>) {
        let mut given = self.given.borrow_mut();
        let open = done.map_or_else(Given::new, |done| given.split_off(&done));
        for (holder, bytes) in std::mem::replace(&mut *given, open).into_values().flatten() {
            self.budget.release(holder, bytes);
        }
    }
}
