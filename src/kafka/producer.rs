//! Writes messages in transactions.
//!
//! A transactional id belongs to one producer at a time: one that is opened ends what another of its id has open, and fences it. What the
//! client can wait for, it waits for: brokers that are away, a full queue, an answer to a commit. What it gives up is a [`Failure`], and then
//! the transaction is to be aborted.

use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};

use super::client::{self, ANSWER, Heard, patience};
use super::{Topics, topics};

/// What the client takes as one message: just below what a broker takes as one request (`socket.request.max.bytes`), so that the topic's
/// limit is the one that counts.
const CLIENT_MESSAGE_BYTES: usize = 96 << 20;

/// Bytes that wait in the client. A message of the largest size fits.
const QUEUE_KILOBYTES: usize = 128 << 10;

/// How long the client is let look for deliveries in one go: it does so to the end of that time, though the last may have come long before.
const LOOK: Duration = Duration::from_millis(5);

/// How long one question waits for its answer before it is looked whether the user wants to stop.
const SLICE: Duration = Duration::from_secs(1);

/// A message on its way out; its opaque number is told to who asks for placements, unless it is 0.
pub type Outgoing<'a> = BaseRecord<'a, str, [u8], usize>;

/// Why the producer gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The user wants the program to stop.
    Stopped,
    /// Another producer has taken the transactional id.
    Fenced,
    /// A topic does not take a message of this size.
    TooLarge,
    /// The brokers do not answer, or refuse.
    Unanswered,
}

