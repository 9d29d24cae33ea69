//! The producer: one file after the other, in transactions that hold records, markers and the catalogue's record together.
//!
//! ```text
//!  dump file ─inflate─ cut ─┬─ published before: only counted
//!                           └─ send ──┐  until 50,000 records or 128 MiB
//!                                     v
//!      begin ─ [begin markers] ─ records ─ [end markers] ─ flush ─ catalogue ─ commit
//! ```
//!
//! `transactional.id` is one for all topics of a prefix: a publisher that starts ends what another has open, and fences it. What is committed
//! is in the catalogue, so a publisher that died is gone on with by reading its file again up to there. Nothing is sent twice.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::producer::BaseRecord;
use serde::Serialize;
use thiserror::Error;

use super::catalogue::{Attempt, Catalogue, Ends};
use super::{Topics, message};
use crate::kafka::client::{self, patience};
use crate::kafka::producer::{Failure, Producer, Why};
use crate::kafka::read;
use crate::kafka::topics::{self, Count, Wanted};
use crate::model::{Kind, PerKind};
use crate::sources::dump_files::Cutter;
use crate::sources::{DumpFile, Folder, Position};
use crate::telemetry::{Cause, Measured, Measures, Phase, Progress, Recorder, RunStage};
use crate::xml::Record;

/// Records of a transaction. With a fifth of that, commits take a third of the rate; more gains nothing and is lost when a publisher dies.
const TRANSACTION_RECORDS: u64 = 50_000;

/// Bytes of a transaction, so that one of large records is not open for long.
const TRANSACTION_BYTES: u64 = 128 << 20;

/// The user asked the publisher to stop, and it did.
#[derive(Debug, Error)]
#[error("stopped on request: what was published so far stays, and the same command goes on from there")]
pub struct StoppedPublishing;

/// What is asked of a publisher.
#[derive(Debug)]
pub struct Publishing {
    /// Where to.
    pub topics: Topics,
    /// Partitions of new topics; those that are there must have as many.
    pub partitions: Option<usize>,
    /// A new attempt even where the last one is complete.
    pub again: bool,
    /// Set when the user wants it to stop.
    pub stop: Arc<AtomicBool>,
    /// Where progress is shown.
    pub progress: Arc<Progress>,
    /// What the run measures of itself.
    pub measures: Arc<Measures>,
}

/// What was published, for people and programs.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Published {
    /// The snapshot's month.
    pub snapshot: String,
    /// How long it took.
    pub seconds: f64,
    /// What became of each kind's file.
    pub kinds: BTreeMap<Kind, Publication>,
    /// How long each stage took that took part, and what went through it; none where nothing was published.
    pub stages: Vec<Measured>,
    /// What the run waited for, in percent of its time.
    pub waited: BTreeMap<&'static str, f64>,
}

/// What became of one file.
#[derive(Clone, Debug, Serialize)]
pub struct Publication {
    /// The topic.
    pub topic: String,
    /// Its partitions.
    pub partitions: usize,
    /// Number of the attempt.
    pub attempt: u64,
    /// Records of the attempt.
    pub records: u64,
    /// Records that this run published; none where the attempt was complete before.
    pub published: u64,
    /// Why the file was not read whole, if it was not.
    pub defect: Option<String>,
}

