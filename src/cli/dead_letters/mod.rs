//! `discodiff dead-letters`: the records that were rejected, and what to do about them.

mod list;
mod retry;
mod show;
mod text;

use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::exit::Exit;
use super::open;
use crate::model::Kind;
use crate::settings::{Flags, Group, Mistakes, OutputFlags, Settings, StateFlags, TableFlags, load};
use crate::sinks::letters::Letter;
use crate::sinks::{DeadLetters, Sink, unwritten};
use crate::telemetry::Measures;

const EXAMPLES: &str = "\
Examples:
  discodiff dead-letters list --state state
      what state/discodiff.sqlite lacks because it was rejected
  discodiff dead-letters show artist 5 --state state
      one of them with its bytes, and what to do about it
  discodiff dead-letters retry --dumps 2025-12 --state state
      read them once more, after an upgrade or once a store takes what it had refused

A refresh rejects a record that it cannot read, keeps its bytes, goes on, and ends with status 3.
What stores held of the record before stays in them.";

/// What `discodiff dead-letters` takes.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct DeadLettersArgs {
    /// What to do.
    #[command(subcommand)]
    pub act: Act,
}

/// What can be done with dead letters.
#[derive(Clone, Debug, Subcommand)]
pub enum Act {
    /// Tell which records were rejected and are not made good yet, a line each
    List(list::ListArgs),
    /// Print all of one, with its bytes
    Show(show::ShowArgs),
    /// Read once more what the last month rejected, and apply what now comes well
    Retry(Box<retry::RetryArgs>),
}

/// Where dead letters are kept.
#[derive(Args, Clone, Debug, Default)]
pub struct PlaceFlags {
    /// The state.
    #[command(flatten)]
    pub state: StateFlags,
    /// The store that is asked.
    #[command(flatten)]
    pub tables: TableFlags,
    /// What is printed.
    #[command(flatten)]
    pub output: OutputFlags,
}

impl Group for PlaceFlags {
    fn put(&self, flags: &mut Flags) {
        self.state.put(flags);
        self.tables.put(flags);
        self.output.put(flags);
    }
}

impl DeadLettersArgs {
    /// Whether records are read and written again, as by a refresh.
    pub const fn is_retry(&self) -> bool {
        matches!(self.act, Act::Retry(_))
    }

    /// The settings, or everything that is wrong with them.
    pub fn settings(&self) -> Result<Settings, Mistakes> {
        let (place, mistake) = match &self.act {
            Act::List(args) => (&args.place, None),
            Act::Show(args) => (&args.place, args.mistake()),
            Act::Retry(args) => return load(&args.flags()),
        };
        let mut mistakes = Mistakes::default();
        if let Some(words) = mistake {
            mistakes.add("show", words);
        }
        match load(&Flags::of(&[place])) {
            Ok(mut settings) if mistakes.is_empty() => {
                settings.keep_one_with_tables();
                Ok(settings)
            }
            Ok(_) => Err(mistakes),
            Err(others) => {
                mistakes.append(others);
                Err(mistakes)
            }
        }
    }
}

/// Reads, and prints.
pub fn run(args: &DeadLettersArgs, settings: &Settings, measures: &Arc<Measures>) -> anyhow::Result<Exit> {
    match &args.act {
        Act::List(args) => list::run(args, settings, &mut *store(settings)?),
        Act::Show(args) => show::run(args, settings, &mut *store(settings)?),
        Act::Retry(_) => retry::run(settings, measures),
    }
}

fn store(settings: &Settings) -> anyhow::Result<Box<dyn Sink>> {
    let mut store = open::store_with_tables(settings)?;
    if store.standing()?.state.is_none() {
        anyhow::bail!("{}", unwritten(&*store));
    }
    Ok(store)
}

fn letters(store: &mut dyn Sink) -> anyhow::Result<&mut dyn DeadLetters> {
    let name = store.name();
    store.dead_letters().ok_or_else(|| anyhow::anyhow!("{name} keeps no dead letters"))
}

/// The kind of this name, in the singular or plural.
fn kind(text: &str) -> Result<Kind, String> {
    let kind = Kind::ALL.into_iter().find(|kind| kind.name() == text || kind.plural() == text);
    kind.ok_or_else(|| format!("{text} is no kind: artist, label, master or release"))
}

/// What can be said of a letter without its bytes.
fn object(letter: &Letter) -> Value {
    json!({
        "kind": letter.kind,
        "id": letter.id,
        "file": letter.file,
        "position": letter.offset(),
        "stage": letter.stage,
        "reason": letter.reason,
        "bytes": letter.bytes,
        "at": letter.at,
        "epoch": letter.epoch.epoch,
        "month": letter.epoch.month,
        "first_epoch": letter.first.epoch,
        "first_month": letter.first.month,
        "cleared_epoch": letter.cleared,
    })
}
