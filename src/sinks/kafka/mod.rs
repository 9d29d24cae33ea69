//! What sinks that write to topics share: a session, of transactions that hold messages and a record of progress together.
//!
//! ```text
//!   TOPIC           messages ────────────┐
//!                                        ├── one transaction a batch
//!   TOPIC.progress  "progress": run, batch, and what the sink says of itself
//! ```
//!
//! The progress record is what the watermark is in other stores: it decides a commit that was not answered, and a run that finds a higher
//! run number there ends. The transactional id is one for a sink's topics, so a run that starts ends what another has open, and fences it.
//!
//! Of several processes each writes what its workers own, with a transactional id and a progress record of its own: `progress` is that of
//! process 0, and says how many there are, so that the next run fences all of them.

mod error;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rdkafka::Offset;
use rdkafka::message::{BorrowedMessage, Message, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Class, Run, SinkError, Written};
use crate::kafka::client::{ANSWER, patience};
use crate::kafka::producer::Producer;
use crate::kafka::topics::{self, Wanted};
use crate::kafka::{Topics, read};
use error::classed;
pub use error::unanswered;

/// The version of what stands in progress topics.
const FORMAT: u32 = 1;

/// The key of the progress record.
const PROGRESS: &str = "progress";

/// What a progress topic holds: the last value of each key.
pub type Records = BTreeMap<String, Vec<u8>>;

/// Where a sink writes to.
#[derive(Clone, Debug)]
pub struct Place {
    /// The sink's name.
    pub sink: &'static str,
    /// The brokers, and what the topics' names begin with.
    pub topics: Topics,
    /// What stands before the prefix in the transactional id.
    pub id: &'static str,
    /// The setting by which other topics can be named.
    pub setting: String,
    /// Set when the user wants the program to stop.
    pub stop: Arc<AtomicBool>,
}

impl Place {
    /// Takes the transactional id of a process. Waits for it as long as for a restart of the brokers, or only for an answer where it is tried again.
    fn open(&self, process: usize, again: bool) -> Result<Producer, SinkError> {
        let of = if process == 0 { String::new() } else { format!("/{process}") };
        let id = format!("{}.{}{of}", self.id, self.topics.prefix);
        let most = if again { ANSWER } else { patience() };
        Producer::open(&self.topics, &id, &self.stop, describe, most, topics::PARTITIONS).map_err(|failure| classed(self, failure))
    }

    /// Number of partitions of each topic, `None` where it is not there; refuses topics that are not as they should be.
    pub fn check(&self, wanted: &[Wanted]) -> Result<Vec<Option<usize>>, SinkError> {
        topics::check(&self.topics, wanted, &format!("name other topics with {}", self.setting)).map_err(unanswered)
    }

    /// The same, and makes those that are missing.
    pub fn ensure(&self, wanted: &[Wanted]) -> Result<Vec<usize>, SinkError> {
        topics::ensure(&self.topics, wanted, &format!("name other topics with {}", self.setting)).map_err(unanswered)
    }

    /// Waits until what other processes had open in the progress topic is over: what was committed behind it is not seen before.
    fn settle(&self) -> Result<(), SinkError> {
        let progress = self.topics.progress();
        if read::until_seen(&self.topics, &[(progress.clone(), 1)]).map_err(unanswered)? {
            return Ok(());
        }
        Err(SinkError {
            class: Class::Retry,
            message: format!("another process has a transaction open in the topic {progress}"),
            source: None,
        })
    }

    /// All records of the progress topic, which must be there.
    pub fn records(&self) -> Result<Records, SinkError> {
        let mut records = Records::new();
        let read = read::to_end(&self.topics, &self.topics.progress(), &[(0, Offset::Beginning)], |message| {
            let key = String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned();
            match message.payload() {
                Some(value) => drop(records.insert(key, value.to_vec())),
                None => drop(records.remove(&key)),
            }
            Ok(())
        });
        read.map_err(|error| unanswered(error.context(format!("brokers {}", self.topics.brokers))))?;
        Ok(records)
    }
}

fn describe(message: &BorrowedMessage<'_>) -> String {
    let key = message.key().map(|key| String::from_utf8_lossy(key).into_owned()).unwrap_or_default();
    describe_parts(&key, message.payload().map_or(0, <[u8]>::len), message.topic())
}

fn describe_parts(key: &str, bytes: usize, topic: &str) -> String {
    format!("the message with the key {key} ({bytes} bytes) was not taken by the topic {topic}")
}

