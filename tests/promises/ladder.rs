//! The ladder of interruptions: runs that die at each step, and at any moment, are taken up by the same command with another number of
//! workers, and all stores end as those of runs that nobody disturbed, row by row, with changes and dead letters.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::broker::Broker;
use super::generated::odd;
use super::graph::Server;
use super::harness::{Database, Home, Ran, Rows, assert_same};
use super::kafka::by_files;

/// Small blocks, so that a month has many, read slowly, so that there are many batches, and checkpoints as often as can be.
const BLOCKS: &str = "block-records=return(40);before-block=sleep(15)";

/// Another pace, for runs that are to be killed on the way.
const SLOWER: &str = "before-block=sleep(45)";

const CHANGES: &str = "SELECT epoch || ' ' || kind || ' ' || id || ' ' || op || ' ' || coalesce(fields::text, '') FROM changes
    UNION SELECT kind || ' ' || file || ' ' || position || ' ' || stage || ' ' || reason FROM dead_letters";

/// From where and to where.
struct Case {
    home: Home,
    /// Flags that name the sinks.
    sinks: String,
    /// Topics that months come from; else files.
    from: Option<Broker>,
    months: Vec<PathBuf>,
    resumed: u32,
    killed: u32,
}

impl Case {
    fn new(sinks: &str, from: Option<Broker>) -> Case {
        let case = Case { home: Home::new(), sinks: sinks.to_owned(), from, months: odd().folders(), resumed: 0, killed: 0 };
        if let Some(broker) = &case.from {
            case.months.iter().for_each(|month| drop(case.home.publish(month, broker, "--partitions 3").json(0)));
        }
        case
    }

    /// A run to this month.
    fn run(&self, month: usize, workers: u64, points: &str) -> Command {
        let rest = format!("--checkpoint-interval 0 -w {workers} {}", self.sinks);
        let mut command = match &self.from {
            None => self.home.refreshing(&self.months[month], &rest),
            Some(broker) => {
                let (flags, to) = (broker.flags(), format!("--from earliest --to-snapshot 2026-0{}", month + 1));
                self.home.command(&format!("replay --json {flags} --state state {to} {rest}"))
            }
        };
        command.env("FAILPOINTS", format!("{BLOCKS};{points}"));
        command
    }

    /// Runs to its end.
    #[track_caller]
    fn finish(&mut self, month: usize, workers: u64) -> Value {
        let ran = Ran::of(&self.run(month, workers, "").output().expect("it starts"));
        let report = ran.json(3);
        let report = report.as_array().map_or(report.clone(), |all| all[0].clone());
        self.resumed += u32::from(!report["resumed_from"].is_null());
        report
    }

    /// Dies at a point, and is taken up.
    fn die(&mut self, month: usize, workers: u64, points: &str) {
        let died = self.run(month, workers, points).output().expect("it starts");
        // One that came to its end all the same would have had status 3.
        assert!(!matches!(died.status.code(), Some(0 | 3)), "{points} was never met");
        self.killed += 1;
    }

    /// Is killed after some time, counted from its start or from its first checkpoint, if it is still there then.
    fn kill(&mut self, month: usize, workers: u64, from_checkpoint: bool, after: Duration) -> bool {
        let checkpoint = self.home.path("state/checkpoint");
        let before = std::fs::read(&checkpoint).ok();
        let log = std::fs::File::options().create(true).append(true).open(self.home.path("log")).expect("a log");
        let mut child = self.run(month, workers, SLOWER).stdout(Stdio::null()).stderr(log).spawn().expect("it starts");
        let mut ended = || child.try_wait().expect("asked").is_some();
        while from_checkpoint && !ended() && std::fs::read(&checkpoint).ok().is_none_or(|now| Some(now) == before) {
            sleep(Duration::from_millis(5));
        }
        sleep(after);
        let ended = ended();
        child.kill().expect("SIGKILL");
        child.wait().expect("ended");
        self.killed += u32::from(!ended);
        ended
    }

    /// All months, each killed at random moments and finished.
    fn kill_at_random(&mut self, seed: &mut u64, times: u32) {
        let mut next = |below: u64| {
            *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (*seed >> 33) % below
        };
        for month in 0..self.months.len() {
            let (before, mut tried) = (self.killed, 0);
            while self.killed - before < times && tried < 2 * times {
                tried += 1;
                let (from_checkpoint, after) = if next(3) > 0 { (true, next(300)) } else { (false, next(2000)) };
                if self.kill(month, 1 + next(4), from_checkpoint, Duration::from_millis(after)) {
                    break;
                }
            }
            let ran = Ran::of(&self.run(month, 1 + next(4), "").output().expect("it starts"));
            assert!(matches!(ran.status, Some(0 | 3)), "{}", ran.stderr);
            self.resumed += taken_up(&ran.stderr);
        }
        self.resumed += taken_up(&std::fs::read_to_string(self.home.path("log")).expect("a log"));
    }
}

