//! Publishing a month, and refreshing from one in which nothing changed, against bare clients that send and read the same messages, by
//! turns, on the broker that `DISCODIFF_TEST_KAFKA` names.
//!
//! ```sh
//! scripts/services.sh start kafka && export $(scripts/services.sh env kafka) && cargo bench --bench kafka
//! ```
//!
//! The broker must run on this machine. `RELEASES` (200,000) says how large the month is, `ROUNDS` (3) how often.

#[path = "rows.rs"]
mod rows;
#[path = "sides.rs"]
mod sides;

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};

use rows::Row;
use sides::{measured, months, product, refresh, rounds};

const KINDS: [&str; 4] = ["artists", "labels", "masters", "releases"];
const PARTITIONS: i32 = 16;
const SOON: Duration = Duration::from_secs(30);

/// A message as it was published: topic, partition, key, value.
type Sent = (usize, i32, Option<Vec<u8>>, Vec<u8>);

/// The same records in other bytes: another snapshot in which nothing has changed.
fn again(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("created");
    for entry in fs::read_dir(from).expect("listed").flatten().filter(|entry| entry.path().extension().is_some_and(|is| is == "gz")) {
        let mut xml = Vec::new();
        MultiGzDecoder::new(fs::File::open(entry.path()).expect("opened")).read_to_end(&mut xml).expect("read");
        let mut out = GzEncoder::new(fs::File::create(to.join(entry.file_name())).expect("created"), Compression::new(1));
        out.write_all(&xml).expect("written");
        out.finish().expect("finished");
    }
}

