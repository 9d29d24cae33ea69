//! The bound on bytes in flight: the reader waits for it, operators only count.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes of records and documents between the reader and the stores.
///
/// Only the reader ever waits. Operators and sinks add and release without blocking, so what is in flight can pass the limit by what
/// one block expands to, but no further block is read until it has sunk below.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    bytes: usize,
    peak: usize,
    closed: bool,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Budget {
        Budget { limit, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Waits until `bytes` more fit, or nothing is in flight at all; false when the run has been stopped.
    pub fn acquire(&self, bytes: usize) -> bool {
        let mut state = self.lock();
        while !state.closed && state.bytes > 0 && state.bytes + bytes > self.limit {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.bytes += bytes;
        state.peak = state.peak.max(state.bytes);
        !state.closed
    }

    /// Counts bytes that have come to be without waiting for room.
    pub fn add(&self, bytes: usize) {
        let mut state = self.lock();
        state.bytes += bytes;
        state.peak = state.peak.max(state.bytes);
    }

    /// Gives bytes back.
    pub fn release(&self, bytes: usize) {
        let mut state = self.lock();
        state.bytes = state.bytes.saturating_sub(bytes);
        drop(state);
        self.changed.notify_all();
    }

    /// Whether there is room: an operator that can put off work asks this first.
    pub fn has_room(&self) -> bool {
        self.lock().bytes < self.limit
    }

    /// The most that was in flight at any time, in bytes.
    pub fn peak(&self) -> usize {
        self.lock().peak
    }

    /// Whether the run is over.
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Ends all waiting: the run is over.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    // The counters stay right even when a thread that held the lock has panicked.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
