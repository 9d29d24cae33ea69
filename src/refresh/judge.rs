//! How sinks stand against the state, and what follows for a run: which kinds are read, and what each sink needs of them.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use crate::model::{Kind, PerKind};
use crate::sinks::{Epoch, Holds, Need, Standing};
use crate::sources::Snapshot;
use crate::state::{Begun, Deletes, Manifest};

/// How one sink stands for one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stand {
    /// It holds what the state holds.
    Current,
    /// It holds nothing.
    New,
    /// It holds an earlier epoch, or one of another copy of the state.
    Behind,
    /// It was brought beyond the state by a run of this very snapshot that did not end.
    Ahead,
}

impl Stand {
    /// `current`, `new`, `behind` or `ahead`.
    pub const fn name(self) -> &'static str {
        match self {
            Stand::Current => "current",
            Stand::New => "new",
            Stand::Behind => "behind",
            Stand::Ahead => "ahead",
        }
    }

    fn need(self) -> Need {
        match self {
            Stand::Current | Stand::Ahead => Need::Changes,
            Stand::New | Stand::Behind => Need::Everything,
        }
    }
}

/// Judges one sink, kind by kind. `resumed` is the unfinished epoch that this run takes up again, if any.
pub fn judge(manifest: &Manifest, holds: Holds, standing: &Standing, resumed: Option<Epoch>) -> PerKind<Stand> {
    PerKind::from_fn(|kind| {
        // Where the state does not hold all links, they come with every record.
        if holds == Holds::Graph && standing.kinds[kind].is_some() && !manifest.holds_links(kind) {
            return Stand::Behind;
        }
        // What a run that did not end may have left in it is either written again by this run, or makes it differ from the state.
        let foreign_rest = standing.begun[kind].is_some() && standing.begun[kind] != resumed;
        let state = manifest.kinds[kind].as_ref().map(|applied| applied.epoch);
        match (state, standing.kinds[kind]) {
            (_, Some(store)) if Some(store) == resumed => Stand::Ahead,
            _ if foreign_rest => Stand::Behind,
            (None, None) => Stand::Current,
            (Some(state), Some(store)) if state == store => Stand::Current,
            (_, None) if standing.state.is_none() => Stand::New,
            _ => Stand::Behind,
        }
    })
}

/// Judges a feed that cannot be taken back. It is behind where it holds something of an epoch that the state does not stand on.
pub fn judge_messages(manifest: &Manifest, standing: &Standing, resumed: Option<Epoch>) -> PerKind<Stand> {
    let completed = manifest.completed.map_or(0, |epoch| epoch.number);
    PerKind::from_fn(|kind| match (standing.kinds[kind], standing.begun[kind]) {
        (_, Some(begun)) if Some(begun) != resumed => Stand::Behind,
        (Some(last), _) if Some(last) == resumed => Stand::Ahead,
        // An epoch of another copy of the state, or one that was completed here only.
        (Some(last), _) if last.number > completed => Stand::Behind,
        // What it left out is told by a gap.
        _ => Stand::Current,
    })
}

/// What a run does: decided before anything is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// What is applied.
    pub epoch: Epoch,
    /// Whether an unfinished run of the same snapshot is taken up again.
    pub resumed: bool,
    /// The kinds that are read.
    pub read: PerKind<bool>,
    /// For each sink what it needs of each kind that is read.
    pub needs: Vec<PerKind<Option<Need>>>,
    /// Epochs given up by this run.
    pub abandoned: Vec<u64>,
}

/// What the user allows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allowed {
    /// Deletes that were withheld are taken.
    pub deletes: bool,
    /// A month older than the last applied is applied.
    pub older: bool,
    /// What was applied last is read once more, where some of it was rejected; nothing else is.
    pub retry: bool,
}

/// A sink as it stands at the beginning of a run.
#[derive(Clone, Debug)]
pub struct Member {
    /// What it says about itself.
    pub standing: Standing,
    /// What it holds.
    pub holds: Holds,
}

