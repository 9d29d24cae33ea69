//! What brokers and topics are like, in words, before a run needs them.

use anyhow::{Result, anyhow};
use rdkafka::metadata::{Metadata, MetadataPartition};

use rdkafka::admin::AdminClient;

use super::Topics;
use super::client::{self, ANSWER, Heard};
use super::topics::{self, COMPACTED, KEPT, value};
use crate::model::Kind;
use crate::telemetry::words::bytes;

/// What was found.
#[derive(Debug)]
pub struct Survey {
    /// The brokers, in words.
    pub brokers: String,
    /// The catalogue and each kind's topic, in words, or what is wrong; nothing for those that are not there.
    pub topics: Vec<(Option<Kind>, Option<Result<String>>)>,
}

/// Asks the brokers. Nothing is made or changed.
pub fn survey(of: &Topics) -> Result<Survey> {
    let metadata = client::metadata(of)?;
    let admin = client::admin(of)?;
    let names: Vec<_> = metadata.brokers().iter().map(|broker| format!("{}:{}", broker.host(), broker.port())).collect();
    let cluster = admin.inner().fetch_cluster_id(ANSWER).map(|id| format!(" of the cluster {id}")).unwrap_or_default();
    let answers = if names.len() == 1 { "1 broker".to_owned() } else { format!("{} brokers", names.len()) };
    let brokers = format!("{answers}{cluster}: {}", names.join(", "));
    let kinds = std::iter::once(None).chain(Kind::ALL.into_iter().map(Some));
    let topics = kinds.map(|kind| (kind, topic(&admin, &metadata, of, kind))).collect();
    Ok(Survey { brokers, topics })
}

fn topic(admin: &AdminClient<Heard>, metadata: &Metadata, of: &Topics, kind: Option<Kind>) -> Option<Result<String>> {
    let name = kind.map_or_else(|| of.catalogue(), |kind| of.of(kind));
    let found = metadata.topics().iter().find(|topic| topic.name() == name)?;
    Some(topics::settings_of(admin, &name).and_then(|settings| {
        let mut wrong = topics::flaws(&settings, if kind.is_some() { KEPT } else { COMPACTED });
        let needed: usize = value(&settings, "min.insync.replicas").parse().unwrap_or(1);
        let numbers = |which: &dyn Fn(&MetadataPartition) -> bool| {
            let numbers: Vec<_> = found.partitions().iter().filter(|at| which(at)).map(|at| at.id().to_string()).collect();
            (!numbers.is_empty()).then(|| numbers.join(", "))
        };
        if let Some(numbers) = numbers(&|at| at.leader() < 0) {
            wrong.push(format!("partitions without a leader: {numbers}; a broker is away"));
        }
        if let Some(numbers) = numbers(&|at| at.leader() >= 0 && at.isr().len() < needed) {
            wrong.push(format!(
                "partitions with fewer replicas in sync than min.insync.replicas, {needed}: {numbers}; nothing can be published"
            ));
        }
        if !wrong.is_empty() {
            return Err(anyhow!(wrong.join("; ")));
        }
        let partitions = found.partitions().len();
        let replicas = found.partitions().iter().map(|at| at.replicas().len()).min().unwrap_or(0);
        let mut words = vec![
            format!("{partitions} partition{}", if partitions == 1 { "" } else { "s" }),
            format!("{replicas} replica{} (min.insync.replicas {needed})", if replicas == 1 { "" } else { "s" }),
            format!("cleanup.policy {}", value(&settings, "cleanup.policy")),
        ];
        if kind.is_some() {
            words.push("retention without end".to_owned());
        }
        words.push(format!("messages up to {}", bytes(value(&settings, "max.message.bytes").parse().unwrap_or(0))));
        if replicas > 1 && replicas == needed {
            words.push("nothing can be published while a broker is away".to_owned());
        }
        Ok(words.join(", "))
    }))
}
