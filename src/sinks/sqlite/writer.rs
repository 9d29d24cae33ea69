//! Writing batches into the file.

use std::collections::BTreeMap;

use roaring::RoaringTreemap;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use serde_json::value::RawValue;

use super::error::failed;
use super::{Journal, now};
use crate::model::{DeadLetter, Kind, Verdict};
use crate::sinks::tables::{self, Task};
use crate::sinks::{Batch, Need, Run, SinkError, Tally, Writer, Written};

/// Pages of the log after which it is folded into the file: some 80 MB, or 40 in older files, whose pages are half as large: five to ten
/// full batches. SQLite's own 1,000 would fold, and wait for the disk, after every one or two; far more makes readers slower, which look a
/// page up in the log first.
const CHECKPOINT_PAGES: i64 = 10_000;

/// SQLite's page cache in KiB: keeps the inner pages of all indexes of a whole catalogue, and is small beside what a run takes anyway.
const CACHE_KIB: i64 = 65_536;

/// More statements than a batch of all kinds prepares.
const STATEMENTS: usize = 32;

/// The one writer of a SQLite file.
pub(super) struct SqliteWriter {
    connection: Connection,
    place: String,
    run: Run,
    number: i64,
    /// What the batch came to whose commit was tried last.
    tried: Option<(u64, Written)>,
    /// Whether there was no row for the task before: then there is likely none for the next, which is tried first.
    missing: bool,
}

impl SqliteWriter {
    /// A writer of the run with this number.
    pub(super) fn new(connection: Connection, journal: Journal, place: String, run: Run, number: i64) -> Result<SqliteWriter, SinkError> {
        let tune = || {
            journal.set(&connection)?;
            connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
            connection.pragma_update(None, "cache_size", -CACHE_KIB)
        };
        tune().map_err(|e| failed(&place, "opening it for writing", e))?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(SqliteWriter { connection, place, run, number, tried: None, missing: false })
    }

    fn transaction(&mut self) -> rusqlite::Result<Transaction<'_>> {
        self.connection.transaction_with_behavior(TransactionBehavior::Immediate)
    }

    /// What the batch came to, where the watermark says that it was committed.
    fn committed(&mut self, batch: &Batch) -> Result<Option<Written>, SinkError> {
        let read = || {
            let mut watermark = self.connection.prepare_cached("SELECT run, batch FROM watermarks WHERE writer = 0")?;
            watermark.query_row([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))).optional()
        };
        let at = read().map_err(|e| failed(&self.place, "reading the watermark", e))?;
        if at != Some((self.number, batch.number.cast_signed())) {
            return Ok(None);
        }
        Ok(self.tried.as_ref().filter(|(number, _)| *number == batch.number).map(|(_, written)| written.clone()))
    }
}

impl Writer for SqliteWriter {
    fn write(&mut self, batch: &Batch, attempt: u32) -> Result<Written, SinkError> {
        if attempt > 0
            && let Some(written) = self.committed(batch)?
        {
            return Ok(written);
        }
        self.tried = None;
        let (place, number, run, mut missing) = (self.place.clone(), self.number, self.run.clone(), self.missing);
        let fail = |e| failed(&place, "writing a batch", e);
        let tx = self.transaction().map_err(fail)?;
        let moved = tx
            .prepare_cached("UPDATE watermarks SET state = ?, epoch = ?, tick = ?, batch = ? WHERE writer = 0 AND run = ?")
            .and_then(|mut statement| {
                let (epoch, tick, batch) = (run.epoch.number.cast_signed(), batch.tick.cast_signed(), batch.number.cast_signed());
                statement.execute(params![run.state.to_string(), epoch, tick, batch, number])
            })
            .map_err(fail)?;
        if moved == 0 {
            return Err(tables::fenced(&place));
        }
        let now = now();
        let mut written = Written::default();
        for changes in batch.changes.chunk_by(|a, b| a.key.kind() == b.key.kind()) {
            let kind = changes[0].key.kind();
            let need = run.kinds[kind].as_ref().map_or(Need::Changes, |kind| kind.need);
            let mut table = Table::prepare(&tx, kind, need).map_err(fail)?;
            for change in changes {
                if let Some(task) = Task::of(&run, change)? {
                    table
                        .apply(&run, &task, &now, &mut written, &mut missing)
                        .map_err(|e| failed(&place, &format!("writing {}", change.key), e))?;
                }
            }
        }
        for letter in &batch.dead_letters {
            bury(&tx, &run, letter, &now).map_err(fail)?;
        }
        let result = tx.commit().map_err(fail);
        (self.tried, self.missing) = (Some((batch.number, written.clone())), missing);
        result.map(|()| written)
    }

