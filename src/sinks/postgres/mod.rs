//! Documents in a PostgreSQL database, in tables as Discogsography's readers expect them.
//!
//! One *control* connection stays open for the whole run: it holds an advisory lock that keeps other runs out, and does all but the
//! writing. Each writer has a connection of its own with a staging table of its own. What is not kept: the lock, where the
//! control connection is lost on the way; then the run number, which every transaction checks, keeps an older run from writing.
//! Temporary tables, session settings and prepared statements do not survive a pooler that changes servers between transactions
//! (PgBouncer's `transaction` mode): connect to the server, or through a pool in `session` mode.

mod connect;
mod error;
mod letters;
mod merge;
mod rows;
mod tls;
mod url;
mod writer;

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use tokio_postgres::{Client, Error, IsolationLevel, Transaction};
use uuid::Uuid;

use super::patience::{patience, patiently, within};
use super::tables::{self, Applied, Found, MIGRATIONS_TABLE, TABLES, Task};
use super::{Access, Class, DeadLetters, Documents, Epoch, KindEnd, Run, Sink, SinkError, Standing, Writer, Writers};
use crate::model::{Change, Kind, PerKind};
pub use url::{ConnectionString, Protection, TlsFiles, Unreadable};

use connect::{Address, Backend, at_start};
use error::{failed, help};
use merge::Rows;

mod embedded {
    refinery::embed_migrations!("src/sinks/postgres/migrations");
}

/// Threads that move bytes between sockets and writers; the writers' own threads do the encoding, the server does the work.
const THREADS: usize = 2;

/// How much longer than other answers migrations may take: an index over all releases takes minutes.
const MIGRATIONS: u32 = 12;

/// The bytes by which a batch's changes are staged: what a bare client sends, and what benchmarks time.
#[doc(hidden)]
pub fn staged(run: &Run, changes: &[Change]) -> Result<Vec<Bytes>, SinkError> {
    let (mut rows, mut chunks) = (Rows::new(), Vec::new());
    for change in changes {
        if let Some(task) = Task::of(run, change)? {
            rows.stage(&task)?;
            chunks.extend(rows.chunk());
        }
    }
    chunks.push(rows.end());
    Ok(chunks)
}

/// What the writers of a run know of it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Pass {
    /// The run number.
    number: i64,
    /// Kinds that have no row.
    empty: PerKind<bool>,
}

/// A PostgreSQL database.
pub struct Postgres {
    runtime: Arc<Runtime>,
    address: Address,
    access: Access,
    control: Option<Client>,
    /// The control connection that was made last, as the server knows it.
    backend: Option<Backend>,
    /// Once begun.
    pass: Option<Pass>,
}

impl Postgres {
    /// Connects, and for [`Access::Write`] locks other runs out. A password given here goes before one in the URL.
    ///
    /// Not to be called, nor any method, on a thread that already runs async code.
    pub fn open(url: &str, password: Option<&str>, files: &TlsFiles, access: Access) -> Result<Postgres, SinkError> {
        let address = Address::parse(url, password, files)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("postgres")
            .enable_all()
            .build()
            .map_err(|e| SinkError::new(Class::Stop, "threads for PostgreSQL could not be started", e))?;
        let mut postgres = Postgres { runtime: Arc::new(runtime), address, access, control: None, backend: None, pass: None };
        postgres.with(Some(patience()), async |_| Ok(())).map_err(at_start)?;
        Ok(postgres)
    }

    /// Does something on the control connection, made anew where it was lost; within a time, if one is given.
    fn with<T>(&mut self, limit: Option<Duration>, work: impl AsyncFnOnce(&mut Client) -> Result<T, SinkError>) -> Result<T, SinkError> {
        let runtime = Arc::clone(&self.runtime);
        runtime.block_on(async {
            let mut client = match self.control.take().filter(|client| !client.is_closed()) {
                Some(client) => client,
                None => within(Some(patience()), &self.address.place, connect(&self.address, self.access, &mut self.backend)).await?,
            };
            let result = within(limit, &self.address.place, work(&mut client)).await;
            // what was lost, or may still be answering, is not asked again
            if !matches!(&result, Err(error) if error.class == Class::Retry) {
                self.control = Some(client);
            }
            result
        })
    }

