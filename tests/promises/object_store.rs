//! A state in a bucket of an object store: it is what it would be in a folder, one program holds it, and it survives what a network does.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::broker::Broker;
use super::cluster::{BLOCKS, Together, report, signal, spawn};
use super::generated::{odd, peaceful, small};
use super::graph::Server;
use super::harness::{Database, Home, Ran, assert_same, count, fault};
use super::kafka::by_files;

/// The server that `DISCODIFF_TEST_S3` names, and in it a prefix for one test.
pub struct Bucket {
    prefix: String,
    /// The bucket as the server keeps it.
    folder: PathBuf,
    pub endpoint: String,
    password: String,
}

impl Bucket {
    /// `None`, with a word, where no server is named.
    pub fn new() -> Option<Bucket> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let named = |name: &str| std::env::var(name).ok();
        let (Some(endpoint), Some(folder), Some(password)) =
            (named("DISCODIFF_TEST_S3"), named("DISCODIFF_TEST_S3_BUCKETS"), named("DISCODIFF_TEST_S3_PASSWORD"))
        else {
            println!("skipped: DISCODIFF_TEST_S3 is not set");
            return None;
        };
        let prefix = format!("promise/{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        Some(Bucket { prefix, folder: PathBuf::from(folder).join("states"), endpoint, password })
    }

    pub fn home(&self) -> Home {
        self.home_at(&self.endpoint, &self.password, Vec::new())
    }

    fn home_at(&self, endpoint: &str, password: &str, more: Vec<(&'static str, String)>) -> Home {
        let mut environment = vec![
            ("AWS_ENDPOINT_URL", endpoint.to_owned()),
            ("AWS_ACCESS_KEY_ID", "discodiff".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", password.to_owned()),
        ];
        environment.extend(more);
        Home::with(environment)
    }

    /// What `--state` is given.
    pub fn state(&self) -> String {
        format!("--state s3://states/{}", self.prefix)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(&self.prefix).join(name)
    }

    /// The names of the objects.
    fn objects(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(self.path("")).expect("listed");
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
    }

    fn head(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path("state.json")).expect("read")).expect("JSON")
    }

    /// What is valid is there, and nothing else.
    #[track_caller]
    fn is_tidy(&self) {
        let head = self.head();
        let manifest: Value = serde_json::from_str(head["manifest"].as_str().expect("a manifest")).expect("JSON");
        let files =
            |part: &Value| part.as_array().into_iter().flatten().map(|part| part["file"].as_str().expect("a name").to_owned()).collect();
        let mut expected: BTreeSet<String> = files(&manifest["manifest"]["parts"]);
        let links = &manifest["manifest"]["links"];
        if !links.is_null() {
            expected.extend(["links", "edges"].into_iter().flat_map(|of| -> BTreeSet<String> { files(&links[of]) }));
            expected.insert(links["dictionary"]["file"].as_str().expect("a name").to_owned());
        }
        expected.insert("state.json".to_owned());
        assert_eq!(self.objects(), expected);
        assert!(head["holder"].is_null() && head["checkpoint"].is_null(), "{head}");
    }
}

/// A refresh of a state in a bucket.
fn refresh(bucket: &Bucket, dumps: &Path, rest: &str) -> String {
    format!("refresh --json {} --dumps {} {rest}", bucket.state(), dumps.display())
}

