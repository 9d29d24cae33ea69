//! Finds where one record ends.
//!
//! The common record costs two searches: for the kind's name, which begins its end tag and any other tag of that name, and for a comment or CDATA
//! section before it. Whatever these find is looked at in order. The place reached is kept, so that a record that comes in many chunks is gone
//! through once.

use std::convert::Infallible;

use memchr::memmem;

use super::patterns::{Match, Patterns, Section, section, tag_end};

/// How a record ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Whole, before this offset.
    End(usize),
    /// Cut short by a line, whose tag begins at this offset: the next record's start tag if true, else the root's end tag.
    Cut(usize, bool),
    /// Not within these bytes.
    More,
}

/// The state of the search within one record. Offsets are from the record's first byte.
#[derive(Default)]
pub struct Scan {
    /// Up to here everything is understood.
    at: usize,
    /// Elements of the record's own name that are open.
    depth: usize,
    /// No tag of the record's name begins between `at` and here.
    no_tag_before: usize,
    /// Within a section that begins at `at`: neither its end nor a boundary lies before this.
    section_searched: usize,
}

/// A tag of the record's name, perhaps of a longer one.
#[derive(Clone, Copy)]
enum Tag {
    Open(usize),
    Close(usize),
}

impl Scan {
    /// Looks on in `bytes`, which begin with the record's start tag; `last`: no more will come.
    pub fn find(&mut self, patterns: &Patterns, bytes: &[u8], last: bool) -> Found {
        let Err(found) = self.go_on(patterns, bytes, last);
        found
    }

    /// Only leaves with what it found.
    fn go_on(&mut self, patterns: &Patterns, bytes: &[u8], last: bool) -> Result<Infallible, Found> {
        if self.depth == 0 {
            self.open(patterns, bytes, 0, last)?;
            if self.depth == 0 {
                return Err(Found::End(self.at));
            }
        }
        let mut no_bang_before = 0;
        loop {
            let tag = self.next_tag(patterns, bytes);
            if tag.is_none() && !last {
                return Err(Found::More);
            }
            let to = match tag {
                Some(Tag::Open(tag) | Tag::Close(tag)) => tag,
                None => bytes.len(),
            };
            let from = self.at.max(no_bang_before);
            if let Some(bang) = bytes.get(from..to).and_then(|between| patterns.bang.find(between)) {
                self.at = from + bang;
                self.section(patterns, bytes, last)?;
                continue;
            }
            no_bang_before = to;
            match tag {
                Some(Tag::Open(open)) => {
                    let line = if at_line_start(bytes, open) { patterns.line_start(bytes, open, last) } else { Match::No };
                    match (line, patterns.record_start(bytes, open, last)) {
                        (Match::Yes(_), _) => return Err(Found::Cut(open, true)),
                        (Match::More, _) | (_, Match::More) => return Err(Found::More),
                        (_, Match::Yes(_)) => self.open(patterns, bytes, open, last)?,
                        _ => self.at = open + 1,
                    }
                }
                Some(Tag::Close(close)) => match (patterns.record_end(bytes, close, last), patterns.root_end(bytes, close, last)) {
                    (Match::Yes(end), _) => {
                        self.at = end;
                        self.depth -= 1;
                        if self.depth == 0 {
                            return Err(Found::End(end));
                        }
                    }
                    (_, Match::Yes(_)) if at_line_start(bytes, close) => return Err(Found::Cut(close, false)),
                    (Match::More, _) | (_, Match::More) => return Err(Found::More),
                    _ => self.at = close + 1,
                },
                None => return Err(Found::More),
            }
        }
    }

    fn next_tag(&mut self, patterns: &Patterns, bytes: &[u8]) -> Option<Tag> {
        let mut from = self.at.max(self.no_tag_before);
        while let Some(found) = bytes.get(from..).and_then(|rest| patterns.name.find(rest)) {
            let name = from + found;
            match &bytes[self.at..name] {
                [.., b'<', b'/'] => {
                    self.no_tag_before = name - 2;
                    return Some(Tag::Close(name - 2));
                }
                [.., b'<'] => {
                    self.no_tag_before = name - 1;
                    return Some(Tag::Open(name - 1));
                }
                _ => from = name + 1,
            }
        }
        self.no_tag_before = bytes.len().saturating_sub(patterns.name.needle().len() + 1).max(self.at);
        None
    }

    /// Goes past the start tag at `tag`.
    fn open(&mut self, patterns: &Patterns, bytes: &[u8], tag: usize, last: bool) -> Result<(), Found> {
        let name_end = tag + patterns.open_length();
        let end = tag_end(bytes, name_end);
        let to = end.map_or(bytes.len(), |(end, _)| end);
        // A tag that was cut can seem to go on to a quote in the next record.
        match patterns.boundary(bytes, tag, to, last) {
            Ok((boundary, is_record)) => return Err(Found::Cut(boundary, is_record)),
            Err(Some(_)) => return Err(Found::More),
            Err(None) => {}
        }
        let (end, alone) = end.ok_or(Found::More)?;
        self.at = end;
        self.depth += usize::from(!alone);
        Ok(())
    }

    /// Goes past the comment or CDATA section at `self.at`.
    fn section(&mut self, patterns: &Patterns, bytes: &[u8], last: bool) -> Result<(), Found> {
        match past_section(patterns, bytes, self.at, false, &mut self.section_searched, last) {
            Past::Section(end) => self.at = end,
            Past::Boundary(boundary, is_record) => return Err(Found::Cut(boundary, is_record)),
            Past::None => self.at += 1,
            Past::More => return Err(Found::More),
        }
        self.section_searched = 0;
        Ok(())
    }
}

/// What a comment, CDATA section or processing instruction comes to.
pub enum Past {
    /// It ends before this offset.
    Section(usize),
    /// A line within it begins with a record's start tag (true) or the root's end tag, which ends whatever was begun before.
    Boundary(usize, bool),
    /// There is none.
    None,
    /// More bytes will tell.
    More,
}

/// Looks for the end of the section that begins at `at`, from `searched` on, where earlier bytes were looked at before.
pub fn past_section(patterns: &Patterns, bytes: &[u8], at: usize, instructions: bool, searched: &mut usize, last: bool) -> Past {
    let (content, ending) = match section(bytes, at, instructions, last) {
        Section::Ends(content, ending) => (content, ending),
        Section::None => return Past::None,
        Section::More => return Past::More,
    };
    let from = content.max(*searched);
    let end = memmem::find(&bytes[from.min(bytes.len())..], ending).map(|found| from + found + ending.len());
    let boundary = patterns.boundary(bytes, from.min(bytes.len()), end.unwrap_or(bytes.len()), last);
    match (boundary, end) {
        (Ok((boundary, is_record)), _) => Past::Boundary(boundary, is_record),
        (Err(None), Some(end)) => Past::Section(end),
        (Err(undecided), _) => {
            *searched = undecided.unwrap_or(bytes.len()).min(bytes.len().saturating_sub(ending.len() - 1)).max(content);
            Past::More
        }
    }
}

fn at_line_start(bytes: &[u8], at: usize) -> bool {
    at > 0 && bytes[at - 1] == b'\n'
}
