//! `discodiff status`: what was applied, and where the sinks stand.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::json;

use super::exit::Exit;
use super::{open, output};
use crate::refresh::{Stand, judge, judge_messages};
use crate::sinks::{Access, Holds};
use crate::state::State;
use crate::telemetry::words::count;

use crate::settings::{Flags, KafkaFlags, Key, Mistakes, OutputFlags, Settings, SinkFlags, StateFlags, load};

const EXAMPLES: &str = "\
Examples:
  discodiff status --state state
      months applied, the generation, records of each kind, and where each sink stands
  discodiff status --state state --json | jq .sinks";

/// What `discodiff status` takes.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = EXAMPLES)]
pub struct StatusArgs {
    /// The state.
    #[command(flatten)]
    pub state: StateFlags,
    /// The topics.
    #[command(flatten)]
    pub kafka: KafkaFlags,
    /// The sinks.
    #[command(flatten)]
    pub sinks: SinkFlags,
    /// What is printed.
    #[command(flatten)]
    pub output: OutputFlags,
}

impl StatusArgs {
    /// The settings, or everything that is wrong with them.
    pub fn settings(&self) -> Result<Settings, Mistakes> {
        load(&Flags::of(&[&self.state, &self.kafka, &self.sinks, &self.output]).needing(&[Key::State]))
    }
}

/// Shows the state, and how the sinks that are named stand.
pub fn run(settings: &Settings) -> anyhow::Result<Exit> {
    let state = State::look(settings.state_dir()?)?;
    if state.is_fresh() {
        anyhow::bail!("there is no state in {}: refresh makes one", state.folder().display());
    }
    let manifest = state.manifest();
    let mut stands = BTreeMap::new();
    let mut text = format!("state {} in {}, generation {}\n", manifest.state, state.folder().display(), manifest.generation);
    if let Some(begun) = &manifest.begun {
        text += &format!("epoch {} was begun and not completed: the same refresh goes on\n", begun.epoch.number);
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
    text.push('\n');
    for mut sink in open::sinks(settings, Access::Read)? {
        let standing = sink.standing()?;
        let foreign = standing.state.is_some_and(|other| other != manifest.state);
        if sink.holds().is_feed() {
            let last = standing.kinds.0[0];
            let resumed = manifest.begun.as_ref().map(|begun| begun.epoch);
            let messages = judge_messages(manifest, &standing, resumed);
            let stand = match last {
                _ if foreign => "foreign",
                _ if sink.holds() == Holds::Messages && messages.0.contains(&Stand::Behind) => "behind",
                None => "new",
                last if last == manifest.completed => "current",
                Some(_) => "behind",
            };
            text += &format!("{}: {stand}\n", sink.name());
            stands.insert(sink.name(), BTreeMap::from([("changes", stand)]));
            continue;
        }
        let resumed = manifest.begun.as_ref().map(|begun| begun.epoch);
        let kinds: BTreeMap<&str, &str> = judge(manifest, sink.holds(), &standing, resumed)
            .iter()
            .map(|(kind, stand)| {
                let begun = standing.begun[kind].is_some();
                (
                    kind.name(),
                    if foreign {
                        "foreign"
                    } else if begun {
                        "begun and not complete"
                    } else {
                        stand.name()
                    },
                )
            })
            .collect();
        let words: Vec<_> = kinds.iter().map(|(kind, stand)| format!("{kind} {stand}")).collect();
        text += &format!("{}: {}\n", sink.name(), words.join(", "));
        stands.insert(sink.name(), kinds);
    }
    if settings.json {
        let kinds: BTreeMap<_, _> = manifest.kinds.iter().filter_map(|(kind, applied)| Some((kind, applied.as_ref()?))).collect();
        output::json(&json!({
            "state": manifest.state,
            "generation": manifest.generation,
            "begun": manifest.begun,
            "kinds": kinds,
            "sinks": stands,
        }))?;
    } else {
        output::text(&text)?;
    }
    Ok(Exit::Complete)
}
