//! The statements of one batch: rows for a table that was empty are copied into it as they are; all others are staged by binary COPY and
//! merged from there, kind by kind.
//!
//! ```text
//!   COPY --> artists, labels, ... and changes: of a kind whose table was empty when the run began
//!
//!   COPY --> staged (temporary, one a connection) --+-- note:   what `changes` says of it, read before anything is replaced
//!                                                   +-- upsert: rows that are missing or whose hash differs
//!                                                   +-- delete
//! ```
//!
//! For a store that is brought up, documents are staged as text, so that one that is there already is never turned into jsonb; for a
//! current store, in which nearly every one is new or changed, as jsonb, which is then made once only. The lookups by key are written as lateral
//! subqueries, and [`SESSION`] forbids plans that would read a whole table: the planner knows nothing of a temporary table that was
//! just filled, and would at some sizes rather scan millions of rows than look up thousands.

use std::fmt::Write as _;

use bytes::{BufMut, Bytes, BytesMut};

use crate::model::{Kind, Verdict};
use crate::sinks::tables::Task;
use crate::sinks::{Class, Need, SinkError};

/// What a writer's connection is set to. JIT would compile a plan whose forbidden parts make it look dear; the state relies on
/// every answered commit, so a server that answers before it has written is told not to.
pub(super) const SESSION: &str = "
    SET enable_seqscan = off;
    SET enable_hashjoin = off;
    SET enable_mergejoin = off;
    SET jit = off;
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
    CREATE TEMPORARY TABLE IF NOT EXISTS discodiff_staged (kind smallint NOT NULL, data_id text NOT NULL, hash text, data text, doc jsonb, op text)
    ON COMMIT DELETE ROWS;
    ALTER TABLE pg_temp.discodiff_staged ALTER COLUMN data SET STORAGE EXTERNAL, ALTER COLUMN doc SET STORAGE EXTERNAL";

/// Fills the staging table.
pub(super) const COPY: &str = "COPY pg_temp.discodiff_staged (kind, data_id, hash, data, doc, op) FROM STDIN (FORMAT binary)";

/// Bytes of COPY data handed over at a time: large enough that the cost a message vanishes, small beside a batch.
const CHUNK: usize = 128 * 1024;

/// The staged document.
const fn document(need: Need) -> &'static str {
    match need {
        Need::Changes | Need::Repair => "s.doc",
        Need::Everything => "s.data::jsonb",
    }
}

/// Writes `changes`. $1: epoch, $2: the kind's name, $3: the kind's number.
pub(super) fn note(kind: Kind, need: Need) -> String {
    const OP: &str = "coalesce(s.op, CASE WHEN t.hash IS NULL THEN 'insert' ELSE 'update' END)";
    let (op, wanted) = match need {
        Need::Changes => ("s.op", "s.op IS NOT NULL"),
        Need::Everything => (OP, "CASE WHEN s.hash IS NULL THEN t.hash IS NOT NULL ELSE t.hash IS DISTINCT FROM s.hash END"),
        Need::Repair => (OP, "(s.hash IS NOT NULL OR t.hash IS NOT NULL)"),
    };
    format!(
        "INSERT INTO changes (epoch, kind, id, op, fields, at)
         SELECT $1::bigint, $2::text, s.data_id, {op}, CASE WHEN {op} = 'update' AND t.hash IS NOT NULL THEN {differing} END, now()
         FROM pg_temp.discodiff_staged s
         LEFT JOIN LATERAL (SELECT hash, data FROM {table} WHERE data_id = s.data_id OFFSET 0) t ON true
         WHERE s.kind = $3::smallint AND {wanted}
         ON CONFLICT (epoch, kind, id) DO NOTHING",
        table = kind.plural(),
        differing = differing(need)
    )
}

/// Top-level fields in which two documents differ, sorted by bytes. Of four ways that were measured none is faster; it is about
/// a third of the cost of an update.
fn differing(need: Need) -> String {
    format!(
        "(SELECT coalesce(jsonb_agg(key ORDER BY key COLLATE \"C\"), '[]')
          FROM jsonb_each(t.data) o FULL JOIN jsonb_each({}) n USING (key) WHERE o.value IS DISTINCT FROM n.value)",
        document(need)
    )
}

/// Writes rows that are missing or differ, and gives the numbers of inserted and updated ones. $1: the kind's number.
pub(super) fn upsert(kind: Kind, need: Need) -> String {
    // In a store that is repaired the hash may be right and the document not.
    let (differs, still_differs) = match need {
        Need::Repair => ("true".to_owned(), "true".to_owned()),
        Need::Changes | Need::Everything => {
            ("t.hash IS DISTINCT FROM s.hash".to_owned(), format!("{}.hash <> excluded.hash", kind.plural()))
        }
    };
    format!(
        "WITH written AS (
             INSERT INTO {table} (data_id, hash, data, updated_at)
             SELECT s.data_id, s.hash, {document}, now()
             FROM pg_temp.discodiff_staged s
             LEFT JOIN LATERAL (SELECT hash FROM {table} WHERE data_id = s.data_id OFFSET 0) t ON true
             WHERE s.kind = $1::smallint AND s.hash IS NOT NULL AND {differs}
             ON CONFLICT (data_id) DO UPDATE SET hash = excluded.hash, data = excluded.data, updated_at = excluded.updated_at
             WHERE {still_differs}
             RETURNING xmax = 0 AS fresh
         )
         SELECT count(*) FILTER (WHERE fresh), count(*) FILTER (WHERE NOT fresh) FROM written",
        table = kind.plural(),
        document = document(need)
    )
}

