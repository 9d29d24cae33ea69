//! What the place's pages list. They are made for people and have changed their form before (XML of the storage behind them, then HTML), so
//! only the names in them are looked for, and nothing else of a page is ever used.

use std::collections::{BTreeMap, BTreeSet};

use memchr::memmem;

use crate::model::PerKind;
use crate::sources::{CHECKSUM, parse_name};

/// What is listed of one publication.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Listed {
    /// The dumps.
    pub kinds: PerKind<bool>,
    /// Whether `CHECKSUM.txt` is there, which is written last.
    pub checksum: bool,
}

/// The years that a page leads to.
pub(super) fn years(page: &str) -> BTreeSet<String> {
    let page = page.replace("%2F", "/").replace("%2f", "/");
    let after = memmem::find_iter(page.as_bytes(), "data/").filter_map(|at| page.get(at + 5..at + 10));
    after
        .filter_map(|text| text.strip_suffix('/'))
        .filter(|year| year.bytes().all(|byte| byte.is_ascii_digit()))
        .map(str::to_owned)
        .collect()
}

/// The publications that a page lists, by their date: `20260801`. Names of any other form are no names.
pub(super) fn publications(page: &str) -> BTreeMap<String, Listed> {
    let mut found = BTreeMap::<String, Listed>::new();
    for at in memmem::find_iter(page.as_bytes(), PREFIX) {
        let length = page[at..].find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.'))).unwrap_or(page.len() - at);
        let name = &page[at..at + length];
        let Some(date) = name.get(PREFIX.len()..PREFIX.len() + 8) else { continue };
        if let Some((_, kind)) = parse_name(name).filter(|_| name.ends_with(".xml.gz")) {
            found.entry(date.to_owned()).or_default().kinds[kind] = true;
        } else if name[PREFIX.len() + 8..] == *CHECKSUM && month(date).is_some() {
            found.entry(date.to_owned()).or_default().checksum = true;
        }
    }
    found
}

const PREFIX: &str = "discogs_";

/// The month of a date: `2026-08`.
pub(super) fn month(date: &str) -> Option<String> {
    parse_name(&format!("{PREFIX}{date}_artists.xml.gz")).map(|(month, _)| month)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Kind;

    #[test]
    fn names_are_found_in_html_and_in_xml_alike() {
        let html = r#"<a href="?prefix=data%2F2026%2F">2026/</a> <a href="?download=data%2F2026%2Fdiscogs_20260801_labels.xml.gz">discogs_20260801_labels.xml.gz</a>
            <a href="?download=data%2F2026%2Fdiscogs_20260801_CHECKSUM.txt">x</a>"#;
        let xml = "<Prefix>data/2026/</Prefix><Contents><Key>data/2026/discogs_20260801_labels.xml.gz</Key></Contents>
            <Contents><Key>data/2026/discogs_20260801_CHECKSUM.txt</Key></Contents>";
        for page in [html, xml] {
            assert_eq!(years(page), ["2026".to_owned()].into());
            let mut listed = Listed { checksum: true, ..Listed::default() };
            listed.kinds[Kind::Label] = true;
            assert_eq!(publications(page), [("20260801".to_owned(), listed)].into(), "{page}");
        }
    }

    #[test]
    fn what_only_looks_like_a_name_is_none() {
        for page in [
            "discogs_20260801_labels.xml.gz.torrent discogs_20260801_labels.xml",
            "discogs_20261301_labels.xml.gz discogs_20261301_CHECKSUM.txt discogs_2026",
            "discogs_20260801_../../etc/passwd discogs_../0801_labels.xml.gz discogs_",
            "discogs_20260801_\u{c4}HECKSUM.txt discogs_2026080\u{e4}_labels.xml.gz",
        ] {
            assert!(publications(page).is_empty(), "{page}: {:?}", publications(page));
        }
        assert!(years("data/20x6/ data/2026 data/ metadata").is_empty());
    }
}
