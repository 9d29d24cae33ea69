//! The budget of rejects: a file of which too many records are rejected ends the run, deletes nothing, and is told with what to do.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use super::broker::Broker;
use super::harness::{Home, Ran, count};

/// Artists with ids from 1 on, of which those that `bad` names are malformed.
fn month(ids: u64, bad: impl Fn(u64) -> bool) -> Vec<u8> {
    let record = |id| format!("<artist><id>{id}</id><name>Artist {id}</{}></artist>\n", if bad(id) { "nome" } else { "name" });
    let records: String = (1..=ids).map(record).collect();
    format!("<artists>\n{records}</artists>\n").into_bytes()
}

fn letters(home: &Home, store: &str) -> u64 {
    let sqlite = rusqlite::Connection::open(home.path(store)).expect("opened");
    sqlite.query_row("SELECT count(*) FROM dead_letters", [], |row| row.get::<_, i64>(0)).expect("a count").unsigned_abs()
}

/// The words of the error.
#[track_caller]
fn error(ran: &Ran) -> String {
    ran.refused(&["were rejected"]);
    ran.stderr.lines().find_map(|line| Some(line.split_once(" ERROR ")?.1)).unwrap_or_else(|| panic!("{}", ran.stderr)).to_owned()
}

#[test]
fn a_month_with_too_many_rejects_fails_deletes_nothing_and_leaves_what_it_rejected_in_the_store() {
    let home = Home::new();
    home.refresh(&home.dumps("2026-01", &[("artists", &month(400, |_| false))]), "--sqlite store.sqlite").json(0);
    let (state, rows) = (home.bytes("state"), home.sqlite("store.sqlite"));
    // It lacks a hundred, which could go.
    let bad = home.dumps("2026-02", &[("artists", &month(300, |id| id > 180)), ("labels", b"<labels></labels>")]);
    let ran = home.refresh(&bad, "--sqlite store.sqlite --feed feed.jsonl -w 2");
    let at = 10 + (1..=180).map(|id| format!("<artist><id>{id}</id><name>Artist {id}</name></artist>\n").len()).sum::<usize>();
    assert_eq!(
        error(&ran),
        format!(
            "discogs_20260201_artists.xml: 120 of the 300 artists read so far were rejected, more than the limit of 100: this is no dump with \
             some bad records. The first of them: at byte {at}: malformed XML at byte 36: </nome> where </name> is due; at byte {}: malformed XML \
             at byte 36: </nome> where </name> is due; at byte {}: malformed XML at byte 36: </nome> where </name> is due. None of its deletes \
             were taken, and the state is as it was. If the file is damaged, fetch it again; if it is as Discogs wrote it, look at `discodiff \
             dead-letters list`, and raise --reject-limit-percent to go on all the same",
            at + 53,
            at + 106
        )
    );
    assert_eq!((home.sqlite("store.sqlite"), letters(&home, "store.sqlite")), (rows.clone(), 120));
    assert_eq!(home.feed("feed.jsonl").len(), 0);
    let fingerprints = |state: &std::collections::BTreeMap<PathBuf, Vec<u8>>| {
        state
            .iter()
            .filter(|(path, _)| path.extension().is_some_and(|ending| ending == "fingerprints"))
            .map(|(_, bytes)| bytes.clone())
            .collect::<Vec<_>>()
    };
    assert!(fingerprints(&home.bytes("state")) == fingerprints(&state), "the generation of the month before");
    let listed = home.run("dead-letters list --state state --sqlite store.sqlite --json --limit 1000").json(0);
    assert_eq!((listed["letters"].as_array().map(Vec::len), &listed["open"]["artist"]), (Some(120), &json!(120)));
    // It stays so however often it is tried, and `plan` says it beforehand.
    assert_eq!(error(&home.refresh(&bad, "--sqlite store.sqlite --feed feed.jsonl")), error(&ran));
    home.run("plan --dumps 2026-02 --state state --json").refused(&["a refresh would fail: ", "120 of the 300 artists"]);

    // A good file of the month, and the rows that were held back are dealt with.
    home.dumps("2026-02", &[("artists", &month(300, |_| false))]);
    let report = home.refresh(&bad, "--sqlite store.sqlite --feed feed.jsonl").json(0);
    assert_eq!(["deleted", "unchanged", "rejected"].map(|what| count(&report, "artist", what)), [100, 300, 0]);
    assert_eq!(home.sqlite("store.sqlite").len(), 300);
    assert_eq!(home.run("dead-letters list --state state --sqlite store.sqlite --json").json(0)["open"]["artist"], 0);
    assert_eq!(home.run("verify --state state --sqlite store.sqlite --json").json(0)["equal"], true);
}

#[test]
fn a_month_is_taken_with_its_rejects_where_that_is_asked_for() {
    let home = Home::new();
    home.refresh(&home.dumps("2026-01", &[("artists", &month(400, |_| false))]), "--sqlite store.sqlite").json(0);
    let bad = home.dumps("2026-02", &[("artists", &month(350, |id| id > 180))]);
    home.refresh(&bad, "--sqlite store.sqlite").refused(&["170 of the 350 artists"]);
    home.refresh(&bad, "--sqlite store.sqlite --reject-limit-percent 48").refused(&["more than the limit of 168"]);
    let report = home.refresh(&bad, "--sqlite store.sqlite --reject-limit-percent 50").json(3);
    assert_eq!(["rejected", "deleted", "unchanged"].map(|what| count(&report, "artist", what)), [170, 50, 180]);
    assert_eq!((home.sqlite("store.sqlite").len(), letters(&home, "store.sqlite")), (350, 170));
}

