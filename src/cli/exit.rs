//! How a command ended, as a number that scripts can rely on.

use std::process::ExitCode;

/// The exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All was done.
    Complete = 0,
    /// It could not be done; the state is as the last complete run left it.
    Failed = 1,
    /// The command, a flag or a setting is wrong by itself; nothing was begun.
    Usage = 2,
    /// All was done, but records were rejected, deletes withheld, or a sink is still behind.
    Incomplete = 3,
    /// Stopped on request; the same command goes on.
    Stopped = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}
