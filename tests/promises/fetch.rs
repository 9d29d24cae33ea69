//! Dumps come from a place that behaves as badly as the real one: whole, checked, with few requests, and whatever goes wrong is told and made
//! good by the same command.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509NameBuilder};

use super::disk::Small;
use super::generated::small;
use super::harness::{Home, Ran, assert_same, count};
use super::place::{Files, Instead, Pages, Place, checksum};

const KINDS: [&str; 4] = ["artists", "labels", "masters", "releases"];

/// What the environment says of proxies and certificates is left out.
pub fn alone(mut command: Command) -> Command {
    for name in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command
}

fn command(home: &Home, place: &Place, line: &str) -> Command {
    let mut command = alone(home.command(line));
    command.args(["--dumps", "dumps", "--fetch-url", &place.url()]);
    command
}

fn fetch(home: &Home, place: &Place, line: &str) -> Ran {
    Ran::of(&command(home, place, &format!("fetch {line}")).output().expect("it starts"))
}

fn refresh(home: &Home, place: &Place, line: &str) -> Ran {
    Ran::of(&command(home, place, &format!("refresh --json --fetch --state state {line}")).output().expect("it starts"))
}

/// A place that offers so many of the months.
fn offering(months: usize) -> Place {
    let place = Place::new();
    small().folders()[..months].iter().for_each(|folder| place.offer(folder));
    place
}

fn name(month: &str, kind: &str) -> String {
    format!("discogs_{month}01_{kind}.xml.gz")
}

/// What of a month is in its folder is what the place offers, and nothing else is there.
#[track_caller]
fn assert_whole(home: &Home, place: &Place, month: &str) {
    let folder = home.path("dumps").join(format!("{}-{}", &month[..4], &month[4..]));
    let mut there: Vec<_> =
        fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    there.sort();
    let mut names: Vec<_> = KINDS.map(|kind| name(month, kind)).into();
    names.insert(0, format!("discogs_{month}01_CHECKSUM.txt"));
    assert_eq!(there, names);
    assert!(names.iter().all(|name| fs::read(folder.join(name)).expect("read") == place.file(name)));
}

/// No file stands under its name, or beside it.
#[track_caller]
fn assert_lacks(home: &Home, name: &str) {
    for (path, _) in home.bytes("dumps") {
        let found = path.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(!found.starts_with(name), "{found} is there");
    }
}

#[test]
fn the_newest_month_comes_whole_with_seven_requests_over_one_connection() {
    for pages in [Pages::Html, Pages::Xml] {
        let (home, place) = (Home::new(), Place::of(pages, None));
        small().folders().iter().for_each(|folder| place.offer(folder));
        let ran = fetch(&home, &place, "--json").json(0);
        assert_whole(&home, &place, "202603");
        assert_eq!((ran["month"].as_str(), ran["folder"].as_str()), (Some("2026-03"), Some("dumps/2026-03")));
        for (kind, plural) in [("artist", "artists"), ("release", "releases")] {
            let bytes = place.file(&name("202603", plural)).len() as u64;
            assert_eq!((ran["files"][kind]["bytes"].as_u64(), ran["files"][kind]["fetched"].as_bool()), (Some(bytes), Some(true)));
        }
        let mut asked = vec![String::new(), "prefix=data%2F2026%2F".to_owned(), "discogs_20260301_CHECKSUM.txt".to_owned()];
        asked.extend(KINDS.map(|kind| name("202603", kind)));
        assert_eq!(place.asked(), asked);
        assert_eq!(place.connections(), (1, 1));
        for head in place.heads().iter().map(|head| head.to_lowercase()) {
            assert!(head.contains("user-agent: discodiff/") && !head.contains("range"), "{head}");
        }
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&home.path("dumps/2026-03")), mode(&home.path("dumps/2026-03/discogs_20260301_labels.xml.gz"))), (0o700, 0o600));
    }
}

