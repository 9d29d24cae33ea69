//! What the graph holds of one record: the properties of its node, and its links as a set.

use serde::{Deserialize, Serialize};

use super::Link;
use crate::model::Digest;

/// Properties of a record's node beside `id` and `hash`; `T` is a text. Absent is absent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Properties<T> {
    /// The `name` of an artist or label, the `title` of a master or release.
    pub title: Option<T>,
    /// Of masters and releases.
    pub year: Option<u32>,
    /// Names of a release's formats, in its order.
    pub formats: Vec<T>,
    /// The catalogue number of a release's first label.
    pub catalog_number: Option<T>,
}

impl<T> Default for Properties<T> {
    fn default() -> Self {
        Properties { title: None, year: None, formats: Vec::new(), catalog_number: None }
    }
}

/// What the graph holds of one record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Projection<T> {
    /// Of its node.
    pub properties: Properties<T>,
    /// Each once, sorted.
    pub links: Vec<Link<T>>,
}

impl<T: AsRef<str> + Ord> Projection<T> {
    /// A projection of these links, in any order and however often.
    pub fn new(properties: Properties<T>, mut links: Vec<Link<T>>) -> Projection<T> {
        links.sort_unstable();
        links.dedup();
        Projection { properties, links }
    }

    /// The digest over the record's id and all of it: the `hash` of the node. `scratch` is a buffer whose content does not matter.
    pub fn digest(&self, id: u64, scratch: &mut Vec<u8>) -> Digest {
        scratch.clear();
        let Properties { title, year, formats, catalog_number } = &self.properties;
        let mut bytes = Bytes(scratch);
        bytes.number(id);
        bytes.text(title);
        bytes.number(year.map_or(u64::MAX, u64::from));
        bytes.number(formats.len() as u64);
        formats.iter().for_each(|format| bytes.text(&Some(format)));
        bytes.text(catalog_number);
        for Link { kind, id, name, property } in &self.links {
            bytes.number(*kind as u64);
            bytes.number(*id);
            bytes.text(name);
            bytes.text(property);
        }
        Digest::of(scratch)
    }

    /// The same with texts of its own.
    pub fn to_owned(&self) -> Projection<Box<str>> {
        let owned = |text: &Option<T>| text.as_ref().map(|text| Box::from(text.as_ref()));
        let Properties { title, year, formats, catalog_number } = &self.properties;
        Projection {
            properties: Properties {
                title: owned(title),
                year: *year,
                formats: formats.iter().map(|format| Box::from(format.as_ref())).collect(),
                catalog_number: owned(catalog_number),
            },
            links: self
                .links
                .iter()
                .map(|Link { kind, id, name, property }| Link { kind: *kind, id: *id, name: owned(name), property: owned(property) })
                .collect(),
        }
    }

    /// Bytes that it holds on to, for bounding what is in flight.
    pub fn bytes(&self) -> usize {
        let text = |text: &Option<T>| text.as_ref().map_or(0, |text| text.as_ref().len());
        let Properties { title, formats, catalog_number, .. } = &self.properties;
        let formats: usize = formats.iter().map(|format| size_of::<T>() + format.as_ref().len()).sum();
        let links: usize = self.links.iter().map(|link| size_of::<Link<T>>() + text(&link.name) + text(&link.property)).sum();
        size_of::<Projection<T>>() + text(title) + formats + text(catalog_number) + links
    }
}

/// Values one after the other so that no two sequences of them give the same bytes: texts carry their length, absent ones a length of their own.
struct Bytes<'s>(&'s mut Vec<u8>);

impl Bytes<'_> {
    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn text<T: AsRef<str>>(&mut self, text: &Option<T>) {
        let Some(text) = text else { return self.0.extend_from_slice(&u32::MAX.to_le_bytes()) };
        let text = text.as_ref();
        self.0.extend_from_slice(&(text.len() as u32).to_le_bytes());
        self.0.extend_from_slice(text.as_bytes());
    }
}
