//! The manifest: which generation is valid, and what it holds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use crate::model::graph::LINKS_VERSION;
use crate::model::{CANONICAL_VERSION, Kind, Peers, PerKind, RULES_VERSION, Seat};
use crate::sinks::Epoch;
use crate::sources::Snapshot;
use crate::sources::kafka::Reached;

/// Version of the layout of manifest and part files.
const FORMAT: u32 = 3;

/// What is known of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Applied {
    /// The epoch that last changed anything of it.
    pub epoch: Epoch,
    /// The snapshot's month, `2025-12`.
    pub month: String,
    /// Name of the dump file.
    pub file: String,
    /// Its sha256 in hexadecimal.
    pub sha256: String,
    /// Records that the state holds.
    pub records: u64,
    /// Records of the snapshot that were rejected.
    pub rejected: u64,
    /// Deletes that were withheld.
    pub deletes_withheld: u64,
    /// Why the file was not read whole, if it was not.
    pub defect: Option<String>,
    /// Schema drift: paths that no reader knows, and how often each was met in the records that were parsed.
    pub unmapped: BTreeMap<String, u64>,
}

/// An epoch that was begun and may not have been completed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Begun {
    /// Which.
    pub epoch: Epoch,
    /// sha256 of the files that it reads: the snapshot's identity.
    pub files: PerKind<Option<String>>,
    /// What it may delete. Under other settings it could come to another end than what stores may hold of it already.
    #[serde(default)]
    pub deletes: Option<Deletes>,
    /// Whether it reads once more what was rejected of the snapshot that the state holds, and nothing else.
    #[serde(default)]
    pub retry: bool,
}

/// What a run may delete.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deletes {
    /// Share of a kind's records that may go without being asked for, in percent.
    pub limit_percent: f64,
    /// Whether those beyond are taken.
    pub allowed: bool,
}

/// One file of rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Its name in the state's folder.
    pub file: String,
    /// Number of its rows.
    pub rows: u64,
    /// Which worker wrote it; its shards are those that this worker owned.
    pub worker: usize,
    /// Among how many.
    pub workers: usize,
    /// In how many processes.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub processes: usize,
}

fn one() -> usize {
    1
}

fn is_one(processes: &usize) -> bool {
    *processes == 1
}

impl Part {
    /// Whether it was written by one of such workers.
    pub fn is_of(&self, peers: Peers) -> bool {
        (self.workers, self.processes) == (peers.count(), peers.processes)
    }

    /// How many rows a worker will own of these parts: exactly, where such workers wrote them, else about.
    pub fn room(parts: &[Part], seat: Seat) -> usize {
        let exact = parts.iter().find(|part| part.is_of(seat.peers) && part.worker == seat.worker).map(|part| part.rows);
        let all: u64 = parts.iter().map(|part| part.rows).sum();
        exact.unwrap_or(all / seat.peers.count() as u64) as usize
    }
}

/// Which generation is valid, and what it holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this layout.
    pub format: u32,
    /// Version of the canonical form that the digests were taken over.
    pub canonical: u32,
    /// Version of the rules, likewise.
    pub rules: u32,
    /// The state's id: sinks are bound to it.
    pub state: Uuid,
    /// Counts the generations.
    pub generation: u64,
    /// The highest epoch number ever begun.
    pub last_epoch: u64,
    /// The last completed epoch in which anything changed or that a feed took part in: where a feed that lacks nothing stands.
    pub completed: Option<Epoch>,
    /// The epoch that was begun and not completed.
    pub begun: Option<Begun>,
    /// Epochs begun and given up for another snapshot.
    pub abandoned: Vec<u64>,
    /// What is known of each kind; `None`: never applied.
    pub kinds: PerKind<Option<Applied>>,
    /// The files of fingerprints.
    pub parts: Vec<Part>,
    /// The links, once a graph was ever kept. Absent in format 1.
    #[serde(default)]
    pub links: Option<Links>,
    /// How far the state has come in the topics that it was refreshed from, if it was. Absent in format 1.
    #[serde(default)]
    pub topics: PerKind<Option<Reached>>,
}

/// What is kept of the links that records assert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Links {
    /// The version of what a record's links are.
    pub version: u32,
    /// Kinds of which the links of every record that the state holds are there.
    pub complete: PerKind<bool>,
    /// The files of links.
    pub links: Vec<Part>,
    /// The files of edges that several records may assert.
    pub edges: Vec<Part>,
    /// The file of the dictionary.
    pub dictionary: Dictionary,
}

/// The file of the dictionary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dictionary {
    /// Its name in the state's folder.
    pub file: String,
    /// Number of its texts.
    pub texts: u64,
}