    fn stored_ids(&mut self, kind: Kind) -> Result<(RoaringTreemap, u64), SinkError> {
        let (place, number) = (self.place.clone(), self.number);
        let tx = self.transaction().map_err(|e| failed(&place, "reading ids", e))?;
        let read = || {
            let run: i64 = tx.query_row("SELECT run FROM watermarks WHERE writer = 0", [], |row| row.get(0))?;
            let (mut ids, mut junk) = (RoaringTreemap::new(), Vec::new());
            let mut statement = tx.prepare(&format!("SELECT data_id, rowid FROM {}", kind.plural()))?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                match row.get_ref(0)?.as_str().ok().and_then(|text| tables::id_of(kind, text)) {
                    Some(id) => drop(ids.insert(id)),
                    None => junk.push(row.get::<_, i64>(1)?),
                }
            }
            if run == number {
                let mut delete = tx.prepare(&format!("DELETE FROM {} WHERE rowid = ?", kind.plural()))?;
                for rowid in &junk {
                    delete.execute([rowid])?;
                }
            }
            Ok((run, ids, junk.len() as u64))
        };
        let (run, ids, junk) = read().map_err(|e| failed(&place, "reading ids", e))?;
        if run != number {
            return Err(tables::fenced(&place));
        }
        tx.commit().map_err(|e| failed(&place, "reading ids", e))?;
        Ok((ids, junk))
    }
}

/// The statements for one kind in one transaction.
struct Table<'t> {
    kind: Kind,
    insert: CachedStatement<'t>,
    select: CachedStatement<'t>,
    upsert: CachedStatement<'t>,
    delete: CachedStatement<'t>,
    note: CachedStatement<'t>,
    noted: CachedStatement<'t>,
}

impl<'t> Table<'t> {
    fn prepare(tx: &'t Transaction<'_>, kind: Kind, need: Need) -> rusqlite::Result<Table<'t>> {
        let table = kind.plural();
        // In a store that is repaired the hash may be right and the document not.
        let differs = if need == Need::Repair { "true" } else { "hash <> excluded.hash" };
        Ok(Table {
            kind,
            insert: tx.prepare_cached(&format!(
                "INSERT INTO {table} (data_id, hash, data, updated_at) VALUES (?, ?, ?, ?) ON CONFLICT (data_id) DO NOTHING"
            ))?,
            select: tx.prepare_cached(&format!("SELECT hash, data FROM {table} WHERE data_id = ?"))?,
            upsert: tx.prepare_cached(&format!(
                "INSERT INTO {table} (data_id, hash, data, updated_at) VALUES (?, ?, ?, ?) ON CONFLICT (data_id) DO UPDATE
                 SET hash = excluded.hash, data = excluded.data, updated_at = excluded.updated_at WHERE {differs}"
            ))?,
            delete: tx.prepare_cached(&format!("DELETE FROM {table} WHERE data_id = ?"))?,
            note: tx.prepare_cached(
                "INSERT INTO changes (epoch, kind, id, op, fields, at) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (epoch, kind, id) DO NOTHING",
            )?,
            noted: tx.prepare_cached("SELECT fields FROM changes WHERE epoch = ? AND kind = ? AND id = ?")?,
        })
    }

    fn apply(&mut self, run: &Run, task: &Task<'_>, now: &str, written: &mut Written, missing: &mut bool) -> rusqlite::Result<()> {
        let id = task.key.id().to_string();
        let hash = task.document.map(|(digest, _)| digest.to_string());
        let epoch = run.epoch.number.cast_signed();
        let new = match task.need {
            Need::Changes => task.verdict == Verdict::Insert,
            Need::Everything => *missing,
            Need::Repair => false,
        };
        if let (true, Some((_, json))) = (new, task.document)
            && self.insert.execute(params![id, hash, json, now])? > 0
        {
            let op = op(task, false, false).map(Verdict::name);
            self.note.execute(params![epoch, self.kind.name(), id, op, None::<&str>, now])?;
            written.tally.inserted += 1;
            return Ok(());
        }
        let (present, op, fields) = {
            let mut rows = self.select.query([&id])?;
            let old = rows.next()?;
            let present = old.is_some();
            *missing = !present;
            let same = match old {
                Some(_) if task.need == Need::Repair => false,
                Some(row) => hash.is_some() && row.get_ref(0)?.as_str().ok() == hash.as_deref(),
                None => task.document.is_none(),
            };
            let op = op(task, present, same);
            let fields = match (old, task.document) {
                (Some(row), Some((_, new))) if op == Some(Verdict::Update) => Some(differing(row.get_ref(1)?.as_str().unwrap_or(""), new)),
                _ => None,
            };
            if same && op.is_none() {
                return Ok(());
            }
            (present, op, fields)
        };
        if let Some(op) = op {
            let json = fields.as_ref().and_then(|fields| serde_json::to_string(fields).ok());
            let new = self.note.execute(params![epoch, self.kind.name(), id, op.name(), json, now])? > 0;
            if run.want_fields && task.gives_fields() {
                let fields = if new { fields.unwrap_or_default() } else { self.noted_fields(epoch, &id)? };
                written.fields.push((task.key, fields));
            }
        }
        let Tally { inserted, updated, deleted } = &mut written.tally;
        match (task.document, hash) {
            (Some((_, json)), Some(hash)) => {
                let count = if present { updated } else { inserted };
                *count += self.upsert.execute(params![id, hash, json, now])? as u64;
            }
            _ => *deleted += self.delete.execute([&id])? as u64,
        }
        Ok(())
    }

    /// The fields that were noted when this epoch was applied for the first time.
    fn noted_fields(&mut self, epoch: i64, id: &str) -> rusqlite::Result<Vec<String>> {
        let json: Option<String> = self.noted.query_row(params![epoch, self.kind.name(), id], |row| row.get(0)).optional()?.flatten();
        Ok(json.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default())
    }
}

