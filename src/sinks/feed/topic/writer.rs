//! Writes changes into the topic.

use std::sync::{Arc, Mutex, PoisonError};

use roaring::RoaringTreemap;

use super::super::envelope::{envelope, rejection};
use super::{Feeding, message};
use crate::model::{Change, Key, Kind, Verdict};
use crate::sinks::{Batch, Class, SinkError, Tally, Writer, Written};

/// The one writer of a process.
pub struct TopicWriter {
    feeding: Arc<Mutex<Feeding>>,
    epoch: u64,
    buffer: Vec<u8>,
}

impl TopicWriter {
    pub fn new(feeding: Arc<Mutex<Feeding>>, epoch: u64) -> TopicWriter {
        TopicWriter { feeding, epoch, buffer: Vec::new() }
    }
}

impl Feeding {
    /// What is to be said of a change; `None`: nothing, readers have it.
    fn op(&self, Change { key, verdict, .. }: &Change) -> Option<Verdict> {
        let (kind, id) = (key.kind(), key.id());
        match verdict {
            _ if self.done[kind].contains(id) => None,
            // It is as it was before the given-up epoch, which said something else of it.
            Verdict::Unchanged => self.owed[kind].contains(id).then_some(Verdict::Update),
            verdict => Some(*verdict),
        }
    }

    /// Whether a key could come again in this epoch.
    fn remembers(&self, kind: Kind) -> bool {
        !self.owed[kind].is_empty()
    }
}

impl Writer for TopicWriter {
    fn write(&mut self, batch: &Batch, attempt: u32) -> Result<Written, SinkError> {
        let mut feeding = self.feeding.lock().unwrap_or_else(PoisonError::into_inner);
        let changes: Vec<(Verdict, &Change)> = batch.changes.iter().filter_map(|change| Some((feeding.op(change)?, change))).collect();
        let letters = batch.dead_letters.iter().map(|letter| (message::place_of(letter), letter));
        let letters: Vec<_> = letters.filter(|(place, _)| !feeding.told.contains(place)).collect();
        if changes.is_empty() && letters.is_empty() {
            return Ok(Written::default());
        }
        let before = if attempt > 0 { feeding.session.again(batch.number)? } else { None };
        let written = match before {
            Some(written) => written,
            None => {
                let mut tally = Tally::default();
                for (op, _) in &changes {
                    match op {
                        Verdict::Insert => tally.inserted += 1,
                        Verdict::Delete => tally.deleted += 1,
                        Verdict::Update | Verdict::Unchanged => tally.updated += 1,
                    }
                }
                let (epoch, buffer, partitions) = (self.epoch, &mut self.buffer, feeding.partitions as u64);
                let topic = feeding.session.place.topics.prefix.clone();
                let sent = feeding.session.batch(batch.number, Written { tally, fields: Vec::new() }, |sending| {
                    for (op, change) in &changes {
                        buffer.clear();
                        if change.document.is_some() {
                            envelope(buffer, epoch, *op, change, batch)?;
                        }
                        let value = change.document.is_some().then_some(&buffer[..]);
                        let partition = (change.key.shard() % partitions) as usize;
                        let headers = message::headers(epoch, change.key, *op);
                        sending.send(&topic, partition, Some(&message::key_of(change.key)), value, headers)?;
                    }
                    for (place, letter) in &letters {
                        buffer.clear();
                        rejection(buffer, epoch, letter)?;
                        let shard = letter.id.and_then(|id| Key::new(letter.kind, id)).map_or(0, Key::shard);
                        let partition = (shard % partitions) as usize;
                        sending.send(&topic, partition, None, Some(&buffer[..]), message::rejected(epoch, place))?;
                    }
                    Ok(())
                });
                // A feed is never brought up: a change that is left out would be lost.
                sent.map_err(|error| if error.class == Class::Reject { SinkError { class: Class::Stop, ..error } } else { error })?
            }
        };
        for (_, Change { key, .. }) in changes {
            if feeding.remembers(key.kind()) {
                feeding.done[key.kind()].insert(key.id());
            }
        }
        self.buffer.shrink_to(16 << 20);
        Ok(written)
    }

    fn stored_ids(&mut self, kind: Kind) -> Result<(RoaringTreemap, u64), SinkError> {
        let feeding = self.feeding.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((feeding.owed[kind].clone(), 0))
    }

    fn lacks(&self, key: Key) -> bool {
        let feeding = self.feeding.lock().unwrap_or_else(PoisonError::into_inner);
        feeding.owed[key.kind()].contains(key.id()) && !feeding.done[key.kind()].contains(key.id())
    }
}
