//! Refreshes from topics: the snapshots that are due, the oldest first, and then those that come.
//!
//! ```text
//!   catalogue ─ due of each kind ─ by month: one snapshot of all kinds ─ refreshed as from files ─ the next month ─ ...
//!       ^                                                                                                       │
//!       └───────────────────────────────── following: until the catalogue says more ────────────────────────────┘
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::due::Due;
use super::selection::{Bounds, From, Selection, whole_months_only};
use super::{Refreshed, Request, refresh_to};
use crate::model::{Kind, PerKind};
use crate::sinks::Sink;
use crate::sources::kafka::{Attempt, Catalogue, CatalogueReader, Finder, Stretch, Topics, commit, names};
use crate::sources::{DumpFile, Place, Snapshot};
use crate::state::State;
use crate::telemetry::{Cause, Phase};

/// How long news are waited for before it is looked whether the run is to end.
const LOOK: Duration = Duration::from_millis(500);

/// Applies snapshots from topics.
pub struct FromTopics<'a> {
    /// What is asked of each run.
    pub request: &'a Request,
    /// Where the topics are.
    pub topics: &'a Topics,
    /// Opens the sinks, for each snapshot anew.
    pub open: &'a mut dyn FnMut() -> Result<Vec<Box<dyn Sink>>>,
    /// Is told what each snapshot came to, once it is applied.
    pub applied: &'a mut dyn FnMut(Refreshed) -> Result<()>,
}

