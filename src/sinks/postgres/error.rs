//! Which of PostgreSQL's errors is retried, rejected or ends the run, and the words for those of connecting.

use std::io;

use tokio_postgres::Error;

use super::connect::Address;
use crate::sinks::error::causes;
use crate::sinks::{Class, SinkError};

/// What is to be done about an SQLSTATE.
fn class_of(state: &str) -> Class {
    match state {
        // disk full: no retry makes room
        "53100" => Class::Stop,
        // serialization failure, commit unknown, deadlock, lock not available, statement cancelled, shutdowns, timeouts of sessions
        "40001" | "40003" | "40P01" | "55P03" | "57014" | "57P01" | "57P02" | "57P03" | "57P05" | "25P03" => Class::Retry,
        _ => match state.get(..2) {
            // connection exceptions, insufficient resources
            Some("08" | "53") => Class::Retry,
            // data exceptions, integrity constraints, limits of the program (a row too big for an index)
            Some("22" | "23" | "54") => Class::Reject,
            _ => Class::Stop,
        },
    }
}

/// What is to be done about an error of the client.
pub(super) fn class(error: &Error) -> Class {
    if let Some(state) = error.code() {
        return class_of(state.code());
    }
    // a backend that is lost gives no SQLSTATE, only a closed connection or an error of the socket
    if error.is_closed() || causes(error).any(|cause| cause.is::<io::Error>()) { Class::Retry } else { Class::Stop }
}

/// An answer that the client cannot read, or whose beginning promises more than comes: another kind of server's.
fn is_no_greeting(cause: &(dyn std::error::Error + 'static)) -> bool {
    let Some(error) = cause.downcast_ref::<io::Error>() else { return false };
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) || error.to_string() == "bytes remaining on stream"
}

/// The error with the database, what was being done, and what helps.
pub(super) fn failed(place: &str, doing: &str, error: Error) -> SinkError {
    SinkError::new(class(&error), format!("{place}: {doing} failed{}", help(&error)), error)
}

/// What to do about it, for the end of a sentence.
pub(super) fn help(error: &Error) -> &'static str {
    match error.code().map(|state| state.code()) {
        Some("53100") => "; make room on the server's disk, then run again",
        Some("42501") => {
            "; grant this user the privilege (CONNECT and TEMPORARY on the database, USAGE and CREATE on the schema), or name another"
        }
        Some("3F000") => "; make the schema (CREATE SCHEMA), let this user use it (GRANT USAGE, CREATE), or name another in search_path",
        Some("25006") => "; it is a standby or read-only: name the primary",
        _ => "",
    }
}

/// The error of an attempt to connect, with what to do about it.
pub(super) fn not_connected(Address { place, tls, .. }: &Address, error: Error) -> SinkError {
    if let Some((class, words)) = tls.refusal(&error) {
        return SinkError::new(class, format!("{place}: {words}"), error);
    }
    let help = match error.code().map(|state| state.code()) {
        Some("28P01" | "28000") => "the server refuses this user or password; check both",
        Some("3D000") => "there is no such database; make it with CREATE DATABASE, or name another",
        Some("53300") => "the server has no connection left; use fewer workers, or raise its max_connections",
        Some("57P03") => "the server is starting or stopping; try again in a moment",
        Some("42501") => "this user may not connect to this database",
        _ if causes(&error).any(|cause| cause.to_string() == "password missing") => {
            "no password was given: name its file with --postgres-password-file, or write it into the URL"
        }
        _ if causes(&error).any(is_no_greeting) => "what answers there is no PostgreSQL; name its port, 5432 unless set otherwise",
        _ if class(&error) == Class::Retry => "no server answers there; check host and port, and that it runs",
        _ => "it cannot be connected to",
    };
    SinkError::new(class(&error), format!("{place}: {help}"), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_tried_again() {
        for state in ["08000", "08006", "08P01", "40001", "40P01", "55P03", "57014", "57P01", "57P02", "57P03", "53200", "53300", "53400"] {
            assert_eq!(class_of(state), Class::Retry, "{state}");
        }
    }

    #[test]
    fn what_lies_in_the_row_is_rejected() {
        for state in ["22P05", "22021", "22P02", "22001", "23502", "23514", "54000", "54001"] {
            assert_eq!(class_of(state), Class::Reject, "{state}");
        }
    }

    #[test]
    fn what_no_retry_helps_ends_the_run() {
        for state in ["28P01", "42501", "42P01", "3D000", "53100", "25006", "57P04", "XX001", "0A000", ""] {
            assert_eq!(class_of(state), Class::Stop, "{state}");
        }
    }
}
