//! Sinks that are brought up from topics: all of them anew, or one that was lost.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use super::broker::Broker;
use super::generated::small;
use super::graph::Server;
use super::harness::{Database, Home, Ran, assert_same};
use super::kafka::by_files;

impl Home {
    fn replay(&self, broker: &Broker, rest: &str) -> Ran {
        let state = if rest.contains("--state") { "" } else { "--state state" };
        self.run(&format!("replay --json {} {state} {rest}", broker.flags()))
    }
}

fn months(replayed: &Value) -> Vec<&str> {
    replayed.as_array().expect("a list").iter().map(|one| one["snapshot"].as_str().expect("a month")).collect()
}

/// A broker with these months.
fn published(home: &Home, months: &[PathBuf]) -> Option<Broker> {
    let broker = Broker::new()?;
    for month in months {
        home.publish(month, &broker, "").json(0);
    }
    Some(broker)
}

const CHANGES: &str = "SELECT epoch || ' ' || kind || ' ' || id || ' ' || op || ' ' || coalesce(fields::text, '') FROM changes
    UNION SELECT epoch || ' ' || kind || ' ' || month || ' ' || file || ' ' || sha256 FROM snapshots";

#[test]
fn three_months_replayed_into_empty_stores_come_to_what_the_live_ones_hold_rows_changes_edges_and_snapshots() {
    let Some(broker) = Broker::new() else { return };
    let (Some(server), Some(live), Some(again)) = (Server::new(), Database::new(), Database::new()) else { return };
    let (home, folders) = (Home::new(), small().folders());
    let mut reports = Vec::new();
    for month in &folders {
        home.publish(month, &broker, "--partitions 5").json(0);
        let sinks = format!("--sqlite live.sqlite --postgres {} {}", live.url(), server.sink());
        reports.push(home.apply_topics(&broker, &sinks).json(0));
    }
    let graph = server.save(&home.path("live.graph"));
    server.empty();
    let sinks = format!("--state again --sqlite again.sqlite --postgres {} {}", again.url(), server.sink());
    let replayed = home.replay(&broker, &format!("--from earliest -w 2 {sinks}")).json(0);
    assert_eq!(months(&replayed), ["2026-01", "2026-02", "2026-03"]);
    for (replayed, live) in replayed.as_array().expect("a list").iter().zip(&reports) {
        assert_eq!(replayed["kinds"], live["kinds"]);
    }
    assert_same(&home.sqlite("again.sqlite"), &home.sqlite("live.sqlite"), "SQLite");
    assert_eq!(home.told("again.sqlite"), home.told("live.sqlite"));
    assert_same(&again.rows(), &live.rows(), "PostgreSQL");
    assert_eq!(again.texts(CHANGES), live.texts(CHANGES));
    assert!(server.save(&home.path("again.graph")) == graph, "the same nodes and relationships");

    // The graph alone, lost: from what the state of the live ones holds.
    server.empty();
    let rebuilt = home.replay(&broker, &server.sink()).json(0);
    assert_eq!(months(&rebuilt), ["2026-03"]);
    assert!(server.save(&home.path("rebuilt.graph")) == graph, "one sink rebuilt");
}

#[test]
fn one_sink_rebuilt_leaves_the_others_the_feed_and_the_months_to_come_alone() {
    let (home, folders) = (Home::new(), small().folders());
    let Some(broker) = published(&home, &folders[..2]) else { return };
    home.apply_topics(&broker, "--sqlite kept.sqlite --feed feed.jsonl").json(0);
    home.copy("kept.sqlite", "lost.sqlite");
    home.publish(&folders[2], &broker, "").json(0);
    let (kept, feed) = (fs::read(home.path("kept.sqlite")).expect("a store"), home.feed("feed.jsonl"));
    fs::remove_file(home.path("lost.sqlite")).expect("lost");
    let rebuilt = home.replay(&broker, "--sqlite lost.sqlite -w 3").json(0);
    assert_eq!(months(&rebuilt), ["2026-02"], "not the month that the state does not hold");
    assert_same(&home.sqlite("lost.sqlite"), &home.sqlite("kept.sqlite"), "rebuilt");
    assert!(fs::read(home.path("kept.sqlite")).expect("a store") == kept && home.feed("feed.jsonl") == feed, "nobody wrote to them");
    let stands = home.run("status --json --state state --sqlite kept.sqlite --feed feed.jsonl").json(0)["sinks"].clone();
    let current = BTreeMap::from(["artist", "label", "master", "release"].map(|kind| (kind, "current")));
    assert_eq!(stands, serde_json::json!({ "sqlite": current, "feed": { "changes": "current" } }));
    // All go on together.
    let next = home.apply_topics(&broker, "--sqlite kept.sqlite --feed feed.jsonl").json(0);
    assert_eq!(next["snapshot"], "2026-03");
    assert!(home.feed("feed.jsonl").iter().all(|line| line.get("gap").is_none()));
    home.replay(&broker, "--sqlite lost.sqlite").json(0);
    assert_same(&home.sqlite("lost.sqlite"), &home.sqlite("kept.sqlite"), "both");
}

