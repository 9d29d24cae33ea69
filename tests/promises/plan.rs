//! `plan` says what a refresh will do, and writes nothing.

use super::generated::small;
use super::harness::{Database, Home, KINDS, count};

const COUNTS: [&str; 8] = ["received", "inserted", "updated", "deleted", "unchanged", "duplicates", "rejected", "deletes_withheld"];

#[test]
fn a_plan_counts_what_the_refresh_that_follows_counts_and_changes_no_byte() {
    let (home, months) = (Home::new(), small().folders());
    let database = Database::new();
    let postgres = database.as_ref().map_or_else(String::new, |database| format!("--postgres {}", database.url()));
    let plan =
        |month: usize, rest: &str| home.run(&format!("plan --state state --json --dumps {} {rest}", months[month].display())).json(0);
    let foreseen = plan(0, "");
    assert!(!home.path("state").exists(), "where there is no state it makes none");
    for (month, folder) in months.iter().enumerate().take(2) {
        let foreseen = if month == 0 { foreseen.clone() } else { plan(month, "--sqlite store.sqlite -w 3") };
        let refreshed = home.refresh(folder, &format!("--sqlite store.sqlite --feed feed.jsonl {postgres}")).json(0);
        for kind in KINDS {
            assert_eq!(COUNTS.map(|what| count(&foreseen, kind, what)), COUNTS.map(|what| count(&refreshed, kind, what)), "{kind}");
        }
    }
    let before = home.bytes("");
    let rows = database.as_ref().map(Database::rows);
    let all = [Some("--sqlite store.sqlite"), Some(postgres.as_str()).filter(|postgres| !postgres.is_empty())];
    let fields: Vec<_> = all.into_iter().flatten().map(|store| plan(2, store)["fields"].clone()).collect();
    assert!(fields.iter().all(|other| *other == fields[0]), "stores agree about fields");
    assert!(before == home.bytes(""), "state and stores are byte for byte as they were");
    assert!(rows == database.as_ref().map(Database::rows));

    let last = home.feed("feed.jsonl").len();
    home.refresh(&months[2], "--sqlite store.sqlite --feed feed.jsonl").json(0);
    let mut changed = serde_json::json!({});
    for line in home.feed("feed.jsonl").split_off(last).iter().filter(|line| line["op"] == "update") {
        for field in line["fields"].as_array().expect("fields") {
            let times = &mut changed[line["kind"].as_str().expect("a kind")][field.as_str().expect("a name")];
            *times = (times.as_u64().unwrap_or(0) + 1).into();
        }
    }
    assert_eq!(fields[0], changed, "fields as the feed tells them");
}

#[test]
fn a_plan_names_samples_of_what_changes_and_says_what_the_guard_would_say() {
    let home = Home::new();
    let labels = |ids: std::ops::Range<u32>| {
        let records: String = ids.map(|id| format!("<label><id>{id}</id><name>{id}</name></label>\n")).collect();
        format!("<labels>\n{records}</labels>\n")
    };
    home.refresh(&home.dumps("2026-01", &[("labels", labels(1..301).as_bytes())]), "--sqlite store.sqlite").json(0);
    home.dumps("2026-02", &[("labels", labels(150..303).as_bytes())]);
    let ran = home.run("plan --dumps 2026-02 --state state --json");
    let plan = ran.json(3);
    assert_eq!(plan["samples"]["label"]["inserted"], serde_json::json!([301, 302]));
    assert_eq!((&plan["withheld"][0]["kind"], &plan["withheld"][0]["deletes"]), (&"label".into(), &149.into()));
    ran.said(&["149 deletes of labels are withheld"]);
}

#[test]
fn a_plan_says_of_a_store_that_is_new_that_it_would_be_brought_up_and_of_what_the_folder_lacks_that_it_stays_behind() {
    let home = Home::new();
    let months = small().folders();
    home.refresh(&months[0], "--null").json(0);
    let ran = home.run(&format!("plan --state state --json --dumps {} --sqlite new.sqlite", months[1].display()));
    ran.said(&["sqlite is new or behind: a refresh would bring its releases up"]);
    ran.json(0);
    assert!(!home.path("new.sqlite").exists());
}
