//! Tables by which a code of a deflate block is decoded.
//!
//! ```text
//!   entry   31       30..16    14     13     12      11..8        7..0
//!           literal  value     sub    end    wrong   code's bits  bits in all, extra ones included
//! ```
//!
//! The first bits of a code name an entry; of a longer code, one that names a further table. An entry says all that a code stands for, so
//! that one look-up and one shift decode it.

use super::InflateError;

/// Bits of a code that the first look-up takes: most codes have no more, and tables stay in the first cache.
pub(super) const LITERAL_BITS: u32 = 11;
/// The same of distances.
pub(super) const DISTANCE_BITS: u32 = 9;
/// Bits of the codes in which the lengths of codes are told.
pub(super) const LENGTHS_BITS: u32 = 7;

/// Most bits of a code.
const LONGEST: usize = 15;

pub(super) const LITERAL: u32 = 1 << 31;
pub(super) const FURTHER: u32 = 1 << 14;
pub(super) const END: u32 = 1 << 13;
pub(super) const WRONG: u32 = 1 << 12;
/// What no length and no distance is.
pub(super) const SPECIAL: u32 = FURTHER | END | WRONG;

/// More than the entries that any set of codes takes, and a power of two, so that no index is out of bounds.
pub(super) const ENTRIES: usize = 1 << 12;

/// Entries of the codes of one alphabet.
pub(super) type Table = [u32; ENTRIES];

pub(super) fn bits(entry: u32) -> u32 {
    entry & 0xff
}

pub(super) fn code_bits(entry: u32) -> u32 {
    entry >> 8 & 0xf
}

pub(super) fn value(entry: u32) -> u32 {
    entry >> 16 & 0x7fff
}

/// What a symbol means, without its code's bits: `value`, flags, and extra bits as bits.
const fn meaning(value: u32, extra: u32) -> u32 {
    value << 16 | extra
}

/// Symbols of literals and lengths, of distances, and of lengths of codes.
pub(super) struct Meanings {
    pub(super) literals: [u32; 288],
    pub(super) distances: [u32; 32],
    pub(super) lengths: [u32; 19],
}

pub(super) const MEANINGS: Meanings = {
    let (mut literals, mut distances, mut lengths) = ([WRONG; 288], [WRONG; 32], [0; 19]);
    let mut symbol = 0;
    while symbol < 256 {
        literals[symbol] = LITERAL | meaning(symbol as u32, 0);
        symbol += 1;
    }
    literals[256] = END;
    let (mut base, mut at) = (3, 0);
    while at < 28 {
        let extra = if at < 8 { 0 } else { at / 4 - 1 };
        literals[257 + at as usize] = meaning(base, extra);
        base += 1 << extra;
        at += 1;
    }
    literals[285] = meaning(258, 0);
    let (mut base, mut at) = (1, 0);
    while at < 30 {
        let extra = if at < 4 { 0 } else { at / 2 - 1 };
        distances[at as usize] = meaning(base, extra);
        base += 1 << extra;
        at += 1;
    }
    let mut at = 0;
    while at < 19 {
        lengths[at] = meaning(at as u32, 0);
        at += 1;
    }
    Meanings { literals, distances, lengths }
};

/// Makes the table of an alphabet from the lengths of its codes, 0 where a symbol has none; what the first look-up takes is at least as
/// long as `first`. A lone code of one bit may leave the other unused, as the format says; other sets of codes must be complete.
pub(super) fn make(table: &mut Table, lengths: &[u8], meanings: &[u32], first: u32) -> Result<(), InflateError> {
    let mut counts = [0u16; LONGEST + 1];
    for length in lengths {
        counts[usize::from(*length)] += 1;
    }
    counts[0] = 0;
    let longest = (1..=LONGEST).rev().find(|length| counts[*length] > 0).unwrap_or(0);
    let mut left = 1i32;
    for count in &counts[1..] {
        left = (left << 1) - i32::from(*count);
        if left < 0 {
            return Err(InflateError::Damaged("codes are longer than they can be"));
        }
    }
    if left > 0 && longest > 1 {
        return Err(InflateError::Damaged("a set of codes is incomplete"));
    }
    let mut begins = [0u16; LONGEST + 2];
    for length in 1..=LONGEST {
        begins[length + 1] = begins[length] + counts[length];
    }
    let mut sorted = [0u16; 288];
    let mut at = begins;
    for (symbol, length) in lengths.iter().enumerate().filter(|(_, length)| **length > 0) {
        let at = &mut at[usize::from(*length)];
        sorted[usize::from(*at)] = symbol as u16;
        *at += 1;
    }
    if longest <= 1 {
        table[..2].fill(WRONG);
    }
    let entry = |symbol: u16, bits: u32| {
        let meaning = meanings[usize::from(symbol)];
        meaning & !0xff | bits << 8 | (bits + (meaning & 0xff))
    };
    let of = |length: usize| &sorted[usize::from(begins[length])..usize::from(begins[length + 1])];
    // Codes are counted up in their order, and stand in the stream with their first bit lowest. What the first look-up takes beyond a code
    // can be anything: what is there is doubled for each bit more.
    let mut code = 0u32;
    for length in 1..=first as usize {
        if length > 1 {
            table.copy_within(..1 << (length - 1), 1 << (length - 1));
        }
        for symbol in of(length) {
            table[(code.reverse_bits() >> (32 - length)) as usize % ENTRIES] = entry(*symbol, length as u32);
            code += 1;
        }
        code <<= 1;
    }
    let whole = 1usize << first;
    let (mut next, mut prefix, mut begin, mut size) = (whole, usize::MAX, 0, 0);
    for length in first as usize + 1..=longest {
        let more = length as u32 - first;
        for (nth, symbol) in of(length).iter().enumerate() {
            let reversed = (code.reverse_bits() >> (32 - length)) as usize;
            code += 1;
            if reversed % whole != prefix {
                prefix = reversed % whole;
                begin = next;
                // As many bits as the codes that begin so take.
                let mut bits = more;
                let mut room = (1i32 << bits) - (i32::from(counts[length]) - nth as i32);
                while room > 0 && first + bits < longest as u32 {
                    bits += 1;
                    room = (room << 1) - i32::from(counts[(first + bits) as usize]);
                }
                size = 1 << bits;
                next += size;
                table[prefix] = FURTHER | (begin as u32) << 16 | first << 8 | bits;
            }
            let entry = entry(*symbol, more);
            for at in (reversed >> first..size).step_by(1 << more) {
                table[(begin + at) % ENTRIES] = entry;
            }
        }
        code <<= 1;
    }
    Ok(())
}
