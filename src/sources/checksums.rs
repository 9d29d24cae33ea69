//! CHECKSUM.txt, which stands beside the dumps of a month: written when all of them are there.

use std::collections::BTreeMap;

/// What the names of such files end with.
pub const CHECKSUM: &str = "_CHECKSUM.txt";

/// What it says: sha256 in lower case by name. Discogs' own format is the hash, one space or two, the name; other lines are passed over.
pub fn checksums(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter_map(|line| line.split_once(char::is_whitespace));
    lines.map(|(sha256, name)| (name.trim_start_matches(['*', ' ']).trim_end().to_owned(), sha256.to_ascii_lowercase())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_understood_with_one_space_or_two_in_any_order_and_with_any_line_end() {
        let found = checksums("AB discogs_20260801_masters.xml.gz\r\ncd  discogs_20260801_labels.xml.gz\n\nef *x.gz\nalone\n");
        let expected = [("discogs_20260801_labels.xml.gz", "cd"), ("discogs_20260801_masters.xml.gz", "ab"), ("x.gz", "ef")];
        assert_eq!(found, expected.map(|(name, sha256)| (name.to_owned(), sha256.to_owned())).into());
    }
}
