//! What one value must look like. Each function gives the value, or words that say what is wrong and what would be right.

use std::ffi::{OsStr, OsString};
use std::fmt::{self, Display};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use toml::Value;
use url::Url;

use super::Secret;
use crate::kafka::Sasl;
use crate::sinks::postgres::{ConnectionString, Unreadable};
use crate::state::Location;

/// A value as it was written.
#[derive(Clone, Debug)]
pub(super) enum Raw {
    /// On the command line or in the environment.
    Text(OsString),
    /// In the settings file, which stands in this folder.
    Toml(Value, PathBuf),
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Where the change feed is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedPlace {
    /// A file.
    File(PathBuf),
    /// A Kafka topic.
    Topic(String),
}

impl Display for FeedPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FeedPlace::File(path) => path.display().fmt(f),
            FeedPlace::Topic(topic) => write!(f, "{TOPIC}{topic}"),
        }
    }
}

/// What the feed's topic is told from a file by; a file of such a name is written as ./kafka:name.
const TOPIC: &str = "kafka:";

/// More workers than this never helped: there are 64 shards, so the 65th would own nothing.
pub(super) const MAX_WORKERS: i64 = 64;

/// Below it, one large record at each worker would already fill what may be in flight.
const MIN_MEMORY: u64 = 64 << 20;

const WORKERS: &str = "a whole number from 1 to 64";
const PERCENT: &str = "a number from 0 to 100, such as 1.0";
const MEMORY: &str = "a size of at least 64MiB, such as \"256MiB\" or \"1GiB\"";
const FORMAT: &str = "\"text\" or \"json\"";
const FILTER: &str = "a filter such as \"info\" or \"warn,discodiff=debug\"";
const POSTGRES: &str = "a URL such as postgresql://user@host:5432/database";
const NEO4J: &str = "a URL such as bolt://user@host:7687, neo4j://user@host:7687/database or bolt+s://user@host:7687";

const PLACE: &str = "a URL such as https://data.discogs.com/, without a user";
const BROKERS: &str = "host:port, or several of them separated by commas, such as kafka-1:9092,kafka-2:9092";
const USER: &str = "a name, not empty";
const SASL: &str = "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512";
const PREFIX: &str = "1 to 200 letters, digits, dots, underscores or hyphens";
const PARTITIONS: &str = "a whole number from 1 to 64";

const OTHER_SCHEME: &str = "a URL of another scheme";

fn wrong<T>(given: impl Display, right: &str) -> Result<T, String> {
    Err(format!("{given} is wrong; right is {right}"))
}

impl Raw {
    fn text(&self, right: &str) -> Result<String, String> {
        match self {
            Raw::Text(text) => match text.to_str() {
                Some(text) => Ok(text.trim().to_owned()),
                None => wrong("a text that is not UTF-8", right),
            },
            Raw::Toml(Value::String(text), _) => Ok(text.trim().to_owned()),
            Raw::Toml(other, _) => wrong(format_args!("a value of type {}", other.type_str()), right),
        }
    }
}

/// A path that is not empty; one from the settings file is taken from the file's folder.
pub(super) fn path(raw: &Raw) -> Result<PathBuf, String> {
    const RIGHT: &str = "a path in quotes, not empty";
    let given = match raw {
        Raw::Text(text) => PathBuf::from(text),
        Raw::Toml(Value::String(text), folder) if !text.is_empty() => folder.join(text),
        Raw::Toml(Value::String(_), _) => PathBuf::new(),
        Raw::Toml(other, _) => return wrong(format_args!("a value of type {}", other.type_str()), RIGHT),
    };
    if given == Path::new("") { wrong("nothing", RIGHT) } else { Ok(given) }
}

/// A folder, which from the settings file is taken from the file's folder, or a bucket.
pub(super) fn state(raw: &Raw) -> Result<Location, String> {
    let text = match raw {
        Raw::Text(text) => Some(text.as_os_str()),
        Raw::Toml(Value::String(text), _) => Some(OsStr::new(text)),
        Raw::Toml(..) => None,
    };
    match text.map(|text| (text, Location::parse(text))) {
        // Before an @ there may be a key.
        Some((text, None)) if text.as_encoded_bytes().contains(&b'@') => wrong("a URL with a user", Location::RIGHT),
        Some((text, None)) => wrong(format_args!("\"{}\"", text.display()), Location::RIGHT),
        // Given as a URL.
        Some((text, Some(location))) if location != Location::Folder(text.into()) => Ok(location),
        _ => path(raw).map(Location::Folder),
    }
}

