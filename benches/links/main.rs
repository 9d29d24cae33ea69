//! What it costs to keep the links that records assert: memory, and time beside a plain file of the same size.
//!
//! ```text
//! cargo bench --bench links                 50,000,000 links, made as real records have them; status 1 above 24 bytes a link
//! cargo bench --bench links -- 5000000      as many
//! cargo bench --bench links -- real         links per record in excerpts of real dumps, and what all of Discogs comes to
//! ```
//!
//! Files are written by one process and taken up by others, each of which so begins with a memory of its own.

#[path = "../gauge.rs"]
mod gauge;
mod made;
mod real;

use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use discodiff::dataflows::{Edges, Flow, Ground, Journal, Links, edges, links};
use discodiff::model::graph::{Coded, Dictionary, EdgeId, Link, LinkKind, Projection, Properties};
use discodiff::model::{Change, Digest, Event, Key, Peers, PerKind, Seat, Verdict};
use discodiff::sources::{Budget, first_tick};
use discodiff::state::{self, Manifest, PartWriter, Row, State, Storage};
use discodiff::telemetry::{Measures, RunStage};
use gauge::{Memory, by_turns};
use made::Part;
use roaring::RoaringBitmap;
use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::generic::operator::empty;
use timely::dataflow::operators::{Concatenate, Input, Probe};

/// Bytes of memory that a link may take.
const LIMIT: f64 = 24.0;

/// Another worker's place: what it writes lies beside the parts of the first.
const OTHER: Seat = Seat { worker: 1, peers: Peers::alone(2), run: None };

/// Records of a tick, as the program has them.
const BLOCK: u64 = 16_384;

const EPOCH: u64 = 1;

/// One record in so many changes in a month.
const CHANGES: u64 = 25;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        [] => measure(50_000_000),
        ["real"] => real::tell(),
        ["restored", folder, number] => number.parse().map_err(Into::into).and_then(|number| restored(folder.as_ref(), number)),
        ["loaded", folder, number] => number.parse().map_err(Into::into).and_then(|number| loaded(folder.as_ref(), number)),
        [number] => number.parse().context("neither \"real\" nor a number of links").and_then(measure),
        _ => Err(anyhow::anyhow!("too many arguments")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Makes a state, and has it taken up.
fn measure(number: u64) -> Result<()> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut state = State::open(&folder.path().into())?;
    write(&mut state, Part::of_links(number))?;
    for what in ["restored", "loaded"] {
        let status = Command::new(std::env::current_exe()?).arg(what).arg(folder.path()).arg(number.to_string()).status()?;
        ensure!(status.success(), "{what}: {status}");
    }
    Ok(())
}

fn write(state: &mut State, part: Part) -> Result<()> {
    let (dictionary, mut used) = (Dictionary::default(), RoaringBitmap::new());
    let (mut rows, mut shared, mut records, mut coded) = (Vec::new(), Vec::new(), 0, Vec::new());
    for key in part.keys() {
        records += 1;
        coded.extend(part.links(key).iter().map(|link| Coded::of(link, &dictionary)));
        coded.sort_unstable();
        coded.dedup();
        for link in coded.drain(..) {
            used.extend(link.codes());
            rows.push((key, link));
            shared.extend(link.kind().is_some_and(LinkKind::is_shared).then(|| EdgeId::of(key, link)));
        }
    }
    shared.sort_unstable();
    let shared: Vec<(EdgeId, u32)> = shared.chunk_by(|a, b| a == b).map(|same| (same[0], same.len() as u32)).collect();

    println!("{records} records, {} links, {} shared edges\n", rows.len(), shared.len());
    gauge::time_table();
    let links = written("links written", state, &rows)?;
    let edges = written("shared edges written", state, &shared)?;
    let manifest = state.manifest().clone();
    let dictionary = state::save_dictionary(state.storage(), &manifest, &dictionary, &used)?;
    // Of the fingerprints nothing but their number is asked for.
    let parts = vec![state::Part { file: "none".to_owned(), rows: records, worker: 0, workers: 1, processes: 1 }];
    let kept = state::Links { version: 1, complete: PerKind::default(), links: vec![links], edges: vec![edges], dictionary };
    state.replace(Manifest { generation: manifest.generation + 1, parts, links: Some(kept), ..manifest })?;
    Ok(())
}

/// Writes a part, by turns with a plain file of the same size, which stays for [`restored`] to read.
fn written<R: Row>(what: &str, state: &State, rows: &[R]) -> Result<state::Part> {
    let (storage, manifest, bytes) = (state.storage(), state.manifest(), rows.len() * R::SIZE);
    let folder = storage.folder().context("a folder")?;
    let ours = || {
        let mut writer = PartWriter::create(storage, manifest.state, manifest.generation + 1, Seat::ALONE)?;
        rows.iter().try_for_each(|row| writer.push(*row))?;
        Ok(writer.finish()?)
    };
    Ok(by_turns(what, bytes, ours, || gauge::write_plain(&folder.join(R::ENDING), bytes))?.0)
}

