//! The links' oracle: the edges of all records, computed anew each month by a plain program, must equal what a graph that was told the
//! differences only has come to; and no difference is told that is none.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use discodiff::model::graph::{Edge, Family, Node, Relation};
use discodiff::model::{Key, Kind, PerKind, Verdict};
use discodiff::refresh::{Allowed, Refreshed, Request, refresh};
use discodiff::sinks::{
    Batch, Epoch, Graph, GraphSize, GraphWritten, Holds, KindEnd, Need, Run, Sink, SinkError, Standing, StoredEdge, StoredName, StoredNode,
    Tally, Writer, Writers, Written,
};
use discodiff::sources::BlockSize;
use discodiff::telemetry::{Progress, Style};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use roaring::RoaringTreemap;
use uuid::Uuid;

/// A record: what its node says and what it asserts, in the plainest form.
#[derive(Clone, Debug, PartialEq)]
struct Record {
    title: u8,
    /// A title's spelling that changes the bytes and the document, and nothing that the graph holds.
    notes: u8,
    first: Vec<u64>,
    second: Vec<u64>,
    third: Vec<u64>,
    genres: Vec<u8>,
    styles: Vec<u8>,
    credits: Vec<(u8, Option<u8>, Option<u64>)>,
}

type Held = BTreeMap<(Kind, u64), Record>;

fn key(kind: Kind, id: u64) -> Key {
    Key::new(kind, id).expect("an id")
}

fn node(kind: Kind, id: u64) -> Node {
    Node::Record(key(kind, id))
}

impl Record {
    fn xml(&self, kind: Kind, id: u64) -> String {
        let Record { title, notes, first, second, third, genres, styles, credits } = self;
        let list = |ids: &[u64], each: &dyn Fn(u64) -> String| ids.iter().map(|id| each(*id)).collect::<String>();
        let artists = format!("<artists>{}</artists>", list(first, &|id| format!("<artist><id>{id}</id><name>A{id}</name></artist>")));
        let named = |names: &[u8], tag: &str| {
            let each: String = names.iter().map(|name| format!("<{tag}>{tag}{name}</{tag}>")).collect();
            format!("<{tag}s>{each}</{tag}s>")
        };
        let both = named(genres, "genre") + &named(styles, "style");
        match kind {
            Kind::Artist => {
                let names = |ids: &[u64]| list(ids, &|id| format!("<name id=\"{id}\">A{id}</name>"));
                format!(
                    "<artist><id>{id}</id><name>T{title}</name><profile>{notes}</profile><aliases>{}</aliases><members>{}</members><groups>{}</groups></artist>",
                    names(first),
                    names(second),
                    names(third)
                )
            }
            Kind::Label => format!(
                "<label><id>{id}</id><name>T{title}</name><profile>{notes}</profile>{}<sublabels>{}</sublabels></label>",
                first.first().map_or(String::new(), |parent| format!("<parentLabel id=\"{parent}\">L</parentLabel>")),
                list(second, &|id| format!("<label id=\"{id}\">L{id}</label>"))
            ),
            Kind::Master => format!("<master id=\"{id}\">{artists}{both}<title>T{title}</title><notes>{notes}</notes></master>"),
            Kind::Release => {
                let labels = list(second, &|id| match id % 3 {
                    0 => format!("<label name=\"L{id}\" id=\"{id}\"/>"),
                    n => format!("<label name=\"L{id}\" catno=\"C{n}\" id=\"{id}\"/>"),
                });
                let credits: String = credits
                    .iter()
                    .map(|(name, role, id)| {
                        let role = role.map_or(String::new(), |role| format!("<role>R{role}</role>"));
                        let id = id.map_or(String::new(), |id| format!("<id>{id}</id>"));
                        format!("<artist>{id}<name>P{name}</name>{role}</artist>")
                    })
                    .collect();
                let master = third.first().map_or(String::new(), |id| format!("<master_id>{id}</master_id>"));
                format!(
                    "<release id=\"{id}\">{artists}<title>T{title}</title><labels>{labels}</labels><extraartists>{credits}</extraartists>{both}<notes>{notes}</notes>{master}</release>"
                )
            }
        }
    }

