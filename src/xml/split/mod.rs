//! Cuts a decompressed dump into records without parsing them.
//!
//! A record is a root-level element with the kind's name. It ends with its end tag (elements of the same name within it counted, comments and
//! CDATA sections passed over) or, cut short, where a line begins with a record's start tag or the root's end tag: the dumps begin every record
//! on a line of its own, so that a damaged one costs itself only. Such a line counts even within a comment.
//!
//! What comes out does not depend on how the file was cut into chunks. Records within one chunk are slices of it; only those that straddle
//! chunks are copied. Whether a record is UTF-8 and well-formed is not looked at here.

mod id;
mod patterns;
mod scan;
#[cfg(test)]
mod tests;

pub use id::key as record_key;

use bytes::Bytes;
use memchr::{memchr, memmem};
use patterns::{Match, Patterns, is_space, tag_end};
use scan::{Found, Past, Scan, past_section};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::model::{Key, Kind};

/// One root-level element, or a stretch of something else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Whose it is; also of a rejected record, where its id can be read.
    pub key: Option<Key>,
    /// Offset of its first byte in the decompressed file.
    pub position: u64,
    /// xxh3-64 of `raw`.
    pub hash: u64,
    /// Its bytes as read.
    pub raw: Bytes,
    /// Why it is rejected, in words.
    pub defect: Option<String>,
}

/// How a file ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// Records that were given out, rejected ones included.
    pub records: u64,
    /// `None` when the root element was closed properly; else why the file is not whole.
    pub defect: Option<String>,
    /// It is a part of a kind only: what it lacks is not gone.
    pub partial: bool,
}

/// A longer record is rejected. The largest real one, label 212, has 7 MB; beyond this it is more likely that an end tag is missing on a file
/// without line feeds, and the record would be gathered until memory ends.
const LONGEST_RECORD: usize = 64 << 20;

/// Of a record that is too long this much is kept, to be looked at by a person.
const KEPT_OF_TOO_LONG: usize = 64 << 10;

/// Longer than any tag that begins or ends a record at a line's start: what is looked at again after a record that is too long.
const OVERLAP: usize = 64;

/// What stands before the root or behind it ends within so many bytes, or the file is no dump: it is not gathered until memory ends.
const LONGEST_ASIDE: usize = 1 << 20;

/// A straddling record is copied in pieces of at least this much, so that little of what follows it is copied in vain.
const PIECE: usize = 4 << 10;

enum State {
    Prolog,
    Between,
    Record(Scan),
    /// Searched up to the first offset; within a section there, up to the second.
    Garbage(usize, usize),
    /// After a record that is too long.
    Skip,
    After,
    /// Nothing more is read.
    Dead,
}

enum Step {
    /// Not decided by these bytes.
    More,
    /// So many bytes are done with.
    Pass(usize),
    /// A record of the first length; so many bytes are done with.
    Emit(usize, usize, Option<String>),
}

/// Cuts one file into records.
pub struct Splitter {
    kind: Kind,
    patterns: Patterns,
    state: State,
    /// Bytes that were read and not done with; they begin at `position`.
    pending: Vec<u8>,
    position: u64,
    records: u64,
    defect: Option<String>,
    longest: usize,
    kept: usize,
}

impl Splitter {
    /// Begins a file that should hold records of this kind.
    pub fn new(kind: Kind) -> Self {
        Self::with_limits(kind, LONGEST_RECORD, KEPT_OF_TOO_LONG)
    }

    fn with_limits(kind: Kind, longest: usize, kept: usize) -> Self {
        Splitter {
            kind,
            patterns: Patterns::new(kind),
            state: State::Prolog,
            pending: Vec::new(),
            position: 0,
            records: 0,
            defect: None,
            longest,
            kept,
        }
    }