/// Takes a generation up, as one worker, and commits a month to it.
fn restored(folder: &Path, number: u64) -> Result<()> {
    let state = State::look(&folder.into())?;
    let (storage, manifest) = (state.storage(), state.manifest());
    let kept = manifest.links.as_ref().context("no links")?;
    let (number_of_links, number_of_edges) = (kept.links[0].rows, kept.edges[0].rows);
    let (links, edges) = (|| Ok(Links::restore(storage, manifest, Seat::ALONE)?), || Ok(Edges::restore(storage, manifest, Seat::ALONE)?));

    let memory = Memory::begin()?;
    let dictionary = Arc::new(state::load_dictionary(storage, manifest)?);
    let of_texts = memory.taken()?;
    let memory = Memory::begin()?;
    let own = links()?;
    let of_links = memory.taken()?;
    let memory = Memory::begin()?;
    let shared = edges()?;
    let of_edges = memory.taken()?;
    drop((own, shared));

    let bytes = (number_of_links as usize * <(Key, Coded)>::SIZE, number_of_edges as usize * <(EdgeId, u32)>::SIZE);
    let own = by_turns("links restored", bytes.0, links, || gauge::read_plain(&folder.join(<(Key, Coded)>::ENDING)))?.0;
    let shared = by_turns("shared edges restored", bytes.1, edges, || gauge::read_plain(&folder.join(<(EdgeId, u32)>::ENDING)))?.0;

    gauge::memory_table();
    of_links.tell("links", number_of_links);
    of_edges.tell("shared edges", number_of_edges);
    let length = fs::metadata(folder.join(&kept.dictionary.file))?.len() / kept.dictionary.texts - 8;
    of_texts.tell(&format!("texts, {length} bytes long"), kept.dictionary.texts);
    let part = Part::of_links(number);
    let changed = part.keys().filter(|key| key.id().is_multiple_of(CHANGES));
    Kept { links: own, edges: shared, dictionary }.month("a month", changed, |key| part.changed(key), storage)?;
    let each = of_links.rest / number_of_links as f64;
    let with_edges = each + of_edges.rest / number_of_links as f64;
    println!("a link takes {each:.1} bytes, together with the shared edges {with_edges:.1}");
    ensure!(with_edges <= LIMIT, "a link takes more than {LIMIT} bytes of memory");
    Ok(())
}

/// Commits everything, as a first load does, where the dictionary is known already.
fn loaded(folder: &Path, number: u64) -> Result<()> {
    let state = State::look(&folder.into())?;
    let storage = state.storage();
    let dictionary = Arc::new(state::load_dictionary(storage, state.manifest())?);
    let nothing = Manifest::new();
    let (links, edges) = (Links::restore(storage, &nothing, Seat::ALONE)?, Edges::restore(storage, &nothing, Seat::ALONE)?);
    let part = Part::of_links(number);
    gauge::memory_table();
    Kept { links, edges, dictionary }.month("a first load", part.keys(), |key| part.links(key), storage)
}

struct Kept {
    links: Links,
    edges: Edges,
    dictionary: Arc<Dictionary>,
}

impl Kept {
    /// Runs the records of a month through the operators, each block in a tick of its own, and saves.
    fn month(
        self,
        what: &str,
        keys: impl Iterator<Item = Key>,
        links_of: impl Fn(Key) -> Vec<Link<Box<str>>>,
        storage: &Storage,
    ) -> Result<()> {
        let (own, shared) = (Rc::new(RefCell::new(self.links)), Rc::new(RefCell::new(self.edges)));
        let (before, begun, mut changes) = (Memory::begin()?, Instant::now(), 0);
        let allocator = timely::communication::Allocator::Thread(Default::default());
        let mut worker = timely::worker::Worker::new(timely::WorkerConfig::default(), allocator, None);
        let probe = ProbeHandle::new();
        let mut input = worker.dataflow::<u64, _, _>(|scope| {
            let (input, events) = scope.new_input::<Vec<Event>>();
            let (flow, budget) = (Flow { graph: true, mended: PerKind::default() }, Arc::new(Budget::new(1 << 28)));
            let journal = Journal::new(None, Arc::clone(&budget));
            let (ground, measures) =
                (Ground { dictionary: Arc::clone(&self.dictionary), flow, journal, peers: Peers::alone(1) }, Measures::default());
            let (one, assertions) = links(events, empty(scope), Rc::clone(&own), ground.clone(), measures.recorder(RunStage::Links));
            let other = edges(assertions, Rc::clone(&shared), ground, EPOCH, budget, measures.recorder(RunStage::Edges));
            scope.concatenate([one, other]).probe_with(&probe);
            input
        });
        for key in keys {
            let tick = first_tick(EPOCH, key.kind()) + key.id() / BLOCK;
            if tick != *input.time() {
                input.advance_to(tick);
                worker.step_while(|| probe.less_than(&tick));
            }
            let properties = Properties { title: None, year: None, formats: Vec::new(), catalog_number: None };
            let graph = Some((Digest::of(b""), Arc::new(Projection::new(properties, links_of(key)))));
            input.send(Event::Change(Change { key, verdict: Verdict::Update, tick, document: None, graph }));
            changes += 1;
        }
        input.close();
        worker.step_while(|| !probe.done());
        let seconds = begun.elapsed().as_secs_f64();
        drop(worker);

        let taken = before.taken()?;

        let (mut used, next, begun) = (RoaringBitmap::new(), Manifest::new(), Instant::now());
        let rows = own.borrow_mut().save(storage, &next, OTHER, &mut used)?.rows;
        let saved = begun.elapsed().as_secs_f64();
        let edges = shared.borrow_mut().save(storage, &next, OTHER, &mut used)?.rows;
        taken.tell(&format!("more after {what}"), rows + edges);
        println!("\n{what}: {changes} records in {seconds:.1} s; saved in {saved:.1} s: {rows} links, beside {edges} shared edges");
        Ok(())
    }
}
