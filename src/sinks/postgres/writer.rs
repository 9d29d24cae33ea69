//! Writing batches into the database.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Object, Pool, PoolError, Transaction};
use futures_util::{SinkExt, TryStreamExt};
use roaring::RoaringTreemap;
use time::OffsetDateTime;
use time::macros::datetime;
use tokio::runtime::Runtime;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use super::connect::{Address, Backend};
use super::error::{failed, not_connected};
use super::merge::{self, Rows};
use crate::model::{DeadLetter, Key, Kind, PerKind, Verdict};
use crate::sinks::patience::{patience, within};
use crate::sinks::tables::{self, Task};
use crate::sinks::{Batch, Class, Need, Run, SinkError, Writer, Written};

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
    /// Kinds whose table was empty when the run began, unless a row was met that this run's changes do not account for. A key comes once in
    /// an epoch, so rows are copied into such a table without looking for them.
    pub(super) empty: PerKind<bool>,
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
            let mut job =
                Job { place, run: &self.run, number: self.number, writer: self.writer, tried: &mut self.tried, empty: &mut self.empty };
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

/// Why rows were not copied.
enum Uncopied {
    /// By the server's word, or for want of it.
    Refused(tokio_postgres::Error),
    /// They could not be sent, or did not all arrive.
    Here(SinkError),
}

impl From<tokio_postgres::Error> for Uncopied {
    fn from(error: tokio_postgres::Error) -> Uncopied {
        Uncopied::Refused(error)
    }
}

impl Uncopied {
    fn words(self, place: &str, doing: &str) -> SinkError {
        match self {
            Uncopied::Refused(error) => failed(place, doing, error),
            Uncopied::Here(error) => error,
        }
    }
}

/// A writer without its connection.
struct Job<'w> {
    place: &'w str,
    run: &'w Run,
    number: i64,
    writer: i32,
    tried: &'w mut Option<(u64, Written)>,
    empty: &'w mut PerKind<bool>,
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
        let empty = *self.empty;
        match self.transact(client, batch).await {
            // Somebody else has written into a table that was empty: from now on it is looked what is there.
            Err(_) if *self.empty != empty => self.transact(client, batch).await,
            result => result,
        }
    }

    async fn transact(&mut self, client: &mut Object, batch: &Batch) -> Result<Written, SinkError> {
        *self.tried = None;
        let fail = |e| failed(self.place, "writing a batch", e);
        let tx = client.transaction().await.map_err(fail)?;
        let at = self.fence(&tx, batch).await?;
        let mut written = Written::default();
        let tasks = batch.changes.iter().filter_map(|change| Task::of(self.run, change).transpose()).collect::<Result<Vec<_>, _>>()?;
        let kinds = tasks.chunk_by(|a, b| a.key.kind() == b.key.kind());
        let (filled, merged): (Vec<_>, Vec<_>) = kinds.partition(|tasks| self.fills(tasks));
        for tasks in filled {
            self.fill(&tx, tasks, at).await?;
            written.tally.inserted += tasks.len() as u64;
        }
        if !merged.is_empty() {
            let staged = merged.iter().copied().flatten();
            self.copy(&tx, merge::COPY, staged, Rows::stage).await.map_err(|e| e.words(self.place, "staging a batch"))?;
        }
        for tasks in merged {
            self.merge(&tx, tasks, &mut written).await.map_err(fail)?;
        }
        for letter in &batch.dead_letters {
            self.bury(&tx, letter).await.map_err(fail)?;
        }
        *self.tried = Some((batch.number, written.clone()));
        tx.commit().await.map_err(fail)?;
        Ok(written)
    }

    /// Whether these tasks of one kind can be copied into its table as they are.
    fn fills(&self, tasks: &[Task<'_>]) -> bool {
        let new = |task: &Task<'_>| match task.need {
            Need::Changes => task.verdict == Verdict::Insert,
            Need::Everything => task.document.is_some(),
            Need::Repair => false,
        };
        tasks.first().is_some_and(|task| self.empty[task.key.kind()]) && tasks.iter().all(new)
    }

    /// Copies rows of one kind into its table, and what `changes` says of them.
    async fn fill(&mut self, tx: &Transaction<'_>, tasks: &[Task<'_>], at: i64) -> Result<(), SinkError> {
        let Some(kind) = tasks.first().map(|task| task.key.kind()) else { return Ok(()) };
        let epoch = self.run.epoch.number.cast_signed();
        let copied = async {
            self.copy(tx, &merge::copy_documents(kind), tasks, |rows, task| rows.document(task, at)).await?;
            self.copy(tx, merge::COPY_CHANGES, tasks, |rows, task| rows.change(task, epoch, at)).await
        };
        copied.await.map_err(|error| {
            if matches!(&error, Uncopied::Refused(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION)) {
                self.empty[kind] = false;
            }
            error.words(self.place, "filling a table")
        })
    }

    /// Moves the watermark, first of all: a transaction that may not commit does no work. Gives the transaction's time, in microseconds
    /// since 2000, as PostgreSQL counts.
    async fn fence(&self, tx: &Transaction<'_>, batch: &Batch) -> Result<i64, SinkError> {
        let move_it = async {
            let sql = "UPDATE watermarks SET state = $3, epoch = $4, tick = $5, batch = $6 WHERE writer = $1 AND run = $2 RETURNING now()";
            let statement = tx.prepare_cached(sql).await?;
            let (epoch, tick, batch) = (self.run.epoch.number.cast_signed(), batch.tick.cast_signed(), batch.number.cast_signed());
            let row = tx.query_opt(&statement, &[&self.writer, &self.number, &self.run.state, &epoch, &tick, &batch]).await?;
            row.map(|row| row.try_get::<_, OffsetDateTime>(0)).transpose()
        };
        let now = move_it.await.map_err(|e| failed(self.place, "moving the watermark", e))?.ok_or_else(|| tables::fenced(self.place))?;
        let since = (now - datetime!(2000-01-01 0:00 UTC)).whole_microseconds();
        i64::try_from(since).map_err(|e| SinkError::new(Class::Stop, format!("{}: its clock is beyond all times", self.place), e))
    }

    /// Copies a row for each task.
    async fn copy<'t, 'd: 't>(
        &self,
        tx: &Transaction<'_>,
        sql: &str,
        tasks: impl IntoIterator<Item = &'t Task<'d>>,
        encode: impl Fn(&mut Rows, &Task<'_>) -> Result<(), SinkError>,
    ) -> Result<(), Uncopied> {
        let statement = tx.prepare_cached(sql).await?;
        let mut sink = pin!(tx.copy_in(&statement).await?);
        let mut rows = Rows::new();
        for task in tasks {
            encode(&mut rows, task).map_err(Uncopied::Here)?;
            if let Some(chunk) = rows.chunk() {
                sink.send(chunk).await?;
            }
        }
        let sent = rows.number;
        sink.send(rows.end()).await?;
        // only this count shows that the whole COPY arrived: a commit after a broken one succeeds all the same
        let copied = sink.finish().await?;
        if copied != sent {
            return Err(Uncopied::Here(SinkError::stop(format!("{}: of {sent} rows sent {copied} were taken", self.place))));
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
