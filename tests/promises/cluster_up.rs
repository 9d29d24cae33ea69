//! All processes of a refresh started by one command: one report, lines that say whose they are, and restarts where one is lost.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::generated::{odd, small};
use super::harness::{Database, Home, Ran, assert_same, fault};
use super::kafka::by_files;

/// A month of some ten seconds, and short pauses before restarts.
const SLOW: &str = "block-records=return(100);before-block=sleep(500);restart-pause=return(100)";

fn line(dumps: &Path, rest: &str) -> String {
    format!("cluster up --json --state state --dumps {} {rest}", dumps.display())
}

/// A supervisor whose lines can be read while it runs.
struct Up {
    child: Child,
    lines: std::path::PathBuf,
}

impl Up {
    fn start(home: &Home, line: &str, points: &str) -> Up {
        let lines = home.path("stderr");
        let mut command = home.command(line);
        let command = command.env("FAILPOINTS", points).stdout(Stdio::piped()).stderr(File::create(&lines).expect("a file"));
        Up { child: command.spawn().expect("it starts"), lines }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.lines).expect("lines")
    }

    /// Waits until it has said this so many times.
    #[track_caller]
    fn until(&self, words: &str, times: usize) {
        let begun = Instant::now();
        while self.said().matches(words).count() < times {
            assert!(begun.elapsed() < Duration::from_secs(30), "{words:?} is not in {}", self.said());
            sleep(Duration::from_millis(50));
        }
    }

    /// The processes that it has started, process 0 first.
    fn processes(&self) -> Vec<u32> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").expect("processes").flatten() {
            let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
            if status.lines().any(|line| line.split_whitespace().eq(["PPid:", &self.child.id().to_string()])) {
                let words = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
                found.push((words.split_once("--process\0").expect("a number").1[..1].to_owned(), id));
            }
        }
        found.sort();
        found.into_iter().map(|(_, id)| id).collect()
    }

    fn ended(self) -> Ran {
        let said = self.lines.clone();
        let mut ran = Ran::of(&self.child.wait_with_output().expect("it ends"));
        ran.stderr = fs::read_to_string(said).expect("lines");
        ran
    }
}

fn signal(id: u32, name: &str) {
    assert!(Command::new("kill").args([&format!("-{name}"), &id.to_string()]).status().expect("sent").success());
}