/// Deletes rows. $1: the kind's number.
pub(super) fn delete(kind: Kind) -> String {
    format!(
        "DELETE FROM {table} t USING pg_temp.discodiff_staged s WHERE s.kind = $1::smallint AND s.hash IS NULL AND t.data_id = s.data_id",
        table = kind.plural()
    )
}

/// Fills a kind's table, which had no rows when the run began: a third less work for the server than staging and merging. Where a row is
/// there after all, it fails with a unique violation.
pub(super) fn copy_documents(kind: Kind) -> String {
    format!("COPY {} (data_id, hash, data, updated_at) FROM STDIN (FORMAT binary)", kind.plural())
}

/// Says of such rows that they were inserted.
pub(super) const COPY_CHANGES: &str = "COPY changes (epoch, kind, id, op, fields, at) FROM STDIN (FORMAT binary)";

/// Encodes rows for COPY in PostgreSQL's binary format.
pub(super) struct Rows {
    buffer: BytesMut,
    text: String,
    /// Rows encoded.
    pub(super) number: u64,
}

impl Rows {
    /// The format's header.
    pub(super) fn new() -> Rows {
        let mut buffer = BytesMut::with_capacity(CHUNK * 2);
        buffer.put_slice(b"PGCOPY\n\xff\r\n\0");
        buffer.put_u32(0); // flags
        buffer.put_u32(0); // length of the header's extension
        Rows { buffer, text: String::new(), number: 0 }
    }

    /// A row of [`COPY`].
    pub(super) fn stage(&mut self, task: &Task<'_>) -> Result<(), SinkError> {
        self.begin(6);
        self.buffer.put_i32(2);
        self.buffer.put_i16(number(task.key.kind()));
        self.shown(task.key.id())?;
        match task.document {
            Some((digest, json)) => {
                self.shown(digest)?;
                let (data, doc) = if task.need == Need::Everything { (Some(json), None) } else { (None, Some(json)) };
                put(&mut self.buffer, b"", data)?;
                put(&mut self.buffer, JSONB_VERSION, doc)?;
            }
            None => [b"", b"", b""].into_iter().try_for_each(|prefix| put(&mut self.buffer, prefix, None))?,
        }
        put(&mut self.buffer, b"", (task.verdict != Verdict::Unchanged).then(|| task.verdict.name()))
    }

    /// A row of [`copy_documents`]. `at`: the transaction's time as PostgreSQL counts it.
    pub(super) fn document(&mut self, task: &Task<'_>, at: i64) -> Result<(), SinkError> {
        let Some((digest, json)) = task.document else { return Ok(()) };
        self.begin(4);
        self.shown(task.key.id())?;
        self.shown(digest)?;
        put(&mut self.buffer, JSONB_VERSION, Some(json))?;
        self.number_of_eight_bytes(at);
        Ok(())
    }

    /// A row of [`COPY_CHANGES`]: of a row that was not there, whatever the state says of its key.
    pub(super) fn change(&mut self, task: &Task<'_>, epoch: i64, at: i64) -> Result<(), SinkError> {
        let op = if task.verdict == Verdict::Unchanged { Verdict::Insert } else { task.verdict };
        self.begin(6);
        self.number_of_eight_bytes(epoch);
        put(&mut self.buffer, b"", Some(task.key.kind().name()))?;
        self.shown(task.key.id())?;
        put(&mut self.buffer, b"", Some(op.name()))?;
        put(&mut self.buffer, b"", None)?;
        self.number_of_eight_bytes(at);
        Ok(())
    }

    /// What was encoded, when it is enough for a message.
    pub(super) fn chunk(&mut self) -> Option<Bytes> {
        (self.buffer.len() >= CHUNK).then(|| self.buffer.split().freeze())
    }

    /// The last chunk, with the format's end.
    pub(super) fn end(mut self) -> Bytes {
        self.buffer.put_i16(-1);
        self.buffer.freeze()
    }

    fn begin(&mut self, columns: i16) {
        self.buffer.put_i16(columns);
        self.number += 1;
    }

    fn number_of_eight_bytes(&mut self, number: i64) {
        self.buffer.put_i32(8);
        self.buffer.put_i64(number);
    }

    fn shown(&mut self, value: impl std::fmt::Display) -> Result<(), SinkError> {
        self.text.clear();
        // writing to a String does not fail
        let _ = write!(self.text, "{value}");
        put(&mut self.buffer, b"", Some(&self.text))
    }
}

/// The kind's number in the staging table.
pub(super) fn number(kind: Kind) -> i16 {
    kind as i16
}

/// What stands before the text of a jsonb in binary form.
const JSONB_VERSION: &[u8] = &[1];

/// One field: its length and bytes, or the length that says that there is none.
fn put(buffer: &mut BytesMut, prefix: &[u8], text: Option<&str>) -> Result<(), SinkError> {
    let Some(text) = text else {
        buffer.put_i32(-1);
        return Ok(());
    };
    let length = i32::try_from(prefix.len() + text.len()).map_err(|e| SinkError::new(Class::Reject, "a document of more than 2 GB", e))?;
    buffer.put_i32(length);
    buffer.put_slice(prefix);
    buffer.put_slice(text.as_bytes());
    Ok(())
}