    /// Every edge that this record asserts.
    fn edges(&self, kind: Kind, id: u64, all: &mut BTreeSet<Edge>) {
        let own = || node(kind, id);
        let mut add = |relation, source, target, property: Option<String>| {
            all.insert(Edge { relation, source, target, property: property.map(Arc::from) });
        };
        let artist = |id: &u64| node(Kind::Artist, *id);
        let label = |id: &u64| node(Kind::Label, *id);
        match kind {
            Kind::Artist => {
                self.first.iter().for_each(|id| add(Relation::AliasOf, artist(id), own(), None));
                self.second.iter().for_each(|id| add(Relation::MemberOf, artist(id), own(), None));
                self.third.iter().for_each(|id| add(Relation::MemberOf, own(), artist(id), None));
                return;
            }
            Kind::Label => {
                self.first.iter().take(1).for_each(|id| add(Relation::SublabelOf, own(), label(id), None));
                self.second.iter().for_each(|id| add(Relation::SublabelOf, label(id), own(), None));
                return;
            }
            Kind::Master => {}
            Kind::Release => {
                self.second.iter().for_each(|id| {
                    add(Relation::On, own(), label(id), Some(id % 3).filter(|n| *n > 0).map(|n| format!("C{n}")));
                });
                self.third.iter().take(1).for_each(|id| add(Relation::DerivedFrom, own(), node(Kind::Master, *id), None));
                for (name, role, artist) in &self.credits {
                    let person = || Node::Person(format!("P{name}").into());
                    add(Relation::CreditedOn, person(), own(), role.map(|role| format!("R{role}")));
                    artist.iter().for_each(|artist| add(Relation::SameAs, person(), node(Kind::Artist, *artist), None));
                }
            }
        }
        self.first.iter().for_each(|id| add(Relation::By, own(), artist(id), None));
        let genre = |name: u8| Node::Genre(format!("genre{name}").into());
        let style = |name: &u8| Node::Style(format!("style{name}").into());
        self.genres.iter().for_each(|name| add(Relation::Is, own(), genre(*name), None));
        self.styles.iter().for_each(|name| add(Relation::Is, own(), style(name), None));
        if BTreeSet::from_iter(&self.genres).len() == 1 {
            self.styles.iter().for_each(|name| add(Relation::PartOf, style(name), genre(self.genres[0]), None));
        }
    }
}

/// What a graph has been told, and takes nothing that it was told before.
#[derive(Debug, Default)]
struct Told {
    /// After so many batches the run fails.
    fails_after: Option<usize>,
    /// A run of the epoch has failed: what that wrote may come again.
    again: bool,
    standing: Option<Standing>,
    nodes: BTreeMap<Key, Option<Box<str>>>,
    edges: BTreeSet<Edge>,
    /// Nodes and edges written in the last run.
    written: usize,
}

#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Told>>);

impl Recorder {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().expect("no test has panicked with it")
    }
}

struct Telling(Recorder, Run);

/// A writer's thread must not panic: an error ends the run with these words.
fn must(holds: bool, words: impl FnOnce() -> String) -> Result<(), SinkError> {
    if holds { Ok(()) } else { Err(SinkError::stop(words())) }
}

