//! The oracle: two maps diffed naively must equal what the graph emits, counts and keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use discodiff::model::{Fingerprint, Kind};
use discodiff::refresh::{Allowed, Request, refresh};
use discodiff::sinks::Sink;
use discodiff::sinks::feed::Feed;
use discodiff::sources::BlockSize;
use discodiff::state::{Rows, State};
use discodiff::telemetry::{Progress, Style};
use proptest::prelude::*;
use serde_json::Value;

/// One record of a dump.
#[derive(Clone, Debug)]
enum Item {
    /// Whole: an id, a version of its content, and a way of writing it that changes the bytes and nothing else.
    Whole { id: u64, version: u8, spelling: u8 },
    /// Its end tag is missing.
    Cut { id: u64 },
    /// It holds a byte that is no UTF-8.
    Garbled { id: u64, version: u8 },
    /// Its id is no number.
    Anonymous,
}

impl Item {
    fn xml(&self) -> Vec<u8> {
        let title = |version| format!("<title>Title {version}</title>");
        match self {
            Item::Whole { id, version, spelling: 0 } => format!("<master id=\"{id}\">{}</master>", title(version)).into_bytes(),
            Item::Whole { id, version, spelling: 1 } => {
                format!("<master id=\"{id}\">{}<notes></notes></master>", title(version)).into_bytes()
            }
            Item::Whole { id, version, .. } => format!("<master id='{id}' ><title>Title&#32;{version} </title></master>").into_bytes(),
            Item::Cut { id } => format!("<master id=\"{id}\"><title>Cut").into_bytes(),
            Item::Garbled { id, version } => {
                [format!("<master id=\"{id}\">").as_bytes(), b"\xff", title(version).as_bytes(), b"</master>"].concat()
            }
            Item::Anonymous => b"<master id=\"x\"><title>Nobody</title></master>".to_vec(),
        }
    }
}

