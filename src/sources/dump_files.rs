//! Reads dump files: a thread a file decompresses, the reader's thread cuts the kinds, in order, into records and blocks.
//!
//! ```text
//!   artists.xml.gz  -- inflate --(pieces)--+
//!   labels.xml.gz   -- inflate --(pieces)--+-- split -- blocks --+--> worker 0
//!   masters.xml.gz  -- inflate --(pieces)--+     ^               +--> worker 1
//!   releases.xml.gz -- inflate --(pieces)--+     | waits for     +--> ...
//!                                              budget
//! ```

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use super::pieces::{Piece, pieces};
use super::reading::{Blocks, Interrupted, Position, Work};
use super::{DumpFile, Place, SnapshotError, SourcePosition};
use crate::telemetry::{Measures, Recorder, RunStage};
use crate::xml::{Ending, Record, Splitter};

/// Cuts one dump file into records; a thread of its own inflates it.
pub(super) struct Cutter {
    checksum_agrees: Option<bool>,
    pieces: Receiver<Piece>,
    splitter: Splitter,
    broken: Option<String>,
    recorder: Recorder,
    waited: Duration,
}

impl Cutter {
    /// Starts to inflate a file. `position` tells how far that is; counting records is left to who takes them.
    pub(super) fn open(file: &DumpFile, position: Arc<Position>, measures: &Measures) -> io::Result<Cutter> {
        let Place::File(path) = &file.place else { return Err(io::Error::other("not a file")) };
        Ok(Cutter {
            checksum_agrees: file.checksum_agrees,
            pieces: pieces(file, path.clone(), position, measures)?,
            splitter: Splitter::new(file.kind),
            broken: None,
            recorder: measures.recorder(RunStage::Split),
            waited: Duration::ZERO,
        })
    }

    /// Gives some more records, none where a long one is not complete yet; false when the file is at its end.
    pub(super) fn cut(&mut self, records: &mut Vec<Record>) -> Result<bool, SnapshotError> {
        let asked = Instant::now();
        let piece = self.pieces.recv();
        let begun = Instant::now();
        self.waited += begun.duration_since(asked);
        match piece {
            Ok(Piece::Xml(xml)) => {
                let (bytes, before) = (xml.len(), records.len());
                self.splitter.feed(xml, records);
                self.recorder.since(begun, records.len() - before, bytes);
            }
            Ok(Piece::Broken(words)) => self.broken = Some(words),
            Ok(Piece::Misstated) => self.checksum_agrees = Some(false),
            Ok(Piece::Failed(error)) => return Err(error),
            Err(_) => return Ok(false),
        }
        Ok(true)
    }

    /// How long it has waited for XML.
    pub(super) fn waited(&self) -> Duration {
        self.waited
    }

    /// Gives the last records, and says how the file ended.
    pub(super) fn finish(mut self, records: &mut Vec<Record>) -> Ending {
        let (begun, before) = (Instant::now(), records.len());
        let mut ending = self.splitter.finish(self.broken, records);
        if records.len() > before {
            self.recorder.since(begun, records.len() - before, 0);
        }
        if self.checksum_agrees == Some(false) {
            ending.defect.get_or_insert_with(|| "its sha256 is not the one in CHECKSUM.txt: fetch it again".to_owned());
        }
        ending
    }
}

/// Why a file is no dump of its kind, as far as its beginning tells.
pub fn first_look(file: &DumpFile) -> Result<Option<String>, SnapshotError> {
    let unreadable = |source| SnapshotError::Io { path: file.name.clone().into(), source };
    let mut cutter = Cutter::open(file, Arc::default(), &Measures::default()).map_err(unreadable)?;
    let mut records = Vec::new();
    while records.is_empty() {
        if !cutter.cut(&mut records)? {
            return Ok(cutter.finish(&mut records).defect);
        }
    }
    Ok(None)
}

/// Starts to inflate a file; what is given cuts it into blocks, from `from` on. What lies before that is inflated and cut all the same: it
/// is the comparing and writing that takes time.
pub(super) fn work(file: DumpFile, position: Arc<Position>, from: Option<SourcePosition>, measures: &Measures) -> io::Result<Work> {
    let mut cutter = Cutter::open(&file, Arc::clone(&position), measures)?;
    let read = move |blocks: &mut Blocks<'_>| {
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
    };
    Ok(Box::new(|| Box::new(read)))
}
