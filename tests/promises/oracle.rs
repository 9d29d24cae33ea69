//! The oracle: two maps diffed naively must equal what the graph emits, counts and keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use discodiff::model::{Fingerprint, Kind, PerKind};
use discodiff::refresh::{Allowed, Request, refresh};
use discodiff::sinks::feed::Feed;
use discodiff::sinks::{Batch, Holds, KindEnd, Run, Sink, SinkError, Standing, Writer, Writers, Written};
use discodiff::sources::BlockSize;
use discodiff::state::{Rows, State};
use discodiff::telemetry::{Progress, Style};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use roaring::RoaringTreemap;
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

/// A feed whose writer fails after so many batches, and leaves time for checkpoints before each.
struct Failing {
    feed: Feed,
    after: Option<usize>,
}

struct FailingWriter {
    writer: Box<dyn Writer>,
    left: Option<usize>,
}

impl Sink for Failing {
    fn name(&self) -> &'static str {
        self.feed.name()
    }

    fn standing(&mut self) -> Result<Standing, SinkError> {
        self.feed.standing()
    }

    fn holds(&self) -> Holds {
        self.feed.holds()
    }

    fn writers(&self) -> Writers {
        self.feed.writers()
    }

    fn begin(&mut self, run: &Run) -> Result<Vec<Box<dyn Writer>>, SinkError> {
        let left = self.after;
        let failing = |writer| Box::new(FailingWriter { writer, left }) as Box<dyn Writer>;
        Ok(self.feed.begin(run)?.into_iter().map(failing).collect())
    }

    fn complete(&mut self, run: &Run, ends: &PerKind<Option<KindEnd>>) -> Result<(), SinkError> {
        if self.after.is_some() {
            return Err(SinkError::stop("as it should"));
        }
        self.feed.complete(run, ends)
    }
}

impl Writer for FailingWriter {
    fn write(&mut self, batch: &Batch, attempt: u32) -> Result<Written, SinkError> {
        if let Some(left) = &mut self.left {
            std::thread::sleep(Duration::from_millis(5));
            *left = left.checked_sub(1).ok_or_else(|| SinkError::stop("as it should"))?;
        }
        self.writer.write(batch, attempt)
    }

    fn stored_ids(&mut self, kind: Kind) -> Result<(RoaringTreemap, u64), SinkError> {
        self.writer.stored_ids(kind)
    }
}

/// What a month is applied with: workers, records of a block, and for each run that fails on the way after how many batches it does, and
/// its workers.
type Runs = (usize, usize, Vec<(usize, usize)>);

/// Gives how many runs went on where another had come to.
fn check(months: &[(Month, Runs)]) -> usize {
    let mut resumed = 0;
    let folder = tempfile::tempdir().expect("temporary folder");
    let (dumps, state, feed) = (folder.path().join("dumps"), folder.path().join("state"), folder.path().join("feed.jsonl"));
    std::fs::create_dir(&dumps).expect("created");
    let mut held = BTreeMap::new();
    let mut at = 0;
    for (month, (workers, block, failures)) in months {
        write(&dumps, month);
        let expected = diff(&mut held, month);
        let request = Request {
            state: state.as_path().into(),
            workers: *workers,
            cluster: None,
            block: BlockSize { records: *block, bytes: 1 << 20 },
            memory: 64 << 20,
            delete_limit_percent: 1.0,
            reject_limit_percent: 100.0,
            allowed: Allowed::default(),
            checkpoint_interval: Duration::ZERO,
            stop: Arc::default(),
            progress: Arc::new(Progress::new(Style::Quiet)),
            measures: Arc::default(),
        };
        let open = |after| Ok(vec![Box::new(Failing { feed: Feed::open(&feed)?, after }) as Box<dyn Sink>]);
        for (after, workers) in failures {
            let request = Request { workers: *workers, ..request.clone() };
            let failed = refresh(&request, &dumps, || open(Some(*after)));
            // Where nothing is to be done, nothing fails.
            assert!(failed.is_err() || failed.is_ok_and(|refreshed| refreshed.report.kinds.is_empty()));
        }
        let refreshed = refresh(&request, &dumps, || open(None)).expect("refreshed");
        resumed += usize::from(refreshed.report.resumed_from.is_some());
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
            let (letters, changes): (Vec<_>, Vec<_>) = lines.into_iter().partition(|line| line.get("dead_letter").is_some());
            let places: BTreeSet<_> = letters.iter().map(|letter| letter["dead_letter"]["position"].as_u64()).collect();
            assert_eq!((letters.len(), places.len() as u64), (places.len(), counts.rejected), "each rejected record is told once");
            let mut last = None;
            for line in changes {
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
        let kept = State::look(&state.as_path().into()).expect("state");
        let mut ids = Vec::new();
        let mut rows =
            Rows::<(discodiff::model::Key, Fingerprint)>::open(kept.storage(), kept.manifest(), &kept.manifest().parts).expect("rows");
        while let Some((key, _)) = rows.next().expect("a row") {
            ids.push(key.id());
        }
        assert_eq!(ids, held.keys().copied().collect::<Vec<_>>(), "what the state holds");
        assert_eq!(kept.manifest().records()[Kind::Master], held.len() as u64);
        let rest = std::fs::read_dir(&state).expect("listed").flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        assert!(rest.into_iter().all(|name| name != "checkpoint" && !name.ends_with(".journal")), "nothing of it is left");
    }
    resumed
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
        let months: Vec<_> = months.into_iter().map(|(month, workers, block)| (month, (workers, block, Vec::new()))).collect();
        check(&months);
    }
}

/// The same where runs fail at any batch, some of them several times, and are taken up with another number of workers: every count,
/// every change and the order of changes are those of an undisturbed run.
#[test]
fn runs_that_fail_anywhere_and_are_taken_up_find_the_same() {
    let failures = prop::collection::vec((0..8usize, 1..=4usize), 0..4);
    let months = prop::collection::vec((month(), (1..=4usize, 1..12usize, failures)), 1..4);
    let mut runner = TestRunner::new(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() });
    let resumed = AtomicUsize::new(0);
    let checked = runner.run(&months, |months| {
        resumed.fetch_add(check(&months), Ordering::Relaxed);
        Ok(())
    });
    checked.unwrap_or_else(|error| panic!("{error}"));
    println!("{resumed:?} runs went on where another had come to");
    assert!(resumed.into_inner() >= 20, "they are taken up, and do not only begin anew");
}

#[test]
fn a_run_that_failed_goes_on_where_it_was() {
    let whole =
        |ids: std::ops::Range<u64>, version| Month { items: ids.map(|id| Item::Whole { id, version, spelling: 0 }).collect(), whole: true };
    let months = [(whole(1..300, 0), (2, 10, vec![(5, 1), (5, 3), (4, 2)])), (whole(20..310, 1), (1, 10, vec![(9, 2)]))];
    assert_eq!(check(&months), 2, "both months were taken up");
}
