//! A record gives a document that is JSON, that a store can give back in any form, and that is the same each time; or words.
#![no_main]

use discodiff::model::Kind;
use discodiff::model::document;
use discodiff::xml::canonical;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|input: &[u8]| {
    let Some((head, record)) = input.split_first() else { return };
    let kind = Kind::ALL[*head as usize % 4];
    let mut scratch = Vec::new();
    let document = match canonical(kind, record, &mut scratch, |_| true) {
        Ok(document) => document,
        Err(words) => return assert!(!words.is_empty()),
    };
    // As a database that sorts keys and sets spaces would give it back.
    let stored = serde_json::from_str::<Value>(&document.json).expect("a document is JSON");
    for json in [document.json.to_string(), serde_json::to_string_pretty(&stored).expect("JSON")] {
        let held = document::stored(kind, &json).expect("a canonical document");
        assert_eq!((held.id, held.hash, held.graph), (document.id, document.hash, document.graph), "{json}");
    }
    scratch.extend_from_slice(b"what was there before");
    let again = canonical(kind, record, &mut scratch, |_| false).expect("it was read before");
    assert_eq!((again.id, again.json, again.hash, again.graph), (document.id, document.json, document.hash, document.graph));
    assert_eq!(again.unmapped, document.unmapped);
    assert!(document.projection.is_some() && again.projection.is_none());
});
