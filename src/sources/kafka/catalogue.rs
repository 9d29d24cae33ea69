//! The catalogue: what was published, how far, and where it lies.
//!
//! A compacted topic of one partition, with a record an attempt, replaced in each of its transactions. So the topics of records need never
//! be searched for markers, neither by a publisher that goes on nor by a reader.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rdkafka::Offset;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Topics;
use super::message::{Marker, MarkerEnd};
use crate::kafka::client::{self, Heard};
use crate::kafka::closing::Closing;
use crate::kafka::read;
use crate::model::Kind;

/// One publication of one dump file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The catalogue's id: topics that were made anew have another.
    pub log: Uuid,
    /// Which topic it is in.
    pub kind: Kind,
    /// Number in this topic, from 1 on.
    pub attempt: u64,
    /// sha256 of the dump file.
    pub snapshot: String,
    /// Its month.
    pub month: String,
    /// Its name.
    pub file: String,
    /// The kinds that are published together with it, itself among them: the month is whole once all are. Empty in older records.
    #[serde(default)]
    pub with: Vec<Kind>,
    /// Offset of the begin marker in each partition.
    pub begins: Vec<i64>,
    /// Records published so far.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Position in the file of the last of them.
    pub last: u64,
    /// Once all are there.
    pub ends: Option<Ends>,
}

/// How far a state has come in a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reached {
    /// The catalogue's id.
    pub log: Uuid,
    /// The attempt that was applied last.
    pub attempt: u64,
    /// The next offset of each partition.
    pub offsets: Vec<i64>,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ends {
    /// Offset of the end marker in each partition.
    pub offsets: Vec<i64>,
    /// Why the file was not read whole, if it was not.
    pub defect: Option<String>,
}

impl Attempt {
    /// The catalogue's key.
    pub fn key(&self) -> String {
        format!("{}/{}", self.kind.plural(), self.attempt)
    }

    /// Where a state stands that has applied it.
    pub fn reached(&self) -> Reached {
        let ends = self.ends.iter().flat_map(|ends| &ends.offsets);
        Reached { log: self.log, attempt: self.attempt, offsets: ends.map(|offset| offset + 1).collect() }
    }

    /// The marker of one partition; at the end with the number of records there.
    pub fn marker(&self, partition: usize, end: Option<(u64, Option<String>)>) -> Marker {
        Marker {
            log: self.log,
            attempt: self.attempt,
            partition,
            snapshot: self.snapshot.clone(),
            month: self.month.clone(),
            file: self.file.clone(),
            end: end.map(|(records, defect)| MarkerEnd { records, total: self.records, defect }),
        }
    }
}

/// All attempts.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    attempts: BTreeMap<(Kind, u64), Attempt>,
}

impl Catalogue {
    /// Reads the catalogue of topics to which something should have been published.
    pub fn find(topics: &Topics) -> Result<Catalogue> {
        let name = topics.catalogue();
        if !client::names(topics)?.contains(&name) {
            bail!(
                "there is no topic {name} at {}: nothing was published there under this prefix. Publish dumps first (discodiff publish), or name \
                 another --topic-prefix; topics that another program fills are read with --until now",
                topics.brokers
            );
        }
        Catalogue::read(topics)
    }

    /// Reads all of it that is committed.
    pub fn read(topics: &Topics) -> Result<Catalogue> {
        let mut reader = CatalogueReader::open(topics)?;
        reader.catch_up()?;
        Ok(reader.catalogue)
    }

    /// The catalogue's id; a new one's where nothing was published yet.
    pub fn log(&self) -> Uuid {
        self.attempts.values().next().map_or_else(Uuid::new_v4, |attempt| attempt.log)
    }

    /// Attempts of a kind, in order.
    pub fn of(&self, kind: Kind) -> impl DoubleEndedIterator<Item = &Attempt> {
        self.attempts.range((kind, 0)..=(kind, u64::MAX)).map(|(_, attempt)| attempt)
    }

    /// The newest attempt of each snapshot, in order.
    pub fn newest(&self, kind: Kind) -> Vec<&Attempt> {
        let newer = |attempt: &Attempt| self.of(kind).any(|other| other.snapshot == attempt.snapshot && other.attempt > attempt.attempt);
        self.of(kind).filter(|attempt| !newer(attempt)).collect()
    }

    /// A catalogue of these.
    #[cfg(test)]
    pub fn of_attempts(attempts: impl IntoIterator<Item = Attempt>) -> Catalogue {
        Catalogue { attempts: attempts.into_iter().map(|attempt| ((attempt.kind, attempt.attempt), attempt)).collect() }
    }

    /// The months of which anything was published, in order.
    pub fn months(&self) -> BTreeSet<&str> {
        self.attempts.values().map(|attempt| attempt.month.as_str()).collect()
    }
}

/// A catalogue that is read as it grows.
pub struct CatalogueReader {
    name: String,
    consumer: Closing<BaseConsumer<Heard>>,
    /// No broker answers.
    away: bool,
    /// What was read.
    pub catalogue: Catalogue,
}

impl CatalogueReader {
    /// Begins to read.
    pub fn open(topics: &Topics) -> Result<CatalogueReader> {
        let name = topics.catalogue();
        let consumer = read::open(topics, &name, &[(0, Offset::Beginning)])?;
        Ok(CatalogueReader { name, consumer, away: false, catalogue: Catalogue::default() })
    }

    /// Reads all that is committed by now.
    pub fn catch_up(&mut self) -> Result<()> {
        read::catch_up(&self.consumer, &self.name, |message| take(&mut self.catalogue, &self.name, message))
    }

    /// Waits up to `time` for news; whether there were any. A broker that is away meanwhile is waited for.
    pub fn wait(&mut self, time: Duration) -> Result<bool> {
        match self.consumer.poll(time) {
            Some(Ok(message)) => {
                self.away = false;
                take(&mut self.catalogue, &self.name, &message).map(|()| true)
            }
            Some(Err(KafkaError::PartitionEOF(_))) | None => Ok(false),
            Some(Err(error)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::UnknownTopicOrPartition) => {
                bail!("the topic {} is no longer there: was it deleted?", self.name)
            }
            Some(Err(error)) => {
                let gone = matches!(
                    error.rdkafka_error_code(),
                    Some(RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::Resolve)
                );
                if gone && !std::mem::replace(&mut self.away, true) {
                    tracing::warn!("no broker answers ({error}): waiting until one does");
                }
                tracing::debug!("{}: {error}", self.name);
                Ok(false)
            }
        }
    }
}

fn take(catalogue: &mut Catalogue, name: &str, message: &BorrowedMessage<'_>) -> Result<()> {
    // A record without a value is nothing: somebody took it out.
    let Some(value) = message.payload() else { return Ok(()) };
    let attempt: Attempt = serde_json::from_slice(value).with_context(|| {
        format!("the record at offset {} of the topic {name} is not of this version of discodiff, or of somebody else", message.offset())
    })?;
    catalogue.attempts.insert((attempt.kind, attempt.attempt), attempt);
    Ok(())
}
