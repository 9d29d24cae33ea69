//! Reading documents back.

use rusqlite::OptionalExtension;

use super::error::failed;
use super::{Sqlite, columns};
use crate::model::Kind;
use crate::sinks::tables::SNAPSHOTS;
use crate::sinks::{Documents, Row, SinkError, StoredSnapshot};

impl Documents for Sqlite {
    fn snapshots(&mut self) -> Result<Vec<StoredSnapshot>, SinkError> {
        let place = self.place.clone();
        let Some(connection) = self.connection()? else { return Ok(Vec::new()) };
        let read = || {
            let mut statement = connection.prepare(SNAPSHOTS)?;
            let rows = statement.query_map([], |row| {
                let number = |at| row.get::<_, Option<i64>>(at).map(|number| number.map(i64::cast_unsigned));
                let Some(kind) = Kind::from_name(&row.get::<_, String>(1)?) else { return Ok(None) };
                Ok(Some(StoredSnapshot {
                    epoch: number(0)?.unwrap_or_default(),
                    kind,
                    month: row.get(2)?,
                    file: row.get(3)?,
                    sha256: row.get(4)?,
                    complete: row.get(5)?,
                    records: number(6)?,
                    rejected: number(7)?.unwrap_or_default(),
                    deletes_withheld: number(8)?.unwrap_or_default(),
                }))
            })?;
            rows.filter_map(Result::transpose).collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|e| failed(&place, "reading table snapshots", e))
    }

    fn scan(&mut self, kind: Kind, each: &mut dyn FnMut(Row<'_>)) -> Result<(), SinkError> {
        let place = self.place.clone();
        let Some(connection) = self.connection()? else { return Ok(()) };
        let mut read = || {
            if columns(connection, kind.plural())?.is_empty() {
                return Ok(());
            }
            let mut statement = connection.prepare(&format!("SELECT data_id, hash, data FROM {}", kind.plural()))?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let [data_id, hash, data] = [row.get_ref(0)?, row.get_ref(1)?, row.get_ref(2)?];
                // What is no text was written by others.
                let (data_id, hash) = (data_id.as_str().unwrap_or("(no text)"), hash.as_str().unwrap_or_default());
                each(Row { data_id, hash, data: data.as_str().unwrap_or_default() });
            }
            Ok(())
        };
        read().map_err(|e| failed(&place, &format!("reading table {}", kind.plural()), e))
    }

    fn fetch(&mut self, kind: Kind, ids: &[u64]) -> Result<Vec<(u64, String)>, SinkError> {
        let place = self.place.clone();
        let Some(connection) = self.connection()? else { return Ok(Vec::new()) };
        let read = || {
            let mut found = Vec::new();
            if columns(connection, kind.plural())?.is_empty() {
                return Ok(found);
            }
            let mut statement = connection.prepare(&format!("SELECT data FROM {} WHERE data_id = ?", kind.plural()))?;
            for id in ids {
                if let Some(data) = statement.query_row([id.to_string()], |row| row.get(0)).optional()? {
                    found.push((*id, data));
                }
            }
            Ok(found)
        };
        read().map_err(|e| failed(&place, &format!("reading table {}", kind.plural()), e))
    }
}