#[test]
fn a_state_in_a_bucket_comes_to_what_one_in_a_folder_comes_to_and_leaves_nothing_behind() {
    let Some(bucket) = Bucket::new() else { return };
    let months = odd().folders();
    let (files, reports) = by_files(&months);
    let home = bucket.home();
    for ((month, workers), of_one) in months.iter().zip([2, 3, 1]).zip(&reports) {
        let ran = home.run(&refresh(&bucket, month, &format!("-w {workers} --sqlite store.sqlite --feed feed.jsonl")));
        assert_eq!(ran.json(3)["kinds"], of_one["kinds"]);
        bucket.is_tidy();
    }
    assert_same(&home.sqlite("store.sqlite"), &files.sqlite("files.sqlite"), "the rows");
    home.run(&format!("verify --json {} --sqlite store.sqlite", bucket.state())).json(0);
    let status = home.run(&format!("status --json {} --sqlite store.sqlite", bucket.state())).json(0);
    assert_eq!((&status["generation"], &status["sinks"]["sqlite"]["release"]), (&3.into(), &"current".into()));
    assert!(status["holder"].is_null(), "{status}");
    let again = home.run(&refresh(&bucket, &months[2], "--sqlite store.sqlite --feed feed.jsonl")).json(0);
    assert_eq!(again["kinds"], serde_json::json!({}), "nothing is left to do");
    // A lost state is made anew under another prefix.
    let anew = home.run(&format!("state rebuild --from store.sqlite {}/anew", bucket.state()));
    assert_eq!(anew.status, Some(0), "{}", anew.stderr);
    home.run(&format!("verify --json {}/anew --sqlite store.sqlite", bucket.state())).json(0);
}

#[test]
fn a_state_of_many_parts_is_uploaded_and_read_back_whole() {
    let Some(bucket) = Bucket::new() else { return };
    // 19 MB of fingerprints: three requests for each of one worker, and what is read is as it was written.
    let home = bucket.home();
    let masters = |version: &str| -> Vec<u8> {
        let title = |id: u32| format!("T{}{}", id % 7, if id % 7 == 3 { version } else { "" });
        let each: String = (1..=600_000).map(|id| format!("<master id=\"{id}\"><title>{}</title></master>\n", title(id))).collect();
        format!("<masters>\n{each}</masters>\n").into_bytes()
    };
    let changed = (1..=600_000).filter(|id| id % 7 == 3).count() as u64;
    let (first, second) = (home.dumps("2025-11", &[("masters", &masters(""))]), home.dumps("2025-12", &[("masters", &masters("x"))]));
    assert_eq!(count(&home.run(&refresh(&bucket, &first, "--null")).json(0), "master", "inserted"), 600_000);
    let counts = home.run(&refresh(&bucket, &second, "--null -w 2")).json(0);
    assert_eq!(["updated", "unchanged"].map(|what| count(&counts, "master", what)), [changed, 600_000 - changed]);
    bucket.is_tidy();
}

/// Starts a run that takes so many milliseconds for each of many small blocks.
fn slowly(home: &Home, line: &str, millis: u64) -> Child {
    spawn(home.command(line).env("FAILPOINTS", format!("{BLOCKS};before-block=sleep({millis})")))
}

/// The same, when it has taken a checkpoint.
fn under_way(bucket: &Bucket, home: &Home, line: &str, millis: u64) -> Child {
    let mut child = slowly(home, line, millis);
    await_checkpoint(bucket, &mut child);
    child
}