#[test]
fn what_is_there_and_whole_is_not_fetched_again() {
    let (home, place) = (Home::new(), offering(2));
    let ran = fetch(&home, &place, "");
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.starts_with("2026-02 fetched into dumps/2026-02 in "), "{}", ran.stdout);
    place.asked();
    let ran = fetch(&home, &place, "");
    assert_eq!((ran.status, place.asked().len()), (Some(0), 3));
    assert!(ran.stdout.contains("2026-02 is there and whole, in dumps/2026-02: no dump was fetched"), "{}", ran.stdout);

    let folder = home.path("dumps/2026-02");
    fs::write(folder.join(name("202602", "masters")), "damaged").expect("written");
    fs::remove_file(folder.join(name("202602", "labels"))).expect("removed");
    // As of a run that was killed.
    fs::write(folder.join(name("202602", "labels") + ".part"), "half").expect("written");
    let ran = fetch(&home, &place, "--json").json(0);
    assert_eq!(place.asked()[3..], [name("202602", "labels"), name("202602", "masters")]);
    assert_eq!((ran["files"]["label"]["fetched"].as_bool(), ran["files"]["artist"]["fetched"].as_bool()), (Some(true), Some(false)));
    assert_whole(&home, &place, "202602");
}

#[test]
fn a_month_that_is_named_is_fetched_and_one_that_is_not_offered_is_told_with_those_that_are() {
    let (home, place) = (Home::new(), offering(3));
    assert_eq!(fetch(&home, &place, "--month 2026-01").status, Some(0));
    assert_whole(&home, &place, "202601");
    place.asked();
    fetch(&home, &place, "--month 2026-07")
        .refused(&["2026-07 is not offered by http://127.0.0.1", "of 2026 there is 2026-01, 2026-02, 2026-03"]);
    fetch(&home, &place, "--month 2019-07").refused(&["2019-07 is not offered", "there is nothing of 2019"]);
    assert_eq!(place.asked().len(), 2);
    place.remove("discogs_20260301_CHECKSUM.txt");
    place.remove(&name("202603", "releases"));
    let words = "2026-03 is not complete: artists, labels, masters are there, and CHECKSUM.txt, which comes last, is not";
    fetch(&home, &place, "--month 2026-03").refused(&[words, "run the same command again later"]);
    for wrong in ["2026-13", "202603", "2026-3x", "../etc"] {
        assert_eq!(fetch(&home, &place, &format!("--month {wrong}")).status, Some(2), "{wrong}");
    }
}

#[test]
fn a_month_that_is_being_published_is_passed_over_and_said() {
    let (home, place) = (Home::new(), offering(2));
    place.put(&name("202603", "labels"), "x");
    let ran = fetch(&home, &place, "");
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    ran.said(&["2026-03 is not complete: labels are there, and CHECKSUM.txt, which comes last, is not: it is passed over"]);
    assert_whole(&home, &place, "202602");
    // Of a month in which a file is replaced, CHECKSUM.txt may lack its line for a while, or go.
    let whole = place.file("discogs_20260201_CHECKSUM.txt");
    let lines = String::from_utf8(whole).expect("text");
    let without: String = lines.lines().filter(|line| !line.contains("artists")).map(|line| format!("{line}\n")).collect();
    place.put("discogs_20260201_CHECKSUM.txt", without);
    let ran = fetch(&home, &place, "--month 2026-02");
    ran.refused(&["2026-02 is not complete: discogs_20260201_CHECKSUM.txt says nothing of its artists"]);
    assert_eq!(fetch(&home, &place, "").status, Some(0));
    assert_whole(&home, &place, "202601");
    place.instead("discogs_20260201_CHECKSUM.txt", [Instead::Status(404, "")]);
    fetch(&home, &place, "--month 2026-02").refused(&["discogs_20260201_CHECKSUM.txt is listed and not there"]);
}

#[test]
fn a_place_that_wants_to_be_left_alone_is_for_as_long_as_it_says() {
    let (home, place) = (Home::new(), offering(1));
    let soon = time::OffsetDateTime::now_utc() + time::Duration::seconds(3);
    let date = soon.format(&time::format_description::well_known::Rfc2822).expect("a date").replace("+0000", "GMT");
    let by_date: &'static str = Box::leak(format!("retry-after: {date}\r\n").into_boxed_str());
    place.instead("prefix=data%2F2026%2F", [Instead::Status(429, "retry-after: 1\r\n")]);
    place.instead(&name("202601", "labels"), [Instead::Status(429, by_date), Instead::Status(503, "retry-after: 1\r\n")]);
    let begun = Instant::now();
    let ran = fetch(&home, &place, "--json");
    assert!(begun.elapsed() > Duration::from_secs(3), "{:?}", begun.elapsed());
    ran.said(&[
        "discogs_20260101_labels.xml.gz from http://127.0.0.1",
        "too many requests from this address (HTTP 429): waiting for ",
        "Ctrl-C ends this",
    ]);
    assert!(ran.json(0)["waited_seconds"].as_f64() > Some(2.0));
    assert_eq!((place.asked().len(), place.connections()), (10, (1, 1)));
    assert_whole(&home, &place, "202601");
}

