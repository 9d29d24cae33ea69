//! What a text of a dump says: line ends, references, forbidden characters, white space.
//!
//! References are resolved first, then CR LF and lone CR become LF however they were written, then white space is trimmed, once. Only XML's own
//! white space is trimmed: a no-break space is part of a name. Nothing here fails: what XML would refuse is removed or taken as itself, and
//! counted.

use std::borrow::Cow;

/// What had to be mended in a record's texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mended {
    /// Characters that XML forbids, written out or as references, which were removed.
    pub removed_characters: u32,
    /// Ampersands that begin no reference XML knows, which were taken as themselves.
    pub lone_ampersands: u32,
}

/// A text or attribute value as it stands between its tags or quotes, resolved and trimmed; `None` when that leaves nothing.
#[inline]
pub fn text<'a>(raw: &'a str, mended: &mut Mended) -> Option<Cow<'a, str>> {
    if plain(raw.as_bytes()) {
        let trimmed = raw.trim_ascii();
        return (!trimmed.is_empty()).then_some(Cow::Borrowed(trimmed));
    }
    let mut gathered = Gathered::default();
    gathered.push(raw, mended);
    gathered.finish().map(Cow::Owned)
}

/// Whether it can be taken as it is, but for trimming. (Without form feed and vertical tab, which are forbidden, ASCII white space is XML's.)
#[inline]
fn plain(raw: &[u8]) -> bool {
    // No early exit, so that it is done in wide registers. 0xEF begins U+FFFE and U+FFFF, and with them all full-width forms.
    let mut special = false;
    let mut noncharacter = false;
    for &byte in raw {
        special |= (byte < b' ' && byte != b'\n' && byte != b'\t') | (byte == b'&');
        noncharacter |= byte == 0xEF;
    }
    !(special || noncharacter && raw.windows(3).any(is_noncharacter))
}

fn is_noncharacter(bytes: &[u8]) -> bool {
    matches!(bytes, [0xEF, 0xBF, 0xBE | 0xBF, ..])
}

/// A text that comes in pieces.
#[derive(Default)]
pub struct Gathered {
    text: String,
    after_return: bool,
}

impl Gathered {
    /// Adds a piece in which references are resolved.
    pub fn push(&mut self, raw: &str, mended: &mut Mended) {
        self.add(raw, true, mended);
    }

    /// Adds the inside of a CDATA section, in which an ampersand is an ampersand.
    pub fn push_verbatim(&mut self, raw: &str, mended: &mut Mended) {
        self.add(raw, false, mended);
    }

    /// The whole, trimmed; `None` when that leaves nothing.
    pub fn finish(mut self) -> Option<String> {
        let end = self.text.trim_ascii_end().len();
        self.text.truncate(end);
        let start = end - self.text.trim_ascii_start().len();
        self.text.drain(..start);
        (!self.text.is_empty()).then_some(self.text)
    }

    fn add(&mut self, raw: &str, references: bool, mended: &mut Mended) {
        self.text.reserve(raw.len());
        let bytes = raw.as_bytes();
        let (mut run, mut at) = (0, 0);
        while at < bytes.len() {
            match bytes[at] {
                b'&' if references => {
                    self.run(&raw[run..at]);
                    at += self.reference(&raw[at..], mended);
                    run = at;
                }
                byte @ (b'\r' | b'\n') => {
                    self.run(&raw[run..at]);
                    self.character(char::from(byte), mended);
                    at += 1;
                    run = at;
                }
                byte if byte < b' ' && byte != b'\t' => {
                    self.run(&raw[run..at]);
                    mended.removed_characters += 1;
                    at += 1;
                    run = at;
                }
                0xEF if is_noncharacter(&bytes[at..]) => {
                    self.run(&raw[run..at]);
                    mended.removed_characters += 1;
                    at += 3;
                    run = at;
                }
                _ => at += 1,
            }
        }
        self.run(&raw[run..]);
    }

