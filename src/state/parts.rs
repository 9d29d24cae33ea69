//! Files of rows: a header, then blocks of sorted rows of one size, each with a CRC-32, then an empty block.
//!
//! ```text
//!   header  what u64 | format u32 | state uuid 16 B | generation u64 | crc u32
//!   block   rows u32 | crc u32 | rows                                        all little-endian
//!   end     0 u32 | crc of the number of all rows as u64 u32
//!
//!   .fingerprints "discodif"   key u64, raw u64, document u64, graph u64
//!   .links        "discolnk"   key u64, link 12 B                            what each record asserts
//!   .edges        "discoedg"   anchor u64, link 12 B, records u32            edges that several records may assert, and how many do
//! ```

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, BufReader, Read, Write};
use std::marker::PhantomData;
use std::path::PathBuf;

use uuid::Uuid;

use super::storage::NewFile;
use super::{Manifest, Part, StateError, Storage};
use crate::model::graph::{Anchor, Coded, EdgeId};
use crate::model::{Fingerprint, Key, Seat};

const FORMAT: u32 = 1;
pub(super) const HEADER: usize = 8 + 4 + 16 + 8 + 4;

/// Rows of a block: some hundred KiB, enough that checksum and system calls cost nothing beside the rows themselves.
const BLOCK_ROWS: usize = 16_384;

/// What one kind of file holds.
pub trait Row: Copy {
    /// The first eight bytes of a file.
    const WHAT: &'static [u8; 8];
    /// How a file's name ends.
    const ENDING: &'static str;
    /// Bytes of a row.
    const SIZE: usize;
    /// What rows are sorted by; no two have the same.
    type Place: Ord + Copy;

    /// What it is sorted by.
    fn place(&self) -> Self::Place;
    /// The shard, whose owner owns it.
    fn shard(&self) -> u64;
    /// Writes it.
    fn put(&self, out: &mut Vec<u8>);
    /// Reads it; `None` for bytes that are no row.
    fn get(bytes: &[u8]) -> Option<Self>;
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn link(bytes: &[u8]) -> Option<Coded> {
    Coded::from_bytes(bytes.get(8..20)?.try_into().ok()?)
}

impl Row for (Key, Fingerprint) {
    const WHAT: &'static [u8; 8] = b"discodif";
    const ENDING: &'static str = "fingerprints";
    const SIZE: usize = 32;
    type Place = Key;

    fn place(&self) -> Key {
        self.0
    }

    fn shard(&self) -> u64 {
        self.0.shard()
    }

    fn put(&self, out: &mut Vec<u8>) {
        let (key, Fingerprint { raw, document, graph }) = self;
        for field in [key.to_bits(), *raw, *document, *graph] {
            out.extend_from_slice(&field.to_le_bytes());
        }
    }

    fn get(bytes: &[u8]) -> Option<Self> {
        let fingerprint = Fingerprint { raw: number(bytes, 8)?, document: number(bytes, 16)?, graph: number(bytes, 24)? };
        Some((Key::from_bits(number(bytes, 0)?)?, fingerprint))
    }
}

/// A link that a record asserts.
impl Row for (Key, Coded) {
    const WHAT: &'static [u8; 8] = b"discolnk";
    const ENDING: &'static str = "links";
    const SIZE: usize = 20;
    type Place = Self;

    fn place(&self) -> Self {
        *self
    }

    fn shard(&self) -> u64 {
        self.0.shard()
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0.to_bits().to_le_bytes());
        out.extend_from_slice(&self.1.to_bytes());
    }

    fn get(bytes: &[u8]) -> Option<Self> {
        Some((Key::from_bits(number(bytes, 0)?)?, link(bytes)?))
    }
}

/// An edge that several records may assert, and how many do.
impl Row for (EdgeId, u32) {
    const WHAT: &'static [u8; 8] = b"discoedg";
    const ENDING: &'static str = "edges";
    const SIZE: usize = 24;
    type Place = EdgeId;

    fn place(&self) -> EdgeId {
        self.0
    }

    fn shard(&self) -> u64 {
        self.0.anchor.shard()
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0.anchor.to_bits().to_le_bytes());
        out.extend_from_slice(&self.0.link.to_bytes());
        out.extend_from_slice(&self.1.to_le_bytes());
    }

    fn get(bytes: &[u8]) -> Option<Self> {
        let edge = EdgeId { anchor: Anchor::from_bits(number(bytes, 0)?)?, link: link(bytes)? };
        let records = u32::from_le_bytes(bytes.get(20..24)?.try_into().ok()?);
        (records > 0).then_some((edge, records))
    }
}

