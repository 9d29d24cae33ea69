//! The promises of document stores, each kept by SQLite and by PostgreSQL.

mod harness;
mod postgres;
mod promises;
mod sqlite;