pub(super) fn boolean(raw: &Raw) -> Result<bool, String> {
    match raw {
        Raw::Toml(Value::Boolean(value), _) => Ok(*value),
        Raw::Toml(other, _) => wrong(format_args!("a value of type {}", other.type_str()), "true or false, without quotes"),
        Raw::Text(_) => match raw.text("true or false")?.to_ascii_lowercase().as_str() {
            "true" | "yes" | "1" => Ok(true),
            "false" | "no" | "0" => Ok(false),
            other => wrong(format_args!("\"{other}\""), "true or false"),
        },
    }
}

pub(super) fn workers(raw: &Raw) -> Result<usize, String> {
    number(raw, 1..=MAX_WORKERS, WORKERS)
}

pub(super) fn processes(raw: &Raw) -> Result<usize, String> {
    number(raw, 1..=MAX_WORKERS, WORKERS)
}

pub(super) fn process(raw: &Raw) -> Result<usize, String> {
    number(raw, 0..=MAX_WORKERS - 1, "a whole number from 0 to 63")
}

fn number(raw: &Raw, range: std::ops::RangeInclusive<i64>, right: &str) -> Result<usize, String> {
    let given = match raw {
        Raw::Toml(Value::Integer(number), _) => number.to_string(),
        _ => raw.text(right)?,
    };
    match given.parse::<i64>() {
        Ok(number) if range.contains(&number) => usize::try_from(number).or_else(|_| wrong(&given, right)),
        _ => wrong(format_args!("\"{given}\""), right),
    }
}

/// Where dumps are fetched from. It is not repeated, as it may hold a password; one that does is refused, since addresses are told in logs.
pub(super) fn place(raw: &Raw) -> Result<Url, String> {
    let given = raw.text(PLACE)?;
    let Ok(url) = given.parse::<Url>() else { return wrong("a value that is no URL", PLACE) };
    if !matches!(url.scheme(), "https" | "http") {
        return wrong(OTHER_SCHEME, PLACE);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return wrong("a URL with a user", PLACE);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return wrong("a URL with more than a path after the host", PLACE);
    }
    Ok(url)
}

/// Brokers, without a scheme.
pub(super) fn brokers(raw: &Raw) -> Result<String, String> {
    let given = raw.text(BROKERS)?;
    let right = |broker: &str| {
        let parts = broker.trim().rsplit_once(':');
        parts.is_some_and(|(host, port)| {
            let host_is_right = !host.is_empty() && !host.contains(['/', '@', ' ']);
            host_is_right && port.parse::<u16>().is_ok_and(|port| port > 0)
        })
    };
    if given.split(',').all(right) { Ok(given) } else { wrong(format_args!("\"{given}\""), BROKERS) }
}

pub(super) fn user(raw: &Raw) -> Result<String, String> {
    let given = raw.text(USER)?;
    if given.is_empty() { wrong("nothing", USER) } else { Ok(given) }
}

/// Not repeated, whatever is wrong with it. Taken as it is: white space may be part of it.
pub(super) fn password(raw: &Raw) -> Result<Secret, String> {
    const RIGHT: &str = "a text in quotes, not empty";
    match raw {
        Raw::Text(text) => match text.to_str() {
            Some(text) if !text.is_empty() => Ok(Secret::new(text)),
            _ => wrong("what is given", RIGHT),
        },
        Raw::Toml(Value::String(text), _) if !text.is_empty() => Ok(Secret::new(text)),
        Raw::Toml(..) => wrong("what is given", RIGHT),
    }
}

pub(super) fn sasl(raw: &Raw) -> Result<Sasl, String> {
    let given = raw.text(SASL)?;
    let known = Sasl::ALL.into_iter().find(|sasl| sasl.name().eq_ignore_ascii_case(&given));
    known.map_or_else(|| wrong(format_args!("\"{given}\""), SASL), Ok)
}

/// A topic's name has at most 249 characters.
pub(super) fn topic_prefix(raw: &Raw) -> Result<String, String> {
    let given = raw.text(PREFIX)?;
    let right = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if (1..=200).contains(&given.len()) && given.bytes().all(right) { Ok(given) } else { wrong(format_args!("\"{given}\""), PREFIX) }
}

