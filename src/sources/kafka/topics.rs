//! Makes topics, and says what is wrong with those that are there.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::metadata::Metadata;

use super::Topics;
use super::client::{self, ANSWER, Heard};
use crate::model::Kind;

/// The client that topics are made and asked about with.
pub type Admin = AdminClient<Heard>;

/// What a topic must take: four times the largest real record (7 MB), and a third of what a broker takes as one request.
const MESSAGE_BYTES: u64 = 32 << 20;

/// Partitions of a new topic: a divisor of the 64 shards, so that each partition has as many.
pub const PARTITIONS: usize = 16;

/// Settings of a topic of records. Whatever is there must stay there until it was applied, whenever that is.
const OF_RECORDS: [(&str, &str); 4] =
    [("cleanup.policy", "delete"), ("retention.ms", "-1"), ("retention.bytes", "-1"), ("max.message.bytes", "33554432")];

/// Settings of the catalogue, of which the last record of a key counts.
const OF_CATALOGUE: [(&str, &str); 1] = [("cleanup.policy", "compact")];

/// Makes the topics of these kinds and the catalogue, or finds them fit; gives the number of partitions of each kind's.
pub fn ensure(admin: &Admin, topics: &Topics, kinds: &[Kind], partitions: Option<usize>) -> Result<Vec<usize>> {
    let metadata = client::metadata(topics)?;
    let mut wrong = Vec::new();
    check_or_make(admin, &metadata, topics, None, 1, &mut wrong)?;
    let mut counts = Vec::with_capacity(kinds.len());
    for kind in kinds {
        let (name, wanted) = (topics.of(*kind), partitions.unwrap_or(PARTITIONS));
        let found = check_or_make(admin, &metadata, topics, Some(*kind), wanted, &mut wrong)?;
        if let Some(partitions) = partitions.filter(|partitions| *partitions != found) {
            wrong.push(format!("{name}: it has {found} partitions, and --partitions says {partitions}: leave that out, or say {found}"));
        }
        counts.push(found);
    }
    if !wrong.is_empty() {
        bail!(
            "these topics are not as discodiff needs them:\n  - {}\nA setting is changed with kafka-configs.sh --alter --entity-type topics \
             --entity-name TOPIC --add-config NAME=VALUE; or name other topics with --topic-prefix",
            wrong.join("\n  - ")
        );
    }
    Ok(counts)
}

/// Settings that a topic of a kind must have, or the catalogue.
fn wanted(kind: Option<Kind>) -> &'static [(&'static str, &'static str)] {
    if kind.is_some() { &OF_RECORDS } else { &OF_CATALOGUE }
}

fn check_or_make(
    admin: &Admin,
    metadata: &Metadata,
    topics: &Topics,
    kind: Option<Kind>,
    partitions: usize,
    wrong: &mut Vec<String>,
) -> Result<usize> {
    let name = &kind.map_or_else(|| topics.catalogue(), |kind| topics.of(kind));
    if let Some(found) = metadata.topics().iter().find(|topic| topic.name() == name) {
        wrong.extend(settings(admin, name)?.flaws(kind).into_iter().map(|flaw| format!("{name}: {flaw}")));
        return Ok(found.partitions().len());
    }
    let count = i32::try_from(partitions)?;
    // As many replicas as the broker gives by default.
    let topic = wanted(kind)
        .iter()
        .fold(NewTopic::new(name, count, TopicReplication::Fixed(-1)), |topic, (setting, value)| topic.set(setting, value));
    let made = client::wait(admin.create_topics([&topic], &options()))?.with_context(|| format!("cannot make the topic {name}"))?;
    match made.into_iter().next() {
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => bail!("the topic {name} was made by someone else just now: try again"),
        Some(Err((_, code))) => bail!("the broker does not make the topic {name} with {partitions} partitions: {code}"),
        _ => tracing::info!("made the topic {name} with {partitions} partitions"),
    }
    Ok(partitions)
}

/// Whether a topic is compacted: then what it holds of an attempt cannot be counted.
pub fn is_compacted(admin: &Admin, name: &str) -> Result<bool> {
    Ok(settings(admin, name)?.get("cleanup.policy").split(',').any(|policy| policy.trim() == "compact"))
}

/// The largest message that a topic takes, in the broker's words.
pub fn largest_message(admin: &Admin, name: &str) -> String {
    settings(admin, name).map_or_else(|_| "unknown".to_owned(), |settings| settings.get("max.message.bytes").to_owned())
}

/// A topic's settings, as the broker tells them.
#[derive(Debug)]
pub struct Settings(BTreeMap<String, String>);

impl Settings {
    /// One of them; empty where the broker does not know it.
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// Those with which a topic of a kind, or the catalogue, would lose or refuse messages.
    pub fn flaws(&self, kind: Option<Kind>) -> Vec<String> {
        let mut flaws = Vec::new();
        for (setting, wanted) in wanted(kind) {
            let (found, least) = (self.get(setting), *setting == "max.message.bytes");
            let enough = if least { found.parse::<u64>().is_ok_and(|bytes| bytes >= MESSAGE_BYTES) } else { found == *wanted };
            if !enough {
                flaws.push(format!("{setting} is {found}, and must be {}{wanted}", if least { "at least " } else { "" }));
            }
        }
        flaws
    }
}

/// Asks for a topic's settings.
pub fn settings(admin: &Admin, name: &str) -> Result<Settings> {
    let asked = client::wait(admin.describe_configs([&ResourceSpecifier::Topic(name)], &options()))?;
    let found = asked.with_context(|| format!("cannot ask for the settings of the topic {name}"))?.into_iter().next();
    match found {
        Some(Ok(config)) => Ok(Settings(config.entries.into_iter().map(|entry| (entry.name, entry.value.unwrap_or_default())).collect())),
        Some(Err(code)) => bail!("the broker does not tell the settings of the topic {name}: {code}"),
        None => bail!("the broker does not tell the settings of the topic {name}"),
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ANSWER)).operation_timeout(Some(ANSWER))
}
