//! Writes documents and tombstones.

use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::Offset;
use rdkafka::message::{Header, Message, OwnedHeaders};
use roaring::RoaringTreemap;

use super::Writing;
use crate::kafka::read::to_end;
use crate::model::{Kind, PerKind, Verdict};
use crate::sinks::kafka::unanswered;
use crate::sinks::tables::{Task, id_of};
use crate::sinks::{Batch, Need, Run, SinkError, Tally, Writer, Written};

/// The headers of a document.
pub const HASH: &str = "hash";
const EPOCH: &str = "epoch";

/// The one writer of a process.
pub struct DocumentWriter {
    writing: Arc<Mutex<Writing>>,
    run: Run,
    /// Whether it also removes what no process owns.
    first: bool,
    /// What was there before this run, of kinds that are brought up, once asked for.
    there: PerKind<Option<There>>,
}

/// Keys that have a document.
#[derive(Clone, Debug, Default)]
struct There {
    ids: RoaringTreemap,
    /// Keys that no record can have, and their partitions.
    junk: Vec<(usize, String)>,
}

impl DocumentWriter {
    pub fn new(writing: Arc<Mutex<Writing>>, run: Run, first: bool) -> DocumentWriter {
        DocumentWriter { writing, run, first, there: PerKind::default() }
    }
}

impl Writing {
    /// Reads a kind's keys back. Holds some bits an id.
    fn there(&self, kind: Kind) -> Result<There, SinkError> {
        let topics = &self.session.place.topics;
        let mut there = There::default();
        let from: Vec<_> = (0..self.partitions[kind]).map(|partition| (partition, Offset::Beginning)).collect();
        let reading = to_end(topics, &topics.of(kind), &from, |message| {
            let key = String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned();
            let partition = message.partition().unsigned_abs() as usize;
            match (id_of(kind, &key), message.payload()) {
                (Some(id), Some(_)) => drop(there.ids.insert(id)),
                (Some(id), None) => drop(there.ids.remove(id)),
                (None, value) => {
                    let place = (partition, key);
                    there.junk.retain(|junk| *junk != place);
                    if value.is_some() {
                        there.junk.push(place);
                    }
                }
            }
            Ok(())
        });
        reading.map_err(unanswered)?;
        Ok(there)
    }
}

impl Writer for DocumentWriter {
    fn write(&mut self, batch: &Batch, attempt: u32) -> Result<Written, SinkError> {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if attempt > 0
            && let Some(written) = writing.session.again(batch.number)?
        {
            return Ok(written);
        }
        let mut tasks = Vec::with_capacity(batch.changes.len());
        let mut tally = Tally::default();
        for change in &batch.changes {
            let Some(task) = Task::of(&self.run, change)? else { continue };
            let kind = task.key.kind();
            let there = match (task.need, &mut self.there[kind]) {
                (Need::Changes, _) => task.verdict != Verdict::Insert,
                (Need::Everything | Need::Repair, Some(there)) => there.ids.contains(task.key.id()),
                (Need::Everything | Need::Repair, unknown) => unknown.insert(writing.there(kind)?).ids.contains(task.key.id()),
            };
            match task.document {
                None if there => tally.deleted += 1,
                None => continue,
                Some(_) if there => tally.updated += 1,
                Some(_) => tally.inserted += 1,
            }
            tasks.push(task);
        }
        if tasks.is_empty() {
            return Ok(Written::default());
        }
        let names = PerKind::from_fn(|kind| writing.session.place.topics.of(kind));
        let (partitions, epoch) = (writing.partitions, self.run.epoch.number.to_string());
        writing.session.batch(batch.number, Written { tally, fields: Vec::new() }, |sending| {
            for Task { key, document, .. } in &tasks {
                let kind = key.kind();
                let partition = (key.shard() % partitions[kind] as u64) as usize;
                let headers = OwnedHeaders::new_with_capacity(2).insert(Header { key: EPOCH, value: Some(&epoch) });
                let headers = match document {
                    Some((hash, _)) => headers.insert(Header { key: HASH, value: Some(&hash.to_string()) }),
                    None => headers,
                };
                let value = document.map(|(_, json)| json.as_bytes());
                sending.send(&names[kind], partition, Some(&key.id().to_string()), value, headers)?;
            }
            Ok(())
        })
    }

    fn stored_ids(&mut self, kind: Kind) -> Result<(RoaringTreemap, u64), SinkError> {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        // What this run wrote since was delivered, and is not asked for.
        let There { ids, junk } = match self.there[kind].take() {
            Some(there) => there,
            None => writing.there(kind)?,
        };
        let removed = if self.first { junk.len() as u64 } else { 0 };
        if removed > 0 {
            let name = writing.session.place.topics.of(kind);
            writing.session.transact(|sending| {
                junk.iter().try_for_each(|(partition, key)| sending.send(&name, *partition, Some(key), None, OwnedHeaders::new()))
            })?;
        }
        self.there[kind] = Some(There { ids: ids.clone(), junk: Vec::new() });
        Ok((ids, removed))
    }
}
