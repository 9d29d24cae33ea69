//! What the tests share: the program, its stores read back by other means than its own, and months to feed it with.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

pub const KINDS: [&str; 4] = ["artist", "label", "master", "release"];

/// What a document store holds: hash and document by kind and `data_id`.
pub type Rows = BTreeMap<(&'static str, String), (String, Value)>;

/// The program, in a folder, with nothing of the environment's settings.
pub fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_discodiff"));
    for (name, _) in std::env::vars_os()
        .filter(|(name, _)| name.to_string_lossy().starts_with("DISCODIFF_") || name.to_string_lossy().starts_with("AWS_"))
    {
        command.env_remove(name);
    }
    command.current_dir(folder).stdin(Stdio::null());
    command
}

/// What a run of the program came to.
#[derive(Debug)]
pub struct Ran {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn of(output: &Output) -> Ran {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran { status: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// The object on stdout, if the program ended with this status.
    #[track_caller]
    pub fn json(&self, status: i32) -> Value {
        assert_eq!(self.status, Some(status), "{}{}", self.stdout, self.stderr);
        serde_json::from_str(&self.stdout).expect("one JSON object on stdout")
    }

    /// The program failed, printed no data, and said all of these.
    #[track_caller]
    pub fn refused(&self, words: &[&str]) {
        assert_eq!(self.status, Some(1), "{}{}", self.stdout, self.stderr);
        assert_eq!(self.stdout, "");
        self.said(words);
    }

    #[track_caller]
    pub fn said(&self, words: &[&str]) {
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is not in {}", self.stderr);
        }
    }
}

/// A folder for one test, in which the program runs: names in its arguments are names in this folder.
pub struct Home {
    folder: TempDir,
    /// What each command finds in its environment.
    environment: Vec<(&'static str, String)>,
}

impl Home {
    pub fn new() -> Home {
        Home::with(Vec::new())
    }

    /// Where commands find these variables.
    pub fn with(environment: Vec<(&'static str, String)>) -> Home {
        Home { folder: tempfile::tempdir().expect("a folder"), environment }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command line, split at white space.
    pub fn command(&self, line: &str) -> Command {
        let mut command = program(self.folder.path());
        command.args(line.split_whitespace()).envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    pub fn run(&self, line: &str) -> Ran {
        Ran::of(&self.command(line).output().expect("it starts"))
    }

    /// A refresh to the month in `dumps`, with `--state state` where `rest` names none.
    pub fn refreshing(&self, dumps: &Path, rest: &str) -> Command {
        let state = if rest.contains("--state") { "" } else { "--state state" };
        let mut command = self.command(&format!("refresh --json {state} {rest}"));
        command.arg("--dumps").arg(dumps);
        command
    }

    pub fn refresh(&self, dumps: &Path, rest: &str) -> Ran {
        Ran::of(&self.refreshing(dumps, rest).output().expect("it starts"))
    }

    pub fn sqlite(&self, name: &str) -> Rows {
        sqlite_rows(&self.path(name))
    }

    /// The feed's lines, but for what it says of rejected records.
    pub fn feed(&self, name: &str) -> Vec<Value> {
        self.lines(name).into_iter().filter(|line| line.get("dead_letter").is_none()).collect()
    }

    /// All lines of a feed.
    pub fn lines(&self, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.path(name)).expect("a feed");
        text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    /// A folder of dumps written here: names of kinds and their XML.
    pub fn dumps(&self, month: &str, files: &[(&str, &[u8])]) -> PathBuf {
        let folder = self.path(month);
        fs::create_dir_all(&folder).expect("created");
        for (plural, xml) in files {
            fs::write(folder.join(format!("discogs_{}01_{plural}.xml", month.replace('-', ""))), xml).expect("written");
        }
        folder
    }

    pub fn copy(&self, from: &str, to: &str) {
        copy(&self.path(from), &self.path(to));
    }

    /// Every file below `name`, with its bytes.
    pub fn bytes(&self, name: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        collect(&self.path(name), &mut found);
        found
    }
}

fn collect(path: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
    if path.is_dir() {
        fs::read_dir(path).expect("listed").for_each(|entry| collect(&entry.expect("an entry").path(), found));
    } else if path.exists() {
        found.insert(path.to_owned(), fs::read(path).expect("read"));
    }
}

/// Copies a file or a folder; what was there before goes.
pub fn copy(from: &Path, to: &Path) {
    if to.is_dir() {
        fs::remove_dir_all(to).expect("removed");
    }
    if from.is_dir() {
        fs::create_dir_all(to).expect("created");
        for entry in fs::read_dir(from).expect("listed") {
            let entry = entry.expect("an entry");
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::copy(from, to).expect("copied");
    }
}

pub fn sqlite_rows(path: &Path) -> Rows {
    let connection = rusqlite::Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).expect("a SQLite file");
    let mut rows = Rows::new();
    for kind in KINDS {
        let mut statement = connection.prepare(&format!("SELECT data_id, hash, data FROM {kind}s")).expect("a table");
        let texts = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?))).expect("rows");
        for (id, hash, data) in texts.map(|row| row.expect("a row")) {
            rows.insert((kind, id), (hash, serde_json::from_str(&data).expect("JSON")));
        }
    }
    rows
}

/// A database of its own on the server that `DISCODIFF_TEST_POSTGRES` names; dropped at the end.
pub struct Database {
    server: String,
    name: String,
    /// The whole server is thrown away, so it need not be dropped.
    thrown_away: bool,
}

impl Database {
    /// `None`, with a word, where no server is named.
    pub fn new() -> Option<Database> {
        Database::made("")
    }

