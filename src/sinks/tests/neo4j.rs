//! What Neo4j promises, on the server that `DISCODIFF_TEST_NEO4J` names, whose database it empties.

use std::error::Error;
use std::io::{Read, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use neo4rs::{BoltType, ConfigBuilder, Query};
use roaring::RoaringTreemap;
use url::Url;
use uuid::Uuid;

use super::harness::{Outcome, ends, epoch, gone, key, letter, run};
use crate::model::graph::{Edge, EdgeChange, Family, Node, Projection, Properties, Relation};
use crate::model::{Change, Event, Kind, PerKind, Verdict};
use crate::sinks::driver::{Driver, Missed, Part};
use crate::sinks::neo4j::Neo4j;
use crate::sinks::neo4j::edges::SHAPES;
use crate::sinks::{Access, Batch, Class, Graph, GraphSize, KindEnd, Need, Run, Sink, SinkError, StoredEdge, Tally, Writer, Written};
use crate::sources::{Budget, Holder, Stop};

/// The one database of a server, for one test at a time.
struct InGraph {
    url: String,
    runtime: tokio::runtime::Runtime,
    graph: neo4rs::Graph,
    _alone: MutexGuard<'static, ()>,
}

impl InGraph {
    /// Empty; `None`, with a word, where no server is named.
    fn new() -> Result<Option<InGraph>, Box<dyn Error>> {
        static ALONE: Mutex<()> = Mutex::new(());
        let Ok(url) = std::env::var("DISCODIFF_TEST_NEO4J") else {
            println!("skipped: DISCODIFF_TEST_NEO4J is not set (scripts/services.sh start neo4j, then env)");
            return Ok(None);
        };
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let parsed = Url::parse(&url)?;
        let config =
            ConfigBuilder::default().uri(format!("bolt://{}:{}", parsed.host_str().unwrap_or_default(), parsed.port().unwrap_or(7687)));
        let config = config.user(parsed.username()).password(parsed.password().unwrap_or_default()).build()?;
        let graph = {
            let _inside = runtime.enter();
            neo4rs::Graph::connect(config)?
        };
        let store = InGraph { url, runtime, graph, _alone: alone };
        store.cypher("MATCH (n) CALL { WITH n DETACH DELETE n } IN TRANSACTIONS OF 5000 ROWS")?;
        Ok(Some(store))
    }

    fn open(&self) -> Result<Neo4j, SinkError> {
        Neo4j::open(&self.url, None, Access::Write)
    }

    /// Runs a statement past the sink; column `v` of its rows, as text.
    fn cypher(&self, text: &str) -> Result<Vec<String>, Box<dyn Error>> {
        self.runtime.block_on(async {
            let mut rows = self.graph.execute(Query::new(text.to_owned())).await?;
            let mut found = Vec::new();
            while let Some(row) = rows.next().await? {
                found.push(match row.get::<BoltType>("v")? {
                    BoltType::String(text) => text.value,
                    BoltType::Integer(number) => number.value.to_string(),
                    other => format!("{other:?}"),
                });
            }
            Ok(found)
        })
    }

    /// All edges, in words, sorted.
    fn edges(&self) -> Result<Vec<String>, Box<dyn Error>> {
        self.cypher(
            "MATCH (s)-[e]->(t) WITH coalesce(s.id, s.name) + ' ' + type(e) + ' ' + coalesce(t.id, t.name) AS edge, e
             RETURN edge + coalesce(' ' + e.catno, '') + coalesce(' ' + e.role, '') + coalesce('/' + e.category, '') AS v ORDER BY v",
        )
    }

    /// All nodes but discodiff's own, in words, sorted.
    fn nodes(&self) -> Result<Vec<String>, Box<dyn Error>> {
        self.cypher(
            "MATCH (n) WHERE NOT labels(n)[0] STARTS WITH 'Discodiff'
             RETURN labels(n)[0] + ' ' + coalesce(n.id, n.name) + CASE WHEN n.stub THEN ' stub' ELSE '' END AS v ORDER BY v",
        )
    }

    /// A whole run of one batch.
    fn apply(&self, run: &Run, batch: &Batch) -> Result<Written, Box<dyn Error>> {
        let mut sink = self.open()?;
        let written = begin(&mut sink, run)?.write(batch, 0)?;
        sink.complete(run, &ends(run))?;
        Ok(written)
    }
}

fn in_graph(test: impl FnOnce(&InGraph) -> Outcome) -> Outcome {
    InGraph::new()?.map_or(Ok(()), |store| test(&store))
}

fn begin(sink: &mut Neo4j, run: &Run) -> Result<Box<dyn Writer>, Box<dyn Error>> {
    sink.begin(run)?.into_iter().next().ok_or_else(|| "no writer".into())
}

fn titled(title: &str) -> Projection<Box<str>> {
    let properties = Properties { title: Some(title.into()), year: None, formats: Vec::new(), catalog_number: None };
    Projection { properties, links: Vec::new() }
}

fn projected(kind: Kind, id: u64, verdict: Verdict, projection: Projection<Box<str>>) -> Change {
    let digest = projection.digest(id, &mut Vec::new());
    Change { key: key(kind, id), verdict, tick: 1, document: None, graph: Some((digest, Arc::new(projection))) }
}

fn record(kind: Kind, id: u64, title: &str) -> Change {
    projected(kind, id, Verdict::Insert, titled(title))
}

fn of(kind: Kind, id: u64) -> Node {
    Node::Record(key(kind, id))
}

fn edge(source: Node, relation: Relation, target: Node, property: Option<&str>) -> Edge {
    Edge { relation, source, target, property: property.map(Arc::from) }
}

fn by(release: u64, artist: u64) -> Edge {
    edge(of(Kind::Release, release), Relation::By, of(Kind::Artist, artist), None)
}

fn on(release: u64, label: u64, catno: Option<&str>) -> Edge {
    edge(of(Kind::Release, release), Relation::On, of(Kind::Label, label), catno)
}

fn credited(name: &str, role: Option<&str>, release: u64) -> Edge {
    edge(Node::Person(name.into()), Relation::CreditedOn, of(Kind::Release, release), role)
}

fn is(release: u64, genre: &str) -> Edge {
    edge(of(Kind::Release, release), Relation::Is, Node::Genre(genre.into()), None)
}

/// A batch of changes, edges that come and edges that go.
fn batch(number: u64, changes: Vec<Change>, came: &[Edge], went: &[Edge]) -> Batch {
    let change = |added| move |edge: &Edge| EdgeChange { added, edge: edge.clone(), tick: number };
    let edges = went.iter().map(change(false)).chain(came.iter().map(change(true))).collect();
    Batch { number, tick: number, changes, edges, ..Batch::default() }
}

fn tally(inserted: u64, updated: u64, deleted: u64) -> Tally {
    Tally { inserted, updated, deleted }
}

fn refused<T>(result: Result<T, SinkError>, class: Class, words: &str) -> Outcome {
    let error = result.err().ok_or("not refused")?;
    assert!(error.class == class && error.to_string().contains(words), "{:?}: {error}", error.class);
    Ok(())
}

#[test]
fn every_edge_and_node_is_there_as_readers_expect_it_and_reads_back() -> Outcome {
    in_graph(|store| {
        let release = Projection {
            properties: Properties {
                title: Some("It's \"\\\u{0}\n日本".into()),
                year: Some(1999),
                formats: vec!["Vinyl".into(), "CD".into()],
                catalog_number: Some("C 1".into()),
            },
            links: Vec::new(),
        };
        let bare = Projection { properties: Properties { title: None, ..titled("").properties }, links: Vec::new() };
        let changes = vec![
            record(Kind::Artist, 1, "A"),
            record(Kind::Label, 1, "L"),
            record(Kind::Master, 1, "M"),
            projected(Kind::Release, 1, Verdict::Insert, release.clone()),
            projected(Kind::Release, 2, Verdict::Update, bare.clone()),
        ];
        let (genre, style) = (|| Node::Genre("Rock".into()), || Node::Style("Punk".into()));
        let edges = [
            by(1, 1),
            edge(of(Kind::Master, 1), Relation::By, of(Kind::Artist, 1), None),
            on(1, 1, Some("C 1")),
            edge(of(Kind::Release, 1), Relation::DerivedFrom, of(Kind::Master, 1), None),
            is(1, "Rock"),
            edge(of(Kind::Release, 1), Relation::Is, style(), None),
            edge(of(Kind::Master, 1), Relation::Is, genre(), None),
            edge(of(Kind::Master, 1), Relation::Is, style(), None),
            edge(of(Kind::Artist, 7), Relation::MemberOf, of(Kind::Artist, 1), None),
            edge(of(Kind::Artist, 1), Relation::AliasOf, of(Kind::Artist, 1), None),
            edge(of(Kind::Label, 1), Relation::SublabelOf, of(Kind::Label, 8), None),
            edge(style(), Relation::PartOf, genre(), None),
            credited("X", Some("Mastered By"), 1),
            credited("X", None, 1),
            edge(Node::Person("X".into()), Relation::SameAs, of(Kind::Artist, 9), None),
        ];
        let run = run(Uuid::new_v4(), epoch(1), Need::Everything);
        assert_eq!(store.apply(&run, &batch(1, changes.clone(), &edges, &[]))?.tally, tally(5, 0, 0));
        assert_eq!(
            store.nodes()?,
            [
                "Artist 1",
                "Artist 7 stub",
                "Artist 9 stub",
                "Genre Rock",
                "Label 1",
                "Label 8 stub",
                "Master 1",
                "Person X",
                "Release 1",
                "Release 2",
                "Style Punk"
            ]
        );
        let keys = store.cypher("MATCH (n:Release {id: '2'}) UNWIND keys(n) AS v RETURN v ORDER BY v")?;
        assert_eq!(keys, ["hash", "id"], "absent is absent");
        assert!(store.edges()?.contains(&"X CREDITED_ON 1 Mastered By/mastering".to_owned()), "{:?}", store.edges()?);
        assert!(store.edges()?.contains(&"X CREDITED_ON 1/other".to_owned()));

        let mut sink = store.open()?;
        let graph = sink.graph().ok_or("no graph")?;
        assert_eq!(graph.size()?, GraphSize { nodes: 11, relationships: 15 });
        let (ids, junk) = graph.ids(Kind::Artist)?;
        assert_eq!((ids.iter().collect::<Vec<_>>(), junk.len()), (vec![1, 7, 9], 0));
        let nodes = graph.nodes(Kind::Release, &[1, 2, 3])?;
        let one = nodes.iter().find(|node| node.id == 1).ok_or("no release 1")?;
        assert_eq!((&one.properties, one.stub, one.odd.as_deref()), (&release.properties, false, None));
        assert_eq!(one.hash, changes[3].graph.as_ref().map(|(hash, _)| hash.to_string()));
        assert!(nodes.len() == 2 && graph.nodes(Kind::Artist, &[7])?[0].stub);
        let mut found = Vec::new();
        for family in Family::ALL {
            let ids = if family.anchor().is_some() { &[1, 7, 8, 9][..] } else { &[] };
            for StoredEdge { edge, .. } in graph.edges(family, ids)? {
                let edge = edge?;
                assert_eq!(edge.family(), family, "{edge}");
                found.push(edge);
            }
        }
        found.sort();
        let mut written = edges.to_vec();
        written.sort();
        assert_eq!(found, written);
        let mut names = Vec::new();
        graph.names("Person", &mut |found| names.push((found.name.to_owned(), found.odd)))?;
        assert_eq!(names, [("X".to_owned(), None)]);
        Ok(())
    })
}

#[test]
fn a_graph_tells_what_was_begun_and_what_was_applied() -> Outcome {
    in_graph(|store| {
        let (state, first) = (Uuid::new_v4(), epoch(1));
        let run = run(state, first, Need::Everything);
        let mut sink = store.open()?;
        assert_eq!(sink.standing()?.state, None);
        let mut writer = begin(&mut sink, &run)?;
        let standing = sink.standing()?;
        assert_eq!((standing.state, standing.begun[Kind::Label], standing.kinds[Kind::Label]), (Some(state), Some(first), None));
        writer.write(&Batch { dead_letters: vec![letter(5, "no")], ..batch(1, vec![record(Kind::Artist, 1, "A")], &[], &[]) }, 0)?;
        drop(writer);
        let mut how = ends(&run);
        how[Kind::Master] = how[Kind::Master].map(|end| KindEnd { current: false, ..end });
        sink.complete(&run, &how)?;
        let standing = Neo4j::open(&store.url, None, Access::Read)?.standing()?;
        assert_eq!((standing.state, standing.begun[Kind::Label], standing.kinds[Kind::Label]), (Some(state), None, Some(first)));
        assert_eq!((standing.begun[Kind::Master], standing.kinds[Kind::Master]), (Some(first), None), "it stays behind");
        let noted =
            "MATCH (k:DiscodiffKind) WHERE k.completed_at IS NOT NULL RETURN k.kind + ' ' + k.month + ' ' + k.records AS v ORDER BY v";
        assert_eq!(store.cypher(noted)?, ["artist 2025-12 7", "label 2025-12 7", "release 2025-12 7"]);
        let noted = "MATCH (s:DiscodiffSnapshot {kind: 'artist'}) WHERE s.completed_at IS NOT NULL
                     RETURN s.epoch + ' ' + s.month + ' ' + s.file + ' ' + s.records + ' ' + s.deletes_withheld + ' ' + s.rejected AS v";
        assert_eq!(store.cypher(noted)?, ["1 2025-12 discogs_20251201_artists.xml.gz 7 1 2"]);
        assert!(Neo4j::open(&store.url, None, Access::Read)?.begin(&run).is_err());
        Ok(())
    })
}

#[test]
fn a_kind_half_applied_by_an_abandoned_epoch_is_behind() -> Outcome {
    in_graph(|store| {
        let (state, first) = (Uuid::new_v4(), epoch(1));
        store.apply(&run(state, first, Need::Everything), &batch(1, vec![record(Kind::Artist, 1, "A")], &[], &[]))?;
        let mut sink = store.open()?;
        let second = run(state, epoch(2), Need::Changes);
        begin(&mut sink, &second)?.write(&batch(1, vec![record(Kind::Artist, 1, "B")], &[], &[]), 0)?;
        // the same epoch taken up again is no reason for anything
        drop(sink.begin(&second)?);
        assert_eq!(sink.standing()?.kinds[Kind::Artist], Some(first));
        // the next one does not read artists, which still hold a part of what was given up
        let mut third = run(state, epoch(3), Need::Everything);
        third.kinds[Kind::Artist] = None;
        third.abandoned = vec![2];
        drop(sink.begin(&third)?);
        sink.complete(&third, &PerKind::from_fn(|kind| ends(&third)[kind].filter(|_| kind != Kind::Artist)))?;
        let standing = sink.standing()?;
        assert_eq!((standing.kinds[Kind::Artist], standing.kinds[Kind::Label]), (None, Some(third.epoch)));
        assert_eq!(store.cypher("MATCH (s:DiscodiffSnapshot) WHERE s.abandoned RETURN DISTINCT s.epoch AS v")?, ["2"]);
        assert_eq!(store.cypher("MATCH (k:DiscodiffKind {kind: 'artist'}) WHERE k.month IS NOT NULL RETURN k.month AS v")?.len(), 0);
        Ok(())
    })
}

#[test]
fn a_batch_written_twice_changes_nothing() -> Outcome {
    in_graph(|store| {
        let state = Uuid::new_v4();
        let first =
            batch(1, vec![record(Kind::Artist, 1, "A"), record(Kind::Release, 1, "R")], &[by(1, 1), on(1, 5, None), is(1, "Rock")], &[]);
        store.apply(&run(state, epoch(1), Need::Everything), &first)?;
        let second = run(state, epoch(2), Need::Changes);
        let again = batch(
            1,
            vec![gone(Kind::Artist, 1), record(Kind::Release, 1, "S"), record(Kind::Release, 2, "T")],
            &[on(1, 5, Some("C")), credited("X", None, 2), credited("X", Some("Guitar"), 2), by(2, 6), is(2, "Rock")],
            &[on(1, 5, None)],
        );
        let mut sink = store.open()?;
        assert_eq!(begin(&mut sink, &second)?.write(&again, 0)?.tally, tally(1, 1, 1));
        // a run that died, and one that takes the same epoch up
        let before = (store.nodes()?, store.edges()?);
        let elements = "MATCH ()-[e]->() RETURN elementId(e) AS v ORDER BY v";
        let named = store.cypher(elements)?;
        let mut writer = begin(&mut sink, &second)?;
        assert_eq!(writer.write(&again, 0)?.tally, tally(0, 0, 0));
        assert_eq!((store.nodes()?, store.edges()?, store.cypher(elements)?), (before.0, before.1.clone(), named));
        drop(writer);
        sink.complete(&second, &ends(&second))?;
        assert_eq!(store.edges()?, before.1);
        // what is brought up finds edges that are there, and adds those that are not
        let third = run(state, epoch(3), Need::Everything);
        let all = [
            by(1, 1),
            on(1, 5, Some("C")),
            is(1, "Rock"),
            credited("X", None, 2),
            credited("X", Some("Guitar"), 2),
            by(2, 6),
            is(2, "Rock"),
        ];
        let all = batch(9, vec![record(Kind::Release, 1, "S")], &[&all[..], &[by(2, 7)]].concat(), &[]);
        assert_eq!(store.apply(&third, &all)?.tally, tally(0, 0, 0));
        assert_eq!(store.edges()?.len(), before.1.len() + 1);
        Ok(())
    })
}

#[test]
fn a_run_that_was_overtaken_writes_no_more() -> Outcome {
    in_graph(|store| {
        let run = run(Uuid::new_v4(), epoch(1), Need::Everything);
        let (mut old, mut new) = (store.open()?, store.open()?);
        let mut overtaken = begin(&mut old, &run)?;
        overtaken.write(&batch(1, vec![record(Kind::Artist, 1, "A")], &[], &[]), 0)?;
        let mut writer = begin(&mut new, &run)?;
        for attempt in [0, 1] {
            let late = batch(2, vec![record(Kind::Artist, 2, "A")], &[by(1, 2)], &[]);
            refused(overtaken.write(&late, attempt), Class::Stop, "another run has taken over")?;
        }
        refused(overtaken.stored_ids(Kind::Artist), Class::Stop, "another run")?;
        refused(old.mend(&[by(1, 2)], &[]), Class::Stop, "another run")?;
        refused(old.complete(&run, &ends(&run)), Class::Stop, "another run")?;
        assert_eq!((store.nodes()?, store.edges()?.len()), (vec!["Artist 1".to_owned()], 0));
        writer.write(&batch(1, vec![record(Kind::Artist, 3, "A")], &[], &[]), 0)?;
        Ok(())
    })
}

#[test]
fn a_run_that_is_overtaken_while_it_waits_writes_no_more() -> Outcome {
    in_graph(|store| {
        let mut sink = store.open()?;
        let mut writer = begin(&mut sink, &run(Uuid::new_v4(), epoch(1), Need::Everything))?;
        let mut txn = store.runtime.block_on(store.graph.start_txn())?;
        store.runtime.block_on(txn.run("MATCH (w:DiscodiffWatermark) SET w.run = 99"))?;
        std::thread::scope(|scope| {
            let waiting = scope.spawn(move || writer.write(&batch(1, vec![record(Kind::Artist, 1, "A")], &[], &[]), 0));
            std::thread::sleep(Duration::from_millis(500));
            store.runtime.block_on(txn.commit())?;
            refused(waiting.join().map_err(|_| "the writer's thread died")?, Class::Stop, "another run has taken over")
        })?;
        assert_eq!(store.nodes()?.len(), 0);
        Ok(())
    })
}

#[test]
fn a_foreign_graph_is_refused_and_stays_as_it_was() -> Outcome {
    in_graph(|store| {
        store.cypher("CREATE (:Artist {id: '1', name: 'mine'}), (:Film {title: 'mine'})")?;
        let mut sink = store.open()?;
        let words = "is foreign: it holds 2 nodes that no discodiff wrote; name an empty database";
        refused(sink.standing(), Class::Stop, words)?;
        refused(sink.begin(&run(Uuid::new_v4(), epoch(1), Need::Everything)), Class::Stop, words)?;
        assert_eq!(store.cypher("MATCH (n) RETURN labels(n)[0] AS v ORDER BY v")?, ["Artist", "Film"]);
        Ok(())
    })
}

#[test]
fn a_graph_of_a_newer_program_or_of_another_state_is_refused() -> Outcome {
    in_graph(|store| {
        let (theirs, ours) = (Uuid::new_v4(), Uuid::new_v4());
        store.apply(&run(theirs, epoch(1), Need::Everything), &batch(1, vec![], &[], &[]))?;
        let mut sink = store.open()?;
        assert_eq!(sink.standing()?.state, Some(theirs));
        refused(sink.begin(&run(ours, epoch(1), Need::Everything)), Class::Stop, &theirs.to_string())?;
        store.cypher("MATCH (b:DiscodiffBinding) SET b.version = 999")?;
        refused(sink.standing(), Class::Stop, "written by a newer discodiff: its graph is of version 999")?;
        Ok(())
    })
}

#[test]
fn edges_go_one_by_one_and_what_nothing_points_at_goes_with_them() -> Outcome {
    in_graph(|store| {
        let state = Uuid::new_v4();
        let same = |name: &str| edge(Node::Person(name.into()), Relation::SameAs, of(Kind::Artist, 1), None);
        let came =
            [is(1, "Rock"), is(1, "Jazz"), is(2, "Rock"), by(1, 1), by(2, 8), credited("X", None, 1), credited("Y", None, 1), same("Y")];
        let records = vec![record(Kind::Artist, 1, "A"), record(Kind::Release, 1, "R"), record(Kind::Release, 2, "S")];
        store.apply(&run(state, epoch(1), Need::Everything), &batch(1, records, &came, &[]))?;
        let second = run(state, epoch(2), Need::Changes);
        let went = [is(1, "Rock"), is(1, "Jazz"), by(1, 1), by(2, 8), credited("X", None, 1), credited("Y", None, 1), is(3, "never there")];
        let mut sink = store.open()?;
        let mut writer = begin(&mut sink, &second)?;
        assert_eq!(writer.write(&batch(1, vec![], &[], &went), 0)?.tally, tally(0, 0, 0));
        assert_eq!(store.edges()?, ["2 IS Rock", "Y SAME_AS 1"]);
        assert!(store.nodes()?.contains(&"Genre Jazz".to_owned()), "a later batch may point at it again");
        writer.write(&batch(2, vec![], &[credited("X", Some("Drums"), 2)], &[]), 0)?;
        drop(writer);
        sink.complete(&second, &ends(&second))?;
        assert_eq!(store.nodes()?, ["Artist 1", "Genre Rock", "Person X", "Person Y", "Release 1", "Release 2"]);
        Ok(())
    })
}

#[test]
fn a_graph_that_is_brought_up_is_looked_over_for_what_nothing_points_at() -> Outcome {
    in_graph(|store| {
        let state = Uuid::new_v4();
        let records = vec![record(Kind::Artist, 1, "A")];
        store.apply(&run(state, epoch(1), Need::Everything), &batch(1, records.clone(), &[by(1, 1)], &[]))?;
        store.cypher(
            "CREATE (:Genre {name: 'G'}), (:Style {name: 'S'}), (:Person {name: 'P'}), (:Person), (:Artist {id: '9', stub: true})",
        )?;
        let second = run(state, epoch(2), Need::Changes);
        store.apply(&second, &batch(1, vec![], &[], &[]))?;
        assert_eq!(store.cypher("MATCH (n:Person) RETURN count(n) AS v")?, ["2"]);
        store.apply(&run(state, epoch(3), Need::Everything), &batch(1, records, &[], &[]))?;
        assert_eq!(store.nodes()?, ["Artist 1", "Release 1 stub"]);
        Ok(())
    })
}

#[test]
fn a_deleted_record_that_is_pointed_at_becomes_a_stub_and_writing_it_ends_that() -> Outcome {
    in_graph(|store| {
        let state = Uuid::new_v4();
        let records = vec![record(Kind::Artist, 1, "A"), record(Kind::Artist, 2, "B"), record(Kind::Release, 1, "R")];
        store.apply(&run(state, epoch(1), Need::Everything), &batch(1, records, &[by(1, 1)], &[]))?;
        let deletes = batch(1, vec![gone(Kind::Artist, 1), gone(Kind::Artist, 2), gone(Kind::Artist, 3)], &[], &[]);
        assert_eq!(store.apply(&run(state, epoch(2), Need::Changes), &deletes)?.tally, tally(0, 0, 2));
        assert_eq!(store.nodes()?, ["Artist 1 stub", "Release 1"]);
        assert_eq!(store.cypher("MATCH (n:Artist) UNWIND keys(n) AS v RETURN v ORDER BY v")?, ["id", "stub"]);
        let back = batch(1, vec![record(Kind::Artist, 1, "C")], &[], &[]);
        assert_eq!(store.apply(&run(state, epoch(3), Need::Changes), &back)?.tally, tally(1, 0, 0));
        assert_eq!((store.nodes()?, store.edges()?), (vec!["Artist 1".to_owned(), "Release 1".to_owned()], vec!["1 BY 1".to_owned()]));
        Ok(())
    })
}

#[test]
fn an_edge_whose_property_is_absent_is_told_from_one_that_has_it() -> Outcome {
    in_graph(|store| {
        let state = Uuid::new_v4();
        let all = [on(1, 1, None), on(1, 1, Some("")), on(1, 1, Some("C")), credited("X", None, 1), credited("X", Some("Other"), 1)];
        store.apply(&run(state, epoch(1), Need::Everything), &batch(1, vec![], &all, &[]))?;
        assert_eq!(store.edges()?.len(), 5);
        store.apply(&run(state, epoch(2), Need::Changes), &batch(1, vec![], &[], &[on(1, 1, None), credited("X", Some("Other"), 1)]))?;
        assert_eq!(store.edges()?, ["1 ON 1 ", "1 ON 1 C", "X CREDITED_ON 1/other"]);
        let third = run(state, epoch(3), Need::Everything);
        store.apply(&third, &batch(1, vec![], &all, &[]))?;
        assert_eq!(store.edges()?.len(), 5);
        Ok(())
    })
}

#[test]
fn an_edge_that_comes_and_goes_in_one_batch_is_where_it_was_last() -> Outcome {
    in_graph(|store| {
        let state = Uuid::new_v4();
        store.apply(&run(state, epoch(1), Need::Everything), &batch(1, vec![], &[is(1, "A"), is(1, "B")], &[]))?;
        let change = |added, name, tick| EdgeChange { added, edge: is(1, name), tick };
        let edges = vec![change(false, "A", 1), change(false, "B", 1), change(true, "C", 1), change(true, "B", 2), change(false, "C", 2)];
        store.apply(&run(state, epoch(2), Need::Changes), &Batch { edges, ..batch(1, vec![], &[], &[]) })?;
        assert_eq!((store.edges()?, store.nodes()?), (vec!["1 IS B".to_owned()], vec!["Genre B".to_owned(), "Release 1 stub".to_owned()]));
        Ok(())
    })
}

#[test]
fn a_record_or_edge_that_neo4j_refuses_costs_itself_only() -> Outcome {
    in_graph(|store| {
        let mut sink = store.open()?;
        let run = run(Uuid::new_v4(), epoch(1), Need::Changes);
        let mut writer = begin(&mut sink, &run)?;
        let long = |bytes: usize| "é7x ".repeat(bytes / 5);
        let (fits, none) = (record(Kind::Release, 1, &long(30_000)), record(Kind::Release, 2, &long(100_000)));
        refused(writer.write(&batch(1, vec![fits.clone(), none], &[], &[]), 0), Class::Reject, "too large")?;
        assert_eq!(writer.write(&batch(2, vec![fits], &[on(1, 1, Some(&long(100_000)))], &[]), 0)?.tally, tally(1, 0, 0));
        let name = long(20_000);
        refused(writer.write(&batch(3, vec![], &[credited("X", None, 1), credited(&name, None, 1)], &[]), 0), Class::Reject, "too large")?;
        writer.write(&batch(4, vec![], &[credited("X", None, 1), credited("Y", Some(&name), 1)], &[]), 0)?;
        drop(writer);
        sink.complete(&run, &ends(&run))?;
        assert_eq!(store.nodes()?, ["Label 1 stub", "Person X", "Person Y", "Release 1"]);
        Ok(())
    })
}

#[test]
fn a_batch_of_which_neo4j_refuses_something_is_halved_down_to_that() -> Outcome {
    in_graph(|store| {
        let mut sink = store.open()?;
        let run = run(Uuid::new_v4(), epoch(1), Need::Changes);
        let long = "é7x ".repeat(20_000);
        let mut events: Vec<Event> = (1..=20).map(|id| Event::Change(record(Kind::Release, id, "R"))).collect();
        events.push(Event::Change(record(Kind::Release, 21, &long)));
        let edges = [credited("X", None, 1), credited(&long, None, 2), is(3, "Rock"), by(4, 1), credited("Y", None, 21)];
        events.extend(edges.map(|edge| Event::Edge(EdgeChange { added: true, edge, tick: 1 })));
        let budget = Arc::new(Budget::new(1 << 20));
        let stop = Stop::new(Arc::clone(&budget));
        let (parts, taken) = crossbeam_channel::unbounded();
        let (acknowledgements, acknowledged) = crossbeam_channel::unbounded();
        parts.send(Part { events, ..Part::new(1) })?;
        drop(parts);
        let driver = Driver {
            delivered: PerKind::from_fn(|_| RoaringTreemap::new()),
            missed: Missed::default(),
            name: "neo4j".to_owned(),
            sink: "neo4j",
            writer: begin(&mut sink, &run)?,
            workers: 0..1,
            run: run.clone(),
            parts: taken,
            acknowledgements,
            wakers: crossbeam_channel::never(),
            budget,
            holder: Holder::sink(0),
            measures: Arc::default(),
            stop: stop.clone(),
        };
        let report = driver.start()?.join().map_err(|_| "the driver died")?;
        assert!(!stop.is_set() && acknowledged.recv()?.tick == 1);
        assert_eq!((report.tally, report.undelivered[Kind::Release]), (tally(20, 0, 0), 2));
        sink.complete(&run, &ends(&run))?;
        assert_eq!(store.edges()?, ["3 IS Rock", "4 BY 1", "X CREDITED_ON 1/other", "Y CREDITED_ON 21/other"]);
        // what points at the record that was refused finds a stub
        assert!(store.nodes()?.contains(&"Release 21 stub".to_owned()));
        Ok(())
    })
}

/// Statements are planned once, maybe while the counts of the graph say nothing or mislead, and must serve a graph in which ten million
/// releases share a genre: the plans are those that the server made and kept.
#[test]
fn nothing_is_looked_for_among_all_nodes_or_all_edges_of_one_whatever_a_graph_held_when_that_was_planned() -> Outcome {
    in_graph(|store| {
        for (nodes, joined) in [(0, 0), (1, 1), (5, 25), (100, 0), (100, 10_000)] {
            let plans = kept(store, nodes, joined)?;
            assert!(plans.iter().any(|plan| plan.contains("DELETE e")) && plans.len() > 6, "{plans:#?}");
            for plan in plans {
                assert!(
                    !["Expand(All)", "Scan", "HashJoin"].iter().any(|operator| plan.contains(operator)),
                    "planned over {nodes} nodes of a label and {joined} edges between labels: {plan}"
                );
            }
        }
        Ok(())
    })
}

/// Statements that the server was told to plan once, and the operators of their plans: so many nodes of each label are there when it
/// does, and so many edges of each kind.
fn kept(store: &InGraph, nodes: u64, joined: u64) -> Result<Vec<String>, Box<dyn Error>> {
    store.cypher("MATCH (n) CALL { WITH n DETACH DELETE n } IN TRANSACTIONS OF 5000 ROWS")?;
    let mut sink = store.open()?;
    store.cypher("CALL db.clearQueryCaches() YIELD value AS v RETURN v")?;
    for step in ["stop", "clear", "collect"] {
        store.cypher(&format!("CALL db.stats.{step}('QUERIES') YIELD section AS v RETURN v"))?;
    }
    let state = Uuid::new_v4();
    let first = run(state, epoch(1), Need::Everything);
    let mut writer = begin(&mut sink, &first)?;
    let edges = [by(1, 2), on(1, 3, Some("C")), is(1, "G"), credited("P", Some("Drums"), 1)];
    if nodes == 0 {
        writer.write(&batch(1, vec![record(Kind::Release, 1, "A")], &edges, &[]), 0)?;
    }
    drop(writer);
    sink.complete(&first, &ends(&first))?;
    for label in
        ["Artist {id: n}", "Label {id: n}", "Master {id: n}", "Release {id: n}", "Genre {name: n}", "Style {name: n}", "Person {name: n}"]
    {
        store.cypher(&format!("UNWIND range(1001, 1000 + {nodes}) AS i WITH toString(i) AS n CREATE (:{label})"))?;
    }
    for (relation, source, target) in SHAPES {
        let relation = relation.name();
        store.cypher(&format!("MATCH (s:{source}) MATCH (t:{target}) WITH s, t LIMIT {joined} CREATE (s)-[:{relation}]->(t)"))?;
    }
    let second = run(state, epoch(2), Need::Changes);
    let mut writer = begin(&mut sink, &second)?;
    writer.write(&batch(1, vec![record(Kind::Release, 1, "B"), record(Kind::Artist, 9, "B")], &edges, &[]), 0)?;
    writer.write(&batch(2, vec![gone(Kind::Artist, 9)], &[], &edges), 0)?;
    drop(writer);
    sink.complete(&second, &ends(&second))?;
    store.cypher(
        "CALL db.stats.retrieve('QUERIES') YIELD data WITH data.query AS query, data.queryExecutionPlan AS plan
         WHERE query STARTS WITH 'CYPHER replan=skip' RETURN [query, plan] AS v",
    )
}

#[test]
fn ids_that_no_record_can_have_are_removed_and_counted() -> Outcome {
    in_graph(|store| {
        let run = run(Uuid::new_v4(), epoch(1), Need::Everything);
        let mut sink = store.open()?;
        let mut writer = begin(&mut sink, &run)?;
        let records = vec![record(Kind::Artist, 1, "A"), record(Kind::Artist, 2, "B"), record(Kind::Label, 3, "L")];
        writer.write(&batch(1, records, &[by(1, 1), by(1, 4)], &[]), 0)?;
        store.cypher("MATCH (a:Artist {id: '1'}) UNWIND ['0', '01', 'x', 7, true] AS id CREATE (a)-[:ALIAS_OF]->(:Artist {id: id})")?;
        store.cypher("CREATE (:Artist {name: 'no id'})")?;
        let (junk_ids, ids) = { (sink.ids(Kind::Artist)?.1.len(), writer.stored_ids(Kind::Artist)?) };
        assert_eq!((ids.0.iter().collect::<Vec<_>>(), ids.1, junk_ids), (vec![1, 2], 6, 6));
        assert_eq!(store.nodes()?, ["Artist 1", "Artist 2", "Artist 4 stub", "Label 3", "Release 1 stub"]);
        assert_eq!(writer.stored_ids(Kind::Artist)?.1, 0);
        Ok(())
    })
}

#[test]
fn what_others_changed_is_told_in_words_and_mended() -> Outcome {
    in_graph(|store| {
        let run = run(Uuid::new_v4(), epoch(1), Need::Everything);
        let mut sink = store.open()?;
        let mut writer = begin(&mut sink, &run)?;
        let records = vec![record(Kind::Artist, 1, "A"), record(Kind::Release, 1, "R"), record(Kind::Release, 2, "S")];
        writer.write(&batch(1, records, &[by(1, 1), by(2, 1), credited("X", Some("Drums"), 1)], &[]), 0)?;
        drop(writer);
        store.cypher("MATCH (n:Release {id: '1'}) SET n:Best, n.title = 5, n.mine = 'm', n.formats = ['a', 'b']")?;
        store.cypher("MATCH (n:Artist) SET n.year = 5")?;
        store.cypher(
            "MATCH (p:Person)-[e]->(r) SET e.category = 'best', p.mine = true, p:Best CREATE (p)-[:CREDITED_ON {role: 'Bass'}]->(r)",
        )?;
        store.cypher("MATCH (r:Release {id: '1'})-[e:BY]->(a) CREATE (r)-[:BY]->(a), (r)-[:BY]->(:Film {title: 't'}), (r)-[:ON]->(a)")?;
        let nodes = sink.nodes(Kind::Release, &[1])?;
        assert_eq!(nodes[0].odd.as_deref(), Some("it has the label Best too, its property mine is \"m\", its property title is 5"));
        assert_eq!(sink.nodes(Kind::Artist, &[1])?[0].odd.as_deref(), Some("its property year is 5"));
        let mut odd = Vec::new();
        sink.names("Person", &mut |found| odd.extend(found.odd))?;
        assert_eq!(odd, ["it has a property mine, it has the label Best too"]);
        store.cypher("MATCH (p:Person) REMOVE p:Best, p.mine WITH 1 AS x MATCH (r:Best) REMOVE r:Best")?;
        let found = sink.edges(Family::Release, &[1])?;
        let (mut edges, mut odd) = (Vec::new(), Vec::new());
        for StoredEdge { element, edge } in found {
            match edge {
                Ok(edge) => edges.push((edge, element)),
                Err(words) => odd.push((words, element)),
            }
        }
        odd.sort();
        let words: Vec<&str> = odd.iter().map(|(words, _)| words.as_str()).collect();
        assert_eq!(
            words,
            [
                "person \"X\" CREDITED_ON release 1 with category \"best\"",
                "person \"X\" CREDITED_ON release 1 with no category",
                "release 1 BY a node Film whose id is absent",
                "release 1 ON artist 1",
            ]
        );
        assert_eq!(edges.iter().map(|(edge, _)| edge.clone()).collect::<Vec<_>>(), [by(1, 1), by(1, 1)]);
        let twice = edges.into_iter().skip(1).map(|(_, element)| element);
        let removed: Vec<String> = odd.into_iter().map(|(_, element)| element).chain(twice).collect();
        sink.mend(&[credited("X", Some("Drums"), 1), by(1, 1), by(3, 1), is(1, "Rock")], &removed)?;
        sink.mend(&[], &[])?;
        assert_eq!(store.edges()?, ["1 BY 1", "1 IS Rock", "2 BY 1", "3 BY 1", "X CREDITED_ON 1 Drums/session"]);
        Ok(())
    })
}

#[test]
fn a_batch_that_was_committed_unnoticed_is_not_written_again() -> Outcome {
    in_graph(|store| {
        let mut sink = store.open()?;
        let mut writer = begin(&mut sink, &run(Uuid::new_v4(), epoch(1), Need::Changes))?;
        let one = batch(1, vec![record(Kind::Artist, 1, "A")], &[], &[]);
        let written = writer.write(&one, 0)?;
        store.cypher("MATCH (n:Artist) DELETE n")?;
        assert_eq!(writer.write(&one, 1)?, written);
        assert_eq!(store.nodes()?.len(), 0);
        // another batch is written, whatever the attempt
        assert_eq!(writer.write(&batch(2, vec![record(Kind::Artist, 1, "A")], &[], &[]), 1)?.tally, tally(1, 0, 0));
        Ok(())
    })
}

/// Hands on what comes to a port of its own, until it shall cut: then the next commit is handed on, and its answer is not.
fn proxy(to: String, cut: Arc<AtomicBool>) -> Result<u16, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect(&to) else { return };
            let (Ok(mut answers), Ok(mut back)) = (server.try_clone(), client.try_clone()) else { return };
            let silent = Arc::new(AtomicBool::new(false));
            let (quiet, cut) = (Arc::clone(&silent), Arc::clone(&cut));
            std::thread::spawn(move || {
                let mut bytes = [0; 1 << 16];
                while let Ok(n @ 1..) = answers.read(&mut bytes) {
                    if quiet.load(Ordering::SeqCst) || back.write_all(&bytes[..n]).is_err() {
                        break;
                    }
                }
                let _ = (back.shutdown(Shutdown::Both), answers.shutdown(Shutdown::Both));
            });
            std::thread::spawn(move || {
                let (mut client, mut server) = (client, server);
                let mut bytes = [0; 1 << 16];
                while let Ok(n @ 1..) = client.read(&mut bytes) {
                    const COMMIT: [u8; 6] = [0, 2, 0xB0, 0x12, 0, 0];
                    if bytes[..n].ends_with(&COMMIT) && cut.swap(false, Ordering::SeqCst) {
                        silent.store(true, Ordering::SeqCst);
                    }
                    if server.write_all(&bytes[..n]).is_err() {
                        break;
                    }
                }
            });
        }
    });
    Ok(port)
}

