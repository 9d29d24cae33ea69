//! Makes topics, and says what is wrong with those that are there.

use anyhow::{Context, Result, bail};
use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::metadata::Metadata;

use super::Topics;
use super::client::{self, ANSWER, Heard};
use crate::model::Kind;

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
pub fn ensure(admin: &AdminClient<Heard>, topics: &Topics, kinds: &[Kind], partitions: Option<usize>) -> Result<Vec<usize>> {
    let metadata = client::metadata(topics)?;
    let mut wrong = Vec::new();
    check_or_make(admin, &metadata, &topics.catalogue(), 1, &OF_CATALOGUE, &mut wrong)?;
    let mut counts = Vec::with_capacity(kinds.len());
    for kind in kinds {
        let (name, wanted) = (topics.of(*kind), partitions.unwrap_or(PARTITIONS));
        let found = check_or_make(admin, &metadata, &name, wanted, &OF_RECORDS, &mut wrong)?;
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

fn check_or_make(
    admin: &AdminClient<Heard>,
    metadata: &Metadata,
    name: &str,
    partitions: usize,
    settings: &[(&'static str, &'static str)],
    wrong: &mut Vec<String>,
) -> Result<usize> {
    if let Some(found) = metadata.topics().iter().find(|topic| topic.name() == name) {
        let config = settings_of(admin, name)?;
        for (setting, wanted) in settings {
            let found = config.get(setting).and_then(|entry| entry.value.clone()).unwrap_or_default();
            let enough = match *setting {
                "max.message.bytes" => found.parse::<u64>().is_ok_and(|bytes| bytes >= MESSAGE_BYTES),
                _ => found == *wanted,
            };
            if !enough {
                let at_least = if *setting == "max.message.bytes" { "at least " } else { "" };
                wrong.push(format!("{name}: {setting} is {found}, and must be {at_least}{wanted}"));
            }
        }
        return Ok(found.partitions().len());
    }
    let count = i32::try_from(partitions)?;
    // As many replicas as the broker gives by default.
    let topic =
        settings.iter().fold(NewTopic::new(name, count, TopicReplication::Fixed(-1)), |topic, (setting, value)| topic.set(setting, value));
    let made = client::wait(admin.create_topics([&topic], &options()))?.with_context(|| format!("cannot make the topic {name}"))?;
    match made.into_iter().next() {
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => bail!("the topic {name} was made by someone else just now: try again"),
        Some(Err((_, code))) => bail!("the broker does not make the topic {name} with {partitions} partitions: {code}"),
        _ => tracing::info!("made the topic {name} with {partitions} partitions"),
    }
    Ok(partitions)
}

/// Whether a topic is compacted: then what it holds of an attempt cannot be counted.
pub fn is_compacted(admin: &AdminClient<Heard>, name: &str) -> Result<bool> {
    let policy = settings_of(admin, name)?.get("cleanup.policy").and_then(|entry| entry.value.clone());
    Ok(policy.is_some_and(|policy| policy.split(',').any(|policy| policy.trim() == "compact")))
}

/// The largest message that a topic takes, in the broker's words.
pub fn largest_message(admin: &AdminClient<Heard>, name: &str) -> String {
    let found = settings_of(admin, name).ok().and_then(|config| config.get("max.message.bytes").and_then(|entry| entry.value.clone()));
    found.unwrap_or_else(|| "unknown".to_owned())
}

fn settings_of(admin: &AdminClient<Heard>, name: &str) -> Result<ConfigResource> {
    let asked = client::wait(admin.describe_configs([&ResourceSpecifier::Topic(name)], &options()))?;
    let found = asked.with_context(|| format!("cannot ask for the settings of the topic {name}"))?.into_iter().next();
    match found {
        Some(Ok(config)) => Ok(config),
        Some(Err(code)) => bail!("the broker does not tell the settings of the topic {name}: {code}"),
        None => bail!("the broker does not tell the settings of the topic {name}"),
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ANSWER)).operation_timeout(Some(ANSWER))
}
