//! Dead letters: read back, and cleared at the end of a kind.

use rusqlite::{Connection, OptionalExtension, ToSql, Transaction, params};

use super::error::failed;
use super::{Sqlite, columns};
use crate::model::{Kind, PerKind};
use crate::sinks::letters::{DeadLetters, Letter, LetterCount, Since, Which};
use crate::sinks::{KindEnd, Run, SinkError};

const READING: &str = "reading table dead_letters";

/// Everything but the bytes; SQLite takes their length without reading them.
const COLUMNS: &str =
    "d.id, d.file, d.position, d.stage, d.reason, length(d.raw), d.at, d.cleared_epoch, d.epoch, s.month, f.epoch, f.month";

/// The month of a letter, and the first one with a letter of the same record.
const MONTHS: &str = "LEFT JOIN snapshots s ON s.kind = d.kind AND s.epoch = d.epoch
    LEFT JOIN snapshots f ON f.kind = d.kind
    AND f.epoch = coalesce((SELECT min(epoch) FROM dead_letters WHERE kind = d.kind AND id = d.id), d.epoch)";

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
    let rest = match which {
        Which::Open => "AND d.cleared_epoch IS NULL ORDER BY d.epoch, d.file, d.position",
        Which::All => "ORDER BY d.epoch, d.file, d.position",
        Which::Of(number) => {
            id = number.to_string();
            values.push(&id);
            "AND d.id = ?3 ORDER BY d.epoch DESC, d.position"
        }
        Which::At(file, position) => {
            place = (file, position.cast_signed());
            values.extend([&place.0 as &dyn ToSql, &place.1]);
            "AND d.file = ?3 AND d.position = ?4 ORDER BY d.epoch DESC"
        }
    };
    let mut statement = connection.prepare(&format!("SELECT {COLUMNS} FROM {table} {MONTHS} WHERE d.kind = ?1 {rest} LIMIT ?2"))?;
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

/// Clears what this epoch has made obsolete of earlier epochs' letters: all of a kind that was read whole, else those of which it has
/// a newer letter, or noted a change. Without an id it is the same bytes at the same place: a topic has an offset once a partition.
pub(super) fn clear(tx: &Transaction<'_>, run: &Run, kind: Kind, end: &KindEnd) -> rusqlite::Result<usize> {
    tx.execute(
        "UPDATE dead_letters SET cleared_epoch = ?1 WHERE kind = ?2 AND epoch < ?1 AND cleared_epoch IS NULL AND (
             ?3 OR EXISTS (SELECT 1 FROM dead_letters n WHERE n.kind = ?2 AND n.epoch = ?1 AND n.id = dead_letters.id)
             OR EXISTS (SELECT 1 FROM dead_letters n
                        WHERE n.kind = ?2 AND n.epoch = ?1 AND n.file = dead_letters.file AND n.position = dead_letters.position
                        AND n.raw = dead_letters.raw)
             OR EXISTS (SELECT 1 FROM changes c WHERE c.epoch = ?1 AND c.kind = ?2 AND c.id = dead_letters.id))",
        params![run.epoch.number.cast_signed(), kind.name(), end.whole],
    )
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
