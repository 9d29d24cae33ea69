//! What it costs to hold the fingerprints of all of Discogs: memory, loading and saving beside a plain file of the same size, and how
//! long a tick takes with them held.
//!
//! ```text
//! cargo bench --bench fingerprints                   34,000,000 records
//! RECORDS=1000000 cargo bench --bench fingerprints   as many
//! ```
//!
//! Files are written by one process and taken up by others, each of which so begins with a memory of its own.

#[path = "../gauge.rs"]
mod gauge;
mod made;
mod month;
#[path = "../rows.rs"]
mod rows;

use std::cell::RefCell;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use discodiff::dataflows::Fingerprints;
use discodiff::model::{Fingerprint, Key, Peers, Seat};
use discodiff::state::{Manifest, PartWriter, Row as _, State, Storage};
use gauge::{Memory, by_turns};
use made::Fate;
use month::Month;
use rows::Row;

/// What the targets are: bytes of a record at rest, times of a plain file's, and milliseconds of a tick.
const BYTES: f64 = 56.0;
const TIMES: f64 = 3.0;
const TICK: f64 = 100.0;

/// A plain file of the size of the state's, for others to read.
const PLAIN: &str = "plain";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = records().and_then(|records| match arguments[..] {
        [] => measure(records),
        ["restored", folder] => restored(folder.as_ref()),
        ["unchanged", folder] => unchanged(folder.as_ref(), records),
        ["changed", folder] => changed(folder.as_ref(), records),
        ["loaded", _] => loaded(records),
        _ => Err(anyhow::anyhow!("no arguments are known, but RECORDS in the environment")),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn records() -> Result<u64> {
    std::env::var("RECORDS").map_or(Ok(34_000_000), |records| records.parse().context("RECORDS is not a number"))
}

/// Makes a state of the first month, and has it taken up.
fn measure(records: u64) -> Result<()> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut state = State::open(&folder.path().into())?;
    let manifest = state.manifest().clone();
    let mut writer = PartWriter::create(state.storage(), manifest.state, manifest.generation + 1, Seat::ALONE)?;
    made::keys(records).filter(|key| made::fate(*key) != Fate::Comes).try_for_each(|key| writer.push((key, made::fingerprint(key))))?;
    let part = writer.finish()?;
    println!("{} records", part.rows);
    gauge::write_plain(&folder.path().join(PLAIN), bytes(part.rows))?;
    state.replace(Manifest { generation: manifest.generation + 1, parts: vec![part], ..manifest })?;
    for what in ["restored", "unchanged", "changed", "loaded"] {
        let status = Command::new(std::env::current_exe()?).arg(what).arg(folder.path()).status()?;
        ensure!(status.success(), "{what}: {status}");
    }
    Ok(())
}

fn bytes(rows: u64) -> usize {
    rows as usize * <(Key, Fingerprint)>::SIZE
}

fn restore(storage: &Storage, manifest: &Manifest) -> Result<Rc<RefCell<Fingerprints>>> {
    Ok(Rc::new(RefCell::new(Fingerprints::restore(storage, manifest, Seat::ALONE)?)))
}

/// Takes a generation up, as one worker.
fn restored(folder: &Path) -> Result<()> {
    let state = State::look(&folder.into())?;
    let manifest = state.manifest();
    let rows = manifest.parts[0].rows;
    let memory = Memory::begin()?;
    let trace = restore(state.storage(), manifest)?;
    let taken = memory.taken()?;
    drop(trace);
    gauge::time_table();
    let (_, load) = by_turns("restored", bytes(rows), || restore(state.storage(), manifest), || gauge::read_plain(&folder.join(PLAIN)))?;
    gauge::memory_table();
    taken.tell("restored", rows);
    Row::of(10, "a fingerprint in memory, bytes", &[(taken.rest / rows as f64, 1.0)], BYTES, false).tell()?;
    Row::of(10, "fingerprints loaded, s", &load, TIMES, false).tell()?;
    Ok(())
}

/// Nothing has changed.
fn unchanged(folder: &Path, records: u64) -> Result<()> {
    let state = State::look(&folder.into())?;
    let trace = restore(state.storage(), state.manifest())?;
    let keys = made::keys(records).filter(|key| made::fate(*key) != Fate::Comes);
    tell("a tick of an unchanged month, 99th percentile, ms", &month::run(&trace, keys, |_| false)?)
}

/// A month of changes, which is saved.
fn changed(folder: &Path, records: u64) -> Result<()> {
    let state = State::look(&folder.into())?;
    let trace = restore(state.storage(), state.manifest())?;
    let memory = Memory::begin()?;
    let keys = made::keys(records).filter(|key| made::fate(*key) != Fate::Goes);
    let month = month::run(&trace, keys, |key| made::fate(key) != Fate::Stays)?;
    let taken = memory.taken()?;
    tell("a tick of a month of changes, 99th percentile, ms", &month)?;
    let rows = month.counts.inserted + month.counts.updated + month.counts.unchanged;
    // Under another number of workers, so that the generation that was taken up stays.
    let save = || Ok(trace.borrow_mut().save(state.storage(), state.manifest(), Seat { worker: 1, peers: Peers::alone(2), run: None })?);
    gauge::time_table();
    let (saved, save) = by_turns("saved", bytes(rows), save, || gauge::write_plain(&folder.join("written"), bytes(rows)))?;
    ensure!(saved.rows == rows, "{} rows were saved of {rows}", saved.rows);
    gauge::memory_table();
    taken.tell("more after a month of changes", rows);
    Row::of(10, "fingerprints saved, s", &save, TIMES, false).tell()?;
    Ok(())
}

/// A first load.
fn loaded(records: u64) -> Result<()> {
    let memory = Memory::begin()?;
    let trace = restore(&Storage::from("nowhere"), &Manifest::new())?;
    let keys = made::keys(records).filter(|key| made::fate(*key) != Fate::Comes);
    let month = month::run(&trace, keys, |_| true)?;
    let taken = memory.taken()?;
    tell("a tick of a first load, 99th percentile, ms", &month)?;
    gauge::memory_table();
    taken.tell("after a first load", month.counts.inserted);
    Ok(())
}

fn tell(what: &str, month: &Month) -> Result<()> {
    let ms = |quantile| month.latencies.value_at_quantile(quantile) as f64 / 1e3;
    println!("\n{:?} in {:.1} s", month.counts, month.seconds);
    println!("{} ticks: {:.1} ms at the median, {:.1} at most", month.latencies.len(), ms(0.5), ms(1.0));
    Row::of(13, what, &[(ms(0.99), 1.0)], TICK, false).tell()?;
    Ok(())
}
