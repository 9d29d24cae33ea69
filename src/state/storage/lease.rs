//! `state.json`: the one object of a bucket that changes. It holds the records, and says which program holds the state.
//!
//! ```text
//!   free ──take──> held ──beat, beat, ...──> free           every step puts the object on the condition that it is as it was last seen,
//!                   │                                       so that of two programs one learns that the other was there
//!                   └── no beat for 10 s ──take──> held by another: whatever the first one still puts is refused
//! ```
//!
//! No clock is compared with another machine's: who wants the state watches for as long as a lease lasts whether it changes.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutResult, UpdateVersion};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use uuid::Uuid;

use super::bucket::{Bucket, RETRIES, silent};
use super::{Record, StateError, problem};

/// The object.
pub const HEAD: &str = "state.json";

/// Version of its layout.
const FORMAT: u32 = 1;

/// Who has not been heard of for so long has died.
const LEASE: Duration = Duration::from_secs(10);

/// How often who holds it is heard of.
const BEAT: Duration = Duration::from_secs(2);

/// How long it is tried to be heard of once: the next time comes soon, and who waits for the object meanwhile must not wait for this.
const PATIENCE: Duration = LEASE;

/// How often who wants it looks.
const LOOK: Duration = Duration::from_millis(500);

/// What the object says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    format: u32,
    /// Which program holds the state; `None`: it is free.
    holder: Option<Holder>,
    /// Rises with each put, so that no two of them are alike.
    beat: u64,
    /// What the records say.
    manifest: Option<String>,
    checkpoint: Option<String>,
    run: Option<String>,
}

/// A program that holds the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Holder {
    id: Uuid,
    host: String,
    process: u32,
}

impl Holder {
    fn new() -> Holder {
        let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Holder { id: Uuid::new_v4(), host, process: std::process::id() }
    }

    fn told(&self) -> String {
        format!("process {} on {}", self.process, self.host)
    }
}

impl Head {
    pub fn says(&self, record: Record) -> Option<String> {
        match record {
            Record::Manifest => self.manifest.clone(),
            Record::Checkpoint => self.checkpoint.clone(),
            Record::Run => self.run.clone(),
        }
    }

    fn put(&mut self, record: Record, text: Option<&str>) {
        let entry = match record {
            Record::Manifest => &mut self.manifest,
            Record::Checkpoint => &mut self.checkpoint,
            Record::Run => &mut self.run,
        };
        *entry = text.map(str::to_owned);
    }