/// Waits until a program holds the state and has come into the month.
fn await_checkpoint(bucket: &Bucket, of: &mut Child) {
    let begun = Instant::now();
    while !bucket.path("state.json").exists() || bucket.head()["checkpoint"].is_null() {
        assert!(of.try_wait().expect("asked").is_none() && begun.elapsed() < Duration::from_secs(60), "it takes no checkpoint");
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn runs_that_are_killed_go_on_at_their_checkpoint_in_the_bucket_with_any_number_of_workers() {
    let Some(bucket) = Bucket::new() else { return };
    let months = odd().folders();
    let (files, reports) = by_files(&months);
    let home = bucket.home();
    let mut went_on = 0;
    for (number, (month, of_one)) in months.iter().zip(&reports).enumerate() {
        let line = |workers: usize| refresh(&bucket, month, &format!("--sqlite store.sqlite --checkpoint-interval 0 -w {workers}"));
        for attempt in 0..2 {
            let mut child = under_way(&bucket, &home, &line(1 + (number + attempt) % 3), 150);
            sleep(Duration::from_millis(700 * (attempt as u64 + 1)));
            child.kill().expect("killed");
            fault("a run with its state in a bucket killed");
            let ran = Ran::of(&child.wait_with_output().expect("it ends"));
            went_on += usize::from(ran.stderr.contains("going on where the run before was"));
        }
        let ran = Ran::of(&home.command(&line(2)).env("FAILPOINTS", BLOCKS).output().expect("it starts"));
        ran.said(&["has died: it is taken over"]);
        went_on += usize::from(ran.stderr.contains("going on where the run before was"));
        assert_eq!(ran.json(3)["kinds"], of_one["kinds"]);
        bucket.is_tidy();
    }
    assert!(went_on > 2, "{went_on} went on where one before had come to");
    assert_same(&home.sqlite("store.sqlite"), &files.sqlite("files.sqlite"), "the rows");
}

#[test]
fn a_second_run_is_refused_while_the_first_lives_takes_over_when_it_hangs_and_what_wakes_up_writes_nothing() {
    let Some(bucket) = Bucket::new() else { return };
    let months = small().folders();
    let (_, reports) = by_files(&months[..2]);
    let home = bucket.home();
    let line = refresh(&bucket, &months[0], "--null --checkpoint-interval 0");
    let first = under_way(&bucket, &home, &line, 500);
    let words = format!("is in use by another discodiff (process {} on ", first.id());
    home.run(&line).refused(&[&words]);
    // Who only looks is not in its way.
    let status = home.run(&format!("status --json {}", bucket.state())).json(0);
    assert!(status["holder"].as_str().is_some_and(|holder| holder.starts_with(&format!("process {} on ", first.id()))), "{status}");
    signal(&first, "STOP");
    fault("a run with its state in a bucket stopped");
    let second = home.run(&line);
    second.said(&["has died: it is taken over"]);
    assert_eq!(second.json(0)["kinds"], reports[0]["kinds"]);
    let head = bucket.head();
    signal(&first, "CONT");
    Ran::of(&first.wait_with_output().expect("it ends")).refused(&["was taken over by another discodiff"]);
    assert_eq!(bucket.head(), head);
    assert_eq!(home.run(&refresh(&bucket, &months[1], "--null")).json(0)["kinds"], reports[1]["kinds"]);
    bucket.is_tidy();
}

#[cfg(feature = "failpoints")]
#[test]
fn a_run_that_wakes_up_without_its_state_ends_at_once() {
    let Some(bucket) = Bucket::new() else { return };
    let months = small().folders();
    let home = bucket.home();
    let line = refresh(&bucket, &months[0], "--null --checkpoint-interval 3600");
    let mut first = spawn(home.command(&line).env("FAILPOINTS", format!("{BLOCKS};before-block=sleep(5000)")));
    let begun = Instant::now();
    while !bucket.path("state.json").exists() || !bucket.head()["manifest"].is_string() {
        assert!(first.try_wait().expect("asked").is_none() && begun.elapsed() < Duration::from_secs(60), "it does not begin");
        sleep(Duration::from_millis(50));
    }
    signal(&first, "STOP");
    fault("a run with its state in a bucket stopped");
    home.run(&line).json(0);
    signal(&first, "CONT");
    let woken = Instant::now();
    Ran::of(&first.wait_with_output().expect("it ends")).refused(&["was taken over by another discodiff"]);
    assert!(woken.elapsed() < Duration::from_secs(15), "it ends after {:?}", woken.elapsed());
    bucket.is_tidy();
}

#[cfg(feature = "failpoints")]
#[test]
fn a_run_that_falls_asleep_before_it_removes_what_is_of_no_use_removes_nothing_of_its_successor() {
    let Some(bucket) = Bucket::new() else { return };
    let months = small().folders();
    let home = bucket.home();
    let first = refresh(&bucket, &months[0], "--null");
    let mut first = spawn(home.command(&first).env("FAILPOINTS", "state-in-place=1*off->sleep(3000)"));
    let begun = Instant::now();
    // The second manifest is that of the month.
    while !bucket.path("state.json").exists() || !bucket.head()["manifest"].as_str().is_some_and(|text| text.contains(".fingerprints")) {
        assert!(first.try_wait().expect("asked").is_none() && begun.elapsed() < Duration::from_secs(60), "it does not come so far");
        sleep(Duration::from_millis(50));
    }
    signal(&first, "STOP");
    fault("a run with its state in a bucket stopped");
    home.run(&refresh(&bucket, &months[1], "--null")).json(0);
    bucket.is_tidy();
    signal(&first, "CONT");
    Ran::of(&first.wait_with_output().expect("it ends")).refused(&["was taken over by another discodiff"]);
    bucket.is_tidy();
    home.run(&refresh(&bucket, &months[2], "--null")).json(0);
}

#[test]
fn several_processes_keep_one_state_in_a_bucket_though_they_are_killed_and_other_numbers_of_them_go_on() {
    let (Some(bucket), Some(server), Some(database), Some(broker)) = (Bucket::new(), Server::new(), Database::new(), Broker::new()) else {
        return;
    };
    let months = peaceful().folders();
    let (files, _) = by_files(&months);
    let home = bucket.home();
    let mut went_on = 0;
    for (number, month) in months.iter().enumerate() {
        home.publish(month, &broker, "--partitions 12").json(0);
        let sinks = format!("{} --postgres {} {}", broker.flags(), database.url(), server.sink());
        let line = format!("refresh --kafka --json --allow-deletes --checkpoint-interval 0 {} {sinks}", bucket.state());
        let shape = [(2, 1), (3, 1), (2, 2)][number];
        let mut all = Together::start(&home, shape, &line, &format!("{BLOCKS};before-block=sleep(200)"), |_| String::new());
        await_checkpoint(&bucket, &mut all.0[0]);
        sleep(Duration::from_millis(500));
        let struck = all.0.remove(number % shape.0);
        signal(&struck, "KILL");
        fault("a process of several killed, with the state in a bucket");
        all.ended();
        struck.wait_with_output().expect("it ends");
        let ran = match [(4, 1), (1, 2), (2, 1)][number] {
            (1, workers) => {
                let alone = home.command(&format!("{line} -w {workers}")).env("FAILPOINTS", BLOCKS).output();
                vec![Ran::of(&alone.expect("it starts"))]
            }
            shape => Together::start(&home, shape, &line, BLOCKS, |_| String::new()).ended(),
        };
        report(&ran, 0);
        went_on += usize::from(ran[0].stderr.contains("going on where the run before was"));
        bucket.is_tidy();
        server.assert_is(month, None);
    }
    assert!(went_on > 1, "{went_on} went on where one before had come to");
    assert_same(&database.rows(), &files.sqlite("files.sqlite"), "the rows");
    // One that was told of another prefix is told so.
    let line = format!("refresh --json --null --dumps {}", months[0].display());
    let own = |process: usize| [bucket.state(), format!("{}/elsewhere", bucket.state())][process].clone();
    for ran in Together::start(&home, (2, 1), &format!("{line} --allow-older"), "", own).ended() {
        ran.refused(&["/elsewhere is not where process 0 keeps the state"]);
    }
}

#[cfg(feature = "failpoints")]
#[test]
fn a_network_that_cuts_stalls_refuses_or_loses_answers_changes_nothing() {
    use super::proxy::{Proxy, Snare, Then};
    let Some(bucket) = Bucket::new() else { return };
    let months = small().folders();
    let (files, reports) = by_files(&months);
    let proxy = Proxy::before(bucket.endpoint.strip_prefix("http://").expect("http"));
    let home = bucket.home_at(&format!("http://{}", proxy.address), &bucket.password, Vec::new());
    let is_put = |piece: &[u8]| piece.starts_with(b"PUT ") && piece.windows(10).any(|bytes| bytes == b"state.json");
    for (number, (month, of_one)) in months.iter().zip(&reports).enumerate() {
        let line = refresh(&bucket, month, "--sqlite store.sqlite --checkpoint-interval 0");
        let mut child = under_way(&bucket, &home, &line, 150);
        match number {
            0 => {
                for _ in 0..5 {
                    proxy.cut();
                    sleep(Duration::from_millis(300));
                }
            }
            1 => {
                for after in [0, 1, 0] {
                    proxy.lay(Snare { first: |_| true, seen: is_put, after, then: Then::Cut });
                    proxy.await_snare(&mut child);
                }
                assert!(proxy.snared() > 0);
            }
            _ => {
                proxy.refuse(true);
                proxy.cut();
                sleep(Duration::from_secs(4));
                proxy.refuse(false);
                proxy.stall(true);
                sleep(Duration::from_secs(3));
                proxy.stall(false);
            }
        }
        assert_eq!(Ran::of(&child.wait_with_output().expect("it ends")).json(0)["kinds"], of_one["kinds"]);
        bucket.is_tidy();
    }
    assert_same(&home.sqlite("store.sqlite"), &files.sqlite("files.sqlite"), "the rows");
}

#[cfg(feature = "failpoints")]
#[test]
fn a_store_that_falls_silent_at_the_end_does_not_hold_up_a_run_that_has_done_its_work() {
    use super::proxy::{Proxy, Snare, Then};
    let Some(bucket) = Bucket::new() else { return };
    let months = small().folders();
    let proxy = Proxy::before(bucket.endpoint.strip_prefix("http://").expect("http"));
    let home = bucket.home_at(&format!("http://{}", proxy.address), &bucket.password, Vec::new());
    let is_farewell = |piece: &[u8]| piece.windows(14).any(|bytes| bytes == b"\"holder\": null");
    proxy.lay(Snare { first: |_| true, seen: is_farewell, after: 0, then: Then::Stall });
    let begun = Instant::now();
    let ran = home.run(&refresh(&bucket, &months[0], "--null"));
    ran.said(&["no answer within 10 s", "the next run waits 10 s before it takes the state over"]);
    ran.json(0);
    assert!(proxy.snared() > 0 && begun.elapsed() < Duration::from_secs(50), "{:?}", begun.elapsed());
    proxy.stall(false);
    home.run(&refresh(&bucket, &months[1], "--null")).json(0);
    bucket.is_tidy();
}

#[test]
fn what_is_wrong_with_a_store_a_bucket_a_key_or_an_object_is_told_and_nothing_is_lost() {
    let Some(bucket) = Bucket::new() else { return };
    let months = small().folders();
    let home = bucket.home();
    let check = format!("check {}", bucket.state());
    let failed = |ran: Ran, words: &[&str]| {
        assert_eq!(ran.status, Some(1), "{}{}", ran.stdout, ran.stderr);
        words.iter().for_each(|word| assert!(ran.stdout.contains(word), "{word:?} is not in {}", ran.stdout));
        assert!(!format!("{}{}", ran.stdout, ran.stderr).contains(&bucket.password));
    };
    failed(home.run("check --state s3://no-such-bucket/x"), &["there is no such bucket; make it first", "NoSuchBucket"]);
    let wrong = bucket.home_at(&bucket.endpoint, "wrong", Vec::new());
    failed(wrong.run(&check), &["AWS_SECRET_ACCESS_KEY", "SignatureDoesNotMatch"]);
    let nowhere = bucket.home_at("http://127.0.0.1:9", &bucket.password, Vec::new());
    failed(nowhere.run(&check), &["does the store answer, and are AWS_ENDPOINT_URL", "refused"]);
    // Takes connections, and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = bucket.home_at(&format!("http://{}", listener.local_addr().expect("an address")), &bucket.password, Vec::new());
    let begun = Instant::now();
    failed(silent.run(&check), &["does the store answer, and are AWS_ENDPOINT_URL", "timed out"]);
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
    let (tls, certificates) = ("DISCODIFF_TEST_S3_TLS", "DISCODIFF_TEST_S3_CERTIFICATES");
    if let (Ok(endpoint), Ok(certificates)) = (std::env::var(tls), std::env::var(certificates)) {
        let of = |file: &str| vec![("SSL_CERT_FILE", format!("{certificates}/{file}"))];
        failed(bucket.home_at(&endpoint, &bucket.password, of("stranger.pem")).run(&check), &["SSL_CERT_FILE", "UnknownIssuer"]);
        let vouched = bucket.home_at(&endpoint, &bucket.password, of("ca.pem")).run(&check);
        assert!(vouched.status == Some(0) && vouched.stdout.contains("holds no state yet"), "{}{}", vouched.stdout, vouched.stderr);
    }
    for (given, words) in [
        ("--state gs://states/x", "right is the path of a folder, or s3://bucket/prefix"),
        ("--state s3://key:hunter2@states/x", "a URL with a user is wrong; right is the path of a folder, or s3://bucket/prefix"),
    ] {
        let ran = home.run(&format!("status {given}"));
        assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(2), ""), "{}", ran.stderr);
        ran.said(&[words]);
    }
    // Nowhere could the default store be.
    let ran = home.run(&refresh(&bucket, &months[0], ""));
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(2), ""), "{}", ran.stderr);
    ran.said(&["is no folder, where a SQLite file could be: name a sink"]);

    home.run(&refresh(&bucket, &months[0], "--sqlite store.sqlite")).json(0);
    let rows = home.sqlite("store.sqlite");
    let part = bucket.objects().into_iter().find(|name| name.ends_with(".fingerprints")).expect("a part");
    let (part, head) = (bucket.path(&part), bucket.path("state.json"));
    let whole = [&part, &head].map(|path| fs::read(path).expect("read"));
    let damaged = |path: &Path, bytes: Option<&[u8]>, words: &[&str]| {
        bytes.map_or_else(|| fs::remove_file(path), |bytes| fs::write(path, bytes)).expect("damaged");
        home.run(&refresh(&bucket, &months[1], "--sqlite store.sqlite")).refused(words);
        assert_same(&home.sqlite("store.sqlite"), &rows, "the rows");
    };
    let mut other = whole[0].clone();
    other[5_000] ^= 1;
    damaged(&part, Some(&other), &["s3://states/", ".fingerprints: a block's checksum does not agree"]);
    damaged(&part, Some(&whole[0][..3_000]), &["the file is cut short"]);
    damaged(&part, Some(b""), &["the file is shorter than its header"]);
    damaged(&part, None, &["the file is missing"]);
    fs::write(&part, &whole[0]).expect("mended");
    damaged(&head, Some(b"{"), &["state.json: it is damaged"]);
    let newer = String::from_utf8_lossy(&whole[1]).replacen("\"format\": 1", "\"format\": 2", 1);
    damaged(&head, Some(newer.as_bytes()), &["was written by a newer discodiff"]);
    damaged(&head, None, &["but no state.json: the state is damaged"]);
    fs::write(&head, &whole[1]).expect("mended");
    home.run(&refresh(&bucket, &months[1], "--sqlite store.sqlite")).json(0);
    bucket.is_tidy();
}

