//! A faulty network between the program and its servers. What passes costs time and nothing else; what does not pass is told in words,
//! in bounded time, and the same command goes on.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::broker::Broker;
use super::generated::small;
use super::graph::Server;
use super::harness::{Database, Home, KINDS, Ran, assert_same, count};
use super::kafka::{by_files, noise};
use super::proxy::{Proxy, Side, Snare, Then};

/// Small blocks and batches, so that a month has many, read slowly enough that all troubles fall into one.
const SLOWLY: &str = "block-records=return(40);before-block=sleep(40);batch-rows=return(40)";

const CHANGES: &str = "SELECT epoch || ' ' || kind || ' ' || id || ' ' || op || ' ' || coalesce(fields::text, '') FROM changes";

/// The commit of a writer's transaction to PostgreSQL, after so many others.
fn postgres_commit(after: usize, then: Then) -> Snare {
    Snare { first: |piece| has(piece, b"UPDATE watermarks SET state"), seen: |piece| has(piece, b"COMMIT\0"), after, then }
}

/// The same to Neo4j: Bolt's message 0x12, without fields.
fn neo4j_commit(after: usize, then: Then) -> Snare {
    Snare { first: |piece| has(piece, b"SET w.state = $state"), seen: |piece| has(piece, &[0xb0, 0x12]), after, then }
}

fn has(piece: &[u8], what: &[u8]) -> bool {
    piece.windows(what.len()).any(|bytes| bytes == what)
}

fn month(number: usize) -> PathBuf {
    small().folders()[number].clone()
}

fn host(url: &str) -> &str {
    url.rsplit_once('@').expect("a user").1.split('/').next().expect("a host")
}

/// The URL by way of the proxy, which is to see what is said.
fn in_the_clear(proxy: &Proxy, url: &str) -> String {
    format!("{}?sslmode=disable", proxy.instead(url))
}

/// A refresh of a month that is under way, and reads slowly.
fn start(home: &Home, number: usize, sinks: &str, points: &str) -> Child {
    let mut command = home.refreshing(&month(number), sinks);
    command.env("FAILPOINTS", format!("{SLOWLY};{points}")).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("it starts")
}

fn ended(child: Child) -> Ran {
    Ran::of(&child.wait_with_output().expect("ended"))
}

/// Everything that a network does to a run and that passes.
fn trouble(proxy: &Proxy, child: &mut Child, between: u64) {
    for number in 0..7 {
        proxy.await_traffic(between, child);
        match number {
            0..=2 => proxy.cut(),
            3 => {
                proxy.stall(true);
                sleep(Duration::from_secs(2));
                proxy.stall(false);
            }
            4 => proxy.half_close(Side::Server),
            5 => proxy.half_close(Side::Client),
            _ => {
                proxy.refuse(true);
                sleep(Duration::from_millis(500));
                proxy.refuse(false);
            }
        }
    }
    proxy.await_traffic(between, child);
}

#[test]
fn postgres_behind_a_network_that_cuts_stalls_and_half_closes_holds_the_rows_and_changes_of_an_undisturbed_run() {
    let (Some(database), Some(undisturbed)) = (Database::new(), Database::new()) else { return };
    let (home, url) = (Home::new(), database.url());
    let proxy = Proxy::before(host(&url));
    for number in 0..2 {
        let mut child = start(&home, number, &format!("-w 2 --postgres {}", in_the_clear(&proxy, &url)), "");
        if number == 0 {
            proxy.await_traffic(100_000, &mut child);
            trouble(&proxy, &mut child, 30_000);
        } else {
            proxy.lay(postgres_commit(3, Then::Cut));
        }
        let ran = ended(child);
        ran.json(0);
        ran.said(&["trying again in"]);
        home.refresh(&month(number), &format!("--state other --postgres {}", undisturbed.url())).json(0);
    }
    assert_same(&database.rows(), &undisturbed.rows(), "rows");
    assert_eq!(database.texts(CHANGES), undisturbed.texts(CHANGES));
    assert_eq!(home.run(&format!("verify --state state --json --postgres {url}")).json(0)["equal"], true);
}

