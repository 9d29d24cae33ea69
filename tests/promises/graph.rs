//! A graph in a real Neo4j, month by month, held against what the dumps say by a script that shares no code with the program.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::generated::{peaceful, small};
use super::harness::{Home, Ran, count, real};

/// Community holds one database: one test at a time.
static ONE: Mutex<()> = Mutex::new(());

/// The server that `DISCODIFF_TEST_NEO4J` names, empty, for one test.
pub struct Server {
    url: String,
    _one: MutexGuard<'static, ()>,
}

impl Server {
    /// `None`, with a word, where no server is named.
    pub fn new() -> Option<Server> {
        let (Ok(url), Ok(_)) = (std::env::var("DISCODIFF_TEST_NEO4J"), std::env::var("DISCODIFF_TEST_NEO4J_HTTP")) else {
            println!("skipped: DISCODIFF_TEST_NEO4J and DISCODIFF_TEST_NEO4J_HTTP are not set");
            return None;
        };
        let server = Server { url, _one: ONE.lock().unwrap_or_else(PoisonError::into_inner) };
        server.empty();
        Some(server)
    }

    /// Takes away all that it holds.
    pub fn empty(&self) {
        while self.query("MATCH (n) WITH n LIMIT 20000 DETACH DELETE n RETURN count(*)")[0][0] != 0 {}
    }

    pub fn sink(&self) -> String {
        format!("--neo4j {}", self.url)
    }

    pub fn query(&self, cypher: &str) -> Vec<Vec<Value>> {
        let rows = Ran::of(&script("cypher.py").arg(cypher).output().expect("python3"));
        assert_eq!(rows.status, Some(0), "{cypher}: {}", rows.stderr);
        serde_json::from_str(&rows.stdout).expect("rows")
    }

    /// The graph is what the dumps say, and where a file is named, what that says too.
    #[track_caller]
    pub fn assert_is(&self, dumps: &Path, against: Option<&Path>) {
        let mut compare = script("compare.py");
        compare.arg("--dumps").arg(dumps);
        if let Some(against) = against {
            compare.arg("--against").arg(against);
        }
        let compared = Ran::of(&compare.output().expect("python3"));
        assert_eq!(compared.status, Some(0), "{}{}", compared.stdout, compared.stderr);
    }

    /// Every node and relationship as a line of text.
    pub fn save(&self, file: &Path) -> BTreeSet<String> {
        let saved = Ran::of(&script("compare.py").arg("--save").arg(file).output().expect("python3"));
        assert_eq!(saved.status, Some(0), "{}{}", saved.stdout, saved.stderr);
        std::fs::read_to_string(file).expect("a graph").lines().map(str::to_owned).collect()
    }
}

fn script(name: &str) -> Command {
    let mut command = Command::new("python3");
    command.arg("-B").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/graph").join(name));
    command
}

/// Relationships that were created and removed, as the server counted them.
fn relationships(report: &Value) -> (u64, u64) {
    let counted = |what: &str| report["sinks"]["neo4j"]["graph"][what].as_u64().unwrap_or_else(|| panic!("no {what} in {report}"));
    (counted("relationships_created"), counted("relationships_deleted"))
}

fn edges(lines: &BTreeSet<String>) -> BTreeSet<&String> {
    lines.iter().filter(|line| line.starts_with("edge ")).collect()
}

#[test]
fn of_a_real_month_only_what_the_graph_holds_reaches_it_and_only_edges_that_differ_are_written() {
    let (Some(november), Some(december)) = (real("real/2025-11"), real("real/2025-12")) else { return };
    let Some(server) = Server::new() else { return };
    let home = Home::new();
    // Masters only: the folder of November holds releases too.
    let masters = home.path("masters");
    std::fs::create_dir(&masters).expect("created");
    let file = "discogs_20251101_masters.xml.gz";
    std::fs::copy(november.join(file), masters.join(file)).expect("copied");
    let first = home.refresh(&masters, &server.sink()).json(0);
    assert_eq!(count(&first, "master", "inserted"), 3_267);
    server.assert_is(&masters, None);
    let before = server.save(&home.path("before"));
    assert_eq!(relationships(&first), (edges(&before).len() as u64, 0));

    let second = home.refresh(&december, &server.sink()).json(0);
    assert_eq!((count(&second, "master", "inserted"), count(&second, "master", "updated")), (2_601, 150));
    let sink = &second["sinks"]["neo4j"];
    assert_eq!((&sink["inserted"], &sink["updated"], &sink["deleted"]), (&2_601.into(), &14.into(), &0.into()));
    server.assert_is(&december, None);
    let after = server.save(&home.path("after"));
    let (old, new) = (edges(&before), edges(&after));
    let differ = (new.difference(&old).count() as u64, old.difference(&new).count() as u64);
    assert_eq!(relationships(&second), differ, "as many relationships are written as differ");
    assert!(differ.0 > 0 && differ.1 > 0);
    let verified = home.run(&format!("verify --state state --json {}", server.sink())).json(0);
    assert_eq!(verified["equal"], true);
}

