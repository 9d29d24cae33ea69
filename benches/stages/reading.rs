//! From files to records: decompressing, splitting, hashing.

use std::hint::black_box;
use std::io::{Cursor, Read};

use anyhow::Result;
use bytes::Bytes;
use memchr::memmem;
use xxhash_rust::xxh3::xxh3_64;

use super::decompressors::{DECOMPRESSORS, Decompressor};
use super::measure::stage;
use super::records::events;
use super::{Dump, PIECE, cut};

pub fn measure(dumps: &[Dump]) -> Result<()> {
    for dump @ Dump { kind, packed, xml, records } in dumps {
        let size = (records.len(), xml.len());
        let decompress = format!("decompress {kind}s");
        stage(&decompress, size, || inflate(DECOMPRESSORS[0], packed), "copying what comes out", || xml.to_vec())?;
        for other in &DECOMPRESSORS[1..] {
            stage(&decompress, size, || inflate(DECOMPRESSORS[0], packed), other.0, || inflate(*other, packed))?;
        }
        let end = memmem::Finder::new(dump.end().as_bytes()).into_owned();
        let split = format!("split {kind}s");
        stage(&split, size, || cut(*kind, xml), "decompress", || inflate(DECOMPRESSORS[0], packed))?;
        stage(&split, size, || cut(*kind, xml), "quick-xml's bare events", || events(records))?;
        stage(&split, size, || cut(*kind, xml), "memmem of end tags", || end.find_iter(xml).count())?;
        let hash = || records.iter().fold(0, |sum: u64, record| sum ^ xxh3_64(&record.raw));
        stage(&format!("hash {kind}s"), size, hash, "sum of 64-bit words", || {
            records.iter().fold(0, |sum, record| sum ^ summed(&record.raw))
        })?;
    }
    Ok(())
}

impl Dump {
    fn end(&self) -> String {
        format!("</{}>", self.kind)
    }
}

/// Into the same piece again and again.
fn inflate((_, decompress): Decompressor, packed: &Bytes) -> usize {
    let mut xml = decompress(Box::new(Cursor::new(packed.clone())));
    let (mut piece, mut total) = (vec![0; PIECE], 0);
    while let Ok(read @ 1..) = xml.read(&mut piece) {
        black_box(&piece);
        total += read;
    }
    total
}

/// The least that looks at every byte.
pub fn summed(bytes: &[u8]) -> u64 {
    let words = bytes.chunks_exact(8);
    let rest = words.remainder().iter().map(|byte| u64::from(*byte)).sum();
    words.fold(rest, |sum: u64, word| sum.wrapping_add(u64::from_le_bytes(word.try_into().expect("eight bytes"))))
}
