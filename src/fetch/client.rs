//! Asks the place for one thing at a time, over one connection.
//!
//! What is asked for is read on a thread of its own, some pieces ahead, so that the caller writes while more comes, and so that a Ctrl-C is
//! never kept waiting by a server. Where the server wants to be left alone, it is.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use time::OffsetDateTime;
use time::macros::format_description;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};
use ureq::{Agent, Error, Timeout};
use url::Url;

use super::FetchError;
use super::retry_after::retry_after;
use crate::sources::StoppedOnRequest;
use crate::telemetry::words::duration;

/// How long it may take to be connected.
const CONNECT: Duration = Duration::from_secs(30);

/// How long nothing may be heard. A server under load may think for some seconds before it answers, and networks fail for as long.
const SILENCE: Duration = Duration::from_secs(60);

/// Discogs' place asks for about an hour after some 15 requests. Who has to wait for longer than this had better come again.
const LONGEST_WAIT: Duration = Duration::from_secs(2 * 3600);

/// How often one thing is asked for: a server that wants to be left alone again and again means it.
const ATTEMPTS: u32 = 4;

/// What is waited first where the server does not say for how long; then twice that, and so on.
const UNASKED: Duration = Duration::from_secs(60);

/// How often whoever waits looks whether the user wants to stop.
const TURN: Duration = Duration::from_millis(100);

const PIECE: usize = 128 << 10;

/// Pieces on their way: enough to even out bursts of network and disk.
const AHEAD: usize = 16;

/// How much of an answer that is of no use is read, to keep the connection.
const OF_NO_USE: u64 = 64 << 10;

pub(super) struct Client {
    agent: Agent,
    place: Url,
    stop: Arc<AtomicBool>,
    waited: Duration,
}

/// What was asked for, on its way.
pub(super) struct Body {
    /// What it is and where it comes from, in words.
    pub what: String,
    /// Its length in bytes, where the server said it.
    pub length: Option<u64>,
    told: Receiver<Told>,
    stop: Arc<AtomicBool>,
}

/// What the thread that reads tells.
enum Told {
    Answer { status: u16, retry_after: Option<String>, length: Option<u64> },
    Piece(Vec<u8>),
    End,
    Failed(Error),
}

/// [`SILENCE`], but in tests that have less.
fn silence() -> Duration {
    fail::fail_point!("patience", |seconds| Duration::from_secs(seconds.and_then(|seconds| seconds.parse().ok()).unwrap_or(1)));
    SILENCE
}

