//! What a long command says of itself to those who watch it: metrics, health, readiness, log lines.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::broker::Broker;
use super::fetch::alone;
use super::generated::{odd, small};
use super::harness::{Home, KINDS, Ran, count};
use super::place::{Instead, Place};
use super::watched::{Metrics, Watched, request};

/// A month in many blocks, each of which takes its time: it goes on while it is looked at.
const SLOWLY: &str = "block-records=return(20);before-block=sleep(20)";

pub fn repository(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The table of docs/metrics.md: type and labels of each metric.
fn documented() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let text = fs::read_to_string(repository("docs/metrics.md")).expect("docs/metrics.md");
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<_> = line.strip_prefix("| `")?.split('|').map(str::trim).collect();
        let [name, kind, labels, words, ""] = cells[..] else { return None };
        assert!(!words.is_empty(), "{line}");
        let labels = labels.split(", ").filter(|label| !label.is_empty()).map(|label| label.trim_matches('`').to_owned());
        Some((name.trim_end_matches('`').to_owned(), (kind.to_owned(), labels.collect())))
    });
    rows.collect()
}

/// The names of metrics in a text of queries, those of histograms without the ending of a series.
pub fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let ours = words.filter(|word| (word.starts_with("discodiff_") || word.starts_with("process_")) && word.len() > "discodiff_".len());
    ours.map(|word| word.strip_suffix("_bucket").unwrap_or(word).to_owned()).collect()
}

/// The queries of the dashboard.
pub fn dashboard() -> Vec<String> {
    let text = fs::read_to_string(repository("docker/grafana/dashboards/discodiff.json")).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    targets.map(|target| target["expr"].as_str().expect("a query").to_owned()).collect()
}

