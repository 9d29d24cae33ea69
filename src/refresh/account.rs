//! What each worker's time is spent on waiting for, the worker's own work included.
//!
//! What is in flight queues up before whatever is slowest. So while the reader waits for room, or all is read, the run waits for whoever
//! holds the most bytes. Else it waits for a worker that has work, and where that has none, for the source.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use timely::worker::Worker;

use crate::sources::{Budget, Holder};
use crate::telemetry::{Cause, Measures};

/// How long a worker that is never idle puts nothing down, so that who looks on sees it.
const SELDOM: Duration = Duration::from_secs(1);

/// One worker's account.
pub struct Account {
    budget: Arc<Budget>,
    measures: Arc<Measures>,
    /// What holders are called.
    causes: Arc<Vec<(Holder, Cause)>>,
    /// Each of so many workers adds its part to the account of the run.
    workers: u32,
    /// Up to when all is put down, and how long the reader had waited for each holder then.
    noted: Instant,
    waited: Vec<(Holder, Duration)>,
    /// Whether the last step found nothing to do.
    idle: bool,
}

impl Account {
    /// One that begins now.
    pub fn new(budget: Arc<Budget>, measures: Arc<Measures>, causes: Arc<Vec<(Holder, Cause)>>, workers: usize) -> Account {
        let waited = budget.waited();
        Account { budget, measures, causes, workers: workers as u32, noted: Instant::now(), waited, idle: false }
    }

    /// Has the worker take a step, or sleep for a while where the step before found nothing to do.
    pub fn step(&mut self, worker: &mut Worker, nap: Duration) {
        if !self.idle {
            worker.step();
            self.idle = !was_active(worker);
            if self.idle || self.noted.elapsed() > SELDOM {
                self.note(Cause::Cpu);
            }
            return;
        }
        worker.step_or_park(Some(nap));
        self.idle = !was_active(worker);
        self.note(if self.idle { Cause::Source } else { Cause::Cpu });
    }

    /// Puts down the time since this was done last: what the reader did not wait is for `rest`.
    pub fn note(&mut self, rest: Cause) {
        let (now, waited) = (Instant::now(), self.budget.waited());
        let mut left = now.duration_since(self.noted);
        for (holder, total) in &waited {
            let before = self.waited.iter().find(|(of, _)| of == holder).map_or(Duration::ZERO, |(_, before)| *before);
            let time = total.saturating_sub(before).min(left);
            if let Some((_, cause)) = self.causes.iter().find(|(of, _)| of == holder).filter(|_| !time.is_zero()) {
                self.measures.waits().add(*cause, time / self.workers);
                left -= time;
            }
        }
        self.measures.waits().add(rest, left / self.workers);
        (self.noted, self.waited) = (now, waited);
    }
}

/// Whether the step just taken found anything to do: what was active in a step is on timely's list until the next one.
fn was_active(worker: &Worker) -> bool {
    let active = Cell::new(false);
    worker.activations().borrow().map_active(|_| active.set(true));
    active.get()
}
