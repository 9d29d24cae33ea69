//! Stores to test with, and short ways to say what is written.

use std::error::Error;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::types::ValueRef;
use tokio_postgres::{Config, NoTls, SimpleQueryMessage};
use uuid::Uuid;

use crate::model::{Change, DeadLetter, Digest, Key, Kind, Peers, PerKind, Stage, Verdict};
use crate::sinks::postgres::{Postgres, TlsFiles};
use crate::sinks::sqlite::Sqlite;
use crate::sinks::{Access, Batch, Epoch, KindEnd, KindRun, Need, Run, Sink, SinkError, Writer};

/// What a test ends with.
pub(super) type Outcome = Result<(), Box<dyn Error>>;

/// A store of its own for one test.
pub(super) trait Store {
    /// Opens it.
    fn open(&self, access: Access) -> Result<Box<dyn Sink>, SinkError>;
    /// Runs statements past the sink; rows as text, JSON without spaces after commas.
    fn sql(&self, sql: &str) -> Result<Vec<Vec<String>>, Box<dyn Error>>;
}

/// A file in a folder of its own.
pub(super) struct InFile {
    folder: tempfile::TempDir,
}

impl InFile {
    pub(super) fn new() -> Result<InFile, Box<dyn Error>> {
        Ok(InFile { folder: tempfile::tempdir()? })
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("store.sqlite")
    }
}

impl Store for InFile {
    fn open(&self, access: Access) -> Result<Box<dyn Sink>, SinkError> {
        Ok(Box::new(Sqlite::open(&self.path(), access)?))
    }

    fn sql(&self, sql: &str) -> Result<Vec<Vec<String>>, Box<dyn Error>> {
        let connection = rusqlite::Connection::open(self.path())?;
        let mut found = Vec::new();
        let mut batch = rusqlite::Batch::new(&connection, sql);
        while let Some(mut statement) = batch.next()? {
            let columns = statement.column_count();
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let text = |i| {
                    Ok(match row.get_ref(i)? {
                        ValueRef::Null => "null".to_owned(),
                        ValueRef::Integer(n) => n.to_string(),
                        ValueRef::Real(n) => n.to_string(),
                        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                    })
                };
                found.push((0..columns).map(text).collect::<rusqlite::Result<Vec<String>>>()?);
            }
        }
        Ok(found)
    }
}

/// A database of its own on the server that `DISCODIFF_TEST_POSTGRES` names.
pub(super) struct InDatabase {
    pub(super) config: Config,
    pub(super) name: String,
    runtime: tokio::runtime::Runtime,
}

impl InDatabase {
    /// `None`, with a word, where no server is named.
    pub(super) fn new() -> Result<Option<InDatabase>, Box<dyn Error>> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let Ok(url) = std::env::var("DISCODIFF_TEST_POSTGRES") else {
            println!("skipped: DISCODIFF_TEST_POSTGRES is not set (scripts/services.sh start postgres, then env)");
            return Ok(None);
        };
        let name = format!("discodiff_test_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let database = InDatabase { config: url.parse()?, name, runtime };
        database.run(&database.config, &format!("CREATE DATABASE {}", database.name))?;
        Ok(Some(database))
    }

    /// The URL of the database, with another password if one is given.
    pub(super) fn url(&self, database: &str) -> String {
        let host = match self.config.get_hosts() {
            [tokio_postgres::config::Host::Tcp(host), ..] => host.clone(),
            _ => "localhost".to_owned(),
        };
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        format!("postgres://{}@{host}:{port}/{database}", self.config.get_user().unwrap_or("postgres"))
    }

    pub(super) fn password(&self) -> String {
        String::from_utf8_lossy(self.config.get_password().unwrap_or_default()).into_owned()
    }

    fn run(&self, config: &Config, sql: &str) -> Result<Vec<Vec<String>>, Box<dyn Error>> {
        self.runtime.block_on(async {
            let (client, connection) = config.connect(NoTls).await?;
            let connection = tokio::spawn(connection);
            let mut found = Vec::new();
            for message in client.simple_query(sql).await? {
                if let SimpleQueryMessage::Row(row) = message {
                    found.push((0..row.len()).map(|i| row.get(i).unwrap_or("null").replace("\", ", "\",")).collect());
                }
            }
            drop(client);
            connection.await??;
            Ok(found)
        })
    }
}

impl Store for InDatabase {
    fn open(&self, access: Access) -> Result<Box<dyn Sink>, SinkError> {
        Ok(Box::new(Postgres::open(&self.url(&self.name), Some(&self.password()), &TlsFiles::default(), access)?))
    }

