//! Refreshes from topics: which of the attempts that are there are to be applied, and in which order.
//!
//! ```text
//!   catalogue ─ newest attempt of each snapshot ─ complete ─ behind what the state has reached ─ not older than it
//!     ─ by month: one snapshot of all kinds ─ refreshed as from files ─ the next month ─ ...
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;

use super::due::Due;
use super::{Refreshed, Request, refresh_to};
use crate::model::PerKind;
use crate::sinks::Sink;
use crate::sources::kafka::{Attempt, Catalogue, Stretch, Topics, commit};
use crate::sources::{DumpFile, Place, Snapshot};
use crate::state::State;

/// Brings the sinks that `open` gives to each snapshot that was published completely and not applied yet, the oldest month first; gives
/// what each came to. Where there is none, what the state holds is looked at, as a sink may be new or behind.
pub fn refresh_topics(request: &Request, topics: &Topics, mut open: impl FnMut() -> Result<Vec<Box<dyn Sink>>>) -> Result<Vec<Refreshed>> {
    let catalogue = Catalogue::find(topics)?;
    let mut refreshed = Vec::new();
    let state = State::look(&request.state)?;
    let due = PerKind::from_fn(|kind| Due::of(&catalogue, kind, state.manifest(), request.allowed.older));
    drop(state);
    for (_, due) in due.iter() {
        due.words().iter().for_each(|words| tracing::info!("{words}"));
    }
    // All that is to be applied is looked at before any of it is: a month must not be left out because its records have expired.
    let news = due.0.iter().any(|due| !due.news.is_empty());
    let mut months: BTreeMap<String, PerKind<VecDeque<Arc<Stretch>>>> = BTreeMap::new();
    for (kind, due) in due.iter() {
        let attempts = if news { due.news.clone() } else { due.held.into_iter().collect() };
        for attempt in attempts {
            // What the state holds is of use only where a sink needs it, and it may have expired.
            let stretch = match Stretch::find(topics, attempt) {
                Err(error) if !news => {
                    tracing::debug!("{error:#}");
                    continue;
                }
                stretch => Arc::new(stretch?),
            };
            months.entry(attempt.month.clone()).or_insert_with(|| PerKind::from_fn(|_| VecDeque::new()))[kind].push_back(stretch);
        }
    }
    for (month, mut kinds) in months {
        // Of a kind that was published twice with different content, the second goes into an epoch of its own.
        while kinds.0.iter().any(|stretches| !stretches.is_empty()) {
            let files = PerKind::from_fn(|kind| kinds[kind].pop_front().map(file));
            let reached: Vec<_> =
                files.iter().filter_map(|(kind, file)| Some((kind, attempt(file.as_ref()?)?.reached().offsets))).collect();
            let request = &Request { progress: Arc::new(request.progress.another()), ..request.clone() };
            let one = refresh_to(request, Instant::now(), Snapshot { month: month.clone(), files }, &mut open)?;
            if !one.report.kinds.is_empty() {
                tracing::info!("{month} was applied from {}.*", topics.prefix);
                refreshed.push(one);
            } else if refreshed.is_empty() && !news {
                refreshed.push(one);
            }
            // Only for tools that show lag: the state itself knows.
            let group = format!("discodiff.{}", State::look(&request.state)?.manifest().state);
            if let Err(error) = commit(topics, &group, &reached) {
                tracing::warn!("the positions of the group {group} could not be noted: {error:#}");
            }
        }
    }
    Ok(refreshed)
}

fn file(stretch: Arc<Stretch>) -> DumpFile {
    let Attempt { kind, file, bytes, snapshot, .. } = stretch.attempt.clone();
    DumpFile { kind, place: Place::Topic(stretch), name: file, bytes, sha256: snapshot, checksum_agrees: None }
}

fn attempt(file: &DumpFile) -> Option<&Attempt> {
    match &file.place {
        Place::Topic(stretch) => Some(&stretch.attempt),
        Place::File(_) => None,
    }
}
