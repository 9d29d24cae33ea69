//! Settings: flags over environment over a TOML file over defaults.
//!
//! ```text
//!   command line ─ clap ─> Flags ──┐
//!   environment ───────────────────┼─ resolve (pure) ─> Settings, or all Mistakes at once
//!   discodiff.toml ────────────────┘
//! ```
//!
//! One setting has one name everywhere: `log_format` in the file, `--log-format`, `DISCODIFF_LOG_FORMAT`. Paths in the file are taken
//! from the file's folder. Layering is done here and not by a library: those stop at the first wrong value of a layer, or lose where
//! a value came from, and a month's job that is refused three times for three slips is started three times.

mod flags;
mod key;
mod load;
mod mistake;
mod resolve;
mod secret;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;

pub use flags::{
    ClusterFlags, DumpsFlags, FetchFlags, Flags, Group, KafkaFlags, MonitorFlags, OutputFlags, PostgresFlags, RecoveryFlags, RunFlags,
    SinkFlags, StateFlags, StoreFlags, TableFlags,
};
pub use key::{Key, SUPERVISOR_VARIABLE};
pub use load::load;
pub use mistake::{Mistake, Mistakes, Origin};
pub use resolve::resolve;
pub use secret::Secret;
pub use value::{FeedPlace, LogFormat};

use crate::kafka::Sasl;
use crate::sinks::postgres::TlsFiles;
use crate::state::Location;

/// What a run is to do, resolved. Printing it shows each setting with its origin, and no secret.
#[derive(Clone)]
pub struct Settings {
    /// Folder of the month's dump files.
    pub dumps: Option<PathBuf>,
    /// The newest month is fetched into a folder of its own in `dumps` first.
    pub fetch: bool,
    /// Where dumps are fetched from; holds no user.
    pub fetch_url: Url,
    /// Dumps are read from Kafka topics; never together with a folder of them.
    pub kafka: bool,
    /// Kafka brokers, `host:port`, several of them separated by commas.
    pub brokers: Option<String>,
    /// Whether connections to Kafka are encrypted.
    pub kafka_tls: bool,
    /// PEM file of certificates that vouch for the brokers'; the system's where none is named.
    pub kafka_ca: Option<PathBuf>,
    /// PEM file of the certificate that is shown to brokers.
    pub kafka_certificate: Option<PathBuf>,
    /// PEM file of its key.
    pub kafka_key: Option<PathBuf>,
    /// The user at the brokers.
    pub kafka_user: Option<String>,
    /// The user's password, which no flag gives: command lines are seen by all; see [`Settings::topics`].
    pub kafka_password: Option<Secret>,
    /// The file that holds it.
    pub kafka_password_file: Option<PathBuf>,
    /// How the user is proved.
    pub kafka_sasl: Sasl,
    /// What the names of topics begin with.
    pub topic_prefix: String,
    /// Partitions of topics that are made; those that are there must have as many.
    pub partitions: Option<usize>,
    /// Where the state is.
    pub state: Option<Location>,
    /// The SQLite file, where one was named; see [`Settings::sqlite_file`].
    pub sqlite: Option<PathBuf>,
    /// PostgreSQL's URL; see [`Settings::postgres_password`].
    pub postgres: Option<Secret>,
    /// The file that holds PostgreSQL's password.
    pub postgres_password_file: Option<PathBuf>,
    /// PEM files of an encrypted connection to PostgreSQL; see [`Settings::postgres_files`].
    pub postgres_tls: TlsFiles,
    /// Neo4j's URL; see [`Settings::neo4j_password`].
    pub neo4j: Option<Secret>,
    /// The file that holds Neo4j's password.
    pub neo4j_password_file: Option<PathBuf>,
    /// What the names of topics of documents begin with.
    pub document_topics: Option<String>,
    /// Where the change feed is.
    pub feed: Option<FeedPlace>,
    /// No sink at all; never together with one.
    pub null: bool,
    /// Worker threads of each process, 1 to 64 in all.
    pub workers: usize,
    /// Number of processes that work as one.
    pub processes: usize,
    /// Which of them this one is.
    pub process: usize,
    /// The file that names all of them.
    pub hostfile: Option<PathBuf>,
    /// Whether deletes beyond the limit are taken.
    pub allow_deletes: bool,
    /// Whether a month older than the last one applied is taken.
    pub allow_older: bool,
    /// Whether stdout gets JSON.
    pub json: bool,
    /// Percentage of a kind that may be deleted before deletes are withheld.
    pub delete_limit_percent: f64,
    /// Percentage of a kind's records that may be rejected before the run fails.
    pub reject_limit_percent: f64,
    /// Bound of the bytes in flight.
    pub memory: u64,
    /// How often checkpoints are taken within a month.
    pub checkpoint_interval: Duration,
    /// The filter of log lines.
    pub log: String,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Where metrics, health and readiness are served, if anywhere.
    pub listen: Option<SocketAddr>,
    /// The file that metrics are written to, or the folder of a file for each command, if any.
    pub metrics_file: Option<PathBuf>,
    origins: BTreeMap<Key, Origin>,
}

