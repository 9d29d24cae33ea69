//! What a run says of its stages: how long they took, what went through them, and what it waited for.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::broker::Broker;
use super::generated::small;
use super::harness::{Home, KINDS, count, xml};

/// A stage of a run's object; of a sink, where it has one of its own.
#[track_caller]
fn stage<'a>(report: &'a Value, name: &str, sink: Option<&str>) -> &'a Value {
    let stages = report["stages"].as_array().expect("a list");
    let found = stages.iter().find(|stage| stage["name"] == name && stage["sink"].as_str() == sink);
    found.unwrap_or_else(|| panic!("no {name} {sink:?} in {}", report["stages"]))
}

#[track_caller]
fn number(stage: &Value, what: &str) -> u64 {
    stage[what].as_u64().unwrap_or_else(|| panic!("no {what} in {stage}"))
}

fn names(report: &Value) -> Vec<&str> {
    report["stages"].as_array().expect("a list").iter().filter_map(|stage| stage["name"].as_str()).collect()
}

/// A count of all kinds.
fn total(report: &Value, what: &str) -> u64 {
    KINDS.iter().map(|kind| count(report, kind, what)).sum()
}

/// Bytes of a month's files, and of the XML in them.
fn bytes(month: &Path) -> (u64, u64) {
    let files = fs::read_dir(month).expect("listed").map(|entry| entry.expect("an entry").path());
    let dumps = files.filter(|path| path.extension().is_some_and(|is| is == "gz"));
    dumps.fold((0, 0), |(all, inflated), path| (all + path.metadata().expect("a file").len(), inflated + xml(&path).len() as u64))
}

/// What holds of any run that did something.
#[track_caller]
fn check_sound(report: &Value) {
    let shares: Vec<f64> =
        report["waited"].as_object().expect("an object").values().map(|share| share.as_f64().expect("a share")).collect();
    assert!(!shares.is_empty() && shares.iter().sum::<f64>() <= 100.0 && shares.iter().all(|share| *share >= 0.0), "{}", report["waited"]);
    for stage in report["stages"].as_array().expect("a list") {
        let of = |what: &str| stage[what].as_f64().unwrap_or_else(|| panic!("no {what} in {stage}"));
        assert!(of("count") > 0.0 && of("p50_seconds") <= of("p99_seconds") && of("p99_seconds") <= of("max_seconds"), "{stage}");
        // A histogram tells durations to one part in a hundred.
        assert!(of("max_seconds") <= of("busy_seconds") * 1.01 + 0.000_002 || stage["name"] == "tick", "{stage}");
        assert_eq!(of("records") > 0.0, of("records_per_second") > 0.0, "{stage}");
    }
}

#[test]
fn each_stage_that_took_part_is_told_with_all_that_went_through_it_whatever_the_number_of_workers() {
    let months = small().folders();
    for workers in [1, 3] {
        let home = Home::new();
        let sinks = format!("--sqlite store.sqlite --feed feed.jsonl -w {workers}");
        let mut held = 0;
        for (at, month) in months.iter().take(2).enumerate() {
            let report = home.refresh(month, &sinks).json(0);
            check_sound(&report);
            let (files, inflated) = bytes(month);
            let received = total(&report, "received");
            let changed: u64 = ["inserted", "updated", "deleted"].iter().map(|what| total(&report, what)).sum();
            let of = |name: &str| stage(&report, name, None);
            assert_eq!(number(of("identify"), "bytes"), files);
            for name in ["decompress", "split"] {
                assert_eq!(number(of(name), "bytes"), inflated, "{name}");
            }
            for name in ["split", "diff", "tick"] {
                assert_eq!(number(of(name), "records"), received, "{name}");
            }
            assert!(number(of("diff"), "bytes") == number(of("tick"), "bytes") && number(of("diff"), "bytes") < inflated);
            assert_eq!(number(of("parse"), "records"), received - total(&report, "unchanged"), "only what is not as before is parsed");
            for sink in ["sqlite", "feed"] {
                assert_eq!(number(stage(&report, "write", Some(sink)), "records"), changed, "{sink}");
                assert_eq!(number(stage(&report, "complete", Some(sink)), "count"), 1, "{sink}");
            }
            assert_eq!((number(of("load"), "count"), number(of("load"), "records")), (workers, held));
            held = held + total(&report, "inserted") - total(&report, "deleted");
            assert_eq!((number(of("save"), "count"), number(of("save"), "records")), (workers, held));
            assert_eq!(names(&report).contains(&"sweep"), at == 1, "only in the second month is something gone");
        }
        let nothing = home.refresh(&months[1], &sinks).json(0);
        assert_eq!((&nothing["stages"], &nothing["waited"]), (&json!([]), &json!({})));
    }
}

#[test]
fn a_person_reads_the_stages_below_the_counts_within_a_hundred_columns_and_none_where_nothing_was_done() {
    let (home, month) = (Home::new(), &small().folders()[0]);
    let refresh = || home.run(&format!("refresh --dumps {} --state state --sqlite store.sqlite --feed feed.jsonl", month.display()));
    let told = refresh().stdout;
    let (counts, stages) = told.split_once("\nwaited for ").expect("what was waited for");
    assert!(counts.contains("sqlite: ") && stages.contains("\nwrite sqlite "), "{told}");
    assert!(stages.lines().all(|line| line.chars().count() <= 100), "{told}");
    assert!(!refresh().stdout.contains("waited for"));
}