#[test]
fn neo4j_behind_a_network_that_cuts_stalls_and_half_closes_holds_the_graph_of_an_undisturbed_run() {
    let Some(server) = Server::new() else { return };
    let home = Home::new();
    (0..2).for_each(|number| drop(home.refresh(&month(number), &format!("--state other {}", server.sink())).json(0)));
    let expected = server.save(&home.path("undisturbed"));
    server.empty();
    let (sink, proxy) = (server.sink(), Proxy::before(host(&server.sink())));
    for number in 0..2 {
        let mut child = start(&home, number, &proxy.instead(&sink), "");
        if number == 0 {
            proxy.lay(neo4j_commit(2, Then::Cut));
            proxy.await_snare(&mut child);
            trouble(&proxy, &mut child, 15_000);
        } else {
            proxy.lay(neo4j_commit(2, Then::Cut));
        }
        let ran = ended(child);
        ran.json(0);
        ran.said(&["trying again in"]);
    }
    assert!(server.save(&home.path("disturbed")) == expected, "nodes and relationships");
}

/// The one listener whose clients are told to come to the proxy.
struct Proxied {
    /// Taken out first, it is dropped after the proxy, which has the port until then.
    _one: MutexGuard<'static, ()>,
    proxy: Proxy,
}

impl Proxied {
    /// `None`, with a word, where the broker has none.
    fn new() -> Option<Proxied> {
        static ONE: Mutex<()> = Mutex::new(());
        let variable = |name: &str| std::env::var(format!("DISCODIFF_TEST_KAFKA_{name}")).ok();
        let (Some(proxied), Some(proxy)) = (variable("PROXIED"), variable("PROXY")) else {
            println!("skipped: DISCODIFF_TEST_KAFKA_PROXIED and DISCODIFF_TEST_KAFKA_PROXY are not set (scripts/services.sh env kafka)");
            return None;
        };
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Proxied { _one: one, proxy: Proxy::at(&proxy, &proxied) })
    }
}

