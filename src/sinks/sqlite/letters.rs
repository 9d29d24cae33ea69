//! Dead letters: read back, and cleared at the end of a kind.

use rusqlite::{Connection, OptionalExtension, ToSql, Transaction, params};

use super::error::failed;
use super::{Sqlite, columns};
use crate::model::{Kind, PerKind};
use crate::sinks::letters::{CLEAR, DeadLetters, Letter, LetterCount, MONTHS, READING, Since, Which};
use crate::sinks::{KindEnd, Run, SinkError};

/// Everything but the bytes; SQLite takes their length without reading them.
const COLUMNS: &str =
    "d.id, d.file, d.position, d.stage, d.reason, length(d.raw), d.at, d.cleared_epoch, d.epoch, s.month, f.epoch, f.month";

/// What letters are read from, as `d`; `None`: there is no such table. One that no run has migrated yet holds open ones only.
fn table(connection: &Connection) -> rusqlite::Result<Option<&'static str>> {
    let columns = columns(connection, "dead_letters")?;
    Ok(match columns.contains("cleared_epoch") {
        _ if columns.is_empty() => None,
        true => Some("dead_letters d"),
        false => Some("(SELECT *, NULL AS cleared_epoch FROM dead_letters) d"),
    })
}

fn count(connection: &Connection) -> rusqlite::Result<PerKind<LetterCount>> {
    let mut counts = PerKind::<LetterCount>::default();
    let Some(table) = table(connection)? else { return Ok(counts) };
    for kind in Kind::ALL {
        let of = |only: &str| -> rusqlite::Result<u64> {
            let sql = format!("SELECT count(*) FROM {table} WHERE kind = ? {only}");
            connection.query_row(&sql, [kind.name()], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
        };
        let (open, all) = (of("AND cleared_epoch IS NULL")?, of("")?);
        counts[kind] = LetterCount { open, cleared: all.saturating_sub(open) };
    }
    Ok(counts)
}

fn letters(connection: &Connection, kind: Kind, which: Which<'_>, limit: usize) -> rusqlite::Result<Vec<Letter>> {
    let Some(table) = table(connection)? else { return Ok(Vec::new()) };
    let (name, limit) = (kind.name(), i64::try_from(limit).unwrap_or(i64::MAX));
    let (id, place);
    let mut values: Vec<&dyn ToSql> = vec![&name, &limit];
    match which {
        Which::Open | Which::All => {}
        Which::Of(number) => {
            id = number.to_string();
            values.push(&id);
        }
        Which::At(file, position) => {
            place = (file, position.cast_signed());
            values.extend([&place.0 as &dyn ToSql, &place.1]);
        }
    }
    let mut statement =
        connection.prepare(&format!("SELECT {COLUMNS} FROM {table} {MONTHS} WHERE d.kind = ?1 {} LIMIT ?2", which.rest()))?;
    let rows = statement.query_map(&*values, |row| {
        let number = |i| row.get::<_, Option<i64>>(i).map(|number| number.map(i64::cast_unsigned));
        let epoch = Since { epoch: number(8)?.unwrap_or_default(), month: row.get(9)? };
        let first = number(10)?.unwrap_or(epoch.epoch);
        Ok(Letter {
            kind,
            id: row.get(0)?,
            file: row.get(1)?,
            position: number(2)?.unwrap_or_default(),
            stage: row.get(3)?,
            reason: row.get(4)?,
            bytes: number(5)?.unwrap_or_default(),
            at: row.get(6)?,
            cleared: number(7)?,
            first: Since { epoch: first, month: row.get(11)? },
            epoch,
        })
    })?;
    rows.collect()
}

/// See [`CLEAR`].
pub(super) fn clear(tx: &Transaction<'_>, run: &Run, kind: Kind, end: &KindEnd) -> rusqlite::Result<usize> {
    tx.execute(CLEAR, params![run.epoch.number.cast_signed(), kind.name(), end.whole])
}

impl DeadLetters for Sqlite {
    fn count(&mut self) -> Result<PerKind<LetterCount>, SinkError> {
        let place = self.place.clone();
        let Some(connection) = self.connection()? else { return Ok(PerKind::default()) };
        count(connection).map_err(|e| failed(&place, READING, e))
    }

    fn letters(&mut self, kind: Kind, which: Which<'_>, limit: usize) -> Result<Vec<Letter>, SinkError> {
        let place = self.place.clone();
        let Some(connection) = self.connection()? else { return Ok(Vec::new()) };
        letters(connection, kind, which, limit).map_err(|e| failed(&place, READING, e))
    }

    fn raw(&mut self, letter: &Letter) -> Result<Option<Vec<u8>>, SinkError> {
        let place = self.place.clone();
        let Some(connection) = self.connection()? else { return Ok(None) };
        let key = params![letter.epoch.epoch.cast_signed(), letter.kind.name(), letter.file, letter.position.cast_signed()];
        let sql = "SELECT raw FROM dead_letters WHERE epoch = ? AND kind = ? AND file = ? AND position = ?";
        connection.query_row(sql, key, |row| row.get(0)).optional().map_err(|e| failed(&place, READING, e))
    }
}