#[test]
fn a_replay_begins_and_ends_where_it_is_told_by_month_offset_or_time() {
    let (home, folders) = (Home::new(), small().folders());
    let Some(broker) = published(&home, &folders[..1]) else { return };
    let time = time::OffsetDateTime::now_utc() + time::Duration::milliseconds(1);
    let time = time.format(&time::format_description::well_known::Rfc3339).expect("a time");
    let ends = broker.ends("masters");
    folders[1..].iter().for_each(|month| drop(home.publish(month, &broker, "").json(0)));
    let files: Vec<_> = (1..=3).map(|count| by_files(&folders[..count]).0.sqlite("files.sqlite")).collect();
    let mut number = 0;
    let mut replayed = |from: &str, expected: &[&str]| {
        number += 1;
        let replayed = home.replay(&broker, &format!("--state s{number} --sqlite {number}.sqlite {from}")).json(0);
        assert_eq!(months(&replayed), expected, "{from}");
        let last = expected[expected.len() - 1];
        let of_files = &files[last[5..].parse::<usize>().expect("a month") - 1];
        assert_same(&home.sqlite(&format!("{number}.sqlite")), of_files, from);
    };
    replayed("", &["2026-03"]);
    replayed("--to-snapshot 2026-02", &["2026-02"]);
    replayed("--from earliest --to-snapshot 2026-02", &["2026-01", "2026-02"]);
    replayed("--from-snapshot 2026-02", &["2026-02", "2026-03"]);
    replayed("--from-snapshot 2026-02 --to-snapshot 2026-02", &["2026-02"]);
    replayed(&format!("--from-timestamp {time}"), &["2026-02", "2026-03"]);
    replayed("--from-timestamp 2026-01-01", &["2026-01", "2026-02", "2026-03"]);
    replayed("--from-offset masters:2=0", &["2026-01", "2026-02", "2026-03"]);
    replayed(&format!("--from-offset masters:2={}", ends[2] + 1), &["2026-02", "2026-03"]);
    // In a new state the last month alone; then what it holds, and what comes after it.
    home.replay(&broker, "--state by-turns --sqlite t.sqlite --to-snapshot 2026-01").json(0);
    let on = home.replay(&broker, "--state by-turns --sqlite t.sqlite --from earliest").json(0);
    assert_eq!(months(&on), ["2026-02", "2026-03"], "what the state holds is not applied again");
}

#[test]
fn a_replay_of_what_is_not_there_or_has_expired_is_refused_with_words_before_anything_is_written() {
    let (home, folders) = (Home::new(), small().folders());
    let Some(broker) = published(&home, &folders) else { return };
    let refused = |from: &str, words: &[&str]| {
        home.replay(&broker, &format!("--state none --sqlite none.sqlite {from}")).refused(words);
        assert!(!home.path("none.sqlite").exists() && !home.path("none/manifest.json").exists(), "nothing is begun");
    };
    refused("--from-snapshot 2025-12", &["2025-12 was not published", "2026-01, 2026-02, 2026-03"]);
    refused("--from-snapshot 2026-03 --to-snapshot 2026-02", &["no month at all"]);
    refused("--from-offset masters:99=0", &["there is no partition 99"]);
    refused("--from-offset masters:1=999999999", &["nothing was published at or behind offset 999999999"]);
    refused("--from-timestamp 2999-01-01", &["nothing to replay"]);
    broker.expire("releases", 1, 40);
    refused(
        "--from earliest",
        &["discogs_20260101_releases.xml.gz (2026-01, attempt 1)", "partition 1 begins at offset 40", "publish it again"],
    );
    refused("--from-offset releases:1=0", &["offset 0 of partition 1", "has expired", "begins at 40"]);
    let rest = home.replay(&broker, "--state rest --sqlite rest.sqlite --from-snapshot 2026-02").json(0);
    assert_eq!(months(&rest), ["2026-02", "2026-03"], "what is whole can be replayed");
    // A state whose snapshot has expired says so where a sink asks for it.
    home.replay(&broker, "--state held --sqlite held.sqlite --to-snapshot 2026-02").json(0);
    let ends = broker.ends("releases")[1];
    broker.expire("releases", 1, ends);
    home.replay(&broker, "--state held --sqlite late.sqlite").refused(&["is no longer whole in the topic"]);
    assert!(!home.path("late.sqlite").exists());
}

#[cfg(feature = "failpoints")]
#[test]
fn a_replay_that_is_killed_between_or_within_months_is_made_good_by_the_same_command() {
    let (home, folders) = (Home::new(), small().folders());
    let Some(broker) = published(&home, &folders) else { return };
    let (files, _) = by_files(&folders);
    for (number, point) in
        ["before-state=2*off->return", "before-complete=1*off->return", "state-before-rename=3*off->panic"].iter().enumerate()
    {
        let line = format!("replay --json {} --state k{number} --sqlite {number}.sqlite --from earliest", broker.flags());
        let failed = home.command(&line).env("FAILPOINTS", point).output().expect("it starts");
        assert!(!failed.status.success(), "{point}");
        home.run(&format!("{line} -w 2")).json(0);
        assert_same(&home.sqlite(&format!("{number}.sqlite")), &files.sqlite("files.sqlite"), point);
        assert_eq!(home.told(&format!("{number}.sqlite")), files.told("files.sqlite"), "{point}");
    }
}
