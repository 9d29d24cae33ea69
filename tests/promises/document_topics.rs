//! Topics of documents: a store like others, whose rows are the last messages of their keys.

use super::broker::Broker;
use super::generated::{odd, small};
use super::harness::{Home, KINDS, Rows, assert_same};
use super::kafka::noise;

impl Broker {
    /// The flags that name the topics.
    pub fn documents(&self) -> String {
        format!("--brokers {} --document-topics {}", self.address, self.topic("docs"))
    }

    /// What the topics hold.
    pub fn rows(&self) -> Rows {
        let mut rows = Rows::new();
        for kind in KINDS {
            for message in self.messages(&format!("docs.{kind}s")) {
                let key = (kind, message.key.expect("a key"));
                match message.value {
                    Some(value) => drop(rows.insert(
                        key,
                        (message.headers.get("hash").cloned().unwrap_or_default(), serde_json::from_str(&value).expect("JSON")),
                    )),
                    None => drop(rows.remove(&key)),
                }
            }
        }
        rows
    }
}

#[test]
fn topics_of_documents_hold_what_sqlite_holds_after_each_month_and_verify_reads_them_back() {
    let Some(broker) = Broker::new() else { return };
    let (home, months) = (Home::new(), odd().folders());
    let sinks = format!("--sqlite store.sqlite {}", broker.documents());
    for (number, month) in months.iter().enumerate() {
        let report = home.refresh(month, &format!("{sinks} --partitions 5 -w {}", 1 + number)).json(3);
        assert_eq!(report["sinks"]["document_topics"], report["sinks"]["sqlite"]);
        assert_same(&broker.rows(), &home.sqlite("store.sqlite"), "the topics and SQLite");
    }
    assert_eq!(home.run(&format!("verify --state state --json {sinks}")).json(0)["equal"], true);
    let status = home.run(&format!("status --state state --json {sinks}")).json(0);
    assert_eq!(status["sinks"]["document_topics"]["release"], "current");
    broker.produce("docs.labels", 0, "x7", "{}");
    let verified = home.run(&format!("verify --state state --json {}", broker.documents())).json(1);
    assert_eq!(verified["sinks"]["document_topics"]["kinds"]["label"]["extra"], 1);
}

#[test]
fn topics_left_out_for_a_month_or_named_late_are_brought_up_and_lose_what_the_state_lacks() {
    let Some(broker) = Broker::new() else { return };
    let (home, months) = (Home::new(), small().folders());
    home.refresh(&months[0], &format!("--sqlite store.sqlite {} --partitions 3", broker.documents())).json(0);
    broker.produce("docs.labels", 0, "not an id", "{}");
    home.refresh(&months[1], "--sqlite store.sqlite").json(0);
    let ran = home.refresh(&months[2], &format!("--sqlite store.sqlite {} -w 2", broker.documents()));
    ran.json(0);
    ran.said(&["document_topics was new or behind"]);
    assert_same(&broker.rows(), &home.sqlite("store.sqlite"), "left out for a month");
    let late = Broker::new().expect("a broker");
    home.refresh(&months[2], &format!("--sqlite store.sqlite {}", late.documents())).json(0);
    assert_same(&late.rows(), &home.sqlite("store.sqlite"), "named late");
    assert_eq!(home.run(&format!("verify --state state --json {}", late.documents())).json(0)["equal"], true);
    // A topic that was deleted is made anew and filled; one that was cut into more partitions would hold keys twice.
    late.delete("docs.masters");
    home.refresh(&months[2], &format!("--sqlite store.sqlite {} --partitions 16", late.documents())).json(0);
    assert_same(&late.rows(), &home.sqlite("store.sqlite"), "one of them deleted");
    late.add_partitions("docs.masters", 20);
    home.refresh(&months[2], &late.documents()).refused(&["docs.masters has 20 partitions and had 16"]);
    home.refresh(&months[0], &format!("--state other {}", broker.documents()))
        .refused(&["document_topics: the store belongs to the state"]);
}

#[test]
fn topics_that_would_not_keep_documents_are_refused_with_each_setting_named() {
    let Some(broker) = Broker::new() else { return };
    let home = Home::new();
    broker.make("docs.artists", 3, &[]);
    broker.make("docs.labels", 3, &[("cleanup.policy", "compact"), ("max.message.bytes", "33554432")]);
    let refresh = || home.refresh(&small().folders()[0], &broker.documents());
    refresh().refused(&[
        "docs.artists: cleanup.policy is delete, and must be compact",
        "docs.artists: max.message.bytes is 1048588, and must be at least 33554432",
        "name other topics with --document-topics",
    ]);
    assert!(!home.path("state/manifest.json").exists(), "nothing was begun");
}

#[test]
fn a_document_that_no_topic_takes_leaves_its_kind_behind_and_ends_a_run_with_a_feed() {
    let Some(broker) = Broker::new() else { return };
    let home = Home::new();
    let long = noise(50 << 20);
    let artist = |id: u64, profile: &str| format!("<artist><id>{id}</id><name>A</name><profile>{profile}</profile></artist>\n");
    let xml = format!("<artists>\n{}{}{}</artists>", artist(6, "x"), artist(7, &long), artist(8, "x"));
    let dumps = home.dumps("2026-01", &[("artists", xml.as_bytes())]);
    let ran = home.refresh(&dumps, &format!("{} --partitions 2", broker.documents()));
    assert_eq!(ran.status, Some(3), "{}", ran.stderr);
    ran.said(&[
        "the message with the key 7",
        "max.message.bytes is 33554432",
        "document_topics refuses artist 7",
        "document_topics is still behind: 1 artists",
    ]);
    assert_eq!(broker.rows().into_keys().map(|(_, id)| id).collect::<Vec<_>>(), ["6", "8"]);
    home.refresh(&dumps, &format!("--state other {}", broker.feed())).refused(&["the message with the key artist/7", "it is too large"]);
}

#[cfg(feature = "failpoints")]
#[test]
fn topics_of_documents_are_made_good_after_kills_and_after_a_month_that_was_given_up() {
    use std::process::Stdio;
    use std::time::{Duration, Instant};

    for other in [false, true] {
        let Some(broker) = Broker::new() else { return };
        let (home, months) = (Home::new(), small().folders());
        let sinks = format!("--sqlite store.sqlite {}", broker.documents());
        home.refresh(&months[0], &format!("{sinks} --partitions 3")).json(0);
        for (off, workers) in [(1, 2), (4, 3)] {
            let messages = || KINDS.map(|kind| broker.messages(&format!("docs.{kind}s")).len()).iter().sum::<usize>();
            let before = messages();
            let mut child = home
                .refreshing(&months[1], &format!("{sinks} -w {workers}"))
                .env("FAILPOINTS", format!("batch-rows=return(10);after-transaction={off}*off->sleep(60000)"))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("it starts");
            let begun = Instant::now();
            while messages() == before {
                assert!(begun.elapsed() < Duration::from_secs(60));
                std::thread::sleep(Duration::from_millis(20));
            }
            child.kill().expect("SIGKILL");
            child.wait().expect("ended");
        }
        home.refresh(&months[if other { 2 } else { 1 }], &format!("{sinks} -w 1")).json(0);
        assert_same(&broker.rows(), &home.sqlite("store.sqlite"), "after two kills");
        assert_eq!(home.run(&format!("verify --state state --json {sinks}")).json(0)["equal"], true);
    }
}
