//! Deflate blocks into a buffer.

use std::io::Read;

use super::huffman::{
    self, DISTANCE_BITS, END, ENTRIES, FURTHER, LENGTHS_BITS, LITERAL, LITERAL_BITS, MEANINGS, SPECIAL, Table, WRONG, bits, code_bits,
    value,
};
use super::input::Input;
use super::{InflateError, SLACK};

/// Bytes of input that one round takes at most, as it loads them.
const ROUND: usize = 32;

/// How decoding ended.
pub(super) enum Progress {
    /// The buffer may not have room for what comes next.
    Full,
    /// The last block is complete.
    End,
}

enum State {
    Header,
    Stored(usize),
    Coded,
    Done,
}

/// The blocks of one stream after another.
pub(super) struct Blocks {
    state: State,
    last: bool,
    literals: Box<Table>,
    distances: Box<Table>,
}

/// The order in which lengths of the codes for lengths are told.
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

impl Blocks {
    pub(super) fn new() -> Blocks {
        let table = || Box::new([WRONG; ENTRIES]);
        Blocks { state: State::Header, last: false, literals: table(), distances: table() }
    }

    /// Writes from `at` on. `low`: where in the buffer the stream begins, or what is there of it.
    pub(super) fn decode<R: Read>(
        &mut self,
        input: &mut Input<R>,
        out: &mut [u8],
        at: &mut usize,
        low: usize,
    ) -> Result<Progress, InflateError> {
        loop {
            match self.state {
                State::Header => self.header(input)?,
                State::Stored(left) => {
                    if out.len() - *at <= SLACK {
                        return Ok(Progress::Full);
                    }
                    if left > 0 && input.lacks(1)? {
                        return Err(InflateError::Short);
                    }
                    let some = left.min(out.len() - SLACK - *at).min(input.end - input.at);
                    out[*at..*at + some].copy_from_slice(&input.buffer[input.at..input.at + some]);
                    input.at += some;
                    *at += some;
                    self.state = if left > some { State::Stored(left - some) } else { self.next() };
                }
                State::Coded => {
                    // Near the file's end symbols are taken one by one.
                    let ended = if input.lacks(ROUND)? { self.careful(input, out, at, low)? } else { self.fast(input, out, at, low)? };
                    if ended {
                        self.state = self.next();
                    } else if out.len() - *at <= SLACK {
                        return Ok(Progress::Full);
                    }
                }
                State::Done => {
                    input.align();
                    self.state = State::Header;
                    return Ok(Progress::End);
                }
            }
        }
    }

    fn next(&self) -> State {
        if self.last { State::Done } else { State::Header }
    }

    fn header<R: Read>(&mut self, input: &mut Input<R>) -> Result<(), InflateError> {
        self.last = input.take(1)? == 1;
        self.state = match input.take(2)? {
            0 => {
                input.align();
                let length = u16::from_le_bytes([input.byte()?, input.byte()?]);
                if !length != u16::from_le_bytes([input.byte()?, input.byte()?]) {
                    return Err(InflateError::Damaged("the length of a stored block is told in two ways"));
                }
                State::Stored(usize::from(length))
            }
            1 => {
                let mut lengths = [8; 288];
                lengths[144..256].fill(9);
                lengths[256..280].fill(7);
                self.tables(&lengths, &[5; 32])?;
                State::Coded
            }
            2 => {
                self.codes(input)?;
                State::Coded
            }
            _ => return Err(InflateError::Damaged("a block of an unknown kind")),
        };
        Ok(())
    }

    fn tables(&mut self, literals: &[u8], distances: &[u8]) -> Result<(), InflateError> {
        huffman::make(&mut self.literals, literals, &MEANINGS.literals, LITERAL_BITS)?;
        huffman::make(&mut self.distances, distances, &MEANINGS.distances, DISTANCE_BITS)
    }

