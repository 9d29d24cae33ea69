//! Kinds and keys.

use std::fmt;
use std::ops::{Index, IndexMut};

use serde::{Deserialize, Serialize};

/// Number of shards into which keys are cut, fixed for ever: state, routing and partitions agree on it.
pub const SHARDS: u64 = 64;

/// One of the four kinds of records, in the order in which a month is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A person or group.
    Artist,
    /// A label or company.
    Label,
    /// A master release.
    Master,
    /// A release.
    Release,
}

impl Kind {
    /// All kinds, in the order in which a month is applied.
    pub const ALL: [Kind; 4] = [Kind::Artist, Kind::Label, Kind::Master, Kind::Release];

    /// 0 to 3, in the order of [`Kind::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The singular, which is also the name of the record's root element: `artist`.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Artist => "artist",
            Kind::Label => "label",
            Kind::Master => "master",
            Kind::Release => "release",
        }
    }

    /// The plural, which is also the name of the dump's root element and of the table: `artists`.
    pub const fn plural(self) -> &'static str {
        match self {
            Kind::Artist => "artists",
            Kind::Label => "labels",
            Kind::Master => "masters",
            Kind::Release => "releases",
        }
    }

    /// The kind with this singular name.
    pub fn from_name(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One value a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PerKind<T>(pub [T; 4]);

impl<T> PerKind<T> {
    /// Makes each kind's value.
    pub fn from_fn(mut make: impl FnMut(Kind) -> T) -> Self {
        PerKind(Kind::ALL.map(&mut make))
    }

    /// Kinds and their values, in the order of [`Kind::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Kind, &T)> {
        Kind::ALL.into_iter().zip(&self.0)
    }
}

impl<T> Index<Kind> for PerKind<T> {
    type Output = T;
    fn index(&self, kind: Kind) -> &T {
        &self.0[kind.index()]
    }
}

impl<T> IndexMut<Kind> for PerKind<T> {
    fn index_mut(&mut self, kind: Kind) -> &mut T {
        &mut self.0[kind.index()]
    }
}

/// (kind, id) in eight bytes; keys of one kind are contiguous and in the order of their ids.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64")]
pub struct Key(u64);

impl TryFrom<u64> for Key {
    type Error = String;

    fn try_from(bits: u64) -> Result<Key, String> {
        Key::from_bits(bits).ok_or_else(|| format!("{bits} is the number of no key"))
    }
}

impl Key {
    const ID_BITS: u32 = 56;

    /// The largest id that a key can hold.
    pub const MAX_ID: u64 = (1 << Self::ID_BITS) - 1;

    /// The key of a record; `None` for id 0, which means "none" in the dumps, and for ids above [`Key::MAX_ID`].
    pub const fn new(kind: Kind, id: u64) -> Option<Key> {
        if id == 0 || id > Self::MAX_ID { None } else { Some(Key(((kind as u64) << Self::ID_BITS) | id)) }
    }

    /// The key that [`Key::to_bits`] gave; `None` for any other number.
    pub const fn from_bits(bits: u64) -> Option<Key> {
        if bits >> Self::ID_BITS > 3 || bits & Self::MAX_ID == 0 { None } else { Some(Key(bits)) }
    }

    /// The key as one number, for state files.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// A number no greater than any key of this kind, and greater than all keys of the kinds before.
    pub const fn floor(kind: Kind) -> Key {
        Key((kind as u64) << Self::ID_BITS)
    }

    /// The least number above this key, to go on from in an ordered walk.
    pub const fn next(self) -> Key {
        Key(self.0 + 1)
    }

    /// The record's kind.
    pub const fn kind(self) -> Kind {
        Kind::ALL[(self.0 >> Self::ID_BITS) as usize]
    }

    /// The record's id.
    pub const fn id(self) -> u64 {
        self.0 & Self::MAX_ID
    }

    /// The shard, 0 to 63.
    pub const fn shard(self) -> u64 {
        shard_of(self.0)
    }
}

/// The shard of a key's bits, or of an anchor's: a hash written out here, since it must never change.
pub(super) const fn shard_of(bits: u64) -> u64 {
    let mut z = bits.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)) % SHARDS
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.id())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_never_changes() {
        let shard = |kind, id| Key::new(kind, id).map(Key::shard);
        assert_eq!(shard(Kind::Artist, 1), Some(1));
        assert_eq!(shard(Kind::Release, 19_341_287), shard(Kind::Release, 19_341_287));
        assert_eq!(Key::new(Kind::Artist, 0), None);
    }

    #[test]
    fn a_number_that_is_no_key_s_is_not_read_as_one() {
        let key = Key::new(Kind::Release, 7).expect("a key");
        let bytes = |number: u64| bincode::serialize(&number).expect("written");
        let read = |number: u64| bincode::deserialize::<Key>(&bytes(number)).map_err(|error| error.to_string());
        assert_eq!((read(key.to_bits()), bincode::serialize(&key).expect("written")), (Ok(key), bytes(key.to_bits())));
        for number in [0, 4 << 56 | 7, u64::MAX, 1 << 56] {
            assert_eq!(read(number), Err(format!("{number} is the number of no key")));
        }
    }
}