/// A web server that has nothing of what it is asked for.
fn elsewhere(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let mut asked = [0; 4096];
            let _ = connection.read(&mut asked);
            let _ = connection.write_all(answer.as_bytes());
        }
    });
    format!("http://{address}")
}

#[test]
fn what_answers_where_no_object_store_is_and_what_variables_say_wrongly_is_told_at_once() {
    let Some(bucket) = Bucket::new() else { return };
    let line = format!("status {}", bucket.state());
    let nothing = elsewhere("HTTP/1.1 404 Not Found\r\nContent-Length: 7\r\nConnection: close\r\n\r\nnothing");
    let page = elsewhere(
        "HTTP/1.1 200 OK\r\nContent-Length: 13\r\nLast-Modified: Sat, 28 Nov 2026 14:04:07 GMT\r\nConnection: close\r\n\r\n<html></html>",
    );
    for (endpoint, words) in
        [(nothing, "what answers there is no object store: is AWS_ENDPOINT_URL right?"), (page, "no object store, but gives a page")]
    {
        let home = bucket.home_at(&endpoint, &bucket.password, Vec::new());
        home.run(&line).refused(&[words]);
        home.run(&refresh(&bucket, &small().folders()[0], "--null")).refused(&[words]);
    }
    let bare = bucket.endpoint.strip_prefix("http://").expect("http");
    let encrypted = format!("https://{bare}");
    bucket.home_at(&encrypted, &bucket.password, Vec::new()).run(&line).refused(&["does not speak TLS: say http://"]);
    for (endpoint, password, words) in [
        (bare, &bucket.password[..], "AWS_ENDPOINT_URL: is wrong; right is a URL such as https://"),
        (&bucket.endpoint, "", "AWS_ACCESS_KEY_ID: is of no use without AWS_SECRET_ACCESS_KEY"),
    ] {
        let ran = bucket.home_at(endpoint, password, Vec::new()).run(&line);
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(2), ""), "{}", ran.stderr);
        ran.said(&[words]);
    }
}

