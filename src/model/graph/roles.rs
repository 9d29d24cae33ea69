//! The category of a credit's role.

use std::sync::LazyLock;

/// The category of credits whose role is absent or not known.
const OTHER: &str = "other";

/// Fragments and categories; the longest first, so that the first one contained decides.
static FRAGMENTS: LazyLock<Vec<(&str, &str)>> = LazyLock::new(|| {
    let lines = include_str!("roles.tsv").lines().filter(|line| !line.starts_with('#'));
    let mut fragments: Vec<_> = lines.filter_map(|line| line.split_once('\t')).collect();
    fragments.sort_unstable_by_key(|(fragment, _)| (std::cmp::Reverse(fragment.len()), *fragment));
    fragments
});

/// `production`, `engineering`, `mastering`, `session`, `design`, `management` or `other`: the longest fragment of `roles.tsv` that the
/// role contains, whatever its case, decides.
pub fn category(role: Option<&str>) -> &'static str {
    let Some(role) = role else { return OTHER };
    let role = role.to_lowercase();
    FRAGMENTS.iter().find(|(fragment, _)| role.contains(fragment)).map_or(OTHER, |(_, category)| category)
}
