//! Brings the edges of a graph that is new or behind to what the state's links say, and writes only what differs.
//!
//! In a first load the nodes have come with the records, and all edges come from here, in the order of their anchors: both ends are
//! there, nothing waits in memory for its other end, and no edge is looked for.

use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::Result;
use roaring::RoaringTreemap;

use super::Request;
use crate::dataflows::Flow;
use crate::graph::{EdgeIds, Look};
use crate::model::PerKind;
use crate::model::graph::{Dictionary, Edge};
use crate::sinks::driver::{BATCH_BYTES, BATCH_ROWS};
use crate::sinks::{Class, Graph};
use crate::sources::StoppedOnRequest;
use crate::state::{Manifest, Storage};
use crate::telemetry::{Recorder, RunStage, Subject};

/// Mends the families that do not flow as changes in this run. `manifest` is that of the generation that is about to become valid. Gives
/// the number of edges that the graph refused, under each kind whose records assert them.
pub fn mend(
    storage: &Storage,
    manifest: &Manifest,
    dictionary: &Dictionary,
    (name, graph): (&'static str, &mut dyn Graph),
    flow: &Flow,
    request: &Request,
) -> Result<PerKind<u64>> {
    let Some(links) = manifest.links.as_ref().filter(|_| flow.mended.0.contains(&true)) else { return Ok(PerKind::default()) };
    let empty = graph.size()?.relationships == 0;
    let rows: u64 = links.links.iter().chain(&links.edges).map(|part| part.rows).sum();
    request.progress.started(Subject::Edges, Some(rows));
    let mut read = 0;
    let recorder = request.measures.recorder(RunStage::Write(name));
    let mut batch = Batch { added: Vec::new(), removed: Vec::new(), bytes: 0, refused: PerKind::default(), recorder };
    let edges = EdgeIds::open(storage, manifest)?;
    let wanted = |family| flow.mends(family);
    Look { graph, wanted: &wanted, empty }.at_all(
        edges,
        |graph, kind| Ok(if empty { RoaringTreemap::new() } else { graph.ids(kind)?.0 }),
        |graph, chunk| {
            if request.stop.load(Ordering::Relaxed) {
                return Err(StoppedOnRequest.into());
            }
            request.progress.advance(Subject::Edges, chunk.read - read, chunk.expected.len() as u64);
            read = chunk.read;
            let wrong = chunk.compare(dictionary);
            // Before anything is added: a relationship with a wrong property may stand where the right one is to be.
            for (stored, _) in wrong.extra {
                // Where the links of some records are not known, an edge may be theirs.
                let known = match &stored.edge {
                    Ok(edge) => edge.family().asserted_by().iter().all(|kind| links.complete[*kind]),
                    Err(_) => true,
                };
                if known {
                    batch.removed.push(stored.element);
                    batch.flush(graph, false)?;
                }
            }
            for edge in wrong.missing {
                batch.bytes += edge.bytes();
                batch.added.push(edge);
                batch.flush(graph, false)?;
            }
            Ok(())
        },
    )?;
    batch.flush(graph, true)?;
    request.progress.done(Subject::Edges);
    Ok(batch.refused)
}

struct Batch {
    added: Vec<Edge>,
    removed: Vec<String>,
    bytes: usize,
    refused: PerKind<u64>,
    recorder: Recorder,
}

impl Batch {
    fn flush(&mut self, graph: &mut dyn Graph, last: bool) -> Result<()> {
        let rows = self.added.len() + self.removed.len();
        if rows > 0 && (last || rows >= BATCH_ROWS || self.bytes >= BATCH_BYTES) {
            let (added, removed) = (std::mem::take(&mut self.added), std::mem::take(&mut self.removed));
            let begun = Instant::now();
            self.write(graph, &added, &removed)?;
            self.recorder.since(begun, rows, std::mem::take(&mut self.bytes));
        }
        Ok(())
    }

    /// Where the graph refuses what is added, its halves: an edge that it does not take costs no other.
    fn write(&mut self, graph: &mut dyn Graph, added: &[Edge], removed: &[String]) -> Result<()> {
        match (graph.mend(added, removed), added) {
            (Err(error), [edge]) if error.class == Class::Reject => {
                tracing::error!("the graph refuses the edge {edge}: {error}");
                edge.family().asserted_by().iter().for_each(|kind| self.refused[*kind] += 1);
                if removed.is_empty() { Ok(()) } else { self.write(graph, &[], removed) }
            }
            (Err(error), [_, _, ..]) if error.class == Class::Reject => {
                let (first, rest) = added.split_at(added.len() / 2);
                self.write(graph, first, removed)?;
                self.write(graph, rest, &[])
            }
            (result, _) => Ok(result?),
        }
    }
}
