//! A Kafka broker for tests: topics under a prefix of their own, looked at by other means than the program's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

const SOON: Duration = Duration::from_secs(20);

/// Topics on the broker that `DISCODIFF_TEST_KAFKA` names; deleted at the end.
pub struct Broker {
    pub address: String,
    pub prefix: String,
    /// The whole broker is thrown away, so its topics need not be.
    thrown_away: bool,
}

/// A message.
#[derive(Clone, Debug)]
pub struct Seen {
    pub partition: i32,
    pub key: Option<String>,
    pub value: Option<String>,
    pub headers: BTreeMap<String, String>,
}

impl Broker {
    /// `None`, with a word, where no broker is named.
    pub fn new() -> Option<Broker> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let Ok(address) = std::env::var("DISCODIFF_TEST_KAFKA") else {
            println!("skipped Kafka: DISCODIFF_TEST_KAFKA is not set");
            return None;
        };
        let prefix = format!("promise-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        Some(Broker { address, prefix, thrown_away: false })
    }

    /// Topics on a broker of the test's own.
    pub fn at(address: &str, prefix: &str) -> Broker {
        Broker { address: address.to_owned(), prefix: prefix.to_owned(), thrown_away: true }
    }

    /// The flags that name it.
    pub fn flags(&self) -> String {
        format!("--brokers {} --topic-prefix {}", self.address, self.prefix)
    }

    pub fn topic(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new().set("bootstrap.servers", &self.address).create().expect("a client")
    }

