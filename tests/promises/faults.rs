//! Runs that fail, die or meet each other: the same command again makes everything as if nothing had happened.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::generated::small;
use super::harness::{Database, Home, Ran, Rows, artists, assert_same, fault, state_sums};

const POINTS: &str = "FAILPOINTS";

/// A state that holds the first month, with SQLite, a feed and PostgreSQL where there is one.
struct Case {
    home: Home,
    database: Option<Database>,
    months: Vec<PathBuf>,
}

/// What the sinks hold when all is done.
#[derive(Clone)]
struct Held {
    sqlite: Rows,
    postgres: Option<Rows>,
    feed: Vec<String>,
}

impl Case {
    fn new() -> Case {
        let case = Case { home: Home::new(), database: Database::new(), months: small().folders() };
        case.refresh(0, "-w 1").json(0);
        case
    }

    /// The same, from copies of what this one holds.
    fn copy(&self) -> Case {
        let case = Case { home: Home::new(), database: self.database.as_ref().map(Database::copy), months: self.months.clone() };
        for name in ["state", "store.sqlite", "feed.jsonl", "feed.jsonl.binding.json"] {
            super::harness::copy(&self.home.path(name), &case.home.path(name));
        }
        case
    }

    fn sinks(&self) -> String {
        let postgres = self.database.as_ref().map_or_else(String::new, |database| format!("--postgres {}", database.url()));
        format!("--sqlite store.sqlite --feed feed.jsonl {postgres}")
    }

    fn refresh(&self, month: usize, rest: &str) -> Ran {
        self.home.refresh(&self.months[month], &format!("{} {rest}", self.sinks()))
    }

    fn failing(&self, month: usize, rest: &str, points: &str) -> Ran {
        let mut command = self.home.refreshing(&self.months[month], &format!("{} {rest}", self.sinks()));
        Ran::of(&command.env(POINTS, points).output().expect("it starts"))
    }

    fn start(&self, month: usize, rest: &str, points: &str) -> Child {
        let mut command = self.home.refreshing(&self.months[month], &format!("{} {rest}", self.sinks()));
        command.env(POINTS, points).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts")
    }

    fn held(&self) -> Held {
        let plain = |line: &Value| {
            let mut line = line.clone();
            // Ticks and epochs are numbers of this run's history, and no change.
            line.as_object_mut().expect("an object").retain(|name, _| !["epoch", "tick", "fields"].contains(&name.as_str()));
            line.to_string()
        };
        let mut feed: Vec<_> = self.home.lines("feed.jsonl").iter().map(plain).collect();
        feed.sort();
        Held { sqlite: self.home.sqlite("store.sqlite"), postgres: self.database.as_ref().map(Database::rows), feed }
    }

    #[track_caller]
    fn assert_holds(&self, expected: &Held, what: &str) {
        let found = self.held();
        assert_same(&found.sqlite, &expected.sqlite, &format!("{what}: SQLite"));
        if let (Some(found), Some(expected)) = (&found.postgres, &expected.postgres) {
            assert_same(found, expected, &format!("{what}: PostgreSQL"));
        }
        let (lines, wanted) = (found.feed.len(), expected.feed.len());
        assert!(found.feed == expected.feed, "{what}: the feed differs, {lines} lines and not {wanted}");
        let verified = self.home.run(&format!("verify --state state --json {}", self.sinks())).json(0);
        assert_eq!(verified["equal"], true, "{what}");
    }
}

/// Waits until something has happened, which takes seconds at most.
fn wait(what: &str, happened: impl Fn() -> bool) {
    let begun = Instant::now();
    while !happened() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what} did not happen");
        sleep(Duration::from_millis(5));
    }
}

fn kill(mut child: Child) {
    fault("a run killed");
    child.kill().expect("SIGKILL");
    child.wait().expect("ended");
}

/// Whether the state's folder has a file whose name ends like this.
fn has(state: &Path, end: &str) -> bool {
    std::fs::read_dir(state).is_ok_and(|entries| entries.flatten().any(|entry| entry.file_name().to_string_lossy().ends_with(end)))
}

#[test]
fn a_panic_of_one_worker_ends_the_process_with_words_and_the_next_run_makes_it_good() {
    let case = Case::new();
    let uninterrupted = case.copy();
    uninterrupted.refresh(1, "").json(0);
    let begun = Instant::now();
    let ran = case.failing(1, "-w 3", "worker-panics=return");
    assert!(begun.elapsed() < Duration::from_secs(30), "no hang");
    ran.refused(&["failpoint worker-panics", "run the same command again"]);
    case.refresh(1, "-w 2").json(0);
    case.assert_holds(&uninterrupted.held(), "after a panic");
}

