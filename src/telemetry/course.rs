//! Which run this is, what it is at, and what it stands on: what metrics, health and log lines say of a run as a whole.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use super::stages::locked;
use crate::model::{Kind, PerKind};
use crate::state::{Manifest, Storage};

/// What a run is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing was begun.
    Starting,
    /// Dumps are fetched.
    Fetching,
    /// The sha256 of the dumps are taken, or topics are looked through.
    Identifying,
    /// State and sinks are opened, and asked how they stand.
    Opening,
    /// Records are read, compared and written.
    Reading,
    /// Sinks complete the month, and the next generation is put in place.
    Completing,
    /// Stores are read back and compared with the state.
    Verifying,
    /// Records are published.
    Publishing,
    /// A state is made anew from a store.
    Rebuilding,
    /// The next month is waited for.
    Waiting,
    /// The run is over.
    Ended,
}

impl Phase {
    /// All of them.
    pub const ALL: [Phase; 11] = [
        Phase::Starting,
        Phase::Fetching,
        Phase::Identifying,
        Phase::Opening,
        Phase::Reading,
        Phase::Completing,
        Phase::Verifying,
        Phase::Publishing,
        Phase::Rebuilding,
        Phase::Waiting,
        Phase::Ended,
    ];

    /// As metrics name it.
    pub const fn name(self) -> &'static str {
        match self {
            Phase::Starting => "starting",
            Phase::Fetching => "fetching",
            Phase::Identifying => "identifying",
            Phase::Opening => "opening",
            Phase::Reading => "reading",
            Phase::Completing => "completing",
            Phase::Verifying => "verifying",
            Phase::Publishing => "publishing",
            Phase::Rebuilding => "rebuilding",
            Phase::Waiting => "waiting",
            Phase::Ended => "ended",
        }
    }

    /// Whether a run that has come here has all open that it needs.
    const fn is_ready(self) -> bool {
        !matches!(self, Phase::Starting | Phase::Fetching | Phase::Identifying | Phase::Opening | Phase::Ended)
    }
}

/// What the state holds, as its manifest says.
#[derive(Clone, Debug)]
pub struct Held {
    /// The state's folder, where it is in one.
    pub folder: Option<PathBuf>,
    /// Number of its generation.
    pub generation: u64,
    /// Records of each kind.
    pub records: PerKind<u64>,
    /// Epoch that last changed each kind, and the month that was applied last.
    pub applied: PerKind<Option<(u64, String)>>,
    /// Records that the run that applied each kind could not read, and deletes that it withheld.
    pub left: PerKind<(u64, u64)>,
    /// Bytes of the generation's files.
    pub bytes: u64,
    /// When the generation was written: its files are written once, by the run that applied it. `None`: there is none yet.
    pub written: Option<SystemTime>,
}

/// A run as a whole. Set by the thread that leads it, read by anybody.
#[derive(Debug)]
pub struct Course {
    /// The run's id, which log lines and metrics share.
    pub run: Uuid,
    /// The command.
    pub command: &'static str,
    /// When it was given.
    pub begun: SystemTime,
    phase: AtomicU8,
    ready: AtomicBool,
    epoch: AtomicU64,
    month: Mutex<String>,
    checkpoint: AtomicU64,
    held: Mutex<Option<Held>>,
    differences: Mutex<BTreeMap<&'static str, u64>>,
    lag: Mutex<BTreeMap<(String, usize), u64>>,
    ended: OnceLock<(SystemTime, u8)>,
}

impl Course {
    /// That of a command, which begins now.
    pub fn of(command: &'static str) -> Course {
        Course {
            run: Uuid::new_v4(),
            command,
            begun: SystemTime::now(),
            phase: AtomicU8::new(0),
            ready: AtomicBool::new(false),
            epoch: AtomicU64::new(0),
            month: Mutex::default(),
            checkpoint: AtomicU64::new(0),
            held: Mutex::default(),
            differences: Mutex::default(),
            lag: Mutex::default(),
            ended: OnceLock::new(),
        }
    }

