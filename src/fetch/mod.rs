//! Gets a month's dumps from where Discogs offers them.
//!
//! ```text
//!   years ─ publications of a year ─ CHECKSUM.txt ─┬─ the files that are there already and agree
//!   (pages, only names are taken from them)        └─ the others: received beside their name, checked, put in place
//! ```
//!
//! The place lets some 15 requests pass and then none for about an hour, so there are few: two or three pages, the checksums, and one
//! attempt a file, one after the other. It has no ranges: a file that was cut begins anew. `CHECKSUM.txt` is written last there, and is
//! what makes a month complete; here it is written first, so that files of an earlier publication beside it are told from its own.

mod client;
mod download;
mod error;
mod listing;
mod retry_after;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde::Serialize;
use url::Url;

use crate::disk;
use crate::model::{Kind, PerKind};
use crate::sources::{CHECKSUM, DumpFile, Place, Snapshot, StoppedOnRequest, a_dump_in, checksums, sha256_of_file};
use crate::telemetry::{Progress, Subject};
use client::Client;
pub use error::FetchError;
use listing::{Listed, publications, years};

/// Discogs' own place.
pub const PLACE: &str = "https://data.discogs.com/";

/// A page lists some sixty names in some 20 kB.
const PAGE: usize = 4 << 20;

/// Four lines of 97 bytes.
const CHECKSUMS: usize = 64 << 10;

/// How many years, and how many publications whose `CHECKSUM.txt` turns out not to name everything, are looked at for the newest month.
const LOOK_BACK: usize = 2;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Fetching {
    /// Each month goes into a folder of its own in it, `2026-08`.
    pub folder: PathBuf,
    /// The place.
    pub place: Url,
    /// Set when the user wants to stop.
    pub stop: Arc<AtomicBool>,
    /// Where progress is shown.
    pub progress: Arc<Progress>,
}

/// A month that is complete at the place, before any of its files is fetched.
#[derive(Clone, Debug)]
pub struct Offered {
    /// `2026-08`.
    pub month: String,
    /// As in the names of its files: `20260801`.
    date: String,
    /// `CHECKSUM.txt`, as it is.
    text: String,
    /// sha256 of each file.
    sums: PerKind<String>,
}

/// What was fetched.
#[derive(Clone, Debug, Serialize)]
pub struct Fetched {
    /// `2026-08`.
    pub month: String,
    /// Where its files are.
    pub folder: PathBuf,
    /// How long it took.
    pub seconds: f64,
    /// How long of that the place wanted to be left alone.
    pub waited_seconds: f64,
    /// The dumps, all of which agree with `CHECKSUM.txt`.
    pub files: BTreeMap<Kind, FetchedFile>,
}

/// One dump.
#[derive(Clone, Debug, Serialize)]
pub struct FetchedFile {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its sha256.
    pub sha256: String,
    /// Whether it was fetched; else it was there.
    pub fetched: bool,
}

/// One visit to the place.
pub struct Fetcher {
    fetching: Fetching,
    client: Client,
    begun: Instant,
}

impl Fetcher {
    /// Looks at the folder; asks for nothing yet.
    pub fn new(fetching: Fetching) -> Result<Fetcher, FetchError> {
        let folder = &fetching.folder;
        if let Some((name, _)) = a_dump_in(folder) {
            return Err(FetchError::OfAMonth { folder: folder.clone(), name });
        }
        let client = Client::new(&fetching.place, &fetching.stop);
        Ok(Fetcher { client, fetching, begun: Instant::now() })
    }

    /// The newest month that is complete. What is newer and is not is told.
    pub fn newest(&mut self) -> Result<Offered, FetchError> {
        let years = years(&self.client.text("", "the list of years", PAGE)?);
        let mut incomplete = Vec::new();
        for year in years.iter().rev().take(LOOK_BACK) {
            for (date, listed) in self.year(year)?.iter().rev() {
                let problem = match self.look(date, listed)? {
                    Ok(offered) => return Ok(offered),
                    Err(problem) => problem,
                };
                tracing::info!("{problem}: it is passed over");
                incomplete.push(problem);
                if incomplete.len() > LOOK_BACK {
                    break;
                }
            }
        }
        match incomplete.into_iter().next() {
            Some(problem) => Err(FetchError::Incomplete { problem }),
            None => Err(FetchError::NoListing { what: self.client.place().to_owned() }),
        }
    }

