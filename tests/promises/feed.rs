//! The feed: every change once, a word where something is missing, no half epochs.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::generated::{replay, small};
use super::harness::{Home, Rows, assert_same};

fn epochs(lines: &[Value]) -> Vec<Value> {
    let mut epochs: Vec<_> = lines.iter().map(|line| line["epoch"].clone()).collect();
    epochs.dedup();
    epochs
}

#[test]
fn a_line_says_all_of_a_change() {
    let (home, months) = (Home::new(), small().folders());
    home.refresh(&months[0], "--sqlite store.sqlite --feed feed.jsonl").json(0);
    home.refresh(&months[1], "--sqlite store.sqlite --feed feed.jsonl -w 2").json(0);
    let lines = home.feed("feed.jsonl");
    assert_eq!(epochs(&lines), [json!(1), json!(2)]);
    for line in &lines {
        let names: Vec<_> = line.as_object().expect("an object").keys().map(String::as_str).collect();
        let mut expected = match line["op"].as_str().expect("an op") {
            "insert" => vec!["epoch", "tick", "kind", "id", "op", "hash", "document"],
            "update" => vec!["epoch", "tick", "kind", "id", "op", "hash", "fields", "document"],
            _ => vec!["epoch", "tick", "kind", "id", "op"],
        };
        let mut names = names;
        names.sort_unstable();
        expected.sort_unstable();
        assert_eq!(names, expected, "{line}");
        if line["op"] == "update" {
            let fields = line["fields"].as_array().expect("fields");
            assert!(!fields.is_empty() && !fields.contains(&json!("id")), "{line}");
        }
    }
    let mut rows = Rows::new();
    replay(&mut rows, &lines);
    assert_same(&rows, &home.sqlite("store.sqlite"), "the feed's sum and SQLite");
}

#[test]
fn without_a_document_store_the_feed_says_the_same_but_for_fields() {
    let (home, months) = (Home::new(), small().folders());
    for month in &months[..2] {
        home.refresh(month, "--sqlite store.sqlite --feed with.jsonl").json(0);
        home.refresh(month, "--state other --feed without.jsonl").json(0);
    }
    let mut with = home.feed("with.jsonl");
    with.iter_mut().for_each(|line| drop(line.as_object_mut().expect("an object").remove("fields")));
    assert!(with == home.feed("without.jsonl"));
}

#[test]
fn a_feed_named_in_the_second_month_begins_with_its_changes() {
    let (home, months) = (Home::new(), small().folders());
    home.refresh(&months[0], "--sqlite store.sqlite").json(0);
    let mut rows = home.sqlite("store.sqlite");
    home.refresh(&months[1], "--sqlite store.sqlite --feed feed.jsonl").json(0);
    let lines = home.feed("feed.jsonl");
    assert!(!lines.is_empty() && lines.len() < rows.len() / 2, "changes only: {}", lines.len());
    replay(&mut rows, &lines);
    assert_same(&rows, &home.sqlite("store.sqlite"), "the month before with the feed's lines, and SQLite");
}

#[test]
fn a_feed_left_out_for_a_month_goes_on_after_a_line_that_says_so() {
    let (home, months) = (Home::new(), small().folders());
    home.refresh(&months[0], "--sqlite store.sqlite --feed feed.jsonl").json(0);
    let before = home.feed("feed.jsonl").len();
    home.refresh(&months[1], "--sqlite store.sqlite").json(0);
    home.refresh(&months[2], "--sqlite store.sqlite --feed feed.jsonl").json(0);
    let lines = home.feed("feed.jsonl");
    assert_eq!(lines[before], json!({ "gap": [2, 2] }));
    assert_eq!(epochs(&lines[before + 1..]), [json!(3)]);
    assert!(lines[..before].iter().chain(&lines[before + 1..]).all(|line| line.get("gap").is_none()), "once");
}

#[test]
fn a_feed_that_was_cut_or_replaced_is_refused() {
    let (home, months) = (Home::new(), small().folders());
    home.refresh(&months[0], "--feed feed.jsonl").json(0);
    let bytes = home.bytes("feed.jsonl").into_values().next().expect("a feed");
    std::fs::write(home.path("feed.jsonl"), &bytes[..bytes.len() / 2]).expect("written");
    home.refresh(&months[1], "--feed feed.jsonl").refused(&["feed.jsonl", "it was cut or replaced"]);
    std::fs::write(home.path("feed.jsonl"), &bytes).expect("written");
    home.refresh(&months[1], "--feed feed.jsonl").json(0);
}

