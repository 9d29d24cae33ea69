use std::collections::BTreeMap;
use std::rc::Rc;

use proptest::collection::vec;
use proptest::prelude::*;

use differential_dataflow::consolidation::consolidate_updates;
use differential_dataflow::trace::implementations::spine_fueled::Merger;
use timely::progress::Antichain;

use super::batch::Merge;
use super::*;
use crate::model::{Fingerprint, Key, Kind, Seat};
use crate::state::{Manifest, Rows};

type Pairs = BTreeMap<(u32, u8), isize>;

/// Updates of one tick: some keys from a place on, near to or far from each other, with few values each.
fn tick() -> impl Strategy<Value = Vec<((u32, u8), isize)>> {
    let update = (0..40u32, prop_oneof![3 => Just(0u8), 1 => 0..4u8], prop_oneof![4 => Just(1isize), 1 => -2..3isize]);
    (0..400u32, prop_oneof![Just(1u32), Just(10)], vec(update, 0..60))
        .prop_map(|(from, apart, updates)| updates.into_iter().map(|(key, value, count)| ((from + key * apart, value), count)).collect())
}

fn add(pairs: &mut Pairs, updates: &[((u32, u8), isize)]) {
    for (pair, count) in updates {
        *pairs.entry(*pair).or_default() += count;
    }
    pairs.retain(|_, count| *count != 0);
}

fn walk(mut cursor: Cursor<u32, u8>) -> Pairs {
    let mut pairs = Pairs::new();
    let mut last = None;
    while let Some(key) = cursor.key() {
        assert!(last < Some(key), "keys rise");
        last = Some(key);
        cursor.values(|value, count| assert_eq!(pairs.insert((key, *value), count), None));
        cursor.step();
    }
    pairs
}

fn batch(pairs: &Pairs, tick: Tick) -> Option<Batch<u32, u8>> {
    let mut builder = Builder::with_room(pairs.len());
    pairs.iter().for_each(|((key, value), count)| builder.push(key, value, *count));
    builder.finish(tick)
}

fn content(batch: &Batch<u32, u8>) -> Pairs {
    walk(Cursor::over(vec![Rc::new(Batch::new(batch.pieces().to_vec(), 0).expect("not empty"))]))
}

proptest! {
    #[test]
    fn a_trace_holds_what_a_map_holds(first in tick(), ticks in vec(tick(), 0..30), wanted in vec(0..800u32, 20)) {
        let mut pairs = Pairs::new();
        add(&mut pairs, &first);
        let mut rows = pairs.clone().into_iter();
        let next = || Ok::<_, std::convert::Infallible>(rows.next().map(|((key, value), count)| (key, value, count)));
        let Ok(mut arrangement) = Arrangement::restore(next);
        let mut wanted = wanted;
        wanted.sort_unstable();
        for (tick, updates) in (1..).zip(ticks) {
            add(&mut pairs, &updates);
            let mut updates = updates.into_iter().map(|(pair, count)| (pair, tick, count)).collect();
            consolidate_updates(&mut updates);
            arrangement.commit(updates, tick);
            prop_assert_eq!(&walk(arrangement.cursor()), &pairs);
            let mut cursor = arrangement.cursor();
            for key in &wanted {
                let mut values = Vec::new();
                if cursor.seek(key) {
                    cursor.values(|value, count| values.push((*value, count)));
                }
                let expected: Vec<_> = pairs.range((*key, 0)..=(*key, u8::MAX)).map(|((_, value), count)| (*value, *count)).collect();
                prop_assert_eq!(values, expected, "key {}", key);
            }
        }
    }

    #[test]
    fn what_is_saved_is_what_is_there(first in tick(), ticks in vec(tick(), 0..12)) {
        let mut pairs = Pairs::new();
        let mut arrangement = Arrangement::new();
        for (tick, updates) in (1..).zip([first].into_iter().chain(ticks)) {
            add(&mut pairs, &updates);
            let mut updates = updates.into_iter().map(|(pair, count)| (pair, tick, count)).collect();
            consolidate_updates(&mut updates);
            arrangement.commit(updates, tick);
        }
        // Rows have one value a key, so keys and values are one number there, and the count is another.
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut manifest = Manifest::new();
        let writer = PartWriter::create(&folder.path().into(), manifest.state, manifest.generation, Seat::ALONE).expect("created");
        let row = |key: u32, value: u8, count: isize| {
            let key = Key::new(Kind::Artist, (u64::from(key) << 8 | u64::from(value)) + 1).expect("a key");
            (key, Fingerprint { raw: count as u64, ..Fingerprint::default() })
        };
        let part = arrangement.cursor().save(writer, |key, value, count| Some(row(*key, *value, count))).expect("saved");
        manifest.parts.push(part);
        let mut rows = Rows::<(Key, Fingerprint)>::open(&folder.path().into(), &manifest, &manifest.parts).expect("opened");
        let saved: Vec<_> = std::iter::from_fn(|| rows.next().expect("read")).collect();
        prop_assert_eq!(saved, pairs.iter().map(|((key, value), count)| row(*key, *value, *count)).collect::<Vec<_>>());
    }

    #[test]
    fn a_merge_gives_the_sum_in_pieces_that_are_not_small_however_often_it_is_interrupted(
        one in vec(tick(), 1..8), other in vec(tick(), 1..8), fuel in 1..50isize
    ) {
        let sum = |ticks: &[Vec<_>]| {
            let mut pairs = Pairs::new();
            ticks.iter().for_each(|updates| add(&mut pairs, updates));
            pairs
        };
        let (Some(first), Some(second)) = (batch(&sum(&one), 3), batch(&sum(&other), 4)) else { return Ok(()) };
        let mut merge = Merge::new(&first, &second, Antichain::from_elem(5).borrow());
        let mut rounds = 0;
        loop {
            let mut left = fuel;
            merge.work(&first, &second, &mut left);
            if left > 0 {
                break;
            }
            rounds += 1;
            prop_assert!(rounds <= first.len() + second.len(), "each round does something");
        }
        let expected = sum(&[one, other].concat());
        let merged = merge.done();
        prop_assert_eq!(merged.as_ref().map(content).unwrap_or_default(), expected);
        let Some(merged) = merged else { return Ok(()) };
        let (last, others) = merged.pieces().split_last().expect("not empty");
        prop_assert!(others.iter().all(|piece| piece.len() >= FULL / 2), "small pieces");
        // A key's values stay together.
        prop_assert!(others.iter().chain([last]).all(|piece| piece.len() < FULL * 3 / 2 + 4), "large pieces");
    }
}

#[test]
fn batches_that_do_not_overlap_are_merged_without_copying() {
    let keys = |from: u32| (from..from + 5 * FULL as u32).map(|key| ((key, 0), 1)).collect::<Pairs>();
    let (first, second) = (batch(&keys(1), 1).expect("not empty"), batch(&keys(1000), 2).expect("not empty"));
    let mut merge = Merge::new(&first, &second, Antichain::from_elem(3).borrow());
    merge.work(&first, &second, &mut isize::MAX.clone());
    let merged = merge.done().expect("not empty");
    let parts: Vec<_> = first.pieces().iter().chain(second.pieces()).collect();
    assert_eq!(merged.pieces().len(), parts.len());
    assert!(merged.pieces().iter().zip(parts).all(|(merged, part)| Rc::ptr_eq(merged, part)));
}
