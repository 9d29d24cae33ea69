//! Dead letters, as the stores that keep them give them back.

use super::SinkError;
use crate::model::{Kind, PerKind, Stage};

/// One dead letter without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Kind of the dump that the record stood in.
    pub kind: Kind,
    /// Its id, where that is known.
    pub id: Option<String>,
    /// Name of the dump file, or of a topic that another program fills.
    pub file: String,
    /// As stored; see [`Letter::offset`].
    pub position: u64,
    /// Where it was rejected: the name of a [`Stage`].
    pub stage: String,
    /// Why, in words.
    pub reason: String,
    /// How many bytes are kept of it.
    pub bytes: u64,
    /// When it was written, in ISO 8601.
    pub at: String,
    /// The epoch that rejected it.
    pub epoch: Since,
    /// The first epoch that rejected a record of this kind and id; without an id, the same as `epoch`.
    pub first: Since,
    /// The epoch from which on it is no longer open.
    pub cleared: Option<u64>,
}

/// An epoch, and the month that was applied in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Since {
    /// Its number.
    pub epoch: u64,
    /// The month, `2025-12`; `None` where the store has no row of it in `snapshots`.
    pub month: Option<String>,
}

impl Letter {
    /// The byte of the decompressed file, or the offset in the topic, at which it begins; `None` where a sink refused a document.
    pub fn offset(&self) -> Option<u64> {
        (self.stage != Stage::Sink.name()).then_some(self.position)
    }
}

/// Which dead letters of a kind are meant.
#[derive(Clone, Copy, Debug)]
pub enum Which<'a> {
    /// Those that are open, oldest first.
    Open,
    /// All, oldest first.
    All,
    /// All of a record, newest first.
    Of(u64),
    /// All at a position of a file, newest first.
    At(&'a str, u64),
}

/// What a letter is joined to in SQL: its month as `s`, and the first epoch with a letter of the same record as `f`.
pub const MONTHS: &str = "LEFT JOIN snapshots s ON s.kind = d.kind AND s.epoch = d.epoch
    LEFT JOIN snapshots f ON f.kind = d.kind
    AND f.epoch = coalesce((SELECT min(epoch) FROM dead_letters WHERE kind = d.kind AND id = d.id), d.epoch)";

/// What was being done, in errors of who asks a store for its letters.
pub const READING: &str = "reading table dead_letters";

/// Clears what an epoch has made obsolete of earlier epochs' letters: all of a kind that was read whole, else those of which it has a
/// newer letter, or noted a change. Without an id it is the same bytes at the same place: a topic has an offset once a partition.
/// ?1: the epoch, ?2: the kind's name, ?3: whether it was read whole.
pub const CLEAR: &str = "UPDATE dead_letters SET cleared_epoch = ?1 WHERE kind = ?2 AND epoch < ?1 AND cleared_epoch IS NULL AND (
    ?3 OR EXISTS (SELECT 1 FROM dead_letters n WHERE n.kind = ?2 AND n.epoch = ?1 AND n.id = dead_letters.id)
    OR EXISTS (SELECT 1 FROM dead_letters n
               WHERE n.kind = ?2 AND n.epoch = ?1 AND n.file = dead_letters.file AND n.position = dead_letters.position
               AND n.raw = dead_letters.raw)
    OR EXISTS (SELECT 1 FROM changes c WHERE c.epoch = ?1 AND c.kind = ?2 AND c.id = dead_letters.id))";

impl Which<'_> {
    /// Which they are in SQL, and in what order. ?3: the record's id, or the file; ?4: the position.
    pub fn rest(&self) -> &'static str {
        match self {
            Which::Open => "AND d.cleared_epoch IS NULL ORDER BY d.epoch, d.file, d.position",
            Which::All => "ORDER BY d.epoch, d.file, d.position",
            Which::Of(_) => "AND d.id = ?3 ORDER BY d.epoch DESC, d.position",
            Which::At(..) => "AND d.file = ?3 AND d.position = ?4 ORDER BY d.epoch DESC",
        }
    }
}

/// How many dead letters of a kind there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LetterCount {
    /// Open ones.
    pub open: u64,
    /// Those that are cleared.
    pub cleared: u64,
}

/// Reading back what a store holds of rejected records. A store that no run has written holds none.
pub trait DeadLetters {
    /// How many there are of each kind.
    fn count(&mut self) -> Result<PerKind<LetterCount>, SinkError>;

    /// At most so many of a kind, without their bytes.
    fn letters(&mut self, kind: Kind, which: Which<'_>, limit: usize) -> Result<Vec<Letter>, SinkError>;

    /// The bytes of one, 64 MiB at most; `None` where it is there no more.
    fn raw(&mut self, letter: &Letter) -> Result<Option<Vec<u8>>, SinkError>;
}
