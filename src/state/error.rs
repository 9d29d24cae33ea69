//! What can be wrong with a state.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::disk;

/// What is wrong with a state, and what to do. None of these goes away by trying again at once.
#[derive(Debug, Error)]
pub enum StateError {
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
    /// Another program works on it.
    #[error("the state in {place} is in use by another discodiff ({holder}): wait for it to end, or name another --state")]
    Locked {
        /// Where the state is.
        place: String,
        /// Who holds it.
        holder: String,
    },
    /// The object store.
    #[error("cannot {action} {}: {problem}", path.display())]
    Objects {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What came of it, and what to do.
        problem: String,
    },
    /// A variable of the environment that says where an object store is, or as whom it is spoken to.
    #[error("{variable}: {words}")]
    Variable {
        /// Its name.
        variable: &'static str,
        /// What is wrong, and what would be right.
        words: String,
    },
    /// The user wants an end.
    #[error("stopped on request")]
    Stopped,
    /// Another program holds what this one held.
    #[error(
        "the state in {place} was taken over by another discodiff ({by}), as this one had not been heard of for too long: nothing more is written to it from here, and what is not complete goes on there"
    )]
    TakenOver {
        /// Where the state is.
        place: String,
        /// Who holds it now.
        by: String,
    },
    /// Fingerprints, but nothing that says which are valid.
    #[error(
        "{place} holds {part:?} but no {manifest}: the state is damaged. Restore it from a backup, or make the state anew from a store: state rebuild"
    )]
    ManifestMissing {
        /// Where the state is.
        place: String,
        /// A file found there.
        part: String,
        /// The file that is missing.
        manifest: String,
    },
    /// The manifest cannot be used.
    #[error("{path}: {problem}")]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// Why, and what to do.
        problem: String,
    },
    /// A file of fingerprints cannot be used.
    #[error("{path}: {problem}. Restore the state from a backup, or make it anew from a store in an empty place: state rebuild")]
    Part {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the offset where there is one.
        problem: String,
    },
}

impl StateError {
    /// An error of the disk.
    pub fn io(action: &'static str, path: &Path, source: io::Error) -> StateError {
        StateError::Io { action, path: path.to_owned(), source }
    }

    /// Where reading has failed: a file that ends too early is damaged, one that cannot be read may be whole.
    pub(super) fn unread(path: &Path, source: io::Error, cut: impl FnOnce() -> String) -> StateError {
        match source.kind() {
            io::ErrorKind::UnexpectedEof => StateError::Part { path: path.to_owned(), problem: cut() },
            _ => StateError::io("read", path, source),
        }
    }
}