impl Writer for Telling {
    fn write(&mut self, batch: &Batch, _attempt: u32) -> Result<Written, SinkError> {
        let mut told = self.0.told();
        if let Some(left) = told.fails_after {
            // Time for checkpoints.
            std::thread::sleep(Duration::from_millis(5));
            told.fails_after = Some(left.checked_sub(1).ok_or_else(|| SinkError::stop("as it should"))?);
        }
        let again = told.again;
        let mut tally = Tally::default();
        for change in &batch.changes {
            let changes_only = self.1.kinds[change.key.kind()].as_ref().is_some_and(|kind| kind.need == Need::Changes);
            if change.verdict == Verdict::Delete {
                let there = told.nodes.remove(&change.key).is_some();
                must(again || !changes_only || there, || format!("{} is deleted and was not there", change.key))?;
                tally.deleted += 1;
                continue;
            }
            let Some((_, projection)) = &change.graph else { return Err(SinkError::stop(format!("{} without a projection", change.key))) };
            let known = told.nodes.insert(change.key, projection.properties.title.clone());
            let told_so = known.is_some() == (change.verdict == Verdict::Update);
            must(again || !changes_only || told_so, || format!("{} {:?}", change.key, change.verdict))?;
            told.written += 1;
        }
        for change in &batch.edges {
            let new = match change.added {
                true => told.edges.insert(change.edge.clone()),
                false => told.edges.remove(&change.edge),
            };
            must(again || new, || format!("{} {} is no difference", change.edge, if change.added { "added" } else { "removed" }))?;
            told.written += 1;
        }
        Ok(Written { tally, fields: Vec::new() })
    }

    fn stored_ids(&mut self, kind: Kind) -> Result<(RoaringTreemap, u64), SinkError> {
        Ok((self.0.told().nodes.keys().filter(|key| key.kind() == kind).map(|key| key.id()).collect(), 0))
    }
}

impl Sink for Recorder {
    fn name(&self) -> &'static str {
        "neo4j"
    }

    fn holds(&self) -> Holds {
        Holds::Graph
    }

    fn writers(&self) -> Writers {
        Writers::First
    }

    fn standing(&mut self) -> Result<Standing, SinkError> {
        let nowhere = Standing { state: None, store: Some(Uuid::from_u128(7)), kinds: PerKind::default(), begun: PerKind::default() };
        Ok(self.told().standing.clone().unwrap_or(nowhere))
    }

    fn begin(&mut self, run: &Run) -> Result<Vec<Box<dyn Writer>>, SinkError> {
        let mut standing = self.standing()?;
        standing.state = Some(run.state);
        for kind in Kind::ALL.into_iter().filter(|kind| run.kinds[*kind].is_some()) {
            standing.begun[kind] = Some(run.epoch);
        }
        let mut told = self.told();
        told.standing = Some(standing);
        told.written = 0;
        drop(told);
        Ok(vec![Box::new(Telling(self.clone(), run.clone()))])
    }

    fn complete(&mut self, _run: &Run, ends: &PerKind<Option<KindEnd>>) -> Result<(), SinkError> {
        must(self.told().fails_after.is_none(), || "as it should".to_owned())?;
        let mut standing = self.standing()?;
        for kind in Kind::ALL {
            if let Some(KindEnd { epoch, current: true, .. }) = ends[kind] {
                standing.kinds[kind] = Some(epoch);
                standing.begun[kind] = None::<Epoch>;
            }
        }
        self.told().standing = Some(standing);
        Ok(())
    }

    fn graph(&mut self) -> Option<&mut dyn Graph> {
        Some(self)
    }
}

impl Graph for Recorder {
    fn written(&self) -> GraphWritten {
        GraphWritten::default()
    }

    fn size(&mut self) -> Result<GraphSize, SinkError> {
        let told = self.told();
        Ok(GraphSize { nodes: told.nodes.len() as u64, relationships: told.edges.len() as u64 })
    }

    fn ids(&mut self, kind: Kind) -> Result<(RoaringTreemap, Vec<String>), SinkError> {
        let told = self.told();
        let ends = told.edges.iter().flat_map(|edge| [&edge.source, &edge.target]);
        let ends = ends.filter_map(|node| if let Node::Record(key) = node { Some(*key) } else { None });
        Ok((told.nodes.keys().copied().chain(ends).filter(|key| key.kind() == kind).map(Key::id).collect(), Vec::new()))
    }

    fn nodes(&mut self, _kind: Kind, _ids: &[u64]) -> Result<Vec<StoredNode>, SinkError> {
        unreachable!("only verify asks")
    }

