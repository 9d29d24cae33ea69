//! Digests of documents, and the short forms of them that the state holds.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

/// Version of the canonical form of documents. Raised whenever the same XML would give another document.
pub const CANONICAL_VERSION: u32 = 1;

/// Version of the quality rules that are applied before the digest is taken; 0: none are.
pub const RULES_VERSION: u32 = 0;

/// 128-bit hash of a canonical document, over the versions of canonical form and rules and the document's JSON bytes.
///
/// Written `c1r0-` and 32 hexadecimal digits: the text in the `hash` columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest(u128);

impl Digest {
    /// The digest of a canonical document (or projection) given as bytes.
    pub fn of(canonical: &[u8]) -> Digest {
        let mut hasher = Xxh3::new();
        hasher.update(&CANONICAL_VERSION.to_le_bytes());
        hasher.update(&RULES_VERSION.to_le_bytes());
        hasher.update(canonical);
        Digest(hasher.digest128())
    }

    /// The 64 bits that the state keeps: enough, since they are only ever compared for one key.
    pub const fn short(self) -> u64 {
        self.0 as u64
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{CANONICAL_VERSION}r{RULES_VERSION}-{:032x}", self.0)
    }
}

impl FromStr for Digest {
    type Err = ();

    /// Reads a digest of these versions; any other text is an error.
    fn from_str(text: &str) -> Result<Digest, ()> {
        let hex = text.strip_prefix(&format!("c{CANONICAL_VERSION}r{RULES_VERSION}-")).ok_or(())?;
        if hex.len() != 32 || hex.bytes().any(|b| !matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(());
        }
        u128::from_str_radix(hex, 16).map(Digest).map_err(|_| ())
    }
}

/// What the state keeps of a record: 64 bits each, compared for one key only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Hash of the record's raw XML bytes.
    pub raw: u64,
    /// [`Digest::short`] of the document.
    pub document: u64,
    /// [`Digest::short`] of the document's graph projection.
    pub graph: u64,
}
