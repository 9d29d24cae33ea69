//! What a run came to, for people and for programs.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;

use crate::dataflows::{Counts, Twin};
use crate::fetch::Fetched;
use crate::model::{DeadLetter, Kind, PerKind};
use crate::sinks::{GraphWritten, Tally};
use crate::sources::Tick;
use crate::state::Checkpoint;
use crate::telemetry::{Measured, Measures};

/// The object that `--json` prints.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The snapshot's month, `2025-12`.
    pub snapshot: String,
    /// How long the run took.
    pub seconds: f64,
    /// What was fetched before, where something was to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fetched: Option<Fetched>,
    /// The checkpoint inside the month from which the run went on.
    pub resumed_from: Option<ResumedFrom>,
    /// Counts of the kinds that were read.
    pub kinds: BTreeMap<Kind, Counts>,
    /// For each sink what this run wrote.
    pub sinks: BTreeMap<&'static str, Wrote>,
    /// How long each stage took that took part, and what went through it.
    pub stages: Vec<Measured>,
    /// What the run waited for, in percent of its time.
    pub waited: BTreeMap<&'static str, f64>,
}

impl Report {
    /// Puts down how long the run took that was begun then, and what it measured of itself.
    pub fn end(&mut self, begun: Instant, measures: &Measures) {
        let time = begun.elapsed();
        self.seconds = time.as_secs_f64();
        self.stages = measures.stages();
        self.waited = measures.waits().shares(time);
    }
}

/// Where a run went on that takes up another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ResumedFrom {
    /// The kind that was read first; those before it had been done with.
    pub kind: Kind,
    /// Records of it that had been done with.
    pub records: u64,
    /// timely's time.
    pub tick: Tick,
}

impl ResumedFrom {
    /// Where this checkpoint stands.
    pub fn of(checkpoint: &Checkpoint) -> ResumedFrom {
        let mark = &checkpoint.mark;
        ResumedFrom { kind: mark.kind(), records: mark.position.as_ref().map_or(0, |position| position.records), tick: mark.tick }
    }
}

/// What a run wrote into one sink.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Wrote {
    /// Records for which something was written.
    #[serde(flatten)]
    pub records: Tally,
    /// Of a graph: nodes and relationships, as the server counted them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub graph: Option<GraphWritten>,
}

/// What a person should know besides.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// Deletes that were withheld: kind, number, why.
    pub withheld: Vec<(Kind, u64, String)>,
    /// Dumps that were not read whole: kind, why.
    pub defects: Vec<(Kind, String)>,
    /// Sinks that are still behind: sink, kind, number of records that they did not get.
    pub behind: Vec<(&'static str, Kind, u64)>,
    /// Sinks that were brought up in this run: sink, kind.
    pub brought_up: Vec<(&'static str, Kind)>,
    /// The first few rejected records.
    pub rejected: Vec<DeadLetter>,
    /// The first few duplicates that differ.
    pub twins: Vec<Twin>,
    /// Schema drift: how often each path that no reader knows was met.
    pub unmapped: PerKind<BTreeMap<String, u64>>,
    /// Characters that XML forbids and that were removed.
    pub removed_characters: u64,
    /// Ampersands that were taken as themselves.
    pub lone_ampersands: u64,
    /// The most bytes that were in flight.
    pub peak_in_flight: usize,
}

/// A run's report and notes.
#[derive(Clone, Debug, Default)]
pub struct Refreshed {
    /// For programs.
    pub report: Report,
    /// For people.
    pub notes: Notes,
}

impl Refreshed {
    /// Whether nothing was rejected, withheld or left behind.
    pub fn is_clean(&self) -> bool {
        let Notes { withheld, defects, behind, .. } = &self.notes;
        withheld.is_empty() && defects.is_empty() && behind.is_empty() && self.report.kinds.values().all(|counts| counts.rejected == 0)
    }
}
