//! What a person is told of records that were rejected: which are open, why, with which bytes, and when they are made good.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::harness::{Database, Home, Ran};

const FILE: &str = "discogs_20260101_artists.xml";

/// A file of these records, to its end.
fn whole(records: &[&[u8]]) -> Vec<u8> {
    [b"<artists>\n".as_slice(), &records.join(&b'\n'), b"\n</artists>\n"].concat()
}

const ONE: &[u8] = b"<artist><id>1</id><name>One</name></artist>";
const CUT: &[u8] = b"<artist><id>5</id><name>cut";
const NOBODY: &[u8] = b"<artist><name>\x1b[2JNobody</name></artist>";
const BYTES: &[u8] = b"<artist><id>7</id><name>\xff\x1b[2J</name></artist>";
const FIVE: &[u8] = b"<artist><id>5</id><name>Five</name></artist>";
const NINE: &[u8] = b"<artist><id>9</id><name>Nine</name></artist>";

/// Both stores, where there is a server, fed alike.
struct Stores {
    home: Home,
    database: Option<Database>,
}

impl Stores {
    fn new() -> Stores {
        Stores { home: Home::new(), database: Database::new() }
    }

    /// The flags of each.
    fn each(&self) -> Vec<String> {
        let postgres = self.database.as_ref().map(|database| format!("--postgres {}", database.url()));
        [Some("--sqlite store.sqlite".to_owned()), postgres].into_iter().flatten().collect()
    }

    fn refresh(&self, month: &str, bytes: &[u8]) -> Ran {
        self.home.refresh(&self.home.dumps(month, &[("artists", bytes)]), &format!("-w 2 {}", self.each().join(" ")))
    }

    fn run(&self, line: &str, store: &str) -> Ran {
        self.home.run(&format!("dead-letters {line} {store}"))
    }
}

/// Id, epoch, first epoch and the epoch that cleared it, of each letter.
fn told(listed: &Value) -> Vec<(String, u64, u64, Option<u64>)> {
    let letters = listed["letters"].as_array().expect("letters").iter();
    let number = |letter: &Value, name: &str| letter[name].as_u64();
    letters
        .map(|letter| {
            let id = letter["id"].as_str().unwrap_or("-").to_owned();
            let [epoch, first] = ["epoch", "first_epoch"].map(|name| number(letter, name).expect("a number"));
            (id, epoch, first, number(letter, "cleared_epoch"))
        })
        .collect()
}

fn open(id: &str, epoch: u64, first: u64) -> (String, u64, u64, Option<u64>) {
    (id.to_owned(), epoch, first, None)
}

#[test]
fn what_was_rejected_is_listed_and_shown_with_its_bytes_and_what_to_do() {
    let stores = Stores::new();
    stores.refresh("2026-01", &whole(&[ONE, CUT, NOBODY, BYTES, NINE])).json(3);
    let at = 10 + ONE.len() + 1;
    for store in stores.each() {
        let listed = stores.run("list --json", &store).json(0);
        assert_eq!(told(&listed), [open("5", 1, 1), open("-", 1, 1), open("7", 1, 1)], "{listed}");
        let mut first = listed["letters"][0].clone();
        assert!(first["at"].take().as_str().expect("a time").ends_with('Z'), "{listed}");
        let reason = "cut short: the next record begins before its end tag";
        let expected = json!({
            "kind": "artist", "id": "5", "file": FILE, "position": at, "stage": "split", "reason": reason, "bytes": CUT.len(), "at": null,
            "epoch": 1, "month": "2026-01", "first_epoch": 1, "first_month": "2026-01", "cleared_epoch": null,
        });
        assert_eq!(first, expected);
        assert_eq!(listed["open"], json!({ "artist": 3, "label": 0, "master": 0, "release": 0 }));

        let words = stores.run("list", &store);
        assert_eq!(words.status, Some(0), "{}", words.stderr);
        for part in [&format!("artist 5       {FILE}:{at} "), "artist, no id", "2026-01 (epoch 1)", reason, "3 open (3 of artists)"] {
            assert!(words.stdout.contains(part), "{part} is not in {}", words.stdout);
        }
        let few = stores.run("list --limit 2", &store).stdout;
        assert!(!few.contains("artist 7") && few.contains("1 more are not shown"), "{few}");
        let none = stores.run("list --kind releases", &store).stdout;
        assert!(none.ends_with(": no dead letter is open\n") && none.lines().count() == 1, "{none}");

        let shown = stores.run("show artist 7", &store);
        assert_eq!(shown.status, Some(0), "{}", shown.stderr);
        for part in ["not UTF-8", "--raw", r"<id>7</id><name>\xff\u{1b}[2J</name>", "2026-01 (epoch 1)", " open\n"] {
            assert!(shown.stdout.contains(part), "{part} is not in {}", shown.stdout);
        }
        let raw = stores.home.command(&format!("dead-letters show artist 7 --raw {store}")).output().expect("it starts");
        assert_eq!(raw.stdout.trim_ascii_end(), BYTES, "to the byte");
        let place = format!("show {FILE}:{} --json", at + CUT.len() + 1);
        let nobody = stores.run(&place, &store).json(0);
        assert_eq!((nobody["reason"].as_str(), nobody["utf8"].as_bool()), (Some("it has no id"), Some(true)), "{nobody}");
        assert_eq!(nobody["raw"].as_str().map(str::trim_end), std::str::from_utf8(NOBODY).ok());
        assert!(nobody["hint"].as_str().expect("a hint").contains("deletes of its kind are withheld"), "{nobody}");
    }
}

