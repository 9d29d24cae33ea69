//! The decompressors that the product can use: the fastest of them is what it is measured against.

use std::io::{self, BufRead, BufReader, Read};

use discodiff::inflate::{Gunzip, HISTORY, SLACK};
use flate2::bufread::MultiGzDecoder;

/// A decompressor's name, and what it makes of a gzip file: a reader of what is in it.
pub type Decompressor = (&'static str, fn(Box<dyn BufRead>) -> Box<dyn BufRead>);

/// All of them; the first is the one that the product uses.
pub const DECOMPRESSORS: [Decompressor; 2] = [
    ("the inflater", |packed| Box::new(Inflated::new(packed))),
    ("flate2 with zlib-rs", |packed| Box::new(BufReader::with_capacity(64 << 10, MultiGzDecoder::new(packed)))),
];

/// Bytes that the inflater gives at a time here: they stay in the processor's cache.
const PIECE: usize = 64 << 10;

/// What the inflater makes of a file, read from its own buffer.
struct Inflated<R> {
    gunzip: Gunzip<R>,
    buffer: Box<[u8]>,
    at: usize,
    end: usize,
    ended: bool,
}

impl<R: Read> Inflated<R> {
    fn new(packed: R) -> Inflated<R> {
        Inflated { gunzip: Gunzip::new(packed), buffer: vec![0; HISTORY + PIECE + SLACK].into(), at: 0, end: 0, ended: false }
    }
}

impl<R: Read> BufRead for Inflated<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.end && !self.ended {
            let kept = self.end.min(HISTORY);
            self.buffer.copy_within(self.end - kept..self.end, 0);
            (self.at, self.end) = (kept, kept);
            self.ended = !self.gunzip.fill(&mut self.buffer, &mut self.end).map_err(io::Error::other)?;
        }
        Ok(&self.buffer[self.at..self.end])
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
    }
}

impl<R: Read> Read for Inflated<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}
