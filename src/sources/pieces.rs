//! A dump file's XML, in pieces, by a thread that reads and decompresses it.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded};

use super::reading::Position;
use super::sum::Summing;
use super::{DumpFile, SnapshotError};
use crate::inflate::{Gunzip, HISTORY, InflateError, MAGIC, SLACK};
use crate::telemetry::{Measures, Recorder, RunStage};

/// Bytes of XML that travel together. Records within one are not copied; with much smaller pieces many would straddle two, much larger ones
/// would be held whole for as long as one record of theirs is.
const PIECE: usize = 1 << 20;

/// Pieces that a decompressor may be ahead of the splitter: some, so that neither waits for the other's every move.
const PIECES_AHEAD: usize = 4;

/// Buffers that nobody holds any more and that are kept for use again: fresh ones cost a tenth of decompressing, since the system hands
/// them out page by page and empty.
const SPARE: usize = 16;

/// What is handed on: pieces of XML, and at the end how the file ended.
pub(super) enum Piece {
    Xml(Bytes),
    /// The file cannot be read on from here: truncated, damaged, or garbage behind it.
    Broken(String),
    /// What was stated of the file is not to be relied on: the run ends.
    Failed(SnapshotError),
    /// All was read, and its sha256 is not the one that was stated.
    Misstated,
}

/// Starts to read a file. `position` tells how far that is.
pub(super) fn pieces(file: &DumpFile, path: PathBuf, position: Arc<Position>, measures: &Measures) -> io::Result<Receiver<Piece>> {
    let (sender, receiver) = bounded(PIECES_AHEAD);
    let expected = file.bytes;
    let mut recorder = measures.recorder(RunStage::Decompress);
    let stated = file.unproven.clone().map(|read| (file.sha256.clone(), read));
    let summing = stated.as_ref().map(|_| Summing::start(file.kind, measures.recorder(RunStage::Identify))).transpose()?;
    let span = tracing::error_span!("inflate", stage = RunStage::Decompress.name(), kind = file.kind.name());
    thread::Builder::new().name(format!("inflate {}", file.kind)).spawn(move || {
        let _entered = span.enter();
        let opened = File::open(&path);
        let changed = match &opened {
            Ok(file) => file.metadata().map_or(true, |metadata| metadata.len() != expected),
            Err(_) => false,
        };
        // Nobody waits for what is sent any more when the run has been stopped.
        let tell = |piece| drop(sender.send(piece));
        let file = match opened {
            Err(source) => return tell(Piece::Failed(SnapshotError::Io { path, source })),
            Ok(_) if changed => return tell(Piece::Failed(SnapshotError::Changed { path })),
            Ok(file) => file,
        };
        let (file, ended) = read(Counted { file, position, summing }, &sender, &mut recorder);
        // All that it recorded is to be there when the reader finds the way closed.
        drop(recorder);
        let wanted = match ended {
            Ok(Wanted::Yes) => true,
            Ok(Wanted::No) => false,
            Err(error) => sender.send(Piece::Broken(error.to_string())).is_ok(),
        };
        if let Some((stated, read)) = stated.filter(|_| wanted) {
            match file.sum() {
                Ok(sha256) => {
                    if *read.get_or_init(|| sha256) != stated {
                        tell(Piece::Misstated);
                    }
                }
                // It cannot be said which file it is that was read.
                Err(source) => tell(Piece::Failed(SnapshotError::Io { path, source })),
            }
        }
    })?;
    Ok(receiver)
}

/// Whether what comes of a file is still waited for.
enum Wanted {
    Yes,
    No,
}

struct Counted {
    file: File,
    position: Arc<Position>,
    summing: Option<Summing>,
}

impl Counted {
    /// The sha256 of the whole file, of which the rest is read for that: what cannot be inflated is part of it.
    fn sum(mut self) -> io::Result<String> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(self.summing.map(Summing::finish).unwrap_or_default())
    }
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.position.bytes.fetch_add(n as u64, Ordering::Relaxed);
        if let Some(summing) = &mut self.summing {
            summing.add(&buffer[..n]);
        }
        Ok(n)
    }
}

/// Sends the file's XML in pieces; what lies before an error is sent too. Gives the file back, as far as it was read.
fn read(mut file: Counted, sender: &Sender<Piece>, recorder: &mut Recorder) -> (Counted, Result<Wanted, InflateError>) {
    // Browsers unzip files and leave them their names, or the reverse: the first bytes decide.
    let mut magic = Vec::new();
    let looked = (&file.file).take(MAGIC.len() as u64).read_to_end(&mut magic).and_then(|_| file.file.rewind());
    if let Err(error) = looked {
        return (file, Err(error.into()));
    }
    let mut source = if magic == MAGIC { Source::Gzip(Box::new(Gunzip::new(file))) } else { Source::Plain(file) };
    let ended = send(&mut source, sender, recorder);
    (source.into_file(), ended)
}

fn send(source: &mut Source, sender: &Sender<Piece>, recorder: &mut Recorder) -> Result<Wanted, InflateError> {
    let spare = Spare::default();
    let mut buffer = spare.buffer();
    let mut begin = 0;
    loop {
        let (started, mut end) = (Instant::now(), begin);
        let filled = source.fill(&mut buffer, &mut end);
        if end > begin {
            recorder.since(started, 0, end - begin);
        }
        let mut next = spare.buffer();
        let kept = end.min(HISTORY);
        next[..kept].copy_from_slice(&buffer[end - kept..end]);
        let piece = Bytes::from_owner(Held { buffer: std::mem::replace(&mut buffer, next), spare: spare.clone() }).slice(begin..end);
        if !piece.is_empty() && sender.send(Piece::Xml(piece)).is_err() {
            return Ok(Wanted::No);
        }
        if !filled? {
            return Ok(Wanted::Yes);
        }
        begin = kept;
    }
}

enum Source {
    Gzip(Box<Gunzip<Counted>>),
    Plain(Counted),
}

impl Source {
    fn into_file(self) -> Counted {
        match self {
            Source::Gzip(gunzip) => gunzip.into_file(),
            Source::Plain(file) => file,
        }
    }

    /// As [`Gunzip::fill`].
    fn fill(&mut self, buffer: &mut [u8], at: &mut usize) -> Result<bool, InflateError> {
        let file = match self {
            Source::Gzip(gunzip) => return gunzip.fill(buffer, at),
            Source::Plain(file) => file,
        };
        let end = buffer.len() - SLACK;
        while *at < end {
            match file.read(&mut buffer[*at..end]) {
                Ok(0) => return Ok(false),
                Ok(read) => *at += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }
}

/// Buffers to be used again.
#[derive(Clone, Default)]
struct Spare(Arc<Mutex<Vec<Box<[u8]>>>>);

impl Spare {
    fn buffer(&self) -> Box<[u8]> {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| vec![0; HISTORY + PIECE + SLACK].into())
    }
}

/// A buffer that goes back when nobody holds a part of it any more.
struct Held {
    buffer: Box<[u8]>,
    spare: Spare,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut spare = self.spare.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE {
            spare.push(std::mem::take(&mut self.buffer));
        }
    }
}
