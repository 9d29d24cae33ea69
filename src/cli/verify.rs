//! `discodiff verify`: sinks against the state, from content; and with `--repair` back to it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::exit::Exit;
use super::{open, output};
use crate::refresh::{Dumps, Wrote, repair};
use crate::sinks::Access;
use crate::telemetry::words::count;
use crate::telemetry::{Measures, Phase};
use crate::verify::{Differences, Named, Verified, total, verify};

use crate::settings::{Flags, Group, KafkaFlags, Key, Mistakes, MonitorFlags, OutputFlags, Settings, SinkFlags, StateFlags, load};

const EXAMPLES: &str = "\
Examples:
  discodiff verify --state state
      read every document of state/discodiff.sqlite back and compare it with the state
  discodiff verify --state state --postgres postgresql://discogs@db/discogs --json
      the same for PostgreSQL, as JSON
  discodiff verify --state state --neo4j bolt://neo4j@db --neo4j-password-file password
      every node and relationship of the graph
  discodiff verify --state state --postgres postgresql://discogs@db/discogs --repair --dumps 2025-12
      bring what differs back to the state, after a restored backup or a stray UPDATE, and look
      again; the state holds no documents, so they are read from the month that was applied last
  discodiff verify --state state --postgres postgresql://discogs@db/discogs --repair \\
      --kafka --brokers kafka:9092
      the same from the topics that it was published to

Digests are recomputed from what is stored; a stored hash is not believed. Exit status 1 when
anything differs, or still differs after a repair. A feed holds changes and no state, so it is left
out.";

/// What `discodiff verify` takes.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = EXAMPLES)]
pub struct VerifyArgs {
    /// The state.
    #[command(flatten)]
    pub state: StateFlags,
    /// The topics.
    #[command(flatten)]
    pub kafka: KafkaFlags,
    /// The sinks.
    #[command(flatten)]
    pub sinks: SinkFlags,
    /// How it is repaired.
    #[command(flatten)]
    pub repair: RepairFlags,
    /// How it is watched.
    #[command(flatten)]
    pub monitor: MonitorFlags,
    /// What is printed.
    #[command(flatten)]
    pub output: OutputFlags,
}

/// Whether stores are repaired, and from where.
#[derive(Args, Clone, Debug, Default)]
pub struct RepairFlags {
    /// Write what differs, and only that, and compare again; no refresh may run meanwhile
    #[arg(long, help_heading = "Repair")]
    pub repair: bool,
    /// Folder with the dumps that were applied last
    #[arg(long, value_name = "DIR", requires = "repair", help_heading = "Repair")]
    pub dumps: Option<PathBuf>,
    /// Read them from the Kafka topics that they were published to
    #[arg(long, requires = "repair", conflicts_with = "dumps", help_heading = "Repair")]
    pub kafka: bool,
}

impl Group for RepairFlags {
    fn put(&self, flags: &mut Flags) {
        flags.give(Key::Dumps, self.dumps.as_ref());
        flags.give(Key::Kafka, self.kafka.then_some("true"));
    }
}

impl VerifyArgs {
    /// The settings, or everything that is wrong with them.
    pub fn settings(&self) -> Result<Settings, Mistakes> {
        let flags = Flags::of(&[&self.state, &self.kafka, &self.sinks, &self.repair, &self.monitor, &self.output]).needing(&[Key::State]);
        load(&if self.repair.repair { flags.needing_dumps() } else { flags })
    }
}

/// Compares, and names what differs; repairs it where that is asked for.
pub fn run(args: &VerifyArgs, settings: &Settings, measures: &Arc<Measures>) -> anyhow::Result<Exit> {
    if args.repair.repair {
        return run_repair(settings, measures);
    }
    measures.course().enter(Phase::Opening);
    let mut sinks = open::sinks(settings, Access::Read)?;
    if sinks.iter().all(|sink| sink.holds().is_feed()) {
        anyhow::bail!(NO_STORE);
    }
    let verified = verify(&open::storage(settings)?, &mut sinks, &open::progress(), measures)?;
    let differences = total(&verified);
    if settings.json {
        output::json(&json!({ "equal": differences == 0, "sinks": verified }))?;
    } else {
        output::text(&text(&verified))?;
    }
    Ok(if differences == 0 { Exit::Complete } else { Exit::Failed })
}

