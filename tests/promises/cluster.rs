//! Several processes: they come to what one comes to, agree before anything is read, keep records at home, and end together.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::broker::Broker;
use super::generated::{odd, peaceful, small};
use super::graph::Server;
use super::harness::{Database, Home, KINDS, Ran, assert_same, count, fault};
use super::kafka::by_files;

/// How many processes with how many workers.
pub type Shape = (usize, usize);

/// A few changes in a tick, so that small months have many.
pub const BLOCKS: &str = "block-records=return(100)";

/// The processes of one command, process 0 first.
pub struct Together(pub Vec<Child>);

impl Together {
    /// `line` for all, with what is each one's own.
    pub fn start(home: &Home, (processes, workers): Shape, line: &str, points: &str, own: impl Fn(usize) -> String) -> Together {
        let listeners: Vec<_> = (0..processes).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
        let hosts: Vec<_> = listeners.iter().map(|listener| listener.local_addr().expect("an address").to_string()).collect();
        drop(listeners);
        let name = format!("hosts-{}", hosts[0].replace(':', "-"));
        fs::write(home.path(&name), hosts.join("\n")).expect("written");
        let start = |process: usize| {
            let line = format!("{line} -w {workers} --processes {processes} --process {process} --hostfile {name} {}", own(process));
            let mut command = home.command(&line);
            spawn(command.env("FAILPOINTS", points))
        };
        Together((0..processes).map(start).collect())
    }

    pub fn ended(self) -> Vec<Ran> {
        self.0.into_iter().map(|child| Ran::of(&child.wait_with_output().expect("it ends"))).collect()
    }
}

pub fn spawn(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
}

pub fn refresh(dumps: &Path, rest: &str) -> String {
    format!("refresh --json --state state --dumps {} {rest}", dumps.display())
}

/// What process 0 has printed, if all ended well.
#[track_caller]
pub fn report(ran: &[Ran], status: i32) -> Value {
    for ran in &ran[1..] {
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(0), ""), "{}", ran.stderr);
    }
    ran[0].json(status)
}

/// Only what is said of records went from one process to another: some MB of them were read.
#[track_caller]
fn stayed_home(ran: &[Ran]) {
    for ran in ran {
        let words = ran.stderr.lines().find(|line| line.contains("exchanged with other processes")).expect("it is told");
        assert!(words.contains(" KiB") && !words.contains(" MiB") && !words.contains(" GiB"), "{words}");
    }
}

#[test]
fn from_files_any_number_of_processes_with_any_number_of_workers_comes_to_what_one_comes_to() {
    let Some(database) = Database::new() else { return };
    let (files, reports) = by_files(&odd().folders());
    let home = Home::new();
    for ((month, shape), of_one) in odd().folders().iter().zip([(2, 1), (2, 2), (4, 1)]).zip(&reports) {
        let line = refresh(month, &format!("--postgres {}", database.url()));
        let ran = Together::start(&home, shape, &line, BLOCKS, |_| String::new()).ended();
        assert_eq!(report(&ran, 3)["kinds"], of_one["kinds"], "{shape:?}");
    }
    assert_same(&database.rows(), &files.sqlite("files.sqlite"), "the rows");
    home.run(&format!("verify --state state --json --postgres {}", database.url())).json(0);
    // One process takes up what several left.
    let last = odd().folders().pop().expect("a month");
    let report = home.refresh(&last, "--sqlite new.sqlite -w 3").json(3);
    for kind in KINDS {
        assert_eq!(["inserted", "updated", "deleted"].map(|what| count(&report, kind, what)), [0; 3], "{kind}");
    }
}

#[test]
fn from_topics_processes_read_their_own_partitions_come_to_the_same_and_keep_records_at_home() {
    let (Some(database), Some(broker)) = (Database::new(), Broker::new()) else { return };
    let (files, reports) = by_files(&odd().folders());
    let home = Home::new();
    for ((month, shape), of_one) in odd().folders().iter().zip([(2, 2), (4, 1), (2, 1)]).zip(&reports) {
        home.publish(month, &broker, "--partitions 8").json(0);
        let line = format!("refresh --kafka --json --state state {} --postgres {}", broker.flags(), database.url());
        let ran = Together::start(&home, shape, &line, BLOCKS, |_| String::new()).ended();
        assert_eq!(report(&ran, 3)["kinds"], of_one["kinds"], "{shape:?}");
        stayed_home(&ran);
    }
    assert_same(&database.rows(), &files.sqlite("files.sqlite"), "the rows");
}

