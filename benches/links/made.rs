//! Records with as many links as real ones have, made of their key alone.

use discodiff::model::graph::{Link, LinkKind};
use discodiff::model::{Key, Kind};

/// Records of each kind in all of Discogs: artists, labels, masters, releases.
pub const RECORDS: [(Kind, u64); 4] =
    [(Kind::Artist, 10_200_000), (Kind::Label, 2_400_000), (Kind::Master, 2_600_000), (Kind::Release, 19_300_000)];

/// Links that all of Discogs comes to; see `real`.
pub const LINKS: u64 = 296_000_000;

/// A part of Discogs.
#[derive(Clone, Copy)]
pub struct Part(f64);

impl Part {
    /// One with about so many links.
    pub fn of_links(links: u64) -> Part {
        Part(links as f64 / LINKS as f64)
    }

    /// All keys, in order.
    pub fn keys(self) -> impl Iterator<Item = Key> {
        RECORDS.into_iter().flat_map(move |(kind, records)| (1..=self.cut(records)).filter_map(move |id| Key::new(kind, id)))
    }

    fn cut(self, of_all: u64) -> u64 {
        (of_all as f64 * self.0) as u64 + 1
    }

    /// A record's links, in any order. The numbers are those of `real`: how many records have any of a kind, and how many those have.
    pub fn links(self, key: Key) -> Vec<Link<Box<str>>> {
        let (id, mut dice, mut links) = (key.id(), Dice(key.to_bits()), Vec::new());
        match key.kind() {
            Kind::Artist => {
                links.extend((1..=4).filter(|d| is_member(id, id + d)).map(|d| to(LinkKind::MemberOf, id + d)));
                links.extend((1..id.min(5)).filter(|d| is_member(id - d, id)).map(|d| to(LinkKind::HasMember, id - d)));
                let aliases = if dice.chance(0.115) { dice.some(4.77) } else { 0 };
                links.extend((0..aliases).map(|_| to(LinkKind::AliasOf, 1 + dice.below(self.cut(RECORDS[0].1)))));
            }
            Kind::Label if id.is_multiple_of(50) => {
                links.extend((id + 1..id + 50).filter(|&child| is_sublabel(child)).map(|child| to(LinkKind::HasSublabel, child)));
            }
            Kind::Label => links.extend((id > 50 && is_sublabel(id)).then(|| to(LinkKind::SublabelOf, id - id % 50))),
            Kind::Master => self.work(&mut dice, 1.165, &mut links),
            Kind::Release => {
                self.work(&mut dice, 1.24, &mut links);
                links.extend((0..dice.some(1.135)).map(|_| self.on(&mut dice)));
                links.extend(dice.chance(0.615).then(|| to(LinkKind::DerivedFrom, 1 + dice.below(self.cut(RECORDS[2].1)))));
                let persons = if dice.chance(0.591) { dice.some(5.7) } else { 0 };
                (0..persons).for_each(|_| self.credit(&mut dice, &mut links));
            }
        }
        links
    }

    /// The same a month later, where the record has changed: a link less, and a few more.
    pub fn changed(self, key: Key) -> Vec<Link<Box<str>>> {
        let (mut links, mut dice) = (self.links(key), Dice(!key.to_bits()));
        links.pop();
        match key.kind() {
            Kind::Artist => links.push(to(LinkKind::AliasOf, 1 + dice.below(self.cut(RECORDS[0].1)))),
            Kind::Label => links.push(to(LinkKind::SublabelOf, key.id() + 50)),
            Kind::Master => self.work(&mut dice, 1.0, &mut links),
            Kind::Release => self.credit(&mut dice, &mut links),
        }
        links
    }

    /// Artists, genres and styles.
    fn work(self, dice: &mut Dice, artists: f64, links: &mut Vec<Link<Box<str>>>) {
        links.extend((0..dice.some(artists)).map(|_| to(LinkKind::By, dice.skewed(self.cut(RECORDS[0].1)))));
        let genres: Vec<Box<str>> = (0..dice.some(1.3)).map(|_| format!("Genre {}", dice.skewed(15)).into()).collect();
        let styles = if dice.chance(0.86) { dice.some(1.75) } else { 0 };
        for _ in 0..styles {
            let style: Box<str> = format!("The style {}", dice.skewed(600)).into();
            if let [genre] = &genres[..] {
                links.push(Link::to_name(LinkKind::PartOf, style.clone()).with(Some(genre.clone())));
            }
            links.push(Link::to_name(LinkKind::IsStyle, style));
        }
        links.extend(genres.into_iter().map(|genre| Link::to_name(LinkKind::IsGenre, genre)));
    }

    fn on(self, dice: &mut Dice) -> Link<Box<str>> {
        let label = to(LinkKind::On, 1 + dice.below(self.cut(RECORDS[1].1)));
        label.with(Some(format!("C {:06}", dice.below(self.cut(60_000_000))).into()))
    }

    /// A person, who has one name, for one thing or two.
    fn credit(self, dice: &mut Dice, links: &mut Vec<Link<Box<str>>>) {
        let artist = dice.skewed(self.cut(RECORDS[0].1));
        let name: Box<str> = format!("Artist {artist:07}").into();
        for _ in 0..dice.some(1.13) {
            let role = format!("Producer [of number {}]", dice.skewed(self.cut(5_000_000))).into();
            links.push(Link::to_name(LinkKind::CreditedOn, name.clone()).with(Some(role)));
        }
        links.push(Link { id: artist, ..Link::to_name(LinkKind::SameAs, name) });
    }
}

fn to(kind: LinkKind, id: u64) -> Link<Box<str>> {
    Link { kind, id, name: None, property: None }
}

/// Both sides say so.
fn is_member(member: u64, group: u64) -> bool {
    Dice(member).chance(0.119) && Dice(member << 32 | group).chance(0.65)
}

fn is_sublabel(child: u64) -> bool {
    !child.is_multiple_of(50) && Dice(child).chance(0.083)
}

/// Numbers that look like chance and are the same every time (splitmix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn chance(&mut self, of: f64) -> bool {
        self.share() < of
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// From 1 up to `end`, low numbers much oftener.
    fn skewed(&mut self, end: u64) -> u64 {
        1 + (self.share().powi(3) * end as f64) as u64
    }

    /// One or more, in the mean as many.
    fn some(&mut self, mean: f64) -> u64 {
        let mut number = 1;
        while number < 200 && self.chance(1.0 - 1.0 / mean) {
            number += 1;
        }
        number
    }
}
