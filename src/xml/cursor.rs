//! Pulls a record apart: what the readers of the four kinds are written in.
//!
//! quick-xml finds the tags; texts are taken from the record between them as they stand, so that a text with references is read in one go.
//! Nothing is lost: what a reader does not ask for goes to `unmapped`.

use std::borrow::Cow;

use memchr::memchr;
use quick_xml::Reader;
use quick_xml::events::{BytesEnd, Event};

use super::text::{Gathered, Mended, text};
use crate::model::document::{Absent, Generic, Sorted, Text, Unmapped};

/// Why a record is malformed, in words.
pub type Malformed = String;

/// Elements may nest this deep. Real ones need 7; beyond it the recursion here, and that of whoever reads the JSON, would not be bounded
/// (serde_json reads 128 levels, two for each of these).
const DEEPEST: usize = 48;

/// A start tag.
#[derive(Clone, Copy, Debug)]
pub struct Tag<'a> {
    /// The element's name.
    pub name: &'a str,
    attributes: &'a str,
    at: usize,
    empty: bool,
}

/// Reads one record from its first byte to its last.
pub struct Cursor<'a> {
    source: &'a str,
    reader: Reader<&'a [u8]>,
    path: Vec<&'a str>,
    seen: Vec<&'a str>,
    /// What the readers did not ask for.
    pub unmapped: Unmapped<'a>,
    /// The paths of that, one for each occurrence; also of what was empty.
    pub drift: Vec<String>,
    /// What was mended in texts.
    pub mended: Mended,
}

impl<'a> Cursor<'a> {
    /// Begins to read a record.
    pub fn new(source: &'a str) -> Self {
        let mut reader = Reader::from_str(source);
        // References are not resolved by the reader, so it need not mind what an ampersand begins.
        reader.config_mut().allow_dangling_amp = true;
        Cursor {
            source,
            reader,
            path: Vec::with_capacity(8),
            seen: Vec::new(),
            unmapped: Unmapped::default(),
            drift: Vec::new(),
            mended: Mended::default(),
        }
    }

