//! Links and edges as they are arranged and saved: twelve bytes beside the key, texts as codes of the dictionary.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::dictionary::{Code, Dictionary, NONE};
use super::{Edge, Family, Link, LinkKind, Node, Relation};
use crate::model::key::shard_of;
use crate::model::{Key, Kind};

/// A link in twelve bytes.
///
/// ```text
///   8 bits kind | 24 + 32 bits id of a record, or code of a name in the lower 32 | 32 bits code
/// ```
///
/// The last code is that of the property; of `SameAs`, which has an id and a name, that of the name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Coded([u32; 3]);

impl Coded {
    fn new(kind: LinkKind, other: u64, last: Code) -> Coded {
        Coded([(kind as u32) << 24 | (other >> 32) as u32, other as u32, last])
    }

    /// Codes a link; its texts get codes where they have none.
    pub fn of<T: AsRef<str>>(link: &Link<T>, dictionary: &Dictionary) -> Coded {
        let code = |text: &Option<T>| text.as_ref().map_or(NONE, |text| dictionary.code(text.as_ref()));
        match link.kind {
            LinkKind::SameAs => Coded::new(link.kind, link.id, code(&link.name)),
            kind if kind.end().is_some() => Coded::new(kind, link.id, code(&link.property)),
            kind => Coded::new(kind, u64::from(code(&link.name)), code(&link.property)),
        }
    }

    /// The texts of a link that have codes.
    pub fn texts<T: AsRef<str>>(link: &Link<T>) -> impl Iterator<Item = &str> {
        let (name, property) = match link.kind {
            LinkKind::SameAs => (&link.name, &None),
            kind if kind.end().is_some() => (&None, &link.property),
            _ => (&link.name, &link.property),
        };
        [name, property].into_iter().flatten().map(AsRef::as_ref).filter(|text| !text.is_empty())
    }

    /// What is said.
    pub fn kind(self) -> Option<LinkKind> {
        // They count from 1 on.
        LinkKind::ALL.get(((self.0[0] >> 24) as usize).wrapping_sub(1)).copied()
    }

    fn other(self) -> u64 {
        u64::from(self.0[0] & 0x00FF_FFFF) << 32 | u64::from(self.0[1])
    }

    /// The record at its other end, where there is one.
    pub fn record(self) -> Option<Key> {
        Key::new(self.kind()?.end()?, self.other())
    }

    /// The codes that it uses, [`NONE`] among them.
    pub fn codes(self) -> [Code; 2] {
        match self.record() {
            Some(_) => [NONE, self.0[2]],
            None => [self.0[1], self.0[2]],
        }
    }

    /// The link, with its texts.
    pub fn link(self, dictionary: &Dictionary) -> Option<Link<std::sync::Arc<str>>> {
        let kind = self.kind()?;
        let last = dictionary.text(self.0[2]);
        Some(match kind {
            LinkKind::SameAs => Link { kind, id: self.other(), name: last, property: None },
            kind if kind.end().is_some() => Link { kind, id: self.other(), name: None, property: last },
            kind => Link { kind, id: 0, name: dictionary.text(self.0[1]), property: last },
        })
    }

    /// As bytes, for state files.
    pub fn to_bytes(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        for (place, word) in bytes.chunks_exact_mut(4).zip(self.0) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// What [`Coded::to_bytes`] gave; `None` for bytes that are no link.
    pub fn from_bytes(bytes: [u8; 12]) -> Option<Coded> {
        let word = |i: usize| u32::from_le_bytes([bytes[4 * i], bytes[4 * i + 1], bytes[4 * i + 2], bytes[4 * i + 3]]);
        let coded = Coded([word(0), word(1), word(2)]);
        let kind = coded.kind()?;
        (kind.end().is_none() || coded.record().is_some()).then_some(coded)
    }
}

impl fmt::Debug for Coded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {} {}", self.kind(), self.other(), self.0[2])
    }
}

/// The node at which an edge is looked for: a record by its key, a style by its code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Anchor(u64);

