//! `state rebuild`: a state that was lost is made anew from a store, and months go on as if it had not been.

use serde_json::{Value, json};

use super::generated::{odd, small};
use super::graph::Server;
use super::harness::{Database, Home, KINDS, assert_same};

impl Home {
    fn lose_the_state(&self) {
        std::fs::rename(self.path("state"), self.path("lost")).expect("renamed");
    }
}

fn current(status: &Value, sink: &str) {
    for kind in KINDS {
        assert_eq!(status["sinks"][sink][kind], "current", "{status}");
    }
}

#[test]
fn a_lost_state_is_made_anew_from_a_store_and_the_next_month_is_diffed_as_if_it_had_not_been_lost() {
    let (undisturbed, months) = (Home::new(), odd().folders());
    let expected: Vec<Value> = months.iter().map(|month| undisturbed.refresh(month, "--sqlite store.sqlite").json(3)).collect();
    for of_postgres in [false, true] {
        let (home, database) = (Home::new(), Database::new());
        let source = match (&database, of_postgres) {
            (Some(database), true) => database.url(),
            (None, true) => continue,
            _ => "store.sqlite".to_owned(),
        };
        let postgres = database.as_ref().map_or_else(String::new, |database| format!("--postgres {}", database.url()));
        let sinks = format!("--sqlite store.sqlite {postgres} --feed feed.jsonl");
        for month in &months[..2] {
            home.refresh(month, &sinks).json(3);
        }
        let before = home.run(&format!("status --state state --json {sinks}")).json(0);
        home.lose_the_state();
        let rebuilt = home.run(&format!("state rebuild --from {source} --state state --json")).json(0);
        assert_eq!((&rebuilt["sound"], &rebuilt["state"]), (&json!(true), &before["state"]), "{source}");
        let after = home.run(&format!("status --state state --json {sinks}")).json(0);
        for kind in KINDS {
            for what in ["epoch", "month", "file", "sha256", "records", "rejected", "deletes_withheld"] {
                assert_eq!(after["kinds"][kind][what], before["kinds"][kind][what], "{kind} {what}");
            }
        }
        current(&after, "sqlite");
        assert_eq!(home.run(&format!("verify --state state --json {sinks}")).json(0)["equal"], true);
        assert_eq!(home.refresh(&months[1], &sinks).json(0)["kinds"], json!({}), "the month is known");
        let report = home.refresh(&months[2], &format!("{sinks} -w 2")).json(3);
        assert_eq!(report["kinds"], expected[2]["kinds"]);
        assert_eq!(report["sinks"]["sqlite"], expected[2]["sinks"]["sqlite"], "only what changed is written");
        assert_same(&home.sqlite("store.sqlite"), &undisturbed.sqlite("store.sqlite"), "SQLite");
        if let Some(database) = &database {
            assert_same(&database.rows(), &undisturbed.sqlite("store.sqlite"), "PostgreSQL");
        }
        let (told, expected) = (home.told("store.sqlite"), undisturbed.told("store.sqlite"));
        let differ: Vec<_> = told.symmetric_difference(&expected).map(|line| &line[..line.len().min(60)]).collect();
        assert!(differ.is_empty(), "changes, dead letters and snapshots: {differ:?}");
    }
}

#[test]
fn a_store_that_is_not_as_it_was_written_gives_a_state_that_says_so_and_is_right_after_the_next_refresh() {
    let (home, months) = (Home::new(), small().folders());
    home.refresh(&months[0], "--sqlite store.sqlite").json(0);
    let before = home.sqlite("store.sqlite");
    let sqlite = rusqlite::Connection::open(home.path("store.sqlite")).expect("opened");
    let damage = "DELETE FROM artists WHERE rowid % 9 = 0;
         UPDATE labels SET data = json_set(data, '$.profile', 'x'), hash = 'x' WHERE rowid % 5 = 0;
         UPDATE masters SET data = '{}' WHERE rowid % 7 = 0;
         INSERT INTO releases SELECT 'x', hash, data, updated_at FROM releases LIMIT 1;";
    sqlite.execute_batch(damage).expect("damaged");
    drop(sqlite);
    home.lose_the_state();
    let ran = home.run("state rebuild --from store.sqlite --state state --json");
    let rebuilt = ran.json(3);
    for (kind, what) in [("label", "altered"), ("master", "altered"), ("release", "junk")] {
        assert!(rebuilt["kinds"][kind][what].as_u64().is_some_and(|number| number > 0), "{rebuilt}");
    }
    ran.said(&["the artists of sqlite are not as they were written", "when 2026-01 was complete", "are not what their hash says"]);
    home.refresh(&months[0], "--sqlite store.sqlite").json(0);
    let repaired = home.command("verify --repair --json --state state --sqlite store.sqlite").arg("--dumps").arg(&months[0]).output();
    assert_eq!(repaired.expect("it starts").status.code(), Some(0));
    assert_same(&home.sqlite("store.sqlite"), &before, "SQLite");
}