    /// Takes the file's next bytes; adds the records that they complete.
    pub fn feed(&mut self, chunk: Bytes, out: &mut Vec<Record>) {
        let mut at = 0;
        while at < chunk.len() {
            if self.pending.is_empty() {
                match self.step(&chunk[at..], false) {
                    Step::More => {
                        self.pending.extend_from_slice(&chunk[at..]);
                        return;
                    }
                    Step::Pass(done) => {
                        self.position += done as u64;
                        at += done;
                    }
                    Step::Emit(length, done, defect) => {
                        self.emit(chunk.slice(at..at + length), defect, out);
                        self.position += done as u64;
                        at += done;
                    }
                }
                continue;
            }
            let piece = (chunk.len() - at).min(self.pending.len().max(PIECE));
            self.pending.extend_from_slice(&chunk[at..at + piece]);
            at += piece;
            self.drain(false, out);
            // What is left lies in this chunk: go on there, without copies.
            if self.pending.len() <= piece {
                at -= self.pending.len();
                self.pending.clear();
                if self.pending.capacity() > 1 << 20 {
                    self.pending = Vec::new();
                }
            }
        }
    }

    /// Ends the file; `truncated` is what the decompressor had to say, where it could not read to the end.
    pub fn finish(mut self, truncated: Option<String>, out: &mut Vec<Record>) -> Ending {
        self.drain(true, out);
        let rest = Bytes::from(std::mem::take(&mut self.pending));
        let plural = self.kind.plural();
        let ends_early = |what: String| match &truncated {
            Some(error) => format!("{what}: {error}"),
            None => what,
        };
        let defect = match self.state {
            State::Prolog if self.position == 0 && rest.is_empty() => Some(ends_early(format!("the file is empty, without <{plural}>"))),
            State::Prolog => Some(ends_early(format!("the file ends before <{plural}>"))),
            State::Between | State::Skip | State::Record(_) | State::Garbage(..) => {
                if !rest.is_empty() && !matches!(self.state, State::Skip) {
                    let what = if matches!(self.state, State::Record(_)) { "the record" } else { "something that is not a record" };
                    self.emit(rest, Some(format!("truncated: the file ends inside {what}")), out);
                }
                Some(ends_early(format!("the file ends before </{plural}>")))
            }
            State::After if !rest.is_empty() => Some(ends_early(format!("the file ends inside a comment after </{plural}>"))),
            State::After => truncated.map(|error| format!("the file cannot be read to its end: {error}")),
            State::Dead => self.defect,
        };
        Ending { records: self.records, defect, partial: false }
    }

    /// Does what can be done with the pending bytes.
    fn drain(&mut self, last: bool, out: &mut Vec<Record>) {
        let pending = std::mem::take(&mut self.pending);
        let mut at = 0;
        while at < pending.len() {
            let done = match self.step(&pending[at..], last) {
                Step::More => break,
                Step::Pass(done) => done,
                Step::Emit(length, done, defect) => {
                    self.emit(Bytes::copy_from_slice(&pending[at..at + length]), defect, out);
                    done
                }
            };
            self.position += done as u64;
            at += done;
        }
        self.pending = pending;
        self.pending.drain(..at);
    }

    fn emit(&mut self, raw: Bytes, defect: Option<String>, out: &mut Vec<Record>) {
        let (key, defect) = match id::key(self.kind, &raw) {
            // Garbage begins with no start tag, so nothing in it is its id.
            _ if self.patterns.record_start(&raw, 0, true) == Match::No => (None, defect),
            Ok(key) => (Some(key), defect),
            Err(why) => (None, Some(defect.unwrap_or(why))),
        };
        self.records += 1;
        out.push(Record { key, position: self.position, hash: xxh3_64(&raw), raw, defect });
    }

    /// Looks at `bytes`, which are not empty and begin where the last step left off; `last`: no more will come.
    fn step(&mut self, bytes: &[u8], last: bool) -> Step {
        match self.state {
            State::Prolog | State::After => self.aside(bytes, last),
            State::Between => self.between(bytes, last),
            State::Record(_) | State::Garbage(..) => self.stretch(bytes, last),
            State::Skip => self.skip(bytes, last),
            State::Dead => Step::Pass(bytes.len()),
        }
    }

