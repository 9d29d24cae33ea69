//! Topics that another program fills: records without markers, so nothing says where a month ends, or whether all of it is there.
//!
//! ```text
//!   partition 0   ... 5 7 9 | 5 9 | 7 ...          a span: from the next offset of each partition to where it is told to stop,
//!   partition 1   ... 2 4 8 6 | 2 8 6 4 ...        or to the first key that it has had
//!                    span 1     span 2
//! ```
//!
//! Of a span the first record of a key counts, as in a dump, and it has each key once: where one comes again the span ends, and the next one
//! begins. So months that stand one after the other in a topic become one span each, and the last record of a key is what counts in the end.
//! What a span lacks is not gone: nothing is deleted.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use rdkafka::Offset;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Message, OwnedMessage};
use roaring::RoaringTreemap;
use uuid::Uuid;

use super::consume::LOOK;
use super::message::{self, Told};
use super::{Reached, Topics};
use crate::kafka::client::{self, Heard, patience};
use crate::kafka::closing::Closing;
use crate::kafka::read;
use crate::model::Kind;
use crate::sources::reading::{Blocks, Interrupted, Position, Work};
use crate::xml::{Ending, Record};

/// A record's position is its partition, times this, and its offset.
const PARTITION: i64 = 1_000_000_000_000;

/// How far topics are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// To what is there when the run begins.
    Now,
    /// To this offset of each partition, or its end.
    Offset(i64),
}

/// A part of a topic, partition by partition.
#[derive(Debug)]
pub struct Span {
    topics: Topics,
    /// Which topic.
    pub kind: Kind,
    /// The first offset of each partition.
    pub from: Vec<i64>,
    /// The offset behind the last.
    pub to: Vec<i64>,
    /// The offset behind the last that was read, once it was.
    read: OnceLock<Vec<i64>>,
}

impl Span {
    /// What is to be read of a kind's topic next; `None`: there is no such topic, or nothing new. `noted`: where the state stands in it.
    /// Records that expired before they were read are an error.
    pub fn next(topics: &Topics, kind: Kind, noted: Option<&Reached>, until: Until) -> Result<Option<Span>> {
        let (name, consumer) = (topics.of(kind), client::reader(topics, "discodiff", 1, false)?);
        let metadata = client::metadata(topics)?;
        let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == name) else { return Ok(None) };
        let (mut from, mut to) = (Vec::new(), Vec::new());
        let partitions = [(name.clone(), topic.partitions().len())];
        let [lows, highs] = [Offset::Beginning, Offset::End].map(|which| read::offsets(&consumer, &partitions, which));
        for (partition, (low, high)) in lows?.into_iter().zip(highs?).enumerate() {
            let next = noted.filter(|noted| noted.log == Uuid::nil()).and_then(|noted| noted.offsets.get(partition).copied());
            if let Some(next) = next.filter(|next| *next < low) {
                bail!(
                    "partition {partition} of {name} begins at offset {low}, and the state has come to {next}: what was between has expired. A new \
                     --state and new stores take what is there; and let retention.ms be longer than the time between two runs"
                );
            }
            let next = next.unwrap_or(low);
            if next > high {
                bail!(
                    "partition {partition} of {name} ends at offset {high}, and the state has come to {next}: the topic was made anew. A new --state \
                     and new stores take what is there"
                );
            }
            from.push(next);
            to.push(match until {
                Until::Now => high,
                Until::Offset(offset) => offset.clamp(next, high),
            });
        }
        Ok((from != to).then(|| Span { topics: topics.clone(), kind, from, to, read: OnceLock::new() }))
    }

    /// Which part it is, in words that no other part of the topic has.
    pub fn identity(&self) -> String {
        let spans: Vec<_> = self.from.iter().zip(&self.to).map(|(from, to)| format!("{from}-{to}")).collect();
        format!("offsets {}", spans.join(","))
    }

    /// Ends where the span of this identity ends, if it begins where this one does.
    pub fn as_begun(mut self, identity: &str) -> Span {
        let spans = identity.strip_prefix("offsets ").unwrap_or_default().split(',');
        let spans = spans.map(|span| span.split_once('-').and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?))));
        if let Some(spans) = spans.collect::<Option<Vec<(i64, i64)>>>()
            && spans.iter().map(|(from, _)| from).eq(&self.from)
        {
            self.to = spans.into_iter().map(|(_, to)| to).collect();
        }
        self
    }

    /// Where a state stands that has applied it; `None`: it was not read.
    pub fn reached(&self) -> Option<Reached> {
        self.read.get().map(|offsets| Reached { log: Uuid::nil(), attempt: 0, offsets: offsets.clone() })
    }
}

