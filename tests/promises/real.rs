//! Excerpts of real dumps, with the counts that are known of them.

use std::fs;

use super::harness::{Database, Home, KINDS, assert_same, count, gzip, real, xml};

/// Into SQLite, and into PostgreSQL where there is one; both are compared at the end.
struct Stores {
    home: Home,
    database: Option<Database>,
}

impl Stores {
    fn new() -> Stores {
        Stores { home: Home::new(), database: Database::new() }
    }

    fn sinks(&self) -> String {
        let postgres = self.database.as_ref().map_or_else(String::new, |database| format!("--postgres {}", database.url()));
        format!("--sqlite store.sqlite {postgres}")
    }

    #[track_caller]
    fn check(&self, rows: usize) {
        let sqlite = self.home.sqlite("store.sqlite");
        assert_eq!(sqlite.len(), rows);
        if let Some(database) = &self.database {
            assert_same(&database.rows(), &sqlite, "PostgreSQL and SQLite");
        }
    }
}

const COUNTS: [&str; 8] = ["received", "inserted", "updated", "deleted", "unchanged", "duplicates", "rejected", "deletes_withheld"];

#[track_caller]
fn assert_counts(report: &serde_json::Value, kind: &str, expected: [u64; 8]) {
    assert_eq!(COUNTS.map(|what| count(report, kind, what)), expected, "{kind}");
}

#[test]
fn real_masters_of_two_months_change_as_is_known() {
    let (Some(november), Some(december)) = (real("real/2025-11"), real("real/2025-12")) else { return };
    let stores = Stores::new();
    let (home, sinks) = (&stores.home, stores.sinks());
    let first = home.refresh(&november, &sinks).json(0);
    assert_eq!((first["snapshot"].as_str(), first["resumed_from"].is_null()), (Some("2025-11"), true));
    assert_counts(&first, "master", [3_267, 3_267, 0, 0, 0, 0, 0, 0]);
    assert_counts(&first, "release", [4_229, 4_229, 0, 0, 0, 0, 0, 0]);
    assert_eq!(first["sinks"]["sqlite"]["inserted"], 7_496);
    let second = home.refresh(&december, &sinks).json(0);
    assert_counts(&second, "master", [5_868, 2_601, 150, 0, 3_117, 0, 0, 0]);
    assert_eq!(second["kinds"].as_object().expect("kinds").len(), 1, "kinds that were not read are left out");
    for sink in second["sinks"].as_object().expect("sinks").values() {
        assert_eq!((&sink["inserted"], &sink["updated"], &sink["deleted"]), (&2_601.into(), &150.into(), &0.into()));
    }
    stores.check(5_868 + 4_229);
}

#[test]
fn all_kinds_of_the_old_shape_are_taken_in_whole() {
    let Some(dumps) = real("real/2020-08") else { return };
    let stores = Stores::new();
    let report = stores.home.refresh(&dumps, &format!("-w 2 {}", stores.sinks())).json(0);
    for kind in KINDS {
        assert_counts(&report, kind, [1_000, 1_000, 0, 0, 0, 0, 0, 0]);
    }
    stores.check(4_000);
    assert!(stores.home.sqlite("store.sqlite").values().all(|(_, document)| document.get("unmapped").is_none()), "no drift");
}

#[test]
fn a_truncated_month_deletes_nothing_even_where_deletes_are_allowed() {
    let (Some(whole), Some(truncated)) = (real("real/2025-11"), real("truncated")) else { return };
    let stores = Stores::new();
    let (home, sinks) = (&stores.home, stores.sinks());
    home.refresh(&whole, &sinks).json(0);
    stores.check(3_267 + 4_229);
    for allow in ["", "--allow-deletes"] {
        let ran = home.refresh(&truncated, &format!("{sinks} {allow}"));
        assert_counts(&ran.json(3), "release", [4_230, 0, 0, 0, 4_229, 0, 1, 0]);
        ran.said(&["the dump of releases is not whole", "rejected: "]);
        stores.check(3_267 + 4_229);
    }
}

#[test]
fn the_same_snapshot_again_reads_nothing_and_is_a_success() {
    let Some(dumps) = real("real/2025-11") else { return };
    let stores = Stores::new();
    let sinks = stores.sinks();
    stores.home.refresh(&dumps, &sinks).json(0);
    let (state, store) = (stores.home.bytes("state"), stores.home.bytes("store.sqlite"));
    let report = stores.home.refresh(&dumps, &sinks).json(0);
    assert_eq!(report["kinds"], serde_json::json!({}));
    let lockless = |mut files: std::collections::BTreeMap<_, _>| {
        files.remove(&stores.home.path("state/lock"));
        files
    };
    assert!(lockless(state) == lockless(stores.home.bytes("state")), "the state is as it was");
    assert!(store == stores.home.bytes("store.sqlite"), "the store is as it was");
}

#[test]
fn the_same_records_in_other_bytes_change_nothing_in_any_sink() {
    let Some(dumps) = real("real/2025-11") else { return };
    let stores = Stores::new();
    let (home, sinks) = (&stores.home, format!("{} --feed feed.jsonl", stores.sinks()));
    home.refresh(&dumps, &sinks).json(0);
    let before = home.sqlite("store.sqlite");
    let again = home.path("again");
    fs::create_dir(&again).expect("created");
    for kind in ["masters", "releases"] {
        let name = format!("discogs_20251101_{kind}.xml.gz");
        let xml = xml(&dumps.join(&name));
        let (head, tail) = xml.split_at(xml.len() / 3);
        fs::write(again.join(name), [gzip(head, 1), gzip(tail, 9)].concat()).expect("written");
    }
    let report = home.refresh(&again, &sinks).json(0);
    assert_counts(&report, "master", [3_267, 0, 0, 0, 3_267, 0, 0, 0]);
    assert_counts(&report, "release", [4_229, 0, 0, 0, 4_229, 0, 0, 0]);
    for sink in report["sinks"].as_object().expect("sinks").values() {
        assert_eq!(sink, &serde_json::json!({ "inserted": 0, "updated": 0, "deleted": 0 }));
    }
    assert_same(&before, &home.sqlite("store.sqlite"), "before and after");
    assert_eq!(home.feed("feed.jsonl").len(), 3_267 + 4_229);
    stores.check(3_267 + 4_229);
}