    fn die(&mut self, defect: String) -> Step {
        self.defect = Some(defect);
        self.state = State::Dead;
        Step::Pass(0)
    }

    /// What stands before the root or behind it.
    fn aside(&mut self, bytes: &[u8], last: bool) -> Step {
        let view = &bytes[..bytes.len().min(LONGEST_ASIDE)];
        let step = if matches!(self.state, State::Prolog) { self.prolog(view, last) } else { self.after(view, last) };
        match step {
            Step::More if view.len() == LONGEST_ASIDE => {
                self.die(format!("\"{}\" at byte {} does not end within {LONGEST_ASIDE} bytes", shown(view), self.position))
            }
            step => step,
        }
    }

    /// White space, comments and processing instructions.
    fn pass_over(&self, bytes: &[u8], last: bool) -> Option<Step> {
        let spaces = bytes.iter().position(|&byte| !is_space(byte)).unwrap_or(bytes.len());
        if spaces > 0 {
            return Some(Step::Pass(spaces));
        }
        match patterns::section(bytes, 0, true, last) {
            patterns::Section::Ends(_, b"]]>") | patterns::Section::None => None,
            patterns::Section::Ends(from, ending) => Some(match memmem::find(&bytes[from..], ending) {
                Some(end) => Step::Pass(from + end + ending.len()),
                None => Step::More,
            }),
            patterns::Section::More => Some(Step::More),
        }
    }

    fn prolog(&mut self, bytes: &[u8], last: bool) -> Step {
        const BOM: &[u8] = b"\xEF\xBB\xBF";
        if self.position == 0 && bytes.starts_with(BOM) {
            return Step::Pass(BOM.len());
        }
        if self.position == 0 && !last && BOM.starts_with(bytes) {
            return Step::More;
        }
        if let Some(step) = self.pass_over(bytes, last) {
            return step;
        }
        if bytes.starts_with(b"<!") {
            return patterns::declaration_end(bytes).map_or(Step::More, Step::Pass);
        }
        let plural = self.kind.plural();
        if bytes[0] != b'<' {
            // As many bytes as will be shown, however the file is cut.
            if bytes.len() < SHOWN && !last {
                return Step::More;
            }
            return self.die(format!("the file begins with \"{}\", not with <{plural}>", shown(bytes)));
        }
        let named = &bytes[..bytes.len().min(LONGEST_NAME)];
        let Some(end) = named.iter().position(|&byte| is_space(byte) || matches!(byte, b'>' | b'/')) else {
            if named.len() < LONGEST_NAME {
                return Step::More;
            }
            return self.die(format!("the file begins with \"{}\", not with <{plural}>", shown(bytes)));
        };
        let root = &bytes[1..end];
        if root.eq_ignore_ascii_case(b"html") {
            return self.die(format!("the file is a web page, not a dump of {plural}: fetch it again"));
        }
        if root != plural.as_bytes() {
            return self.die(format!("the file holds <{}>, not <{plural}>: it is another kind's or no dump", shown(root)));
        }
        match tag_end(bytes, end) {
            Some((end, alone)) => {
                self.state = if alone { State::After } else { State::Between };
                Step::Pass(end)
            }
            None => Step::More,
        }
    }

    fn between(&mut self, bytes: &[u8], last: bool) -> Step {
        let spaces = bytes.iter().position(|&byte| !is_space(byte)).unwrap_or(bytes.len());
        if spaces > 0 {
            return Step::Pass(spaces);
        }
        let start = self.patterns.record_start(bytes, 0, last);
        if let Match::Yes(_) = start {
            self.state = State::Record(Scan::default());
            return Step::Pass(0);
        }
        let end = self.patterns.root_end(bytes, 0, last);
        if let Match::Yes(end) = end {
            self.state = State::After;
            return Step::Pass(end);
        }
        if start == Match::More || end == Match::More {
            return Step::More;
        }
        self.state = State::Garbage(0, 0);
        Step::Pass(0)
    }