#[derive(Clone, Debug)]
struct Month {
    items: Vec<Item>,
    /// Whether the closing root tag is there.
    whole: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Expected {
    received: u64,
    inserted: BTreeMap<u64, u8>,
    updated: BTreeMap<u64, u8>,
    deleted: BTreeSet<u64>,
    unchanged: u64,
    duplicates: u64,
    rejected: u64,
    withheld: u64,
}

/// The slow, obvious second program.
fn diff(held: &mut BTreeMap<u64, u8>, month: &Month) -> Expected {
    let mut expected = Expected { received: month.items.len() as u64, ..Expected::default() };
    let (mut seen, mut broken, mut anonymous) = (BTreeSet::new(), BTreeSet::new(), false);
    let before = held.clone();
    for item in &month.items {
        match item {
            Item::Whole { id, version, .. } => {
                if !seen.insert(*id) {
                    expected.duplicates += 1;
                    continue;
                }
                match before.get(id) {
                    None => drop(expected.inserted.insert(*id, *version)),
                    Some(old) if old == version => expected.unchanged += 1,
                    Some(_) => drop(expected.updated.insert(*id, *version)),
                }
                held.insert(*id, *version);
            }
            Item::Cut { id } | Item::Garbled { id, .. } => {
                expected.rejected += 1;
                broken.insert(*id);
            }
            Item::Anonymous => {
                expected.rejected += 1;
                anonymous = true;
            }
        }
    }
    let missing: BTreeSet<u64> = before.keys().filter(|id| !seen.contains(id) && !broken.contains(id)).copied().collect();
    if month.whole && !anonymous {
        held.retain(|id, _| !missing.contains(id));
        expected.deleted = missing;
    } else {
        expected.withheld = missing.len() as u64;
    }
    expected
}

fn write(folder: &Path, month: &Month) {
    let mut xml = b"<masters>\n".to_vec();
    for item in &month.items {
        xml.extend(item.xml());
        xml.push(b'\n');
    }
    if month.whole {
        xml.extend(b"</masters>\n");
    }
    std::fs::write(folder.join("discogs_20260101_masters.xml"), xml).expect("written");
}

/// Lines of the feed that this month added, as the oracle states them.
fn read_feed(path: &Path, from: usize) -> (Vec<Value>, usize) {
    let text = std::fs::read_to_string(path).expect("feed");
    let lines = text[from..].lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    (lines, text.len())
}

fn check(months: &[(Month, usize, usize)]) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (dumps, state, feed) = (folder.path().join("dumps"), folder.path().join("state"), folder.path().join("feed.jsonl"));
    std::fs::create_dir(&dumps).expect("created");
    let mut held = BTreeMap::new();
    let mut at = 0;
    for (month, workers, block) in months {
        write(&dumps, month);
        let expected = diff(&mut held, month);
        let request = Request {
            state: state.clone(),
            workers: *workers,
            block: BlockSize { records: *block, bytes: 1 << 20 },
            memory: 64 << 20,
            delete_limit_percent: 1.0,
            allowed: Allowed::default(),
            stop: Arc::default(),
            progress: Arc::new(Progress::new(Style::Quiet)),
        };
        let open = || Ok(vec![Box::new(Feed::open(&feed)?) as Box<dyn Sink>]);
        let refreshed = refresh(&request, &dumps, open).expect("refreshed");
        if let Some(counts) = refreshed.report.kinds.get(&Kind::Master) {
            let (lines, end) = read_feed(&feed, at);
            at = end;
            let mut found = Expected {
                received: counts.received,
                unchanged: counts.unchanged,
                duplicates: counts.duplicates,
                rejected: counts.rejected,
                withheld: counts.deletes_withheld,
                ..Expected::default()
            };
            let mut last = None;
            for line in lines {
                let id: u64 = line["id"].as_str().and_then(|id| id.parse().ok()).expect("id");
                let version =
                    || line["document"]["title"].as_str().and_then(|title| title.strip_prefix("Title ")?.parse().ok()).expect("version");
                let doubled = match line["op"].as_str() {
                    Some("insert") => found.inserted.insert(id, version()).is_some(),
                    Some("update") => found.updated.insert(id, version()).is_some(),
                    _ => !found.deleted.insert(id),
                };
                assert!(!doubled, "{id} changed twice in one epoch");
                let place = (line["tick"].as_u64(), id);
                assert!(last < Some(place), "the feed is in order of ticks and ids");
                last = Some(place);
            }
            assert_eq!(found, expected);
            assert_eq!(counts.received, counts.inserted + counts.updated + counts.unchanged + counts.duplicates + counts.rejected);
        } else {
            assert!(expected.inserted.is_empty() && expected.updated.is_empty() && expected.deleted.is_empty(), "nothing was read");
        }
        let kept = State::look(&state).expect("state");
        let mut ids = Vec::new();
        let mut rows =
            Rows::<(discodiff::model::Key, Fingerprint)>::open(kept.folder(), kept.manifest(), &kept.manifest().parts).expect("rows");
        while let Some((key, _)) = rows.next().expect("a row") {
            ids.push(key.id());
        }
        assert_eq!(ids, held.keys().copied().collect::<Vec<_>>(), "what the state holds");
        assert_eq!(kept.manifest().records()[Kind::Master], held.len() as u64);
    }
}

fn items() -> impl Strategy<Value = Vec<Item>> {
    let id = || 1..40u64;
    let item = prop_oneof![
        20 => (id(), 0..3u8, 0..3u8).prop_map(|(id, version, spelling)| Item::Whole { id, version, spelling }),
        1 => id().prop_map(|id| Item::Cut { id }),
        1 => (id(), 0..3u8).prop_map(|(id, version)| Item::Garbled { id, version }),
    ];
    prop::collection::vec(item, 0..60)
}

fn month() -> impl Strategy<Value = Month> {
    (items(), prop::bool::weighted(0.9), prop::bool::weighted(0.1), prop::bool::weighted(0.6)).prop_map(
        |(mut items, whole, anonymous, sorted)| {
            if anonymous {
                items.insert(items.len() / 2, Item::Anonymous);
            }
            if sorted {
                items.sort_by_key(|item| match item {
                    Item::Whole { id, .. } | Item::Cut { id } | Item::Garbled { id, .. } => *id,
                    Item::Anonymous => 20,
                });
            }
            Month { items, whole }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// For random months, cut into blocks of any size, on one to four workers that change from month to month.
    #[test]
    fn the_graph_finds_what_two_maps_diffed_naively_find(months in prop::collection::vec((month(), 1..=4usize, 1..20usize), 1..5)) {
        check(&months);
    }
}
