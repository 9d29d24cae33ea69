//! Keeps PostgreSQL, SQLite and a change feed equal to the monthly Discogs dumps, at the cost of what changed.
#![deny(missing_docs)]

pub mod dataflows;
pub mod model;
pub mod refresh;
pub mod sinks;
pub mod sources;
pub mod state;
#[allow(missing_docs)]
pub mod telemetry;
#[allow(missing_docs)]
pub mod xml;
