//! What `check` and `status` tell of brokers and topics.

use serde_json::Value;

use super::broker::Broker;
use super::generated::small;
use super::harness::{Home, Ran};

/// The finding of this name.
#[track_caller]
fn finding<'a>(checked: &'a Value, what: &str) -> (bool, &'a str) {
    let found = checked["checks"].as_array().and_then(|checks| checks.iter().find(|check| check["what"] == what));
    let found = found.unwrap_or_else(|| panic!("no finding {what} in {checked}"));
    (found["ok"] == true, found["said"].as_str().expect("words"))
}

fn publish(home: &Home, broker: &Broker, month: usize, rest: &str) {
    let mut command = home.command(&format!("publish --json {} {rest}", broker.flags()));
    Ran::of(&command.arg("--dumps").arg(&small().folders()[month]).output().expect("it starts")).json(0);
}

#[test]
fn check_tells_of_each_topic_whether_it_is_fit_what_is_in_it_and_whether_it_is_whole() {
    let Some(broker) = Broker::new() else { return };
    let home = Home::new();
    let check = |rest: &str| home.run(&format!("check --json {} {rest}", broker.flags()));
    let before = check("").json(0);
    assert_eq!(finding(&before, &broker.topic("releases")), (true, "is not there: publish makes it"));
    assert!(finding(&before, "kafka").1.contains("1 broker of the cluster"), "{before}");
    assert!(!finding(&check("--kafka").json(1), &broker.topic("attempts")).0, "a refresh would find nothing");

    publish(&home, &broker, 0, "--partitions 3");
    let both = check("--kafka").json(0);
    let (_, said) = finding(&both, &broker.topic("labels"));
    for words in
        ["3 partitions", "1 replica", "cleanup.policy delete", "retention without end", "32.00 MiB", "complete, and whole: 2026-01"]
    {
        assert!(said.contains(words), "{words} is not in {said}");
    }
    home.run(&format!("refresh --kafka --state state --null {}", broker.flags()));
    publish(&home, &broker, 1, "");
    let after = check("--kafka --state state --null").json(0);
    assert!(finding(&after, &broker.topic("labels")).1.contains("not applied yet, and whole: 2026-02"), "{after}");
    let (_, catalogue) = finding(&after, &broker.topic("attempts"));
    assert!(catalogue.contains("2026-01: ") && catalogue.contains("; 2026-02: "), "{catalogue}");

    // What is applied may expire, what is not must not.
    broker.expire("labels", 0, 1);
    assert!(finding(&check("--kafka --state state --null").json(0), &broker.topic("labels")).0);
    broker.expire("labels", 0, broker.ends("labels")[0] - 1);
    let expired = check("--kafka --state state --null").json(1);
    let (ok, said) = finding(&expired, &broker.topic("labels"));
    assert!(!ok && said.contains("no longer whole") && said.contains("publish --again"), "{said}");
    assert!(finding(&expired, &broker.topic("masters")).0, "one topic's trouble is not another's");
}

#[test]
fn check_names_what_would_lose_or_refuse_records_topic_by_topic() {
    let Some(broker) = Broker::new() else { return };
    let home = Home::new();
    let fit = [("cleanup.policy", "delete"), ("retention.ms", "-1"), ("retention.bytes", "-1"), ("max.message.bytes", "33554432")];
    broker.make("artists", 2, &[("cleanup.policy", "compact"), ("retention.ms", "1000")]);
    broker.make("labels", 2, &[&fit[..], &[("min.insync.replicas", "2")]].concat());
    let checked = home.run(&format!("check --json {}", broker.flags())).json(1);
    let (ok, said) = finding(&checked, &broker.topic("artists"));
    assert!(!ok && said.contains("cleanup.policy is compact, and must be delete") && said.contains("retention.ms is 1000"), "{said}");
    let (ok, said) = finding(&checked, &broker.topic("labels"));
    assert!(!ok && said.contains("fewer replicas in sync than min.insync.replicas, 2: 0, 1; nothing can be published"), "{said}");
    let ran = home.run("check --json --brokers 127.0.0.1:1");
    assert!(finding(&ran.json(1), "kafka").1.contains("no Kafka broker answers at 127.0.0.1:1"));
}

#[test]
fn status_tells_how_far_the_state_is_behind_the_topics() {
    let Some(broker) = Broker::new() else { return };
    let home = Home::new();
    publish(&home, &broker, 0, "--partitions 3");
    home.run(&format!("refresh --kafka --json --state state {}", broker.flags())).json(0);
    let status = || home.run(&format!("status --json --state state {}", broker.flags())).json(0);
    let now = &status()["topics"]["release"];
    assert_eq!((&now["newest"], &now["attempts"], &now["records"]), (&"2026-01".into(), &0.into(), &0.into()));
    publish(&home, &broker, 1, "");
    publish(&home, &broker, 2, "");
    let now = &status()["topics"]["release"];
    assert_eq!((&now["newest"], &now["attempts"]), (&"2026-03".into(), &2.into()));
    let published: u32 = broker.records("releases").values().sum();
    let held = home.run("status --json --state state").json(0)["kinds"]["release"]["records"].as_u64().expect("a number");
    assert_eq!(now["records"], u64::from(published) - held);
    let words = home.run(&format!("status --state state {}", broker.flags()));
    assert!(words.stdout.contains("releases   2026-03 is the newest month, 2 not applied yet: "), "{}", words.stdout);
}

#[test]
fn what_does_not_answer_is_told_by_status_and_silences_nothing_else() {
    let home = Home::new();
    home.refresh(&small().folders()[0], "--sqlite kept.sqlite --feed feed.jsonl").json(0);
    let ran = home.run(
        "status --json --state state --sqlite kept.sqlite --feed feed.jsonl --postgres postgresql://u@127.0.0.1:1/d --neo4j bolt://u:p@127.0.0.1:1 \
         --brokers 127.0.0.1:1",
    );
    let told = ran.json(1);
    assert_eq!(told["kinds"]["release"]["month"], "2026-01");
    assert_eq!((&told["sinks"]["sqlite"]["release"], &told["sinks"]["feed"]["changes"]), (&"current".into(), &"current".into()));
    for (what, words) in [("postgres", "127.0.0.1:1"), ("neo4j", "127.0.0.1:1")] {
        assert!(told["sinks"][what]["error"].as_str().is_some_and(|said| said.contains(words)), "{told}");
    }
    assert!(told["topics"]["error"].as_str().is_some_and(|said| said.contains("no Kafka broker answers")), "{told}");
}
