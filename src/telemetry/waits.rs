//! What a run waits for.

use std::collections::BTreeMap;
use std::sync::Mutex;
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
pub struct Waits(Mutex<BTreeMap<Cause, Duration>>);

impl Waits {
    /// So much more.
    pub fn add(&self, cause: Cause, time: Duration) {
        *locked(&self.0).entry(cause).or_default() += time;
    }

    pub(super) fn clear(&self) {
        locked(&self.0).clear();
    }

    /// Does something that the run waits for.
    pub fn during<T>(&self, cause: Cause, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let done = work();
        self.add(cause, begun.elapsed());
        done
    }

    /// What was waited for so far.
    pub fn times(&self) -> BTreeMap<Cause, Duration> {
        locked(&self.0).clone()
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