#[test]
fn waiting_has_an_end() {
    let (home, place) = (Home::new(), offering(1));
    let labels = name("202601", "labels");
    place.instead(&labels, [Instead::Status(429, "retry-after: 86400\r\n")]);
    fetch(&home, &place, "").refused(&[
        "too many requests were made from this address",
        "asks not to come again before 20",
        "whole are not fetched again",
    ]);
    place.asked();
    // One that says "in a second" for ever.
    place.instead(&labels, (0..9).map(|_| Instead::Status(429, "retry-after: 0\r\n")));
    fetch(&home, &place, "").refused(&["too many requests were made from this address"]);
    let asked = place.asked();
    assert_eq!(asked[3..], [labels.as_str(); 4], "{asked:?}");
    // The artists had come before.
    assert!(home.path("dumps/2026-01").join(name("202601", "artists")).exists());
}

/// Waits until the program has said this on stderr.
fn until_said(child: &mut Child, words: &str) -> thread::JoinHandle<String> {
    let mut stderr = child.stderr.take().expect("piped");
    let mut said = Vec::new();
    let mut piece = [0; 4096];
    while !String::from_utf8_lossy(&said).contains(words) {
        match stderr.read(&mut piece).expect("read") {
            0 => panic!("{words} is not in {}", String::from_utf8_lossy(&said)),
            n => said.extend_from_slice(&piece[..n]),
        }
    }
    thread::spawn(move || {
        stderr.read_to_end(&mut said).expect("read");
        String::from_utf8_lossy(&said).into_owned()
    })
}

fn interrupt(child: &Child) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("signalled");
}

#[test]
fn ctrl_c_ends_a_wait_and_a_transfer_and_the_same_command_goes_on() {
    let (home, place) = (Home::new(), offering(1));
    let labels = name("202601", "labels");
    place.instead(&labels, [Instead::Status(429, "retry-after: 3600\r\n"), Instead::Stall(5_000)]);
    for round in 0..2 {
        let mut child = command(&home, &place, "fetch").stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let words = until_said(&mut child, if round == 0 { "waiting for 1 h 00 min" } else { "labels 4.88 KiB" });
        let begun = Instant::now();
        interrupt(&child);
        let status = child.wait().expect("it ends");
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        let words = words.join().expect("read");
        assert_eq!(status.code(), Some(4), "{words}");
        assert!(words.contains("stopped on request: the same command goes on"), "{words}");
        assert_lacks(&home, &labels);
    }
    place.asked();
    assert_eq!(fetch(&home, &place, "").status, Some(0));
    assert!(!place.asked().contains(&name("202601", "artists")));
    assert_whole(&home, &place, "202601");
}

#[test]
fn a_file_that_is_cut_is_told_leaves_nothing_and_comes_whole_with_the_same_command() {
    let (home, place) = (Home::new(), offering(1));
    let labels = name("202601", "labels");
    for (cut, words) in [
        (Instead::Cut(2000), "the connection was closed before all had come"),
        (Instead::CutOfLength(1000), "the connection was closed before all had come"),
        (Instead::Cut(0), "the connection was closed before all had come"),
        (Instead::Status(502, ""), "the place is out of order (HTTP 502)"),
        (Instead::Status(503, ""), "the place is out of order (HTTP 503)"),
        (Instead::Noise, "not HTTP"),
    ] {
        place.asked();
        place.instead(&labels, [cut]);
        fetch(&home, &place, "").refused(&[&labels, words, "run the same command again later: files that are whole are not fetched again"]);
        // One attempt.
        assert_eq!(place.asked().iter().filter(|asked| **asked == labels).count(), 1);
        assert_lacks(&home, &labels);
    }
    assert_eq!(fetch(&home, &place, "").status, Some(0));
    assert_whole(&home, &place, "202601");
}

