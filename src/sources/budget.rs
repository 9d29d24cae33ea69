//! The bound on bytes in flight: the reader waits for it, operators only count.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

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

/// Who has bytes that are in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder(usize);

impl Holder {
    /// Workers: records that were not compared yet.
    pub const WORKERS: Holder = Holder(0);
    /// The journal: entries that were not written yet.
    pub const JOURNAL: Holder = Holder(1);

    /// A sink, by its place among the run's.
    pub const fn sink(at: usize) -> Holder {
        Holder(2 + at)
    }
}

#[derive(Debug, Default)]
struct State {
    bytes: usize,
    peak: usize,
    closed: bool,
    held: Vec<Held>,
    /// Since when the reader has had nothing to do but to wait for those that hold something.
    waiting: Option<Instant>,
}

/// What one holder has.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    bytes: usize,
    /// Ticks that it was given and has not done with. A sink can be long at work on one without any bytes.
    ticks: usize,
    /// How long the reader waited while this one held the most.
    waited: Duration,
}

impl State {
    fn held(&mut self, Holder(at): Holder) -> &mut Held {
        self.note();
        if self.held.len() <= at {
            self.held.resize_with(at + 1, Held::default);
        }
        &mut self.held[at]
    }

    fn add(&mut self, holder: Holder, bytes: usize) {
        self.held(holder).bytes += bytes;
        self.bytes += bytes;
        self.peak = self.peak.max(self.bytes);
    }

    /// Puts down what was waited up to now: whoever holds the most is what is waited for, until that changes.
    fn note(&mut self) {
        let Some(since) = self.waiting else { return };
        let now = Instant::now();
        // Where nobody holds anything, workers are at something else.
        let most = self.held.iter_mut().rev().max_by_key(|held| (held.bytes, held.ticks));
        if let Some(most) = most {
            most.waited += now.duration_since(since);
        }
        self.waiting = Some(now);
    }
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Budget {
        Budget { limit, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Waits until `bytes` more fit, or nothing is in flight at all; false when the run has been stopped. They go to the workers.
    pub fn acquire(&self, bytes: usize) -> bool {
        let mut state = self.lock();
        while !state.closed && state.bytes > 0 && state.bytes + bytes > self.limit {
            state.waiting.get_or_insert_with(Instant::now);
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.note();
        state.waiting = None;
        state.add(Holder::WORKERS, bytes);
        !state.closed
    }

    /// The reader has read all: there is nothing to wait for but what is in flight.
    pub fn all_is_read(&self) {
        self.lock().waiting.get_or_insert_with(Instant::now);
    }

    /// Counts bytes that have come to be without waiting for room.
    pub fn add(&self, holder: Holder, bytes: usize) {
        self.lock().add(holder, bytes);
    }

    /// Gives bytes back.
    pub fn release(&self, holder: Holder, bytes: usize) {
        let mut state = self.lock();
        let held = state.held(holder);
        held.bytes = held.bytes.saturating_sub(bytes);
        state.bytes = state.bytes.saturating_sub(bytes);
        drop(state);
        self.changed.notify_all();
    }

    /// A holder is given a tick, whatever the bytes.
    pub fn begin_tick(&self, holder: Holder) {
        self.lock().held(holder).ticks += 1;
    }

    /// It has done with one.
    pub fn end_tick(&self, holder: Holder) {
        self.lock().held(holder).ticks -= 1;
    }

    /// How long each holder, by its number, was what the reader waited for, up to now.
    pub fn waited(&self) -> Vec<(Holder, Duration)> {
        let mut state = self.lock();
        state.note();
        state.held.iter().enumerate().map(|(at, held)| (Holder(at), held.waited)).collect()
    }

    /// The most that may be in flight, in bytes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// What this holder has in flight, in bytes.
    pub fn held_by(&self, Holder(at): Holder) -> usize {
        self.lock().held.get(at).map_or(0, |held| held.bytes)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Longer than this test takes on any machine, and shorter than any has been running.
    const LONG: Duration = Duration::from_secs(50);

    impl Budget {
        /// As if the reader had been waiting for so long, if it is waiting.
        fn pretend(&self) {
            let mut state = self.lock();
            state.waiting = state.waiting.and_then(|since| since.checked_sub(LONG));
        }

        fn waited_long(&self) -> Vec<Holder> {
            self.waited().into_iter().filter(|(_, waited)| *waited >= LONG).map(|(holder, _)| holder).collect()
        }
    }

    #[test]
    fn the_reader_waits_for_whoever_holds_the_most_and_once_all_is_read_for_whoever_holds_anything() {
        let budget = Budget::new(100);
        let (quick, slow) = (Holder::sink(0), Holder::sink(1));
        assert!(budget.acquire(10));
        budget.release(Holder::WORKERS, 10);
        budget.add(quick, 30);
        budget.add(slow, 60);
        budget.pretend();
        assert_eq!(budget.waited_long(), [], "the reader does not wait yet");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while budget.lock().waiting.is_none() {
                    std::thread::yield_now();
                }
                budget.pretend();
                budget.release(slow, 60);
            });
            assert!(budget.acquire(20));
        });
        budget.pretend();
        assert_eq!(budget.waited_long(), [slow]);
        budget.release(Holder::WORKERS, 20);
        budget.release(quick, 30);
        budget.begin_tick(quick);
        budget.all_is_read();
        budget.pretend();
        assert_eq!(budget.waited_long(), [quick, slow], "a tick without bytes");
        budget.end_tick(quick);
        budget.pretend();
        assert_eq!(budget.waited_long(), [Holder::WORKERS, quick, slow]);
    }
}
