//! Names of artists and labels: one for each id, and no name for two ids.
//!
//! The last word of a name, but for endings from closed lists, spells the id in syllables: two, three or five, by its size.

use super::rng::{Rng, hash};
use super::words::{GIVEN, GIVEN_END, ODD_GIVEN, TITLE};

/// A syllable is one of each: since consonants and vowels take turns, different syllables spell different words.
const ONSETS: [&str; 30] = [
    "b", "br", "ch", "d", "dr", "f", "g", "gr", "h", "j", "k", "kl", "l", "m", "n", "p", "pr", "r", "s", "sh", "st", "t", "th", "tr", "v",
    "w", "z", "sk", "bl", "nd",
];
const VOWELS: [&str; 12] = ["a", "e", "i", "o", "u", "ai", "ei", "oo", "ee", "au", "ia", "ou"];
const SYLLABLES: u64 = (ONSETS.len() * VOWELS.len()) as u64;
/// Ends of family names: no vowels, so that they cannot be read as one more syllable.
const CODAS: [&str; 12] = ["", "", "", "n", "s", "r", "l", "m", "x", "ck", "rt", "nsk"];
/// Ids below are spelled with two syllables.
const TWO: u64 = SYLLABLES * SYLLABLES;
/// Ids below are spelled with three.
const THREE: u64 = TWO * SYLLABLES;
/// Shares no factor with either: multiplying by it shuffles the ids below.
const SHUFFLE: u64 = 29_986_577;

const BANDS: &[&str] =
    &[" Trio", " Quartet", " Orchestra", " Ensemble", " Project", " Band", " Sound System", " Collective", " &amp; Friends", " Brothers"];
#[rustfmt::skip]
const LABELS: &[&str] = &[
    " Records", " Records", " Recordings", " Music", " Studios", " Publishing", " Music Ltd.", " Productions", " Entertainment",
    " Mastering", " Pressing Co.", " Media", " Inc.", " GmbH", " Songs", " Tapes", " Disques", " Edition", "",
];

/// Artists that many releases refer to, where their ids are among the generated.
pub(super) const HUBS: [(u64, &str); 3] = [(194, "Various"), (355, "Unknown Artist"), (118_760, "No Artist")];

/// Appends the one name of the artist with this id.
pub(super) fn artist(out: &mut Vec<u8>, seed: u64, id: u64) {
    if let Some((_, name)) = HUBS.iter().find(|(hub, _)| *hub == id) {
        return out.extend_from_slice(name.as_bytes());
    }
    let mut rng = Rng::new(hash([seed, 0, id]));
    let form = rng.below(100);
    match form {
        0..50 => given(out, &mut rng),
        50..56 => {
            given(out, &mut rng);
            out.extend_from_slice(&[b' ', b'A' + rng.below(26) as u8, b'.']);
        }
        56..62 => out.extend_from_slice(rng.pick(&["DJ", "MC", "Mr.", "Dr.", "Lady", "Baby", "Big", "Little"]).as_bytes()),
        62..70 => {
            out.extend_from_slice(b"The ");
            out.extend_from_slice(rng.pick(TITLE).as_bytes());
        }
        70..75 => {
            given(out, &mut rng);
            out.extend_from_slice(b" &amp; The");
        }
        75..80 => out.extend_from_slice(rng.pick(ODD_GIVEN).as_bytes()),
        _ => {}
    }
    if form < 80 {
        out.push(b' ');
    }
    family(out, seed, 0, id);
    if form >= 90 {
        out.extend_from_slice(rng.pick(BANDS).as_bytes());
    }
    numbered(out, &mut rng);
}