/// Labels: 1 always, and one of the month's own.
fn labels(id: u64) -> Vec<u8> {
    format!("<labels>\n<label><id>1</id><name>One</name></label>\n<label><id>{id}</id><name>N</name></label>\n</labels>\n").into_bytes()
}

/// What a reader who believes every line holds at the end.
fn believed(lines: &[Value]) -> Vec<&str> {
    let mut held = std::collections::BTreeSet::new();
    for line in lines.iter().filter(|line| line.get("gap").is_none()) {
        let id = line["id"].as_str().expect("an id");
        if line["op"] == "delete" {
            held.remove(id)
        } else {
            held.insert(id)
        };
    }
    held.into_iter().collect()
}

#[test]
fn a_state_restored_from_the_month_before_takes_the_feed_back_with_it() {
    let home = Home::new();
    let months: Vec<_> = (1..=3).map(|month| home.dumps(&format!("2026-0{month}"), &[("labels", &labels(10 + month))])).collect();
    home.refresh(&months[0], "--feed feed.jsonl").json(0);
    home.copy("state", "backup");
    home.refresh(&months[1], "--feed feed.jsonl").json(0);
    home.copy("backup", "state");
    home.refresh(&months[2], "--feed feed.jsonl").json(0);
    assert_eq!(believed(&home.feed("feed.jsonl")), ["1", "13"]);
}

#[test]
fn a_state_restored_from_long_before_never_lets_a_reader_of_the_feed_believe_what_is_not() {
    let home = Home::new();
    let months: Vec<_> = (1..=4).map(|month| home.dumps(&format!("2026-0{month}"), &[("labels", &labels(10 + month))])).collect();
    home.refresh(&months[0], "--feed feed.jsonl").json(0);
    home.copy("state", "backup");
    home.refresh(&months[1], "--feed feed.jsonl").json(0);
    home.refresh(&months[2], "--feed feed.jsonl").json(0);
    home.copy("backup", "state");
    let ran = home.refresh(&months[3], "--feed feed.jsonl");
    let lines = home.feed("feed.jsonl");
    let warned = ran.status == Some(1) || lines.iter().any(|line| line.get("gap").is_some());
    assert!(warned || believed(&lines) == ["1", "14"], "no word, and a reader holds {:?}: {lines:?}", believed(&lines));
}

#[test]
fn what_was_rejected_stands_in_the_feed_with_its_bytes_its_place_and_what_to_do() {
    let home = Home::new();
    let records = b"<artists>\n<artist><id>1</id><name>One</name></artist>\n<artist><id>7</id><name>\xff</name></artist>\n\
        <artist><name>Nobody</name></artist>\n</artists>\n";
    let month = home.dumps("2026-01", &[("artists", records)]);
    home.refresh(&month, "--sqlite store.sqlite --feed feed.jsonl -w 2").json(3);
    assert_eq!(home.feed("feed.jsonl").len(), 1, "what came well");
    let told: Vec<Value> = home.lines("feed.jsonl").into_iter().filter(|line| line.get("dead_letter").is_some()).collect();
    let of = |position: usize| told.iter().find(|line| line["dead_letter"]["position"] == position).expect("a line");
    let at = |part: &[u8]| records.windows(part.len()).position(|window| window == part).expect("there");
    let (seven, nobody) = (of(at(b"<artist><id>7")), of(at(b"<artist><name>Nobody")));
    assert_eq!(told.len(), 2);
    assert_eq!((&seven["epoch"], &seven["dead_letter"]["id"], &seven["dead_letter"]["stage"]), (&json!(1), &json!("7"), &json!("parse")));
    assert_eq!((&nobody["dead_letter"]["id"], &nobody["dead_letter"]["kind"]), (&Value::Null, &json!("artist")));
    let shown = home.run("dead-letters show artist 7 --json --sqlite store.sqlite").json(0);
    for what in ["file", "reason", "hint", "bytes"] {
        assert_eq!(seven["dead_letter"][what], shown[what], "{what}");
    }
    let raw = BASE64_STANDARD.decode(seven["dead_letter"]["raw"].as_str().expect("text")).expect("base64");
    assert_eq!(raw, b"<artist><id>7</id><name>\xff</name></artist>");
}