    /// A record or what stands in its place.
    fn stretch(&mut self, bytes: &[u8], last: bool) -> Step {
        let (view, too_long) = if bytes.len() > self.longest { (&bytes[..self.longest], true) } else { (bytes, false) };
        let plural = self.kind.plural();
        let found = match &mut self.state {
            State::Record(scan) => scan.find(&self.patterns, view, last || too_long),
            State::Garbage(at, searched) => match garbage(&self.patterns, view, at, searched, last || too_long) {
                // A comment alone is none.
                Found::End(length) => {
                    self.state = State::Between;
                    return Step::Pass(length);
                }
                found => found,
            },
            _ => Found::More,
        };
        let is_record = matches!(self.state, State::Record(_));
        match found {
            Found::End(length) => {
                self.state = State::Between;
                Step::Emit(length, length, None)
            }
            Found::Cut(next, before_record) => {
                self.state = State::Between;
                // The line feed before the tag that ended it is not part of it.
                let length = next - bytes[..next].iter().rev().take_while(|byte| is_space(**byte)).count();
                let defect = match (is_record, before_record) {
                    (true, true) => "cut short: the next record begins before its end tag".to_owned(),
                    (true, false) => format!("cut short: </{plural}> comes before its end tag"),
                    (false, _) => format!("not a <{}>: it begins with \"{}\"", self.kind, shown(&bytes[..length])),
                };
                Step::Emit(length, next, Some(defect))
            }
            Found::More if too_long => {
                self.state = State::Skip;
                let defect = format!("longer than {} bytes: only its beginning was kept", self.longest);
                Step::Emit(self.kept.min(self.longest), self.longest - OVERLAP.min(self.longest - 1), Some(defect))
            }
            Found::More => Step::More,
        }
    }

    fn skip(&mut self, bytes: &[u8], last: bool) -> Step {
        match self.patterns.boundary(bytes, 0, bytes.len(), last) {
            Ok((tag, _)) => {
                self.state = State::Between;
                Step::Pass(tag)
            }
            Err(Some(0)) => Step::More,
            Err(Some(line_feed)) => Step::Pass(line_feed),
            Err(None) => Step::Pass(bytes.len()),
        }
    }

    fn after(&mut self, bytes: &[u8], last: bool) -> Step {
        match self.pass_over(bytes, last) {
            Some(step) => step,
            None if bytes.len() < SHOWN && !last => Step::More,
            None => {
                let plural = self.kind.plural();
                self.die(format!("\"{}\" follows </{plural}> at byte {}", shown(bytes), self.position))
            }
        }
    }
}

/// The end of a stretch between records, in which `at` and `searched` say how far it was looked at. Comments and processing instructions by
/// themselves are no garbage: `End` is theirs.
fn garbage(patterns: &Patterns, bytes: &[u8], at: &mut usize, searched: &mut usize, last: bool) -> Found {
    while let Some(found) = memchr(b'<', &bytes[*at..]) {
        *at += found;
        match past_section(patterns, bytes, *at, true, searched, last) {
            Past::Section(end) => {
                if *at == 0 && !bytes.starts_with(b"<![") {
                    return Found::End(end);
                }
                *at = end;
                *searched = 0;
                continue;
            }
            Past::Boundary(tag, is_record) => return Found::Cut(tag, is_record),
            Past::More => return Found::More,
            Past::None => {}
        }
        match (patterns.record_start(bytes, *at, last), patterns.root_end(bytes, *at, last)) {
            (Match::Yes(_), _) => return Found::Cut(*at, true),
            (_, Match::Yes(_)) => return Found::Cut(*at, false),
            (Match::More, _) | (_, Match::More) => return Found::More,
            _ => *at += 1,
        }
    }
    *at = bytes.len();
    Found::More
}

/// The root's name is looked for in so many bytes.
const LONGEST_NAME: usize = 256;

/// So much of what is wrong is shown.
const SHOWN: usize = 40;

/// The beginning of some bytes, for a person.
fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]).escape_debug().to_string()
}
