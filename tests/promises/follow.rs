//! A refresh that stays, and applies each month as it is published.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::broker::Broker;
use super::generated::small;
use super::harness::{Home, assert_same};
use super::kafka::by_files;

struct Following {
    child: Child,
    reports: Lines<BufReader<ChildStdout>>,
}

impl Following {
    fn begin(home: &Home, broker: &Broker, rest: &str, points: &str) -> Following {
        let mut command = home.command(&format!("refresh --kafka --follow --json {} --state state {rest}", broker.flags()));
        let mut child = command.env("FAILPOINTS", points).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
        let reports = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Following { child, reports }
    }

    /// The next line; the test as a whole has a limit of time.
    fn report(&mut self) -> Value {
        serde_json::from_str(&self.reports.next().expect("a line").expect("read")).expect("an object")
    }

    /// Asks it to stop; what it printed since, and its exit status.
    fn stop(mut self) -> (usize, Option<i32>) {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().expect("sent");
        assert!(sent.success());
        let begun = Instant::now();
        let rest = self.reports.by_ref().count();
        let status = self.child.wait().expect("ended").code();
        assert!(begun.elapsed() < Duration::from_secs(10), "it ends soon");
        (rest, status)
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        // Of no use where it has ended, which is what a test that passes saw to.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_follower_applies_each_month_once_and_as_a_whole_when_all_its_kinds_are_published_and_ends_when_it_is_asked_to() {
    let Some(broker) = Broker::new() else { return };
    let (home, months) = (Home::new(), small().folders());
    // Begun before there is anything.
    let mut following = Following::begin(&home, &broker, "--sqlite followed.sqlite --feed feed.jsonl", "");
    for (number, month) in months[..2].iter().enumerate() {
        home.publish(month, &broker, "--partitions 3").json(0);
        let report = following.report();
        assert_eq!(report["snapshot"], format!("2026-0{}", number + 1));
        assert_eq!(report["kinds"].as_object().map(serde_json::Map::len), Some(4), "not kind by kind: {report}");
        let (files, _) = by_files(&months[..=number]);
        assert_same(&home.sqlite("followed.sqlite"), &files.sqlite("files.sqlite"), "followed");
    }
    assert_eq!(following.stop(), (0, Some(0)), "nothing more, and nothing that was interrupted");
    // It goes on where it was; the month that came meanwhile is applied at once.
    home.publish(&months[2], &broker, "").json(0);
    let mut following = Following::begin(&home, &broker, "--sqlite followed.sqlite --feed feed.jsonl -w 2", "");
    assert_eq!(following.report()["snapshot"], "2026-03");
    assert_eq!(following.stop(), (0, Some(0)));
    let (files, _) = by_files(&months);
    assert_same(&home.sqlite("followed.sqlite"), &files.sqlite("files.sqlite"), "followed to the end");
    assert_eq!(home.told("followed.sqlite"), files.told("files.sqlite"));
    assert!(home.feed("feed.jsonl").iter().all(|line| line.get("gap").is_none()));
}

#[cfg(feature = "failpoints")]
#[test]
fn a_follower_that_is_stopped_within_a_month_ends_with_status_4_and_the_next_one_applies_it() {
    let Some(broker) = Broker::new() else { return };
    let (home, months) = (Home::new(), small().folders());
    home.publish(&months[0], &broker, "--partitions 3").json(0);
    let slow = "before-topic=sleep(1000)";
    let following = Following::begin(&home, &broker, "--sqlite followed.sqlite", slow);
    let begun = Instant::now();
    while !home.path("followed.sqlite").exists() {
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(following.stop(), (0, Some(4)), "the month was not applied");
    let mut following = Following::begin(&home, &broker, "--sqlite followed.sqlite", "");
    assert_eq!(following.report()["snapshot"], "2026-01");
    assert_eq!(following.stop(), (0, Some(0)));
    let (files, _) = by_files(&months[..1]);
    assert_same(&home.sqlite("followed.sqlite"), &files.sqlite("files.sqlite"), "after all");
}
