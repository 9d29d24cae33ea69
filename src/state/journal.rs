//! Journals: what happened to the state within an epoch that is not complete, tick by tick.
//!
//! ```text
//!   header  "discojnl" | format u32 | state uuid 16 B | generation u64 | crc u32
//!   entry   tick u64 | what u8 | bytes u32 | crc u32 | payload                   all little-endian
//! ```
//!
//! Entries only ever come on at the end, in no order. Which of them count is said by the checkpoint: those of ticks below its own, and those
//! of tick 0. What stands behind the length that it names was written later, and may be torn.
//!
//! In a folder a run writes one journal, which grows. An object cannot grow: in a bucket the journal is in pieces, one for each checkpoint.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::parts::{HEADER, header, open};
use super::storage::NewFile;
use super::{Manifest, StateError, Storage};
use crate::disk;
use crate::sources::Tick;

const WHAT: &[u8; 8] = b"discojnl";
const ENDING: &str = "journal";

/// Bytes before an entry's payload.
const HEAD: usize = 8 + 1 + 4 + 4;

/// One journal of an epoch: each run that takes it up begins another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    /// Its name in the state's folder.
    pub file: String,
    /// Its first tick.
    pub from: Tick,
    /// The tick behind its last.
    pub below: Tick,
    /// Bytes that are known to be on disk.
    pub length: u64,
}

pub(super) fn is_journal(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, ending)| ending == ENDING)
}

/// Writes a journal.
#[derive(Debug)]
pub struct JournalWriter {
    header: [u8; HEADER],
    from: Tick,
    stem: String,
    being: Being,
}

#[derive(Debug)]
enum Being {
    /// One file, that grows.
    Growing { path: PathBuf, file: BufWriter<File>, segment: Segment },
    /// What is durable, and the piece that is being written, with its length.
    Pieces { storage: Storage, done: Vec<Segment>, piece: Option<(NewFile, u64)> },
}

impl JournalWriter {
    /// Begins a journal of an epoch after the valid generation, in which nothing before `from` happens: `number` is that of the epoch and
    /// its own, `run` the name of a run of several processes.
    pub fn create(
        storage: &Storage,
        manifest: &Manifest,
        (epoch, number): (u64, usize),
        run: Option<u32>,
        from: Tick,
    ) -> Result<JournalWriter, StateError> {
        let run = run.map(|run| format!("-{run:08x}")).unwrap_or_default();
        let (header, stem) = (header(WHAT, manifest.state, manifest.generation), format!("e{epoch}-{number}{run}"));
        let being = match storage.folder() {
            None => Being::Pieces { storage: storage.clone(), done: Vec::new(), piece: None },
            Some(folder) => {
                let file = format!("{stem}.{ENDING}");
                let path = folder.join(&file);
                let io = |source| StateError::io("write", &path, source);
                let mut out = BufWriter::with_capacity(1 << 20, disk::create(&path).map_err(io)?);
                out.write_all(&header).map_err(io)?;
                let segment = Segment { file, from, below: from, length: HEADER as u64 };
                Being::Growing { path, file: out, segment }
            }
        };
        Ok(JournalWriter { header, from, stem, being })
    }

    /// Adds an entry.
    pub fn push(&mut self, tick: Tick, what: u8, payload: &[u8]) -> Result<(), StateError> {
        let length =
            u32::try_from(payload.len()).map_err(|error| StateError::io("write", self.stem.as_ref(), std::io::Error::other(error)))?;
        let mut head = [0; HEAD];
        head[..8].copy_from_slice(&tick.to_le_bytes());
        head[8] = what;
        head[9..13].copy_from_slice(&length.to_le_bytes());
        let mut crc = crc32fast::Hasher::new();
        crc.update(&head[..13]);
        crc.update(payload);
        head[13..].copy_from_slice(&crc.finalize().to_le_bytes());
        self.write(&head)?;
        self.write(payload)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        match &mut self.being {
            Being::Growing { path, file, segment } => {
                segment.length += bytes.len() as u64;
                file.write_all(bytes).map_err(|source| StateError::io("write", path, source))
            }
            Being::Pieces { storage, done, piece } => {
                let (file, length) = match piece {
                    Some(piece) => piece,
                    None => {
                        let mut file = storage.create(&format!("{}-{}", self.stem, done.len()), ENDING)?;
                        file.write_all(&self.header).map_err(|source| StateError::io("write", file.path(), source))?;
                        piece.insert((file, HEADER as u64))
                    }
                };
                *length += bytes.len() as u64;
                file.write_all(bytes).map_err(|source| StateError::io("write", file.path(), source))
            }
        }
    }