/// How many runs say that they went on.
fn taken_up(log: &str) -> u32 {
    log.matches("going on where the run before was").count() as u32
}

/// What undisturbed runs come to.
struct Expected {
    rows: Rows,
    told: BTreeSet<String>,
    reports: Vec<Value>,
}

fn expected() -> &'static Expected {
    static EXPECTED: std::sync::OnceLock<Expected> = std::sync::OnceLock::new();
    EXPECTED.get_or_init(|| {
        let (files, reports) = by_files(&odd().folders());
        Expected { rows: files.sqlite("files.sqlite"), told: files.told("files.sqlite"), reports }
    })
}

/// Steps at which a run dies: the fifth batch before and after it is written, checkpoints, and the last steps.
const STEPS: [&str; 9] = [
    "before-write=4*off->panic",
    "after-write=4*off->panic",
    "checkpoint-taken=panic",
    "checkpoint-taken=3*off->panic",
    "worker-panics=10*off->return",
    "read-fails=20*off->return",
    "before-complete=return",
    "before-state=return",
    "state-before-rename=1*off->panic",
];

fn lines_of(home: &Home, name: &str) -> Vec<String> {
    let plain = |line: &Value| {
        let mut line = line.clone();
        // Ticks of deletes depend on the number of workers.
        line.as_object_mut().expect("an object").remove("tick");
        line.to_string()
    };
    let mut lines: Vec<_> = home.lines(name).iter().map(plain).collect();
    lines.sort();
    lines
}

#[test]
fn from_files_into_sqlite_postgres_and_the_feed_a_run_that_dies_at_any_step_is_taken_up_to_the_same_rows_changes_and_lines() {
    let undisturbed = Case::new("--sqlite store.sqlite --feed feed.jsonl", None);
    (0..3).for_each(|month| drop(Ran::of(&undisturbed.run(month, 1, "").output().expect("it starts")).json(3)));
    let postgres = Database::new();
    let url = postgres.as_ref().map_or_else(String::new, |database| format!("--postgres {}", database.url()));
    let mut case = Case::new(&format!("--sqlite store.sqlite --feed feed.jsonl {url}"), None);
    for (number, steps) in STEPS.chunks(3).enumerate() {
        steps.iter().enumerate().for_each(|(at, step)| case.die(number, 1 + at as u64, step));
        let report = case.finish(number, 2 + number as u64);
        assert_eq!(report["kinds"], expected().reports[number]["kinds"], "counts are of the whole month");
    }
    assert!(case.resumed >= 2, "{} of 3 months were taken up where they were", case.resumed);
    assert_same(&case.home.sqlite("store.sqlite"), &expected().rows, "SQLite");
    assert_eq!(case.home.told("store.sqlite"), expected().told);
    assert!(lines_of(&case.home, "feed.jsonl") == lines_of(&undisturbed.home, "feed.jsonl"), "each line once");
    if let Some(postgres) = &postgres {
        assert_same(&postgres.rows(), &expected().rows, "PostgreSQL");
        let again = Database::new().expect("a server");
        let other = Case::new(&format!("--postgres {}", again.url()), None);
        (0..3).for_each(|month| drop(Ran::of(&other.run(month, 1, "").output().expect("it starts")).json(3)));
        assert_eq!(postgres.texts(CHANGES), again.texts(CHANGES));
    }
}

#[test]
fn from_topics_into_sqlite_the_feed_topic_and_topics_of_documents_a_run_that_dies_at_any_step_is_taken_up() {
    let (Some(from), Some(to)) = (Broker::new(), Broker::new()) else { return };
    let sinks = format!(
        "--sqlite store.sqlite {} --document-topics {}",
        to.feed().replace(&format!("--brokers {}", to.address), ""),
        to.topic("docs")
    );
    let mut case = Case::new(&sinks, Some(from));
    for (number, steps) in STEPS.chunks(3).enumerate() {
        steps.iter().enumerate().for_each(|(at, step)| case.die(number, 1 + at as u64, step));
        let report = case.finish(number, 2 + number as u64);
        assert_eq!(report["kinds"], expected().reports[number]["kinds"]);
    }
    assert!(case.resumed >= 2, "{} of 3 months were taken up where they were", case.resumed);
    assert_same(&case.home.sqlite("store.sqlite"), &expected().rows, "SQLite");
    assert_eq!(case.home.told("store.sqlite"), expected().told);
    assert_same(&to.folded(), &expected().rows, "the feed folded");
    assert_same(&to.rows(), &expected().rows, "documents");
    let changes = to.changes();
    assert!(changes.values().all(|times| *times == 1), "each change once");
    let all = expected().told.iter().filter(|line| line.starts_with("change ")).count();
    assert_eq!(changes.len(), all, "all of them");
    let letters = expected().told.iter().filter(|line| line.starts_with("letter ")).count();
    assert_eq!(to.markers("dead_letter").concat().len(), letters, "each rejected record once");
}

