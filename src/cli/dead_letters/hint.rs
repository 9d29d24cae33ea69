//! What to do about a dead letter, by where and why it was rejected.

use crate::model::Stage;
use crate::sinks::letters::Letter;

/// The stage, what the reason contains, and what helps. The first row that fits counts; the last of a stage fits all.
const HINTS: [(Stage, &str, &str); 10] = [
    (
        Stage::Split,
        "cut short",
        "The file is damaged there, or was written so. Compare the file with its CHECKSUM.txt; the next month most likely has the record whole.",
    ),
    (Stage::Split, "longer than", "Most likely an end tag is missing; only the beginning was kept. Look at the file from that byte on."),
    (
        Stage::Split,
        "not a <",
        "Something that is no record stands between the records. Compare the file with its CHECKSUM.txt; if Discogs wrote it, a newer \
         discodiff may know it.",
    ),
    (
        Stage::Split,
        "id",
        "Without an id it belongs to no row, and while it could be a record that is missing, deletes of its kind are withheld: \
         --allow-deletes takes them. The next month may give it one.",
    ),
    (Stage::Split, "", "Compare the file with its CHECKSUM.txt; the next month most likely has the record whole."),
    (
        Stage::Parse,
        "UTF-8",
        "Bytes were damaged: show them with --raw. Compare the file with its CHECKSUM.txt; the next month most likely has them right.",
    ),
    (
        Stage::Parse,
        "nest more than",
        "No record of Discogs is built like that: compare the file with its CHECKSUM.txt, and look at the bytes with --raw.",
    ),
    (
        Stage::Parse,
        "",
        "Its XML is malformed where the reason says. Compare the file with its CHECKSUM.txt; if Discogs wrote it so, the next month may mend it.",
    ),
    (
        Stage::Sink,
        "CHECK",
        "The store refused the row by a rule that somebody added. Change the rule: the store is behind for the kind, so the next refresh \
         delivers it again.",
    ),
    (
        Stage::Sink,
        "",
        "The store refused the row, and says why in the reason. Change what refuses it: the store is behind for the kind, so the next \
         refresh delivers it again.",
    ),
];

/// What to do about this one.
pub fn hint(letter: &Letter) -> &'static str {
    let fits = |(stage, part, _): &&(Stage, &str, &str)| stage.name() == letter.stage && letter.reason.contains(part);
    HINTS.iter().find(fits).map_or("A newer discodiff wrote this, and may know more.", |(_, _, hint)| hint)
}
