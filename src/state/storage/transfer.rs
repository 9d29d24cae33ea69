//! Objects as files: read from their beginning on, and written to their end, without ever being in memory or on disk as a whole.

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use object_store::path::Path as ObjectPath;
use object_store::{Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, WriteMultipart};

use super::bucket::Bucket;
use super::{StateError, problem};

/// Bytes of one request that reads. Where the connection is lost, what is missing of them is asked for again.
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
    /// Where the request that is under way begins, and how far it has come.
    from: u64,
    at: u64,
    stream: BoxStream<'static, Result<Bytes, Error>>,
    chunk: Bytes,
}

impl Download {
    /// `None`: there is no such object.
    pub fn open(bucket: &Arc<Bucket>, name: &str) -> Result<Option<Download>, StateError> {
        let object = bucket.object(name);
        let (e_tag, size, stream) = match bucket.wait(bucket.store().get_opts(&object, window(0, None))) {
            Ok(got) => (got.meta.e_tag.clone(), got.meta.size, got.into_stream()),
            Err(error) if problem::is_no_object(&error) => return Ok(None),
            // Of an empty object there is no window.
            Err(error) => match bucket.wait(bucket.store().head(&object)) {
                Ok(meta) if meta.size == 0 => (None, 0, stream::empty().boxed()),
                _ => return Err(bucket.error("read", name, &error)),
            },
        };
        Ok(Some(Download { bucket: Arc::clone(bucket), object, e_tag, size, from: 0, at: 0, stream, chunk: Bytes::new() }))
    }

    fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            match self.bucket.wait(async { self.stream.next().await.transpose() }).transpose() {
                Some(Ok(chunk)) => {
                    self.at += chunk.len() as u64;
                    return Ok(Some(chunk));
                }
                None if self.at >= self.size || self.at == self.from => return Ok(None),
                None => {}
                // The client makes a request again, but only for so long since it was begun: who reads may be slower than that.
                Some(Err(error)) if self.at == self.from => return Err(error),
                Some(Err(error)) => tracing::info!("{} is asked for again from byte {} on: {error}", self.object, self.at),
            }
            let got = self.bucket.wait(self.bucket.store().get_opts(&self.object, window(self.at, self.e_tag.clone())))?;
            (self.from, self.stream) = (self.at, got.into_stream());
        }
    }
}

fn window(from: u64, if_match: Option<String>) -> GetOptions {
    GetOptions { range: Some(GetRange::Bounded(from..from + WINDOW)), if_match, ..GetOptions::default() }
}

impl Read for Download {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.next().map_err(|error| io::Error::other(problem::words(&error)))? {
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
        finished.map(drop).map_err(|error| io::Error::other(problem::words(&error)))
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
            self.send().map_err(|error| io::Error::other(problem::words(&error)))?;
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

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::net::{TcpListener, TcpStream};
    use std::thread;
    use std::time::Duration;

    use super::super::access::Access;
    use super::*;

    const OBJECT: [u8; 1000] = [7; 1000];

    /// Answers one request for the object, with so many of the bytes that it asks for; says from where it asked.
    fn answer(connection: &mut TcpStream, bytes: usize) -> usize {
        let mut asked = BufReader::new(connection.try_clone().expect("a socket")).lines().map(|line| line.expect("a line"));
        let range = asked.find_map(|line| Some(line.strip_prefix("range: bytes=")?.split_once('-')?.0.to_owned())).expect("a range");
        asked.find(String::is_empty).expect("an end");
        let from: usize = range.parse().expect("a number");
        let head = format!(
            "HTTP/1.1 206 Partial Content\r\nETag: \"a\"\r\nLast-Modified: Sat, 28 Nov 2026 14:04:07 GMT\r\nContent-Length: {}\r\n\
             Content-Range: bytes {from}-999/1000\r\n\r\n",
            OBJECT.len() - from
        );
        connection.write_all(&[head.as_bytes(), &OBJECT[from..from + bytes]].concat()).expect("sent");
        from
    }

    #[test]
    fn what_is_read_so_slowly_that_the_client_gives_the_request_up_is_asked_for_again_from_there_on() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let serving = thread::spawn(move || {
            let next = || listener.accept().expect("a connection").0;
            let mut first = next();
            answer(&mut first, 400);
            // Longer than a request is made again.
            thread::sleep(Duration::from_secs(4));
            drop(first);
            answer(&mut next(), 600)
        });
        let given = [("AWS_ENDPOINT_URL", endpoint), ("AWS_ACCESS_KEY_ID", "one".to_owned()), ("AWS_SECRET_ACCESS_KEY", "two".to_owned())];
        let access = Access::of(&given.into()).expect("access");
        let bucket = Arc::new(Bucket::open(access, "states", "x", Arc::default()).expect("opened"));
        let mut download = Download::open(&bucket, "part").expect("opened").expect("there");
        let mut read = Vec::new();
        download.read_to_end(&mut read).expect("read");
        assert_eq!(read, OBJECT);
        assert_eq!(serving.join().expect("served"), 400);
    }
}