    fn consumer(&self) -> BaseConsumer {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.address).set("group.id", "test").set("enable.auto.commit", "false");
        config
            .set("fetch.wait.max.ms", "10")
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error");
        config.create().expect("a consumer")
    }

    /// Makes a topic as somebody else would.
    pub fn make(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        let name = self.topic(name);
        let topic = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
        let topic = settings.iter().fold(topic, |topic, (setting, value)| topic.set(setting, value));
        let made = wait(self.admin().create_topics([&topic], &AdminOptions::new())).expect("asked");
        made.into_iter().for_each(|made| drop(made.expect("made")));
    }

    /// Deletes the first records of a partition, as an expiry does.
    pub fn expire(&self, name: &str, partition: i32, before: i64) {
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(&self.topic(name), partition, Offset::Offset(before)).expect("an offset");
        wait(self.admin().delete_records(&offsets, &AdminOptions::new())).expect("deleted");
    }

    fn partitions(&self, name: &str) -> i32 {
        let metadata = self.consumer().fetch_metadata(None, SOON).expect("metadata");
        let found = metadata.topics().iter().find(|topic| topic.name() == self.topic(name)).map(|topic| topic.partitions().len());
        i32::try_from(found.unwrap_or(0)).expect("few")
    }

    /// The end of each partition.
    pub fn ends(&self, name: &str) -> Vec<i64> {
        let consumer = self.consumer();
        (0..self.partitions(name)).map(|at| consumer.fetch_watermarks(&self.topic(name), at, SOON).expect("watermarks").1).collect()
    }

    /// Begins a transaction in a partition and leaves it open: those who read what is committed see nothing that comes after.
    pub fn hold(&self, name: &str, partition: i32) -> BaseProducer {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.address).set("transactional.id", format!("{}.hold", self.prefix));
        let producer: BaseProducer = config.create().expect("a producer");
        producer.init_transactions(SOON).expect("an id");
        producer.begin_transaction().expect("begun");
        producer.send(BaseRecord::to(&self.topic(name)).partition(partition).key("held").payload("")).expect("sent");
        producer.flush(SOON).expect("flushed");
        producer
    }

    /// Keys of all messages that a read_committed consumer sees, a list a partition; of those without a key, their bytes.
    pub fn keys(&self, name: &str) -> Vec<Vec<String>> {
        let (topic, partitions) = (self.topic(name), self.partitions(name));
        let consumer = self.consumer();
        let mut start = TopicPartitionList::new();
        (0..partitions).for_each(|at| start.add_partition_offset(&topic, at, Offset::Beginning).expect("an offset"));
        consumer.assign(&start).expect("assigned");
        let (mut keys, mut ended) = (vec![Vec::new(); partitions as usize], BTreeSet::new());
        while ended.len() < keys.len() {
            match consumer.poll(SOON).expect("a message or the end") {
                Ok(message) => {
                    assert!(message.headers().is_some_and(|headers| headers.count() > 0), "every message of ours has headers");
                    let key = String::from_utf8_lossy(message.key().or(message.payload()).expect("a key or bytes")).into_owned();
                    keys[message.partition() as usize].push(key);
                }
                Err(KafkaError::PartitionEOF(partition)) => drop(ended.insert(partition)),
                Err(error) => println!("{error}"),
            }
        }
        keys
    }

    /// Sends what `from` has of records, without headers and markers and to whichever partition, as somebody else's program would: the
    /// attempt of this number. Then a message without a value.
    pub fn copy_from(&self, from: &Broker, name: &str, attempt: usize) {
        let (topic, partitions) = (from.topic(name), from.partitions(name));
        let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &self.address).create().expect("a producer");
        let to = self.topic(name);
        for partition in 0..partitions {
            let consumer = from.consumer();
            let mut start = TopicPartitionList::new();
            start.add_partition_offset(&topic, partition, Offset::Beginning).expect("an offset");
            consumer.assign(&start).expect("assigned");
            let mut markers = 0;
            while let Ok(message) = consumer.poll(SOON).expect("a message or the end") {
                let key = message.key().map(|key| String::from_utf8_lossy(key).into_owned()).unwrap_or_default();
                if key.starts_with("marker/") {
                    markers += 1;
                } else if markers == 2 * attempt - 1 {
                    let sent = BaseRecord::to(&to).key(&key).payload(message.payload().expect("bytes"));
                    sent_or_later(&producer, producer.send(sent).map_err(|(error, _)| error));
                }
            }
        }
        let empty = BaseRecord::<str, [u8]>::to(&to).key("77");
        sent_or_later(&producer, producer.send(empty).map_err(|(error, _)| error));
        producer.flush(SOON).expect("delivered");
    }

    /// All messages that a read_committed consumer sees, those of one partition in order.
    pub fn messages(&self, name: &str) -> Vec<Seen> {
        let (topic, partitions) = (self.topic(name), self.partitions(name));
        let consumer = self.consumer();
        // A client that knows of no broker yet waits for half a second before it begins.
        consumer.fetch_metadata(None, SOON).expect("metadata");
        let mut start = TopicPartitionList::new();
        (0..partitions).for_each(|at| start.add_partition_offset(&topic, at, Offset::Beginning).expect("an offset"));
        consumer.assign(&start).expect("assigned");
        let (mut seen, mut ended) = (Vec::new(), BTreeSet::new());
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        while ended.len() < partitions as usize {
            match consumer.poll(SOON).expect("a message or the end") {
                Ok(message) => seen.push(Seen {
                    partition: message.partition(),
                    key: message.key().map(text),
                    value: message.payload().map(text),
                    headers: message.headers().map_or_else(BTreeMap::new, |headers| {
                        headers.iter().map(|header| (header.key.to_owned(), text(header.value.expect("a value")))).collect()
                    }),
                }),
                Err(KafkaError::PartitionEOF(partition)) => drop(ended.insert(partition)),
                Err(error) => println!("{error}"),
            }
        }
        seen.sort_by_key(|message| message.partition);
        seen
    }

    /// Deletes a topic, and waits until it is gone.
    pub fn delete(&self, name: &str) {
        let deleted = wait(self.admin().delete_topics(&[&self.topic(name)], &AdminOptions::new())).expect("asked");
        deleted.into_iter().for_each(|deleted| drop(deleted.expect("deleted")));
        while self.partitions(name) > 0 {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Cuts a topic into more partitions.
    pub fn add_partitions(&self, name: &str, count: usize) {
        let made = wait(self.admin().create_partitions(&[NewPartitions::new(&self.topic(name), count)], &AdminOptions::new()));
        made.expect("asked").into_iter().for_each(|made| drop(made.expect("made")));
        while self.partitions(name) as usize != count {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Writes a message as somebody else would.
    pub fn produce(&self, name: &str, partition: i32, key: &str, value: &str) {
        let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &self.address).create().expect("a producer");
        let topic = self.topic(name);
        producer.send(BaseRecord::to(&topic).partition(partition).key(key).payload(value)).expect("sent");
        producer.flush(SOON).expect("flushed");
    }

    /// How often each record's key is there, markers left out.
    pub fn records(&self, name: &str) -> BTreeMap<String, u32> {
        let mut counts = BTreeMap::new();
        for key in self.keys(name).into_iter().flatten().filter(|key| !key.starts_with("marker/")) {
            *counts.entry(key).or_default() += 1;
        }
        counts
    }

    /// The position that a group has noted in each partition.
    pub fn noted(&self, group: &str, name: &str) -> Vec<Offset> {
        let consumer: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", &self.address).set("group.id", group).create().expect("a consumer");
        let mut asked = TopicPartitionList::new();
        for partition in 0..self.partitions(name) {
            asked.add_partition(&self.topic(name), partition);
        }
        let found = consumer.committed_offsets(asked, SOON).expect("offsets");
        found.elements().iter().map(|element| element.offset()).collect()
    }
}

fn sent_or_later(producer: &BaseProducer, sent: Result<(), KafkaError>) {
    sent.expect("there is room");
    producer.poll(Duration::ZERO);
}

impl Drop for Broker {
    fn drop(&mut self) {
        if self.thrown_away {
            return;
        }
        let metadata = self.consumer().fetch_metadata(None, SOON).expect("metadata");
        let names = metadata.topics().iter().map(|topic| topic.name()).filter(|name| name.starts_with(&self.topic("")));
        let _ = wait(self.admin().delete_topics(&names.collect::<Vec<_>>(), &AdminOptions::new()));
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime").block_on(future)
}