impl Settings {
    /// Where a setting came from.
    pub fn origin(&self, key: Key) -> Origin {
        self.origins.get(&key).cloned().unwrap_or_default()
    }

    /// The folder of dumps, or what to say where none was named.
    pub fn dumps_dir(&self) -> Result<&Path, Mistakes> {
        needed(Key::Dumps, self.dumps.as_deref())
    }

    /// Where the state is, or what to say where that was not named.
    pub fn state(&self) -> Result<&Location, Mistakes> {
        needed(Key::State, self.state.as_ref())
    }

    /// Adds a mistake where neither a sink nor `null` was named, and the state has no folder for a store of its own.
    pub fn check_sinks(&self, mistakes: &mut Mistakes) {
        let bucket = self.state.as_ref().filter(|state| state.folder().is_none());
        if let Some(bucket) = bucket.filter(|_| !self.names_a_sink() && !self.null) {
            let place = self.origin(Key::State).place(Key::State);
            mistakes.add(
                place,
                format!("{bucket} is no folder, where a SQLite file could be: name a sink (--sqlite FILE, --postgres URL and so on), or say --null"),
            );
        }
    }

    /// Whether a sink was named.
    pub fn names_a_sink(&self) -> bool {
        let stores = self.sqlite.is_some() || self.postgres.is_some() || self.neo4j.is_some();
        stores || self.document_topics.is_some() || self.feed.is_some()
    }

    /// The SQLite file: the one that was named, or the state folder's own where neither a sink nor `null` was.
    pub fn sqlite_file(&self) -> Option<PathBuf> {
        let folder = || self.state.as_ref().and_then(Location::folder).filter(|_| !self.null && !self.names_a_sink());
        let own = || folder().map(|folder| folder.join("discodiff.sqlite"));
        self.sqlite.clone().or_else(own)
    }

    /// Where both stores with tables are named, keeps that of the strongest layer, else PostgreSQL: for commands that ask one.
    pub fn keep_one_with_tables(&mut self) {
        if self.sqlite.is_some() && self.postgres.is_some() {
            if self.origin(Key::Sqlite).layer() > self.origin(Key::Postgres).layer() {
                self.postgres = None;
            } else {
                self.sqlite = None;
            }
        }
    }

    /// What all processes of a cluster must be told alike, by name: all but what is their own, where files are on their machine, and what is
    /// printed.
    pub fn common(&self) -> Vec<(String, String)> {
        let own = |key: Key| {
            matches!(key, Key::Process | Key::Dumps | Key::State | Key::Json | Key::Log | Key::LogFormat | Key::Listen)
                || ["file", "_ca", "_certificate", "_key"].iter().any(|ending| key.name().ends_with(ending))
        };
        let common = Key::ALL.into_iter().filter(|key| !own(*key));
        common.filter_map(|key| Some((key.name().to_owned(), self.shown(key)?))).collect()
    }

