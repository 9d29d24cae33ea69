//! What goes wrong in the first hour, told in words that name the thing and say what to do.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::thread;

use super::broker::Broker;
use super::generated::small;
use super::graph::Server;
use super::harness::{Database, Home, gzip};

/// Runs it, and holds its status and words against what is due.
#[track_caller]
fn assert_told(home: &Home, line: &str, status: i32, words: &[&str]) {
    let ran = home.run(line);
    assert_eq!(ran.status, Some(status), "{line}: {}{}", ran.stdout, ran.stderr);
    ran.said(words);
}

/// A month of labels under a name, the rest of it as given.
fn month(home: &Home, folder: &str, file: &str, bytes: &[u8]) {
    fs::create_dir_all(home.path(folder)).expect("made");
    fs::write(home.path(folder).join(file), bytes).expect("written");
}

#[test]
fn a_folder_that_holds_no_month_is_told_apart_from_one_that_is_not_there_and_from_a_file() {
    let home = Home::new();
    month(&home, "unnamed", "labels.xml.gz", b"");
    month(&home, "half", "discogs_20260101_labels.xml.gz.crdownload", b"");
    month(&home, "above/2026-01", "discogs_20260101_labels.xml", b"<labels></labels>");
    fs::create_dir(home.path("empty")).expect("made");
    for command in ["refresh", "plan"] {
        let told = |dumps: &str, words: &[&str]| {
            assert_told(&home, &format!("{command} --state state --dumps {dumps}"), 1, words);
        };
        told("nowhere", &["cannot read nowhere: it is not there; name the folder that holds a month's dump files"]);
        told("above/2026-01/discogs_20260101_labels.xml", &["it is a file; name the folder that it is in"]);
        told("empty", &["empty holds no dump", "discogs_YYYYMM01_artists.xml.gz", "the folder is empty"]);
        told("unnamed", &["labels.xml.gz is not named like that, and the month is taken from the name"]);
        told("half", &["discogs_20260101_labels.xml.gz.crdownload is not named like that"]);
        told("above", &["above/2026-01 does: name one month's folder"]);
    }
}

#[test]
fn a_file_that_is_no_dump_is_found_by_check_before_a_run_and_by_a_run() {
    let home = Home::new();
    let page = b"<!DOCTYPE html>\n<html><body>Too Many Requests</body></html>";
    let labels = b"<labels>\n<label><id>1</id><name>One</name></label>\n</labels>";
    let files: [(&str, &[u8], &str); 5] = [
        ("page", page, "the file is a web page, not a dump of labels: fetch it again"),
        ("packed-page", &gzip(page, 6), "the file is a web page, not a dump of labels: fetch it again"),
        ("nothing", b"", "the file is empty, without <labels>"),
        ("other", &gzip(b"<artists>\n</artists>", 6), "the file holds <artists>, not <labels>: it is another kind's or no dump"),
        ("cut", &gzip(labels, 6)[..30], "the gzip data is cut short: fetch the file again"),
    ];
    for (folder, bytes, words) in files {
        month(&home, folder, "discogs_20260101_labels.xml.gz", bytes);
        let checked = home.run(&format!("check --dumps {folder}"));
        assert_eq!(checked.status, Some(1), "{folder}: {}", checked.stdout);
        let line = checked.stdout.lines().find(|line| line.starts_with("dumps ") && line.contains("FAIL")).expect("it fails");
        assert!(line.contains("discogs_20260101_labels.xml.gz: ") && line.contains(words), "{line}");
        assert_told(&home, &format!("refresh --state state-{folder} --dumps {folder}"), 3, &["the dump of labels is not whole", words]);
    }
    // Unpacked ones will do, under either name.
    for (folder, file) in [("plain", "discogs_20260101_labels.xml"), ("misnamed", "discogs_20260101_labels.xml.gz")] {
        month(&home, folder, file, labels);
        assert_eq!(home.run(&format!("check --dumps {folder}")).status, Some(0));
        assert_eq!(home.run(&format!("refresh --state state-{folder} --dumps {folder}")).status, Some(0));
    }
}