    /// Makes durable what was added so far, and says what of it counts where all ticks below this one are done: never nothing.
    pub fn sync(&mut self, below: Tick) -> Result<Vec<Segment>, StateError> {
        if let Being::Pieces { done, piece: None, .. } = &self.being
            && done.is_empty()
        {
            self.write(&[])?;
        }
        match &mut self.being {
            Being::Growing { path, file, segment } => {
                let io = |source| StateError::io("write", path, source);
                file.flush().map_err(io)?;
                file.get_ref().sync_data().map_err(io)?;
                Ok(vec![Segment { below, ..segment.clone() }])
            }
            Being::Pieces { done, piece, .. } => {
                if let Some((file, length)) = piece.take() {
                    done.push(Segment { file: file.finish()?, from: self.from, below, length });
                }
                Ok(done.iter().map(|segment| Segment { below, ..segment.clone() }).collect())
            }
        }
    }
}

/// Calls `each` with the tick and payload of every entry that counts and that is of one of the sorts that are `wanted`.
pub fn replay(
    storage: &Storage,
    manifest: &Manifest,
    segments: &[Segment],
    wanted: impl Fn(u8) -> bool,
    mut each: impl FnMut(Tick, u8, &[u8]) -> Result<(), StateError>,
) -> Result<(), StateError> {
    let mut payload = Vec::new();
    for segment in segments {
        let (path, mut file) = open(storage, &segment.file, WHAT, ENDING, manifest)?;
        let damaged = |problem: &str| StateError::Part { path: path.clone(), problem: problem.to_owned() };
        let mut at = HEADER as u64;
        while at < segment.length {
            let mut head = [0; HEAD];
            file.read_exact(&mut head).map_err(|error| StateError::unread(&path, error, || "the journal is cut short".to_owned()))?;
            let number = |from: usize| head.get(from..from + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes);
            let (tick, what) = (u64::from(number(0)) | u64::from(number(4)) << 32, head[8]);
            payload.clear();
            let length = u64::from(number(9));
            let read = file.by_ref().take(length).read_to_end(&mut payload).map_err(|source| StateError::io("read", &path, source))?;
            let mut crc = crc32fast::Hasher::new();
            crc.update(&head[..13]);
            crc.update(&payload);
            if read as u64 != length || crc.finalize() != number(13) {
                return Err(damaged("an entry of the journal is damaged"));
            }
            at += HEAD as u64 + length;
            if (tick == 0 || (segment.from..segment.below).contains(&tick)) && wanted(what) {
                each(tick, what, &payload)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(storage: &Storage, manifest: &Manifest, segments: &[Segment]) -> Result<Vec<(Tick, u8, Vec<u8>)>, StateError> {
        let mut found = Vec::new();
        replay(
            storage,
            manifest,
            segments,
            |what| what != 9,
            |tick, what, payload| {
                found.push((tick, what, payload.to_vec()));
                Ok(())
            },
        )?;
        Ok(found)
    }

    #[test]
    fn what_counts_is_what_lies_below_the_checkpoint_and_before_the_length_that_it_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let storage = Storage::from(folder.path());
        let manifest = Manifest::new();
        let mut writer = JournalWriter::create(&storage, &manifest, (1, 0), None, 10).expect("created");
        for (tick, what) in [(10, 1), (12, 2), (11, 1), (0, 3), (11, 9), (13, 1)] {
            writer.push(tick, what, &vec![what; tick as usize]).expect("pushed");
        }
        let segment = writer.sync(13).expect("synced").remove(0);
        writer.push(12, 7, b"later").expect("pushed");
        writer.sync(14).expect("synced");
        let mut next = JournalWriter::create(&storage, &manifest, (1, 1), None, 13).expect("created");
        next.push(13, 5, b"again").expect("pushed");
        let segments = [segment, next.sync(14).expect("synced").remove(0)];
        let found = read(&storage, &manifest, &segments).expect("read");
        let ticks: Vec<_> = found.iter().map(|(tick, what, _)| (*tick, *what)).collect();
        assert_eq!(ticks, [(10, 1), (12, 2), (11, 1), (0, 3), (13, 5)]);
        assert_eq!(found[1].2, [2; 12]);
    }

    #[test]
    fn a_damaged_cut_or_foreign_journal_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let storage = Storage::from(folder.path());
        let manifest = Manifest::new();
        let mut writer = JournalWriter::create(&storage, &manifest, (1, 0), None, 10).expect("created");
        writer.push(10, 1, &[7; 100]).expect("pushed");
        let segment = writer.sync(11).expect("synced").remove(0);
        let path = folder.path().join(&segment.file);
        let whole = std::fs::read(&path).expect("read");
        let refused = |bytes: &[u8], manifest: &Manifest| {
            std::fs::write(&path, bytes).expect("written");
            read(&storage, manifest, std::slice::from_ref(&segment)).expect_err("refused").to_string()
        };
        for at in [41, 48, 52, 100] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            assert!(refused(&bytes, &manifest).contains("damaged"), "byte {at}");
        }
        assert!(refused(&whole[..50], &manifest).contains("cut short"));
        assert!(refused(&whole, &Manifest { generation: 5, ..manifest.clone() }).contains("another generation"));
    }
}
