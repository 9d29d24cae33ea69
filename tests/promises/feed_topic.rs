//! The feed in a topic: whoever takes the last message of each key holds what the store holds, and each change is there once, however runs went.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::broker::{Broker, Seen};
use super::generated::{odd, small};
use super::harness::{Home, KINDS, Rows, assert_same};

const TOPIC: &str = "changes";

impl Broker {
    /// The flags that name the feed.
    pub fn feed(&self) -> String {
        format!("--brokers {} --feed kafka:{}", self.address, self.topic(TOPIC))
    }

    /// What a reader holds who believes every message.
    pub fn folded(&self) -> Rows {
        let mut rows = Rows::new();
        for message in self.messages(TOPIC) {
            let Some(key) = &message.key else { continue };
            let (kind, id) = key.split_once('/').expect("kind and id");
            let kind = KINDS.into_iter().find(|known| *known == kind).expect("a kind");
            match &message.value {
                None => drop(rows.remove(&(kind, id.to_owned()))),
                Some(value) => {
                    let value: Value = serde_json::from_str(value).expect("JSON");
                    let hash = value["hash"].as_str().expect("a hash").to_owned();
                    rows.insert((kind, id.to_owned()), (hash, value["document"].clone()));
                }
            }
        }
        rows
    }

    /// How often each change is there: epoch, key and op.
    pub fn changes(&self) -> BTreeMap<(String, String, String), u32> {
        let mut changes = BTreeMap::new();
        for Seen { key, headers, .. } in self.messages(TOPIC) {
            if let Some(key) = key {
                *changes.entry((headers["epoch"].clone(), key, headers["op"].clone())).or_default() += 1;
            }
        }
        changes
    }

    /// The values of markers of one sort, a list a partition.
    pub fn markers(&self, marker: &str) -> Vec<Vec<Value>> {
        let mut markers = vec![Vec::new(); self.ends(TOPIC).len()];
        for message in self.messages(TOPIC).iter().filter(|message| message.headers.get("marker").is_some_and(|is| is == marker)) {
            assert!(message.key.is_none(), "no log cleaner keeps or drops a marker by a key");
            markers[message.partition as usize].push(serde_json::from_str(message.value.as_ref().expect("a value")).expect("JSON"));
        }
        markers
    }
}

#[test]
fn the_last_message_of_each_key_is_what_the_store_holds_after_each_month_and_every_message_says_what_a_line_says() {
    let Some(broker) = Broker::new() else { return };
    let (home, months) = (Home::new(), odd().folders());
    for (number, month) in months.iter().enumerate() {
        let ran = home.refresh(month, &format!("--sqlite store.sqlite {} --partitions 6 -w {}", broker.feed(), number + 1));
        let report = ran.json(3);
        assert_eq!(report["sinks"]["feed"], report["sinks"]["sqlite"]);
        assert_same(&broker.folded(), &home.sqlite("store.sqlite"), "the topic folded, and SQLite");
        let complete = broker.markers("complete");
        assert_eq!(complete.len(), 6);
        for markers in &complete {
            let last = markers.last().expect("a marker in each partition");
            assert_eq!((markers.len(), &last["complete"], &last["snapshot"]), (number + 1, &json!(number + 1), &report["snapshot"]));
            for kind in KINDS {
                let held = home.sqlite("store.sqlite").keys().filter(|(of, _)| *of == kind).count();
                assert_eq!(last["records"][kind], held);
            }
        }
        home.refresh(month, "--state other --sqlite other.sqlite --feed lines.jsonl").json(3);
    }
    assert!(broker.changes().values().all(|times| *times == 1));
    // Lines and messages are the same, but for deletes, of which headers say all.
    let mut lines: BTreeMap<(String, String), Value> = BTreeMap::new();
    for mut line in home.feed("lines.jsonl") {
        let key = format!("{}/{}", line["kind"].as_str().expect("a kind"), line["id"].as_str().expect("an id"));
        line.as_object_mut().expect("an object").remove("tick");
        lines.insert((line["epoch"].to_string(), key), line);
    }
    for Seen { key, value, headers, .. } in broker.messages(TOPIC).into_iter().filter(|message| message.key.is_some()) {
        let key = key.expect("a key");
        let line = lines.remove(&(headers["epoch"].clone(), key.clone())).expect("a line");
        assert_eq!((json!(headers["kind"]), json!(headers["op"])), (line["kind"].clone(), line["op"].clone()), "{key}");
        match value {
            None => assert_eq!(line["op"], "delete", "{key}"),
            Some(value) => {
                let mut value: Value = serde_json::from_str(&value).expect("JSON");
                assert!(value.as_object_mut().expect("an object").remove("tick").is_some());
                assert_eq!(value, line, "{key}");
            }
        }
    }
    assert!(lines.is_empty());
}

