//! What is generated agrees with its truth, by a slow reading of another kind, and has the sizes of real dumps.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use quick_xml::Reader;
use quick_xml::events::Event;
use serde_json::Value;

use super::*;

fn odd(out: &Path, seed: u64) -> Options {
    Options { months: 3, seed, duplicates: 9, merges: 7, reinserts: 6, broken: 8, churn: 2.0, ..Options::new(out, 1000) }
}

fn made(options: &Options) -> Summary {
    generate(options, &mut |_| {}).unwrap()
}

fn read(out: &Path, month: &str, kind: Kind) -> Vec<u8> {
    let name = format!("discogs_{}01_{}.xml.gz", month.replace('-', ""), kind.plural());
    let mut bytes = Vec::new();
    GzDecoder::new(fs::File::open(out.join(month).join(name)).unwrap()).read_to_end(&mut bytes).unwrap();
    bytes
}

/// Cuts a dump where a line begins with a record's start tag: ids and texts.
fn pieces(kind: Kind, dump: &[u8]) -> Vec<(u64, &[u8])> {
    let end = format!("</{}>\n", kind.plural());
    let body = dump.strip_suffix(end.as_bytes()).unwrap();
    let starts = [format!("\n<{kind}>"), format!("\n<{kind} ")];
    let mut cuts: Vec<usize> = starts.iter().flat_map(|start| memchr::memmem::find_iter(body, start)).map(|at| at + 1).collect();
    cuts.sort_unstable();
    assert_eq!(&body[..cuts[0]], format!("<{}>\n", kind.plural()).as_bytes());
    cuts.push(body.len());
    let id = |text: &[u8]| {
        let digits: Vec<u8> = text.iter().copied().skip_while(|b| !b.is_ascii_digit()).take_while(u8::is_ascii_digit).collect();
        String::from_utf8(digits).unwrap().parse().unwrap()
    };
    cuts.windows(2).map(|cut| (id(&body[cut[0]..cut[1]]), &body[cut[0]..cut[1]])).collect()
}

/// Number of elements; `None`: the text is not one whole element.
fn elements(text: &[u8]) -> Option<usize> {
    let (mut reader, mut depth, mut count) = (Reader::from_str(std::str::from_utf8(text).ok()?), 0, 0);
    loop {
        match reader.read_event().ok()? {
            Event::Start(_) => (depth, count) = (depth + 1, count + 1),
            Event::End(_) => depth -= 1,
            Event::Empty(_) => count += 1,
            Event::Eof => return (depth == 0).then_some(count),
            _ => {}
        }
    }
}

fn numbers(value: &Value) -> Vec<u64> {
    value.as_array().unwrap().iter().map(|each| each.as_u64().or_else(|| each[0].as_u64()).unwrap()).collect()
}

#[test]
fn truth_is_what_a_slow_reading_of_the_files_finds() {
    for seed in [1, 2, 99] {
        let out = tempfile::tempdir().unwrap();
        made(&odd(out.path(), seed));
        let truth: BTreeMap<String, Value> = serde_json::from_slice(&fs::read(out.path().join("truth.json")).unwrap()).unwrap();
        assert_eq!(truth.len(), 3);
        for kind in Kind::ALL {
            let mut held: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
            let mut gone = BTreeSet::new();
            for (at, (month, kinds)) in truth.iter().enumerate() {
                let (told, dump) = (&kinds[kind.name()], read(out.path(), month, kind));
                let (mut now, mut again, mut broken) = (BTreeMap::new(), Vec::new(), Vec::new());
                for (id, text) in pieces(kind, &dump) {
                    if elements(text).is_none() {
                        broken.push(id);
                    } else {
                        now.entry(id).and_modify(|_| again.push(id)).or_insert_with(|| text.to_vec());
                    }
                }
                again.sort_unstable();
                let mut duplicates = numbers(&told["duplicates"]);
                duplicates.sort_unstable();
                let inserted: Vec<u64> = now.keys().copied().filter(|id| at > 0 && !held.contains_key(id)).collect();
                let updated: Vec<u64> =
                    now.iter().filter(|(id, text)| held.get(id).is_some_and(|old| old != *text)).map(|(id, _)| *id).collect();
                let deleted: Vec<u64> = held.keys().copied().filter(|id| !now.contains_key(id) && !broken.contains(id)).collect();
                let back: Vec<u64> = now.keys().copied().filter(|id| gone.contains(id)).collect();
                let where_ = format!("seed {seed}, {month}, {kind}");
                assert_eq!(told["records"].as_u64(), Some(now.len() as u64), "{where_}");
                assert_eq!((duplicates.len(), broken.len()), (9, 8), "{where_}");
                assert_eq!((again, broken), (duplicates, numbers(&told["broken"])), "{where_}");
                assert_eq!(inserted, numbers(&told["inserted"]), "{where_}");
                assert_eq!(updated, numbers(&told["updated"]), "{where_}");
                assert_eq!(deleted, numbers(&told["deleted"]), "{where_}");
                assert_eq!(back, numbers(&told["reinserted"]), "{where_}");
                let merged = told["merged"].as_object().unwrap();
                assert_eq!(merged.len(), if at > 0 && kind != Kind::Release { 7 } else { 0 });
                assert!(merged.keys().all(|id| !now.contains_key(&id.parse().unwrap())), "{where_}");
                for id in deleted {
                    held.remove(&id);
                    gone.insert(id);
                }
                for (id, text) in now {
                    gone.remove(&id);
                    held.insert(id, text);
                }
            }
        }
    }
}