/// The progress record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress<T> {
    format: u32,
    /// The state that the sink is bound to.
    pub state: Uuid,
    /// The sink's own id.
    pub store: Uuid,
    /// Number of the run that wrote last.
    pub run: u64,
    /// Number of its batch that was committed last.
    pub batch: u64,
    /// How many processes write, or wrote before them and may have left something open.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    processes: usize,
    /// What the sink says of itself.
    pub of: T,
}

fn one() -> usize {
    1
}

fn is_one(processes: &usize) -> bool {
    *processes == 1
}

/// The key of a process's progress record.
fn key_of(process: usize) -> String {
    if process == 0 { PROGRESS.to_owned() } else { format!("{PROGRESS}/{process}") }
}

/// What another process needs to write along.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Pass {
    run: u64,
    store: Uuid,
}

impl<T: DeserializeOwned> Progress<T> {
    /// The record of process 0 among those of a progress topic; `None` where there is none.
    pub fn find(place: &Place, records: &Records) -> Result<Option<Progress<T>>, SinkError> {
        Progress::of_process(place, records, 0)
    }

    fn of_process(place: &Place, records: &Records, process: usize) -> Result<Option<Progress<T>>, SinkError> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let Some(bytes) = records.get(&key_of(process)) else { return Ok(None) };
        let name = place.topics.progress();
        let read = |error| {
            SinkError::stop(format!("the record in the topic {name} cannot be read ({error}): name another with {}", place.setting))
        };
        match serde_json::from_slice::<Format>(bytes).map_err(read)?.format {
            FORMAT => serde_json::from_slice(bytes).map(Some).map_err(read),
            newer => Err(SinkError::stop(format!(
                "the topic {name} was written by a newer discodiff: its records are of version {newer}, this one knows version {FORMAT}; use the newer one"
            ))),
        }
    }
}

/// A producer of messages and progress.
pub struct Session<T> {
    /// Where to.
    pub place: Place,
    /// What the last transaction, or the next one, says.
    pub progress: Progress<T>,
    process: usize,
    producer: Option<Producer>,
    /// What the batch came to whose commit was tried last.
    tried: Option<(u64, Written)>,
}

impl<T: Serialize + DeserializeOwned> Session<T> {
    /// Takes the transactional id, so that all that others had open is over, and then reads what there is: the progress record with the
    /// number of this run, `fresh` where there is none; and all other records.
    pub fn begin(place: Place, run: &Run, fresh: T) -> Result<(Session<T>, Records), SinkError> {
        let state = run.state;
        let producer = place.open(0, false)?;
        let mut records = place.records()?;
        let progress = match Progress::<T>::find(&place, &records)? {
            Some(progress) if progress.state != state => {
                return Err(super::tables::other_state(&format!("the topic {}", place.topics.progress()), progress.state, state));
            }
            Some(progress) => Progress { run: progress.run + 1, batch: 0, ..progress },
            None => Progress { format: FORMAT, state, store: Uuid::new_v4(), run: 1, batch: 0, processes: 1, of: fresh },
        };
        let before = progress.processes;
        let mut session = Session { place, progress, process: 0, producer: Some(producer), tried: None };
        if before > 1 {
            // Whoever opens one of these ids again finds the number raised from then on.
            session.transact(|_| Ok(()))?;
            (1..before).try_for_each(|process| session.place.open(process, false).map(drop))?;
            session.place.settle()?;
            records = session.place.records()?;
        }
        session.progress.processes = run.peers.processes;
        Ok((session, records))
    }

    /// What other processes need for [`Session::join`], once something was committed.
    pub fn pass(&self) -> Option<String> {
        serde_json::to_string(&Pass { run: self.progress.run, store: self.progress.store }).ok()
    }

    /// Writes along in a run that process 0 has begun.
    pub fn join(place: Place, process: usize, pass: &str) -> Result<(Session<T>, Records), SinkError> {
        let pass: Pass = serde_json::from_str(pass)
            .map_err(|error| SinkError::stop(format!("what process 0 says of {} cannot be read: {error}", place.sink)))?;
        let producer = place.open(process, false)?;
        // What process 0 has committed may not be seen yet.
        place.settle()?;
        let records = place.records()?;
        let begun = Progress::<T>::find(&place, &records)?.filter(|progress| (progress.run, progress.store) == (pass.run, pass.store));
        let begun = begun.ok_or_else(|| super::tables::fenced(&format!("the topic {}", place.topics.prefix)))?;
        let mut session = Session { place, progress: Progress { batch: 0, ..begun }, process, producer: Some(producer), tried: None };
        session.transact(|_| Ok(()))?;
        Ok((session, records))
    }

