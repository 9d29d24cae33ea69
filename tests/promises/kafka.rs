//! Topics: what is refreshed from them is what is refreshed from the files, however publishing went.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rdkafka::producer::Producer;
use serde_json::Value;

use super::broker::Broker;
use super::generated::{odd, small};
use super::harness::{Home, KINDS, Ran, assert_same, copy, count, program};

impl Home {
    pub fn publish(&self, dumps: &Path, broker: &Broker, rest: &str) -> Ran {
        Ran::of(&self.publishing(dumps, broker, rest).output().expect("it starts"))
    }

    pub fn publishing(&self, dumps: &Path, broker: &Broker, rest: &str) -> std::process::Command {
        let mut command = self.command(&format!("publish --json {} {rest}", broker.flags()));
        command.arg("--dumps").arg(dumps);
        command
    }

    pub fn apply_topics(&self, broker: &Broker, rest: &str) -> Ran {
        let state = if rest.contains("--state") { "" } else { "--state state" };
        self.run(&format!("refresh --kafka --json {} {state} {rest}", broker.flags()))
    }

    /// Everything in the store that is not a time or an id of this run.
    pub fn told(&self, sqlite: &str) -> BTreeSet<String> {
        let connection = rusqlite::Connection::open(self.path(sqlite)).expect("a SQLite file");
        let mut told = BTreeSet::new();
        for sql in [
            "SELECT 'change ' || epoch || ' ' || kind || ' ' || id || ' ' || op || ' ' || coalesce(fields, '') FROM changes",
            "SELECT 'letter ' || file || ' ' || position || ' ' || stage || ' ' || reason || ' ' || hex(raw) FROM dead_letters",
            "SELECT 'snapshot ' || epoch || ' ' || kind || ' ' || month || ' ' || file || ' ' || sha256 FROM snapshots",
        ] {
            let mut statement = connection.prepare(sql).expect("a table");
            let rows = statement.query_map([], |row| row.get::<_, String>(0)).expect("rows");
            told.extend(rows.map(|row| row.expect("a row")));
        }
        told
    }
}

/// Three months with duplicates and broken records, the last month's releases cut short.
fn cut() -> &'static [PathBuf] {
    static MONTHS: OnceLock<Vec<PathBuf>> = OnceLock::new();
    MONTHS.get_or_init(|| {
        let mut months = odd().folders();
        let whole = months.pop().expect("a month");
        let last = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cut-month");
        copy(&whole, &last);
        for entry in fs::read_dir(&last).expect("listed") {
            let path = entry.expect("an entry").path();
            let name = path.to_string_lossy().into_owned();
            if name.ends_with("CHECKSUM.txt") {
                fs::remove_file(&path).expect("removed");
            } else if name.ends_with("_releases.xml.gz") {
                let bytes = fs::read(&path).expect("read");
                fs::write(&path, &bytes[..bytes.len() * 2 / 3]).expect("written");
            }
        }
        months.push(last);
        months
    })
}

/// What the months come to from files: the reports, and the folder with `state` and `files.sqlite`.
pub fn by_files(months: &[PathBuf]) -> (Home, Vec<Value>) {
    let home = Home::new();
    let statuses = months.iter().map(|month| home.refresh(month, "--sqlite files.sqlite"));
    let reports = statuses.map(|ran| ran.json(ran.status.filter(|status| *status == 3).unwrap_or(0))).collect();
    (home, reports)
}

