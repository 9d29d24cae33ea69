//! Where the files of a state are: in a folder, or in a bucket of an object store. The rest of the state does not know which.
//!
//! ```text
//!                   folder                                    bucket
//!   record          a file, renamed into place                an entry of the object state.json, which is put on condition
//!   file            written as NAME.new, synced, renamed      uploaded under a name of its own, never written again
//!   held by         a lock on a file                          a lease in state.json, renewed while the program lives
//! ```

mod access;
mod bucket;
mod folder;
mod lease;
mod location;
mod problem;
mod transfer;

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use access::Access;
pub use bucket::Bucket;
pub use location::Location;

use super::StateError;
use lease::Lease;
use transfer::Upload;

/// Where the files of a state are.
#[derive(Clone, Debug)]
pub enum Storage {
    /// In this folder.
    Folder(PathBuf),
    /// In a bucket.
    Bucket(Arc<Bucket>),
}

/// What is small and changes in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// Which generation is valid.
    Manifest,
    /// Up to where an epoch that is not complete is done.
    Checkpoint,
    /// What the last run of several processes is called.
    Run,
}

/// Holds a state for as long as it lives.
#[derive(Debug)]
pub enum Hold {
    /// The lock on a file.
    Lock { _file: File },
    /// The lease of a bucket.
    Lease { _lease: Lease },
}

impl Storage {
    /// Nothing is asked of an object store yet; an error tells of its settings.
    /// Where `stop` is set, a store that does not answer is not waited for any more.
    pub fn open(location: &Location, stop: &Arc<AtomicBool>) -> Result<Storage, StateError> {
        match location {
            Location::Folder(folder) => Ok(Storage::Folder(folder.clone())),
            Location::Bucket { bucket, prefix } => {
                let access = Access::from_environment()?;
                Ok(Storage::Bucket(Arc::new(Bucket::open(access, bucket, prefix, Arc::clone(stop))?)))
            }
        }
    }

