//! A dump, cut into chunks in any way, gives the same records; and each whole one of them is found again in a dump of its own.
#![no_main]

use bytes::Bytes;
use discodiff::model::Kind;
use discodiff::xml::{Ending, Record, Splitter};
use libfuzzer_sys::fuzz_target;

fn split<'a>(kind: Kind, chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Record>, Ending) {
    let (mut splitter, mut records) = (Splitter::new(kind), Vec::new());
    chunks.into_iter().for_each(|chunk| splitter.feed(Bytes::copy_from_slice(chunk), &mut records));
    let ending = splitter.finish(None, &mut records);
    (records, ending)
}

/// Cuts as the bytes of `sizes` say, over and over: zero is a chunk of nothing.
fn cut<'a>(file: &'a [u8], sizes: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = file;
    let mut sizes = sizes.iter().chain(&[1]).cycle();
    std::iter::from_fn(move || {
        let (chunk, after) = rest.split_at((*sizes.next()? as usize).min(rest.len()));
        let more = !rest.is_empty();
        rest = after;
        more.then_some(chunk)
    })
}

fuzz_target!(|input: &[u8]| {
    let Some((head, file)) = input.split_at_checked(4) else { return };
    let kind = Kind::ALL[head[0] as usize % 4];
    let (records, ending) = split(kind, [file]);
    assert_eq!(split(kind, cut(file, &head[1..])), (records.clone(), ending.clone()), "as one and in pieces");
    assert_eq!(ending.records, records.len() as u64);

    let mut from = 0;
    for record in &records {
        let position = record.position as usize;
        assert!(position >= from, "records overlap");
        assert!(file[position..].starts_with(&record.raw), "a record's bytes stand elsewhere");
        assert!(record.key.is_some() || record.defect.is_some(), "a record without a key and without a reason");
        from = position + record.raw.len();
    }
    let whole: Vec<_> = records.iter().filter(|record| record.defect.is_none()).map(|record| &record.raw[..]).collect();
    let plural = kind.plural();
    let again = [format!("<{plural}>\n").as_bytes(), &whole.join(&b'\n'), format!("\n</{plural}>").as_bytes()].concat();
    let (found, ending) = split(kind, [&again[..]]);
    assert_eq!(ending.defect, None);
    assert_eq!(found.iter().map(|record| &record.raw[..]).collect::<Vec<_>>(), whole, "whole records, one after another");
});
