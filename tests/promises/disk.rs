//! Disks that are full, files that may not grow, folders that may not be written: told in words, and once that is mended the same command
//! comes to the same end. And who may read what is written.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::generated::small;
use super::harness::{Home, Ran, assert_same};

/// A folder on a small disk of its own.
pub struct Small {
    folder: PathBuf,
}

impl Small {
    /// `None`, with a word, where this user may not mount one.
    pub fn new(home: &Home, megabytes: u32) -> Option<Small> {
        let folder = home.path("small");
        fs::create_dir(&folder).expect("made");
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"]).arg(&folder).output();
        if !mounted.is_ok_and(|output| output.status.success()) {
            println!("skipped: this user may not mount a disk (a tmpfs)");
            return None;
        }
        Some(Small { folder })
    }

    /// Leaves so many bytes, or as few pages as hold them.
    pub fn fill_but(&self, left: usize) {
        let mut ballast = fs::File::options().create(true).append(true).open(self.folder.join("ballast")).expect("opened");
        let piece = [1; 64 << 10];
        while ballast.write_all(&piece).is_ok() {}
        let length = ballast.metadata().expect("there").len();
        ballast.set_len(length.saturating_sub(left as u64)).expect("cut");
    }

    pub fn make_room(&self) {
        fs::remove_file(self.folder.join("ballast")).expect("removed");
    }