#[test]
fn the_same_options_give_the_same_bytes() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    made(&odd(one.path(), 5));
    made(&odd(other.path(), 5));
    for month in ["2026-01", "2026-02", "2026-03"] {
        let names: Vec<_> = fs::read_dir(one.path().join(month)).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(names.len(), 5);
        for name in names {
            let bytes = |out: &Path| fs::read(out.join(month).join(&name)).unwrap();
            assert_eq!(bytes(one.path()), bytes(other.path()), "{name:?}");
        }
    }
    assert_eq!(fs::read(one.path().join("truth.json")).unwrap(), fs::read(other.path().join("truth.json")).unwrap());
}

#[test]
fn a_month_that_is_written_alone_has_the_bytes_that_it_has_among_the_others() {
    let (all, one) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let summary = made(&odd(all.path(), 5));
    for (at, month) in ["2026-01", "2026-02", "2026-03"].into_iter().enumerate() {
        // In the folder of the one before, whose dumps go.
        let alone = made(&Options { only: Some(month.to_owned()), ..odd(one.path(), 5) });
        assert_eq!(alone.months, summary.months[at..=at]);
        let months: BTreeSet<_> = fs::read_dir(one.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(months, BTreeSet::from([month.into(), "truth.json".into()]));
        let bytes = |out: &Path, name: &Path| fs::read(out.join(name)).unwrap();
        let mut names: Vec<_> =
            fs::read_dir(one.path().join(month)).unwrap().map(|file| Path::new(month).join(file.unwrap().file_name())).collect();
        assert_eq!(names.len(), 5);
        names.push("truth.json".into());
        names.iter().for_each(|name| assert!(bytes(all.path(), name) == bytes(one.path(), name), "{}", name.display()));
    }
}

#[test]
fn what_is_merged_away_is_replaced_where_it_stood_and_nowhere_else() {
    for seed in 1..6 {
        let out = tempfile::tempdir().unwrap();
        let few = Options { artists: Some(300), labels: Some(300), masters: Some(300), ..Options::new(out.path(), 500) };
        let options = Options { months: 4, merges: 40, churn: 0.0, seed, ..few };
        let (summary, months) = (made(&options), options.names());
        for (at, pair) in months.windows(2).enumerate() {
            assert!(summary.counts(at + 1, Kind::Release).updated > 100);
            let dumps = [0, 1].map(|n| read(out.path(), &pair[n], Kind::Release));
            let [before, after] = dumps.each_ref().map(|dump| pieces(Kind::Release, dump));
            for ((id, old), (_, new)) in before.iter().zip(&after) {
                assert_eq!(elements(old), elements(new), "release {id} in {}", pair[1]);
            }
        }
    }
}

#[test]
fn another_seed_gives_other_records() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    made(&Options::new(one.path(), 100));
    made(&Options { seed: 2, ..Options::new(other.path(), 100) });
    assert_ne!(read(one.path(), "2026-01", Kind::Release), read(other.path(), "2026-01", Kind::Release));
}

