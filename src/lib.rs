//! Keeps PostgreSQL, SQLite, Neo4j and a change feed equal to the monthly Discogs dumps, at the cost of what changed.
//!
//! The way of the data, and who owns which part of it:
//!
//! ```text
//!   sources ──records──> dataflows ──changes──> sinks
//!   dump files,          diff over a            sqlite, postgres, neo4j, feed
//!   xml splits           trace of fingerprints       │
//!                             ^                      │ committed
//!                             └──── state <──────────┘
//! ```
//!
//! - [`model`]: kinds, keys, digests, documents, changes
//! - [`xml`]: cuts dumps into records and reads records into documents
//! - [`sources`]: dump folders, Kafka topics, reader threads, blocks, the bound on bytes in flight
//! - [`fetch`]: gets dump files from where Discogs offers them; [`inflate`]: decompresses them
//! - [`kafka`]: what sources and sinks share of clients, topics and transactions
//! - [`dataflows`]: the refresh dataflow: diff, guard, links and edges, the sinks' operators
//! - [`sinks`]: what a sink is, and the stores
//! - [`state`]: what the sinks were last brought to
//! - [`refresh`]: the main job, and [`verify`]: whether it was done; [`graph`]: state and graph side by side
//! - [`cli`], [`settings`], [`telemetry`], [`disk`]: the command line, what is asked for, what is said, how files are made
#![forbid(missing_docs)]

pub mod cli;
pub mod cluster;
pub mod dataflows;
pub mod demo;
pub mod disk;
pub mod fetch;
pub mod generate;
pub mod graph;
pub mod inflate;
pub mod kafka;
pub mod model;
pub mod rebuild;
pub mod refresh;
pub mod settings;
pub mod sinks;
pub mod sources;
pub mod state;
pub mod telemetry;
pub mod verify;
pub mod xml;