/// The highest number of an epoch that the state or a sink knows of.
pub fn newest_epoch(manifest: &Manifest, sinks: &[Member]) -> u64 {
    sinks.iter().map(|sink| sink.standing.newest()).fold(manifest.last_epoch, u64::max)
}

/// Decides what a run does; `None`: there is nothing to read.
pub fn plan(manifest: &Manifest, snapshot: &Snapshot, sinks: &[Member], allowed: Allowed, deletes: Deletes) -> Result<Option<Plan>> {
    for (kind, file) in snapshot.files.iter() {
        if let (Some(_), Some(applied)) = (file, &manifest.kinds[kind])
            && applied.month > snapshot.month
            && !allowed.older
            // It takes the dumps that were applied last, which is said below.
            && !allowed.retry
        {
            bail!(
                "these {}s are of {}, and the state holds those of {}: name a newer folder, or say --allow-older to go back",
                kind,
                snapshot.month,
                applied.month
            );
        }
    }
    if allowed.retry && snapshot.files.iter().all(|(kind, file)| file.is_none() || manifest.kinds[kind].is_none()) {
        bail!("the state holds nothing of these dumps: name the state that refresh was given, or run the refresh to its end first");
    }
    for (kind, file) in snapshot.files.iter().filter(|_| allowed.retry) {
        let (Some(file), Some(applied)) = (file, &manifest.kinds[kind]) else { continue };
        if applied.sha256.is_empty() {
            bail!(
                "the {kind}s of the state were made anew from a store that was not as it was written: refresh with the dumps of {} or of a \
                 later month first",
                applied.month
            );
        }
        if file.sha256 != applied.sha256 {
            bail!(
                "{} of {} is not what the state holds of {}s, {} of {}: name the dumps that were applied last; a refresh to others \
                 reads everything of theirs",
                file.name,
                snapshot.month,
                kind,
                applied.file,
                applied.month
            );
        }
    }
    let same = |begun: &&Begun| begun.is_of(snapshot) && begun.deletes == Some(deletes) && begun.retry == allowed.retry;
    let resumed = manifest.begun.as_ref().filter(same).map(|begun| begun.epoch);
    let stands: Vec<_> = sinks
        .iter()
        .map(|sink| match sink.holds {
            Holds::Documents => judge(manifest, sink.holds, &sink.standing, resumed),
            Holds::Graph => {
                let stands = judge(manifest, sink.holds, &sink.standing, resumed);
                // In a first load edges come last, when all nodes are there.
                PerKind::from_fn(|kind| match (stands[kind], &manifest.kinds[kind], &snapshot.files[kind]) {
                    (Stand::Current, None, Some(_)) => Stand::New,
                    (stand, ..) => stand,
                })
            }
            Holds::Changes => PerKind::from_fn(|_| Stand::Current),
            Holds::Messages => judge_messages(manifest, &sink.standing, resumed),
        })
        .collect();
    let read = PerKind::from_fn(|kind| {
        let Some(file) = &snapshot.files[kind] else { return false };
        let Some(applied) = &manifest.kinds[kind] else { return !allowed.retry };
        (allowed.retry && applied.rejected > 0)
            || applied.sha256 != file.sha256
            || applied.defect.is_some()
            || !manifest.digests_are_current()
            || (applied.deletes_withheld > 0 && allowed.deletes)
            || stands.iter().any(|stand| !matches!(stand[kind], Stand::Current))
    });
    if Kind::ALL.iter().all(|kind| !read[*kind]) {
        return Ok(None);
    }
    let needs = stands.iter().map(|stand| PerKind::from_fn(|kind| read[kind].then(|| stand[kind].need()))).collect();
    // A number is used once: not by an epoch that was given up, and not by one that a sink knows from another copy of the state.
    let newest = newest_epoch(manifest, sinks);
    let (epoch, abandoned) = match resumed {
        Some(epoch) => (epoch, Vec::new()),
        None => (Epoch { number: newest + 1, id: crate::state::new_id() }, manifest.begun.iter().map(|begun| begun.epoch.number).collect()),
    };
    Ok(Some(Plan { epoch, resumed: resumed.is_some(), read, needs, abandoned }))
}
