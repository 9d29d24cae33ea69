//! What the stages of a run took, in words.

use std::collections::BTreeMap;

use crate::telemetry::words::{count, latency};
use crate::telemetry::{Cause, Measured};

/// What the run waited for, and a line for each stage; empty where there were none.
pub fn table(stages: &[Measured], waited: &BTreeMap<&'static str, f64>) -> String {
    if stages.is_empty() {
        return String::new();
    }
    let titles = ["times", "records", "p50", "p99", "max", "busy", "records/s", "MB/s"];
    let names: Vec<_> = stages.iter().map(|stage| [stage.name, stage.sink.unwrap_or_default()].join(" ")).collect();
    let width = names.iter().map(String::len).max().unwrap_or_default();
    let mut text = format!("\n{}\n{}\n", waits(waited), line("stage", width, &titles.map(str::to_owned)));
    for (stage, name) in stages.iter().zip(&names) {
        let known = |number: f64, text: String| if number > 0.0 { text } else { String::new() };
        let megabytes = stage.megabytes_per_second;
        let numbers = [
            count(stage.count),
            known(stage.records as f64, count(stage.records)),
            latency(stage.p50_seconds),
            latency(stage.p99_seconds),
            latency(stage.max_seconds),
            latency(stage.busy_seconds),
            known(stage.records_per_second, count(stage.records_per_second.round() as u64)),
            known(megabytes, if megabytes < 10.0 { format!("{megabytes:.1}") } else { count(megabytes.round() as u64) }),
        ];
        text += &line(name, width, &numbers);
        text.push('\n');
    }
    text
}

fn line(name: &str, width: usize, [times, records, p50, p99, max, busy, record_rate, byte_rate]: &[String; 8]) -> String {
    let line = format!("{name:<width$} {times:>8} {records:>10} {p50:>7} {p99:>7} {max:>7} {busy:>7} {record_rate:>10} {byte_rate:>8}");
    line.trim_end().to_owned()
}

/// `waited for source 61 %, CPU 30 %, postgres 7 %`, the most first.
fn waits(waited: &BTreeMap<&'static str, f64>) -> String {
    let mut shares: Vec<_> = waited.iter().filter(|(_, share)| **share >= 1.0).collect();
    shares.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let name = |name: &'static str| if name == Cause::Cpu.name() { "CPU" } else { name };
    let shares: Vec<_> = shares.into_iter().map(|(of, share)| format!("{} {share:.0} %", name(of))).collect();
    format!("waited for {}", if shares.is_empty() { "nothing".to_owned() } else { shares.join(", ") })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::{Measures, RunStage};

    #[test]
    fn a_line_for_each_stage_says_what_is_known_of_it_within_a_hundred_columns() {
        let measures = Measures::default();
        measures.recorder(RunStage::Decompress).took(Duration::from_millis(2), 0, 1 << 20);
        measures.recorder(RunStage::Complete("document_topics")).took(Duration::from_secs(4_000), 34_000_000, 0);
        let waited = BTreeMap::from([("cpu", 30.2), ("source", 61.8), ("state", 0.9), ("postgres", 7.0)]);
        let text = table(&measures.stages(), &waited);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[1], "waited for source 62 %, CPU 30 %, postgres 7 %");
        assert!(lines[2].starts_with("stage ") && lines[2].ends_with(" MB/s"), "{text}");
        assert!(lines[3].starts_with("decompress ") && lines[3].ends_with(" 524") && lines[3].contains(" 2.0 ms "), "{text}");
        assert!(lines[4].contains(" 34,000,000 ") && lines[4].ends_with(" 8,500"), "{text}");
        assert!(lines.iter().all(|line| line.chars().count() <= 100), "{text}");
        assert_eq!(table(&[], &BTreeMap::new()), "");
    }
}