/// Reads a stretch of topics as fast as the client can; each message is given to `each`.
fn read(brokers: &str, prefix: &str, from: &[Vec<i64>], mut each: impl FnMut(usize, &rdkafka::message::BorrowedMessage<'_>)) {
    for (kind, from) in from.iter().enumerate() {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("group.id", "bench").set("enable.auto.commit", "false");
        config.set("isolation.level", "read_committed").set("enable.partition.eof", "true").set("fetch.queue.backoff.ms", "2");
        // That a partition has no more is told only once the broker has waited for more: by default half a second for each topic.
        config.set("fetch.wait.max.ms", "10");
        let consumer: BaseConsumer = config.create().expect("a consumer");
        consumer.fetch_metadata(None, SOON).expect("metadata");
        let topic = format!("{prefix}.{}", KINDS[kind]);
        let mut start = TopicPartitionList::new();
        for (partition, offset) in from.iter().enumerate() {
            start.add_partition_offset(&topic, partition as i32, Offset::Offset(*offset)).expect("an offset");
        }
        consumer.assign(&start).expect("assigned");
        let mut open = from.len();
        while open > 0 {
            match consumer.poll(SOON).expect("a message or an end") {
                Ok(message) => each(kind, &message),
                Err(KafkaError::PartitionEOF(_)) => open -= 1,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

fn ends(brokers: &str, prefix: &str) -> Vec<Vec<i64>> {
    let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", brokers).create().expect("a consumer");
    let of = |kind: &&str| {
        let topic = format!("{prefix}.{kind}");
        (0..PARTITIONS).map(|at| consumer.fetch_watermarks(&topic, at, SOON).map_or(0, |(_, end)| end)).collect()
    };
    KINDS.iter().map(of).collect()
}

/// Sends messages in transactions, as the product does, with the same settings.
fn send(brokers: &str, prefix: &str, messages: &[Sent]) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("transactional.id", format!("bench.{prefix}")).set("acks", "all");
    config.set("compression.codec", "zstd").set("compression.level", "1").set("linger.ms", "10").set("batch.size", "1000000");
    config.set("message.max.bytes", "96000000").set("queue.buffering.max.kbytes", "131072");
    let producer: ThreadedProducer<DefaultProducerContext> = config.create().expect("a producer");
    producer.init_transactions(SOON).expect("begun");
    for messages in messages.chunks(50_000) {
        producer.begin_transaction().expect("begun");
        for (kind, partition, key, value) in messages {
            let topic = format!("{prefix}.{}", KINDS[*kind]);
            let mut record = BaseRecord::<[u8], [u8]>::to(&topic).partition(*partition).payload(value);
            record.key = key.as_deref();
            while let Err((error, back)) = producer.send(record) {
                assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::QueueFull), "{error}");
                std::thread::sleep(Duration::from_millis(1));
                record = back;
            }
        }
        // Not in one go: the client looks for deliveries to the end of a tenth of a second.
        let begun = Instant::now();
        while let Err(error) = producer.flush(Duration::from_millis(5)) {
            assert!(begun.elapsed() < SOON, "{error}");
        }
        producer.commit_transaction(SOON).expect("committed");
    }
}

/// Topics like the product's, empty.
fn make(folder: &Path, brokers: &str, prefix: &str) {
    let empty = folder.join("empty");
    fs::create_dir_all(&empty).expect("created");
    for kind in KINDS {
        fs::write(empty.join(format!("discogs_20250101_{kind}.xml")), format!("<{kind}>\n</{kind}>\n")).expect("written");
    }
    publish(&empty, brokers, prefix);
}

fn publish(month: &Path, brokers: &str, prefix: &str) {
    let (month, partitions) = (month.to_str().expect("a path"), PARTITIONS.to_string());
    product(&["publish", "--dumps", month, "--brokers", brokers, "--topic-prefix", prefix, "--partitions", &partitions]);
}

fn main() {
    let Ok(brokers) = std::env::var("DISCODIFF_TEST_KAFKA") else {
        println!("no broker: DISCODIFF_TEST_KAFKA is not set");
        return;
    };
    let port = brokers.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port");
    let [month, _] = months();
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = scratch.path();
    let unchanged = folder.join("again");
    again(&month, &unchanged);
    let unique = std::process::id();
    let (mut publishing, mut consuming) = (Vec::new(), Vec::new());
    for round in 0..rounds() {
        // What the product does with records, without Kafka: cutting and comparing them.
        let state = folder.join(format!("files-{round}"));
        refresh(&month, &state, &["--null"]);
        let null = measured(None, || refresh(&unchanged, &state, &["--null"]));

        let (ours, theirs) = (format!("bench-{unique}-{round}"), format!("bare-{unique}-{round}"));
        make(folder, &brokers, &ours);
        make(folder, &brokers, &theirs);
        let begins = ends(&brokers, &ours);
        let product = measured(Some(port), || publish(&month, &brokers, &ours));
        let mut sent: Vec<Sent> = Vec::new();
        read(&brokers, &ours, &begins, |kind, message| {
            sent.push((kind, message.partition(), message.key().map(<[u8]>::to_vec), message.payload().unwrap_or_default().to_vec()));
        });
        let bare = measured(Some(port), || send(&brokers, &theirs, &sent));
        let messages = sent.len() as f64;
        drop(sent);
        println!("round {round}, publish: product {product:.2?}, bare {bare:.2?}, null {null:.2?}");
        publishing.push((messages / product.wall, messages / bare.limit(null)));

        let state = folder.join(format!("topics-{round}"));
        let from_topics = || {
            let state = state.to_str().expect("a path");
            sides::product(&["refresh", "--kafka", "--brokers", &brokers, "--topic-prefix", &ours, "--state", state, "--null"]);
        };
        from_topics();
        let begins = ends(&brokers, &ours);
        publish(&unchanged, &brokers, &ours);
        let mut read_bare = || measured(Some(port), || read(&brokers, &ours, &begins, |_, _| ()));
        let before = (round % 2 == 1).then(&mut read_bare);
        let product = measured(Some(port), from_topics);
        let bare = before.unwrap_or_else(read_bare);
        println!("round {round}, unchanged: product {product:.2?}, bare {bare:.2?}, null {null:.2?}");
        consuming.push((messages / product.wall, messages / bare.limit(null)));
    }
    let tell = |what: &str, found: &[(f64, f64)]| Row::of(8, what, found, 0.85, true).tell().expect("told");
    tell("Kafka, publish, messages/s", &publishing);
    tell("Kafka, an unchanged month consumed, no sink, messages/s", &consuming);
}
