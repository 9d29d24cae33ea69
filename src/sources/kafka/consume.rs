//! The consumer: reads an attempt from its begin markers to its end markers, and cuts blocks by position alone.
//!
//! ```text
//!   partition 0   B|r r r|r r r|r r E        a stretch: 16,384 / P records, or as soon as they have 8 MiB / P
//!   partition 1   B|r r r|r E|
//!   partition 2   B|r r r|r r r|E
//!                   block 0  1     2         block n: the n-th stretch of every partition
//! ```
//!
//! Which records are in a stretch is told by what stands in the partition, so ticks do not depend on time, fetches or workers. Each partition
//! has a queue of its own in the client, bounded in bytes; they are emptied in turn, a stretch each, and one that is ahead just stays full.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use crossbeam_channel::bounded;
use rdkafka::admin::AdminClient;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Message, OwnedMessage};
use rdkafka::metadata::Metadata;
use rdkafka::{Offset, TopicPartitionList};

use super::catalogue::Attempt;
use super::message::{self, Marker, Told};
use crate::kafka::client::{self, ANSWER, Heard, patience};
use crate::kafka::closing::Closing;
use crate::kafka::{Topics, read, topics};
use crate::model::{Kind, Seat};
use crate::sources::reading::{Blocks, Interrupted, Position, Work};
use crate::sources::{self, SourcePosition};
use crate::xml::Ending;

/// How long a queue is waited for before it is looked whether the run is over.
pub(super) const LOOK: Duration = Duration::from_millis(100);

/// An attempt that is complete, and where it is.
#[derive(Clone, Debug)]
pub struct Stretch {
    /// Where the topics are.
    pub topics: Topics,
    /// What is read.
    pub attempt: Attempt,
    /// Why the records cannot be counted, if they cannot.
    uncounted: Option<String>,
}

impl Stretch {
    /// One that another process has found.
    pub fn known(topics: Topics, attempt: Attempt, uncounted: Option<String>) -> Stretch {
        Stretch { topics, attempt, uncounted }
    }

    /// Why the records cannot be counted, if they cannot.
    pub fn uncounted(&self) -> Option<&str> {
        self.uncounted.as_deref()
    }
}

/// Looks at topics, to find what was published to them.
pub struct Finder {
    topics: Topics,
    admin: Closing<AdminClient<Heard>>,
    consumer: Closing<BaseConsumer<Heard>>,
    metadata: Metadata,
    found: BTreeMap<Kind, Found>,
}

/// What is known of a topic.
struct Found {
    /// First and last offset of each partition.
    watermarks: Vec<(i64, i64)>,
    uncounted: Option<String>,
}

impl Finder {
    /// Connects.
    pub fn open(topics: &Topics) -> Result<Finder> {
        let (admin, consumer) = (client::admin(topics)?, client::reader(topics, "discodiff", 1, false)?);
        Ok(Finder { topics: topics.clone(), admin, consumer, metadata: client::metadata(topics)?, found: BTreeMap::new() })
    }

    /// Finds out whether all of a complete attempt is still there.
    pub fn stretch(&mut self, attempt: &Attempt) -> Result<Stretch> {
        let name = self.topics.of(attempt.kind);
        let found = match self.found.entry(attempt.kind) {
            Entry::Occupied(found) => found.into_mut(),
            Entry::Vacant(vacant) => vacant.insert(Found::of(&self.admin, &self.consumer, &self.metadata, &name)?),
        };
        let (partitions, catalogue) = (attempt.begins.len(), self.topics.catalogue());
        if found.watermarks.len() < partitions {
            bail!(
                "the catalogue {catalogue} says that {} was published to {name}, which has {} of the {partitions} partitions: was the topic \
                 deleted? Publish it again: publish --again",
                attempt.file,
                found.watermarks.len()
            );
        }
        for (partition, (begin, (low, high))) in attempt.begins.iter().zip(&found.watermarks).enumerate() {
            if low > begin {
                return Err(expired(&self.topics, attempt, partition, &format!("offset {low}, and it began at offset {begin}")));
            }
            if high <= begin {
                bail!(
                    "partition {partition} of {name} ends at offset {high}, and the catalogue says that {} begins at {begin}: the topic was made \
                     anew. Publish it again: publish --again",
                    attempt.file
                );
            }
        }
        Ok(Stretch { topics: self.topics.clone(), attempt: attempt.clone(), uncounted: found.uncounted.clone() })
    }
}

