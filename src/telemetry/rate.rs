//! How fast something goes, over its last seconds.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Long enough to even out blocks and batches, short enough to show within a minute that a sink has begun to hold the run back.
const WINDOW: Duration = Duration::from_secs(30);

/// Samples of two counters.
#[derive(Debug, Default)]
pub(super) struct Rate(VecDeque<(Instant, [u64; 2])>);

impl Rate {
    /// Whether nothing was noted yet.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Notes how far both counters are.
    pub(super) fn sample(&mut self, now: Instant, counters: [u64; 2]) {
        self.0.push_back((now, counters));
        // One sample beyond the window stays, so that two that are further apart than it still give a rate.
        while self.0.get(1).is_some_and(|(at, _)| now.duration_since(*at) > WINDOW) {
            self.0.pop_front();
        }
    }

    /// Per second; 0 until there are two samples.
    pub(super) fn per_second(&self) -> [f64; 2] {
        let (Some((from, first)), Some((to, last))) = (self.0.front(), self.0.back()) else { return [0.0; 2] };
        let seconds = to.duration_since(*from).as_secs_f64();
        if seconds == 0.0 { [0.0; 2] } else { [0, 1].map(|at| last[at].saturating_sub(first[at]) as f64 / seconds) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_forgets_what_lies_beyond_its_window() {
        let start = Instant::now();
        let mut rate = Rate::default();
        assert_eq!(rate.per_second(), [0.0, 0.0]);
        for second in 0..=100 {
            let fast = if second < 50 { 1000 * second } else { 50_000 + 10 * (second - 50) };
            rate.sample(start + Duration::from_secs(second), [fast, second]);
        }
        assert_eq!(rate.per_second(), [10.0, 1.0]);
    }
}
