//! The bytes over which the digest of a document's graph projection is taken.

use super::Text;
use crate::model::Digest;

/// Writes values one after the other so that no two sequences of them give the same bytes: texts and lists carry their length, absent ones a
/// length of their own.
pub struct Projection<'s>(&'s mut Vec<u8>);

impl<'s> Projection<'s> {
    const ABSENT: u32 = u32::MAX;

    /// Begins one in `scratch`, whose content is dropped.
    pub fn new(scratch: &'s mut Vec<u8>) -> Self {
        scratch.clear();
        Projection(scratch)
    }

    /// The digest's 64 bits of what was written.
    pub fn digest(self) -> u64 {
        Digest::of(self.0).short()
    }

    fn length(&mut self, length: u32) -> &mut Self {
        self.0.extend_from_slice(&length.to_le_bytes());
        self
    }

    fn bytes(&mut self, text: &str) -> &mut Self {
        self.length(text.len() as u32);
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    /// A text or its absence.
    pub fn text(&mut self, text: &Option<Text<'_>>) -> &mut Self {
        match text {
            Some(text) => self.bytes(text),
            None => self.length(Self::ABSENT),
        }
    }

    /// A number or its absence.
    pub fn number(&mut self, number: Option<u32>) -> &mut Self {
        match number {
            Some(number) => self.length(4).length(number),
            None => self.length(Self::ABSENT),
        }
    }

    /// A list, each entry written by `each`.
    pub fn list<T>(&mut self, list: &[T], each: impl Fn(&mut Self, &T)) -> &mut Self {
        self.length(list.len() as u32);
        for entry in list {
            each(self, entry);
        }
        self
    }

    /// A list of texts.
    pub fn texts(&mut self, list: &[Text<'_>]) -> &mut Self {
        self.list(list, |out, text| {
            out.bytes(text);
        })
    }
}