#[test]
fn a_month_in_which_only_videos_changed_writes_nothing() {
    let Some(server) = Server::new() else { return };
    let home = Home::new();
    let master = |video: &str| {
        format!(
            "<masters>\n<master id=\"1\"><artists><artist><id>2</id><name>A</name></artist></artists><genres><genre>Jazz</genre></genres><year>1999</year><title>T</title><videos><video src=\"{video}\"/></videos></master>\n</masters>\n"
        )
    };
    let (old, new) = (master("a"), master("b"));
    let first = home.dumps("2026-01", &[("masters", old.as_bytes())]);
    let second = home.dumps("2026-02", &[("masters", new.as_bytes())]);
    home.refresh(&first, &server.sink()).json(0);
    let before = server.save(&home.path("before"));
    let report = home.refresh(&second, &server.sink()).json(0);
    assert_eq!(count(&report, "master", "updated"), 1);
    let sink = &report["sinks"]["neo4j"];
    assert_eq!((&sink["inserted"], &sink["updated"], &sink["deleted"]), (&0.into(), &0.into(), &0.into()));
    for (what, number) in sink["graph"].as_object().expect("counts") {
        assert_eq!(number, 0, "{what}");
    }
    assert_eq!(server.save(&home.path("after")), before);
}

/// Month by month with so many workers, each month as the dumps say; then loaded fresh from the last month, the same.
fn prove(server: &Server, workers: usize, fresh: &Path) {
    let home = Home::new();
    let months = peaceful().folders();
    for dumps in &months {
        home.refresh(dumps, &format!("{} -w {workers}", server.sink())).json(0);
        server.assert_is(dumps, None);
    }
    let last = months.last().expect("a month");
    let verified = home.run(&format!("verify --state state --json {}", server.sink())).json(0);
    assert_eq!(verified["equal"], true);
    if fresh.exists() {
        server.assert_is(last, Some(fresh));
    } else {
        let grown = server.save(&home.path("grown"));
        server.empty();
        home.refresh(last, &format!("{} --state fresh -w {workers}", server.sink())).json(0);
        assert!(server.save(fresh) == grown, "loaded fresh it is another graph than month by month");
    }
}

#[test]
fn a_graph_refreshed_month_by_month_is_the_one_loaded_fresh_whatever_the_number_of_workers() {
    let Some(server) = Server::new() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let fresh = folder.path().join("fresh");
    prove(&server, 1, &fresh);
    server.empty();
    prove(&server, 3, &fresh);
}

#[test]
fn a_graph_that_is_named_late_or_left_out_for_a_month_is_brought_up() {
    let Some(server) = Server::new() else { return };
    let home = Home::new();
    let months = small().folders();
    home.refresh(&months[0], "--sqlite store.sqlite").json(0);
    home.refresh(&months[0], &format!("--sqlite store.sqlite {}", server.sink())).json(0);
    server.assert_is(&months[0], None);
    home.refresh(&months[1], "--sqlite store.sqlite -w 2").json(0);
    let brought_up = home.refresh(&months[2], &server.sink());
    brought_up.json(0);
    brought_up.said(&["brought up"]);
    server.assert_is(&months[2], None);
    // A new graph beside a state that holds all links.
    server.empty();
    home.refresh(&months[2], &format!("{} -w 2", server.sink())).json(0);
    server.assert_is(&months[2], None);
    let again = home.refresh(&months[2], &server.sink()).json(0);
    assert_eq!(again["kinds"], serde_json::json!({}), "nothing to do");
}