#[test]
fn a_publisher_ends_when_those_who_read_what_is_committed_see_all_that_it_published() {
    let Some(broker) = Broker::new() else { return };
    let (home, months) = (Home::new(), small().folders());
    home.publish(&months[0], &broker, "--partitions 2").json(0);
    home.apply_topics(&broker, "").json(0);
    // Markers of a commit that are late look to a reader like a transaction that is open.
    let held = broker.hold("releases", 1);
    let mut command = home.publishing(&months[1], &broker, "");
    let mut publisher = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let begun = Instant::now();
    while broker.ends("attempts")[0] < 16 {
        assert!(begun.elapsed() < Duration::from_secs(60));
        sleep(Duration::from_millis(20));
    }
    sleep(Duration::from_secs(2));
    assert!(publisher.try_wait().expect("asked").is_none(), "not all that it published is seen");
    held.abort_transaction(Duration::from_secs(20)).expect("aborted");
    Ran::of(&publisher.wait_with_output().expect("ended")).json(0);
    assert_eq!(home.apply_topics(&broker, "").json(0)["snapshot"], "2026-02");
}

#[test]
fn published_months_come_to_the_same_rows_changes_and_dead_letters_as_files_whatever_workers_and_partitions() {
    let (files, reports) = by_files(cut());
    for partitions in [1, 6, 16] {
        let Some(broker) = Broker::new() else { return };
        let home = Home::new();
        for (number, month) in cut().iter().enumerate() {
            let published = home.publish(month, &broker, &format!("--partitions {partitions}"));
            let defect = &published.json(if number == 2 { 3 } else { 0 })["kinds"]["release"]["defect"];
            assert_eq!(number == 2, defect.as_str().is_some_and(|words| words.contains("cut short")), "{defect}");
        }
        // What a tick holds is told by the topics alone.
        let mut lines: Option<Vec<String>> = None;
        for workers in [1, 2, 4] {
            let (sqlite, feed) = (format!("{workers}.sqlite"), format!("{workers}.jsonl"));
            let ran = home.apply_topics(&broker, &format!("--state s{workers} --sqlite {sqlite} --feed {feed} -w {workers}"));
            let applied = ran.json(3);
            for (from_topics, from_files) in applied.as_array().expect("a list").iter().zip(&reports) {
                assert_eq!(from_topics["kinds"], from_files["kinds"], "{workers} workers, {partitions} partitions");
            }
            assert!(count(&applied[2], "release", "deletes_withheld") > 0, "a file that was cut short deletes nothing");
            assert_same(&home.sqlite(&sqlite), &files.sqlite("files.sqlite"), "from topics and from files");
            assert_eq!(home.told(&sqlite), files.told("files.sqlite"));
            let mut these: Vec<_> = home.feed(&feed).iter().map(ToString::to_string).filter(|line| !line.contains("delete")).collect();
            these.sort();
            assert!(lines.get_or_insert_with(|| these.clone()) == &these, "the same ticks with {workers} workers");
        }
    }
}

#[test]
fn a_snapshot_that_is_complete_is_not_published_again_unless_asked_and_is_not_applied_again() {
    let Some(broker) = Broker::new() else { return };
    let (home, months) = (Home::new(), small().folders());
    home.publish(&months[0], &broker, "--partitions 4").json(0);
    let ends = broker.ends("releases");
    let second = home.publish(&months[0], &broker, "").json(0);
    assert_eq!((&second["kinds"]["release"]["published"], &second["kinds"]["release"]["attempt"]), (&0.into(), &1.into()));
    assert_eq!(broker.ends("releases"), ends, "nothing was written");
    home.apply_topics(&broker, "").json(0);
    let again = home.publish(&months[0], &broker, "--again").json(0);
    assert_eq!(again["kinds"]["release"]["attempt"], 2);
    assert_eq!(again["kinds"]["release"]["published"], again["kinds"]["release"]["records"]);
    assert!(broker.records("labels").values().all(|times| *times == 2));
    let nothing = home.apply_topics(&broker, "").json(0);
    assert_eq!(nothing["kinds"], serde_json::json!({}), "the snapshot is the same");
    // The other month finds what the first left, and the state finds both.
    home.publish(&months[1], &broker, "").json(0);
    let applied = home.apply_topics(&broker, "").json(0);
    assert_eq!(applied["snapshot"], "2026-02");
    assert_eq!(home.publish(&months[0], &broker, "").json(0)["kinds"]["release"]["published"], 0, "nor after another month");
    let (files, _) = by_files(&months[..2]);
    assert_same(&home.sqlite("state/discodiff.sqlite"), &files.sqlite("files.sqlite"), "published twice");
}