/// A path, or `kafka:` and the name of a topic, to which the longest ending of its companions must still fit.
pub(super) fn feed(raw: &Raw) -> Result<FeedPlace, String> {
    let text = match raw {
        Raw::Text(text) => text.to_str(),
        Raw::Toml(value, _) => value.as_str(),
    };
    let Some(topic) = text.and_then(|text| text.strip_prefix(TOPIC)) else { return path(raw).map(FeedPlace::File) };
    let right = format!("{TOPIC} and {PREFIX}");
    topic_prefix(&Raw::Text(topic.into())).map(FeedPlace::Topic).or_else(|_| wrong(format_args!("\"{TOPIC}{topic}\""), &right))
}

/// An address and a port, or a port alone: then on this machine only. Names of hosts are left out, as one can stand for several addresses.
pub(super) fn listen(raw: &Raw) -> Result<SocketAddr, String> {
    const LISTEN: &str =
        "an address and a port, such as 127.0.0.1:9599, 0.0.0.0:9599 (all of this machine's) or [::1]:9599, or a port alone";
    let given = match raw {
        Raw::Toml(Value::Integer(number), _) => number.to_string(),
        _ => raw.text(LISTEN)?,
    };
    let (address, port) = (given.parse::<SocketAddr>().ok(), given.strip_prefix("localhost:").unwrap_or(&given).parse::<u16>().ok());
    let address = address.or_else(|| port.map(|port| (Ipv4Addr::LOCALHOST, port).into()));
    address.map_or_else(|| wrong(format_args!("\"{given}\""), LISTEN), Ok)
}

/// There are 64 shards, so more partitions would stay empty.
pub(super) fn partitions(raw: &Raw) -> Result<usize, String> {
    let given = match raw {
        Raw::Toml(Value::Integer(number), _) => number.to_string(),
        _ => raw.text(PARTITIONS)?,
    };
    match given.parse::<usize>() {
        Ok(number) if (1..=64).contains(&number) => Ok(number),
        _ => wrong(format_args!("\"{given}\""), PARTITIONS),
    }
}

pub(super) fn percent(raw: &Raw) -> Result<f64, String> {
    let given = match raw {
        Raw::Toml(Value::Integer(number), _) => number.to_string(),
        Raw::Toml(Value::Float(number), _) => number.to_string(),
        _ => raw.text(PERCENT)?,
    };
    match given.trim_end_matches('%').trim_end().parse::<f64>() {
        Ok(number) if (0.0..=100.0).contains(&number) => Ok(number),
        _ => wrong(format_args!("\"{given}\""), PERCENT),
    }
}

pub(super) fn interval(raw: &Raw) -> Result<Duration, String> {
    const INTERVAL: &str = "a number of seconds from 0 to 86400, such as 30";
    let given = match raw {
        Raw::Toml(Value::Integer(number), _) => number.to_string(),
        Raw::Toml(Value::Float(number), _) => number.to_string(),
        _ => raw.text(INTERVAL)?,
    };
    match given.parse::<f64>() {
        Ok(number) if (0.0..=86_400.0).contains(&number) => Ok(Duration::from_secs_f64(number)),
        _ => wrong(format_args!("\"{given}\""), INTERVAL),
    }
}

pub(super) fn memory(raw: &Raw) -> Result<u64, String> {
    let given = match raw {
        Raw::Toml(Value::Integer(number), _) => number.to_string(),
        _ => raw.text(MEMORY)?,
    };
    match given.parse::<bytesize::ByteSize>() {
        Ok(size) if size.as_u64() >= MIN_MEMORY => Ok(size.as_u64()),
        _ => wrong(format_args!("\"{given}\""), MEMORY),
    }
}

pub(super) fn log_filter(raw: &Raw) -> Result<String, String> {
    let given = raw.text(FILTER)?;
    match tracing_subscriber::EnvFilter::builder().parse(&given) {
        Ok(_) if !given.is_empty() => Ok(given),
        _ => wrong(format_args!("\"{given}\""), FILTER),
    }
}

pub(super) fn log_format(raw: &Raw) -> Result<LogFormat, String> {
    match raw.text(FORMAT)?.as_str() {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        other => wrong(format_args!("\"{other}\""), FORMAT),
    }
}

