//! Servers that stop, come back, or stay away, in the midst of publishing and of refreshing. On servers of the test's own.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::broker::Broker;
use super::generated::small;
use super::harness::{Home, KINDS, Ran, assert_same, fault};

/// How long a server is away; it takes some seconds more to start.
const AWAY: Duration = Duration::from_secs(20);

/// A server that is started and stopped at will; gone with all its data at the end, however the test ends.
struct Server {
    /// `kafka`, `postgres` or `neo4j`.
    service: &'static str,
    folder: PathBuf,
    jars: PathBuf,
}

impl Server {
    /// `None`, with a word, where the tests have no such server, or none that `scripts/services.sh` started.
    fn new(service: &'static str, name: &str) -> Option<Server> {
        let jars = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/services/lib");
        let jars = std::env::var_os("SERVICES_LIB").map_or_else(jars, PathBuf::from);
        let variable = format!("DISCODIFF_TEST_{}", service.to_uppercase());
        if std::env::var_os(&variable).is_none() || !(service == "postgres" || jars.join(service).is_dir()) {
            println!("skipped: {variable} is not set, or there are no jars in {}", jars.display());
            return None;
        }
        // Where PostgreSQL may run as another user.
        let folder = std::env::var_os("SERVICES_DIR").map_or_else(|| env!("CARGO_TARGET_TMPDIR").into(), PathBuf::from);
        let server = Server { service, folder: folder.join(format!("{name}-{}", std::process::id())), jars };
        server.start();
        Some(server)
    }

    fn services(&self, what: &str) -> std::process::Output {
        let mut command = Command::new("bash");
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/services.sh")).args([what, self.service]);
        command.env("SERVICES_DIR", &self.folder).env("SERVICES_LIB", &self.jars).env("KAFKA_HEAP", "256m").env("NEO4J_HEAP", "512m");
        for port in ["KAFKA_PORT", "KAFKA_CONTROLLER_PORT", "POSTGRES_PORT", "NEO4J_PORT", "NEO4J_HTTP_PORT"] {
            command.env_remove(port);
        }
        command.stdin(Stdio::null()).output().expect("bash starts")
    }

