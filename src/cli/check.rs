//! `discodiff check`: would a run go well?

mod broker;

use std::net::TcpListener;
use std::path::Path;
use std::{fs, io};

use anyhow::Context;
use clap::Args;
use nix::unistd::{AccessFlags, access};
use serde::Serialize;
use uuid::Uuid;

use super::exit::Exit;
use super::refresh::{FetchFirstFlags, FromFlags};
use super::watch::cannot_listen;
use super::{open, output};
use crate::disk;
use crate::sinks::Access;
use crate::sources::{Snapshot, a_dump_in, first_look};
use crate::state::{Location, State, check, load_dictionary};
use crate::telemetry::metrics_file;
use crate::telemetry::words::{bytes, count};

use crate::settings::{
    DumpsFlags, FeedPlace, Flags, Group, KafkaFlags, Mistakes, MonitorFlags, OutputFlags, RunFlags, Settings, SinkFlags, StateFlags, load,
};

const EXAMPLES: &str = "\
Examples:
  discodiff check
      show the settings and where each came from, and try what they name
  discodiff check --dumps 2025-12 --state state --postgres postgresql://discogs@db/discogs
      are the files there, can the state be locked and written, does the server answer?
  discodiff check --state state --feed feeds/changes.jsonl --listen 9599 --metrics-file metrics
      are the folders there, and is the port free?
  discodiff check --kafka --brokers kafka:9092 --state state
      are the topics as they must be, and is all that is not applied yet still there?

Only what is named is tried; nothing is written, but a state that is there is held for a moment.";

/// What `discodiff check` takes.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = EXAMPLES)]
pub struct CheckArgs {
    /// The dumps.
    #[command(flatten)]
    pub dumps: DumpsFlags,
    /// Dumps from Discogs.
    #[command(flatten)]
    pub fetch: FetchFirstFlags,
    /// Dumps from topics.
    #[command(flatten)]
    pub from: FromFlags,
    /// The topics.
    #[command(flatten)]
    pub kafka: KafkaFlags,
    /// The state.
    #[command(flatten)]
    pub state: StateFlags,
    /// The sinks.
    #[command(flatten)]
    pub sinks: SinkFlags,
    /// How the run goes.
    #[command(flatten)]
    pub run: RunFlags,
    /// How it is watched.
    #[command(flatten)]
    pub monitor: MonitorFlags,
    /// What is printed.
    #[command(flatten)]
    pub output: OutputFlags,
}

impl CheckArgs {
    /// The settings, or everything that is wrong with them.
    pub fn settings(&self) -> Result<Settings, Mistakes> {
        let groups: [&dyn Group; 9] =
            [&self.dumps, &self.fetch, &self.from, &self.kafka, &self.state, &self.sinks, &self.run, &self.monitor, &self.output];
        load(&Flags::of(&groups))
    }
}

/// Tries what is named, one after the other, and says of each whether it would do.
pub fn run(settings: &Settings) -> anyhow::Result<Exit> {
    let mut found: Vec<Finding> = Vec::new();
    let mut note = |what: &str, result: anyhow::Result<String>| found.push(Finding::new(what, result));
    if let Some(dumps) = &settings.dumps {
        note("dumps", if settings.fetch { months(dumps) } else { look_at(dumps) });
    }
    let state = settings.state.as_ref().map(|location| look(settings, location));
    // Of one that cannot be opened it is not known whose the stores are.
    let known = state.as_ref().is_none_or(Result::is_ok);
    let id = state.as_ref().and_then(|state| state.as_ref().ok()).and_then(|(id, _)| *id);
    if let Some(state) = state {
        note("state", state.map(|(_, said)| said));
    }
    if settings.brokers.is_some() {
        found.extend(broker::look(settings)?);
    }
    let mut note = |what: &str, result: anyhow::Result<String>| found.push(Finding::new(what, result));
    for (what, only) in open::each(settings) {
        note(what, sink(settings, what, &only, known.then_some(id)));
    }
    let mut mistakes = Mistakes::default();
    settings.check_sinks(&mut mistakes);
    // Who names no source does not ask about a run.
    if !mistakes.is_empty() && (settings.dumps.is_some() || settings.kafka) {
        note("sinks", Err(mistakes.into()));
    }
    if let Some(address) = settings.listen {
        let bound = TcpListener::bind(address).map_err(|error| anyhow::anyhow!(cannot_listen(address, &error)));
        note("listen", bound.map(|_| format!("metrics, health and readiness can be served on {address}")));
    }
    if let Some(path) = &settings.metrics_file {
        note("metrics", metrics(path));
    }
    let good = found.iter().all(|finding| finding.ok);
    if settings.json {
        output::json(&serde_json::json!({ "ok": good, "checks": found }))?;
    } else {
        let mut text = format!("{settings}\n\n");
        let width = found.iter().map(|finding| finding.what.len()).max().unwrap_or(0).max(9);
        for Finding { what, ok, said } in &found {
            text += &format!("{what:<width$} {}  {said}\n", if *ok { "ok  " } else { "FAIL" });
        }
        if found.is_empty() {
            text += "Nothing is named that could be tried: name --dumps, --brokers, --state or a sink.\n";
        }
        output::text(&text)?;
    }
    Ok(if good { Exit::Complete } else { Exit::Failed })
}

#[derive(Serialize)]
struct Finding {
    what: String,
    ok: bool,
    said: String,
}