impl Anchor {
    /// Above all kinds of records.
    const STYLE: u64 = 4 << 56;

    /// The anchor that is a record.
    pub const fn record(key: Key) -> Anchor {
        Anchor(key.to_bits())
    }

    /// Its record; `None`: it is a style.
    pub const fn key(self) -> Option<Key> {
        Key::from_bits(self.0)
    }

    /// As one number, for state files.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// What [`Anchor::to_bits`] gave; `None` for any other number.
    pub fn from_bits(bits: u64) -> Option<Anchor> {
        let style = bits & !u64::from(u32::MAX) == Anchor::STYLE && bits != Anchor::STYLE;
        (style || Key::from_bits(bits).is_some()).then_some(Anchor(bits))
    }

    /// The shard, whose owner counts its edges.
    pub const fn shard(self) -> u64 {
        shard_of(self.0)
    }
}

impl fmt::Debug for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key() {
            Some(key) => write!(f, "Anchor({key})"),
            None => write!(f, "Anchor(style {})", self.0 as u32),
        }
    }
}

/// An edge by its anchor: every record that asserts it comes to the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EdgeId {
    /// Where it is looked for.
    pub anchor: Anchor,
    /// What the anchor says of it, whoever asserts it.
    pub link: Coded,
}

impl EdgeId {
    /// The edge that `asserter` asserts by a link.
    pub fn of(asserter: Key, link: Coded) -> EdgeId {
        let own = EdgeId { anchor: Anchor::record(asserter), link };
        let turned = |kind: LinkKind| match link.record() {
            Some(other) => EdgeId { anchor: Anchor::record(other), link: Coded::new(kind, asserter.id(), NONE) },
            None => own,
        };
        match link.kind() {
            Some(LinkKind::HasMember) => turned(LinkKind::MemberOf),
            Some(LinkKind::HasSublabel) => turned(LinkKind::SublabelOf),
            Some(LinkKind::SameAs) => match link.record() {
                Some(artist) => EdgeId { anchor: Anchor::record(artist), link },
                None => own,
            },
            Some(LinkKind::PartOf) => EdgeId { anchor: Anchor(Anchor::STYLE | u64::from(link.0[1])), link },
            _ => own,
        }
    }

    /// The family that it belongs to.
    pub fn family(self) -> Family {
        match (self.link.kind(), self.anchor.key().map(Key::kind)) {
            (Some(LinkKind::SameAs), _) => Family::SameAs,
            (_, None) => Family::PartOf,
            (_, Some(Kind::Artist)) => Family::Artist,
            (_, Some(Kind::Label)) => Family::Label,
            (_, Some(Kind::Master)) => Family::Master,
            (_, Some(Kind::Release)) => Family::Release,
        }
    }

    /// The edge itself; `None` where a code stands for nothing.
    pub fn edge(self, dictionary: &Dictionary) -> Option<Edge> {
        let own = || self.anchor.key().map(Node::Record);
        let Link { kind, name, property, .. } = self.link.link(dictionary)?;
        let other = || self.link.record().map(Node::Record);
        let (relation, source, target, property) = match kind {
            LinkKind::By => (Relation::By, own()?, other()?, None),
            LinkKind::On => (Relation::On, own()?, other()?, property),
            LinkKind::DerivedFrom => (Relation::DerivedFrom, own()?, other()?, None),
            LinkKind::IsGenre => (Relation::Is, own()?, Node::Genre(name?), None),
            LinkKind::IsStyle => (Relation::Is, own()?, Node::Style(name?), None),
            LinkKind::MemberOf => (Relation::MemberOf, own()?, other()?, None),
            LinkKind::AliasOf => (Relation::AliasOf, other()?, own()?, None),
            LinkKind::SublabelOf => (Relation::SublabelOf, own()?, other()?, None),
            LinkKind::PartOf => (Relation::PartOf, Node::Style(name?), Node::Genre(property?), None),
            LinkKind::CreditedOn => (Relation::CreditedOn, Node::Person(name?), own()?, property),
            LinkKind::SameAs => (Relation::SameAs, Node::Person(name?), other()?, None),
            // Edges are told as their anchor has them.
            LinkKind::HasMember | LinkKind::HasSublabel => return None,
        };
        Some(Edge { relation, source, target, property })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: Kind, id: u64) -> Key {
        Key::new(kind, id).expect("an id")
    }

