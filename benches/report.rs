//! Gathers what benchmarks told: `benches/end-to-end.sh` runs it last, on the file that `BENCHMARKS_TOLD` names.
//!
//! Rows that were measured replace those of the same number in `benchmarks.json`, and others stay as they were, so that a run of some rows
//! loses nothing. From that the tables of `BENCHMARKS.md` are written anew, each between two comments; what stands outside of these is
//! people's. Why a target is not met is noted in `benches/reasons.toml`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// A row of a benchmark, as `benches/rows.rs` tells it, and how it was measured.
#[derive(Deserialize, Serialize)]
struct Row {
    row: u32,
    what: String,
    value: f64,
    limit: f64,
    ratio: f64,
    spread: (f64, f64),
    target: f64,
    at_least: bool,
    met: bool,
    #[serde(default)]
    measured: String,
}

/// A stage, as `benches/stages/` tells it.
#[derive(Deserialize)]
struct Stage {
    stage: String,
    records: u64,
    bytes: u64,
    seconds: f64,
    limit: String,
    limit_seconds: f64,
    ratio: f64,
    spread: (f64, f64),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Told {
    Row(Row),
    Stage(Stage),
}

/// By number of the row, then by how `what` begins.
type Reasons = BTreeMap<String, BTreeMap<String, String>>;

fn main() -> Result<()> {
    let Some(told) = std::env::var_os("BENCHMARKS_TOLD") else {
        println!("BENCHMARKS_TOLD names no file that benchmarks told something in");
        return Ok(());
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let measured = measured();
    let (mut rows, mut stages) = (Vec::new(), Vec::new());
    for line in fs::read_to_string(told)?.lines() {
        match serde_json::from_str(line).with_context(|| line.to_owned())? {
            Told::Row(row) => rows.push(Row { measured: measured.clone(), ..row }),
            Told::Stage(stage) => stages.push(stage),
        }
    }
    let json = folder.join("benchmarks.json");
    if json.exists() {
        let before: Vec<Row> = serde_json::from_str(&fs::read_to_string(&json)?).context("benchmarks.json")?;
        let fresh: Vec<u32> = rows.iter().map(|row| row.row).collect();
        rows.extend(before.into_iter().filter(|row| !fresh.contains(&row.row)));
    }
    rows.sort_by_key(|row| row.row);
    let lines = rows.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
    fs::write(json, format!("[\n{}\n]\n", lines.join(",\n")))?;

    let reasons: Reasons = toml::from_str(&fs::read_to_string(folder.join("benches/reasons.toml"))?).context("benches/reasons.toml")?;
    let page = folder.join("BENCHMARKS.md");
    let mut text = fs::read_to_string(&page)?;
    text = replaced(&text, "targets", &table_of_rows(&rows, &reasons))?;
    if !stages.is_empty() {
        text = replaced(&text, "stages", &table_of_stages(&stages, &measured))?;
    }
    Ok(fs::write(page, text)?)
}

/// The page with another text between the two comments of this name.
fn replaced(page: &str, name: &str, text: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- {name}: written by benches/end-to-end.sh from here -->\n"), format!("<!-- {name}: to here -->\n"));
    let missing = || format!("BENCHMARKS.md lacks a comment: {} or {}", begin.trim(), end.trim());
    let (before, rest) = page.split_once(&begin).with_context(missing)?;
    let (_, after) = rest.split_once(&end).with_context(missing)?;
    Ok(format!("{before}{begin}\n{text}\n{end}{after}"))
}

fn table_of_rows(rows: &[Row], reasons: &Reasons) -> String {
    let mut text = "| # | what | discodiff | limit | ratio (lowest to highest) | target | |\n".to_owned();
    text += "| ---: | --- | ---: | ---: | ---: | ---: | --- |\n";
    for Row { row, what, value, limit, ratio, spread, target, at_least, met, .. } in rows {
        let noted = reasons.get(&row.to_string()).and_then(|of| of.iter().find(|(begin, _)| what.starts_with(*begin)));
        let verdict = match (met, noted) {
            (true, _) => "met".to_owned(),
            (false, Some((_, reason))) => format!("not met: {}", reason.trim()),
            (false, None) => "not met: no reason noted yet".to_owned(),
        };
        let most = if *at_least { "at least" } else { "at most" };
        let (value, limit, (low, high)) = (number(*value), number(*limit), spread);
        // Writing to a String does not fail.
        let _ = writeln!(text, "| {row} | {what} | {value} | {limit} | {ratio:.2} ({low:.2} to {high:.2}) | {most} {target} | {verdict} |");
    }
    let mut runs: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    rows.iter().for_each(|row| runs.entry(&row.measured).or_default().push(row.row));
    for (measured, mut rows) in runs {
        rows.dedup();
        let rows: Vec<String> = rows.iter().map(u32::to_string).collect();
        let _ = writeln!(text, "\nMeasured: {measured} Rows: {}.", rows.join(", "));
    }
    text
}

fn table_of_stages(stages: &[Stage], measured: &str) -> String {
    let mut text = "| stage | records | MB | MB/s | records/s | limit | MB/s | ratio (lowest to highest) |\n".to_owned();
    text += "| --- | ---: | ---: | ---: | ---: | --- | ---: | ---: |\n";
    for Stage { stage, records, bytes, seconds, limit, limit_seconds, ratio, spread: (low, high) } in stages {
        let megabytes = *bytes as f64 / 1e6;
        let (rate, most, pace) = (megabytes / seconds, megabytes / limit_seconds, *records as f64 / seconds);
        let _ = writeln!(
            text,
            "| {stage} | {records} | {megabytes:.1} | {rate:.0} | {pace:.0} | {limit} | {most:.0} | {ratio:.2} ({low:.2} to {high:.2}) |"
        );
    }
    let _ = writeln!(text, "\nMeasured: {measured}");
    text
}

fn number(number: f64) -> String {
    match number.abs() {
        100.0.. => format!("{number:.0}"),
        10.0.. => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

/// When, with what, and on what it was measured.
fn measured() -> String {
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok();
        let output =
            output.filter(|output| output.status.success()).map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        output.unwrap_or_else(|| "unknown".to_owned())
    };
    let field = |path: &str, name: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).and_then(|line| line.split_once(':'));
        line.map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
    };
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let kilobytes: f64 = field("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse().unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "{}, {} releases, {} rounds; {}, {cores} cores, {:.0} GiB of memory; Linux {}, {}{}; {} at {}.",
        said("date", &["-u", "+%Y-%m-%d"]),
        variable("RELEASES"),
        variable("ROUNDS"),
        field("/proc/cpuinfo", "model name"),
        kilobytes / f64::from(1 << 20),
        said("uname", &["-r"]),
        said("rustc", &["--version"]),
        variable("SERVERS"),
        said(env!("CARGO_BIN_EXE_discodiff"), &["--version"]),
        said("git", &["rev-parse", "--short", "HEAD"]),
    )
}