    /// Forgets what was said of a month: another one begins.
    pub(super) fn begin(&self) {
        self.epoch.store(0, Relaxed);
        self.checkpoint.store(0, Relaxed);
        locked(&self.month).clear();
        locked(&self.lag).clear();
    }

    /// The run has come to this.
    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
        if phase.is_ready() {
            self.ready.store(true, Relaxed);
        }
        // Where nothing is read, none is taken.
        if phase != Phase::Reading {
            self.checkpoint.store(0, Relaxed);
        }
    }

    /// What the run is at.
    pub fn phase(&self) -> Phase {
        Phase::ALL[usize::from(self.phase.load(Relaxed)).min(Phase::ALL.len() - 1)]
    }

    /// Whether the run has had all open that it needs, and is not over.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Relaxed) && self.phase() != Phase::Ended
    }

    /// A month is applied in this epoch; of a repair or a command that applies none, no month or epoch 0.
    pub fn applies(&self, epoch: u64, month: &str) {
        self.epoch.store(epoch, Relaxed);
        month.clone_into(&mut locked(&self.month));
    }

    /// Epoch and month that are being applied.
    pub fn applying(&self) -> (u64, String) {
        (self.epoch.load(Relaxed), locked(&self.month).clone())
    }

    /// A checkpoint was taken, or checkpoints begin to be.
    pub fn checkpoint_taken(&self) {
        self.checkpoint.store(milliseconds(SystemTime::now()), Relaxed);
    }

    /// When that was, in milliseconds since 1970; 0: none is taken now.
    pub fn checkpoint_at(&self) -> u64 {
        self.checkpoint.load(Relaxed)
    }

    /// What the state holds now.
    pub fn holds(&self, storage: &Storage, manifest: &Manifest) {
        let files: Vec<_> = manifest.files().collect();
        let (bytes, written) = storage.measure(&files).unwrap_or_else(|error| {
            tracing::debug!("the state's files are not measured: {error}");
            (0, None)
        });
        *locked(&self.held) = Some(Held {
            folder: storage.folder().map(Path::to_owned),
            generation: manifest.generation,
            records: manifest.records(),
            applied: PerKind::from_fn(|kind: Kind| {
                manifest.kinds[kind].as_ref().map(|applied| (applied.epoch.number, applied.month.clone()))
            }),
            left: PerKind::from_fn(|kind| manifest.kinds[kind].as_ref().map_or((0, 0), |of| (of.rejected, of.deletes_withheld))),
            bytes,
            written,
        });
    }

    /// What the state holds; `None`: it was not opened.
    pub fn held(&self) -> Option<Held> {
        locked(&self.held).clone()
    }

    /// So much was found to differ from the state in a sink.
    pub fn differs(&self, sink: &'static str, differences: u64) {
        locked(&self.differences).insert(sink, differences);
    }

    /// What was found to differ, by sink.
    pub fn differences(&self) -> BTreeMap<&'static str, u64> {
        locked(&self.differences).clone()
    }

    /// So many records, markers counted, are still to be read of a partition.
    pub fn lags(&self, topic: &str, partition: usize, records: u64) {
        let mut lag = locked(&self.lag);
        match lag.get_mut(&(topic.to_owned(), partition)) {
            Some(lag) => *lag = records,
            None => {
                lag.insert((topic.to_owned(), partition), records);
            }
        }
    }

    /// What is still to be read, by topic and partition.
    pub fn lag(&self) -> BTreeMap<(String, usize), u64> {
        locked(&self.lag).clone()
    }

    /// The run is over, with this exit status.
    pub fn end(&self, status: u8) {
        self.enter(Phase::Ended);
        let _ = self.ended.set((SystemTime::now(), status));
    }

    /// When it ended, and with which exit status; `None`: it goes on.
    pub fn ended(&self) -> Option<(SystemTime, u8)> {
        self.ended.get().copied()
    }

    /// How long it has been going on, or went on.
    pub fn took(&self) -> Duration {
        let end = self.ended().map_or_else(SystemTime::now, |(end, _)| end);
        end.duration_since(self.begun).unwrap_or_default()
    }
}

/// Milliseconds since 1970.
pub(super) fn milliseconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64)
}
