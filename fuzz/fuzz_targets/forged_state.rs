//! A file of the state with any content and the right checksums: words, or what can be written and read again; nothing is believed to be as
//! long as it says before it is there.
#![no_main]

use std::cell::RefCell;

use discodiff::dataflows::Entry;
use discodiff::model::graph::{Coded, EdgeId};
use discodiff::model::{Fingerprint, Key};
use discodiff::state::{Checkpoint, Manifest, Row, State, check, load_dictionary};
use discodiff_fuzz::{Saved, entries, read, rows};
use libfuzzer_sys::fuzz_target;
use xxhash_rust::xxh3::xxh3_64;

thread_local! {
    static SAVED: RefCell<Saved> = RefCell::default();
}

/// Bytes of a file's header.
const HEADER: usize = 40;

fn words(bytes: &[u8]) -> [u8; 8] {
    let (length, crc) = (bytes.len() as u32, crc32fast::hash(bytes));
    [length.to_le_bytes(), crc.to_le_bytes()].concat().try_into().expect("eight")
}

fn end(number: u64) -> [u8; 8] {
    [0u32.to_le_bytes(), crc32fast::hash(&number.to_le_bytes()).to_le_bytes()].concat().try_into().expect("eight")
}

fn forge_rows<R: Row + PartialEq + std::fmt::Debug>(saved: &mut Saved, body: &[u8]) {
    let file = saved.file(R::ENDING);
    let number = body.len() / R::SIZE;
    let body = &body[..number * R::SIZE];
    let mut bytes = saved.files[file].1[..HEADER].to_vec();
    if number > 0 {
        bytes.extend_from_slice(&(number as u32).to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(body).to_le_bytes());
        bytes.extend_from_slice(body);
    }
    bytes.extend_from_slice(&end(number as u64));
    saved.put(file, &bytes);
    let manifest = saved.content.manifest.as_ref().expect("a manifest");
    let part = discodiff::state::Part { file: saved.files[file].0.clone(), rows: number as u64, worker: 0, workers: 1, processes: 1 };
    if let Ok(rows) = rows::<R>(&saved.storage, manifest, &[part]) {
        let mut again = Vec::new();
        rows.iter().for_each(|row| row.put(&mut again));
        assert_eq!(again, body);
        rows.iter().for_each(|row| assert!(row.shard() < 64));
    }
}

fn forge_manifest(saved: &mut Saved, body: &str) {
    let file = saved.file("manifest.json");
    let text = format!("{{\"checksum\": \"{:016x}\", \"manifest\": {body}}}", xxh3_64(body.trim().as_bytes()));
    saved.put(file, text.as_bytes());
    let Ok(state) = State::look(&saved.storage) else { return };
    let _ = check(&saved.storage, state.manifest());
    let again: Manifest = serde_json::from_str(&serde_json::to_string(state.manifest()).expect("JSON")).expect("read again");
    assert_eq!(&again, state.manifest());
    let _ = read(&saved.storage);
}

fn forge_checkpoint(saved: &mut Saved, body: &str) {
    let file = saved.file("checkpoint");
    let body = body.trim_end();
    saved.put(file, format!("{:016x}\n{body}\n", xxh3_64(body.as_bytes())).as_bytes());
    let Ok(Some(checkpoint)) = Checkpoint::read(&saved.storage) else { return };
    let again: Checkpoint = serde_json::from_str(&serde_json::to_string(&checkpoint).expect("JSON")).expect("read again");
    assert_eq!(again, checkpoint);
    let _ = entries(&saved.storage, saved.content.manifest.as_ref().expect("a manifest"), &checkpoint.segments);
}

fn forge_dictionary(saved: &mut Saved, body: &[u8]) {
    let file = saved.file("dictionary");
    let mut bytes = saved.files[file].1[..HEADER].to_vec();
    if !body.is_empty() {
        bytes.extend_from_slice(&words(body));
        bytes.extend_from_slice(body);
    }
    let (mut texts, mut rest) = (0u64, body);
    while let Some((length, tail)) = rest.get(4..8).map(|length| u32::from_le_bytes(length.try_into().expect("four"))).zip(rest.get(8..)) {
        texts += 1;
        rest = tail.get(length as usize..).unwrap_or_default();
    }
    bytes.extend_from_slice(&end(texts));
    saved.put(file, &bytes);
    let mut manifest = saved.content.manifest.clone().expect("a manifest");
    if let Some(links) = &mut manifest.links {
        links.dictionary.texts = texts;
    }
    if let Ok(dictionary) = load_dictionary(&saved.storage, &manifest) {
        let mut found = Vec::new();
        let all: Result<(), ()> = dictionary.each(|code, text| {
            found.push((code, text.to_owned()));
            Ok(())
        });
        assert_eq!((all, found.len() as u64), (Ok(()), texts));
        assert!(found.iter().all(|(code, text)| dictionary.find(text) == Some(*code)));
    }
}

fn forge_entry(body: &[u8]) {
    let Ok(entry) = Entry::decode(body) else { return };
    let bytes = entry.encode().expect("encoded");
    let again = Entry::decode(&bytes).expect("decoded again");
    assert_eq!(again.encode().expect("encoded"), bytes);
    match &again {
        Entry::Records(records) => records.updates.iter().for_each(|(key, _)| touch(*key)),
        Entry::Swept(keys, _) => keys.iter().for_each(|key| touch(*key)),
        Entry::Links(links, _) => links.iter().for_each(|(key, link, _)| {
            touch(*key);
            let _ = (link.kind(), link.record(), link.codes());
        }),
        Entry::Assertions(assertions) => assertions.iter().for_each(|(edge, _)| {
            let _ = (edge.anchor.shard(), edge.anchor.key(), edge.family());
        }),
        Entry::Texts(_) => {}
    }
}

fn touch(key: Key) {
    assert!(key.id() > 0 && Key::new(key.kind(), key.id()) == Some(key));
}

fuzz_target!(|input: &[u8]| {
    let Some((file, body)) = input.split_first() else { return };
    SAVED.with_borrow_mut(|saved| match (file % 7, std::str::from_utf8(body)) {
        (0, Ok(body)) => forge_manifest(saved, body),
        (1, Ok(body)) => forge_checkpoint(saved, body),
        (2, _) => forge_rows::<(Key, Fingerprint)>(saved, body),
        (3, _) => forge_rows::<(Key, Coded)>(saved, body),
        (4, _) => forge_rows::<(EdgeId, u32)>(saved, body),
        (5, _) => forge_dictionary(saved, body),
        (6, _) => forge_entry(body),
        _ => {}
    });
});
