//! A state that is damaged is refused in words, and no byte of any sink is touched.

use std::fs;
use std::path::PathBuf;

use super::generated::small;
use super::harness::{Home, Ran};

struct Case {
    home: Home,
    months: Vec<PathBuf>,
}

impl Case {
    /// The first month, by two workers.
    fn new() -> Case {
        let case = Case { home: Home::new(), months: small().folders() };
        case.refresh(0).json(0);
        case
    }

    fn refresh(&self, month: usize) -> Ran {
        self.home.refresh(&self.months[month], "--sqlite store.sqlite --feed feed.jsonl -w 2")
    }

    /// Damages a file of the state; the next run, and verify, refuse it with these words and change nothing.
    #[track_caller]
    fn refused(&self, file: &str, damage: impl FnOnce(Vec<u8>) -> Option<Vec<u8>>, words: &[&str]) {
        let bytes = || ["store.sqlite", "feed.jsonl"].map(|file| fs::read(self.home.path(file)).expect("read"));
        let before = bytes();
        self.home.copy("state", "backup");
        let path = self.home.path(&format!("state/{file}"));
        match damage(fs::read(&path).expect("read")) {
            Some(bytes) => fs::write(&path, bytes).expect("written"),
            None => fs::remove_file(&path).expect("removed"),
        }
        self.refresh(1).refused(words);
        assert!(before == bytes(), "store and feed are byte for byte as they were");
        self.home.run("verify --state state --sqlite store.sqlite").refused(words);
        self.home.copy("backup", "state");
    }

    /// And with the state restored all is well.
    fn recovers(&self) {
        self.refresh(1).json(0);
        assert_eq!(self.home.run("verify --state state --sqlite store.sqlite --json").json(0)["equal"], true);
    }
}

const RESTORE: &str = "Restore the state from a backup";

#[test]
fn a_damaged_manifest_is_refused_and_restoring_it_is_enough() {
    let case = Case::new();
    let file = "manifest.json";
    case.refused(file, |bytes| Some(bytes[..bytes.len() / 2].to_vec()), &[file, "damaged", RESTORE]);
    case.refused(file, |_| Some(Vec::new()), &[file, "damaged"]);
    let edited = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text").replace("\"last_epoch\": 1", "\"last_epoch\": 7").into_bytes();
    case.refused(file, |bytes| Some(edited(bytes)), &[file, "its checksum does not agree"]);
    case.refused(file, |_| None, &["no manifest.json", "damaged"]);
    case.recovers();
}

#[test]
fn damaged_fingerprints_are_refused_and_restoring_them_is_enough() {
    let case = Case::new();
    for file in ["g1-0.fingerprints", "g1-1.fingerprints"] {
        let flipped = |mut bytes: Vec<u8>, at: usize| {
            bytes[at] ^= 1;
            Some(bytes)
        };
        case.refused(
            file,
            |bytes| {
                let middle = bytes.len() / 2;
                flipped(bytes, middle)
            },
            &[file, RESTORE],
        );
        case.refused(file, |bytes| flipped(bytes, 0), &[file, "not a file of fingerprints"]);
        case.refused(file, |bytes| flipped(bytes, 20), &[file, "header is damaged"]);
        case.refused(file, |bytes| Some(bytes[..bytes.len() - 20].to_vec()), &[file, RESTORE]);
        case.refused(file, |bytes| Some(bytes[..20].to_vec()), &[file, "shorter than its header"]);
        case.refused(file, |_| None, &[file, "the file is missing"]);
    }
    case.recovers();
}

#[test]
fn another_states_fingerprints_are_refused() {
    let case = Case::new();
    let other = Case::new();
    let file = "g1-0.fingerprints";
    case.refused(file, |_| Some(fs::read(other.home.path("state").join(file)).expect("read")), &[file, "it belongs to another state"]);
    case.recovers();
}

#[test]
fn the_default_store_stands_alone_in_the_states_folder() {
    let (home, months) = (Home::new(), small().folders());
    home.refresh(&months[0], "").json(0);
    let names: Vec<_> =
        home.bytes("state").into_keys().map(|path| path.file_name().expect("a name").to_string_lossy().into_owned()).collect();
    assert_eq!(names, ["discodiff.sqlite", "g1-0.fingerprints", "lock", "manifest.json"], "and no log beside it");
    assert_eq!(home.run("verify --state state --json").json(0)["equal"], true);
}
