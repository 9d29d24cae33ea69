//! What becomes of each file in `tests/bad`, one for each way in which dumps are bad, and of those that are too large to lie there.
//!
//! Each is given, gzipped, as the second month of a store that holds the records 1, 2 and 9 of its kind. Most have 1 and 9 as before,
//! something bad between them, and lack 2, which shows whether deletes are taken. `NAME.json` beside `NAME.xml` says all that becomes of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::harness::{Home, KINDS, Ran, gzip};

/// The month before.
fn before(kind: &str) -> Vec<u8> {
    let record = |(id, name)| match kind {
        "artist" | "label" => format!("<{kind}><id>{id}</id><name>{name}</name></{kind}>\n"),
        "master" => format!("<master id=\"{id}\"><title>{name}</title></master>\n"),
        _ => format!("<release id=\"{id}\" status=\"Accepted\"><title>{name}</title></release>\n"),
    };
    let records: String = [(1, "One"), (2, "Two"), (9, "Nine")].map(record).concat();
    format!("<{kind}s>\n{records}</{kind}s>\n").into_bytes()
}

/// A second month of one kind, applied to a store that holds the first.
struct Applied {
    home: Home,
    kind: &'static str,
    ran: Ran,
}

impl Applied {
    fn of(kind: &'static str, bytes: &[u8]) -> Applied {
        let home = Home::new();
        home.refresh(&home.dumps("2026-01", &[(&format!("{kind}s"), &before(kind))]), "--sqlite store.sqlite").json(0);
        let folder = home.path("2026-02");
        fs::create_dir(&folder).expect("created");
        fs::write(folder.join(format!("discogs_20260201_{kind}s.xml.gz")), bytes).expect("written");
        let ran = home.refresh(&folder, "--sqlite store.sqlite -w 2");
        Applied { home, kind, ran }
    }

    fn counts(&self) -> Value {
        let report: Value = serde_json::from_str(&self.ran.stdout).unwrap_or_else(|_| panic!("{}", self.ran.stderr));
        let mut counts = report["kinds"][self.kind].as_object().expect("counts").clone();
        counts.retain(|_, count| *count != 0);
        Value::Object(counts)
    }

    fn documents(&self) -> Value {
        let rows = self.home.sqlite("store.sqlite");
        assert!(rows.keys().all(|(kind, _)| *kind == self.kind));
        Value::Object(rows.into_iter().map(|((_, id), (_, document))| (id, document)).collect())
    }

    /// Id, position and reason of each, in the order of the file, and the bytes that were kept.
    fn dead_letters(&self) -> Vec<(Value, Vec<u8>)> {
        let sqlite = rusqlite::Connection::open(self.home.path("store.sqlite")).expect("opened");
        let mut statement = sqlite.prepare("SELECT id, position, reason, raw FROM dead_letters ORDER BY position").expect("a table");
        let letter = |row: &rusqlite::Row<'_>| {
            let (id, position, reason): (Option<String>, i64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok((json!({ "id": id, "position": position, "reason": reason }), row.get(3)?))
        };
        statement.query_map([], letter).expect("rows").map(|row| row.expect("a row")).collect()
    }

    /// What a person is told on stderr, without times.
    fn told(&self) -> Vec<&str> {
        self.ran.stderr.lines().filter_map(|line| Some(line.split_once(" WARN ")?.1)).collect()
    }

    fn all(&self) -> Value {
        let letters: Vec<_> = self.dead_letters().into_iter().map(|(letter, _)| letter).collect();
        json!({
            "kind": self.kind, "status": self.ran.status, "counts": self.counts(), "documents": self.documents(), "dead_letters": letters,
            "told": self.told(),
        })
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad")
}

#[test]
fn each_bad_file_comes_to_exactly_what_stands_beside_it() {
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in fs::read_dir(folder()).expect("tests/bad") {
        let name = entry.expect("an entry").file_name().into_string().expect("a name");
        let (stem, ending) = name.split_once('.').expect("an ending");
        names.entry(stem.to_owned()).or_default().push(ending.to_owned());
    }
    let mut wrong = Vec::new();
    for (name, mut endings) in names {
        endings.sort();
        assert_eq!(endings, ["json", "xml"], "{name}");
        let xml = fs::read(folder().join(format!("{name}.xml"))).expect("read");
        let text = fs::read_to_string(folder().join(format!("{name}.json"))).expect("read");
        let expected: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}.json: {error}"));
        let kind = KINDS.into_iter().find(|kind| expected["kind"] == *kind).unwrap_or_else(|| panic!("{name}.json names no kind"));
        let applied = Applied::of(kind, &gzip(&xml, 6));
        let found = applied.all();
        if found != expected {
            wrong.push(format!("{name}: {found:#}\n{}", applied.ran.stderr));
        }
        for (letter, raw) in applied.dead_letters() {
            let position = letter["position"].as_u64().expect("a position") as usize;
            assert!(!raw.is_empty() && xml[position..].starts_with(&raw), "{name}: the bytes as they stood at {position}");
        }
    }
    assert!(wrong.is_empty(), "{} files came to something else:\n{}", wrong.len(), wrong.join("\n"));
}

