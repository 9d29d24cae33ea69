//! Pulls a record apart: what the readers of the four kinds are written in.
//!
//! Texts are taken from between their tags as they stand, so that one with references is read in one go. Nothing is lost: what a reader does not
//! ask for goes to `unmapped`.

use std::borrow::Cow;

use memchr::memchr;

use super::text::{Gathered, Mended, text};
pub use super::token::Tag;
use super::token::{Token, Tokens};
use crate::model::document::{Absent, Generic, Sorted, Text, Unmapped};

/// Why a record is malformed, in words.
pub type Malformed = String;

/// Elements may nest this deep. Real ones need 7; beyond it the recursion here, and that of whoever reads the JSON, would not be bounded
/// (serde_json reads 128 levels, two for each of these).
const DEEPEST: usize = 48;

/// Reads one record from its first byte to its last.
pub struct Cursor<'a> {
    tokens: Tokens<'a>,
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
        Cursor {
            tokens: Tokens::new(source),
            path: Vec::with_capacity(8),
            seen: Vec::new(),
            unmapped: Unmapped::default(),
            drift: Vec::new(),
            mended: Mended::default(),
        }
    }

    /// The record's start tag, which must have this name.
    pub fn root(&mut self, name: &str) -> Result<Tag<'a>, Malformed> {
        let Token::Start(found) = self.token()? else { return Err(format!("it does not begin with <{name}>")) };
        if found.name == name { Ok(found) } else { Err(format!("it does not begin with <{name}>, but with <{}>", found.name)) }
    }

    /// Makes sure that nothing but white space and comments follows the record.
    pub fn finish(&mut self) -> Result<(), Malformed> {
        loop {
            let at = self.tokens.position();
            match self.token()? {
                Token::Eof => return Ok(()),
                Token::Nothing => {}
                Token::Text(blank) if blank.trim_ascii().is_empty() => {}
                _ => return Err(format!("something follows its end tag at byte {at}")),
            }
        }
    }

    #[inline]
    fn token(&mut self) -> Result<Token<'a>, Malformed> {
        let at = self.tokens.position();
        self.tokens.next().map_err(|what| malformed(at, what))
    }

    /// Makes sure that the end tag that was just read is this element's.
    #[inline]
    fn close(&self, tag: &Tag<'a>, name: &str) -> Result<(), Malformed> {
        if name == tag.name {
            return Ok(());
        }
        let at = self.tokens.position() - name.len() - 3;
        Err(malformed(at, &format!("</{name}> where </{}> is due", tag.name)))
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
            match self.token()? {
                Token::Start(tag) => each(self, tag)?,
                Token::End(name) => break self.close(parent, name)?,
                Token::Text(blank) if stray.is_none() && blank.trim_ascii().is_empty() => {}
                Token::Text(text) => stray.get_or_insert_default().push(text, &mut self.mended),
                Token::Verbatim(text) => stray.get_or_insert_default().push_verbatim(text, &mut self.mended),
                Token::Nothing => {}
                Token::Eof => return Err(self.cut_short(parent)),
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
        match self.tokens.text_to_end(tag.name) {
            Some(raw) => Ok(text(raw, &mut self.mended)),
            None => self.mixed(tag),
        }
    }

    /// [`Cursor::content`] where there is more than text.
    #[cold]
    fn mixed(&mut self, tag: &Tag<'a>) -> Result<Option<Text<'a>>, Malformed> {
        self.enter(tag)?;
        let mut gathered = Gathered::default();
        while let Some(child) = self.child(tag, &mut gathered)? {
            self.unknown(&child)?;
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
            return Err(malformed(tag.at, "not a tag"));
        }
        let mut object = Sorted::default();
        self.each_attribute(tag, |_, name, value| {
            if let Some(value) = value {
                object.0.insert(Cow::Owned(format!("@{name}")), Generic::Text(value));
            }
        })?;
        let mut gathered = Gathered::default();
        self.enter(tag)?;
        while let Some(child) = self.child(tag, &mut gathered)? {
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

    /// The next child of an element whose text is gathered.
    fn child(&mut self, tag: &Tag<'a>, gathered: &mut Gathered) -> Result<Option<Tag<'a>>, Malformed> {
        if tag.empty {
            return Ok(None);
        }
        loop {
            match self.token()? {
                Token::Start(child) => return Ok(Some(child)),
                Token::End(name) => return self.close(tag, name).map(|()| None),
                Token::Text(text) => gathered.push(text, &mut self.mended),
                Token::Verbatim(text) => gathered.push_verbatim(text, &mut self.mended),
                Token::Nothing => {}
                Token::Eof => return Err(self.cut_short(tag)),
            }
        }
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

fn malformed(at: usize, what: &str) -> Malformed {
    format!("malformed XML at byte {at}: {what}")
}

/// Whether it can be the name of an element or attribute. A broken tag would else go for one with an odd name.
fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':' | b'-' | b'.') || byte >= 0x80;
    name.bytes().all(fits) && !name.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '-' | '.')) && !name.is_empty()
}
