//! What to do about a dead letter, by where and why it was rejected.

use crate::model::Stage;

/// The stage, what the reason contains, and what helps. The first row that fits counts; the last of a stage fits all.
const HINTS: [(Stage, &str, &str); 11] = [
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
        "its id reads",
        "Most likely two records ran into one, as the end of the first and the beginning of the second were lost. Compare the file with its \
         CHECKSUM.txt; the next month most likely has both.",
    ),
    (
        Stage::Parse,
        "nest more than",
        "No record of Discogs is built like that: compare the file with its CHECKSUM.txt, and look at the bytes with --raw.",
    ),
    (
        Stage::Parse,
        "",
        "Its XML is malformed where the reason says. Compare the file with its CHECKSUM.txt; if Discogs wrote it so, wait for the next month.",
    ),
    (
        Stage::Sink,
        "constraint",
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

/// What to do about a record that was rejected at the stage of this name, for this reason.
pub fn hint(stage: &str, reason: &str) -> &'static str {
    let fits = |(of, part, _): &&(Stage, &str, &str)| of.name() == stage && reason.contains(part);
    HINTS.iter().find(fits).map_or("A newer discodiff wrote this, and may know more.", |(_, _, hint)| hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sort_of_reason_has_its_own_advice() {
        for (stage, reason, part) in [
            ("split", "cut short: </artists> comes before its end tag", "the next month most likely"),
            ("split", "longer than 67108864 bytes: only its beginning was kept", "an end tag is missing"),
            ("split", "not a <artist>: it begins with \"<x id=\"", "between the records"),
            ("split", "its id is 0", "--allow-deletes"),
            ("split", "a message without a value", "the next month most likely"),
            ("parse", "not UTF-8 at byte 25", "--raw"),
            ("parse", "malformed XML at byte 25: </nome> where </name> is due", "malformed"),
            ("parse", "its id reads as 6 and as 7", "ran into one"),
            ("sink", "new row violates check constraint \"x\"", "Change the rule"),
            ("sink", "string or blob too big", "says why"),
            ("later", "", "newer discodiff"),
        ] {
            assert!(hint(stage, reason).contains(part), "{stage}, {reason}: {}", hint(stage, reason));
        }
    }
}
