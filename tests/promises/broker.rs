//! A Kafka broker for tests: topics under a prefix of their own, looked at by other means than the program's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use rdkafka::{Offset, TopicPartitionList};

const SOON: Duration = Duration::from_secs(20);

/// Topics on the broker that `DISCODIFF_TEST_KAFKA` names; deleted at the end.
pub struct Broker {
    pub address: String,
    pub prefix: String,
    /// The whole broker is thrown away, so its topics need not be.
    thrown_away: bool,
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
        config.set("isolation.level", "read_committed").set("enable.partition.eof", "true").set("auto.offset.reset", "error");
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

impl Drop for Broker {
    fn drop(&mut self) {
        if self.thrown_away {
            return;
        }
        let names = ["attempts", "artists", "labels", "masters", "releases"].map(|name| self.topic(name));
        // Some may not be there.
        let _ = wait(self.admin().delete_topics(&names.each_ref().map(String::as_str), &AdminOptions::new()));
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime").block_on(future)
}
