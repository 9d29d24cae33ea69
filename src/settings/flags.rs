//! The flags, in groups, so that each command takes only those that it knows.
//!
//! They are kept as they were written: what they mean is decided in `resolve`, together with the environment and the file, so that
//! all mistakes are found at once.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::key::Key;
use super::value::Raw;

/// What was given on the command line.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// The settings file, where one was named.
    pub config: Option<PathBuf>,
    pub(super) given: Vec<(Key, Raw)>,
    pub(super) needed: Vec<Key>,
    pub(super) needs_dumps: bool,
    pub(super) has_sinks: bool,
    pub(super) may_fetch: bool,
}

impl Flags {
    /// The flags of these groups.
    pub fn of(groups: &[&dyn Group]) -> Flags {
        let mut flags = Flags::default();
        groups.iter().for_each(|group| group.put(&mut flags));
        flags
    }

    /// Settings without which the command cannot run, wherever they come from.
    pub fn needing(mut self, keys: &[Key]) -> Flags {
        self.needed.extend(keys);
        self
    }

    /// Dumps are needed, from a folder or from topics.
    pub fn needing_dumps(mut self) -> Flags {
        self.needs_dumps = true;
        self
    }

    /// Gives one setting, as it was written.
    pub fn give(&mut self, key: Key, text: Option<impl Into<OsString>>) {
        self.given.extend(text.map(|text| (key, Raw::Text(text.into()))));
    }
}

/// Some flags that belong together.
pub trait Group {
    /// Adds those that were given.
    fn put(&self, flags: &mut Flags);
}

/// Where the dumps are.
#[derive(Args, Clone, Debug, Default)]
pub struct DumpsFlags {
    /// Folder with a month's dump files, discogs_20251201_artists.xml.gz and so on; kinds without a file are left as they are
    #[arg(long, value_name = "DIR")]
    pub dumps: Option<PathBuf>,
}

/// Where dumps are fetched from.
#[derive(Args, Clone, Debug, Default)]
pub struct FetchFlags {
    /// Where dumps are offered [default: https://data.discogs.com/]
    #[arg(long, value_name = "URL")]
    pub fetch_url: Option<String>,
}

/// Where topics are.
#[derive(Args, Clone, Debug, Default)]
pub struct KafkaFlags {
    /// Kafka brokers, host:port, several of them separated by commas
    #[arg(long, value_name = "HOST:PORT", help_heading = "Kafka")]
    pub brokers: Option<String>,
    /// Encrypt connections to Kafka
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true, help_heading = "Kafka")]
    pub kafka_tls: Option<String>,
    /// PEM file of the certificates that vouch for the brokers' [default: the system's]
    #[arg(long, value_name = "FILE", help_heading = "Kafka")]
    pub kafka_ca: Option<PathBuf>,
    /// PEM file of a certificate to show to brokers that ask for one
    #[arg(long, value_name = "FILE", help_heading = "Kafka")]
    pub kafka_certificate: Option<PathBuf>,
    /// PEM file of its key, without a password
    #[arg(long, value_name = "FILE", help_heading = "Kafka")]
    pub kafka_key: Option<PathBuf>,
    /// User at the brokers; the password is in DISCODIFF_KAFKA_PASSWORD or in the file that follows
    #[arg(long, value_name = "NAME", help_heading = "Kafka")]
    pub kafka_user: Option<String>,
    /// File that holds the user's password
    #[arg(long, value_name = "FILE", help_heading = "Kafka")]
    pub kafka_password_file: Option<PathBuf>,
    /// How the user is proved: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512 [default: SCRAM-SHA-512]
    #[arg(long, value_name = "MECHANISM", help_heading = "Kafka")]
    pub kafka_sasl: Option<String>,
    /// What the names of the topics begin with: discogs.artists and so on [default: discogs]
    #[arg(long, value_name = "PREFIX", help_heading = "Kafka")]
    pub topic_prefix: Option<String>,
}

