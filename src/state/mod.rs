//! The durable state: what the sinks were last brought to, as fingerprints, and a manifest that says which files hold them.
//!
//! ```text
//!   DIR/manifest.json      which generation is valid; renamed into place when all else is on disk
//!   DIR/g7-0.fingerprints  generation 7, one file for each worker that wrote it: rows sorted by key, in checksummed blocks
//!   DIR/g7-0.links         likewise, once a graph is kept: what each record asserts; g7-0.edges: by how many an edge is asserted
//!   DIR/g7.dictionary      the names and properties in them
//!   DIR/checkpoint         up to where an epoch that is not complete is done, and DIR/e8-0.journal: what happened in it so far
//!   DIR/run                what the last run of several processes is called: whoever finds it here has the same folder
//!   DIR/lock               held while a program works on the state
//! ```
//!
//! A generation is valid once its manifest is in place; the files of the one before are removed only then. Any number of workers can
//! take a generation up: each reads the rows whose shard is its own.

mod checkpoint;
mod error;
mod journal;
mod manifest;
mod parts;
mod texts;

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use uuid::Uuid;

pub use checkpoint::{Checkpoint, Participant};
pub use error::StateError;
pub use journal::{JournalWriter, Segment, replay};
pub use manifest::{Applied, Begun, Deletes, Dictionary as DictionaryFile, Links, Manifest, Part};
pub use parts::{PartWriter, Row, Rows, check};
pub use texts::{load_dictionary, save_dictionary};

use crate::disk;

const MANIFEST: &str = "manifest.json";
const LOCK: &str = "lock";
const RUN: &str = "run";

/// A state's folder, locked.
#[derive(Debug)]
pub struct State {
    folder: PathBuf,
    manifest: Manifest,
    fresh: bool,
    _lock: Option<File>,
}

impl State {
    /// Opens the state in `folder` and locks it. Where there is none, a new one begins, which is durable once [`State::replace`] was
    /// called.
    pub fn open(folder: &Path) -> Result<State, StateError> {
        let lock = lock(folder)?;
        State::read(folder, Some(lock))
    }

    /// The same where a state is to be made anew: what is left of one without a manifest is of no use, and is removed.
    pub fn open_anew(folder: &Path) -> Result<State, StateError> {
        let lock = lock(folder)?;
        if !folder.join(MANIFEST).exists() {
            for entry in fs::read_dir(folder).map_err(|source| StateError::io("list", folder, source))?.flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if parts::is_part(&name) || texts::is_dictionary(&name) {
                    fs::remove_file(entry.path()).map_err(|source| StateError::io("remove", &entry.path(), source))?;
                }
            }
        }
        State::read(folder, Some(lock))
    }

    /// Reads the state in `folder` without changing or locking anything; where there is none, an empty one that is nowhere.
    pub fn look(folder: &Path) -> Result<State, StateError> {
        State::read(folder, None)
    }

    fn read(folder: &Path, lock: Option<File>) -> Result<State, StateError> {
        let manifest = if folder.is_dir() { read_manifest(folder)? } else { None };
        let fresh = manifest.is_none();
        Ok(State { folder: folder.to_owned(), manifest: manifest.unwrap_or_else(Manifest::new), fresh, _lock: lock })
    }

    /// Whether there was none before.
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The valid generation's manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Puts another manifest in place: from then on its generation is the valid one, and files of no use to it are removed.
    pub fn replace(&mut self, manifest: Manifest) -> Result<(), StateError> {
        write_durably(&self.folder, MANIFEST, manifest.to_text().as_bytes())?;
        let epoch = |manifest: &Manifest| manifest.begun.as_ref().map(|begun| begun.epoch);
        let goes_on = epoch(&manifest).is_some() && epoch(&manifest) == epoch(&self.manifest);
        self.manifest = manifest;
        if !goes_on {
            self.forget_checkpoint()?;
        }
        for entry in fs::read_dir(&self.folder).map_err(|source| StateError::io("list", &self.folder, source))? {
            let entry = entry.map_err(|source| StateError::io("list", &self.folder, source))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let stale = (parts::is_part(&name) || texts::is_dictionary(&name)) && self.manifest.files().all(|file| file != name);
            if stale && let Err(error) = fs::remove_file(entry.path()) {
                tracing::warn!("cannot remove {name}, which is of no use any more: {error}");
            }
        }
        Ok(())
    }

    /// Notes what a run of several processes is called, before they are told of it.
    pub fn name_run(&self, run: Uuid) -> Result<(), StateError> {
        write_durably(&self.folder, RUN, run.to_string().as_bytes())
    }

    /// What was noted so last in this folder.
    pub fn run_in(folder: &Path) -> Option<Uuid> {
        fs::read_to_string(folder.join(RUN)).ok()?.parse().ok()
    }

    /// Takes the checkpoint away, durably, and the journals.
    pub fn forget_checkpoint(&self) -> Result<(), StateError> {
        let path = self.folder.join(checkpoint::CHECKPOINT);
        match fs::remove_file(&path) {
            Ok(()) => sync_folder(&self.folder).map_err(|source| StateError::io("remove", &path, source))?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(source) => return Err(StateError::io("remove", &path, source)),
        }
        for entry in fs::read_dir(&self.folder).map_err(|source| StateError::io("list", &self.folder, source))?.flatten() {
            if journal::is_journal(&entry.file_name().to_string_lossy())
                && let Err(error) = fs::remove_file(entry.path())
            {
                tracing::warn!("cannot remove {}, which is of no use any more: {error}", entry.path().display());
            }
        }
        Ok(())
    }
}

/// Puts a file in place whole or not at all.
fn write_durably(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), StateError> {
    let (path, temporary) = (folder.join(name), folder.join(format!("{name}.new")));
    let io = |source| StateError::io("write", &path, source);
    let mut file = disk::create(&temporary).map_err(io)?;
    file.write_all(bytes).map_err(io)?;
    file.sync_all().map_err(io)?;
    if name == MANIFEST {
        fail::fail_point!("state-before-rename");
    }
    fs::rename(&temporary, &path).map_err(io)?;
    sync_folder(folder).map_err(io)
}

/// Makes names in the folder durable.
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

fn read_manifest(folder: &Path) -> Result<Option<Manifest>, StateError> {
    let path = folder.join(MANIFEST);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let mut entries = fs::read_dir(folder).map_err(|source| StateError::io("list", folder, source))?.flatten();
            return match entries.find(|entry| parts::is_part(&entry.file_name().to_string_lossy())) {
                Some(part) => Err(StateError::ManifestMissing { folder: folder.to_owned(), part: part.file_name() }),
                None => Ok(None),
            };
        }
        Err(source) => return Err(StateError::io("read", &path, source)),
    };
    Manifest::from_text(&text).map(Some).map_err(|problem| StateError::Manifest { path, problem })
}

/// Makes the folder where it is missing, and locks it.
fn lock(folder: &Path) -> Result<File, StateError> {
    disk::create_folder(folder).map_err(|source| StateError::io("create the folder", folder, source))?;
    let path = folder.join(LOCK);
    let io = |source| StateError::io("lock", &path, source);
    let (mut file, locked) = disk::lock(&path).map_err(io)?;
    if !locked {
        let mut holder = String::new();
        // Who holds it is said where it can be read; that it is held is what matters.
        let _ = file.read_to_string(&mut holder);
        return Err(StateError::Locked { folder: folder.to_owned(), holder: holder.trim().to_owned() });
    }
    file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "process {}", std::process::id())).map_err(io)?;
    Ok(file)
}

/// The id of a new state or epoch.
pub fn new_id() -> Uuid {
    Uuid::new_v4()
}