#[test]
fn from_topics_and_files_processes_keep_a_graph_as_the_dumps_say_it_month_by_month_and_loaded_afresh() {
    let (Some(server), Some(broker)) = (Server::new(), Broker::new()) else { return };
    let (home, months) = (Home::new(), peaceful().folders());
    for (month, shape) in months.iter().zip([(2, 2), (4, 1), (2, 1)]) {
        home.publish(month, &broker, "--partitions 8").json(0);
        let line = format!("refresh --kafka --json --state state --allow-deletes {} {}", broker.flags(), server.sink());
        report(&Together::start(&home, shape, &line, BLOCKS, |_| String::new()).ended(), 0);
        server.assert_is(month, None);
    }
    // One process verifies and goes on with what several left, in memory too.
    home.run(&format!("verify --state state --json {}", server.sink())).json(0);
    let last = months.last().expect("a month");
    let counts = home.refresh(last, &format!("--state alone {}", server.sink()));
    counts.refused(&["belongs to the state"]);
    server.empty();
    let line = refresh(last, &format!("--state fresh {}", server.sink())).replace("--state state ", "");
    report(&Together::start(&home, (3, 1), &line, BLOCKS, |_| String::new()).ended(), 0);
    server.assert_is(last, None);
    // Back by one month, by one process: links of every record are those that the graph shows.
    home.refresh(&months[1], &format!("--state fresh --allow-older --allow-deletes {}", server.sink()).replace("--state state", ""))
        .json(0);
    server.assert_is(&months[1], None);
}

#[test]
fn processes_that_are_killed_while_they_keep_a_graph_go_on_and_come_to_what_the_dumps_say() {
    let Some(server) = Server::new() else { return };
    let (home, months) = (Home::new(), peaceful().folders());
    let mut went_on = 0;
    for (number, month) in months.iter().enumerate() {
        let line = refresh(month, &format!("--checkpoint-interval 0 --allow-deletes {}", server.sink()));
        for (attempt, shape) in [(2, 1), (3, 1), (2, 2)].into_iter().enumerate() {
            let mut all = Together::start(&home, shape, &line, &format!("{BLOCKS};before-block=sleep(150)"), |_| String::new());
            sleep(Duration::from_millis(1_500 + 400 * (number + attempt) as u64));
            let struck = all.0.remove((number + attempt) % shape.0);
            signal(&struck, "KILL");
            fault("a process of several killed, with a graph");
            for ran in all.ended() {
                went_on += usize::from(ran.stderr.contains("going on where the run before was"));
            }
            struck.wait_with_output().expect("it ends");
        }
        let ran = Together::start(&home, (4, 1), &line, BLOCKS, |_| String::new()).ended();
        assert!(matches!(ran[0].status, Some(0 | 3)), "{}", ran[0].stderr);
        went_on += usize::from(ran[0].stderr.contains("going on where the run before was"));
        server.assert_is(month, None);
    }
    assert!(went_on > 2, "{went_on} went on where one before had come to");
}

#[test]
fn each_process_writes_its_changes_to_the_feed_once_and_its_documents_to_topics_though_processes_are_killed() {
    let (Some(database), Some(broker)) = (Database::new(), Broker::new()) else { return };
    let (files, reports) = by_files(&odd().folders());
    let home = Home::new();
    let topics = [broker.documents(), broker.feed()].map(|flags| flags.replace(&format!("--brokers {} ", broker.address), ""));
    let sinks = format!("{} --postgres {} --partitions 8 {}", broker.flags(), database.url(), topics.join(" "));
    for (number, (month, of_one)) in odd().folders().iter().zip(&reports).enumerate() {
        home.publish(month, &broker, "--partitions 12").json(0);
        let line = format!("refresh --kafka --json --state state --checkpoint-interval 0 {sinks}");
        for (attempt, shape) in [(3, 1), (2, 2)].into_iter().enumerate() {
            let mut all = Together::start(&home, shape, &line, &format!("{BLOCKS};before-block=sleep(150)"), |_| String::new());
            sleep(Duration::from_millis(3_000));
            let struck = all.0.remove((number + attempt) % shape.0);
            signal(&struck, "KILL");
            fault("a process of several killed, with a feed in a topic");
            all.ended();
            struck.wait_with_output().expect("it ends");
        }
        let shape = [(4, 1), (1, 2), (2, 1)][number];
        let ran = match shape {
            (1, workers) => {
                vec![Ran::of(&home.command(&format!("{line} -w {workers}")).env("FAILPOINTS", BLOCKS).output().expect("it starts"))]
            }
            // Some commits are made and not answered, while other processes have transactions open.
            shape => {
                let points =
                    format!("{BLOCKS};batch-rows=return(10);commit-unanswered=5*off->1*return->2*off->1*return->3*off->1*return->off");
                match Together::start(&home, shape, &line, &points, |_| String::new()).ended() {
                    // Of what begins and ends a run, that is told.
                    ran if ran[0].status == Some(1) => Together::start(&home, shape, &line, BLOCKS, |_| String::new()).ended(),
                    ran => ran,
                }
            }
        };
        assert_eq!(report(&ran, 3)["kinds"], of_one["kinds"], "{shape:?}");
        if shape.0 > 1 {
            stayed_home(&ran);
        }
        let rows = database.rows();
        assert_same(&broker.folded(), &rows, "the feed folded, and PostgreSQL");
        assert_same(&broker.rows(), &rows, "the topics of documents, and PostgreSQL");
        let complete = broker.markers("complete");
        assert!(complete.iter().all(|markers| markers.len() == number + 1), "{complete:?}");
    }
    assert_same(&database.rows(), &files.sqlite("files.sqlite"), "the rows");
    let changes = broker.changes();
    assert!(changes.len() > 1_000 && changes.values().all(|times| *times == 1), "each change once");
}

