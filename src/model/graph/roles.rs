//! The category of a credit's role.

use std::cmp::Reverse;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

/// The category of credits whose role is absent or not known.
const OTHER: &str = "other";

type Fragments = Vec<(&'static str, &'static str)>;

/// Fragments and their categories, and what finds them all at once: there are hundreds, and a role is looked at for every credit.
static FRAGMENTS: LazyLock<Option<(Fragments, AhoCorasick)>> = LazyLock::new(|| {
    let lines = include_str!("roles.tsv").lines().filter(|line| !line.starts_with('#'));
    let fragments: Vec<_> = lines.filter_map(|line| line.split_once('\t')).collect();
    let automaton = AhoCorasick::new(fragments.iter().map(|(fragment, _)| fragment)).ok()?;
    Some((fragments, automaton))
});

/// `production`, `engineering`, `mastering`, `session`, `design`, `management` or `other`: the longest fragment of `roles.tsv` that the
/// role contains, whatever its case, decides; of several as long the first in byte order.
pub fn category(role: Option<&str>) -> &'static str {
    let (Some(role), Some((fragments, automaton))) = (role, &*FRAGMENTS) else { return OTHER };
    let role = role.to_lowercase();
    let found = automaton.find_overlapping_iter(&role).filter_map(|found| fragments.get(found.pattern().as_usize()));
    found.min_by_key(|(fragment, _)| (Reverse(fragment.len()), *fragment)).map_or(OTHER, |(_, category)| category)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_known_fragment_decides_whatever_its_case() {
        for (role, expected) in [
            ("Producer", "production"),
            ("MASTERED BY", "mastering"),
            ("Lead Vocals [As a Guest]", "session"),
            ("Photography By", "design"),
            ("A&R", "management"),
            ("Remixed By", "production"),
            ("Mixed By", "engineering"),
            ("Written-By", OTHER),
            ("Written-By, Producer", "production"),
            ("Ḃlessing", OTHER),
        ] {
            assert_eq!(category(Some(role)), expected, "{role}");
        }
        assert_eq!(category(None), OTHER);
    }

    #[test]
    fn the_automaton_finds_what_a_search_for_each_fragment_finds() {
        let (fragments, _) = FRAGMENTS.as_ref().expect("fragments");
        assert!(fragments.len() > 200);
        for (one, _) in fragments {
            for (other, _) in fragments.iter().step_by(7) {
                let role = format!("{one}, {other} [x]");
                let slow = fragments.iter().filter(|(fragment, _)| role.contains(fragment));
                let slow = slow.max_by(|a, b| a.0.len().cmp(&b.0.len()).then(b.0.cmp(a.0))).map(|(_, category)| *category);
                assert_eq!(Some(category(Some(&role))), slow, "{role}");
            }
        }
    }
}