#[test]
fn a_dump_that_was_read_whole_clears_what_it_gives_well_or_no_more_and_keeps_open_what_it_gives_broken() {
    let stores = Stores::new();
    stores.refresh("2026-01", &whole(&[ONE, CUT, NOBODY, BYTES, NINE])).json(3);
    stores.refresh("2026-02", &whole(&[ONE, FIVE, BYTES, NINE])).json(3);
    for store in stores.each() {
        let listed = stores.run("list --json", &store).json(0);
        assert_eq!((told(&listed), &listed["cleared"]["artist"]), (vec![open("7", 2, 1)], &json!(3)), "{listed}");
        assert_eq!(listed["letters"][0]["first_month"], "2026-01");
        let all = stores.run("list --all --json", &store).json(0);
        let cleared = |id: &str| (id.to_owned(), 1, 1, Some(2));
        assert_eq!(told(&all), [cleared("5"), cleared("-"), cleared("7"), open("7", 2, 1)], "{all}");
        assert!(stores.run("list --all", &store).stdout.contains("[cleared in epoch 2]"));

        let shown = stores.run("show artist 7 --json", &store).json(0);
        assert_eq!((shown["epoch"].as_u64(), shown["others"][0]["epoch"].as_u64()), (Some(2), Some(1)), "the newest: {shown}");
        assert_eq!(stores.run("show artist 7 --epoch 1 --json", &store).json(0)["cleared_epoch"], 2);
        assert!(stores.run("show artist 5", &store).stdout.contains("cleared in epoch 2"));
        stores.run("show artist 7 --epoch 9", &store).refused(&["from epoch 9, but from 2, 1"]);
    }
    stores.refresh("2026-03", &whole(&[ONE, FIVE, NINE])).json(0);
    for store in stores.each() {
        assert_eq!(told(&stores.run("list --json", &store).json(0)), []);
        assert!(stores.run("list", &store).stdout.contains("no dead letter is open, 4 cleared (--all shows them)"));
    }
}

#[test]
fn a_dump_that_breaks_off_clears_only_what_it_has_given_before_that() {
    let stores = Stores::new();
    stores.refresh("2026-01", &whole(&[ONE, CUT, NOBODY, BYTES, NINE])).json(3);
    let broken = [b"<artists>\n".as_slice(), &[ONE, FIVE].join(&b'\n')].concat();
    stores.refresh("2026-02", &broken).json(3);
    for store in stores.each() {
        assert_eq!(told(&stores.run("list --json", &store).json(0)), [open("-", 1, 1), open("7", 1, 1)]);
    }
    // Such a file is never done with, and what it rejects is listed once all the same.
    let broken = [b"<artists>\n".as_slice(), &[ONE, NOBODY, BYTES, NINE].join(&b'\n')].concat();
    for _ in 0..2 {
        stores.refresh("2026-03", &broken).json(3);
    }
    for store in stores.each() {
        assert_eq!(told(&stores.run("list --json", &store).json(0)), [open("-", 1, 1), open("-", 4, 4), open("7", 4, 1)]);
    }
}