    #[inline]
    fn run(&mut self, run: &str) {
        if !run.is_empty() {
            self.text.push_str(run);
            self.after_return = false;
        }
    }

    fn character(&mut self, character: char, mended: &mut Mended) {
        match character {
            '\r' => {
                self.text.push('\n');
                self.after_return = true;
            }
            '\n' if self.after_return => self.after_return = false,
            '\u{FFFE}' | '\u{FFFF}' => mended.removed_characters += 1,
            control if control < ' ' && !matches!(control, '\t' | '\n') => mended.removed_characters += 1,
            character => {
                self.text.push(character);
                self.after_return = false;
            }
        }
    }

    /// Takes the reference at the start of `rest`, or its ampersand alone; gives how many bytes it took.
    fn reference(&mut self, rest: &str, mended: &mut Mended) -> usize {
        let name_end = rest.bytes().skip(1).position(|byte| !(byte.is_ascii_alphanumeric() || byte == b'#')).map_or(rest.len(), |n| n + 1);
        let name = if rest.as_bytes().get(name_end) == Some(&b';') { &rest[1..name_end] } else { "" };
        let resolved = match name {
            "amp" => Some(u32::from(b'&')),
            "lt" => Some(u32::from(b'<')),
            "gt" => Some(u32::from(b'>')),
            "quot" => Some(u32::from(b'"')),
            "apos" => Some(u32::from(b'\'')),
            _ => match name.strip_prefix('#') {
                Some(number) => match number.strip_prefix('x') {
                    Some(hexadecimal) => code_point(hexadecimal, 16),
                    None => code_point(number, 10),
                },
                None => None,
            },
        };
        match resolved {
            Some(code) => {
                match char::from_u32(code) {
                    Some(character) => self.character(character, mended),
                    None => mended.removed_characters += 1,
                }
                name_end + 1
            }
            None => {
                mended.lone_ampersands += 1;
                self.run("&");
                1
            }
        }
    }
}