    /// A month, `2026-08`, if it is complete.
    pub fn month(&mut self, month: &str) -> Result<Offered, FetchError> {
        let year = month.split('-').next().unwrap_or_default();
        let listed = match self.year(year) {
            Err(FetchError::NotThere { .. }) => BTreeMap::new(),
            listed => listed?,
        };
        let Some((date, of_month)) = listed.iter().rfind(|(date, _)| listing::month(date).as_deref() == Some(month)) else {
            let mut there: Vec<_> = listed.keys().filter(|date| date.starts_with(year)).filter_map(|date| listing::month(date)).collect();
            there.dedup();
            let there = match there.as_slice() {
                [] => format!("there is nothing of {year}"),
                months => format!("of {year} there is {}", months.join(", ")),
            };
            return Err(FetchError::NoMonth { month: month.to_owned(), place: self.client.place().to_owned(), there });
        };
        self.look(date, of_month)?.map_err(|problem| FetchError::Incomplete { problem })
    }

    /// Fetches what is not there, or is not as `CHECKSUM.txt` says.
    pub fn take(&mut self, mut offered: Offered) -> Result<Fetched, FetchError> {
        let folder = self.fetching.folder.join(&offered.month);
        disk::create_folder(&folder).map_err(|error| FetchError::io("create the folder", &folder, error))?;
        let _lock = lock(&self.fetching.folder)?;
        let _month = tracing::error_span!("month", month = offered.month).entered();
        self.fetching.progress.belongs_here();
        self.keep_checksums(&folder, &offered)?;
        let mut files = PerKind::from_fn(|_| None);
        for kind in Kind::ALL {
            files[kind] = self.there(&folder, kind, &offered)?;
        }
        for kind in Kind::ALL {
            if files[kind].is_none() {
                files[kind] = Some(self.file(&folder, kind, &mut offered)?);
            }
        }
        let files: BTreeMap<_, _> = Kind::ALL.into_iter().filter_map(|kind| Some((kind, files[kind].take()?))).collect();
        let replaced: Vec<_> =
            files.iter().filter(|(kind, file)| file.sha256 != offered.sums[**kind]).map(|(_, file)| file.name.as_str()).collect();
        if !replaced.is_empty() {
            return Err(FetchError::Replaced { names: replaced.join(", ") });
        }
        let (seconds, waited_seconds) = (self.begun.elapsed().as_secs_f64(), self.client.waited().as_secs_f64());
        Ok(Fetched { month: offered.month, folder, seconds, waited_seconds, files })
    }

    /// The snapshot that the month's files are, though they may not be here yet.
    pub fn snapshot(&self, offered: &Offered) -> Snapshot {
        let folder = self.fetching.folder.join(&offered.month);
        let files = PerKind::from_fn(|kind| {
            let (name, sha256) = (offered.name(kind), offered.sums[kind].clone());
            let place = Place::File(folder.join(&name));
            Some(DumpFile { kind, place, name, bytes: 0, sha256, unproven: None, stamp: String::new(), checksum_agrees: Some(true) })
        });
        Snapshot { month: offered.month.clone(), files }
    }

    fn year(&mut self, year: &str) -> Result<BTreeMap<String, Listed>, FetchError> {
        Ok(publications(&self.client.text(&format!("prefix=data%2F{year}%2F"), &format!("the list of {year}"), PAGE)?))
    }

    /// What is offered of a publication, or what is missing of it.
    fn look(&mut self, date: &str, listed: &Listed) -> Result<Result<Offered, String>, FetchError> {
        let month = listing::month(date).unwrap_or_default();
        if !listed.checksum {
            let kinds: Vec<_> = listed.kinds.iter().filter(|(_, there)| **there).map(|(kind, _)| kind.plural()).collect();
            let kinds = if kinds.is_empty() { "nothing".to_owned() } else { kinds.join(", ") };
            return Ok(Err(format!("{month} is not complete: {kinds} are there, and CHECKSUM.txt, which comes last, is not")));
        }
        self.offered(date)
    }