#[cfg(feature = "failpoints")]
#[test]
fn a_place_that_says_nothing_more_is_told_after_a_bounded_time() {
    let (home, place) = (Home::new(), offering(1));
    let labels = name("202601", "labels");
    place.instead(&labels, [Instead::Stall(10)]);
    let mut command = command(&home, &place, "fetch");
    let ran = Ran::of(&command.env("FAILPOINTS", "patience=return(2)").output().expect("it starts"));
    ran.refused(&[&labels, "nothing was heard for 2.0 s", "run the same command again later"]);
    assert_lacks(&home, &labels);
    // One that takes the connection and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut command = alone(home.command(&format!("fetch --dumps dumps --fetch-url http://{}", silent.local_addr().expect("an address"))));
    let ran = Ran::of(&command.env("FAILPOINTS", "patience=return(1)").output().expect("it starts"));
    ran.refused(&["the list of years from http://127.0.0.1", "nothing was heard for 1.0 s"]);
}

#[test]
fn what_is_not_as_the_checksum_says_is_thrown_away() {
    let (home, place) = (Home::new(), offering(1));
    let labels = name("202601", "labels");
    let mut damaged = place.file(&labels);
    *damaged.last_mut().expect("a byte") ^= 1;
    let length = damaged.len();
    place.instead(&labels, [Instead::Bytes(damaged)]);
    fetch(&home, &place, "").refused(&[&labels, "sha256 of what came", "and CHECKSUM.txt says", "(what came was thrown away"]);
    assert_lacks(&home, &labels);
    place.instead(&labels, [Instead::Bytes(place.file(&labels)[..length - 9].to_vec())]);
    fetch(&home, &place, "").refused(&[&labels, "sha256 of what came"]);
    place.instead(&labels, [Instead::Bytes(b"<html>Please log in \x1b[31mhere</html>".to_vec())]);
    fetch(&home, &place, "").refused(&[&labels, "what came is no gzip file but begins with \"<html>Please log in \\u{1b}[31mhere"]);
    place.instead(&labels, [Instead::Bytes(Vec::new())]);
    fetch(&home, &place, "").refused(&[&labels, "sha256 of what came (0, 0 B)"]);
    assert_lacks(&home, &labels);
    assert_eq!(fetch(&home, &place, "").status, Some(0));
    assert_whole(&home, &place, "202601");
}

/// The place offers other content under a name of the first month, and states it.
fn replaced(kind: &'static str, bytes: Vec<u8>) -> Instead {
    Instead::Changed(Box::new(move |files: &mut Files| {
        files.insert(name("202601", kind), bytes);
        let sums = checksum(files, "20260101");
        files.insert("discogs_20260101_CHECKSUM.txt".to_owned(), sums);
    }))
}

#[test]
fn a_file_that_is_replaced_while_the_month_is_fetched_is_taken_as_it_is_now() {
    let (home, place) = (Home::new(), offering(1));
    let other = |kind: &str| fs::read(small().folders()[1].join(name("202602", kind))).expect("read");
    place.instead(&name("202601", "masters"), [replaced("masters", other("masters"))]);
    assert_eq!(fetch(&home, &place, "").status, Some(0));
    // The four, and the checksums twice.
    assert_eq!(place.asked().len(), 8);
    assert_whole(&home, &place, "202601");

    // One that had come before, with one that comes now: the same command gets it.
    fs::remove_file(home.path("dumps/2026-01").join(name("202601", "releases"))).expect("removed");
    let (labels, releases) = (other("labels"), other("releases"));
    place.instead(
        &name("202601", "releases"),
        [Instead::Changed(Box::new(move |files: &mut Files| {
            files.insert(name("202601", "releases"), releases);
            files.insert(name("202601", "labels"), labels);
            let sums = checksum(files, "20260101");
            files.insert("discogs_20260101_CHECKSUM.txt".to_owned(), sums);
        }))],
    );
    fetch(&home, &place, "")
        .refused(&["discogs_20260101_labels.xml.gz: replaced at the place since it was fetched (run the same command again later"]);
    place.asked();
    let ran = fetch(&home, &place, "");
    ran.said(&["discogs_20260101_labels.xml.gz is not what CHECKSUM.txt says: it is fetched anew"]);
    assert_eq!((ran.status, &place.asked()[3..]), (Some(0), &[name("202601", "labels")][..]));
    assert_whole(&home, &place, "202601");
}

