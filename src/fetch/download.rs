//! One file: written beside its name, and in its place only once it is whole, checked and on disk.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::FetchError;
use super::client::Body;
use crate::disk;
use crate::sources::hexadecimal;

/// Six times as much as the largest dump so far has: what goes on beyond it fills the disk and is no dump.
const LIMIT: u64 = 64 << 30;

/// What each gzip file begins with.
const GZIP: &[u8] = &[0x1f, 0x8b];

/// A file that came, not yet in its place. Dropped, it is gone.
pub(super) struct Part {
    path: PathBuf,
    target: PathBuf,
    /// Its bytes.
    pub bytes: u64,
    /// Their sha256.
    pub sha256: String,
    kept: bool,
}

/// Writes a file as it comes; `came` hears of each piece.
pub(super) fn receive(mut body: Body, target: &Path, mut came: impl FnMut(u64)) -> Result<Part, FetchError> {
    let path = part_of(target);
    let io = |action, source| FetchError::io(action, &path, source);
    remove(&path)?;
    // Made anew, so that nothing else is written through a link of that name.
    let mut file = disk::options().create_new(true).open(&path).map_err(|error| io("create", error))?;
    let mut part = Part { path: path.clone(), target: target.to_owned(), bytes: 0, sha256: String::new(), kept: false };
    let mut hash = Sha256::new();
    let mut begins = Vec::new();
    while let Some(piece) = body.piece()? {
        if begins.len() < GZIP.len() {
            begins.extend_from_slice(&piece);
            if begins.len() >= GZIP.len() && !begins.starts_with(GZIP) {
                begins.truncate(40);
                return Err(FetchError::NotGzip { what: body.what, begins: String::from_utf8_lossy(&begins).into_owned() });
            }
        }
        file.write_all(&piece).map_err(|error| io("write", error))?;
        hash.update(&piece);
        part.bytes += piece.len() as u64;
        came(piece.len() as u64);
        if part.bytes > LIMIT {
            return Err(FetchError::Endless { what: body.what, limit: LIMIT });
        }
    }
    if let Some(length) = body.length.filter(|length| *length != part.bytes) {
        let problem = format!("{} of {length} bytes came", part.bytes);
        return Err(FetchError::Failed { what: body.what, problem });
    }
    file.sync_all().map_err(|error| io("write", error))?;
    part.sha256 = hexadecimal(hash);
    Ok(part)
}

/// Puts a short text in its place in the same way.
pub(super) fn write(target: &Path, text: &str) -> Result<(), FetchError> {
    let path = part_of(target);
    let io = |error| FetchError::io("write", &path, error);
    remove(&path)?;
    let part = Part { path: path.clone(), target: target.to_owned(), bytes: text.len() as u64, sha256: String::new(), kept: false };
    let mut file = disk::options().create_new(true).open(&path).map_err(io)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io)?;
    part.place()
}

impl Part {
    /// Puts it in its place.
    pub fn place(mut self) -> Result<(), FetchError> {
        let io = |error| FetchError::io("put in place", &self.target, error);
        fs::rename(&self.path, &self.target).map_err(io)?;
        self.kept = true;
        let folder = disk::folder_of(&self.target);
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| FetchError::io("write", folder, error))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = fs::remove_file(&self.path)
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!("cannot remove {}, which is of no use: {error}", self.path.display());
        }
    }
}

fn part_of(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

fn remove(path: &Path) -> Result<(), FetchError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(FetchError::io("remove", path, error)),
        _ => Ok(()),
    }
}