/// What the producer could not do.
#[derive(Debug)]
pub struct Failure {
    /// Why.
    pub why: Why,
    /// What was tried, and what the client says.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {}

/// Says which message was not taken: `the record with the key 7 (81 bytes) was not taken by the topic x`.
pub type Describe = fn(&BorrowedMessage<'_>) -> String;

/// Hears what became of each message.
struct Deliveries {
    heard: Heard,
    describe: Describe,
    refused: Mutex<Option<Refused>>,
    /// Opaque numbers and offsets.
    placed: Mutex<Vec<(usize, i64)>>,
}

/// The first message that the broker did not take.
struct Refused {
    what: String,
    topic: String,
    error: KafkaError,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.heard.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.heard.error(error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        match result {
            Ok(message) if opaque > 0 => self.placed.lock().unwrap_or_else(PoisonError::into_inner).push((opaque, message.offset())),
            Ok(_) => {}
            Err((error, message)) => {
                let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
                // Messages behind the one that failed fail with it.
                if refused.as_ref().is_none_or(|refused| refused.error.rdkafka_error_code() == Some(RDKafkaErrorCode::PurgeQueue)) {
                    let topic = message.topic().to_owned();
                    *refused = Some(Refused { what: (self.describe)(message), topic, error: error.clone() });
                }
            }
        }
    }
}

/// A producer, with the only transaction that can be open under its id.
pub struct Producer {
    topics: Topics,
    client: ThreadedProducer<Deliveries>,
    stop: Arc<AtomicBool>,
    stalled_micros: AtomicU64,
}

impl Producer {
    /// Takes the transactional id, and waits at most `most` for it. `stop` is set when the user wants the program to stop; `partitions`:
    /// how many of a topic are written to at a time.
    pub fn open(
        topics: &Topics,
        id: &str,
        stop: &Arc<AtomicBool>,
        describe: Describe,
        most: Duration,
        partitions: usize,
    ) -> Result<Producer, Failure> {
        let waiting = patience().as_millis().to_string();
        let deliveries = Deliveries { heard: Heard::default(), describe, refused: Mutex::default(), placed: Mutex::default() };
        let client: ThreadedProducer<Deliveries> = topics
            .brokers
            .config()
            .set("transactional.id", id)
            .set("transaction.timeout.ms", &waiting)
            .set("message.timeout.ms", &waiting)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("compression.codec", "zstd")
            // A quarter of the bytes, at nearly the rate of lz4, which leaves half.
            .set("compression.level", "1")
            .set("linger.ms", "10")
            .set("batch.size", client::batch(partitions).to_string())
            .set("message.max.bytes", CLIENT_MESSAGE_BYTES.to_string())
            .set("queue.buffering.max.kbytes", QUEUE_KILOBYTES.to_string())
            .create_with_context(deliveries)
            .map_err(|error| Failure { why: Why::Unanswered, message: format!("cannot make a Kafka client: {error}") })?;
        let producer = Producer { topics: topics.clone(), client, stop: Arc::clone(stop), stalled_micros: AtomicU64::new(0) };
        producer.patiently("cannot take the transactional id", most, |slice| producer.client.init_transactions(slice))?;
        Ok(producer)
    }

    /// Begins a transaction.
    pub fn begin(&self) -> Result<(), Failure> {
        self.client.begin_transaction().map_err(|error| self.failure("cannot begin a transaction", &error))
    }

    /// Hands a message to the client. A full queue is waited for: the brokers are slower than who sends, or away.
    pub fn send(&self, mut message: Outgoing<'_>, describe: impl FnOnce() -> String) -> Result<(), Failure> {
        let mut began = None;
        let topic = message.topic.to_owned();
        loop {
            match self.client.send(message) {
                Ok(()) => {
                    let waited = began.map_or(0, |began: Instant| began.elapsed().as_micros() as u64);
                    self.stalled_micros.fetch_add(waited, Ordering::Relaxed);
                    return Ok(());
                }
                Err((error, back)) => {
                    let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
                    if !full || began.get_or_insert_with(Instant::now).elapsed() > patience() || self.stop.load(Ordering::Relaxed) {
                        return Err(self.refused(&Refused { what: describe(), topic, error }));
                    }
                    message = back;
                    thread::sleep(Duration::from_millis(5));
                }
            }
        }
    }

    /// How long it was waited for room in the client's queue.
    pub fn stalled(&self) -> Duration {
        Duration::from_micros(self.stalled_micros.load(Ordering::Relaxed))
    }

    /// Waits until all is with the broker. What follows a message that was refused is never taken, so that is looked for meanwhile.
    pub fn flush(&self) -> Result<(), Failure> {
        let began = Instant::now();
        loop {
            let flushed = self.client.flush(LOOK);
            self.check_refused()?;
            match flushed {
                Ok(()) => return Ok(()),
                Err(_) if self.stop.load(Ordering::Relaxed) => return Err(stopped()),
                Err(_) if began.elapsed() < patience() => {}
                Err(error) => return Err(self.failure("the brokers do not take what is sent", &error)),
            }
        }
    }

    /// Where messages with an opaque number were put: those numbers and offsets, in no order, of what was flushed since this was asked last.
    pub fn take_placed(&self) -> Vec<(usize, i64)> {
        std::mem::take(&mut *self.client.context().placed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Commits.
    pub fn commit(&self) -> Result<(), Failure> {
        fail::fail_point!("commit-refused", |_| Err(Failure { why: Why::Unanswered, message: "a failpoint".to_owned() }));
        self.flush()?;
        fail::fail_point!("in-transaction");
        // The same commit again: it was done, is under way, or is done now.
        self.patiently("cannot commit", patience(), |slice| self.client.commit_transaction(slice))?;
        fail::fail_point!("commit-unanswered", |_| Err(Failure { why: Why::Unanswered, message: "a failpoint".to_owned() }));
        fail::fail_point!("after-transaction");
        Ok(())
    }

    /// Asks for the same again while the brokers do not answer, in slices, so that a wish to stop is heard.
    fn patiently(&self, what: &str, most: Duration, ask: impl Fn(Duration) -> Result<(), KafkaError>) -> Result<(), Failure> {
        let began = Instant::now();
        loop {
            match ask(SLICE) {
                Ok(()) => return Ok(()),
                Err(_) if self.stop.load(Ordering::Relaxed) => return Err(stopped()),
                Err(KafkaError::Transaction(error)) if error.is_retriable() && began.elapsed() < most => {}
                Err(error) => {
                    self.check_refused()?;
                    return Err(self.failure(what, &error));
                }
            }
        }
    }

    /// Ends what is open, so that readers need not wait until the broker does.
    pub fn abort(&self) {
        if let Err(error) = self.client.abort_transaction(ANSWER.min(patience())) {
            // There may be none, or no broker; then the next producer of this id or the broker's clock ends it.
            tracing::debug!("abort: {error}");
        }
    }

    fn check_refused(&self) -> Result<(), Failure> {
        let refused = self.client.context().refused.lock().unwrap_or_else(PoisonError::into_inner).take();
        refused.map_or(Ok(()), |refused| Err(self.refused(&refused)))
    }

    fn refused(&self, Refused { what, topic, error }: &Refused) -> Failure {
        if self.stop.load(Ordering::Relaxed) {
            return stopped();
        }
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::MessageSizeTooLarge) {
            return self.failure(what, error);
        }
        let limit = client::admin(&self.topics).map_or_else(|_| "unknown".to_owned(), |admin| topics::largest_message(&admin, topic));
        let message = format!(
            "{what}: it is too large. Three limits count, each of bytes: the client's message.max.bytes is {CLIENT_MESSAGE_BYTES}; the topic's \
             max.message.bytes is {limit}; the broker's message.max.bytes is the default of that, and where there are several brokers, \
             replica.fetch.max.bytes should be as large. Raise the topic's (kafka-configs.sh --alter --entity-type topics --entity-name {topic} \
             --add-config max.message.bytes=...), and run the same command again"
        );
        Failure { why: Why::TooLarge, message }
    }

    /// An error of the client, in words.
    fn failure(&self, what: &str, error: &KafkaError) -> Failure {
        let heard = self.client.context().heard.words();
        // What comes after a client has been fenced only says that it was thrown away.
        let error = match (self.client.client().fatal_error(), error) {
            (Some((_, reason)), _) => reason,
            (None, KafkaError::Transaction(error)) => error.to_string(),
            (None, error) => error.to_string(),
        };
        if error.contains("fenced") {
            return Failure { why: Why::Fenced, message: format!("{what} ({error})") };
        }
        Failure { why: Why::Unanswered, message: format!("{what}: {error}{heard}") }
    }
}

fn stopped() -> Failure {
    Failure { why: Why::Stopped, message: "stopped on request".to_owned() }
}
