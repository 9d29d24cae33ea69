//! Topics that another program fills: no markers, no catalogue, nothing that says where a month ends.

use std::path::PathBuf;

use super::broker::Broker;
use super::generated::small;
use super::harness::{Home, KINDS, Ran, Rows, assert_same};
use super::kafka::by_files;

impl Home {
    fn until(&self, broker: &Broker, rest: &str) -> Ran {
        self.run(&format!("refresh --kafka --json {} --state state --sqlite theirs.sqlite {rest}", broker.flags()))
    }
}

/// Somebody else's topics, and ours, which they are filled from.
struct Theirs {
    ours: Broker,
    theirs: Broker,
}

impl Theirs {
    fn new(home: &Home, months: &[PathBuf], partitions: i32, policy: &str) -> Option<Theirs> {
        let (ours, theirs) = (Broker::new()?, Broker::new()?);
        for month in months {
            home.publish(month, &ours, "--partitions 2").json(0);
        }
        KINDS.iter().for_each(|kind| theirs.make(&format!("{kind}s"), partitions, &[("cleanup.policy", policy)]));
        Some(Theirs { ours, theirs })
    }

    fn publish(&self, month: usize) {
        KINDS.iter().for_each(|kind| self.theirs.copy_from(&self.ours, &format!("{kind}s"), month));
    }
}

/// The last of each record, and nothing deleted.
fn last_of_each(months: &[PathBuf]) -> Rows {
    let mut rows = Rows::new();
    months.iter().for_each(|month| rows.extend(by_files(std::slice::from_ref(month)).0.sqlite("files.sqlite")));
    rows
}

#[test]
fn what_another_program_publishes_is_applied_to_the_last_of_each_record_whatever_it_was_read_with_and_nothing_is_deleted() {
    let (home, months) = (Home::new(), small().folders());
    let Some(topics) = Theirs::new(&home, &months, 5, "compact") else { return };
    topics.publish(1);
    let first = home.until(&topics.theirs, "--until now -w 2").json(0);
    assert!(first.is_object(), "each key once: {first}");
    assert_same(&home.sqlite("theirs.sqlite"), &last_of_each(&months[..1]), "a month");
    // Two months at once: keys that come again.
    topics.publish(2);
    topics.publish(3);
    let ran = home.until(&topics.theirs, "--until now -w 3");
    ran.said(&["messages without a value were passed over"]);
    assert_eq!(ran.json(0).as_array().map(Vec::len), Some(2), "each month an epoch of its own");
    assert_same(&home.sqlite("theirs.sqlite"), &last_of_each(&months), "three months");
    let nothing = home.until(&topics.theirs, "--until now").json(0);
    assert_eq!(nothing["kinds"], serde_json::json!({}));
    let verified = home.run("verify --state state --sqlite theirs.sqlite --json").json(0);
    assert_eq!(verified["equal"], true);
}

#[test]
fn topics_are_read_to_the_offset_that_is_named_and_from_there_the_next_time() {
    let (home, months) = (Home::new(), small().folders());
    let Some(topics) = Theirs::new(&home, &months[..1], 1, "delete") else { return };
    topics.publish(1);
    let report = home.until(&topics.theirs, "--until 100").json(0);
    for kind in KINDS {
        let received = report["kinds"][kind]["received"].as_u64().expect("a count");
        let there = u64::try_from(topics.theirs.ends(&format!("{kind}s"))[0]).expect("an offset") - 1;
        assert_eq!(received, there.min(100), "{kind}");
    }
    home.until(&topics.theirs, "--until now").json(0);
    assert_same(&home.sqlite("theirs.sqlite"), &last_of_each(&months[..1]), "in two steps");
}