#[test]
fn a_graph_is_current_with_a_rebuilt_state_after_the_next_month() {
    let Some(server) = Server::new() else { return };
    let (home, months) = (Home::new(), small().folders());
    let sinks = format!("--sqlite store.sqlite {}", server.sink());
    home.refresh(&months[0], &sinks).json(0);
    home.lose_the_state();
    home.run("state rebuild --from store.sqlite --state state").said(&[]);
    home.refresh(&months[1], &sinks).json(0);
    server.assert_is(&months[1], None);
    assert_eq!(home.run(&format!("verify --state state --json {sinks}")).json(0)["equal"], true);
}

#[test]
fn a_state_is_not_made_where_there_is_one_or_from_what_no_refresh_wrote() {
    let (home, months) = (Home::new(), small().folders());
    home.refresh(&months[0], "--sqlite store.sqlite").json(0);
    home.run("state rebuild --from store.sqlite --state state")
        .refused(&["there is a state in state already", "name another --state, that has none"]);
    home.run("state rebuild --from none.sqlite --state new").refused(&["SQLite file none.sqlite is not there: name the store"]);
    let without = home.run("state rebuild --state new");
    assert_eq!(without.status, Some(2));
    without.said(&["--from"]);
}

#[cfg(feature = "failpoints")]
#[test]
fn of_a_store_in_which_a_month_did_not_end_a_state_is_made_that_brings_up_all_sinks() {
    let (home, months) = (Home::new(), small().folders());
    home.refresh(&months[0], "--sqlite store.sqlite --feed feed.jsonl").json(0);
    let mut command = home.refreshing(&months[1], "--sqlite store.sqlite --feed feed.jsonl");
    assert_eq!(command.env("FAILPOINTS", "before-complete=return").output().expect("it starts").status.code(), Some(1));
    home.lose_the_state();
    let ran = home.run("state rebuild --from store.sqlite --state state");
    assert_eq!(ran.status, Some(3), "{}", ran.stderr);
    ran.said(&["a month was begun in them and did not end"]);
    home.refresh(&months[1], "--sqlite store.sqlite --feed feed.jsonl").json(0);
    let fresh = Home::new();
    fresh.refresh(&months[1], "--sqlite fresh.sqlite").json(0);
    assert_same(&home.sqlite("store.sqlite"), &fresh.sqlite("fresh.sqlite"), "SQLite");
}

#[test]
fn what_an_interrupted_rebuild_left_is_no_hindrance_and_other_cells_than_text_are_rows_that_differ() {
    let (home, months) = (Home::new(), small().folders());
    home.refresh(&months[0], "--sqlite store.sqlite").json(0);
    home.lose_the_state();
    std::fs::create_dir(home.path("state")).expect("created");
    for left in ["g1-0.fingerprints", "g1-0.fingerprints.new"] {
        std::fs::write(home.path("state").join(left), "half").expect("written");
    }
    home.refresh(&months[0], "--sqlite store.sqlite").refused(&["no manifest.json", "state rebuild"]);
    let sqlite = rusqlite::Connection::open(home.path("store.sqlite")).expect("opened");
    sqlite.execute("UPDATE artists SET hash = X'ff' WHERE rowid = 4", []).expect("altered");
    drop(sqlite);
    let rebuilt = home.run("state rebuild --from store.sqlite --state state --json").json(3);
    assert_eq!(rebuilt["kinds"]["artist"]["altered"], 1);
    let dumps = format!("--sqlite store.sqlite --dumps {}", months[0].display());
    home.run(&format!("verify --repair --state state {dumps}")).refused(&["made anew from a store that was not as it was written"]);
    home.run(&format!("dead-letters retry --state state {dumps}")).refused(&["made anew from a store that was not as it was written"]);
    home.refresh(&months[0], "--sqlite store.sqlite").json(0);
    assert_eq!(home.run("verify --state state --json --sqlite store.sqlite").json(0)["equal"], true);
    for from in ["bolt://host", ""] {
        let wrong = home.command("state rebuild --state new --from").arg(from).output().expect("it starts");
        assert_eq!(wrong.status.code(), Some(2));
    }
}

#[cfg(feature = "failpoints")]
#[test]
fn a_kind_whose_first_load_did_not_end_is_told_of() {
    let (home, months) = (Home::new(), small().folders());
    let artists = home.path("artists");
    std::fs::create_dir(&artists).expect("created");
    let name = "discogs_20260101_artists.xml.gz";
    std::fs::copy(months[0].join(name), artists.join(name)).expect("copied");
    home.refresh(&artists, "--sqlite store.sqlite").json(0);
    let mut command = home.refreshing(&months[0], "--sqlite store.sqlite");
    assert_eq!(command.env("FAILPOINTS", "before-complete=return").output().expect("it starts").status.code(), Some(1));
    home.lose_the_state();
    let ran = home.run("state rebuild --from store.sqlite --state state");
    assert_eq!(ran.status, Some(3), "{}", ran.stderr);
    ran.said(&["the releases of sqlite are not as they were written: a month was begun in them and did not end"]);
    home.refresh(&months[0], "--sqlite store.sqlite").json(0);
    assert_eq!(home.run("verify --state state --json --sqlite store.sqlite").json(0)["equal"], true);
}
