//! The graph that records make: nodes, the links that a record asserts, and the edges that are there while any record asserts them.
//!
//! ```text
//!   record ──project──> Projection ── properties of the record's own node
//!                            └─────── links, as the record says them: "I have the member 5", "I am credited to X as Y"
//!   link ──(whoever asserts it)──> Edge: source, relation, target, property
//! ```

mod coded;
mod dictionary;
mod link;
mod projection;
mod roles;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Key, Kind};
pub use coded::{Anchor, Coded, EdgeId};
pub use dictionary::{Code, Dictionary, NONE};
pub use link::{Link, LinkKind};
pub use projection::{Projection, Properties};
pub use roles::category;

/// Version of what the graph holds of a record: of projections, links and categories. Raised whenever the same document would give others.
pub const LINKS_VERSION: u32 = 1;

/// A node, by its label and what identifies it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Node {
    /// An artist, label, master or release: a record's node, or a stub.
    Record(Key),
    /// A genre, by name.
    Genre(Arc<str>),
    /// A style, by name.
    Style(Arc<str>),
    /// Whoever is credited under a name.
    Person(Arc<str>),
}

impl Node {
    /// The node's label: `Artist`, `Genre`.
    pub const fn label(&self) -> &'static str {
        match self {
            Node::Record(key) => key.kind().label(),
            Node::Genre(_) => "Genre",
            Node::Style(_) => "Style",
            Node::Person(_) => "Person",
        }
    }

    /// The text of its `id` or `name`.
    pub fn identity(&self) -> Arc<str> {
        match self {
            Node::Record(key) => key.id().to_string().into(),
            Node::Genre(name) | Node::Style(name) | Node::Person(name) => Arc::clone(name),
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Node::Record(key) => write!(f, "{key}"),
            Node::Genre(name) => write!(f, "genre \"{name}\""),
            Node::Style(name) => write!(f, "style \"{name}\""),
            Node::Person(name) => write!(f, "person \"{name}\""),
        }
    }
}

impl Kind {
    /// The label of its nodes: `Artist`.
    pub const fn label(self) -> &'static str {
        match self {
            Kind::Artist => "Artist",
            Kind::Label => "Label",
            Kind::Master => "Master",
            Kind::Release => "Release",
        }
    }
}

/// The type of an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Relation {
    /// (release or master) to the artist whose it is.
    By,
    /// (release) to the label that it came out on; property `catno`.
    On,
    /// (release) to its master.
    DerivedFrom,
    /// (release or master) to a genre or style.
    Is,
    /// (artist) to the group that it is a member of.
    MemberOf,
    /// (artist) to the one that lists it as another name of its own.
    AliasOf,
    /// (label) to the label above it.
    SublabelOf,
    /// (style) to a genre: some record has the style, and this genre only.
    PartOf,
    /// (person) to a release; properties `role` and, after it, `category`.
    CreditedOn,
    /// (person) to the artist that was meant.
    SameAs,
}

impl Relation {
    /// All relations.
    pub const ALL: [Relation; 10] = [
        Relation::By,
        Relation::On,
        Relation::DerivedFrom,
        Relation::Is,
        Relation::MemberOf,
        Relation::AliasOf,
        Relation::SublabelOf,
        Relation::PartOf,
        Relation::CreditedOn,
        Relation::SameAs,
    ];

    /// The relationship's type: `CREDITED_ON`.
    pub const fn name(self) -> &'static str {
        match self {
            Relation::By => "BY",
            Relation::On => "ON",
            Relation::DerivedFrom => "DERIVED_FROM",
            Relation::Is => "IS",
            Relation::MemberOf => "MEMBER_OF",
            Relation::AliasOf => "ALIAS_OF",
            Relation::SublabelOf => "SUBLABEL_OF",
            Relation::PartOf => "PART_OF",
            Relation::CreditedOn => "CREDITED_ON",
            Relation::SameAs => "SAME_AS",
        }
    }

    /// The relation of this type.
    pub fn from_name(name: &str) -> Option<Relation> {
        Relation::ALL.into_iter().find(|relation| relation.name() == name)
    }

    /// The name of the property that tells edges between the same two nodes apart.
    pub const fn property(self) -> Option<&'static str> {
        match self {
            Relation::On => Some("catno"),
            Relation::CreditedOn => Some("role"),
            _ => None,
        }
    }
}

