//! Decompresses gzip files: nothing bounds a month in which little changed as this does, so it is done here and not by a library (1.5
//! times zlib-rs, which tests hold it against).
//!
//! - `input`: a file's bits
//! - `huffman`: tables of codes
//! - `blocks`: deflate blocks, into a buffer
//! - here: the members of a file and their checksums

mod blocks;
mod huffman;
mod input;
#[cfg(test)]
mod tests;

use std::io::{self, Read};

use crc32fast::Hasher;
use thiserror::Error;

use blocks::{Blocks, Progress};
use input::Input;

/// How far back a match can reach, in bytes.
pub const HISTORY: usize = 32 << 10;

/// So many bytes at a buffer's end are left free: a match is written whole, and somewhat more than it.
pub const SLACK: usize = 320;

/// What every member begins with.
pub const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Why a file cannot be decompressed further.
#[derive(Debug, Error)]
pub enum InflateError {
    /// It cannot be read.
    #[error("reading failed: {0}")]
    Io(#[from] io::Error),
    /// It ends in the middle.
    #[error("the gzip data is cut short: fetch the file again")]
    Short,
    /// It is not what it should be.
    #[error("the gzip data is damaged ({0}): fetch the file again")]
    Damaged(&'static str),
}

/// The members of a gzip file, one after another.
pub struct Gunzip<R> {
    input: Input<R>,
    blocks: Blocks,
    /// Whether a member's data is being read.
    inside: bool,
    /// Whether a member was read to its end.
    any: bool,
    crc: Hasher,
    /// Bytes that the member has given.
    length: u64,
}

impl<R: Read> Gunzip<R> {
    /// Of a file that is read from where it stands.
    pub fn new(file: R) -> Gunzip<R> {
        Gunzip { input: Input::new(file), blocks: Blocks::new(), inside: false, any: false, crc: Hasher::new(), length: 0 }
    }

    /// The file, as far as it was read.
    pub fn into_file(self) -> R {
        self.input.file
    }

    /// Writes on from `at`, which moves with it, until no more than [`SLACK`] bytes of the buffer are left (true) or the file has ended
    /// (false). Before `at` the last [`HISTORY`] bytes that were given must stand, or all of them. What lies before an error is given too.
    pub fn fill(&mut self, buffer: &mut [u8], at: &mut usize) -> Result<bool, InflateError> {
        loop {
            if !self.inside {
                if self.input.is_at_end()? && self.any {
                    return Ok(false);
                }
                self.begin()?;
            }
            let from = *at;
            let reach = usize::try_from(self.length).map_or(from, |length| length.min(from));
            let progress = self.blocks.decode(&mut self.input, buffer, at, from - reach);
            self.crc.update(&buffer[from..*at]);
            self.length += (*at - from) as u64;
            match progress? {
                Progress::Full => return Ok(true),
                Progress::End => self.end()?,
            }
        }
    }

    /// Reads a member's header.
    fn begin(&mut self) -> Result<(), InflateError> {
        let (deflate, checked, extra, name, comment, unknown) = (8, 2, 4, 8, 16, 0xe0);
        let input = &mut self.input;
        let first = input.byte()?;
        if self.any && first != MAGIC[0] {
            return Err(InflateError::Damaged("something else follows it"));
        }
        let [second, method, flags] = [input.byte()?, input.byte()?, input.byte()?];
        if [first, second] != MAGIC || method != deflate || flags & unknown != 0 {
            return Err(InflateError::Damaged("it does not begin as gzip does"));
        }
        let time_and_system = 6;
        input.pass(time_and_system)?;
        if flags & extra != 0 {
            let length = u16::from_le_bytes([input.byte()?, input.byte()?]);
            input.pass(length.into())?;
        }
        for text in [name, comment] {
            while flags & text != 0 && input.byte()? != 0 {}
        }
        if flags & checked != 0 {
            input.pass(2)?;
        }
        self.crc = Hasher::new();
        self.length = 0;
        self.inside = true;
        Ok(())
    }

    /// Reads a member's checksum and length.
    fn end(&mut self) -> Result<(), InflateError> {
        let mut word = || self.input.take(32);
        let told = (word()?, word()?);
        self.input.align();
        if told != (self.crc.clone().finalize(), self.length as u32) {
            return Err(InflateError::Damaged("its checksum is another"));
        }
        (self.inside, self.any) = (false, true);
        Ok(())
    }
}