/// Publishes the dumps in a folder.
pub fn publish(request: &Publishing, dumps: &Path) -> Result<Published> {
    let begun = Instant::now();
    // The broker is asked first: identifying a whole month's files takes a while.
    client::metadata(&request.topics)?;
    let (measures, waits) = (&request.measures, request.measures.waits());
    measures.begin();
    measures.shows(&request.progress);
    measures.course().enter(Phase::Identifying);
    let snapshot = Folder::look(dumps)?.identify_measured(measures, |_, _| true)?;
    let files: Vec<&DumpFile> = snapshot.files.iter().filter_map(|(_, file)| file.as_ref()).collect();
    let kinds: Vec<Kind> = files.iter().map(|file| file.kind).collect();
    let catalogue = Wanted { name: request.topics.catalogue(), settings: topics::COMPACTED, partitions: Count::One };
    let of_kind =
        |kind: &Kind| Wanted { name: request.topics.of(*kind), settings: topics::KEPT, partitions: Count::Asked(request.partitions) };
    let wanted: Vec<_> = kinds.iter().map(of_kind).chain([catalogue]).collect();
    let ensure = || topics::ensure(&request.topics, &wanted, "name other topics with --topic-prefix");
    let counts = waits.during(Cause::Kafka, ensure)?;
    let mut partitions = PerKind::<usize>::default();
    kinds.iter().zip(counts).for_each(|(kind, count)| partitions[*kind] = count);
    let most = partitions.0.iter().copied().max().unwrap_or(1);
    let publisher = waits.during(Cause::Kafka, || Publisher::open(request, most))?;
    // Read after the transactional id was taken: what an earlier publisher had open is ended by then.
    let catalogue = waits.during(Cause::Kafka, || Catalogue::read(&request.topics))?;
    let log = catalogue.log();
    measures.course().applies(0, &snapshot.month);
    measures.course().enter(Phase::Publishing);
    let _month = tracing::error_span!("month", month = snapshot.month).entered();
    request.progress.belongs_here();
    let mut published = Published { snapshot: snapshot.month.clone(), ..Published::default() };
    for file in files {
        let kind = file.kind;
        let _kind = tracing::error_span!("kind", stage = RunStage::Publish.name(), kind = kind.name()).entered();
        let last = catalogue.of(kind).next_back();
        let same = catalogue.of(kind).rfind(|attempt| attempt.snapshot == file.sha256).filter(|_| !request.again);
        let (attempt, before) = match same {
            Some(attempt) if attempt.ends.is_some() => {
                published.kinds.insert(kind, publication(request, attempt, 0));
                continue;
            }
            // What another attempt has come after, or is cut into other partitions, cannot be gone on with.
            Some(attempt) if Some(attempt) == last && attempt.begins.len() == partitions[kind] => (attempt.clone(), attempt.records),
            _ => {
                let number = last.map_or(1, |attempt| attempt.attempt + 1);
                (new_attempt(log, number, file, &snapshot.month, &kinds), 0)
            }
        };
        let attempt = publisher.file(file, attempt, partitions[kind]).inspect_err(|_| publisher.producer.abort())?;
        published.kinds.insert(kind, publication(request, &attempt, attempt.records - before));
    }
    // A reader that starts now must not take the broker's last markers, still on their way, for a month that is not complete.
    let topics = kinds.iter().map(|kind| (request.topics.of(*kind), partitions[*kind]));
    let topics: Vec<_> = topics.chain([(request.topics.catalogue(), 1)]).collect();
    waits
        .during(Cause::Kafka, || read::until_seen(&request.topics, &topics))
        .context("all is published, but the broker does not answer any more whether it can be read")?;
    let time = begun.elapsed();
    published.seconds = time.as_secs_f64();
    if published.kinds.values().any(|of| of.published > 0) {
        (published.stages, published.waited) = (measures.stages(), waits.shares(time));
    }
    Ok(published)
}

fn new_attempt(log: uuid::Uuid, attempt: u64, file: &DumpFile, month: &str, with: &[Kind]) -> Attempt {
    Attempt {
        log,
        kind: file.kind,
        attempt,
        snapshot: file.sha256.clone(),
        month: month.to_owned(),
        file: file.name.clone(),
        with: with.to_vec(),
        begins: Vec::new(),
        records: 0,
        bytes: 0,
        last: 0,
        ends: None,
    }
}

fn publication(request: &Publishing, attempt: &Attempt, published: u64) -> Publication {
    Publication {
        topic: request.topics.of(attempt.kind),
        partitions: attempt.begins.len(),
        attempt: attempt.attempt,
        records: attempt.records,
        published,
        defect: attempt.ends.as_ref().and_then(|ends| ends.defect.clone()),
    }
}

/// Says which record was not taken.
fn describe_message(message: &BorrowedMessage<'_>) -> String {
    let told = message::told(message.headers());
    let key = message.key().map(|key| String::from_utf8_lossy(key).into_owned());
    describe(key.as_deref(), told.position, message.payload().map_or(0, <[u8]>::len), message.topic())
}

fn describe(key: Option<&str>, position: Option<u64>, bytes: usize, topic: &str) -> String {
    let id = key.map_or_else(|| "without an id".to_owned(), |key| format!("with the key {key}"));
    let position = position.map(|position| format!(", at byte {position} of the dump")).unwrap_or_default();
    format!("the record {id}{position} ({bytes} bytes) was not taken by the topic {topic}")
}

struct Publisher<'a> {
    request: &'a Publishing,
    producer: Producer,
}

/// A file on its way.
struct Sending {
    topic: String,
    attempt: Attempt,
    /// Records that were published before this run.
    before: u64,
    /// Records that were cut.
    cut: u64,
    /// Those of each partition.
    counts: Vec<u64>,
    /// The transaction that is open.
    transaction: Option<Transaction>,
    publish: Recorder,
    commit: Recorder,
    /// How long commits took.
    committing: Duration,
}

/// What a transaction has in it.
#[derive(Default)]
struct Transaction {
    records: u64,
    bytes: u64,
}

