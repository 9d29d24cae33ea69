//! Layers to settings: a pure function, which sees neither the process's environment nor the disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use toml::{Spanned, Value};
use url::Url;

use super::flags::Flags;
use super::key::{self, Key};
use super::mistake::{Mistakes, Origin};
use super::value::{self, FeedPlace, Raw};
use super::{Secret, Settings};
use crate::sinks::postgres::{ConnectionString, Protection, TlsFiles};

/// What `dumps` is for, beside its purpose, where a command may fetch.
const FETCHED: &str = "; where they are fetched, the folder above those of the months";

/// The settings from flags over environment over file over defaults, or everything that is wrong with them.
///
/// A wrong value is a mistake even where a stronger layer hides it: it would come to light in the one run that lacks the flag.
pub fn resolve(
    flags: &Flags,
    environment: impl IntoIterator<Item = (String, String)>,
    file: Option<(PathBuf, String)>,
) -> Result<Settings, Mistakes> {
    let mut resolver = Resolver::default();
    if let Some((path, text)) = file {
        resolver.read_file(&path, &text);
    }
    resolver.read_environment(environment);
    for (key, raw) in &flags.given {
        resolver.layers.push((*key, Origin::Flag, raw.clone()));
    }
    resolver.finish(flags)
}

#[derive(Default)]
struct Resolver {
    /// What was given, the weakest first.
    layers: Vec<(Key, Origin, Raw)>,
    origins: BTreeMap<Key, Origin>,
    mistakes: Mistakes,
}

impl Resolver {
    fn read_file(&mut self, path: &Path, text: &str) {
        let line = |at: usize| text.get(..at).unwrap_or_default().matches('\n').count() + 1;
        let table = match toml::from_str::<BTreeMap<Spanned<String>, Value>>(text) {
            Ok(table) => table,
            Err(error) => {
                // Not the error's own Display: it quotes the line, which may hold a password.
                let line = line(error.span().map_or(0, |span| span.start));
                return self.mistakes.add(format!("{}, line {line}", path.display()), format!("is no TOML: {}", error.message()));
            }
        };
        let folder = path.parent().unwrap_or(Path::new(""));
        for (name, value) in table {
            let line = line(name.span().start);
            let name = name.into_inner();
            match Key::from_name(&name) {
                Some(key) => self.layers.push((key, Origin::File(path.to_owned(), line), Raw::Toml(value, folder.to_owned()))),
                None => self.unknown(format!("{}, line {line}: {name}", path.display()), key::meant(&name).map(|key| key.to_string())),
            }
        }
    }

    fn read_environment(&mut self, environment: impl IntoIterator<Item = (String, String)>) {
        let mut ours: Vec<_> = environment.into_iter().filter(|(name, _)| name.starts_with(key::PREFIX)).collect();
        ours.sort();
        for (name, value) in ours.into_iter().filter(|(name, _)| !key::is_exempt(name)) {
            let short = name[key::PREFIX.len()..].to_ascii_lowercase();
            match Key::from_name(&short).filter(|key| key.variable() == name) {
                // Compose files and CI hand on a variable that is not set as an empty one.
                Some(_) if value.is_empty() => {}
                Some(key) => self.layers.push((key, Origin::Environment, Raw::Text(value.into()))),
                None => self.unknown(name, key::meant(&short).map(Key::variable)),
            }
        }
    }

    fn unknown(&mut self, place: String, meant: Option<String>) {
        let hint = meant.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
        self.mistakes.add(place, format!("no such setting{hint}"));
    }

    /// The strongest layer's value; the others are judged too.
    fn take<T>(&mut self, key: Key, parse: fn(&Raw) -> Result<T, String>) -> Option<T> {
        let mut taken = None;
        for (_, origin, raw) in self.layers.iter().filter(|(of, _, _)| *of == key) {
            match parse(raw) {
                Ok(value) => {
                    taken = Some(value);
                    self.origins.insert(key, origin.clone());
                }
                Err(words) => self.mistakes.add(origin.place(key), words),
            }
        }
        taken
    }

