//! The Neo4j sink against a bare client that sends the same rows in statements already made, by turns, on the server that
//! `DISCODIFF_TEST_NEO4J` names, whose one database it wipes.
//!
//! ```sh
//! scripts/services.sh start neo4j && export $(scripts/services.sh env neo4j) && cargo bench --bench graph
//! ```
//!
//! The first round warms the server up (its first 40,000 writes run at a quarter of the later rate) and is left out.

#[path = "rows.rs"]
mod rows;

use std::sync::Arc;
use std::time::Instant;

use discodiff::model::graph::{Edge, EdgeChange, Node, Projection, Properties, Relation, category};
use discodiff::model::{Change, Digest, Key, Kind, Peers, PerKind, Verdict};
use discodiff::sinks::neo4j::Neo4j;
use discodiff::sinks::{Access, Batch, Epoch, Graph, KindEnd, KindRun, Need, Run, Sink, Writer};
use neo4rs::{BoltList, BoltMap, BoltType, ConfigBuilder, Query};
use rows::Row;
use tokio::runtime::Runtime;
use url::Url;
use uuid::Uuid;

const NODES: &str = "Neo4j first load, nodes a second";
const RELATIONSHIPS: &str = "Neo4j first load, relationships a second";
const REFRESH: &str = "Neo4j refresh, nodes and relationships a second";

const BATCH: u64 = 5_000;

fn key(kind: Kind, id: u64) -> Key {
    Key::new(kind, id).expect("an id")
}

/// Releases as they are, without their links, and credits and artists as edges: one node to five edges, as in all of Discogs.
fn nodes(of: std::ops::Range<u64>) -> Vec<Change> {
    let release = |id: u64| {
        let properties = Properties {
            title: Some(Box::from(format!("The title of release {id}"))),
            year: Some(1950 + (id % 70) as u32),
            formats: vec!["Vinyl".into()],
            catalog_number: Some(Box::from(format!("CAT {id}"))),
        };
        let projection = Projection::new(properties, Vec::new());
        let hash: Digest = projection.digest(id, &mut Vec::new());
        let graph = Some((hash, Arc::new(projection)));
        Change { key: key(Kind::Release, id), verdict: Verdict::Insert, tick: 1, document: None, graph }
    };
    of.map(release).collect()
}

fn edges(of: std::ops::Range<u64>, artists: u64) -> Vec<Edge> {
    let node = |kind, id| Node::Record(key(kind, id));
    of.flat_map(|id| {
        let by = Edge {
            relation: Relation::By,
            source: node(Kind::Release, id),
            target: node(Kind::Artist, 1 + id * 7 % artists),
            property: None,
        };
        let person = |n: u64| Node::Person(format!("Person {}", (id * 13 + n * 977) % (artists / 2)).into());
        let credit = |n: u64| Edge {
            relation: Relation::CreditedOn,
            source: person(n),
            target: node(Kind::Release, id),
            property: Some(if n.is_multiple_of(2) { "Mastered By".into() } else { "Guitar".into() }),
        };
        let genre = Edge {
            relation: Relation::Is,
            source: node(Kind::Release, id),
            target: Node::Genre(format!("Genre {}", id % 15).into()),
            property: None,
        };
        [by, credit(0), credit(1), credit(2), genre]
    })
    .collect()
}

fn run(epoch: u64, state: Uuid, need: Need) -> Run {
    let release = Some(KindRun {
        need,
        faults: std::sync::Arc::default(),
        month: "2025-12".to_owned(),
        file: "releases".to_owned(),
        sha256: String::new(),
    });
    let mut kinds = PerKind::<Option<KindRun>>::default();
    kinds[Kind::Release] = release.clone();
    kinds[Kind::Artist] = release;
    Run {
        from: None,
        state,
        epoch: Epoch { number: epoch, id: Uuid::from_u128(u128::from(epoch)) },
        month: "2026-01".to_owned(),
        kinds,
        peers: Peers::alone(1),
        want_fields: false,
        abandoned: Vec::new(),
        before: None,
    }
}

fn complete(sink: &mut Neo4j, run: &Run) {
    let end = KindEnd { epoch: run.epoch, current: true, whole: true, records: 0, deletes_withheld: 0, rejected: 0 };
    sink.complete(run, &PerKind::from_fn(|kind| run.kinds[kind].as_ref().map(|_| end))).expect("completed");
}

fn begin(sink: &mut Neo4j, run: &Run) -> Box<dyn Writer> {
    sink.begin(run).expect("begun").remove(0)
}

fn write(writer: &mut dyn Writer, changes: Vec<Change>, edges: Vec<EdgeChange>) {
    static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    writer.write(&Batch { number, tick: number, changes, edges, ..Batch::default() }, 0).expect("written");
}

fn artists(of: std::ops::Range<u64>) -> Vec<Change> {
    nodes(of).into_iter().map(|change| Change { key: key(Kind::Artist, change.key.id()), ..change }).collect()
}

struct Bare {
    runtime: Runtime,
    graph: neo4rs::Graph,
}

fn text(text: &str) -> BoltType {
    text.into()
}