#[test]
fn what_others_did_to_a_graph_is_found_by_verify_and_named() {
    let Some(server) = Server::new() else { return };
    let home = Home::new();
    let months = small().folders();
    home.refresh(&months[0], &server.sink()).json(0);
    let verify = || home.run(&format!("verify --state state --json {}", server.sink()));
    assert_eq!(verify().json(0)["equal"], true);
    // Each: what is done, where it is counted, and how it is undone.
    let cases = [
        (
            "MATCH (n:Release) WITH n ORDER BY n.id LIMIT 1 SET n.title = n.title + '!'",
            "/kinds/release/differ",
            "MATCH (n:Release) WITH n ORDER BY n.id LIMIT 1 SET n.title = left(n.title, size(n.title) - 1)",
        ),
        ("MATCH (n:Artist) WITH n ORDER BY n.id LIMIT 1 SET n.mood = 'good'", "/kinds/artist/differ", "MATCH (n:Artist) REMOVE n.mood"),
        ("MATCH (n:Genre) WITH n ORDER BY n.name LIMIT 1 SET n.mood = 'good'", "/names/Genre/differ", "MATCH (n:Genre) REMOVE n.mood"),
        (
            "MATCH (r:Release)-[e:IS]->(g:Genre) WITH r, e, g ORDER BY r.id, g.name LIMIT 1 DELETE e CREATE (:DiscodiffCut {r: r.id, g: g.name})",
            "/relations/IS/missing",
            "MATCH (c:DiscodiffCut) MATCH (r:Release {id: c.r}) MATCH (g:Genre {name: c.g}) CREATE (r)-[:IS]->(g) DELETE c",
        ),
        (
            "MATCH (a:Artist), (b:Artist) WHERE a <> b AND NOT (a)-[:ALIAS_OF]->(b) WITH a, b LIMIT 1 CREATE (a)-[:ALIAS_OF {x: 1}]->(b)",
            "/relations/other/extra",
            "MATCH ()-[e:ALIAS_OF {x: 1}]->() DELETE e",
        ),
        (
            "MATCH (a:Label), (b:Label) WHERE a <> b AND NOT (a)-[:SUBLABEL_OF]->(b) WITH a, b ORDER BY a.id, b.id LIMIT 1 CREATE (a)-[:SUBLABEL_OF]->(b) SET a.was = b.id",
            "/relations/SUBLABEL_OF/extra",
            "MATCH (a:Label)-[e:SUBLABEL_OF]->(b) WHERE a.was = b.id DELETE e REMOVE a.was",
        ),
        (
            "MATCH (a:Artist), (b:Label) WITH a, b LIMIT 1 CREATE (a)-[:LIKES]->(b)",
            "/relations/other/extra",
            "MATCH ()-[e:LIKES]->() DELETE e",
        ),
        ("CREATE (:Artist {id: '987654321', name: 'Nobody'})", "/kinds/artist/extra", "MATCH (n:Artist {id: '987654321'}) DELETE n"),
        ("CREATE (:Artist {id: 'x'})", "/kinds/artist/extra", "MATCH (n:Artist {id: 'x'}) DELETE n"),
        ("CREATE (:Person {name: 'Nobody at all'})", "/names/Person/extra", "MATCH (n:Person {name: 'Nobody at all'}) DELETE n"),
        ("CREATE (:Thing)", "/names/other/extra", "MATCH (n:Thing) DELETE n"),
        (
            "MATCH ()-[e:CREDITED_ON]->() WITH e LIMIT 1 SET e.was = e.category, e.category = 'cooking'",
            "/relations/other/extra",
            "MATCH ()-[e:CREDITED_ON]->() WHERE e.was IS NOT NULL SET e.category = e.was REMOVE e.was",
        ),
    ];
    for (damage, place, undo) in cases {
        server.query(damage);
        let found = verify().json(1);
        let store = &found["sinks"]["neo4j"];
        let number = store.pointer(place).and_then(Value::as_u64).unwrap_or(0);
        assert!(number > 0, "{damage} is not found at {place}: {store}");
        server.query(undo);
        assert_eq!(verify().json(0)["equal"], true, "after {undo}");
    }
}

#[test]
fn a_graph_that_no_discodiff_wrote_is_refused_and_stays_as_it_was() {
    let Some(server) = Server::new() else { return };
    let home = Home::new();
    server.query("CREATE (:Artist {id: '1', name: 'Theirs'})");
    home.refresh(&small().folders()[0], &server.sink()).refused(&["foreign", "name an empty database"]);
    assert_eq!(server.query("MATCH (n) RETURN labels(n), n.name"), [[serde_json::json!(["Artist"]), "Theirs".into()]]);
}

