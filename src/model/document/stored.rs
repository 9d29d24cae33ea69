//! Digests recomputed from what a store holds.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Artist, Document, Label, Master, Release};
use crate::model::{Digest, Kind};

/// What a document is that a store holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The record's id.
    pub id: u64,
    /// The document's digest.
    pub hash: Digest,
    /// The digest of what the graph holds of it.
    pub graph: Digest,
}

/// Takes the digests of a document as a store holds it, keys in any order.
///
/// Fails, in words, when the content is not exactly a canonical document: unknown or doubled keys, nulls, empty lists, wrong types.
pub fn stored(kind: Kind, json: &str) -> Result<Stored, String> {
    match kind {
        Kind::Artist => typed::<Artist<'static>>(json),
        Kind::Label => typed::<Label<'static>>(json),
        Kind::Master => typed::<Master<'static>>(json),
        Kind::Release => typed::<Release<'static>>(json),
    }
}

fn typed<'a, D: Document<'a> + Serialize + for<'de> Deserialize<'de>>(json: &str) -> Result<Stored, String> {
    let words = |error: serde_json::Error| format!("not a canonical {}: {error}", D::KIND);
    let document: D = serde_json::from_str(json).map_err(words)?;
    let id = document.number().ok_or_else(|| format!("not a canonical {}: it has no id", D::KIND))?;
    let mut canonical = serde_json::to_vec(&document).map_err(words)?;
    // The typed reading takes a null, an empty list or an empty object for absent; the plain one tells them apart.
    let (held, again): (Value, Value) = (serde_json::from_str(json).map_err(words)?, serde_json::from_slice(&canonical).map_err(words)?);
    if held != again {
        return Err(format!("not a canonical {}: it holds nulls, empty values or the like at {}", D::KIND, difference(&held, &again)));
    }
    let hash = Digest::of(&canonical);
    Ok(Stored { id, hash, graph: document.project().digest(id, &mut canonical) })
}

/// The name of the first top-level key in which the two differ.
fn difference(held: &Value, again: &Value) -> String {
    let (Value::Object(held), Value::Object(again)) = (held, again) else { return "the root".to_owned() };
    let differs = |name: &&String| held.get(*name) != again.get(*name);
    held.keys().find(differs).map_or_else(|| "the root".to_owned(), |name| format!("\"{name}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(kind: Kind, json: &str) -> String {
        stored(kind, json).expect_err(json)
    }

    #[test]
    fn key_order_and_white_space_of_a_store_do_not_matter() {
        let canonical = r##"{"id":"1","name":"A","aliases":[{"id":"2","name":"B"}],"unmapped":{"a":["x"],"b":[{"#text":"y","@k":"z"}]}}"##;
        let text = r##"{"unmapped": {"b": [{"@k": "z", "#text": "y"}], "a": ["x"]}, "name": "A", "id": "1", "aliases": [{"name": "B", "id": "2"}]}"##;
        let found = stored(Kind::Artist, text).expect("canonical");
        assert_eq!((found.id, found.hash), (1, Digest::of(canonical.as_bytes())));
    }

    #[test]
    fn what_is_not_exactly_canonical_is_refused_in_words() {
        assert!(failure(Kind::Artist, r#"{"id":"1","foo":"x"}"#).contains("unknown field `foo`"));
        assert!(failure(Kind::Artist, r#"{"id":"1","id":"1"}"#).contains("duplicate field `id`"));
        assert!(failure(Kind::Artist, r#"{"id":"1","unmapped":{"a":["x"],"a":["y"]}}"#).contains("duplicate field `a`"));
        assert!(failure(Kind::Artist, r#"{"id":"1","name":null}"#).contains("\"name\""));
        assert!(failure(Kind::Artist, r#"{"id":"1","urls":[]}"#).contains("\"urls\""));
        assert!(failure(Kind::Release, r#"{"id":"1","artists":[{"id":"2","anv":null}]}"#).contains("\"artists\""));
        assert!(failure(Kind::Release, r#"{"id":"1","year":"1999"}"#).contains("invalid type"));
        assert!(failure(Kind::Release, r#"{"id":1}"#).contains("invalid type"));
        assert!(failure(Kind::Release, r#"{"title":"x"}"#).contains("it has no id"));
        assert!(failure(Kind::Release, r#"{"id":"0"}"#).contains("it has no id"));
        assert!(failure(Kind::Release, "[]").contains("not a canonical release"));
        assert!(failure(Kind::Release, r#"{"id":"1"} x"#).contains("trailing"));
    }
}