    fn remount(&self, how: &str) {
        let done = Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(&self.folder).status().expect("it starts");
        assert!(done.success());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}

fn lines(home: &Home, feed: &str) -> Vec<String> {
    let mut lines: Vec<_> = home.lines(feed).iter().map(ToString::to_string).collect();
    lines.sort();
    lines
}

/// Two months with this on the small disk: full to so many bytes in the first, and in the second.
fn proves(on_small: &str, left: [&[usize]; 2], file: &str) {
    let (home, other) = (Home::new(), Home::new());
    let Some(small_disk) = Small::new(&home, 24) else { return };
    let place = |what: &str| if what == on_small { format!("small/{what}") } else { what.to_owned() };
    let [state, sqlite, feed] = ["state", "store.sqlite", "feed.jsonl"].map(place);
    let line = format!("--checkpoint-interval 0 --state {state} --sqlite {sqlite} --feed {feed}");
    for (month, left) in small().folders().iter().zip(left) {
        for left in left {
            small_disk.fill_but(*left);
            let ran = home.refresh(month, &line);
            ran.refused(&["disk is full", "make room and run the same command again", file]);
            let again = home.refresh(month, &line);
            assert_eq!(again.status, Some(1), "{left} left: {}", again.stderr);
            small_disk.make_room();
        }
        home.refresh(month, &line).json(0);
        other.refresh(month, "--sqlite store.sqlite --feed feed.jsonl").json(0);
        assert_same(&home.sqlite(&sqlite), &other.sqlite("store.sqlite"), on_small);
        assert_eq!(home.told(&sqlite), other.told("store.sqlite"));
        assert!(lines(&home, &feed) == lines(&other, "feed.jsonl"), "{on_small}: the feed");
    }
    let verified = home.run(&format!("verify --json --state {state} --sqlite {sqlite}")).json(0);
    assert_eq!(verified["equal"], true);
}

#[test]
fn a_full_disk_below_the_state_is_told_and_with_room_the_same_command_goes_on() {
    proves("state", [&[0, 12 << 10, 40 << 10], &[0, 16 << 10]], "small/state");
}

#[test]
fn a_full_disk_below_sqlite_is_told_and_with_room_the_same_command_goes_on() {
    proves("store.sqlite", [&[0, 100 << 10, 2 << 20], &[0, 40 << 10]], "small/store.sqlite");
}

#[test]
fn a_full_disk_below_the_feed_is_told_and_with_room_the_same_command_goes_on() {
    proves("feed.jsonl", [&[0, 8 << 10, 600 << 10], &[0, 8 << 10]], "small/feed.jsonl");
}

#[test]
fn a_file_that_may_not_grow_further_is_told_and_no_signal_ends_the_program() {
    let (home, month) = (Home::new(), &small().folders()[0]);
    for (sink, words) in [
        ("--feed feed.jsonl", "the file may not grow further"),
        ("--sqlite store.sqlite", "the file may not grow further"),
        ("--null", "the file may not grow further"),
    ] {
        let program = env!("CARGO_BIN_EXE_discodiff");
        let limit = if sink == "--null" { 16 } else { 200 };
        let mut command = Command::new("bash");
        command.args(["-c", &format!("ulimit -f {limit}; exec {program} refresh --state state --dumps {} {sink}", month.display())]);
        command.current_dir(home.path(""));
        Ran::of(&command.output().expect("it starts")).refused(&[words, "run the same command again"]);
        home.refresh(month, sink).json(0);
        fs::remove_dir_all(home.path("state")).expect("removed");
    }
}

#[test]
fn a_place_that_may_not_be_written_is_told_by_name() {
    let (home, month) = (Home::new(), &small().folders()[0]);
    let Some(disk) = Small::new(&home, 24) else { return };
    disk.remount("ro");
    for (line, file) in [
        ("--state small/state --null", "small/state"),
        ("--sqlite small/store.sqlite", "small/store.sqlite"),
        ("--feed small/feed.jsonl", "small/feed.jsonl"),
    ] {
        home.refresh(month, line).refused(&[file, "read-only"]);
    }
    disk.remount("rw");
    home.refresh(month, "--state small/state --sqlite small/store.sqlite --feed small/feed.jsonl").json(0);
    disk.remount("ro");
    let line = "--state small/state --sqlite small/store.sqlite";
    home.refresh(&small().folders()[1], line).refused(&["small/", "read-only"]);
}

fn modes(path: &Path, found: &mut Vec<(PathBuf, u32)>) {
    found.push((path.to_owned(), fs::metadata(path).expect("there").permissions().mode() & 0o777));
    if path.is_dir() {
        fs::read_dir(path).expect("listed").for_each(|entry| modes(&entry.expect("an entry").path(), found));
    }
}

#[test]
fn what_is_written_is_for_its_owner_only_and_rights_that_someone_gave_stay() {
    let (home, months) = (Home::new(), small().folders());
    let program = env!("CARGO_BIN_EXE_discodiff");
    let refresh = |month: &Path, points: &str| {
        let line = format!(
            "umask 0; exec {program} refresh --checkpoint-interval 0 --state new/state --sqlite store.sqlite --feed feed.jsonl --dumps {}",
            month.display()
        );
        let mut command = Command::new("bash");
        command.args(["-c", &line]).current_dir(home.path("")).env("FAILPOINTS", points);
        Ran::of(&command.output().expect("it starts"))
    };
    let check = || {
        let mut found = Vec::new();
        ["new", "store.sqlite", "feed.jsonl", "feed.jsonl.binding.json"].iter().for_each(|name| modes(&home.path(name), &mut found));
        for (path, mode) in found {
            assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
        }
    };
    // Stopped before its end, a run leaves checkpoint and journals; then all is whole.
    #[cfg(feature = "failpoints")]
    {
        assert_eq!(refresh(&months[0], "before-complete=return").status, Some(1));
        check();
    }
    assert_eq!(refresh(&months[0], "").status, Some(0));
    check();
    for name in ["store.sqlite", "feed.jsonl"] {
        fs::set_permissions(home.path(name), fs::Permissions::from_mode(0o644)).expect("set");
    }
    assert_eq!(refresh(&months[1], "").status, Some(0));
    for name in ["store.sqlite", "feed.jsonl"] {
        assert_eq!(fs::metadata(home.path(name)).expect("there").permissions().mode() & 0o777, 0o644);
    }
}
