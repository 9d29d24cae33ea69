//! The names of the settings. One table, from which the names of flags, variables and keys in the file all follow.

use std::fmt;

/// One setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// Folder of the month's dump files.
    Dumps,
    /// Whether the newest month is fetched first.
    Fetch,
    /// Where dumps are fetched from.
    FetchUrl,
    /// Whether dumps are read from Kafka topics.
    Kafka,
    /// The Kafka brokers.
    Brokers,
    /// Whether connections to Kafka are encrypted.
    KafkaTls,
    /// Certificates that vouch for the Kafka brokers.
    KafkaCa,
    /// The certificate that is shown to Kafka brokers.
    KafkaCertificate,
    /// Its key.
    KafkaKey,
    /// The user at the Kafka brokers.
    KafkaUser,
    /// The user's password.
    KafkaPassword,
    /// File that holds it.
    KafkaPasswordFile,
    /// How the user is proved.
    KafkaSasl,
    /// What the names of topics begin with.
    TopicPrefix,
    /// Partitions of new topics.
    Partitions,
    /// Where the state is.
    State,
    /// The SQLite file.
    Sqlite,
    /// The PostgreSQL URL.
    Postgres,
    /// File that holds PostgreSQL's password.
    PostgresPasswordFile,
    /// Certificates that vouch for the PostgreSQL server.
    PostgresCa,
    /// The certificate that is shown to PostgreSQL.
    PostgresCertificate,
    /// Its key.
    PostgresKey,
    /// The Neo4j URL.
    Neo4j,
    /// File that holds Neo4j's password.
    Neo4jPasswordFile,
    /// What the names of topics of documents begin with.
    DocumentTopics,
    /// The change feed's file or topic.
    Feed,
    /// Whether to do without any sink.
    Null,
    /// Number of workers.
    Workers,
    /// Number of processes.
    Processes,
    /// Which of them this one is.
    Process,
    /// File that names all of them.
    Hostfile,
    /// Whether deletes beyond the limit are taken.
    AllowDeletes,
    /// Whether a month older than the last one applied is taken.
    AllowOlder,
    /// Whether stdout gets JSON.
    Json,
    /// The limit of the delete guard.
    DeleteLimitPercent,
    /// How many records may be rejected.
    RejectLimitPercent,
    /// The bound of bytes in flight.
    Memory,
    /// How often checkpoints are taken.
    CheckpointInterval,
    /// What is logged.
    Log,
    /// How it is logged.
    LogFormat,
    /// Where metrics are served.
    Listen,
    /// The file that they are written to.
    MetricsFile,
}

impl Key {
    /// All settings, in the order in which they are shown.
    pub const ALL: [Key; 42] = [
        Key::Dumps,
        Key::Fetch,
        Key::FetchUrl,
        Key::Kafka,
        Key::Brokers,
        Key::KafkaTls,
        Key::KafkaCa,
        Key::KafkaCertificate,
        Key::KafkaKey,
        Key::KafkaUser,
        Key::KafkaPassword,
        Key::KafkaPasswordFile,
        Key::KafkaSasl,
        Key::TopicPrefix,
        Key::Partitions,
        Key::State,
        Key::Sqlite,
        Key::Postgres,
        Key::PostgresPasswordFile,
        Key::PostgresCa,
        Key::PostgresCertificate,
        Key::PostgresKey,
        Key::Neo4j,
        Key::Neo4jPasswordFile,
        Key::DocumentTopics,
        Key::Feed,
        Key::Null,
        Key::Workers,
        Key::Processes,
        Key::Process,
        Key::Hostfile,
        Key::AllowDeletes,
        Key::AllowOlder,
        Key::Json,
        Key::DeleteLimitPercent,
        Key::RejectLimitPercent,
        Key::Memory,
        Key::CheckpointInterval,
        Key::Log,
        Key::LogFormat,
        Key::Listen,
        Key::MetricsFile,
    ];

