//! What happens when the program itself is at fault.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, Write};
use std::panic::{self, PanicHookInfo};
use std::process;
use std::thread;

use super::exit::Exit;

/// Makes any panic, on any thread, end the process at once with status 1.
///
/// A panic on one of timely's workers otherwise leaves the others waiting for it for ever, and a job that hangs is noticed later than
/// one that failed. Ending at once is safe: what the last generation does not cover is read again.
pub fn end_the_process() {
    panic::set_hook(Box::new(|info| {
        report(info);
        process::exit(Exit::Failed as i32);
    }));
}

/// Written to stderr directly: a lock of the progress bars may be held by the thread that panicked.
fn report(info: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let message = info.payload_as_str().unwrap_or("no message");
    let location = info.location().map(|location| format!(" at {location}")).unwrap_or_default();
    let mut text = format!(
        "\nthread {} panicked{location}: {message}\n\
         this is a defect of discodiff {}: run the same command again, it goes on\n",
        thread.name().unwrap_or("without a name"),
        env!("CARGO_PKG_VERSION"),
    );
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        text += &format!("{backtrace}\n");
    }
    let _ = io::stderr().write_all(text.as_bytes());
}