    /// The record's start tag, which must have this name.
    pub fn root(&mut self, name: &str) -> Result<Tag<'a>, Malformed> {
        let at = self.position();
        let found = match self.event()? {
            Event::Start(_) => self.tag(at, false),
            Event::Empty(_) => self.tag(at, true),
            _ => return Err(format!("it does not begin with <{name}>")),
        };
        if found.name == name { Ok(found) } else { Err(format!("it does not begin with <{name}>, but with <{}>", found.name)) }
    }

    /// Makes sure that nothing but white space and comments follows the record.
    pub fn finish(&mut self) -> Result<(), Malformed> {
        loop {
            let at = self.position();
            match self.event()? {
                Event::Eof => return Ok(()),
                Event::Comment(_) | Event::PI(_) => {}
                Event::Text(blank) if blank.trim_ascii().is_empty() => {}
                _ => return Err(format!("something follows its end tag at byte {at}")),
            }
        }
    }

    #[inline]
    fn position(&self) -> usize {
        self.reader.buffer_position() as usize
    }

    #[inline]
    fn event(&mut self) -> Result<Event<'a>, Malformed> {
        self.reader.read_event().map_err(|error| format!("malformed XML at byte {}: {error}", self.reader.error_position()))
    }

    /// The tag that was just read and began at `at`.
    #[inline]
    fn tag(&self, at: usize, empty: bool) -> Tag<'a> {
        let inside = &self.source[at + 1..self.position() - 1 - usize::from(empty)];
        let end = inside.bytes().position(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).unwrap_or(inside.len());
        Tag { name: &inside[..end], attributes: &inside[end..], at, empty }
    }

    fn cut_short(&self, tag: &Tag<'a>) -> Malformed {
        format!("it ends inside <{}>, which begins at byte {}", tag.name, tag.at)
    }

    fn enter(&mut self, tag: &Tag<'a>) -> Result<(), Malformed> {
        if self.path.len() == DEEPEST {
            return Err(format!("elements nest more than {DEEPEST} deep at byte {}", tag.at));
        }
        self.path.push(tag.name);
        Ok(())
    }

    /// Walks over an element's children. Text between them is stray.
    pub fn children(
        &mut self,
        parent: &Tag<'a>,
        mut each: impl FnMut(&mut Self, Tag<'a>) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        if parent.empty {
            return Ok(());
        }
        self.enter(parent)?;
        let mut stray: Option<Gathered> = None;
        loop {
            let at = self.position();
            match self.event()? {
                Event::Start(_) => each(self, self.tag(at, false))?,
                Event::Empty(_) => each(self, self.tag(at, true))?,
                Event::End(_) => break,
                Event::Text(blank) if blank.trim_ascii().is_empty() && stray.is_none() => {}
                Event::Text(_) | Event::GeneralRef(_) => {
                    stray.get_or_insert_default().push(&self.source[at..self.position()], &mut self.mended)
                }
                Event::CData(data) => stray.get_or_insert_default().push_verbatim(&data, &mut self.mended),
                Event::Comment(_) | Event::PI(_) => {}
                Event::Decl(_) | Event::DocType(_) => return Err(format!("a declaration inside <{}> at byte {at}", parent.name)),
                Event::Eof => return Err(self.cut_short(parent)),
            }
        }
        if let Some(text) = stray.and_then(Gathered::finish) {
            self.keep("#text", Generic::Text(Cow::Owned(text)));
        }
        self.path.pop();
        Ok(())
    }

    /// The text of an element that is to hold nothing else.
    #[inline]
    pub fn text(&mut self, tag: &Tag<'a>) -> Result<Option<Text<'a>>, Malformed> {
        if !tag.attributes.is_empty() {
            self.attributes(tag, &mut [])?;
        }
        self.content(tag)
    }

    /// The text of an element whose attributes were seen to.
    pub fn content(&mut self, tag: &Tag<'a>) -> Result<Option<Text<'a>>, Malformed> {
        if tag.empty {
            return Ok(None);
        }
        let start = self.position();
        loop {
            let at = self.position();
            match self.event()? {
                Event::Text(_) | Event::GeneralRef(_) => {}
                Event::End(_) => return Ok(text(&self.source[start..at], &mut self.mended)),
                event => return self.mixed(tag, start, at, event),
            }
        }
    }

    /// Goes on with [`Cursor::content`] where `event` shows that there is more than text.
    #[cold]
    fn mixed(&mut self, tag: &Tag<'a>, start: usize, at: usize, event: Event<'a>) -> Result<Option<Text<'a>>, Malformed> {
        self.enter(tag)?;
        let mut gathered = Gathered::default();
        gathered.push(&self.source[start..at], &mut self.mended);
        let (mut at, mut event) = (at, event);
        loop {
            match event {
                Event::Start(_) => self.unknown(&self.tag(at, false))?,
                Event::Empty(_) => self.unknown(&self.tag(at, true))?,
                Event::End(_) => break,
                Event::Text(_) | Event::GeneralRef(_) => gathered.push(&self.source[at..self.position()], &mut self.mended),
                Event::CData(data) => gathered.push_verbatim(&data, &mut self.mended),
                Event::Comment(_) | Event::PI(_) => {}
                Event::Decl(_) | Event::DocType(_) => return Err(format!("a declaration inside <{}> at byte {at}", tag.name)),
                Event::Eof => return Err(self.cut_short(tag)),
            }
            at = self.position();
            event = self.event()?;
        }
        self.path.pop();
        Ok(gathered.finish().map(Cow::Owned))
    }

    /// Puts each attribute in the place that stands beside its name.
    pub fn attributes(&mut self, tag: &Tag<'a>, places: &mut [(&str, &mut Option<Text<'a>>)]) -> Result<(), Malformed> {
        self.each_attribute(tag, |cursor, name, value| {
            for (wanted, place) in places.iter_mut() {
                if *wanted == name {
                    **place = value;
                    return;
                }
            }
            let path = cursor.path_of(format_args!("{}@{name}", tag.name));
            cursor.keep_at(path, value.map(Generic::Text));
        })
    }

    fn each_attribute(&mut self, tag: &Tag<'a>, mut each: impl FnMut(&mut Self, &'a str, Option<Text<'a>>)) -> Result<(), Malformed> {
        self.seen.clear();
        let mut rest = tag.attributes.trim_ascii_start();
        let wrong = || format!("malformed attributes of <{}> at byte {}", tag.name, tag.at);
        while !rest.is_empty() {
            let equals = memchr(b'=', rest.as_bytes()).ok_or_else(wrong)?;
            let name = rest[..equals].trim_ascii_end();
            let value = rest[equals + 1..].trim_ascii_start();
            let quote = value.bytes().next().filter(|quote| matches!(quote, b'"' | b'\'')).ok_or_else(wrong)?;
            let end = 1 + memchr(quote, &value.as_bytes()[1..]).ok_or_else(wrong)?;
            rest = &value[end + 1..];
            if !is_name(name) || !(rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n'])) {
                return Err(wrong());
            }
            if self.seen.contains(&name) {
                return Err(format!("<{}> at byte {} has the attribute {name} twice", tag.name, tag.at));
            }
            self.seen.push(name);
            let value = text(&value[1..end], &mut self.mended);
            each(self, name, value);
            rest = rest.trim_ascii_start();
        }
        Ok(())
    }

    /// Keeps an element that no reader knows.
    #[cold]
    pub fn unknown(&mut self, tag: &Tag<'a>) -> Result<(), Malformed> {
        let value = self.generic(tag)?;
        let path = self.path_of(format_args!("{}", tag.name));
        self.keep_at(path, value);
        Ok(())
    }

    fn generic(&mut self, tag: &Tag<'a>) -> Result<Option<Generic<'a>>, Malformed> {
        if !is_name(tag.name) {
            return Err(format!("malformed XML at byte {}: not a tag", tag.at));
        }
        let mut object = Sorted::default();
        self.each_attribute(tag, |_, name, value| {
            if let Some(value) = value {
                object.0.insert(Cow::Owned(format!("@{name}")), Generic::Text(value));
            }
        })?;
        let mut gathered = Gathered::default();
        self.enter(tag)?;
        loop {
            let at = self.position();
            let child = match if tag.empty { Event::End(BytesEnd::new("")) } else { self.event()? } {
                Event::Start(_) => self.tag(at, false),
                Event::Empty(_) => self.tag(at, true),
                Event::End(_) => break,
                Event::Text(_) | Event::GeneralRef(_) => {
                    gathered.push(&self.source[at..self.position()], &mut self.mended);
                    continue;
                }
                Event::CData(data) => {
                    gathered.push_verbatim(&data, &mut self.mended);
                    continue;
                }
                Event::Comment(_) | Event::PI(_) => continue,
                Event::Decl(_) | Event::DocType(_) => return Err(format!("a declaration inside <{}> at byte {at}", tag.name)),
                Event::Eof => return Err(self.cut_short(tag)),
            };
            if let Some(value) = self.generic(&child)?
                && let Generic::List(list) = object.0.entry(Cow::Borrowed(child.name)).or_insert_with(|| Generic::List(Vec::new()))
            {
                list.push(value);
            }
        }
        self.path.pop();
        let text = gathered.finish().map(|text| Generic::Text(Cow::Owned(text)));
        if object.absent() {
            return Ok(text);
        }
        if let Some(text) = text {
            object.0.insert(Cow::Borrowed("#text"), text);
        }
        Ok(Some(Generic::Object(object)))
    }

    /// Keeps a value that a reader read and has no field for; `what` is `name`, `name@attribute` or `#text`, beneath where the cursor is.
    pub fn keep(&mut self, what: &str, value: Generic<'a>) {
        let path = match what {
            "#text" => format!("{}#text", self.here()),
            what => self.path_of(format_args!("{what}")),
        };
        self.keep_at(path, Some(value));
    }

    fn here(&self) -> String {
        self.path.get(1..).unwrap_or_default().join("/")
    }

    fn path_of(&self, what: std::fmt::Arguments<'_>) -> String {
        match &self.path[..] {
            // The record's own attributes.
            [] => what.to_string().find('@').map_or_else(String::new, |at| what.to_string().split_off(at)),
            [_] => what.to_string(),
            _ => format!("{}/{what}", self.here()),
        }
    }

    fn keep_at(&mut self, path: String, value: Option<Generic<'a>>) {
        if let Some(value) = value {
            self.unmapped.0.entry(Cow::Owned(path.clone())).or_default().push(value);
        }
        self.drift.push(path);
    }
}

/// Whether it can be the name of an element or attribute. A broken tag would else go for one with an odd name.
fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':' | b'-' | b'.') || byte >= 0x80;
    name.bytes().all(fits) && !name.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '-' | '.')) && !name.is_empty()
}
