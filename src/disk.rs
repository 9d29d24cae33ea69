//! Files that the program writes: for their owner only to read, as only the owner knows who else may; and what to do where a disk refuses.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// How long a lock is waited for before it is taken for that of a run that goes on.
const ENDING: Duration = Duration::from_secs(1);

/// How files are opened that may be made by it. Those that are there keep the rights that they have.
pub fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

/// An empty file.
pub fn create(path: &Path) -> io::Result<File> {
    options().create(true).truncate(true).open(path)
}

/// A folder, and those above it, where they are not there.
pub fn create_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// The folder that a file is in: this one, where only a name is given.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes a file where it is missing, and locks it for as long as it is open: `true` where it is locked, `false` where another has it.
pub fn lock(path: &Path) -> io::Result<(File, bool)> {
    let file = options().create(true).truncate(false).read(true).open(path)?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok((file, true)),
            // Who has just ended may have started a program, which holds what it held until it has come to be itself.
            Err(TryLockError::WouldBlock) if begun.elapsed() < ENDING => thread::sleep(Duration::from_millis(20)),
            Err(TryLockError::WouldBlock) => return Ok((file, false)),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// What to do about an error, for the end of a sentence.
pub fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => ": the disk is full; make room and run the same command again",
        ErrorKind::FileTooLarge => {
            ": the file may not grow further (ulimit -f, or the file system); raise the limit and run the same command again"
        }
        ErrorKind::PermissionDenied => ": this user may not; give it the right, or name another place",
        ErrorKind::AlreadyExists | ErrorKind::NotADirectory => ": a file is in the way; name a folder",
        ErrorKind::ReadOnlyFilesystem => ": the file system is read-only; mount it writable, or name another place",
        _ => "",
    }
}

/// Lets a write beyond the limit of a file's size fail like any other, with words, instead of by a signal that ends the process. For the
/// calling thread and those that it starts.
pub fn outlive_limits() {
    let mut signals = nix::sys::signal::SigSet::empty();
    signals.add(nix::sys::signal::Signal::SIGXFSZ);
    if let Err(error) = signals.thread_block() {
        tracing::debug!("SIGXFSZ is not blocked: {error}");
    }
}
