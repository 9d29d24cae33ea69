//! The promises of document stores, each kept by SQLite and by PostgreSQL, and those of graphs, kept by Neo4j.

mod harness;
mod neo4j;
mod postgres;
mod promises;
mod sqlite;