impl Found {
    fn of(admin: &AdminClient<Heard>, consumer: &BaseConsumer<Heard>, metadata: &Metadata, name: &str) -> Result<Found> {
        let partitions = metadata.topics().iter().find(|topic| topic.name() == name).map_or(0, |topic| topic.partitions().len());
        let all = [(name.to_owned(), partitions)];
        let [low, high] = [Offset::Beginning, Offset::End].map(|which| read::offsets(consumer, &all, which));
        let watermarks = low?.into_iter().zip(high?).collect();
        let compacted = partitions > 0 && topics::is_compacted(admin, name)?;
        let uncounted = compacted.then(|| format!("the topic {name} is compacted: what it holds cannot be counted"));
        Ok(Found { watermarks, uncounted })
    }
}

fn expired(topics: &Topics, attempt: &Attempt, partition: usize, offsets: &str) -> anyhow::Error {
    let name = topics.of(attempt.kind);
    anyhow!(
        "{} ({}, attempt {}) is no longer whole in the topic {name}: partition {partition} begins at {offsets}. Its first records have expired \
         or were deleted. Nothing was applied; publish it again (publish --again), or apply it from its file (refresh --dumps), and set the \
         topic's retention.ms and retention.bytes to -1",
        attempt.file,
        attempt.month,
        attempt.attempt
    )
}

/// Reads an attempt into blocks.
pub(in crate::sources) fn work(stretch: Arc<Stretch>, position: Arc<Position>, from: Option<SourcePosition>, reader: Seat) -> Work {
    Box::new(move || {
        let reader = Reader::open(stretch, from.as_ref(), reader);
        Box::new(move |blocks| {
            let reader = reader.map_err(Interrupted::Failed)?;
            reader.read(blocks, &position)
        })
    })
}

/// Notes how far the state has come under a group's name, where tools that show lag look. `reached`: kinds, and the next offset of each
/// of their partitions.
pub fn commit(topics: &Topics, group: &str, reached: &[(Kind, Vec<i64>)]) -> Result<()> {
    let mut offsets = TopicPartitionList::new();
    for (kind, next) in reached {
        for (partition, offset) in next.iter().enumerate() {
            offsets.add_partition_offset(&topics.of(*kind), i32::try_from(partition)?, Offset::Offset(*offset))?;
        }
    }
    let consumer = client::reader(topics, group, 1, false)?;
    // The client has a patience of its own here, which nothing sets: it is asked on a thread that may be left behind.
    let (asking, (answer, answered)) = (Arc::clone(&consumer), bounded(1));
    thread::Builder::new().name("commit kafka".to_owned()).spawn(move || {
        let _ = answer.send(asking.commit(&offsets, CommitMode::Sync));
    })?;
    let done = answered.recv_timeout(ANSWER);
    Ok(done.map_err(|_| anyhow!("no answer within {} s", ANSWER.as_secs()))??)
}

struct Reader {
    stretch: Arc<Stretch>,
    name: String,
    // Before the client, which their queues hold too.
    lanes: Vec<Lane>,
    consumer: Closing<BaseConsumer<Heard>>,
}

/// One partition.
struct Lane {
    partition: usize,
    queue: PartitionQueue<Heard>,
    /// Messages that came by the common queue, before this partition had its own.
    early: VecDeque<OwnedMessage>,
    begun: bool,
    ended: bool,
    /// The offset that was read last.
    last: i64,
    records: u64,
    defect: Option<String>,
}

/// A message of a stretch; its bytes stand in the stretch's buffer.
struct Part {
    told: Told,
    key: Option<Vec<u8>>,
    bytes: std::ops::Range<usize>,
    offset: i64,
}

impl Reader {
    fn open(stretch: Arc<Stretch>, from: Option<&SourcePosition>, reader: Seat) -> Result<Reader> {
        fail::fail_point!("before-topic");
        let known = |partition| from.and_then(|from| from.lanes.iter().find(|lane| lane.partition == partition));
        let begins = stretch.attempt.begins.iter().enumerate().map(|(partition, begin)| match known(partition) {
            Some(lane) => (partition, lane.last + 1, Some(lane)),
            None => (partition, *begin, None),
        });
        let places: Vec<_> = begins.filter(|(partition, ..)| reader.reads(*partition)).collect();
        let name = stretch.topics.of(stretch.attempt.kind);
        let what = || format!("cannot read the topic {name}");
        let consumer = client::reader(&stretch.topics, "discodiff", places.len(), false)?;
        read::begin(&consumer, &name, places.iter().map(|(partition, first, _)| (*partition, *first)))?;
        let mut lanes = Vec::with_capacity(places.len());
        for (partition, first, from) in places {
            let queue = consumer.split_partition_queue(&name, i32::try_from(partition)?).with_context(what)?;
            let (records, ended) = from.map_or((0, false), |from| (from.records, from.ended));
            let defect = from.and_then(|from| from.defect.clone());
            let (early, begun) = (VecDeque::new(), from.is_some());
            lanes.push(Lane { partition, queue, early, begun, ended, last: first - 1, records, defect });
        }
        Ok(Reader { stretch, name, lanes, consumer })
    }

