//! What stands in a message.
//!
//! ```text
//!   change   key "artist/3"   headers epoch, kind, op      value: the envelope; none of a delete, which is a tombstone
//!   marker   no key           headers epoch, marker        value: {"gap": [2, 3]} or {"complete": 4, ...}; one in each partition
//!   rejected no key           headers epoch, marker, place value: {"dead_letter": {...}, ...}; in one partition
//! ```

use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use serde_json::Value;

use crate::model::{DeadLetter, Key, Kind, Verdict};
use crate::sinks::SinkError;
use crate::sinks::kafka::{Place, Sending};
use crate::sinks::tables::id_of;

const EPOCH: &str = "epoch";
const KIND: &str = "kind";
const OP: &str = "op";
const MARKER: &str = "marker";
const PLACE: &str = "place";
const DEAD_LETTER: &str = "dead_letter";

/// The key of a change.
pub fn key_of(key: Key) -> String {
    format!("{}/{}", key.kind().name(), key.id())
}

/// The headers of a change: with them a tombstone says as much as its envelope would.
pub fn headers(epoch: u64, key: Key, op: Verdict) -> OwnedHeaders {
    OwnedHeaders::new_with_capacity(3)
        .insert(Header { key: EPOCH, value: Some(&epoch.to_string()) })
        .insert(Header { key: KIND, value: Some(key.kind().name()) })
        .insert(Header { key: OP, value: Some(op.name()) })
}

/// Sends a marker to each partition: who reads one of them knows what it says. `epoch`: in which it is written.
pub fn to_each(sending: &Sending<'_>, place: &Place, partitions: usize, epoch: u64, marker: &str, value: &Value) -> Result<(), SinkError> {
    let (text, epoch) = (value.to_string(), epoch.to_string());
    (0..partitions).try_for_each(|partition| {
        let headers = OwnedHeaders::new_with_capacity(2).insert(Header { key: EPOCH, value: Some(&epoch) });
        let headers = headers.insert(Header { key: MARKER, value: Some(marker) });
        sending.send(&place.topics.prefix, partition, None, Some(text.as_bytes()), headers)
    })
}

/// Where a rejected record stands: no other one in an epoch stands there.
pub fn place_of(letter: &DeadLetter) -> String {
    format!("{}/{}:{}", letter.kind.name(), letter.file, letter.position)
}

/// The headers of a rejected record.
pub fn rejected(epoch: u64, place: &str) -> OwnedHeaders {
    OwnedHeaders::new_with_capacity(3)
        .insert(Header { key: EPOCH, value: Some(&epoch.to_string()) })
        .insert(Header { key: MARKER, value: Some(DEAD_LETTER) })
        .insert(Header { key: PLACE, value: Some(place) })
}

/// A message that was read back.
pub enum Read {
    /// A rejected record that stands here.
    Rejected(String),
    /// A change of this key.
    Change(Key),
    /// The end of an epoch.
    Complete,
    /// Another marker.
    Other,
}

/// What a message is; an error, in words, where nobody but us could have written it.
pub fn read(message: &BorrowedMessage<'_>) -> anyhow::Result<Read> {
    let header = |key: &str| message.headers().and_then(|headers| headers.iter().find(|header| header.key == key)?.value);
    if let Some(marker) = header(MARKER) {
        return Ok(match marker {
            b"complete" => Read::Complete,
            _ if marker == DEAD_LETTER.as_bytes() => {
                Read::Rejected(String::from_utf8_lossy(header(PLACE).unwrap_or_default()).into_owned())
            }
            _ => Read::Other,
        });
    }
    let text = message.key().and_then(|key| std::str::from_utf8(key).ok()).unwrap_or_default();
    let key = text.split_once('/').and_then(|(kind, id)| {
        let kind = Kind::from_name(kind)?;
        Key::new(kind, id_of(kind, id)?)
    });
    key.map(Read::Change).ok_or_else(|| {
        anyhow::anyhow!(
            "the message at offset {} of partition {} of {} is not discodiff's: only discodiff may write to a feed. Name another topic",
            message.offset(),
            message.partition(),
            message.topic()
        )
    })
}
