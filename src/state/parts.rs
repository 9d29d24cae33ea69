//! Files of fingerprints: a header, then blocks of rows sorted by key, each with a CRC-32, then an empty block.
//!
//! ```text
//!   header  "discodif" | format u32 | state uuid 16 B | generation u64 | crc u32
//!   block   rows u32 | crc u32 | rows x (key u64, raw u64, document u64, graph u64)      all little-endian
//!   end     0 u32 | crc of the number of all rows as u64 u32
//! ```

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::{Manifest, Part, StateError};
use crate::model::{Fingerprint, Key};

const MAGIC: &[u8; 8] = b"discodif";
const FORMAT: u32 = 1;
const HEADER: usize = 8 + 4 + 16 + 8 + 4;
const ROW: usize = 32;

/// Rows of a block: 512 KiB, enough that checksum and system calls cost nothing beside the rows themselves.
const BLOCK_ROWS: usize = 16_384;

pub(super) fn is_part(name: &str) -> bool {
    name.ends_with(".fingerprints") || name.ends_with(".fingerprints.new")
}

fn header(state: Uuid, generation: u64) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    bytes[12..28].copy_from_slice(state.as_bytes());
    bytes[28..36].copy_from_slice(&generation.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..36]);
    bytes[36..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Writes one part of a generation. The file gets its name only when it is whole and on disk.
#[derive(Debug)]
pub struct PartWriter {
    folder: PathBuf,
    part: Part,
    file: BufWriter<File>,
    block: Vec<u8>,
}

impl PartWriter {
    /// Begins the part of `worker` among `workers`.
    pub fn create(folder: &Path, state: Uuid, generation: u64, worker: usize, workers: usize) -> Result<PartWriter, StateError> {
        let part = Part { file: format!("g{generation}-{worker}.fingerprints"), rows: 0, worker, workers };
        let path = folder.join(format!("{}.new", part.file));
        let file = File::create(&path).map_err(|source| StateError::io("create", &path, source))?;
        let mut writer = PartWriter {
            folder: folder.to_owned(),
            part,
            file: BufWriter::with_capacity(1 << 20, file),
            block: Vec::with_capacity(BLOCK_ROWS * ROW),
        };
        writer.put(&header(state, generation))?;
        Ok(writer)
    }

    /// Adds a row; keys must rise.
    pub fn push(&mut self, key: Key, fingerprint: Fingerprint) -> Result<(), StateError> {
        for field in [key.to_bits(), fingerprint.raw, fingerprint.document, fingerprint.graph] {
            self.block.extend_from_slice(&field.to_le_bytes());
        }
        self.part.rows += 1;
        if self.block.len() == BLOCK_ROWS * ROW { self.flush() } else { Ok(()) }
    }

    /// Completes the file and makes it durable under its name.
    pub fn finish(mut self) -> Result<Part, StateError> {
        self.flush()?;
        self.put(&0u32.to_le_bytes())?;
        self.put(&crc32fast::hash(&self.part.rows.to_le_bytes()).to_le_bytes())?;
        let path = self.folder.join(&self.part.file);
        let io = |source| StateError::io("write", &path, source);
        let file = self.file.into_inner().map_err(|error| io(error.into_error()))?;
        file.sync_all().map_err(io)?;
        std::fs::rename(self.folder.join(format!("{}.new", self.part.file)), &path).map_err(io)?;
        super::sync_folder(&self.folder).map_err(io)?;
        Ok(self.part)
    }

    fn flush(&mut self) -> Result<(), StateError> {
        if self.block.is_empty() {
            return Ok(());
        }
        let block = std::mem::take(&mut self.block);
        self.put(&((block.len() / ROW) as u32).to_le_bytes())?;
        self.put(&crc32fast::hash(&block).to_le_bytes())?;
        self.put(&block)?;
        self.block = block;
        self.block.clear();
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        self.file.write_all(bytes).map_err(|source| StateError::io("write", &self.folder.join(&self.part.file), source))
    }
}

/// One part's rows, in order of keys.
struct PartReader {
    path: PathBuf,
    file: BufReader<File>,
    block: Vec<u8>,
    at: usize,
    rows: u64,
    expected: u64,
    last: Option<Key>,
    ended: bool,
}

impl PartReader {
    fn open(folder: &Path, manifest: &Manifest, part: &Part) -> Result<PartReader, StateError> {
        let path = folder.join(&part.file);
        let damaged = |problem: String| StateError::Part { path: path.clone(), problem };
        let file = File::open(&path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => damaged("the file is missing".to_owned()),
            _ => StateError::io("read", &path, source),
        })?;
        let mut file = BufReader::with_capacity(1 << 18, file);
        let mut found = [0; HEADER];
        file.read_exact(&mut found).map_err(|_| damaged("the file is shorter than its header".to_owned()))?;
        if found[..8] != *MAGIC {
            return Err(damaged("this is not a file of fingerprints".to_owned()));
        }
        if found != header(manifest.state, manifest.generation) {
            return Err(damaged(match found {
                _ if found[8..12] > FORMAT.to_le_bytes()[..] => "it was written by a newer discodiff".to_owned(),
                _ if found[36..] != crc32fast::hash(&found[..36]).to_le_bytes() => "its header is damaged".to_owned(),
                _ if found[12..28] != *manifest.state.as_bytes() => "it belongs to another state".to_owned(),
                _ => "it belongs to another generation".to_owned(),
            }));
        }
        Ok(PartReader { path, file, block: Vec::new(), at: 0, rows: 0, expected: part.rows, last: None, ended: false })
    }

    fn damaged(&self, problem: &str) -> StateError {
        StateError::Part { path: self.path.clone(), problem: format!("{problem} after row {}", self.rows) }
    }

    fn word(&mut self) -> Result<u32, StateError> {
        let mut bytes = [0; 4];
        self.file.read_exact(&mut bytes).map_err(|_| self.damaged("the file is cut short"))?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn next(&mut self) -> Result<Option<(Key, Fingerprint)>, StateError> {
        if self.ended {
            return Ok(None);
        }
        if self.at == self.block.len() {
            let rows = self.word()? as usize;
            let crc = self.word()?;
            if rows == 0 {
                if crc != crc32fast::hash(&self.rows.to_le_bytes()) || self.rows != self.expected {
                    return Err(self.damaged("the number of rows does not agree"));
                }
                self.ended = true;
                return Ok(None);
            }
            if rows > BLOCK_ROWS {
                return Err(self.damaged("a block's length is damaged"));
            }
            self.block.resize(rows * ROW, 0);
            self.at = 0;
            let read = self.file.read_exact(&mut self.block);
            read.map_err(|_| self.damaged("the file is cut short"))?;
            if crc != crc32fast::hash(&self.block) {
                return Err(self.damaged("a block's checksum does not agree"));
            }
        }
        let field = |i: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&self.block[self.at + 8 * i..self.at + 8 * i + 8]);
            u64::from_le_bytes(bytes)
        };
        let key = Key::from_bits(field(0)).filter(|key| self.last.is_none_or(|last| last < *key));
        let Some(key) = key else { return Err(self.damaged("a key is out of order")) };
        let fingerprint = Fingerprint { raw: field(1), document: field(2), graph: field(3) };
        self.at += ROW;
        self.rows += 1;
        self.last = Some(key);
        Ok(Some((key, fingerprint)))
    }
}