/// None of these is there any more.
#[track_caller]
fn gone(processes: &[u32]) {
    let begun = Instant::now();
    let runs = |id: &&u32| fs::read_to_string(format!("/proc/{id}/status")).is_ok_and(|status| !status.contains("State:\tZ"));
    while let Some(id) = processes.iter().find(runs) {
        assert!(begun.elapsed() < Duration::from_secs(5), "process {id} is there");
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn months_come_to_what_one_process_comes_to_with_one_report_and_lines_that_say_whose_they_are() {
    let months = small().folders();
    let (_, reports) = by_files(&months);
    let home = Home::new();
    for ((month, options), of_one) in months.iter().zip(["--processes 2", "--processes 3 -w 2", "--processes 1"]).zip(&reports) {
        let ran = home.run(&line(month, &format!("--null {options}")));
        assert_eq!(ran.json(0)["kinds"], of_one["kinds"], "{options}");
        let processes = options.split(' ').nth(1).and_then(|number| number.parse().ok()).expect("a number");
        for process in 0..processes {
            assert!(ran.stderr.lines().any(|line| line.starts_with(&format!("[{process}] 2"))), "{process}: {}", ran.stderr);
        }
        assert!(ran.stderr.lines().all(|line| line.starts_with('[')), "{}", ran.stderr);
    }
}

#[test]
fn into_postgres_months_come_to_what_one_process_comes_to() {
    let Some(database) = Database::new() else { return };
    let (files, reports) = by_files(&odd().folders());
    let home = Home::new();
    for (month, of_one) in odd().folders().iter().zip(&reports) {
        let ran = home.run(&line(month, &format!("--processes 2 -w 2 --postgres {}", database.url())));
        assert_eq!(ran.json(3)["kinds"], of_one["kinds"]);
    }
    assert_same(&database.rows(), &files.sqlite("files.sqlite"), "the rows");
}

#[test]
fn settings_hold_wherever_they_stand_json_lines_name_their_process_and_process_0_alone_is_watched() {
    let home = Home::new();
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    fs::create_dir(home.path("metrics")).expect("made");
    fs::write(home.path("discodiff.toml"), format!("null = true\nmetrics_file = \"metrics\"\nlisten = {port}\n")).expect("written");
    let mut command = home.command(&line(&small().folders()[0], "--log-format json"));
    // A hostfile for other machines is another matter.
    command.envs([("DISCODIFF_PROCESSES", "2"), ("DISCODIFF_HOSTFILE", "elsewhere")]);
    let ran = Ran::of(&command.output().expect("it starts"));
    ran.json(0);
    let lines: Vec<Value> = ran.stderr.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    for process in 0..2 {
        assert!(lines.iter().any(|line| line["process"] == process), "{}", ran.stderr);
    }
    assert_eq!(ran.stderr.matches("metrics, health and readiness are at").count(), 1);
    let metrics = fs::read_to_string(home.path("metrics/discodiff-refresh.prom")).expect("metrics");
    assert!(metrics.contains("refresh"), "{metrics}");
}

#[test]
fn a_process_that_is_killed_is_made_good_by_a_restart_and_the_month_comes_to_the_same() {
    let months = small().folders();
    let (_, reports) = by_files(&months[..2]);
    let home = Home::new();
    for (struck, (month, of_one)) in months.iter().zip(&reports).enumerate() {
        let up = Up::start(&home, &line(month, "--processes 2 --null"), SLOW);
        up.until("process 1 is here", 1);
        sleep(Duration::from_secs(2));
        let first = up.processes();
        signal(first[struck], "KILL");
        fault("a process of several killed under its supervisor");
        up.until("process 1 is here", 2);
        gone(&first);
        let ran = up.ended();
        assert_eq!(ran.json(0)["kinds"], of_one["kinds"]);
        ran.said(&[&format!("process {struck} was ended by SIGKILL: all are started again in 0.1 s (restart 1)")]);
    }
}

#[test]
fn a_process_that_hangs_is_killed_and_made_good_by_a_restart() {
    let home = Home::new();
    let up = Up::start(&home, &line(&small().folders()[0], "--processes 2 --null"), SLOW);
    up.until("process 1 is here", 1);
    sleep(Duration::from_secs(2));
    let first = up.processes();
    signal(first[1], "STOP");
    fault("a process of several stopped under its supervisor");
    up.until("process 1 is here", 2);
    gone(&first);
    let ran = up.ended();
    ran.json(0);
    ran.said(&["process 1 has not ended, and is killed", "process 0 ended with status 1: all are started again in 0.1 s (restart 1)"]);
}

#[test]
fn mistakes_are_told_once_with_status_2_and_nothing_is_started() {
    let home = Home::new();
    let month = small().folders()[0].display().to_string();
    let used = TcpListener::bind("127.0.0.1:0").expect("a port");
    let used = used.local_addr().expect("its address");
    let wrong = [
        (
            "--process 1 --hostfile hosts --memory lots --null".to_owned(),
            vec![
                "--process: is what each process is told by `cluster up`",
                "--hostfile: is what",
                "--processes: is needed: how many",
                "--memory",
                "--dumps",
            ],
        ),
        (format!("--processes 2 --dumps {month}"), vec!["default: sqlite: is a file that one process writes, and several were asked for"]),
        (format!("--processes 2 --dumps {month} --feed f --sqlite s"), vec!["--feed: is a file", "--sqlite: is a file"]),
        (format!("--processes 2 --dumps {month} --null --fetch"), vec!["--fetch: is for one process"]),
        ("--processes 2 --kafka --brokers h:9092 --null --until now".to_owned(), vec!["--until: reads topics that another program fills"]),
        (format!("--processes 2 --dumps {month} --null --follow"), vec!["--follow: is said of topics"]),
        (format!("--processes 2 --dumps {month} --no-such-flag"), vec!["--no-such-flag"]),
        (
            format!("--processes 2 --dumps {month} --postgres postgresql://u@h/d --postgres-password-file none"),
            vec!["--postgres-password-file: none cannot be read"],
        ),
    ];
    for (rest, words) in wrong {
        let ran = home.run(&format!("cluster up --state state {rest}"));
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(2), ""), "{}", ran.stderr);
        for words in words {
            assert_eq!(ran.stderr.matches(words).count(), 1, "{words}: {}", ran.stderr);
        }
        assert!(!ran.stderr.contains("[0]") && !home.path("state").exists(), "{}", ran.stderr);
    }
    // What only a process itself finds out ends all of them at once, for good.
    let begun = Instant::now();
    let ran = home.run(&format!("cluster up --state state --processes 2 --dumps {month} --null --listen {used}"));
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(2), ""), "{}", ran.stderr);
    ran.said(&["[0]   - --listen: cannot listen on"]);
    assert!(!ran.stderr.contains("started again") && begun.elapsed() < Duration::from_secs(10), "{}", ran.stderr);
}