#[test]
fn a_run_serves_what_it_does_while_it_does_it_and_its_file_says_at_the_end_what_its_report_says() {
    let (home, months) = (Home::new(), odd().folders());
    home.refresh(&months[0], "--sqlite store.sqlite --feed feed.jsonl").json(3);
    let watch = "--sqlite store.sqlite --feed feed.jsonl --listen 0 --metrics-file run.prom --checkpoint-interval 0 -w 2";
    let run = Watched::begin(&mut home.refreshing(&months[1], watch), SLOWLY);
    // In the midst of it: some is read, some is written, and all is told.
    let midst = run.until(|run| {
        let metrics = run.metrics().expect("it goes on");
        let written = metrics.find("discodiff_sink_records_total", &[("sink", "sqlite")]).unwrap_or(0.0);
        let checkpoint = metrics.find("discodiff_stage_records_total", &[("stage", "write")]).is_some();
        (written > 0.0 && checkpoint && run.get("/ready")?.0 == 200).then_some(metrics)
    });
    let (status, health) = run.get("/health").expect("it goes on");
    assert!(status == 200 && health.starts_with("alive: reading: moved "), "{status} {health}");
    assert_eq!(midst.value("discodiff_run_phase", &[("phase", "reading"), ("command", "refresh")]), 1.0);
    assert_eq!(midst.value("discodiff_run_phase", &[]), 1.0, "one phase at a time");
    assert_eq!((midst.label("discodiff_run_info", "snapshot"), midst.label("discodiff_run_info", "epoch")), ("2026-02", "2"));
    assert!(midst.value("discodiff_inflight_limit_bytes", &[]) == (128 << 20) as f64);
    assert!(midst.value("process_open_fds", &[]) > 3.0 && midst.value("process_resident_memory_bytes", &[]) > 1e6);
    assert!(midst.value("discodiff_checkpoint_timestamp_seconds", &[]) > midst.value("discodiff_run_start_timestamp_seconds", &[]) - 1.0);
    assert_eq!(midst.find("discodiff_run_exit_status", &[]), None, "not yet");
    let begun = Metrics::at(&home.path("run.prom"));
    assert_eq!(begun.find("discodiff_run_exit_status", &[]), None, "the file says from the first moment on that a run is on");
    let report = run.end().json(3);
    let file = Metrics::at(&home.path("run.prom"));
    assert_eq!(file.value("discodiff_run_exit_status", &[]), 3.0);
    assert_eq!(file.label("discodiff_run_info", "run"), midst.label("discodiff_run_info", "run"));
    assert!(file.value("discodiff_run_end_timestamp_seconds", &[]) >= file.value("discodiff_run_start_timestamp_seconds", &[]));
    assert_eq!(fs::metadata(home.path("run.prom")).expect("a file").permissions().mode() & 0o444, 0o444, "who collects it is another user");
    assert!(!home.path("run.prom.new").exists());
    for kind in KINDS {
        let of = |name: &str, labels: &[(&str, &str)]| file.value(name, &[labels, &[("kind", kind)]].concat()) as u64;
        for (name, what) in [("received", "received"), ("unchanged", "unchanged"), ("duplicate", "duplicates"), ("rejected", "rejected")] {
            assert_eq!(of(&format!("discodiff_records_{name}_total"), &[]), count(&report, kind, what), "{kind} {what}");
        }
        for (op, what) in [("insert", "inserted"), ("update", "updated"), ("delete", "deleted")] {
            assert_eq!(of("discodiff_changes_total", &[("op", op)]), count(&report, kind, what), "{kind} {what}");
        }
        assert_eq!(of("discodiff_deletes_withheld", &[]), count(&report, kind, "deletes_withheld"), "{kind}");
        let (read, known) = (of("discodiff_input_bytes_total", &[]), of("discodiff_input_bytes_known", &[]));
        // The end of a gzip file may be left unread.
        assert!(read <= known && read * 10 > known * 9, "{kind}: {read} of {known}");
        assert!(
            midst.find("discodiff_records_received_total", &[("kind", kind)]).unwrap_or(0.0) <= count(&report, kind, "received") as f64
        );
    }
    for (sink, op, what) in [("sqlite", "insert", "inserted"), ("sqlite", "delete", "deleted"), ("feed", "update", "updated")] {
        let told = file.value("discodiff_sink_records_total", &[("sink", sink), ("op", op)]);
        assert_eq!(Some(told as u64), report["sinks"][sink][what].as_u64(), "{sink} {what}");
    }
    for stage in report["stages"].as_array().expect("stages") {
        let (name, sink) = (stage["name"].as_str().expect("a name"), stage["sink"].as_str().unwrap_or_default());
        let labels = [("stage", name), ("sink", sink)];
        let told = match name {
            "tick" => file.value("discodiff_tick_duration_seconds_count", &[]),
            _ => file.value("discodiff_stage_duration_seconds_count", &labels),
        };
        assert_eq!(Some(told as u64), stage["count"].as_u64(), "{stage}");
        if name != "tick" {
            let busy = file.value("discodiff_stage_busy_seconds_total", &labels);
            assert!((busy - stage["busy_seconds"].as_f64().expect("a time")).abs() < 1e-5, "{stage}");
            let all = file.value("discodiff_stage_duration_seconds_bucket", &[&labels[..], &[("le", "+Inf")]].concat());
            assert_eq!(Some(all as u64), stage["count"].as_u64(), "{stage}");
        }
    }
    let held: f64 = KINDS.iter().map(|kind| file.value("discodiff_state_records", &[("kind", kind)])).sum();
    let status = home.run("status --json --state state --sqlite store.sqlite").json(0);
    assert_eq!(file.value("discodiff_state_generation", &[]) as u64, 2, "{status}");
    assert!(held > 1000.0 && file.value("discodiff_state_bytes", &[]) > 32.0 * held);
}

