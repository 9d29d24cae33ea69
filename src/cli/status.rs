//! `discodiff status`: what was applied, and where the sinks stand.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::json;

use super::exit::Exit;
use super::{open, output};
use crate::model::PerKind;
use crate::refresh::{Lag, ResumedFrom, Stand, judge, judge_messages};
use crate::sinks::{Access, Holds};
use crate::sources::kafka::{Catalogue, names};
use crate::state::{Checkpoint, Manifest, State};
use crate::telemetry::words::count;

use crate::settings::{Flags, KafkaFlags, Key, Mistakes, OutputFlags, Settings, SinkFlags, StateFlags, load};

const EXAMPLES: &str = "\
Examples:
  discodiff status --state state
      months applied, the generation, records of each kind, and where each sink stands
  discodiff status --state state --brokers kafka:9092
      how many months and records in the topics are not applied yet, too
  discodiff status --state state --json | jq .sinks

What does not answer is told, and the rest shown all the same; the exit status is 1 then.";

/// What `discodiff status` takes.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = EXAMPLES)]
pub struct StatusArgs {
    /// The state.
    #[command(flatten)]
    pub state: StateFlags,
    /// The sinks.
    #[command(flatten)]
    pub sinks: SinkFlags,
    /// The topics.
    #[command(flatten)]
    pub kafka: KafkaFlags,
    /// What is printed.
    #[command(flatten)]
    pub output: OutputFlags,
}

impl StatusArgs {
    /// The settings, or everything that is wrong with them.
    pub fn settings(&self) -> Result<Settings, Mistakes> {
        load(&Flags::of(&[&self.state, &self.sinks, &self.kafka, &self.output]).needing(&[Key::State]))
    }
}

/// Shows the state, and how the sinks that are named stand.
pub fn run(settings: &Settings) -> anyhow::Result<Exit> {
    let state = State::look(&open::storage(settings)?)?;
    if state.is_fresh() {
        anyhow::bail!("there is no state in {}: refresh makes one", state.storage());
    }
    let manifest = state.manifest();
    let mut text = format!("state {} in {}, generation {}\n", manifest.state, state.storage(), manifest.generation);
    let holder = state.storage().holder()?;
    if let Some(holder) = &holder {
        text += &format!("held by {holder}\n");
    }
    let checkpoint = manifest.begun.as_ref().and_then(|begun| {
        let found = Checkpoint::read(state.storage()).unwrap_or_default();
        found.filter(|found| found.epoch == begun.epoch).map(|found| ResumedFrom::of(&found))
    });
    if let Some(begun) = &manifest.begun {
        let from = checkpoint.as_ref().map_or_else(
            || " from its beginning".to_owned(),
            |from| format!(" at its checkpoint: {}, record {}", from.kind.plural(), count(from.records)),
        );
        text += &format!("epoch {} was begun and not completed: the same refresh goes on{from}\n", begun.epoch.number);
    }
    text += &format!("\n{:<10} {:>8} {:>7} {:>12} {:>9} {:>9}  file\n", "", "month", "epoch", "records", "rejected", "withheld");
    for (kind, applied) in manifest.kinds.iter().filter_map(|(kind, applied)| Some((kind, applied.as_ref()?))) {
        let numbers = (count(applied.records), count(applied.rejected), count(applied.deletes_withheld));
        let (month, epoch, file) = (&applied.month, applied.epoch.number, &applied.file);
        text += &format!("{:<10} {month:>8} {epoch:>7} {:>12} {:>9} {:>9}  {file}\n", kind.plural(), numbers.0, numbers.1, numbers.2);
        if let Some(defect) = &applied.defect {
            text += &format!("{:<10} not whole: {defect}\n", "");
        }
        for (path, times) in &applied.unmapped {
            text += &format!("{:<10} schema drift: {path}, {} times\n", "", count(*times));
        }
    }
    let mut exit = Exit::Complete;
    let (mut sinks, mut dead_letters) = (BTreeMap::new(), BTreeMap::new());
    text.push('\n');
    for (name, only) in open::each(settings) {
        let (stands, letters) = match stands(&only, manifest) {
            Ok(found) => found,
            Err(error) if error.is::<Mistakes>() => return Err(error),
            Err(error) => {
                exit = Exit::Failed;
                (BTreeMap::from([("error", format!("{error:#}"))]), None)
            }
        };
        // A feed has no kinds.
        let words = stands.iter().map(|(kind, stand)| match *kind {
            "changes" => stand.clone(),
            "error" => format!("cannot be asked: {stand}"),
            kind => format!("{kind} {stand}"),
        });
        text += &format!("{name}: {}\n", words.collect::<Vec<_>>().join(", "));
        sinks.insert(name, stands);
        if let Some(open) = letters {
            text += &format!("{name}: {}\n", rejected(&open));
            dead_letters.insert(name, open.iter().map(|(kind, open)| (kind.name(), *open)).collect::<BTreeMap<_, _>>());
        }
    }
    let mut told = json!({ "state": manifest.state, "generation": manifest.generation, "begun": manifest.begun, "sinks": sinks });
    told["holder"] = json!(holder);
    told["checkpoint"] = json!(checkpoint);
    told["dead_letters"] = json!(dead_letters);
    if settings.brokers.is_some() {
        let topics = settings.topics()?;
        text += &format!("\ntopics {}.* at {}\n", topics.prefix, topics.brokers);
        // Brokers may be named for sinks alone.
        match names(&topics).and_then(|there| there.contains(&topics.catalogue()).then(|| Catalogue::read(&topics)).transpose()) {
            Ok(None) => {
                text += "there is no catalogue: discodiff has published nothing there\n";
                told["topics"] = json!({});
            }
            Ok(Some(catalogue)) => {
                let lag = Lag::of(&catalogue, manifest);
                lag.iter().for_each(|(kind, lag)| text += &format!("{:<10} {}\n", kind.plural(), behind(lag)));
                told["topics"] = json!(lag.iter().map(|(kind, lag)| (kind.name(), lag)).collect::<BTreeMap<_, _>>());
            }
            Err(error) => {
                exit = Exit::Failed;
                text += &format!("cannot be asked: {error:#}\n");
                told["topics"] = json!({ "error": format!("{error:#}") });
            }
        }
    }
    if settings.json {
        told["kinds"] =
            json!(manifest.kinds.iter().filter_map(|(kind, applied)| Some((kind, applied.as_ref()?))).collect::<BTreeMap<_, _>>());
        output::json(&told)?;
    } else {
        output::text(&text)?;
    }
    Ok(exit)
}

