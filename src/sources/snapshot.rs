//! A folder of dump files as Discogs publishes them, and what identifies them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use thiserror::Error;

use super::checksums::{CHECKSUM, checksums};
use super::kafka::{Span, Stretch};
use super::sum;
use crate::disk;
use crate::model::{Kind, PerKind};
use crate::telemetry::{Cause, Measures, RunStage};

/// What is wrong with a dumps folder.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// The folder or a file in it cannot be read.
    #[error("cannot read {path}{}", advice(source))]
    Io {
        /// Folder or file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// There is no dump in it.
    #[error(
        "{path} holds no dump: expected files named discogs_YYYYMM01_artists.xml.gz, ..._labels.xml.gz, ..._masters.xml.gz or \
         ..._releases.xml.gz (or .xml){hint}"
    )]
    Empty {
        /// The folder.
        path: PathBuf,
        /// What was found instead.
        hint: String,
    },
    /// Files of more than one month.
    #[error("{path} holds dumps of several months ({months}): name a folder with one month")]
    SeveralMonths {
        /// The folder.
        path: PathBuf,
        /// The months.
        months: String,
    },
    /// One kind twice.
    #[error("{path} holds two dumps of {kind}s ({first}, {second}): keep one of them")]
    Twice {
        /// The folder.
        path: PathBuf,
        /// The kind.
        kind: Kind,
        /// A file name.
        first: String,
        /// A file name.
        second: String,
    },
    /// A file changed between being identified and being read.
    #[error("{path} was changed while it was read: run the same command again once it is complete")]
    Changed {
        /// The file.
        path: PathBuf,
    },
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => ": it is not there; name the folder that holds a month's dump files",
        io::ErrorKind::NotADirectory => ": it is a file; name the folder that it is in",
        _ => disk::advice(error),
    }
}

/// Where the records of a dump file are read from.
#[derive(Clone, Debug)]
pub enum Place {
    /// The file itself.
    File(PathBuf),
    /// A topic that it was published to.
    Topic(Arc<Stretch>),
    /// A topic that another program fills.
    Unmarked(Arc<Span>),
}

/// One dump file.
#[derive(Clone, Debug)]
pub struct DumpFile {
    /// Which kind of records it holds.
    pub kind: Kind,
    /// Where it is.
    pub place: Place,
    /// Its name, without the folder.
    pub name: String,
    /// Its size in bytes, as it is on disk; of one that was published, its records' size; 0 where it is not known.
    pub bytes: u64,
    /// sha256 of the file as it is on disk, in hexadecimal: its identity. Of a part of a topic, its offsets.
    pub sha256: String,
    /// Where `sha256` is what CHECKSUM.txt states: the file's own, once it has been read to its end.
    pub unproven: Option<Arc<OnceLock<String>>>,
    /// Length, time of the last change and inode, which a file that takes its place does not share; empty where it is none.
    pub stamp: String,
    /// Whether CHECKSUM.txt beside it states another sha256; `None` where it states none.
    pub checksum_agrees: Option<bool>,
}

impl DumpFile {
    /// The file's own sha256 where it has been read, whatever is stated of it.
    pub fn read_sha256(&self) -> &str {
        self.unproven.as_ref().and_then(|read| read.get()).unwrap_or(&self.sha256)
    }

    /// What is noted of it while it has not been read to its end.
    pub fn noted(&self) -> String {
        if self.unproven.is_some() { format!("{} {}", self.sha256, self.stamp) } else { self.sha256.clone() }
    }

    /// Whether this was noted of it. What was noted as stated counts for the very file only, and once that is proven.
    pub fn is_noted_as(&self, noted: &str) -> bool {
        self.unproven.is_none() && (noted == self.sha256 || noted == format!("{} {}", self.sha256, self.stamp))
    }
}

/// The dumps that a folder holds, by name.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    month: String,
    names: PerKind<Option<String>>,
    /// What CHECKSUM.txt states, by name.
    stated: BTreeMap<String, String>,
}

/// The files of one month; any subset of the kinds.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// `2025-12`.
    pub month: String,
    /// The files that are there.
    pub files: PerKind<Option<DumpFile>>,
}