#[test]
fn a_lost_answer_to_a_commit_is_looked_up() -> Outcome {
    in_graph(|store| {
        let mut url = Url::parse(&store.url)?;
        let cut = Arc::new(AtomicBool::new(false));
        let port = proxy(format!("{}:{}", url.host_str().unwrap_or_default(), url.port().unwrap_or(7687)), Arc::clone(&cut))?;
        url.set_port(Some(port)).map_err(|()| "no port")?;
        let mut sink = Neo4j::open(url.as_str(), None, Access::Write)?;
        let run = run(Uuid::new_v4(), epoch(1), Need::Everything);
        let mut writer = begin(&mut sink, &run)?;
        writer.write(&batch(1, vec![record(Kind::Artist, 1, "A")], &[], &[]), 0)?;
        let two = batch(2, vec![record(Kind::Artist, 2, "A")], &[by(1, 2), by(1, 1)], &[]);
        cut.store(true, Ordering::SeqCst);
        let error = writer.write(&two, 0).err().ok_or("answered")?;
        assert_eq!(error.class, Class::Retry, "{error}");
        assert_eq!(writer.write(&two, 1)?.tally, tally(1, 0, 0));
        writer.write(&batch(3, vec![record(Kind::Artist, 3, "A")], &[by(1, 3)], &[]), 0)?;
        drop(writer);
        assert_eq!(store.edges()?, ["1 BY 1", "1 BY 2", "1 BY 3"]);
        // the last steps are tried again by themselves
        cut.store(true, Ordering::SeqCst);
        sink.mend(&[by(1, 4)], &[])?;
        cut.store(true, Ordering::SeqCst);
        sink.complete(&run, &ends(&run))?;
        assert_eq!(store.edges()?.len(), 4);
        assert_eq!(sink.standing()?.kinds[Kind::Artist], Some(run.epoch));
        Ok(())
    })
}

