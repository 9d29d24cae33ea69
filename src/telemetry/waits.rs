//! What a run waits for.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::stages::locked;

/// What can hold a run up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// Dumps, or the topics that they are read from.
    Source,
    /// The program's own work on records.
    Cpu,
    /// The state's files.
    State,
    /// The brokers that dumps are published to.
    Kafka,
    /// A sink.
    Sink(&'static str),
}

impl Cause {
    /// As reports name it.
    pub const fn name(self) -> &'static str {
        match self {
            Cause::Source => "source",
            Cause::Cpu => "cpu",
            Cause::State => "state",
            Cause::Kafka => "kafka",
            Cause::Sink(sink) => sink,
        }
    }
}

/// How long a run waited for what. Where several workers wait at the same time, each adds its part of the time.
#[derive(Debug, Default)]
pub struct Waits {
    times: Mutex<BTreeMap<Cause, Duration>>,
    /// What is being waited for now, and since when, by the number of the wait.
    open: Mutex<BTreeMap<u64, (&'static str, Instant)>>,
    numbers: AtomicU64,
}

/// A wait that goes on; dropped, it is over.
#[derive(Debug)]
pub struct Waiting<'a> {
    waits: &'a Waits,
    number: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        locked(&self.waits.open).remove(&self.number);
    }
}

impl Waits {
    /// So much more.
    pub fn add(&self, cause: Cause, time: Duration) {
        *locked(&self.times).entry(cause).or_default() += time;
    }

    pub(super) fn clear(&self) {
        locked(&self.times).clear();
    }

    /// Does something that the run waits for.
    pub fn during<T>(&self, cause: Cause, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let waiting = self.within(cause.name());
        let done = work();
        drop(waiting);
        self.add(cause, begun.elapsed());
        done
    }

    /// Something is waited for from now on, for as long as what is given is kept; no time is put down for it.
    pub fn within(&self, cause: &'static str) -> Waiting<'_> {
        let number = self.numbers.fetch_add(1, Relaxed);
        locked(&self.open).insert(number, (cause, Instant::now()));
        Waiting { waits: self, number }
    }

    /// What is being waited for now, and for how long, the longest first.
    pub fn open(&self) -> Vec<(&'static str, Duration)> {
        locked(&self.open).values().map(|(cause, since)| (*cause, since.elapsed())).collect()
    }

    /// The time for which there is a cause other than the program's own work, and the one that has most of it.
    pub fn named(&self) -> (Duration, Option<&'static str>) {
        let times = locked(&self.times);
        let named = || times.iter().filter(|(cause, _)| **cause != Cause::Cpu);
        (named().map(|(_, time)| *time).sum(), named().max_by_key(|(_, time)| **time).map(|(cause, _)| cause.name()))
    }

    /// What was waited for so far.
    pub fn times(&self) -> BTreeMap<Cause, Duration> {
        locked(&self.times).clone()
    }

    /// The shares of a run that took so long, in percent, each cut to a tenth, so that they never come to more than a hundred. What is
    /// left is what a run does before and after its work.
    pub fn shares(&self, run: Duration) -> BTreeMap<&'static str, f64> {
        let share = |time: Duration| (time.as_secs_f64() / run.as_secs_f64().max(f64::EPSILON) * 1000.0).floor() / 10.0;
        self.times().into_iter().map(|(cause, time)| (cause.name(), share(time))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_those_of_the_whole_run_and_cut_so_that_they_never_come_to_more_than_all_of_it() {
        let waits = Waits::default();
        for cause in [Cause::Source, Cause::Cpu, Cause::Sink("sqlite"), Cause::Cpu] {
            waits.add(cause, Duration::from_millis(333));
        }
        let shares = waits.shares(Duration::from_millis(1_332));
        assert_eq!(shares, BTreeMap::from([("source", 25.0), ("cpu", 50.0), ("sqlite", 25.0)]));
        let thirds = Waits::default();
        [Cause::Source, Cause::Cpu, Cause::State].into_iter().for_each(|cause| thirds.add(cause, Duration::from_secs(1)));
        assert_eq!(thirds.shares(Duration::from_secs(3)).into_values().collect::<Vec<_>>(), [33.3; 3]);
        assert!(Waits::default().shares(Duration::ZERO).is_empty());
    }
}
