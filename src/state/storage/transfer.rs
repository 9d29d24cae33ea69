//! Objects as files: read from their beginning on, and written to their end, without ever being in memory or on disk as a whole.

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::path::Path as ObjectPath;
use object_store::{Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, WriteMultipart};

use super::StateError;
use super::bucket::Bucket;

/// Bytes of one request that reads. Each is made again for itself where the connection is lost.
const WINDOW: u64 = 64 << 20;

/// Bytes of one request that writes. An object may have ten thousand such: 80 GB, where all of Discogs takes some.
const PART: usize = 8 << 20;

/// How many of them are under way.
const UNDER_WAY: usize = 2;

/// An object that is read.
pub struct Download {
    bucket: Arc<Bucket>,
    object: ObjectPath,
    /// Which object of this name.
    e_tag: Option<String>,
    size: u64,
    /// Up to where it was asked for.
    asked: u64,
    stream: BoxStream<'static, Result<Bytes, Error>>,
    chunk: Bytes,
}

impl Download {
    /// `None`: there is no such object.
    pub fn open(bucket: &Arc<Bucket>, name: &str) -> Result<Option<Download>, StateError> {
        let object = bucket.object(name);
        let got = match bucket.wait(bucket.store().get_opts(&object, window(0, None))) {
            Err(Error::NotFound { .. }) => return Ok(None),
            got => got.map_err(|error| bucket.error("read", name, &error))?,
        };
        let (e_tag, size, asked) = (got.meta.e_tag.clone(), got.meta.size, got.range.end);
        let (bucket, stream, chunk) = (Arc::clone(bucket), got.into_stream(), Bytes::new());
        Ok(Some(Download { bucket, object, e_tag, size, asked, stream, chunk }))
    }

    fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if let Some(chunk) = self.bucket.wait(self.stream.next()) {
                return chunk.map(Some);
            }
            if self.asked >= self.size {
                return Ok(None);
            }
            let got = self.bucket.wait(self.bucket.store().get_opts(&self.object, window(self.asked, self.e_tag.clone())))?;
            self.asked = got.range.end;
            self.stream = got.into_stream();
        }
    }
}

fn window(from: u64, if_match: Option<String>) -> GetOptions {
    GetOptions { range: Some(GetRange::Bounded(from..from + WINDOW)), if_match, ..GetOptions::default() }
}

impl Read for Download {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.next().map_err(|error| io::Error::other(self.bucket.problem(&error)))? {
                Some(chunk) => self.chunk = chunk,
                None => return Ok(0),
            }
        }
        let bytes = out.len().min(self.chunk.len());
        self.chunk.copy_to_slice(&mut out[..bytes]);
        Ok(bytes)
    }
}

/// An object that is written. It is there once it was finished.
pub struct Upload {
    bucket: Arc<Bucket>,
    object: ObjectPath,
    buffer: Vec<u8>,
    /// Begun with the first full part.
    parts: Option<WriteMultipart>,
}

impl Upload {
    pub fn begin(bucket: &Arc<Bucket>, name: &str) -> Upload {
        Upload { bucket: Arc::clone(bucket), object: bucket.object(name), buffer: Vec::new(), parts: None }
    }

    pub fn finish(mut self) -> io::Result<()> {
        let last = Bytes::from(std::mem::take(&mut self.buffer));
        let finished = match self.parts.take() {
            None => self.bucket.wait(self.bucket.store().put(&self.object, last.into())),
            Some(mut parts) => {
                let _runtime = self.bucket.runtime().enter();
                parts.put(last);
                self.bucket.wait(parts.finish())
            }
        };
        finished.map(drop).map_err(|error| io::Error::other(self.bucket.problem(&error)))
    }

    fn send(&mut self) -> Result<(), Error> {
        let part = Bytes::from(std::mem::replace(&mut self.buffer, Vec::with_capacity(PART)));
        let parts = match &mut self.parts {
            Some(parts) => parts,
            None => {
                let begun = self.bucket.wait(self.bucket.store().put_multipart(&self.object))?;
                self.parts.insert(WriteMultipart::new_with_chunk_size(begun, PART))
            }
        };
        self.bucket.wait(parts.wait_for_capacity(UNDER_WAY))?;
        let _runtime = self.bucket.runtime().enter();
        parts.put(part);
        Ok(())
    }
}

impl Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PART - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == PART {
            self.send().map_err(|error| io::Error::other(self.bucket.problem(&error)))?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // What was sent of an object that is not finished is kept by the store, unseen, until it is told.
        if let Some(parts) = self.parts.take()
            && let Err(error) = self.bucket.wait(parts.abort())
        {
            tracing::debug!("what was sent of {} is still there: {error}", self.object);
        }
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upload({})", self.object)
    }
}
