//! Checkpoints inside an epoch: taken while it runs, and taken up by the next run.
//!
//! ```text
//!   operators ──entries──┐                              every --checkpoint-interval:
//!                        ├──> scribe: journal             each worker says up to where the probe has come;
//!   workers ───"done"────┘            │                   the least of them is what all sinks have committed;
//!   reader ───trail───────────────────┴──> checkpoint     journal made durable, checkpoint put in place
//! ```
//!
//! Nothing waits for it: entries are written as ticks are processed, beyond the checkpoint too, and what lies beyond is ignored by who
//! takes it up.
//!
//! Of several processes each has a scribe and a journal, and that of process 0 asks and writes:
//!
//! ```text
//!   process 0                                             process 1, 2, ...
//!      │ ───────── Come ───────────────────────────────────> │   each worker says up to where the probe has come
//!      │ <──────── Came: all below this tick is done ─────── │   the least of all counts
//!      │ ───────── Stand: at that tick ────────────────────> │
//!      │ <──────── Stands: where the reader stood ────────── │   together the positions of all partitions
//!      │ ───────── Keep: what lies below ──────────────────> │
//!      │ <──────── Kept: its segments, made durable ──────── │   checkpoint put in place
//! ```

mod grounds;
mod memory;
mod scribe;
mod words;

use crate::dataflows::Entry;
use crate::state::{StateError, Storage};
pub use grounds::{Grounds, adopt_texts};
pub use memory::{Memory, delivered};
pub use scribe::{Rounds, Scribe};

fn decode(storage: &Storage, payload: &[u8]) -> Result<Entry, StateError> {
    Entry::decode(payload).map_err(|error| StateError::Part {
        path: storage.to_string().into(),
        problem: format!("an entry of a journal is damaged: {error}"),
    })
}
