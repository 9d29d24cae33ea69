//! Dead letters: read back, and cleared at the end of a kind.

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Row, Transaction};

use super::error::failed;
use super::{Postgres, exists};
use crate::model::{Kind, PerKind};
use crate::sinks::letters::{DeadLetters, Letter, LetterCount, Since, Which};
use crate::sinks::{KindEnd, Run, SinkError};

const READING: &str = "reading table dead_letters";

/// Everything but the bytes; the server takes their length without reading them.
const COLUMNS: &str = "d.id, d.file, d.position, d.stage, d.reason, length(d.raw)::bigint,
    to_char(d.at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), d.cleared_epoch, d.epoch, s.month, f.epoch, f.month";

/// The month of a letter, and the first one with a letter of the same record.
const MONTHS: &str = "LEFT JOIN snapshots s ON s.kind = d.kind AND s.epoch = d.epoch
    LEFT JOIN snapshots f ON f.kind = d.kind
    AND f.epoch = coalesce((SELECT min(epoch) FROM dead_letters WHERE kind = d.kind AND id = d.id), d.epoch)";

/// What letters are read from, as `d`; `None`: there is no such table. One that no run has migrated yet holds open ones only.
async fn table(client: &Client) -> Result<Option<&'static str>, Error> {
    if !exists(client, "dead_letters").await? {
        return Ok(None);
    }
    let sql = "SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass('dead_letters') AND attname = 'cleared_epoch' AND NOT attisdropped";
    Ok(Some(match client.query_opt(sql, &[]).await? {
        Some(_) => "dead_letters d",
        None => "(SELECT *, NULL::bigint AS cleared_epoch FROM dead_letters) d",
    }))
}

async fn count(client: &Client) -> Result<PerKind<LetterCount>, Error> {
    let mut counts = PerKind::<LetterCount>::default();
    let Some(table) = table(client).await? else { return Ok(counts) };
    let sql = format!("SELECT kind, count(*) FILTER (WHERE cleared_epoch IS NULL), count(cleared_epoch) FROM {table} GROUP BY kind");
    for row in client.query(&sql, &[]).await? {
        if let Some(kind) = Kind::from_name(row.try_get(0)?) {
            let number = |i| row.try_get::<_, i64>(i).map(i64::cast_unsigned);
            counts[kind] = LetterCount { open: number(1)?, cleared: number(2)? };
        }
    }
    Ok(counts)
}

async fn letters(client: &Client, kind: Kind, which: Which<'_>, limit: usize) -> Result<Vec<Letter>, Error> {
    let Some(table) = table(client).await? else { return Ok(Vec::new()) };
    let (name, limit) = (kind.name(), i64::try_from(limit).unwrap_or(i64::MAX));
    let (id, place);
    let mut values: Vec<&(dyn ToSql + Sync)> = vec![&name, &limit];
    let rest = match which {
        Which::Open => "AND d.cleared_epoch IS NULL ORDER BY d.epoch, d.file, d.position",
        Which::All => "ORDER BY d.epoch, d.file, d.position",
        Which::Of(number) => {
            id = number.to_string();
            values.push(&id);
            "AND d.id = $3 ORDER BY d.epoch DESC, d.position"
        }
        Which::At(file, position) => {
            place = (file, position.cast_signed());
            values.extend([&place.0 as &(dyn ToSql + Sync), &place.1]);
            "AND d.file = $3 AND d.position = $4 ORDER BY d.epoch DESC"
        }
    };
    let sql = format!("SELECT {COLUMNS} FROM {table} {MONTHS} WHERE d.kind = $1 {rest} LIMIT $2");
    client.query(&sql, &values).await?.iter().map(|row| letter(kind, row)).collect()
}

fn letter(kind: Kind, row: &Row) -> Result<Letter, Error> {
    let number = |i| row.try_get::<_, Option<i64>>(i).map(|number| number.map(i64::cast_unsigned));
    let epoch = Since { epoch: number(8)?.unwrap_or_default(), month: row.try_get(9)? };
    let first = number(10)?.unwrap_or(epoch.epoch);
    Ok(Letter {
        kind,
        id: row.try_get(0)?,
        file: row.try_get(1)?,
        position: number(2)?.unwrap_or_default(),
        stage: row.try_get(3)?,
        reason: row.try_get(4)?,
        bytes: number(5)?.unwrap_or_default(),
        at: row.try_get(6)?,
        cleared: number(7)?,
        first: Since { epoch: first, month: row.try_get(11)? },
        epoch,
    })
}

/// Clears what this epoch has made obsolete of earlier epochs' letters: all of a kind that was read whole, else those of which it has
/// a newer letter, or noted a change. Without an id it is the same bytes at the same place: a topic has an offset once a partition.
pub(super) async fn clear(tx: &Transaction<'_>, run: &Run, kind: Kind, end: &KindEnd) -> Result<u64, Error> {
    tx.execute(
        "UPDATE dead_letters SET cleared_epoch = $1 WHERE kind = $2 AND epoch < $1 AND cleared_epoch IS NULL AND (
             $3 OR EXISTS (SELECT 1 FROM dead_letters n WHERE n.kind = $2 AND n.epoch = $1 AND n.id = dead_letters.id)
             OR EXISTS (SELECT 1 FROM dead_letters n
                        WHERE n.kind = $2 AND n.epoch = $1 AND n.file = dead_letters.file AND n.position = dead_letters.position
                        AND n.raw = dead_letters.raw)
             OR EXISTS (SELECT 1 FROM changes c WHERE c.epoch = $1 AND c.kind = $2 AND c.id = dead_letters.id))",
        &[&run.epoch.number.cast_signed(), &kind.name(), &end.whole],
    )
    .await
}

impl DeadLetters for Postgres {
    fn count(&mut self) -> Result<PerKind<LetterCount>, SinkError> {
        let place = self.address.place.clone();
        let (runtime, client) = self.control()?;
        runtime.block_on(count(client)).map_err(|e| failed(&place, READING, e))
    }

    fn letters(&mut self, kind: Kind, which: Which<'_>, limit: usize) -> Result<Vec<Letter>, SinkError> {
        let place = self.address.place.clone();
        let (runtime, client) = self.control()?;
        runtime.block_on(letters(client, kind, which, limit)).map_err(|e| failed(&place, READING, e))
    }

    fn raw(&mut self, letter: &Letter) -> Result<Option<Vec<u8>>, SinkError> {
        let place = self.address.place.clone();
        let (runtime, client) = self.control()?;
        let read = async {
            let sql = "SELECT raw FROM dead_letters WHERE epoch = $1 AND kind = $2 AND file = $3 AND position = $4";
            let (epoch, position) = (letter.epoch.epoch.cast_signed(), letter.position.cast_signed());
            client.query_opt(sql, &[&epoch, &letter.kind.name(), &letter.file, &position]).await?.map(|row| row.try_get(0)).transpose()
        };
        runtime.block_on(read).map_err(|e| failed(&place, READING, e))
    }
}
