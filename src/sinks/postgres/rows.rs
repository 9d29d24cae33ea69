//! Reading documents back.

use std::pin::pin;

use futures_util::TryStreamExt;
use tokio_postgres::types::ToSql;

use super::error::failed;
use super::{Postgres, exists};
use crate::model::Kind;
use crate::sinks::patience::{patience, within};
use crate::sinks::tables::SNAPSHOTS;
use crate::sinks::{Documents, Row, SinkError, StoredSnapshot, tables};

impl Documents for Postgres {
    fn snapshots(&mut self) -> Result<Vec<StoredSnapshot>, SinkError> {
        let place = self.address.place.clone();
        let fail = |e| failed(&place, "reading table snapshots", e);
        let rows = self.with(Some(patience()), async |client| client.query(SNAPSHOTS, &[]).await.map_err(fail))?;
        let snapshot = |row: &tokio_postgres::Row| {
            let number = |at| row.try_get::<_, Option<i64>>(at).map(|number| number.map(i64::cast_unsigned));
            let Some(kind) = Kind::from_name(row.try_get(1)?) else { return Ok(None) };
            Ok(Some(StoredSnapshot {
                epoch: number(0)?.unwrap_or_default(),
                kind,
                month: row.try_get(2)?,
                file: row.try_get(3)?,
                sha256: row.try_get(4)?,
                complete: row.try_get(5)?,
                records: number(6)?,
                rejected: number(7)?.unwrap_or_default(),
                deletes_withheld: number(8)?.unwrap_or_default(),
            }))
        };
        rows.iter().map(snapshot).filter_map(Result::transpose).collect::<Result<_, _>>().map_err(fail)
    }

    fn scan(&mut self, kind: Kind, each: &mut dyn FnMut(Row<'_>)) -> Result<(), SinkError> {
        let place = self.address.place.clone();
        let fail = |e| failed(&place, &format!("reading table {}", kind.plural()), e);
        // all of it may take as long as it does
        self.with(None, async |client| {
            let begin = async {
                if !exists(client, kind.plural()).await.map_err(fail)? {
                    return Ok(None);
                }
                let none: [&(dyn ToSql + Sync); 0] = [];
                let sql = format!("SELECT data_id, hash, data::text FROM {}", kind.plural());
                client.query_raw(&sql, none).await.map(Some).map_err(fail)
            };
            let Some(rows) = within(Some(patience()), &place, begin).await? else { return Ok(()) };
            // rows come as fast as they are taken: the client stops reading while one is waiting
            let mut rows = pin!(rows);
            while let Some(row) = within(Some(patience()), &place, async { rows.try_next().await.map_err(fail) }).await? {
                let text = |i| row.try_get::<_, &str>(i).map_err(fail);
                each(Row { data_id: text(0)?, hash: text(1)?, data: text(2)? });
            }
            Ok(())
        })
    }

    fn fetch(&mut self, kind: Kind, ids: &[u64]) -> Result<Vec<(u64, String)>, SinkError> {
        let place = self.address.place.clone();
        let fail = |e| failed(&place, &format!("reading table {}", kind.plural()), e);
        self.with(Some(patience()), async |client| {
            if !exists(client, kind.plural()).await.map_err(fail)? {
                return Ok(Vec::new());
            }
            let ids: Vec<String> = ids.iter().map(u64::to_string).collect();
            let sql = format!("SELECT data_id, data::text FROM {} WHERE data_id = ANY($1)", kind.plural());
            let mut found = Vec::with_capacity(ids.len());
            for row in client.query(&sql, &[&ids]).await.map_err(fail)? {
                if let Some(id) = tables::id_of(kind, row.try_get(0).map_err(fail)?) {
                    found.push((id, row.try_get(1).map_err(fail)?));
                }
            }
            Ok(found)
        })
    }
}