#[test]
fn partitions_that_processes_cannot_share_are_told_with_how_many_could_before_anything_is_read() {
    let Some(broker) = Broker::new() else { return };
    let home = Home::new();
    home.publish(&small().folders()[0], &broker, "--partitions 4").json(0);
    let line = format!("refresh --kafka --json --state state {} --null", broker.flags());
    for ran in Together::start(&home, (3, 1), &line, "", |_| String::new()).ended() {
        ran.refused(&["the 4 partitions", "say --processes 2 or 4"]);
    }
}

#[test]
fn what_processes_were_told_differently_is_told_by_all_before_anything_is_read() {
    let home = Home::new();
    let months = small().folders();
    let month = months[0].display();
    let line = refresh(&months[0], "--null");
    let wrong = [
        (line.clone(), ["".to_owned(), "--memory 64MiB".to_owned()], "process 1 was told memory = 64.00 MiB, and process 0 128.00 MiB"),
        (
            format!("refresh --json --null --dumps {month}"),
            ["--state state".to_owned(), "--state elsewhere".to_owned()],
            "elsewhere is not where process 0 keeps the state",
        ),
        (
            "refresh --json --null --state state".to_owned(),
            [format!("--dumps {month}"), "--dumps nowhere".to_owned()],
            "cannot read nowhere/discogs_20260101_artists.xml.gz, which process 0 reads",
        ),
    ];
    for (line, own, words) in wrong {
        for ran in Together::start(&home, (2, 1), &line, "", |process| own[process].clone()).ended() {
            ran.refused(&[words]);
        }
    }
    // What one process alone can write.
    for ran in Together::start(&home, (2, 1), &refresh(&months[0], "--sqlite store.sqlite"), "", |_| String::new()).ended() {
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(2), ""), "{}", ran.stderr);
        ran.said(&["--sqlite: is a file that one process writes, and several were asked for"]);
    }
    // Who does not come is named.
    let mut alone = Together::start(&home, (2, 1), &line, "assembling=return(2)", |_| String::new());
    let mut gone = alone.0.pop().expect("process 1");
    gone.kill().and_then(|()| gone.wait()).expect("ended");
    for ran in alone.ended() {
        ran.refused(&["process 1 (127.0.0.1:", "did not come within 2 s"]);
    }
    // And nothing of that is in the way of what is right.
    let ran = Together::start(&home, (2, 1), &line, "", |_| String::new()).ended();
    report(&ran, 0);
}

#[test]
fn from_files_when_a_process_is_killed_or_stopped_the_others_end_with_words_and_any_number_goes_on_at_the_checkpoint() {
    let Some(database) = Database::new() else { return };
    let line = |_: &Home, month: &Path| refresh(month, &format!("--postgres {}", database.url()));
    struck(&database, 4, line);
}

#[test]
fn from_topics_when_a_process_is_killed_or_stopped_the_others_end_with_words_and_any_number_goes_on_at_the_checkpoint() {
    let (Some(database), Some(broker)) = (Database::new(), Broker::new()) else { return };
    let line = |home: &Home, month: &Path| {
        home.publish(month, &broker, "--partitions 12").json(0);
        format!("refresh --kafka --json --state state {} --postgres {}", broker.flags(), database.url())
    };
    struck(&database, 8, line);
}

