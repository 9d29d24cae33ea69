//! Reads a topic from some offsets to its end.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Offset, TopicPartitionList};

use super::Topics;
use super::client::{self, ANSWER, Heard};
use super::closing::Closing;

/// How long it is waited until a new client knows the brokers.
const KNOWN: Duration = Duration::from_secs(1);

/// Calls `each` with every committed message of these partitions, from these offsets to the ends that are met.
pub fn to_end(topics: &Topics, name: &str, from: &[(usize, Offset)], each: impl FnMut(&BorrowedMessage<'_>) -> Result<()>) -> Result<()> {
    let consumer = open(topics, name, from)?;
    catch_up(&consumer, name, each)
}

/// A consumer of these partitions, from these offsets on. Memory is bounded as that of [`client::reader`].
pub fn open(topics: &Topics, name: &str, from: &[(usize, Offset)]) -> Result<Closing<BaseConsumer<Heard>>> {
    let what = || format!("cannot read the topic {name}");
    let consumer = client::reader(topics, "discodiff", from.len(), true)?;
    // Where partitions begin is asked for at once by a client that knows of brokers, and else only after half a second.
    consumer.fetch_metadata(None, ANSWER).with_context(what)?;
    assign(&consumer, name, from.iter().copied())?;
    Ok(consumer)
}

/// Lets a new consumer read these partitions, from these offsets on, as soon as it can. That no broker answers is told by the reading.
pub fn begin(consumer: &BaseConsumer<Heard>, name: &str, from: impl IntoIterator<Item = (usize, i64)>) -> Result<()> {
    // Of brokers that a client knows, records are asked for at once, and else only after half a second.
    let _ = consumer.fetch_metadata(None, KNOWN);
    assign(consumer, name, from.into_iter().map(|(partition, offset)| (partition, Offset::Offset(offset))))
}

fn assign(consumer: &BaseConsumer<Heard>, name: &str, from: impl Iterator<Item = (usize, Offset)>) -> Result<()> {
    let what = || format!("cannot read the topic {name}");
    let mut start = TopicPartitionList::new();
    for (partition, offset) in from {
        start.add_partition_offset(name, i32::try_from(partition)?, offset).with_context(what)?;
    }
    consumer.assign(&start).with_context(what)
}

/// Calls `each` with every committed message up to the ends of the consumer's partitions; those of one partition in order. What a
/// transaction that is still open holds back is not seen.
pub fn catch_up(consumer: &BaseConsumer<Heard>, name: &str, mut each: impl FnMut(&BorrowedMessage<'_>) -> Result<()>) -> Result<()> {
    let what = || format!("cannot read the topic {name}");
    let partitions = consumer.assignment().with_context(what)?.count();
    let mut ended = BTreeSet::new();
    let mut heard = Instant::now();
    while ended.len() < partitions {
        match consumer.poll(ANSWER) {
            Some(Ok(message)) => {
                heard = Instant::now();
                each(&message)?;
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                heard = Instant::now();
                ended.insert(partition);
            }
            Some(Err(error)) if gone(&error) => bail!("{}: what is asked for is no longer there ({error})", what()),
            Some(Err(error)) => tracing::debug!("{name}: {error}"),
            None => {}
        }
        if heard.elapsed() > ANSWER {
            bail!("the topic {name} cannot be read: no answer within {} s{}", ANSWER.as_secs(), consumer.context().words());
        }
    }
    Ok(())
}

/// An error that no waiting cures.
fn gone(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{AutoOffsetReset, OffsetOutOfRange, TopicAuthorizationFailed, UnknownTopic, UnknownTopicOrPartition};
    let code = error.rdkafka_error_code();
    matches!(code, Some(AutoOffsetReset | OffsetOutOfRange | UnknownTopic | UnknownTopicOrPartition | TopicAuthorizationFailed))
}

/// The offset behind the last committed message of each partition.
pub fn ends(topics: &Topics, name: &str, partitions: usize) -> Result<Vec<i64>> {
    let consumer = client::reader(topics, "discodiff", 1, false)?;
    offsets(&consumer, &[(name.to_owned(), partitions)], Offset::End)
}

/// The first offset ([`Offset::Beginning`]), or the one behind the last that this client may see ([`Offset::End`]), of all partitions of
/// these topics, in their order. One question for all of them, not one each: a month has dozens.
pub fn offsets(consumer: &BaseConsumer<Heard>, names: &[(String, usize)], which: Offset) -> Result<Vec<i64>> {
    let what = || format!("cannot ask for offsets{}", consumer.context().words());
    let mut asked = TopicPartitionList::new();
    for (name, partitions) in names {
        for partition in 0..*partitions {
            // In the place of a time.
            asked.add_partition_offset(name, i32::try_from(partition)?, which)?;
        }
    }
    if asked.count() == 0 {
        return Ok(Vec::new());
    }
    let found = consumer.offsets_for_times(asked, ANSWER).with_context(what)?;
    let offset = |name: &str, partition: usize| {
        let found = found.find_partition(name, i32::try_from(partition)?).with_context(what)?;
        found.error().with_context(what)?;
        found.offset().to_raw().filter(|offset| *offset >= 0).with_context(what)
    };
    names.iter().flat_map(|(name, partitions)| (0..*partitions).map(|partition| offset(name, partition))).collect()
}

/// Waits until everything in these topics is seen by who reads what is committed: a commit is answered some milliseconds before. False
/// where another producer has a transaction open for long.
pub fn until_seen(topics: &Topics, names: &[(String, usize)]) -> Result<bool> {
    let committed = client::reader(topics, "discodiff", 1, false)?;
    let all = topics
        .brokers
        .config()
        .set("group.id", "discodiff")
        .set("isolation.level", "read_uncommitted")
        .create_with_context(Heard::default());
    let all: BaseConsumer<Heard> = all.map_err(|error| anyhow!("cannot make a Kafka client: {error}"))?;
    let all = Closing::new(all);
    let begun = Instant::now();
    let ends = offsets(&all, names, Offset::End)?;
    while offsets(&committed, names, Offset::End)?.iter().zip(&ends).any(|(seen, end)| seen < end) {
        if begun.elapsed() > ANSWER {
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(true)
}