/// A dump with these records between the first and the last one of the month before.
fn between(kind: &str, records: &str) -> Vec<u8> {
    let month = String::from_utf8(before(kind)).expect("text");
    let lines: Vec<&str> = month.lines().collect();
    [lines[0], lines[1], records, lines[3], lines[4], ""].join("\n").into_bytes()
}

/// Of a month that is all right: one new document, and the record that is gone.
#[track_caller]
fn taken(kind: &'static str, record: &str) -> Value {
    let applied = Applied::of(kind, &gzip(&between(kind, record), 1));
    assert_eq!(applied.ran.status, Some(0), "{}", applied.ran.stderr);
    assert_eq!(applied.counts(), json!({ "received": 3, "inserted": 1, "unchanged": 2, "deleted": 1 }));
    assert_eq!((applied.dead_letters().len(), applied.told()), (0, vec![]));
    applied.documents()["5"].clone()
}

#[test]
fn a_record_of_twelve_megabytes_is_taken_as_any_other() {
    let profile = "All of it. ".repeat((12 << 20) / 11);
    let document = taken("artist", &format!("<artist><id>5</id><profile>{profile}</profile></artist>"));
    assert!(document == json!({ "id": "5", "profile": profile.trim_end() }), "another document");
}

#[test]
fn a_label_with_ten_thousand_sublabels_has_them_all_in_order() {
    let ids = || 100..10_100;
    let sublabels: String = ids().map(|id| format!("<label id=\"{id}\">Label {id}</label>\n")).collect();
    let document = taken("label", &format!("<label><id>5</id><name>Five</name><sublabels>\n{sublabels}</sublabels></label>"));
    let expected: Vec<_> = ids().map(|id| json!({ "id": id.to_string(), "name": format!("Label {id}") })).collect();
    assert!(document == json!({ "id": "5", "name": "Five", "sublabels": expected }), "another document");
}

#[test]
fn a_record_that_nests_ten_thousand_deep_is_rejected_and_costs_itself_only() {
    for (kind, open, close) in [("artist", "<a>", "</a>"), ("label", "<label id=\"7\">", "</label>"), ("artist", "<a>", "")] {
        let record = format!("<{kind}><id>5</id>{}{}</{kind}>", open.repeat(10_000), close.repeat(10_000));
        let applied = Applied::of(kind, &gzip(&between(kind, &record), 1));
        assert_eq!(applied.counts(), json!({ "received": 3, "rejected": 1, "unchanged": 2, "deleted": 1 }), "{}", applied.ran.stderr);
        let letters = applied.dead_letters();
        let [(letter, raw)] = &letters[..] else { panic!("{letters:?}") };
        let byte = format!("<{kind}><id>5</id>").len() + 47 * open.len();
        let position = String::from_utf8(before(kind)).expect("text").lines().take(2).map(|line| line.len() + 1).sum::<usize>();
        assert_eq!(
            *letter,
            json!({ "id": "5", "position": position, "reason": format!("elements nest more than 48 deep at byte {byte}") })
        );
        assert!(raw == record.as_bytes(), "other bytes");
    }
}