pub(super) fn is_part(name: &str) -> bool {
    let name = name.strip_suffix(".new").unwrap_or(name);
    let endings = [<(Key, Fingerprint)>::ENDING, <(Key, Coded)>::ENDING, <(EdgeId, u32)>::ENDING];
    name.rsplit_once('.').is_some_and(|(_, ending)| endings.contains(&ending))
}

pub(super) fn header(what: &[u8; 8], state: Uuid, generation: u64) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..8].copy_from_slice(what);
    bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    bytes[12..28].copy_from_slice(state.as_bytes());
    bytes[28..36].copy_from_slice(&generation.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..36]);
    bytes[36..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Writes one part of a generation. The file gets its name only when it is whole and durable.
#[derive(Debug)]
pub struct PartWriter<R> {
    part: Part,
    file: NewFile,
    block: Vec<u8>,
    rows: PhantomData<R>,
}

impl<R: Row> PartWriter<R> {
    /// Begins a worker's part.
    pub fn create(storage: &Storage, state: Uuid, generation: u64, seat: Seat) -> Result<PartWriter<R>, StateError> {
        let Seat { worker, peers, run } = seat;
        let run = run.map(|run| format!("-{run:08x}")).unwrap_or_default();
        let file = storage.create(&format!("g{generation}-{worker}{run}"), R::ENDING)?;
        let part = Part { file: String::new(), rows: 0, worker, workers: peers.count(), processes: peers.processes };
        let mut writer = PartWriter { part, file, block: Vec::with_capacity(BLOCK_ROWS * R::SIZE), rows: PhantomData };
        writer.put(&header(R::WHAT, state, generation))?;
        Ok(writer)
    }

    /// Adds a row; rows must rise.
    pub fn push(&mut self, row: R) -> Result<(), StateError> {
        row.put(&mut self.block);
        self.part.rows += 1;
        if self.block.len() == BLOCK_ROWS * R::SIZE { self.flush() } else { Ok(()) }
    }

    /// Completes the file and makes it durable under its name.
    pub fn finish(mut self) -> Result<Part, StateError> {
        self.flush()?;
        self.put(&0u32.to_le_bytes())?;
        self.put(&crc32fast::hash(&self.part.rows.to_le_bytes()).to_le_bytes())?;
        self.part.file = self.file.finish()?;
        Ok(self.part)
    }

    fn flush(&mut self) -> Result<(), StateError> {
        if self.block.is_empty() {
            return Ok(());
        }
        let block = std::mem::take(&mut self.block);
        self.put(&((block.len() / R::SIZE) as u32).to_le_bytes())?;
        self.put(&crc32fast::hash(&block).to_le_bytes())?;
        self.put(&block)?;
        self.block = block;
        self.block.clear();
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        self.file.write_all(bytes).map_err(|source| StateError::io("write", self.file.path(), source))
    }
}

/// One part's rows, in order.
struct PartReader<R: Row> {
    path: PathBuf,
    file: BufReader<Box<dyn Read>>,
    bytes: Vec<u8>,
    /// The block that is being given, from `at` on.
    block: Vec<R>,
    at: usize,
    /// Rows read so far, and how many there are to be.
    rows: u64,
    expected: u64,
    last: Option<R::Place>,
    ended: bool,
}

impl<R: Row> PartReader<R> {
    fn open(storage: &Storage, manifest: &Manifest, part: &Part) -> Result<PartReader<R>, StateError> {
        let (path, file) = open(storage, &part.file, R::WHAT, R::ENDING, manifest)?;
        let (bytes, block) = (Vec::new(), Vec::with_capacity(BLOCK_ROWS));
        Ok(PartReader { path, file, bytes, block, at: 0, rows: 0, expected: part.rows, last: None, ended: false })
    }

    fn damaged(&self, problem: &str) -> StateError {
        StateError::Part { path: self.path.clone(), problem: format!("{problem} after row {}", self.rows) }
    }

    fn unread(&self, error: io::Error) -> StateError {
        StateError::unread(&self.path, error, || format!("the file is cut short after row {}", self.rows))
    }

    fn word(&mut self) -> Result<u32, StateError> {
        let mut bytes = [0; 4];
        self.file.read_exact(&mut bytes).map_err(|error| self.unread(error))?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn next(&mut self) -> Result<Option<R>, StateError> {
        if self.at == self.block.len() && !self.ended {
            self.read_block()?;
        }
        let row = self.block.get(self.at).copied();
        self.at += usize::from(row.is_some());
        Ok(row)
    }

    /// Reads the next block, or the end.
    fn read_block(&mut self) -> Result<(), StateError> {
        self.at = 0;
        self.block.clear();
        let rows = self.word()? as usize;
        let crc = self.word()?;
        if rows == 0 {
            if crc != crc32fast::hash(&self.rows.to_le_bytes()) || self.rows != self.expected {
                return Err(self.damaged("the number of rows does not agree"));
            }
            self.ended = true;
            return Ok(());
        }
        if rows > BLOCK_ROWS {
            return Err(self.damaged("a block's length is damaged"));
        }
        self.bytes.resize(rows * R::SIZE, 0);
        let read = self.file.read_exact(&mut self.bytes);
        read.map_err(|error| self.unread(error))?;
        if crc != crc32fast::hash(&self.bytes) {
            return Err(self.damaged("a block's checksum does not agree"));
        }
        for bytes in self.bytes.chunks_exact(R::SIZE) {
            let row = R::get(bytes).filter(|row| self.last.is_none_or(|last| last < row.place()));
            let Some(row) = row else { return Err(self.damaged("a row is out of order")) };
            self.rows += 1;
            self.last = Some(row.place());
            self.block.push(row);
        }
        Ok(())
    }
}

/// Opens a file of the valid generation and checks its header.
pub(super) fn open(
    storage: &Storage,
    name: &str,
    what: &[u8; 8],
    ending: &str,
    manifest: &Manifest,
) -> Result<(PathBuf, BufReader<Box<dyn Read>>), StateError> {
    let path = storage.path(name);
    let damaged = |problem: String| StateError::Part { path: path.clone(), problem };
    let mut file = storage.read(name)?.ok_or_else(|| damaged("the file is missing".to_owned()))?;
    let mut found = [0; HEADER];
    file.read_exact(&mut found).map_err(|error| StateError::unread(&path, error, || "the file is shorter than its header".to_owned()))?;
    if found[..8] != *what {
        return Err(damaged(format!("this is not a file of {ending}")));
    }
    if found != header(what, manifest.state, manifest.generation) {
        return Err(damaged(match found {
            _ if found[8..12] > FORMAT.to_le_bytes()[..] => "it was written by a newer discodiff".to_owned(),
            _ if found[36..] != crc32fast::hash(&found[..36]).to_le_bytes() => "its header is damaged".to_owned(),
            _ if found[12..28] != *manifest.state.as_bytes() => "it belongs to another state".to_owned(),
            _ => "it belongs to another generation".to_owned(),
        }));
    }
    Ok((path, file))
}

/// The rows of several parts as one, in order.
pub struct Rows<R: Row> {
    readers: Vec<PartReader<R>>,
    /// The next row of each reader, by its place.
    heads: BinaryHeap<Reverse<(R::Place, usize)>>,
    waiting: Vec<Option<R>>,
    mine: Option<Seat>,
}

impl<R: Row> Rows<R> {
    /// All rows of these parts of the valid generation.
    pub fn open(storage: &Storage, manifest: &Manifest, parts: &[Part]) -> Result<Rows<R>, StateError> {
        Rows::of(storage, manifest, parts.iter(), None)
    }

    /// The rows that `worker` owns among `workers`. Reads only the file that the same worker among as many wrote, where there is one;
    /// else all of them.
    pub fn of_worker(storage: &Storage, manifest: &Manifest, parts: &[Part], seat: Seat) -> Result<Rows<R>, StateError> {
        let wanted = || parts.iter().filter(|part| !part.is_of(seat.peers) || part.worker == seat.worker);
        // Of its own file a worker owns every row.
        let others = wanted().any(|part| !part.is_of(seat.peers));
        Rows::of(storage, manifest, wanted(), others.then_some(seat))
    }

    fn of<'p>(
        storage: &Storage,
        manifest: &Manifest,
        parts: impl Iterator<Item = &'p Part>,
        mine: Option<Seat>,
    ) -> Result<Rows<R>, StateError> {
        let readers = parts.map(|part| PartReader::open(storage, manifest, part)).collect::<Result<Vec<_>, _>>()?;
        let waiting = readers.iter().map(|_| None).collect();
        let mut rows = Rows { heads: BinaryHeap::with_capacity(readers.len()), waiting, readers, mine };
        (0..rows.readers.len()).try_for_each(|reader| rows.advance(reader))?;
        Ok(rows)
    }

    fn advance(&mut self, reader: usize) -> Result<(), StateError> {
        self.waiting[reader] = self.readers[reader].next()?;
        self.heads.extend(self.waiting[reader].map(|row| Reverse((row.place(), reader))));
        Ok(())
    }

    /// The next row.
    #[expect(clippy::should_implement_trait, reason = "an iterator of results goes on after an error; what comes then is not to be read")]
    pub fn next(&mut self) -> Result<Option<R>, StateError> {
        let mine = self.mine;
        let owned = |row: &R| mine.is_none_or(|seat| seat.owns(row.shard()));
        // One file, as most often: nothing to merge.
        if let [reader] = &mut self.readers[..] {
            while let Some(row) = self.waiting[0].take() {
                self.waiting[0] = reader.next()?;
                if owned(&row) {
                    return Ok(Some(row));
                }
            }
            return Ok(None);
        }
        while let Some(Reverse((_, reader))) = self.heads.pop() {
            let row = self.waiting[reader].take();
            self.advance(reader)?;
            if let Some(row) = row.filter(owned) {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }
}

/// Reads every row of a generation's files once, so that damage is found.
pub fn check(storage: &Storage, manifest: &Manifest) -> Result<(), StateError> {
    fn through<R: Row>(storage: &Storage, manifest: &Manifest, parts: &[Part]) -> Result<(), StateError> {
        let mut rows = Rows::<R>::open(storage, manifest, parts)?;
        while rows.next()?.is_some() {}
        Ok(())
    }
    through::<(Key, Fingerprint)>(storage, manifest, &manifest.parts)?;
    if let Some(links) = &manifest.links {
        through::<(Key, Coded)>(storage, manifest, &links.links)?;
        through::<(EdgeId, u32)>(storage, manifest, &links.edges)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Kind, Peers};

    fn rows_in(n: u64) -> Vec<(Key, Fingerprint)> {
        let kinds = |i: u64| if i.is_multiple_of(3) { Kind::Artist } else { Kind::Release };
        let mut rows: Vec<_> =
            (1..=n).filter_map(|i| Some((Key::new(kinds(i), i * 7)?, Fingerprint { raw: i, document: i * 2, graph: i * 3 }))).collect();
        rows.sort();
        rows
    }

    fn write(storage: &Storage, rows: &[(Key, Fingerprint)], peers: Peers) -> Manifest {
        let mut manifest = Manifest { generation: 4, ..Manifest::new() };
        for seat in peers.seats() {
            let mut writer = PartWriter::create(storage, manifest.state, 4, seat).expect("created");
            for row in rows.iter().filter(|row| seat.owns(row.shard())) {
                writer.push(*row).expect("pushed");
            }
            manifest.parts.push(writer.finish().expect("finished"));
        }
        manifest
    }

    #[test]
    fn any_number_of_workers_takes_up_what_any_number_wrote() {
        let expected = rows_in(40_000);
        let [one, two, three, four] = [1, 2, 3, 4].map(Peers::alone);
        let cluster = Peers { processes: 2, workers: 2 };
        for (wrote, read) in [(one, one), (one, three), (four, two), (two, two), (three, one), (four, cluster), (cluster, four)] {
            let folder = tempfile::tempdir().expect("temporary folder");
            let storage = Storage::from(folder.path());
            let manifest = write(&storage, &expected, wrote);
            let mut all = Vec::new();
            for seat in read.seats() {
                let mut last = None;
                let mut rows = Rows::<(Key, Fingerprint)>::of_worker(&storage, &manifest, &manifest.parts, seat).expect("opened");
                while let Some(row) = rows.next().expect("read") {
                    assert!(last < Some(row.0), "rows come in order of keys");
                    last = Some(row.0);
                    all.push(row);
                }
            }
            all.sort();
            assert!(all == expected, "{wrote:?} wrote, {read:?} read");
        }
    }

    #[test]
    fn a_damaged_cut_foreign_or_missing_file_is_refused_in_words() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let storage = Storage::from(folder.path());
        let manifest = write(&storage, &rows_in(20_000), Peers::alone(1));
        let path = folder.path().join(&manifest.parts[0].file);
        let whole = std::fs::read(&path).expect("read");
        let refused = |bytes: &[u8], manifest: &Manifest| {
            std::fs::write(&path, bytes).expect("written");
            check(&storage, manifest).expect_err("refused").to_string()
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
        assert!(check(&storage, &manifest).expect_err("refused").to_string().contains("missing"));
        // One that cannot be read is not said to be damaged.
        std::fs::create_dir(&path).expect("made");
        assert!(matches!(check(&storage, &manifest).expect_err("refused"), StateError::Io { action: "read", .. }));
    }
}
