//! Keys, fingerprints and records of all of Discogs in two months, made from their numbers alone.

use bytes::Bytes;
use discodiff::model::{Fingerprint, Key, Kind};
use discodiff::xml::Record;

/// Records of each kind in all of Discogs, by the thousand.
const THOUSANDS: [(Kind, u64); 4] = [(Kind::Artist, 10_200), (Kind::Label, 2_400), (Kind::Master, 2_600), (Kind::Release, 19_300)];

/// What becomes of a record from the first month to the second: 3 % change, spread over all ids.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nothing.
    Stays,
    /// It is in both months, and differs.
    Changes,
    /// It is in the second month only.
    Comes,
    /// It is in the first month only.
    Goes,
}

/// All keys, of both months, in their order; `records` in all, about.
pub fn keys(records: u64) -> impl Iterator<Item = Key> {
    let all: u64 = THOUSANDS.iter().map(|(_, thousands)| thousands).sum();
    THOUSANDS.into_iter().flat_map(move |(kind, thousands)| {
        // Of five ids one is of no record.
        (0..records * thousands / all).filter_map(move |number| Key::new(kind, number + number / 4 + 1))
    })
}

/// What becomes of a key's record.
pub fn fate(key: Key) -> Fate {
    match mix(key, 0) % 2000 {
        0 => Fate::Goes,
        1..=10 => Fate::Comes,
        11..=59 => Fate::Changes,
        _ => Fate::Stays,
    }
}

/// Its fingerprint in the first month.
pub fn fingerprint(key: Key) -> Fingerprint {
    Fingerprint { raw: mix(key, 1), document: mix(key, 2), graph: mix(key, 3) }
}

/// Its record: with the bytes of the first month, which nobody looks at, or others.
pub fn record(key: Key, position: u64, changed: bool) -> Record {
    let (hash, raw) = if changed { (mix(key, 4), Bytes::from(xml(key))) } else { (mix(key, 1), Bytes::new()) };
    Record { key: Some(key), position, hash, raw, defect: None }
}

/// The least that is a record.
fn xml(key: Key) -> String {
    let (kind, id) = (key.kind().name(), key.id());
    match key.kind() {
        Kind::Artist | Kind::Label => format!("<{kind}><id>{id}</id><name>Name {id}</name></{kind}>"),
        Kind::Master | Kind::Release => format!("<{kind} id=\"{id}\"><title>Title {id}</title></{kind}>"),
    }
}

fn mix(key: Key, salt: u64) -> u64 {
    let mut z = (key.to_bits() ^ (salt << 32)).wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