#[test]
fn what_cannot_be_connected_to_is_named_and_the_password_is_not() -> Outcome {
    in_graph(|store| {
        let told = |url: &str, password: Option<&str>, words: [&str; 2]| {
            let error = Neo4j::open(url, password, Access::Write).err().ok_or("connected")?;
            let text = error.to_string();
            assert!(error.class == Class::Stop && words.iter().all(|word| text.contains(word)), "{text}");
            assert!(!text.contains("hush"), "{text}");
            Outcome::Ok(())
        };
        let url = Url::parse(&store.url)?;
        let (host, port) = (url.host_str().unwrap_or_default(), url.port().unwrap_or(7687));
        told(&store.url, Some("hush"), ["check both", &format!("{host}:{port} as user neo4j")])?;
        told(&format!("{}/missing", store.url), None, ["no such database", "Neo4j database missing at"])?;
        told("bolt://me:hush@127.0.0.1:1", None, ["check host and port", "Neo4j at 127.0.0.1:1 as user me"])?;
        told(&format!("bolt+s://me:hush@{host}:{port}"), None, ["no encrypted connection", "as user me"])?;
        // something that is no Neo4j, and something that never answers
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let other = listener.local_addr()?.port();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            }
        });
        told(&format!("bolt://me:hush@127.0.0.1:{other}"), None, ["no Neo4j", "7687"])?;
        let silent = TcpListener::bind("127.0.0.1:0")?;
        told(&format!("bolt://me:hush@{}", silent.local_addr()?), None, ["no answer within 10 s", "as user me"])?;
        // routed and plain mean the same server here
        Neo4j::open(&store.url.replacen("bolt", "neo4j", 1), None, Access::Read)?.standing()?;
        Ok(())
    })
}