impl Client {
    pub fn new(place: &Url, stop: &Arc<AtomicBool>) -> Client {
        let mut tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
        if place.scheme() == "https" {
            let found = rustls_native_certs::load_native_certs();
            found.errors.iter().for_each(|error| tracing::warn!("of the system's certificates: {error}"));
            let certificates: Vec<_> = found.certs.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
            tls = tls.root_certs(RootCerts::new_with_certs(&certificates));
        }
        let agent = Agent::config_builder()
            .user_agent(concat!("discodiff/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .http_status_as_error(false)
            // What is asked for encrypted comes encrypted, wherever the place sends us.
            .https_only(place.scheme() == "https")
            .max_redirects(5)
            .max_idle_connections(1)
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_per_read(Some(silence()))
            .timeout_per_write(Some(silence()))
            .timeout_recv_response(Some(silence()))
            .input_buffer_size(PIECE)
            .tls_config(tls.build())
            .build()
            .new_agent();
        Client { agent, place: place.clone(), stop: Arc::clone(stop), waited: Duration::ZERO }
    }

    /// How long the server wanted to be left alone so far, and was.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// The place, in words.
    pub fn place(&self) -> &str {
        self.place.as_str()
    }

    /// Asks for one thing, by the query of its address; `name` says what it is.
    pub fn get(&mut self, query: &str, name: &str) -> Result<Body, FetchError> {
        let mut url = self.place.clone();
        url.set_query((!query.is_empty()).then_some(query));
        let what = format!("{name} from {}", self.place);
        let mut attempt = 0;
        loop {
            attempt += 1;
            let body = self.ask(url.as_str(), &what)?;
            let (status, wish, length) = match body.told(silence() + 3 * CONNECT)? {
                Told::Answer { status, retry_after, length } => (status, retry_after, length),
                Told::Failed(error) => return Err(failed(what, error, false)),
                Told::Piece(_) | Told::End => return Err(FetchError::Failed { what, problem: "no answer came".to_owned() }),
            };
            let wish = wish.and_then(|wish| retry_after(&wish, OffsetDateTime::now_utc()));
            match status {
                200 => return Ok(Body { length, ..body }),
                404 | 410 => return Err(FetchError::NotThere { what, status }),
                429 => self.leave_alone(&what, status, wish, attempt)?,
                503 if wish.is_some() => self.leave_alone(&what, status, wish, attempt)?,
                401 | 403 => {
                    let problem = format!(
                        "the place refuses it (HTTP {status}): it is not there or not for everyone, or this address was shut out; see whether {} shows it in a browser",
                        self.place
                    );
                    return Err(FetchError::Refused { what, problem });
                }
                408 | 500.. => return Err(FetchError::Failed { what, problem: format!("the place is out of order (HTTP {status})") }),
                _ => return Err(FetchError::Refused { what, problem: format!("an answer that makes no sense here (HTTP {status})") }),
            }
        }
    }

    /// The same for a short text.
    pub fn text(&mut self, query: &str, name: &str, limit: usize) -> Result<String, FetchError> {
        let mut body = self.get(query, name)?;
        let mut text = Vec::new();
        while let Some(piece) = body.piece()? {
            text.extend_from_slice(&piece);
            if text.len() > limit {
                return Err(FetchError::Endless { what: body.what, limit: limit as u64 });
            }
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn ask(&self, url: &str, what: &str) -> Result<Body, FetchError> {
        let (tell, told) = bounded(AHEAD);
        let (agent, url) = (self.agent.clone(), url.to_owned());
        let reader = thread::Builder::new().name("fetch".to_owned()).spawn(move || read(&agent, &url, &tell));
        match reader {
            Ok(_) => Ok(Body { what: what.to_owned(), length: None, told, stop: Arc::clone(&self.stop) }),
            Err(error) => Err(FetchError::Failed { what: what.to_owned(), problem: format!("no thread can be started: {error}") }),
        }
    }

    /// Waits as long as the server wishes, or says why not.
    fn leave_alone(&mut self, what: &str, status: u16, wish: Option<Duration>, attempt: u32) -> Result<(), FetchError> {
        let pause = wish.unwrap_or(UNASKED * 2_u32.saturating_pow(attempt - 1)).max(Duration::from_secs(1));
        let at = OffsetDateTime::now_utc().saturating_add(pause.try_into().unwrap_or(time::Duration::WEEK));
        let at = at.format(format_description!("[year]-[month]-[day] [hour]:[minute] UTC")).unwrap_or_default();
        let asked = match wish {
            Some(_) => format!("the place asks not to come again before {at}"),
            None => "the place does not say when to come again; leave it alone for some hours".to_owned(),
        };
        if attempt == ATTEMPTS || self.waited.saturating_add(pause) > LONGEST_WAIT {
            return Err(FetchError::TooBusy { what: what.to_owned(), asked });
        }
        let why = if status == 429 { "too many requests from this address" } else { "the place has no time now" };
        tracing::warn!("{what}: {why} (HTTP {status}): waiting for {}, until {at}; Ctrl-C ends this", duration(pause));
        let begun = Instant::now();
        while begun.elapsed() < pause {
            if self.stop.load(Ordering::Relaxed) {
                return Err(StoppedOnRequest.into());
            }
            thread::sleep(TURN.min(pause.saturating_sub(begun.elapsed())));
        }
        self.waited += pause;
        Ok(())
    }
}

impl Body {
    /// The next piece; none at the end, which is that of the whole.
    pub fn piece(&mut self) -> Result<Option<Vec<u8>>, FetchError> {
        match self.told(2 * silence())? {
            Told::Piece(piece) => Ok(Some(piece)),
            Told::End => Ok(None),
            Told::Failed(error) => Err(failed(self.what.clone(), error, true)),
            Told::Answer { .. } => Err(FetchError::Failed { what: self.what.clone(), problem: "a second answer came".to_owned() }),
        }
    }

    /// What the thread tells next. It has its own bounds for each step; this one is for what it cannot bound.
    fn told(&self, limit: Duration) -> Result<Told, FetchError> {
        let begun = Instant::now();
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(StoppedOnRequest.into());
            }
            match self.told.recv_timeout(TURN) {
                Ok(told) => return Ok(told),
                Err(RecvTimeoutError::Timeout) if begun.elapsed() < limit => {}
                Err(_) => return Err(FetchError::silent(&self.what, begun.elapsed())),
            }
        }
    }
}

/// Reads what is asked for, until it ends or nobody listens any more.
fn read(agent: &Agent, url: &str, tell: &Sender<Told>) {
    let answer = match agent.get(url).call() {
        Ok(answer) => answer,
        Err(error) => return drop(tell.send(Told::Failed(error))),
    };
    let status = answer.status().as_u16();
    let retry_after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let length = answer.body().content_length();
    let mut reader = answer.into_body().into_reader();
    if status != 200 {
        // Before the answer is told: the next request takes the connection that this one leaves.
        let _ = io::copy(&mut (&mut reader).take(OF_NO_USE), &mut io::sink());
        return drop(tell.send(Told::Answer { status, retry_after, length }));
    }
    if tell.send(Told::Answer { status, retry_after, length }).is_err() {
        return;
    }
    let mut buffer = vec![0; PIECE];
    loop {
        let told = match reader.read(&mut buffer) {
            Ok(0) => Told::End,
            Ok(n) => Told::Piece(buffer[..n].to_vec()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Told::Failed(error.into()),
        };
        let ends = !matches!(told, Told::Piece(_));
        if tell.send(told).is_err() || ends {
            return;
        }
    }
}

const NO_HOST: &str = "there is no host of this name, or there is no network";

/// What the client's error means, and what to do. `answered`: it came in the middle of an answer.
fn failed(what: String, error: Error, answered: bool) -> FetchError {
    let certificate = |error: &rustls::Error| {
        matches!(error, rustls::Error::InvalidCertificate(_)).then(|| {
            format!(
                "its certificate is not one that this system trusts ({error}): is there something on the way that answers instead? \
                 SSL_CERT_FILE names a PEM file of other certificates to trust"
            )
        })
    };
    let refused = |problem: String| FetchError::Refused { what: what.clone(), problem };
    let problem = match &error {
        Error::Timeout(Timeout::Connect | Timeout::Resolve) => "no connection could be made in time: is there a network?".to_owned(),
        Error::Timeout(_) => return FetchError::silent(&what, silence()),
        Error::HostNotFound => NO_HOST.to_owned(),
        Error::RequireHttpsOnly(_) => return refused("it leads to an address that is not encrypted, which is not followed".to_owned()),
        Error::BadUri(_) | Error::Http(_) => return refused("it leads to an address that is none".to_owned()),
        Error::TooManyRedirects | Error::RedirectFailed => {
            return refused("it leads from one address to the next without an end".to_owned());
        }
        Error::ConnectProxyFailed(reason) => {
            format!("the proxy that the environment names (HTTPS_PROXY and so on) did not let it through: {reason}")
        }
        Error::Rustls(inner) => match certificate(inner) {
            Some(words) => return refused(words),
            None => format!("no encrypted connection could be made: {inner}"),
        },
        Error::Io(inner) => match inner.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(tls) => match certificate(tls) {
                Some(words) => return refused(words),
                None => format!("no encrypted connection could be made: {tls}"),
            },
            None => match inner.kind() {
                io::ErrorKind::UnexpectedEof if answered => "the connection was closed before all had come".to_owned(),
                io::ErrorKind::UnexpectedEof => {
                    "the connection was closed before an answer came: is --fetch-url right, https or http too?".to_owned()
                }
                // The system's resolver has no kind of its own.
                _ if inner.to_string().starts_with("failed to lookup address") => NO_HOST.to_owned(),
                io::ErrorKind::ConnectionRefused => "nobody answers there (connection refused)".to_owned(),
                _ => format!("the connection failed: {inner}"),
            },
        },
        Error::Protocol(_) | Error::LargeResponseHeader(..) => format!("what came is not HTTP: {error}"),
        _ => format!("{error}"),
    };
    FetchError::Failed { what, problem }
}
