//! How clients are set up, and what their errors mean.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rdkafka::admin::AdminClient;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::metadata::Metadata;
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use super::Topics;
use crate::model::Kind;

/// A broker that is there answers in milliseconds; one that is being started, within seconds.
pub const ANSWER: Duration = Duration::from_secs(10);

/// A leader moves within seconds, a broker restarts within a minute. Beyond this nobody should wait before a word is said.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Bytes fetched ahead of a partition: what is asked for at once, and what is held. Less makes rounds of waiting, more only memory.
const FETCH: usize = 1 << 20;

/// Bytes fetched ahead of all partitions together, as nearly as their number allows.
const AHEAD: usize = 16 << 20;

/// Remembers what the client library said last: its errors come later than what they cause, and say more.
#[derive(Debug, Default)]
pub struct Heard(Mutex<Option<String>>);

impl Heard {
    fn note(&self, words: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(words);
    }

    /// The last words, for the end of an error message.
    pub fn words(&self) -> String {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().map(|words| format!(" (the client said: {words})")).unwrap_or_default()
    }
}

impl ClientContext for Heard {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // A connection that is lost and found again needs nobody's attention; one that stays away is told where something fails for it.
        tracing::debug!("{level:?} {facility}: {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!("{error}: {reason}");
        self.note(if reason.is_empty() { error.to_string() } else { reason.to_owned() });
    }
}

impl ConsumerContext for Heard {}

/// What all clients have in common.
pub fn config(topics: &Topics) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &topics.brokers).set("client.id", "discodiff");
    config
}

/// A consumer of `partitions` partitions that are given to it, not shared out by a group. `group` is only a name to note positions under;
/// `ends`: it is told when it has come to a partition's end.
pub fn reader(topics: &Topics, group: &str, partitions: usize, ends: bool) -> Result<BaseConsumer<Heard>> {
    // Bounds are a partition's, as each has a queue of its own; one message above them is fetched all the same.
    let kilobytes = (AHEAD / partitions.max(1)).max(FETCH) >> 10;
    let consumer = config(topics)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("isolation.level", "read_committed")
        .set("auto.offset.reset", "error")
        .set("enable.partition.eof", ends.to_string())
        // That a partition has no more is told only once the broker has waited for more.
        .set("fetch.wait.max.ms", if ends { "10" } else { "500" })
        .set("queued.max.messages.kbytes", kilobytes.to_string())
        .set("queued.min.messages", "5000")
        .set("fetch.message.max.bytes", FETCH.to_string())
        .set("fetch.max.bytes", AHEAD.to_string())
        // The default is a second, for which a partition whose queue was full would be left to run dry.
        .set("fetch.queue.backoff.ms", "2")
        .create_with_context(Heard::default());
    consumer.map_err(|error| anyhow!("cannot make a Kafka client: {error}"))
}

/// A client for topics and their settings.
pub fn admin(topics: &Topics) -> Result<AdminClient<Heard>> {
    config(topics).create_with_context(Heard::default()).map_err(|error| anyhow!("cannot make a Kafka client: {error}"))
}

/// Names and partitions of all topics. Not asked for by name: that would make a topic where the broker makes them by itself.
pub fn metadata(topics: &Topics) -> Result<Metadata> {
    let client = reader(topics, "discodiff", 1, false)?;
    client.fetch_metadata(None, ANSWER).map_err(|error| {
        // Why no connection came about is told only to who asks for events.
        (0..3).for_each(|_| drop(client.poll(Duration::from_millis(100))));
        let heard = client.context().words();
        anyhow!(
            "no Kafka broker answers at {} within {} s: {error}{heard}. Is it running, and is --brokers its host and port?",
            topics.brokers,
            ANSWER.as_secs()
        )
    })
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
