//! Reads dump files: a thread a file decompresses, one thread cuts the kinds, in order, into records and blocks.
//!
//! ```text
//!   artists.xml.gz  -- inflate --(pieces)--+
//!   labels.xml.gz   -- inflate --(pieces)--+-- split -- blocks --+--> worker 0
//!   masters.xml.gz  -- inflate --(pieces)--+     ^               +--> worker 1
//!   releases.xml.gz -- inflate --(pieces)--+     | waits for     +--> ...
//!                                              budget
//! ```

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded};
use flate2::bufread::MultiGzDecoder;
use timely::scheduling::SyncActivator;

use super::{Block, Budget, DumpFile, Inlet, SnapshotError, Tick, first_tick};
use crate::model::Kind;
use crate::xml::{Ending, Record, Splitter};

/// Bytes of XML that travel together from the decompressor. Records within one are not copied; with much smaller pieces many would
/// straddle two, much larger ones would be held whole for as long as one record of theirs is.
const PIECE: usize = 1 << 20;

/// Pieces that a decompressor may be ahead of the splitter: some, so that neither waits for the other's every move.
const PIECES_AHEAD: usize = 4;

/// Where blocks are cut: by position alone, so that ticks are the same whatever the number of workers.
#[derive(Clone, Copy, Debug)]
pub struct BlockSize {
    /// Most records of a block. Larger blocks cost less per record and more latency: some 10 ms at 16,384 with 34 M keys held.
    pub records: usize,
    /// Most bytes of a block, so that blocks of large records do not use up what may be in flight.
    pub bytes: usize,
}

impl Default for BlockSize {
    fn default() -> BlockSize {
        BlockSize { records: 16_384, bytes: 8 << 20 }
    }
}

/// How far the reader has come; read by the progress display.
#[derive(Debug, Default)]
pub struct Position {
    /// Size of the file as it is on disk, in bytes.
    pub total: u64,
    /// Bytes of it that were read.
    pub bytes: AtomicU64,
    /// Records.
    pub records: AtomicU64,
    /// Whether the kind has been read to its end.
    pub done: AtomicBool,
}

/// A reading under way.
#[derive(Debug)]
pub struct Reading {
    thread: JoinHandle<Result<(), SnapshotError>>,
    /// How far it has come, a file each, in order.
    pub positions: Vec<(Kind, Arc<Position>)>,
}

impl Reading {
    /// Waits for the reader's end. Its error, if any, names the file.
    pub fn join(self) -> Result<(), SnapshotError> {
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// Starts to read `files`, in the order of kinds, for `workers` workers. Returns at once, with an inlet for each worker.
pub fn read(files: Vec<DumpFile>, epoch: u64, size: BlockSize, workers: usize, budget: Arc<Budget>) -> io::Result<(Reading, Vec<Inlet>)> {
    let mut outlets = Vec::with_capacity(workers);
    let mut inlets = Vec::with_capacity(workers);
    for _ in 0..workers {
        // Bounded by the budget in bytes, not in blocks.
        let (sender, blocks) = crossbeam_channel::unbounded();
        let (waker, wakers) = bounded(1);
        outlets.push(Outlet { sender, wakers, waker: None });
        inlets.push(Inlet { blocks, waker });
    }
    let mut streams = Vec::with_capacity(files.len());
    let mut positions = Vec::with_capacity(files.len());
    for file in files {
        let position = Arc::new(Position { total: file.bytes, ..Position::default() });
        positions.push((file.kind, Arc::clone(&position)));
        let pieces = inflate(&file, Arc::clone(&position))?;
        streams.push((file, pieces, position));
    }
    let thread = thread::Builder::new().name("split".to_owned()).spawn(move || split(streams, epoch, size, outlets, &budget))?;
    Ok((Reading { thread, positions }, inlets))
}

/// What a decompressor hands on: pieces of XML, and at the end how the file ended.
enum Piece {
    Xml(Bytes),
    /// The file cannot be read on from here: truncated, damaged, or garbage behind it.
    Broken(String),
    Changed,
}

fn inflate(file: &DumpFile, position: Arc<Position>) -> io::Result<Receiver<Piece>> {
    let (sender, receiver) = bounded(PIECES_AHEAD);
    let (path, expected) = (file.path.clone(), file.bytes);
    thread::Builder::new().name(format!("inflate {}", file.kind)).spawn(move || {
        let opened = File::open(&path);
        let changed = match &opened {
            Ok(file) => file.metadata().map_or(true, |metadata| metadata.len() != expected),
            Err(_) => false,
        };
        let ended = match opened {
            Err(error) => Some(Piece::Broken(format!("cannot open the file: {error}"))),
            Ok(_) if changed => Some(Piece::Changed),
            Ok(file) => {
                decompress(file, path.extension().is_some_and(|extension| extension == "gz"), &position, &sender).map(Piece::Broken)
            }
        };
        if let Some(piece) = ended {
            // Nobody waits for it any more when the run has been stopped.
            let _ = sender.send(piece);
        }
    })?;
    Ok(receiver)
}

struct Counted {
    file: File,
    position: Arc<Position>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.position.bytes.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// Sends the file's XML in pieces; what stopped it, in words, if that was not the file's end.
fn decompress(mut file: File, gzip: bool, position: &Arc<Position>, sender: &Sender<Piece>) -> Option<String> {
    // A plain file may still be gzipped: its first bytes decide.
    let mut magic = [0; 2];
    let gzip = gzip || matches!(file.read(&mut magic), Ok(2) if magic == [0x1f, 0x8b]);
    if let Err(error) = file.rewind() {
        return Some(format!("cannot read the file: {error}"));
    }
    let raw = BufReader::with_capacity(PIECE / 4, Counted { file, position: Arc::clone(position) });
    let mut reader: Box<dyn Read> = if gzip { Box::new(MultiGzDecoder::new(raw)) } else { Box::new(raw) };
    loop {
        let mut piece = vec![0; PIECE];
        let mut filled = 0;
        let mut broken = None;
        while filled < PIECE {
            match reader.read(&mut piece[filled..]) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    broken = Some(words(&error));
                    break;
                }
            }
        }
        let ended = filled < PIECE;
        piece.truncate(filled);
        if filled > 0 && sender.send(Piece::Xml(Bytes::from(piece))).is_err() {
            return None;
        }
        if ended {
            return broken;
        }
    }
}

fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the gzip data is cut short: fetch the file again".to_owned(),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => format!("the gzip data is damaged ({error}): fetch the file again"),
        _ => format!("reading failed: {error}"),
    }
}