#[test]
fn a_feed_left_out_for_a_month_says_so_in_each_partition_and_one_named_late_begins_with_changes() {
    let Some(broker) = Broker::new() else { return };
    let (home, months) = (Home::new(), small().folders());
    home.refresh(&months[0], "--sqlite store.sqlite").json(0);
    assert!(home.run(&format!("status --state state {}", broker.feed())).stdout.contains("feed: new"));
    let report = home.refresh(&months[1], &format!("--sqlite store.sqlite {} --partitions 3", broker.feed())).json(0);
    let changed =
        |kind: &str| ["inserted", "updated", "deleted"].iter().map(|what| super::harness::count(&report, kind, what)).sum::<u64>();
    assert_eq!(broker.changes().len() as u64, KINDS.iter().map(|kind| changed(kind)).sum::<u64>(), "changes only");
    home.refresh(&months[2], "--sqlite store.sqlite").json(0);
    assert!(home.run(&format!("status --state state {}", broker.feed())).stdout.contains("feed: behind"));
    assert!(broker.markers("gap").concat().is_empty());
    let again = home.path("again");
    super::harness::copy(&months[2], &again);
    std::fs::remove_file(again.join("discogs_20260301_labels.xml.gz")).expect("removed");
    let xml = b"<labels>\n<label><id>1</id><name>One</name></label>\n</labels>\n";
    std::fs::write(again.join("discogs_20260301_labels.xml"), xml).expect("written");
    home.refresh(&again, &format!("--sqlite store.sqlite --allow-deletes {}", broker.feed())).json(0);
    assert_eq!(broker.markers("gap"), vec![vec![json!({ "gap": [3, 3] })]; 3]);
    assert!(home.run(&format!("status --state state {}", broker.feed())).stdout.contains("feed: current"));
}

#[test]
fn a_state_restored_from_the_month_before_makes_good_what_the_feed_said_since() {
    let Some(broker) = Broker::new() else { return };
    let (home, months) = (Home::new(), small().folders());
    let sinks = format!("--sqlite store.sqlite {}", broker.feed());
    home.refresh(&months[0], &sinks).json(0);
    home.copy("state", "backup");
    home.refresh(&months[1], &sinks).json(0);
    home.copy("backup", "state");
    home.refresh(&months[2], &sinks).json(0);
    assert_same(&broker.folded(), &home.sqlite("store.sqlite"), "after another month");
    assert!(broker.markers("gap").concat().is_empty(), "nothing is missing");
    assert!(broker.changes().values().all(|times| *times == 1));
    // And back to the month that the backup held.
    home.copy("backup", "state");
    home.refresh(&months[0], &sinks).json(0);
    assert_same(&broker.folded(), &home.sqlite("store.sqlite"), "the same month");
}