    fn writers_of(&self, run: &Run, pass: Pass, workers: Range<usize>) -> Result<Vec<Box<dyn Writer>>, SinkError> {
        let Pass { number, empty } = pass;
        let (pool, run) = (self.pool(workers.len())?, Arc::new(run.clone()));
        let writer = |worker| {
            Box::new(writer::PostgresWriter {
                runtime: Arc::clone(&self.runtime),
                pool: pool.clone(),
                address: self.address.clone(),
                run: Arc::clone(&run),
                number,
                writer: i32::try_from(worker).unwrap_or(i32::MAX),
                client: None,
                backend: None,
                tried: None,
                empty,
            }) as Box<dyn Writer>
        };
        Ok(workers.map(writer).collect())
    }

    fn pool(&self, size: usize) -> Result<Pool, SinkError> {
        let fast = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        Pool::builder(Manager::from_config(self.address.config.clone(), self.address.tls.connector.clone(), fast))
            .max_size(size)
            .build()
            .map_err(|e| SinkError::new(Class::Stop, "a pool of connections could not be made", e))
    }
}

async fn connect(address: &Address, access: Access, backend: &mut Option<Backend>) -> Result<Client, SinkError> {
    if access == Access::Read {
        return address.connect(access).await;
    }
    let client = address.connect_alone(*backend).await?;
    *backend = Some(Backend::of(&client).await.map_err(|e| failed(&address.place, "connecting", e))?);
    Ok(client)
}

async fn exists(client: &Client, table: &str) -> Result<bool, Error> {
    client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&table]).await?.try_get(0)
}

async fn columns(tx: &Transaction<'_>, table: &str) -> Result<BTreeSet<String>, Error> {
    let sql = "SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped";
    tx.query(sql, &[&table]).await?.iter().map(|row| row.try_get(0)).collect()
}

/// The applied migrations; empty where this database has none of ours.
async fn migrations(tx: &Transaction<'_>) -> Result<Vec<Applied>, Error> {
    if columns(tx, MIGRATIONS_TABLE).await?.is_empty() {
        return Ok(Vec::new());
    }
    let rows = tx.query(&format!("SELECT version::int, applied_on::text, checksum::text FROM {MIGRATIONS_TABLE}"), &[]).await?;
    rows.iter().map(|row| Ok(Applied { version: row.try_get(0)?, applied_on: row.try_get(1)?, checksum: row.try_get(2)? })).collect()
}

/// What is there under our names.
async fn found(tx: &Transaction<'_>) -> Result<Vec<Found>, Error> {
    let mut found = Vec::new();
    for (table, _) in TABLES {
        let columns = columns(tx, table).await?;
        if !columns.is_empty() {
            let rows = tx.query_one(&format!("SELECT EXISTS (SELECT 1 FROM {table})"), &[]).await?.try_get(0)?;
            found.push(Found { table, columns, rows });
        }
    }
    Ok(found)
}

/// What the database says about itself, once it is bound.
async fn read_standing(tx: &Transaction<'_>) -> Result<Option<Standing>, Error> {
    let Some(row) = tx.query_opt("SELECT state, store FROM binding", &[]).await? else { return Ok(None) };
    let mut standing =
        Standing { state: Some(row.try_get(0)?), store: Some(row.try_get(1)?), kinds: PerKind::default(), begun: PerKind::default() };
    for row in tx.query("SELECT kind, begun_epoch, begun_id, epoch, id FROM applied", &[]).await? {
        if let Some(kind) = Kind::from_name(row.try_get(0)?) {
            let begun = Some(Epoch { number: row.try_get::<_, i64>(1)?.cast_unsigned(), id: row.try_get(2)? });
            let epoch = |number: i64| row.try_get(4).map(|id| Epoch { number: number.cast_unsigned(), id });
            standing.kinds[kind] = row.try_get::<_, Option<i64>>(3)?.map(epoch).transpose()?;
            standing.begun[kind] = begun.filter(|_| begun != standing.kinds[kind]);
        }
    }
    Ok(Some(standing))
}

