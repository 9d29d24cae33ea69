//! The sha256 of a dump file: beforehand, or while it is read.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};
use sha2::{Digest as _, Sha256};

use crate::model::Kind;
use crate::telemetry::Recorder;

/// Bytes read at once: what is read stays in the processor's cache until it is hashed.
const PIECE: usize = 128 << 10;

/// Pieces that a reader may be ahead.
const PIECES_AHEAD: usize = 8;

/// Length and sha256, in hexadecimal.
pub fn of_file(path: &Path) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; PIECE];
    let mut bytes = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((bytes, hexadecimal(hasher))),
            n => {
                hasher.update(&buffer[..n]);
                bytes += n as u64;
            }
        }
    }
}

/// Hashes, on a thread of its own, what another reads.
pub(super) struct Summing {
    sender: Sender<Vec<u8>>,
    /// Buffers that were hashed.
    spare: Receiver<Vec<u8>>,
    thread: JoinHandle<String>,
}

impl Summing {
    pub(super) fn start(kind: Kind, mut recorder: Recorder) -> io::Result<Summing> {
        let (sender, pieces) = bounded::<Vec<u8>>(PIECES_AHEAD);
        let (emptied, spare) = bounded(PIECES_AHEAD);
        let thread = thread::Builder::new().name(format!("sum {kind}")).spawn(move || {
            let mut hasher = Sha256::new();
            for mut piece in pieces {
                let begun = Instant::now();
                hasher.update(&piece);
                recorder.since(begun, 0, piece.len());
                piece.clear();
                let _ = emptied.try_send(piece);
            }
            hexadecimal(hasher)
        })?;
        Ok(Summing { sender, spare, thread })
    }

    /// The next bytes of the file.
    pub(super) fn add(&self, bytes: &[u8]) {
        for bytes in bytes.chunks(PIECE) {
            let mut piece = self.spare.try_recv().unwrap_or_default();
            piece.extend_from_slice(bytes);
            // A thread that is gone has panicked: `finish` goes on with that.
            let _ = self.sender.send(piece);
        }
    }

    /// The sha256 of all, in hexadecimal.
    pub(super) fn finish(self) -> String {
        drop(self.sender);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// As it is written.
pub fn hexadecimal(hasher: Sha256) -> String {
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
