//! Deletes are guarded, and months go forward.

use serde_json::json;

use super::harness::{Home, count};

/// Labels with these ids; every tenth is named after the month, so that it changes.
fn labels(ids: std::ops::RangeInclusive<u64>, month: &str, whole: bool) -> Vec<u8> {
    let name = |id: u64| if id.is_multiple_of(10) { format!("Label {id} of {month}") } else { format!("Label {id}") };
    let records: String = ids.map(|id| format!("<label><id>{id}</id><name>{}</name></label>\n", name(id))).collect();
    format!("<labels>\n{records}{}", if whole { "</labels>\n" } else { "" }).into_bytes()
}

fn rows(home: &Home) -> usize {
    home.sqlite("store.sqlite").len()
}

#[test]
fn deletes_beyond_the_limit_are_withheld_loudly_and_taken_when_allowed() {
    let home = Home::new();
    let first = home.dumps("2026-01", &[("labels", &labels(1..=400, "January", true))]);
    let half = home.dumps("2026-02", &[("labels", &labels(1..=200, "February", true))]);
    home.refresh(&first, "--sqlite store.sqlite").json(0);
    let ran = home.refresh(&half, "--sqlite store.sqlite --feed feed.jsonl -w 2");
    let report = ran.json(3);
    assert_eq!([count(&report, "label", "updated"), count(&report, "label", "deleted")], [20, 0]);
    assert_eq!(count(&report, "label", "deletes_withheld"), 200);
    ran.said(&["200 deletes of labels are withheld", "200 of 400 records are missing", "--allow-deletes takes them"]);
    assert_eq!(rows(&home), 400);
    let ran = home.refresh(&half, "--sqlite store.sqlite --feed feed.jsonl");
    assert_eq!(ran.json(3)["kinds"], json!({}), "nothing to read, and still not complete");
    ran.said(&["200 deletes of labels are withheld"]);
    // A sink that is new meanwhile cannot be whole: 200 records are held that no dump delivers.
    let ran = home.refresh(&half, "--sqlite new.sqlite");
    ran.json(3);
    ran.said(&["sqlite is still behind", "200"]);
    let report = home.refresh(&half, "--sqlite store.sqlite --feed feed.jsonl --allow-deletes").json(0);
    assert_eq!([count(&report, "label", "deleted"), count(&report, "label", "unchanged")], [200, 200]);
    assert_eq!(report["sinks"]["sqlite"]["deleted"], 200);
    assert_eq!(rows(&home), 200);
    assert_eq!(home.feed("feed.jsonl").iter().filter(|line| line["op"] == "delete").count(), 200);
    assert_eq!(home.refresh(&half, "--sqlite store.sqlite --feed feed.jsonl").json(0)["kinds"], json!({}));
    home.refresh(&half, "--sqlite new.sqlite").json(0);
    assert_eq!(home.sqlite("new.sqlite"), home.sqlite("store.sqlite"));
}

#[test]
fn withheld_deletes_are_asked_again_in_the_next_month() {
    let home = Home::new();
    home.refresh(&home.dumps("2026-01", &[("labels", &labels(1..=400, "x", true))]), "--sqlite store.sqlite").json(0);
    home.refresh(&home.dumps("2026-02", &[("labels", &labels(1..=200, "x", true))]), "--sqlite store.sqlite").json(3);
    let third = home.dumps("2026-03", &[("labels", &labels(1..=350, "x", true))]);
    let report = home.refresh(&third, "--sqlite store.sqlite").json(0);
    assert_eq!([count(&report, "label", "deleted"), count(&report, "label", "unchanged")], [50, 350], "back, they never were away");
    assert_eq!(rows(&home), 350);
}

#[test]
fn a_file_that_ends_early_deletes_nothing_whatever_is_allowed() {
    let home = Home::new();
    home.refresh(&home.dumps("2026-01", &[("labels", &labels(1..=400, "x", true))]), "--sqlite store.sqlite").json(0);
    let cut = home.dumps("2026-02", &[("labels", &labels(1..=390, "x", false))]);
    for allow in ["", "--allow-deletes"] {
        let ran = home.refresh(&cut, &format!("--sqlite store.sqlite {allow}"));
        let report = ran.json(3);
        assert_eq!([count(&report, "label", "deleted"), count(&report, "label", "deletes_withheld")], [0, 10]);
        ran.said(&["the dump of labels is not whole"]);
        assert!(!ran.stderr.contains("--allow-deletes takes them"), "no advice that would not help: {}", ran.stderr);
        assert_eq!(rows(&home), 400);
    }
    // Fetched again, the same month is whole.
    let whole = home.dumps("2026-02", &[("labels", &labels(1..=390, "x", true))]);
    assert_eq!(count(&home.refresh(&whole, "--sqlite store.sqlite").json(0), "label", "deleted"), 10);
    assert_eq!(rows(&home), 390);
}

#[test]
fn the_limit_can_be_set() {
    let home = Home::new();
    home.refresh(&home.dumps("2026-01", &[("labels", &labels(1..=400, "x", true))]), "--sqlite store.sqlite").json(0);
    let fewer = home.dumps("2026-02", &[("labels", &labels(1..=280, "x", true))]);
    assert_eq!(count(&home.run("plan --dumps 2026-02 --state state --json").json(3), "label", "deletes_withheld"), 120);
    home.refresh(&fewer, "--sqlite store.sqlite --delete-limit-percent 30").json(0);
    assert_eq!(rows(&home), 280);
}

#[test]
fn a_month_that_is_older_is_refused_and_taken_when_allowed() {
    let home = Home::new();
    let january = home.dumps("2026-01", &[("labels", &labels(1..=40, "January", true))]);
    let february = home.dumps("2026-02", &[("labels", &labels(1..=50, "February", true))]);
    home.refresh(&february, "--sqlite store.sqlite").json(0);
    let before = home.bytes("store.sqlite");
    home.refresh(&january, "--sqlite store.sqlite").refused(&["these labels are of 2026-01", "those of 2026-02", "--allow-older"]);
    assert!(before == home.bytes("store.sqlite"));
    let report = home.refresh(&january, "--sqlite store.sqlite --allow-older").json(0);
    assert_eq!(["updated", "deleted", "unchanged"].map(|what| count(&report, "label", what)), [4, 10, 36]);
    assert_eq!(rows(&home), 40);
}

#[test]
fn a_month_that_was_published_again_is_applied() {
    let home = Home::new();
    let month = |xml: &[u8]| home.dumps("2026-01", &[("labels", xml)]);
    home.refresh(&month(&labels(1..=40, "the first", true)), "--sqlite store.sqlite").json(0);
    let report = home.refresh(&month(&labels(1..=39, "the second", true)), "--sqlite store.sqlite").json(0);
    assert_eq!(["updated", "deleted", "unchanged"].map(|what| count(&report, "label", what)), [3, 1, 36]);
    assert_eq!(rows(&home), 39);
}