#[test]
fn gzip_that_breaks_off_or_goes_on_is_read_as_far_as_it_goes_and_deletes_nothing() {
    let cut = "the gzip data is cut short: fetch the file again";
    let follows = "the gzip data is damaged (something else follows it): fetch the file again";
    let damaged = "the gzip data is damaged (it does not begin as gzip does): fetch the file again";
    let nulls = format!("the file begins with \"{}\", not with <artists>", "\\0".repeat(40));
    let records: String = (10..2000).map(|id| format!("<artist><id>{id}</id></artist>\n")).collect();
    let xml = between("artist", records.trim_end());
    // Not compressed, so that what is before a byte is known.
    let (stored, whole) = (gzip(&xml, 0), gzip(&xml, 6));
    let half = &stored[..stored.len() / 2];
    let early = |what: &str| format!("the file ends before {what}: {}", cut);
    let beyond = |what: &str| format!("the file cannot be read to its end: {what}");
    for (bytes, received, rejected, deletes, why) in [
        (half, 1014, 1, 2, early("</artists>")),
        (&stored[..stored.len() - 8], 1992, 0, 1, beyond(cut)),
        (&whole[..whole.len() - 1], 1992, 0, 1, beyond(cut)),
        (&[&whole[..], b"garbage"].concat()[..], 1992, 0, 1, beyond(follows)),
        (&[&whole[..], &[0; 512]].concat()[..], 1992, 0, 1, beyond(follows)),
        (&[&whole[..], b"\x1f\x8b garbage"].concat()[..], 1992, 0, 1, beyond(damaged)),
        (
            &[&whole[..], &whole].concat()[..],
            1992,
            0,
            1,
            String::from("\"<artists>\\n<artist><id>1</id><name>One</n\" follows </artists> at byte"),
        ),
        (&[][..], 0, 0, 3, String::from("the file is empty, without <artists>")),
        (&gzip(b"", 6)[..], 0, 0, 3, String::from("the file is empty, without <artists>")),
        (&[0; 64][..], 0, 0, 3, nulls),
        (b"<html>Not found</html>", 0, 0, 3, String::from("the file is a web page, not a dump of artists")),
        (b"\x1f\x8b\0\0\0\0\0\0\0\0\0", 0, 0, 3, format!("the file is empty, without <artists>: {damaged}")),
    ] {
        let applied = Applied::of("artist", bytes);
        assert_eq!(applied.ran.status, Some(3), "{}", applied.ran.stderr);
        let told = applied.told();
        assert!(told[0].starts_with(&format!("the dump of artists is not whole: {why}")), "{told:?}, not {why}");
        let counts = applied.counts();
        let count = |what: &str| counts.get(what).and_then(Value::as_u64).unwrap_or(0);
        assert_eq!(["received", "rejected", "deletes_withheld", "deleted"].map(count), [received, rejected, deletes, 0], "{why}");
        assert_eq!(applied.dead_letters().len() as u64, rejected);
        assert!(["1", "2", "9"].iter().all(|id| applied.documents().get(id).is_some()), "{why}");
    }
}

/// What the program came to, and the most memory that it held, in bytes.
#[cfg(target_os = "linux")]
fn measured(mut command: std::process::Command) -> (Ran, u64) {
    let child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().expect("it starts");
    let status = format!("/proc/{}/status", child.id());
    let ended = std::thread::spawn(move || child.wait_with_output().expect("it ends"));
    let mut peak = 0;
    while !ended.is_finished() {
        let status = fs::read_to_string(&status).unwrap_or_default();
        let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        peak = peak.max(kilobytes.unwrap_or(0) << 10);
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    (Ran::of(&ended.join().expect("it ended")), peak)
}

#[test]
#[cfg(target_os = "linux")]
fn a_small_gzip_file_that_inflates_to_a_gigabyte_is_read_in_bounded_memory() {
    // A gzip file of many members is what they hold, one after another.
    let bomb = |head: &[u8], fill: &[u8], tail: &[u8]| {
        let filling = gzip(&fill.repeat((16 << 20) / fill.len()), 6);
        [gzip(head, 6), filling.repeat(64), gzip(tail, 6)].concat()
    };
    let base = before("artist");
    let (records, end) = base.split_at(base.len() - "</artists>\n".len());
    let within =
        |head: &str, fill: &[u8], tail: &str| bomb(&[records, head.as_bytes()].concat(), fill, &[tail.as_bytes(), b"\n", end].concat());
    for (bytes, why) in [
        (bomb(b"", &[0], b""), "the file begins with"),
        (bomb(b"<!-- ", b"x", b" -->"), "does not end within"),
        (bomb(&[&base[..], b"<!-- "].concat(), b"x", b" -->"), "does not end within"),
        (within("", &[0], ""), "longer than 67108864 bytes"),
        (within("<artist><id>5</id><name>", b"x", "</name></artist>"), "longer than 67108864 bytes"),
        (within("<artist><id>5</id>", b"<a>\n", "</artist>"), "longer than 67108864 bytes"),
        (within("<artist a=\"", b"x", "\"/>"), "longer than 67108864 bytes"),
    ] {
        assert!(bytes.len() < 8 << 20, "{} bytes are not small", bytes.len());
        let home = Home::new();
        home.refresh(&home.dumps("2026-01", &[("artists", &base)]), "--sqlite store.sqlite").json(0);
        let folder = home.path("2026-02");
        fs::create_dir(&folder).expect("created");
        fs::write(folder.join("discogs_20260201_artists.xml.gz"), bytes).expect("written");
        let (ran, peak) = measured(home.refreshing(&folder, "--sqlite store.sqlite"));
        assert_eq!(ran.json(3)["kinds"]["artist"]["deleted"], 0);
        ran.said(&[why]);
        assert_eq!(home.sqlite("store.sqlite").len(), 3);
        assert!(peak > 0 && peak < 256 << 20, "{why}: {} MiB", peak >> 20);
    }
}