    fn shown(&self, key: Key) -> Option<String> {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        match key {
            Key::Dumps => path(&self.dumps),
            Key::Fetch => Some(self.fetch.to_string()),
            // Of use where something is fetched.
            Key::FetchUrl => (self.fetch || self.origin(key) != Origin::Default).then(|| self.fetch_url.to_string()),
            Key::Kafka => Some(self.kafka.to_string()),
            Key::Brokers => self.brokers.clone(),
            // All these are of no use without brokers.
            Key::KafkaTls => self.brokers.is_some().then(|| self.kafka_tls.to_string()),
            Key::KafkaCa => path(&self.kafka_ca),
            Key::KafkaCertificate => path(&self.kafka_certificate),
            Key::KafkaKey => path(&self.kafka_key),
            Key::KafkaUser => self.kafka_user.clone(),
            Key::KafkaPassword => self.kafka_password.as_ref().map(Secret::to_string),
            Key::KafkaPasswordFile => path(&self.kafka_password_file),
            Key::KafkaSasl => self.kafka_user.is_some().then(|| self.kafka_sasl.name().to_owned()),
            Key::TopicPrefix => self.brokers.is_some().then(|| self.topic_prefix.clone()),
            Key::Partitions => self.partitions.map(|partitions| partitions.to_string()),
            Key::State => self.state.as_ref().map(Location::to_string),
            Key::Sqlite => path(&self.sqlite),
            Key::Postgres => self.postgres.as_ref().map(load::masked),
            Key::PostgresPasswordFile => path(&self.postgres_password_file),
            Key::PostgresCa => path(&self.postgres_tls.ca),
            Key::PostgresCertificate => path(&self.postgres_tls.certificate),
            Key::PostgresKey => path(&self.postgres_tls.key),
            Key::Neo4j => self.neo4j.as_ref().map(load::masked_url),
            Key::Neo4jPasswordFile => path(&self.neo4j_password_file),
            Key::DocumentTopics => self.document_topics.clone(),
            Key::Feed => self.feed.as_ref().map(FeedPlace::to_string),
            Key::Null => Some(self.null.to_string()),
            Key::Workers => Some(self.workers.to_string()),
            Key::Processes => (self.processes > 1).then(|| self.processes.to_string()),
            Key::Process => (self.processes > 1).then(|| self.process.to_string()),
            Key::Hostfile => path(&self.hostfile),
            Key::AllowDeletes => Some(self.allow_deletes.to_string()),
            Key::AllowOlder => Some(self.allow_older.to_string()),
            Key::Json => Some(self.json.to_string()),
            Key::DeleteLimitPercent => Some(self.delete_limit_percent.to_string()),
            Key::RejectLimitPercent => Some(self.reject_limit_percent.to_string()),
            Key::Memory => Some(crate::telemetry::words::bytes(self.memory)),
            Key::CheckpointInterval => Some(self.checkpoint_interval.as_secs_f64().to_string()),
            Key::Log => Some(self.log.clone()),
            Key::LogFormat => Some(format!("{:?}", self.log_format).to_lowercase()),
            Key::Listen => self.listen.map(|address| address.to_string()),
            Key::MetricsFile => path(&self.metrics_file),
        }
    }
}

fn needed<T: ?Sized>(key: Key, given: Option<&T>) -> Result<&T, Mistakes> {
    given.ok_or_else(|| {
        let mut mistakes = Mistakes::default();
        mistakes.add_missing(key, "");
        mistakes
    })
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for key in Key::ALL {
            if let Some(value) = self.shown(key) {
                let origin = match self.origin(key) {
                    Origin::Default => "default".to_owned(),
                    origin => origin.place(key),
                };
                write!(f, "{separator}{key} = {value}  ({origin})")?;
                separator = "\n";
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Settings {{ {} }}", self.to_string().replace('\n', ", "))
    }
}
