//! Prose: titles, notes, profiles and what is said under videos. Escaped as it stands in a dump.

use super::names;
use super::rng::Rng;
use super::words::{COMMON, MIX, ODD, SMALL, TITLE};

/// Appends a title of one to six words.
pub(super) fn title(out: &mut Vec<u8>, rng: &mut Rng) {
    let (start, n) = (out.len(), [1, 1, 2, 2, 2, 3, 3, 4, 5, 6][rng.below(10) as usize]);
    for at in 0..n {
        if out.len() > start {
            out.push(b' ');
        }
        match rng.below(100) {
            0..26 if at + 1 < n => out.extend_from_slice(rng.favour(SMALL).as_bytes()),
            26..43 => made_up(out, rng),
            43..45 => out.extend_from_slice(rng.pick(ODD).trim().as_bytes()),
            45 => number(out, rng.range(1, 2000)),
            _ => out.extend_from_slice(rng.pick(TITLE).as_bytes()),
        }
    }
    if out.len() == start {
        made_up(out, rng);
    }
    match rng.below(40) {
        0..4 => {
            out.extend_from_slice(b" (");
            out.extend_from_slice(rng.favour(MIX).as_bytes());
            out.push(b')');
        }
        4 | 5 => {
            out.extend_from_slice(b" (");
            made_up(out, rng);
            out.extend_from_slice(b" Remix)");
        }
        6 => {
            out.extend_from_slice(b" (Part ");
            number(out, rng.range(1, 9));
            out.push(b')');
        }
        _ => {}
    }
}

/// Appends a made-up word with a capital.
pub(super) fn made_up(out: &mut Vec<u8>, rng: &mut Rng) {
    let start = out.len();
    names::word(out, rng);
    out[start].make_ascii_uppercase();
}

/// Appends a sentence.
pub(super) fn sentence(out: &mut Vec<u8>, rng: &mut Rng) {
    let n = rng.range(3, 14);
    for at in 0..n {
        let start = out.len();
        match rng.below(100) {
            0..4 => made_up(out, rng),
            4 => out.extend_from_slice(rng.pick(ODD).as_bytes()),
            5..8 => number(out, rng.range(1950, 2025)),
            8 => number(out, rng.below(100_000)),
            9..11 => names::stranger(out, rng),
            11..15 => out.extend_from_slice(rng.pick(TITLE).as_bytes()),
            _ => out.extend_from_slice(rng.favour(COMMON).as_bytes()),
        }
        if at == 0 {
            out[start].make_ascii_uppercase();
        }
        let end: &[u8] = match rng.below(24) {
            _ if at + 1 == n => b".",
            0 => b", ",
            1 => b" / ",
            _ => b" ",
        };
        out.extend_from_slice(end);
    }
}

/// Appends some lines of prose of about this many bytes. Its line ends are line feeds, or `&#13;` and line feeds.
pub(super) fn prose(out: &mut Vec<u8>, rng: &mut Rng, bytes: u64) {
    let (end, newline) = (out.len() + bytes as usize, newline(rng));
    loop {
        match rng.below(12) {
            0 => {
                out.extend_from_slice(
                    rng.pick(&["Tracks ", "Side ", "Cat# ", "Made in ", "Recorded at ", "(p) &amp; (c) ", "Fax: +", "Thanks to: "])
                        .as_bytes(),
                );
                number(out, rng.range(1, 1999));
                out.push(b' ');
                names::stranger(out, rng);
            }
            1 => {
                out.extend_from_slice(rng.pick(&["[b]", "[i]", "[a=", "[l="]).as_bytes());
                names::stranger(out, rng);
                out.push(b']');
            }
            2 => address(out, rng),
            _ => sentence(out, rng),
        }
        if out.len() >= end {
            return;
        }
        for _ in 0..[0, 0, 1, 1, 2][rng.below(5) as usize] {
            out.extend_from_slice(newline);
        }
        if out.last() != Some(&b'\n') {
            out.push(b' ');
        }
    }
}

/// How a text's lines end.
pub(super) fn newline(rng: &mut Rng) -> &'static [u8] {
    if rng.chance(0.35) { b"&#13;\n" } else { b"\n" }
}

/// Appends an address in the web that nobody has.
pub(super) fn address(out: &mut Vec<u8>, rng: &mut Rng) {
    out.extend_from_slice(rng.pick(&["https://www.", "http://www.", "https://", "http://"]).as_bytes());
    names::word(out, rng);
    out.extend_from_slice(rng.pick(&[".example.org/", ".example.com/", ".example.net/music/", ".example/user/"]).as_bytes());
    if rng.chance(0.7) {
        names::word(out, rng);
        number(out, rng.below(100));
    }
}

/// Appends a number in digits.
pub(super) fn number(out: &mut Vec<u8>, number: u64) {
    let (mut digits, mut at, mut rest) = ([0; 20], 20, number);
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            return out.extend_from_slice(&digits[at..]);
        }
    }
}

/// Appends a length as minutes and seconds.
pub(super) fn duration(out: &mut Vec<u8>, seconds: u64) {
    if seconds >= 3600 {
        number(out, seconds / 3600);
        out.push(b':');
        two(out, seconds / 60 % 60);
    } else {
        number(out, seconds / 60);
    }
    out.push(b':');
    two(out, seconds % 60);
}

/// Appends a number below 100 in two digits.
pub(super) fn two(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&[b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]);
}