    fn names(&mut self, _label: &'static str, _each: &mut dyn FnMut(StoredName<'_>)) -> Result<(), SinkError> {
        unreachable!("only verify asks")
    }

    fn edges(&mut self, family: Family, ids: &[u64]) -> Result<Vec<StoredEdge>, SinkError> {
        let anchor = |edge: &Edge| match family {
            Family::PartOf => true,
            _ => [&edge.source, &edge.target].into_iter().any(|node| match node {
                Node::Record(key) => Some(key.kind()) == family.anchor() && ids.contains(&key.id()) && at(edge) == node,
                _ => false,
            }),
        };
        let told = self.told();
        let edges = told.edges.iter().filter(|edge| edge.family() == family && anchor(edge));
        Ok(edges.map(|edge| StoredEdge { element: edge.to_string(), edge: Ok(edge.clone()) }).collect())
    }

    fn mend(&mut self, added: &[Edge], removed: &[String]) -> Result<(), SinkError> {
        let mut told = self.told();
        for element in removed {
            let edge = told.edges.iter().find(|edge| edge.to_string() == *element).expect("an edge that is there").clone();
            told.edges.remove(&edge);
        }
        for edge in added {
            must(told.edges.insert(edge.clone()), || format!("{edge} was there"))?;
        }
        told.written += added.len() + removed.len();
        Ok(())
    }

    fn strip(&mut self, _label: &'static str, _elements: &[String]) -> Result<(), SinkError> {
        unreachable!("only a repair asks")
    }

    fn remove_nodes(&mut self, _elements: &[String]) -> Result<(), SinkError> {
        unreachable!("only a repair asks")
    }
}

/// The end at which an edge is looked for.
fn at(edge: &Edge) -> &Node {
    match edge.relation {
        Relation::AliasOf | Relation::CreditedOn | Relation::SameAs => &edge.target,
        _ => &edge.source,
    }
}

#[derive(Clone, Debug)]
struct Month {
    records: Held,
    absent: Vec<Kind>,
    /// Kinds whose closing root tag is missing.
    cut: Vec<Kind>,
    graph: bool,
    workers: usize,
    block: usize,
    /// Runs that fail: after how many batches, and with how many workers.
    failures: Vec<(usize, usize)>,
}

fn write(folder: &Path, month: &Month) {
    for kind in Kind::ALL {
        let path = folder.join(format!("discogs_20260101_{}.xml", kind.plural()));
        if month.absent.contains(&kind) {
            let _ = std::fs::remove_file(path);
            continue;
        }
        let records = month.records.iter().filter(|((of, _), _)| *of == kind);
        let xml: String = records.map(|((kind, id), record)| record.xml(*kind, *id) + "\n").collect();
        let end = if month.cut.contains(&kind) { String::new() } else { format!("</{}>\n", kind.plural()) };
        std::fs::write(path, format!("<{}>\n{xml}{end}", kind.plural())).expect("written");
    }
}