struct Outlet {
    sender: Sender<Block>,
    wakers: Receiver<SyncActivator>,
    waker: Option<SyncActivator>,
}

impl Outlet {
    /// False when the worker is gone.
    fn send(&mut self, block: Block) -> bool {
        let sent = self.sender.send(block).is_ok();
        self.wake();
        sent
    }

    fn wake(&mut self) {
        if self.waker.is_none() {
            self.waker = self.wakers.try_recv().ok();
        }
        if let Some(waker) = &self.waker {
            // Fails only when the worker is gone.
            let _ = waker.activate();
        }
    }
}

struct Blocks<'a> {
    size: BlockSize,
    kind: Kind,
    tick: Tick,
    parts: Vec<Vec<Record>>,
    records: usize,
    bytes: usize,
    outlets: &'a mut [Outlet],
    budget: &'a Budget,
}

impl Blocks<'_> {
    fn take(&mut self, records: &mut Vec<Record>, position: &Position) -> Result<(), Interrupted> {
        position.records.fetch_add(records.len() as u64, Ordering::Relaxed);
        for record in records.drain(..) {
            // A record without a key goes to the first worker: it only becomes a dead letter.
            let worker = record.key.map_or(0, |key| key.worker(self.parts.len()));
            self.records += 1;
            self.bytes += record.raw.len();
            self.parts[worker].push(record);
            if self.records >= self.size.records || self.bytes >= self.size.bytes {
                self.send(None)?;
            }
        }
        Ok(())
    }

    fn send(&mut self, ending: Option<Ending>) -> Result<(), Interrupted> {
        if !self.budget.acquire(self.bytes) {
            return Err(Interrupted::Stopped);
        }
        for (part, outlet) in self.parts.iter_mut().zip(self.outlets.iter_mut()) {
            let records = std::mem::take(part);
            if !outlet.send(Block { tick: self.tick, kind: self.kind, records, ending: ending.clone() }) {
                return Err(Interrupted::Stopped);
            }
        }
        self.tick += 1;
        self.records = 0;
        self.bytes = 0;
        Ok(())
    }
}

type Stream = (DumpFile, Receiver<Piece>, Arc<Position>);

/// The splitter's thread: whatever way it ends, the workers' inlets are closed and the workers woken.
fn split(streams: Vec<Stream>, epoch: u64, size: BlockSize, mut outlets: Vec<Outlet>, budget: &Budget) -> Result<(), SnapshotError> {
    let result = streams.into_iter().try_for_each(|stream| split_one(stream, epoch, size, &mut outlets, budget));
    for Outlet { sender, wakers, waker } in outlets {
        drop(sender);
        // A worker that has not built its graph yet leaves its waker first; one that is gone never will.
        if let Some(waker) = waker.or_else(|| wakers.recv().ok()) {
            let _ = waker.activate();
        }
    }
    match result {
        Err(Interrupted::Stopped) | Ok(()) => Ok(()),
        Err(Interrupted::Changed(path)) => Err(SnapshotError::Changed { path }),
    }
}

enum Interrupted {
    Stopped,
    Changed(PathBuf),
}

fn split_one(
    (file, pieces, position): Stream,
    epoch: u64,
    size: BlockSize,
    outlets: &mut [Outlet],
    budget: &Budget,
) -> Result<(), Interrupted> {
    let parts = outlets.iter().map(|_| Vec::new()).collect();
    let mut blocks = Blocks { size, kind: file.kind, tick: first_tick(epoch, file.kind), parts, records: 0, bytes: 0, outlets, budget };
    let mut splitter = Splitter::new(file.kind);
    let mut records = Vec::new();
    let mut broken = None;
    for piece in pieces {
        match piece {
            Piece::Xml(xml) => splitter.feed(xml, &mut records),
            Piece::Broken(words) => broken = Some(words),
            Piece::Changed => return Err(Interrupted::Changed(file.path)),
        }
        blocks.take(&mut records, &position)?;
    }
    let mut ending = splitter.finish(broken, &mut records);
    blocks.take(&mut records, &position)?;
    if file.checksum_agrees == Some(false) {
        ending.defect.get_or_insert_with(|| "its sha256 is not the one in CHECKSUM.txt: fetch it again".to_owned());
    }
    blocks.send(Some(ending))?;
    position.done.store(true, Ordering::Relaxed);
    Ok(())
}
