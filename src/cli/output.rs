//! Data on stdout.
//!
//! A reader that has seen enough closes the pipe (`discodiff status | head -1`); that is a quiet success and must not end a run.
//! SIGPIPE's own behaviour is not restored for it: the signal would also kill the program when a database closes its connection.

use std::io::{self, Write};

/// Prints a text and a line end.
pub fn line(text: &str) -> io::Result<()> {
    quietly(writeln!(io::stdout().lock(), "{text}"))
}

/// Prints a text that brings its own line ends.
pub fn text(text: &str) -> io::Result<()> {
    quietly(write!(io::stdout().lock(), "{text}"))
}

/// Writes bytes as they are.
pub fn bytes(bytes: &[u8]) -> io::Result<()> {
    quietly(io::stdout().lock().write_all(bytes))
}

/// Prints a value as one line of JSON.
pub fn json(value: &impl serde::Serialize) -> io::Result<()> {
    line(&serde_json::to_string(value)?)
}

fn quietly(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_is_a_quiet_success_and_a_full_disk_is_not() {
        assert!(quietly(Err(io::ErrorKind::BrokenPipe.into())).is_ok());
        assert!(quietly(Err(io::ErrorKind::StorageFull.into())).is_err());
    }
}
