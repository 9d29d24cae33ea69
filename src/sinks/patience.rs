//! How long stores that are servers are waited for. Every wait for one has an end, and the words that are said there.

use std::future::Future;
use std::thread;
use std::time::{Duration, Instant};

use super::driver::LONGEST_PAUSE;
use super::{Class, SinkError};

/// How long a server may take to answer a connection, greetings and login included: more than any that is well takes, even for its
/// first query, and short enough to wait for at a terminal.
const CONNECT: Duration = Duration::from_secs(10);

/// How long a server may stay away before the run gives up; it can be run again at any time. No answer may take longer either: a full
/// batch takes some tenths of a second, on an overloaded server perhaps tens; after this the way to the server is taken for dead,
/// though it still acknowledges what is sent.
const PATIENCE: Duration = Duration::from_secs(300);

/// [`PATIENCE`], but in tests that have less.
pub fn patience() -> Duration {
    fail::fail_point!("patience", |seconds| Duration::from_secs(seconds.and_then(|seconds| seconds.parse().ok()).unwrap_or(1)));
    PATIENCE
}

/// How long it may take to be connected.
pub fn connecting() -> Duration {
    CONNECT.min(patience())
}

/// Waits for a server, not for ever where a limit is given.
pub async fn within<T>(limit: Option<Duration>, place: &str, work: impl Future<Output = Result<T, SinkError>>) -> Result<T, SinkError> {
    match limit {
        Some(limit) => tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(silent(place, limit))),
        None => work.await,
    }
}

/// Does one of the last steps of a run, again where the server or the way to it failed; twice at least, since a first answer that does
/// not come may use all patience up, and a new connection may be all that is needed.
pub fn patiently<T>(mut act: impl FnMut() -> Result<T, SinkError>) -> Result<T, SinkError> {
    let begun = Instant::now();
    let mut pause = Duration::from_secs(1);
    let mut attempt = 0;
    loop {
        match act() {
            Err(error) if error.class == Class::Retry && (attempt == 0 || begun.elapsed() < patience()) => {
                tracing::warn!("{error}; trying again in {} s", pause.as_secs());
                thread::sleep(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
                attempt += 1;
            }
            other => return other.map_err(given_up),
        }
    }
}

/// An error that ends the run though nothing is wrong with what was to be written.
pub fn given_up(error: SinkError) -> SinkError {
    match error.class {
        Class::Retry => SinkError { message: format!("what was committed stays, run the same command again: {}", error.message), ..error },
        _ => error,
    }
}

/// The server says nothing, though it may have been connected to.
fn silent(place: &str, limit: Duration) -> SinkError {
    let message = format!(
        "{place}: no answer within {} s; see whether the server hangs, or whether something on the way to it swallows what is sent",
        limit.as_secs()
    );
    SinkError { class: Class::Retry, message, source: None }
}
