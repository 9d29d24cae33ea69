//! Which of the producer's failures are tried again.

use super::Place;
use crate::kafka::producer::{Failure, Why};
use crate::sinks::{Class, SinkError};

/// A failure of the producer.
pub fn classed(place: &Place, failure: Failure) -> SinkError {
    let Failure { why, message } = failure;
    let message = format!("brokers {}: {}: {message}", place.topics.brokers, place.topics.prefix);
    match why {
        // The run's stop signal follows within a moment, and is what is told.
        Why::Stopped | Why::Unanswered => SinkError { class: Class::Retry, message, source: None },
        Why::TooLarge => SinkError { class: Class::Reject, message, source: None },
        Why::Fenced => SinkError::stop(format!("{message}: another run writes there, and this one ends")),
    }
}

/// Brokers that do not answer a question, or answer something that cannot be gone on with.
pub fn unanswered(error: anyhow::Error) -> SinkError {
    SinkError { class: Class::Retry, message: format!("{error:#}"), source: None }
}