impl Finding {
    fn new(what: &str, result: anyhow::Result<String>) -> Finding {
        let (ok, said) = match result {
            Ok(said) => (true, said),
            Err(error) => (false, told(&error)),
        };
        Finding { what: what.to_owned(), ok, said }
    }
}

/// An error in one line; mistakes without the line above them.
fn told(error: &anyhow::Error) -> String {
    let said = format!("{error:#}");
    let mistakes =
        error.is::<Mistakes>().then(|| said.lines().skip(1).map(|line| line.trim_start().trim_start_matches("- ")).collect::<Vec<_>>());
    mistakes.map_or(said.clone(), |mistakes| mistakes.join("; "))
}

fn look_at(dumps: &Path) -> anyhow::Result<String> {
    let snapshot = Snapshot::find(dumps)?;
    for file in snapshot.files.0.iter().flatten() {
        if let Some(defect) = first_look(file)? {
            anyhow::bail!("{}: {defect}", file.name);
        }
    }
    Ok(describe(&snapshot))
}

fn describe(snapshot: &Snapshot) -> String {
    let files = snapshot.files.iter().filter_map(|(kind, file)| Some((kind, file.as_ref()?)));
    let files: Vec<_> = files
        .map(|(kind, file)| {
            let sum = match file.checksum_agrees {
                Some(true) => ", checksum agrees",
                Some(false) => ", CHECKSUM DIFFERS: fetch it again",
                None => "",
            };
            format!("{} {}{sum}", kind.plural(), bytes(file.bytes))
        })
        .collect();
    format!("{}: {}", snapshot.month, files.join("; "))
}

/// The folder into which months are fetched. The place is not asked: it lets few requests pass.
fn months(folder: &Path) -> anyhow::Result<String> {
    if !folder.exists() {
        return Ok(format!("{} will be made, and months fetched into it", folder.display()));
    }
    let mut months = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        months.extend(a_dump_in(&entry?.path()).map(|(_, month)| month));
    }
    months.sort();
    let months = if months.is_empty() { "no month".to_owned() } else { months.join(", ") };
    Ok(format!("months are fetched into {}, where there is {months}", folder.display()))
}

/// The folder in which a file is written, with others beside it: it must be there, and take them.
fn takes_files(path: &Path) -> anyhow::Result<()> {
    let folder = disk::folder_of(path);
    if !folder.is_dir() {
        anyhow::bail!("{}: there is no folder {}; make it first", path.display(), folder.display());
    }
    access(folder, AccessFlags::W_OK | AccessFlags::X_OK).map_err(|error| {
        let error = io::Error::from(error);
        anyhow::anyhow!("cannot write to {}: {error}{}", folder.display(), disk::advice(&error))
    })
}

fn metrics(path: &Path) -> anyhow::Result<String> {
    let file = metrics_file(path, "COMMAND")?;
    takes_files(&file)?;
    Ok(format!("metrics are kept in {}", file.display()))
}

/// The state's id, if there is a state, and what to say. A folder that does not exist is not made.
fn look(settings: &Settings, location: &Location) -> anyhow::Result<(Option<Uuid>, String)> {
    if location.folder().is_some_and(|folder| !folder.exists()) {
        return Ok((None, format!("{location} will be made")));
    }
    let storage = open::storage(settings)?;
    let access = storage.access().map(|access| format!(" ({access})")).unwrap_or_default();
    // In a bucket it is held only where there is one, so that nothing is left behind.
    if storage.folder().is_none() && State::look(&storage)?.is_fresh() {
        storage.try_out()?;
        return Ok((None, format!("{location} holds no state yet, and takes one{access}")));
    }
    let state = State::open(&storage)?;
    if state.is_fresh() {
        return Ok((None, format!("{location} holds no state yet")));
    }
    check(&storage, state.manifest())?;
    load_dictionary(&storage, state.manifest())?;
    let records: u64 = state.manifest().records().0.iter().sum();
    let generation = state.manifest().generation;
    Ok((Some(state.manifest().state), format!("generation {generation}, {} records, all files whole{access}", count(records))))
}

/// The one sink that `only` names, held against the state where that is known.
fn sink(settings: &Settings, what: &str, only: &Settings, state: Option<Option<Uuid>>) -> anyhow::Result<String> {
    match (what, &settings.sqlite, &settings.feed) {
        ("sqlite", Some(path), _) | ("feed", _, Some(FeedPlace::File(path))) => takes_files(path)?,
        ("sqlite", None, _) => {
            if let Some(words) = open::second_store(settings)? {
                anyhow::bail!(words);
            }
        }
        _ => {}
    }
    let mut said = Vec::new();
    for mut sink in open::sinks(only, Access::Read)? {
        let standing = sink.standing()?;
        said.push(match standing.state {
            None if sink.holds().is_feed() => "new: it will get each change from the next run on".to_owned(),
            None => "empty: it will be filled".to_owned(),
            Some(bound) if state.is_none() => format!("belongs to the state {bound}; whether that is this one is not known"),
            Some(bound) if Some(Some(bound)) == state => "belongs to this state".to_owned(),
            Some(bound) if only.state.is_some() => anyhow::bail!("it belongs to another state, {bound}: a refresh would refuse it"),
            Some(bound) => format!("belongs to the state {bound}"),
        });
    }
    Ok(said.join(", "))
}