#[test]
fn records_are_as_large_as_real_ones_and_compress_as_well() {
    let out = tempfile::tempdir().unwrap();
    let options = Options { months: 1, artists: Some(6000), labels: Some(6000), masters: Some(4000), ..Options::new(out.path(), 4000) };
    let summary = made(&options);
    // Means and medians of real dumps; masters differ from file to file, and these are between.
    for (kind, mean, median, ratio) in [
        (Kind::Artist, 326.0, 130.0, 4.2),
        (Kind::Label, 245.0, 117.0, 4.2),
        (Kind::Master, 1900.0, 1400.0, 5.3),
        (Kind::Release, 4505.0, 3280.0, 5.8),
    ] {
        let dump = read(out.path(), "2026-01", kind);
        let pieces = pieces(kind, &dump);
        let mut sizes: Vec<usize> = pieces.iter().map(|(_, text)| text.len()).collect();
        sizes.sort_unstable();
        let found_mean = sizes.iter().sum::<usize>() as f64 / sizes.len() as f64;
        let found_median = sizes[sizes.len() / 2] as f64;
        let counts = summary.counts(0, kind);
        let found_ratio = counts.bytes as f64 / counts.gzipped as f64;
        for (what, found, real) in [("mean", found_mean, mean), ("median", found_median, median), ("ratio", found_ratio, ratio)] {
            assert!((found / real - 1.0).abs() < 0.25, "{kind}: {what} {found}, of real ones {real}");
        }
        if kind == Kind::Release {
            let elements = pieces.iter().map(|(_, text)| elements(text).unwrap()).sum::<usize>() / pieces.len();
            assert!((100..=172).contains(&elements), "{elements}");
        }
    }
}

#[test]
fn a_folder_of_something_else_is_left_alone() {
    let out = tempfile::tempdir().unwrap();
    fs::write(out.path().join("letter.txt"), "dear").unwrap();
    let error = generate(&Options::new(out.path(), 50), &mut |_| {}).unwrap_err();
    assert!(matches!(&error, Error::Occupied(_)) && error.to_string().contains("is not empty"), "{error}");
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 1);
}

#[test]
fn a_folder_generated_before_is_replaced_with_its_months() {
    let out = tempfile::tempdir().unwrap();
    made(&Options { months: 3, ..Options::new(out.path(), 50) });
    fs::write(out.path().join("2026-03").join("mine.txt"), "kept").unwrap();
    made(&Options { months: 1, first: (2025, 12), ..Options::new(out.path(), 50) });
    assert!(!out.path().join("2026-01").exists());
    let left: Vec<_> = fs::read_dir(out.path().join("2026-03")).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(left, ["mine.txt"]);
    assert!(out.path().join("2025-12/discogs_20251201_artists.xml.gz").exists());
}

#[test]
fn options_that_make_no_sense_together_are_refused_before_anything_is_written() {
    let out = tempfile::tempdir().unwrap();
    let refused = |options: Options| generate(&Options { out: out.path().join("new"), ..options }, &mut |_| {}).unwrap_err().to_string();
    assert_eq!(refused(Options { reinserts: 1, ..Options::new("", 50) }), "reinserts need three months: there, gone, back");
    assert!(refused(Options { months: 0, ..Options::new("", 50) }).contains("at least one month"));
    assert_eq!(
        refused(Options { only: Some("2026-03".into()), ..Options::new("", 50) }),
        "--only 2026-03: the months are 2026-01 to 2026-02"
    );
    assert!(refused(Options { churn: f64::NAN, ..Options::new("", 50) }).contains("churn"));
    assert_eq!(refused(Options { merges: 7, ..Options::new("", 40) }), "--merges 7: there are only 5 labels to choose from");
    assert!(!out.path().join("new").exists());
}

#[test]
fn months_follow_each_other_over_the_turn_of_the_year() {
    let options = Options { months: 3, first: (2025, 11), ..Options::new("", 1) };
    assert_eq!(options.names(), ["2025-11", "2025-12", "2026-01"]);
}

#[test]
fn progress_ends_at_the_total() {
    let out = tempfile::tempdir().unwrap();
    let (options, mut last) = (Options::new(out.path(), 300), 0);
    generate(&options, &mut |done| {
        assert!(done >= last);
        last = done;
    })
    .unwrap();
    assert_eq!(last, total(&options).unwrap());
}