#[test]
fn a_check_leaves_nothing_behind_says_where_and_as_whom_and_does_not_tell_a_store_of_another_state() {
    let Some(bucket) = Bucket::new() else { return };
    let (home, month) = (bucket.home(), &small().folders()[0]);
    let check = |rest: &str| {
        let ran = home.run(&format!("check {} {rest}", bucket.state()));
        (ran.status, ran.stdout)
    };
    let (status, said) = check("");
    assert!(
        status == Some(0) && said.contains("holds no state yet, and takes one (at http://") && said.contains(", as discodiff)"),
        "{said}"
    );
    assert!(!bucket.path("").exists() || bucket.objects().is_empty());
    let (status, said) = check(&format!("--dumps {}", month.display()));
    assert!(status == Some(1) && said.contains("sinks     FAIL  --state: s3://") && said.contains("name a sink"), "{said}");
    // Of nothing but the state it can be told what would change.
    assert_eq!(home.run(&format!("plan {} --dumps {}", bucket.state(), month.display())).status, Some(0));
    let line = refresh(&bucket, month, "--sqlite store.sqlite --checkpoint-interval 0");
    let mut child = under_way(&bucket, &home, &line, 300);
    let (status, said) = check("--sqlite store.sqlite");
    assert!(
        status == Some(1) && said.contains("in use by another discodiff") && said.contains("whether that is this one is not known"),
        "{said}"
    );
    signal(&child, "KILL");
    child.wait().expect("ended");
    // One mistake of all processes is told once.
    let up = home.run(&format!("cluster up --processes 3 {} --dumps {}", bucket.state(), month.display()));
    assert_eq!((up.status, up.stderr.matches("name a sink").count()), (Some(2), 1), "{}", up.stderr);
}