#[test]
fn what_check_finds_well_is_what_a_refresh_can_use() {
    let home = Home::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    fs::create_dir(home.path("there")).expect("made");
    for (flags, line) in [
        ("--feed nodir/changes.jsonl".to_owned(), "feed      FAIL  nodir/changes.jsonl: there is no folder nodir; make it first"),
        ("--sqlite nodir/store.sqlite".to_owned(), "sqlite    FAIL  nodir/store.sqlite: there is no folder nodir; make it first"),
        ("--metrics-file nodir/run.prom".to_owned(), "metrics   FAIL  nodir/run.prom: there is no folder nodir; make it first"),
        ("--metrics-file nodir/".to_owned(), "metrics   FAIL  there is no folder nodir/; make it first"),
        (format!("--listen {port}"), "listen    FAIL  cannot listen on 127.0.0.1:"),
        ("--feed there/changes.jsonl".to_owned(), "feed      ok    new: it will get each change from the next run on"),
        ("--sqlite there/store.sqlite".to_owned(), "sqlite    ok    empty: it will be filled"),
        ("--metrics-file there/run.prom".to_owned(), "metrics   ok    metrics are kept in there/run.prom"),
        ("--metrics-file there".to_owned(), "metrics   ok    metrics are kept in there/discodiff-COMMAND.prom"),
        ("--listen 0".to_owned(), "listen    ok    "),
    ] {
        let ran = home.run(&format!("check {flags}"));
        assert_eq!(ran.status, Some(if line.contains("FAIL") { 1 } else { 0 }), "{flags}: {}", ran.stdout);
        assert!(ran.stdout.contains(line), "{line} is not in\n{}", ran.stdout);
    }
    assert!(!home.path("nodir").exists() && fs::read_dir(home.path("there")).expect("listed").next().is_none(), "nothing is written");
}

#[test]
fn settings_that_are_wrong_are_told_with_what_is_right_and_nothing_is_begun() {
    let home = Home::new();
    fs::create_dir(home.path("folder")).expect("made");
    fs::write(home.path("empty"), "\n").expect("written");
    fs::write(home.path("wrong.toml"), "wrokers = 3").expect("written");
    let refresh = "refresh --state state --dumps dumps";
    let postgres = "--postgres postgresql://me@127.0.0.1:1/db --postgres-password-file";
    for (more, words) in [
        ("--workres 3", "a similar argument exists: '--workers'"),
        ("--workers 0", "--workers: \"0\" is wrong; right is a whole number from 1 to 64"),
        ("--config wrong.toml", "wrong.toml, line 1: wrokers: no such setting; did you mean workers?"),
        ("--config none.toml", "--config: none.toml cannot be read: it is not there"),
        ("--postgres localhost", "right is a URL such as postgresql://user@host:5432/database"),
        ("--postgres mysql://localhost", "--postgres: a URL of another scheme is wrong; right is a URL such as postgresql://"),
        ("--neo4j http://localhost:7474", "--neo4j: http is how Neo4j's browser is reached; name the Bolt connector"),
        ("--neo4j mysql://localhost", "right is a URL such as bolt://user@host:7687"),
        ("--brokers localhost --feed kafka:changes", "right is host:port"),
    ] {
        assert_told(&home, &format!("{refresh} {more}"), 2, &[words]);
    }
    month(&home, "dumps", "discogs_20260101_labels.xml", b"<labels></labels>");
    for (file, words) in [
        ("none", "--postgres-password-file: none cannot be read: it is not there"),
        ("folder", "--postgres-password-file: folder cannot be read: it is a folder; name a file in it"),
        ("empty", "--postgres-password-file: empty holds no password, it is empty"),
    ] {
        assert_told(&home, &format!("{refresh} {postgres} {file}"), 2, &[words]);
    }
    assert_told(&home, "refersh", 2, &["a similar subcommand exists: 'refresh'"]);
    assert!(!home.path("state/manifest.json").exists());
}

#[test]
fn a_state_that_cannot_be_one_is_told() {
    let (home, months) = (Home::new(), small().folders());
    fs::write(home.path("file"), "").expect("written");
    home.refresh(&months[0], "--state file").refused(&["cannot create the folder file: a file is in the way; name a folder"]);
    home.refresh(&months[0], "").json(0);
    let manifest = home.path("state/manifest.json");
    let text = fs::read_to_string(&manifest).expect("a manifest");
    let at = text.find("\"format\": ").expect("a format") + "\"format\": ".len();
    fs::write(&manifest, format!("{}9{}", &text[..at], &text[at..])).expect("written");
    home.refresh(&months[1], "").refused(&["manifest.json: the state was written by a newer discodiff", "use that version"]);
    for command in ["status", "verify"] {
        assert_told(&home, &format!("{command} --state nowhere"), 1, &["there is no state in nowhere"]);
    }
}