/// Calls `each` for every row of the valid generation, in order of keys.
pub fn rows(folder: &Path, manifest: &Manifest, each: impl FnMut(Key, Fingerprint)) -> Result<(), StateError> {
    merge(folder, manifest, |_| true, |_| true, each)
}

/// Calls `each` for every row that `worker` owns among `workers`, in order of keys. Reads only the file that the same worker among as
/// many wrote, where there is one; else all of them.
pub fn rows_of_worker(
    folder: &Path,
    manifest: &Manifest,
    worker: usize,
    workers: usize,
    each: impl FnMut(Key, Fingerprint),
) -> Result<(), StateError> {
    let wanted = |part: &Part| part.workers != workers || part.worker == worker;
    merge(folder, manifest, wanted, |key| key.worker(workers) == worker, each)
}

fn merge(
    folder: &Path,
    manifest: &Manifest,
    wanted: impl Fn(&Part) -> bool,
    mine: impl Fn(Key) -> bool,
    mut each: impl FnMut(Key, Fingerprint),
) -> Result<(), StateError> {
    let mut readers = Vec::new();
    for part in manifest.parts.iter().filter(|part| wanted(part)) {
        readers.push(PartReader::open(folder, manifest, part)?);
    }
    if let [reader] = &mut readers[..] {
        while let Some((key, fingerprint)) = reader.next()? {
            if mine(key) {
                each(key, fingerprint);
            }
        }
        return Ok(());
    }
    let mut heads = BinaryHeap::with_capacity(readers.len());
    for (i, reader) in readers.iter_mut().enumerate() {
        heads.extend(reader.next()?.map(|row| Reverse((row, i))));
    }
    while let Some(Reverse(((key, fingerprint), i))) = heads.pop() {
        if mine(key) {
            each(key, fingerprint);
        }
        heads.extend(readers[i].next()?.map(|row| Reverse((row, i))));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Kind;

    fn rows_in(n: u64) -> Vec<(Key, Fingerprint)> {
        let kinds = |i: u64| if i.is_multiple_of(3) { Kind::Artist } else { Kind::Release };
        let mut rows: Vec<_> =
            (1..=n).filter_map(|i| Some((Key::new(kinds(i), i * 7)?, Fingerprint { raw: i, document: i * 2, graph: i * 3 }))).collect();
        rows.sort();
        rows
    }

    fn write(folder: &Path, rows: &[(Key, Fingerprint)], workers: usize) -> Manifest {
        let mut manifest = Manifest { generation: 4, ..Manifest::new() };
        for worker in 0..workers {
            let mut writer = PartWriter::create(folder, manifest.state, 4, worker, workers).expect("created");
            for (key, fingerprint) in rows.iter().filter(|(key, _)| key.worker(workers) == worker) {
                writer.push(*key, *fingerprint).expect("pushed");
            }
            manifest.parts.push(writer.finish().expect("finished"));
        }
        manifest
    }

    #[test]
    fn any_number_of_workers_takes_up_what_any_number_wrote() {
        let expected = rows_in(40_000);
        for (wrote, read) in [(1, 1), (1, 3), (4, 2), (2, 2), (3, 1)] {
            let folder = tempfile::tempdir().expect("temporary folder");
            let manifest = write(folder.path(), &expected, wrote);
            let mut all = Vec::new();
            for worker in 0..read {
                let mut last = None;
                rows_of_worker(folder.path(), &manifest, worker, read, |key, fingerprint| {
                    assert!(last < Some(key), "rows come in order of keys");
                    last = Some(key);
                    all.push((key, fingerprint));
                })
                .expect("read");
            }
            all.sort();
            assert!(all == expected, "{wrote} wrote, {read} read");
        }
    }

    #[test]
    fn a_damaged_cut_foreign_or_missing_file_is_refused_in_words() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let manifest = write(folder.path(), &rows_in(20_000), 1);
        let path = folder.path().join(&manifest.parts[0].file);
        let whole = std::fs::read(&path).expect("read");
        let refused = |bytes: &[u8], manifest: &Manifest| {
            std::fs::write(&path, bytes).expect("written");
            rows(folder.path(), manifest, |_, _| {}).expect_err("refused").to_string()
        };
        for at in [100, HEADER + 9, whole.len() - 2, whole.len() / 2] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            assert!(refused(&bytes, &manifest).contains("agree"), "byte {at}");
        }
        assert!(refused(&whole[..whole.len() - 4], &manifest).contains("cut short"));
        assert!(refused(&whole[..30], &manifest).contains("shorter than its header"));
        assert!(refused(b"PK\x03\x04 something else altogether, longer than a header", &manifest).contains("not a file of fingerprints"));
        let other = Manifest { state: Uuid::from_u128(5), ..manifest.clone() };
        assert!(refused(&whole, &other).contains("another state"));
        let older = Manifest { generation: 3, ..manifest.clone() };
        assert!(refused(&whole, &older).contains("another generation"));
        std::fs::remove_file(&path).expect("removed");
        assert!(rows(folder.path(), &manifest, |_, _| {}).expect_err("refused").to_string().contains("missing"));
    }
}
