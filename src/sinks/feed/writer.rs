//! Appends changes to the feed's file.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;

use roaring::RoaringTreemap;
use serde::Serialize;
use serde_json::value::RawValue;

use super::error::classed;
use crate::model::{Change, Kind, Verdict};
use crate::sinks::{Batch, SinkError, Tally, Writer, Written};

/// One line of the feed.
#[derive(Serialize)]
struct Line<'a> {
    epoch: u64,
    tick: u64,
    kind: Kind,
    id: String,
    op: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<&'a RawValue>,
}

/// The one writer of a feed.
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

impl Writer for FeedWriter {
    fn write(&mut self, batch: &Batch, _attempt: u32) -> Result<Written, SinkError> {
        self.buffer.clear();
        let mut tally = Tally::default();
        for Change { key, verdict, tick, document, .. } in &batch.changes {
            match verdict {
                Verdict::Insert => tally.inserted += 1,
                Verdict::Update => tally.updated += 1,
                Verdict::Delete => tally.deleted += 1,
                Verdict::Unchanged => continue,
            }
            let fields = batch.fields.binary_search_by_key(key, |(key, _)| *key).ok().map(|at| batch.fields[at].1.as_slice());
            let raw = document.as_ref().map(|(_, json)| serde_json::from_str::<&RawValue>(json)).transpose();
            let line = raw.and_then(|raw| {
                let line = Line {
                    epoch: self.epoch,
                    tick: *tick,
                    kind: key.kind(),
                    id: key.id().to_string(),
                    op: verdict.name(),
                    hash: document.as_ref().map(|(hash, _)| hash.to_string()),
                    fields,
                    document: raw,
                };
                serde_json::to_writer(&mut self.buffer, &line)
            });
            line.map_err(|error| SinkError::stop(format!("the document of {key} is not JSON ({error}): this is a defect of discodiff")))?;
            self.buffer.push(b'\n');
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
