//! The one place through which anything reaches stderr while progress bars may be shown.

use std::io::{self, Write};
use std::sync::LazyLock;

use indicatif::MultiProgress;

static SCREEN: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// All progress bars of the program; they draw on stderr, and only where it is a terminal.
pub(super) fn bars() -> &'static MultiProgress {
    &SCREEN
}

/// Writes to stderr between two drawings of the bars. Errors are dropped: nobody is left who could be told.
pub(super) struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A log line comes in one piece, so it is whole when the bars are drawn again.
        SCREEN.suspend(|| {
            let _ = io::stderr().lock().write_all(bytes);
        });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
