//! Makes topics, and says what is wrong with those that are there.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::RDKafkaErrorCode;

use super::Topics;
use super::client::{self, ANSWER, Heard};

/// What a topic must take: four times the largest real record (7 MB), and a third of what a broker takes as one request.
const MESSAGE_BYTES: u64 = 32 << 20;

/// Partitions of a new topic: a divisor of the 64 shards, so that each partition has as many.
pub const PARTITIONS: usize = 16;

/// How long a topic may take to be listed that has been made.
const LISTED: Duration = Duration::from_millis(20);

/// Settings of a topic, each with the value that it must have, or at least have.
pub type Settings = [(&'static str, &'static str)];

/// A topic from which nothing may ever be lost: records, until they were applied, whenever that is; changes, for those who read late.
pub const KEPT: &Settings =
    &[("cleanup.policy", "delete"), ("retention.ms", "-1"), ("retention.bytes", "-1"), ("max.message.bytes", "33554432")];

/// A topic of which the last record of a key counts.
pub const COMPACTED: &Settings = &[("cleanup.policy", "compact")];

/// The same, with large records.
pub const COMPACTED_DOCUMENTS: &Settings = &[("cleanup.policy", "compact"), ("max.message.bytes", "33554432")];

/// A topic as it should be.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// Its settings.
    pub settings: &'static Settings,
    /// Its partitions.
    pub partitions: Count,
}

/// How many partitions a topic should have.
#[derive(Clone, Copy, Debug)]
pub enum Count {
    /// One.
    One,
    /// As many as `--partitions` asks for; `None`: [`PARTITIONS`] where it is made, any number where it is there.
    Asked(Option<usize>),
}

/// Finds these topics fit, or says all that is wrong with them; gives the number of partitions of each, `None` where it is not there.
/// `advice` ends the words.
pub fn check(topics: &Topics, wanted: &[Wanted], advice: &str) -> Result<Vec<Option<usize>>> {
    let admin = client::admin(topics)?;
    check_with(&admin, topics, wanted, advice)
}

fn check_with(admin: &AdminClient<Heard>, topics: &Topics, wanted: &[Wanted], advice: &str) -> Result<Vec<Option<usize>>> {
    let metadata = client::metadata(topics)?;
    let (mut wrong, mut counts) = (Vec::new(), Vec::with_capacity(wanted.len()));
    for Wanted { name, settings, partitions } in wanted {
        let found = metadata.topics().iter().find(|topic| topic.name() == name).map(|topic| topic.partitions().len());
        counts.push(found);
        let Some(found) = found else { continue };
        wrong.extend(flaws(&settings_of(admin, name)?, settings).into_iter().map(|flaw| format!("{name}: {flaw}")));
        match partitions {
            Count::One if found != 1 => wrong.push(format!("{name}: it has {found} partitions, and must have one")),
            Count::Asked(Some(asked)) if *asked != found => {
                wrong.push(format!("{name}: it has {found} partitions, and --partitions says {asked}: leave that out, or say {found}"));
            }
            _ => {}
        }
    }
    if !wrong.is_empty() {
        bail!(
            "these topics are not as discodiff needs them:\n  - {}\nA setting is changed with kafka-configs.sh --alter --entity-type topics \
             --entity-name TOPIC --add-config NAME=VALUE; or {advice}",
            wrong.join("\n  - ")
        );
    }
    Ok(counts)
}

/// Finds these topics fit, makes those that are missing, and gives the number of partitions of each.
pub fn ensure(topics: &Topics, wanted: &[Wanted], advice: &str) -> Result<Vec<usize>> {
    let admin = client::admin(topics)?;
    let begun = Instant::now();
    loop {
        let found = check_with(&admin, topics, wanted, advice)?;
        let found = wanted.iter().zip(found).map(|(wanted, found)| found.map_or_else(|| make(&admin, wanted), |found| Ok(Some(found))));
        if let Some(counts) = found.collect::<Result<Option<Vec<usize>>>>()? {
            return Ok(counts);
        }
        if begun.elapsed() > ANSWER {
            bail!("the brokers say that topics are there which they do not list after {} s: try again", ANSWER.as_secs());
        }
        thread::sleep(LISTED);
    }
}

/// What a topic is found to have: settings with which it would lose or refuse messages.
pub fn flaws(config: &ConfigResource, settings: &Settings) -> Vec<String> {
    let mut wrong = Vec::new();
    for (setting, wanted) in settings {
        let found = value(config, setting);
        let enough = match *setting {
            "max.message.bytes" => found.parse::<u64>().is_ok_and(|bytes| bytes >= MESSAGE_BYTES),
            _ => found == *wanted,
        };
        if !enough {
            let at_least = if *setting == "max.message.bytes" { "at least " } else { "" };
            wrong.push(format!("{setting} is {found}, and must be {at_least}{wanted}"));
        }
    }
    wrong
}

/// One setting, in the broker's words; empty where it does not know it.
pub fn value<'c>(config: &'c ConfigResource, name: &str) -> &'c str {
    config.get(name).and_then(|entry| entry.value.as_deref()).unwrap_or_default()
}

/// `None`: it has just been made by someone else, such as a publisher that died, and is not listed yet.
fn make(admin: &AdminClient<Heard>, wanted: &Wanted) -> Result<Option<usize>> {
    let partitions = match wanted.partitions {
        Count::One => 1,
        Count::Asked(asked) => asked.unwrap_or(PARTITIONS),
    };
    let name = &wanted.name;
    let count = i32::try_from(partitions)?;
    // As many replicas as the broker gives by default.
    let topic = NewTopic::new(name, count, TopicReplication::Fixed(-1));
    let topic = wanted.settings.iter().fold(topic, |topic, (setting, value)| topic.set(setting, value));
    let made = client::wait(admin.create_topics([&topic], &options()))?.with_context(|| format!("cannot make the topic {name}"))?;
    match made.into_iter().next() {
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => return Ok(None),
        Some(Err((_, code))) => bail!("the broker does not make the topic {name} with {partitions} partitions: {code}"),
        _ => tracing::info!("made the topic {name} with {partitions} partitions"),
    }
    Ok(Some(partitions))
}

/// Whether a topic is compacted: then what it holds of an attempt cannot be counted.
pub fn is_compacted(admin: &AdminClient<Heard>, name: &str) -> Result<bool> {
    Ok(value(&settings_of(admin, name)?, "cleanup.policy").split(',').any(|policy| policy.trim() == "compact"))
}

/// The largest message that a topic takes, in the broker's words.
pub fn largest_message(admin: &AdminClient<Heard>, name: &str) -> String {
    settings_of(admin, name).map_or_else(|_| "unknown".to_owned(), |config| value(&config, "max.message.bytes").to_owned())
}

/// Asks for a topic's settings.
pub fn settings_of(admin: &AdminClient<Heard>, name: &str) -> Result<ConfigResource> {
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
