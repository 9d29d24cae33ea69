//! From the bytes of a dump to canonical documents.
//!
//! [`Splitter`] cuts a decompressed dump into records without parsing them; [`canonical`] makes a record's document, on the worker that owns it.

mod artist;
mod cursor;
mod fields;
mod label;
mod master;
mod release;
mod split;
pub mod text;
mod token;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use cursor::{Cursor, Malformed, Tag};
pub use split::{Ending, Record, Splitter, record_key};

use crate::model::document::{Canonical, Document};
use crate::model::{Digest, Kind};

/// Reads a record, and lets go of what it says: the first part of [`canonical`], for benchmarks.
#[doc(hidden)]
pub fn read(kind: Kind, raw: &[u8]) -> Result<(), String> {
    fn read<'a, D: Document<'a>>(source: &'a str, read: Reader<'a, D>) -> Result<(), String> {
        parsed(source, read).map(drop)
    }
    let source = utf8(raw)?;
    match kind {
        Kind::Artist => read(source, artist::read),
        Kind::Label => read(source, label::read),
        Kind::Master => read(source, master::read),
        Kind::Release => read(source, release::read),
    }
}

/// Makes a record's canonical document; fails, in words, when the record is malformed, not UTF-8 or has no id.
///
/// `scratch` is a buffer to use again from record to record; what is in it does not matter.
/// `projected` says of the graph's digest whether the projection is to be given too.
pub fn canonical(kind: Kind, raw: &[u8], scratch: &mut Vec<u8>, projected: impl FnOnce(Digest) -> bool) -> Result<Canonical, String> {
    let source = utf8(raw)?;
    match kind {
        Kind::Artist => document(source, scratch, projected, artist::read),
        Kind::Label => document(source, scratch, projected, label::read),
        Kind::Master => document(source, scratch, projected, master::read),
        Kind::Release => document(source, scratch, projected, release::read),
    }
}

fn utf8(raw: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(raw).map_err(|error| format!("not UTF-8 at byte {}", error.valid_up_to()))
}

type Reader<'a, D> = fn(&mut Cursor<'a>, &Tag<'a>) -> Result<D, Malformed>;

fn parsed<'a, D: Document<'a>>(source: &'a str, read: Reader<'a, D>) -> Result<(D, Cursor<'a>), String> {
    let mut cursor = Cursor::new(source);
    let root = cursor.root(D::KIND.name())?;
    let document = read(&mut cursor, &root)?;
    cursor.finish()?;
    Ok((document, cursor))
}

fn document<'a, D: Document<'a>>(
    source: &'a str,
    scratch: &mut Vec<u8>,
    projected: impl FnOnce(Digest) -> bool,
    read: Reader<'a, D>,
) -> Result<Canonical, String> {
    let (mut document, cursor) = parsed(source, read)?;
    let Cursor { unmapped, drift, mended, .. } = cursor;
    *document.unmapped() = unmapped;
    let id = document.number().ok_or_else(|| match document.id() {
        Some(id) => format!("its id {id} is too large"),
        None => "it has no id".to_owned(),
    })?;

    scratch.clear();
    serde_json::to_writer(&mut *scratch, &document).map_err(|error| format!("cannot be written as JSON: {error}"))?;
    let json = std::str::from_utf8(scratch).map_err(|error| format!("cannot be written as JSON: {error}"))?;
    let (json, hash) = (Arc::from(json), Digest::of(json.as_bytes()));
    let projection = document.project();
    let graph = projection.digest(id, scratch);
    let projection = projected(graph).then(|| Arc::new(projection.to_owned()));
    if scratch.capacity() > LARGE {
        *scratch = Vec::new();
    }
    Ok(Canonical {
        id,
        json,
        hash,
        graph,
        projection,
        unmapped: drift,
        removed_characters: mended.removed_characters,
        lone_ampersands: mended.lone_ampersands,
    })
}

/// A buffer that grew beyond this is let go: a release's document takes 3 kB, its largest 100 kB, label 212's 12 MB.
const LARGE: usize = 1 << 20;