    /// Reads the codes of a block.
    fn codes<R: Read>(&mut self, input: &mut Input<R>) -> Result<(), InflateError> {
        let literals = input.take(5)? as usize + 257;
        let distances = input.take(5)? as usize + 1;
        if literals > 286 || distances > 30 {
            return Err(InflateError::Damaged("a block has more codes than there are"));
        }
        let mut lengths = [0; 19];
        for at in &ORDER[..input.take(4)? as usize + 4] {
            lengths[*at] = input.take(3)? as u8;
        }
        // It is overwritten as soon as it was used.
        let table = &mut self.distances;
        huffman::make(table, &lengths, &MEANINGS.lengths, LENGTHS_BITS)?;
        let mut told = [0u8; 286 + 30];
        let mut at = 0;
        while at < literals + distances {
            if input.count < 15 {
                input.refill()?;
            }
            let entry = table[(input.bits & ((1 << LENGTHS_BITS) - 1)) as usize];
            if entry & SPECIAL != 0 {
                return Err(NO_CODE);
            }
            if bits(entry) > input.count {
                return Err(InflateError::Short);
            }
            input.skip(bits(entry));
            let (length, times) = match value(entry) {
                length @ 0..16 => (length as u8, 1),
                16 if at == 0 => return Err(InflateError::Damaged("a length is to be repeated, and there is none")),
                16 => (told[at - 1], 3 + input.take(2)? as usize),
                17 => (0, 3 + input.take(3)? as usize),
                _ => (0, 11 + input.take(7)? as usize),
            };
            let Some(these) = told[..literals + distances].get_mut(at..at + times) else {
                return Err(InflateError::Damaged("a block tells of more codes than it has"));
            };
            these.fill(length);
            at += times;
        }
        if told[256] == 0 {
            return Err(InflateError::Damaged("a block that cannot end"));
        }
        let (literals, distances) = told[..literals + distances].split_at(literals);
        self.tables(literals, distances)
    }

    /// Decodes while there is enough of everything that nothing need be asked within a round; true when the block is complete.
    #[inline]
    fn fast<R>(&self, input: &mut Input<R>, out: &mut [u8], position: &mut usize, low: usize) -> Result<bool, InflateError> {
        let (literals, distances) = (&*self.literals, &*self.distances);
        let buffer = &input.buffer[..input.end];
        let (mut hold, mut count, mut next, mut at) = (input.bits, input.count, input.at, *position);
        let mask = |bits: u32| (1u64 << bits) - 1;
        let result = 'block: {
            macro_rules! refill {
                () => {
                    let Some(word) = buffer.get(next..next + 8) else { break };
                    let mut bytes = [0; 8];
                    bytes.copy_from_slice(word);
                    hold |= u64::from_le_bytes(bytes) << count;
                    next += ((63 - count) >> 3) as usize;
                    count |= 56;
                };
            }
            macro_rules! look {
                () => {
                    literals[(hold & mask(LITERAL_BITS)) as usize]
                };
            }
            macro_rules! skip {
                ($entry:expr) => {
                    hold >>= bits($entry);
                    count -= bits($entry);
                };
            }
            macro_rules! literal {
                ($entry:expr) => {
                    skip!($entry);
                    out[at] = value($entry) as u8;
                    at += 1;
                };
            }
            macro_rules! further {
                ($table:ident, $entry:ident) => {
                    hold >>= code_bits($entry);
                    count -= code_bits($entry);
                    $entry = $table[(value($entry) as usize + (hold & mask(bits($entry))) as usize) % ENTRIES];
                };
            }
            // A length or a distance, extra bits included.
            macro_rules! take {
                ($entry:expr) => {{
                    let whole = value($entry) + ((hold & mask(bits($entry))) >> code_bits($entry)) as u32;
                    skip!($entry);
                    whole as usize
                }};
            }
            while next + ROUND <= buffer.len() && at + SLACK < out.len() {
                refill!();
                let mut entry = look!();
                loop {
                    if entry & LITERAL != 0 {
                        literal!(entry);
                        entry = look!();
                        if entry & LITERAL != 0 {
                            literal!(entry);
                            entry = look!();
                            if entry & LITERAL != 0 {
                                literal!(entry);
                                entry = look!();
                                if entry & LITERAL != 0 {
                                    literal!(entry);
                                    break;
                                }
                            }
                        }
                        refill!();
                    }
                    if entry & SPECIAL != 0 {
                        if entry & FURTHER != 0 {
                            further!(literals, entry);
                            if entry & LITERAL != 0 {
                                literal!(entry);
                                break;
                            }
                        }
                        if entry & END != 0 {
                            skip!(entry);
                            break 'block Ok(true);
                        }
                        if entry & WRONG != 0 {
                            break 'block Err(NO_CODE);
                        }
                    }
                    let length = take!(entry);
                    entry = distances[(hold & mask(DISTANCE_BITS)) as usize];
                    if entry & SPECIAL != 0 {
                        if entry & FURTHER != 0 {
                            further!(distances, entry);
                        }
                        if entry & WRONG != 0 {
                            break 'block Err(NO_CODE);
                        }
                    }
                    let distance = take!(entry);
                    if distance > at - low {
                        break 'block Err(TOO_FAR);
                    }
                    let from = at;
                    at += length;
                    // Before the copy, whose time hides this one's.
                    let more = next + ROUND <= buffer.len() && at + SLACK < out.len();
                    if more {
                        refill!();
                        entry = look!();
                    }
                    copy(out, from, distance, length);
                    if !more {
                        break;
                    }
                }
            }
            Ok(false)
        };
        (input.bits, input.count, input.at, *position) = (hold, count, next, at);
        result
    }

    /// The same, of a few symbols behind which the file may end.
    #[cold]
    fn careful<R: Read>(&self, input: &mut Input<R>, out: &mut [u8], at: &mut usize, low: usize) -> Result<bool, InflateError> {
        while *at + SLACK < out.len() {
            input.refill()?;
            let entry = symbol(input, &self.literals, LITERAL_BITS)?;
            if entry & LITERAL != 0 {
                out[*at] = value(entry) as u8;
                *at += 1;
                continue;
            }
            if entry & END != 0 {
                return Ok(true);
            }
            let length = value(entry) as usize;
            let distance = value(symbol(input, &self.distances, DISTANCE_BITS)?) as usize;
            if distance > *at - low {
                return Err(TOO_FAR);
            }
            copy(out, *at, distance, length);
            *at += length;
        }
        Ok(false)
    }
}

