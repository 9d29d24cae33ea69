//! Sinks that are new, behind, ahead or another's: each is whole after the next run, or refused and left as it was.

use std::fs;

use serde_json::json;

use super::generated::small;
use super::harness::{Database, Home, assert_same};

#[test]
fn a_sink_named_in_the_second_month_is_whole_after_it() {
    let (home, months) = (Home::new(), small().folders());
    home.refresh(&months[0], "--sqlite a.sqlite").json(0);
    let database = Database::new();
    let postgres = database.as_ref().map_or_else(String::new, |database| format!("--postgres {}", database.url()));
    let ran = home.refresh(&months[1], &format!("--sqlite a.sqlite {postgres} -w 2"));
    let report = ran.json(0);
    let first = home.sqlite("a.sqlite");
    if let Some(database) = &database {
        ran.said(&["postgres was new or behind: its releases were brought up in this run"]);
        assert_eq!(report["sinks"]["postgres"]["inserted"], first.len());
        assert_same(&database.rows(), &first, "the new sink and the first");
    }
    // The same month again with a third sink: there is something to do, for it alone.
    let report = home.refresh(&months[1], "--sqlite b.sqlite").json(0);
    assert_eq!((&report["kinds"]["label"]["inserted"], &report["kinds"]["label"]["updated"]), (&json!(0), &json!(0)));
    assert_same(&home.sqlite("b.sqlite"), &first, "the third sink and the first");
}

#[test]
fn a_sink_left_out_for_a_month_is_whole_after_the_next() {
    let (home, months) = (Home::new(), small().folders());
    let database = Database::new();
    let postgres = database.as_ref().map_or_else(String::new, |database| format!("--postgres {}", database.url()));
    let all = format!("--sqlite a.sqlite {postgres}");
    home.refresh(&months[0], &all).json(0);
    home.refresh(&months[1], "--sqlite b.sqlite").json(0);
    home.refresh(&months[2], &format!("{all} -w 2")).json(0);
    home.refresh(&months[2], "--state fresh --sqlite fresh.sqlite").json(0);
    let fresh = home.sqlite("fresh.sqlite");
    assert_same(&home.sqlite("a.sqlite"), &fresh, "SQLite, left out and brought up, and fresh");
    database.iter().for_each(|database| assert_same(&database.rows(), &fresh, "PostgreSQL, likewise"));
    assert_eq!(home.run(&format!("verify --state state --json {all}")).json(0)["equal"], true);
}

#[test]
fn a_store_restored_from_the_month_before_is_whole_after_the_next() {
    let (home, months) = (Home::new(), small().folders());
    let database = Database::new();
    let postgres = |database: &Option<Database>| database.as_ref().map_or_else(String::new, |db| format!("--postgres {}", db.url()));
    let all = format!("--sqlite a.sqlite {}", postgres(&database));
    home.refresh(&months[0], &all).json(0);
    let restored = ["b.sqlite", "c.sqlite"].map(|name| {
        home.copy("a.sqlite", name);
        (name, database.as_ref().map(Database::copy))
    });
    home.refresh(&months[1], &all).json(0);
    let second = home.sqlite("a.sqlite");
    let [again, next] = restored;
    home.refresh(&months[1], &format!("--sqlite {} {}", again.0, postgres(&again.1))).json(0);
    assert_same(&home.sqlite(again.0), &second, "restored and given the same month again");
    again.1.iter().for_each(|database| assert_same(&database.rows(), &second, "PostgreSQL, likewise"));
    home.refresh(&months[2], &all).json(0);
    let third = home.sqlite("a.sqlite");
    home.refresh(&months[2], &format!("--sqlite {} {}", next.0, postgres(&next.1))).json(0);
    assert_same(&home.sqlite(next.0), &third, "restored and given the month after the next");
    next.1.iter().for_each(|database| assert_same(&database.rows(), &third, "PostgreSQL, likewise"));
}