#[test]
fn a_hundred_rejects_are_taken_however_few_records_there_are_and_one_more_is_not() {
    for (bad, status) in [(100, 3), (101, 1)] {
        let home = Home::new();
        let dumps = home.dumps("2026-01", &[("artists", &month(110, |id| id <= bad))]);
        assert_eq!(home.refresh(&dumps, "--sqlite store.sqlite --reject-limit-percent 0").status, Some(status), "{bad}");
        assert_eq!(letters(&home, "store.sqlite"), bad);
    }
}

#[test]
fn it_ends_at_the_same_record_whatever_the_workers_and_wherever_it_was_taken_up() {
    // Blocks have 16,384 records: the second one brings it beyond the thousand that are allowed before a hundred thousand were read.
    let bytes = month(60_000, |id| (16_000..18_500).contains(&id));
    let mut told = Vec::new();
    for workers in [1, 3] {
        let home = Home::new();
        let dumps = home.dumps("2026-01", &[("artists", &bytes)]);
        let rest = format!("--sqlite store.sqlite --checkpoint-interval 0 -w {workers}");
        let first = error(&home.refresh(&dumps, &rest));
        assert_eq!(letters(&home, "store.sqlite"), 2_500);
        assert_eq!(
            first,
            error(&home.refresh(&dumps, &rest.replace("-w", "--memory 64MiB -w"))),
            "taken up at a checkpoint, or begun anew"
        );
        told.push(first);
        let report = home.refresh(&dumps, "--sqlite store.sqlite -w 2 --reject-limit-percent 5").json(3);
        let from = report["resumed_from"]["records"].as_u64();
        assert!(from.is_none_or(|records| records <= 16_384), "a checkpoint behind what ended the run: {report}");
        assert_eq!(["received", "rejected", "inserted"].map(|what| count(&report, "artist", what)), [60_000, 2_500, 57_500]);
        assert_eq!((home.sqlite("store.sqlite").len(), letters(&home, "store.sqlite")), (57_500, 2_500));
    }
    assert!(told[0].contains("2,500 of the 32,768 artists read so far were rejected, more than the limit of 1,000"), "{}", told[0]);
    assert_eq!(told[0], told[1]);
}

#[test]
fn damage_that_lies_close_together_does_not_end_a_month_that_is_good_else() {
    let home = Home::new();
    let dumps = home.dumps("2026-01", &[("artists", &month(60_000, |id| id <= 500))]);
    assert_eq!(count(&home.refresh(&dumps, "--null").json(3), "artist", "rejected"), 500);
}

#[test]
fn without_a_store_that_keeps_dead_letters_the_error_says_what_was_rejected() {
    let home = Home::new();
    let dumps = home.dumps("2026-01", &[("artists", &month(300, |id| id > 180))]);
    home.refresh(&dumps, "--null").refused(&["120 of the 300 artists", "</nome> where </name> is due"]);
    home.refresh(&dumps, "--feed feed.jsonl -w 2").refused(&["120 of the 300 artists", "</nome> where </name> is due"]);
}

#[test]
fn topics_with_too_many_rejects_end_in_the_same_way_and_a_good_publication_goes_on() {
    let Some(broker) = Broker::new() else { return };
    let home = Home::new();
    let rest = "--sqlite store.sqlite -w 2";
    home.publish(&home.dumps("2026-01", &[("artists", &month(400, |_| false))]), &broker, "--partitions 3").json(0);
    home.apply_topics(&broker, rest).json(0);
    home.publish(&home.dumps("2026-02", &[("artists", &month(300, |id| id > 180))]), &broker, "").json(0);
    let words = error(&home.apply_topics(&broker, rest));
    assert!(words.contains("discogs_20260201_artists.xml: 120 of the 300 artists read so far were rejected"), "{words}");
    assert!(words.contains("malformed XML at byte 36"), "{words}");
    assert_eq!((home.sqlite("store.sqlite").len(), letters(&home, "store.sqlite")), (400, 120));
    assert_eq!(error(&home.apply_topics(&broker, rest)), words);
    home.publish(&home.dumps("2026-02", &[("artists", &month(300, |_| false))]), &broker, "").json(0);
    // The month that was published first is due still: it is taken, or left out by what is allowed.
    let reports = home.apply_topics(&broker, &format!("{rest} --reject-limit-percent 100")).json(3);
    assert_eq!(reports.as_array().map(Vec::len), Some(2), "{reports}");
    assert_eq!(home.sqlite("store.sqlite").len(), 300);
    assert_eq!(home.run("dead-letters list --state state --sqlite store.sqlite --json").json(0)["open"]["artist"], 0);
}

#[test]
fn topics_without_markers_end_in_the_same_way_and_nothing_of_the_span_is_taken_over() {
    let Some(ours) = Broker::new() else { return };
    let Some(theirs) = Broker::new() else { return };
    let home = Home::new();
    home.publish(&home.dumps("2026-01", &[("artists", &month(300, |id| id > 180))]), &ours, "--partitions 2").json(0);
    theirs.make("artists", 2, &[]);
    theirs.copy_from(&ours, "artists", 1);
    let until =
        |rest: &str| home.run(&format!("refresh --kafka --json {} --state state --sqlite store.sqlite --until now {rest}", theirs.flags()));
    let first = error(&until("-w 2"));
    assert!(first.contains("120 of the 300 artists read so far were rejected"), "{first}");
    assert_eq!((error(&until("")), letters(&home, "store.sqlite")), (first, 120));
    assert_eq!(count(&until("--reject-limit-percent 100").json(3), "artist", "inserted"), 180);
    assert!(fs::exists(home.path("state/manifest.json")).expect("looked"));
}