    /// The name in the settings file: `log_format`.
    pub const fn name(self) -> &'static str {
        match self {
            Key::Dumps => "dumps",
            Key::Fetch => "fetch",
            Key::FetchUrl => "fetch_url",
            Key::Kafka => "kafka",
            Key::Brokers => "brokers",
            Key::KafkaTls => "kafka_tls",
            Key::KafkaCa => "kafka_ca",
            Key::KafkaCertificate => "kafka_certificate",
            Key::KafkaKey => "kafka_key",
            Key::KafkaUser => "kafka_user",
            Key::KafkaPassword => "kafka_password",
            Key::KafkaPasswordFile => "kafka_password_file",
            Key::KafkaSasl => "kafka_sasl",
            Key::TopicPrefix => "topic_prefix",
            Key::Partitions => "partitions",
            Key::State => "state",
            Key::Sqlite => "sqlite",
            Key::Postgres => "postgres",
            Key::PostgresPasswordFile => "postgres_password_file",
            Key::PostgresCa => "postgres_ca",
            Key::PostgresCertificate => "postgres_certificate",
            Key::PostgresKey => "postgres_key",
            Key::Neo4j => "neo4j",
            Key::Neo4jPasswordFile => "neo4j_password_file",
            Key::DocumentTopics => "document_topics",
            Key::Feed => "feed",
            Key::Null => "null",
            Key::Workers => "workers",
            Key::Processes => "processes",
            Key::Process => "process",
            Key::Hostfile => "hostfile",
            Key::AllowDeletes => "allow_deletes",
            Key::AllowOlder => "allow_older",
            Key::Json => "json",
            Key::DeleteLimitPercent => "delete_limit_percent",
            Key::RejectLimitPercent => "reject_limit_percent",
            Key::Memory => "memory",
            Key::CheckpointInterval => "checkpoint_interval",
            Key::Log => "log",
            Key::LogFormat => "log_format",
            Key::Listen => "listen",
            Key::MetricsFile => "metrics_file",
        }
    }

    /// The name as a flag: `--log-format`.
    pub fn flag(self) -> String {
        format!("--{}", self.name().replace('_', "-"))
    }

    /// The name in the environment: `DISCODIFF_LOG_FORMAT`.
    pub fn variable(self) -> String {
        format!("{PREFIX}{}", self.name().to_ascii_uppercase())
    }

    /// The setting of this name in the settings file.
    pub fn from_name(name: &str) -> Option<Key> {
        Key::ALL.into_iter().find(|key| key.name() == name)
    }

    /// What it is for, said where it is missing.
    pub const fn purpose(self) -> &'static str {
        match self {
            Key::Dumps => "the folder that holds a month's dump files, discogs_20251201_artists.xml.gz and so on",
            Key::Processes => "how many processes work as one",
            Key::Process => "which of the processes this one is, from 0 on",
            Key::Hostfile => "the file that names all processes, a line such as worker-0:2101 each, that of process 0 first",
            Key::Brokers => "host and port of a Kafka broker, such as kafka:9092",
            Key::State => {
                "the folder where discodiff keeps what it has applied so far, or s3://bucket/prefix; it has no default, since a run that starts with \
                 another state than the last one's would load the whole catalogue again"
            }
            _ => "see discodiff help",
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the names of all variables begin with.
pub(super) const PREFIX: &str = "DISCODIFF_";

/// The variable that names the settings file.
pub(super) const CONFIG_VARIABLE: &str = "DISCODIFF_CONFIG";

/// The variable that tells a process which other one started it and supervises it.
pub const SUPERVISOR_VARIABLE: &str = "DISCODIFF_SUPERVISOR";

/// Whether a variable is ours but no setting: it names the file, comes from a supervisor, or is for the tests.
pub(super) fn is_exempt(variable: &str) -> bool {
    matches!(variable, CONFIG_VARIABLE | SUPERVISOR_VARIABLE | "DISCODIFF_REAL_DUMPS") || variable.starts_with("DISCODIFF_TEST_")
}

/// The setting that was probably meant by an unknown name, given as in the settings file.
pub(super) fn meant(name: &str) -> Option<Key> {
    // 0.8 of Jaro-Winkler takes one or two slips in a name of this length; below it, suggestions begin to mislead.
    let name = name.to_ascii_lowercase().replace('-', "_");
    let scored = Key::ALL.into_iter().map(|key| (strsim::jaro_winkler(&name, key.name()), key));
    scored.filter(|(score, _)| *score > 0.8).max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, key)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_gives_the_flag_and_the_variable() {
        assert_eq!(Key::DeleteLimitPercent.flag(), "--delete-limit-percent");
        assert_eq!(Key::DeleteLimitPercent.variable(), "DISCODIFF_DELETE_LIMIT_PERCENT");
        assert!(Key::ALL.into_iter().all(|key| Key::from_name(key.name()) == Some(key)));
    }

    #[test]
    fn a_slip_is_understood_and_a_stranger_is_not() {
        assert_eq!(meant("wrokers"), Some(Key::Workers));
        assert_eq!(meant("allow-delete"), Some(Key::AllowDeletes));
        assert_eq!(meant("POSTGRESS"), Some(Key::Postgres));
        assert_eq!(meant("neo4jj"), Some(Key::Neo4j));
        assert_eq!(meant("topics_prefix"), Some(Key::TopicPrefix));
        assert_eq!(meant("rabbitmq"), None);
    }
}