/// Strikes one process of clusters of many shapes, month for month, so many times in each.
fn struck(database: &Database, times: u64, line: impl Fn(&Home, &Path) -> String) {
    let months = odd().folders();
    let (files, _) = by_files(&months);
    let home = Home::new();
    let mut seed = times;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (seed >> 33) % below
    };
    let (mut died, mut hung, mut went_on) = (0, 0, 0);
    for month in &months {
        let line = format!("{} --checkpoint-interval 0", line(&home, month));
        for attempt in 0..times {
            let shape = [(2, 1), (4, 1), (2, 2), (3, 1)][random(4) as usize];
            let points = format!("{BLOCKS};before-block=sleep(200);assembling=return(8)");
            let mut all = Together::start(&home, shape, &line, &points, |_| String::new());
            sleep(Duration::from_millis(200 + random(1_800)));
            let one = random(shape.0 as u64) as usize;
            let hangs = attempt % 3 == 1;
            signal(&all.0[one], if hangs { "STOP" } else { "KILL" });
            fault(if hangs { "a process of several stopped" } else { "a process of several killed" });
            let begun = Instant::now();
            let struck = all.0.remove(one);
            for ran in all.ended() {
                // It may have been done already.
                if !matches!(ran.status, Some(0 | 3)) {
                    let named = format!("process {one}");
                    assert!(ran.status == Some(1) && ran.stderr.contains(&named), "{:?}: {}", ran.status, ran.stderr);
                    *(if hangs { &mut hung } else { &mut died }) += 1;
                }
                went_on += usize::from(ran.stderr.contains("going on where the run before was"));
            }
            assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
            signal(&struck, "KILL");
            struck.wait_with_output().expect("it ends");
        }
        let ran = Together::start(&home, (2, 2), &line, BLOCKS, |_| String::new()).ended();
        // Nothing is left to be done where one of them was too quick to be struck.
        assert!(matches!(ran[0].status, Some(0 | 3)), "{}", ran[0].stderr);
        went_on += usize::from(ran[0].stderr.contains("going on where the run before was"));
    }
    assert!(died > 4 && hung > 1, "{died} and {hung} ended by that");
    assert!(went_on > 2, "{went_on} went on where one before had come to");
    assert_same(&database.rows(), &files.sqlite("files.sqlite"), "the rows");
}

#[test]
fn a_stop_ends_with_a_checkpoint_whoever_is_asked_and_any_number_of_processes_goes_on_there() {
    let (Some(database), Some(broker)) = (Database::new(), Broker::new()) else { return };
    let months = odd().folders();
    let (files, reports) = by_files(&months[..1]);
    let home = Home::new();
    home.publish(&months[0], &broker, "--partitions 8").json(0);
    let line = format!("refresh --kafka --json --state state {} --postgres {}", broker.flags(), database.url());
    for (asked, shape) in [(0, (2, 1)), (1, (4, 1)), (1, (2, 2))] {
        let all = Together::start(&home, shape, &line, &format!("{BLOCKS};before-block=sleep(400)"), |_| String::new());
        sleep(Duration::from_millis(2_500));
        signal(&all.0[asked], "TERM");
        let begun = Instant::now();
        for ran in all.ended() {
            assert_eq!(ran.status, Some(4), "{}", ran.stderr);
        }
        assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    }
    // One process alone takes up what several left, and counts what they did.
    let alone = home.command(&format!("{line} -w 3")).env("FAILPOINTS", BLOCKS).output().expect("it starts");
    let report = Ran::of(&alone).json(3);
    assert!(!report["resumed_from"].is_null(), "{report}");
    assert_eq!(report["kinds"], reports[0]["kinds"]);
    assert_same(&database.rows(), &files.sqlite("files.sqlite"), "the rows");
}

#[test]
fn a_process_left_over_from_an_older_run_writes_to_no_file_of_the_next() {
    let (home, months) = (Home::new(), small().folders());
    let mut older = Together::start(&home, (2, 1), &refresh(&months[0], "--null"), "before-part=sleep(15000)", |_| String::new());
    // Both have read all by then, and are about to save.
    sleep(Duration::from_secs(6));
    let mut first = older.0.remove(0);
    first.kill().and_then(|()| first.wait()).expect("killed");
    let next = Together::start(&home, (2, 1), &refresh(&months[0], "--null"), "", |_| String::new()).ended();
    let counts = report(&next, 0);
    assert!(older.0[0].try_wait().expect("asked").is_none(), "it is still there");
    assert_eq!(older.ended()[0].status, Some(1));
    // Which the next month is compared with.
    let report = home.refresh(&months[1], "--null").json(0);
    let (_, by_one) = by_files(&months[..2]);
    assert_eq!((&counts["kinds"], &report["kinds"]), (&by_one[0]["kinds"], &by_one[1]["kinds"]));
    let left = fs::read_dir(home.path("state"))
        .expect("listed")
        .filter(|entry| entry.as_ref().expect("an entry").file_name().to_string_lossy().contains("g1-"));
    assert_eq!(left.count(), 0, "what nobody needs is taken away");
}