#[derive(Serialize, Deserialize)]
struct Sealed<'a> {
    checksum: String,
    #[serde(borrow)]
    manifest: &'a RawValue,
}

impl Begun {
    /// Whether this very snapshot was begun.
    pub fn is_of(&self, snapshot: &Snapshot) -> bool {
        self.files.iter().all(|(kind, noted)| match (noted, &snapshot.files[kind]) {
            (Some(noted), Some(file)) => file.is_noted_as(noted),
            (None, None) => true,
            _ => false,
        })
    }
}

impl Manifest {
    /// An empty generation of a new state.
    pub fn new() -> Manifest {
        Manifest {
            format: FORMAT,
            canonical: CANONICAL_VERSION,
            rules: RULES_VERSION,
            state: super::new_id(),
            generation: 0,
            last_epoch: 0,
            completed: None,
            begun: None,
            abandoned: Vec::new(),
            kinds: PerKind::default(),
            parts: Vec::new(),
            links: None,
            topics: PerKind::default(),
        }
    }

    /// Whether its digests can be compared with those that this program takes.
    pub fn digests_are_current(&self) -> bool {
        self.canonical == CANONICAL_VERSION && self.rules == RULES_VERSION
    }

    /// The names of all files of the generation.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        let links = self.links.as_ref();
        let parts = links.into_iter().flat_map(|links| links.links.iter().chain(&links.edges));
        let parts = self.parts.iter().chain(parts).map(|part| part.file.as_str());
        parts.chain(links.map(|links| links.dictionary.file.as_str()))
    }

    /// Whether the links of every record of a kind are known, as this program makes them.
    pub fn holds_links(&self, kind: Kind) -> bool {
        let links = self.links.as_ref().filter(|links| links.version == LINKS_VERSION);
        links.is_some_and(|links| links.complete[kind] || self.kinds[kind].is_none())
    }

    /// Records that the state holds of each kind.
    pub fn records(&self) -> PerKind<u64> {
        PerKind::from_fn(|kind| self.kinds[kind].as_ref().map_or(0, |applied| applied.records))
    }

    pub(super) fn to_text(&self) -> String {
        // Neither can fail: all keys are strings, and what was just written is JSON.
        let body = serde_json::to_string_pretty(self).unwrap_or_default();
        format!("{{\n\"checksum\": \"{:016x}\",\n\"manifest\": {body}\n}}\n", xxh3_64(body.as_bytes()))
    }

    pub(super) fn from_text(text: &str) -> Result<Manifest, String> {
        const RESTORE: &str = "Restore the state from a backup, or make it anew from a store in an empty place: state rebuild";
        let sealed: Sealed<'_> = serde_json::from_str(text).map_err(|error| format!("the manifest is damaged ({error}). {RESTORE}"))?;
        let body = sealed.manifest.get();
        #[derive(Deserialize)]
        struct Versions {
            format: u32,
            canonical: u32,
            rules: u32,
        }
        let damaged = |error| format!("the manifest is damaged ({error}). {RESTORE}");
        let versions: Versions = serde_json::from_str(body).map_err(damaged)?;
        if versions.format > FORMAT || versions.canonical > CANONICAL_VERSION || versions.rules > RULES_VERSION {
            return Err(format!(
                "the state was written by a newer discodiff (format {}, canonical form {}, rules {}; this one knows {FORMAT}, \
                 {CANONICAL_VERSION}, {RULES_VERSION}): use that version",
                versions.format, versions.canonical, versions.rules
            ));
        }
        if sealed.checksum != format!("{:016x}", xxh3_64(body.as_bytes())) {
            return Err(format!("the manifest is damaged (its checksum does not agree). {RESTORE}"));
        }
        let manifest: Manifest = serde_json::from_str(body).map_err(damaged)?;
        Ok(Manifest { format: FORMAT, ..manifest })
    }
}

impl Default for Manifest {
    fn default() -> Manifest {
        Manifest::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_reads_back_as_written() {
        let manifest = Manifest { abandoned: vec![3], ..Manifest::new() };
        assert_eq!(Manifest::from_text(&manifest.to_text()), Ok(manifest));
    }

    #[test]
    fn a_damaged_or_newer_manifest_is_refused_in_words() {
        let text = Manifest::new().to_text();
        let refused = |text: &str| Manifest::from_text(text).expect_err("refused");
        assert!(refused(&text.replace("\"last_epoch\": 0", "\"last_epoch\": 8")).contains("checksum does not agree"));
        assert!(refused(&text[..text.len() / 2]).contains("damaged"));
        let newer = text.replace(&format!("\"format\": {FORMAT}"), &format!("\"format\": {}", FORMAT + 1));
        assert!(refused(&newer).contains("newer discodiff"));
    }
}
