//! How long a block is on its way: from when the reader hands it to the workers until all sinks have committed what came of it.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Instant;

use super::stages::{Recorder, locked};
use crate::sources::Tick;

/// Ticks that are on their way, noted by the reader and by the worker that looks at what is done. A lock, taken by each once a block.
#[derive(Debug, Default)]
pub struct Ticks(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    open: VecDeque<Open>,
    /// When the first was handed over, and then when one was last done with: what is between these is the stage's time.
    last: Option<Instant>,
    /// Below which all is done.
    frontier: Tick,
}

#[derive(Debug)]
struct Open {
    tick: Tick,
    begun: Instant,
    records: usize,
    bytes: usize,
}

impl Ticks {
    pub(super) fn clear(&self) {
        *locked(&self.0) = Inner::default();
    }

    /// A block is about to be handed to the workers. Ticks rise.
    pub fn handed_over(&self, tick: Tick, records: usize, bytes: usize) {
        let begun = Instant::now();
        let mut inner = locked(&self.0);
        inner.last.get_or_insert(begun);
        inner.open.push_back(Open { tick, begun, records, bytes });
    }

    /// The tick below which all is done with, and how many are on their way.
    pub fn on_their_way(&self) -> (Tick, usize) {
        let inner = locked(&self.0);
        (inner.frontier, inner.open.len())
    }

    /// All ticks below `frontier` are done with; of none, all ticks.
    pub fn done(&self, frontier: Option<Tick>, recorder: &mut Recorder) {
        let now = Instant::now();
        let mut inner = locked(&self.0);
        let done = inner.open.partition_point(|open| frontier.is_none_or(|frontier| open.tick < frontier));
        inner.frontier = frontier.unwrap_or(inner.frontier).max(inner.frontier);
        for open in inner.open.drain(..done).collect::<Vec<_>>() {
            let busy = inner.last.replace(now).map_or_else(Default::default, |last| now.duration_since(last));
            recorder.add(now.duration_since(open.begun), busy, open.records as u64, open.bytes as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::stages::{Measures, RunStage};
    use super::*;

    #[test]
    fn a_tick_takes_until_the_frontier_has_passed_it_and_time_in_which_several_are_on_their_way_counts_once() {
        let measures = Measures::default();
        let mut recorder = measures.recorder(RunStage::Tick);
        let begun = Instant::now();
        (5..8).for_each(|tick| measures.ticks().handed_over(tick, 10, 100));
        measures.ticks().done(Some(5), &mut recorder);
        assert!(measures.stages().is_empty());
        std::thread::sleep(Duration::from_millis(20));
        measures.ticks().done(Some(7), &mut recorder);
        measures.ticks().done(None, &mut recorder);
        let most = begun.elapsed().as_secs_f64();
        drop(recorder);
        let all = &measures.stages()[0];
        assert_eq!((all.count, all.records, all.bytes), (3, 30, 300));
        assert!(all.p50_seconds >= 0.019 && all.busy_seconds >= 0.02 && all.busy_seconds <= most, "{all:?} in {most}");
    }
}
