//! `verify --repair`: whatever befell a store, it holds what the state holds again, and nothing was written but what differed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};

use super::broker::Broker;
use super::generated::small;
use super::graph::Server;
use super::harness::{Database, Home, KINDS, Ran, Rows, assert_same, fault};

impl Home {
    fn repair(&self, dumps: &Path, sinks: &str) -> Ran {
        let mut command = self.command(&format!("verify --repair --json --state state {sinks}"));
        Ran::of(&command.arg("--dumps").arg(dumps).output().expect("it starts"))
    }

    fn execute(&self, store: &str, sql: &str) {
        rusqlite::Connection::open(self.path(store)).expect("opened").execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// What `changes` says of each epoch: how many of each operation, and the keys.
    fn changes(&self, store: &str) -> BTreeMap<i64, BTreeSet<(String, String, String)>> {
        let connection = rusqlite::Connection::open(self.path(store)).expect("opened");
        let mut statement = connection.prepare("SELECT epoch, kind, id, op FROM changes").expect("a table");
        let rows = statement.query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?, row.get(3)?)))).expect("rows");
        let mut changes = BTreeMap::<i64, BTreeSet<_>>::new();
        for (epoch, change) in rows.map(|row| row.expect("a row")) {
            changes.entry(epoch).or_default().insert(change);
        }
        changes
    }
}

/// Numbers that look random and are the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}

/// Statements that do random damage to rows, and what a repair has to do about each key.
fn damages(rows: &Rows, seed: u64, set: &str) -> (Vec<String>, BTreeSet<(String, String, String)>) {
    let (mut dice, mut sql, mut expected) = (Dice(seed), Vec::new(), BTreeMap::new());
    let keys: Vec<_> = rows.keys().collect();
    for _ in 0..60 {
        let (kind, id) = keys[dice.roll(keys.len())];
        if expected.contains_key(&(*kind, id.clone())) {
            continue;
        }
        let (statement, op) = match dice.roll(5) {
            0 => (format!("UPDATE {kind}s SET data = {set} WHERE data_id = '{id}'"), "update"),
            1 => (format!("UPDATE {kind}s SET hash = '' WHERE data_id = '{id}'"), "update"),
            2 => (format!("UPDATE {kind}s SET data = '{{}}', hash = 'x' WHERE data_id = '{id}'"), "update"),
            3 => (format!("DELETE FROM {kind}s WHERE data_id = '{id}'"), "insert"),
            _ => {
                let new = format!("{}", 700_000_000 + expected.len());
                sql.push(format!("INSERT INTO {kind}s SELECT '{new}', hash, data, updated_at FROM {kind}s WHERE data_id = '{id}'"));
                expected.insert((*kind, new), "delete");
                continue;
            }
        };
        sql.push(statement);
        expected.insert((*kind, id.clone()), op);
    }
    // Nobody's key, of which there is nothing to note.
    sql.push(
        "INSERT INTO labels SELECT 'x' || data_id, hash, data, updated_at FROM labels LIMIT 1"
            .replace("LIMIT 1", "WHERE data_id = (SELECT min(data_id) FROM labels)"),
    );
    (sql, expected.into_iter().map(|((kind, id), op)| (kind.to_owned(), id, op.to_owned())).collect())
}

fn of_ops(keys: &BTreeSet<(String, String, String)>, wanted: &str) -> usize {
    keys.iter().filter(|(.., op)| op == wanted).count()
}

