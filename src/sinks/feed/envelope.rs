//! What is said of a change, and of a record that was rejected: a line of the file, the value of a message.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::model::{Change, DeadLetter, Kind, Verdict};
use crate::sinks::{Batch, SinkError, hint};

/// Bytes of a rejected record that are given: one can have 64 MiB, and a broker takes far less.
const GIVEN: usize = 1 << 20;

#[derive(Serialize)]
struct Envelope<'a> {
    epoch: u64,
    tick: u64,
    kind: Kind,
    id: String,
    op: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<&'a RawValue>,
}

/// Adds the envelope of a change of `batch` to `buffer`, without a line's end.
pub fn envelope(buffer: &mut Vec<u8>, epoch: u64, op: Verdict, change: &Change, batch: &Batch) -> Result<(), SinkError> {
    let Change { key, tick, document, .. } = change;
    let fields = batch.fields.binary_search_by_key(key, |(key, _)| *key).ok().map(|at| batch.fields[at].1.as_slice());
    let raw = document.as_ref().map(|(_, json)| serde_json::from_str::<&RawValue>(json)).transpose();
    let written = raw.and_then(|raw| {
        let envelope = Envelope {
            epoch,
            tick: *tick,
            kind: key.kind(),
            id: key.id().to_string(),
            op: op.name(),
            hash: document.as_ref().map(|(hash, _)| hash.to_string()),
            fields,
            document: raw,
        };
        serde_json::to_writer(buffer, &envelope)
    });
    written.map_err(|error| SinkError::stop(format!("the document of {key} is not JSON ({error}): this is a defect of discodiff")))
}

#[derive(Serialize)]
struct Rejection<'a> {
    epoch: u64,
    tick: u64,
    dead_letter: Rejected<'a>,
}

#[derive(Serialize)]
struct Rejected<'a> {
    kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    file: &'a str,
    position: u64,
    stage: &'static str,
    reason: &'a str,
    hint: &'static str,
    bytes: usize,
    raw: String,
}

/// Adds what is said of a rejected record to `buffer`, without a line's end.
pub fn rejection(buffer: &mut Vec<u8>, epoch: u64, letter: &DeadLetter) -> Result<(), SinkError> {
    let DeadLetter { kind, id, file, position, tick, stage, reason, raw } = letter;
    let dead_letter = Rejected {
        kind: *kind,
        id: id.map(|id| id.to_string()),
        file,
        position: *position,
        stage: stage.name(),
        reason,
        hint: hint(stage.name(), reason),
        bytes: raw.len(),
        raw: BASE64_STANDARD.encode(&raw[..raw.len().min(GIVEN)]),
    };
    let written = serde_json::to_writer(buffer, &Rejection { epoch, tick: *tick, dead_letter });
    written.map_err(|error| SinkError::stop(format!("a dead letter is not JSON ({error}): this is a defect of discodiff")))
}