/// Published or refreshed by way of the proxy, slowly.
fn start_by(proxy: &Proxy, broker: &Broker, home: &Home, line: &str, points: &str) -> Child {
    let mut command = home.command(&format!("{line} --json --brokers {} --topic-prefix {}", proxy.address, broker.prefix));
    command.env("FAILPOINTS", format!("{SLOWLY};transaction-records=return(100);after-transaction=sleep(30);{points}"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
}

#[test]
fn what_is_published_through_a_network_that_cuts_stalls_and_half_closes_is_there_once() {
    let (Some(broker), Some(Proxied { _one, proxy })) = (Broker::new(), Proxied::new()) else { return };
    let home = Home::new();
    let mut child = start_by(&proxy, &broker, &home, &format!("publish --partitions 3 --dumps {}", month(0).display()), "");
    proxy.await_traffic(60_000, &mut child);
    trouble(&proxy, &mut child, 8_000);
    ended(child).json(0);
    home.apply_topics(&broker, "--sqlite store.sqlite").json(0);
    assert_same(&home.sqlite("store.sqlite"), &by_files(&[month(0)]).0.sqlite("files.sqlite"), "from topics");
    for kind in KINDS {
        assert!(broker.records(&format!("{kind}s")).values().all(|times| *times == 1), "each record of {kind} once");
    }
}

#[test]
fn topics_behind_a_network_that_cuts_stalls_and_half_closes_are_read_and_written_as_by_an_undisturbed_run() {
    let (Some(broker), Some(Proxied { _one, proxy })) = (Broker::new(), Proxied::new()) else { return };
    let home = Home::new();
    let (files, _) = by_files(&[month(0)]);
    home.publish(&month(0), &broker, "--partitions 3").json(0);
    let sinks = format!("--feed kafka:{} --document-topics {}", broker.topic("changes"), broker.topic("docs"));
    let refresh = format!("refresh --kafka --state state --partitions 3 --sqlite store.sqlite {sinks}");
    let mut child = start_by(&proxy, &broker, &home, &refresh, "");
    proxy.await_traffic(200_000, &mut child);
    trouble(&proxy, &mut child, 60_000);
    ended(child).json(0);
    let expected = files.sqlite("files.sqlite");
    assert_same(&home.sqlite("store.sqlite"), &expected, "SQLite");
    assert_eq!(changes_of(&home, "store.sqlite"), changes_of(&files, "files.sqlite"));
    assert_same(&broker.folded(), &expected, "the feed folded");
    assert!(broker.changes().values().all(|times| *times == 1), "each change once");
    assert_same(&broker.rows(), &expected, "topics of documents");
}

fn changes_of(home: &Home, sqlite: &str) -> BTreeSet<String> {
    home.told(sqlite).into_iter().filter(|line| line.starts_with("change ")).collect()
}

#[test]
fn a_server_that_takes_connections_and_says_nothing_is_told_by_every_command() {
    let home = Home::new();
    home.refresh(&month(0), "--null").json(0);
    // The system completes connections for whom nobody accepts them.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (address, dumps) = (listener.local_addr().expect("an address"), month(1));
    let commands = ["status --state state", "check", "verify --state state", &format!("refresh --state state --dumps {}", dumps.display())];
    for sink in [format!("--postgres postgres://u:p@{address}/db"), format!("--neo4j bolt://u:p@{address}")] {
        for command in commands {
            let begun = Instant::now();
            let mut command = home.command(&format!("{command} {sink}"));
            let ran = Ran::of(&command.env("FAILPOINTS", "patience=return(1)").output().expect("it starts"));
            assert_eq!(ran.status, Some(1), "{command:?}: {}", ran.stderr);
            let said = format!("{}{}", ran.stdout, ran.stderr);
            assert!(said.contains(&address.to_string()) && said.contains("no answer within"), "{command:?}: {said}");
            assert!(begun.elapsed() < Duration::from_secs(6), "{command:?}: {:?}", begun.elapsed());
        }
    }
}

const SILENT: &str = "no answer within 2 s; see whether the server hangs";

/// A run of a month whose server falls silent for good, then and there, is given up with these words.
fn silenced(home: &Home, sink: &str, proxy: &Proxy, snare: Snare, words: &[&str]) {
    proxy.lay(snare);
    let mut child = start(home, 0, sink, "patience=return(2)");
    proxy.await_snare(&mut child);
    let begun = Instant::now();
    let ran = ended(child);
    ran.refused(words);
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}: {}", begun.elapsed(), ran.stderr);
    proxy.cut();
    proxy.stall(false);
}

#[test]
fn a_postgres_that_falls_silent_for_good_is_told_wherever_the_run_stands_and_the_same_command_goes_on() {
    let Some(database) = Database::new() else { return };
    let (home, url) = (Home::new(), database.url());
    let proxy = Proxy::before(host(&url));
    let sink = format!("--postgres {}", in_the_clear(&proxy, &url));
    let (place, any): (_, fn(&[u8]) -> bool) = (proxy.address.to_string(), |_| true);
    let words = ["PostgreSQL database", &place, SILENT];
    for seen in [
        // It is bound; a batch is copied.
        (|piece: &[u8]| has(piece, b"INSERT INTO binding")) as fn(&[u8]) -> bool,
        |piece| has(piece, b"FROM STDIN (FORMAT binary)"),
        // The last step.
        |piece| has(piece, b"UPDATE snapshots SET sha256"),
    ] {
        silenced(&home, &sink, &proxy, Snare { first: any, seen, after: 0, then: Then::Stall }, &words[..2]);
    }
    silenced(&home, &sink, &proxy, postgres_commit(3, Then::Stall), &words);
    home.refresh(&month(0), &sink).json(0);
    home.refresh(&month(0), "--state other --sqlite other.sqlite").json(0);
    assert_same(&database.rows(), &home.sqlite("other.sqlite"), "PostgreSQL");
}

#[test]
fn a_neo4j_that_falls_silent_for_good_is_told_wherever_the_run_stands_and_the_same_command_goes_on() {
    let Some(server) = Server::new() else { return };
    let home = Home::new();
    let proxy = Proxy::before(host(&server.sink()));
    let (sink, place) = (proxy.instead(&server.sink()), proxy.address.to_string());
    let words = ["Neo4j at", &place, SILENT];
    let any: fn(&[u8]) -> bool = |_| true;
    let seen: [fn(&[u8]) -> bool; 2] = [|piece| has(piece, b"SET w.state = $state"), |piece| has(piece, b"s.completed_at = datetime()")];
    for seen in seen {
        silenced(&home, &sink, &proxy, Snare { first: any, seen, after: 0, then: Then::Stall }, &words);
    }
    silenced(&home, &sink, &proxy, neo4j_commit(3, Then::Stall), &words);
    home.refresh(&month(0), &sink).json(0);
    server.assert_is(&month(0), None);
}

#[test]
fn brokers_that_fall_silent_for_good_are_told_and_the_same_command_goes_on() {
    let (Some(broker), Some(Proxied { _one, proxy })) = (Broker::new(), Proxied::new()) else { return };
    let home = Home::new();
    home.publish(&month(0), &broker, "--partitions 3").json(0);
    let refresh = |sink: &str| format!("refresh --kafka --partitions 3 --state state {sink}");
    let given_up = |child: Child, words: &[&str]| {
        let begun = Instant::now();
        let ran = ended(child);
        ran.refused(words);
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}: {}", begun.elapsed(), ran.stderr);
        proxy.cut();
        proxy.stall(false);
    };
    // While it is read from: two kinds are, and the last one is not asked for yet.
    let points = "patience=return(3);before-topic=3*off->1*sleep(1500)->off";
    let mut child = start_by(&proxy, &broker, &home, &refresh("--sqlite store.sqlite"), points);
    while std::fs::metadata(home.path("store.sqlite")).map_or(0, |file| file.len()) < 300_000 {
        assert!(child.try_wait().expect("asked").is_none(), "it has begun");
        sleep(Duration::from_millis(10));
    }
    proxy.stall(true);
    given_up(child, &["nothing has come from partition", "for 3 s", "Run the same command again"]);
    home.run(&format!("{} --brokers {} --topic-prefix {}", refresh("--sqlite store.sqlite"), proxy.address, broker.prefix));
    // While it is written to.
    let sink = format!("--state other --partitions 3 --brokers {} --feed kafka:{}", proxy.address, broker.topic("changes"));
    let mut child = start(&home, 0, &sink, "patience=return(3)");
    proxy.await_traffic(100_000, &mut child);
    proxy.stall(true);
    given_up(child, &[&proxy.address.to_string(), "run the same command again"]);
    home.refresh(&month(0), &sink).json(0);
    assert!(broker.changes().values().all(|times| *times == 1), "each change once");
    let files = by_files(&[month(0)]).0;
    assert_same(&home.sqlite("store.sqlite"), &files.sqlite("files.sqlite"), "SQLite");
    assert_same(&broker.folded(), &files.sqlite("files.sqlite"), "the feed folded");
}

