//! What the topic holds of an epoch, and what is owed to its readers.

use std::collections::BTreeSet;

use rdkafka::Offset;
use rdkafka::message::OwnedHeaders;
use roaring::RoaringTreemap;

use super::message::{Read, read};
use crate::kafka::read::to_end;
use crate::model::{Kind, PerKind};
use crate::sinks::SinkError;
use crate::sinks::kafka::{Place, Records, Sending, unanswered};

/// What was read back.
pub struct Found {
    /// Ids of changes.
    pub ids: PerKind<RoaringTreemap>,
    /// Where the rejected records stand that are told of.
    pub rejected: BTreeSet<String>,
    /// An epoch's end is among it.
    pub ended: bool,
}

/// Reads the feed from these offsets on. Holds some bits an id.
pub fn read_back(place: &Place, begins: &[i64]) -> Result<Found, SinkError> {
    let mut found = Found { ids: PerKind::from_fn(|_| RoaringTreemap::new()), rejected: BTreeSet::new(), ended: false };
    let from: Vec<_> = begins.iter().map(|begin| Offset::Offset(*begin)).enumerate().collect();
    let reading = to_end(&place.topics, &place.topics.prefix, &from, |message| {
        match read(message)? {
            Read::Change(key) => drop(found.ids[key.kind()].insert(key.id())),
            Read::Rejected(place) => drop(found.rejected.insert(place)),
            Read::Complete => found.ended = true,
            Read::Other => {}
        }
        Ok(())
    });
    reading.map_err(unanswered)?;
    Ok(found)
}

fn key_of(kind: Kind) -> String {
    format!("owed/{}", kind.name())
}

/// What is owed, from the records of the progress topic.
pub fn read_owed(place: &Place, records: &Records) -> Result<PerKind<RoaringTreemap>, SinkError> {
    let mut owed = PerKind::<RoaringTreemap>::default();
    for kind in Kind::ALL {
        let Some(bytes) = records.get(&key_of(kind)) else { continue };
        owed[kind] = RoaringTreemap::deserialize_from(&bytes[..]).map_err(|error| {
            let (name, key) = (place.topics.progress(), key_of(kind));
            SinkError::stop(format!(
                "the record {key} in the topic {name} cannot be read ({error}): name another topic with {}",
                place.setting
            ))
        })?;
    }
    Ok(owed)
}

/// Notes what is owed now, where it is not what was noted before.
pub fn send_owed(
    sending: &Sending<'_>,
    place: &Place,
    before: &PerKind<RoaringTreemap>,
    now: &PerKind<RoaringTreemap>,
) -> Result<(), SinkError> {
    for (kind, ids) in now.iter().filter(|(kind, ids)| before[*kind] != **ids) {
        let mut bytes = Vec::with_capacity(ids.serialized_size());
        ids.serialize_into(&mut bytes).map_err(|error| SinkError::stop(format!("what is owed cannot be noted: {error}")))?;
        let value = (!ids.is_empty()).then_some(&bytes[..]);
        sending.send(&place.topics.progress(), 0, Some(&key_of(kind)), value, OwnedHeaders::new())?;
    }
    Ok(())
}