/// Reads a span into blocks.
pub(in crate::sources) fn work(span: Arc<Span>, position: Arc<Position>) -> Work {
    Box::new(move || {
        Box::new(move |blocks| {
            let reader = Reader::open(&span).map_err(Interrupted::Failed)?;
            reader.read(blocks, &position)
        })
    })
}

struct Reader<'a> {
    span: &'a Span,
    name: String,
    // Before the client, which their queues hold too.
    lanes: Vec<Lane>,
    consumer: Closing<BaseConsumer<Heard>>,
    /// Ids of the span so far.
    seen: RoaringTreemap,
    records: u64,
    /// Messages without a value.
    empty: u64,
}

/// One partition.
struct Lane {
    queue: PartitionQueue<Heard>,
    early: VecDeque<OwnedMessage>,
    next: i64,
    to: i64,
    /// Nothing comes after what is in `early`.
    over: bool,
    ended: bool,
}

impl<'a> Reader<'a> {
    fn open(span: &'a Span) -> Result<Reader<'a>> {
        let name = span.topics.of(span.kind);
        let what = || format!("cannot read the topic {name}");
        let consumer = client::reader(&span.topics, "discodiff", span.from.len(), true)?;
        read::begin(&consumer, &name, span.from.iter().copied().enumerate())?;
        let mut lanes = Vec::with_capacity(span.from.len());
        for (partition, (from, to)) in span.from.iter().zip(&span.to).enumerate() {
            let queue = consumer.split_partition_queue(&name, i32::try_from(partition)?).with_context(what)?;
            lanes.push(Lane { queue, early: VecDeque::new(), next: *from, to: *to, over: false, ended: from == to });
        }
        Ok(Reader { span, name, lanes, consumer, seen: RoaringTreemap::new(), records: 0, empty: 0 })
    }

    fn read(mut self, blocks: &mut Blocks<'_>, position: &Position) -> Result<(), Interrupted> {
        let size = blocks.size();
        let (records, bytes) = ((size.records / self.lanes.len()).max(1), (size.bytes / self.lanes.len()).max(1));
        (0..self.lanes.len()).for_each(|lane| self.tell_lag(lane, blocks));
        while self.lanes.iter().any(|lane| !lane.ended) {
            for lane in 0..self.lanes.len() {
                self.serve().map_err(Interrupted::Failed)?;
                self.fill(lane, records, bytes, blocks, position)?;
            }
            blocks.send(None, None)?;
        }
        if self.empty > 0 {
            tracing::warn!(
                "{}: messages without a value were passed over, as nothing is deleted without markers: {}",
                self.name,
                self.empty
            );
        }
        blocks.send(Some(Ending { records: self.records, defect: None, partial: true }), None)?;
        let _ = self.span.read.set(self.lanes.iter().map(|lane| lane.next).collect());
        position.done.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn tell_lag(&self, lane: usize, blocks: &Blocks<'_>) {
        let Lane { next, to, .. } = self.lanes[lane];
        blocks.lags(&self.name, lane, to - next);
    }

    /// One stretch of one partition.
    fn fill(&mut self, at: usize, records: usize, bytes: usize, blocks: &mut Blocks<'_>, position: &Position) -> Result<(), Interrupted> {
        let (mut given, mut held) = (0, 0);
        let mut waiting: Option<Instant> = None;
        while !self.lanes[at].ended && given < records && held < bytes {
            let lane = &mut self.lanes[at];
            let message = match lane.early.pop_front() {
                Some(message) => Some(Ok(message)),
                None if lane.over => Some(Err(KafkaError::PartitionEOF(0))),
                None => lane.queue.poll(LOOK).map(|polled| polled.map(|message| message.detach())),
            };
            match message {
                Some(Ok(message)) => {
                    waiting = None;
                    if let Some(record) = self.take(at, &message) {
                        given += 1;
                        held += record.raw.len();
                        blocks.push(record);
                    }
                }
                // All up to where it is to be read was there at the start: what is missing there are marks of transactions, or was compacted.
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    lane.next = lane.to;
                    lane.ended = true;
                }
                Some(Err(error)) => self.error(at, &error).map_err(Interrupted::Failed)?,
                None => {
                    self.serve().map_err(Interrupted::Failed)?;
                    if blocks.is_closed() {
                        return Err(Interrupted::Stopped);
                    }
                    if waiting.get_or_insert_with(Instant::now).elapsed() > patience() {
                        let (heard, next) = (self.consumer.context().words(), self.lanes[at].next);
                        return Err(Interrupted::Failed(anyhow!(
                            "nothing has come from partition {at} of {} for {} s, at offset {next}{heard}. Run the same command again",
                            self.name,
                            patience().as_secs()
                        )));
                    }
                }
            }
        }
        self.tell_lag(at, blocks);
        position.bytes.fetch_add(held as u64, Ordering::Relaxed);
        position.records.fetch_add(given as u64, Ordering::Relaxed);
        Ok(())
    }

    /// The message's record, unless the partition's part of the span ends before it.
    fn take(&mut self, at: usize, message: &OwnedMessage) -> Option<Record> {
        let lane = &mut self.lanes[at];
        if message.offset() >= lane.to {
            lane.next = lane.to;
            lane.ended = true;
            return None;
        }
        let Some(value) = message.payload() else {
            lane.next = message.offset() + 1;
            self.empty += 1;
            return None;
        };
        // Two rejected records of different partitions must not stand at one place.
        let place = i64::from(message.partition()) * PARTITION + message.offset();
        let record = message::record(self.span.kind, Told::default(), message.key(), Bytes::copy_from_slice(value), place);
        if let Some(key) = record.key
            && !self.seen.insert(key.id())
        {
            lane.ended = true;
            return None;
        }
        lane.next = message.offset() + 1;
        lane.ended = lane.next == lane.to;
        self.records += 1;
        Some(record)
    }

    /// Lets the client tell what it has to tell besides messages.
    fn serve(&mut self) -> Result<()> {
        while let Some(event) = self.consumer.poll(std::time::Duration::ZERO) {
            match event {
                Ok(message) => {
                    let lane = usize::try_from(message.partition()).ok().filter(|lane| *lane < self.lanes.len());
                    let lane = lane.with_context(|| format!("a message came of partition {}", message.partition()))?;
                    self.lanes[lane].early.push_back(message.detach());
                }
                Err(KafkaError::PartitionEOF(partition)) => {
                    // It has come before the partition had a queue of its own, as all before it have.
                    if let Some(lane) = usize::try_from(partition).ok().and_then(|lane| self.lanes.get_mut(lane)) {
                        lane.over = true;
                    }
                }
                Err(error) => self.error(0, &error)?,
            }
        }
        Ok(())
    }

    fn error(&self, at: usize, error: &KafkaError) -> Result<()> {
        use RDKafkaErrorCode::{AutoOffsetReset, OffsetOutOfRange, TopicAuthorizationFailed, UnknownTopic, UnknownTopicOrPartition};
        match error.rdkafka_error_code() {
            Some(AutoOffsetReset | OffsetOutOfRange) => Err(anyhow!(
                "offset {} of partition {at} of {} is no longer there: its first records have expired or were deleted",
                self.lanes[at].next,
                self.name
            )),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from: &[i64], to: &[i64]) -> Span {
        let brokers = crate::kafka::Brokers { addresses: String::new(), tls: None, login: None };
        let topics = Topics { brokers, prefix: String::new() };
        Span { topics, kind: Kind::Label, from: from.to_vec(), to: to.to_vec(), read: OnceLock::new() }
    }

    #[test]
    fn a_span_that_was_begun_ends_again_where_it_ended_then_and_another_one_does_not() {
        let begun = span(&[3, 0], &[9, 4]).identity();
        assert_eq!(begun, "offsets 3-9,0-4");
        assert_eq!(span(&[3, 0], &[12, 40]).as_begun(&begun).to, [9, 4]);
        assert_eq!(span(&[4, 0], &[12, 40]).as_begun(&begun).to, [12, 40]);
        assert_eq!(span(&[3], &[12]).as_begun(&begun).to, [12]);
        assert_eq!(span(&[3, 0], &[12, 40]).as_begun("0123456789abcdef").to, [12, 40]);
    }
}
