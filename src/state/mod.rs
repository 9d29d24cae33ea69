//! The durable state: what the sinks were last brought to, as fingerprints, and a manifest that says which files hold them.
//!
//! ```text
//!   manifest.json      which generation is valid; put in place when all else is durable
//!   g7-0.fingerprints  generation 7, one file for each worker that wrote it: rows sorted by key, in checksummed blocks
//!   g7-0.links         likewise, once a graph is kept: what each record asserts; g7-0.edges: by how many an edge is asserted
//!   g7.dictionary      the names and properties in them
//!   checkpoint         up to where an epoch that is not complete is done, and e8-0.journal: what happened in it so far
//!   run                what the last run of several processes is called: whoever finds it there has the same state
//!   lock               held while a program works on the state
//! ```
//!
//! So they are in a folder; in a bucket of an object store, `state.json` says what manifest, checkpoint, run and lock say
//! ([`Storage`]). A generation is valid once its manifest is in place; the files of the one before are removed only then. Any number of
//! workers can take a generation up: each reads the rows whose shard is its own.

mod checkpoint;
mod error;
mod journal;
mod manifest;
mod parts;
mod storage;
mod texts;

use uuid::Uuid;

pub use checkpoint::{Checkpoint, Participant};
pub use error::StateError;
pub use journal::{JournalWriter, Segment, replay};
pub use manifest::{Applied, Begun, Deletes, Dictionary as DictionaryFile, Links, Manifest, Part};
pub use parts::{PartWriter, Row, Rows, check};
pub use storage::{Location, Storage};
pub use texts::{load_dictionary, save_dictionary};

use storage::{Hold, Record};

/// A state that is held, or looked at.
#[derive(Debug)]
pub struct State {
    storage: Storage,
    manifest: Manifest,
    fresh: bool,
    _hold: Option<Hold>,
}

impl State {
    /// Opens the state and holds it. Where there is none, a new one begins, which is durable once [`State::replace`] was called.
    pub fn open(storage: &Storage) -> Result<State, StateError> {
        let hold = storage.hold()?;
        State::read(storage, Some(hold))
    }

    /// The same where a state is to be made anew: what is left of one without a manifest is of no use, and is removed.
    pub fn open_anew(storage: &Storage) -> Result<State, StateError> {
        let hold = storage.hold()?;
        if storage.record(Record::Manifest)?.is_none() {
            storage.remove(is_of_a_generation)?;
        }
        State::read(storage, Some(hold))
    }

    /// Reads the state without changing or holding anything; where there is none, an empty one that is nowhere.
    pub fn look(storage: &Storage) -> Result<State, StateError> {
        State::read(storage, None)
    }

    fn read(storage: &Storage, hold: Option<Hold>) -> Result<State, StateError> {
        let manifest = read_manifest(storage)?;
        let fresh = manifest.is_none();
        Ok(State { storage: storage.clone(), manifest: manifest.unwrap_or_else(Manifest::new), fresh, _hold: hold })
    }

    /// Whether there was none before.
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// Where its files are.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// The valid generation's manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Puts another manifest in place: from then on its generation is the valid one, and files of no use to it are removed.
    pub fn replace(&mut self, manifest: Manifest) -> Result<(), StateError> {
        self.storage.put(Record::Manifest, Some(&manifest.to_text()))?;
        fail::fail_point!("state-in-place");
        let epoch = |manifest: &Manifest| manifest.begun.as_ref().map(|begun| begun.epoch);
        let goes_on = epoch(&manifest).is_some() && epoch(&manifest) == epoch(&self.manifest);
        self.manifest = manifest;
        if !goes_on {
            self.storage.put(Record::Checkpoint, None)?;
        }
        let stale = |name: &str| is_of_a_generation(name) && self.manifest.files().all(|file| file != name);
        self.storage.remove(|name| stale(name) || (!goes_on && journal::is_journal(name)))
    }

    /// Notes what a run of several processes is called, before they are told of it.
    pub fn name_run(&self, run: Uuid) -> Result<(), StateError> {
        self.storage.put(Record::Run, Some(&run.to_string()))
    }

    /// What was noted so last.
    pub fn run_in(storage: &Storage) -> Result<Option<Uuid>, StateError> {
        Ok(storage.record(Record::Run)?.and_then(|name| name.parse().ok()))
    }

    /// Takes the checkpoint away, durably, and the journals.
    pub fn forget_checkpoint(&self) -> Result<(), StateError> {
        self.storage.put(Record::Checkpoint, None)?;
        self.storage.remove(journal::is_journal)
    }
}

/// Whether a file's name is that of a part or a dictionary.
fn is_of_a_generation(name: &str) -> bool {
    parts::is_part(name) || texts::is_dictionary(name)
}

fn read_manifest(storage: &Storage) -> Result<Option<Manifest>, StateError> {
    let path = storage.path_of(Record::Manifest);
    let Some(text) = storage.record(Record::Manifest)? else {
        let manifest = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        return match storage.files()?.into_iter().find(|name| parts::is_part(name)) {
            Some(part) => Err(StateError::ManifestMissing { place: storage.to_string(), part, manifest }),
            None => Ok(None),
        };
    };
    Manifest::from_text(&text).map(Some).map_err(|problem| StateError::Manifest { path, problem })
}

/// The id of a new state or epoch.
pub fn new_id() -> Uuid {
    Uuid::new_v4()
}
