//! What a run takes up of those before it: from their journals into its memory.

use anyhow::Result;
use roaring::RoaringTreemap;

use super::decode;
use crate::dataflows::{Diff, Edges, Entry, Findings, Fingerprints, Links};
use crate::model::{Key, PerKind, Seat};
use crate::sinks::Need;
use crate::sources::kind_of;
use crate::state::{Checkpoint, Manifest, Storage, replay};

/// Ids that were delivered of the kind that is read first, where a sink is being brought up with it.
pub fn delivered(storage: &Storage, manifest: &Manifest, checkpoint: &Checkpoint) -> Result<PerKind<RoaringTreemap>> {
    let mut delivered = PerKind::from_fn(|_| RoaringTreemap::new());
    let kind = checkpoint.mark.kind();
    if checkpoint.sinks.iter().any(|sink| sink.needs[kind] == Some(Need::Everything)) {
        replay(
            storage,
            manifest,
            &checkpoint.segments,
            |what| what == Entry::RECORDS,
            |tick, _, payload| {
                if kind_of(tick) == kind
                    && let Entry::Records(records) = decode(storage, payload)?
                {
                    delivered[kind].extend(records.seen);
                }
                Ok(())
            },
        )?;
    }
    Ok(delivered)
}

/// What one worker has in memory.
pub struct Memory<'m> {
    /// Its number, and that of all.
    pub seat: Seat,
    /// The fingerprints.
    pub trace: &'m mut Fingerprints,
    /// The diff.
    pub diff: &'m mut Diff,
    /// What was found so far.
    pub findings: &'m mut Findings,
    /// The links and edges, where they are kept.
    pub links: Option<(&'m mut Links, &'m mut Edges)>,
}

impl Memory<'_> {
    /// Takes up what other runs of the epoch noted, on however many workers.
    pub fn take_up(&mut self, storage: &Storage, manifest: &Manifest, checkpoint: &Checkpoint) -> Result<()> {
        let seat = self.seat;
        let (first, kind) = (seat.is_first(), checkpoint.mark.kind());
        let owns = |key: Key| seat.owns(key.shard());
        // Ticks of their own, below all of the epoch's: nobody asks how it stood at one of them.
        let mut tick = 0;
        replay(
            storage,
            manifest,
            &checkpoint.segments,
            |what| what != Entry::TEXTS,
            |of, _, payload| {
                tick += 1;
                match (decode(storage, payload)?, &mut self.links) {
                    (Entry::Records(mut records), _) => {
                        let updates = std::mem::take(&mut records.updates).into_iter().filter(|(key, _)| owns(*key));
                        self.trace.resume(updates.map(|(key, new)| (key, Some(new))), tick);
                        if first {
                            self.findings.merge(std::mem::take(&mut records.findings));
                        }
                        if kind_of(of) == kind {
                            self.diff.resume(kind, *records, owns, first);
                        }
                    }
                    (Entry::Swept(deleted, findings), _) => {
                        self.trace.resume(deleted.into_iter().filter(|key| owns(*key)).map(|key| (key, None)), tick);
                        if first {
                            self.findings.merge(*findings);
                        }
                    }
                    (Entry::Links(changes, held), Some((links, _))) => {
                        let held = if first { held } else { PerKind::default() };
                        links.resume(changes.into_iter().filter(|(key, ..)| owns(*key)), &held, tick);
                    }
                    (Entry::Assertions(mut assertions), Some((_, edges))) => {
                        assertions.retain(|(edge, _)| seat.owns(edge.anchor.shard()));
                        edges.commit(assertions, tick);
                    }
                    (Entry::Links(..) | Entry::Assertions(_), None) | (Entry::Texts(_), _) => {}
                }
                Ok(())
            },
        )?;
        Ok(())
    }
}
