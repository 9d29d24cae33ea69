//! What a benchmark found, as a line of JSON: `benches/end-to-end.sh` gathers them from the file that `BENCHMARKS_TOLD` names.

use std::fs::OpenOptions;
use std::io::Write;

use serde::Serialize;

/// One measured figure beside its limit.
#[derive(Debug, Serialize)]
pub struct Row<'a> {
    /// Which row of the table of targets it belongs to.
    pub row: u32,
    /// What was measured, and in what unit.
    pub what: &'a str,
    /// The median of what the product did.
    pub value: f64,
    /// The median of the limit, or of the bare client, in the same unit.
    pub limit: f64,
    /// The median of the rounds' ratios, of the product's figure by the limit's.
    pub ratio: f64,
    /// The lowest and the highest of them.
    pub spread: (f64, f64),
    /// What the ratio is to be.
    pub target: f64,
    /// Whether it is to be at least that, not at most.
    pub at_least: bool,
    /// Whether it is.
    pub met: bool,
}

impl<'a> Row<'a> {
    /// From pairs of the product's figure and the limit's, a round each. The ratio is taken round by round.
    pub fn of(row: u32, what: &'a str, rounds: &[(f64, f64)], target: f64, at_least: bool) -> Row<'a> {
        let median = |mut values: Vec<f64>| {
            values.sort_unstable_by(f64::total_cmp);
            (values[values.len() / 2], (values[0], values[values.len() - 1]))
        };
        let (value, _) = median(rounds.iter().map(|(value, _)| *value).collect());
        let (limit, _) = median(rounds.iter().map(|(_, limit)| *limit).collect());
        let (ratio, spread) = median(rounds.iter().map(|(value, limit)| value / limit).collect());
        Row { row, what, value, limit, ratio, spread, target, at_least, met: if at_least { ratio >= target } else { ratio <= target } }
    }

    /// Prints it for people, and adds it to the file that is gathered from, where one is named.
    pub fn tell(&self) -> std::io::Result<()> {
        let Row { row, what, value, limit, ratio, spread, target, at_least, met } = self;
        println!(
            "{row:>2}  {what}: {value:.3} against {limit:.3}, ratio {ratio:.2} ({:.2} to {:.2}), target {} {target}: {}",
            spread.0,
            spread.1,
            if *at_least { "at least" } else { "at most" },
            if *met { "met" } else { "not met" }
        );
        let Some(path) = std::env::var_os("BENCHMARKS_TOLD") else { return Ok(()) };
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        writeln!(file, "{}", serde_json::to_string(self)?)
    }
}