#[test]
fn what_is_published_and_read_from_topics_is_told_by_stages_too() {
    let Some(broker) = Broker::new() else { return };
    let (home, month) = (Home::new(), &small().folders()[0]);
    let published = home.publish(month, &broker, "--partitions 3").json(0);
    check_sound(&published);
    let records: u64 = KINDS.iter().filter_map(|kind| published["kinds"][kind]["published"].as_u64()).sum();
    assert_eq!(number(stage(&published, "decompress", None), "bytes"), bytes(month).1);
    for name in ["split", "publish", "commit"] {
        assert_eq!(number(stage(&published, name, None), "records"), records, "{name}");
    }
    assert_eq!(number(stage(&published, "publish", None), "bytes"), number(stage(&published, "commit", None), "bytes"));
    let again = home.publish(month, &broker, "").json(0);
    assert_eq!((&again["stages"], &again["waited"]), (&json!([]), &json!({})));

    let applied = home.apply_topics(&broker, "--sqlite store.sqlite -w 2").json(0);
    check_sound(&applied);
    for name in ["consume", "diff", "tick"] {
        assert_eq!(number(stage(&applied, name, None), "records"), records, "{name}");
        assert_eq!(number(stage(&applied, name, None), "bytes"), number(stage(&published, "publish", None), "bytes"), "{name}");
    }
    assert!(!names(&applied).iter().any(|name| ["decompress", "split"].contains(name)));
    let words = home.run(&format!("publish --again --dumps {} {}", month.display(), broker.flags())).stdout;
    assert!(words.contains("\nwaited for ") && words.contains("\ncommit "), "{words}");
}

#[cfg(feature = "failpoints")]
mod slowed {
    use super::super::harness::Ran;
    use super::*;

    /// What was waited for most in a first load that is held up at these points.
    #[track_caller]
    fn waited(rest: &str, points: &str) -> (String, Value) {
        let home = Home::new();
        let mut command = home.refreshing(&small().folders()[0], rest);
        let report = Ran::of(&command.env("FAILPOINTS", points).output().expect("it starts")).json(0);
        check_sound(&report);
        (most(&report), report)
    }

    /// What has more than half of the time.
    #[track_caller]
    fn most(report: &Value) -> String {
        let shares = report["waited"].as_object().expect("an object");
        let most = shares.iter().find(|(_, share)| share.as_f64().is_some_and(|share| share > 50.0));
        most.unwrap_or_else(|| panic!("nothing stands out: {shares:?}")).0.clone()
    }

    #[test]
    fn a_run_says_whether_it_waited_for_the_source_for_itself_or_for_a_sink_and_which() {
        let sinks = "--sqlite store.sqlite --feed feed.jsonl";
        let slow_source = "block-records=return(50);before-block=sleep(100)";
        for workers in [1, 3] {
            assert_eq!(waited(&format!("{sinks} -w {workers}"), slow_source).0, "source");
            assert_eq!(waited(&format!("--null -w {workers}"), slow_source).0, "source");
        }
        let (most, report) = waited(&format!("{sinks} -w 1"), "reader-refuses=sleep(50)");
        assert_eq!(most, "cpu");
        let busy = |name| stage(&report, name, None)["busy_seconds"].as_f64().expect("a number");
        assert!(busy("parse") > 0.9 * busy("diff"), "{report}");
        for workers in [1, 3] {
            let (most, report) = waited(&format!("{sinks} -w {workers}"), "batch-rows=return(50);before-feed-write=sleep(100)");
            assert_eq!(most, "feed");
            let busy = |sink| stage(&report, "write", Some(sink))["busy_seconds"].as_f64().expect("a number");
            assert!(busy("feed") > busy("sqlite"), "{report}");
        }
    }

    #[test]
    fn a_publisher_that_waits_for_the_brokers_says_so() {
        let Some(broker) = Broker::new() else { return };
        let home = Home::new();
        let mut command = home.publishing(&small().folders()[0], &broker, "--partitions 2");
        let slow = command.env("FAILPOINTS", "transaction-records=return(50);in-transaction=sleep(200)");
        let report = Ran::of(&slow.output().expect("it starts")).json(0);
        check_sound(&report);
        assert_eq!(most(&report), "kafka");
    }

    #[test]
    fn a_run_that_is_taken_up_tells_of_what_it_did_itself() {
        let (home, month) = (Home::new(), &small().folders()[0]);
        let rest = "--sqlite store.sqlite --checkpoint-interval 0";
        let mut command = home.refreshing(month, rest);
        let points = "block-records=return(100);batch-rows=return(100);before-block=sleep(20);checkpoint-taken=3*off->panic(failpoint)";
        let died = Ran::of(&command.env("FAILPOINTS", points).output().expect("it starts"));
        died.refused(&["failpoint"]);
        let mut command = home.refreshing(month, rest);
        let report = Ran::of(&command.env("FAILPOINTS", "block-records=return(100)").output().expect("it starts")).json(0);
        check_sound(&report);
        let (resumed, all) = (report["resumed_from"]["kind"].as_str().expect("it was taken up"), total(&report, "received"));
        let before: u64 = KINDS.iter().take_while(|kind| **kind != resumed).map(|kind| count(&report, kind, "received")).sum();
        let done = before + report["resumed_from"]["records"].as_u64().expect("a number");
        assert!(done > 0 && done < all);
        assert_eq!(number(stage(&report, "diff", None), "records"), all - done);
        assert_eq!(number(stage(&report, "tick", None), "records"), all - done);
    }
}
