//! Finds where one record ends.
//!
//! The common record costs three searches: for its end tag, and before that for another start tag of its name and for a comment or CDATA
//! section. Whatever these find is looked at in order. The place reached is kept, so that a record that comes in many chunks is gone through
//! once.

use memchr::memmem::{self, Finder};

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
    /// No end tag begins between `at` and here.
    no_close_before: usize,
    /// Within a section that begins at `at`: neither its end nor a boundary lies before this.
    section_searched: usize,
}

/// The next find of a searcher, kept until it is passed.
#[derive(Default)]
struct Next {
    searched: usize,
    found: Option<usize>,
}

impl Next {
    #[inline]
    fn find(&mut self, finder: &Finder<'_>, bytes: &[u8], at: usize, to: usize) -> Option<usize> {
        if self.found.is_none_or(|found| found < at) {
            let from = at.max(self.searched);
            self.found = if from < to { finder.find(&bytes[from..to]).map(|found| from + found) } else { None };
            self.searched = self.found.unwrap_or(to.max(from));
        }
        self.found.filter(|&found| found < to)
    }
}

impl Scan {
    /// Looks on in `bytes`, which begin with the record's start tag; `last`: no more will come.
    pub fn find(&mut self, patterns: &Patterns, bytes: &[u8], last: bool) -> Found {
        if self.depth == 0 {
            match self.open(patterns, bytes, 0, last) {
                Ok(()) if self.depth == 0 => return Found::End(self.at),
                Ok(()) => {}
                Err(found) => return found,
            }
        }
        let (mut opens, mut bangs, mut closes) = (Next::default(), Next::default(), Next::default());
        closes.searched = self.no_close_before;
        loop {
            let close = closes.find(&patterns.close, bytes, self.at, bytes.len());
            if close.is_none() {
                self.no_close_before = bytes.len().saturating_sub(patterns.close.needle().len() - 1).max(self.at);
                if !last {
                    return Found::More;
                }
            }
            let before = close.unwrap_or(bytes.len());
            let open = opens.find(&patterns.open, bytes, self.at, before);
            if let Some(bang) = bangs.find(&patterns.bang, bytes, self.at, open.unwrap_or(before)) {
                self.at = bang;
                match self.section(patterns, bytes, last) {
                    Ok(()) => {}
                    Err(found) => return found,
                }
            } else if let Some(open) = open {
                match (at_line_start(bytes, open), patterns.line_start(bytes, open, last), patterns.record_start(bytes, open, last)) {
                    (true, Match::Yes(_), _) => return Found::Cut(open, true),
                    (true, Match::More, _) | (_, _, Match::More) => return Found::More,
                    (_, _, Match::Yes(_)) => match self.open(patterns, bytes, open, last) {
                        Ok(()) => {}
                        Err(found) => return found,
                    },
                    _ => self.at = open + 1,
                }
            } else if let Some(close) = close {
                match (patterns.record_end(bytes, close, last), patterns.root_end(bytes, close, last)) {
                    (Match::Yes(end), _) => {
                        self.at = end;
                        self.depth -= 1;
                        if self.depth == 0 {
                            return Found::End(end);
                        }
                    }
                    (_, Match::Yes(_)) if at_line_start(bytes, close) => return Found::Cut(close, false),
                    (Match::More, _) | (_, Match::More) => return Found::More,
                    _ => self.at = close + 1,
                }
            } else {
                return Found::More;
            }
        }
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
