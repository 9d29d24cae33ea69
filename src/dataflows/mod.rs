//! The refresh dataflow, one on each worker.
//!
//! ```text
//!   records ──arrivals──> diff ──events──┬──> postgres ──fields──┐
//!   (source)   exchange    ^ │           ├──> sqlite ────fields──┤
//!              by shard    │ │           └──> feed <─────────────┘
//!                          │ └─tallies─> guard                   │
//!                          └───verdicts (feedback)──┘            v
//!                                                    probe: all sinks have committed
//!   events ──> links ──nodes, edges──┬──> neo4j
//!                └─assertions─> edges┘
//! ```
//!
//! `records` releases the blocks that the reader cut, tick by tick. `diff` holds the trace of fingerprints and decides about every key.
//! Each worker tells `guard` (on the first worker) how many records it rejected, and at a kind's end how many keys it has not seen;
//! only when the verdict has come round do deletes flow. `links` and `edges`, where a graph is or was kept, hold what records assert. A sink holds each tick's
//! capability until its store has committed it, so the probe says what is durable.

mod arrangement;
mod codes;
mod diff;
mod edges;
mod guard;
mod journal;
mod links;
mod records;
mod rejects;
mod sink;

use serde::{Deserialize, Serialize};

use crate::model::Kind;
use crate::xml::{Ending, Record};

pub use codes::codes;
pub use diff::{Asked, Counts, Diff, DiffOptions, Findings, Fingerprints, Twin};
pub use edges::{Edges, edges};
pub use guard::{Guard, Tally, Verdict, guard};
pub use journal::{Entry, Journal, Note, Records};
pub use links::{Flow, Ground, Links, links};
pub use records::records;
pub use rejects::{Excess, RejectLimit, TooManyRejected};
pub use sink::{SinkPort, sink};

/// What flows into the diff.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Arrival {
    /// A record, for the worker that owns its key.
    Record(Record),
    /// The kind's dump has ended; one for each worker.
    End {
        /// The worker it is for.
        worker: usize,
        /// Whose dump.
        kind: Kind,
        /// How it ended.
        ending: Ending,
    },
}