    /// One transaction, at a run's begin or end: what `fill` sends, and the progress record.
    pub fn transact(&mut self, fill: impl FnOnce(&Sending<'_>) -> Result<(), SinkError>) -> Result<(), SinkError> {
        self.commit(fill).map_err(|error| {
            let message = format!("{}. What was committed stays: run the same command again", error.message);
            SinkError { message, ..error }
        })
    }

    /// Waits until the next run, and every reader, sees what was written to these topics and to that of progress.
    pub fn until_seen(&self, mut topics: Vec<(String, usize)>) -> Result<(), SinkError> {
        topics.push((self.place.topics.progress(), 1));
        read::until_seen(&self.place.topics, &topics).map(drop).map_err(unanswered)
    }

    fn commit(&mut self, fill: impl FnOnce(&Sending<'_>) -> Result<(), SinkError>) -> Result<(), SinkError> {
        let Session { place, producer, progress, process, .. } = self;
        let Some(client) = producer else { return Err(SinkError::stop(format!("{} was not begun", place.topics.prefix))) };
        let sending = Sending { place, producer: client };
        let fail = |failure| classed(place, failure);
        let value = serde_json::to_vec(progress)
            .map_err(|error| SinkError::stop(format!("the progress is not JSON ({error}): this is a defect of discodiff")))?;
        let result = client.begin().map_err(fail).and_then(|()| {
            fill(&sending)?;
            sending.send(&place.topics.progress(), 0, Some(&key_of(*process)), Some(&value), OwnedHeaders::new())?;
            client.flush().and_then(|()| client.commit()).map_err(fail)
        });
        if let Err(error) = &result {
            client.abort();
            // What is refused for its content leaves the producer as it was.
            if error.class != Class::Reject {
                *producer = None;
            }
        }
        result
    }

    /// Writes a batch in one transaction.
    pub fn batch(
        &mut self,
        number: u64,
        written: Written,
        fill: impl FnOnce(&Sending<'_>) -> Result<(), SinkError>,
    ) -> Result<Written, SinkError> {
        self.tried = Some((number, written.clone()));
        self.progress.batch = number;
        self.commit(fill)?;
        Ok(written)
    }

    /// Connects anew after a batch that failed, and finds out whether it was committed after all; then gives what it came to.
    pub fn again(&mut self, number: u64) -> Result<Option<Written>, SinkError> {
        // Looked at first: a later run must not be fenced by this one.
        self.committed()?;
        self.producer = None;
        self.producer = Some(self.place.open(self.process, true)?);
        let committed = self.committed()?;
        Ok(self.tried.take_if(|(tried, _)| *tried == number && committed == number).map(|(_, written)| written))
    }

    /// Number of the batch that was committed last, if this run is still the last one.
    fn committed(&self) -> Result<u64, SinkError> {
        if self.progress.processes > 1 {
            self.place.settle()?;
        }
        let records = self.place.records()?;
        let is_mine = |progress: &Progress<T>| progress.run == self.progress.run && progress.state == self.progress.state;
        let begun = Progress::<T>::find(&self.place, &records)?.filter(is_mine);
        match Progress::<T>::of_process(&self.place, &records, self.process)?.filter(is_mine) {
            Some(progress) if begun.is_some() => Ok(progress.batch),
            _ => Err(super::tables::fenced(&format!("the topic {}", self.place.topics.prefix))),
        }
    }
}

/// Sends the messages of a transaction.
pub struct Sending<'a> {
    place: &'a Place,
    producer: &'a Producer,
}

impl Sending<'_> {
    /// Sends a message; without a value it is a tombstone.
    pub fn send(
        &self,
        topic: &str,
        partition: usize,
        key: Option<&str>,
        value: Option<&[u8]>,
        headers: OwnedHeaders,
    ) -> Result<(), SinkError> {
        let partition = i32::try_from(partition).map_err(|error| SinkError::stop(format!("partition {partition} of {topic}: {error}")))?;
        let mut message = BaseRecord::with_opaque_to(topic, 0).partition(partition).headers(headers);
        (message.key, message.payload) = (key, value);
        let describe = || describe_parts(key.unwrap_or_default(), value.map_or(0, <[u8]>::len), topic);
        self.producer.send(message, describe).map_err(|failure| classed(self.place, failure))
    }
}