#[test]
fn files_and_topics_by_turns_are_one_history() {
    let Some(broker) = Broker::new() else { return };
    let (home, months) = (Home::new(), small().folders());
    for month in &months {
        home.publish(month, &broker, "--partitions 3").json(0);
    }
    home.refresh(&months[0], "").json(0);
    home.refresh(&months[1], "").json(0);
    let ran = home.apply_topics(&broker, "");
    let applied = ran.json(0);
    assert_eq!((&applied["snapshot"], applied.is_array()), (&"2026-03".into(), false), "only what the files had not brought");
    assert_eq!(home.refresh(&months[2], "").json(0)["kinds"], serde_json::json!({}));
    let (files, _) = by_files(&months);
    assert_same(&home.sqlite("state/discodiff.sqlite"), &files.sqlite("files.sqlite"), "by turns");
    // A store that is named later is brought up from what is in the topics.
    home.apply_topics(&broker, "--sqlite late.sqlite").json(0);
    assert_same(&home.sqlite("late.sqlite"), &files.sqlite("files.sqlite"), "named later");
    let state = home.run("status --state state --json").json(0)["state"].as_str().expect("an id").to_owned();
    let noted = broker.noted(&format!("discodiff.{state}"), "releases");
    let ends = broker.ends("releases");
    let behind = noted.iter().zip(&ends).all(|(noted, end)| matches!(noted, rdkafka::Offset::Offset(offset) if *end - *offset <= 1));
    assert!(behind, "tools see no lag but for control records: {noted:?} {ends:?}");
}

#[test]
fn a_record_of_twelve_megabytes_comes_through() {
    let Some(broker) = Broker::new() else { return };
    let home = Home::new();
    let profile = "A long story. ".repeat(12 << 20 >> 4) + &"x".repeat(4 << 20);
    let xml = format!(
        "<artists>\n<artist><id>7</id><name>Long</name><profile>{profile}</profile></artist>\n<artist><id>8</id><name>Short</name></artist>\n</artists>"
    );
    assert!(xml.len() > 12_000_000);
    let dumps = home.dumps("2026-01", &[("artists", xml.as_bytes())]);
    home.publish(&dumps, &broker, "--partitions 2").json(0);
    home.apply_topics(&broker, "").json(0);
    let rows = home.sqlite("state/discodiff.sqlite");
    assert_eq!(rows[&("artist", "7".to_owned())].1["profile"].as_str().map(str::len), Some(profile.len()));
    assert_eq!(rows.len(), 2);
}

/// What does not shrink: a topic's limit counts what is compressed.
pub fn noise(bytes: usize) -> String {
    let mut noise = 1_u64;
    let mut letter = || {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'0' + (noise >> 58) as u8)
    };
    std::iter::repeat_with(&mut letter).map(|letter| if letter == '<' { '>' } else { letter }).take(bytes).collect()
}

#[test]
fn a_record_that_no_limit_lets_pass_is_named_with_its_size_and_all_limits() {
    let Some(broker) = Broker::new() else { return };
    let home = Home::new();
    let xml = format!("<artists>\n<artist><id>7</id><profile>{}</profile></artist>\n</artists>", noise(50 << 20));
    let dumps = home.dumps("2026-01", &[("artists", xml.as_bytes())]);
    let ran = home.publish(&dumps, &broker, "--partitions 2");
    ran.refused(&[
        "the record with the key 7, at byte 10 of the dump (52428",
        "message.max.bytes is",
        "max.message.bytes is 33554432",
        "replica.fetch.max.bytes",
    ]);
    home.apply_topics(&broker, "").json(0);
    assert!(
        !home.path("state/manifest.json").exists() || home.run("status --state state --json").json(0)["kinds"] == serde_json::json!({})
    );
}