    fn finish(mut self, flags: &Flags) -> Result<Settings, Mistakes> {
        let mut settings = Settings {
            dumps: self.take(Key::Dumps, value::path),
            fetch: self.take(Key::Fetch, value::boolean).unwrap_or(false),
            fetch_url: self.take(Key::FetchUrl, value::place).unwrap_or_else(|| PLACE.clone()),
            kafka: self.take(Key::Kafka, value::boolean).unwrap_or(false),
            brokers: self.take(Key::Brokers, value::brokers),
            kafka_tls: self.take(Key::KafkaTls, value::boolean).unwrap_or(false),
            kafka_ca: self.take(Key::KafkaCa, value::path),
            kafka_certificate: self.take(Key::KafkaCertificate, value::path),
            kafka_key: self.take(Key::KafkaKey, value::path),
            kafka_user: self.take(Key::KafkaUser, value::user),
            kafka_password: self.take(Key::KafkaPassword, value::password),
            kafka_password_file: self.take(Key::KafkaPasswordFile, value::path),
            kafka_sasl: self.take(Key::KafkaSasl, value::sasl).unwrap_or_default(),
            topic_prefix: self.take(Key::TopicPrefix, value::topic_prefix).unwrap_or_else(|| TOPIC_PREFIX.into()),
            partitions: self.take(Key::Partitions, value::partitions),
            state: self.take(Key::State, value::state),
            sqlite: self.take(Key::Sqlite, value::path),
            postgres: self.take(Key::Postgres, value::postgres),
            postgres_password_file: self.take(Key::PostgresPasswordFile, value::path),
            postgres_tls: TlsFiles {
                ca: self.take(Key::PostgresCa, value::path),
                certificate: self.take(Key::PostgresCertificate, value::path),
                key: self.take(Key::PostgresKey, value::path),
            },
            neo4j: self.take(Key::Neo4j, value::neo4j),
            neo4j_password_file: self.take(Key::Neo4jPasswordFile, value::path),
            document_topics: self.take(Key::DocumentTopics, value::topic_prefix),
            feed: self.take(Key::Feed, value::feed),
            null: self.take(Key::Null, value::boolean).unwrap_or(false),
            workers: self.take(Key::Workers, value::workers).unwrap_or(1),
            processes: self.take(Key::Processes, value::processes).unwrap_or(1),
            process: self.take(Key::Process, value::process).unwrap_or(0),
            hostfile: self.take(Key::Hostfile, value::path),
            allow_deletes: self.take(Key::AllowDeletes, value::boolean).unwrap_or(false),
            allow_older: self.take(Key::AllowOlder, value::boolean).unwrap_or(false),
            json: self.take(Key::Json, value::boolean).unwrap_or(false),
            delete_limit_percent: self.take(Key::DeleteLimitPercent, value::percent).unwrap_or(DELETE_LIMIT_PERCENT),
            reject_limit_percent: self.take(Key::RejectLimitPercent, value::percent).unwrap_or(REJECT_LIMIT_PERCENT),
            memory: self.take(Key::Memory, value::memory).unwrap_or(MEMORY),
            checkpoint_interval: self.take(Key::CheckpointInterval, value::interval).unwrap_or(CHECKPOINT_INTERVAL),
            log: self.take(Key::Log, value::log_filter).unwrap_or_else(|| "info".into()),
            log_format: self.take(Key::LogFormat, value::log_format).unwrap_or_default(),
            listen: self.take(Key::Listen, value::listen),
            metrics_file: self.take(Key::MetricsFile, value::path),
            origins: BTreeMap::new(),
        };
        self.settle_null(&mut settings);
        self.settle_kafka(&mut settings);
        self.check_cluster(&settings);
        if let Some(prefix) = settings.document_topics.as_ref().filter(|prefix| **prefix == settings.topic_prefix) {
            let place = self.origins.get(&Key::DocumentTopics).cloned().unwrap_or_default().place(Key::DocumentTopics);
            self.mistakes.add(place, format!("{prefix}.* are the topics that dumps are published to (topic_prefix): name another prefix"));
        }
        self.check_kafka_security();
        self.check_postgres_security(&settings);
        let postgres = |url: &str| url.parse::<ConnectionString>().is_ok_and(|url| url.config.get_password().is_some());
        self.check_password(Key::Postgres, Key::PostgresPasswordFile, &settings.postgres, &settings.postgres_password_file, postgres);
        let neo4j = |url: &str| url.parse::<url::Url>().is_ok_and(|url| url.password().is_some());
        self.check_password(Key::Neo4j, Key::Neo4jPasswordFile, &settings.neo4j, &settings.neo4j_password_file, neo4j);
        // Which of the two is missing can be said only when it is known where dumps come from.
        let source = flags.needs_dumps.then_some(if settings.kafka { Key::Brokers } else { Key::Dumps });
        let in_topics = settings.document_topics.is_some() || matches!(settings.feed, Some(FeedPlace::Topic(_)));
        let sinks = (flags.has_sinks && in_topics && source != Some(Key::Brokers)).then_some(Key::Brokers);
        for key in source.iter().chain(&sinks).chain(&flags.needed).filter(|key| !self.layers.iter().any(|(given, _, _)| given == *key)) {
            self.mistakes.add_missing(*key, if flags.may_fetch && *key == Key::Dumps { FETCHED } else { "" });
        }
        settings.origins = self.origins;
        if self.mistakes.is_empty() { Ok(settings) } else { Err(self.mistakes) }
    }