#[test]
fn a_feed_of_another_state_and_topics_that_no_discodiff_wrote_or_that_would_lose_changes_are_refused() {
    let Some(broker) = Broker::new() else { return };
    let (home, months) = (Home::new(), small().folders());
    home.refresh(&months[0], &broker.feed()).json(0);
    let ends = broker.ends(TOPIC);
    home.refresh(&months[0], &format!("--state other {}", broker.feed())).refused(&["feed: the store belongs to the state"]);
    assert_eq!(home.run(&format!("check --state other {}", broker.feed())).status, Some(1));
    home.refresh(&months[1], &format!("{} --partitions 5", broker.feed())).refused(&["it has 16 partitions, and --partitions says 5"]);
    assert_eq!(broker.ends(TOPIC), ends, "nothing was written");
    assert!(home.run(&format!("status --state state {}", broker.feed())).stdout.contains("feed: current"));

    // A topic that was deleted says nothing any more of what its progress tells.
    let gone = Broker::new().expect("a broker");
    home.refresh(&months[0], &format!("--state s0 {}", gone.feed())).json(0);
    gone.delete(TOPIC);
    home.refresh(&months[1], &format!("--state s0 {}", gone.feed())).refused(&["it was deleted or made anew"]);

    let other = Broker::new().expect("a broker");
    other.make(TOPIC, 3, &[("cleanup.policy", "compact"), ("retention.ms", "1000")]);
    other.make("changes.progress", 2, &[]);
    home.refresh(&months[0], &format!("--state s2 {}", other.feed())).refused(&[
        "changes: cleanup.policy is compact, and must be delete",
        "changes: retention.ms is 1000, and must be -1",
        "changes: max.message.bytes is 1048588, and must be at least 33554432",
        "changes.progress: cleanup.policy is delete, and must be compact",
        "changes.progress: it has 2 partitions, and must have one",
        "name other topics with --feed",
    ]);
    let settings = [("retention.ms", "-1"), ("retention.bytes", "-1"), ("max.message.bytes", "33554432")];
    let foreign = Broker::new().expect("a broker");
    foreign.make(TOPIC, 1, &settings);
    foreign.produce(TOPIC, 0, "k", "v");
    home.refresh(&months[0], &format!("--state s3 {}", foreign.feed())).refused(&["holds messages that no discodiff wrote"]);
    assert!(!home.path("s3/manifest.json").exists(), "nothing was begun");
    home.run(&format!("refresh --state s4 --dumps {} --feed kafka:x", months[0].display())).said(&["--brokers: is needed"]);
    home.run(&format!("refresh --state s4 --dumps {} --feed kafka:x --brokers 127.0.0.1:1", months[0].display()))
        .refused(&["no Kafka broker answers at 127.0.0.1:1"]);
}

#[cfg(feature = "failpoints")]
mod interrupted {
    use std::process::{Child, Stdio};
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::harness::{Ran, artists};

    const POINTS: &str = "FAILPOINTS";

    /// A state with SQLite and a feed that hold the first month.
    struct Case {
        home: Home,
        broker: Broker,
        months: Vec<PathBuf>,
    }

    impl Case {
        fn new() -> Option<Case> {
            let case = Case { home: Home::new(), broker: Broker::new()?, months: small().folders() };
            case.refresh(0, "--partitions 4").json(0);
            Some(case)
        }

        fn sinks(&self) -> String {
            format!("--sqlite store.sqlite {}", self.broker.feed())
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
            command.env(POINTS, points).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts")
        }

        /// Starts a run that sleeps behind some transaction, and kills it there.
        fn kill_asleep(&self, month: usize, rest: &str, points: &str) {
            let before = self.broker.changes().len();
            let mut child = self.start(month, rest, points);
            let begun = Instant::now();
            let mut seen = before;
            loop {
                assert!(begun.elapsed() < Duration::from_secs(60), "no change came");
                sleep(Duration::from_millis(400));
                let now = self.broker.changes().len();
                if now > before && now == seen {
                    break;
                }
                seen = now;
            }
            child.kill().expect("SIGKILL");
            child.wait().expect("ended");
        }

