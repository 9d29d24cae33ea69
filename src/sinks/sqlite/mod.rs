//! Documents in one SQLite file: the embedded default.
//!
//! The file is made by [`Sink::begin`], not before, so a refused run leaves nothing behind. While a run writes, it is in WAL mode, so
//! that readers see whole batches and never wait; [`Sink::close`] folds the log back, and the file stands alone. A run that
//! was killed leaves `-wal` and `-shm` beside the file: they belong to it until the next run, or any SQLite program, opens it.
//!
//! A file that holds no records yet is filled with a rollback journal instead (`-journal`), by which new pages are written once and
//! not twice; whoever reads it then may have to wait for a commit.

mod error;
mod letters;
mod rows;
mod writer;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::types::{FromSqlError, FromSqlResult, ValueRef};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params};
use time::OffsetDateTime;
use time::macros::format_description;
use uuid::Uuid;

use super::tables::{self, Applied, Found, MIGRATIONS_TABLE, TABLES};
use super::{Access, Class, DeadLetters, Documents, Epoch, KindEnd, Run, Sink, SinkError, Standing, Writer, Writers};
use crate::disk;
use crate::model::{Kind, PerKind};
use error::{failed, help};

mod embedded {
    refinery::embed_migrations!("src/sinks/sqlite/migrations");
}

/// How long a statement waits for another program that holds the file. A reader that copies a large file holds it for seconds; one
/// that holds it for longer than this is not worth waiting for in silence.
const BUSY: Duration = Duration::from_secs(30);

/// Bytes of a page of files that are made: most documents fit into one, which with SQLite's own 4 KiB have pages of their own beside it.
const PAGE: u32 = 8_192;

/// A SQLite file.
pub struct Sqlite {
    path: PathBuf,
    access: Access,
    place: String,
    connection: Option<Connection>,
    /// The run number, once begun.
    run: Option<i64>,
}

impl Sqlite {
    /// Looks at the file, which need not be there; its folder must be.
    pub fn open(path: &Path, access: Access) -> Result<Sqlite, SinkError> {
        let place = format!("SQLite file {}", path.display());
        let folder = disk::folder_of(path);
        if access == Access::Write && !folder.is_dir() {
            return Err(SinkError::stop(format!("{place}: there is no folder {}; make it first", folder.display())));
        }
        if path.is_dir() {
            return Err(SinkError::stop(format!("{place} is a folder; name a file in it")));
        }
        let mut sqlite = Sqlite { path: path.to_owned(), access, place, connection: None, run: None };
        let place = sqlite.place.clone();
        if let Some(connection) = sqlite.connection()?
            && access == Access::Write
            && connection.is_readonly("main").map_err(|e| failed(&place, "opening", e))?
        {
            return Err(SinkError::stop(format!("{place} cannot be written; make it writable")));
        }
        Ok(sqlite)
    }

    /// The connection; `None` while there is no file.
    fn connection(&mut self) -> Result<Option<&mut Connection>, SinkError> {
        if self.connection.is_none() && self.path.exists() {
            let flags = match self.access {
                Access::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
                Access::Write => OpenFlags::SQLITE_OPEN_READ_WRITE,
            };
            self.connection = Some(connect(&self.path, &self.place, flags)?);
        }
        Ok(self.connection.as_mut())
    }

    /// The connection and the run's number, for what comes after `begin`.
    fn begun(&mut self) -> Result<(&mut Connection, i64), SinkError> {
        match (&mut self.connection, self.run) {
            (Some(connection), Some(run)) => Ok((connection, run)),
            _ => Err(SinkError::stop(format!("{} was not begun", self.place))),
        }
    }
}

/// How a transaction is kept from being torn.
#[derive(Clone, Copy)]
enum Journal {
    /// What pages held before: of new ones, nothing.
    Rollback,
    /// What pages are to hold.
    WriteAhead,
}