    /// Several processes know which they are and where the others are.
    fn check_cluster(&mut self, settings: &Settings) {
        let (processes, all) = (settings.processes, settings.processes * settings.workers);
        if processes == 1 {
            return;
        }
        for key in [Key::Process, Key::Hostfile].into_iter().filter(|key| !self.origins.contains_key(key)) {
            self.mistakes.add_missing(key, "");
        }
        let place = |key: Key| self.origins.get(&key).cloned().unwrap_or_default().place(key);
        if settings.process >= processes {
            let words = format!("is {}, and the last of {processes} processes is {}", settings.process, processes - 1);
            self.mistakes.add(place(Key::Process), words);
        }
        if all > value::MAX_WORKERS as usize {
            let words = format!("makes {all} workers in {processes} processes, and more than {} help nobody", value::MAX_WORKERS);
            self.mistakes.add(place(Key::Workers), words);
        }
        if settings.fetch {
            self.mistakes
                .add(place(Key::Fetch), "is for one process: fetch the month first (discodiff fetch), for each machine".to_owned());
        }
    }

    /// `null` and a named sink contradict each other: the stronger layer decides, within one layer it is a mistake.
    fn settle_null(&mut self, settings: &mut Settings) {
        if !settings.null {
            return;
        }
        let null = self.origins.get(&Key::Null).cloned().unwrap_or_default();
        for key in [Key::Sqlite, Key::Postgres, Key::Neo4j, Key::DocumentTopics, Key::Feed] {
            match self.origins.get(&key).map(|sink| sink.layer().cmp(&null.layer())) {
                Some(std::cmp::Ordering::Greater) => settings.null = false,
                Some(std::cmp::Ordering::Equal) => {
                    self.mistakes
                        .add(null.place(Key::Null), format!("means no sink, yet {} names one; leave one of them out", null.place(key)));
                }
                _ => {}
            }
        }
        if settings.null {
            (settings.sqlite, settings.postgres, settings.neo4j) = (None, None, None);
            (settings.document_topics, settings.feed) = (None, None);
            (settings.postgres_password_file, settings.neo4j_password_file) = (None, None);
            settings.postgres_tls = TlsFiles::default();
        }
    }

    /// Dumps come from topics, or from a folder (into which they may be fetched first): the stronger layer decides, within one layer it is a
    /// mistake.
    fn settle_kafka(&mut self, settings: &mut Settings) {
        let Some(kafka) = self.origins.get(&Key::Kafka).filter(|_| settings.kafka) else { return };
        let fetch = self.origins.get(&Key::Fetch).filter(|_| settings.fetch).map(|origin| (origin, Key::Fetch));
        let dumps = self.origins.get(&Key::Dumps).map(|origin| (origin, Key::Dumps));
        let Some((folder, key)) = fetch.into_iter().chain(dumps).max_by_key(|(origin, _)| origin.layer()) else { return };
        match kafka.layer().cmp(&folder.layer()) {
            std::cmp::Ordering::Greater => {
                settings.fetch = false;
                settings.dumps = None;
            }
            std::cmp::Ordering::Less => settings.kafka = false,
            std::cmp::Ordering::Equal => {
                let (place, other) = (kafka.place(Key::Kafka), folder.place(key));
                let words = format!("dumps are read from topics or from a folder, and {other} names one; leave one of them out");
                self.mistakes.add(place, words);
            }
        }
    }