#[test]
fn what_cannot_be_meant_is_refused_with_words() {
    let (home, months) = (Home::new(), small().folders());
    let Some(topics) = Theirs::new(&home, &months[..1], 1, "delete") else { return };
    home.until(&topics.ours, "--until now").refused(&["were filled by discodiff publish", "leave --until out"]);
    home.until(&topics.theirs, "").refused(&["nothing was published there under this prefix", "--until now"]);
    let nowhere = Broker::new().expect("a broker");
    home.until(&nowhere, "--until now").refused(&["there is none of the topics"]);
    for (line, words) in [
        ("refresh --dumps d --state s --until now", "--until: is said of topics"),
        ("refresh --dumps d --state s --follow", "--follow: is said of topics"),
        ("refresh --kafka --brokers b:1 --state s --until soon", "neither `now` nor an offset"),
        ("refresh --kafka --brokers b:1 --state s --until now --follow", "cannot be used with"),
    ] {
        let ran = home.run(line);
        assert_eq!(ran.status, Some(2), "{line}: {}", ran.stderr);
        ran.said(&[words]);
    }
    topics.publish(1);
    home.until(&topics.theirs, "--until 10").json(0);
    topics.theirs.expire("artists", 0, 20);
    home.until(&topics.theirs, "--until now").refused(&["begins at offset 20", "the state has come to 10", "has expired"]);
}

#[cfg(feature = "failpoints")]
#[test]
fn a_run_that_died_is_applied_again_up_to_where_it_went_and_then_what_came_since() {
    let (home, months) = (Home::new(), small().folders());
    let Some(topics) = Theirs::new(&home, &months, 3, "delete") else { return };
    topics.publish(1);
    home.until(&topics.theirs, "--until now").json(0);
    topics.publish(2);
    for point in ["before-complete=return", "before-state=return", "after-write=panic"] {
        let line = format!("refresh --kafka {} --state state --sqlite theirs.sqlite --until now", topics.theirs.flags());
        let failed = home.command(&line).env("FAILPOINTS", point).output().expect("it starts");
        assert!(!failed.status.success(), "{point}");
    }
    topics.publish(3);
    let applied = home.until(&topics.theirs, "--until now -w 2").json(0);
    assert_eq!(applied.as_array().map(Vec::len), Some(2));
    assert_same(&home.sqlite("theirs.sqlite"), &last_of_each(&months), "after all");
}

#[cfg(feature = "failpoints")]
#[test]
fn a_run_that_died_between_two_kinds_comes_to_its_end_when_it_is_taken_up() {
    let (home, months) = (Home::new(), small().folders());
    let Some(topics) = Theirs::new(&home, &months[..1], 2, "delete") else { return };
    topics.publish(1);
    let line =
        format!("refresh --kafka {} --state state --sqlite theirs.sqlite --until now --checkpoint-interval 0", topics.theirs.flags());
    for blocks in [8, 10, 11, 12, 14] {
        let points = format!("block-records=return(40);before-block={blocks}*sleep(30)->panic");
        assert!(!home.command(&line).env("FAILPOINTS", points).output().expect("it starts").status.success());
        assert!(!home.path("state/checkpoint").exists(), "nothing says where to go on within an unmarked topic");
    }
    home.until(&topics.theirs, "--until now").json(0);
    assert_same(&home.sqlite("theirs.sqlite"), &last_of_each(&months[..1]), "after all");
}

#[test]
fn rejected_records_at_one_offset_of_different_partitions_are_each_kept() {
    let Some(theirs) = Broker::new() else { return };
    let home = Home::new();
    theirs.make("artists", 3, &[]);
    (0..3).for_each(|partition| theirs.produce("artists", partition, "x", "<artist><name>Nobody</name></artist>"));
    let report = home.until(&theirs, "--until now").json(3);
    assert_eq!(report["kinds"]["artist"]["rejected"], 3);
    let letters = home.told("theirs.sqlite").into_iter().filter(|line| line.starts_with("letter ")).count();
    assert_eq!(letters, 3);
    // A sink that does not hold what the state holds is not passed over in silence.
    let ran = home.run(&format!("refresh --kafka --json {} --state state --sqlite late.sqlite --until now", theirs.flags()));
    assert_eq!(ran.json(0)["kinds"], serde_json::json!({}), "nothing is held yet, so nothing is missed");
    theirs.produce("artists", 0, "7", "<artist><id>7</id><name>Seven</name></artist>");
    home.until(&theirs, "--until now").json(0);
    let ran = home.run(&format!("refresh --kafka --json {} --state state --sqlite late.sqlite --until now", theirs.flags()));
    ran.json(3);
    ran.said(&["sqlite is still behind: 1 artists"]);
}