impl Journal {
    fn set(self, connection: &Connection) -> rusqlite::Result<()> {
        let mode = match self {
            Journal::Rollback => "TRUNCATE",
            Journal::WriteAhead => "WAL",
        };
        connection.pragma_update(None, "journal_mode", mode)?;
        // FULL: the state relies on every commit that was answered, also after the power failed; it was measured no slower than NORMAL.
        connection.pragma_update(None, "synchronous", "FULL")
    }
}

fn connect(path: &Path, place: &str, flags: OpenFlags) -> Result<Connection, SinkError> {
    let open = || {
        let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(BUSY)?;
        // reads the header, so that a file of another kind is found out here
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(connection)
    };
    open().map_err(|e| failed(place, "opening", e))
}

/// The time in the form of all our columns: ISO 8601, UTC, milliseconds.
fn now() -> String {
    let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    // the description names nothing that a UTC time lacks
    OffsetDateTime::now_utc().format(&form).unwrap_or_default()
}

fn columns(connection: &Connection, table: &str) -> rusqlite::Result<BTreeSet<String>> {
    connection.prepare_cached("SELECT name FROM pragma_table_info(?)")?.query_map([table], |row| row.get(0))?.collect()
}

/// The applied migrations; empty where this file has none of ours.
fn migrations(connection: &Connection) -> rusqlite::Result<Vec<Applied>> {
    if columns(connection, MIGRATIONS_TABLE)?.is_empty() {
        return Ok(Vec::new());
    }
    connection
        .prepare(&format!("SELECT version, applied_on, checksum FROM {MIGRATIONS_TABLE}"))?
        .query_map([], |row| Ok(Applied { version: row.get(0)?, applied_on: row.get(1)?, checksum: row.get(2)? }))?
        .collect()
}

/// What is there under our names.
fn found(connection: &Connection) -> rusqlite::Result<Vec<Found>> {
    let mut found = Vec::new();
    for (table, _) in TABLES {
        let columns = columns(connection, table)?;
        if !columns.is_empty() {
            let rows = connection.query_row(&format!("SELECT EXISTS (SELECT 1 FROM \"{table}\")"), [], |row| row.get(0))?;
            found.push(Found { table, columns, rows });
        }
    }
    Ok(found)
}

fn uuid(value: ValueRef<'_>) -> FromSqlResult<Uuid> {
    Uuid::parse_str(value.as_str()?).map_err(|e| FromSqlError::Other(Box::new(e)))
}

fn epoch(number: i64, id: ValueRef<'_>) -> rusqlite::Result<Epoch> {
    Ok(Epoch { number: number.cast_unsigned(), id: uuid(id)? })
}

/// What the file says about itself, once it is bound.
fn read_standing(connection: &Connection) -> rusqlite::Result<Option<Standing>> {
    let bound = connection
        .query_row("SELECT state, store FROM binding", [], |row| Ok((uuid(row.get_ref(0)?)?, uuid(row.get_ref(1)?)?)))
        .optional()?;
    let Some((state, store)) = bound else { return Ok(None) };
    let mut standing = Standing { state: Some(state), store: Some(store), kinds: PerKind::default(), begun: PerKind::default() };
    let mut statement = connection.prepare("SELECT kind, begun_epoch, begun_id, epoch, id FROM applied")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if let Some(kind) = Kind::from_name(row.get_ref(0)?.as_str()?) {
            let begun = Some(epoch(row.get(1)?, row.get_ref(2)?)?);
            standing.kinds[kind] = row.get::<_, Option<i64>>(3)?.map(|number| epoch(number, row.get_ref(4)?)).transpose()?;
            standing.begun[kind] = begun.filter(|_| begun != standing.kinds[kind]);
        }
    }
    Ok(Some(standing))
}