/// Where the state is, and the settings file.
#[derive(Args, Clone, Debug, Default)]
pub struct StateFlags {
    /// Folder where discodiff keeps what it has applied so far, or s3://bucket/prefix
    #[arg(long, value_name = "DIR|URL")]
    pub state: Option<PathBuf>,
    /// Settings file [default: DISCODIFF_CONFIG, else discodiff.toml in this folder, if it is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// The stores that have tables.
#[derive(Args, Clone, Debug, Default)]
pub struct TableFlags {
    /// SQLite file [default: discodiff.sqlite in the state's folder, where no sink at all is named]
    #[arg(long, value_name = "FILE", help_heading = "Sinks")]
    pub sqlite: Option<PathBuf>,
    /// PostgreSQL, as postgresql://user@host:5432/database
    #[arg(long, value_name = "URL", help_heading = "Sinks")]
    pub postgres: Option<String>,
    /// How PostgreSQL is connected to.
    #[command(flatten)]
    pub connection: PostgresFlags,
}

/// How PostgreSQL is connected to.
#[derive(Args, Clone, Debug, Default)]
pub struct PostgresFlags {
    /// File that holds PostgreSQL's password, so that it need not be in the URL
    #[arg(long, value_name = "FILE", help_heading = "Sinks")]
    pub postgres_password_file: Option<PathBuf>,
    /// PEM file of the certificates that vouch for PostgreSQL's; sslmode=verify-full in the URL takes the system's
    #[arg(long, value_name = "FILE", help_heading = "Sinks")]
    pub postgres_ca: Option<PathBuf>,
    /// PEM file of a certificate to show to PostgreSQL, where it asks for one
    #[arg(long, value_name = "FILE", help_heading = "Sinks")]
    pub postgres_certificate: Option<PathBuf>,
    /// PEM file of its key, without a password
    #[arg(long, value_name = "FILE", help_heading = "Sinks")]
    pub postgres_key: Option<PathBuf>,
}

/// The stores.
#[derive(Args, Clone, Debug, Default)]
pub struct StoreFlags {
    /// Those with tables.
    #[command(flatten)]
    pub tables: TableFlags,
    /// Neo4j, as bolt://user@host:7687 or neo4j://user@host:7687/database; bolt+s and neo4j+s encrypt
    #[arg(long, value_name = "URL", help_heading = "Sinks")]
    pub neo4j: Option<String>,
    /// File that holds Neo4j's password, so that it need not be in the URL
    #[arg(long, value_name = "FILE", help_heading = "Sinks")]
    pub neo4j_password_file: Option<PathBuf>,
}

/// All sinks.
#[derive(Args, Clone, Debug, Default)]
pub struct SinkFlags {
    /// The stores.
    #[command(flatten)]
    pub stores: StoreFlags,
    /// Kafka topics of documents, compacted: PREFIX.artists and so on
    #[arg(long, value_name = "PREFIX", help_heading = "Sinks")]
    pub document_topics: Option<String>,
    /// Change feed: a JSON Lines file that each change is added to, or kafka:TOPIC
    #[arg(long, value_name = "FILE|kafka:TOPIC", help_heading = "Sinks")]
    pub feed: Option<PathBuf>,
    /// No sink at all: only the state is brought up
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true, help_heading = "Sinks")]
    pub null: Option<String>,
}

/// How a run goes.
#[derive(Args, Clone, Debug, Default)]
pub struct RunFlags {
    /// Number of worker threads, 1 to 64 [default: 1]
    #[arg(short = 'w', long, value_name = "N")]
    pub workers: Option<String>,
    /// Bound of the bytes in flight between reading and the sinks [default: 128MiB]
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<String>,
    /// Take the deletes that the delete guard withheld
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub allow_deletes: Option<String>,
    /// Percentage of a kind that may be deleted before the delete guard withholds [default: 1.0, and never below 100 records]
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true)]
    pub delete_limit_percent: Option<String>,
    /// Percentage of a kind's records that may be rejected before the run fails [default: 1.0, and never below 100 records]
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true)]
    pub reject_limit_percent: Option<String>,
    /// Take a month that is older than the last one applied
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub allow_older: Option<String>,
}

/// Several processes that work as one.
#[derive(Args, Clone, Debug, Default)]
pub struct ClusterFlags {
    /// Number of processes that work as one, each started with the same command but for --process: several read topics faster [default: 1]
    #[arg(long, value_name = "N", help_heading = "Cluster")]
    pub processes: Option<String>,
    /// Which of them this one is, from 0 on; process 0 prints the report
    #[arg(long, value_name = "I", help_heading = "Cluster")]
    pub process: Option<String>,
    /// File that names all processes, a line HOST:PORT each, that of process 0 first
    #[arg(long, value_name = "FILE", help_heading = "Cluster")]
    pub hostfile: Option<PathBuf>,
}

/// How a run can be taken up.
#[derive(Args, Clone, Debug, Default)]
pub struct RecoveryFlags {
    /// Seconds between two checkpoints within a month, from which a run that was interrupted goes on [default: 30]
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true)]
    pub checkpoint_interval: Option<String>,
}

/// What is printed.
#[derive(Args, Clone, Debug, Default)]
pub struct OutputFlags {
    /// Print one JSON object on stdout instead of words
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true, help_heading = "Output")]
    pub json: Option<String>,
    /// What is logged to stderr: error, warn, info, debug, trace, or a filter such as warn,discodiff=debug [default: info]
    #[arg(long, value_name = "FILTER", help_heading = "Output")]
    pub log: Option<String>,
    /// How log lines look: text or json [default: text]
    #[arg(long, value_name = "FORMAT", help_heading = "Output")]
    pub log_format: Option<String>,
}

