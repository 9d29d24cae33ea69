//! Reads a topic from some offsets to its end.

use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Offset, TopicPartitionList};

use super::Topics;
use super::client::{self, ANSWER};

/// Calls `each` with every committed message of these partitions, from these offsets to the ends that are met; those of one partition in
/// order. What a transaction that is still open holds back is not seen. Memory is bounded as that of [`client::reader`].
pub fn to_end(
    topics: &Topics,
    name: &str,
    from: &[(usize, Offset)],
    mut each: impl FnMut(&BorrowedMessage<'_>) -> Result<()>,
) -> Result<()> {
    let what = || format!("cannot read the topic {name}");
    let consumer = client::reader(topics, "discodiff", from.len(), true)?;
    // Where partitions begin is asked for at once by a client that knows of brokers, and else only after half a second.
    consumer.fetch_metadata(None, ANSWER).with_context(what)?;
    let mut start = TopicPartitionList::new();
    for (partition, offset) in from {
        start.add_partition_offset(name, i32::try_from(*partition)?, *offset).with_context(what)?;
    }
    consumer.assign(&start).with_context(what)?;
    let mut ended = vec![false; from.len()];
    let mut heard = Instant::now();
    while !ended.iter().all(|ended| *ended) {
        match consumer.poll(ANSWER) {
            Some(Ok(message)) => {
                heard = Instant::now();
                each(&message)?;
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                let at = from.iter().position(|(of, _)| i32::try_from(*of) == Ok(partition));
                at.into_iter().for_each(|at| ended[at] = true);
                heard = Instant::now();
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
    let admin = client::admin(topics)?;
    let end = |partition| {
        let watermarks = admin.inner().fetch_watermarks(name, i32::try_from(partition)?, ANSWER);
        watermarks
            .map(|(_, end)| end)
            .map_err(|error| anyhow!("cannot ask for the offsets of {name}: {error}{}", admin.inner().context().words()))
    };
    (0..partitions).map(end).collect()
}
