//! Appends changes to the feed's file.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;

use roaring::RoaringTreemap;

use super::envelope::{envelope, rejection};
use super::error::classed;
use crate::model::{Kind, Verdict};
use crate::sinks::{Batch, SinkError, Tally, Writer, Written};

/// The one writer of a feed's file.
pub struct FeedWriter {
    path: PathBuf,
    file: File,
    /// Bytes of whole batches.
    length: u64,
    epoch: u64,
    buffer: Vec<u8>,
}

impl FeedWriter {
    /// Goes on at `length` bytes, where `file` stands.
    pub fn new(path: PathBuf, file: File, length: u64, epoch: u64) -> FeedWriter {
        FeedWriter { path, file, length, epoch, buffer: Vec::new() }
    }
}

fn line(buffer: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Result<(), SinkError>) -> Result<(), SinkError> {
    write(buffer)?;
    buffer.push(b'\n');
    Ok(())
}

impl Writer for FeedWriter {
    fn write(&mut self, batch: &Batch, _attempt: u32) -> Result<Written, SinkError> {
        self.buffer.clear();
        let mut tally = Tally::default();
        // In the order of ticks, so that a run that is taken up finds where to cut.
        let mut letters = batch.dead_letters.iter().peekable();
        for change in &batch.changes {
            while let Some(letter) = letters.next_if(|letter| letter.tick < change.tick) {
                line(&mut self.buffer, |buffer| rejection(buffer, self.epoch, letter))?;
            }
            match change.verdict {
                Verdict::Insert => tally.inserted += 1,
                Verdict::Update => tally.updated += 1,
                Verdict::Delete => tally.deleted += 1,
                Verdict::Unchanged => continue,
            }
            line(&mut self.buffer, |buffer| envelope(buffer, self.epoch, change.verdict, change, batch))?;
        }
        for letter in letters {
            line(&mut self.buffer, |buffer| rejection(buffer, self.epoch, letter))?;
        }
        // What an attempt that failed has left is written over.
        let mut append = || {
            self.file.seek(SeekFrom::Start(self.length))?;
            self.file.write_all(&self.buffer)?;
            self.file.sync_data()
        };
        append().map_err(|error| classed("write", &self.path, error))?;
        self.length += self.buffer.len() as u64;
        self.buffer.shrink_to(16 << 20);
        Ok(Written { tally, fields: Vec::new() })
    }

    fn stored_ids(&mut self, _kind: Kind) -> Result<(RoaringTreemap, u64), SinkError> {
        Ok((RoaringTreemap::new(), 0))
    }
}
