//! How clients are set up, and what their errors mean.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rdkafka::admin::AdminClient;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use super::Topics;
use super::closing::Closing;
use super::refusal::refusal;
use crate::model::Kind;

/// A broker that is there answers in milliseconds; one that is being started, within seconds.
pub const ANSWER: Duration = Duration::from_secs(10);

/// A leader moves within seconds, a broker restarts within a minute. Beyond this nobody should wait before a word is said.
const PATIENCE: Duration = Duration::from_secs(120);

/// [`PATIENCE`], but in tests that have less.
pub fn patience() -> Duration {
    fail::fail_point!("patience", |seconds| Duration::from_secs(seconds.and_then(|seconds| seconds.parse().ok()).unwrap_or(1)));
    PATIENCE
}

/// Most bytes that are asked of a partition at once, as they are sent. Less makes rounds of waiting, more only memory.
const FETCH: usize = 1 << 20;

/// Bytes of all partitions together that wait in a client, to be sent or to be read, as nearly as their number allows.
const AHEAD: usize = 16 << 20;

/// Records become about a quarter by compression. What is fetched is bounded before, what it takes in memory after.
const COMPRESSED: usize = 4;

/// The share of one of so many partitions in what waits. It is never less than a few dozen records.
fn share(partitions: usize) -> usize {
    (AHEAD / partitions.max(1)).max(64 << 10)
}

/// Bytes of records that a producer makes one batch. Whoever reads has a batch of each partition in memory as a whole.
pub fn batch(partitions: usize) -> usize {
    share(partitions).min(1_000_000)
}

/// Remembers what the client library said last: its errors come later than what they cause, and say more.
#[derive(Debug, Default)]
pub struct Heard(Mutex<Option<String>>);

impl Heard {
    fn note(&self, words: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(words);
    }

    fn last(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The last words, for the end of an error message.
    pub fn words(&self) -> String {
        self.last().map(|words| format!(" (the client said: {words})")).unwrap_or_default()
    }
}

impl ClientContext for Heard {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // A connection that is lost and found again needs nobody's attention; one that stays away is told where something fails for it.
        tracing::debug!("{level:?} {facility}: {message}");
        // Of a connection that was closed this is all that is told, where it was closed is not an error to the library.
        if facility == "FAIL" && message.contains("Disconnected") {
            self.note(message.rsplit_once("]: ").map_or(message, |(_, words)| words).to_owned());
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!("{error}: {reason}");
        // That all brokers are down follows upon what was heard of each.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) || self.last().is_none() {
            self.note(if reason.is_empty() { error.to_string() } else { reason.to_owned() });
        }
    }
}

impl ConsumerContext for Heard {}

/// A consumer of `partitions` partitions that are given to it, not shared out by a group. `group` is only a name to note positions under;
/// `ends`: it is told when it has come to a partition's end.
pub fn reader(topics: &Topics, group: &str, partitions: usize, ends: bool) -> Result<Closing<BaseConsumer<Heard>>> {
    // Bounds are a partition's, as each has a queue of its own; one batch above them is fetched all the same.
    let share = share(partitions);
    let consumer = topics
        .brokers
        .config()
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("isolation.level", "read_committed")
        .set("auto.offset.reset", "error")
        .set("enable.partition.eof", ends.to_string())
        // What is read is there. A broker that waits half a second for more at the ends of some partitions, the default, leaves the others
        // without an answer, and says no sooner that an end was reached.
        .set("fetch.wait.max.ms", "10")
        .set("queued.max.messages.kbytes", (share >> 10).to_string())
        .set("queued.min.messages", "5000")
        .set("fetch.message.max.bytes", (share / COMPRESSED).min(FETCH).to_string())
        .set("fetch.max.bytes", AHEAD.to_string())
        // The default is a second, for which a partition whose queue was full would be left to run dry.
        .set("fetch.queue.backoff.ms", "2")
        .create_with_context(Heard::default());
    consumer.map(Closing::new).map_err(|error| anyhow!("cannot make a Kafka client: {error}"))
}

/// A client for topics and their settings.
pub fn admin(topics: &Topics) -> Result<Closing<AdminClient<Heard>>> {
    let client = topics.brokers.config().create_with_context(Heard::default());
    client.map(Closing::new).map_err(|error| anyhow!("cannot make a Kafka client: {error}"))
}

/// Names and partitions of all topics. Not asked for by name: that would make a topic where the broker makes them by itself.
pub fn metadata(topics: &Topics) -> Result<Metadata> {
    let client = reader(topics, "discodiff", 1, false)?;
    let begun = Instant::now();
    // Longer each time, so that a slow broker is not asked for the same again and again, and one that refuses is known soon.
    let mut patience = Duration::from_secs(1);
    loop {
        let error = match client.fetch_metadata(None, patience) {
            Ok(metadata) => return Ok(metadata),
            Err(error) => error,
        };
        // Why no connection came about is told only to who asks for events.
        (0..3).for_each(|_| drop(client.poll(Duration::from_millis(100))));
        let left = ANSWER.saturating_sub(begun.elapsed());
        let (said, heard) = (client.context().last().unwrap_or_default(), client.context().words());
        match refusal(&topics.brokers, &said) {
            Some(refusal) if refusal.certain || left.is_zero() => {
                bail!("no Kafka broker at {} lets this client in: {}{heard}", topics.brokers, refusal.words)
            }
            None if left.is_zero() => bail!(
                "no Kafka broker answers at {} within {} s: {error}{heard}. Is it running, and is --brokers its host and port?",
                topics.brokers,
                ANSWER.as_secs()
            ),
            _ => {}
        }
        patience = left.min(patience * 2);
    }
}

/// Names of all topics.
pub fn names(topics: &Topics) -> Result<BTreeSet<String>> {
    Ok(metadata(topics)?.topics().iter().map(|topic| topic.name().to_owned()).collect())
}

/// The first offset that is still there of a partition of a kind's topic.
pub fn first_offset(topics: &Topics, kind: Kind, partition: usize) -> Result<i64> {
    let (name, client) = (topics.of(kind), reader(topics, "discodiff", 1, false)?);
    let watermarks = client.fetch_watermarks(&name, i32::try_from(partition)?, ANSWER);
    Ok(watermarks.with_context(|| format!("cannot ask for the offsets of {name}{}", client.context().words()))?.0)
}

/// The first offset of partition 0 of a kind's topic that was written at this time or later, in milliseconds since 1970; behind all of
/// them where there is none.
pub fn offset_at(topics: &Topics, kind: Kind, time: i64) -> Result<i64> {
    let (name, client) = (topics.of(kind), reader(topics, "discodiff", 1, false)?);
    let mut times = TopicPartitionList::new();
    times.add_partition_offset(&name, 0, Offset::Offset(time))?;
    let what = || format!("cannot ask what was in {name} at that time");
    let found = client.offsets_for_times(times, ANSWER).with_context(what)?;
    let found = found.find_partition(&name, 0).with_context(what)?;
    found.error().with_context(what)?;
    Ok(found.offset().to_raw().filter(|offset| *offset >= 0).unwrap_or(i64::MAX))
}

/// Waits for an answer of the administrative interface.
pub fn wait<T>(future: impl Future<Output = T>) -> Result<T> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(future))
}
