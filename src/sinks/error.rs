//! Errors of sinks, each of which knows what is to be done about it.

use std::error::Error;
use std::fmt;
use std::iter::successors;

/// What is to be done about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The store or the way to it failed for now: the same batch again, after a pause.
    Retry,
    /// The store refuses what the batch contains: the batch is halved down to the record.
    Reject,
    /// Nothing that this run can do helps.
    Stop,
}

/// An error of a sink: what happened, what to do, and the client's own error behind it.
#[derive(Debug)]
pub struct SinkError {
    /// What is to be done about it.
    pub class: Class,
    /// What happened, naming the store, table, setting or file, and what to do.
    pub message: String,
    /// The client's error.
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl SinkError {
    /// An error that ends the run.
    pub fn stop(message: impl Into<String>) -> SinkError {
        SinkError { class: Class::Stop, message: message.into(), source: None }
    }

    /// An error with a client's error behind it.
    pub fn new(class: Class, message: impl Into<String>, source: impl Error + Send + Sync + 'static) -> SinkError {
        SinkError { class, message: message.into(), source: Some(Box::new(source)) }
    }
}

impl fmt::Display for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let first = self.source.as_deref().map(|e| e as &dyn Error);
        successors(first, |error| (*error).source()).try_for_each(|error| write!(f, ": {error}"))
    }
}

impl Error for SinkError {}

/// What is behind an error, the nearest first.
pub(super) fn causes(error: &dyn Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    successors(error.source(), |cause| (*cause).source())
}
