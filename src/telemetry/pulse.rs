//! Whether a run is alive: something moves, or it is known what is waited for.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::course::Phase;
use super::stages::{Measures, locked};
use super::words;

/// How long a run may stand still, for a reason that it cannot name, before it counts as stalled. What takes longest without a sign is a
/// tick, some tenths of a second; the rest leaves room for machines that are overloaded or asleep.
const STILL: Duration = Duration::from_secs(60);

/// What was seen of a run when it was last looked at.
#[derive(Debug)]
pub struct Pulse(Mutex<Seen>);

#[derive(Debug)]
struct Seen {
    moved: u64,
    moved_at: Instant,
    looked_at: Instant,
    waited: Duration,
    waited_at: Option<(Instant, &'static str)>,
}

/// How a run is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It moves, or waits for what is named.
    Alive(String),
    /// Nothing moves, and nothing is waited for.
    Stalled(String),
}

impl Default for Pulse {
    fn default() -> Pulse {
        Pulse(Mutex::new(Seen { moved: 0, moved_at: Instant::now(), looked_at: Instant::now(), waited: Duration::ZERO, waited_at: None }))
    }
}

impl Pulse {
    /// Looks at what a run has done so far. Called now and then by one thread.
    pub(super) fn look(&self, measures: &Measures) {
        let (now, moved, (waited, cause)) = (Instant::now(), measures.moved(), measures.waits().named());
        let mut seen = locked(&self.0);
        // What was counted begins anew with the next month.
        if moved != seen.moved {
            (seen.moved, seen.moved_at) = (moved, now);
        }
        // Of 64 workers one that waits puts down more than a hundredth; less is what lies between two clocks.
        let time = now.duration_since(seen.looked_at);
        if waited.saturating_sub(seen.waited) > time / 100 {
            seen.waited_at = cause.map(|cause| (now, cause));
        }
        (seen.waited, seen.looked_at) = (waited, now);
    }

    /// How long nothing has moved.
    pub fn unmoved(&self) -> Duration {
        locked(&self.0).moved_at.elapsed()
    }

    /// How the run is.
    pub(super) fn health(&self, measures: &Measures) -> Health {
        let (unmoved, phase) = (self.unmoved(), measures.course().phase());
        let (waits_for_a_month, phase) = (phase == Phase::Waiting, phase.name());
        let waiting = measures.waits().open();
        if unmoved < still() {
            return Health::Alive(format!("{phase}: moved {} ago", words::duration(unmoved)));
        }
        if let Some((cause, since)) = waiting.first() {
            return Health::Alive(format!("{phase}: waiting for {cause} for {}", words::duration(*since)));
        }
        if waits_for_a_month {
            return Health::Alive(format!("{phase}: for another month for {}", words::duration(unmoved)));
        }
        match locked(&self.0).waited_at.filter(|(at, _)| at.elapsed() < still()) {
            Some((_, cause)) => Health::Alive(format!("{phase}: nothing has moved for {}, waiting for {cause}", words::duration(unmoved))),
            None => Health::Stalled(format!(
                "{phase}: nothing has moved for {}, and nothing is waited for. The same command goes on where this one was",
                words::duration(unmoved)
            )),
        }
    }
}

/// [`STILL`], but in tests that have less patience.
fn still() -> Duration {
    fail::fail_point!("still", |millis| Duration::from_millis(millis.and_then(|millis| millis.parse().ok()).unwrap_or(1)));
    STILL
}