    fn read(mut self, blocks: &mut Blocks<'_>, position: &Position) -> Result<(), Interrupted> {
        let size = blocks.size();
        // As large as if all partitions were read here, so that ticks are about the same whoever reads them.
        let partitions = self.stretch.attempt.begins.len();
        let (records, bytes) = ((size.records / partitions).max(1), (size.bytes / partitions).max(1));
        (0..self.lanes.len()).for_each(|lane| self.tell_lag(lane, blocks));
        loop {
            for lane in 0..self.lanes.len() {
                self.serve().map_err(Interrupted::Failed)?;
                self.fill(lane, records, bytes, blocks, position)?;
            }
            if self.lanes.iter().all(|lane| lane.ended) {
                break;
            }
            blocks.send(None, Some(self.position()))?;
        }
        blocks.send(Some(self.ending()), Some(self.position()))?;
        position.done.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn position(&self) -> SourcePosition {
        let lane = |lane: &Lane| sources::Lane {
            partition: lane.partition,
            last: lane.last,
            records: lane.records,
            ended: lane.ended,
            defect: lane.defect.clone(),
        };
        let records = self.lanes.iter().map(|lane| lane.records).sum();
        SourcePosition { records, last: 0, lanes: self.lanes.iter().map(lane).collect() }
    }

    /// How the attempt ended: as the file did, and then whether all of it has come.
    fn ending(&self) -> Ending {
        let of_file = self.stretch.attempt.ends.as_ref().and_then(|ends| ends.defect.clone());
        let of_lane = self.lanes.iter().find_map(|lane| lane.defect.clone());
        let defect = of_file.or_else(|| self.stretch.uncounted.clone()).or(of_lane);
        Ending { records: self.lanes.iter().map(|lane| lane.records).sum(), defect, partial: false }
    }

    fn tell_lag(&self, lane: usize, blocks: &Blocks<'_>) {
        let Lane { partition, last, .. } = self.lanes[lane];
        if let Some(end) = self.stretch.attempt.ends.as_ref().and_then(|ends| ends.offsets.get(partition)) {
            blocks.lags(&self.name, partition, end - last);
        }
    }

    /// One stretch of one partition.
    fn fill(&mut self, lane: usize, records: usize, bytes: usize, blocks: &mut Blocks<'_>, position: &Position) -> Result<(), Interrupted> {
        let mut buffer = Vec::with_capacity(bytes);
        let mut parts: Vec<Part> = Vec::new();
        let mut waiting: Option<Instant> = None;
        while !self.lanes[lane].ended && parts.len() < records && buffer.len() < bytes {
            if let Some(message) = self.lanes[lane].early.pop_front() {
                self.lanes[lane].take(&self.stretch, &self.name, &message, &mut buffer, &mut parts).map_err(Interrupted::Failed)?;
                continue;
            }
            let Lane { queue, .. } = &self.lanes[lane];
            let taken = match queue.poll(LOOK) {
                // Owned only where it must be: the queue is borrowed by its message.
                Some(Ok(message)) => Some(Ok(Taken::of(&message, &mut buffer))),
                Some(Err(error)) => Some(Err(error)),
                None => None,
            };
            match taken {
                Some(Ok(taken)) => {
                    waiting = None;
                    self.lanes[lane].note(&self.stretch, &self.name, taken, &mut parts).map_err(Interrupted::Failed)?;
                }
                Some(Err(error)) => self.error(lane, &error).map_err(Interrupted::Failed)?,
                None => {
                    self.serve().map_err(Interrupted::Failed)?;
                    if blocks.is_closed() {
                        return Err(Interrupted::Stopped);
                    }
                    if waiting.get_or_insert_with(Instant::now).elapsed() > patience() {
                        let heard = self.consumer.context().words();
                        return Err(Interrupted::Failed(anyhow!(
                            "nothing has come from partition {} of {} for {} s, after offset {}{heard}. Run the same command again",
                            self.lanes[lane].partition,
                            self.name,
                            patience().as_secs(),
                            self.lanes[lane].last
                        )));
                    }
                }
            }
        }
        self.tell_lag(lane, blocks);
        position.bytes.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        position.records.fetch_add(parts.len() as u64, Ordering::Relaxed);
        // What a stretch of small records left free would stay as long as they do.
        buffer.shrink_to_fit();
        // Records are slices of their stretch, as those of a file are of a piece of it.
        let buffer = Bytes::from(buffer);
        for Part { told, key, bytes, offset } in parts {
            blocks.push(message::record(self.stretch.attempt.kind, told, key.as_deref(), buffer.slice(bytes), offset));
        }
        Ok(())
    }

    /// Lets the client tell what it has to tell besides messages.
    fn serve(&mut self) -> Result<()> {
        while let Some(event) = self.consumer.poll(Duration::ZERO) {
            match event {
                Ok(message) => {
                    let partition = usize::try_from(message.partition()).ok();
                    let lane = self.lanes.iter().position(|lane| Some(lane.partition) == partition);
                    let lane = lane.with_context(|| format!("a message came of partition {}", message.partition()))?;
                    if message.offset() <= self.lanes[lane].last {
                        bail!("messages of {} came out of order: run the same command again", self.name);
                    }
                    self.lanes[lane].early.push_back(message.detach());
                }
                Err(error) => self.error(0, &error)?,
            }
        }
        Ok(())
    }

    /// An error that more waiting would not cure ends the reading.
    fn error(&self, lane: usize, error: &KafkaError) -> Result<()> {
        use RDKafkaErrorCode::{AutoOffsetReset, OffsetOutOfRange, TopicAuthorizationFailed, UnknownTopic, UnknownTopicOrPartition};
        match error.rdkafka_error_code() {
            Some(AutoOffsetReset | OffsetOutOfRange) => {
                let lane = &self.lanes[lane];
                Err(expired(&self.stretch.topics, &self.stretch.attempt, lane.partition, &format!("a later offset than {}", lane.last + 1)))
            }
            Some(UnknownTopic | UnknownTopicOrPartition | TopicAuthorizationFailed) => {
                Err(anyhow!("cannot read the topic {}: {error}", self.name))
            }
            _ => {
                tracing::debug!("{}: {error}", self.name);
                Ok(())
            }
        }
    }
}

/// What is kept of a message when its bytes are in the buffer.
struct Taken {
    part: Part,
    marker: Option<Vec<u8>>,
    empty: bool,
}

impl Taken {
    fn of(message: &impl Message, buffer: &mut Vec<u8>) -> Taken {
        let told = message::told(message.headers());
        let begin = buffer.len();
        let value = message.payload();
        let marker = told.marker.then(|| value.unwrap_or_default().to_vec());
        if marker.is_none() {
            buffer.extend_from_slice(value.unwrap_or_default());
        }
        let key = told.defect.as_ref().and_then(|_| message.key().map(<[u8]>::to_vec));
        Taken { part: Part { told, key, bytes: begin..buffer.len(), offset: message.offset() }, marker, empty: value.is_none() }
    }
}

impl Lane {
    fn take(&mut self, stretch: &Stretch, name: &str, message: &OwnedMessage, buffer: &mut Vec<u8>, parts: &mut Vec<Part>) -> Result<()> {
        let taken = Taken::of(message, buffer);
        self.note(stretch, name, taken, parts)
    }