    /// What belongs together, wherever it comes from. A password without its user would be forgotten in silence, and so would a
    /// certificate without encryption, unless that was switched off on purpose.
    fn check_kafka_security(&mut self) {
        use Key::{KafkaCa, KafkaCertificate, KafkaKey, KafkaPassword, KafkaPasswordFile, KafkaSasl, KafkaTls, KafkaUser};
        let given = |key: Key| self.layers.iter().rfind(|(of, _, _)| *of == key).map(|(_, origin, _)| origin.place(key));
        let mut wrong = Vec::new();
        let pairs = [
            (KafkaCa, KafkaTls),
            (KafkaCertificate, KafkaTls),
            (KafkaKey, KafkaTls),
            (KafkaCertificate, KafkaKey),
            (KafkaKey, KafkaCertificate),
            (KafkaPassword, KafkaUser),
            (KafkaPasswordFile, KafkaUser),
            (KafkaSasl, KafkaUser),
        ];
        for (key, other) in pairs {
            if let (Some(place), None) = (given(key), given(other)) {
                wrong.push((place, format!("is of no use without {}", other.flag())));
            }
        }
        match (given(KafkaUser), given(KafkaPassword), given(KafkaPasswordFile)) {
            (Some(user), None, None) => wrong.push((
                user,
                format!("needs a password: {} names a file that holds it, {} gives it", KafkaPasswordFile.flag(), KafkaPassword.variable()),
            )),
            (_, Some(password), Some(file)) => wrong.push((file, format!("there is a password in {password} too; leave one of them out"))),
            _ => {}
        }
        wrong.into_iter().for_each(|(place, words)| self.mistakes.add(place, words));
    }

    /// Files without a server, without each other, twice, or for a connection that is not verified, would be forgotten in silence.
    fn check_postgres_security(&mut self, settings: &Settings) {
        use Key::{Postgres, PostgresCa, PostgresCertificate, PostgresKey};
        let given = |key: Key| self.layers.iter().rfind(|(of, _, _)| *of == key).map(|(_, origin, _)| origin.place(key));
        let mut wrong = Vec::new();
        for (key, other) in [
            (PostgresCa, Postgres),
            (PostgresCertificate, Postgres),
            (PostgresKey, Postgres),
            (PostgresCertificate, PostgresKey),
            (PostgresKey, PostgresCertificate),
        ] {
            if let (Some(place), None) = (given(key), given(other)) {
                wrong.push((place, format!("is of no use without {}", other.flag())));
            }
        }
        let url = settings.postgres.as_ref().and_then(|url| url.reveal().parse::<ConnectionString>().ok());
        if let Some((url, server)) = url.zip(given(Postgres)) {
            let ConnectionString { protection, files: named, .. } = url;
            let flags = &settings.postgres_tls;
            for (key, flag, named) in [
                (PostgresCa, &flags.ca, &named.ca),
                (PostgresCertificate, &flags.certificate, &named.certificate),
                (PostgresKey, &flags.key, &named.key),
            ] {
                if let (Some(place), Some(_), Some(_)) = (given(key), flag, named) {
                    wrong.push((place, format!("{server} names such a file too; leave one of them out")));
                }
            }
            if named.certificate.is_some() != named.key.is_some() {
                wrong.push((server.clone(), "sslcert and sslkey are of no use without each other".to_owned()));
            }
            if let Some(protection) = protection.filter(|mode| *mode < Protection::Require && (flags.ca.is_some() || named.ca.is_some())) {
                wrong.push((server, format!("with sslmode={protection} the CA that is named is never asked: say sslmode=verify-full")));
            }
        }
        wrong.into_iter().for_each(|(place, words)| self.mistakes.add(place, words));
    }

    /// A file with the password of a server is of use where the server is named, without a password.
    fn check_password(&mut self, key: Key, of: Key, url: &Option<Secret>, file: &Option<PathBuf>, has_password: impl Fn(&str) -> bool) {
        let Some(origin) = self.origins.get(&of).filter(|_| file.is_some()) else { return };
        let words = match url {
            None if self.layers.iter().any(|(given, _, _)| *given == key) => return,
            None => format!("is of no use without {}", origin.place(key)),
            Some(url) if has_password(url.reveal()) => {
                let server = self.origins.get(&key).unwrap_or(origin).place(key);
                format!("there is a password in {server} too; leave one of them out")
            }
            Some(_) => return,
        };
        self.mistakes.add(origin.place(of), words);
    }
}

/// Discogs' own place.
static PLACE: LazyLock<Url> = LazyLock::new(|| Url::parse(crate::fetch::PLACE).expect("a URL"));

/// The topics are `discogs.artists` and so on.
const TOPIC_PREFIX: &str = "discogs";

/// A month deletes a few hundredths of a percent of a kind; a tenth of a file lost is far beyond one percent.
const DELETE_LIMIT_PERCENT: f64 = 1.0;

/// Of real dumps none is rejected but the one that a file breaks off in. Beyond one percent it is the file that is wrong, or this program.
const REJECT_LIMIT_PERCENT: f64 = 1.0;

/// Some ten blocks: enough to keep workers and sinks busy. Four times as much was no faster, and only filled the memory.
const MEMORY: u64 = 128 << 20;

/// What a run that dies loses at most. Taking one costs some milliseconds and no waiting.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(30);