        #[track_caller]
        fn assert_equal(&self, what: &str) {
            assert_same(&self.broker.folded(), &self.home.sqlite("store.sqlite"), &format!("{what}: the topic folded, and SQLite"));
            let twice: Vec<_> = self.broker.changes().into_iter().filter(|(_, times)| *times > 1).collect();
            assert!(twice.is_empty(), "{what}: {} changes are there twice, such as {:?}", twice.len(), &twice[..twice.len().min(3)]);
            assert!(self.home.run(&format!("status --state state {}", self.sinks())).stdout.contains("feed: current"), "{what}");
        }
    }

    #[test]
    fn a_run_that_is_killed_between_transactions_is_taken_up_with_other_workers_and_each_change_is_there_once() {
        let Some(uninterrupted) = Case::new() else { return };
        uninterrupted.refresh(1, "").json(0);
        let expected = uninterrupted.broker.changes();
        for (number, off) in [1, 3, 6].into_iter().enumerate() {
            let case = Case::new().expect("a broker");
            case.kill_asleep(1, "-w 2", &format!("batch-rows=return(5);after-transaction={off}*off->sleep(60000)"));
            case.kill_asleep(1, "-w 3", "batch-rows=return(3);after-transaction=2*off->sleep(60000)");
            case.refresh(1, &format!("-w {}", 1 + number)).json(0);
            assert!(case.broker.changes() == expected, "killed after {off} transactions, and again");
            case.assert_equal("killed between transactions");
            assert_eq!(case.broker.markers("complete").iter().map(Vec::len).collect::<Vec<_>>(), [2; 4]);
        }
    }

    #[test]
    fn a_run_that_is_killed_at_any_moment_is_made_good_by_the_same_command() {
        let Some(uninterrupted) = Case::new() else { return };
        let begun = Instant::now();
        uninterrupted.refresh(1, "").json(0);
        let (whole, expected) = (begun.elapsed(), uninterrupted.broker.changes());
        for (number, part) in [0.4, 0.6, 0.75, 0.9].into_iter().enumerate() {
            let case = Case::new().expect("a broker");
            let mut child = case.start(1, "-w 2", "batch-rows=return(10)");
            sleep(whole.mul_f64(part));
            child.kill().expect("SIGKILL");
            child.wait().expect("ended");
            case.refresh(1, &format!("-w {}", 1 + number % 4)).json(0);
            assert!(case.broker.changes() == expected, "killed at {part} of {whole:?}");
            case.assert_equal(&format!("killed at {part} of {whole:?}"));
        }
    }

    #[test]
    fn a_run_that_fails_at_its_last_steps_is_made_good_by_the_same_command_and_ends_the_epoch_once() {
        for point in ["before-complete", "before-state"] {
            let Some(case) = Case::new() else { return };
            case.failing(1, "-w 2", &format!("{point}=return")).refused(&[point]);
            case.failing(1, "-w 1", &format!("{point}=return")).refused(&[point]);
            case.refresh(1, "-w 3").json(0);
            case.assert_equal(point);
            assert_eq!(case.broker.markers("complete").iter().map(Vec::len).collect::<Vec<_>>(), [2; 4], "{point}");
        }
    }

    #[test]
    fn what_a_month_that_was_given_up_has_said_is_made_good_by_the_next_one() {
        for (number, points) in
            ["batch-rows=return(5);after-transaction=4*off->sleep(60000)", "before-complete=return", "before-state=return"]
                .iter()
                .enumerate()
        {
            let Some(case) = Case::new() else { return };
            if points.contains("sleep") {
                case.kill_asleep(1, "-w 2", points);
            } else {
                case.failing(1, "-w 2", points).refused(&["failpoint"]);
            }
            let said = case.broker.changes().into_keys().filter(|(epoch, ..)| epoch == "2").count();
            assert!(said > 0);
            // The next one dies too, and is taken up; in the last case it is given up as well.
            case.kill_asleep(2, "-w 3", "batch-rows=return(4);after-transaction=3*off->sleep(60000)");
            if number == 2 {
                let again = case.home.path("again");
                crate::harness::copy(&case.months[2], &again);
                std::fs::remove_file(again.join("discogs_20260301_labels.xml.gz")).expect("removed");
                case.home
                    .refresh(&again, &format!("{} -w 1", case.sinks()))
                    .said(&["sqlite is still behind", "feed is still behind: 100 labels"]);
                assert!(
                    case.home.run(&format!("status --state state {}", case.sinks())).stdout.contains("feed: behind"),
                    "labels are owed"
                );
            }
            case.refresh(2, "-w 2").json(0);
            case.assert_equal(points);
        }
    }