    fn offered(&mut self, date: &str) -> Result<Result<Offered, String>, FetchError> {
        let name = format!("discogs_{date}{CHECKSUM}");
        let month = listing::month(date).unwrap_or_default();
        let text = match self.client.text(&download(&name), &name, CHECKSUMS) {
            // Taken back since it was listed, or not there yet.
            Err(FetchError::NotThere { .. }) => return Ok(Err(format!("{month} is not complete: {name} is listed and not there"))),
            text => text?,
        };
        let found = checksums(&text);
        let mut offered = Offered { month, date: date.to_owned(), text, sums: PerKind::default() };
        let is_sum = |sum: &&String| sum.len() == 64 && sum.bytes().all(|byte| byte.is_ascii_hexdigit());
        let mut missing = Vec::new();
        for kind in Kind::ALL {
            match found.get(&offered.name(kind)).filter(is_sum) {
                Some(sum) => offered.sums[kind] = sum.clone(),
                None => missing.push(kind.plural()),
            }
        }
        match missing.as_slice() {
            [] => Ok(Ok(offered)),
            missing => Ok(Err(format!("{} is not complete: {name} says nothing of its {}", offered.month, missing.join(", ")))),
        }
    }

    /// Keeps what the place states beside the files.
    fn keep_checksums(&self, folder: &Path, offered: &Offered) -> Result<(), FetchError> {
        let path = folder.join(format!("discogs_{}{CHECKSUM}", offered.date));
        match fs::read(&path) {
            Ok(bytes) if bytes == offered.text.as_bytes() => Ok(()),
            _ => download::write(&path, &offered.text),
        }
    }

    /// The file, if it is there and as it should be.
    fn there(&self, folder: &Path, kind: Kind, offered: &Offered) -> Result<Option<FetchedFile>, FetchError> {
        if self.fetching.stop.load(Ordering::Relaxed) {
            return Err(StoppedOnRequest.into());
        }
        let name = offered.name(kind);
        let path = folder.join(&name);
        let (bytes, sha256) = match sha256_of_file(&path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(FetchError::io("read", &path, error)),
        };
        if sha256 != offered.sums[kind] {
            tracing::info!("{} is not what CHECKSUM.txt says: it is fetched anew", path.display());
            return Ok(None);
        }
        Ok(Some(FetchedFile { name, bytes, sha256, fetched: false }))
    }

    /// Fetches a file. Where it is not what was stated, the place may have replaced it since, and states something else now.
    fn file(&mut self, folder: &Path, kind: Kind, offered: &mut Offered) -> Result<FetchedFile, FetchError> {
        let name = offered.name(kind);
        let body = self.client.get(&download(&name), &name)?;
        let (progress, subject) = (&self.fetching.progress, Subject::File(kind));
        progress.started(subject, body.length);
        let part = download::receive(body, &folder.join(&name), |bytes| progress.advance(subject, bytes, 0))?;
        progress.done(subject);
        if part.sha256 != offered.sums[kind] {
            let differs = |part: &download::Part, stated: &str| FetchError::Differs {
                name: name.clone(),
                received: part.bytes,
                sha256: part.sha256.clone(),
                stated: stated.to_owned(),
            };
            tracing::info!("{name} is not what CHECKSUM.txt said: seeing whether that was replaced");
            match self.offered(&offered.date)? {
                Ok(now) if now.sums[kind] == part.sha256 => *offered = now,
                _ => return Err(differs(&part, &offered.sums[kind])),
            }
            self.keep_checksums(folder, offered)?;
        }
        let file = FetchedFile { name, bytes: part.bytes, sha256: part.sha256.clone(), fetched: true };
        part.place()?;
        Ok(file)
    }
}

impl Offered {
    fn name(&self, kind: Kind) -> String {
        format!("discogs_{}_{}.xml.gz", self.date, kind.plural())
    }
}

/// The query by which a file is had; its name holds nothing but what [`listing`] lets pass.
fn download(name: &str) -> String {
    let year = name.get("discogs_".len().."discogs_".len() + 4).unwrap_or_default();
    format!("download=data%2F{year}%2F{name}")
}

/// In the months' folder, the file that is locked.
const LOCK: &str = ".fetch.lock";

/// Held while a month is fetched.
fn lock(folder: &Path) -> Result<File, FetchError> {
    let path = folder.join(LOCK);
    // A file, as some systems lock no folders.
    match disk::lock(&path).map_err(|error| FetchError::io("lock", &path, error))? {
        (file, true) => Ok(file),
        (_, false) => Err(FetchError::Locked { folder: folder.to_owned() }),
    }
}