#[test]
fn redirects_are_followed_to_other_addresses_of_the_same_kind_only() {
    let (home, place, other) = (Home::new(), offering(1), offering(1));
    let labels = name("202601", "labels");
    let to = |url: String| -> Instead { Instead::Status(302, Box::leak(format!("location: {url}\r\n").into_boxed_str())) };
    place.instead(&labels, [to(format!("{}?download=data%2F2026%2F{labels}", other.url()))]);
    assert_eq!(fetch(&home, &place, "").status, Some(0));
    assert_eq!(other.asked(), [labels.as_str()]);
    assert_whole(&home, &place, "202601");
    fs::remove_file(home.path("dumps/2026-01").join(&labels)).expect("removed");
    // That is a page of the place itself, whatever is on this machine.
    place.instead(&labels, [to("file:///etc/passwd".to_owned())]);
    fetch(&home, &place, "").refused(&[&labels, "what came is no gzip file but begins with \"<!DOCTYPE html>"]);
    place.instead(&labels, (0..6).map(|_| to(format!("{}?download=data%2F2026%2F{labels}", place.url()))));
    fetch(&home, &place, "").refused(&[&labels, "it leads from one address to the next without an end"]);
    assert_lacks(&home, &labels);
}

#[test]
fn answers_that_make_no_sense_are_told_with_what_to_do() {
    let (home, place) = (Home::new(), offering(1));
    for (answer, words) in [
        (Instead::Status(403, ""), "the place refuses it (HTTP 403)"),
        (Instead::Status(404, ""), "is --fetch-url right? Discogs' own place is https://data.discogs.com/"),
        (Instead::Status(418, ""), "an answer that makes no sense here (HTTP 418)"),
        (Instead::Status(204, ""), "an answer that makes no sense here (HTTP 204)"),
        (Instead::Bytes(b"<html>welcome to our network</html>".to_vec()), "the page lists no dumps"),
        (Instead::Endless, "more than 4.00 MiB came and it did not end"),
    ] {
        place.instead("", [answer]);
        fetch(&home, &place, "").refused(&["http://127.0.0.1", words]);
        assert!(!home.path("dumps").exists());
    }
    place.instead("discogs_20260101_CHECKSUM.txt", [Instead::Endless]);
    fetch(&home, &place, "").refused(&["discogs_20260101_CHECKSUM.txt", "more than 64.00 KiB came"]);
    place.instead("discogs_20260101_CHECKSUM.txt", [Instead::Bytes(b"<html>not today</html>".to_vec())]);
    fetch(&home, &place, "").refused(&["says nothing of its artists, labels, masters, releases"]);
    let nobody = Place::new();
    let url = nobody.url();
    drop(nobody);
    sleep(Duration::from_millis(50));
    let ran = |url: &str| Ran::of(&alone(home.command(&format!("fetch --dumps dumps --fetch-url {url}"))).output().expect("it starts"));
    ran(&url).refused(&["nobody answers there (connection refused)"]);
    ran("http://no-such-host.invalid/").refused(&["there is no host of this name, or there is no network"]);
    for url in ["https://u:hunter2@127.0.0.1/", "ftp://127.0.0.1/", "127.0.0.1"] {
        let ran = ran(url);
        assert_eq!(ran.status, Some(2), "{}", ran.stderr);
        ran.said(&["--fetch-url: ", "right is a URL such as https://data.discogs.com/"]);
        assert!(!ran.stderr.contains("hunter2"));
    }
}

#[test]
fn names_that_a_page_makes_up_lead_nowhere() {
    let (home, place) = (Home::new(), offering(1));
    let page = "<a>discogs_20260101_../../../x.xml.gz</a> ../discogs_20270101_labels.xml.gz/../x discogs_20271301_CHECKSUM.txt data%2F..%2F data/9999/";
    place.instead("", [Instead::Bytes(format!("{page} data%2F2026%2F").into_bytes())]);
    place.instead("prefix=data%2F9999%2F", [Instead::Bytes(page.as_bytes().to_vec())]);
    assert_eq!(fetch(&home, &place, "").status, Some(0));
    assert_whole(&home, &place, "202601");
    let around: Vec<_> = fs::read_dir(home.path("")).expect("listed").map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(around, ["dumps"]);
}

