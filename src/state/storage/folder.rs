//! A state in a folder.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::{Record, StateError};
use crate::disk;

const LOCK: &str = "lock";

/// The file of a record.
pub fn name(record: Record) -> &'static str {
    match record {
        Record::Manifest => "manifest.json",
        Record::Checkpoint => "checkpoint",
        Record::Run => "run",
    }
}

pub fn record(folder: &Path, record: Record) -> Result<Option<String>, StateError> {
    let path = folder.join(name(record));
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(source) => Err(StateError::io("read", &path, source)),
    }
}

/// Puts a file in place whole or not at all, or takes it away, durably.
pub fn put(folder: &Path, record: Record, text: Option<&str>) -> Result<(), StateError> {
    let path = folder.join(name(record));
    let Some(text) = text else {
        let removed = match fs::remove_file(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            removed => removed,
        };
        return removed.and_then(|()| sync(folder)).map_err(|source| StateError::io("remove", &path, source));
    };
    let io = |source| StateError::io("write", &path, source);
    let (mut file, temporary) = create(folder, name(record))?;
    file.write_all(text.as_bytes()).map_err(io)?;
    file.sync_all().map_err(io)?;
    if record == Record::Manifest {
        fail::fail_point!("state-before-rename");
    }
    fs::rename(&temporary, &path).map_err(io)?;
    sync(folder).map_err(io)
}

/// Names in the folder; none where there is no folder.
pub fn files(folder: &Path) -> Result<Vec<String>, StateError> {
    let io = |source| StateError::io("list", folder, source);
    let entries = match fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(Vec::new()),
        entries => entries.map_err(io)?,
    };
    entries.map(|entry| Ok(entry.map_err(io)?.file_name().to_string_lossy().into_owned())).collect()
}

pub fn open(folder: &Path, name: &str) -> Result<Option<File>, StateError> {
    let path = folder.join(name);
    match File::open(&path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StateError::io("read", &path, source)),
    }
}

/// An empty file that has not come to its name yet, and its path.
pub fn create(folder: &Path, name: &str) -> Result<(File, PathBuf), StateError> {
    let temporary = folder.join(format!("{name}.new"));
    let file = disk::create(&temporary).map_err(|source| StateError::io("create", &temporary, source))?;
    Ok((file, temporary))
}

/// Makes a file durable under its name.
pub fn into_place(file: &File, temporary: &Path, path: &Path) -> io::Result<()> {
    file.sync_all()?;
    fs::rename(temporary, path)?;
    sync(disk::folder_of(path))
}

/// Makes names in the folder durable.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Who has locked the folder; `None`: nobody has.
pub fn holder(folder: &Path) -> Result<Option<String>, StateError> {
    let Some(mut file) = open(folder, LOCK)? else { return Ok(None) };
    if !matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)) {
        return Ok(None);
    }
    let mut holder = String::new();
    file.read_to_string(&mut holder).map_err(|source| StateError::io("read", &folder.join(LOCK), source))?;
    Ok(Some(holder.trim().to_owned()))
}

/// Makes the folder where it is missing, and locks it.
pub fn lock(folder: &Path) -> Result<File, StateError> {
    disk::create_folder(folder).map_err(|source| StateError::io("create the folder", folder, source))?;
    let path = folder.join(LOCK);
    let io = |source| StateError::io("lock", &path, source);
    let (mut file, locked) = disk::lock(&path).map_err(io)?;
    if !locked {
        let mut holder = String::new();
        // Who holds it is said where it can be read; that it is held is what matters.
        let _ = file.read_to_string(&mut holder);
        return Err(StateError::Locked { place: folder.display().to_string(), holder: holder.trim().to_owned() });
    }
    file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "process {}", std::process::id())).map_err(io)?;
    Ok(file)
}
