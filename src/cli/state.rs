//! `discodiff state`: the state itself.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde_json::json;

use super::exit::Exit;
use super::{open, output};
use crate::model::Kind;
use crate::rebuild::{Rebuilt, rebuild};
use crate::settings::{Flags, Group, Key, Mistakes, MonitorFlags, OutputFlags, PostgresFlags, Settings, StateFlags, load};
use crate::state::State;
use crate::telemetry::words::count;
use crate::telemetry::{Measures, Phase};

const EXAMPLES: &str = "\
Examples:
  discodiff state rebuild --from store.sqlite --state state
      the state's folder was lost: make it anew from a SQLite file that it kept
  discodiff state rebuild --from postgresql://discogs@db/discogs --state state
      the same from PostgreSQL; the password as for any command, from the URL,
      --postgres-password-file or DISCODIFF_POSTGRES_PASSWORD_FILE

The store is read, not written. All sinks that stand where it stands are current afterwards. The
next month is parsed whole, once, and a graph is compared with it edge by edge.";

/// What `discodiff state` takes.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct StateArgs {
    /// What to do.
    #[command(subcommand)]
    pub act: Act,
}

/// What can be done with a state.
#[derive(Clone, Debug, Subcommand)]
pub enum Act {
    /// Make a lost state anew from what a store holds, and say whether that is what was written
    Rebuild(RebuildArgs),
}

/// What `discodiff state rebuild` takes.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = EXAMPLES)]
pub struct RebuildArgs {
    /// The store: a SQLite file, or PostgreSQL as postgresql://user@host:5432/database
    #[arg(long, value_name = "FILE|URL", required = true)]
    pub from: Option<String>,
    /// How PostgreSQL is connected to.
    #[command(flatten)]
    pub connection: PostgresFlags,
    /// The folder for the state.
    #[command(flatten)]
    pub state: StateFlags,
    /// How it is watched.
    #[command(flatten)]
    pub monitor: MonitorFlags,
    /// What is printed.
    #[command(flatten)]
    pub output: OutputFlags,
}

fn is_postgres(from: &str) -> bool {
    from.starts_with("postgres://") || from.starts_with("postgresql://")
}

impl Group for RebuildArgs {
    fn put(&self, flags: &mut Flags) {
        flags.give(Key::Postgres, self.from.as_ref().filter(|from| is_postgres(from)));
        flags.give(Key::Sqlite, self.from.as_ref().filter(|from| !is_postgres(from)));
        self.connection.put(flags);
        self.state.put(flags);
        self.monitor.put(flags);
        self.output.put(flags);
    }
}

impl StateArgs {
    /// The settings, or everything that is wrong with them.
    pub fn settings(&self) -> Result<Settings, Mistakes> {
        let Act::Rebuild(args) = &self.act;
        let from = args.from.as_deref().unwrap_or_default();
        if from.is_empty() || (from.contains("://") && !is_postgres(from)) {
            let mut mistakes = Mistakes::default();
            mistakes.add("--from", "right is the path of a SQLite file, or postgresql://user@host:5432/database");
            return Err(mistakes);
        }
        let mut settings = load(&Flags::of(&[args]).needing(&[Key::State]))?;
        settings.keep_one_with_tables();
        Ok(settings)
    }
}

/// Rebuilds the state.
pub fn run(settings: &Settings, measures: &Measures) -> anyhow::Result<Exit> {
    measures.course().enter(Phase::Opening);
    let mut store = open::store_with_tables(settings)?;
    let mut state = State::open_anew(&open::storage(settings)?)?;
    let rebuilt = rebuild(&mut state, &mut *store, &open::progress(), measures)?;
    let sound = rebuilt.values().all(Rebuilt::is_sound);
    if settings.json {
        output::json(&json!({ "sound": sound, "state": state.manifest().state, "kinds": rebuilt }))?;
    } else {
        output::text(&text(store.name(), &rebuilt))?;
    }
    tell(store.name(), &rebuilt);
    Ok(if sound { Exit::Complete } else { Exit::Incomplete })
}

fn text(store: &str, rebuilt: &BTreeMap<Kind, Rebuilt>) -> String {
    let line = |(kind, found): (&Kind, &Rebuilt)| {
        let as_written = if found.is_sound() { ", all as they were written" } else { "" };
        format!("{store}: {} {} of {}{as_written}\n", count(found.records), kind.plural(), found.month)
    };
    rebuilt.iter().map(line).collect()
}

/// Says what the store holds that was not written so, and what to do about it.
fn tell(store: &str, rebuilt: &BTreeMap<Kind, Rebuilt>) {
    for (kind, found) in rebuilt.iter().filter(|(_, found)| !found.is_sound()) {
        let Rebuilt { month, records, noted, altered, junk, unfinished, .. } = found;
        let mut words = Vec::new();
        if *unfinished {
            words.push("a month was begun in them and did not end".to_owned());
        }
        if *altered > 0 {
            words.push(format!("{} are not what their hash says", count(*altered)));
        }
        if *junk > 0 {
            words.push(format!("{} have ids of no record, and were left out", count(*junk)));
        }
        if let Some(noted) = noted.filter(|noted| noted != records) {
            words.push(format!("there were {} when {month} was complete, and there are {}", count(noted), count(*records)));
        }
        tracing::warn!(
            "the {} of {store} are not as they were written: {}. The next refresh, of {month} or a later month, reads them all and brings up \
             every sink; verify --repair after it finds what was altered under its hash",
            kind.plural(),
            words.join("; ")
        );
    }
}