/// A URL or a key-value connection string. Neither it nor the parser's words are repeated: both may hold the password.
pub(super) fn postgres(raw: &Raw) -> Result<Secret, String> {
    let given = raw.text(POSTGRES)?;
    match given.parse::<ConnectionString>() {
        Ok(ConnectionString { config, .. }) if !config.get_hosts().is_empty() || !config.get_hostaddrs().is_empty() => {
            Ok(Secret::new(given))
        }
        Ok(_) => wrong("a value without a host", POSTGRES),
        Err(Unreadable::Form) if given.parse::<Url>().is_ok_and(|url| !matches!(url.scheme(), "postgres" | "postgresql")) => {
            wrong(OTHER_SCHEME, POSTGRES)
        }
        Err(Unreadable::Form) => wrong("a value that is no URL (special characters in a password are written as %40 and so on)", POSTGRES),
        Err(Unreadable::Protection) => wrong("its sslmode", "disable, prefer, require, verify-ca or verify-full"),
    }
}

/// A URL, which is not repeated: it may hold the password.
pub(super) fn neo4j(raw: &Raw) -> Result<Secret, String> {
    let given = raw.text(NEO4J)?;
    let Ok(url) = given.parse::<Url>() else {
        return wrong("a value that is no URL (special characters in a password are written as %40 and so on)", NEO4J);
    };
    if matches!(url.scheme(), "http" | "https") {
        return Err(format!("{} is how Neo4j's browser is reached; name the Bolt connector, as bolt://USER@HOST:7687", url.scheme()));
    }
    if !matches!(url.scheme(), "bolt" | "bolt+s" | "bolt+ssc" | "neo4j" | "neo4j+s" | "neo4j+ssc") {
        return wrong(OTHER_SCHEME, NEO4J);
    }
    if url.host_str().is_none_or(str::is_empty) {
        return wrong("a value without a host", NEO4J);
    }
    // of a password with an unescaped / ? or #, the rest comes to stand there
    if url.query().is_some() || url.fragment().is_some() || url.path().trim_start_matches('/').contains(['/', '@', ':']) {
        return wrong("a value with more than the name of a database after the host", NEO4J);
    }
    Ok(Secret::new(given))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Raw {
        Raw::Text(text.into())
    }

    #[test]
    fn memory_is_read_in_the_units_that_people_write() {
        for (given, bytes) in
            [("256MiB", 256 << 20), ("1GiB", 1 << 30), ("1.5 GiB", 3 << 29), ("100 MB", 100_000_000), ("67108864", 64 << 20)]
        {
            assert_eq!(memory(&text(given)), Ok(bytes), "{given}");
        }
        assert_eq!(memory(&Raw::Toml(Value::Integer(1 << 30), PathBuf::new())), Ok(1 << 30));
        for given in ["", "much", "63MiB", "-1GiB", "256 apples", "NaN"] {
            assert!(memory(&text(given)).is_err(), "{given}");
        }
    }

    #[test]
    fn brokers_prefix_and_partitions_are_refused_before_a_broker_is_asked() {
        for given in ["kafka:9092", "a:1,b:2, c:3", "[::1]:9092", "127.0.0.1:19092"] {
            assert!(brokers(&text(given)).is_ok(), "{given}");
        }
        for given in ["", "kafka", "kafka:", "kafka:0", "kafka:99999", "kafka://kafka:9092", "a:1,,b:2", "u:p@kafka:9092"] {
            assert!(brokers(&text(given)).is_err(), "{given}");
        }
        assert_eq!(topic_prefix(&text("discogs.test_1-x")).as_deref(), Ok("discogs.test_1-x"));
        assert!(["", "a b", "a/b", "ä"].iter().all(|given| topic_prefix(&text(given)).is_err()));
        assert_eq!(partitions(&Raw::Toml(Value::Integer(64), PathBuf::new())), Ok(64));
        assert!(["0", "65", "many", "-1"].iter().all(|given| partitions(&text(given)).is_err()));
    }

    #[test]
    fn a_place_has_neither_user_nor_query_and_is_not_repeated_where_it_is_wrong() {
        for given in ["https://data.discogs.com/", "http://127.0.0.1:8000", "https://mirror.example/discogs/"] {
            assert!(place(&text(given)).is_ok(), "{given}");
        }
        for given in [
            "",
            "hunter2",
            "ftp://hunter2",
            "file:///hunter2",
            "https://u:hunter2@h/",
            "https://hunter2@h/",
            "https://h/?hunter2",
            "https://h/#hunter2",
        ] {
            assert!(place(&text(given)).is_err_and(|words| !words.contains("hunter2")), "{given}");
        }
    }

    #[test]
    fn metrics_are_served_on_this_machine_only_unless_an_address_is_given() {
        let of = |given: &str| listen(&text(given)).map(|address| address.to_string());
        assert_eq!(of("9599").as_deref(), Ok("127.0.0.1:9599"));
        assert_eq!(of("localhost:9599").as_deref(), Ok("127.0.0.1:9599"));
        assert_eq!(of("0.0.0.0:9599").as_deref(), Ok("0.0.0.0:9599"));
        assert_eq!(of("[::1]:0").as_deref(), Ok("[::1]:0"));
        assert!(listen(&Raw::Toml(Value::Integer(9599), PathBuf::new())).is_ok_and(|address| address.ip().is_loopback()));
        for given in ["", "metrics", "example.com:9599", "127.0.0.1", "127.0.0.1:99999", ":9599", "-1", "http://127.0.0.1:9599"] {
            assert!(of(given).is_err_and(|words| words.contains("127.0.0.1:9599")), "{given}");
        }
    }

    #[test]
    fn a_feed_is_a_file_or_a_topic() {
        assert_eq!(feed(&text("kafka:discogs.changes")), Ok(FeedPlace::Topic("discogs.changes".to_owned())));
        assert_eq!(feed(&text("changes.jsonl")), Ok(FeedPlace::File("changes.jsonl".into())));
        assert_eq!(feed(&text("./kafka:x")), Ok(FeedPlace::File("./kafka:x".into())));
        assert_eq!(feed(&Raw::Toml(Value::String("f".into()), "/srv".into())), Ok(FeedPlace::File("/srv/f".into())));
        assert_eq!(feed(&Raw::Toml(Value::String("kafka:f".into()), "/srv".into())), Ok(FeedPlace::Topic("f".to_owned())));
        for given in ["", "kafka:", "kafka:a b", "kafka://host/topic"] {
            assert!(feed(&text(given)).is_err(), "{given}");
        }
    }

    #[test]
    fn an_interval_is_a_number_of_seconds() {
        let of = |text: &str| interval(&Raw::Text(text.into()));
        assert_eq!((of("30"), of("0"), of("0.5")), (Ok(Duration::from_secs(30)), Ok(Duration::ZERO), Ok(Duration::from_millis(500))));
        for wrong in ["-1", "1e9", "NaN", "30s", ""] {
            assert!(of(wrong).is_err_and(|words| words.contains("number of seconds")), "{wrong}");
        }
    }

    #[test]
    fn a_percentage_lies_between_0_and_100() {
        assert_eq!(percent(&text("2.5")), Ok(2.5));
        assert_eq!(percent(&text("1 %")), Ok(1.0));
        assert_eq!(percent(&Raw::Toml(Value::Integer(100), PathBuf::new())), Ok(100.0));
        for given in ["", "-1", "100.1", "NaN", "inf", "all"] {
            assert!(percent(&text(given)).is_err(), "{given}");
        }
    }

    #[test]
    fn a_path_in_the_file_starts_at_the_file() {
        let raw = |path: &str| Raw::Toml(Value::String(path.into()), PathBuf::from("/etc/discodiff"));
        assert_eq!(path(&raw("state")), Ok(PathBuf::from("/etc/discodiff/state")));
        assert_eq!(path(&raw("/srv/state")), Ok(PathBuf::from("/srv/state")));
        assert!(path(&raw("")).is_err());
        assert!(path(&text("")).is_err());
    }

    #[test]
    fn a_connection_string_is_never_repeated_in_what_is_said_about_it() {
        for given in ["postgresql://u:hunter2@h:port/db", "hunter2", "postgresql://u:hunter2@/db?nonsense=hunter2", "password=hunter2"] {
            let words = postgres(&text(given)).expect_err(given);
            assert!(!words.contains("hunter2"), "{words}");
        }
        assert!(postgres(&text("mysql://u:hunter2@h/db")).is_err_and(|words| words.starts_with("a URL of another scheme is wrong")));
        assert!(postgres(&text("postgresql://u:p@h/db")).is_ok());
        assert!(postgres(&text("host=/run/postgresql user=u dbname=db")).is_ok());
        for given in
            ["bolt://u:hunter2@h:port", "hunter2", "bolt://u:1/hunter2@h", "bolt://u:1?hunter2@h", "http://u:hunter2@h", "bolt:hunter2"]
        {
            let words = neo4j(&text(given)).expect_err(given);
            assert!(!words.contains("hunter2"), "{words}");
        }
        assert!(neo4j(&text("http://h:7474")).is_err_and(|words| words.contains("Neo4j's browser is reached; name the Bolt connector")));
        assert!(neo4j(&text("bolt://u:p%2F@h:7688/db")).is_ok());
        assert!(neo4j(&text("neo4j+s://h")).is_ok());
    }
}