#[test]
fn positions_that_brokers_do_not_take_hold_up_no_run_whose_month_is_done() {
    let (Some(broker), Some(Proxied { _one, proxy })) = (Broker::new(), Proxied::new()) else { return };
    let home = Home::new();
    home.publish(&month(0), &broker, "--partitions 3").json(0);
    let mut child = start_by(&proxy, &broker, &home, "refresh --kafka --state state --null", "before-state=sleep(1500)");
    while std::fs::read(home.path("state/g1-0.fingerprints")).is_err() {
        assert!(child.try_wait().expect("asked").is_none(), "it ends later");
        sleep(Duration::from_millis(10));
    }
    proxy.stall(true);
    let begun = Instant::now();
    let ran = ended(child);
    ran.json(0);
    ran.said(&["the positions of the group", "no answer within 10 s"]);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn a_batch_of_postgres_whose_commit_was_answered_to_nobody_is_neither_lost_nor_written_nor_counted_twice() {
    let Some(database) = Database::new() else { return };
    let (home, url) = (Home::new(), database.url());
    let proxy = Proxy::before(host(&url));
    let sink = format!("--postgres {}", in_the_clear(&proxy, &url));
    home.refresh(&month(0), &sink).json(0);
    // Every write of a row leaves a trace, one that changes nothing too.
    database.execute(
        "CREATE TABLE written (what text); CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
         'BEGIN INSERT INTO written VALUES (tg_table_name || tg_op || coalesce(new.data_id, old.data_id)); RETURN NULL; END'",
    );
    for kind in KINDS {
        database.execute(&format!("CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON {kind}s FOR EACH ROW EXECUTE FUNCTION note()"));
    }
    for number in 1..3 {
        proxy.lay(postgres_commit(number, Then::Cut));
        let ran = ended(start(&home, number, &sink, ""));
        let report = ran.json(0);
        assert_eq!(proxy.snared(), number, "an answer was lost");
        for what in ["inserted", "updated", "deleted"] {
            let of_kinds: u64 = KINDS.iter().map(|kind| count(&report, kind, what)).sum();
            assert_eq!(report["sinks"]["postgres"][what], of_kinds, "{what}: {}", ran.stderr);
        }
        assert_eq!(database.texts("SELECT what FROM written GROUP BY 1 HAVING count(*) > 1"), BTreeSet::new());
        database.execute("TRUNCATE written");
    }
    (0..3).for_each(|number| drop(home.refresh(&month(number), "--state other --sqlite other.sqlite").json(0)));
    assert_same(&database.rows(), &home.sqlite("other.sqlite"), "PostgreSQL");
}

#[test]
fn a_batch_of_neo4j_whose_commit_was_answered_to_nobody_is_neither_lost_nor_counted_twice() {
    let Some(server) = Server::new() else { return };
    let home = Home::new();
    let proxy = Proxy::before(host(&server.sink()));
    for number in 0..2 {
        proxy.lay(neo4j_commit(3, Then::Cut));
        let report = ended(start(&home, number, &proxy.instead(&server.sink()), "")).json(0);
        assert_eq!(proxy.snared(), number + 1, "an answer was lost");
        let inserted: u64 = KINDS.iter().map(|kind| count(&report, kind, "inserted")).sum();
        assert_eq!(report["sinks"]["neo4j"]["inserted"], inserted);
        server.assert_is(&month(number), None);
    }
}

/// Some firewalls forget a connection: neither side hears of it, and a new one is welcome.
#[test]
fn a_connection_that_the_network_has_forgotten_is_replaced_and_what_it_had_locked_is_let_go() {
    let Some(database) = Database::new() else { return };
    let (home, url) = (Home::new(), database.url());
    let proxy = Proxy::before(host(&url));
    let mut child = start(&home, 0, &format!("--postgres {}", in_the_clear(&proxy, &url)), "patience=return(5)");
    proxy.await_traffic(100_000, &mut child);
    proxy.forget();
    let ran = ended(child);
    ran.json(0);
    ran.said(&["no answer within 5 s", "trying again in"]);
    home.refresh(&month(0), "--state other --sqlite other.sqlite").json(0);
    assert_same(&database.rows(), &home.sqlite("other.sqlite"), "PostgreSQL");
}

#[test]
fn a_sink_that_is_slow_makes_the_source_wait_and_memory_stays_within_its_bound() {
    let Some(database) = Database::new() else { return };
    let (home, url) = (Home::new(), database.url());
    // 150 MB, and as much again as documents: far more than may be in flight.
    let notes = noise(50_000);
    let releases: String =
        (1..=3_000).map(|id| format!("<release id=\"{id}\"><title>T</title><notes>{notes}</notes></release>\n")).collect();
    let dumps = home.dumps("2026-01", &[("releases", format!("<releases>\n{releases}</releases>\n").as_bytes())]);
    let proxy = Proxy::before(host(&url));
    let mut command = home.refreshing(&dumps, &format!("--memory 64MiB --postgres {}", in_the_clear(&proxy, &url)));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    proxy.await_traffic(2_000_000, &mut child);
    proxy.slow_down(200_000);
    sleep(Duration::from_secs(8));
    assert!(child.try_wait().expect("asked").is_none(), "it waits");
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("Linux");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak").trim().trim_end_matches(" kB");
    let peak = peak.parse::<u64>().expect("a number") / 1024;
    println!("peak {peak} MiB");
    assert!(peak < 64 + 160, "{peak} MiB");
    proxy.slow_down(0);
    ended(child).json(0);
    assert_eq!(database.rows().len(), 3_000);
}