fn list(rows: Vec<BoltType>) -> BoltType {
    BoltType::List(BoltList { value: rows })
}

impl Bare {
    fn new(url: &str) -> Bare {
        let url = Url::parse(url).expect("a URL");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let address = format!("bolt://{}:{}", url.host_str().expect("a host"), url.port().unwrap_or(7687));
        let config = ConfigBuilder::default().uri(address).user(url.username()).password(url.password().unwrap_or_default());
        let graph = {
            let _inside = runtime.enter();
            neo4rs::Graph::connect(config.build().expect("settings")).expect("a graph")
        };
        Bare { runtime, graph }
    }

    fn run(&self, statement: &str) {
        self.runtime.block_on(self.graph.run(Query::new(statement.to_owned()))).expect(statement);
    }

    fn wipe(&self) {
        self.run("MATCH (n) CALL { WITH n DETACH DELETE n } IN TRANSACTIONS OF 5000 ROWS");
    }

    /// Statements and their rows, a transaction each, already made.
    fn send(&self, batches: Vec<Vec<(&'static str, BoltType)>>) {
        self.runtime.block_on(async {
            for batch in batches {
                let mut tx = self.graph.start_txn().await.expect("a transaction");
                for (statement, rows) in batch {
                    tx.run(Query::new(statement.to_owned()).param("rows", rows)).await.expect(statement);
                }
                tx.commit().await.expect("committed");
            }
        });
    }
}

const CREATE_RELEASES: &str = "UNWIND $rows AS r CREATE (n:Release) SET n = r";
const MERGE_PERSONS: &str = "UNWIND $rows AS x MERGE (:Person {name: x})";
const CREATE_BY: &str = "UNWIND $rows AS r MATCH (s:Release {id: r[0]}) MATCH (t:Artist {id: r[1]}) CREATE (s)-[:BY]->(t)";
const CREATE_IS: &str = "UNWIND $rows AS r MATCH (s:Release {id: r[0]}) MATCH (t:Genre {name: r[1]}) CREATE (s)-[:IS]->(t)";
const CREATE_CREDITS: &str = "UNWIND $rows AS r MATCH (s:Person {name: r[0]}) MATCH (t:Release {id: r[1]}) CREATE (s)-[:CREDITED_ON {role: r[2], category: r[3]}]->(t)";

const UPDATE_RELEASES: &str = "UNWIND $rows AS r MERGE (n:Release {id: r.id}) SET n = r";
const DELETE_CREDITS: &str = "UNWIND $rows AS r MATCH (s:Person {name: r[0]}) USING INDEX SEEK s:Person(name)
     MATCH (t:Release {id: r[1]}) USING INDEX SEEK t:Release(id) WITH s, t, r MATCH (s)-[e:CREDITED_ON]->(t) WHERE e.role = r[2] DELETE e";

/// Ranges of ids from 1 on.
fn batches_of(all: u64, size: u64) -> impl Iterator<Item = std::ops::Range<u64>> {
    (0..all.div_ceil(size)).map(move |n| 1 + n * size..1 + ((n + 1) * size).min(all))
}

fn rows_of_nodes(changes: &[Change]) -> BoltType {
    let row = |change: &Change| {
        let (hash, projection) = change.graph.as_ref().expect("a projection");
        let Properties { title, year, formats, catalog_number } = &projection.properties;
        let mut map = BoltMap::with_capacity(6);
        map.put("id".into(), change.key.id().to_string().into());
        map.put("hash".into(), hash.to_string().into());
        map.put("title".into(), text(title.as_deref().unwrap_or_default()));
        map.put("year".into(), i64::from(year.unwrap_or(0)).into());
        map.put("formats".into(), list(formats.iter().map(|format| text(format)).collect()));
        map.put("catalog_number".into(), text(catalog_number.as_deref().unwrap_or_default()));
        BoltType::Map(map)
    };
    list(changes.iter().map(row).collect())
}

fn statements_of_edges(edges: &[Edge]) -> Vec<(&'static str, BoltType)> {
    let of = |relation| edges.iter().filter(move |edge| edge.relation == relation);
    let ends = |edge: &Edge| vec![text(&edge.source.identity()), text(&edge.target.identity())];
    let plain = |relation| list(of(relation).map(|edge| list(ends(edge))).collect());
    let credit = |edge: &Edge| {
        let role = edge.property.as_deref();
        let mut row = ends(edge);
        row.extend([text(role.unwrap_or_default()), text(category(role))]);
        list(row)
    };
    let mut names: Vec<_> = of(Relation::CreditedOn).map(|edge| edge.source.identity()).collect();
    names.sort_unstable();
    names.dedup();
    vec![
        (MERGE_PERSONS, list(names.iter().map(|name| text(name)).collect())),
        (CREATE_BY, plain(Relation::By)),
        (CREATE_IS, plain(Relation::Is)),
        (CREATE_CREDITS, list(of(Relation::CreditedOn).map(credit).collect())),
    ]
}

fn rate(rows: u64, work: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    work();
    rows as f64 / begun.elapsed().as_secs_f64()
}

fn main() {
    let Ok(url) = std::env::var("DISCODIFF_TEST_NEO4J") else {
        println!("skipped: DISCODIFF_TEST_NEO4J is not set");
        return;
    };
    let setting = |name, default| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    // More would only take longer.
    let (releases, rounds) = (setting("RELEASES", 40_000).min(40_000), setting("ROUNDS", 4));
    let number_of_artists = releases / 2;
    let bare = Bare::new(&url);
    let mut found: Vec<(&str, Vec<(f64, f64)>)> = [NODES, RELATIONSHIPS, REFRESH].map(|what| (what, Vec::new())).into();
    for round in 0..=rounds {
        let batches = |of: u64| batches_of(of, BATCH);
        let of_edges = |of: u64| batches_of(of, BATCH / 5);
        // A tenth of the releases get another title, and each of their credits another role.
        let changed = || batches_of(releases / 10, BATCH / 7);
        let other_role = |edge: Edge| Edge { property: Some(format!("{} [Again]", edge.property.unwrap_or_default()).into()), ..edge };
        let credits = |range: std::ops::Range<u64>| -> Vec<Edge> {
            edges(range, number_of_artists).into_iter().filter(|edge| edge.relation == Relation::CreditedOn).collect()
        };
        let titled = |range: std::ops::Range<u64>| -> Vec<Change> {
            let again = nodes(range.start + 1_000_000_000..range.end + 1_000_000_000).into_iter();
            again.zip(range).map(|(change, id)| Change { key: key(Kind::Release, id), verdict: Verdict::Update, ..change }).collect()
        };
        let rows_changed = 7 * (releases / 10);

        // Ours.
        bare.wipe();
        let mut sink = Neo4j::open(&url, None, Access::Write).expect("opened");
        let first = run(2 * round + 1, Uuid::new_v4(), Need::Everything);
        let mut writer = begin(&mut sink, &first);
        batches(number_of_artists).for_each(|range| write(&mut *writer, artists(range), Vec::new()));
        let made: Vec<_> = batches(releases).map(nodes).collect();
        let ours_nodes = rate(releases, || made.into_iter().for_each(|changes| write(&mut *writer, changes, Vec::new())));
        drop(writer);
        let made: Vec<_> = of_edges(releases).map(|range| edges(range, number_of_artists)).collect();
        let ours_edges = rate(5 * releases, || made.iter().for_each(|edges| sink.mend(edges, &[]).expect("mended")));
        complete(&mut sink, &first);
        let second = Run { before: Some(first.epoch), ..run(2 * round + 2, first.state, Need::Changes) };
        let mut writer = begin(&mut sink, &second);
        let made: Vec<_> = changed()
            .map(|range| {
                let go = credits(range.clone()).into_iter().map(|edge| EdgeChange { added: false, edge, tick: 1 });
                let come = credits(range.clone()).into_iter().map(|edge| EdgeChange { added: true, edge: other_role(edge), tick: 1 });
                (titled(range), go.chain(come).collect::<Vec<_>>())
            })
            .collect();
        let ours_refresh = rate(rows_changed, || made.into_iter().for_each(|(changes, edges)| write(&mut *writer, changes, edges)));
        drop(writer);
        complete(&mut sink, &second);
        drop(sink);

        // Bare, under the same constraints and indexes, which wiping leaves.
        bare.wipe();
        let artists: Vec<_> = batches(number_of_artists)
            .map(|range| vec![("UNWIND $rows AS r CREATE (n:Artist) SET n = r", rows_of_nodes(&artists(range)))])
            .collect();
        bare.send(artists);
        (0..15).for_each(|genre| bare.run(&format!("CREATE (:Genre {{name: 'Genre {genre}'}})")));
        let made: Vec<_> = batches(releases).map(|range| vec![(CREATE_RELEASES, rows_of_nodes(&nodes(range)))]).collect();
        let bare_nodes = rate(releases, || bare.send(made));
        let made: Vec<_> = of_edges(releases).map(|range| statements_of_edges(&edges(range, number_of_artists))).collect();
        let bare_edges = rate(5 * releases, || bare.send(made));
        let made: Vec<_> = changed()
            .map(|range| {
                let credits_of = |edges: Vec<Edge>| statements_of_edges(&edges).remove(3).1;
                let come: Vec<Edge> = credits(range.clone()).into_iter().map(other_role).collect();
                let persons = statements_of_edges(&come).remove(0).1;
                vec![
                    (UPDATE_RELEASES, rows_of_nodes(&titled(range.clone()))),
                    (DELETE_CREDITS, credits_of(credits(range))),
                    (MERGE_PERSONS, persons),
                    (CREATE_CREDITS, credits_of(come)),
                ]
            })
            .collect();
        let bare_refresh = rate(rows_changed, || bare.send(made));
        if round > 0 {
            let pairs = [(ours_nodes, bare_nodes), (ours_edges, bare_edges), (ours_refresh, bare_refresh)];
            found.iter_mut().zip(pairs).for_each(|((_, all), pair)| all.push(pair));
        }
    }
    bare.wipe();
    for (what, pairs) in found {
        // At least so much of the bare client's rate.
        Row::of(7, what, &pairs, 0.9, true).tell().expect("told");
    }
}