#[test]
fn a_run_that_ends_before_its_end_is_made_good_by_the_same_command_with_other_workers() {
    let base = Case::new();
    let uninterrupted = base.copy();
    uninterrupted.refresh(1, "").json(0);
    for point in ["before-complete", "before-state"] {
        let case = base.copy();
        case.failing(1, "-w 2", &format!("{point}=return")).refused(&[&format!("failpoint {point}")]);
        case.failing(1, "-w 1", &format!("{point}=return")).refused(&[point]);
        case.refresh(1, "-w 3").json(0);
        case.assert_holds(&uninterrupted.held(), point);
    }
}

#[test]
fn another_snapshot_after_one_that_was_given_up_leaves_nothing_of_that() {
    let base = Case::new();
    let uninterrupted = base.copy();
    uninterrupted.refresh(2, "").json(0);
    for point in ["before-complete", "before-state"] {
        let case = base.copy();
        case.failing(1, "-w 2", &format!("{point}=return")).refused(&[point]);
        case.refresh(2, "-w 2").json(0);
        case.assert_holds(&uninterrupted.held(), point);
        let abandoned: Vec<u64> = case.home.run("status --state state --json").json(0)["kinds"]
            .as_object()
            .expect("kinds")
            .values()
            .map(|kind| kind["epoch"]["number"].as_u64().expect("a number"))
            .collect();
        assert_eq!(abandoned, [3; 4], "the number of the epoch that was given up is not used again");
    }
}

#[test]
fn a_run_that_is_killed_at_its_last_steps_is_made_good_by_the_same_command() {
    let base = Case::new();
    let uninterrupted = base.copy();
    uninterrupted.refresh(1, "").json(0);
    // The first manifest, of the epoch as begun, is let pass in the second case and not in the first.
    for (points, reached) in [
        ("state-before-rename=sleep(60000)", "manifest.json.new"),
        ("state-before-rename=1*off->sleep(60000)", "manifest.json.new"),
        ("before-complete=sleep(60000)", "g2-0.fingerprints"),
        ("before-state=sleep(60000)", "g2-0.fingerprints"),
    ] {
        let case = base.copy();
        let child = case.start(1, "-w 2", points);
        let state = case.home.path("state");
        // The first manifest comes and goes; what stays is what the run sleeps at.
        let stays = || {
            has(&state, reached) && {
                sleep(Duration::from_millis(400));
                has(&state, reached)
            }
        };
        wait(points, stays);
        kill(child);
        case.refresh(1, "-w 1").json(0);
        case.assert_holds(&uninterrupted.held(), points);
    }
}

#[test]
fn a_run_that_is_killed_at_any_moment_is_made_good_by_the_same_command() {
    let base = Case::new();
    let uninterrupted = base.copy();
    let begun = Instant::now();
    uninterrupted.refresh(1, "").json(0);
    let whole = begun.elapsed();
    let expected = uninterrupted.held();
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    for number in 0..10_u32 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let delay = whole.mul_f64((seed >> 40) as f64 / f64::from(1 << 24));
        let case = base.copy();
        let child = case.start(1, "-w 2", "");
        sleep(delay);
        kill(child);
        case.refresh(1, &format!("-w {}", 1 + number % 4)).json(0);
        case.assert_holds(&expected, &format!("killed after {delay:?} of {whole:?}"));
    }
}

#[test]
fn a_first_load_that_is_killed_at_any_moment_is_made_good_by_the_same_command() {
    let months = small().folders();
    let case = || Case { home: Home::new(), database: None, months: months.clone() };
    let uninterrupted = case();
    let begun = Instant::now();
    uninterrupted.refresh(0, "").json(0);
    let whole = begun.elapsed();
    for tenth in [0.1, 0.3, 0.5, 0.7, 0.9] {
        let case = case();
        let child = case.start(0, "-w 2", "");
        sleep(whole.mul_f64(tenth));
        kill(child);
        case.refresh(0, "").json(0);
        case.assert_holds(&uninterrupted.held(), &format!("killed at {tenth} of {whole:?}"));
    }
}

#[test]
fn a_second_run_on_the_same_state_is_refused_with_words_that_name_the_first() {
    let case = Case::new();
    let mut first = case.start(1, "", "before-complete=sleep(4000)");
    wait("the first run's epoch", || has(&case.home.path("state"), "g2-0.fingerprints"));
    let second = case.refresh(1, "");
    second.refused(&["is in use by another discodiff", &format!("process {}", first.id())]);
    let status = case.home.run("status --state state").stdout;
    assert!(status.contains(&format!("held by process {}\n", first.id())), "{status}");
    assert!(first.wait().expect("ended").success(), "the first run goes on undisturbed");
    let uninterrupted = Case::new();
    uninterrupted.refresh(1, "").json(0);
    case.assert_holds(&uninterrupted.held(), "after the first run");
}

