//! Canonical documents: what a record says, in the one shape that digests are taken over.
//!
//! Absent is absent: no nulls, no empty lists, objects or texts, so that a dump that starts to write empty elements (or ceases to) changes no
//! digest. Keys are written in the order of the fields here, whatever order a store gives them back in. Texts borrow from the record they were
//! read from.

mod artist;
mod generic;
mod label;
mod master;
mod release;
mod shared;
mod stored;

use std::borrow::Cow;
use std::sync::Arc;

use serde::Serialize;

pub use artist::Artist;
pub use generic::{Generic, Sorted, Unmapped};
pub use label::Label;
pub use master::Master;
pub use release::{Company, Format, Identifier, Release, Track};
pub use shared::{Credit, Entity, Image, Imprint, Video};
pub use stored::{Stored, stored};

use super::graph::{Link, LinkKind, Projection, Properties};
use super::{Digest, Key, Kind};

/// A text of a document: borrowed from the record unless something in it had to be resolved.
pub type Text<'a> = Cow<'a, str>;

/// Whether there is nothing in it, so that it is left out.
pub trait Absent {
    /// True when it is to be left out.
    fn absent(&self) -> bool;
}

impl<T> Absent for Option<T> {
    #[inline]
    fn absent(&self) -> bool {
        self.is_none()
    }
}

impl<T> Absent for Vec<T> {
    #[inline]
    fn absent(&self) -> bool {
        self.is_empty()
    }
}

impl Absent for Cow<'_, str> {
    #[inline]
    fn absent(&self) -> bool {
        self.is_empty()
    }
}

/// Declares an object of a document: every field is left out when absent, unknown fields are refused.
macro_rules! object {
    ($(#[$meta:meta])* $name:ident<'a> { $($(#[$of:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name<'a> {
            $($(#[$of])* #[serde(default, skip_serializing_if = "crate::model::document::Absent::absent")] pub $field: $type,)*
        }

        impl crate::model::document::Absent for $name<'_> {
            fn absent(&self) -> bool {
                $(crate::model::document::Absent::absent(&self.$field))&&*
            }
        }
    };
}
pub(crate) use object;

/// What the four kinds of documents have in common.
pub trait Document<'a>: Serialize {
    /// Its kind.
    const KIND: Kind;

    /// Its own id, digits without leading zeros.
    fn id(&self) -> Option<&str>;

    /// What the graph holds of it.
    fn project(&self) -> Projection<&str>;

    /// Where everything goes that no field is there for.
    fn unmapped(&mut self) -> &mut Unmapped<'a>;

    /// Its id as a number, where it has one that a key can hold.
    fn number(&self) -> Option<u64> {
        self.id()?.parse().ok().filter(|&id| Key::new(Self::KIND, id).is_some())
    }
}

/// A record's canonical document and what came to light while it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canonical {
    /// The record's id.
    pub id: u64,
    /// The document.
    pub json: Arc<str>,
    /// The digest of `json`.
    pub hash: Digest,
    /// The digest of what the graph holds of the document.
    pub graph: Digest,
    /// What the graph holds of it, where that was asked for.
    pub projection: Option<Arc<Projection<Box<str>>>>,
    /// Schema drift: the path of each element, attribute or text that no field is there for, one for each occurrence.
    pub unmapped: Vec<String>,
    /// Characters that XML forbids, which were removed.
    pub removed_characters: u32,
    /// Ampersands that begin no reference, which were taken as themselves.
    pub lone_ampersands: u32,
}

/// The number that an id's text stands for; `None` where no key can hold it.
fn number(id: &Option<Text<'_>>) -> Option<u64> {
    // Keys of all kinds hold the same ids.
    id.as_deref()?.parse().ok().filter(|&id| Key::new(Kind::Artist, id).is_some())
}

/// Links to each of a list of records.
fn links_to<'s, T>(kind: LinkKind, list: &'s [T], id: impl Fn(&'s T) -> &'s Option<Text<'s>>) -> impl Iterator<Item = Link<&'s str>> {
    list.iter().filter_map(move |entry| Link::to_record(kind, number(id(entry))))
}

/// The links of a record to its genres and styles; where it has one genre only, its styles are parts of that.
fn dimensions<'s>(genres: &'s [Text<'_>], styles: &'s [Text<'_>], links: &mut Vec<Link<&'s str>>) {
    links.extend(genres.iter().map(|genre| Link::to_name(LinkKind::IsGenre, &**genre)));
    links.extend(styles.iter().map(|style| Link::to_name(LinkKind::IsStyle, &**style)));
    if let [genre, others @ ..] = genres
        && others.iter().all(|other| other == genre)
    {
        links.extend(styles.iter().map(|style| Link::to_name(LinkKind::PartOf, &**style).with(Some(&**genre))));
    }
}

/// Properties of a node that has a name or title only.
fn named<'s>(title: &'s Option<Text<'_>>) -> Properties<&'s str> {
    Properties { title: title.as_deref(), year: None, formats: Vec::new(), catalog_number: None }
}