#[test]
fn a_link_in_the_way_of_a_part_is_not_written_through() {
    let (home, place) = (Home::new(), offering(1));
    fs::create_dir_all(home.path("dumps/2026-01")).expect("made");
    fs::write(home.path("precious"), "precious").expect("written");
    for name in [name("202601", "labels"), "discogs_20260101_CHECKSUM.txt".to_owned()] {
        std::os::unix::fs::symlink(home.path("precious"), home.path("dumps/2026-01").join(name + ".part")).expect("linked");
    }
    assert_eq!(fetch(&home, &place, "").status, Some(0));
    assert_eq!(fs::read_to_string(home.path("precious")).expect("read"), "precious");
    assert_whole(&home, &place, "202601");
}

#[test]
fn a_full_disk_is_told_and_with_room_the_same_command_goes_on() {
    let (home, place) = (Home::new(), offering(1));
    let Some(disk) = Small::new(&home, 24) else { return };
    let fetch = || {
        let mut command = alone(home.command(&format!("fetch --dumps small/dumps --fetch-url {}", place.url())));
        Ran::of(&command.output().expect("it starts"))
    };
    disk.fill_but(100 << 10);
    fetch().refused(&["small/dumps/2026-01/discogs_20260101_", "disk is full", "make room and run the same command again"]);
    assert!(home.bytes("small/dumps").keys().all(|path| path.extension().is_some_and(|end| end != "part")));
    disk.make_room();
    assert_eq!(fetch().status, Some(0));
}

#[test]
fn two_at_once_do_not_fetch_the_same_month() {
    let (home, place) = (Home::new(), offering(1));
    place.instead(&name("202601", "artists"), [Instead::Stall(20_000)]);
    let mut first = command(&home, &place, "fetch").stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let words = until_said(&mut first, "artists 19");
    fetch(&home, &place, "").refused(&["another discodiff is fetching into dumps: wait for it to end"]);
    interrupt(&first);
    assert_eq!(first.wait().expect("it ends").code(), Some(4), "{}", words.join().expect("read"));
}

#[test]
fn a_folder_of_a_month_is_not_taken_for_the_one_above() {
    let (home, place) = (Home::new(), offering(1));
    home.dumps("dumps", &[("labels", b"<labels></labels>")]);
    fs::rename(home.path("dumps/discogs_dumps01_labels.xml"), home.path("dumps/discogs_20250101_labels.xml")).expect("renamed");
    fetch(&home, &place, "").refused(&["dumps holds dumps itself (discogs_20250101_labels.xml): --dumps names the folder above"]);
    assert!(place.asked().is_empty());
}

/// A proxy that opens tunnels, and notes who asked for which.
fn proxy() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && client.read_exact(&mut byte).is_ok() {
                head.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let to = head.split_whitespace().nth(1).unwrap_or_default().to_owned();
            noted.lock().expect("locked").push(head);
            let Ok(mut server) = TcpStream::connect(to) else { continue };
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").expect("sent");
            let (mut from, mut back) = (client.try_clone().expect("cloned"), server.try_clone().expect("cloned"));
            thread::spawn(move || std::io::copy(&mut from, &mut back));
            thread::spawn(move || std::io::copy(&mut server, &mut client));
        }
    });
    (address, asked)
}

#[test]
fn a_proxy_that_the_environment_names_is_used_and_its_password_never_told() {
    let (home, place) = (Home::new(), offering(1));
    let (address, asked) = proxy();
    let fetch = |variables: &[(&str, &str)]| {
        Ran::of(&command(&home, &place, "fetch --log trace").envs(variables.iter().copied()).output().expect("it starts"))
    };
    let with_password = format!("http://u:hunter2@{address}");
    let ran = fetch(&[("HTTPS_PROXY", &with_password)]);
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
    let through = std::mem::take(&mut *asked.lock().expect("locked"));
    assert_eq!(through.len(), 1);
    assert!(through[0].starts_with(&format!("CONNECT 127.0.0.1:{} ", place.address.port())), "{through:?}");
    assert_eq!(fetch(&[("HTTPS_PROXY", &with_password), ("NO_PROXY", "127.0.0.1")]).status, Some(0));
    assert!(asked.lock().expect("locked").is_empty());
    let ran = fetch(&[("ALL_PROXY", "http://u:hunter2@127.0.0.1:1")]);
    ran.refused(&["connection refused"]);
    assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
}