    /// The folder, where it is one.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Storage::Folder(folder) => Some(folder),
            Storage::Bucket(_) => None,
        }
    }

    /// Where its bucket is, and as whom that is spoken to; `None`: it is in a folder.
    pub fn access(&self) -> Option<String> {
        match self {
            Storage::Folder(_) => None,
            Storage::Bucket(bucket) => Some(bucket.access().to_string()),
        }
    }

    /// Whether a state could be kept in the bucket, in which there is none yet. Leaves nothing behind.
    pub fn try_out(&self) -> Result<(), StateError> {
        match self {
            Storage::Folder(_) => Ok(()),
            Storage::Bucket(bucket) => lease::try_out(bucket),
        }
    }

    /// A file's path, for words.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        match self {
            Storage::Folder(folder) => folder.join(name),
            Storage::Bucket(bucket) => bucket.path(name),
        }
    }

    /// Makes it where it is missing, and holds it. An error where another program does.
    pub(super) fn hold(&self) -> Result<Hold, StateError> {
        match self {
            Storage::Folder(folder) => folder::lock(folder).map(|file| Hold::Lock { _file: file }),
            Storage::Bucket(bucket) => lease::take(bucket).map(|lease| Hold::Lease { _lease: lease }),
        }
    }

    /// Which program holds it, in words; in a bucket it may have died since.
    pub fn holder(&self) -> Result<Option<String>, StateError> {
        match self {
            Storage::Folder(folder) => folder::holder(folder),
            Storage::Bucket(bucket) => lease::holder(bucket),
        }
    }

    /// Where a record stands, for words.
    pub(super) fn path_of(&self, record: Record) -> PathBuf {
        match self {
            Storage::Folder(folder) => folder.join(folder::name(record)),
            Storage::Bucket(bucket) => bucket.path(lease::HEAD),
        }
    }

    /// What a record says; `None`: there is none.
    pub(super) fn record(&self, record: Record) -> Result<Option<String>, StateError> {
        match self {
            Storage::Folder(folder) => folder::record(folder, record),
            Storage::Bucket(bucket) => bucket.record(record),
        }
    }

    /// Puts a record in place, whole or not at all, or takes it away. A bucket takes this from who holds it only.
    pub(super) fn put(&self, record: Record, text: Option<&str>) -> Result<(), StateError> {
        match self {
            Storage::Folder(folder) => folder::put(folder, record, text),
            Storage::Bucket(bucket) => bucket.put_record(record, text),
        }
    }

    /// The names of all files, and of what else is there; none where there is no folder.
    pub(super) fn files(&self) -> Result<Vec<String>, StateError> {
        match self {
            Storage::Folder(folder) => folder::files(folder),
            Storage::Bucket(bucket) => Ok(bucket.list()?.into_iter().map(|(name, ..)| name).collect()),
        }
    }

    /// Bytes of these files, as far as they are there, and when the last of them was written.
    pub fn measure(&self, names: &[&str]) -> Result<(u64, Option<SystemTime>), StateError> {
        let found: Vec<(u64, SystemTime)> = match self {
            Storage::Folder(folder) => {
                let of = |name: &&str| {
                    let file = std::fs::metadata(folder.join(name)).ok()?;
                    Some((file.len(), file.modified().ok()?))
                };
                names.iter().filter_map(of).collect()
            }
            Storage::Bucket(bucket) => {
                let listed = bucket.list()?.into_iter();
                listed.filter(|(name, ..)| names.contains(&name.as_str())).map(|(_, bytes, time)| (bytes, time)).collect()
            }
        };
        Ok((found.iter().map(|(bytes, _)| bytes).sum(), found.iter().map(|(_, time)| *time).max()))
    }

    /// A file, from its beginning; `None`: it is missing.
    pub(super) fn read(&self, name: &str) -> Result<Option<BufReader<Box<dyn Read>>>, StateError> {
        const BUFFER: usize = 1 << 18;
        let file = match self {
            Storage::Folder(folder) => folder::open(folder, name)?.map(|file| Box::new(file) as Box<dyn Read>),
            Storage::Bucket(bucket) => transfer::Download::open(bucket, name)?.map(|download| Box::new(download) as Box<dyn Read>),
        };
        Ok(file.map(|file| BufReader::with_capacity(BUFFER, file)))
    }

    /// Begins a file, which is there once it was finished. In a bucket its name is one that no other program gives.
    pub(super) fn create(&self, stem: &str, ending: &str) -> Result<NewFile, StateError> {
        let (name, place) = match self {
            Storage::Folder(folder) => {
                let name = format!("{stem}.{ending}");
                let (file, temporary) = folder::create(folder, &name)?;
                (name, Being::Written(BufWriter::with_capacity(1 << 20, file), temporary))
            }
            Storage::Bucket(bucket) => {
                let name = format!("{stem}-{:08x}.{ending}", bucket.tag());
                let upload = Upload::begin(bucket, &name);
                (name, Being::Uploaded(upload))
            }
        };
        Ok(NewFile { path: self.path(&name), name, being: place })
    }

    /// Removes the files that are of no use any more. Those that cannot be removed are told of and left. An error where another program
    /// has taken the state over: nothing is removed then.
    pub(super) fn remove(&self, of_no_use: impl Fn(&str) -> bool) -> Result<(), StateError> {
        let names: Vec<_> = self.files()?.into_iter().filter(|name| of_no_use(name)).collect();
        if let Storage::Bucket(bucket) = self
            && !names.is_empty()
        {
            // Held after they were listed, so none of them is a successor's.
            bucket.prove_held()?;
        }
        for name in names {
            let removed = match self {
                Storage::Folder(folder) => std::fs::remove_file(folder.join(&name)).map_err(|error| error.to_string()),
                Storage::Bucket(bucket) => bucket.remove(&name),
            };
            if let Err(error) = removed {
                tracing::warn!("cannot remove {}, which is of no use any more: {error}", self.path(&name).display());
            }
        }
        Ok(())
    }

    /// An error where it is known that another program has taken over what was held from here. Waits for nothing.
    pub fn not_taken_over(&self) -> Result<(), StateError> {
        match self {
            Storage::Folder(_) => Ok(()),
            Storage::Bucket(bucket) => bucket.not_taken_over(),
        }
    }
}

impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Storage::Folder(folder) => folder.display().fmt(f),
            Storage::Bucket(bucket) => bucket.fmt(f),
        }
    }
}

impl<P: AsRef<Path>> From<P> for Storage {
    fn from(folder: P) -> Storage {
        Storage::Folder(folder.as_ref().to_owned())
    }
}

/// A file that is being written.
#[derive(Debug)]
pub(super) struct NewFile {
    name: String,
    path: PathBuf,
    being: Being,
}

#[derive(Debug)]
enum Being {
    Written(BufWriter<File>, PathBuf),
    Uploaded(Upload),
}

impl NewFile {
    /// Its path, for words.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts it in place, durably, and gives its name.
    pub fn finish(self) -> Result<String, StateError> {
        let path = self.path;
        let finished = match self.being {
            Being::Written(file, temporary) => {
                let file = file.into_inner().map_err(|error| error.into_error());
                file.and_then(|file| folder::into_place(&file, &temporary, &path))
            }
            Being::Uploaded(upload) => upload.finish(),
        };
        finished.map_err(|source| StateError::io("write", &path, source))?;
        Ok(self.name)
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.being {
            Being::Written(file, _) => file.write(bytes),
            Being::Uploaded(upload) => upload.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.being {
            Being::Written(file, _) => file.flush(),
            Being::Uploaded(upload) => upload.flush(),
        }
    }
}