fn check(months: &[Month]) -> usize {
    let mut resumed = 0;
    let folder = tempfile::tempdir().expect("temporary folder");
    let (dumps, state) = (folder.path().join("dumps"), folder.path().join("state"));
    std::fs::create_dir(&dumps).expect("created");
    let graph = Recorder::default();
    let mut held = Held::new();
    for month in months.iter().filter(|month| month.absent.len() < 4) {
        write(&dumps, month);
        let before = held.clone();
        for kind in Kind::ALL.into_iter().filter(|kind| !month.absent.contains(kind)) {
            if !month.cut.contains(&kind) {
                held.retain(|(of, _), _| *of != kind);
            }
            held.extend(month.records.iter().filter(|((of, _), _)| *of == kind).map(|(key, record)| (*key, record.clone())));
        }
        let request = Request {
            state: state.as_path().into(),
            workers: month.workers,
            cluster: None,
            block: BlockSize { records: month.block, bytes: 1 << 20 },
            memory: 64 << 20,
            delete_limit_percent: 1.0,
            reject_limit_percent: 100.0,
            allowed: Allowed::default(),
            checkpoint_interval: Duration::ZERO,
            stop: Arc::default(),
            progress: Arc::new(Progress::new(Style::Quiet)),
            measures: Arc::default(),
        };
        let was_current = graph.told().standing.is_some();
        let sinks = || Ok(if month.graph { vec![Box::new(graph.clone()) as Box<dyn Sink>] } else { Vec::new() });
        for (after, workers) in month.failures.iter().filter(|_| month.graph) {
            graph.told().fails_after = Some(*after);
            let failed = refresh(&Request { workers: *workers, ..request.clone() }, &dumps, sinks);
            assert!(failed.is_err() || failed.is_ok_and(|refreshed| refreshed.report.kinds.is_empty()));
            graph.told().again = true;
        }
        graph.told().fails_after = None;
        let refreshed = refresh(&request, &dumps, sinks).expect("refreshed");
        resumed += usize::from(refreshed.report.resumed_from.is_some());
        graph.told().again = false;
        let told = graph.told();
        if !month.graph || !refreshed.notes.behind.is_empty() {
            continue;
        }
        let edges = |held: &Held| {
            let mut all = BTreeSet::new();
            held.iter().for_each(|((kind, id), record)| record.edges(*kind, *id, &mut all));
            all
        };
        let nodes: BTreeMap<Key, _> =
            held.iter().map(|((kind, id), record)| (key(*kind, *id), Some(Box::from(format!("T{}", record.title))))).collect();
        assert_eq!(told.nodes, nodes);
        let now = edges(&held);
        assert_eq!(told.edges, now);
        if was_current && refreshed.notes.brought_up.is_empty() && refreshed.report.kinds.len() == 4 && before == held {
            assert_eq!(told.written, 0, "nothing that a graph holds has changed");
        }
    }
    resumed
}

fn record() -> impl Strategy<Value = Record> {
    let ids = || prop::collection::vec(1..9u64, 0..3);
    let names = || prop::collection::vec(0..3u8, 0..3);
    let credit = (0..3u8, prop::option::of(0..2u8), prop::option::of(1..9u64));
    ((0..2u8, 0..3u8), (ids(), ids(), ids()), (names(), names()), prop::collection::vec(credit, 0..3)).prop_map(
        |((title, notes), (first, second, third), (genres, styles), credits)| Record {
            title,
            notes,
            first,
            second,
            third,
            genres,
            styles,
            credits,
        },
    )
}

fn kinds(each: f64) -> impl Strategy<Value = Vec<Kind>> {
    prop::collection::vec(prop::bool::weighted(each), 4)
        .prop_map(|chosen| Kind::ALL.into_iter().zip(chosen).filter(|(_, chosen)| *chosen).map(|(kind, _)| kind).collect())
}

