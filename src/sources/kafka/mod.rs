//! Dumps in Kafka topics: published once, applied from there as from the files.
//!
//! ```text
//!              publish                                               refresh --kafka
//!  dump files ──cut──> PREFIX.artists   partition 0  B r r r ... r E ──┐
//!                                       partition 1  B r r r ... r E ──┼── stretches ── blocks ──> workers
//!              one     PREFIX.labels    ...                            │       ^
//!          transaction PREFIX.masters                                  │       │ from where to where
//!              for     PREFIX.releases                                 │       │
//!          both        PREFIX.attempts  one record an attempt ─────────┴───────┘
//! ```
//!
//! A record's partition is its key's shard, modulo the number of partitions, so that all copies of a key stand in one partition in the
//! order of the dump, and "the first whole record of a key counts" is decided there. `B` and `E` are markers, one each in each partition.
//! One publication of one file is an *attempt*. The catalogue, a compacted topic, has one record for each; it is written in the same
//! transactions as the records, so it always says exactly how many of them a read_committed reader sees, and where they begin and end.
//!
//! - `message`: what stands in keys, headers and markers
//! - `brokers`: which they are, and how a client is let in
//! - `client`: how clients are set up, and what their errors mean
//! - `refusal`: why a broker does not let a client in
//! - `topics`: makes topics, and says what is wrong with those that are there
//! - `catalogue`: attempts, how they are read, and which of them are to be applied
//! - `survey`: what brokers and topics are like, in words
//! - `publish`: the producer
//! - `consume`: the consumer
//!
//! What it does not see: topics copied by a mirror, whose offsets are others. Records there are right, and the catalogue is not.

mod brokers;
mod catalogue;
mod client;
mod consume;
mod message;
mod publish;
mod refusal;
mod survey;
mod topics;

use crate::model::Kind;

pub use brokers::{Brokers, Login, Sasl, Tls};
pub use catalogue::{Attempt, Catalogue, Ends, Reached};
pub(super) use consume::work;
pub use consume::{Stretch, commit};
pub use publish::{Publication, Published, Publishing, StoppedPublishing, publish};
pub use survey::{Survey, survey};

/// Where the topics are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    /// On which brokers.
    pub brokers: Brokers,
    /// What the names of the topics begin with.
    pub prefix: String,
}

impl Topics {
    /// The topic of a kind.
    pub fn of(&self, kind: Kind) -> String {
        format!("{}.{}", self.prefix, kind.plural())
    }

    /// The topic that says what was published.
    pub fn catalogue(&self) -> String {
        format!("{}.attempts", self.prefix)
    }
}
