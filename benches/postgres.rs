//! A first load and a refresh into PostgreSQL, against a bare client that has the same rows already made, by turns, on the server that
//! `DISCODIFF_TEST_POSTGRES` names, which must run on this machine.
//!
//! ```sh
//! scripts/services.sh start postgres && export $(scripts/services.sh env postgres) && cargo bench --bench postgres
//! ```
//!
//! The bare client has one connection, as the product with one worker. It copies batches of the product's size in binary into a temporary
//! table and merges them from there into tables that the product made, `changes` among them, each batch in a transaction; the fields that
//! an update changed come with the rows. Each side writes into a database of its own. `RELEASES` (200,000) says how large the months are,
//! `ROUNDS` (3) how often.

#[path = "made.rs"]
mod made;
#[path = "rows.rs"]
mod rows;
#[path = "sides.rs"]
mod sides;

use std::fs;
use std::path::{Path, PathBuf};
use std::pin::pin;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::SinkExt;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, Config, NoTls};

use made::{Batch, KINDS, Made};
use rows::Row;
use sides::{Cost, measured, months, refresh, rounds};

/// As the product's connections are set, but for the lookups: a temporary table has no statistics.
const SESSION: &str = "
    SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off;
    CREATE TEMPORARY TABLE staged (data_id text NOT NULL, hash text, data jsonb, op text NOT NULL, fields jsonb) ON COMMIT DELETE ROWS;
    ALTER TABLE staged ALTER COLUMN data SET STORAGE EXTERNAL";

const COPY: &str = "COPY staged (data_id, hash, data, op, fields) FROM STDIN (FORMAT binary)";

/// Bytes that are sent at a time.
const CHUNK: usize = 128 * 1024;

struct Bare {
    runtime: Runtime,
    client: Client,
}

impl Bare {
    fn connect(config: &Config) -> Bare {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a thread");
        let (client, connection) = runtime.block_on(config.connect(NoTls)).expect("connected");
        runtime.spawn(connection);
        Bare { runtime, client }
    }

    fn execute(&self, sql: &str) {
        self.runtime.block_on(self.client.batch_execute(sql)).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    fn write(&mut self, batches: &[Batch], epoch: i64) {
        self.execute(SESSION);
        let work = async {
            let copy = self.client.prepare(COPY).await?;
            let mut merges = Vec::new();
            for (table, kind) in KINDS {
                let note = format!(
                    "INSERT INTO changes (epoch, kind, id, op, fields, at) SELECT $1::bigint, '{kind}', data_id, op, fields, now() FROM staged
                     ON CONFLICT (epoch, kind, id) DO NOTHING"
                );
                let upsert = format!(
                    "INSERT INTO {table} (data_id, hash, data, updated_at) SELECT data_id, hash, data, now() FROM staged WHERE hash IS NOT NULL
                     ON CONFLICT (data_id) DO UPDATE SET hash = excluded.hash, data = excluded.data, updated_at = excluded.updated_at
                     WHERE {table}.hash <> excluded.hash"
                );
                let delete = format!("DELETE FROM {table} t USING staged s WHERE s.hash IS NULL AND t.data_id = s.data_id");
                merges.push((self.client.prepare(&note).await?, self.client.prepare(&upsert).await?, self.client.prepare(&delete).await?));
            }
            for Batch { kind, rows } in batches {
                let tx = self.client.transaction().await?;
                let mut sink = pin!(tx.copy_in(&copy).await?);
                let mut buffer = BytesMut::with_capacity(2 * CHUNK);
                buffer.put_slice(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
                for made in rows {
                    encode(&mut buffer, made);
                    if buffer.len() >= CHUNK {
                        sink.send(buffer.split().freeze()).await?;
                    }
                }
                buffer.put_i16(-1);
                sink.send(Bytes::from(buffer)).await?;
                sink.finish().await?;
                let (note, upsert, delete) = &merges[*kind];
                tx.execute(note, &[&epoch]).await?;
                tx.execute(upsert, &[]).await?;
                if rows.iter().any(|made| made.row.is_none()) {
                    tx.execute(delete, &[]).await?;
                }
                tx.commit().await?;
            }
            Ok::<(), tokio_postgres::Error>(())
        };
        self.runtime.block_on(work).expect("written");
    }
}

fn encode(buffer: &mut BytesMut, Made { id, row, op, fields }: &Made) {
    // What stands before the text of a jsonb in binary form.
    const JSONB: &[u8] = &[1];
    let (hash, data) = row.as_ref().map(|(hash, data)| (hash.as_str(), data.as_str())).unzip();
    let columns: [(&[u8], Option<&str>); 5] = [(b"", Some(id)), (b"", hash), (JSONB, data), (b"", Some(op)), (JSONB, fields.as_deref())];
    buffer.put_i16(5);
    for (prefix, text) in columns {
        let Some(text) = text else {
            buffer.put_i32(-1);
            continue;
        };
        buffer.put_i32(i32::try_from(prefix.len() + text.len()).expect("a small one"));
        buffer.put_slice(prefix);
        buffer.put_slice(text.as_bytes());
    }
}

/// A database that is made anew, and goes in the end.
struct Database<'a> {
    url: String,
    name: &'static str,
    server: &'a Bare,
}

impl Drop for Database<'_> {
    fn drop(&mut self) {
        self.server.execute(&format!("DROP DATABASE {} WITH (FORCE)", self.name));
    }
}