    fn to_text(&self) -> String {
        // Cannot fail: there are texts and numbers only.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

/// Reads the object; `None`: there is none.
pub fn read(bucket: &Bucket) -> Result<Option<(Head, UpdateVersion)>, StateError> {
    let got = bucket.wait(async {
        let got = bucket.store().get(&bucket.object(HEAD)).await?;
        let version = UpdateVersion { e_tag: got.meta.e_tag.clone(), version: got.meta.version.clone() };
        Ok((got.bytes().await?, version))
    });
    let (bytes, version) = match got {
        Ok(got) => got,
        Err(error) if problem::is_no_object(&error) => {
            bucket.has_answered();
            return Ok(None);
        }
        Err(error) => return Err(bucket.error("read", HEAD, &error)),
    };
    if bytes.trim_ascii_start().starts_with(b"<") {
        let problem = "what answers there is no object store, but gives a page: is AWS_ENDPOINT_URL right?".to_owned();
        return Err(StateError::Objects { action: "read", path: bucket.path(HEAD), problem });
    }
    bucket.has_answered();
    let damaged = |problem: String| StateError::Manifest { path: bucket.path(HEAD), problem };
    if let Ok(Format { format }) = serde_json::from_slice(&bytes)
        && format > FORMAT
    {
        return Err(damaged(format!("it was written by a newer discodiff (format {format}; this one knows {FORMAT}): use that version")));
    }
    let head = serde_json::from_slice(&bytes).map_err(|error| {
        damaged(format!("it is damaged ({error}). Restore the objects from a backup, or make the state anew from a store under another prefix: state rebuild"))
    })?;
    Ok(Some((head, version)))
}

/// Who holds the state, or held it when it died.
pub fn holder(bucket: &Bucket) -> Result<Option<String>, StateError> {
    Ok(read(bucket)?.and_then(|(head, _)| head.holder).map(|holder| holder.told()))
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// What is known of the object by who holds the state.
#[derive(Debug)]
pub struct Held {
    head: Head,
    version: UpdateVersion,
    id: Uuid,
    /// Who has taken the state over.
    lost: Option<String>,
}

impl Held {
    pub fn says(&self, record: Record) -> Option<String> {
        self.head.says(record)
    }

    pub fn put(&mut self, bucket: &Bucket, record: Record, text: Option<&str>) -> Result<(), StateError> {
        if record == Record::Manifest {
            fail::fail_point!("state-before-rename");
        }
        self.not_taken_over(bucket)?;
        if self.head.says(record).as_deref() == text {
            return Ok(());
        }
        let before = self.head.clone();
        self.head.put(record, text);
        self.write(bucket, RETRIES).inspect_err(|_| self.head = Head { beat: self.head.beat, ..before })
    }

    /// An error where it is known that another program holds it.
    pub fn not_taken_over(&self, bucket: &Bucket) -> Result<(), StateError> {
        let taken_over = |by: &String| StateError::TakenOver { place: bucket.to_string(), by: by.clone() };
        self.lost.as_ref().map_or(Ok(()), |by| Err(taken_over(by)))
    }

    /// Is heard of: puts the object as it is to be. That this was taken proves that no other program has held it so far.
    pub fn write(&mut self, bucket: &Bucket, patience: Duration) -> Result<(), StateError> {
        loop {
            self.not_taken_over(bucket)?;
            self.head.beat += 1;
            match put(bucket, HEAD, &self.head.to_text(), PutMode::Update(self.version.clone()), patience) {
                Ok(version) => {
                    self.version = version;
                    return Ok(());
                }
                Err(Error::Precondition { .. } | Error::NotFound { .. }) => self.look(bucket)?,
                Err(error) => return Err(bucket.error("write", HEAD, &error)),
            }
        }
    }

    /// It is not as it was seen last: either this program has put it, and the answer was lost, or another has.
    fn look(&mut self, bucket: &Bucket) -> Result<(), StateError> {
        match read(bucket)? {
            Some((found, version)) if found.holder.as_ref().is_some_and(|holder| holder.id == self.id) && version != self.version => {
                self.version = version;
            }
            Some((found, _)) => self.lost = Some(found.holder.map_or_else(|| "it has ended since".to_owned(), |holder| holder.told())),
            None => self.lost = Some("whoever removed the object".to_owned()),
        }
        Ok(())
    }
}

/// Puts the object on a condition. Where an answer is lost it is put again: if the first time had been enough, the condition does not hold
/// any more, which tells who asks that the object is to be looked at.
fn put(bucket: &Bucket, name: &str, text: &str, mode: PutMode, patience: Duration) -> Result<UpdateVersion, Error> {
    let options = PutOptions { mode, ..PutOptions::default() };
    let (object, begun) = (bucket.object(name), Instant::now());
    loop {
        let left = patience.saturating_sub(begun.elapsed());
        let answer = async {
            let put = bucket.store().put_opts(&object, text.to_owned().into(), options.clone());
            timeout(left, put).await.unwrap_or_else(|_| Err(silent(patience)))
        };
        match bucket.wait(answer) {
            Ok(PutResult { e_tag, version, .. }) => return Ok(UpdateVersion { e_tag, version }),
            Err(error) if problem::may_pass(&error) && begun.elapsed() < patience && !bucket.is_stopping() => {
                tracing::debug!("{} is put again: {}", bucket.path(name).display(), problem::words(&error));
                thread::sleep(LOOK);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Holds a bucket's state, and is heard of, for as long as it lives.
#[derive(Debug)]
pub struct Lease {
    bucket: Arc<Bucket>,
    end: Option<Sender<()>>,
    beats: Option<JoinHandle<()>>,
}

/// How often it is tried where others are always faster, or where what is put is not there.
const ATTEMPTS: usize = 20;

/// Takes the state where it is free, or where its holder has died. An error where that one lives.
pub fn take(bucket: &Arc<Bucket>) -> Result<Lease, StateError> {
    let holder = Holder::new();
    let id = holder.id;
    let mut seen: Option<(UpdateVersion, Instant)> = None;
    let mut attempts = 0;
    let (head, version) = loop {
        if bucket.is_stopping() {
            return Err(StateError::Stopped);
        }
        let (mut head, mode) = match read(bucket)? {
            None => (Head { format: FORMAT, holder: None, beat: 0, manifest: None, checkpoint: None, run: None }, PutMode::Create),
            Some((head, version)) => {
                if let Some(other) = &head.holder {
                    match &seen {
                        Some((last, _)) if *last != version => {
                            return Err(StateError::Locked { place: bucket.to_string(), holder: other.told() });
                        }
                        Some((_, since)) if since.elapsed() >= LEASE => {
                            tracing::warn!("{} held the state in {bucket} and has died: it is taken over", other.told());
                        }
                        waiting => {
                            if waiting.is_none() {
                                tracing::info!("{} holds the state in {bucket}: waiting whether it is still alive", other.told());
                                seen = Some((version, Instant::now()));
                            }
                            thread::sleep(LOOK);
                            continue;
                        }
                    }
                }
                (head, PutMode::Update(version))
            }
        };
        head.beat += 1;
        head.holder = Some(holder.clone());
        match put(bucket, HEAD, &head.to_text(), mode, RETRIES) {
            Ok(version) => break (head, version),
            // Another one was faster, or an answer was lost: what is there now tells.
            Err(Error::Precondition { .. } | Error::AlreadyExists { .. }) if attempts < ATTEMPTS => {
                attempts += 1;
                if let Some((found, version)) = read(bucket)?.filter(|(found, _)| found.holder.as_ref().is_some_and(|found| found.id == id))
                {
                    break (found, version);
                }
                seen = None;
            }
            Err(error) => return Err(bucket.error("write", HEAD, &error)),
        }
    };
    let text = head.to_text();
    *bucket.held() = Some(Held { head, version, id, lost: None });
    let (end, ended) = bounded::<()>(0);
    let mut lease = Lease { bucket: Arc::clone(bucket), end: Some(end), beats: None };
    conditions_are_kept(bucket, HEAD, &text)?;
    let (bucket, span) = (Arc::clone(bucket), tracing::Span::current());
    let beat = move || {
        let _entered = span.entered();
        while ended.recv_timeout(BEAT).is_err_and(|error| error.is_timeout()) {
            let mut held = bucket.held();
            let Some(held) = held.as_mut().filter(|held| held.lost.is_none()) else { return };
            // Who needs the store, or has lost the state, tells of it.
            if let Err(error) = held.write(&bucket, PATIENCE) {
                tracing::debug!("not heard of: {error}");
            }
        }
    };
    let beats = thread::Builder::new().name("lease".to_owned()).spawn(beat);
    lease.beats = Some(beats.map_err(|source| StateError::io("hold", &lease.bucket.path(HEAD), source))?);
    Ok(lease)
}

/// A store that puts what it was told to put on a condition only, whatever that condition, would let two programs write one state.
fn conditions_are_kept(bucket: &Bucket, name: &str, text: &str) -> Result<(), StateError> {
    let never = UpdateVersion { e_tag: Some("\"00000000000000000000000000000000\"".to_owned()), version: None };
    for (what, mode) in [("If-None-Match", PutMode::Create), ("If-Match", PutMode::Update(never))] {
        match put(bucket, name, text, mode, RETRIES) {
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {}
            Err(error) => return Err(bucket.error("write", name, &error)),
            Ok(_) => {
                let problem = format!(
                    "the store ignores the condition {what} of a put, which keeps two programs from writing one state: keep the state in another store, or in a folder"
                );
                return Err(StateError::Objects { action: "hold", path: bucket.path(name), problem });
            }
        }
    }
    Ok(())
}

/// Whether a state could be kept there where none is yet: leaves nothing behind.
pub fn try_out(bucket: &Bucket) -> Result<(), StateError> {
    let name = format!("check-{:08x}", bucket.tag());
    put(bucket, &name, "", PutMode::Create, PATIENCE).map_err(|error| bucket.error("write", &name, &error))?;
    let kept = conditions_are_kept(bucket, &name, "");
    let removed = bucket.remove(&name).map_err(|problem| StateError::Objects { action: "remove", path: bucket.path(&name), problem });
    kept.and(removed)
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.end = None;
        if let Some(beats) = self.beats.take()
            && beats.join().is_err()
        {
            tracing::warn!("the thread that held {} panicked", self.bucket);
        }
        let Some(mut held) = self.bucket.held().take().filter(|held| held.lost.is_none()) else { return };
        held.head.holder = None;
        if let Err(error) = held.write(&self.bucket, PATIENCE) {
            tracing::warn!("{error}; the next run waits {} s before it takes the state over", LEASE.as_secs());
        }
    }
}
