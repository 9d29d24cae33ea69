//! One small dump for each way in which dumps are broken or odd, and what becomes of it.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::harness::{Home, Ran, count, gzip, sha256, state_sums};

/// Refreshes to a month of artists, given as the file's bytes.
fn artists(home: &Home, month: &str, bytes: &[u8]) -> Ran {
    home.refresh(&home.dumps(month, &[("artists", bytes)]), "--sqlite store.sqlite -w 2")
}

/// A whole file around these records.
fn whole(records: &str) -> Vec<u8> {
    format!("<artists>\n{records}\n</artists>\n").into_bytes()
}

fn artist(id: u64, rest: &str) -> String {
    format!("<artist><id>{id}</id>{rest}</artist>\n")
}

#[track_caller]
fn document(home: &Home, kind: &'static str, id: u64) -> Value {
    let rows = home.sqlite("store.sqlite");
    rows.get(&(kind, id.to_string())).unwrap_or_else(|| panic!("no {kind} {id} in {:?}", rows.keys())).1.clone()
}

/// One record that is as given, between two good ones: it is rejected for this reason, and they are taken.
#[track_caller]
fn rejected(record: &[u8], reason: &str) {
    let home = Home::new();
    let (good, other) = (artist(1, "<name>One</name>"), artist(9, "<name>Nine</name>"));
    let bytes = [b"<artists>\n", good.as_bytes(), record, b"\n", other.as_bytes(), b"</artists>\n"].concat();
    let ran = artists(&home, "2026-01", &bytes);
    let report = ran.json(3);
    assert_eq!(["received", "inserted", "rejected"].map(|what| count(&report, "artist", what)), [3, 2, 1], "{report}");
    ran.said(&["rejected: ", reason, &format!("at byte {}", 10 + good.len()), "discogs_20260101_artists.xml"]);
    let sqlite = rusqlite::Connection::open(home.path("store.sqlite")).expect("opened");
    let letter: (i64, String, Vec<u8>) = sqlite
        .query_row("SELECT position, reason, raw FROM dead_letters", [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .expect("one dead letter");
    assert_eq!(usize::try_from(letter.0), Ok(10 + good.len()));
    assert!(letter.1.contains(reason), "{}", letter.1);
    assert_eq!(letter.2.trim_ascii_end(), record, "the bytes as they stood");
    assert_eq!(home.sqlite("store.sqlite").len(), 2);
}

#[test]
fn a_record_that_is_no_record_is_a_dead_letter_and_costs_itself_only() {
    rejected(b"<artist><id>5</id><name>\xff</name></artist>", "not UTF-8");
    rejected(b"<artist><name>Nobody</name></artist>", "no id");
    rejected(b"<artist><id>0</id><name>Nought</name></artist>", "id");
    rejected(b"<artist><id>five</id></artist>", "its id is \"five\", not a number");
    rejected(b"<artist><id>99999999999999999999</id></artist>", "too large");
    rejected(b"<artist><id>5</id><name>cut", "cut short");
    rejected(b"<artist><id>5</id><name>A</nome></artist>", "</nome> where </name> is due");
    rejected(b"<artist><id>5</id><images><image type=primary/></images></artist>", "malformed attributes");
}

#[test]
fn control_characters_are_removed_and_lone_ampersands_kept_and_both_are_counted() {
    let home = Home::new();
    let ran = artists(&home, "2026-01", &whole(&artist(1, "<name>A\u{1}B&#2;C</name><profile>R&B & &nbsp; &amp;</profile>")));
    ran.json(0);
    ran.said(&["2 characters that XML forbids were removed", "3 ampersands that begin no reference were taken as themselves"]);
    assert_eq!(document(&home, "artist", 1), json!({ "id": "1", "name": "ABC", "profile": "R&B & &nbsp; &" }));
}

#[test]
fn an_element_that_no_reader_knows_is_kept_and_reported_as_drift() {
    let home = Home::new();
    let ran = artists(&home, "2026-01", &whole(&artist(1, "<name>One</name><born when=\"1970\">Leeds</born><tags><tag>x</tag></tags>")));
    ran.json(0);
    ran.said(&["schema drift: artist born, 1 times, kept under \"unmapped\"", "schema drift: artist tags, 1 times"]);
    let unmapped = document(&home, "artist", 1)["unmapped"].clone();
    assert_eq!(unmapped, json!({ "born": [{ "@when": "1970", "#text": "Leeds" }], "tags": [{ "tag": ["x"] }] }));
    let status = home.run("status --state state --sqlite store.sqlite --json").json(0);
    assert_eq!(status["kinds"]["artist"]["unmapped"], json!({ "born": 1, "tags": 1 }));
}

#[test]
fn white_space_is_trimmed_and_a_hard_space_is_a_character() {
    let home = Home::new();
    artists(&home, "2026-01", &whole(&artist(1, "<name>\u{a0}</name><realname> \n a  b\t</realname><profile> </profile>"))).json(0);
    assert_eq!(document(&home, "artist", 1), json!({ "id": "1", "name": "\u{a0}", "realname": "a  b" }));
}

#[test]
fn every_way_to_end_a_line_is_the_same_document() {
    let home = Home::new();
    artists(&home, "2026-01", &whole(&artist(1, "<profile>a\nb\n\nc</profile>"))).json(0);
    let crlf = String::from_utf8(whole(&artist(1, "<profile>a\nb\n\nc</profile>"))).expect("text").replace('\n', "\r\n");
    let written_out = whole(&artist(1, "<profile>a&#13;\nb&#13;\n&#13;\nc</profile>"));
    for (month, xml) in [("2026-02", crlf.as_bytes()), ("2026-03", &written_out)] {
        let report = artists(&home, month, xml).json(0);
        assert_eq!(["unchanged", "updated"].map(|what| count(&report, "artist", what)), [1, 0], "{month}");
    }
    assert_eq!(document(&home, "artist", 1)["profile"], "a\nb\n\nc");
}

#[test]
fn a_byte_order_mark_and_a_declaration_may_come_first() {
    let home = Home::new();
    let xml =
        [b"\xef\xbb\xbf<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<!-- of Discogs -->\n".as_slice(), &whole(&artist(1, ""))].concat();
    assert_eq!(count(&artists(&home, "2026-01", &xml).json(0), "artist", "inserted"), 1);
}

#[test]
fn a_label_without_a_name_and_a_nested_label_are_taken() {
    let home = Home::new();
    let xml = b"<labels>\n<label><id>1</id></label>\n<label><id>2</id><name>Two</name><sublabels>\n<label id=\"3\">Three</label>\
        <label></label>\n</sublabels></label>\n</labels>\n";
    let report = home.refresh(&home.dumps("2026-01", &[("labels", xml)]), "--sqlite store.sqlite").json(0);
    assert_eq!(count(&report, "label", "inserted"), 2);
    assert_eq!(document(&home, "label", 1), json!({ "id": "1" }));
    assert_eq!(document(&home, "label", 2)["sublabels"], json!([{ "id": "3", "name": "Three" }]));
}

/// A first month of two artists, then a file that cannot be read whole: nothing is deleted, and it is said why.
#[track_caller]
fn not_whole(name: &str, bytes: &[u8], why: &str, received: u64) {
    let home = Home::new();
    artists(&home, "2026-01", &whole(&(artist(1, "<name>One</name>") + &artist(2, "<name>Two</name>")))).json(0);
    let folder = home.path("2026-02");
    fs::create_dir(&folder).expect("created");
    fs::write(folder.join(name), bytes).expect("written");
    let ran = home.refresh(&folder, "--sqlite store.sqlite --allow-deletes");
    let report = ran.json(3);
    assert_eq!([count(&report, "artist", "received"), count(&report, "artist", "deleted")], [received, 0], "{why}");
    ran.said(&["the dump of artists is not whole", why]);
    assert_eq!(home.sqlite("store.sqlite").len(), 2, "{why}");
}

#[test]
fn a_file_that_is_no_whole_dump_deletes_nothing_and_says_what_it_is() {
    let (plain, gz) = ("discogs_20260201_artists.xml", "discogs_20260201_artists.xml.gz");
    let good = whole(&artist(1, "<name>One</name>"));
    let zipped = gzip(&good, 6);
    not_whole(plain, b"<releases>\n<release id=\"1\"></release>\n</releases>\n", "the file holds <releases>, not <artists>", 0);
    not_whole(plain, b"", "the file is empty", 0);
    not_whole(gz, b"", "the file is empty", 0);
    not_whole(gz, b"<html>Not found</html>", "the file is a web page, not a dump of artists", 0);
    not_whole(plain, b"<html>Not found</html>", "the file is a web page, not a dump of artists", 0);
    not_whole(gz, &zipped[..zipped.len() - 4], "cut short", 1);
    not_whole(gz, &[&zipped, b"garbage".as_slice()].concat(), "the file cannot be read to its end", 1);
    not_whole(plain, &[&good, b"<artist>".as_slice()].concat(), "follows </artists>", 1);
    not_whole(plain, &good[..good.len() - 12], "the file ends before </artists>", 1);
}

#[test]
fn gzip_of_several_members_plain_xml_and_either_under_the_other_s_name_are_read_alike() {
    let xml = whole(&(artist(1, "<name>One</name>") + &artist(2, "<name>Two</name>")));
    let (head, tail) = xml.split_at(30);
    let members = [gzip(head, 9), gzip(b"", 1), gzip(tail, 1)].concat();
    for (name, bytes) in [("xml.gz", &members), ("xml", &xml), ("xml", &members), ("xml.gz", &xml)] {
        let home = Home::new();
        let folder = home.path("2026-01");
        fs::create_dir(&folder).expect("created");
        fs::write(folder.join(format!("discogs_20260101_artists.{name}")), bytes).expect("written");
        assert_eq!(count(&home.refresh(&folder, "--sqlite store.sqlite").json(0), "artist", "inserted"), 2);
    }
}

#[test]
fn a_checksum_that_does_not_agree_makes_the_file_doubtful() {
    let home = Home::new();
    artists(&home, "2026-01", &whole(&(artist(1, "") + &artist(2, "")))).json(0);
    let folder = home.dumps("2026-02", &[("artists", &whole(&artist(1, "")))]);
    let line = format!("{} discogs_20260201_artists.xml\n", "0".repeat(64));
    fs::write(folder.join("discogs_20260201_CHECKSUM.txt"), line).expect("written");
    let ran = home.refresh(&folder, "--sqlite store.sqlite");
    assert_eq!(count(&ran.json(3), "artist", "deletes_withheld"), 1);
    ran.said(&["CHECKSUM.txt"]);
    assert_eq!(home.sqlite("store.sqlite").len(), 2);
}

#[test]
fn a_dump_replaced_under_a_checksum_file_that_stays_is_another_snapshot_and_a_doubtful_one() {
    let home = Home::new();
    let folder = home.dumps("2026-01", &[("artists", &whole(&(artist(1, "") + &artist(2, ""))))]);
    state_sums(&folder);
    home.refresh(&folder, "--sqlite store.sqlite").json(0);
    home.dumps("2026-01", &[("artists", &whole(&(artist(1, "<name>Other</name>") + &artist(3, ""))))]);
    for kept in [2, 0] {
        // Once more: what was doubtful is read again.
        let ran = home.refresh(&folder, "--sqlite store.sqlite");
        let report = ran.json(3);
        let counts = ["inserted", "updated", "deletes_withheld"].map(|what| count(&report, "artist", what));
        assert_eq!(counts, if kept == 2 { [1, 1, 1] } else { [0, 0, 1] });
        ran.said(&["CHECKSUM.txt"]);
    }
    // Fetched again, it is what was stated.
    state_sums(&folder);
    let report = home.refresh(&folder, "--sqlite store.sqlite").json(0);
    assert_eq!(["unchanged", "deleted"].map(|what| count(&report, "artist", what)), [2, 1]);
    assert_eq!(home.refresh(&folder, "--sqlite store.sqlite").json(0)["kinds"], serde_json::json!({}));
}

#[test]
fn a_dump_cut_short_beside_the_checksum_of_the_whole_one_is_known_by_its_own_sha256_in_state_and_stores() {
    let home = Home::new();
    let packed = gzip(&whole(&(1..200).map(|id| artist(id, "<name>Some One</name>")).collect::<String>()), 1);
    let folder = home.path("2026-01");
    fs::create_dir(&folder).expect("created");
    let file = folder.join("discogs_20260101_artists.xml.gz");
    fs::write(&file, &packed).expect("written");
    state_sums(&folder);
    fs::write(&file, &packed[..packed.len() / 2]).expect("cut");
    let cut = home.refresh(&folder, "--sqlite store.sqlite");
    assert!(count(&cut.json(3), "artist", "inserted") < 199);
    // The same dumps once more, and a repair from them.
    let again = home.refresh(&folder, "--sqlite store.sqlite");
    assert_eq!(count(&again.json(3), "artist", "inserted"), 0);
    let connection = rusqlite::Connection::open(home.path("store.sqlite")).expect("a store");
    let own = sha256(&packed[..packed.len() / 2]);
    let noted: Vec<String> = {
        let mut rows = connection.prepare("SELECT DISTINCT sha256 FROM snapshots").expect("a table");
        rows.query_map([], |row| row.get(0)).expect("rows").map(|row| row.expect("a row")).collect()
    };
    assert_eq!(noted, [own]);
    connection.execute("UPDATE artists SET data = '{}' WHERE data_id = '1'", []).expect("altered");
    let repaired = home.run("verify --repair --state state --sqlite store.sqlite --dumps 2026-01");
    assert_eq!(repaired.status, Some(0), "{}{}", repaired.stdout, repaired.stderr);
    // A state made anew from the store knows that the whole dump is another.
    fs::remove_dir_all(home.path("state")).expect("removed");
    let rebuilt = home.run("state rebuild --from store.sqlite --state state");
    assert_eq!(rebuilt.status, Some(0), "{}{}", rebuilt.stdout, rebuilt.stderr);
    fs::write(&file, &packed).expect("fetched again");
    home.refresh(&folder, "--sqlite store.sqlite").json(0);
    assert_eq!(home.sqlite("store.sqlite").len(), 199);
}

#[test]
fn a_dump_that_cannot_be_read_ends_the_run_before_anything_is_begun_whatever_is_stated_of_it() {
    let home = Home::new();
    let folder = home.dumps("2026-01", &[("artists", &whole(&artist(1, "")))]);
    state_sums(&folder);
    let file = folder.join("discogs_20260101_artists.xml");
    fs::remove_file(&file).expect("removed");
    // A link to nothing, as permissions do not keep root from reading.
    std::os::unix::fs::symlink("nowhere", &file).expect("linked");
    home.refresh(&folder, "--sqlite store.sqlite").refused(&["cannot read", "discogs_20260101_artists.xml"]);
    assert!(!home.path("store.sqlite").exists());
}

#[test]
fn a_dump_that_is_not_what_was_stated_is_known_by_its_own_sha256_afterwards() {
    let home = Home::new();
    let folder = home.dumps("2026-01", &[("artists", &whole(&(artist(1, "") + &artist(2, "") + "<artist><id>x</id></artist>\n")))]);
    fs::write(folder.join("discogs_20260101_CHECKSUM.txt"), format!("{} discogs_20260101_artists.xml\n", "0".repeat(64))).expect("written");
    home.refresh(&folder, "--sqlite store.sqlite --reject-limit-percent 50").json(3);
    let retried = home.run("dead-letters retry --state state --sqlite store.sqlite --reject-limit-percent 50 --dumps 2026-01");
    assert_eq!(retried.status, Some(3), "{}{}", retried.stdout, retried.stderr);
    let connection = rusqlite::Connection::open(home.path("store.sqlite")).expect("a store");
    connection.execute("UPDATE artists SET data = '{}' WHERE data_id = '1'", []).expect("altered");
    let repaired = home.run("verify --repair --state state --sqlite store.sqlite --dumps 2026-01");
    assert_eq!(repaired.status, Some(0), "{}{}", repaired.stdout, repaired.stderr);
}

#[test]
fn a_folder_without_a_dump_is_refused_before_anything_is_made() {
    let home = Home::new();
    fs::create_dir(home.path("empty")).expect("created");
    home.refresh(&home.path("empty"), "--sqlite store.sqlite").refused(&["holds no dump", "the folder is empty"]);
    home.refresh(Path::new("nowhere"), "--sqlite store.sqlite").refused(&["cannot read nowhere"]);
    assert!(!home.path("store.sqlite").exists() && !home.path("state").exists());
}