#[test]
fn topics_that_would_lose_or_refuse_records_are_refused_with_each_setting_named() {
    let Some(broker) = Broker::new() else { return };
    let home = Home::new();
    broker.make("artists", 3, &[("cleanup.policy", "compact"), ("retention.ms", "1000")]);
    broker.make("attempts", 1, &[]);
    let ran = home.publish(&small().folders()[0], &broker, "--partitions 5");
    ran.refused(&[
        "artists: cleanup.policy is compact, and must be delete",
        "artists: retention.ms is 1000, and must be -1",
        "artists: max.message.bytes is 1048588, and must be at least 33554432",
        "artists: it has 3 partitions, and --partitions says 5",
        "attempts: cleanup.policy is delete, and must be compact",
        "kafka-configs.sh",
    ]);
}

#[test]
fn a_snapshot_whose_first_records_have_expired_is_refused_and_nothing_is_applied() {
    let Some(broker) = Broker::new() else { return };
    let (home, months) = (Home::new(), small().folders());
    home.publish(&months[0], &broker, "--partitions 3").json(0);
    home.publish(&months[1], &broker, "").json(0);
    broker.expire("releases", 1, 40);
    let ran = home.apply_topics(&broker, "");
    ran.refused(&[
        "discogs_20260101_releases.xml.gz (2026-01, attempt 1)",
        "partition 1 begins at offset 40",
        "publish --again",
        "retention.ms",
    ]);
    assert!(!home.path("state/discodiff.sqlite").exists(), "nothing was begun");
    // From the file it goes on; what the state holds need not be there any more.
    home.refresh(&months[0], "").json(0);
    assert_eq!(home.apply_topics(&broker, "").json(0)["snapshot"], "2026-02");
    broker.expire("releases", 1, 1_000_000.min(broker.ends("releases")[1]));
    assert_eq!(home.apply_topics(&broker, "").json(0)["kinds"], serde_json::json!({}));
}

#[test]
fn no_broker_and_no_publication_are_told_within_seconds() {
    let home = Home::new();
    let begun = Instant::now();
    let dumps = small().folders();
    let mut command = program(&home.path(""));
    command.args(["publish", "--brokers", "127.0.0.1:1", "--dumps"]).arg(&dumps[0]);
    Ran::of(&command.output().expect("it starts")).refused(&["no Kafka broker answers at 127.0.0.1:1", "Connection refused", "--brokers"]);
    assert!(begun.elapsed() < Duration::from_secs(20));
    home.run("refresh --kafka --brokers 127.0.0.1:1 --state state --null").refused(&["no Kafka broker answers"]);
    let Some(broker) = Broker::new() else { return };
    home.apply_topics(&broker, "").refused(&["nothing was published there under this prefix", "discodiff publish"]);
}

#[cfg(feature = "failpoints")]
mod interrupted {
    use super::*;

    const POINTS: (&str, &str) = ("FAILPOINTS", "transaction-records=return(150)");

