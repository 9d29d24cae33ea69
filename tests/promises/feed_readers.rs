//! The feed as others read it: a schema, Kafka's own console consumer, the example in Python.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::broker::Broker;
use super::generated::{odd, small};
use super::harness::{Home, KINDS, Rows, assert_same};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A Python that has these modules, the one that `DISCODIFF_TEST_PYTHON` names before all; `None`, with a word, where there is none.
fn python(modules: &str) -> Option<PathBuf> {
    let named = std::env::var_os("DISCODIFF_TEST_PYTHON").map(PathBuf::from);
    let candidates = named.into_iter().chain([repository("target/test-python/bin/python"), PathBuf::from("python3")]);
    let has =
        |python: &PathBuf| Command::new(python).args(["-c", &format!("import {modules}")]).output().is_ok_and(|ran| ran.status.success());
    let found = candidates.into_iter().find(has);
    if found.is_none() {
        println!("skipped: no Python has {modules}; test.sh installs it, or name one in DISCODIFF_TEST_PYTHON");
    }
    found
}

/// Each line of standard input against the schema; the first that does not fit is printed.
const CHECK: &str = "
import json, sys, jsonschema
schema = json.load(open(sys.argv[1]))
jsonschema.Draft202012Validator.check_schema(schema)
validator, lines = jsonschema.Draft202012Validator(schema), open(sys.argv[2]).read().splitlines()
for line in lines:
    for error in validator.iter_errors(json.loads(line)):
        sys.exit(f'{line[:300]}: {error.message[:300]}')
print(len(lines))
";

