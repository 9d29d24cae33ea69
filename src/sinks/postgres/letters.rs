//! Dead letters: read back, and cleared at the end of a kind.

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Row, Transaction};

use super::error::failed;
use super::{Postgres, exists};
use crate::model::{Kind, PerKind};
use crate::sinks::letters::{CLEAR, DeadLetters, Letter, LetterCount, MONTHS, READING, Since, Which};
use crate::sinks::patience::patience;
use crate::sinks::{KindEnd, Run, SinkError};

/// Everything but the bytes; the server takes their length without reading them.
const COLUMNS: &str = "d.id, d.file, d.position, d.stage, d.reason, length(d.raw)::bigint,
    to_char(d.at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), d.cleared_epoch, d.epoch, s.month, f.epoch, f.month";

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
    match which {
        Which::Open | Which::All => {}
        Which::Of(number) => {
            id = number.to_string();
            values.push(&id);
        }
        Which::At(file, position) => {
            place = (file, position.cast_signed());
            values.extend([&place.0 as &(dyn ToSql + Sync), &place.1]);
        }
    }
    let sql = format!("SELECT {COLUMNS} FROM {table} {MONTHS} WHERE d.kind = $1 {} LIMIT $2", which.rest().replace('?', "$"));
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

/// See [`CLEAR`].
pub(super) async fn clear(tx: &Transaction<'_>, run: &Run, kind: Kind, end: &KindEnd) -> Result<u64, Error> {
    tx.execute(&CLEAR.replace('?', "$"), &[&run.epoch.number.cast_signed(), &kind.name(), &end.whole]).await
}

impl DeadLetters for Postgres {
    fn count(&mut self) -> Result<PerKind<LetterCount>, SinkError> {
        let place = self.address.place.clone();
        self.with(Some(patience()), async |client| count(client).await.map_err(|e| failed(&place, READING, e)))
    }

    fn letters(&mut self, kind: Kind, which: Which<'_>, limit: usize) -> Result<Vec<Letter>, SinkError> {
        let place = self.address.place.clone();
        self.with(Some(patience()), async |client| letters(client, kind, which, limit).await.map_err(|e| failed(&place, READING, e)))
    }

    fn raw(&mut self, letter: &Letter) -> Result<Option<Vec<u8>>, SinkError> {
        let place = self.address.place.clone();
        let read = async |client: &mut Client| {
            let sql = "SELECT raw FROM dead_letters WHERE epoch = $1 AND kind = $2 AND file = $3 AND position = $4";
            let (epoch, position) = (letter.epoch.epoch.cast_signed(), letter.position.cast_signed());
            client.query_opt(sql, &[&epoch, &letter.kind.name(), &letter.file, &position]).await?.map(|row| row.try_get(0)).transpose()
        };
        self.with(Some(patience()), async |client| read(client).await.map_err(|e| failed(&place, READING, e)))
    }
}
