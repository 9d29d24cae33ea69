//! Metrics, alerts and dashboard, as Prometheus itself and node_exporter take them. Both come from Debian; test.sh installs them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::broker::Broker;
use super::generated::small;
use super::harness::Home;
use super::metrics::{dashboard, repository};
use super::watched::{Watched, request};

/// The programs, where they are all there; `None`, with a word, where one is not.
fn installed(programs: &[&str]) -> Option<()> {
    for program in programs {
        if Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
            println!("skipped: there is no {program}; test.sh installs it, from Debian's packages prometheus and prometheus-node-exporter");
            return None;
        }
    }
    Some(())
}

#[track_caller]
fn succeeded(output: &Output) {
    let texts = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{texts:?}");
}

/// A server that is ended with the test.
struct Server(Child, String);

impl Server {
    fn start(program: &str, arguments: &[&str], folder: &Path) -> Server {
        let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
        let log = fs::File::create(folder.join(format!("{program}.log"))).expect("a log");
        let mut command = Command::new(program);
        command.args(arguments).arg(format!("--web.listen-address={free}")).current_dir(folder);
        let child = command.stdout(Stdio::null()).stderr(log).spawn().expect("it starts");
        Server(child, free.to_string())
    }

    fn get(&self, path: &str) -> Option<(u16, String)> {
        request(&self.1, &format!("GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.1))
    }

    /// What a query gives now.
    fn query(&self, query: &str) -> Vec<Value> {
        let path = format!("/api/v1/query?query={}", utf8_percent_encode(query, NON_ALPHANUMERIC));
        let (status, body) = self.get(&path).expect("Prometheus answers");
        assert_eq!(status, 200, "{query}: {body}");
        let body: Value = serde_json::from_str(&body).expect("JSON");
        body["data"]["result"].as_array().expect("a list").clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn promtool_finds_nothing_wrong_with_the_rules_and_each_alert_comes_when_it_should_and_not_before() {
    let Some(()) = installed(&["promtool"]) else { return };
    let rules = repository("docker/prometheus/alerts.yml");
    succeeded(&Command::new("promtool").args(["check", "rules", "--lint-fatal"]).arg(&rules).output().expect("it starts"));
    let tests = repository("tests/prometheus/alerts.test.yml");
    succeeded(&Command::new("promtool").args(["test", "rules"]).arg(&tests).output().expect("it starts"));
    let (rules, tests) = [rules, tests].map(|path| fs::read_to_string(path).expect("read")).into();
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(tests.contains(&format!("alertname: {alert}\n")), "{alert} is never set off by tests/prometheus/alerts.test.yml");
    }
}

#[test]
fn promtool_finds_nothing_wrong_with_what_a_run_serves_and_with_its_file() {
    let Some(()) = installed(&["promtool"]) else { return };
    let (home, months) = (Home::new(), small().folders());
    let run = Watched::begin(
        &mut home.refreshing(&months[0], "--sqlite store.sqlite --listen 0 --metrics-file run.prom"),
        "block-records=return(20);before-block=sleep(20)",
    );
    let served = run.until(|run| {
        let metrics = run.metrics().expect("it goes on");
        metrics.find("discodiff_sink_commit_timestamp_seconds", &[]).map(|_| metrics.text)
    });
    assert_eq!(run.end().status, Some(0));
    for text in [served, fs::read_to_string(home.path("run.prom")).expect("a file")] {
        let mut promtool = Command::new("promtool");
        let mut check = promtool
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        check.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("written");
        let output = check.wait_with_output().expect("ended");
        succeeded(&output);
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn prometheus_scrapes_a_run_and_reads_its_file_and_every_query_of_the_dashboard_has_an_answer() {
    let Some(()) = installed(&["prometheus", "prometheus-node-exporter"]) else { return };
    let (home, months) = (Home::new(), small().folders());
    let broker = Broker::new();
    fs::create_dir(home.path("textfiles")).expect("made");
    home.refresh(&months[0], "--sqlite store.sqlite").json(0);
    assert_eq!(home.run("verify --state state --sqlite store.sqlite --metrics-file textfiles/verify.prom").status, Some(0));
    // From topics, where there is a broker: there is lag then.
    let watch = "--sqlite store.sqlite --feed feed.jsonl --listen 0 --metrics-file textfiles/refresh.prom --checkpoint-interval 0";
    let mut command = match &broker {
        Some(broker) => {
            home.publish(&months[1], broker, "--partitions 2").json(0);
            home.command(&format!("refresh --kafka --json {} --state state {watch}", broker.flags()))
        }
        None => home.refreshing(&months[1], watch),
    };
    let run = Watched::begin(&mut command, "block-records=return(20);before-block=sleep(150);state-before-rename=sleep(3000)");
    let files = home.path("textfiles");
    let collector = format!("--collector.textfile.directory={}", files.display());
    let node =
        Server::start("prometheus-node-exporter", &["--collector.disable-defaults", "--collector.textfile", &collector], &home.path(""));
    let configuration = format!(
        "global: {{scrape_interval: 500ms, evaluation_interval: 500ms}}\n\
         rule_files: [{}]\n\
         scrape_configs:\n\
         - {{job_name: discodiff, static_configs: [{{targets: [\"{}\"]}}]}}\n\
         - {{job_name: node, static_configs: [{{targets: [\"{}\"]}}]}}\n",
        repository("docker/prometheus/alerts.yml").display(),
        run.address,
        node.1
    );
    fs::write(home.path("prometheus.yml"), configuration).expect("written");
    let prometheus = Server::start("prometheus", &["--config.file=prometheus.yml", "--storage.tsdb.path=data"], &home.path(""));
    let log = || fs::read_to_string(home.path("prometheus.log")).unwrap_or_default();
    let begun = Instant::now();
    while prometheus.get("/-/ready").is_none_or(|(status, _)| status != 200) {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", log());
        thread::sleep(Duration::from_millis(50));
    }
    // What Grafana puts in: the rate's interval is several scrapes.
    let queries: Vec<String> = dashboard()
        .iter()
        .map(|query| query.replace("$__rate_interval", "3s").replace("$command", ".*").replace("$instance", ".*"))
        .collect();
    let without_broker = |query: &str| broker.is_none() && query.contains("discodiff_kafka_lag_records");
    let mut answers: BTreeMap<&str, usize> = queries.iter().map(|query| (query.as_str(), 0)).collect();
    let ended = |query: &str| query.contains("discodiff_run_exit_status");
    let missing = |answers: &BTreeMap<&str, usize>, at_the_end: bool| {
        let missing = answers.iter().filter(|(query, number)| **number == 0 && !without_broker(query) && (at_the_end || !ended(query)));
        missing.map(|(query, _)| (*query).to_owned()).collect::<Vec<_>>()
    };
    while !missing(&answers, false).is_empty() && run.metrics().is_some() {
        for (query, number) in answers.iter_mut().filter(|(_, number)| **number == 0) {
            *number = prometheus.query(query).len();
        }
        thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(missing(&answers, false), Vec::<String>::new(), "asked while the run was on");
    let ran = run.end();
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    // When it is gone, node_exporter tells how it ended.
    let begun = Instant::now();
    while prometheus.query("discodiff_run_exit_status{command=\"refresh\"} == 0").is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", log());
        thread::sleep(Duration::from_millis(100));
    }
    for (query, number) in answers.iter_mut().filter(|(query, _)| ended(query)) {
        *number = prometheus.query(query).len();
    }
    assert_eq!(missing(&answers, true), Vec::<String>::new());
    assert_eq!(prometheus.query("node_textfile_scrape_error")[0]["value"][1], "0", "node_exporter takes both files");
    let (_, rules) = prometheus.get("/api/v1/rules").expect("Prometheus answers");
    let rules: Value = serde_json::from_str(&rules).expect("JSON");
    let rules = rules["data"]["groups"][0]["rules"].as_array().expect("rules");
    assert!(rules.len() > 10 && rules.iter().all(|rule| rule["health"] == "ok"), "{rules:?}");
}