#[test]
fn what_is_documented_is_served_and_what_is_served_is_documented_and_dashboard_and_alerts_name_nothing_else() {
    let documented = documented();
    let (home, months) = (Home::new(), small().folders());
    let mut pages = Vec::new();
    let watch = "--sqlite store.sqlite --listen 0 --metrics-file run.prom";
    let run = Watched::begin(&mut home.refreshing(&months[0], watch), &format!("{SLOWLY};state-before-rename=sleep(500)"));
    while let Some(metrics) = run.metrics() {
        pages.push(metrics);
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(run.end().status, Some(0));
    pages.push(Metrics::at(&home.path("run.prom")));
    assert_eq!(home.run("verify --state state --sqlite store.sqlite --metrics-file verify.prom").status, Some(0));
    pages.push(Metrics::at(&home.path("verify.prom")));
    let broker = Broker::new();
    if let Some(broker) = &broker {
        home.publish(&months[0], broker, "--partitions 2 --metrics-file publish.prom").json(0);
        home.apply_topics(broker, "--state other --null --metrics-file topics.prom").json(0);
        pages.extend(["publish.prom", "topics.prom"].map(|name| Metrics::at(&home.path(name))));
    }
    let mut served = BTreeMap::<String, (String, BTreeSet<String>)>::new();
    for page in &pages {
        for (name, labels) in page.labels() {
            let kind = page.types[&name].clone();
            served.entry(name).or_insert_with(|| (kind, BTreeSet::new())).1.extend(labels);
        }
    }
    for (name, of) in &served {
        assert_eq!(documented.get(name), Some(of), "{name} is served, and docs/metrics.md says otherwise");
    }
    let without_kafka = |name: &&String| broker.is_some() || *name != "discodiff_kafka_lag_records";
    let missing: Vec<_> = documented.keys().filter(without_kafka).filter(|name| !served.contains_key(*name)).collect();
    assert!(missing.is_empty(), "documented, and never served: {missing:?}");
    let queries = dashboard().join("\n");
    let alerts = fs::read_to_string(repository("docker/prometheus/alerts.yml")).expect("the rules");
    for (whose, text) in [("the dashboard", &queries), ("the alerts", &alerts)] {
        let unknown: Vec<_> = named(text).into_iter().filter(|name| !documented.contains_key(name)).collect();
        assert!(unknown.is_empty(), "{whose} ask for {unknown:?}");
    }
    // Nothing that is served is out of sight.
    let shown = named(&(queries + &alerts));
    let times = |name: &&String| !name.ends_with("_timestamp_seconds") && !name.starts_with("process_");
    let hidden: Vec<_> = served.keys().filter(times).filter(|name| !shown.contains(*name)).collect();
    assert!(hidden.is_empty(), "neither dashboard nor alerts show {hidden:?}");
}

#[test]
fn the_lag_of_topics_falls_to_nothing_as_they_are_read() {
    let Some(broker) = Broker::new() else { return };
    let (home, months) = (Home::new(), small().folders());
    home.publish(&months[0], &broker, "--partitions 2").json(0);
    let line = format!("refresh --kafka --json {} --state state --null --listen 0 --metrics-file run.prom", broker.flags());
    let run = Watched::begin(&mut home.command(&line), SLOWLY);
    let topic = broker.topic("releases");
    let most = run.until(|run| run.metrics().expect("it goes on").find("discodiff_kafka_lag_records", &[("topic", &topic)]));
    assert!(most > 100.0, "{most}");
    assert_eq!(run.end().status, Some(0));
    let file = Metrics::at(&home.path("run.prom"));
    for kind in KINDS {
        assert_eq!(file.value("discodiff_kafka_lag_records", &[("topic", &broker.topic(&format!("{kind}s")))]), 0.0, "{kind}");
    }
}

#[test]
fn an_address_or_file_of_no_use_is_told_before_anything_is_done() {
    let (home, months) = (Home::new(), small().folders());
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    for (flags, words) in [
        (format!("--listen {port}"), vec!["--listen: cannot listen on 127.0.0.1:", "another program has this port"]),
        // An address that documentation has to itself.
        ("--listen 203.0.113.7:9599".to_owned(), vec!["203.0.113.7:9599", "this machine has no such address"]),
        ("--listen somewhere:9599".to_owned(), vec!["\"somewhere:9599\" is wrong; right is an address and a port"]),
        ("--metrics-file nowhere/run.prom".to_owned(), vec!["--metrics-file: the metrics cannot be written to nowhere/run.prom"]),
        ("--metrics-file nowhere/".to_owned(), vec!["--metrics-file: there is no folder nowhere/; make it first"]),
        (format!("--listen {port} --metrics-file nowhere/run.prom"), vec!["2 mistakes", "--listen", "--metrics-file"]),
    ] {
        let ran = home.refresh(&months[0], &flags);
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(2), ""), "{}", ran.stderr);
        ran.said(&words);
        assert!(!home.path("state").exists(), "{flags}");
    }
    // What a settings file says is held against every command that can be watched, and no other.
    fs::write(home.path("discodiff.toml"), format!("listen = {port}\n")).expect("written");
    assert!(!home.run("status --state state").stderr.contains("cannot listen"));
    let ran = home.refresh(&months[0], "--null");
    assert_eq!(ran.status, Some(2));
    ran.said(&["discodiff.toml, line 1: listen: cannot listen"]);
}