    fn note(&mut self, stretch: &Stretch, name: &str, taken: Taken, parts: &mut Vec<Part>) -> Result<()> {
        let Taken { mut part, marker, empty } = taken;
        let place = || format!("offset {} of partition {} of {name}", part.offset, self.partition);
        if part.offset <= self.last {
            bail!("{} came out of order: run the same command again", place());
        }
        self.last = part.offset;
        let Some(marker) = marker else {
            if !self.begun {
                bail!("at {} there should be the begin marker of attempt {}: was the topic made anew?", place(), stretch.attempt.attempt);
            }
            self.records += 1;
            if empty {
                part.told.defect.get_or_insert_with(|| "a message without a value".to_owned());
            }
            parts.push(part);
            return Ok(());
        };
        let marker: Marker = serde_json::from_slice(&marker).with_context(|| format!("the marker at {} cannot be read", place()))?;
        let (attempt, ours) = (&stretch.attempt, marker.log == stretch.attempt.log && marker.attempt == stretch.attempt.attempt);
        match &marker.end {
            None if ours && !self.begun => self.begun = true,
            Some(end) if ours && self.begun => {
                self.ended = true;
                if end.records != self.records {
                    let words = format!(
                        "partition {} of {name} gave {} records, and its end marker says {}",
                        self.partition, self.records, end.records
                    );
                    self.defect = Some(words);
                }
            }
            _ => bail!("at {} there is a marker of attempt {}, in the midst of attempt {}", place(), marker.attempt, attempt.attempt),
        }
        Ok(())
    }
}
