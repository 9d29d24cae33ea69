//! Rows that are already made, for bare clients of document stores: what the product itself wrote into a SQLite file.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::sides::refresh;

/// Rows of a batch, and bytes of its documents: the product's.
const BATCH_ROWS: usize = 5_000;
const BATCH_BYTES: usize = 8 << 20;

/// The tables, and what `changes` calls their kinds.
pub const KINDS: [(&str, &str); 4] = [("artists", "artist"), ("labels", "label"), ("masters", "master"), ("releases", "release")];

/// What a month makes of one key.
pub struct Made {
    /// The key.
    pub id: String,
    /// The row; `None`: there is to be none.
    pub row: Option<(String, String)>,
    /// What `changes` says of it.
    pub op: String,
    /// Likewise, of an update.
    pub fields: Option<String>,
}

/// Rows of one transaction, all of one kind.
pub struct Batch {
    /// Of [`KINDS`].
    pub kind: usize,
    /// In the order in which the product writes.
    pub rows: Vec<Made>,
}

/// What a first load and a refresh write.
pub struct Rows {
    /// Of the first month.
    pub first: Vec<Batch>,
    /// Of the second.
    pub second: Vec<Batch>,
}

impl Rows {
    /// Has the product write both months into a file, and reads that.
    pub fn of(months: &[PathBuf; 2], folder: &Path) -> Rows {
        let file = folder.join("made.sqlite");
        let [first, second] = [(1, &months[0]), (2, &months[1])].map(|(epoch, month)| {
            refresh(month, &folder.join("made"), &["--sqlite", file.to_str().expect("a path")]);
            batches(&Connection::open(&file).expect("opened"), epoch)
        });
        Rows { first, second }
    }
}

/// How many rows some batches hold.
pub fn count(batches: &[Batch]) -> f64 {
    batches.iter().map(|batch| batch.rows.len()).sum::<usize>() as f64
}

fn batches(file: &Connection, epoch: u32) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    for (kind, (table, name)) in KINDS.into_iter().enumerate() {
        let sql = format!(
            "SELECT c.id, t.hash, t.data, c.op, c.fields FROM changes c LEFT JOIN {table} t ON t.data_id = c.id
             WHERE c.epoch = ? AND c.kind = ? ORDER BY c.op = 'delete', CAST(c.id AS INTEGER)"
        );
        let mut statement = file.prepare(&sql).expect("prepared");
        let mut rows = statement.query((epoch, name)).expect("asked");
        let mut bytes = usize::MAX;
        while let Some(row) = rows.next().expect("read") {
            let text = |at| row.get::<_, Option<String>>(at).expect("a text");
            let made = Made { id: text(0).expect("an id"), row: text(1).zip(text(2)), op: text(3).expect("an op"), fields: text(4) };
            if bytes >= BATCH_BYTES || batches.last().is_none_or(|batch| batch.rows.len() >= BATCH_ROWS) {
                batches.push(Batch { kind, rows: Vec::new() });
                bytes = 0;
            }
            bytes += made.row.as_ref().map_or(0, |(_, data)| data.len());
            batches.last_mut().expect("one").rows.push(made);
        }
    }
    batches
}
