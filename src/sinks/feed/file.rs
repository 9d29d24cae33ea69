//! A file with every change as one line of JSON, which only ever grows by whole epochs.
//!
//! Beside `FILE` stands `FILE.binding.json`: which state the feed belongs to, and how long it was after the last complete epoch. Lines
//! of an epoch that did not complete are cut off when the next run begins.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::classed;
use super::{gap, writer};
use crate::disk;
use crate::model::PerKind;
use crate::sinks::{Epoch, From, Holds, KindEnd, Run, Sink, SinkError, Standing, Writer, Writers};
use crate::sources::Tick;

/// How long the feed was when an epoch had been completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    epoch: Epoch,
    /// In bytes.
    length: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Binding {
    feed: Uuid,
    state: Uuid,
    /// The epoch that was completed last, and the one before: a state that did not see the last completed goes back by one.
    last: Option<Mark>,
    before: Option<Mark>,
    begun: Option<Epoch>,
}

/// A JSON Lines file of changes.
#[derive(Debug)]
pub struct Feed {
    path: PathBuf,
    binding: Option<Binding>,
}

impl Feed {
    /// Opens the feed at `path`; nothing is created before [`Sink::begin`].
    pub fn open(path: &Path) -> Result<Feed, SinkError> {
        let mut feed = Feed { path: path.to_owned(), binding: None };
        let binding = feed.binding_path();
        feed.binding = match std::fs::read(&binding) {
            Ok(bytes) => Some(serde_json::from_slice(&bytes).map_err(|error| {
                SinkError::stop(format!("{} is damaged ({error}): restore it, or name another feed", binding.display()))
            })?),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(classed("read", &binding, error)),
        };
        Ok(feed)
    }

    fn binding_path(&self) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".binding.json");
        PathBuf::from(name)
    }

    fn bind(&mut self, binding: Binding) -> Result<(), SinkError> {
        let path = self.binding_path();
        let temporary = path.with_extension("json.new");
        let bytes = serde_json::to_vec_pretty(&binding).unwrap_or_default();
        let write = || {
            let mut file = disk::create(&temporary)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            std::fs::rename(&temporary, &path)
        };
        write().map_err(|error| classed("write", &path, error))?;
        self.binding = Some(binding);
        Ok(())
    }

    fn length(&self) -> Result<Option<u64>, SinkError> {
        match std::fs::metadata(&self.path) {
            Ok(metadata) if metadata.is_file() => Ok(Some(metadata.len())),
            Ok(_) => Err(SinkError::stop(format!("{} is not a file: name a file for the feed", self.path.display()))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(classed("read", &self.path, error)),
        }
    }
}

/// What a file holds.
struct Kept {
    bytes: u64,
    changes: u64,
}

/// Lines from an offset on that are of ticks below this one, or of none. Lines stand in the order of ticks.
fn kept(path: &Path, from: u64, tick: Tick) -> io::Result<Kept> {
    #[derive(Deserialize)]
    struct Line {
        tick: Option<Tick>,
        op: Option<IgnoredAny>,
    }
    let (mut kept, mut line) = (Kept { bytes: 0, changes: 0 }, Vec::new());
    let mut file = match File::open(path) {
        Ok(file) => BufReader::with_capacity(1 << 18, file),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(kept),
        Err(error) => return Err(error),
    };
    file.seek(SeekFrom::Start(from))?;
    loop {
        line.clear();
        let length = file.read_until(b'\n', &mut line)?;
        let read = serde_json::from_slice::<Line>(&line).ok().filter(|_| line.ends_with(b"\n"));
        let Some(Line { op, .. }) = read.filter(|line| line.tick.is_none_or(|of| of < tick)) else { return Ok(kept) };
        kept.bytes += length as u64;
        kept.changes += u64::from(op.is_some());
    }
}

impl Sink for Feed {
    fn name(&self) -> &'static str {
        "feed"
    }

    fn standing(&mut self) -> Result<Standing, SinkError> {
        let length = self.length()?.unwrap_or(0);
        let Some(binding) = &self.binding else {
            if length > 0 {
                return Err(SinkError::stop(format!(
                    "{} holds data that no discodiff wrote ({} is missing): name another file. It stays as it was",
                    self.path.display(),
                    self.binding_path().display()
                )));
            }
            return Ok(Standing::default());
        };
        let last = binding.last.map(|mark| mark.epoch);
        if let Some(Mark { length: expected, .. }) = binding.last.filter(|mark| mark.length > length) {
            return Err(SinkError::stop(format!(
                "{} is {length} bytes long and was {expected}: it was cut or replaced. Restore it, or name another file",
                self.path.display()
            )));
        }
        Ok(Standing {
            state: Some(binding.state),
            store: Some(binding.feed),
            kinds: PerKind::from_fn(|_| last),
            begun: PerKind::from_fn(|_| binding.begun),
        })
    }

    fn holds(&self) -> Holds {
        Holds::Changes
    }

    fn writers(&self) -> Writers {
        Writers::Alone
    }

    fn begin(&mut self, run: &Run) -> Result<Vec<Box<dyn Writer>>, SinkError> {
        let fresh = Binding { feed: Uuid::new_v4(), state: run.state, last: None, before: None, begun: None };
        let mut binding = self.binding.clone().unwrap_or(fresh);
        // An epoch that this feed completed and the state did not is not part of it.
        let epoch_of = |mark: Option<Mark>| mark.map(|mark| mark.epoch);
        let undone = |epoch: Epoch| epoch == run.epoch || run.abandoned.contains(&epoch.number);
        let gone_back = epoch_of(binding.last) != run.before && epoch_of(binding.before) == run.before;
        if gone_back || epoch_of(binding.last).is_some_and(undone) {
            binding.last = binding.before.take();
        }
        let length = binding.last.map_or(0, |mark| mark.length);
        let length = match run.from {
            Some(From { tick, changes }) => {
                let kept = kept(&self.path, length, tick).map_err(|error| classed("read", &self.path, error))?;
                if kept.changes != changes {
                    return Err(SinkError::stop(format!(
                        "{} holds {} of the {changes} changes that the run before had added: it was cut or replaced. Take away the file \
                         `checkpoint` in the state's folder, and the month is begun anew",
                        self.path.display(),
                        kept.changes
                    )));
                }
                length + kept.bytes
            }
            None => length,
        };
        let open = || {
            let mut file = disk::options().create(true).truncate(false).open(&self.path)?;
            file.set_len(length)?;
            file.seek(SeekFrom::Start(length))?;
            Ok(file)
        };
        let mut file = open().map_err(|error| classed("write", &self.path, error))?;
        binding.begun = Some(run.epoch);
        let last = binding.last.map(|mark| mark.epoch);
        self.bind(binding)?;
        let mut written = length;
        // A run that is taken up has said so.
        if let Some(missed) = gap(last, run).filter(|_| run.from.is_none()) {
            let line = format!("{}\n", serde_json::json!({ "gap": missed }));
            file.write_all(line.as_bytes()).map_err(|error| classed("write", &self.path, error))?;
            written += line.len() as u64;
        }
        Ok(vec![Box::new(writer::FeedWriter::new(self.path.clone(), file, written, run.epoch.number))])
    }

    fn complete(&mut self, run: &Run, _ends: &PerKind<Option<KindEnd>>) -> Result<(), SinkError> {
        let length = self.length()?.unwrap_or(0);
        let Some(mut binding) = self.binding.clone() else { return Ok(()) };
        binding.before = binding.last;
        binding.last = Some(Mark { epoch: run.epoch, length });
        binding.begun = None;
        self.bind(binding)
    }
}
