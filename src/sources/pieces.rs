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

use super::DumpFile;
use super::reading::Position;
use super::sum::Summing;
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
    Changed,
    /// All was read, and its sha256 is not the one that was stated.
    Misstated,
}

/// Starts to read a file. `position` tells how far that is.
pub(super) fn pieces(file: &DumpFile, path: PathBuf, position: Arc<Position>, measures: &Measures) -> io::Result<Receiver<Piece>> {
    let (sender, receiver) = bounded(PIECES_AHEAD);
    let expected = file.bytes;
    let mut recorder = measures.recorder(RunStage::Decompress);
    let proof = match &file.unproven {
        Some(read) => Some((Summing::start(file.kind, measures.recorder(RunStage::Identify))?, file.sha256.clone(), Arc::clone(read))),
        None => None,
    };
    let span = tracing::error_span!("inflate", stage = RunStage::Decompress.name(), kind = file.kind.name());
    thread::Builder::new().name(format!("inflate {}", file.kind)).spawn(move || {
        let _entered = span.enter();
        let opened = File::open(&path);
        let changed = match &opened {
            Ok(file) => file.metadata().map_or(true, |metadata| metadata.len() != expected),
            Err(_) => false,
        };
        let ended = match opened {
            Err(error) => Some(Piece::Broken(format!("cannot open the file: {error}"))),
            Ok(_) if changed => Some(Piece::Changed),
            Ok(file) => {
                let (summing, stated) = proof.map(|(summing, sha256, read)| (summing, (sha256, read))).unzip();
                let file = Counted { file, position, summing };
                match read(file, &sender, &mut recorder) {
                    Err(error) => Some(Piece::Broken(error.to_string())),
                    Ok(Some(sha256)) => {
                        stated.and_then(|(stated, read)| (*read.get_or_init(|| sha256) != stated).then_some(Piece::Misstated))
                    }
                    Ok(None) => None,
                }
            }
        };
        // All that it recorded is to be there when the reader finds the way closed.
        drop(recorder);
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
    summing: Option<Summing>,
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

/// Sends the file's XML in pieces; what lies before an error is sent too. Gives the sha256 of all of it where that is asked for.
fn read(mut file: Counted, sender: &Sender<Piece>, recorder: &mut Recorder) -> Result<Option<String>, InflateError> {
    // Browsers unzip files and leave them their names, or the reverse: the first bytes decide.
    let mut magic = Vec::new();
    (&file.file).take(MAGIC.len() as u64).read_to_end(&mut magic)?;
    file.file.rewind()?;
    let mut source = if magic == MAGIC { Source::Gzip(Box::new(Gunzip::new(file))) } else { Source::Plain(file) };
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
            return Ok(None);
        }
        if !filled? {
            return Ok(source.into_file().summing.map(Summing::finish));
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