/// The number that the digits write, or the largest there is; `None` where they are no digits.
fn code_point(digits: &str, radix: u32) -> Option<u32> {
    let add = |sum: u32, digit: char| digit.to_digit(radix).map(|digit| sum.saturating_mul(radix).saturating_add(digit));
    if digits.is_empty() { None } else { digits.chars().try_fold(0, add) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(raw: &str) -> (String, u32, u32) {
        let mut mended = Mended::default();
        let text = text(raw, &mut mended).unwrap_or_default().into_owned();
        (text, mended.removed_characters, mended.lone_ampersands)
    }

    fn said(raw: &str) -> String {
        read(raw).0
    }

    /// Character by character, in as many passes as there are rules.
    fn oracle(raw: &str) -> (String, u32, u32) {
        let (mut removed, mut lone) = (0, 0);
        let mut resolved: Vec<char> = Vec::new();
        let mut rest = raw;
        'characters: while let Some(first) = rest.chars().next() {
            if first == '&' {
                for (name, character) in [("&amp;", '&'), ("&lt;", '<'), ("&gt;", '>'), ("&quot;", '"'), ("&apos;", '\'')] {
                    if let Some(after) = rest.strip_prefix(name) {
                        resolved.push(character);
                        rest = after;
                        continue 'characters;
                    }
                }
                let number = rest.find(';').and_then(|end| match rest[1..end].strip_prefix("#x") {
                    Some(digits) if !digits.is_empty() && digits.chars().all(|c| c.is_ascii_hexdigit()) => {
                        Some((end, u32::from_str_radix(digits, 16).unwrap_or(u32::MAX)))
                    }
                    Some(_) => None,
                    None => match rest[1..end].strip_prefix('#') {
                        Some(digits) if !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit()) => {
                            Some((end, digits.parse().unwrap_or(u32::MAX)))
                        }
                        _ => None,
                    },
                });
                if let Some((end, code)) = number {
                    match char::from_u32(code) {
                        Some(character) => resolved.push(character),
                        None => removed += 1,
                    }
                    rest = &rest[end + 1..];
                    continue;
                }
                lone += 1;
            }
            resolved.push(first);
            rest = &rest[first.len_utf8()..];
        }
        let forbidden = |c: &char| (*c < ' ' && !matches!(c, '\t' | '\n' | '\r')) || matches!(c, '\u{FFFE}' | '\u{FFFF}');
        removed += resolved.iter().filter(|c| forbidden(c)).count() as u32;
        let text: String = resolved.into_iter().filter(|c| !forbidden(c)).collect();
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        (text.trim_matches([' ', '\t', '\n', '\r']).to_owned(), removed, lone)
    }

    #[test]
    fn every_way_to_write_a_line_end_is_one_line_feed() {
        assert_eq!(said("a\r\nb\rc\nd"), "a\nb\nc\nd");
        assert_eq!(said("a&#13;\nb&#13;c&#xD;&#10;d"), "a\nb\nc\nd");
        assert_eq!(said("a&#13;\n&#13;\nb"), "a\n\nb");
    }

    #[test]
    fn references_are_resolved_once() {
        assert_eq!(said("&lt;b&gt; &amp;amp; &quot;&apos;&#246;&#x1F600;&#9;x"), "<b> &amp; \"'ö\u{1F600}\tx");
        assert_eq!(read("&amp;#13;"), ("&#13;".to_owned(), 0, 0));
    }

    #[test]
    fn a_lone_ampersand_is_itself_and_counted() {
        assert_eq!(read("R&B & Soul &nbsp; &; &#; &#x; &#X41; &amp x;"), ("R&B & Soul &nbsp; &; &#; &#x; &#X41; &amp x;".to_owned(), 0, 8));
    }

    #[test]
    fn forbidden_characters_are_removed_and_counted() {
        assert_eq!(read("a\u{7}b\u{0}&#0;&#7;&#xD800;&#99999999999;c\u{FFFE}\u{FFFF}&#xFFFE;"), ("abc".to_owned(), 9, 0));
        assert_eq!(said("\u{7f}\u{85}\u{FF01}"), "\u{7f}\u{85}\u{FF01}");
    }

    #[test]
    fn only_xml_white_space_is_trimmed_and_what_is_empty_is_absent() {
        assert_eq!(said("\u{A0}x\u{A0}"), "\u{A0}x\u{A0}");
        assert_eq!(said(" \t\r\n x  y &#13;\n"), "x  y");
        assert_eq!(text(" \n", &mut Mended::default()), None);
        assert_eq!(text("\u{1}", &mut Mended::default()), None);
    }

    #[test]
    fn a_plain_text_is_not_copied() {
        assert!(matches!(text(" Jesper Dahlbäck ！", &mut Mended::default()), Some(Cow::Borrowed("Jesper Dahlbäck ！"))));
    }

    proptest! {
        #[test]
        fn it_says_what_the_slow_reading_says(
            pieces in prop::collection::vec(prop::sample::select(vec![
                "a", "é", "！", "\u{FFFE}", "\u{1}", "\u{b}", "\r", "\n", "\t", " ", "\u{A0}", "&", ";", "#", "x", "13", "&#13;", "&#10;", "&#xa;",
                "&amp;", "&lt;", "&foo;", "&#0;", "&#65;", "&#xFFFF;", "&#32;", "\u{1F600}",
            ]), 0..12)
        ) {
            let raw = pieces.concat();
            prop_assert_eq!(read(&raw), oracle(&raw));
        }

        #[test]
        fn a_text_in_pieces_says_what_it_says_as_a_whole(a in "[a\r\n ]{0,4}", b in "[a\r\n ]{0,4}") {
            let mut gathered = Gathered::default();
            let mut mended = Mended::default();
            gathered.push(&a, &mut mended);
            gathered.push_verbatim(&b, &mut mended);
            prop_assert_eq!(gathered.finish().unwrap_or_default(), said(&format!("{a}{b}")));
        }
    }
}