/// What `changes` says of the task; `same`: the row already is as it shall be.
fn op(task: &Task<'_>, present: bool, same: bool) -> Option<Verdict> {
    match (task.need, task.verdict) {
        (Need::Changes, verdict) => Some(verdict),
        (Need::Everything | Need::Repair, _) if same => None,
        (Need::Everything | Need::Repair, Verdict::Unchanged) => Some(if present { Verdict::Update } else { Verdict::Insert }),
        (Need::Everything | Need::Repair, verdict) => Some(verdict),
    }
}

/// The top-level fields in which two documents differ, sorted. Canonical texts are compared as they stand.
fn differing(old: &str, new: &str) -> Vec<String> {
    let parse = |text| serde_json::from_str::<BTreeMap<String, &RawValue>>(text).unwrap_or_default();
    let (mut old, new) = (parse(old), parse(new));
    let mut fields: Vec<String> = Vec::new();
    for (field, value) in new {
        if old.remove(&field).is_none_or(|before| before.get() != value.get()) {
            fields.push(field);
        }
    }
    fields.extend(old.into_keys());
    fields.sort_unstable();
    fields
}

fn bury(tx: &Transaction<'_>, run: &Run, letter: &DeadLetter, now: &str) -> rusqlite::Result<()> {
    let DeadLetter { kind, id, file, position, stage, reason, raw, .. } = letter;
    let mut statement = tx.prepare_cached(
        "INSERT INTO dead_letters (epoch, kind, id, file, position, stage, reason, raw, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (epoch, kind, file, position) DO NOTHING",
    )?;
    let (epoch, id, position) = (run.epoch.number.cast_signed(), id.map(|id| id.to_string()), position.cast_signed());
    statement.execute(params![epoch, kind.name(), id, &**file, position, stage.name(), reason, raw, now])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_those_that_were_added_removed_or_changed() {
        let old = r#"{"id":"1","name":"A","urls":["x"],"b":1}"#;
        let new = r#"{"id":"1","name":"B","profile":"p","b":1}"#;
        assert_eq!(differing(old, new), ["name", "profile", "urls"]);
        assert_eq!(differing(new, new), [""; 0]);
        assert_eq!(differing("no json", r#"{"b":1,"a":2}"#), ["a", "b"]);
    }
}
