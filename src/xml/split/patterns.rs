//! What the splitter looks for, each told apart from its look-alikes: `<artist>` from `<artists>`, a record's end from the root's.

use memchr::memmem::{Finder, find};
use memchr::{memchr, memchr3};

use crate::model::Kind;

/// Whether something stands at a place, as far as the bytes at hand tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// It does, and ends before this offset.
    Yes(usize),
    /// It does not.
    No,
    /// It may; more bytes will tell.
    More,
}

/// A tag longer than this is none: its quotes do not match, and the text after it would be swallowed. Real ones stay under 1 KiB.
const LONGEST_TAG: usize = 64 << 10;

/// The patterns of one kind.
pub struct Patterns {
    kind: Kind,
    /// `release`: the byte pair that is looked for is rarer than any with `<` in it.
    pub name: Finder<'static>,
    /// `<!`: a comment or CDATA section.
    pub bang: Finder<'static>,
    open: Vec<u8>,
    close: Vec<u8>,
    root_close: Vec<u8>,
}

impl Patterns {
    pub fn new(kind: Kind) -> Self {
        Patterns {
            kind,
            name: Finder::new(kind.name()).into_owned(),
            open: format!("<{}", kind.name()).into_bytes(),
            close: format!("</{}", kind.name()).into_bytes(),
            bang: Finder::new("<!").into_owned(),
            root_close: format!("</{}", kind.plural()).into_bytes(),
        }
    }

    /// Length of `<release`: where its attributes begin.
    pub fn open_length(&self) -> usize {
        self.open.len()
    }

    /// A record's start tag, up to its name's end.
    pub fn record_start(&self, bytes: &[u8], at: usize, last: bool) -> Match {
        literal(bytes, at, &self.open, last, |next| matches!(next, b'>' | b'/' | b' ' | b'\t' | b'\r' | b'\n'))
    }

    /// A record's end tag.
    pub fn record_end(&self, bytes: &[u8], at: usize, last: bool) -> Match {
        end_tag(bytes, at, &self.close, last)
    }

    /// The root's end tag.
    pub fn root_end(&self, bytes: &[u8], at: usize, last: bool) -> Match {
        end_tag(bytes, at, &self.root_close, last)
    }

    /// A start tag that begins a record whatever came before, provided that it begins a line. Nested labels carry an id or are `<label/>`.
    pub fn line_start(&self, bytes: &[u8], at: usize, last: bool) -> Match {
        let next = if matches!(self.kind, Kind::Artist | Kind::Label) { b'>' } else { b' ' };
        literal(bytes, at, &self.open, last, |byte| byte == next)
    }

    /// The first line in `bytes[from..to]` that begins with a record's start tag or the root's end tag: `Ok` where its tag begins, and whether
    /// it is a record's; `Err(None)` when there is none, `Err` with the offset of a line feed when more bytes will tell.
    pub fn boundary(&self, bytes: &[u8], from: usize, to: usize, last: bool) -> Result<(usize, bool), Option<usize>> {
        let mut at = from;
        while let Some(found) = memchr(b'\n', &bytes[at..to]) {
            let tag = at + found + 1;
            match bytes.get(tag) {
                Some(b'<') => match (self.line_start(bytes, tag, last), self.root_end(bytes, tag, last)) {
                    (Match::Yes(_), _) => return Ok((tag, true)),
                    (_, Match::Yes(_)) => return Ok((tag, false)),
                    (Match::More, _) | (_, Match::More) => return Err(Some(tag - 1)),
                    _ => {}
                },
                None if !last => return Err(Some(tag - 1)),
                _ => {}
            }
            at = tag;
        }
        Err(None)
    }
}

fn literal(bytes: &[u8], at: usize, needle: &[u8], last: bool, next: impl Fn(u8) -> bool) -> Match {
    let here = &bytes[at..];
    if here.len() > needle.len() {
        return if here.starts_with(needle) && next(here[needle.len()]) { Match::Yes(at + needle.len()) } else { Match::No };
    }
    if !last && needle.starts_with(here) { Match::More } else { Match::No }
}

fn end_tag(bytes: &[u8], at: usize, needle: &[u8], last: bool) -> Match {
    let here = &bytes[at..];
    if here.len() < needle.len() {
        return if !last && needle.starts_with(here) { Match::More } else { Match::No };
    }
    if !here.starts_with(needle) {
        return Match::No;
    }
    match here[needle.len()..].iter().position(|byte| !is_space(*byte)) {
        Some(spaces) if here[needle.len() + spaces] == b'>' => Match::Yes(at + needle.len() + spaces + 1),
        None if !last => Match::More,
        _ => Match::No,
    }
}

/// White space as XML has it.
pub fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Where a tag ends whose name ended at `at`, and whether it is an element of its own (`/>`). A tag that goes on for too long is taken to end
/// where its name does.
pub fn tag_end(bytes: &[u8], at: usize) -> Option<(usize, bool)> {
    let to = bytes.len().min(at + LONGEST_TAG);
    let mut from = at;
    while let Some(found) = memchr3(b'>', b'"', b'\'', &bytes[from..to]) {
        let place = from + found;
        match bytes[place] {
            b'>' => return Some((place + 1, place > at && bytes[place - 1] == b'/')),
            quote => match memchr(quote, &bytes[place + 1..to]) {
                Some(length) => from = place + length + 2,
                None => break,
            },
        }
    }
    (to == at + LONGEST_TAG).then_some((at, false))
}

/// What ends a comment, CDATA section or (where `instructions` count) processing instruction that begins at `at`.
pub enum Section {
    /// Its content begins here and ends with this.
    Ends(usize, &'static [u8]),
    /// None begins here.
    None,
    /// More bytes will tell.
    More,
}

/// The section that begins at `at`.
pub fn section(bytes: &[u8], at: usize, instructions: bool, last: bool) -> Section {
    let here = &bytes[at..];
    let kinds: [(&[u8], &'static [u8]); 3] = [(b"<!--", b"-->"), (b"<![CDATA[", b"]]>"), (b"<?", b"?>")];
    for (begin, end) in &kinds[..if instructions { 3 } else { 2 }] {
        if here.starts_with(begin) {
            return Section::Ends(at + begin.len(), end);
        }
        if !last && begin.starts_with(here) {
            return Section::More;
        }
    }
    Section::None
}

/// Where the declaration that `bytes` begin with ends: of a document type, behind all that it declares. None of that is taken up, so no entity
/// is ever expanded.
pub fn declaration_end(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut declares) = (2, false);
    loop {
        let here = bytes.get(at..)?;
        at += match *here.first()? {
            b'>' if !declares => return Some(at + 1),
            quote @ (b'"' | b'\'') => 1 + memchr(quote, &here[1..])? + 1,
            b'<' if declares => match section(here, 0, true, false) {
                Section::Ends(content, ending) => content + find(&here[content..], ending)? + ending.len(),
                Section::None => 1,
                Section::More => return None,
            },
            byte => {
                declares = (declares || byte == b'[') && byte != b']';
                1
            }
        };
    }
}
