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
//! - `catalogue`: attempts, how they are read, and which of them are to be applied
//! - `publish`: the producer
//! - `consume`: the consumer
//! - `unmarked`: the consumer of topics that another program fills
//!
//! What it does not see: topics copied by a mirror, whose offsets are others. Records there are right, and the catalogue is not.

mod catalogue;
mod consume;
mod message;
mod publish;
mod unmarked;

pub use crate::kafka::Topics;
pub use crate::kafka::client::{first_offset, names, offset_at};
pub use catalogue::{Attempt, Catalogue, CatalogueReader, Ends, Reached};
pub(super) use consume::work;
pub use consume::{Finder, Stretch, commit};
pub use publish::{Publication, Published, Publishing, StoppedPublishing, publish};
pub(super) use unmarked::work as unmarked_work;
pub use unmarked::{Span, Until};