/// Binds the database, raises its run number and notes what is begun. Gives that number, and which kinds have no row.
async fn bind(tx: &Transaction<'_>, run: &Run) -> Result<(i64, PerKind<bool>), Error> {
    let (epoch, id) = (run.epoch.number.cast_signed(), run.epoch.id);
    let number: i64 = tx
        .query_one(
            "INSERT INTO binding AS b (one, state, store, run) VALUES (1, $1, $2, 1)
             ON CONFLICT (one) DO UPDATE SET run = b.run + 1 RETURNING run",
            &[&run.state, &Uuid::new_v4()],
        )
        .await?
        .try_get(0)?;
    // waits for the row locks of what is still in flight
    tx.execute("UPDATE watermarks SET run = $1, batch = 0", &[&number]).await?;
    tx.execute(
        "INSERT INTO watermarks (writer, state, run, epoch, tick, batch)
         SELECT n, $1, $2, $3, 0, 0 FROM generate_series(0, $4 - 1) n ON CONFLICT (writer) DO NOTHING",
        &[&run.state, &number, &epoch, &writers(run)],
    )
    .await?;
    let mut empty = PerKind::default();
    for kind in Kind::ALL {
        empty[kind] = tx.query_one(&format!("SELECT NOT EXISTS (SELECT 1 FROM {})", kind.plural()), &[]).await?.try_get(0)?;
    }
    // a kind of which another epoch was begun and never completed holds some of that: it is behind, whatever was applied before
    tx.execute(
        "UPDATE applied SET epoch = NULL, id = NULL WHERE begun_id <> $1 AND (begun_epoch, begun_id) IS DISTINCT FROM (epoch, id)",
        &[&id],
    )
    .await?;
    for (kind, read) in run.kinds.iter().filter_map(|(kind, read)| Some((kind, read.as_ref()?))) {
        tx.execute(
            "INSERT INTO snapshots (epoch, kind, month, file, sha256, begun_at) VALUES ($1, $2, $3, $4, $5, now())
             ON CONFLICT (epoch, kind) DO UPDATE SET month = excluded.month, file = excluded.file, sha256 = excluded.sha256,
             completed_at = NULL, abandoned = false",
            &[&epoch, &kind.name(), &read.month, &read.file, &read.sha256],
        )
        .await?;
        tx.execute(
            "INSERT INTO applied (kind, begun_epoch, begun_id) VALUES ($1, $2, $3)
             ON CONFLICT (kind) DO UPDATE SET begun_epoch = excluded.begun_epoch, begun_id = excluded.begun_id",
            &[&kind.name(), &epoch, &id],
        )
        .await?;
    }
    let abandoned: Vec<i64> = run.abandoned.iter().map(|epoch| epoch.cast_signed()).collect();
    tx.execute("UPDATE snapshots SET abandoned = true WHERE epoch = ANY($1) AND completed_at IS NULL", &[&abandoned]).await?;
    Ok((number, empty))
}

fn writers(run: &Run) -> i32 {
    i32::try_from(run.peers.count()).unwrap_or(i32::MAX)
}

/// Notes how the kinds ended; `false` where another run has taken over.
async fn end(client: &mut Client, run: &Run, number: i64, ends: &PerKind<Option<KindEnd>>) -> Result<bool, Error> {
    let tx = client.transaction().await?;
    if tx.query_opt("SELECT 1 FROM binding WHERE run = $1 FOR UPDATE", &[&number]).await?.is_none() {
        return Ok(false);
    }
    let epoch = run.epoch.number.cast_signed();
    for (kind, end) in ends.iter().filter_map(|(kind, end)| Some((kind, end.as_ref()?))) {
        let [records, withheld, rejected] = [end.records, end.deletes_withheld, end.rejected].map(u64::cast_signed);
        tx.execute(
            "UPDATE snapshots SET sha256 = $6, completed_at = now(), records = $3, deletes_withheld = $4, rejected = $5
             WHERE epoch = $1 AND kind = $2",
            &[&epoch, &kind.name(), &records, &withheld, &rejected, &run.sha256(kind)],
        )
        .await?;
        letters::clear(&tx, run, kind, end).await?;
        if end.current {
            tx.execute(
                "UPDATE applied SET epoch = $2, id = $3, begun_epoch = $2, begun_id = $3 WHERE kind = $1 AND begun_id = $4",
                &[&kind.name(), &end.epoch.number.cast_signed(), &end.epoch.id, &run.epoch.id],
            )
            .await?;
        }
    }
    tx.commit().await.map(|()| true)
}

