//! The steps that touch the process and the disk: reading the environment, the settings file, and the password.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tokio_postgres::config::Host;
use url::Url;

use super::flags::Flags;
use super::key::{CONFIG_VARIABLE, Key, PREFIX};
use super::mistake::Mistakes;
use super::resolve::resolve;
use super::{Secret, Settings, needed};
use crate::disk;
use crate::kafka::{Brokers, Login, Tls, Topics};
use crate::sinks::postgres::{ConnectionString, TlsFiles};

/// The file that is read where none is named, if it is there.
const FILE: &str = "discodiff.toml";

/// Resolves the settings with this process's environment and its settings file.
pub fn load(flags: &Flags) -> Result<Settings, Mistakes> {
    let mut mistakes = Mistakes::default();
    let mut environment = Vec::new();
    for (name, value) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        match value.into_string() {
            Ok(value) => environment.push((name, value)),
            Err(_) if name.starts_with(PREFIX) => mistakes.add(name, "its value is not UTF-8"),
            Err(_) => {}
        }
    }
    let variable = environment.iter().find(|(name, value)| name == CONFIG_VARIABLE && !value.is_empty());
    let (path, place) = match (&flags.config, variable) {
        (Some(path), _) => (path.clone(), Some("--config")),
        (None, Some((_, path))) => (PathBuf::from(path), Some(CONFIG_VARIABLE)),
        (None, None) => (PathBuf::from(FILE), None),
    };
    let file = match fs::read_to_string(&path) {
        Ok(text) => Some((path, text)),
        Err(error) if place.is_none() && error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            mistakes.add(place.unwrap_or(FILE), unreadable(&path, &error));
            None
        }
    };
    match resolve(flags, environment, file) {
        Ok(settings) if mistakes.is_empty() => Ok(settings),
        Ok(_) => Err(mistakes),
        Err(others) => {
            mistakes.append(others);
            Err(mistakes)
        }
    }
}

impl Settings {
    /// PostgreSQL's password, where a file holds it: the step that reads the file.
    pub fn postgres_password(&self) -> Result<Option<Secret>, Mistakes> {
        self.password(Key::PostgresPasswordFile, self.postgres_password_file.as_deref())
    }

    /// The PEM files for PostgreSQL: the step that looks for them.
    pub fn postgres_files(&self) -> Result<TlsFiles, Mistakes> {
        let TlsFiles { ca, certificate, key } = &self.postgres_tls;
        self.readable([(Key::PostgresCa, ca), (Key::PostgresCertificate, certificate), (Key::PostgresKey, key)])?;
        Ok(self.postgres_tls.clone())
    }

    /// The libraries would say too that a file cannot be read, but not which setting named it.
    fn readable<const N: usize>(&self, files: [(Key, &Option<PathBuf>); N]) -> Result<(), Mistakes> {
        let mut mistakes = Mistakes::default();
        for (key, path) in files.into_iter().filter_map(|(key, path)| Some((key, path.as_ref()?))) {
            if let Err(error) = fs::read(path) {
                mistakes.add(self.origin(key).place(key), unreadable(path, &error));
            }
        }
        if mistakes.is_empty() { Ok(()) } else { Err(mistakes) }
    }

    /// Neo4j's password, where a file holds it: the step that reads the file.
    pub fn neo4j_password(&self) -> Result<Option<Secret>, Mistakes> {
        self.password(Key::Neo4jPasswordFile, self.neo4j_password_file.as_deref())
    }

    /// Topics of another prefix, likewise.
    pub fn topics_of(&self, prefix: &str) -> Result<Topics, Mistakes> {
        Ok(Topics { prefix: prefix.to_owned(), ..self.topics()? })
    }