    fn start(&self) {
        let output = self.services("start");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Its address, as tests are told of the server that they share.
    fn address(&self) -> String {
        let told = String::from_utf8(self.services("env").stdout).expect("text");
        let variable = format!("DISCODIFF_TEST_{}=", self.service.to_uppercase());
        let address = told.lines().find_map(|line| line.trim_start_matches("export ").strip_prefix(&variable)).expect("an address");
        address.trim_matches('\'').to_owned()
    }

    fn broker(&self, prefix: &str) -> Broker {
        Broker::at(&self.address(), prefix)
    }

    /// Ends it by a signal, and waits until it has ended.
    fn end(&self, signal: &str) {
        fault("a server ended");
        let noted = std::fs::read_to_string(self.folder.join("pid").join(self.service)).expect("a pid");
        let pid = noted.split_whitespace().next().expect("a pid");
        send(pid.parse().expect("a number"), signal);
        let begun = Instant::now();
        while std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(begun.elapsed() < Duration::from_secs(60), "the server does not end");
            sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::fs::read(self.folder.join("pid").join(self.service)).is_ok() {
            self.services("stop");
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn send(pid: u32, signal: &str) {
    assert!(Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status().expect("kill starts").success());
}

/// The program under way, with places where it waits or is less patient.
fn started(home: &Home, line: &str, points: &str) -> Child {
    let mut command = home.command(line);
    command.env("FAILPOINTS", points).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
}

fn ended(child: Child) -> Ran {
    Ran::of(&child.wait_with_output().expect("ended"))
}

fn publish(broker: &Broker, month: usize) -> String {
    format!("publish --json {} --dumps {}", broker.flags(), small().folders()[month].display())
}

fn refresh(broker: &Broker, state: &str) -> String {
    format!("refresh --kafka --json {} --state {state} --sqlite {state}.sqlite", broker.flags())
}

/// Waits until so many records of a kind are committed.
fn committed(broker: &Broker, topic: &str, records: usize) {
    let begun = Instant::now();
    while broker.records(topic).len() < records {
        assert!(begun.elapsed() < Duration::from_secs(60), "{topic}");
        sleep(Duration::from_millis(20));
    }
}

/// Waits until a refresh has begun to read the topics.
fn begun(home: &Home, state: &str) {
    let begun = Instant::now();
    while !std::fs::read_to_string(home.path(&format!("{state}/manifest.json"))).is_ok_and(|text| text.contains("\"begun\": {")) {
        assert!(begun.elapsed() < Duration::from_secs(60), "{state}");
        sleep(Duration::from_millis(20));
    }
    sleep(Duration::from_millis(500));
}

/// A publisher that waits after its third transaction, or in its fourth, for some seconds.
fn pausing(place: &str, milliseconds: u32) -> String {
    format!("transaction-records=return(25);{place}=3*off->1*sleep({milliseconds})->off")
}

#[test]
fn a_broker_that_stops_and_starts_again_costs_time_and_nothing_else() {
    let Some(server) = Server::new("kafka", "restarted") else { return };
    let home = Home::new();
    home.refresh(&small().folders()[0], "--state files --sqlite files.sqlite").json(0);
    for (signal, place) in [("KILL", "in-transaction"), ("TERM", "after-transaction")] {
        let broker = server.broker(signal);
        let publisher = started(&home, &format!("{} --partitions 4", publish(&broker, 0)), &pausing(place, 4000));
        committed(&broker, "artists", 75);
        sleep(Duration::from_millis(500));
        server.end(signal);
        sleep(Duration::from_secs(2));
        server.start();
        ended(publisher).json(0);
        for kind in KINDS {
            let records = broker.records(&format!("{kind}s"));
            assert!(!records.is_empty() && records.values().all(|times| *times == 1), "{kind}s after SIG{signal}");
        }
        // Two kinds are read, and the last one is not asked for yet.
        let reader = started(&home, &refresh(&broker, signal), "before-topic=3*off->1*sleep(4000)->off");
        begun(&home, signal);
        server.end(signal);
        sleep(Duration::from_secs(2));
        server.start();
        ended(reader).json(0);
        assert_same(&home.sqlite(&format!("{signal}.sqlite")), &home.sqlite("files.sqlite"), "through a broker that was away");
    }
}

#[test]
fn a_broker_that_stays_away_is_told_when_patience_is_over_and_the_same_command_goes_on_later() {
    let Some(server) = Server::new("kafka", "gone") else { return };
    let (broker, home) = (server.broker("gone"), Home::new());
    home.refresh(&small().folders()[0], "--state files --sqlite files.sqlite").json(0);
    let artists = || broker.records("artists").len();

    // The user stops a publisher: what it had open is ended, what it committed stays.
    let publisher = started(&home, &format!("{} --partitions 4", publish(&broker, 0)), &pausing("in-transaction", 3000));
    committed(&broker, "artists", 75);
    send(publisher.id(), "TERM");
    let stopped = ended(publisher);
    assert_eq!((stopped.status, stopped.stdout.as_str()), (Some(4), ""), "{}", stopped.stderr);
    stopped.said(&["stopped on request: what was published so far stays, and the same command goes on from there"]);
    let early = home.run(&refresh(&broker, "early"));
    assert_eq!(early.json(0)["kinds"], serde_json::json!({}));
    early.said(&["(2026-01, attempt 1) is not complete", "records so far"]);

    // A publisher that is killed in a transaction leaves it open; that holds no refresh up, nor the next publisher.
    let before = artists();
    let publisher = started(&home, &publish(&broker, 0), &pausing("in-transaction", 60_000));
    committed(&broker, "artists", before + 75);
    sleep(Duration::from_millis(500));
    send(publisher.id(), "KILL");
    ended(publisher);
    let begun_at = Instant::now();
    home.run(&refresh(&broker, "early")).said(&["(2026-01, attempt 1) is not complete"]);
    assert!(begun_at.elapsed() < Duration::from_secs(10), "{:?}", begun_at.elapsed());

    // The broker goes while it is published to.
    let before = artists();
    let publisher = started(&home, &publish(&broker, 0), &format!("{};patience=return(6)", pausing("after-transaction", 3000)));
    committed(&broker, "artists", before + 75);
    server.end("KILL");
    let gone = Instant::now();
    let ran = ended(publisher);
    ran.refused(&["the brokers do not take what is sent", "Connection refused", "the same command goes on from there"]);
    assert!(gone.elapsed() < Duration::from_secs(40), "{:?} {}", gone.elapsed(), ran.stderr);
    home.run(&publish(&broker, 0)).refused(&["no Kafka broker answers at", "Connection refused"]);
    server.start();
    home.run(&publish(&broker, 0)).json(0);
    assert!(KINDS.iter().all(|kind| broker.records(&format!("{kind}s")).values().all(|times| *times == 1)));

    // And while it is read from.
    let reader = started(&home, &refresh(&broker, "state"), "before-topic=3*off->1*sleep(2000)->off;patience=return(6)");
    begun(&home, "state");
    server.end("KILL");
    let gone = Instant::now();
    let ran = ended(reader);
    ran.refused(&["nothing has come from partition 0 of gone.releases for 6 s", "Connection refused", "Run the same command again"]);
    assert!(gone.elapsed() < Duration::from_secs(40), "{:?}", gone.elapsed());
    server.start();
    home.run(&refresh(&broker, "state")).json(0);
    assert_same(&home.sqlite("state.sqlite"), &home.sqlite("files.sqlite"), "after a broker that stayed away");
}

/// Waits until something of an epoch is written: all sinks are begun by then.
fn written(home: &Home, epoch: usize) {
    let begun = Instant::now();
    let count = || {
        let sqlite = rusqlite::Connection::open(home.path("store.sqlite")).ok()?;
        let sql = format!("SELECT count(*) FROM changes WHERE epoch = {epoch}");
        sqlite.query_row(&sql, [], |row| row.get::<_, i64>(0)).ok()
    };
    while count().unwrap_or(0) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing was written");
        sleep(Duration::from_millis(20));
    }
}

/// A store that goes away in the midst of a month, and is back after [`AWAY`].
fn store_that_goes_away(server: &Server, signal: &str, sink: &str) -> Home {
    let home = Home::new();
    let line =
        |month: usize| format!("refresh --json --state state {sink} --sqlite store.sqlite --dumps {}", small().folders()[month].display());
    for month in 0..2 {
        let points = "block-records=return(40);batch-rows=return(60);before-block=sleep(60)";
        let run = started(&home, &line(month), points);
        written(&home, month + 1);
        server.end(signal);
        sleep(AWAY);
        server.start();
        let ran = ended(run);
        ran.json(0);
        ran.said(&["trying again"]);
    }
    assert_eq!(home.run(&format!("verify --json --state state {sink} --sqlite store.sqlite")).json(0)["equal"], true);
    home
}

#[test]
fn a_postgres_that_is_away_for_twenty_seconds_costs_time_and_nothing_else() {
    let Some(server) = Server::new("postgres", "away") else { return };
    let home = store_that_goes_away(&server, "INT", &format!("--postgres {}", server.address()));
    let database = super::harness::Database::at(&server.address());
    assert_same(&database.rows(), &home.sqlite("store.sqlite"), "PostgreSQL and SQLite");
    let changes = "SELECT epoch || ' ' || kind || ' ' || id || ' ' || op || ' ' || coalesce(fields::text, '') FROM changes";
    let told = home.told("store.sqlite").into_iter().filter_map(|line| line.strip_prefix("change ").map(str::to_owned));
    let plain = |line: String| line.replace(", ", ",");
    assert!(database.texts(changes).into_iter().map(plain).collect::<std::collections::BTreeSet<_>>() == told.collect(), "changes");
}

#[test]
fn a_neo4j_that_is_away_for_twenty_seconds_costs_time_and_nothing_else() {
    let Some(server) = Server::new("neo4j", "gone-graph") else { return };
    store_that_goes_away(&server, "KILL", &format!("--neo4j {}", server.address()));
}
