//! Connections: settings out of a URL, errors that name the place and never the password, and the lock that keeps other runs out.

use std::time::{Duration, SystemTime};

use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config};

use super::error::{failed, not_connected};
use super::tls::Tls;
use super::url::{ConnectionString, Protection, TlsFiles};
use crate::sinks::patience::{connecting, within};
use crate::sinks::{Access, Class, SinkError};

/// Idle time before the first probe of a connection, and between probes: a lost server is noticed within about a minute and a half,
/// and firewalls that forget idle connections after some minutes keep ours.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(30), Duration::from_secs(15), 4);

/// How long what was sent may stay unacknowledged: probes are for idle connections only, and the system's own limit is a quarter of an hour.
const UNACKNOWLEDGED: Duration = Duration::from_secs(90);

/// The first half of the advisory lock's key; the second is the schema's name. Any number will do; it spells "disc".
const LOCK: i32 = 0x6469_7363;

/// How long to wait for the lock: a server needs a moment to notice that a killed program is gone.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);

/// Where to connect to, and how it is called in messages.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) config: Config,
    pub(super) tls: Tls,
    pub(super) place: String,
}

impl Address {
    /// Reads a URL (or `key=value` text). What cannot be read is not repeated: it may be a part of the password.
    pub(super) fn parse(url: &str, password: Option<&str>, files: &TlsFiles) -> Result<Address, SinkError> {
        let unreadable = || {
            SinkError::stop(
                "the PostgreSQL URL cannot be read; it has the form postgres://USER@HOST:5432/DATABASE, and in user and password \
                 the characters @ : / % ? # are written as %40 %3A %2F %25 %3F %23",
            )
        };
        let ConnectionString { mut config, protection, files: named } = url.parse().map_err(|_| unreadable())?;
        let strange = |text: &str| text.contains(['@', '/', ':']);
        // an unescaped @ in a password makes the rest of it a part of the host
        if config.get_hosts().iter().any(|host| matches!(host, Host::Tcp(name) if name.contains('@')))
            || config.get_dbname().is_some_and(strange)
        {
            return Err(unreadable());
        }
        if config.get_hosts().is_empty() {
            // certificates are asked for the name of a host, which may be its address
            let addresses: Vec<String> = config.get_hostaddrs().iter().map(ToString::to_string).collect();
            for address in addresses {
                config.host(address);
            }
        }
        if config.get_hosts().is_empty() {
            config.host("localhost");
        }
        if let Some(password) = password {
            config.password(password);
        }
        if config.get_application_name().is_none() {
            config.application_name("discodiff");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(connecting());
        }
        let (idle, interval, retries) = KEEPALIVE;
        config.keepalives(true).keepalives_idle(idle).keepalives_interval(interval).keepalives_retries(retries);
        config.tcp_user_timeout(UNACKNOWLEDGED);
        let place = place(&config);
        let files = TlsFiles {
            ca: named.ca.or_else(|| files.ca.clone()),
            certificate: named.certificate.or_else(|| files.certificate.clone()),
            key: named.key.or_else(|| files.key.clone()),
        };
        let tls = Tls::new(&place, protection, &files)?;
        // a CA that is named for nothing would be a promise that is not kept
        if tls.protection > Protection::Prefer {
            config.ssl_mode(SslMode::Require);
        }
        // as in libpq: a socket of this machine is not encrypted
        #[cfg(unix)]
        if config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_))) {
            config.ssl_mode(SslMode::Disable);
        }
        Ok(Address { config, tls, place })
    }

    /// A new connection.
    pub(super) async fn connect(&self, access: Access) -> Result<Client, SinkError> {
        let connected = async { self.config.connect(self.tls.connector.clone()).await.map_err(|e| not_connected(self, e)) };
        let (client, connection) = within(Some(self.patience()), &self.place, connected).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("a connection to PostgreSQL ended: {error}");
            }
        });
        if access == Access::Read {
            let only = client.batch_execute("SET default_transaction_read_only = on").await;
            only.map_err(|e| failed(&self.place, "connecting for reading", e))?;
        }
        Ok(client)
    }

    /// How long connecting may take: the client's own limit is a socket's, and ends before greetings and login. Of a host with several
    /// addresses the first may not answer.
    pub(super) fn patience(&self) -> Duration {
        let hosts = self.config.get_hosts().len().max(self.config.get_hostaddrs().len()).max(1);
        let one = self.config.get_connect_timeout().copied().unwrap_or_else(connecting);
        one * u32::try_from(hosts).unwrap_or(u32::MAX) + connecting()
    }

    /// A connection that holds the lock, which lives as long as the connection does. `former` is one that was lost.
    pub(super) async fn connect_alone(&self, former: Option<Backend>) -> Result<Client, SinkError> {
        let client = self.connect(Access::Write).await?;
        let fail = |e| failed(&self.place, "locking out other runs", e);
        if let Some(former) = former {
            former.end(&client).await.map_err(fail)?;
        }
        let begun = tokio::time::Instant::now();
        loop {
            let locked = "SELECT pg_try_advisory_lock($1, hashtext(coalesce(current_schema(), '')))";
            if client.query_one(locked, &[&LOCK]).await.map_err(fail)?.try_get::<_, bool>(0).map_err(fail)? {
                return Ok(client);
            }
            if begun.elapsed() > LOCK_PATIENCE {
                return Err(self.held(&client).await.unwrap_or_else(fail));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Who holds the lock, as an error.
    async fn held(&self, client: &Client) -> Result<SinkError, tokio_postgres::Error> {
        let holder = client
            .query_opt(
                "SELECT a.pid, a.application_name, coalesce(host(a.client_addr), 'a local socket'), a.usename::text, a.backend_start::text
                 FROM pg_locks l JOIN pg_stat_activity a USING (pid)
                 WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.classid::bigint = $1::int
                 AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                 AND l.objid::bigint = hashtext(coalesce(current_schema(), ''))::bigint & 4294967295",
                &[&LOCK],
            )
            .await?;
        let place = &self.place;
        let Some(row) = holder else {
            return Ok(SinkError::stop(format!("{place}: another run held the lock until just now; try again")));
        };
        let (pid, application): (i32, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
        let (from, user, since): (String, Option<String>, Option<String>) = (row.try_get(2)?, row.try_get(3)?, row.try_get(4)?);
        let [application, user, since] = [application, user, since].map(Option::unwrap_or_default);
        Ok(SinkError::stop(format!(
            "{place} is being written by another run: backend {pid}, application '{application}', from {from} as user {user}, since {since}; \
             wait for it, or end it with SELECT pg_terminate_backend({pid})"
        )))
    }
}

/// A connection as the server knows it. One that was lost on the way may live on there for hours, with all its locks.
#[derive(Clone, Copy)]
pub(super) struct Backend {
    pid: i32,
    /// Tells it from a later one of the same number.
    since: SystemTime,
}

impl Backend {
    /// That of this client.
    pub(super) async fn of(client: &Client) -> Result<Backend, tokio_postgres::Error> {
        let row = client.query_one("SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()", &[]).await?;
        Ok(Backend { pid: row.try_get(0)?, since: row.try_get(1)? })
    }

    /// Ends it, where it is still there. Users may end their own.
    pub(super) async fn end(self, client: &Client) -> Result<(), tokio_postgres::Error> {
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND backend_start = $2";
        client.query(sql, &[&self.pid, &self.since]).await.map(drop)
    }
}

/// The same error as one that ends the run: at the start nobody tries again.
pub(super) fn at_start(error: SinkError) -> SinkError {
    SinkError { class: Class::Stop, ..error }
}

fn place(config: &Config) -> String {
    let ports = config.get_ports();
    let port = |i: usize| ports.get(i).or(ports.first()).copied().unwrap_or(5432);
    let hosts: Vec<String> = config
        .get_hosts()
        .iter()
        .enumerate()
        .map(|(i, host)| match host {
            Host::Tcp(name) => format!("{name}:{}", port(i)),
            #[cfg(unix)]
            Host::Unix(path) => format!("{}:{}", path.display(), port(i)),
        })
        .collect();
    let user = config.get_user().unwrap_or("(the default user)");
    format!("PostgreSQL database {} at {} as user {user}", config.get_dbname().unwrap_or(user), hosts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_names_host_port_database_and_user_and_never_the_password() -> Result<(), SinkError> {
        let address = Address::parse("postgres://me:hush%40@db.example:6543/music", None, &TlsFiles::default())?;
        assert_eq!(address.place, "PostgreSQL database music at db.example:6543 as user me");
        let address = Address::parse("postgres://me@/music", Some("hush"), &TlsFiles::default())?;
        assert_eq!(address.place, "PostgreSQL database music at localhost:5432 as user me");
        assert_eq!(address.config.get_password(), Some(&b"hush"[..]));
        Ok(())
    }

    #[test]
    fn a_url_that_cannot_be_read_is_not_repeated() {
        for url in ["postgres://me:hu@sh@db/music", "postgres://me:hush@db:port/music", "nonsense hush", "postgres://me:hu/sh@db/music"] {
            match Address::parse(url, None, &TlsFiles::default()) {
                Ok(address) => assert!(!address.place.contains("sh"), "{}", address.place),
                Err(error) => assert!(!error.to_string().contains("sh") && error.class == Class::Stop, "{error}"),
            }
        }
    }
}