#[test]
fn from_files_into_the_graph_a_run_that_dies_at_any_step_is_taken_up_to_the_same_nodes_and_relationships() {
    let Some(server) = Server::new() else { return };
    let undisturbed = Case::new(&server.sink(), None);
    (0..3).for_each(|month| drop(Ran::of(&undisturbed.run(month, 1, "").output().expect("it starts")).json(3)));
    let graph = server.save(&undisturbed.home.path("graph"));
    server.empty();
    let mut case = Case::new(&server.sink(), None);
    for (number, steps) in STEPS.chunks(3).enumerate() {
        steps.iter().enumerate().for_each(|(at, step)| case.die(number, 1 + at as u64, step));
        let report = case.finish(number, 2 + number as u64);
        assert_eq!(report["kinds"], expected().reports[number]["kinds"]);
    }
    assert!(case.resumed >= 2, "{} of 3 months were taken up where they were", case.resumed);
    assert!(server.save(&case.home.path("graph")) == graph, "node by node, relationship by relationship");
    assert_eq!(case.home.run(&format!("verify --state state --json {}", server.sink())).json(0)["equal"], true);
}

#[test]
fn runs_that_are_killed_at_forty_random_moments_end_as_if_nothing_had_happened_and_most_go_on_where_they_were() {
    let begun = Instant::now();
    let mut seed = std::process::id().into();
    println!("seed {seed}");
    let (killed, resumed) = (Cell::new(0), Cell::new(0));
    let count = |case: &Case| {
        println!("{}: killed {}, taken up {}, {:?}", case.sinks, case.killed, case.resumed, begun.elapsed());
        killed.set(killed.get() + case.killed);
        resumed.set(resumed.get() + case.resumed);
    };

    let postgres = Database::new();
    let url = postgres.as_ref().map_or_else(String::new, |database| format!("--postgres {}", database.url()));
    let mut case = Case::new(&format!("--sqlite store.sqlite --feed feed.jsonl {url}"), None);
    case.kill_at_random(&mut seed, 12);
    count(&case);
    assert_same(&case.home.sqlite("store.sqlite"), &expected().rows, "SQLite");
    assert_eq!(case.home.told("store.sqlite"), expected().told);
    let mut folded: BTreeMap<(String, String), Value> = BTreeMap::new();
    for line in case.home.feed("feed.jsonl") {
        let key = (line["kind"].as_str().expect("a kind").to_owned(), line["id"].as_str().expect("an id").to_owned());
        if line["op"] == "delete" { drop(folded.remove(&key)) } else { drop(folded.insert(key, line["document"].clone())) }
    }
    let documents: BTreeMap<_, _> =
        expected().rows.iter().map(|((kind, id), (_, document))| (((*kind).to_owned(), id.clone()), document.clone())).collect();
    assert!(folded == documents, "the feed folded");
    if let Some(postgres) = &postgres {
        assert_same(&postgres.rows(), &expected().rows, "PostgreSQL");
    }

    if let (Some(from), Some(to)) = (Broker::new(), Broker::new()) {
        let sinks = format!("--sqlite store.sqlite --feed kafka:{}", to.topic("changes"));
        let mut case = Case::new(&sinks, Some(from));
        case.kill_at_random(&mut seed, 5);
        count(&case);
        assert_same(&case.home.sqlite("store.sqlite"), &expected().rows, "SQLite from topics");
        assert_eq!(case.home.told("store.sqlite"), expected().told);
        assert_same(&to.folded(), &expected().rows, "the feed folded");
        assert!(to.changes().values().all(|times| *times == 1), "each change once");
    }

    if let Some(server) = Server::new() {
        let mut case = Case::new(&server.sink(), None);
        case.kill_at_random(&mut seed, 8);
        count(&case);
        assert_eq!(case.home.run(&format!("verify --state state --json {}", server.sink())).json(0)["equal"], true);
    }
    // Some end before they are killed.
    for _ in 0..8 {
        if killed.get() >= 40 {
            break;
        }
        let mut case = Case::new("--sqlite store.sqlite --feed feed.jsonl", None);
        case.kill_at_random(&mut seed, 12);
        count(&case);
        assert_same(&case.home.sqlite("store.sqlite"), &expected().rows, "SQLite again");
        assert_eq!(case.home.told("store.sqlite"), expected().told);
    }
    println!("killed {}, taken up where they were {}", killed.get(), resumed.get());
    assert!(killed.get() >= 40, "{killed:?} runs were killed");
    assert!(resumed.get() >= 15, "runs go on, and do not only begin anew");
}

