//! What can be wrong with a state.

use std::ffi::OsString;
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
    #[error("the state in {folder} is in use by another discodiff ({holder}): wait for it to end, or name another --state")]
    Locked {
        /// The state's folder.
        folder: PathBuf,
        /// Who holds it.
        holder: String,
    },
    /// Fingerprints, but nothing that says which are valid.
    #[error(
        "{folder} holds {part:?} but no manifest.json: the state is damaged. Restore the folder from a backup, or make the state anew from a store: state rebuild"
    )]
    ManifestMissing {
        /// The state's folder.
        folder: PathBuf,
        /// A file found in it.
        part: OsString,
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
    #[error("{path}: {problem}. Restore the state's folder from a backup, or make it anew from a store in an empty folder: state rebuild")]
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
}
