//! What stands in a message besides a record's bytes.
//!
//! ```text
//!   record  key "123", or none     headers p = position [, d = defect]        value: the raw XML
//!   marker  key "marker/7/begin"   headers m = begin or end                   value: JSON
//! ```
//!
//! A position is the big-endian number without its leading zero bytes: some 9 bytes a record with all that belongs to a header. A defect is
//! what the splitter found wrong, in words: it cannot be found out again from the bytes of a record that was cut short.

use rdkafka::message::{Header, Headers, OwnedHeaders};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use crate::model::{Key, Kind};
use crate::xml::{Record, record_key};

const POSITION: &str = "p";
const DEFECT: &str = "d";
const MARKER: &str = "m";

/// The value of a marker: first and last message of an attempt in each partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The catalogue's id.
    pub log: Uuid,
    /// Number of the attempt in this topic.
    pub attempt: u64,
    /// This partition.
    pub partition: usize,
    /// sha256 of the dump file.
    pub snapshot: String,
    /// Its month.
    pub month: String,
    /// Its name.
    pub file: String,
    /// At the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<MarkerEnd>,
}

/// What an end marker says besides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkerEnd {
    /// Records of the attempt in this partition.
    pub records: u64,
    /// Records of the attempt in all partitions.
    pub total: u64,
    /// Why the file was not read whole, if it was not.
    pub defect: Option<String>,
}

impl Marker {
    /// A key that no other marker of the partition has.
    pub fn key(&self) -> String {
        format!("marker/{}/{}", self.attempt, self.side())
    }

    fn side(&self) -> &'static str {
        if self.end.is_some() { "end" } else { "begin" }
    }

    /// The header that tells it from a record.
    pub fn headers(&self) -> OwnedHeaders {
        OwnedHeaders::new_with_capacity(1).insert(Header { key: MARKER, value: Some(self.side()) })
    }
}

/// The headers of a record.
pub fn headers(record: &Record) -> OwnedHeaders {
    let bytes = record.position.to_be_bytes();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let headers = OwnedHeaders::new_with_capacity(2).insert(Header { key: POSITION, value: Some(&bytes[zeros..]) });
    match &record.defect {
        Some(defect) => headers.insert(Header { key: DEFECT, value: Some(defect.as_bytes()) }),
        None => headers,
    }
}

/// What the headers of a message say.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// It is a marker.
    pub marker: bool,
    /// Where the record stood in the file; absent in what others wrote.
    pub position: Option<u64>,
    /// Why it is rejected.
    pub defect: Option<String>,
}

/// Reads headers; those that are not known are let be.
pub fn told<H: Headers>(headers: Option<&H>) -> Told {
    let mut told = Told::default();
    for header in headers.into_iter().flat_map(|headers| headers.iter()) {
        match (header.key, header.value) {
            (MARKER, _) => told.marker = true,
            (POSITION, Some(bytes)) if bytes.len() <= 8 => {
                told.position = Some(bytes.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte)));
            }
            (DEFECT, Some(words)) => told.defect = Some(String::from_utf8_lossy(words).into_owned()),
            _ => {}
        }
    }
    told
}

/// A message's record. Its key is read from its bytes, as from a dump, unless the splitter has had something to say about them.
pub fn record(kind: Kind, told: Told, key: Option<&[u8]>, raw: bytes::Bytes, offset: i64) -> Record {
    let position = told.position.unwrap_or(offset.max(0).unsigned_abs());
    let hash = xxh3_64(&raw);
    let (key, defect) = match told.defect {
        Some(defect) => {
            let id = key.and_then(|key| std::str::from_utf8(key).ok()).and_then(|key| key.parse().ok());
            (id.and_then(|id| Key::new(kind, id)), Some(defect))
        }
        None => match record_key(kind, &raw) {
            Ok(key) => (Some(key), None),
            Err(why) => (None, Some(why)),
        },
    };
    Record { key, position, hash, raw, defect }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn there_and_back(record: &Record) -> Record {
        let key = record.key.map(|key| key.id().to_string());
        let told = told(Some(&headers(record)));
        super::record(Kind::Master, told, key.as_ref().map(String::as_bytes), record.raw.clone(), 7)
    }

    fn whole(position: u64, raw: &'static [u8]) -> Record {
        Record { key: record_key(Kind::Master, raw).ok(), position, hash: xxh3_64(raw), raw: Bytes::from_static(raw), defect: None }
    }

    #[test]
    fn a_record_comes_back_as_the_splitter_gave_it_with_its_position_and_defect() {
        for position in [0, 1, 255, 256, 70 << 30, u64::MAX] {
            let record = whole(position, b"<master id=\"12\"><title>x</title></master>");
            assert_eq!(record.key, Key::new(Kind::Master, 12));
            assert_eq!(there_and_back(&record), record);
            let cut = Record { defect: Some("cut short".to_owned()), ..record };
            assert_eq!(there_and_back(&cut), cut);
        }
        let garbage = Record { key: None, defect: Some("not a <master>".to_owned()), ..whole(9, b"<x id=\"1\">") };
        assert_eq!(there_and_back(&garbage), garbage);
    }

    #[test]
    fn what_others_wrote_without_headers_is_read_from_its_bytes_and_placed_by_its_offset() {
        let raw = Bytes::from_static(b"<master id=\"12\"/>");
        let told = || told(None::<&OwnedHeaders>);
        let record = record(Kind::Master, told(), Some(b"not the id"), raw, 33);
        assert_eq!((record.key, record.position, record.defect), (Key::new(Kind::Master, 12), 33, None));
        let without = super::record(Kind::Master, told(), Some(b"12"), Bytes::from_static(b"<master>"), 34);
        assert!(without.key.is_none() && without.defect.is_some());
    }

    #[test]
    fn a_marker_is_told_from_a_record_and_has_a_key_of_its_own() {
        let begin = Marker {
            log: Uuid::nil(),
            attempt: 3,
            partition: 1,
            snapshot: "ab".to_owned(),
            month: "2026-01".to_owned(),
            file: "f".to_owned(),
            end: None,
        };
        let end = Marker { end: Some(MarkerEnd { records: 1, total: 2, defect: None }), ..begin.clone() };
        assert!(told(Some(&begin.headers())).marker);
        assert_ne!(begin.key(), end.key());
        for marker in [begin, end] {
            let text = serde_json::to_string(&marker).expect("JSON");
            assert_eq!(serde_json::from_str::<Marker>(&text).expect("a marker"), marker);
        }
    }
}