/// How a long command is watched.
#[derive(Args, Clone, Debug, Default)]
pub struct MonitorFlags {
    /// Serve /metrics (for Prometheus), /health and /ready there while the command runs; a port alone is one of this machine only
    #[arg(long, value_name = "ADDR:PORT", help_heading = "Monitoring")]
    pub listen: Option<String>,
    /// Keep the metrics in this file too, for what is seen once the command has ended, or in this folder, as discodiff-COMMAND.prom: the textfile collector of node_exporter reads *.prom
    #[arg(long, value_name = "FILE|DIR", help_heading = "Monitoring")]
    pub metrics_file: Option<PathBuf>,
}

impl Group for DumpsFlags {
    fn put(&self, flags: &mut Flags) {
        flags.give(Key::Dumps, self.dumps.as_ref());
    }
}

impl Group for FetchFlags {
    fn put(&self, flags: &mut Flags) {
        flags.may_fetch = true;
        flags.give(Key::FetchUrl, self.fetch_url.as_ref());
    }
}

impl Group for KafkaFlags {
    fn put(&self, flags: &mut Flags) {
        flags.give(Key::Brokers, self.brokers.as_ref());
        flags.give(Key::KafkaTls, self.kafka_tls.as_ref());
        flags.give(Key::KafkaCa, self.kafka_ca.as_ref());
        flags.give(Key::KafkaCertificate, self.kafka_certificate.as_ref());
        flags.give(Key::KafkaKey, self.kafka_key.as_ref());
        flags.give(Key::KafkaUser, self.kafka_user.as_ref());
        flags.give(Key::KafkaPasswordFile, self.kafka_password_file.as_ref());
        flags.give(Key::KafkaSasl, self.kafka_sasl.as_ref());
        flags.give(Key::TopicPrefix, self.topic_prefix.as_ref());
    }
}

impl Group for StateFlags {
    fn put(&self, flags: &mut Flags) {
        flags.give(Key::State, self.state.as_ref());
        flags.config.clone_from(&self.config);
    }
}

impl Group for TableFlags {
    fn put(&self, flags: &mut Flags) {
        flags.give(Key::Sqlite, self.sqlite.as_ref());
        flags.give(Key::Postgres, self.postgres.as_ref());
        self.connection.put(flags);
    }
}

impl Group for PostgresFlags {
    fn put(&self, flags: &mut Flags) {
        flags.give(Key::PostgresPasswordFile, self.postgres_password_file.as_ref());
        flags.give(Key::PostgresCa, self.postgres_ca.as_ref());
        flags.give(Key::PostgresCertificate, self.postgres_certificate.as_ref());
        flags.give(Key::PostgresKey, self.postgres_key.as_ref());
    }
}

impl Group for StoreFlags {
    fn put(&self, flags: &mut Flags) {
        self.tables.put(flags);
        flags.give(Key::Neo4j, self.neo4j.as_ref());
        flags.give(Key::Neo4jPasswordFile, self.neo4j_password_file.as_ref());
    }
}

impl Group for SinkFlags {
    fn put(&self, flags: &mut Flags) {
        self.stores.put(flags);
        flags.has_sinks = true;
        flags.give(Key::DocumentTopics, self.document_topics.as_ref());
        flags.give(Key::Feed, self.feed.as_ref());
        flags.give(Key::Null, self.null.as_ref());
    }
}

impl Group for RunFlags {
    fn put(&self, flags: &mut Flags) {
        flags.give(Key::Workers, self.workers.as_ref());
        flags.give(Key::Memory, self.memory.as_ref());
        flags.give(Key::AllowDeletes, self.allow_deletes.as_ref());
        flags.give(Key::DeleteLimitPercent, self.delete_limit_percent.as_ref());
        flags.give(Key::RejectLimitPercent, self.reject_limit_percent.as_ref());
        flags.give(Key::AllowOlder, self.allow_older.as_ref());
    }
}

impl Group for ClusterFlags {
    fn put(&self, flags: &mut Flags) {
        flags.give(Key::Processes, self.processes.as_ref());
        flags.give(Key::Process, self.process.as_ref());
        flags.give(Key::Hostfile, self.hostfile.as_ref());
    }
}

impl Group for RecoveryFlags {
    fn put(&self, flags: &mut Flags) {
        flags.give(Key::CheckpointInterval, self.checkpoint_interval.as_ref());
    }
}

impl Group for MonitorFlags {
    fn put(&self, flags: &mut Flags) {
        flags.give(Key::Listen, self.listen.as_ref());
        flags.give(Key::MetricsFile, self.metrics_file.as_ref());
    }
}

impl Group for OutputFlags {
    fn put(&self, flags: &mut Flags) {
        flags.give(Key::Json, self.json.as_ref());
        flags.give(Key::Log, self.log.as_ref());
        flags.give(Key::LogFormat, self.log_format.as_ref());
    }
}