#[cfg(feature = "failpoints")]
#[test]
fn a_run_that_is_asked_to_end_ends_within_seconds_while_the_store_is_silent_or_a_dead_one_still_holds_the_state() {
    use super::proxy::Proxy;
    let Some(bucket) = Bucket::new() else { return };
    let proxy = Proxy::before(bucket.endpoint.strip_prefix("http://").expect("http"));
    let home = bucket.home_at(&format!("http://{}", proxy.address), &bucket.password, Vec::new());
    let line = refresh(&bucket, &small().folders()[0], "--null --checkpoint-interval 0");
    let child = under_way(&bucket, &home, &line, 500);
    proxy.stall(true);
    sleep(Duration::from_secs(1));
    signal(&child, "TERM");
    let begun = Instant::now();
    let ran = Ran::of(&child.wait_with_output().expect("it ends"));
    assert_eq!(ran.status, Some(4), "{}", ran.stderr);
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}: {}", begun.elapsed(), ran.stderr);
    proxy.cut();
    proxy.stall(false);
    // A dead one holds the state.
    let mut child = under_way(&bucket, &home, &line, 500);
    child.kill().and_then(|()| child.wait()).expect("killed");
    let child = slowly(&home, &line, 500);
    sleep(Duration::from_secs(3));
    signal(&child, "TERM");
    let begun = Instant::now();
    let ran = Ran::of(&child.wait_with_output().expect("it ends"));
    assert_eq!(ran.status, Some(4), "{}", ran.stderr);
    assert!(begun.elapsed() < Duration::from_secs(6) && !ran.stderr.contains("taken over"), "{:?}: {}", begun.elapsed(), ran.stderr);
    assert!(!bucket.head()["holder"].is_null());
    let ran = home.run(&line);
    ran.said(&["has died: it is taken over"]);
    ran.json(0);
    bucket.is_tidy();
}