/// An edge, by all that identifies it. There is at most one of each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Edge {
    /// Its type.
    pub relation: Relation,
    /// Where it begins.
    pub source: Node,
    /// Where it ends.
    pub target: Node,
    /// The value of [`Relation::property`], where there is one.
    pub property: Option<Arc<str>>,
}

impl Edge {
    /// The family that it belongs to.
    pub fn family(&self) -> Family {
        match (self.relation, &self.source) {
            (Relation::MemberOf | Relation::AliasOf, _) => Family::Artist,
            (Relation::SublabelOf, _) => Family::Label,
            (Relation::SameAs, _) => Family::SameAs,
            (Relation::PartOf, _) => Family::PartOf,
            (_, Node::Record(key)) if key.kind() == Kind::Master => Family::Master,
            _ => Family::Release,
        }
    }

    /// Bytes that it holds on to, for bounding what is in flight.
    pub fn bytes(&self) -> usize {
        let text = |node: &Node| match node {
            Node::Record(_) => 0,
            Node::Genre(name) | Node::Style(name) | Node::Person(name) => name.len(),
        };
        size_of::<Edge>() + text(&self.source) + text(&self.target) + self.property.as_ref().map_or(0, |property| property.len())
    }
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Edge { relation, source, target, property } = self;
        write!(f, "{source} {} {target}", relation.name())?;
        match (relation.property(), property) {
            (Some(name), Some(value)) => write!(f, " ({name} \"{value}\")"),
            _ => Ok(()),
        }
    }
}

/// Edges that are looked at together: those of one kind of node, their *anchor*, so that every edge is in one family, at one anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// `MEMBER_OF`, at its source, and `ALIAS_OF`, at its target.
    Artist,
    /// `SUBLABEL_OF`, at its source.
    Label,
    /// `BY` and `IS` of masters, at their source.
    Master,
    /// `BY`, `ON`, `DERIVED_FROM` and `IS` of releases at their source, `CREDITED_ON` at its target.
    Release,
    /// `SAME_AS`, at its target, an artist.
    SameAs,
    /// `PART_OF`, at its source, a style.
    PartOf,
}

impl Family {
    /// All families.
    pub const ALL: [Family; 6] = [Family::Artist, Family::Label, Family::Master, Family::Release, Family::SameAs, Family::PartOf];

    /// The kind of its anchors; `None`: styles.
    pub const fn anchor(self) -> Option<Kind> {
        match self {
            Family::Artist | Family::SameAs => Some(Kind::Artist),
            Family::Label => Some(Kind::Label),
            Family::Master => Some(Kind::Master),
            Family::Release => Some(Kind::Release),
            Family::PartOf => None,
        }
    }

    /// The kinds whose records assert edges of it.
    pub const fn asserted_by(self) -> &'static [Kind] {
        match self {
            Family::Artist => &[Kind::Artist],
            Family::Label => &[Kind::Label],
            Family::Master => &[Kind::Master],
            Family::Release | Family::SameAs => &[Kind::Release],
            Family::PartOf => &[Kind::Master, Kind::Release],
        }
    }

    /// Relations of which the anchor is the source, and relations of which it is the target.
    pub const fn relations(self) -> (&'static [Relation], &'static [Relation]) {
        match self {
            Family::Artist => (&[Relation::MemberOf], &[Relation::AliasOf]),
            Family::Label => (&[Relation::SublabelOf], &[]),
            Family::Master => (&[Relation::By, Relation::Is], &[]),
            Family::Release => (&[Relation::By, Relation::On, Relation::DerivedFrom, Relation::Is], &[Relation::CreditedOn]),
            Family::SameAs => (&[], &[Relation::SameAs]),
            Family::PartOf => (&[Relation::PartOf], &[]),
        }
    }
}

/// An edge that came or went in one epoch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EdgeChange {
    /// Whether it came: no record asserted it before, and some record does now. Else it went.
    pub added: bool,
    /// Which.
    pub edge: Edge,
    /// The tick in which it was found.
    pub tick: u64,
}
