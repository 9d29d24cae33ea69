//! The checkpoint: up to where an epoch that is not complete is durable, in all sinks and in the journals.

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use super::journal::Segment;
use super::{Manifest, Record, StateError, Storage};
use crate::model::graph::LINKS_VERSION;
use crate::model::{CANONICAL_VERSION, PerKind, RULES_VERSION};
use crate::sinks::{Epoch, Need};
use crate::sources::{BlockSize, Mark};

/// Version of the layout of checkpoints and journals, and of what is in them.
const FORMAT: u32 = 3;

/// A sink that has committed all below the checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Participant {
    /// `postgres`, `sqlite`, ...
    pub name: String,
    /// The store's own id.
    pub store: Uuid,
    /// What it gets.
    pub needs: PerKind<Option<Need>>,
    /// Keys that the state holds and that it did not get: it refused them, or the snapshot does not deliver them.
    pub missed: PerKind<u64>,
}

/// Up to where an epoch is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    format: u32,
    canonical: u32,
    rules: u32,
    links: u32,
    /// The state's id.
    pub state: Uuid,
    /// The generation that the journals go on from.
    pub generation: u64,
    /// The epoch.
    pub epoch: Epoch,
    /// Where blocks are cut.
    pub block: BlockSize,
    /// What each kind is read from.
    pub sources: PerKind<Option<String>>,
    /// Whether the links are in the journals.
    pub keeps_links: bool,
    /// From where on it is read.
    pub mark: Mark,
    /// Keys that were inserted, updated or deleted before the mark.
    pub changes: u64,
    /// The journals.
    pub segments: Vec<Segment>,
    /// The sinks.
    pub sinks: Vec<Participant>,
}

impl Checkpoint {
    /// One of this version of the program.
    pub fn new(
        manifest: &Manifest,
        epoch: Epoch,
        block: BlockSize,
        sources: PerKind<Option<String>>,
        keeps_links: bool,
        sinks: Vec<Participant>,
    ) -> Checkpoint {
        Checkpoint {
            format: FORMAT,
            canonical: CANONICAL_VERSION,
            rules: RULES_VERSION,
            links: LINKS_VERSION,
            state: manifest.state,
            generation: manifest.generation,
            epoch,
            block,
            sources,
            keeps_links,
            mark: Mark::default(),
            changes: 0,
            segments: Vec::new(),
            sinks,
        }
    }

    /// Whether it is of this version of the program.
    pub fn is_current(&self) -> bool {
        (self.format, self.canonical, self.rules, self.links) == (FORMAT, CANONICAL_VERSION, RULES_VERSION, LINKS_VERSION)
    }

    /// Puts it in place: from then on it is the one that counts.
    pub fn write(&self, storage: &Storage) -> Result<(), StateError> {
        // Cannot fail: all keys are strings.
        let body = serde_json::to_string_pretty(self).unwrap_or_default();
        storage.put(Record::Checkpoint, Some(&format!("{:016x}\n{body}\n", xxh3_64(body.as_bytes()))))
    }

    /// The one there is; `None`: there is none. One that cannot be read is told of in words.
    pub fn read(storage: &Storage) -> Result<Option<Checkpoint>, String> {
        let path = storage.path_of(Record::Checkpoint);
        let Some(text) = storage.record(Record::Checkpoint).map_err(|error| error.to_string())? else { return Ok(None) };
        let (checksum, body) = text.split_once('\n').unwrap_or_default();
        let body = body.trim_end();
        if checksum != format!("{:016x}", xxh3_64(body.as_bytes())) {
            return Err(format!("{} is damaged", path.display()));
        }
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let version: Version = serde_json::from_str(body).map_err(|error| format!("{} is damaged: {error}", path.display()))?;
        if version.format != FORMAT {
            return Err(format!("{} is of format {}, and this program's is {FORMAT}", path.display(), version.format));
        }
        serde_json::from_str(body).map(Some).map_err(|error| format!("{} is damaged: {error}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_reads_back_as_written_and_a_damaged_or_other_one_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let storage = Storage::from(folder.path());
        assert_eq!(Checkpoint::read(&storage), Ok(None));
        let epoch = Epoch { number: 3, id: Uuid::from_u128(7) };
        let written = Checkpoint::new(&Manifest::new(), epoch, BlockSize::default(), PerKind::default(), true, Vec::new());
        written.write(&storage).expect("written");
        assert!(written.is_current());
        assert_eq!(Checkpoint::read(&storage), Ok(Some(written.clone())));
        let path = storage.path_of(Record::Checkpoint);
        let text = std::fs::read_to_string(&path).expect("read");
        std::fs::write(&path, text.replace("\"number\": 3", "\"number\": 4")).expect("written");
        assert!(Checkpoint::read(&storage).is_err_and(|words| words.contains("damaged")));
        Checkpoint { format: FORMAT + 1, ..written }.write(&storage).expect("written");
        assert!(Checkpoint::read(&storage).is_err_and(|words| words.contains(&format!("of format {}", FORMAT + 1))));
    }
}
