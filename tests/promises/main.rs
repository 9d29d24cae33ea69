//! What discodiff promises, end to end: real dumps, real stores, the real program.

mod bad_input;
mod broken;
mod broker;
mod cluster;
mod cluster_network;
#[cfg(feature = "failpoints")]
mod cluster_up;
mod command_line;
mod dead_letters;
mod deletes;
mod deploy;
mod disk;
mod document_topics;
mod encrypted;
#[cfg(feature = "failpoints")]
mod faults;
mod feed;
mod feed_readers;
mod feed_topic;
mod fetch;
mod first_hour;
mod follow;
mod generated;
mod graph;
mod guides;
mod harness;
mod kafka;
#[cfg(feature = "failpoints")]
mod ladder;
mod large;
mod links;
#[cfg(feature = "failpoints")]
mod metrics;
#[cfg(feature = "failpoints")]
mod network;
mod object_store;
mod oracle;
#[cfg(feature = "failpoints")]
mod outage;
mod place;
mod plan;
#[cfg(feature = "failpoints")]
mod prometheus;
#[cfg(feature = "failpoints")]
mod proxy;
mod real;
mod rebuild;
mod rejects;
mod repair;
mod replay;
mod schema_page;
mod secrets;
mod secured;
mod stages;
mod standing;
mod state;
mod told;
mod unmarked;
mod verify;
#[cfg(feature = "failpoints")]
mod watched;
