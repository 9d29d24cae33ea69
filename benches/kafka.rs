//! Publishing a month, and refreshing from one in which nothing changed, against bare clients that send and read the same messages, by
//! turns, on the broker that `DISCODIFF_TEST_KAFKA` names.
//!
//! ```sh
//! scripts/services.sh start kafka && export $(scripts/services.sh env kafka) && cargo bench --bench kafka
//! ```
//!
//! What the two cores can do is shared by client, broker and, in the product, the work on each record. So the limit is the larger of the bare
//! client's time and of half the CPU time that the bare client, the broker and the product's own work on the same files take, the broker's
//! and the bare client's taken from the whole machine, on which nothing else should run. `RELEASES` (100,000) says how large the month is.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
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

const ROUNDS: usize = 3;
const KINDS: [&str; 4] = ["artists", "labels", "masters", "releases"];
const PARTITIONS: i32 = 16;
const SOON: Duration = Duration::from_secs(30);

/// A message as it was published: topic, partition, key, value.
type Sent = (usize, i32, Option<Vec<u8>>, Vec<u8>);

/// Seconds of time, and of all CPUs of the machine.
#[derive(Clone, Copy)]
struct Cost {
    wall: f64,
    cpu: f64,
}

fn measured(work: impl FnOnce()) -> Cost {
    let (cpu, begun) = (machine(), Instant::now());
    work();
    Cost { wall: begun.elapsed().as_secs_f64(), cpu: machine() - cpu }
}

/// Seconds that the machine's CPUs have worked.
fn machine() -> f64 {
    let text = fs::read_to_string("/proc/stat").expect("Linux");
    let numbers: Vec<f64> = text.lines().next().expect("a line").split_whitespace().skip(1).map(|n| n.parse().expect("a number")).collect();
    // All but idle and waiting, in hundredths of a second.
    (numbers.iter().take(8).sum::<f64>() - numbers[3] - numbers[4]) / 100.0
}

fn run(folder: &Path, line: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_discodiff"));
    let status = command.current_dir(folder).args(line.split_whitespace()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.expect("it starts").success(), "{line}");
}

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
fn read(brokers: &str, prefix: &str, from: &[Vec<i64>], mut each: impl FnMut(usize, &rdkafka::message::BorrowedMessage<'_>)) -> (u64, u64) {
    let (mut messages, mut bytes) = (0, 0);
    for (kind, from) in from.iter().enumerate() {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("group.id", "bench").set("enable.auto.commit", "false");
        config.set("isolation.level", "read_committed").set("enable.partition.eof", "true").set("fetch.queue.backoff.ms", "2");
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
                Ok(message) => {
                    messages += 1;
                    bytes += message.payload_len() as u64;
                    each(kind, &message);
                }
                Err(KafkaError::PartitionEOF(_)) => open -= 1,
                Err(error) => panic!("{error}"),
            }
        }
    }
    (messages, bytes)
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
        producer.flush(SOON).expect("flushed");
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
    run(folder, &format!("publish --dumps empty --brokers {brokers} --topic-prefix {prefix} --partitions {PARTITIONS}"));
}

fn main() {
    let Ok(brokers) = std::env::var("DISCODIFF_TEST_KAFKA") else {
        println!("no broker: DISCODIFF_TEST_KAFKA is not set");
        return;
    };
    let releases: u64 = std::env::var("RELEASES").ok().and_then(|releases| releases.parse().ok()).unwrap_or(100_000);
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = scratch.path();
    run(folder, &format!("generate months --months 2 --releases {releases}"));
    let month = PathBuf::from("months/2026-01");
    again(&folder.join(&month), &folder.join("again"));
    // What the product does to records, without Kafka: cutting them, and comparing them.
    run(folder, "refresh --dumps months/2026-01 --state files --null");
    let comparing = measured(|| run(folder, "refresh --dumps again --state files --null"));
    let unique = std::process::id();
    let (mut publishing, mut refreshing) = (Vec::new(), Vec::new());
    let (mut messages, mut bytes) = (0, 0);
    for round in 0..ROUNDS {
        let (ours, theirs) = (format!("bench-{unique}-{round}"), format!("bare-{unique}-{round}"));
        let flags = format!("--brokers {brokers} --topic-prefix {ours}");
        make(folder, &brokers, &ours);
        make(folder, &brokers, &theirs);
        let begins = ends(&brokers, &ours);
        let publish = measured(|| run(folder, &format!("publish --dumps {} {flags}", month.display())));
        let mut sent: Vec<Sent> = Vec::new();
        read(&brokers, &ours, &begins, |kind, message| {
            sent.push((kind, message.partition(), message.key().map(<[u8]>::to_vec), message.payload().unwrap_or_default().to_vec()));
        });
        let bare = measured(|| send(&brokers, &theirs, &sent));
        drop(sent);
        publishing.push((publish.wall, bare.wall.max((bare.cpu + comparing.cpu) / 2.0)));

        run(folder, &format!("refresh --kafka {flags} --state s{round} --null"));
        let begins = ends(&brokers, &ours);
        run(folder, &format!("publish --dumps again {flags}"));
        let refresh = measured(|| run(folder, &format!("refresh --kafka {flags} --state s{round} --null")));
        let bare = measured(|| (messages, bytes) = read(&brokers, &ours, &begins, |_, _| ()));
        refreshing.push((refresh.wall, bare.wall.max((bare.cpu + comparing.cpu) / 2.0)));
    }
    println!(
        "{messages} messages, {:.0} MB of XML, medians of {ROUNDS} rounds; the limit: see the head of benches/kafka.rs\n",
        bytes as f64 / 1e6
    );
    println!("| what | messages/s | MB/s | limit, messages/s | ratio (lowest to highest) |\n| --- | ---: | ---: | ---: | ---: |");
    for (what, pairs) in [("publish", publishing), ("refresh, nothing changed, no sink", refreshing)] {
        let median = |mut all: Vec<f64>| {
            all.sort_by(f64::total_cmp);
            (all[all.len() / 2], all[0], all[all.len() - 1])
        };
        let (ours, limit) = (median(pairs.iter().map(|pair| pair.0).collect()).0, median(pairs.iter().map(|pair| pair.1).collect()).0);
        let ratio = median(pairs.iter().map(|(ours, limit)| limit / ours).collect());
        let (rate, most) = (messages as f64 / ours, messages as f64 / limit);
        println!(
            "| {what} | {rate:.0} | {:.0} | {most:.0} | {:.2} ({:.2} to {:.2}) |",
            bytes as f64 / 1e6 / ours,
            ratio.0,
            ratio.1,
            ratio.2
        );
    }
}