const NO_STORE: &str = "no store is named: verify compares --sqlite, --postgres, --document-topics and --neo4j with the state";

fn run_repair(settings: &Settings, measures: &Arc<Measures>) -> anyhow::Result<Exit> {
    let request = open::request(settings, measures)?;
    let topics;
    let dumps = if settings.kafka {
        topics = settings.topics()?;
        Dumps::Topics(&topics)
    } else {
        Dumps::Folder(settings.dumps_dir()?)
    };
    let repaired = repair(&request, dumps, || {
        let mut sinks = Vec::new();
        for (_, store) in open::each(settings).into_iter().filter(|(name, _)| *name != "feed") {
            sinks.extend(open::sinks(&store, Access::Write)?);
        }
        if sinks.is_empty() {
            anyhow::bail!(NO_STORE);
        }
        Ok(sinks)
    })?;
    drop(request);
    let left = total(&repaired.left);
    if settings.json {
        output::json(&json!({
            "equal": left == 0,
            "seconds": repaired.seconds,
            "found": repaired.found,
            "wrote": repaired.wrote,
            "left": repaired.left,
        }))?;
    } else {
        let mut words = text(&repaired.found);
        for (sink, Wrote { records, graph }) in &repaired.wrote {
            words += &format!("{sink} repaired: {} written, {} removed", count(records.inserted + records.updated), count(records.deleted));
            if let Some(graph) = graph {
                let (created, deleted) = (count(graph.relationships_created), count(graph.relationships_deleted));
                words += &format!("; relationships: {created} created, {deleted} removed");
            }
            words.push('\n');
        }
        words += &match (left, repaired.wrote.is_empty()) {
            (0, true) => "nothing had to be repaired\n".to_owned(),
            (0, false) => "all stores equal the state\n".to_owned(),
            _ => format!("still not as they should be:\n{}", text(&repaired.left)),
        };
        output::text(&words)?;
    }
    for (kind, why) in &repaired.unread {
        tracing::warn!("{} could not be repaired: {why}", kind.plural());
    }
    Ok(if left == 0 { Exit::Complete } else { Exit::Failed })
}

fn text(verified: &BTreeMap<&'static str, Verified>) -> String {
    let mut text = String::new();
    for (sink, store) in verified {
        let is_graph = !store.relations.is_empty();
        for (kind, found) in &store.kinds {
            let what = if is_graph { format!("{kind} nodes") } else { kind.plural().to_owned() };
            describe(&mut text, sink, &what, kind.name(), found);
        }
        for (label, found) in &store.names {
            describe(&mut text, sink, &format!("{label} nodes"), label, found);
        }
        for (relation, found) in &store.relations {
            describe(&mut text, sink, &format!("{relation} relationships"), "", found);
        }
    }
    text
}

/// How many differences of one sort are shown; a store that is behind has thousands.
const SHOWN: usize = 20;

fn describe(text: &mut String, sink: &str, what: &str, one: &str, found: &Differences) {
    *text += &match found.is_empty() {
        true => format!("{sink}: {} {what} equal the state\n", count(found.records)),
        false => format!(
            "{sink}: of {} {what} in the state {} differ, {} are missing, {} are not in the state\n",
            count(found.records),
            count(found.differ),
            count(found.missing),
            count(found.extra)
        ),
    };
    for Named { id, what } in found.named.iter().take(SHOWN) {
        let space = if one.is_empty() { "" } else { " " };
        *text += &format!("  {one}{space}{id}: {what}\n");
    }
    let unshown = found.named.len().saturating_sub(SHOWN) as u64 + found.unnamed();
    if unshown > 0 {
        *text += &format!("  and {} more; --json names up to a thousand\n", count(unshown));
    }
}