#[test]
fn a_command_that_leaves_out_the_sinks_of_before_fills_no_second_store() {
    let (home, months) = (Home::new(), small().folders());
    for (state, first) in [("state", "--sqlite a.sqlite"), ("other", "--null")] {
        home.refresh(&months[0], &format!("--state {state} {first}")).json(0);
        let held = || {
            let mut files = home.bytes(state);
            // The number of the process is in it.
            files.remove(&home.path(state).join("lock"));
            files
        };
        let (before, own) = (held(), format!("{state}/discodiff.sqlite"));
        for (line, month) in [("refresh --allow-deletes", &months[0]), ("refresh", &months[1]), ("dead-letters retry", &months[0])] {
            let ran = home.run(&format!("{line} --state {state} --dumps {}", month.display()));
            assert_eq!((ran.status, ran.stdout.as_str()), (Some(2), ""), "{line}: {}", ran.stderr);
            let applied = format!("--sqlite: no sink is named, and the state in {state} was applied to others: name them");
            ran.said(&[&applied, &format!("or say --sqlite {own} to fill a new one")]);
        }
        let checked = home.run(&format!("check --state {state}"));
        assert!(checked.status == Some(1) && checked.stdout.contains("FAIL  no sink is named"), "{}", checked.stdout);
        let plan = home.run(&format!("plan --state {state} --dumps {}", months[1].display()));
        assert_eq!(plan.status, Some(0), "{}", plan.stderr);
        plan.said(&["a refresh would not begin: no sink is named"]);
        assert!(before == held(), "nothing was written");
        // Once it was named it is meant, and used from then on.
        home.refresh(&months[1], &format!("--state {state} --sqlite {own}")).json(0);
        home.refresh(&months[2], &format!("--state {state}")).json(0);
    }
}

#[cfg(feature = "failpoints")]
#[test]
fn a_first_run_that_ended_on_the_way_is_made_good_without_naming_a_sink() {
    let (home, months) = (Home::new(), small().folders());
    let mut first = home.refreshing(&months[0], "");
    assert_eq!(first.env("FAILPOINTS", "before-complete=return").output().expect("it starts").status.code(), Some(1));
    fs::remove_file(home.path("state/discodiff.sqlite")).expect("it was begun");
    home.refresh(&months[0], "").json(0);
    assert!(!home.sqlite("state/discodiff.sqlite").is_empty());
}

#[test]
fn another_states_stores_are_refused_and_stay_as_they_were() {
    let (home, months) = (Home::new(), small().folders());
    let database = Database::new();
    let postgres = database.as_ref().map(|database| format!("--postgres {}", database.url()));
    home.refresh(&months[0], &format!("--sqlite a.sqlite --feed feed.jsonl {}", postgres.as_deref().unwrap_or_default())).json(0);
    let names = ["a.sqlite", "feed.jsonl", "feed.jsonl.binding.json"];
    let before = names.map(|name| home.bytes(name));
    let rows = database.as_ref().map(Database::rows);
    for sink in [Some("--sqlite a.sqlite"), Some("--feed feed.jsonl"), postgres.as_deref()].into_iter().flatten() {
        for month in &months[..2] {
            home.refresh(month, &format!("--state other {sink}")).refused(&["belongs to the state", "It stays as it was"]);
        }
    }
    assert!(before == names.map(|name| home.bytes(name)), "files are byte for byte as they were");
    if let (Some(database), Some(rows)) = (&database, &rows) {
        assert_same(&database.rows(), rows, "PostgreSQL before and after");
    }
    assert_eq!(home.refresh(&months[0], "--sqlite a.sqlite --feed feed.jsonl").json(0)["kinds"], json!({}), "and its own state goes on");
}

#[test]
fn stores_with_data_that_the_program_did_not_write_are_refused_and_stay_as_they_were() {
    let (home, months) = (Home::new(), small().folders());
    let sqlite = rusqlite::Connection::open(home.path("mine.sqlite")).expect("made");
    let table = "CREATE TABLE artists (data_id text PRIMARY KEY, hash text, data text, updated_at text);
                 INSERT INTO artists VALUES ('1', 'x', '{}', 'now')";
    sqlite.execute_batch(table).expect("made");
    drop(sqlite);
    fs::write(home.path("feed.jsonl"), "{\"mine\": true}\n").expect("written");
    fs::write(home.path("text.sqlite"), "Not a database at all, but a text of some length.\n".repeat(99)).expect("written");
    let before = home.bytes("");
    home.refresh(&months[0], "--sqlite mine.sqlite").refused(&["mine.sqlite is foreign", "table artists holds data"]);
    home.refresh(&months[0], "--sqlite text.sqlite").refused(&["text.sqlite"]);
    home.refresh(&months[0], "--feed feed.jsonl").refused(&["feed.jsonl holds data that no discodiff wrote"]);
    let kept = home.bytes("");
    assert!(before.iter().all(|(path, bytes)| kept.get(path) == Some(bytes)), "files are byte for byte as they were");
    if let Some(database) = Database::new() {
        database.execute("CREATE TABLE masters (title text); INSERT INTO masters VALUES ('mine')");
        let refused = home.refresh(&months[0], &format!("--postgres {}", database.url()));
        refused.refused(&["is foreign", "table masters holds data"]);
        database.execute("DO $$ BEGIN ASSERT (SELECT count(*) = 1 FROM masters) AND to_regclass('artists') IS NULL; END $$");
    }
}

