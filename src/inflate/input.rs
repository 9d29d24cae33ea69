//! Bits of a file, lowest first.

use std::io::{self, ErrorKind, Read};

use super::InflateError;

/// Bytes read at once.
const PIECE: usize = 256 << 10;

/// A file, and its next bits.
pub(super) struct Input<R> {
    pub(super) file: R,
    pub(super) buffer: Box<[u8]>,
    /// The next byte that is not among the bits, and where what was read ends.
    pub(super) at: usize,
    pub(super) end: usize,
    ended: bool,
    /// The next bits, the first one lowest; more than `count` may be there, as they stand in the buffer.
    pub(super) bits: u64,
    pub(super) count: u32,
}

impl<R: Read> Input<R> {
    pub(super) fn new(file: R) -> Input<R> {
        Input { file, buffer: vec![0; PIECE].into(), at: 0, end: 0, ended: false, bits: 0, count: 0 }
    }

    /// Puts whole bytes back.
    fn put_back(&mut self) {
        self.at -= (self.count / 8) as usize;
        self.count %= 8;
        self.bits &= (1 << self.count) - 1;
    }

    /// Whether the file ends before so many bytes are read; these few are in the buffer otherwise.
    pub(super) fn lacks(&mut self, bytes: usize) -> io::Result<bool> {
        if self.end - self.at < bytes && !self.ended {
            self.put_back();
            self.buffer.copy_within(self.at..self.end, 0);
            (self.at, self.end) = (0, self.end - self.at);
            while self.end < bytes && !self.ended {
                match self.file.read(&mut self.buffer[self.end..]) {
                    Ok(0) => self.ended = true,
                    Ok(read) => self.end += read,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(self.end - self.at < bytes)
    }

    /// Takes bytes until there are bits enough for whatever comes next, or no more bytes.
    pub(super) fn refill(&mut self) -> io::Result<()> {
        self.lacks(8)?;
        self.bits &= (1 << self.count) - 1;
        while self.count < 56 && self.at < self.end {
            self.bits |= u64::from(self.buffer[self.at]) << self.count;
            self.at += 1;
            self.count += 8;
        }
        Ok(())
    }

    /// The next bits, 32 at most.
    pub(super) fn take(&mut self, count: u32) -> Result<u32, InflateError> {
        if self.count < count {
            self.refill()?;
            if self.count < count {
                return Err(InflateError::Short);
            }
        }
        let taken = self.bits & ((1 << count) - 1);
        self.skip(count);
        Ok(taken as u32)
    }

    pub(super) fn skip(&mut self, count: u32) {
        self.bits >>= count;
        self.count -= count;
    }

    /// Goes on at a whole byte.
    pub(super) fn align(&mut self) {
        self.skip(self.count % 8);
        self.put_back();
    }

    /// The next byte; only where bits are aligned.
    pub(super) fn byte(&mut self) -> Result<u8, InflateError> {
        if self.lacks(1)? {
            return Err(InflateError::Short);
        }
        self.at += 1;
        Ok(self.buffer[self.at - 1])
    }

    /// Leaves out some bytes.
    pub(super) fn pass(&mut self, bytes: usize) -> Result<(), InflateError> {
        (0..bytes).try_for_each(|_| self.byte().map(drop))
    }

    /// Whether there is nothing more; only where bits are aligned.
    pub(super) fn is_at_end(&mut self) -> io::Result<bool> {
        self.lacks(1)
    }
}
