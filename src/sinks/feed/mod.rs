//! The feed: every change, in a file or in a Kafka topic.
//!
//! - `envelope`: what is said of a change, in both
//! - `file`, `writer`, `error`: a file of lines, which is cut back where an epoch did not complete
//! - `topic`: a topic, which cannot be cut back

mod envelope;
mod error;
mod file;
mod topic;
mod writer;

use super::{Epoch, Run};
pub use file::Feed;
pub use topic::FeedTopic;

/// The first and last epoch of which a feed that is not new lacks the changes, or holds changes that the state does not stand on (it was
/// restored from a backup): either way what follows does not continue what is there.
fn gap(last: Option<Epoch>, run: &Run) -> Option<(u64, u64)> {
    let last = last?;
    if run.before == Some(last) {
        return None;
    }
    let first = match run.before {
        Some(before) if before.number == last.number => last.number,
        before => before.map_or(0, |before| before.number).min(last.number) + 1,
    };
    Some((first, run.epoch.number - 1)).filter(|(first, last)| first <= last)
}
