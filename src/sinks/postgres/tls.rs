//! Encrypted connections, by the OpenSSL that Kafka's client has linked in: it can check who vouches for a certificate apart from its name,
//! as `sslmode=verify-ca` wants, without a verifier of our own.

use std::path::Path;

use openssl::ssl::{SslConnector, SslFiletype, SslMethod, SslVerifyMode};
use postgres_openssl::{MakeTlsConnector, set_postgresql_alpn};
use tokio_postgres::Error;

use super::url::{Protection, TlsFiles};
use crate::sinks::{Class, SinkError};

/// What is trusted and what is shown.
#[derive(Clone)]
pub(super) struct Tls {
    pub(super) connector: MakeTlsConnector,
    pub(super) protection: Protection,
    has_ca: bool,
    shows: bool,
}

impl Tls {
    /// As asked for. Where a CA is named and no mode, all is verified; with `require`, as in libpq, who vouches for the server is.
    pub(super) fn new(place: &str, asked: Option<Protection>, files: &TlsFiles) -> Result<Tls, SinkError> {
        let protection = match (asked, &files.ca) {
            (None, Some(_)) => Protection::VerifyFull,
            (Some(Protection::Require), Some(_)) => Protection::VerifyCa,
            (asked, _) => asked.unwrap_or(Protection::Prefer),
        };
        let fail = |what: &str, path: &Path, error| {
            SinkError::stop(format!("{place}: {what} {} cannot be used: {error}; it must be PEM", path.display()))
        };
        let unusable = |error| SinkError::stop(format!("{place}: no encrypted connection can be prepared: {error}"));
        let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(unusable)?;
        if protection < Protection::VerifyCa {
            builder.set_verify(SslVerifyMode::NONE);
        } else if let Some(ca) = &files.ca {
            builder.set_ca_file(ca).map_err(|error| fail("the CA's file", ca, error))?;
        } else {
            // OpenSSL is linked in and does not know where this system keeps its certificates: they are looked for.
            let found = openssl_probe::probe();
            let folder = found.cert_dir.first().map(|folder| folder.as_path());
            builder.load_verify_locations(found.cert_file.as_deref(), folder).map_err(unusable)?;
        }
        if let (Some(certificate), Some(key)) = (&files.certificate, &files.key) {
            builder.set_certificate_chain_file(certificate).map_err(|error| fail("the certificate", certificate, error))?;
            builder.set_private_key_file(key, SslFiletype::PEM).map_err(|error| fail("the key", key, error))?;
            builder.check_private_key().map_err(|error| fail("with its certificate the key", key, error))?;
        }
        set_postgresql_alpn(&mut builder).map_err(unusable)?;
        let mut connector = MakeTlsConnector::new(builder.build());
        if protection < Protection::VerifyFull {
            connector.set_callback(|connection, _| {
                connection.set_verify_hostname(false);
                Ok(())
            });
        }
        Ok(Tls { connector, protection, has_ca: files.ca.is_some(), shows: files.certificate.is_some() })
    }

    /// Why encryption did not come about, in words that name the setting, and whether the next attempt may go another way; nothing where it
    /// had no part in that.
    pub(super) fn refusal(&self, error: &Error) -> Option<(Class, &'static str)> {
        let mut said = String::new();
        let mut cause = Some(error as &dyn std::error::Error);
        while let Some(error) = cause {
            said.push_str(&error.to_string());
            cause = error.source();
        }
        let server = error.as_db_error().map(|error| error.message()).unwrap_or_default();
        // A server may be gone before what it says of a certificate is heard. One that is being restarted hangs up too.
        if self.shows && ["unexpected EOF", "Connection reset", "Broken pipe"].iter().any(|end| said.contains(end)) {
            let words = "it hangs up, most likely as it asks for a certificate that it trusts (--postgres-certificate, --postgres-key)";
            return Some((Class::Retry, words));
        }
        let words = if said.contains("server does not support TLS") {
            "it does not encrypt: switch it on there (ssl = on), or leave sslmode and --postgres-ca out where the way to it is safe"
        } else if said.contains("mismatch") && said.contains("certificate verify failed") {
            "its certificate is for another name than the host in --postgres: name one that the certificate holds, or say sslmode=verify-ca"
        } else if said.contains("certificate verify failed") && self.has_ca {
            "its certificate is vouched for by none of those in --postgres-ca (or sslrootcert)"
        } else if said.contains("certificate verify failed") {
            "its certificate is vouched for by none that this system knows: name the file of its CA with --postgres-ca"
        } else if said.contains("alert") || server.contains("client certificate") || server.starts_with("certificate authentication") {
            "it asks for a certificate that it trusts, for this user: name one, and its key, with --postgres-certificate and --postgres-key"
        } else if server.contains("no encryption") {
            "it lets this user in by an encrypted connection only: say sslmode=verify-full, or at least sslmode=require"
        } else if said.contains("TLS handshake") {
            "no encrypted connection can be made"
        } else {
            return None;
        };
        Some((Class::Stop, words))
    }
}