#[test]
fn every_row_that_a_store_refuses_has_a_dead_letter_which_the_next_month_clears() {
    let stores = Stores::new();
    stores.refresh("2026-01", &whole(&[ONE])).json(0);
    let path = stores.home.path("store.sqlite");
    let sqlite = |sql: &str| rusqlite::Connection::open(&path).and_then(|sqlite| sqlite.execute_batch(sql)).expect("executed");
    sqlite("CREATE TRIGGER refuse BEFORE INSERT ON artists WHEN NEW.data_id IN ('5', '9') BEGIN SELECT raise(ABORT, 'no odd ones'); END");
    if let Some(database) = &stores.database {
        database.execute("ALTER TABLE artists ADD CONSTRAINT no_odd_ones CHECK (data_id NOT IN ('5', '9'))");
    }
    stores.refresh("2026-02", &whole(&[ONE, FIVE, NINE])).json(3);
    for store in stores.each() {
        let listed = stores.run("list --json", &store).json(0);
        assert_eq!(told(&listed), [open("5", 2, 2), open("9", 2, 2)], "both of one block: {listed}");
        let shown = stores.run("show artist 9 --json", &store).json(0);
        assert_eq!((&shown["stage"], &shown["position"]), (&json!("sink"), &Value::Null), "{shown}");
        assert!(shown["hint"].as_str().expect("a hint").contains("the next refresh delivers it again"), "{shown}");
        let document: Value = serde_json::from_str(shown["raw"].as_str().expect("text")).expect("JSON");
        assert_eq!(document, json!({ "id": "9", "name": "Nine" }));
        let words = stores.run("list", &store).stdout;
        assert!(
            words.contains("discogs_20260201_artists.xml  sink")
                && words.contains(if store.contains("sqlite") { "no odd ones" } else { "no_odd_ones" }),
            "{words}"
        );
    }
    sqlite("DROP TRIGGER refuse");
    if let Some(database) = &stores.database {
        database.execute("ALTER TABLE artists DROP CONSTRAINT no_odd_ones");
    }
    stores.refresh("2026-03", &whole(&[ONE, FIVE, NINE])).json(0);
    for store in stores.each() {
        assert_eq!(told(&stores.run("list --json", &store).json(0)), []);
    }
}

#[test]
fn status_tells_how_many_are_open_in_each_store_that_keeps_them() {
    let stores = Stores::new();
    stores.refresh("2026-01", &whole(&[ONE, CUT, BYTES])).json(3);
    let all = format!("--feed feed.jsonl {}", stores.each().join(" "));
    let status = stores.home.run(&format!("status --state state --json {all}")).json(0);
    let counts = json!({ "artist": 2, "label": 0, "master": 0, "release": 0 });
    let mut expected = BTreeMap::from([("sqlite", counts.clone())]);
    if stores.database.is_some() {
        expected.insert("postgres", counts);
    }
    assert_eq!(status["dead_letters"], json!(expected), "{status}");
    let words = stores.home.run(&format!("status --state state {all}")).stdout;
    assert!(words.contains("\nsqlite: open dead letters: 2 of artists (see dead-letters list)\n"), "{words}");
    stores.refresh("2026-02", &whole(&[ONE])).json(0);
    let words = stores.home.run(&format!("status --state state {all}")).stdout;
    assert!(words.contains("\nsqlite: no dead letter is open\n"), "{words}");
}

#[test]
fn the_states_own_store_is_asked_where_none_is_named_and_a_store_that_is_none_of_ours_is_refused() {
    let home = Home::new();
    home.run("dead-letters list --state state")
        .refused(&["SQLite file state/discodiff.sqlite is not there: name the store that refresh was given"]);
    home.refresh(&home.dumps("2026-01", &[("artists", &whole(&[ONE]))]), "").json(0);
    let listed = home.run("dead-letters list --state state");
    assert_eq!((listed.status, listed.stdout.as_str()), (Some(0), "sqlite: no dead letter is open\n"), "{}", listed.stderr);
    home.run("dead-letters show artist 5 --state state").refused(&["holds no dead letter of artist 5", "list --all"]);
    home.run("dead-letters list --sqlite nowhere.sqlite").refused(&["SQLite file nowhere.sqlite is not there"]);
    assert!(!home.path("nowhere.sqlite").exists(), "and makes nothing");
    rusqlite::Connection::open(home.path("empty.sqlite")).and_then(|empty| empty.execute_batch("VACUUM")).expect("made");
    home.run("dead-letters list --sqlite empty.sqlite").refused(&["SQLite file empty.sqlite holds nothing that a refresh wrote"]);
    let other = rusqlite::Connection::open(home.path("other.sqlite")).expect("opened");
    other.execute_batch("CREATE TABLE dead_letters (subject TEXT); INSERT INTO dead_letters VALUES ('not ours')").expect("made");
    home.run("dead-letters list --sqlite other.sqlite").refused(&["is foreign", "dead_letters"]);
    std::fs::write(home.path("discodiff.toml"), "feed = \"feed.jsonl\"\n").expect("written");
    home.run("dead-letters list --state state").refused(&["no store that keeps dead letters is named"]);
}