#[test]
fn a_feed_that_had_missed_a_month_says_so_once_and_holds_no_line_twice_after_a_run_that_failed_at_its_end() {
    for resumed in [true, false] {
        let (home, months) = (Home::new(), small().folders());
        home.refresh(&months[0], "--feed feed.jsonl").json(0);
        let before = home.feed("feed.jsonl").len();
        home.refresh(&months[1], "--null").json(0);
        let mut failing = home.refreshing(&months[2], "--feed feed.jsonl");
        Ran::of(&failing.env(POINTS, "before-state=return").output().expect("it starts")).refused(&["before-state"]);
        let expected = home.feed("feed.jsonl").split_off(before);
        assert_eq!(expected[0], serde_json::json!({ "gap": [2, 2] }));
        if !resumed {
            // Other files, and so another snapshot: what was begun is given up.
            let again = home.path("again");
            super::harness::copy(&months[2], &again);
            std::fs::remove_file(again.join("discogs_20260301_labels.xml.gz")).expect("removed");
            home.refresh(&again, "--null").json(0);
        }
        home.refresh(&months[2], "--feed feed.jsonl").json(0);
        let found = home.feed("feed.jsonl").split_off(before);
        if resumed {
            assert!(found == expected, "line by line as the run that failed left it");
        } else {
            assert_eq!(found[0], serde_json::json!({ "gap": [2, 4] }), "the epoch given up is among those missed");
            assert!(found[1..].iter().all(|line| line["kind"] == "label" && line["epoch"] == 5), "what was new to the state");
        }
    }
}

/// The first run may have deleted what the second one, which may not, keeps.
#[test]
fn a_run_taken_up_under_other_settings_of_the_guard_leaves_no_store_that_differs_from_the_state() {
    let home = Home::new();
    let (first, second) = (artists(1000), artists(700));
    let first = home.dumps("2026-01", &[("artists", &first)]);
    let second = home.dumps("2026-02", &[("artists", &second)]);
    home.refresh(&first, "--sqlite store.sqlite").json(0);
    let mut dying = home.refreshing(&second, "--sqlite store.sqlite --allow-deletes");
    Ran::of(&dying.env(POINTS, "before-complete=return").output().expect("it starts")).refused(&["before-complete"]);
    home.refresh(&second, "--sqlite store.sqlite").json(3);
    // What the first run took away no dump delivers; the store knows that it lacks it.
    home.refresh(&second, "--sqlite store.sqlite").said(&["still behind"]);
    home.refresh(&second, "--sqlite store.sqlite --allow-deletes").json(0);
    assert_eq!(home.run("verify --state state --json --sqlite store.sqlite").json(0)["equal"], true);
    assert_eq!(home.sqlite("store.sqlite").len(), 700);
}

#[test]
fn a_month_that_was_begun_is_begun_anew_where_its_dump_was_replaced_under_a_checksum_file_that_stays() {
    let first = artists(2);
    let other: &[u8] = b"<artists><artist><id>3</id></artist></artists>";
    // The dump that is stated comes first, or it comes second, as when what was wrong is fetched again.
    for (begun, then, status) in [(&first[..], other, 3), (other, &first[..], 0)] {
        let home = Home::new();
        let folder = home.dumps("2026-01", &[("artists", &first)]);
        state_sums(&folder);
        home.dumps("2026-01", &[("artists", begun)]);
        let mut dying = home.refreshing(&folder, "--sqlite store.sqlite");
        let died = Ran::of(&dying.env(POINTS, "before-complete=return").output().expect("it starts"));
        died.refused(&["failpoint before-complete"]);
        std::fs::remove_file(folder.join("discogs_20260101_artists.xml")).expect("removed");
        home.dumps("2026-01", &[("artists", then)]);
        home.refresh(&folder, "--sqlite store.sqlite").json(status);
        let fresh = Home::new();
        fresh.refresh(&folder, "--sqlite store.sqlite").json(status);
        assert_same(&home.sqlite("store.sqlite"), &fresh.sqlite("store.sqlite"), "begun with another dump, and fresh");
    }
}

#[test]
fn a_month_whose_dump_is_only_stated_is_taken_up_again_and_again_where_it_stays_the_same() {
    let home = Home::new();
    let folder = home.dumps("2026-01", &[("artists", &artists(2))]);
    for stated in ["1".repeat(64), String::new()] {
        match stated.is_empty() {
            true => state_sums(&folder),
            false => {
                let line = format!("{stated} discogs_20260101_artists.xml\n");
                std::fs::write(folder.join("discogs_20260101_CHECKSUM.txt"), line).expect("written");
            }
        }
        let mut epochs = Vec::new();
        for _ in 0..4 {
            let mut dying = home.refreshing(&folder, "--sqlite store.sqlite");
            Ran::of(&dying.env(POINTS, "before-complete=return").output().expect("it starts")).refused(&["before-complete"]);
            let connection = rusqlite::Connection::open(home.path("store.sqlite")).expect("a store");
            epochs.push(connection.query_row("SELECT max(epoch) FROM snapshots", [], |row| row.get::<_, i64>(0)).expect("an epoch"));
        }
        // What was stated falsely is known by its own name from the second run on.
        assert_eq!(epochs[1], epochs[3], "{epochs:?}");
    }
}
