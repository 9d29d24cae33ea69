//! What a run came to, in words.

use std::fmt::Write;
use std::time::Duration;

use crate::model::Kind;
use crate::refresh::{Foreseen, Notes, Refreshed};
use crate::sinks::Tally;
use crate::telemetry::words::{count, duration};

use super::exit::Exit;

/// How many of a list are shown; the number of all is said.
const SHOWN: usize = 10;

/// The exit status of a run.
pub fn exit(refreshed: &Refreshed) -> Exit {
    if refreshed.is_clean() { Exit::Complete } else { Exit::Incomplete }
}

/// Says on stderr what a person should know besides; gives the exit status.
pub fn notes_and_exit(refreshed: &Refreshed) -> Exit {
    for (sink, kind) in &refreshed.notes.brought_up {
        tracing::info!("{sink} was new or behind: its {} were brought up in this run", kind.plural());
    }
    notes(&refreshed.notes).iter().for_each(|note| tracing::warn!("{note}"));
    exit(refreshed)
}

/// A table of counts a kind, and of what each sink wrote.
pub fn table(refreshed: &Refreshed) -> String {
    let report = &refreshed.report;
    let mut text = String::new();
    if report.kinds.is_empty() && report.snapshot.is_empty() {
        let _ = writeln!(text, "Nothing to do: no snapshot in the topics is complete and newer than what the state holds.");
        return text;
    }
    if report.kinds.is_empty() {
        let _ = writeln!(text, "{}: nothing to do, the state holds this snapshot.", report.snapshot);
        return text;
    }
    let time = duration(Duration::from_secs_f64(report.seconds));
    let _ = writeln!(text, "{} applied in {time}", report.snapshot);
    let titles = ["received", "inserted", "updated", "deleted", "unchanged", "duplicates", "rejected", "withheld"];
    let _ = write!(text, "\n{:<10}", "");
    titles.iter().for_each(|title| text += &format!(" {title:>11}"));
    text.push('\n');
    for (kind, counts) in &report.kinds {
        let numbers = [
            counts.received,
            counts.inserted,
            counts.updated,
            counts.deleted,
            counts.unchanged,
            counts.duplicates,
            counts.rejected,
            counts.deletes_withheld,
        ];
        let _ = write!(text, "{:<10}", kind.plural());
        numbers.iter().for_each(|number| text += &format!(" {:>11}", count(*number)));
        text.push('\n');
    }
    if !report.sinks.is_empty() {
        text.push('\n');
    }
    for (sink, wrote) in &report.sinks {
        let Tally { inserted, updated, deleted } = wrote.records;
        let _ = write!(text, "{sink}: {} inserted, {} updated, {} deleted", count(inserted), count(updated), count(deleted));
        if let Some(graph) = wrote.graph {
            let nodes = (count(graph.nodes_created), count(graph.nodes_deleted));
            let edges = (count(graph.relationships_created), count(graph.relationships_deleted));
            let _ =
                write!(text, "; nodes {} created, {} deleted; relationships {} created, {} deleted", nodes.0, nodes.1, edges.0, edges.1);
        }
        text.push('\n');
    }
    text
}

/// What a person should know besides, a line each; empty where there is nothing.
pub fn notes(notes: &Notes) -> Vec<String> {
    let mut lines = Vec::new();
    for (kind, why) in &notes.defects {
        lines.push(format!("the dump of {} is not whole: {why}", kind.plural()));
    }
    for (kind, number, why) in &notes.withheld {
        let advice = if notes.defects.iter().any(|(defective, _)| defective == kind) { "" } else { "; --allow-deletes takes them" };
        lines.push(format!("{} deletes of {} are withheld: {why}{}", count(*number), kind.plural(), advice_once(why, advice)));
    }
    for (sink, kind, number) in &notes.behind {
        let plural = kind.plural();
        let lacks = match number {
            0 => format!("it may have {plural} that the state no longer holds"),
            number => format!("{} {plural} that the state holds did not come", count(*number)),
        };
        lines.push(format!(
            "{sink} is still behind: {lacks}; a dump that has them brings it up, and verify --repair finds whether it has them all the same"
        ));
    }
    for letter in notes.rejected.iter().take(SHOWN) {
        let whose = letter.id.map_or_else(|| format!("{} without a known id", letter.kind), |id| format!("{} {id}", letter.kind));
        lines.push(format!("rejected: {whose} at byte {} of {}: {}", letter.position, letter.file, letter.reason));
    }
    for twin in notes.twins.iter().take(SHOWN) {
        let first = match twin.first {
            (from, to) if from == to => format!("at byte {from}"),
            (from, to) => format!("between bytes {from} and {to}"),
        };
        lines.push(format!("{} stands twice and differs: {first}, which counts, and at byte {}", twin.key, twin.other));
    }
    for (kind, paths) in notes.unmapped.iter() {
        for (path, times) in paths.iter().take(SHOWN) {
            lines.push(format!("schema drift: {kind} {path}, {} times, kept under \"unmapped\"", count(*times)));
        }
    }
    if notes.removed_characters > 0 {
        lines.push(format!("{} characters that XML forbids were removed", count(notes.removed_characters)));
    }
    if notes.lone_ampersands > 0 {
        lines.push(format!("{} ampersands that begin no reference were taken as themselves", count(notes.lone_ampersands)));
    }
    lines
}

fn advice_once<'a>(why: &str, advice: &'a str) -> &'a str {
    if why.contains("--allow-deletes") { "" } else { advice }
}

/// What a plan adds to the table: samples and fields.
pub fn foreseen(foreseen: &Foreseen) -> String {
    let mut text = String::new();
    let list = |ids: &[u64]| ids.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    for (kind, samples) in &foreseen.samples {
        for (op, ids) in [("insert", &samples.inserted), ("update", &samples.updated), ("delete", &samples.deleted)] {
            if !ids.is_empty() {
                let _ = writeln!(text, "{op} {}: {}{}", kind.plural(), list(ids), more(foreseen, *kind, op, ids.len()));
            }
        }
    }
    for (kind, fields) in &foreseen.fields {
        let mut fields: Vec<_> = fields.iter().collect();
        fields.sort_by_key(|(name, times)| (std::cmp::Reverse(**times), *name));
        let fields: Vec<_> = fields.into_iter().map(|(name, times)| format!("{name} {}", count(*times))).collect();
        let _ = writeln!(text, "fields that change in {}: {}", kind.plural(), fields.join(", "));
    }
    text
}

fn more(foreseen: &Foreseen, kind: Kind, op: &str, shown: usize) -> String {
    let counts = foreseen.refreshed.report.kinds.get(&kind).copied().unwrap_or_default();
    let all = match op {
        "insert" => counts.inserted,
        "update" => counts.updated,
        _ => counts.deleted,
    };
    match all - (shown as u64).min(all) {
        0 => String::new(),
        rest => format!(" and {} more", count(rest)),
    }
}