    #[test]
    fn a_month_that_was_given_up_for_the_one_that_the_state_holds_is_taken_back() {
        let Some(case) = Case::new() else { return };
        case.kill_asleep(1, "", "batch-rows=return(5);after-transaction=4*off->sleep(60000)");
        let ran = case.refresh(0, "-w 2");
        ran.said(&["feed was new or behind"]);
        ran.json(0);
        case.assert_equal("back to the first month");
    }

    #[test]
    fn what_a_given_up_run_deleted_and_no_dump_delivers_stays_owed_until_one_does() {
        let Some(broker) = Broker::new() else { return };
        let home = Home::new();
        let (first, second) = (artists(1000), artists(700));
        let first = home.dumps("2026-01", &[("artists", &first)]);
        let second = home.dumps("2026-02", &[("artists", &second)]);
        home.refresh(&first, &broker.feed()).json(0);
        let mut dying = home.refreshing(&second, &format!("{} --allow-deletes", broker.feed()));
        Ran::of(&dying.env(POINTS, "before-complete=return").output().expect("it starts")).refused(&["before-complete"]);
        assert_eq!(broker.folded().len(), 700);
        let ran = home.refresh(&second, &broker.feed());
        ran.json(3);
        ran.said(&["feed is still behind: 300 artists"]);
        home.refresh(&first, &format!("{} --allow-older", broker.feed())).json(0);
        assert_eq!(broker.folded().len(), 1000, "delivered by the older month");
        home.refresh(&second, &format!("{} --allow-deletes", broker.feed())).json(0);
        assert_eq!(broker.folded().len(), 700);
        assert!(home.run(&format!("status --state state {}", broker.feed())).stdout.contains("feed: current"));
    }

    #[test]
    fn a_commit_that_was_not_answered_or_not_done_is_made_good_and_each_change_is_there_once() {
        let Some(uninterrupted) = Case::new() else { return };
        uninterrupted.refresh(1, "").json(0);
        for point in ["commit-unanswered", "commit-refused"] {
            let case = Case::new().expect("a broker");
            let ran = case.failing(1, "-w 2", &format!("batch-rows=return(3);{point}=2*off->1*return->1*off->1*return->off"));
            ran.json(0);
            ran.said(&["a failpoint; trying again"]);
            assert!(case.broker.changes() == uninterrupted.broker.changes(), "{point}");
            case.assert_equal(point);
        }
    }

    #[test]
    fn a_second_run_on_a_copy_of_the_state_takes_the_feed_over_and_the_first_ends_with_words() {
        let Some(case) = Case::new() else { return };
        case.home.copy("state", "copy");
        case.home.copy("store.sqlite", "copy.sqlite");
        let before = case.broker.changes().len();
        let mut first = case.start(1, "", "batch-rows=return(5);after-transaction=2*off->1*sleep(8000)->off");
        let begun = Instant::now();
        while case.broker.changes().len() <= before {
            assert!(begun.elapsed() < Duration::from_secs(60));
            sleep(Duration::from_millis(20));
        }
        let second = format!("--state copy --sqlite copy.sqlite {}", case.broker.feed());
        case.home.refresh(&case.months[2], &second).json(0);
        let mut words = String::new();
        std::io::Read::read_to_string(&mut first.stderr.take().expect("a pipe"), &mut words).expect("words");
        assert_eq!(first.wait().expect("ended").code(), Some(1), "{words}");
        assert!(words.contains("another run writes there") && words.contains("this one ends"), "{words}");
        assert_same(&case.broker.folded(), &case.home.sqlite("copy.sqlite"), "the second run's");
    }
}