impl Folder {
    /// Finds the dumps in a folder, and reads none of them.
    pub fn look(folder: &Path) -> Result<Folder, SnapshotError> {
        let io = |source| SnapshotError::Io { path: folder.to_owned(), source };
        let mut names: Vec<String> = Vec::new();
        for entry in fs::read_dir(folder).map_err(io)? {
            names.push(entry.map_err(io)?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        let mut months = BTreeMap::new();
        let mut found: PerKind<Option<String>> = PerKind::default();
        for name in &names {
            let Some((month, kind)) = parse_name(name) else { continue };
            if let Some(first) = &found[kind]
                && months.contains_key(&month)
            {
                return Err(SnapshotError::Twice { path: folder.to_owned(), kind, first: first.clone(), second: name.clone() });
            }
            months.insert(month, ());
            found[kind] = Some(name.clone());
        }
        let mut months = months.into_keys();
        let Some(month) = months.next() else {
            return Err(SnapshotError::Empty { path: folder.to_owned(), hint: hint(folder, &names) });
        };
        if let Some(other) = months.next() {
            let months = [month, other].into_iter().chain(months).collect::<Vec<_>>().join(", ");
            return Err(SnapshotError::SeveralMonths { path: folder.to_owned(), months });
        }
        Ok(Folder { path: folder.to_owned(), month, names: found, stated: stated(folder, &names)? })
    }

    /// Identifies the dumps: each is read once, all of them at the same time. Where CHECKSUM.txt states a sha256 that is not `known`, that
    /// is taken for the file's, and proven when it is read: who knows nothing of a snapshot does not confuse it with another.
    pub fn identify(&self, known: impl Fn(Kind, &str) -> bool) -> Result<Snapshot, SnapshotError> {
        let mut files: PerKind<Option<DumpFile>> = PerKind::from_fn(|_| None);
        let mut sums = Vec::new();
        for (kind, name) in self.names.iter() {
            let Some(name) = name else { continue };
            let path = self.path.join(name);
            let stated = self.stated.get(name);
            // Opened, as what cannot be read is to be found before anything is begun.
            let metadata = File::open(&path).and_then(|file| file.metadata());
            let metadata = metadata.map_err(|source| SnapshotError::Io { path: path.clone(), source })?;
            let (bytes, inode) = (metadata.len(), metadata.ino());
            let stamp = format!("{bytes} {}.{:09} {inode}", metadata.mtime(), metadata.mtime_nsec());
            let taken = stated.filter(|stated| !known(kind, stated));
            if taken.is_none() {
                sums.push((kind, path.clone(), stated));
            }
            files[kind] = Some(DumpFile {
                kind,
                place: Place::File(path),
                name: name.clone(),
                bytes,
                sha256: taken.cloned().unwrap_or_default(),
                unproven: taken.map(|_| Arc::default()),
                stamp,
                checksum_agrees: None,
            });
        }
        let sums = std::thread::scope(|scope| {
            let threads: Vec<_> =
                sums.into_iter().map(|(kind, path, stated)| scope.spawn(move || (kind, stated, sum::of_file(&path), path))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect::<Vec<_>>()
        });
        for (kind, stated, sum, path) in sums {
            let (bytes, sha256) = sum.map_err(|source| SnapshotError::Io { path, source })?;
            if let Some(file) = &mut files[kind] {
                file.checksum_agrees = stated.map(|stated| *stated == sha256);
                (file.bytes, file.sha256) = (bytes, sha256);
            }
        }
        Ok(Snapshot { month: self.month.clone(), files })
    }

    /// The same as a stage of a run.
    pub fn identify_measured(&self, measures: &Measures, known: impl Fn(Kind, &str) -> bool) -> Result<Snapshot, SnapshotError> {
        // What is left to be proven counts when it is read.
        let read = |file: &&DumpFile| file.unproven.is_none();
        let bytes = |found: &Snapshot| found.files.0.iter().flatten().filter(read).map(|file| file.bytes).sum();
        let size = |found: &Result<Snapshot, _>| (0, found.as_ref().map_or(0, bytes));
        measures.waiting(RunStage::Identify, Cause::Source, size, || self.identify(known))
    }
}

impl Snapshot {
    /// Finds the dumps in a folder and identifies all of them by reading them.
    pub fn find(folder: &Path) -> Result<Snapshot, SnapshotError> {
        Folder::look(folder)?.identify(|_, _| true)
    }
}

/// `discogs_20251201_masters.xml.gz` is (2025-12, master).
pub fn parse_name(name: &str) -> Option<(String, Kind)> {
    let rest = name.strip_prefix("discogs_")?;
    let rest = rest.strip_suffix(".xml.gz").or_else(|| rest.strip_suffix(".xml"))?;
    let (date, plural) = rest.split_once('_')?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.plural() == plural)?;
    let month: u32 = date.get(4..6)?.parse().ok()?;
    let well_formed = date.len() == 8 && date.bytes().all(|b| b.is_ascii_digit()) && (1..=12).contains(&month);
    well_formed.then(|| (format!("{}-{}", &date[..4], &date[4..6]), kind))
}

/// Name and month of a dump that the folder holds, if it is one that can be read and holds any.
pub fn a_dump_in(folder: &Path) -> Option<(String, String)> {
    let names = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.into_iter().find_map(|name| parse_name(&name).map(|(month, _)| (name, month)))
}

fn hint(folder: &Path, names: &[String]) -> String {
    // Of several the newest, by their names.
    if let Some(name) = names.iter().rfind(|name| a_dump_in(&folder.join(name)).is_some()) {
        return format!("; {} does: name one month's folder", folder.join(name).display());
    }
    match names.iter().find(|name| name.contains(".xml")) {
        Some(name) => format!("; {name} is not named like that, and the month is taken from the name"),
        None if names.is_empty() => "; the folder is empty".to_owned(),
        None => String::new(),
    }
}

/// What the checksum files in the folder say.
fn stated(folder: &Path, names: &[String]) -> Result<BTreeMap<String, String>, SnapshotError> {
    let mut found = BTreeMap::new();
    for name in names.iter().filter(|name| name.ends_with(CHECKSUM)) {
        let path = folder.join(name);
        found.extend(checksums(&fs::read_to_string(&path).map_err(|source| SnapshotError::Io { path, source })?));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_discogs_gives_them_are_understood_and_others_are_not() {
        let master = Some(("2025-12".to_owned(), Kind::Master));
        assert_eq!(parse_name("discogs_20251201_masters.xml.gz"), master);
        assert_eq!(parse_name("discogs_20251201_masters.xml"), master);
        for name in ["discogs_20251301_masters.xml.gz", "discogs_2025_masters.xml.gz", "masters.xml.gz", "discogs_20251201_master.xml"] {
            assert_eq!(parse_name(name), None, "{name}");
        }
    }

    #[test]
    fn a_folder_with_two_months_or_with_none_is_refused_in_words() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let refused = |folder: &Path| Snapshot::find(folder).expect_err("refused").to_string();
        assert!(refused(folder.path()).contains("the folder is empty"));
        fs::write(folder.path().join("masters.xml.gz"), "").expect("written");
        assert!(refused(folder.path()).contains("masters.xml.gz is not named like that"));
        for month in ["discogs_20251101_masters.xml", "discogs_20251201_masters.xml"] {
            fs::write(folder.path().join(month), "").expect("written");
        }
        assert!(refused(folder.path()).contains("2025-11, 2025-12"));
        let above = tempfile::tempdir().expect("temporary folder");
        let month = above.path().join("2025-11");
        fs::create_dir(&month).expect("made");
        fs::write(month.join("discogs_20251101_masters.xml"), "").expect("written");
        assert!(refused(above.path()).contains("2025-11 does: name one month's folder"));
    }

    #[test]
    fn a_path_that_is_no_folder_is_told_from_one_that_is_not_there() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let refused = |path: &Path| Snapshot::find(path).expect_err("refused").to_string();
        let file = folder.path().join("discogs_20251201_masters.xml");
        assert!(refused(&file).ends_with("it is not there; name the folder that holds a month's dump files"));
        fs::write(&file, "").expect("written");
        assert!(refused(&file).ends_with("it is a file; name the folder that it is in"));
    }

    #[test]
    fn the_checksum_file_is_held_against_the_dump() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("written");
        write("discogs_20251201_masters.xml", "<masters></masters>");
        write("discogs_20251201_CHECKSUM.txt", &format!("{} discogs_20251201_masters.xml\n", "0".repeat(64)));
        let find = || Snapshot::find(folder.path()).expect("found").files[Kind::Master].clone().expect("masters");
        assert_eq!(find().checksum_agrees, Some(false));
        write("discogs_20251201_CHECKSUM.txt", &format!("{} discogs_20251201_masters.xml\n", find().sha256));
        assert_eq!(find().checksum_agrees, Some(true));
    }
}