#[test]
fn a_process_that_hangs_while_all_are_to_stop_is_killed() {
    let home = Home::new();
    let up = Up::start(&home, &line(&small().folders()[0], "--processes 2 --null"), SLOW);
    up.until("is here", 1);
    sleep(Duration::from_secs(2));
    let processes = up.processes();
    signal(processes[1], "STOP");
    fault("a process of several stopped, and the others asked to end");
    signal(up.child.id(), "TERM");
    let ran = up.ended();
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(4), ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("process 1 has not ended, and is killed") && !ran.stderr.contains("started again"), "{}", ran.stderr);
    gone(&processes);
}

#[test]
fn whoever_is_asked_to_stop_all_end_with_status_4_and_none_is_left() {
    let home = Home::new();
    let line = line(&small().folders()[0], "--processes 3 --null");
    for asked in [None, Some(0), Some(2)] {
        let up = Up::start(&home, &line, SLOW);
        up.until("is here", 2);
        sleep(Duration::from_secs(2));
        let processes = up.processes();
        assert_eq!(processes.len(), 3);
        signal(asked.map_or(up.child.id(), |process| processes[process]), "TERM");
        let begun = Instant::now();
        let ran = up.ended();
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(4), ""), "{}", ran.stderr);
        assert!(!ran.stderr.contains("started again") && begun.elapsed() < Duration::from_secs(15), "{}", ran.stderr);
        gone(&processes);
    }
    // Before they have found each other, and before they are started again.
    for (words, points) in [("", SLOW), ("started again", "read-fails=return;restart-pause=return(20000)")] {
        let up = Up::start(&home, &line, points);
        up.until(words, 1);
        sleep(Duration::from_millis(500));
        let processes = up.processes();
        signal(up.child.id(), "INT");
        let ran = up.ended();
        assert_eq!(ran.status, Some(4), "{}", ran.stderr);
        gone(&processes);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn no_process_outlives_a_supervisor_that_is_killed() {
    let home = Home::new();
    let mut up = Up::start(&home, &line(&small().folders()[0], "--processes 2 --null"), SLOW);
    up.until("process 1 is here", 1);
    let processes = up.processes();
    assert_eq!(processes.len(), 2);
    up.child.kill().and_then(|()| up.child.wait()).expect("killed");
    gone(&processes);
}

#[test]
fn processes_that_fail_each_time_are_given_up_with_words() {
    let home = Home::new();
    let line = line(&small().folders()[0], "--processes 2 --null");
    let ran = Up::start(&home, &line, "read-fails=return;restart-pause=return(10)").ended();
    ran.refused(&["(restart 5)", "ended with status 1, and all were started again 5 times in a row: given up"]);
    assert_eq!(ran.stderr.matches("are started again in").count(), 5, "{}", ran.stderr);
    // Nothing of that is in the way of what is right.
    home.run(&line).json(0);
}
