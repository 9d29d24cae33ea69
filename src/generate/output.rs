//! Files of dumps: gzipped on a thread of their own each, hashed on the way, in place under their name only once whole.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use crate::sources::hexadecimal;

/// As the real files are by their size. It is what the time goes into; a faster one would make what reads them look slower.
const LEVEL: u32 = 6;
const CHUNK: usize = 256 << 10;
/// Chunks on their way to the compressor: enough to even out bursts, few enough to take no room.
const AHEAD: usize = 4;

/// What a finished file is.
pub(super) struct Finished {
    /// Bytes before compression.
    pub bytes: u64,
    /// Bytes of the file.
    pub gzipped: u64,
    /// In hexadecimal.
    pub sha256: String,
}

/// A file that is being written, or nothing.
pub(super) struct Output(Option<Writing>);

struct Writing {
    chunk: Vec<u8>,
    full: Sender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
    thread: JoinHandle<io::Result<Finished>>,
}

impl Output {
    /// Begins a file.
    pub fn create(path: PathBuf) -> io::Result<Output> {
        let (full, to_write) = bounded::<Vec<u8>>(AHEAD);
        let (give_back, empty) = bounded(AHEAD + 2);
        let part = path.with_extension("gz.part");
        let file = File::create(&part)?;
        let thread = std::thread::Builder::new().name("gzip".to_owned()).spawn(move || {
            let mut bytes = 0;
            let sink = Hashed { inner: BufWriter::with_capacity(CHUNK, file), hash: Sha256::new(), bytes: 0 };
            let mut gzip = GzEncoder::new(sink, Compression::new(LEVEL));
            for mut chunk in to_write {
                gzip.write_all(&chunk)?;
                bytes += chunk.len() as u64;
                chunk.clear();
                // Nobody waits for it any more once the file is being finished.
                let _ = give_back.try_send(chunk);
            }
            let mut sink = gzip.finish()?;
            sink.flush()?;
            fs::rename(part, path)?;
            Ok(Finished { bytes, gzipped: sink.bytes, sha256: hexadecimal(sink.hash) })
        })?;
        Ok(Output(Some(Writing { chunk: Vec::with_capacity(CHUNK), full, empty, thread })))
    }

    /// Of a month that is not asked for.
    pub fn nowhere() -> Output {
        Output(None)
    }

    /// Writes these bytes and a line feed.
    pub fn line(&mut self, bytes: &[u8]) {
        let Some(Writing { chunk, full, empty, .. }) = &mut self.0 else { return };
        chunk.extend_from_slice(bytes);
        chunk.push(b'\n');
        if chunk.len() >= CHUNK {
            let next = empty.try_recv().unwrap_or_else(|_| Vec::with_capacity(CHUNK + CHUNK / 8));
            // Fails only if the thread has ended with an error, which `finish` gives.
            let _ = full.send(std::mem::replace(chunk, next));
        }
    }

    /// Whether the file cannot be written; `finish` says why.
    pub fn failed(&self) -> bool {
        self.0.as_ref().is_some_and(|writing| writing.thread.is_finished())
    }

    /// Ends the file and puts it in its place.
    pub fn finish(self) -> io::Result<Option<Finished>> {
        let Some(Writing { chunk, full, thread, .. }) = self.0 else { return Ok(None) };
        let _ = full.send(chunk);
        drop(full);
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the compressing thread panicked"))).map(Some)
    }
}

struct Hashed<W> {
    inner: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hash.update(&bytes[..n]);
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