/// Binds the file, raises its run number and notes what is begun.
fn bind(tx: &Transaction<'_>, run: &Run) -> rusqlite::Result<i64> {
    let (now, epoch, id) = (now(), run.epoch.number.cast_signed(), run.epoch.id.to_string());
    let state = run.state.to_string();
    let number: i64 = tx.query_row(
        "INSERT INTO binding (one, state, store, run) VALUES (1, ?1, ?2, 1) ON CONFLICT (one) DO UPDATE SET run = run + 1 RETURNING run",
        params![state, Uuid::new_v4().to_string()],
        |row| row.get(0),
    )?;
    tx.execute("UPDATE watermarks SET run = ?1, batch = 0", [number])?;
    tx.execute(
        "INSERT INTO watermarks (writer, state, run, epoch, tick, batch) VALUES (0, ?1, ?2, ?3, 0, 0) ON CONFLICT (writer) DO NOTHING",
        params![state, number, epoch],
    )?;
    // a kind of which another epoch was begun and never completed holds some of that: it is behind, whatever was applied before
    tx.execute("UPDATE applied SET epoch = NULL, id = NULL WHERE begun_id <> ?1 AND (begun_epoch, begun_id) IS NOT (epoch, id)", [&id])?;
    for (kind, read) in run.kinds.iter().filter_map(|(kind, read)| Some((kind, read.as_ref()?))) {
        tx.execute(
            "INSERT INTO snapshots (epoch, kind, month, file, sha256, begun_at) VALUES (?, ?, ?, ?, ?, ?)
             ON CONFLICT (epoch, kind) DO UPDATE
             SET month = excluded.month, file = excluded.file, sha256 = excluded.sha256, completed_at = NULL, abandoned = 0",
            params![epoch, kind.name(), read.month, read.file, read.sha256, now],
        )?;
        tx.execute(
            "INSERT INTO applied (kind, begun_epoch, begun_id) VALUES (?, ?, ?)
             ON CONFLICT (kind) DO UPDATE SET begun_epoch = excluded.begun_epoch, begun_id = excluded.begun_id",
            params![kind.name(), epoch, id],
        )?;
    }
    for abandoned in &run.abandoned {
        tx.execute("UPDATE snapshots SET abandoned = 1 WHERE epoch = ? AND completed_at IS NULL", [abandoned.cast_signed()])?;
    }
    Ok(number)
}

fn end(tx: &Transaction<'_>, run: &Run, kind: Kind, end: &KindEnd) -> rusqlite::Result<()> {
    let epoch = run.epoch.number.cast_signed();
    tx.execute(
        "UPDATE snapshots SET sha256 = ?, completed_at = ?, records = ?, deletes_withheld = ?, rejected = ? WHERE epoch = ? AND kind = ?",
        params![
            run.sha256(kind),
            now(),
            end.records.cast_signed(),
            end.deletes_withheld.cast_signed(),
            end.rejected.cast_signed(),
            epoch,
            kind.name()
        ],
    )?;
    letters::clear(tx, run, kind, end)?;
    if end.current {
        let sql = "UPDATE applied SET epoch = ?1, id = ?2, begun_epoch = ?1, begun_id = ?2 WHERE kind = ?3 AND begun_id = ?4";
        tx.execute(sql, params![end.epoch.number.cast_signed(), end.epoch.id.to_string(), kind.name(), run.epoch.id.to_string()])?;
    }
    Ok(())
}

impl Sink for Sqlite {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn place(&self) -> String {
        self.place.clone()
    }

    fn is_there(&self) -> bool {
        self.path.exists()
    }

    fn standing(&mut self) -> Result<Standing, SinkError> {
        let place = self.place.clone();
        let Some(connection) = self.connection()? else { return Ok(Standing::default()) };
        let fail = |e| failed(&place, "reading where it stands", e);
        let tx = connection.transaction().map_err(fail)?;
        let applied = migrations(&tx).map_err(fail)?;
        tables::refuse_newer(&place, &applied, embedded::migrations::runner().get_migrations())?;
        let migrated = !applied.is_empty();
        if migrated && let Some(standing) = read_standing(&tx).map_err(fail)? {
            return Ok(standing);
        }
        tables::refuse_foreign(&place, migrated, &found(&tx).map_err(fail)?)?;
        Ok(Standing::default())
    }

    fn writers(&self) -> Writers {
        Writers::Alone
    }

