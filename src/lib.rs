//! Keeps PostgreSQL, SQLite and a change feed equal to the monthly Discogs dumps, at the cost of what changed.
#![forbid(missing_docs)]

pub mod cli;
pub mod demo;
pub mod generate;
pub mod model;
pub mod sinks;