/// A key, and a certificate for it and 127.0.0.1 that another vouches for, or itself.
fn certified(by: Option<(&PKey<Private>, &X509)>) -> (PKey<Private>, X509) {
    let key = PKey::from_rsa(Rsa::generate(2048).expect("a key")).expect("a key");
    let mut name = X509NameBuilder::new().expect("a name");
    name.append_entry_by_text("CN", if by.is_some() { "a place" } else { "an authority" }).expect("named");
    let name = name.build();
    let mut certificate = X509::builder().expect("a certificate");
    certificate.set_version(2).expect("set");
    certificate.set_serial_number(&BigNum::from_u32(7).and_then(|number| number.to_asn1_integer()).expect("a number")).expect("set");
    certificate.set_subject_name(&name).expect("set");
    certificate.set_issuer_name(by.map_or(&name, |(_, ca)| ca.subject_name())).expect("set");
    certificate.set_pubkey(&key).expect("set");
    certificate.set_not_before(&Asn1Time::days_from_now(0).expect("a time")).expect("set");
    certificate.set_not_after(&Asn1Time::days_from_now(2).expect("a time")).expect("set");
    if by.is_some() {
        let context = certificate.x509v3_context(None, None);
        let names = SubjectAlternativeName::new().ip("127.0.0.1").build(&context).expect("names");
        certificate.append_extension(names).expect("set");
    } else {
        certificate.append_extension(BasicConstraints::new().critical().ca().build().expect("a constraint")).expect("set");
    }
    certificate.sign(by.map_or(&key, |(key, _)| key), MessageDigest::sha256()).expect("signed");
    (key, certificate.build())
}

#[test]
fn an_encrypted_place_has_to_prove_who_it_is_and_may_not_lead_to_one_that_is_not_encrypted() {
    let (home, plain) = (Home::new(), offering(1));
    let (ca_key, ca) = certified(None);
    let (key, certificate) = certified(Some((&ca_key, &ca)));
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).expect("an acceptor");
    acceptor.set_private_key(&key).expect("set");
    acceptor.set_certificate(&certificate).expect("set");
    let place = Place::of(Pages::Html, Some(acceptor.build()));
    place.offer(&small().folders()[0]);
    fs::write(home.path("ca.pem"), ca.to_pem().expect("PEM")).expect("written");
    let (_, stranger) = certified(None);
    fs::write(home.path("stranger.pem"), stranger.to_pem().expect("PEM")).expect("written");
    let trusting =
        |file: &str| Ran::of(&command(&home, &place, "fetch").env("SSL_CERT_FILE", home.path(file)).output().expect("it starts"));
    trusting("stranger.pem").refused(&["its certificate is not one that this system trusts", "SSL_CERT_FILE"]);
    assert!(place.asked().is_empty());
    let ran = trusting("ca.pem");
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    assert_eq!(place.connections().0, 1);
    assert_whole(&home, &place, "202601");
    let labels = name("202601", "labels");
    fs::remove_file(home.path("dumps/2026-01").join(&labels)).expect("removed");
    let to = format!("location: {}?download=data%2F2026%2F{labels}\r\n", plain.url());
    place.instead(&labels, [Instead::Status(302, Box::leak(to.into_boxed_str()))]);
    trusting("ca.pem").refused(&[&labels, "it leads to an address that is not encrypted, which is not followed"]);
    assert!(plain.asked().is_empty());
}

