//! Writing batches into the database.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Object, Pool, PoolError, Transaction};
use futures_util::{SinkExt, TryStreamExt};
use roaring::RoaringTreemap;
use tokio::runtime::Runtime;
use tokio_postgres::types::ToSql;

use super::connect::{Address, Backend};
use super::error::{failed, not_connected};
use super::merge::{self, Staging};
use crate::model::{DeadLetter, Key, Kind, Verdict};
use crate::sinks::patience::{patience, within};
use crate::sinks::tables::{self, Task};
use crate::sinks::{Batch, Class, Run, SinkError, Writer, Written};

/// Parameters that have no value give rows as a stream.
const NONE: [&(dyn ToSql + Sync); 0] = [];

/// One of the writers of a database.
pub(super) struct PostgresWriter {
    pub(super) runtime: Arc<Runtime>,
    pub(super) pool: Pool,
    pub(super) address: Address,
    pub(super) run: Arc<Run>,
    /// The run's number.
    pub(super) number: i64,
    /// Which writer this is.
    pub(super) writer: i32,
    pub(super) client: Option<Object>,
    /// The last connection, as the server knows it.
    pub(super) backend: Option<Backend>,
    /// What the batch came to whose commit was tried last.
    pub(super) tried: Option<(u64, Written)>,
}

impl PostgresWriter {
    /// Runs what is done with a connection, within a time if one is given, and lets go of the connection after an error that may have
    /// broken it.
    fn with<T>(
        &mut self,
        limit: Option<Duration>,
        work: impl AsyncFnOnce(&mut Job<'_>, &mut Object) -> Result<T, SinkError>,
    ) -> Result<T, SinkError> {
        let runtime = Arc::clone(&self.runtime);
        runtime.block_on(async {
            let mut client = match self.client.take().filter(|client| !client.is_closed()) {
                Some(client) => client,
                None => self.connect().await?,
            };
            let place = self.address.place.as_str();
            let mut job = Job { place, run: &self.run, number: self.number, writer: self.writer, tried: &mut self.tried };
            let result = within(limit, place, work(&mut job, &mut client)).await;
            if matches!(&result, Err(error) if error.class != Class::Reject) {
                drop(Object::take(client));
            } else {
                self.client = Some(client);
            }
            result
        })
    }

    async fn connect(&mut self) -> Result<Object, SinkError> {
        let place = self.address.place.as_str();
        let connected = async {
            let client = self.pool.get().await.map_err(|error| match error {
                PoolError::Backend(error) => not_connected(&self.address, error),
                error => SinkError::new(Class::Retry, format!("{place}: no connection to be had"), error),
            })?;
            let prepare = async {
                if let Some(former) = self.backend.take() {
                    former.end(&client).await?;
                }
                self.backend = Some(Backend::of(&client).await?);
                client.batch_execute(merge::SESSION).await
            };
            match prepare.await {
                Ok(()) => Ok(client),
                Err(error) => {
                    drop(Object::take(client));
                    Err(failed(place, "preparing a connection", error))
                }
            }
        };
        within(Some(self.address.patience()), place, connected).await
    }
}

impl Writer for PostgresWriter {
    fn write(&mut self, batch: &Batch, attempt: u32) -> Result<Written, SinkError> {
        self.with(Some(patience()), async |job, client| {
            if attempt > 0
                && let Some(written) = job.committed(client, batch).await?
            {
                return Ok(written);
            }
            job.write(client, batch).await
        })
    }

    fn stored_ids(&mut self, kind: Kind) -> Result<(RoaringTreemap, u64), SinkError> {
        // as long as it takes: the whole table is read
        self.with(None, async |job, client| job.stored_ids(client, kind).await)
    }
}

/// A writer without its connection.
struct Job<'w> {
    place: &'w str,
    run: &'w Run,
    number: i64,
    writer: i32,
    tried: &'w mut Option<(u64, Written)>,
}

