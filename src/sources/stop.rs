//! The signal by which any part of a run, or the user, ends all of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use thiserror::Error;

use super::Budget;

/// The user asked the program to stop, and it did.
#[derive(Debug, Error)]
#[error("stopped on request: the same command goes on")]
pub struct StoppedOnRequest;

/// Set once, by the first error; everything that waits looks at it.
#[derive(Clone, Debug)]
pub struct Stop(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    set: AtomicBool,
    reason: Mutex<Option<anyhow::Error>>,
    changed: Condvar,
    budget: Arc<Budget>,
}

impl Stop {
    /// A signal that also ends waiting for the budget.
    pub fn new(budget: Arc<Budget>) -> Stop {
        Stop(Arc::new(Inner { set: AtomicBool::new(false), reason: Mutex::new(None), changed: Condvar::new(), budget }))
    }

    /// Ends the run because of `error`; of several, the first one counts.
    pub fn fail(&self, error: anyhow::Error) {
        let mut reason = self.0.reason.lock().unwrap_or_else(PoisonError::into_inner);
        if reason.is_none() {
            *reason = Some(error);
        }
        self.0.set.store(true, Ordering::Release);
        drop(reason);
        self.0.changed.notify_all();
        self.0.budget.close();
    }

    /// Whether the run is to end.
    pub fn is_set(&self) -> bool {
        self.0.set.load(Ordering::Acquire)
    }

    /// Sleeps, but not beyond the end of the run.
    pub fn sleep(&self, time: Duration) {
        let reason = self.0.reason.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self.0.changed.wait_timeout_while(reason, time, |reason| reason.is_none());
    }

    /// The error that ended the run, once.
    pub fn take_reason(&self) -> Option<anyhow::Error> {
        self.0.reason.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
