//! A first load and a refresh into a SQLite file, against a loop of prepared upserts of the same rows, already made, by turns.
//!
//! ```sh
//! cargo bench --bench sqlite
//! ```
//!
//! The bare loop writes into tables that the product made, with the same settings, in transactions of the product's size, and writes
//! `changes` too; the fields that an update changed come with the rows. `RELEASES` (200,000) says how large the months are, `ROUNDS` (3)
//! how often.

#[path = "made.rs"]
mod made;
#[path = "rows.rs"]
mod rows;
#[path = "sides.rs"]
mod sides;

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};

use made::{Batch, KINDS, Made, Rows};
use rows::Row;
use sides::{Cost, measured, months, refresh, rounds};

/// What a first load and a refresh cost a side.
type Pair = [Cost; 2];

fn write(file: &Path, journal: &str, batches: &[Batch], epoch: i64) -> rusqlite::Result<()> {
    let mut file = Connection::open(file)?;
    file.pragma_update(None, "journal_mode", journal)?;
    file.pragma_update(None, "synchronous", "FULL")?;
    file.pragma_update(None, "wal_autocheckpoint", 10_000)?;
    file.pragma_update(None, "cache_size", -65_536)?;
    file.set_prepared_statement_cache_capacity(32);
    let now = "2026-01-01T00:00:00.000Z";
    for Batch { kind, rows } in batches {
        let (table, name) = KINDS[*kind];
        let tx = file.transaction()?;
        {
            let mut note = tx.prepare_cached(
                "INSERT INTO changes (epoch, kind, id, op, fields, at) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (epoch, kind, id) DO NOTHING",
            )?;
            let mut upsert = tx.prepare_cached(&format!(
                "INSERT INTO {table} (data_id, hash, data, updated_at) VALUES (?, ?, ?, ?) ON CONFLICT (data_id) DO UPDATE
                 SET hash = excluded.hash, data = excluded.data, updated_at = excluded.updated_at WHERE hash <> excluded.hash"
            ))?;
            let mut delete = tx.prepare_cached(&format!("DELETE FROM {table} WHERE data_id = ?"))?;
            for Made { id, row, op, fields } in rows {
                note.execute(params![epoch, name, id, op, fields, now])?;
                match row {
                    Some((hash, data)) => upsert.execute(params![id, hash, data, now])?,
                    None => delete.execute([id])?,
                };
            }
        }
        tx.commit()?;
    }
    file.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))
}

fn product(folder: &Path, months: &[PathBuf; 2]) -> Pair {
    let file = folder.join("product.sqlite");
    months.each_ref().map(|month| measured(None, || refresh(month, &folder.join("product"), &["--sqlite", file.to_str().expect("a path")])))
}

fn bare(folder: &Path, made: &Rows) -> Pair {
    // The product makes the tables.
    let (empty, file) = (folder.join("empty"), folder.join("bare.sqlite"));
    fs::create_dir_all(&empty).expect("made");
    for (table, _) in KINDS {
        fs::write(empty.join(format!("discogs_20250101_{table}.xml")), format!("<{table}>\n</{table}>\n")).expect("written");
    }
    refresh(&empty, &folder.join("made-empty"), &["--sqlite", file.to_str().expect("a path")]);
    let months = [("TRUNCATE", &made.first, 2), ("WAL", &made.second, 3)];
    months.map(|(journal, batches, epoch)| measured(None, || write(&file, journal, batches, epoch).expect("written")))
}

fn main() {
    let months = months();
    let scratch = tempfile::tempdir_in(Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench")).expect("a folder");
    let made = Rows::of(&months, scratch.path());
    let counts = [made::count(&made.first), made::count(&made.second)];
    let mut found: [Vec<(f64, f64)>; 2] = Default::default();
    for round in 0..rounds() {
        let folder = &scratch.path().join(round.to_string());
        fs::create_dir(folder).expect("made");
        let null = months.each_ref().map(|month| measured(None, || refresh(month, &folder.join("null"), &["--null"])));
        let (ours, theirs) = if round % 2 == 0 {
            let ours = product(folder, &months);
            (ours, bare(folder, &made))
        } else {
            let theirs = bare(folder, &made);
            (product(folder, &months), theirs)
        };
        fs::remove_dir_all(folder).expect("removed");
        for at in 0..2 {
            println!("round {round}, month {}: product {:.2?}, bare {:.2?}, null {:.2?}", at + 1, ours[at], theirs[at], null[at]);
            found[at].push((counts[at] / ours[at].wall, counts[at] / theirs[at].limit(null[at])));
        }
    }
    let tell = |what: &str, found: &[(f64, f64)]| Row::of(6, what, found, 0.85, true).tell().expect("told");
    tell("SQLite, first load, rows/s", &found[0]);
    tell("SQLite, refresh, rows/s", &found[1]);
}
