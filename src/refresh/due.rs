//! Which of the attempts in the topics a state lacks: what a refresh applies, and what `status` and `check` tell of.

use serde::Serialize;

use crate::model::{Kind, PerKind};
use crate::sources::kafka::{Attempt, Catalogue};
use crate::state::Manifest;
use crate::telemetry::words::count;

/// What of a kind is to be done.
#[derive(Debug, Default)]
pub struct Due<'a> {
    /// Complete and not applied yet, the oldest month first.
    pub news: Vec<&'a Attempt>,
    /// What the state holds.
    pub held: Option<&'a Attempt>,
    /// Not complete yet.
    pub unfinished: Vec<&'a Attempt>,
    /// Of an older month than the state's, which is not gone back to.
    pub older: Vec<&'a Attempt>,
    /// That month of the state's.
    month: Option<String>,
}

impl<'a> Due<'a> {
    /// Looks up a kind. `older`: older months than the state's are news too.
    pub fn of(catalogue: &'a Catalogue, kind: Kind, manifest: &Manifest, older: bool) -> Due<'a> {
        Due::within(catalogue, kind, manifest, older, |_| true)
    }

    /// The same, of those attempts that are asked for.
    pub fn within(catalogue: &'a Catalogue, kind: Kind, manifest: &Manifest, older: bool, asked: impl Fn(&Attempt) -> bool) -> Due<'a> {
        let applied = manifest.kinds[kind].as_ref();
        let mut due = Due { month: applied.map(|applied| applied.month.clone()), ..Due::default() };
        let newest = catalogue.newest(kind);
        due.held = newest
            .iter()
            .find(|attempt| attempt.ends.is_some() && applied.is_some_and(|applied| applied.sha256 == attempt.snapshot))
            .copied();
        let noted = manifest.topics[kind].as_ref().filter(|reached| reached.log == catalogue.log()).map(|reached| reached.attempt);
        // What lies before a snapshot that the state holds was overtaken, be it from files.
        let reached = noted.max(due.held.map(|held| held.attempt)).unwrap_or(0);
        for attempt in newest.into_iter().filter(|attempt| attempt.attempt > reached && asked(attempt)) {
            match applied {
                _ if attempt.ends.is_none() => due.unfinished.push(attempt),
                Some(applied) if applied.month > attempt.month && !older => due.older.push(attempt),
                _ => due.news.push(attempt),
            }
        }
        due.news.sort_by_key(|attempt| (&attempt.month, attempt.attempt));
        due
    }

    /// What is not applied, and why.
    pub fn words(&self) -> Vec<String> {
        let name = |attempt: &Attempt| format!("{} ({}, attempt {})", attempt.file, attempt.month, attempt.attempt);
        let unfinished = self.unfinished.iter().map(|attempt| {
            let records = count(attempt.records);
            format!("{} is not complete: {records} records so far. It is applied once its publisher has come to its end", name(attempt))
        });
        let older = self.older.iter().map(|attempt| {
            let month = self.month.as_deref().unwrap_or_default();
            format!("{} is older than {month}, which the state holds: passed over (--allow-older goes back)", name(attempt))
        });
        unfinished.chain(older).collect()
    }
}

/// How far a state is behind the topics, a kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lag {
    /// The newest month that is there completely.
    pub newest: Option<String>,
    /// Attempts that a refresh would apply.
    pub attempts: usize,
    /// Records in them.
    pub records: u64,
    /// What is being published, or was given up on the way.
    pub unfinished: Vec<Unfinished>,
}

/// An attempt that is not complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unfinished {
    /// Its month.
    pub month: String,
    /// Records published so far.
    pub records: u64,
}

impl Lag {
    /// Of each kind.
    pub fn of(catalogue: &Catalogue, manifest: &Manifest) -> PerKind<Lag> {
        PerKind::from_fn(|kind| {
            let due = Due::of(catalogue, kind, manifest, false);
            let complete = catalogue.of(kind).filter(|attempt| attempt.ends.is_some());
            Lag {
                newest: complete.map(|attempt| attempt.month.clone()).max(),
                attempts: due.news.len(),
                records: due.news.iter().map(|attempt| attempt.records).sum(),
                unfinished: due
                    .unfinished
                    .iter()
                    .map(|attempt| Unfinished { month: attempt.month.clone(), records: attempt.records })
                    .collect(),
            }
        })
    }
}
