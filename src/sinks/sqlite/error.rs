//! Which of SQLite's errors is retried, rejected or ends the run.

use rusqlite::{Error, ErrorCode};

use crate::sinks::{Class, SinkError};

/// What is to be done about an error of SQLite.
pub(super) fn class(error: &Error) -> Class {
    match error {
        Error::SqliteFailure(failure, _) => match failure.code {
            // another program holds the file for longer than we wait
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed => Class::Retry,
            ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch => Class::Reject,
            _ => Class::Stop,
        },
        _ => Class::Stop,
    }
}

/// The error with the file, what was being done, and what helps.
pub(super) fn failed(place: &str, doing: &str, error: Error) -> SinkError {
    SinkError::new(class(&error), format!("{place}: {doing} failed{}", help(&error)), error)
}

/// What to do about it, for the end of a sentence.
pub(super) fn help(error: &Error) -> &'static str {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => "; it is no SQLite database, name another file",
        Some(ErrorCode::ReadOnly) => "; make the file and its folder writable",
        Some(ErrorCode::DiskFull) => "; the disk is full: make room and run the same command again",
        Some(ErrorCode::SystemIoFailure) => {
            "; the disk failed, or the file may not grow further (ulimit -f): run the same command again once it may"
        }
        Some(ErrorCode::CannotOpen) => "; check that file and folder can be read and written",
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => "; another program is using the file",
        Some(ErrorCode::DatabaseCorrupt) => "; the file is damaged: remove it, and the next run makes it anew",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    fn class_of(code: i32) -> Class {
        class(&Error::SqliteFailure(ffi::Error::new(code), None))
    }

    #[test]
    fn a_file_in_use_is_tried_again() {
        assert_eq!([ffi::SQLITE_BUSY, ffi::SQLITE_LOCKED, ffi::SQLITE_PROTOCOL].map(class_of), [Class::Retry; 3]);
    }

    #[test]
    fn a_row_that_sqlite_refuses_is_rejected() {
        assert_eq!([ffi::SQLITE_CONSTRAINT, ffi::SQLITE_TOOBIG, ffi::SQLITE_MISMATCH].map(class_of), [Class::Reject; 3]);
    }

    #[test]
    fn a_broken_file_or_full_disk_ends_the_run() {
        let codes =
            [ffi::SQLITE_NOTADB, ffi::SQLITE_READONLY, ffi::SQLITE_FULL, ffi::SQLITE_CANTOPEN, ffi::SQLITE_CORRUPT, ffi::SQLITE_IOERR];
        assert_eq!(codes.map(class_of), [Class::Stop; 6]);
        let error = failed("SQLite file x", "writing", Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_FULL), None));
        assert!(error.message.contains("the disk is full"), "{error}");
    }
}