    fn link(kind: LinkKind, id: u64, name: Option<&'static str>, property: Option<&'static str>) -> Link<&'static str> {
        Link { kind, id, name, property }
    }

    #[test]
    fn a_link_of_every_kind_reads_back_as_it_was_coded() {
        let dictionary = Dictionary::default();
        for kind in LinkKind::ALL {
            for id in [1, u64::from(u32::MAX) + 7, Key::MAX_ID] {
                for property in [None, Some("a property")] {
                    let (id, name) = if kind.end().is_some() { (id, None) } else { (0, Some("a name")) };
                    let given = match kind {
                        LinkKind::SameAs => link(kind, id, Some("someone"), None),
                        kind => link(kind, id, name, property),
                    };
                    let coded = Coded::of(&given, &dictionary);
                    let codes: Vec<Code> = Coded::texts(&given).filter_map(|text| dictionary.find(text)).collect();
                    assert_eq!(codes, coded.codes().into_iter().filter(|code| *code != NONE).collect::<Vec<_>>());
                    let back = coded.link(&dictionary).expect("a link");
                    assert_eq!((back.kind, back.id), (given.kind, given.id));
                    assert_eq!((back.name.as_deref(), back.property.as_deref()), (given.name, given.property));
                    assert_eq!(Coded::from_bytes(coded.to_bytes()), Some(coded));
                }
            }
        }
        assert_eq!(Coded::from_bytes([0; 12]), None);
    }

    #[test]
    fn both_sides_assert_the_same_edge() {
        let dictionary = Dictionary::default();
        let coded = |kind, id| Coded::of(&link(kind, id, None, None), &dictionary);
        let (band, member) = (key(Kind::Artist, 5), key(Kind::Artist, 9));
        assert_eq!(EdgeId::of(band, coded(LinkKind::HasMember, 9)), EdgeId::of(member, coded(LinkKind::MemberOf, 5)));
        let (parent, child) = (key(Kind::Label, 5), key(Kind::Label, 9));
        assert_eq!(EdgeId::of(parent, coded(LinkKind::HasSublabel, 9)), EdgeId::of(child, coded(LinkKind::SublabelOf, 5)));
        let alias = |a, b| EdgeId::of(key(Kind::Artist, a), coded(LinkKind::AliasOf, b));
        assert_ne!(alias(5, 9), alias(9, 5));
        let edge = EdgeId::of(band, coded(LinkKind::HasMember, 9)).edge(&dictionary).expect("an edge");
        assert_eq!(edge.to_string(), "artist 9 MEMBER_OF artist 5");
    }

    #[test]
    fn every_release_that_says_so_asserts_the_same_person_and_part() {
        let dictionary = Dictionary::default();
        let same = Coded::of(&link(LinkKind::SameAs, 3, Some("X"), None), &dictionary);
        let part = Coded::of(&link(LinkKind::PartOf, 0, Some("House"), Some("Electronic")), &dictionary);
        for coded in [same, part] {
            let of = |id| EdgeId::of(key(Kind::Release, id), coded);
            assert_eq!(of(1), of(2));
            assert_eq!(of(1), EdgeId::of(key(Kind::Master, 1), coded));
            assert_eq!(Anchor::from_bits(of(1).anchor.to_bits()), Some(of(1).anchor));
        }
        let text = |coded| EdgeId::of(key(Kind::Release, 1), coded).edge(&dictionary).expect("an edge").to_string();
        assert_eq!(text(same), "person \"X\" SAME_AS artist 3");
        assert_eq!(text(part), "style \"House\" PART_OF genre \"Electronic\"");
    }
}
