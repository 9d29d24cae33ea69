//! What can go wrong while dumps are fetched, each with what to do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use crate::disk;
use crate::sinks::Class;
use crate::sources::StoppedOnRequest;
use crate::telemetry::words::{bytes, duration};

/// What went wrong.
#[derive(Debug, Error)]
pub enum FetchError {
    /// The user asked the program to stop.
    #[error(transparent)]
    Stopped(#[from] StoppedOnRequest),
    /// The place or the way to it failed for now.
    #[error("{what}: {problem}")]
    Failed {
        /// What was asked for, and where.
        what: String,
        /// What happened.
        problem: String,
    },
    /// The place, or something on the way to it, will not do this.
    #[error("{what}: {problem}")]
    Refused {
        /// What was asked for, and where.
        what: String,
        /// What happened, and what to do.
        problem: String,
    },
    /// It is not there.
    #[error("{what}: it is not there (HTTP {status}): is --fetch-url right? Discogs' own place is {}", super::PLACE)]
    NotThere {
        /// What was asked for, and where.
        what: String,
        /// 404 or 410.
        status: u16,
    },
    /// The place wants to be left alone for longer than is waited.
    #[error("{what}: too many requests were made from this address, and {asked}")]
    TooBusy {
        /// What was asked for, and where.
        what: String,
        /// What it asks for, and what is waited at most.
        asked: String,
    },
    /// The page lists nothing.
    #[error(
        "{what}: the page lists no dumps. Is --fetch-url right, or did something on the way (the login page of a network) answer instead?"
    )]
    NoListing {
        /// Which page, and where.
        what: String,
    },
    /// The month is not offered.
    #[error("{month} is not offered by {place}; {there}")]
    NoMonth {
        /// What was asked for.
        month: String,
        /// Where.
        place: String,
        /// What is.
        there: String,
    },
    /// The month is not complete.
    #[error("{problem}")]
    Incomplete {
        /// Which, and what is missing.
        problem: String,
    },
    /// A file is not what `CHECKSUM.txt` says.
    #[error(
        "{name}: sha256 of what came ({received}, {}) is {sha256}, and CHECKSUM.txt says {stated}: it was damaged on its way, or is being replaced", bytes(*received)
    )]
    Differs {
        /// The file.
        name: String,
        /// Bytes that came.
        received: u64,
        /// Their sha256.
        sha256: String,
        /// What it should be.
        stated: String,
    },
    /// Files were replaced while others were fetched.
    #[error("{names}: replaced at the place since it was fetched")]
    Replaced {
        /// The files.
        names: String,
    },
    /// It is no dump at all.
    #[error(
        "{what}: what came is no gzip file but begins with {begins:?}. Is --fetch-url right, or did something on the way answer instead?"
    )]
    NotGzip {
        /// Which file, and where.
        what: String,
        /// Its first bytes.
        begins: String,
    },
    /// It does not end.
    #[error("{what}: more than {} came and it did not end", bytes(*limit))]
    Endless {
        /// Which, and where.
        what: String,
        /// Bytes that are taken at most.
        limit: u64,
    },
    /// The disk or its permissions.
    #[error("cannot {action} {path}{}", disk::advice(source))]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Another program fetches the same month.
    #[error("another discodiff is fetching into {}: wait for it to end, or name another --dumps", folder.display())]
    Locked {
        /// The month's folder.
        folder: PathBuf,
    },
    /// The folder is that of a month.
    #[error("{} holds dumps itself ({name}): --dumps names the folder above those of the months here, since each month is fetched into a folder of its own", folder.display())]
    OfAMonth {
        /// The folder.
        folder: PathBuf,
        /// A dump in it.
        name: String,
    },
}

impl FetchError {
    /// What is to be done about it: *retry* later, *reject* (what came is thrown away, and comes anew with the next run), or *stop*.
    pub fn class(&self) -> Class {
        match self {
            FetchError::Failed { .. } | FetchError::TooBusy { .. } | FetchError::Incomplete { .. } | FetchError::Replaced { .. } => {
                Class::Retry
            }
            FetchError::Differs { .. } | FetchError::NotGzip { .. } | FetchError::Endless { .. } => Class::Reject,
            _ => Class::Stop,
        }
    }

    /// The same in words, for the end of what is said.
    pub fn advice(&self) -> &'static str {
        match self.class() {
            Class::Retry => " (run the same command again later: files that are whole are not fetched again)",
            Class::Reject => " (what came was thrown away; run the same command again later: files that are whole are not fetched again)",
            Class::Stop => "",
        }
    }

    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> FetchError {
        FetchError::Io { action, path: path.to_owned(), source }
    }

    pub(super) fn silent(what: &str, time: Duration) -> FetchError {
        FetchError::Failed { what: what.to_owned(), problem: format!("nothing was heard for {}", duration(time)) }
    }
}
