//! Reads dump files: a thread a file decompresses, the reader's thread cuts the kinds, in order, into records and blocks.
//!
//! ```text
//!   artists.xml.gz  -- inflate --(pieces)--+
//!   labels.xml.gz   -- inflate --(pieces)--+-- split -- blocks --+--> worker 0
//!   masters.xml.gz  -- inflate --(pieces)--+     ^               +--> worker 1
//!   releases.xml.gz -- inflate --(pieces)--+     | waits for     +--> ...
//!                                              budget
//! ```

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded};
use flate2::bufread::GzDecoder;

use super::reading::{Interrupted, Position, Work};
use super::{DumpFile, Place, SnapshotError, SourcePosition};
use crate::xml::{Ending, Record, Splitter};

/// Bytes of XML that travel together from the decompressor. Records within one are not copied; with much smaller pieces many would
/// straddle two, much larger ones would be held whole for as long as one record of theirs is.
const PIECE: usize = 1 << 20;

/// Pieces that a decompressor may be ahead of the splitter: some, so that neither waits for the other's every move.
const PIECES_AHEAD: usize = 4;

/// What a decompressor hands on: pieces of XML, and at the end how the file ended.
enum Piece {
    Xml(Bytes),
    /// The file cannot be read on from here: truncated, damaged, or garbage behind it.
    Broken(String),
    Changed,
}

fn inflate(file: &DumpFile, path: PathBuf, position: Arc<Position>) -> io::Result<Receiver<Piece>> {
    let (sender, receiver) = bounded(PIECES_AHEAD);
    let expected = file.bytes;
    thread::Builder::new().name(format!("inflate {}", file.kind)).spawn(move || {
        let opened = File::open(&path);
        let changed = match &opened {
            Ok(file) => file.metadata().map_or(true, |metadata| metadata.len() != expected),
            Err(_) => false,
        };
        let ended = match opened {
            Err(error) => Some(Piece::Broken(format!("cannot open the file: {error}"))),
            Ok(_) if changed => Some(Piece::Changed),
            Ok(file) => decompress(file, &position, &sender).map(Piece::Broken),
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

/// What a member of a gzip file begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The members of a gzip file, one after another.
struct Members<R>(Option<GzDecoder<R>>);

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.0 {
            let read = member.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let Some(mut file) = self.0.take().map(GzDecoder::into_inner) else { break };
            match file.fill_buf()?.first() {
                None => break,
                Some(first) if *first == GZIP[0] => self.0 = Some(GzDecoder::new(file)),
                Some(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, "something else follows it")),
            }
        }
        Ok(0)
    }
}

/// Sends the file's XML in pieces; what stopped it, in words, if that was not the file's end.
fn decompress(mut file: File, position: &Arc<Position>, sender: &Sender<Piece>) -> Option<String> {
    // Browsers unzip files and leave them their names, or the reverse: the first bytes decide.
    let mut magic = [0; 2];
    let gzip = matches!(file.read(&mut magic), Ok(2) if magic == GZIP);
    if let Err(error) = file.rewind() {
        return Some(format!("cannot read the file: {error}"));
    }
    let raw = BufReader::with_capacity(PIECE / 4, Counted { file, position: Arc::clone(position) });
    let mut reader: Box<dyn Read> = if gzip { Box::new(Members(Some(GzDecoder::new(raw)))) } else { Box::new(raw) };
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

/// Cuts one dump file into records; a thread of its own inflates it.
pub(super) struct Cutter {
    path: PathBuf,
    checksum_agrees: Option<bool>,
    pieces: Receiver<Piece>,
    splitter: Splitter,
    broken: Option<String>,
}

impl Cutter {
    /// Starts to inflate a file. `position` tells how far that is; counting records is left to who takes them.
    pub(super) fn open(file: &DumpFile, position: Arc<Position>) -> io::Result<Cutter> {
        let Place::File(path) = &file.place else { return Err(io::Error::other("not a file")) };
        Ok(Cutter {
            path: path.clone(),
            checksum_agrees: file.checksum_agrees,
            pieces: inflate(file, path.clone(), position)?,
            splitter: Splitter::new(file.kind),
            broken: None,
        })
    }

    /// Gives some more records, none where a long one is not complete yet; false when the file is at its end.
    pub(super) fn cut(&mut self, records: &mut Vec<Record>) -> Result<bool, SnapshotError> {
        match self.pieces.recv() {
            Ok(Piece::Xml(xml)) => self.splitter.feed(xml, records),
            Ok(Piece::Broken(words)) => self.broken = Some(words),
            Ok(Piece::Changed) => return Err(SnapshotError::Changed { path: self.path.clone() }),
            Err(_) => return Ok(false),
        }
        Ok(true)
    }

    /// Gives the last records, and says how the file ended.
    pub(super) fn finish(self, records: &mut Vec<Record>) -> Ending {
        let mut ending = self.splitter.finish(self.broken, records);
        if self.checksum_agrees == Some(false) {
            ending.defect.get_or_insert_with(|| "its sha256 is not the one in CHECKSUM.txt: fetch it again".to_owned());
        }
        ending
    }
}

/// Starts to inflate a file; what is given cuts it into blocks, from `from` on. What lies before that is inflated and cut all the same: it
/// is the comparing and writing that takes time.
pub(super) fn work(file: DumpFile, position: Arc<Position>, from: Option<SourcePosition>) -> io::Result<Work> {
    let mut cutter = Cutter::open(&file, Arc::clone(&position))?;
    Ok(Box::new(move |blocks| {
        let from = from.unwrap_or_default();
        let mut at = SourcePosition::default();
        let mut records = Vec::new();
        let mut take = |records: &mut Vec<Record>| {
            position.records.fetch_add(records.len() as u64, Ordering::Relaxed);
            for record in records.drain(..) {
                (at.records, at.last) = (at.records + 1, record.position);
                if at.records <= from.records {
                    if at.records == from.records && at.last != from.last {
                        return Err(Interrupted::Failed(anyhow::anyhow!(
                            "{}: its records are cut otherwise than by the run that is taken up. Take away the file `checkpoint` in the state's \
                             folder, and the month is begun anew",
                            file.name
                        )));
                    }
                    continue;
                }
                blocks.push(record);
                if blocks.is_full() {
                    blocks.send(None, Some(at.clone()))?;
                }
            }
            Ok::<(), Interrupted>(())
        };
        while cutter.cut(&mut records).map_err(|error| Interrupted::Failed(error.into()))? {
            take(&mut records)?;
        }
        let ending = cutter.finish(&mut records);
        take(&mut records)?;
        blocks.send(Some(ending), Some(at))?;
        position.done.store(true, Ordering::Relaxed);
        Ok(())
    }))
}