    fn begin(&mut self, run: &Run) -> Result<Vec<Box<dyn Writer>>, SinkError> {
        let place = self.place.clone();
        if self.access == Access::Read {
            return Err(SinkError::stop(format!("{place} was opened for reading only")));
        }
        if let Some(theirs) = self.standing()?.state.filter(|state| *state != run.state) {
            return Err(tables::other_state(&place, theirs, run.state));
        }
        let new = self.connection.is_none();
        if new {
            // Made here and not by SQLite, which makes its other files with the rights of this one.
            disk::options()
                .create(true)
                .truncate(false)
                .open(&self.path)
                .map_err(|e| SinkError::new(Class::Stop, format!("{place} cannot be made{}", disk::advice(&e)), e))?;
            self.connection = Some(connect(&self.path, &place, OpenFlags::SQLITE_OPEN_READ_WRITE)?);
        }
        let Some(connection) = &mut self.connection else { return Err(SinkError::stop(format!("{place} is not open"))) };
        let fail = |e| failed(&place, "beginning a run", e);
        if new {
            connection.pragma_update(None, "page_size", PAGE).map_err(fail)?;
        }
        let empty =
            !found(connection).map_err(fail)?.iter().any(|found| found.rows && Kind::ALL.iter().any(|kind| kind.plural() == found.table));
        let journal = if empty { Journal::Rollback } else { Journal::WriteAhead };
        journal.set(connection).map_err(fail)?;
        let mut migrations = embedded::migrations::runner().set_grouped(true);
        migrations.set_migration_table_name(MIGRATIONS_TABLE).run(connection).map_err(|e| tables::not_migrated(&place, e, help))?;
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
        let number = bind(&tx, run).and_then(|number| tx.commit().map(|()| number)).map_err(fail)?;
        self.run = Some(number);
        let connection = connect(&self.path, &place, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        Ok(vec![Box::new(writer::SqliteWriter::new(connection, journal, place, run.clone(), number)?)])
    }

    fn complete(&mut self, run: &Run, ends: &PerKind<Option<KindEnd>>) -> Result<(), SinkError> {
        let place = self.place.clone();
        let fail = |e| failed(&place, "completing the snapshot", e);
        let (connection, number) = self.begun()?;
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
        if tx.query_row("SELECT run FROM binding", [], |row| row.get::<_, i64>(0)).map_err(fail)? != number {
            return Err(tables::fenced(&place));
        }
        for (kind, ended) in ends.iter() {
            if let Some(ended) = ended {
                end(&tx, run, kind, ended).map_err(fail)?;
            }
        }
        tx.commit().map_err(fail)
    }

    fn documents(&mut self) -> Option<&mut dyn Documents> {
        Some(self)
    }

    fn dead_letters(&mut self) -> Option<&mut dyn DeadLetters> {
        Some(self)
    }

    fn close(&mut self) -> Result<(), SinkError> {
        self.run = None;
        if self.access == Access::Read {
            self.connection = None;
            return Ok(());
        }
        let place = self.place.clone();
        // also takes up the log that a killed run may have left
        if let Some(connection) = self.connection()? {
            let fail = |e| failed(&place, "closing", e);
            // a reader that is still connected is no fault of this run, and its waiting helps nobody
            connection.busy_timeout(Duration::from_secs(2)).map_err(fail)?;
            let folded = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0)).map(|busy| !busy);
            // One mode after the other, since an empty journal that a killed run left is removed only so.
            let turn = |mode| connection.query_row(&format!("PRAGMA journal_mode = {mode}"), [], |row| row.get::<_, String>(0));
            let alone = turn("TRUNCATE").and_then(|_| turn("DELETE"));
            match (folded, alone) {
                (_, Ok(mode)) if mode == "delete" => {}
                (Err(e), _) | (_, Err(e)) if error::class(&e) != super::Class::Retry => return Err(fail(e)),
                _ => tracing::warn!("{place}: another program has it open, so its -wal file stays until that one ends"),
            }
        }
        self.connection = None;
        Ok(())
    }
}