#[test]
fn sinks_are_right_after_the_state_was_restored_from_a_backup() {
    let (home, months) = (Home::new(), small().folders());
    let database = Database::new();
    let postgres = database.as_ref().map_or_else(String::new, |database| format!("--postgres {}", database.url()));
    let all = format!("--sqlite a.sqlite {postgres}");
    home.refresh(&months[0], &all).json(0);
    home.copy("state", "backup");
    home.refresh(&months[1], &all).json(0);
    home.copy("backup", "state");
    home.refresh(&months[2], &format!("{all} -w 3")).json(0);
    home.refresh(&months[2], "--state fresh --sqlite fresh.sqlite").json(0);
    let fresh = home.sqlite("fresh.sqlite");
    assert_same(&home.sqlite("a.sqlite"), &fresh, "SQLite and fresh");
    database.iter().for_each(|database| assert_same(&database.rows(), &fresh, "PostgreSQL and fresh"));
    // Back to the month that the sinks have just been brought to, and to one before it.
    home.copy("backup", "state");
    home.refresh(&months[2], &all).json(0);
    assert_same(&home.sqlite("a.sqlite"), &fresh, "SQLite, applied again");
    home.copy("backup", "state");
    home.refresh(&months[1], &all).json(0);
    home.refresh(&months[1], "--state second --sqlite second.sqlite").json(0);
    let second = home.sqlite("second.sqlite");
    assert_same(&home.sqlite("a.sqlite"), &second, "SQLite, gone back");
    database.iter().for_each(|database| assert_same(&database.rows(), &second, "PostgreSQL, gone back"));
}

#[test]
fn a_new_sink_stays_behind_in_a_kind_that_the_folder_lacks_and_is_whole_once_it_is_there() {
    let (home, months) = (Home::new(), small().folders());
    home.refresh(&months[0], "--sqlite a.sqlite").json(0);
    let partial = home.path("partial");
    super::harness::copy(&months[1], &partial);
    let labels = fs::read_dir(&partial).expect("listed").flatten().find(|entry| entry.file_name().to_string_lossy().contains("labels"));
    fs::remove_file(labels.expect("labels").path()).expect("removed");
    let ran = home.refresh(&partial, "--sqlite b.sqlite");
    assert_eq!(ran.json(3)["kinds"].as_object().expect("kinds").len(), 3);
    ran.said(&["sqlite is still behind", "labels"]);
    assert!(!home.sqlite("b.sqlite").keys().any(|(kind, _)| *kind == "label"));
    home.refresh(&months[1], "--sqlite b.sqlite").json(0);
    home.refresh(&months[1], "--sqlite a.sqlite").json(0);
    assert_same(&home.sqlite("b.sqlite"), &home.sqlite("a.sqlite"), "the sink that was behind and the other");
}

#[test]
fn a_sink_that_missed_how_the_last_record_of_a_kind_went_is_behind_until_a_dump_of_that_kind_is_there() {
    let home = Home::new();
    let releases = "<release id=\"1\"><title>R</title></release>\n";
    let dumps = |month: &str, kinds: &[(&str, &str)]| {
        let whole: Vec<_> = kinds.iter().map(|(kind, records)| (*kind, format!("<{kind}>\n{records}</{kind}>\n"))).collect();
        home.dumps(month, &whole.iter().map(|(kind, xml)| (*kind, xml.as_bytes())).collect::<Vec<_>>())
    };
    let label = "<label><id>1</id><name>L</name></label>\n";
    home.refresh(&dumps("2026-01", &[("labels", label), ("releases", releases)]), "--sqlite a.sqlite").json(0);
    home.refresh(&dumps("2026-02", &[("labels", ""), ("releases", releases)]), "--sqlite b.sqlite --allow-deletes").json(0);
    let ran = home.refresh(&dumps("2026-03", &[("releases", releases)]), "--sqlite a.sqlite");
    ran.json(3);
    ran.said(&["sqlite is still behind: it may have labels that the state no longer holds"]);
    home.refresh(&dumps("2026-04", &[("labels", ""), ("releases", releases)]), "--sqlite a.sqlite").json(0);
    assert_eq!(home.sqlite("a.sqlite"), home.sqlite("b.sqlite"));
}