/// Appends the one name of the label with this id.
pub(super) fn label(out: &mut Vec<u8>, seed: u64, id: u64) {
    let (start, mut rng) = (out.len(), Rng::new(hash([seed, 1, id])));
    match rng.below(20) {
        0..6 => out.extend_from_slice(rng.pick(TITLE).as_bytes()),
        6..8 => given(out, &mut rng),
        8 => out.extend_from_slice(rng.pick(ODD_GIVEN).as_bytes()),
        _ => {}
    }
    if out.len() > start {
        out.push(b' ');
    }
    family(out, seed, 1, id);
    out.extend_from_slice(rng.pick(LABELS).as_bytes());
    numbered(out, &mut rng);
}

/// Appends a name as it may stand on a sleeve instead of the artist's own.
pub(super) fn variation(out: &mut Vec<u8>, seed: u64, id: u64, rng: &mut Rng) {
    match rng.below(4) {
        0 => given(out, rng),
        1 => out.extend_from_slice(rng.pick(&["The", "Mr.", "D.J.", "Prof."]).as_bytes()),
        _ => out.extend_from_slice(&[b'A' + rng.below(26) as u8, b'.']),
    }
    out.push(b' ');
    family(out, seed, 0, id);
}

/// Appends somebody's name that no record is about.
pub(super) fn stranger(out: &mut Vec<u8>, rng: &mut Rng) {
    given(out, rng);
    out.push(b' ');
    let start = out.len();
    spell(out, rng.below(TWO), 2);
    out[start].make_ascii_uppercase();
}

/// Appends one made-up word without a capital.
pub(super) fn word(out: &mut Vec<u8>, rng: &mut Rng) {
    let n = rng.range(1, 3);
    spell(out, rng.below(THREE), n);
    out.extend_from_slice(rng.pick(&CODAS).as_bytes());
}

fn given(out: &mut Vec<u8>, rng: &mut Rng) {
    out.extend_from_slice(rng.pick(GIVEN).as_bytes());
    out.extend_from_slice(rng.pick(GIVEN_END).as_bytes());
}

/// `kind`: 0 for artists, 1 for labels, so that their names differ.
fn family(out: &mut Vec<u8>, seed: u64, kind: u64, id: u64) {
    let (start, dice) = (out.len(), hash([seed, 2 + kind, id]));
    let shuffled = |end: u64| (id + hash([seed, kind]) % end) % end * SHUFFLE % end;
    match id {
        0..TWO => spell(out, shuffled(TWO), 2),
        TWO..THREE => spell(out, shuffled(THREE), 3),
        _ => spell(out, id, 5),
    }
    out[start].make_ascii_uppercase();
    out.extend_from_slice(CODAS[(dice % CODAS.len() as u64) as usize].as_bytes());
}

fn spell(out: &mut Vec<u8>, mut number: u64, syllables: u64) {
    for _ in 0..syllables {
        let syllable = (number % SYLLABLES) as usize;
        number /= SYLLABLES;
        out.extend_from_slice(ONSETS[syllable % ONSETS.len()].as_bytes());
        out.extend_from_slice(VOWELS[syllable / ONSETS.len()].as_bytes());
    }
}

/// Discogs tells artists of one name apart by numbers.
fn numbered(out: &mut Vec<u8>, rng: &mut Rng) {
    if rng.chance(0.08) {
        out.extend_from_slice(format!(" ({})", rng.range(2, 19)).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_ids_share_a_name() {
        for make in [artist, label] {
            let mut seen = HashSet::new();
            for id in (1..60_000).chain(TWO - 2_000..TWO + 30_000).chain(THREE - 2_000..THREE + 2_000) {
                let mut name = Vec::new();
                make(&mut name, 7, id);
                assert!(seen.insert(name.clone()), "{}", String::from_utf8_lossy(&name));
            }
        }
    }

    #[test]
    fn names_stand_in_an_attribute_as_they_are() {
        for id in 1..20_000 {
            let mut name = Vec::new();
            label(&mut name, 3, id);
            let name = String::from_utf8(name).unwrap();
            assert!(!name.contains(['"', '<', '\n', '\t']) && name.trim() == name && !name.is_empty(), "{name}");
        }
    }
}