#[test]
fn a_graph_of_another_state_is_refused() {
    let Some(server) = Server::new() else { return };
    let home = Home::new();
    home.refresh(&small().folders()[0], &server.sink()).json(0);
    let before = server.save(&home.path("before"));
    home.refresh(&small().folders()[1], &format!("--state other {}", server.sink())).refused(&["belongs to the state"]);
    assert_eq!(server.save(&home.path("after")), before);
}

/// Runs that are killed at seeded moments, then the same command with other workers.
#[test]
fn a_run_that_was_killed_is_taken_up_again_and_the_graph_is_what_it_would_have_been() {
    let Some(server) = Server::new() else { return };
    let home = Home::new();
    let months: Vec<PathBuf> = small().folders();
    for (month, dumps) in months.iter().enumerate() {
        for (attempt, milliseconds) in [150, 400, 700, 1100].into_iter().enumerate() {
            let mut run = home.refreshing(dumps, &format!("{} -w {}", server.sink(), 1 + attempt % 3));
            let mut child = run.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().expect("it starts");
            std::thread::sleep(std::time::Duration::from_millis(milliseconds + 90 * month as u64));
            child.kill().expect("SIGKILL");
            child.wait().expect("ended");
        }
        home.refresh(dumps, &format!("{} -w 2", server.sink())).json(0);
        server.assert_is(dumps, None);
    }
    let verified = home.run(&format!("verify --state state --json {}", server.sink())).json(0);
    assert_eq!(verified["equal"], true);
}

/// Releases with ids from 1, each with these credits.
fn releases(number: u64, credits: &str) -> Vec<u8> {
    let each = |id| format!("<release id=\"{id}\"><title>T</title><extraartists>{credits}</extraartists></release>\n");
    format!("<releases>\n{}</releases>\n", (1..=number).map(each).collect::<String>()).into_bytes()
}

fn credit(name: &str) -> String {
    format!("<artist><name>{name}</name><role>Producer</role></artist>")
}

#[test]
fn a_graph_that_is_brought_up_keeps_edges_beside_which_others_wrote_wrong_ones() {
    let Some(server) = Server::new() else { return };
    let home = Home::new();
    let credits: String = (0..6).map(|i| credit(&format!("P{i}"))).collect();
    // More edges at the nodes of one chunk than one batch takes.
    let dumps = home.dumps("2026-01", &[("releases", &releases(1_500, &credits))]);
    home.refresh(&dumps, &server.sink()).json(0);
    // As another table of categories would have them, in a graph that is behind.
    server.query("MATCH ()-[e:CREDITED_ON]->() SET e.category = 'other'");
    server.query("MATCH (k:DiscodiffKind) SET k.epoch = 0, k.begun_epoch = 0");
    let report = home.refresh(&dumps, &server.sink()).json(0);
    assert_eq!(relationships(&report), (9_000, 9_000));
    server.assert_is(&dumps, None);
}

#[test]
fn an_edge_that_the_graph_refuses_while_it_is_brought_up_costs_no_other_and_ends_no_run() {
    let Some(server) = Server::new() else { return };
    let home = Home::new();
    let credits = [credit("Ok"), credit(&"N".repeat(9_000)), credit("Fine")].concat();
    let first = home.dumps("2026-01", &[("releases", &releases(20, &credits))]);
    let second = home.dumps("2026-02", &[("releases", &releases(21, &credits))]);
    let third = home.dumps("2026-03", &[("releases", &releases(22, &credit("Fine")))]);
    for (month, persons) in [(&first, 2), (&first, 2), (&second, 2)] {
        let ran = home.refresh(month, &format!("--sqlite store.sqlite {}", server.sink()));
        ran.json(3);
        ran.said(&["refuses the edge", "still behind"]);
        assert_eq!(server.query("MATCH (n:Person) RETURN count(n)")[0][0], persons);
    }
    assert_eq!(server.query("MATCH ()-[e:CREDITED_ON]->() RETURN count(e)")[0][0], 42);
    assert_eq!(home.sqlite("store.sqlite").len(), 21);
    // Once nothing is refused any more, the graph is whole.
    home.refresh(&third, &format!("--sqlite store.sqlite {}", server.sink())).json(0);
    server.assert_is(&third, None);
}