#[test]
fn a_run_that_is_asked_to_stop_finishes_what_is_on_its_way_and_ends_with_a_checkpoint_and_status_4() {
    let mut case = Case::new("--sqlite store.sqlite --feed feed.jsonl", None);
    let line = format!("--checkpoint-interval 86400 {}", case.sinks);
    let mut command = case.home.refreshing(&case.months[0], &line);
    let pace = format!("{BLOCKS};{SLOWER}");
    let mut child = command.env("FAILPOINTS", pace).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    sleep(Duration::from_millis(900));
    let begun = Instant::now();
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("sent").success());
    let status = child.wait().expect("ended");
    assert!(begun.elapsed() < Duration::from_secs(8), "it ends soon");
    let ran = Ran::of(&child.wait_with_output().expect("read"));
    assert_eq!((status.code(), ran.stdout.as_str()), (Some(4), ""), "{}", ran.stderr);
    ran.said(&["stopped on request: the same command goes on"]);
    let written = case.home.sqlite("store.sqlite").len() as u64;
    let told = case.home.run("status --state state --json --sqlite store.sqlite").json(0);
    let report = case.finish(0, 3);
    assert_eq!(told["checkpoint"], report["resumed_from"]);
    let resumed = &report["resumed_from"];
    assert!(resumed["records"].as_u64().is_some_and(|records| records > 0), "{resumed}");
    assert_eq!(report["kinds"], expected().reports[0]["kinds"]);
    let inserted = report["sinks"]["sqlite"]["inserted"].as_u64().expect("a number");
    assert_eq!(inserted + written, case.home.sqlite("store.sqlite").len() as u64, "nothing was written twice");
}

#[test]
fn a_sink_that_did_not_get_all_of_a_kind_is_behind_though_the_run_died_in_a_later_kind_and_was_taken_up() {
    let mut case = Case::new("--sqlite first.sqlite", None);
    case.finish(0, 1);
    let behind = |case: &Case| {
        let told = case.home.run(&format!("status --state state --json {}", case.sinks)).json(0);
        told["sinks"]["sqlite"].clone()
    };
    // A store that is new in the second month does not get what is broken there and was whole in the first.
    case.home.copy("state", "other");
    case.sinks = "--sqlite new.sqlite".to_owned();
    case.die(1, 2, "before-block=32*sleep(15)->panic");
    case.finish(1, 1);
    assert_eq!(case.resumed, 1);
    let found = behind(&case);
    case.home.copy("other", "state");
    case.sinks = "--sqlite undisturbed.sqlite".to_owned();
    case.finish(1, 1);
    assert_eq!(found, behind(&case));
    assert!(found.as_object().is_some_and(|kinds| kinds.values().all(|stand| stand != "current")), "{found}");
    assert_eq!(case.home.sqlite("new.sqlite"), case.home.sqlite("undisturbed.sqlite"));
}

#[test]
fn a_feed_that_was_cut_within_a_month_is_not_taken_up_in_silence() {
    let mut case = Case::new("--sqlite store.sqlite --feed feed.jsonl", None);
    case.die(0, 1, "before-block=20*sleep(15)->panic");
    let feed = case.home.path("feed.jsonl");
    let lines = std::fs::read_to_string(&feed).expect("a feed");
    let half: String = lines.split_inclusive('\n').take(lines.lines().count() / 2).collect();
    std::fs::write(&feed, half).expect("written");
    let ran = Ran::of(&case.run(0, 1, "").output().expect("it starts"));
    ran.refused(&["changes that the run before had added", "Take away the file `checkpoint`"]);
    std::fs::remove_file(case.home.path("state/checkpoint")).expect("there");
    case.finish(0, 2);
    assert_eq!(case.resumed, 0);
    assert!(lines_of(&case.home, "feed.jsonl").len() > lines.lines().count());
    assert_same(&case.home.sqlite("store.sqlite"), &by_files(&odd().folders()[..1]).0.sqlite("files.sqlite"), "SQLite");
}