    fn sql(&self, sql: &str) -> Result<Vec<Vec<String>>, Box<dyn Error>> {
        self.run(self.config.clone().dbname(&self.name), sql)
    }
}

impl Drop for InDatabase {
    fn drop(&mut self) {
        if let Err(error) = self.run(&self.config, &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name)) {
            println!("database {} could not be dropped: {error}", self.name);
        }
    }
}

/// An epoch that no other test has.
pub(super) fn epoch(number: u64) -> Epoch {
    Epoch { number, id: Uuid::new_v4() }
}

/// A run over all kinds.
pub(super) fn run(state: Uuid, epoch: Epoch, need: Need) -> Run {
    let kind = |kind: Kind| {
        Some(KindRun {
            need,
            faults: std::sync::Arc::default(),
            month: "2025-12".to_owned(),
            file: format!("discogs_20251201_{}.xml.gz", kind.plural()),
            sha256: "00".repeat(32),
        })
    };
    Run {
        from: None,
        state,
        epoch,
        month: "2025-12".to_owned(),
        kinds: PerKind::from_fn(kind),
        peers: Peers::alone(2),
        want_fields: true,
        abandoned: Vec::new(),
        before: None,
    }
}

/// A key of a kind.
pub(super) fn key(kind: Kind, id: u64) -> Key {
    Key::new(kind, id).unwrap_or(Key::floor(kind))
}

/// A change with a document.
pub(super) fn with(kind: Kind, id: u64, verdict: Verdict, json: &str) -> Change {
    Change { key: key(kind, id), verdict, tick: 0, document: Some((Digest::of(json.as_bytes()), json.into())), graph: None }
}

/// A change of an artist, whose document has this name.
pub(super) fn artist(id: u64, verdict: Verdict, name: &str) -> Change {
    with(Kind::Artist, id, verdict, &format!(r#"{{"id":"{id}","name":"{name}"}}"#))
}

/// A delete.
pub(super) fn gone(kind: Kind, id: u64) -> Change {
    Change { key: key(kind, id), verdict: Verdict::Delete, tick: 0, document: None, graph: None }
}

/// A batch, its changes sorted.
pub(super) fn batch(number: u64, mut changes: Vec<Change>) -> Batch {
    changes.sort_by_key(|change| change.key);
    Batch { number, tick: number, changes, ..Batch::default() }
}

/// A rejected record.
pub(super) fn letter(position: u64, reason: &str) -> DeadLetter {
    let raw = b"<artist>\x00\xff</artist>".to_vec();
    DeadLetter {
        kind: Kind::Artist,
        id: None,
        file: "a.xml.gz".into(),
        position,
        tick: 0,
        stage: Stage::Parse,
        reason: reason.to_owned(),
        raw,
    }
}

/// The first of a sink's writers.
pub(super) fn begin(sink: &mut dyn Sink, run: &Run) -> Result<Box<dyn Writer>, Box<dyn Error>> {
    sink.begin(run)?.into_iter().next().ok_or_else(|| "no writer".into())
}

/// How every kind ends where the sink got all of it.
pub(super) fn ends(run: &Run) -> PerKind<Option<KindEnd>> {
    PerKind::from_fn(|_| Some(KindEnd { epoch: run.epoch, current: true, whole: true, records: 7, deletes_withheld: 1, rejected: 2 }))
}

/// A whole run of one batch.
pub(super) fn apply(store: &dyn Store, run: &Run, changes: Vec<Change>) -> Result<crate::sinks::Written, Box<dyn Error>> {
    let mut sink = store.open(Access::Write)?;
    let written = begin(&mut *sink, run)?.write(&batch(1, changes), 0)?;
    sink.complete(run, &ends(run))?;
    sink.close()?;
    Ok(written)
}

/// `data_id`, `hash` and `data`.
pub(super) type Document = (String, String, serde_json::Value);

/// Rows of a kind as they are read back, sorted.
pub(super) fn documents(store: &dyn Store, kind: Kind) -> Result<Vec<Document>, Box<dyn Error>> {
    let mut sink = store.open(Access::Read)?;
    let mut found = Vec::new();
    let mut failure = None;
    let documents = sink.documents().ok_or("no documents")?;
    documents.scan(kind, &mut |row| match serde_json::from_str(row.data) {
        Ok(value) => found.push((row.data_id.to_owned(), row.hash.to_owned(), value)),
        Err(error) => failure = Some(error),
    })?;
    found.sort_by(|a, b| a.0.cmp(&b.0));
    failure.map_or(Ok(found), |error| Err(error.into()))
}
