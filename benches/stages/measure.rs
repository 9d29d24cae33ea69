//! Times by turns, and how they are told.

use std::fs::OpenOptions;
use std::hint::black_box;
use std::io::Write;
use std::time::Instant;

use anyhow::Result;
use serde::Serialize;

const ROUNDS: usize = 15;

/// A stage beside its limit: `benches/end-to-end.sh` gathers these where it gathers rows.
#[derive(Serialize)]
struct Stage<'a> {
    stage: &'a str,
    records: usize,
    bytes: usize,
    /// Seconds, medians.
    seconds: f64,
    limit: &'a str,
    limit_seconds: f64,
    /// The stage's speed by the limit's: the median, and the lowest and the highest.
    ratio: f64,
    spread: (f64, f64),
}

/// Heads the table of [`stage`].
pub fn heading() {
    println!("Medians of {ROUNDS} rounds; ratio: the stage's speed by the limit's.\n");
    println!("| stage | records | MB | MB/s | records/s | limit | MB/s | ratio (lowest to highest) |");
    println!("| --- | ---: | ---: | ---: | ---: | --- | ---: | ---: |");
}

/// Times a stage and its limit, which do the same with so many records and bytes.
pub fn stage<A, B>(
    name: &str,
    (records, bytes): (usize, usize),
    work: impl FnMut() -> A,
    limit: &str,
    bare: impl FnMut() -> B,
) -> Result<()> {
    let rounds = paired(work, bare);
    let middle = |values: &mut dyn Iterator<Item = f64>| {
        let mut values: Vec<f64> = values.collect();
        values.sort_unstable_by(f64::total_cmp);
        (values[ROUNDS / 2], (values[0], values[ROUNDS - 1]))
    };
    let (seconds, _) = middle(&mut rounds.iter().map(|(seconds, _)| *seconds));
    let (limit_seconds, _) = middle(&mut rounds.iter().map(|(_, seconds)| *seconds));
    let (ratio, spread) = middle(&mut rounds.iter().map(|(seconds, limit)| limit / seconds));
    let megabytes = bytes as f64 / 1e6;
    println!(
        "| {name} | {records} | {megabytes:.1} | {:.0} | {:.0} | {limit} | {:.0} | {ratio:.2} ({:.2} to {:.2}) |",
        megabytes / seconds,
        records as f64 / seconds,
        megabytes / limit_seconds,
        spread.0,
        spread.1
    );
    let Some(path) = std::env::var_os("BENCHMARKS_TOLD") else { return Ok(()) };
    let stage = Stage { stage: name, records, bytes, seconds, limit, limit_seconds, ratio, spread };
    Ok(writeln!(OpenOptions::new().create(true).append(true).open(path)?, "{}", serde_json::to_string(&stage)?)?)
}

/// Seconds of both, round by round.
pub fn paired<A, B>(mut first: impl FnMut() -> A, mut second: impl FnMut() -> B) -> Vec<(f64, f64)> {
    let pair = |round| {
        if round % 2 == 0 {
            let first = timed(&mut first);
            return (first, timed(&mut second));
        }
        let second = timed(&mut second);
        (timed(&mut first), second)
    };
    (0..ROUNDS).map(pair).collect()
}

fn timed<T>(work: &mut impl FnMut() -> T) -> f64 {
    let begun = Instant::now();
    let result = black_box(work());
    let seconds = begun.elapsed().as_secs_f64();
    // Letting go of it is not timed.
    drop(result);
    seconds
}
