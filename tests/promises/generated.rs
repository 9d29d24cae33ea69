//! Generated months with duplicates, merges, reinserts and broken records, held against the truth that is written beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use super::harness::{Database, Home, KINDS, Rows, assert_same, count, program, real};

const OPTIONS: [&str; 12] =
    ["--months", "3", "--releases", "5000", "--duplicates", "40", "--merges", "20", "--reinserts", "15", "--broken", "25"];

/// Months and what is true of them.
pub struct Months {
    folder: PathBuf,
    truth: BTreeMap<String, BTreeMap<String, Value>>,
}

impl Months {
    fn at(folder: PathBuf) -> Months {
        let text = fs::read_to_string(folder.join("truth.json")).expect("truth.json");
        Months { folder, truth: serde_json::from_str(&text).expect("JSON") }
    }

    /// Folders of the months, in order.
    pub fn folders(&self) -> Vec<PathBuf> {
        self.truth.keys().map(|month| self.folder.join(month)).collect()
    }

    fn ids(&self, month: usize, kind: &str, what: &str) -> BTreeSet<u64> {
        let truth = self.truth.values().nth(month).expect("a month");
        let listed = truth[kind][what].as_array().expect("a list");
        // A duplicate or broken record stands with how it is one.
        listed.iter().map(|id| id.get(0).unwrap_or(id).as_u64().expect("an id")).collect()
    }

    fn listed(&self, month: usize, kind: &str, what: &str) -> u64 {
        self.truth.values().nth(month).expect("a month")[kind][what].as_array().expect("a list").len() as u64
    }

    fn records(&self, month: usize, kind: &str) -> u64 {
        self.truth.values().nth(month).expect("a month")[kind]["records"].as_u64().expect("a number")
    }
}

/// A folder under target/ that is made anew once a run of the tests.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).expect("removed");
    }
    folder
}

fn of_the_program(name: &str, options: &[&str]) -> Months {
    let out = folder(name);
    let output = program(Path::new(env!("CARGO_TARGET_TMPDIR"))).arg("generate").arg(&out).args(options).output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Months::at(out)
}

/// Made by the program itself.
fn own() -> &'static Months {
    static MONTHS: OnceLock<Months> = OnceLock::new();
    MONTHS.get_or_init(|| of_the_program("months", &OPTIONS))
}

/// Three months without broken records: each says by itself what a store is to hold.
pub fn peaceful() -> &'static Months {
    static MONTHS: OnceLock<Months> = OnceLock::new();
    MONTHS.get_or_init(|| of_the_program("peaceful-months", &OPTIONS[..10]))
}

/// Three small months with duplicates and broken records; larger ones where `soak.sh` asks for them.
pub fn odd() -> &'static Months {
    static MONTHS: OnceLock<Months> = OnceLock::new();
    let releases = if std::env::var_os("DISCODIFF_SOAK").is_some() { "3000" } else { "1000" };
    let options = ["--months", "3", "--releases", releases, "--duplicates", "12", "--broken", "8", "--churn", "3", "--seed", "9"];
    MONTHS.get_or_init(|| of_the_program("odd-months", &options))
}

/// Three small months with nothing odd among them.
pub fn small() -> &'static Months {
    static MONTHS: OnceLock<Months> = OnceLock::new();
    MONTHS.get_or_init(|| of_the_program("small-months", &["--months", "3", "--releases", "800", "--seed", "5"]))
}

/// Made by the generator beside the real dumps; `None`, with a word, where it or Python is not.
fn others() -> Option<&'static Months> {
    static MONTHS: OnceLock<Option<Months>> = OnceLock::new();
    let make = || {
        let script = real("generate.py")?;
        let out = folder("python-months");
        let Ok(output) = Command::new("python3").arg("-B").arg(script).arg(&out).args(OPTIONS).output() else {
            println!("skipped: there is no python3");
            return None;
        };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(Months::at(out))
    };
    MONTHS.get_or_init(make).as_ref()
}