impl Job<'_> {
    /// What the batch came to, where the watermark says that it was committed. The row's lock waits for a commit that is still under way.
    async fn committed(&mut self, client: &mut Object, batch: &Batch) -> Result<Option<Written>, SinkError> {
        let fail = |e| failed(self.place, "reading the watermark", e);
        let row =
            client.query_opt("SELECT run, batch FROM watermarks WHERE writer = $1 FOR UPDATE", &[&self.writer]).await.map_err(fail)?;
        let Some(row) = row else { return Ok(None) };
        let at: (i64, i64) = (row.try_get(0).map_err(fail)?, row.try_get(1).map_err(fail)?);
        if at != (self.number, batch.number.cast_signed()) {
            return Ok(None);
        }
        Ok(self.tried.as_ref().filter(|(number, _)| *number == batch.number).map(|(_, written)| written.clone()))
    }

    async fn write(&mut self, client: &mut Object, batch: &Batch) -> Result<Written, SinkError> {
        *self.tried = None;
        let fail = |e| failed(self.place, "writing a batch", e);
        let tx = client.transaction().await.map_err(fail)?;
        self.fence(&tx, batch).await?;
        let mut written = Written::default();
        let tasks = batch.changes.iter().filter_map(|change| Task::of(self.run, change).transpose()).collect::<Result<Vec<_>, _>>()?;
        if !tasks.is_empty() {
            self.stage(&tx, &tasks).await?;
        }
        for tasks in tasks.chunk_by(|a, b| a.key.kind() == b.key.kind()) {
            self.merge(&tx, tasks, &mut written).await.map_err(fail)?;
        }
        for letter in &batch.dead_letters {
            self.bury(&tx, letter).await.map_err(fail)?;
        }
        *self.tried = Some((batch.number, written.clone()));
        tx.commit().await.map_err(fail)?;
        Ok(written)
    }

    /// Moves the watermark, first of all: a transaction that may not commit does no work.
    async fn fence(&self, tx: &Transaction<'_>, batch: &Batch) -> Result<(), SinkError> {
        let move_it = async {
            let sql = "UPDATE watermarks SET state = $3, epoch = $4, tick = $5, batch = $6 WHERE writer = $1 AND run = $2";
            let statement = tx.prepare_cached(sql).await?;
            let (epoch, tick, batch) = (self.run.epoch.number.cast_signed(), batch.tick.cast_signed(), batch.number.cast_signed());
            tx.execute(&statement, &[&self.writer, &self.number, &self.run.state, &epoch, &tick, &batch]).await
        };
        match move_it.await.map_err(|e| failed(self.place, "moving the watermark", e))? {
            0 => Err(tables::fenced(self.place)),
            _ => Ok(()),
        }
    }

    async fn stage(&self, tx: &Transaction<'_>, tasks: &[Task<'_>]) -> Result<(), SinkError> {
        let fail = |e| failed(self.place, "staging a batch", e);
        let statement = tx.prepare_cached(merge::COPY).await.map_err(fail)?;
        let mut sink = pin!(tx.copy_in(&statement).await.map_err(fail)?);
        let mut staging = Staging::new();
        for task in tasks {
            if let Some(chunk) = staging.push(task)? {
                sink.send(chunk).await.map_err(fail)?;
            }
        }
        let sent = staging.rows;
        sink.send(staging.end()).await.map_err(fail)?;
        // only this count shows that the whole COPY arrived: a commit after a broken one succeeds all the same
        let staged = sink.finish().await.map_err(fail)?;
        if staged != sent {
            return Err(SinkError::stop(format!("{}: of {sent} rows sent {staged} were staged", self.place)));
        }
        Ok(())
    }

    /// Tasks of one kind, as staged.
    async fn merge(&self, tx: &Transaction<'_>, tasks: &[Task<'_>], written: &mut Written) -> Result<(), tokio_postgres::Error> {
        let Some(Task { key, need, .. }) = tasks.first() else { return Ok(()) };
        let (kind, number) = (key.kind(), merge::number(key.kind()));
        let epoch = self.run.epoch.number.cast_signed();
        let note = tx.prepare_cached(&merge::note(kind, *need)).await?;
        tx.execute(&note, &[&epoch, &kind.name(), &number]).await?;
        if self.run.want_fields {
            let updates: Vec<&Task<'_>> = tasks.iter().filter(|task| task.gives_fields()).collect();
            written.fields.extend(self.fields(tx, kind, &updates).await?);
        }
        if tasks.iter().any(|task| task.verdict != Verdict::Delete) {
            let upsert = tx.prepare_cached(&merge::upsert(kind, *need)).await?;
            let row = tx.query_one(&upsert, &[&number]).await?;
            written.tally.inserted += row.try_get::<_, i64>(0)?.cast_unsigned();
            written.tally.updated += row.try_get::<_, i64>(1)?.cast_unsigned();
        }
        if tasks.iter().any(|task| task.verdict == Verdict::Delete) {
            let delete = tx.prepare_cached(&merge::delete(kind)).await?;
            written.tally.deleted += tx.execute(&delete, &[&number]).await?;
        }
        Ok(())
    }

    /// Fields as `changes` has them, which may come from an earlier application of this epoch.
    async fn fields(
        &self,
        tx: &Transaction<'_>,
        kind: Kind,
        updates: &[&Task<'_>],
    ) -> Result<Vec<(Key, Vec<String>)>, tokio_postgres::Error> {
        if updates.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<String> = updates.iter().map(|task| task.key.id().to_string()).collect();
        let sql = "SELECT c.fields FROM unnest($3::text[]) WITH ORDINALITY u (id, n)
                   LEFT JOIN LATERAL (SELECT fields FROM changes WHERE epoch = $1 AND kind = $2 AND id = u.id OFFSET 0) c ON true ORDER BY n";
        let statement = tx.prepare_cached(sql).await?;
        let rows = tx.query(&statement, &[&self.run.epoch.number.cast_signed(), &kind.name(), &ids]).await?;
        let mut fields = Vec::with_capacity(rows.len());
        for (task, row) in updates.iter().zip(rows) {
            let list: Option<serde_json::Value> = row.try_get(0)?;
            fields.push((task.key, list.and_then(|list| serde_json::from_value(list).ok()).unwrap_or_default()));
        }
        Ok(fields)
    }

    async fn bury(&self, tx: &Transaction<'_>, letter: &DeadLetter) -> Result<(), tokio_postgres::Error> {
        let DeadLetter { kind, id, file, position, stage, reason, raw, .. } = letter;
        let sql = "INSERT INTO dead_letters (epoch, kind, id, file, position, stage, reason, raw, at)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, now()) ON CONFLICT (epoch, kind, file, position) DO NOTHING";
        let statement = tx.prepare_cached(sql).await?;
        let (epoch, id, position) = (self.run.epoch.number.cast_signed(), id.map(|id| id.to_string()), position.cast_signed());
        // a reason may quote what PostgreSQL cannot hold in a text; the raw bytes have it unharmed
        let reason = reason.replace('\0', "\u{FFFD}");
        tx.execute(&statement, &[&epoch, &kind.name(), &id, &&**file, &position, &stage.name(), &reason, raw]).await?;
        Ok(())
    }

    async fn stored_ids(&self, client: &mut Object, kind: Kind) -> Result<(RoaringTreemap, u64), SinkError> {
        let fail = |e| failed(self.place, &format!("reading the ids of table {}", kind.plural()), e);
        let sql = format!("SELECT data_id FROM {}", kind.plural());
        let begin = async {
            let tx = client.transaction().await.map_err(fail)?;
            let fence = "SELECT 1 FROM watermarks WHERE writer = $1 AND run = $2 FOR UPDATE";
            if tx.query_opt(fence, &[&self.writer, &self.number]).await.map_err(fail)?.is_none() {
                return Err(tables::fenced(self.place));
            }
            // unlike a batch's lookups, this is best done by reading the table from end to end
            tx.batch_execute("SET LOCAL enable_seqscan = on").await.map_err(fail)?;
            let rows = tx.query_raw(&sql, NONE).await.map_err(fail)?;
            Ok((tx, rows))
        };
        let (tx, rows) = within(Some(patience()), self.place, begin).await?;
        let (mut ids, mut junk) = (RoaringTreemap::new(), Vec::new());
        {
            let mut rows = pin!(rows);
            while let Some(row) = within(Some(patience()), self.place, async { rows.try_next().await.map_err(fail) }).await? {
                let text: &str = row.try_get(0).map_err(fail)?;
                match tables::id_of(kind, text) {
                    Some(id) => drop(ids.insert(id)),
                    None => junk.push(text.to_owned()),
                }
            }
        }
        let end = async {
            if !junk.is_empty() {
                let delete = format!("DELETE FROM {} WHERE data_id = ANY($1)", kind.plural());
                tx.execute(&delete, &[&junk]).await.map_err(fail)?;
            }
            tx.commit().await.map_err(fail)
        };
        within(Some(patience()), self.place, end).await?;
        Ok((ids, junk.len() as u64))
    }
}
