//! Kafka, as sources and sinks use it.
//!
//! - [`brokers`]: which they are, and how a client is let in
//! - [`client`]: how clients are set up, and what their errors mean
//! - [`closing`]: lets go of them
//! - `refusal`: why a broker does not let a client in
//! - [`survey`]: what brokers and topics are like, in words
//! - [`topics`]: makes topics, and says what is wrong with those that are there
//! - [`producer`]: writes in transactions
//! - [`read`]: reads a topic from some offsets to its end

pub mod brokers;
pub mod client;
pub mod closing;
pub mod producer;
pub mod read;
mod refusal;
pub mod survey;
pub mod topics;

use crate::model::Kind;
pub use brokers::{Brokers, Login, Sasl, Tls};

/// Where topics are, and what they are called.
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

    /// The topic that says how far a sink has come: a feed, whose topic is called as the prefix says, or the topics of documents.
    pub fn progress(&self) -> String {
        format!("{}.progress", self.prefix)
    }
}