/// What one month's run must say of each kind, and the feed's new lines with it.
fn check(months: &Months, month: usize, report: &Value, lines: &[Value]) {
    for kind in KINDS {
        let listed = |what| months.listed(month, kind, what);
        let inserted = if month == 0 { months.records(0, kind) } else { listed("inserted") };
        let changed = inserted + listed("updated");
        let expected = [
            ("received", months.records(month, kind) + listed("duplicates") + listed("broken")),
            ("inserted", inserted),
            ("updated", listed("updated")),
            ("deleted", listed("deleted")),
            ("duplicates", listed("duplicates")),
            ("rejected", listed("broken")),
            ("unchanged", months.records(month, kind) - changed),
            ("deletes_withheld", 0),
        ];
        for (what, number) in expected {
            assert_eq!(count(report, kind, what), number, "{what} of {kind} in month {month}");
        }
        for (op, what) in [("insert", "inserted"), ("update", "updated"), ("delete", "deleted")] {
            let of_op: Vec<_> = lines.iter().filter(|line| line["kind"] == kind && line["op"] == op).collect();
            let ids: BTreeSet<u64> = of_op.iter().map(|line| id(line).parse().expect("digits")).collect();
            assert_eq!(ids.len(), of_op.len(), "{op} of a {kind} stands twice");
            if month > 0 || op != "insert" {
                assert_eq!(ids, months.ids(month, kind, what), "{what} {kind}s in month {month}");
            }
        }
    }
}

fn id(line: &Value) -> &str {
    line["id"].as_str().expect("an id")
}

/// Applies lines of the feed to what a store held.
pub fn replay(rows: &mut Rows, lines: &[Value]) {
    for line in lines {
        let kind = KINDS.into_iter().find(|kind| line["kind"] == *kind).expect("a kind");
        let key = (kind, id(line).to_owned());
        if line["op"] == "delete" {
            assert!(rows.remove(&key).is_some(), "{key:?} was not there");
        } else {
            let hash = line["hash"].as_str().expect("a hash").to_owned();
            let before = rows.insert(key, (hash, line["document"].clone()));
            assert_eq!(before.is_some(), line["op"] == "update");
        }
    }
}

/// The two stores are equal but for records that were broken in the last month: of those the second has no row.
fn assert_same_but_for_broken(months: &Months, last: usize, grown: &Rows, fresh: &Rows) {
    let mut grown = grown.clone();
    for kind in KINDS {
        for id in months.ids(last, kind, "broken") {
            assert!(!fresh.contains_key(&(kind, id.to_string())), "{kind} {id} was broken and has a row");
            grown.remove(&(kind, id.to_string()));
        }
    }
    assert_same(&grown, fresh, "refreshed month by month and loaded fresh");
}

fn prove(months: &Months, workers: usize) {
    let home = Home::new();
    let sinks = format!("--sqlite grown.sqlite --feed feed.jsonl -w {workers}");
    let database = (workers != 1).then(Database::new).flatten();
    let postgres = |database: &Option<Database>| database.as_ref().map_or_else(String::new, |db| format!("--postgres {}", db.url()));
    let mut before = Rows::new();
    let mut seen = 0;
    let last = months.folders().len() - 1;
    for (month, dumps) in months.folders().iter().enumerate() {
        let broken = KINDS.iter().any(|kind| months.listed(month, kind, "broken") > 0);
        let report = home.refresh(dumps, &format!("{sinks} {}", postgres(&database))).json(if broken { 3 } else { 0 });
        let lines = home.feed("feed.jsonl").split_off(seen);
        seen += lines.len();
        check(months, month, &report, &lines);
        replay(&mut before, &lines);
        assert_same(&before, &home.sqlite("grown.sqlite"), "the month before with the feed's lines, and SQLite");
    }
    let fresh = Database::new().filter(|_| workers != 1);
    home.refresh(&months.folders()[last], &format!("--state fresh --sqlite fresh.sqlite -w {workers} {}", postgres(&fresh))).json(3);
    assert_same_but_for_broken(months, last, &before, &home.sqlite("fresh.sqlite"));
    if let (Some(grown), Some(fresh)) = (&database, &fresh) {
        assert_same(&grown.rows(), &before, "PostgreSQL and SQLite");
        assert_same_but_for_broken(months, last, &grown.rows(), &fresh.rows());
    }
    let verified = home.run(&format!("verify --state state --json --sqlite grown.sqlite {}", postgres(&database))).json(0);
    assert_eq!(verified["equal"], true);
}

#[test]
fn own_months_are_diffed_as_their_truth_says_by_one_worker() {
    prove(own(), 1);
}

#[test]
fn own_months_are_diffed_as_their_truth_says_by_two_workers() {
    prove(own(), 2);
}

#[test]
fn own_months_are_diffed_as_their_truth_says_by_four_workers() {
    prove(own(), 4);
}

#[test]
fn months_of_another_generator_are_diffed_as_their_truth_says_by_one_worker() {
    others().into_iter().for_each(|months| prove(months, 1));
}

#[test]
fn months_of_another_generator_are_diffed_as_their_truth_says_by_two_workers() {
    others().into_iter().for_each(|months| prove(months, 2));
}

#[test]
fn months_of_another_generator_are_diffed_as_their_truth_says_by_four_workers() {
    others().into_iter().for_each(|months| prove(months, 4));
}