impl<'a> Database<'a> {
    fn make(url: &str, name: &'static str, server: &'a Bare) -> Database<'a> {
        server.execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
        server.execute(&format!("CREATE DATABASE {name}"));
        // Neither side pays for what the other left to be written.
        server.execute("CHECKPOINT");
        let mut url: url::Url = url.parse().expect("a URL");
        url.set_path(name);
        Database { url: url.to_string(), name, server }
    }
}

/// What a first load and a refresh cost a side.
type Pair = [Cost; 2];

fn product(database: &Database<'_>, port: u16, months: &[PathBuf; 2], state: &Path) -> Pair {
    months.each_ref().map(|month| measured(Some(port), || refresh(month, state, &["--postgres", &database.url])))
}

fn bare(database: &Database<'_>, port: u16, made: &made::Rows, folder: &Path, round: usize) -> Pair {
    // The product makes the tables.
    let empty = folder.join("empty");
    fs::create_dir_all(&empty).expect("made");
    for (table, _) in KINDS {
        fs::write(empty.join(format!("discogs_20250101_{table}.xml")), format!("<{table}>\n</{table}>\n")).expect("written");
    }
    refresh(&empty, &folder.join(format!("empty-{round}")), &["--postgres", &database.url]);
    let config: Config = database.url.parse().expect("a URL");
    [(&made.first, 2), (&made.second, 3)].map(|(batches, epoch)| measured(Some(port), || Bare::connect(&config).write(batches, epoch)))
}

fn main() {
    let Ok(url) = std::env::var("DISCODIFF_TEST_POSTGRES") else {
        println!("no server: DISCODIFF_TEST_POSTGRES is not set");
        return;
    };
    let config: Config = url.parse().expect("a URL");
    let port = config.get_ports()[0];
    let control = Bare::connect(&config);
    let months = months();
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = scratch.path();
    let made = made::Rows::of(&months, folder);
    let counts = [made::count(&made.first), made::count(&made.second)];
    let mut found: [Vec<(f64, f64)>; 2] = Default::default();
    for round in 0..rounds() {
        let null = months.each_ref().map(|month| measured(None, || refresh(month, &folder.join(format!("null-{round}")), &["--null"])));
        let product = || {
            let database = Database::make(&url, "discodiff_bench_product", &control);
            product(&database, port, &months, &folder.join(format!("product-{round}")))
        };
        let bare = || {
            let database = Database::make(&url, "discodiff_bench_bare", &control);
            bare(&database, port, &made, folder, round)
        };
        let (ours, theirs) = if round % 2 == 0 {
            let ours = product();
            (ours, bare())
        } else {
            let theirs = bare();
            (product(), theirs)
        };
        for at in 0..2 {
            println!("round {round}, month {}: product {:.2?}, bare {:.2?}, null {:.2?}", at + 1, ours[at], theirs[at], null[at]);
            found[at].push((counts[at] / ours[at].wall, counts[at] / theirs[at].limit(null[at])));
        }
    }
    let tell = |what: &str, found: &[(f64, f64)], target| Row::of(5, what, found, target, true).tell().expect("told");
    tell("PostgreSQL, first load, rows/s", &found[0], 0.85);
    tell("PostgreSQL, refresh, rows/s", &found[1], 0.9);
}