impl<'a> Publisher<'a> {
    fn open(request: &'a Publishing, partitions: usize) -> Result<Publisher<'a>> {
        let id = format!("discodiff.{}", request.topics.prefix);
        let producer = Producer::open(&request.topics, &id, &request.stop, describe_message, patience(), partitions);
        Ok(Publisher { request, producer: producer.map_err(|failure| said(request, failure))? })
    }

    /// Publishes one file, from where the attempt stands to its end.
    fn file(&self, file: &DumpFile, attempt: Attempt, partitions: usize) -> Result<Attempt> {
        let (kind, progress) = (file.kind, &self.request.progress);
        let position = Arc::new(Position { total: file.bytes, ..Position::default() });
        let (begun, measures, stalled) = (Instant::now(), &self.request.measures, self.producer.stalled());
        let mut cutter = Cutter::open(file, Arc::clone(&position), measures)?;
        progress.started(kind, Some(file.bytes));
        let (topic, before) = (self.request.topics.of(kind), attempt.records);
        let mut sending = Sending {
            topic,
            attempt,
            before,
            cut: 0,
            counts: vec![0; partitions],
            transaction: None,
            publish: measures.recorder(RunStage::Publish),
            commit: measures.recorder(RunStage::Commit),
            committing: Duration::ZERO,
        };
        let mut shown = 0;
        let mut records = Vec::new();
        while cutter.cut(&mut records)? {
            if self.request.stop.load(Ordering::Relaxed) {
                return Err(StoppedPublishing.into());
            }
            self.records(&mut sending, &mut records)?;
            let now = position.bytes.load(Ordering::Relaxed);
            progress.advance(kind, now - shown, 0);
            shown = now;
        }
        let waited = cutter.waited();
        let defect = cutter.finish(&mut records).defect;
        self.records(&mut sending, &mut records)?;
        if sending.cut < before {
            bail!("{}: {before} records of it were published, and it has {}: publish it with --again", file.name, sending.cut);
        }
        self.begin(&mut sending)?;
        for (partition, count) in sending.counts.iter().enumerate() {
            self.marker(&sending.attempt, &sending.topic, partition, Some((*count, defect.clone())))?;
        }
        self.commit(&mut sending, Some(defect))?;
        let kafka = sending.committing + self.producer.stalled() - stalled;
        let rest = begun.elapsed().saturating_sub(waited + kafka);
        for (cause, time) in [(Cause::Source, waited), (Cause::Kafka, kafka), (Cause::Cpu, rest)] {
            measures.waits().add(cause, time);
        }
        progress.done(kind);
        Ok(sending.attempt)
    }

    fn records(&self, sending: &mut Sending, records: &mut Vec<Record>) -> Result<()> {
        self.request.progress.advance(sending.attempt.kind, 0, records.len() as u64);
        let (begun, committing) = (Instant::now(), sending.committing);
        let (sent, bytes) = (sending.attempt.records, sending.attempt.bytes);
        for record in records.drain(..) {
            let partition = record.key.map_or(0, |key| (key.shard() % sending.counts.len() as u64) as usize);
            sending.cut += 1;
            sending.counts[partition] += 1;
            if sending.cut <= sending.before {
                if sending.cut == sending.before && record.position != sending.attempt.last {
                    let file = &sending.attempt.file;
                    bail!("{file}: its records are cut otherwise than when its publication began: publish it with --again");
                }
                continue;
            }
            self.begin(sending)?;
            let key = record.key.map(|key| key.id().to_string());
            let message = BaseRecord::with_opaque_to(&sending.topic, 0).partition(i32::try_from(partition)?).payload(&record.raw[..]);
            let message = message.headers(message::headers(&record));
            let message = match &key {
                Some(key) => message.key(key.as_str()),
                None => message,
            };
            let bytes = record.raw.len() as u64;
            let describe = || describe(key.as_deref(), Some(record.position), record.raw.len(), &sending.topic);
            self.producer.send(message, describe).map_err(|failure| said(self.request, failure))?;
            sending.attempt.records += 1;
            sending.attempt.bytes += bytes;
            sending.attempt.last = record.position;
            let Some(transaction) = &mut sending.transaction else { continue };
            transaction.records += 1;
            transaction.bytes += bytes;
            if transaction.records >= transaction_records() || transaction.bytes >= TRANSACTION_BYTES {
                self.commit(sending, None)?;
            }
        }
        if sending.attempt.records > sent {
            let time = begun.elapsed().saturating_sub(sending.committing - committing);
            sending.publish.took(time, sending.attempt.records - sent, sending.attempt.bytes - bytes);
        }
        Ok(())
    }

    /// Begins a transaction where none is open, and the attempt where it was not begun.
    fn begin(&self, sending: &mut Sending) -> Result<()> {
        if sending.transaction.is_some() {
            return Ok(());
        }
        if self.request.stop.load(Ordering::Relaxed) {
            return Err(StoppedPublishing.into());
        }
        self.producer.begin().map_err(|failure| said(self.request, failure))?;
        sending.transaction = Some(Transaction::default());
        if sending.attempt.begins.is_empty() {
            (0..sending.counts.len()).try_for_each(|partition| self.marker(&sending.attempt, &sending.topic, partition, None))?;
        }
        Ok(())
    }

    fn marker(&self, attempt: &Attempt, topic: &str, partition: usize, end: Option<(u64, Option<String>)>) -> Result<()> {
        let marker = attempt.marker(partition, end);
        let (key, value) = (marker.key(), serde_json::to_string(&marker)?);
        let message = BaseRecord::with_opaque_to(topic, 1 + partition).partition(i32::try_from(partition)?);
        let message = message.key(key.as_str()).payload(value.as_bytes()).headers(marker.headers());
        self.producer.send(message, || format!("cannot write a marker to {topic}")).map_err(|failure| said(self.request, failure))
    }

    /// Waits until all is with the broker, notes in the catalogue what there is, and commits. `end`: the attempt is complete, with this defect.
    fn commit(&self, sending: &mut Sending, end: Option<Option<String>>) -> Result<()> {
        let begun = Instant::now();
        let _waiting = self.request.measures.waits().within(Cause::Kafka.name());
        self.producer.flush().map_err(|failure| said(self.request, failure))?;
        let mut markers: Vec<_> = self.producer.take_placed().into_iter().map(|(marker, offset)| (marker - 1, offset)).collect();
        // By offset too: where an attempt begins and ends in one transaction, its end markers come second.
        markers.sort_unstable();
        let (attempt, partitions) = (&mut sending.attempt, sending.counts.len());
        if attempt.begins.is_empty() {
            attempt.begins = first_of_each(&mut markers);
        }
        if let Some(defect) = end {
            attempt.ends = Some(Ends { offsets: first_of_each(&mut markers), defect });
        }
        let placed = |offsets: &[i64]| offsets.len() == partitions;
        if !placed(&attempt.begins) || attempt.ends.as_ref().is_some_and(|ends| !placed(&ends.offsets)) {
            bail!("the broker did not say where it put the markers of {}: this is a defect of discodiff", attempt.file);
        }
        let (key, value) = (attempt.key(), serde_json::to_string(attempt)?);
        let catalogue = self.request.topics.catalogue();
        let message = BaseRecord::with_opaque_to(&catalogue, 0).partition(0).key(key.as_str()).payload(value.as_bytes());
        let sent = self.producer.send(message, || "cannot write to the catalogue".to_owned());
        sent.and_then(|()| self.producer.commit()).map_err(|failure| said(self.request, failure))?;
        let Transaction { records, bytes } = sending.transaction.take().unwrap_or_default();
        sending.commit.took(begun.elapsed(), records, bytes);
        sending.committing += begun.elapsed();
        Ok(())
    }
}

/// What the producer could not do, in the words of a publisher.
fn said(request: &Publishing, Failure { why, message }: Failure) -> anyhow::Error {
    let prefix = &request.topics.prefix;
    match why {
        Why::Stopped => StoppedPublishing.into(),
        Why::Fenced => anyhow!("another publisher has begun to publish to {prefix}.*, and this one ends: {message}"),
        Why::TooLarge => anyhow!("{message}"),
        Why::Unanswered => anyhow!("{message}. What was committed stays: the same command goes on from there"),
    }
}

/// Takes each partition's first offset out of a sorted list.
fn first_of_each(markers: &mut Vec<(usize, i64)>) -> Vec<i64> {
    let mut first = Vec::new();
    markers.retain(|(partition, offset)| {
        let new = *partition == first.len();
        if new {
            first.push(*offset);
        }
        !new
    });
    first
}

/// Tests cut small months into many transactions.
fn transaction_records() -> u64 {
    fail::fail_point!("transaction-records", |records| records.and_then(|records| records.parse().ok()).unwrap_or(1));
    TRANSACTION_RECORDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begin_and_end_markers_of_one_transaction_are_told_apart_by_their_offsets() {
        let mut markers = vec![(1, 9), (0, 5), (0, 2), (1, 3), (2, 1), (2, 4)];
        markers.sort_unstable();
        assert_eq!(first_of_each(&mut markers), [2, 3, 1]);
        assert_eq!(first_of_each(&mut markers), [5, 9, 4]);
        assert!(first_of_each(&mut markers).is_empty());
    }
}