#[test]
fn a_copy_of_the_states_folder_is_told_apart_whatever_was_begun_in_it() {
    let (home, months) = (Home::new(), small().folders());
    let line = format!("refresh --json --null --dumps {}", months[0].display());
    let own = |process: usize| ["--state state", "--state elsewhere"][process].to_owned();
    for _ in 0..2 {
        for ran in Together::start(&home, (2, 1), &line, "", own).ended() {
            ran.refused(&["elsewhere is not where process 0 keeps the state"]);
        }
        home.copy("state", "elsewhere");
    }
    report(&Together::start(&home, (2, 1), &line, "", |_| "--state state".to_owned()).ended(), 0);
}

#[test]
fn a_combination_that_cannot_be_leaves_a_run_that_was_interrupted_to_be_taken_up() {
    let (home, months) = (Home::new(), small().folders());
    let mut interrupted = home.refreshing(&months[0], "--sqlite store.sqlite --checkpoint-interval 0");
    let child = spawn(interrupted.env("FAILPOINTS", "block-records=return(100);before-block=sleep(50);checkpoint-taken=panic"));
    Ran::of(&child.wait_with_output().expect("it ends"));
    let line = refresh(&months[0], "--sqlite store.sqlite");
    for ran in Together::start(&home, (2, 1), &line, "", |_| String::new()).ended() {
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(2), ""), "{}", ran.stderr);
        ran.said(&["--sqlite: is a file that one process writes, and several were asked for"]);
    }
    let report =
        Ran::of(&home.refreshing(&months[0], "--sqlite store.sqlite").env("FAILPOINTS", BLOCKS).output().expect("it starts")).json(0);
    assert!(!report["resumed_from"].is_null(), "{report}");
}

#[test]
fn one_process_that_is_asked_to_stop_stops_all_and_that_is_no_failure_of_any() {
    let home = Home::new();
    let line = refresh(&small().folders()[0], "--null");
    for asked in 0..2 {
        let both = Together::start(&home, (2, 1), &line, &format!("{BLOCKS};before-block=sleep(1000)"), |_| String::new());
        // They know of each other by then, and the month takes a quarter of a minute.
        sleep(Duration::from_secs(4));
        signal(&both.0[asked], "TERM");
        for ran in both.ended() {
            assert_eq!(ran.status, Some(4), "{}", ran.stderr);
        }
    }
    // One that waits for the other too.
    for alone in 0..2 {
        let mut both = Together::start(&home, (2, 1), &line, "", |_| String::new());
        let mut gone = both.0.remove(1 - alone);
        gone.kill().and_then(|()| gone.wait()).expect("killed");
        sleep(Duration::from_secs(1));
        signal(&both.0[0], "TERM");
        for ran in both.ended() {
            assert_eq!(ran.status, Some(4), "{alone}: {}", ran.stderr);
        }
    }
    report(&Together::start(&home, (2, 1), &line, BLOCKS, |_| String::new()).ended(), 0);
}

#[test]
fn processes_that_wait_for_a_month_are_alive() {
    let Some(broker) = Broker::new() else { return };
    let home = Home::new();
    let ports: Vec<_> =
        (0..2).map(|_| TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port")).collect();
    let line = format!("refresh --kafka --follow --state state {} --null", broker.flags());
    let both = Together::start(&home, (2, 1), &line, "still=return(500)", |process| format!("--listen {}", ports[process]));
    sleep(Duration::from_secs(5));
    for port in &ports {
        let mut answer = String::new();
        let mut client = TcpStream::connect(port).expect("it listens");
        client.write_all(b"GET /health HTTP/1.0\r\n\r\n").and_then(|()| client.read_to_string(&mut answer)).expect("an answer");
        assert!(answer.contains(" 200 ") && answer.contains("alive: waiting: "), "{answer}");
    }
    signal(&both.0[0], "TERM");
    for ran in both.ended() {
        assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    }
}

pub fn signal(child: &Child, name: &str) {
    let _ = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).stderr(Stdio::null()).status();
}