#[test]
fn a_store_that_an_older_discodiff_wrote_is_read_before_it_is_migrated_and_after() {
    let stores = Stores::new();
    stores.refresh("2026-01", &whole(&[ONE, CUT])).json(3);
    let undo = "DROP INDEX dead_letters_open; DROP INDEX dead_letters_id; ALTER TABLE dead_letters DROP COLUMN cleared_epoch; \
                DELETE FROM discodiff_migrations WHERE version = 3";
    rusqlite::Connection::open(stores.home.path("store.sqlite")).and_then(|sqlite| sqlite.execute_batch(undo)).expect("undone");
    if let Some(database) = &stores.database {
        database.execute(undo);
    }
    for store in stores.each() {
        assert_eq!(told(&stores.run("list --json", &store).json(0)), [open("5", 1, 1)]);
        assert_eq!(stores.run("show artist 5 --json", &store).json(0)["cleared_epoch"], Value::Null);
    }
    stores.refresh("2026-02", &whole(&[ONE, FIVE])).json(0);
    for store in stores.each() {
        assert_eq!(told(&stores.run("list --all --json", &store).json(0)), [("5".to_owned(), 1, 1, Some(2))]);
    }
}

#[test]
fn wrong_arguments_are_usage_errors_that_say_what_would_be_right() {
    let home = Home::new();
    for (line, words) in [
        ("dead-letters", "Usage"),
        ("dead-letters list", "--state: is needed"),
        ("dead-letters list --state s --kind song", "song is no kind: artist, label, master or release"),
        ("dead-letters list --state s --limit 0", "--limit"),
        ("dead-letters list --state s --neo4j bolt://h", "--neo4j"),
        ("dead-letters show --state s", "KIND ID|FILE:POSITION"),
        ("dead-letters show --state s artist five", "five is no id of a record"),
        ("dead-letters show --state s song 5", "song is no kind"),
        ("dead-letters show --state s artist", "nor FILE:POSITION"),
        ("dead-letters show --state s artist 5 --raw --json", "cannot be used with"),
    ] {
        let ran = home.run(line);
        assert_eq!(ran.status, Some(2), "{line}: {}{}", ran.stdout, ran.stderr);
        assert!(ran.stderr.contains(words), "{line}: {words} is not in {}", ran.stderr);
    }
}

#[test]
fn a_retry_reads_only_what_was_applied_last_and_of_that_only_kinds_of_which_something_was_rejected() {
    let home = Home::new();
    let labels = b"<labels>\n<label><id>1</id><name>L</name></label>\n</labels>\n";
    let first = home.dumps("2026-01", &[("artists", &whole(&[ONE, BYTES])), ("labels", labels)]);
    home.refresh(&first, "--sqlite store.sqlite").json(3);
    let second = home.dumps("2026-02", &[("artists", &whole(&[ONE, FIVE]))]);
    let retry = |dumps: &std::path::Path| {
        let mut command = home.command("dead-letters retry --json --state state --sqlite store.sqlite");
        Ran::of(&command.arg("--dumps").arg(dumps).output().expect("it starts"))
    };
    retry(&second).refused(&["is not what the state holds", "discogs_20260101_artists.xml of 2026-01"]);
    let report = retry(&first).json(3);
    assert_eq!(report["kinds"].as_object().expect("kinds").keys().collect::<Vec<_>>(), ["artist"]);
    assert_eq!(report["kinds"]["artist"]["rejected"], 1, "it is rejected still");
    assert_eq!(report["sinks"]["sqlite"], json!({ "inserted": 0, "updated": 0, "deleted": 0 }));
    let listed = home.run("dead-letters list --json --sqlite store.sqlite").json(0);
    assert_eq!(told(&listed), [open("7", 2, 1)]);
    home.refresh(&second, "--sqlite store.sqlite").json(0);
    retry(&first).refused(&["name the dumps that were applied last"]);
    assert_eq!(retry(&second).json(0)["kinds"], json!({}), "nothing is rejected any more");
}

