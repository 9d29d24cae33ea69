//! Which of Neo4j's errors is retried, rejected or ends the run, and the words for those of connecting.

use std::io::ErrorKind;

use neo4rs::Error;

use crate::sinks::{Class, SinkError};

/// What is to be done about an error that the server gives.
fn class_of(code: &str, message: &str) -> Class {
    // a text longer than its index takes; the code is that of any error inside the server
    if message.contains("too large to index") {
        return Class::Reject;
    }
    match code {
        "Neo.ClientError.Schema.ConstraintValidationFailed"
        | "Neo.ClientError.Statement.TypeError"
        | "Neo.ClientError.Statement.ArgumentError" => Class::Reject,
        // the client calls the first two so, which the server calls transient
        "Neo.ClientError.Transaction.Terminated"
        | "Neo.ClientError.Transaction.LockClientStopped"
        | "Neo.ClientError.Transaction.TransactionTimedOut"
        | "Neo.ClientError.Transaction.TransactionTimedOutClientConfiguration"
        | "Neo.ClientError.Security.AuthorizationExpired"
        | "Neo.ClientError.Cluster.NotALeader"
        // what followed on an error that is not known any more
        | "Neo.ServerError.Ignored" => Class::Retry,
        _ if code.starts_with("Neo.TransientError.") || code.starts_with("Neo.DatabaseError.Transaction.") => Class::Retry,
        _ => Class::Stop,
    }
}

/// Whether an answer to a greeting, which comes without a code, is about user and password. A server that starts or stops refuses too.
fn is_refusal(message: &str) -> bool {
    let message = message.to_lowercase();
    ["unauthorized", "authenticat", "credentials", "password"].iter().any(|word| message.contains(word))
}

/// What is to be done about an error of the client.
fn class(error: &Error) -> Class {
    match error {
        Error::Neo4j(error) => class_of(error.code(), error.message()),
        Error::IOError { .. }
        | Error::ConnectionError
        | Error::ConnectionTimedOut
        | Error::IncompleteBoltExchange
        | Error::Ignored(_)
        | Error::RequestIgnoredError
        | Error::ServerUnavailableError(_)
        | Error::UnexpectedMessage(_)
        | Error::UnknownMessage(_) => Class::Retry,
        Error::AuthenticationError(message) if !is_refusal(message) => Class::Retry,
        Error::StringTooLong | Error::MapTooBig | Error::BytesTooBig | Error::ListTooLong => Class::Reject,
        _ => Class::Stop,
    }
}

fn code(error: &Error) -> &str {
    match error {
        Error::Neo4j(error) => error.code(),
        _ => "",
    }
}

/// The client repeats the socket's error in its own words: one of the two is enough.
fn with_source(class: Class, message: String, error: Error) -> SinkError {
    match error {
        Error::IOError { detail } => SinkError::new(class, message, detail),
        other => SinkError::new(class, message, other),
    }
}

/// The error with the database and what was being done.
pub(super) fn failed(place: &str, doing: &str, error: Error) -> SinkError {
    let help = match code(&error) {
        "Neo.ClientError.Security.Forbidden" => "; grant this user the privilege, or name another",
        "Neo.ClientError.General.WriteOnReadOnlyAccessDatabase"
        | "Neo.ClientError.General.ForbiddenOnReadOnlyDatabase"
        | "Neo.ClientError.Statement.AccessMode" => "; the database is read-only: make it writable, or name another server or database",
        "Neo.TransientError.General.TransactionMemoryLimit" | "Neo.TransientError.General.MemoryPoolOutOfMemoryError" => {
            "; give the server more heap, or raise its dbms.memory.transaction.total.max"
        }
        _ => "",
    };
    with_source(class(&error), format!("{place}: {doing} failed{help}"), error)
}

/// The error of an attempt to connect, encrypted or not, with what to do about it.
pub(super) fn not_connected(place: &str, encrypted: bool, no_password: bool, error: Error) -> SinkError {
    let class = class(&error);
    let help = match &error {
        Error::AuthenticationError(message) if message.contains("too many times") => {
            "wrong passwords were tried too often: wait some seconds, and check user and password"
        }
        Error::AuthenticationError(message) if is_refusal(message) && no_password => {
            "no password was given: name its file with --neo4j-password-file, or write it into the URL"
        }
        Error::AuthenticationError(message) if is_refusal(message) => "the server refuses this user or password; check both",
        Error::ProtocolMismatch(_) => "what answers there is no Neo4j; name the port of its Bolt connector, 7687 unless set otherwise",
        Error::UnsupportedVersion(..) => "the server does not offer Bolt 4.4, or what answers there is no Neo4j",
        Error::IOError { detail } if encrypted && matches!(detail.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) => {
            "no encrypted connection can be made; with a certificate that nobody vouches for say bolt+ssc: in the URL, and bolt: for none"
        }
        _ => match code(&error) {
            "Neo.ClientError.Database.DatabaseNotFound" => {
                "there is no such database; make it with CREATE DATABASE, or name another (Community has one only: leave the name out)"
            }
            "Neo.ClientError.Security.CredentialsExpired" => "the password has to be changed before it can be used",
            "Neo.ClientError.Security.Forbidden" => "this user may not read this database",
            _ if class == Class::Retry => "no server answers there; check host and port, and that it runs",
            _ => "it cannot be connected to",
        },
    };
    with_source(class, format!("{place}: {help}"), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_tried_again() {
        for code in [
            "Neo.TransientError.Transaction.DeadlockDetected",
            "Neo.TransientError.General.DatabaseUnavailable",
            "Neo.ClientError.Transaction.Terminated",
            "Neo.ClientError.Transaction.TransactionTimedOut",
            "Neo.DatabaseError.Transaction.TransactionCommitFailed",
            "Neo.ServerError.Ignored",
        ] {
            assert_eq!(class_of(code, ""), Class::Retry, "{code}");
        }
        assert_eq!(class(&Error::IOError { detail: ErrorKind::BrokenPipe.into() }), Class::Retry);
        assert_eq!(class(&Error::AuthenticationError("the database is not up".into())), Class::Retry);
    }

    #[test]
    fn what_lies_in_the_row_is_rejected() {
        let code = "Neo.DatabaseError.Statement.ExecutionFailed";
        assert_eq!(class_of(code, "Property value is too large to index, please see"), Class::Reject);
        assert_eq!(class_of("Neo.ClientError.Schema.ConstraintValidationFailed", ""), Class::Reject);
        assert_eq!(class_of("Neo.ClientError.Statement.TypeError", ""), Class::Reject);
    }

    #[test]
    fn what_no_retry_helps_ends_the_run() {
        for code in [
            "Neo.ClientError.Security.Unauthorized",
            "Neo.ClientError.Security.Forbidden",
            "Neo.ClientError.Statement.SyntaxError",
            "Neo.ClientError.Database.DatabaseNotFound",
            "Neo.ClientError.General.WriteOnReadOnlyAccessDatabase",
            "Neo.DatabaseError.Statement.ExecutionFailed",
            "",
        ] {
            assert_eq!(class_of(code, "no"), Class::Stop, "{code}");
        }
        assert_eq!(class(&Error::AuthenticationError("The client is unauthorized due to authentication failure.".into())), Class::Stop);
    }
}
