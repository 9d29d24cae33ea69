//! Deflate data, whatever it is, gives the bytes that zlib-rs gives, in buffers of any size, and is refused where that refuses it.
#![no_main]

use discodiff::inflate::{Gunzip, HISTORY, SLACK};
use flate2::{Decompress, FlushDecompress, Status};
use libfuzzer_sys::fuzz_target;

/// Nothing that fits into an input needs more; bombs would only take time.
const MOST: usize = 4 << 20;

fn by_zlib(data: &[u8]) -> (Vec<u8>, bool) {
    let (mut decoder, mut whole, mut piece) = (Decompress::new(false), Vec::new(), vec![0; 1 << 16]);
    loop {
        let (read, given) = (decoder.total_in() as usize, decoder.total_out());
        let status = decoder.decompress(&data[read..], &mut piece, FlushDecompress::None);
        let some = (decoder.total_out() - given) as usize;
        whole.extend_from_slice(&piece[..some]);
        match status {
            Ok(Status::StreamEnd) => return (whole, true),
            Ok(_) if whole.len() > MOST => return (whole, false),
            Ok(_) if some > 0 || decoder.total_in() as usize > read => {}
            _ => return (whole, false),
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((head, data)) = input.split_first_chunk::<2>() else { return };
    let room = usize::from(u16::from_le_bytes(*head)) + 1;
    let header = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    let packed = [&header, data].concat();
    let (mut gunzip, mut whole, mut at) = (Gunzip::new(&packed[..]), Vec::new(), 0);
    let mut buffer = vec![0xaa; HISTORY + room + SLACK];
    let refused = loop {
        let from = at;
        let filled = gunzip.fill(&mut buffer, &mut at);
        whole.extend_from_slice(&buffer[from..at]);
        match filled {
            Ok(true) if whole.len() > MOST => return,
            Ok(true) => {}
            Ok(false) => break None,
            Err(error) => break Some(error.to_string()),
        }
        let kept = at.min(HISTORY);
        buffer.copy_within(at - kept..at, 0);
        at = kept;
    };
    let (zlib, well) = by_zlib(data);
    assert!(whole.starts_with(&zlib), "{} bytes, not {}", whole.len(), zlib.len());
    // What follows the blocks is no checksum.
    let blocks = refused.as_deref().is_none_or(|words| ["checksum", "cut short", "something else"].iter().any(|word| words.contains(word)));
    assert!(blocks || !well, "{refused:?}");
    assert!(!well || zlib.len() == whole.len());
});