/// What a month does to the month before: most records stay, as they mostly do.
fn months(failures: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Month>> {
    let kind = prop::sample::select(&Kind::ALL[..]);
    let edits = prop::collection::vec(((kind, 1..9u64), prop::option::weighted(0.8, record())), 0..16);
    let failures = prop::collection::vec((0..12usize, 1..=4usize), failures);
    let month = (edits, kinds(0.06), kinds(0.04), prop::bool::weighted(0.85), 1..=4usize, 1..8usize, failures);
    prop::collection::vec(month, 1..6).prop_map(|months| {
        let mut records = Held::new();
        let each = months.into_iter().map(|(edits, absent, cut, graph, workers, block, failures)| {
            for (key, record) in edits {
                match record {
                    Some(record) => drop(records.insert(key, record)),
                    None => drop(records.remove(&key)),
                }
            }
            Month { records: records.clone(), absent, cut, graph, workers, block, failures }
        });
        each.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// For random months of all kinds, absent and cut dumps among them, a graph that is named from the start, later, or not each month,
    /// and one to four workers that change from month to month.
    #[test]
    fn edges_told_as_differences_are_those_of_all_records_computed_anew(months in months(0..1)) {
        check(&months);
    }
}

/// The same where runs fail at any batch and are taken up with another number of workers.
#[test]
fn edges_of_runs_that_fail_anywhere_and_are_taken_up_are_the_same() {
    let mut runner = TestRunner::new(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() });
    let resumed = AtomicUsize::new(0);
    let checked = runner.run(&months(0..4), |months| {
        resumed.fetch_add(check(&months), Ordering::Relaxed);
        Ok(())
    });
    checked.unwrap_or_else(|error| panic!("{error}"));
    println!("{resumed:?} runs went on where another had come to");
    assert!(resumed.into_inner() >= 20, "they are taken up, and do not only begin anew");
}

/// Releases that are all credited to one person each, whose name is as long as this.
fn credited(folder: &Path, number: u64, name: usize) {
    std::fs::create_dir_all(folder).expect("created");
    let name = "N".repeat(name);
    let each = |id| {
        format!(
            "<release id=\"{id}\"><title>T</title><extraartists><artist><id>{id}</id><name>{name}{id}</name></artist></extraartists></release>\n"
        )
    };
    let xml = format!("<releases>\n{}</releases>\n", (1..=number).map(each).collect::<String>());
    std::fs::write(folder.join("discogs_20260101_releases.xml"), xml).expect("written");
}

/// Loads so many releases, and takes them all away; what that came to.
fn taken_away(number: u64, name: usize, memory: usize) -> Refreshed {
    let folder = tempfile::tempdir().expect("temporary folder");
    let dumps = folder.path().join("dumps");
    let graph = Recorder::default();
    let stop = Arc::<std::sync::atomic::AtomicBool>::default();
    let request = Request {
        state: folder.path().join("state").into(),
        workers: 2,
        cluster: None,
        block: BlockSize { records: 16_384, bytes: 1 << 20 },
        memory,
        delete_limit_percent: 1.0,
        reject_limit_percent: 100.0,
        allowed: Allowed { deletes: true, older: false, retry: false },
        checkpoint_interval: Duration::from_secs(30),
        stop: Arc::clone(&stop),
        progress: Arc::new(Progress::new(Style::Quiet)),
        measures: Arc::default(),
    };
    let sinks = || Ok(vec![Box::new(graph.clone()) as Box<dyn Sink>]);
    // A run that waits for itself ends all the same.
    let (done, waits) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        if waits.recv_timeout(std::time::Duration::from_secs(60)) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    });
    credited(&dumps, number, name);
    refresh(&request, &dumps, sinks).expect("refreshed");
    assert_eq!(graph.told().edges.len() as u64, 2 * number);
    credited(&dumps, 0, 0);
    let refreshed = refresh(&request, &dumps, sinks).expect("refreshed");
    drop(done);
    assert_eq!(graph.told().edges.len(), 0);
    refreshed
}

#[test]
fn links_shared_edges_and_writes_to_a_graph_are_stages_with_as_many_records_as_went_through_them() {
    let stages = taken_away(300, 20, 1 << 30).report.stages;
    let records = |name| {
        let stage = stages.iter().find(|stage| stage.name == name);
        stage.unwrap_or_else(|| panic!("no {name} in {stages:?}")).records
    };
    // Of each release two edges go: one that it alone asserts, and one that another could assert too.
    assert_eq!([records("links"), records("edges"), records("write")], [300, 300, 3 * 300]);
}

#[test]
fn edges_in_flight_are_counted_and_bounded() {
    let peak = taken_away(3_000, 2_000, 1 << 30).notes.peak_in_flight;
    assert!(peak > 3_000 * 2_000, "{peak} bytes were counted, and edges of more than six million flowed in one tick");
}

#[test]
fn what_waits_for_room_in_flight_never_waits_for_itself() {
    taken_away(50_000, 1, 1 << 16);
}