fn check(python: &Path, lines: &Path) -> Result<usize, String> {
    let ran = Command::new(python).args(["-c", CHECK]).arg(repository("docs/feed.schema.json")).arg(lines).output().expect("it starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if ran.status.success() { Ok(text(&ran.stdout).parse().expect("a number")) } else { Err(text(&ran.stderr)) }
}

#[test]
fn every_line_and_every_message_of_a_feed_is_as_the_schema_says_and_what_is_not_is_found() {
    let Some(python) = python("jsonschema") else { return };
    let (home, months) = (Home::new(), odd().folders());
    let broker = Broker::new();
    let topic = broker.as_ref().map_or_else(String::new, |broker| format!("--state topic {}", broker.feed()));
    for (number, month) in months.iter().enumerate() {
        if number != 1 {
            home.refresh(month, "--sqlite store.sqlite --feed feed.jsonl").json(3);
            broker.iter().for_each(|_| drop(home.refresh(month, &format!("--sqlite topic.sqlite {topic}")).json(3)));
        } else {
            home.refresh(month, "--sqlite store.sqlite").json(3);
            broker.iter().for_each(|_| drop(home.refresh(month, "--state topic --sqlite topic.sqlite").json(3)));
        }
    }
    let lines = home.lines("feed.jsonl");
    assert!(
        lines.iter().any(|line| line.get("dead_letter").is_some())
            && lines.iter().any(|line| line.get("gap").is_some())
            && lines.iter().any(|line| line.get("fields").is_some())
    );
    assert_eq!(check(&python, &home.path("feed.jsonl")), Ok(lines.len()));
    if let Some(broker) = &broker {
        let values: Vec<_> = broker.messages("changes").into_iter().filter_map(|message| message.value).collect();
        assert!(values.iter().any(|value| value.contains("complete")) && values.iter().any(|value| value.contains("gap")));
        fs::write(home.path("values.jsonl"), values.join("\n")).expect("written");
        assert_eq!(check(&python, &home.path("values.jsonl")), Ok(values.len()));
    }
    let line = lines.iter().find(|line| line["op"] == "update").expect("an update");
    for (name, value) in [("id", "07".into()), ("hash", "x".into()), ("kind", "track".into()), ("op", "delete".into()), ("more", 1.into())]
    {
        let mut wrong = line.clone();
        wrong[name] = value;
        fs::write(home.path("wrong.jsonl"), wrong.to_string()).expect("written");
        assert!(check(&python, &home.path("wrong.jsonl")).is_err(), "{name}");
    }
}

/// Kafka's jars, as scripts/services.sh fetches them; `None`, with a word, where they are not.
fn jars() -> Option<String> {
    let folder = std::env::var_os("SERVICES_LIB").map_or_else(|| repository("target/services/lib"), PathBuf::from).join("kafka");
    let found = folder.is_dir() && Command::new("java").arg("-version").output().is_ok_and(|ran| ran.status.success());
    if !found {
        println!("skipped: no java, or no jars in {}; SERVICES_LIB names the folder above", folder.display());
    }
    found.then(|| format!("{}/*", folder.display()))
}

/// What Kafka's console consumer prints of a topic: headers and key of each message.
fn console(jars: &str, broker: &Broker, topic: &str) -> String {
    let mut command = Command::new("java");
    command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx128m", "-cp", jars]);
    command.args(["org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", &broker.address]);
    command.args(["--topic", &broker.topic(topic), "--from-beginning", "--timeout-ms", "4000"]);
    for property in ["print.key=true", "print.headers=true", "print.value=false"] {
        command.args(["--formatter-property", property]);
    }
    command.args(["--command-property", "isolation.level=read_committed"]);
    let ran = command.output().expect("java starts");
    String::from_utf8_lossy(&ran.stdout).into_owned()
}

#[test]
fn kafkas_console_consumer_sees_each_change_once_when_it_reads_what_is_committed() {
    let (Some(broker), Some(jars)) = (Broker::new(), jars()) else { return };
    let (home, months) = (Home::new(), small().folders());
    home.refresh(&months[0], &format!("{} --partitions 2", broker.feed())).json(0);
    let report = home.refresh(&months[1], &broker.feed()).json(0);
    let text = console(&jars, &broker, "changes");
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    for line in text.lines().filter(|line| line.contains("epoch:2,kind:")) {
        let (headers, key) = line.split_once('\t').expect("headers and key");
        assert!(headers.contains("kind:") && headers.contains("op:"), "{line}");
        *seen.entry(key).or_default() += 1;
    }
    let sum = |what: &str| report["sinks"]["feed"][what].as_u64().expect("a number");
    assert_eq!(seen.len() as u64, sum("inserted") + sum("updated") + sum("deleted"), "{text}");
    assert!(seen.values().all(|times| *times == 1));
}

/// Counts keys of a topic's messages, markers apart, up to the ends that there are now.
const COUNT: &str = "
import collections, json, sys
from confluent_kafka import Consumer, TopicPartition, OFFSET_BEGINNING
consumer = Consumer({'bootstrap.servers': sys.argv[1], 'group.id': 'count', 'isolation.level': 'read_committed',
                     'enable.auto.commit': False, 'enable.partition.eof': True})
partitions = consumer.list_topics(sys.argv[2], 20).topics[sys.argv[2]].partitions
consumer.assign([TopicPartition(sys.argv[2], number, OFFSET_BEGINNING) for number in partitions])
keys, ended = collections.Counter(), 0
while ended < len(partitions):
    message = consumer.poll(20)
    if message.error():
        ended += 1
    elif not message.key().startswith(b'marker/'):
        keys[message.key().decode()] += 1
        assert message.value().startswith(b'<master ')
print(json.dumps([len(keys), max(keys.values())]))
";

#[test]
fn the_console_consumer_and_a_python_client_see_each_published_record_once_though_its_publisher_died_on_the_way() {
    let (Some(broker), Some(jars)) = (Broker::new(), jars()) else { return };
    let (home, months) = (Home::new(), small().folders());
    // Without failpoints it just publishes all.
    let points = "transaction-records=return(40);after-transaction=9*off->panic";
    drop(home.publishing(&months[0], &broker, "--partitions 2").env("FAILPOINTS", points).output().expect("it starts"));
    let published = home.publish(&months[0], &broker, "").json(0);
    let records = super::harness::count(&published, "master", "records");
    let text = console(&jars, &broker, "masters");
    let (markers, keys): (Vec<&str>, Vec<&str>) =
        text.lines().filter_map(|line| Some(line.rsplit_once('\t')?.1)).partition(|key| key.starts_with("marker/"));
    assert_eq!(markers.len(), 4, "a begin and an end in each partition: {text}");
    let different: std::collections::BTreeSet<_> = keys.iter().collect();
    assert_eq!((keys.len() as u64, different.len()), (records, keys.len()));
    let Some(python) = python("confluent_kafka") else { return };
    let ran = Command::new(python).args(["-c", COUNT, &broker.address, &broker.topic("masters")]).output().expect("it starts");
    let text = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert_eq!(text.trim(), format!("[{records}, 1]"), "{}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn the_example_in_python_keeps_its_table_equal_to_the_store() {
    let (Some(broker), Some(python)) = (Broker::new(), python("confluent_kafka, sqlite3")) else { return };
    let (home, months) = (Home::new(), odd().folders());
    for (number, month) in months.iter().enumerate() {
        let snapshot = home.refresh(month, &format!("--sqlite store.sqlite {}", broker.feed())).json(3)["snapshot"].clone();
        let mut command = Command::new(&python);
        command.arg(repository("examples/feed_consumer.py")).args([&broker.address, &broker.topic("changes")]);
        let ran = command.arg(home.path("read.sqlite")).arg("--once").output().expect("it starts");
        let said = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{said}");
        let complete = format!("{} is complete, epoch {}", snapshot.as_str().expect("a month"), number + 1);
        assert_eq!(said.matches(&complete).count(), 1, "{said}");
        let db = rusqlite::Connection::open(home.path("read.sqlite")).expect("a SQLite file");
        let mut statement = db.prepare("SELECT kind, id, hash, document FROM documents").expect("a table");
        let mut rows = Rows::new();
        let texts = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?, row.get::<_, String>(3)?)));
        for (kind, id, hash, document) in texts.expect("rows").map(|row| row.expect("a row")) {
            let kind = KINDS.into_iter().find(|known| *known == kind).expect("a kind");
            rows.insert((kind, id), (hash, serde_json::from_str(&document).expect("JSON")));
        }
        assert_same(&rows, &home.sqlite("store.sqlite"), "the example's table and SQLite");
    }
}