    /// The topics, or what to say where no broker was named: the step that reads the password's file, and looks for the others.
    pub fn topics(&self) -> Result<Topics, Mistakes> {
        let addresses = needed(Key::Brokers, self.brokers.as_ref())?.clone();
        let files = [(Key::KafkaCa, &self.kafka_ca), (Key::KafkaCertificate, &self.kafka_certificate), (Key::KafkaKey, &self.kafka_key)];
        let mut mistakes = if self.kafka_tls { self.readable(files).err().unwrap_or_default() } else { Mistakes::default() };
        let password = match (&self.kafka_password, self.password(Key::KafkaPasswordFile, self.kafka_password_file.as_deref())) {
            (Some(password), _) => Some(password.clone()),
            (None, Ok(password)) => password,
            (None, Err(others)) => {
                mistakes.append(others);
                None
            }
        };
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let certificate = self.kafka_certificate.clone().zip(self.kafka_key.clone());
        let tls = self.kafka_tls.then(|| Tls { ca: self.kafka_ca.clone(), certificate });
        let login = self.kafka_user.clone().zip(password).map(|(user, password)| Login { sasl: self.kafka_sasl, user, password });
        let brokers = Brokers { addresses, tls, login };
        if brokers.shows_password() {
            tracing::warn!(
                "the password for Kafka is sent as it is, for all on the way to read: encrypt (--kafka-tls), or use SCRAM (--kafka-sasl)"
            );
        }
        Ok(Topics { brokers, prefix: self.topic_prefix.clone() })
    }

    fn password(&self, key: Key, path: Option<&Path>) -> Result<Option<Secret>, Mistakes> {
        let Some(path) = path else { return Ok(None) };
        match fs::read_to_string(path) {
            Ok(text) if without_line_end(&text).is_empty() => {
                let mut mistakes = Mistakes::default();
                mistakes.add(self.origin(key).place(key), format!("{} holds no password, it is empty", path.display()));
                Err(mistakes)
            }
            Ok(password) => Ok(Some(Secret::new(without_line_end(&password)))),
            Err(error) => {
                let mut mistakes = Mistakes::default();
                mistakes.add(self.origin(key).place(key), unreadable(path, &error));
                Err(mistakes)
            }
        }
    }
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::NotFound => ": it is not there",
        io::ErrorKind::IsADirectory => ": it is a folder; name a file in it",
        _ => disk::advice(error),
    };
    format!("{} cannot be read{advice}: {error}", path.display())
}

/// Editors and `echo` end a file with a line end that is no part of the password; other white space may be.
fn without_line_end(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

/// The connection without its password, put together from the parts that are known to hold none.
pub(super) fn masked(url: &Secret) -> String {
    let Ok(ConnectionString { config, protection, .. }) = url.reveal().parse() else { return url.to_string() };
    let password = if config.get_password().is_some() { ":***" } else { "" };
    let user = config.get_user().map(|user| format!("{user}{password}@")).unwrap_or_default();
    let hosts = config.get_hosts().iter().enumerate().map(|(at, host)| {
        let name = match host {
            Host::Tcp(name) => name.clone(),
            #[cfg(unix)]
            Host::Unix(path) => path.display().to_string(),
        };
        let port = config.get_ports().get(at).or(config.get_ports().first()).map(|port| format!(":{port}")).unwrap_or_default();
        name + &port
    });
    let hosts = hosts.collect::<Vec<_>>().join(",");
    let protection = protection.map(|protection| format!("?sslmode={protection}")).unwrap_or_default();
    format!("postgresql://{user}{hosts}/{}{protection}", config.get_dbname().unwrap_or_default())
}

/// A URL without its password.
pub(super) fn masked_url(url: &Secret) -> String {
    let Ok(mut parsed) = url.reveal().parse::<Url>() else { return url.to_string() };
    if parsed.password().is_some() && parsed.set_password(Some("***")).is_err() {
        return url.to_string();
    }
    parsed.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_line_end_is_cut_from_a_password() {
        assert_eq!(without_line_end(" pass word \r\n"), " pass word ");
        assert_eq!(without_line_end("a\n\n"), "a\n");
        assert_eq!(without_line_end("a"), "a");
    }

    #[test]
    fn a_connection_is_shown_without_its_password_wherever_that_stood() {
        for url in [
            "postgresql://u:hunter2@h:5433/db",
            "postgresql://u@h:5433/db?password=hunter2",
            "host=h port=5433 user=u password=hunter2 dbname=db",
        ] {
            assert_eq!(masked(&Secret::new(url)), "postgresql://u:***@h:5433/db");
        }
        assert_eq!(masked(&Secret::new("postgresql://u@h:5433/db?sslmode=require")), "postgresql://u@h:5433/db?sslmode=require");
        assert_eq!(masked_url(&Secret::new("bolt://u:hunter2@h:7687/db")), "bolt://u:***@h:7687/db");
        assert_eq!(masked_url(&Secret::new("bolt://u@h")), "bolt://u@h");
    }
}