/// How a sink stands: a word for each kind, or for all changes.
type Stands = BTreeMap<&'static str, String>;

/// How the one sink that is named stands, and how many dead letters are open in it, where it keeps them.
fn stands(settings: &Settings, manifest: &Manifest) -> anyhow::Result<(Stands, Option<PerKind<u64>>)> {
    let (mut stands, mut letters) = (BTreeMap::new(), None);
    for mut sink in open::sinks(settings, Access::Read)? {
        let standing = sink.standing()?;
        let foreign = standing.state.is_some_and(|other| other != manifest.state);
        if sink.holds().is_feed() {
            let resumed = manifest.begun.as_ref().map(|begun| begun.epoch);
            let messages = judge_messages(manifest, &standing, resumed);
            let stand = match standing.kinds.0[0] {
                _ if foreign => "foreign",
                _ if sink.holds() == Holds::Messages && messages.0.contains(&Stand::Behind) => "behind",
                None => "new",
                last if last == manifest.completed => "current",
                Some(_) => "behind",
            };
            stands.insert("changes", stand.to_owned());
            continue;
        }
        let resumed = manifest.begun.as_ref().map(|begun| begun.epoch);
        for (kind, stand) in judge(manifest, sink.holds(), &standing, resumed).iter() {
            let stand = match (foreign, standing.begun[kind].is_some()) {
                (true, _) => "foreign",
                (false, true) => "begun and not complete",
                (false, false) => stand.name(),
            };
            stands.insert(kind.name(), stand.to_owned());
        }
        if let Some(kept) = sink.dead_letters().filter(|_| !foreign) {
            let counts = kept.count()?;
            letters = Some(PerKind::from_fn(|kind| counts[kind].open));
        }
    }
    Ok((stands, letters))
}

/// How many dead letters are open, in words.
fn rejected(open: &PerKind<u64>) -> String {
    let each: Vec<_> =
        open.iter().filter(|(_, open)| **open > 0).map(|(kind, open)| format!("{} of {}", count(*open), kind.plural())).collect();
    match each.is_empty() {
        true => "no dead letter is open".to_owned(),
        false => format!("open dead letters: {} (see dead-letters list)", each.join(", ")),
    }
}

/// How far a kind is behind the topics, in words.
fn behind(lag: &Lag) -> String {
    let mut words = vec![match &lag.newest {
        None => "no month is complete".to_owned(),
        Some(month) if lag.attempts == 0 => format!("{month} is the newest month, nothing is behind"),
        Some(month) => format!("{month} is the newest month, {} not applied yet: {} records", lag.attempts, count(lag.records)),
    }];
    words.extend(lag.unfinished.iter().map(|of| format!("{} is not complete: {} records so far", of.month, count(of.records))));
    words.join("; ")
}