    /// The one of a server of the test's own.
    pub fn at(url: &str) -> Database {
        let (_, name) = url.rsplit_once('/').expect("a URL that ends with a database");
        Database { server: url.to_owned(), name: name.to_owned(), thrown_away: true }
    }

    /// Another with the same content.
    pub fn copy(&self) -> Database {
        Database::made(&format!("TEMPLATE {}", self.name)).expect("a server")
    }

    fn made(how: &str) -> Option<Database> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let Ok(server) = std::env::var("DISCODIFF_TEST_POSTGRES") else {
            println!("skipped PostgreSQL: DISCODIFF_TEST_POSTGRES is not set");
            return None;
        };
        let name = format!("discodiff_promise_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        execute(&server, &format!("CREATE DATABASE {name} {how}"));
        Some(Database { server, name, thrown_away: false })
    }

    pub fn url(&self) -> String {
        let (server, _) = self.server.rsplit_once('/').expect("a URL that ends with a database");
        format!("{server}/{}", self.name)
    }

    pub fn execute(&self, sql: &str) {
        execute(&self.url(), sql);
    }

    pub fn rows(&self) -> Rows {
        with_client(&self.url(), async |client: &Client| {
            let mut rows = Rows::new();
            for kind in KINDS {
                for row in client.query(&format!("SELECT data_id, hash, data FROM {kind}s"), &[]).await.expect("a table") {
                    rows.insert((kind, row.get(0)), (row.get(1), row.get(2)));
                }
            }
            rows
        })
    }
}

impl Database {
    /// The only column of a query's rows.
    pub fn texts(&self, sql: &str) -> BTreeSet<String> {
        with_client(&self.url(), async |client: &Client| client.query(sql, &[]).await.expect("rows").iter().map(|row| row.get(0)).collect())
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if self.thrown_away {
            return;
        }
        execute(&self.server, &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
    }
}

fn execute(url: &str, sql: &str) {
    with_client(url, async |client: &Client| client.batch_execute(sql).await.expect("executed"));
}

fn with_client<T>(url: &str, work: impl AsyncFnOnce(&Client) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("PostgreSQL");
        let connection = tokio::spawn(connection);
        let result = work(&client).await;
        drop(client);
        connection.await.expect("joined").expect("a good end");
        result
    })
}

/// A folder of real dumps; `None`, with a word, where they are not.
pub fn real(name: &str) -> Option<PathBuf> {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/dumps");
    let folder = std::env::var_os("DISCODIFF_REAL_DUMPS").map_or_else(default, PathBuf::from).join(name);
    if !folder.exists() {
        println!("skipped: there is no {}; DISCODIFF_REAL_DUMPS names the folder of real dumps", folder.display());
        return None;
    }
    Some(folder)
}

/// A dump file's XML.
pub fn xml(path: &Path) -> Vec<u8> {
    let mut xml = Vec::new();
    MultiGzDecoder::new(fs::File::open(path).expect("a dump")).read_to_end(&mut xml).expect("gzip");
    xml
}

/// One gzip member.
pub fn gzip(xml: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(xml).expect("written");
    encoder.finish().expect("finished")
}

/// One count of one kind in a run's object.
#[track_caller]
pub fn count(report: &Value, kind: &str, what: &str) -> u64 {
    report["kinds"][kind][what].as_u64().unwrap_or_else(|| panic!("no {what} of {kind} in {report}"))
}

/// Where two stores differ, in a few words: equality of whole stores would print megabytes.
#[track_caller]
pub fn assert_same(left: &Rows, right: &Rows, what: &str) {
    let keys = left.keys().chain(right.keys());
    let mut differ: Vec<_> = keys.filter(|key| left.get(key) != right.get(key)).collect();
    differ.sort();
    differ.dedup();
    assert!(differ.is_empty(), "{what}: {} rows differ, such as {:?}", differ.len(), &differ[..differ.len().min(5)]);
}

/// In hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes the sha256 of a folder's dumps beside them, as Discogs does.
pub fn state_sums(folder: &Path) {
    let mut lines = String::new();
    for entry in fs::read_dir(folder).expect("listed") {
        let path = entry.expect("an entry").path();
        lines += &format!("{} {}\n", sha256(&fs::read(&path).expect("read")), path.file_name().expect("a name").to_string_lossy());
    }
    fs::write(folder.join("discogs_20260101_CHECKSUM.txt"), lines).expect("written");
}

/// A dump of so many artists.
pub fn artists(number: u64) -> Vec<u8> {
    let each: String = (1..=number).map(|id| format!("<artist><id>{id}</id><name>A{id}</name></artist>\n")).collect();
    format!("<artists>\n{each}</artists>\n").into_bytes()
}

/// Tells of something that a test did to disturb the program: `soak.sh` counts it.
pub fn fault(what: &str) {
    println!("fault: {what}");
}