const NO_CODE: InflateError = InflateError::Damaged("a code that stands for nothing");
const TOO_FAR: InflateError = InflateError::Damaged("a match from before the begin");

/// The entry of the next code, its value with the extra bits added.
fn symbol<R>(input: &mut Input<R>, table: &Table, first: u32) -> Result<u32, InflateError> {
    let mask = |bits: u32| (1u64 << bits) - 1;
    let (mut hold, mut count) = (input.bits & mask(input.count), input.count);
    let mut entry = table[(hold & mask(first)) as usize];
    if entry & (FURTHER | LITERAL) == FURTHER {
        if count < code_bits(entry) {
            return Err(InflateError::Short);
        }
        hold >>= code_bits(entry);
        count -= code_bits(entry);
        entry = table[(value(entry) as usize + (hold & mask(bits(entry))) as usize) % ENTRIES];
    }
    if bits(entry) > count {
        return Err(InflateError::Short);
    }
    if entry & (WRONG | LITERAL) == WRONG {
        return Err(NO_CODE);
    }
    let extra = ((hold & mask(bits(entry))) >> code_bits(entry)) as u32;
    (input.bits, input.count) = (hold >> bits(entry), count - bits(entry));
    Ok(entry + (extra << 16))
}

/// Copies a match; up to a word more is written behind it.
#[inline(always)]
fn copy(out: &mut [u8], at: usize, distance: usize, length: usize) {
    let from = at - distance;
    if distance >= 16 {
        // Most matches are no longer than three words.
        let three = &mut out[from..at + 48];
        word::<16>(three, 0, distance);
        word::<16>(three, 16, distance);
        word::<16>(three, 32, distance);
        let mut done = 48;
        while done < length {
            word::<16>(&mut out[from + done..], 0, distance);
            done += 16;
        }
    } else if distance >= 8 {
        let mut done = 0;
        while done < length {
            word::<8>(&mut out[from + done..], 0, distance);
            done += 8;
        }
    } else if distance == 1 {
        let byte = out[from];
        out[at..at + length].fill(byte);
    } else {
        for at in at..at + length {
            out[at] = out[at - distance];
        }
    }
}

#[inline(always)]
fn word<const BYTES: usize>(out: &mut [u8], from: usize, distance: usize) {
    let mut word = [0; BYTES];
    word.copy_from_slice(&out[from..from + BYTES]);
    out[from + distance..from + distance + BYTES].copy_from_slice(&word);
}