#[test]
fn clients_that_are_silent_endless_or_wrong_hold_up_neither_others_nor_the_run() {
    let (home, months) = (Home::new(), small().folders());
    let run = Watched::begin(&mut home.refreshing(&months[0], "--null --listen 0"), SLOWLY);
    for (asked, status) in [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        ("HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        ("GET /metrics HTTP/1.0\r\n\r\n", 200),
        ("GET /metrics?x=y HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        ("GET /else HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        ("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", 405),
        ("nonsense\r\n\r\n", 400),
    ] {
        assert_eq!(request(&run.address, asked).map(|(status, _)| status), Some(status), "{asked}");
    }
    let connect = || TcpStream::connect(&run.address).expect("connected");
    let silent: Vec<_> = (0..8).map(|_| connect()).collect();
    let mut endless = connect();
    let written = (0..10_000).take_while(|_| endless.write_all(&[b'x'; 4096]).is_ok()).count();
    assert!(written < 10_000, "a head of megabytes is refused");
    let mut deaf = connect();
    deaf.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    assert!(run.metrics().is_some(), "others are served");
    // As many as are served at a time, and more, none of whom says anything.
    let crowd: Vec<_> = (0..40).map(|_| connect()).collect();
    let ran = run.end();
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    drop((silent, crowd));
    let mut answer = Vec::new();
    deaf.read_to_end(&mut answer).expect("all of it");
    assert!(answer.starts_with(b"HTTP/1.1 200"));
}

#[test]
fn a_run_is_ready_once_it_reads_and_not_healthy_once_it_hangs() {
    let (home, months) = (Home::new(), small().folders());
    // A worker that hangs: what it holds is waited for, and it is nobody but the program itself.
    let points = format!("{SLOWLY};worker-panics=200*off->sleep(600000);still=return(1500)");
    let run = Watched::begin(&mut home.refreshing(&months[0], "--null --listen 0 -w 2"), &points);
    run.until(|run| (run.get("/ready")?.0 == 200).then_some(()));
    let words = run.until(|run| Some(run.get("/health")?).filter(|(status, _)| *status == 503));
    assert!(words.1.starts_with("stalled: reading: nothing has moved for "), "{words:?}");
    assert!(run.metrics().expect("it is asked all the same").value("discodiff_unmoved_seconds", &[]) >= 1.5);
    drop(run);
    // One that waits for a store: somebody else has locked it.
    let home = Home::new();
    home.refresh(&months[0], "--sqlite store.sqlite").json(0);
    let points = "block-records=return(20);before-block=sleep(20);still=return(1)";
    let run = Watched::begin(&mut home.refreshing(&months[1], "--sqlite store.sqlite --listen 0"), points);
    run.until(|run| (run.get("/ready")?.0 == 200).then_some(()));
    let other = rusqlite::Connection::open(home.path("store.sqlite")).expect("a store");
    run.until(|_| other.execute_batch("BEGIN IMMEDIATE").ok());
    let words = run.until(|run| Some(run.get("/health")?).filter(|(_, words)| words.contains("waiting for sqlite for ")));
    assert_eq!(words.0, 200, "{words:?}");
    other.execute_batch("ROLLBACK").expect("let go");
    let ran = run.end();
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
}

#[test]
fn a_month_that_failed_or_died_is_seen_in_its_file_when_the_process_is_gone() {
    let (home, months) = (Home::new(), small().folders());
    let mut failing = home.refreshing(&months[0], "--null --metrics-file run.prom");
    assert_eq!(failing.env("FAILPOINTS", "before-complete=return").output().expect("it starts").status.code(), Some(1));
    let file = Metrics::at(&home.path("run.prom"));
    assert_eq!(file.value("discodiff_run_exit_status", &[("command", "refresh")]), 1.0);
    assert_eq!(file.value("discodiff_run_phase", &[("phase", "ended")]), 1.0);
    // The next one is killed.
    let run = Watched::begin(&mut home.refreshing(&months[0], "--null --listen 0 --metrics-file run.prom"), SLOWLY);
    run.until(|run| (run.get("/ready")?.0 == 200).then_some(()));
    run.signal("-KILL");
    assert_eq!(run.end().status, None);
    let died = Metrics::at(&home.path("run.prom"));
    assert_eq!(died.find("discodiff_run_exit_status", &[]), None);
    assert!(died.value("discodiff_updated_timestamp_seconds", &[]) > 0.0);
    assert_ne!(died.label("discodiff_run_info", "run"), file.label("discodiff_run_info", "run"));
    // One that is stopped, and the one that makes it good.
    let run = Watched::begin(&mut home.refreshing(&months[0], "--null --listen 0 --metrics-file run.prom"), SLOWLY);
    run.until(|run| (run.get("/ready")?.0 == 200).then_some(()));
    run.signal("-TERM");
    assert_eq!(run.end().status, Some(4));
    assert_eq!(Metrics::at(&home.path("run.prom")).value("discodiff_run_exit_status", &[]), 4.0);
    let report = home.refresh(&months[0], "--null --metrics-file run.prom").json(0);
    let file = Metrics::at(&home.path("run.prom"));
    assert_eq!(file.value("discodiff_run_exit_status", &[]), 0.0);
    for kind in KINDS {
        let received = file.value("discodiff_records_received_total", &[("kind", kind)]) as u64;
        assert_eq!(received, count(&report, kind, "received"), "{kind}: of the whole month, as its report");
    }
}

#[test]
fn what_is_waited_for_stands_in_the_file_too_until_the_command_ends() {
    let (home, place) = (Home::new(), Place::new());
    place.offer(&small().folders()[0]);
    place.instead("prefix=data%2F2026%2F", [Instead::Status(429, "retry-after: 4\r\n")]);
    let line = format!("fetch --dumps dumps --fetch-url {} --listen 0 --metrics-file run.prom", place.url());
    let run = Watched::begin(&mut alone(home.command(&line)), "tell-every=return(1)");
    let file = || fs::read_to_string(home.path("run.prom")).map(|text| Metrics::of(&text));
    let waited = |file: &Metrics| {
        let longer = |name: &str, labels: &[(&str, &str)]| file.find(name, labels) > Some(1.0);
        longer("discodiff_waiting_seconds", &[("cause", "source")]) && longer("discodiff_unmoved_seconds", &[])
    };
    run.until(|_| file().ok().filter(waited));
    let ran = run.end();
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    assert_eq!(file().expect("a file").find("discodiff_waiting_seconds", &[]), None);
}

#[test]
fn in_a_folder_each_command_keeps_its_metrics_in_a_file_of_its_own() {
    let (home, months) = (Home::new(), small().folders());
    fs::create_dir(home.path("metrics")).expect("made");
    let mut failing = home.refreshing(&months[0], "--sqlite store.sqlite --metrics-file metrics");
    assert_eq!(failing.env("FAILPOINTS", "before-complete=return").output().expect("it starts").status.code(), Some(1));
    let of = |command: &str| Metrics::at(&home.path(&format!("metrics/discodiff-{command}.prom"))).value("discodiff_run_exit_status", &[]);
    let verified = home.run("verify --state state --sqlite store.sqlite --metrics-file metrics/").status;
    assert_eq!((of("refresh"), Some(of("verify") as i32)), (1.0, verified), "the failed run is still seen");
    home.run("state rebuild --from none.sqlite --state anew --metrics-file metrics").refused(&["none.sqlite is not there"]);
    assert_eq!((of("refresh"), of("state")), (1.0, 1.0));
}

#[test]
fn verify_tells_how_long_each_store_took_and_how_much_differs() {
    let (home, months) = (Home::new(), small().folders());
    home.refresh(&months[0], "--sqlite store.sqlite").json(0);
    let store = rusqlite::Connection::open(home.path("store.sqlite")).expect("a store");
    store.execute("DELETE FROM labels WHERE data_id IN (SELECT data_id FROM labels LIMIT 3)", []).expect("deleted");
    assert_eq!(home.run("verify --state state --sqlite store.sqlite --metrics-file verify.prom").status, Some(1));
    let file = Metrics::at(&home.path("verify.prom"));
    assert_eq!(file.value("discodiff_differences", &[("command", "verify"), ("sink", "sqlite")]), 3.0);
    let labels = [("stage", "compare"), ("sink", "sqlite")];
    assert_eq!(file.value("discodiff_stage_duration_seconds_count", &labels), 4.0, "a kind each");
    let held: f64 = KINDS.iter().map(|kind| file.value("discodiff_state_records", &[("kind", kind)])).sum();
    assert_eq!(file.value("discodiff_stage_records_total", &labels), held);
    // And a state that is made anew.
    assert_eq!(home.run("state rebuild --from store.sqlite --state anew --metrics-file state.prom").status, Some(3));
    let file = Metrics::at(&home.path("state.prom"));
    assert_eq!(file.value("discodiff_stage_duration_seconds_count", &[("stage", "rebuild"), ("command", "state")]), 4.0);
    assert_eq!(file.value("discodiff_run_exit_status", &[]), 3.0);
}

#[test]
fn every_log_line_in_json_says_which_run_it_is_of_and_what_it_is_about() {
    let (home, months) = (Home::new(), odd().folders());
    home.refresh(&months[0], "--sqlite store.sqlite").json(3);
    let store = rusqlite::Connection::open(home.path("store.sqlite")).expect("a store");
    let refusing = "CREATE TRIGGER refuses BEFORE INSERT ON changes WHEN NEW.kind = 'master' BEGIN SELECT RAISE(ABORT, 'not here'); END";
    store.execute_batch(refusing).expect("made");
    let rest = "--sqlite store.sqlite --listen 0 --log-format json --log debug --checkpoint-interval 0 -w 2";
    let points = format!("{SLOWLY};tell-every=return(100)");
    let run = Watched::begin(&mut home.refreshing(&months[1], rest), &points);
    run.until(|run| (run.get("/ready")?.0 == 200).then_some(()));
    let id = run.metrics().map(|metrics| metrics.label("discodiff_run_info", "run").to_owned());
    let ran = run.end();
    let lines: Vec<Value> = ran.stderr.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let ids: BTreeSet<_> = lines.iter().map(|line| line["run"].as_str().expect("a run").to_owned()).collect();
    assert_eq!(ids.into_iter().collect::<Vec<_>>(), Vec::from_iter(id), "one run, the one that metrics name");
    for line in &lines {
        assert!(line["command"] == "refresh" && line["level"].is_string() && line["message"].is_string(), "{line}");
        assert!(line["timestamp"].is_string() && line["target"].is_string(), "{line}");
    }
    let of = |words: &str| {
        let found = lines.iter().find(|line| line["message"].as_str().is_some_and(|message| message.contains(words)));
        found.unwrap_or_else(|| panic!("no {words} in {}", ran.stderr))
    };
    let refused = of("sqlite refuses master");
    for (field, value) in [
        ("epoch", json!(2)),
        ("month", json!("2026-02")),
        ("stage", json!("write")),
        ("sink", json!("sqlite")),
        ("kind", json!("master")),
        ("level", json!("ERROR")),
    ] {
        assert_eq!(refused[field], value, "{refused}");
    }
    assert!(refused["tick"].as_u64() > Some(2 << 32), "{refused}");
    let progress = of("release 100 %");
    assert_eq!(
        (&progress["kind"], &progress["month"], &progress["epoch"]),
        (&json!("release"), &json!("2026-02"), &json!(2)),
        "{progress}"
    );
    let checkpoint = of("checkpoint at tick");
    assert_eq!((&checkpoint["stage"], &checkpoint["epoch"]), (&json!("checkpoint"), &json!(2)), "{checkpoint}");
    let resources = of("resources");
    assert!(resources["memory_mib"].as_u64() > Some(0) && resources["open_files"].as_u64() > Some(3), "{resources}");
    assert!(resources["cpu_cores"].as_f64().is_some() && resources["threads"].as_u64() > Some(3), "{resources}");
}

#[test]
fn a_log_line_in_text_says_behind_its_words_what_it_is_about() {
    let (home, months) = (Home::new(), small().folders());
    let mut command = home.refreshing(&months[0], "--sqlite store.sqlite --checkpoint-interval 0 --log discodiff=debug");
    let ran = Ran::of(&command.env("FAILPOINTS", SLOWLY).output().expect("it starts"));
    let line = ran.stderr.lines().find(|line| line.contains("checkpoint at tick")).expect("a line");
    assert!(line.ends_with("epoch=1 month=\"2026-01\" stage=\"checkpoint\"") && line.contains("Z DEBUG checkpoint at"), "{line}");
    // What a short command says is as it always was.
    let ran = home.refresh(&months[0], "--listen nonsense --log-format text");
    assert!(ran.stderr.starts_with("error: one mistake in the settings:\n  - --listen: "), "{}", ran.stderr);
}
