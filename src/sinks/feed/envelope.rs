//! What is said of a change: a line of the file, the value of a message.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::model::{Change, Kind, Verdict};
use crate::sinks::{Batch, SinkError};

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