#[test]
fn a_repair_writes_exactly_the_keys_that_differ_whatever_was_done_to_them() {
    let (home, months) = (Home::new(), small().folders());
    let database = Database::new();
    let postgres = database.as_ref().map_or_else(String::new, |database| format!("--postgres {}", database.url()));
    let all = format!("--sqlite store.sqlite {postgres}");
    for month in &months[..2] {
        home.refresh(month, &all).json(0);
    }
    let before = home.sqlite("store.sqlite");
    let state = home.bytes("state");
    for seed in 1..=3 {
        let (sql, expected) = damages(&before, seed, "json_set(data, '$.profile', 'forged')");
        sql.iter().for_each(|sql| home.execute("store.sqlite", sql));
        fault("rows altered");
        if let Some(database) = &database {
            damages(&before, seed, r#"data || '{"profile": "forged"}'"#).0.iter().for_each(|sql| database.execute(sql));
        }
        let repaired = home.repair(&months[1], &all).json(0);
        assert_eq!(repaired["equal"], true);
        assert_same(&home.sqlite("store.sqlite"), &before, "SQLite");
        let noted = home.changes("store.sqlite").pop_last().expect("an epoch");
        assert_eq!(noted.1, expected, "seed {seed}");
        let wrote = json!({
            "inserted": of_ops(&expected, "insert"),
            "updated": of_ops(&expected, "update"),
            "deleted": of_ops(&expected, "delete") + 1,
        });
        assert_eq!(repaired["wrote"]["sqlite"], wrote);
        if let Some(database) = &database {
            assert_same(&database.rows(), &before, "PostgreSQL");
            assert_eq!(repaired["wrote"]["postgres"], wrote);
            let noted: BTreeSet<String> = expected.iter().map(|(kind, id, op)| format!("{kind} {id} {op}")).collect();
            let epoch = "SELECT kind || ' ' || id || ' ' || op FROM changes WHERE epoch = (SELECT max(epoch) FROM changes)";
            assert_eq!(database.texts(epoch), noted);
        }
    }
    let again = home.repair(&months[1], &all).json(0);
    assert_eq!(again["wrote"], json!({}), "nothing differs any more");
    let fingerprints = |files: BTreeMap<std::path::PathBuf, Vec<u8>>| -> Vec<_> {
        files.into_iter().filter(|(path, _)| !path.ends_with("lock") && !path.ends_with("manifest.json")).collect()
    };
    assert!(fingerprints(home.bytes("state")) == fingerprints(state), "the state is what it was");
    let report = home.refresh(&months[1], &all).json(0);
    assert_eq!(report["kinds"], json!({}), "all sinks are current");
    home.refresh(&months[2], &all).json(0);
    let fresh = Home::new();
    fresh.refresh(&months[2], "--sqlite fresh.sqlite").json(0);
    assert_same(&home.sqlite("store.sqlite"), &fresh.sqlite("fresh.sqlite"), "the next month");
}

#[test]
fn what_is_only_too_much_is_removed_without_any_dump_being_read() {
    let (home, months) = (Home::new(), small().folders());
    home.refresh(&months[0], "--sqlite store.sqlite").json(0);
    let before = home.sqlite("store.sqlite");
    for id in ["700000000", "no id"] {
        home.execute("store.sqlite", &format!("INSERT INTO masters SELECT '{id}', hash, data, updated_at FROM masters LIMIT 1"));
    }
    let repaired = home.repair(Path::new("nowhere"), "--sqlite store.sqlite").json(0);
    assert_eq!(repaired["wrote"]["sqlite"]["deleted"], 2);
    assert_same(&home.sqlite("store.sqlite"), &before, "SQLite");
}

#[test]
fn a_store_restored_from_an_old_backup_gets_what_differs_and_is_current_again() {
    let (home, months) = (Home::new(), small().folders());
    home.refresh(&months[0], "--sqlite store.sqlite").json(0);
    home.copy("store.sqlite", "backup.sqlite");
    home.refresh(&months[1], "--sqlite store.sqlite").json(0);
    home.refresh(&months[2], "--sqlite store.sqlite").json(0);
    let (old, new) = (home.sqlite("backup.sqlite"), home.sqlite("store.sqlite"));
    home.copy("backup.sqlite", "store.sqlite");
    let differ = old.keys().chain(new.keys()).filter(|key| old.get(*key) != new.get(*key)).collect::<BTreeSet<_>>();
    let report = home.repair(&months[2], "--sqlite store.sqlite").json(0);
    assert_same(&home.sqlite("store.sqlite"), &new, "what was restored");
    let wrote = &report["wrote"]["sqlite"];
    let written: u64 = ["inserted", "updated", "deleted"].iter().filter_map(|what| wrote[what].as_u64()).sum();
    assert_eq!(written, differ.len() as u64);
    assert_eq!(home.changes("store.sqlite").pop_last().expect("an epoch").1.len(), differ.len());
    let status = home.run("status --state state --json --sqlite store.sqlite").json(0);
    for kind in KINDS {
        assert_eq!(status["sinks"]["sqlite"][kind], "current", "{status}");
    }
}

#[test]
fn topics_of_documents_are_repaired_and_dumps_may_come_from_topics() {
    let Some(broker) = Broker::new() else { return };
    let (home, months) = (Home::new(), small().folders());
    let sinks = format!("--sqlite store.sqlite --document-topics {}", broker.topic("docs"));
    for month in &months[..2] {
        home.publish(month, &broker, "").json(0);
        home.apply_topics(&broker, &format!("{sinks} --partitions 3")).json(0);
    }
    let before = home.sqlite("store.sqlite");
    let ids: Vec<&String> = before.keys().filter(|(kind, _)| *kind == "release").map(|(_, id)| id).take(3).collect();
    let partition = |id: &str| {
        let found = broker.messages("docs.releases").into_iter().find(|message| message.key.as_deref() == Some(id));
        found.expect("a message").partition
    };
    let (first, second) = (partition(ids[0]), partition(ids[1]));
    broker.produce("docs.releases", first, ids[0], r#"{"id":"1"}"#);
    broker.produce("docs.releases", second, ids[1], "[]");
    broker.produce("docs.labels", 0, "x7", "{}");
    home.execute("store.sqlite", &format!("DELETE FROM releases WHERE data_id = '{}'", ids[2]));
    let line = format!("verify --repair --json --state state --kafka {} {sinks}", broker.flags());
    let repaired = home.run(&line).json(0);
    assert_eq!(repaired["wrote"]["document_topics"], json!({ "inserted": 0, "updated": 2, "deleted": 1 }));
    assert_eq!(repaired["wrote"]["sqlite"], json!({ "inserted": 1, "updated": 0, "deleted": 0 }));
    assert_same(&broker.rows(), &before, "the topics");
    assert_same(&home.sqlite("store.sqlite"), &before, "SQLite");
}

#[test]
fn what_others_did_to_a_graph_is_undone() {
    let Some(server) = Server::new() else { return };
    let (home, months) = (Home::new(), small().folders());
    for month in &months[..2] {
        home.refresh(month, &server.sink()).json(0);
    }
    let before = server.save(&home.path("before"));
    let relationships = |report: &Value| report["wrote"]["neo4j"]["graph"].clone();
    let damages = [
        "MATCH (n:Release) WITH n ORDER BY n.id LIMIT 3 SET n.title = n.title + '!'",
        "MATCH (n:Artist) WHERE n.hash IS NOT NULL WITH n ORDER BY n.id LIMIT 3 SET n.mood = 'good', n:Musician",
        "MATCH (n:Label) WHERE n.hash IS NOT NULL WITH n ORDER BY n.id LIMIT 2 SET n.hash = 'x'",
        "MATCH (n:Master) WITH n ORDER BY n.id LIMIT 2 DETACH DELETE n",
        "MATCH (n:Genre) WITH n ORDER BY n.name LIMIT 1 SET n.mood = 'good', n:`Odd `` label`",
        "MATCH (n:Style) WITH n ORDER BY n.name LIMIT 1 DETACH DELETE n",
        "MATCH (n {stub: true}) WITH n ORDER BY n.id LIMIT 2 SET n.name = 'not known'",
        "MATCH (n {stub: true}) WITH n ORDER BY n.id DESC LIMIT 1 DETACH DELETE n",
        "MATCH (r:Release)-[e:IS]->() WITH e ORDER BY r.id LIMIT 5 DELETE e",
        "MATCH (a:Artist), (b:Artist) WHERE a <> b AND NOT (a)-[:ALIAS_OF]->(b) WITH a, b LIMIT 2 CREATE (a)-[:ALIAS_OF {x: 1}]->(b)",
        "MATCH (a:Label), (b:Label) WHERE a <> b AND NOT (a)-[:SUBLABEL_OF]->(b) WITH a, b LIMIT 2 CREATE (a)-[:SUBLABEL_OF]->(b)",
        "MATCH ()-[e:CREDITED_ON]->() WITH e LIMIT 2 SET e.category = 'cooking'",
        "CREATE (:Artist {id: '987654321', name: 'Nobody'})",
        "CREATE (:Release {id: 'x'})",
        "CREATE (:Person {name: 'Nobody at all'})",
    ];
    for damage in damages {
        server.query(damage);
        fault("a graph altered");
        let repaired = home.repair(&months[1], &server.sink()).json(0);
        assert_eq!(repaired["equal"], true, "{damage}");
        assert_eq!(server.save(&home.path("after")), before, "{damage}");
    }
    damages.iter().for_each(|damage| drop(server.query(damage)));
    home.repair(&months[1], &server.sink()).json(0);
    assert_eq!(server.save(&home.path("after")), before);
    server.assert_is(&months[1], None);
    server.query("MATCH (r:Release)-[e:IS]->() WITH e ORDER BY r.id LIMIT 4 DELETE e");
    let only_edges = home.repair(Path::new("nowhere"), &server.sink()).json(0);
    assert_eq!(relationships(&only_edges)["relationships_created"], 4, "{only_edges}");
    assert_eq!(only_edges["wrote"]["neo4j"]["updated"], 0);
    // What is nobody's business of discodiff's stays, and is told.
    server.query("CREATE (:Thing)");
    let left = home.repair(&months[1], &server.sink()).json(1);
    assert_eq!(left["left"]["neo4j"]["names"]["other"]["extra"], 1);
    server.query("MATCH (n:Thing) DELETE n");
    let report = home.refresh(&months[1], &server.sink()).json(0);
    assert_eq!(report["kinds"], json!({}), "the graph is current");
    home.refresh(&months[2], &server.sink()).json(0);
    server.assert_is(&months[2], None);
}

#[test]
fn a_repair_refuses_what_it_cannot_do_and_writes_nothing_then() {
    let (home, months) = (Home::new(), small().folders());
    home.refresh(&months[0], "--sqlite store.sqlite").json(0);
    let without = home.run("verify --repair --state state --sqlite store.sqlite");
    assert_eq!(without.status, Some(2));
    without.said(&["--dumps: is needed"]);
    home.execute("store.sqlite", "DELETE FROM releases");
    let before = home.bytes("store.sqlite");
    home.repair(&months[1], "--sqlite store.sqlite").refused(&["_releases.xml.gz of 2026-01", "sha256", "Nothing was written"]);
    assert!(home.bytes("store.sqlite") == before);
    home.repair(&months[0], "--state other --sqlite store.sqlite");
    let dumps = home.run("verify --state state --sqlite store.sqlite --dumps 2026-01");
    assert_eq!(dumps.status, Some(2), "{}", dumps.stderr);
    home.repair(&months[0], "--feed feed.jsonl").refused(&["no store is named"]);
}

#[test]
fn keys_that_the_dump_does_not_give_stay_wrong_and_are_told() {
    let home = Home::new();
    let record = |id: u64, name: &str| format!("<artist><id>{id}</id><name>{name}</name></artist>\n");
    let dump = |records: &str| format!("<artists>\n{records}</artists>\n").into_bytes();
    let first = home.dumps("2026-01", &[("artists", &dump(&(record(1, "A") + &record(2, "B"))))]);
    // The second is rejected, and kept as it was.
    let second = home.dumps("2026-02", &[("artists", &dump(&(record(1, "A+") + "<artist><id>2</id><name>B</nam></artist>\n")))]);
    home.refresh(&first, "--sqlite store.sqlite").json(0);
    home.refresh(&second, "--sqlite store.sqlite").json(3);
    home.execute("store.sqlite", "UPDATE artists SET data = '{}'");
    let ran = home.repair(&second, "--sqlite store.sqlite");
    let report = ran.json(1);
    assert_eq!(report["wrote"]["sqlite"]["updated"], 1);
    let left = &report["left"]["sqlite"]["kinds"]["artist"];
    assert_eq!((&left["differ"], &left["named"][0]["id"]), (&json!(1), &json!("2")));
    let status = home.run("status --state state --json --sqlite store.sqlite").json(0);
    assert_eq!(status["sinks"]["sqlite"]["artist"], "begun and not complete");
}

#[cfg(feature = "failpoints")]
mod interrupted {
    use super::*;

    #[test]
    fn a_repair_that_died_is_made_good_by_the_next_one_or_by_a_refresh() {
        let (home, months) = (Home::new(), small().folders());
        home.refresh(&months[0], "--sqlite store.sqlite").json(0);
        let before = home.sqlite("store.sqlite");
        let points = ["batch-rows=return(50);after-write=1*off->panic", "before-complete=return"];
        for (number, point) in points.into_iter().enumerate() {
            home.execute("store.sqlite", "UPDATE releases SET data = '{}' WHERE rowid % 3 = 0; DELETE FROM artists WHERE rowid % 7 = 0");
            let mut command = home.command("verify --repair --state state --sqlite store.sqlite");
            command.arg("--dumps").arg(&months[0]).env("FAILPOINTS", point);
            assert_ne!(command.output().expect("it starts").status.code(), Some(0));
            let status = home.run("status --state state --json --sqlite store.sqlite").json(0);
            assert_eq!(status["sinks"]["sqlite"]["release"], "begun and not complete", "{status}");
            if number == 0 {
                home.repair(&months[0], "--sqlite store.sqlite").json(0);
            } else {
                // A refresh believes hashes, and these were not touched.
                home.execute("store.sqlite", "UPDATE releases SET hash = '' WHERE data = '{}'");
                home.refresh(&months[0], "--sqlite store.sqlite").json(0);
            }
            assert_same(&home.sqlite("store.sqlite"), &before, "after the next");
        }
    }

    #[test]
    fn a_repair_waits_for_a_refresh_that_did_not_end() {
        let (home, months) = (Home::new(), small().folders());
        home.refresh(&months[0], "--sqlite store.sqlite").json(0);
        let mut command = home.refreshing(&months[1], "--sqlite store.sqlite");
        assert_eq!(command.env("FAILPOINTS", "before-complete=return").output().expect("it starts").status.code(), Some(1));
        home.repair(&months[0], "--sqlite store.sqlite").refused(&["a refresh was begun and did not end", "run it again first"]);
    }
}