#[cfg(feature = "failpoints")]
#[test]
fn what_a_better_reader_takes_comes_in_by_a_retry_as_if_it_had_never_been_rejected() {
    let (home, undisturbed, months) = (Home::new(), Home::new(), super::generated::small().folders());
    let sinks = "--sqlite store.sqlite --feed feed.jsonl";
    for (number, month) in months[..2].iter().enumerate() {
        undisturbed.refresh(month, sinks).json(0);
        let mut command = home.refreshing(month, sinks);
        let ran = Ran::of(&command.env("FAILPOINTS", "reader-refuses=return").output().expect("it starts"));
        let rejected = ran.json(3)["kinds"]["release"]["rejected"].as_u64();
        assert!(rejected.is_some_and(|rejected| rejected > 0), "{}", ran.stdout);
        if number == 0 {
            let retried = home.command(&format!("dead-letters retry --json --state state {sinks} -w 2")).arg("--dumps").arg(month).output();
            let report = Ran::of(&retried.expect("it starts")).json(0);
            assert_eq!(report["kinds"]["release"]["inserted"].as_u64(), rejected);
            super::harness::assert_same(&home.sqlite("store.sqlite"), &undisturbed.sqlite("store.sqlite"), "after a retry");
            let listed = home.run("dead-letters list --json --sqlite store.sqlite").json(0);
            assert_eq!(told(&listed), []);
        }
    }
    let retried = home.command(&format!("dead-letters retry --json --state state {sinks}")).arg("--dumps").arg(&months[1]).output();
    Ran::of(&retried.expect("it starts")).json(0);
    super::harness::assert_same(&home.sqlite("store.sqlite"), &undisturbed.sqlite("store.sqlite"), "after another");
    assert_eq!(home.run(&format!("verify --state state --json {sinks}")).json(0)["equal"], true);
    let mut folded = super::harness::Rows::new();
    super::generated::replay(&mut folded, &home.feed("feed.jsonl"));
    super::harness::assert_same(&folded, &undisturbed.sqlite("store.sqlite"), "the feed");
}

#[test]
fn what_was_rejected_is_read_once_more_from_topics_too() {
    let Some(broker) = super::broker::Broker::new() else { return };
    let home = Home::new();
    let month = home.dumps("2026-01", &[("artists", &whole(&[ONE, BYTES]))]);
    home.publish(&month, &broker, "--partitions 2").json(0);
    home.apply_topics(&broker, "").json(3);
    let report = home.run(&format!("dead-letters retry --kafka --json --state state {}", broker.flags())).json(3);
    assert_eq!((&report["kinds"]["artist"]["received"], &report["kinds"]["artist"]["rejected"]), (&json!(2), &json!(1)));
}

#[cfg(feature = "failpoints")]
#[test]
fn a_retry_that_died_is_made_good_by_a_refresh_too_and_a_state_that_holds_nothing_is_not_retried() {
    let (undisturbed, months) = (Home::new(), super::generated::small().folders());
    undisturbed.refresh(&months[0], "--sqlite store.sqlite").json(0);
    for point in ["before-complete=return", "batch-rows=return(5);after-write=2*off->panic"] {
        let home = Home::new();
        let retry = format!("dead-letters retry --state state --sqlite store.sqlite --dumps {}", months[0].display());
        home.run(&retry).refused(&["the state holds nothing of these dumps"]);
        let refresh = format!("refresh --json --state state --sqlite store.sqlite --dumps {}", months[0].display());
        let run = |line: &str, point: &str| Ran::of(&home.command(line).env("FAILPOINTS", point).output().expect("it starts"));
        run(&refresh, "reader-refuses=return").json(3);
        assert_ne!(run(&retry, point).status, Some(0), "{point}");
        home.refresh(&months[0], "--sqlite store.sqlite").json(0);
        super::harness::assert_same(&home.sqlite("store.sqlite"), &undisturbed.sqlite("store.sqlite"), point);
        assert_eq!(home.run("verify --state state --json --sqlite store.sqlite").json(0)["equal"], true, "{point}");
    }
}
