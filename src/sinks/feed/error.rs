//! Which of the disk's errors are tried again.

use std::io::{Error, ErrorKind};
use std::path::Path;

use crate::disk;
use crate::sinks::{Class, SinkError};

/// An error of the disk, with what was tried and what to do.
pub fn classed(action: &str, path: &Path, error: Error) -> SinkError {
    let class = match error.kind() {
        ErrorKind::Interrupted | ErrorKind::TimedOut | ErrorKind::ResourceBusy => Class::Retry,
        _ => Class::Stop,
    };
    let advice = match error.kind() {
        ErrorKind::NotFound => ": create its folder first",
        _ => disk::advice(&error),
    };
    SinkError::new(class, format!("cannot {action} the feed {}{advice}", path.display()), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_ends_the_run_and_an_interruption_does_not() {
        let class = |kind| classed("write", Path::new("feed"), Error::from(kind)).class;
        assert_eq!(class(ErrorKind::StorageFull), Class::Stop);
        assert_eq!(class(ErrorKind::Interrupted), Class::Retry);
    }
}
