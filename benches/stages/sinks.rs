//! From changes to what servers are sent.

use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use discodiff::model::{Change, Key, Peers, PerKind, Verdict};
use discodiff::sinks::{Epoch, KindRun, Need, Run, neo4j, postgres};
use discodiff::xml::canonical;
use neo4rs::BoltType;
use uuid::Uuid;

use super::Dump;
use super::measure::stage;

pub fn measure(dumps: &[Dump]) -> Result<()> {
    let run = run();
    for Dump { kind, records, .. } in dumps {
        let change = |raw: &[u8]| {
            let made = canonical(*kind, raw, &mut Vec::new(), |_| true).ok()?;
            let graph = made.projection.map(|projection| (made.graph, projection));
            let document = Some((made.hash, made.json));
            Some(Change { key: Key::new(*kind, made.id)?, verdict: Verdict::Insert, tick: 1, document, graph })
        };
        let changes: Vec<Change> = records.iter().filter_map(|record| change(&record.raw)).collect();
        let staged = postgres::staged(&run, &changes)?;
        let size = (changes.len(), staged.iter().map(Bytes::len).sum());
        let copy = || staged.iter().map(|chunk| chunk.to_vec()).collect::<Vec<_>>();
        stage(&format!("encode {kind}s for COPY"), size, || postgres::staged(&run, &changes), "copying the same bytes", copy)?;

        let rows = neo4j::rows(&changes);
        let packed = vec![7_u8; rows.iter().map(packed).sum()];
        let size = (changes.len(), packed.len());
        stage(&format!("encode {kind}s for Bolt"), size, || neo4j::rows(&changes), "copying as many bytes", || packed.clone())?;
    }
    Ok(())
}

/// A first load of all kinds.
fn run() -> Run {
    let kind = |_| {
        let (month, file, sha256) = Default::default();
        Some(KindRun { need: Need::Changes, faults: Arc::default(), month, file, sha256 })
    };
    Run {
        from: None,
        state: Uuid::nil(),
        epoch: Epoch { number: 1, id: Uuid::nil() },
        month: String::new(),
        kinds: PerKind::from_fn(kind),
        peers: Peers::alone(1),
        want_fields: false,
        abandoned: Vec::new(),
        before: None,
    }
}

/// Bytes of a value as it is sent.
fn packed(value: &BoltType) -> usize {
    let head = |length: usize| match length {
        0..16 => 1,
        16..256 => 2,
        256..65_536 => 3,
        _ => 5,
    };
    match value {
        BoltType::String(text) => head(text.value.len()) + text.value.len(),
        BoltType::List(list) => head(list.value.len()) + list.value.iter().map(packed).sum::<usize>(),
        BoltType::Map(map) => {
            head(map.value.len()) + map.value.iter().map(|(name, value)| 1 + name.value.len() + packed(value)).sum::<usize>()
        }
        // A year; there is nothing else in a row.
        _ => 3,
    }
}
