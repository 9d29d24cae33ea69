//! Which brokers, and how they are spoken to: in the clear or encrypted, with a user's name or without.

use std::fmt;
use std::path::PathBuf;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};

use crate::settings::Secret;

/// Brokers, and all that a client needs to be let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brokers {
    /// `host:port`, several of them separated by commas.
    pub addresses: String,
    /// Encrypted, if so.
    pub tls: Option<Tls>,
    /// Who asks, where the brokers want to know.
    pub login: Option<Login>,
}

/// What is trusted, and what is shown. Files are PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificates that vouch for the brokers'; those of the system where none are named.
    pub ca: Option<PathBuf>,
    /// A certificate and its key, for brokers that want to see one.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// A user, and the proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// How the password is proved.
    pub sasl: Sasl,
    /// The user's name.
    pub user: String,
    /// The user's password.
    pub password: Secret,
}

/// A mechanism of SASL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sasl {
    /// The password itself is sent.
    Plain,
    /// A proof is sent.
    Scram256,
    /// The same with the longer digest.
    #[default]
    Scram512,
}

impl Sasl {
    /// All of them.
    pub const ALL: [Sasl; 3] = [Sasl::Plain, Sasl::Scram256, Sasl::Scram512];

    /// Its name, as brokers know it.
    pub const fn name(self) -> &'static str {
        match self {
            Sasl::Plain => "PLAIN",
            Sasl::Scram256 => "SCRAM-SHA-256",
            Sasl::Scram512 => "SCRAM-SHA-512",
        }
    }
}

impl Brokers {
    /// Whether a password crosses the network as it is.
    pub fn shows_password(&self) -> bool {
        self.tls.is_none() && self.login.as_ref().is_some_and(|login| login.sasl == Sasl::Plain)
    }

    /// What all clients have in common.
    pub fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.addresses).set("client.id", "discodiff");
        let protocol = match (&self.tls, &self.login) {
            (None, None) => "plaintext",
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        config.set("security.protocol", protocol);
        // The reasons of lost connections are told at this level.
        config.set_log_level(RDKafkaLogLevel::Info);
        if let Some(Tls { ca, certificate }) = &self.tls {
            // OpenSSL is linked in and does not know where this system keeps its certificates: they are looked for.
            let ca = ca.as_ref().map_or_else(|| "probe".into(), |path| path.to_string_lossy());
            config.set("ssl.ca.location", ca);
            if let Some((certificate, key)) = certificate {
                config.set("ssl.certificate.location", certificate.to_string_lossy()).set("ssl.key.location", key.to_string_lossy());
            }
        }
        if let Some(Login { sasl, user, password }) = &self.login {
            config.set("sasl.mechanisms", sasl.name()).set("sasl.username", user).set("sasl.password", password.reveal());
        }
        config
    }
}

/// Their addresses.
impl fmt::Display for Brokers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.addresses)
    }
}
