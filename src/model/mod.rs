//! What flows: kinds, keys, digests, changes. Everything here is plain data that may cross threads and processes.

mod change;
mod digest;
pub mod document;
pub mod graph;
mod key;
mod peers;

pub use change::{Change, DeadLetter, Event, Stage, Verdict};
pub use digest::{CANONICAL_VERSION, Digest, Fingerprint, RULES_VERSION};
pub use key::{Key, Kind, PerKind, SHARDS};
pub use peers::{Peers, Seat};
