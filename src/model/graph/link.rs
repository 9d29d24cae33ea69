//! Links: what one record asserts about another node, as the record says it.

use serde::{Deserialize, Serialize};

use crate::model::Kind;

/// What a record says of its link's other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum LinkKind {
    /// It is by the artist `id`.
    By = 1,
    /// It came out on the label `id`, under the catalogue number `property`.
    On = 2,
    /// It is a release of the master `id`.
    DerivedFrom = 3,
    /// It is of the genre `name`.
    IsGenre = 4,
    /// It is of the style `name`.
    IsStyle = 5,
    /// It is a member of the artist `id`.
    MemberOf = 6,
    /// The artist `id` is a member of it.
    HasMember = 7,
    /// The artist `id` is another name of it.
    AliasOf = 8,
    /// It is a sublabel of the label `id`.
    SublabelOf = 9,
    /// The label `id` is a sublabel of it.
    HasSublabel = 10,
    /// The style `name` is a part of the genre `property`.
    PartOf = 11,
    /// The person `name` is credited on it, as `property`.
    CreditedOn = 12,
    /// The person `name` is the artist `id`.
    SameAs = 13,
}

impl LinkKind {
    /// All of them.
    pub const ALL: [LinkKind; 13] = [
        LinkKind::By,
        LinkKind::On,
        LinkKind::DerivedFrom,
        LinkKind::IsGenre,
        LinkKind::IsStyle,
        LinkKind::MemberOf,
        LinkKind::HasMember,
        LinkKind::AliasOf,
        LinkKind::SublabelOf,
        LinkKind::HasSublabel,
        LinkKind::PartOf,
        LinkKind::CreditedOn,
        LinkKind::SameAs,
    ];

    /// The kind of the record that `id` is of; `None` where a link of this kind has none.
    pub const fn end(self) -> Option<Kind> {
        match self {
            LinkKind::By | LinkKind::MemberOf | LinkKind::HasMember | LinkKind::AliasOf | LinkKind::SameAs => Some(Kind::Artist),
            LinkKind::On | LinkKind::SublabelOf | LinkKind::HasSublabel => Some(Kind::Label),
            LinkKind::DerivedFrom => Some(Kind::Master),
            LinkKind::IsGenre | LinkKind::IsStyle | LinkKind::PartOf | LinkKind::CreditedOn => None,
        }
    }

    /// Whether records other than the one that asserts it may assert the same edge.
    pub const fn is_shared(self) -> bool {
        match self {
            LinkKind::MemberOf
            | LinkKind::HasMember
            | LinkKind::SublabelOf
            | LinkKind::HasSublabel
            | LinkKind::PartOf
            | LinkKind::SameAs => true,
            LinkKind::By
            | LinkKind::On
            | LinkKind::DerivedFrom
            | LinkKind::IsGenre
            | LinkKind::IsStyle
            | LinkKind::AliasOf
            | LinkKind::CreditedOn => false,
        }
    }
}

/// A link as a record asserts it; `T` is a text. What each part means is said at its [`LinkKind`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Link<T> {
    /// What is said.
    pub kind: LinkKind,
    /// Id of a record; 0 where it has none.
    pub id: u64,
    /// Name of a genre, style or person.
    pub name: Option<T>,
    /// Catalogue number, role or, for [`LinkKind::PartOf`], genre.
    pub property: Option<T>,
}

impl<T> Link<T> {
    /// A link to a record; `None` where there is no such id.
    pub fn to_record(kind: LinkKind, id: Option<u64>) -> Option<Link<T>> {
        Some(Link { kind, id: id?, name: None, property: None })
    }

    /// A link to what has a name.
    pub fn to_name(kind: LinkKind, name: T) -> Link<T> {
        Link { kind, id: 0, name: Some(name), property: None }
    }

    /// The same with a property.
    pub fn with(self, property: Option<T>) -> Link<T> {
        Link { property, ..self }
    }
}