    #[test]
    fn a_publisher_that_is_killed_at_any_moment_goes_on_where_it_was_and_publishes_each_record_once() {
        let months = small().folders();
        let (files, _) = by_files(&months[..1]);
        let Some(broker) = Broker::new() else { return };
        let home = Home::new();
        let begun = Instant::now();
        home.publishing(&months[0], &broker, "--partitions 4").env(POINTS.0, POINTS.1).output().expect("it starts");
        let (whole, expected) = (begun.elapsed(), KINDS.map(|kind| broker.records(&format!("{kind}s"))));
        assert!(expected.iter().all(|records| records.values().all(|times| *times == 1)));
        for (number, part) in [0.9, 0.35, 0.55, 0.75, 0.15].into_iter().enumerate() {
            let broker = Broker::new().expect("a broker");
            let kill_after = |time: Duration| {
                let mut child = home
                    .publishing(&months[0], &broker, "--partitions 4")
                    .env(POINTS.0, POINTS.1)
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
                    .expect("it starts");
                sleep(time);
                child.kill().expect("SIGKILL");
                child.wait().expect("ended");
            };
            kill_after(whole.mul_f64(part));
            kill_after(whole.mul_f64(0.5));
            let published = home.publishing(&months[0], &broker, "").env(POINTS.0, POINTS.1).output().expect("it starts");
            Ran::of(&published).json(0);
            for (kind, expected) in KINDS.iter().zip(&expected) {
                let found = broker.records(&format!("{kind}s"));
                assert!(found == *expected, "killed at {part} and again: {kind}s, {} and not {}", found.len(), expected.len());
                let markers = broker.keys(&format!("{kind}s")).concat().into_iter().filter(|key| key.starts_with("marker/")).count();
                assert_eq!(markers, 8, "a begin and an end in each partition");
            }
            home.apply_topics(&broker, &format!("--state s{number} --sqlite {number}.sqlite -w 2")).json(0);
            assert_same(&home.sqlite(&format!("{number}.sqlite")), &files.sqlite("files.sqlite"), "published by halves");
        }
    }

    #[test]
    fn a_second_publisher_takes_over_from_the_first_which_ends_with_words_and_nothing_is_there_twice() {
        let Some(broker) = Broker::new() else { return };
        let (home, months) = (Home::new(), small().folders());
        let first = home
            .publishing(&months[0], &broker, "--partitions 2")
            .env("FAILPOINTS", "transaction-records=return(20);after-transaction=2*off->1*sleep(5000)")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let begun = Instant::now();
        while broker.records("artists").len() < 60 {
            assert!(begun.elapsed() < Duration::from_secs(60));
            sleep(Duration::from_millis(20));
        }
        let second = home.publish(&months[0], &broker, "").json(0);
        let published = count(&second, "artist", "published");
        assert!(published > 0 && published < count(&second, "artist", "records"), "it went on where the first was");
        Ran::of(&first.wait_with_output().expect("ended")).refused(&["another publisher has begun to publish to"]);
        assert!(KINDS.iter().all(|kind| broker.records(&format!("{kind}s")).values().all(|times| *times == 1)));
    }

    #[test]
    fn an_attempt_that_is_not_complete_is_told_of_and_not_begun() {
        let Some(broker) = Broker::new() else { return };
        let (home, months) = (Home::new(), small().folders());
        home.publish(&months[0], &broker, "--partitions 4").json(0);
        home.apply_topics(&broker, "").json(0);
        let before = home.bytes("state");
        let mut child = home
            .publishing(&months[1], &broker, "")
            .env("FAILPOINTS", "transaction-records=return(20);after-transaction=2*off->sleep(60000)")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let begun = Instant::now();
        // The marker of the second attempt is there as soon as a transaction is committed.
        while broker.keys("artists").concat().iter().all(|key| !key.starts_with("marker/2/")) {
            assert!(begun.elapsed() < Duration::from_secs(60));
            sleep(Duration::from_millis(20));
        }
        child.kill().expect("SIGKILL");
        child.wait().expect("ended");
        let ran = home.apply_topics(&broker, "");
        ran.json(0);
        ran.said(&["discogs_20260201_artists.xml.gz (2026-02, attempt 2) is not complete"]);
        let unlocked = |mut bytes: std::collections::BTreeMap<PathBuf, Vec<u8>>| {
            bytes.retain(|path, _| !path.ends_with("lock"));
            bytes
        };
        assert!(unlocked(home.bytes("state")) == unlocked(before), "nothing was written");
        home.publish(&months[1], &broker, "").json(0);
        assert_eq!(home.apply_topics(&broker, "").json(0)["snapshot"], "2026-02");
        let (files, _) = by_files(&months[..2]);
        assert_same(&home.sqlite("state/discodiff.sqlite"), &files.sqlite("files.sqlite"), "completed later");
    }
}