impl Sink for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn place(&self) -> String {
        self.address.place.clone()
    }

    fn standing(&mut self) -> Result<Standing, SinkError> {
        let place = self.address.place.clone();
        let fail = |e| failed(&place, "reading where it stands", e);
        self.with(Some(patience()), async |client| {
            let tx = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
            let tx = tx.start().await.map_err(fail)?;
            let applied = migrations(&tx).await.map_err(fail)?;
            tables::refuse_newer(&place, &applied, embedded::migrations::runner().get_migrations())?;
            let migrated = !applied.is_empty();
            if migrated && let Some(standing) = read_standing(&tx).await.map_err(fail)? {
                return Ok(standing);
            }
            tables::refuse_foreign(&place, migrated, &found(&tx).await.map_err(fail)?)?;
            Ok(Standing::default())
        })
    }

    fn writers(&self) -> Writers {
        Writers::Workers
    }

    fn begin(&mut self, run: &Run) -> Result<Vec<Box<dyn Writer>>, SinkError> {
        let place = self.address.place.clone();
        if self.access == Access::Read {
            return Err(SinkError::stop(format!("{place} was opened for reading only")));
        }
        if let Some(theirs) = self.standing()?.state.filter(|state| *state != run.state) {
            return Err(tables::other_state(&place, theirs, run.state));
        }
        self.with(Some(MIGRATIONS * patience()), async |client| {
            let mut migrations = embedded::migrations::runner().set_grouped(true);
            let migrated = migrations.set_migration_table_name(MIGRATIONS_TABLE).run_async(client).await;
            migrated.map(drop).map_err(|e| tables::not_migrated(&place, e, help))
        })?;
        let (number, empty) = self.with(Some(patience()), async |client| {
            let begin = async {
                let tx = client.transaction().await?;
                let bound = bind(&tx, run).await?;
                tx.commit().await.map(|()| bound)
            };
            begin.await.map_err(|e| failed(&place, "beginning a run", e))
        })?;
        let pass = Pass { number, empty };
        self.pass = Some(pass);
        self.writers_of(run, pass, 0..run.peers.workers)
    }

    fn pass(&self) -> Option<String> {
        self.pass.and_then(|pass| serde_json::to_string(&pass).ok())
    }

    fn join(&mut self, run: &Run, pass: &str, workers: Range<usize>) -> Result<Vec<Box<dyn Writer>>, SinkError> {
        let unreadable = |e| SinkError::new(Class::Stop, "what process 0 says of the run cannot be read", e);
        self.writers_of(run, serde_json::from_str(pass).map_err(unreadable)?, workers)
    }

    fn complete(&mut self, run: &Run, ends: &PerKind<Option<KindEnd>>) -> Result<(), SinkError> {
        let place = self.address.place.clone();
        let Some(Pass { number, .. }) = self.pass else { return Err(SinkError::stop(format!("{place} was not begun"))) };
        let ended = patiently(|| {
            self.with(Some(patience()), async |client| {
                end(client, run, number, ends).await.map_err(|e| failed(&place, "completing the snapshot", e))
            })
        });
        if ended? { Ok(()) } else { Err(tables::fenced(&place)) }
    }

    fn documents(&mut self) -> Option<&mut dyn Documents> {
        Some(self)
    }

    fn dead_letters(&mut self) -> Option<&mut dyn DeadLetters> {
        Some(self)
    }
}