impl FromTopics<'_> {
    /// Brings the sinks to each snapshot that was selected, is complete and not applied yet, the oldest month first. Where there is none,
    /// what the state holds is looked at, as a sink may be new or behind.
    pub fn once(&mut self, selection: &Selection) -> Result<()> {
        self.request.measures.course().enter(Phase::Identifying);
        let waiting = self.request.measures.waits().within(Cause::Kafka.name());
        let catalogue = Catalogue::find(self.topics)?;
        drop(waiting);
        let bounds = selection.bounds(self.topics, &catalogue)?;
        let due = self.due(&catalogue, &bounds)?;
        due.iter().flat_map(|(_, due)| due.words()).for_each(|words| tracing::info!("{words}"));
        let news = due.0.iter().any(|due| !due.news.is_empty());
        let replaying = selection.from != From::News;
        if replaying && due.0.iter().all(|due| due.news.is_empty() && due.held.is_none()) {
            let months: Vec<_> = catalogue.months().into_iter().collect();
            bail!(
                "nothing to replay: of {}, which the topics {}.* have, nothing is complete, asked for, and held by the state or newer than \
                 what it holds",
                months.join(", "),
                self.topics.prefix
            );
        }
        // What the state holds is of use only where a sink needs it, and it may have expired: who replays wants it.
        self.apply(&due, replaying && !news, !news)
    }

    /// Does so again whenever another month is complete, until it is told to stop.
    pub fn follow(&mut self) -> Result<()> {
        let mut told = BTreeSet::new();
        let mut tell = |words: &str| {
            if told.insert(words.to_owned()) {
                tracing::info!("{words}");
            }
        };
        let waiting = self.request.measures.waits().within("months");
        while !names(self.topics)?.contains(&self.topics.catalogue()) {
            self.request.measures.course().enter(Phase::Waiting);
            tell(&format!("nothing was published to {}.* yet: waiting", self.topics.prefix));
            thread::sleep(LOOK);
            if self.stopped()? {
                return Ok(());
            }
        }
        let mut reader = CatalogueReader::open(self.topics)?;
        reader.catch_up()?;
        drop(waiting);
        let mut first = true;
        loop {
            let catalogue = reader.catalogue.clone();
            let bounds = Selection::default().bounds(self.topics, &catalogue)?;
            let mut due = self.due(&catalogue, &bounds)?;
            due.iter().flat_map(|(_, due)| due.words()).for_each(|words| {
                // The number of records in the words grows.
                tell(words.split(':').next().unwrap_or(&words));
            });
            whole_months_only(&catalogue, &mut due);
            if first || due.0.iter().any(|due| !due.news.is_empty()) {
                self.apply(&due, false, false)?;
            }
            first = false;
            tell("waiting for months to be published; Ctrl-C or SIGTERM ends");
            self.request.measures.course().enter(Phase::Waiting);
            let waiting = self.request.measures.waits().within("months");
            while !reader.wait(LOOK)? {
                if self.stopped()? {
                    return Ok(());
                }
            }
            drop(waiting);
            // A publisher's transactions come one by one, and only the last one makes a month complete.
            while reader.wait(LOOK)? && !self.stopped()? {}
        }
    }

    /// Whether the user wants an end; an error where another process has brought it.
    fn stopped(&self) -> Result<bool> {
        self.request.cluster.as_ref().map_or(Ok(()), |cluster| cluster.check())?;
        Ok(self.request.stop.load(Ordering::Relaxed))
    }

    fn due<'c>(&self, catalogue: &'c Catalogue, bounds: &Bounds) -> Result<PerKind<Due<'c>>> {
        let state = State::look(&self.request.state)?;
        Ok(PerKind::from_fn(|kind| bounds.due(catalogue, kind, state.manifest(), self.request.allowed.older)))
    }

    /// Applies the news of each kind, and of a kind without any what the state holds, for sinks that lack it. `must`: that being no longer
    /// whole is an error, as it is of news. `idle`: a snapshot for which there was nothing to do is told of.
    fn apply(&mut self, due: &PerKind<Due<'_>>, must: bool, mut idle: bool) -> Result<()> {
        let mut months: BTreeMap<&str, PerKind<VecDeque<Arc<Stretch>>>> = BTreeMap::new();
        let mut finder = Finder::open(self.topics)?;
        // A month that was begun goes on before sinks are brought up from what the state holds: another snapshot would give it up.
        let begun = State::look(&self.request.state)?.manifest().begun.is_some() && due.0.iter().any(|due| !due.news.is_empty());
        // All that is to be applied is looked at before any of it is: a month must not be left out because its records have expired.
        for due in &due.0 {
            let held = due.held.into_iter().filter(|_| due.news.is_empty() && !begun).map(|attempt| (attempt, must));
            for (attempt, must) in due.news.iter().map(|attempt| (*attempt, true)).chain(held) {
                let stretch = match finder.stretch(attempt) {
                    Err(error) if !must => {
                        tracing::debug!("{error:#}");
                        continue;
                    }
                    stretch => Arc::new(stretch?),
                };
                months.entry(&attempt.month).or_insert_with(|| PerKind::from_fn(|_| VecDeque::new()))[attempt.kind].push_back(stretch);
            }
        }
        drop(finder);
        for (month, mut kinds) in months {
            // Of a kind that was published twice with different content, the second goes into an epoch of its own.
            while kinds.0.iter().any(|stretches| !stretches.is_empty()) {
                let files = PerKind::from_fn(|kind| kinds[kind].pop_front().map(file));
                let reached: Vec<_> =
                    files.iter().filter_map(|(kind, file)| Some((kind, attempt(file.as_ref()?)?.reached().offsets))).collect();
                let one = self.snapshot(Snapshot { month: month.to_owned(), files })?;
                if !one.report.kinds.is_empty() {
                    tracing::info!("{month} was applied from {}.*", self.topics.prefix);
                    (self.applied)(one)?;
                } else if std::mem::take(&mut idle) {
                    (self.applied)(one)?;
                }
                self.note(&reached)?;
            }
        }
        Ok(())
    }

    pub(super) fn snapshot(&mut self, snapshot: Snapshot) -> Result<Refreshed> {
        let progress = Arc::new(self.request.progress.another());
        let request = &Request { progress, ..self.request.clone() };
        request.measures.begin();
        let begun = Instant::now();
        refresh_to(request, begun, snapshot, State::open(&request.state)?, || (self.open)())
    }

    /// Notes on the broker how far the state has come: only for tools that show lag, as the state itself knows.
    pub(super) fn note(&self, reached: &[(Kind, Vec<i64>)]) -> Result<()> {
        let group = format!("discodiff.{}", State::look(&self.request.state)?.manifest().state);
        if let Err(error) = commit(self.topics, &group, reached) {
            tracing::warn!("the positions of the group {group} could not be noted: {error:#}");
        }
        Ok(())
    }
}

pub(super) fn file(stretch: Arc<Stretch>) -> DumpFile {
    let Attempt { kind, file, bytes, snapshot, .. } = stretch.attempt.clone();
    DumpFile {
        kind,
        place: Place::Topic(stretch),
        name: file,
        bytes,
        sha256: snapshot,
        unproven: None,
        stamp: String::new(),
        checksum_agrees: None,
    }
}

fn attempt(file: &DumpFile) -> Option<&Attempt> {
    match &file.place {
        Place::Topic(stretch) => Some(&stretch.attempt),
        Place::File(_) | Place::Unmarked(_) => None,
    }
}
