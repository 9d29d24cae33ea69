//! How long the records that must be parsed take, in a tick.
//!
//! The clock is looked at where such a record follows one that need not be parsed, or the reverse: of a month that is new twice a tick, of
//! one that is as before not at all, and else for a few records in a hundred. So their lookups and verdicts are counted with them.

use std::time::{Duration, Instant};

use crate::telemetry::Recorder;

/// What one worker parses.
pub(super) struct Parsing {
    recorder: Recorder,
    since: Option<Instant>,
    time: Duration,
    records: u64,
    bytes: u64,
}

impl Parsing {
    /// Nothing so far.
    pub(super) fn new(recorder: Recorder) -> Parsing {
        Parsing { recorder, since: None, time: Duration::ZERO, records: 0, bytes: 0 }
    }

    /// A record of so many bytes is about to be parsed.
    pub(super) fn one(&mut self, bytes: usize) {
        self.since.get_or_insert_with(Instant::now);
        self.records += 1;
        self.bytes += bytes as u64;
    }

    /// A record need not be.
    pub(super) fn none(&mut self) {
        if let Some(since) = self.since.take() {
            self.time += since.elapsed();
        }
    }

    /// All records of a tick were met.
    pub(super) fn end_tick(&mut self) {
        self.none();
        if self.records > 0 {
            self.recorder.took(self.time, self.records, self.bytes);
        }
        (self.time, self.records, self.bytes) = (Duration::ZERO, 0, 0);
    }
}
