//! What discodiff promises, end to end: real dumps, real stores, the real program.

mod broken;
mod broker;
mod command_line;
mod deletes;
#[cfg(feature = "failpoints")]
mod faults;
mod feed;
mod generated;
mod graph;
mod harness;
mod kafka;
mod links;
mod oracle;
#[cfg(feature = "failpoints")]
mod outage;
mod plan;
mod real;
mod secured;
mod standing;
mod state;
mod told;
mod verify;