#[test]
fn one_command_brings_a_month_from_the_place_into_a_store_and_does_nothing_until_there_is_another() {
    let (home, other, place) = (Home::new(), Home::new(), offering(1));
    let line = "--sqlite store.sqlite --feed feed.jsonl";
    let month = |number: usize| other.refresh(&small().folders()[number], line).json(0);
    place.instead(&name("202601", "artists"), [Instead::Status(429, "retry-after: 1\r\n")]);
    place.instead(&name("202601", "releases"), [Instead::Cut(30_000)]);
    refresh(&home, &place, line).refused(&["discogs_20260101_releases.xml.gz", "run the same command again later"]);
    assert!(!home.path("store.sqlite").exists() || home.sqlite("store.sqlite").is_empty());
    let ran = refresh(&home, &place, line).json(0);
    assert_eq!((ran["snapshot"].as_str(), ran["fetched"]["month"].as_str()), (Some("2026-01"), Some("2026-01")));
    assert_eq!(count(&ran, "release", "inserted"), count(&month(0), "release", "inserted"));
    assert_same(&home.sqlite("store.sqlite"), &other.sqlite("store.sqlite"), "the first month");

    // The timer comes again: nothing to do, though the dumps are gone, and a next month is on its way.
    fs::remove_dir_all(home.path("dumps/2026-01")).expect("removed");
    place.put(&name("202602", "labels"), "x");
    place.asked();
    let ran = refresh(&home, &place, line).json(0);
    assert_eq!(
        (ran["snapshot"].as_str(), ran.get("fetched"), ran["kinds"].as_object().map(|kinds| kinds.len())),
        (Some("2026-01"), None, Some(0))
    );
    assert_eq!(place.asked(), ["", "prefix=data%2F2026%2F", "discogs_20260101_CHECKSUM.txt"]);
    assert!(!home.path("dumps/2026-01").exists());

    place.offer(&small().folders()[1]);
    let ran = refresh(&home, &place, line).json(0);
    assert_eq!(ran["snapshot"].as_str(), Some("2026-02"));
    assert_eq!(count(&ran, "artist", "updated"), count(&month(1), "artist", "updated"));
    assert_same(&home.sqlite("store.sqlite"), &other.sqlite("store.sqlite"), "the second month");
    assert_eq!(home.feed("feed.jsonl").len(), other.feed("feed.jsonl").len());

    // A month that the place takes back, to publish it anew, is no reason to go back.
    let sums = place.remove("discogs_20260201_CHECKSUM.txt");
    let ran = refresh(&home, &place, line);
    ran.said(&["the state holds 2026-02, and 2026-01 is offered"]);
    assert_eq!(ran.json(0)["snapshot"].as_str(), Some("2026-02"));
    // A file that was replaced is fetched, and nothing else, and applied.
    place.put("discogs_20260201_CHECKSUM.txt", sums);
    let labels = fs::read(small().folders()[2].join(name("202603", "labels"))).expect("read");
    place.put(&name("202602", "labels"), labels);
    let files: Files = KINDS.iter().map(|kind| (name("202602", kind), place.file(&name("202602", kind)))).collect::<BTreeMap<_, _>>();
    place.put("discogs_20260201_CHECKSUM.txt", checksum(&files, "20260201"));
    place.asked();
    let ran = refresh(&home, &place, line).json(0);
    assert_eq!(place.asked()[3..], [name("202602", "labels")]);
    assert_eq!(ran["kinds"].as_object().map(|kinds| kinds.keys().cloned().collect::<Vec<_>>()), Some(vec!["label".to_owned()]));
    // A store that is new is brought up from the files that are there.
    place.asked();
    let ran = refresh(&home, &place, &format!("{line} --sqlite other.sqlite")).status;
    assert_eq!(ran, Some(2), "two of one sort");
    refresh(&home, &place, "--sqlite other.sqlite").json(0);
    assert_eq!(place.asked().len(), 3);
    assert_same(&home.sqlite("other.sqlite"), &home.sqlite("store.sqlite"), "a new store");
}

#[test]
fn fetch_and_topics_contradict_each_other_and_refresh_from_a_month_stays_possible() {
    let (home, place) = (Home::new(), offering(1));
    fs::write(
        home.path("discodiff.toml"),
        format!("dumps = \"dumps\"\nfetch = true\nfetch_url = \"{}\"\nstate = \"state\"\n", place.url()),
    )
    .expect("written");
    let ran = Ran::of(&alone(home.command("refresh --json")).output().expect("it starts"));
    ran.json(0);
    let checked = Ran::of(&alone(home.command("check")).output().expect("it starts"));
    assert!(checked.stdout.contains("months are fetched into dumps, where there is 2026-01"), "{}{}", checked.stdout, checked.stderr);
    let ran = Ran::of(&alone(home.command("refresh --fetch=false --dumps dumps/2026-01 --json")).output().expect("it starts"));
    ran.json(0);
    let ran = home.run("refresh --fetch --kafka --brokers b:1 --state s");
    assert_eq!(ran.status, Some(2));
    ran.said(&["--kafka: dumps are read from topics or from a folder, and --fetch names one"]);
}
