//! A connection as it is written in the settings: what this client understands of it, and what libpq does besides (`sslmode=verify-full`,
//! `sslrootcert` and so on), which is ours to do.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

/// How much a server must prove; libpq's names and meanings. Its `allow` is not there: it would try without encryption first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protection {
    /// Nothing is encrypted.
    Disable,
    /// Encrypted where the server can.
    Prefer,
    /// Encrypted, whoever it is.
    Require,
    /// A certificate that is vouched for.
    VerifyCa,
    /// That, and for the name of the host.
    VerifyFull,
}

impl Protection {
    const ALL: [Protection; 5] =
        [Protection::Disable, Protection::Prefer, Protection::Require, Protection::VerifyCa, Protection::VerifyFull];

    const fn name(self) -> &'static str {
        match self {
            Protection::Disable => "disable",
            Protection::Prefer => "prefer",
            Protection::Require => "require",
            Protection::VerifyCa => "verify-ca",
            Protection::VerifyFull => "verify-full",
        }
    }
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// PEM files of an encrypted connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates that vouch for the server's; the system's where none are named.
    pub ca: Option<PathBuf>,
    /// A certificate to show.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

/// A connection.
#[derive(Clone, Debug)]
pub struct ConnectionString {
    /// What the client understands.
    pub config: Config,
    /// `sslmode`, where it is there.
    pub protection: Option<Protection>,
    /// `sslrootcert`, `sslcert` and `sslkey`.
    pub files: TlsFiles,
}

/// Why it cannot be read. Holds nothing of it, as that may be a part of the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// As a whole.
    Form,
    /// The value of `sslmode`.
    Protection,
}

impl FromStr for ConnectionString {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<ConnectionString, Unreadable> {
        let is_url = ["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme));
        let (rest, ours) = if is_url { of_url(text) } else { of_pairs(text) }?;
        let (mut protection, mut files) = (None, TlsFiles::default());
        for (name, value) in ours {
            match name {
                "sslmode" => {
                    let known = Protection::ALL.into_iter().find(|known| known.name() == value);
                    protection = Some(known.ok_or(Unreadable::Protection)?);
                }
                // libpq's word for the system's certificates, which are ours where none are named.
                "sslrootcert" if value == "system" => protection = protection.or(Some(Protection::VerifyFull)),
                "sslrootcert" => files.ca = Some(value.into()),
                "sslcert" => files.certificate = Some(value.into()),
                _ => files.key = Some(value.into()),
            }
        }
        let mut config = Config::from_str(&rest).map_err(|_| Unreadable::Form)?;
        config.ssl_mode(match protection {
            Some(Protection::Disable) => SslMode::Disable,
            None | Some(Protection::Prefer) => SslMode::Prefer,
            Some(_) => SslMode::Require,
        });
        Ok(ConnectionString { config, protection, files })
    }
}

const OURS: [&str; 4] = ["sslmode", "sslrootcert", "sslcert", "sslkey"];

type Parted = (String, Vec<(&'static str, String)>);

fn is_ours(name: &str) -> Option<&'static str> {
    OURS.into_iter().find(|ours| *ours == name)
}

fn of_url(text: &str) -> Result<Parted, Unreadable> {
    let Some((before, query)) = text.split_once('?') else { return Ok((text.to_owned(), Vec::new())) };
    let (mut kept, mut ours) = (Vec::new(), Vec::new());
    for pair in query.split('&') {
        match pair.split_once('=').and_then(|(name, value)| Some((is_ours(name)?, value))) {
            Some((name, value)) => {
                ours.push((name, percent_decode_str(value).decode_utf8().map_err(|_| Unreadable::Form)?.into_owned()));
            }
            None => kept.push(pair),
        }
    }
    let rest = if kept.is_empty() { before.to_owned() } else { format!("{before}?{}", kept.join("&")) };
    Ok((rest, ours))
}

/// `key=value` pairs; values in quotes where they hold white space, a backslash before what is to be taken as it is.
fn of_pairs(text: &str) -> Result<Parted, Unreadable> {
    let (mut kept, mut ours) = (String::new(), Vec::new());
    let mut left = text.trim_start();
    while !left.is_empty() {
        let (name, after) = left.split_once('=').ok_or(Unreadable::Form)?;
        let after = after.trim_start();
        let (quoted, mut at) = if after.starts_with('\'') { (true, 1) } else { (false, 0) };
        let mut value = String::new();
        let mut letters = after[at..].char_indices();
        let mut closed = !quoted;
        let end = loop {
            match letters.next() {
                Some((_, '\\')) => value.extend(letters.next().map(|(_, letter)| letter)),
                Some((index, '\'')) if quoted => {
                    closed = true;
                    at += 1;
                    break index;
                }
                Some((index, letter)) if !quoted && letter.is_whitespace() => break index,
                Some((_, letter)) => value.push(letter),
                None => break after.len() - at,
            }
        };
        let end = (end + at).min(after.len());
        if !closed {
            return Err(Unreadable::Form);
        }
        match is_ours(name.trim()) {
            Some(name) => ours.push((name, value)),
            None => kept.push_str(&format!("{}={} ", name.trim(), &after[..end])),
        }
        left = after[end..].trim_start();
    }
    Ok((kept, ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libpq_knows_of_encryption_is_read_in_both_forms_and_the_rest_is_left_to_the_client() -> Result<(), Unreadable> {
        for text in [
            "postgresql://u:p%40@h:5433/db?sslmode=verify-ca&application_name=x&sslrootcert=a%20b.pem&sslcert=c.pem&sslkey=k.pem",
            "host=h port=5433 user=u password='p@' dbname = db sslmode=verify-ca application_name=x sslrootcert='a b.pem' sslcert=c.pem sslkey=k.pem",
            "sslkey=k.pem sslcert=c.pem sslrootcert=a\\ b.pem  sslmode='verify-ca' host=h port=5433 user=u password=p\\@ dbname=db application_name=x",
        ] {
            let read: ConnectionString = text.parse()?;
            let files = TlsFiles { ca: Some("a b.pem".into()), certificate: Some("c.pem".into()), key: Some("k.pem".into()) };
            assert_eq!((read.protection, &read.files), (Some(Protection::VerifyCa), &files), "{text}");
            let config = &read.config;
            assert_eq!((config.get_ssl_mode(), config.get_application_name()), (SslMode::Require, Some("x")), "{text}");
            assert_eq!(
                (config.get_user(), config.get_password(), config.get_dbname()),
                (Some("u"), Some(&b"p@"[..]), Some("db")),
                "{text}"
            );
        }
        let read: ConnectionString = "postgres://h/db?sslrootcert=system".parse()?;
        assert_eq!((read.protection, read.files), (Some(Protection::VerifyFull), TlsFiles::default()));
        let read: ConnectionString = "postgres://h/db".parse()?;
        assert_eq!((read.protection, read.config.get_ssl_mode()), (None, SslMode::Prefer));
        Ok(())
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (text, why) in [
            ("postgres://h/db?sslmode=allow", Unreadable::Protection),
            ("host=h sslmode=full", Unreadable::Protection),
            ("host=h password='x", Unreadable::Form),
            ("nonsense", Unreadable::Form),
            ("postgres://h/db?sslrot=x", Unreadable::Form),
        ] {
            assert_eq!(text.parse::<ConnectionString>().err(), Some(why), "{text}");
        }
    }
}
