//! What a worker waits for while it has nothing to do.
//!
//! A worker that has work is what the run waits for, whatever else waits too. One that has none waits for the source, unless the reader
//! itself waits, for room among the bytes in flight or since all is read: then for whoever holds the most of these.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use timely::worker::Worker;

use crate::sources::{Budget, Holder};
use crate::telemetry::{Cause, Measures};

/// Keeps one worker's account.
pub struct Idle {
    budget: Arc<Budget>,
    measures: Arc<Measures>,
    /// What holders are called.
    causes: Arc<Vec<(Holder, Cause)>>,
    /// Each of so many workers adds its part to the account of the run.
    workers: u32,
    /// Up to when all is put down.
    noted: Instant,
    /// Whether the last step found nothing to do.
    resting: bool,
}

impl Idle {
    /// An account that begins now.
    pub fn new(budget: Arc<Budget>, measures: Arc<Measures>, causes: Arc<Vec<(Holder, Cause)>>, workers: usize) -> Idle {
        Idle { budget, measures, causes, workers: workers as u32, noted: Instant::now(), resting: false }
    }

    /// Has the worker take a step, or sleep for a while where the step before found nothing to do.
    pub fn step(&mut self, worker: &mut Worker, nap: Duration) {
        if !self.resting {
            worker.step();
            self.resting = !was_active(worker);
            return;
        }
        let (begun, before) = (Instant::now(), self.budget.waited());
        worker.step_or_park(Some(nap));
        self.resting = !was_active(worker);
        if self.resting {
            self.note(begun, &before);
        }
    }

    /// The worker has done all that it had to do.
    pub fn end(self) {
        self.add(Cause::Cpu, self.noted.elapsed());
    }

    /// It was at work until `begun`, and slept from then on.
    fn note(&mut self, begun: Instant, before: &[(Holder, Duration)]) {
        let (now, after) = (Instant::now(), self.budget.waited());
        self.add(Cause::Cpu, begun.duration_since(self.noted));
        let mut slept = now.duration_since(begun);
        for (holder, waited) in after {
            let earlier = before.iter().find(|(of, _)| *of == holder).map_or(Duration::ZERO, |(_, waited)| *waited);
            let waited = waited.saturating_sub(earlier).min(slept);
            if let Some((_, cause)) = self.causes.iter().find(|(of, _)| *of == holder).filter(|_| !waited.is_zero()) {
                self.add(*cause, waited);
                slept -= waited;
            }
        }
        self.add(Cause::Source, slept);
        self.noted = now;
    }

    fn add(&self, cause: Cause, time: Duration) {
        self.measures.waits().add(cause, time / self.workers);
    }
}

/// Whether the step just taken found anything to do: what was active in a step is on timely's list until the next one.
fn was_active(worker: &Worker) -> bool {
    let active = Cell::new(false);
    worker.activations().borrow().map_active(|_| active.set(true));
    active.get()
}