#[test]
fn a_postgres_that_does_not_let_it_in_or_is_none_is_told_with_what_to_do() {
    let Some(database) = Database::new() else { return };
    let (home, months) = (Home::new(), small().folders());
    let url = database.url();
    let (before, place) = url.split_once('@').expect("a user");
    let (user, _) = before.rsplit_once(':').expect("a password");
    let (address, name) = place.split_once('/').expect("a database");
    fs::write(home.path("wrong"), "wrong").expect("written");
    let told = |sink: &str, words: &[&str]| {
        home.refresh(&months[0], sink).refused(words);
    };
    told(&format!("--postgres {user}@{place} --postgres-password-file wrong"), &["the server refuses this user or password; check both"]);
    told(&format!("--postgres {user}@{place}"), &["no password was given: name its file with --postgres-password-file"]);
    told(&format!("--postgres {before}@{address}/nowhere"), &["there is no such database; make it with CREATE DATABASE"]);
    told(&format!("--postgres {before}@127.0.0.1:1/{name}"), &["no server answers there; check host and port, and that it runs"]);
    // Says what a web server says, hears the rest, and hangs up.
    let http = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = http.local_addr().expect("its address").port();
    let server = thread::spawn(move || {
        let (mut client, _) = http.accept().expect("a client");
        client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").expect("sent");
        client.shutdown(Shutdown::Write).expect("said all");
        let _ = client.read_to_end(&mut Vec::new());
    });
    told(&format!("--postgres {before}@127.0.0.1:{port}/{name}?sslmode=disable"), &["what answers there is no PostgreSQL; name its port"]);
    server.join().expect("ended");
    // A user without rights, and a search path that leads nowhere.
    let role = format!("{name}_weak");
    database.execute(&format!("CREATE ROLE {role} LOGIN PASSWORD 'weak'; REVOKE CREATE ON SCHEMA public FROM PUBLIC"));
    let weak = format!("--postgres postgresql://{role}:weak@{place}");
    told(&weak, &["grant this user the privilege", "USAGE and CREATE on the schema"]);
    told(&format!("{weak}?options=-csearch_path%3Dnowhere"), &["make the schema (CREATE SCHEMA)"]);
    database.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
fn a_neo4j_that_does_not_let_it_in_or_is_none_is_told_with_what_to_do() {
    let Some(server) = Server::new() else { return };
    let (home, months) = (Home::new(), small().folders());
    let url = server.sink().replace("--neo4j ", "");
    let (scheme, rest) = url.split_once("://").expect("a URL");
    let (user, place) = rest.split_once('@').expect("a user");
    let (user, _) = user.split_once(':').expect("a password");
    let http = std::env::var("DISCODIFF_TEST_NEO4J_HTTP").expect("named");
    let (_, http) = http.split_once('@').expect("a user");
    let told = |sink: String, words: &[&str]| {
        home.refresh(&months[0], &format!("--neo4j {sink}")).refused(words);
    };
    told(format!("{scheme}://{user}@{place}"), &["no password was given: name its file with --neo4j-password-file"]);
    told(format!("{scheme}://{user}:wrong@{place}"), &["the server refuses this user or password; check both"]);
    told(format!("{scheme}://{user}@127.0.0.1:1"), &["no server answers there; check host and port, and that it runs"]);
    told(format!("bolt://{user}:wrong@{}", http.trim_end_matches('/')), &["what answers there is no Neo4j", "7687"]);
}

#[test]
fn a_kafka_that_is_not_there_or_holds_nothing_is_told_with_what_to_do() {
    let Some(broker) = Broker::new() else { return };
    let home = Home::new();
    let refresh = |brokers: &str, words: &[&str]| {
        home.run(&format!("refresh --kafka {brokers} --state state")).refused(words);
    };
    refresh(&broker.flags(), &["there is no topic", "Publish dumps first (discodiff publish)"]);
    refresh("--brokers 127.0.0.1:1", &["no Kafka broker answers at 127.0.0.1:1", "Is it running, and is --brokers its host and port?"]);
}
