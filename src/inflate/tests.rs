//! Held against zlib-rs: the same bytes from the same files, and the same files refused.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::{Gunzip, HISTORY, InflateError, MAGIC, SLACK};

/// A file that gives some bytes at a time.
struct Slow<'a>(&'a [u8], usize);

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let some = self.1.min(self.0.len()).min(buffer.len());
        buffer[..some].copy_from_slice(&self.0[..some]);
        self.0 = &self.0[some..];
        Ok(some)
    }
}

/// What a file holds, as far as it can be read, with buffers of this size and so many bytes read at a time.
fn gunzip(packed: &[u8], room: usize, bytes: usize) -> (Vec<u8>, Result<(), InflateError>) {
    let mut gunzip = Gunzip::new(Slow(packed, bytes));
    let mut whole = Vec::new();
    // What was in a buffer before does not matter.
    let mut buffer = vec![0xaa; HISTORY + room + SLACK + 1];
    let mut at = 0;
    loop {
        let from = at;
        let filled = gunzip.fill(&mut buffer, &mut at);
        whole.extend_from_slice(&buffer[from..at]);
        match filled {
            Ok(true) => {}
            Ok(false) => return (whole, Ok(())),
            Err(error) => return (whole, Err(error)),
        }
        let kept = at.min(HISTORY);
        buffer.copy_within(at - kept..at, 0);
        buffer[kept..].fill(0xaa);
        at = kept;
    }
}

/// The same of one member by zlib-rs.
fn by_zlib(packed: &[u8]) -> (Vec<u8>, bool) {
    let mut whole = Vec::new();
    let mut piece = [0; 1000];
    let mut decoder = GzDecoder::new(packed);
    loop {
        match decoder.read(&mut piece) {
            Ok(0) => return (whole, true),
            Ok(read) => whole.extend_from_slice(&piece[..read]),
            Err(_) => return (whole, false),
        }
    }
}

fn gzip(data: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(data).expect("written");
    encoder.finish().expect("written")
}

/// Text with repetitions near and far, and bytes without any.
fn data() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        4 => (0..8u8, 1..400usize).prop_map(|(letters, length)| (0..length).map(|at| b'a' + (at * at) as u8 % (letters + 1)).collect::<Vec<u8>>()),
        2 => prop::collection::vec(any::<u8>(), 0..600),
        1 => (any::<u8>(), 0..2_000usize).prop_map(|(byte, length)| vec![byte; length]),
        1 => (0..3usize, 30_000..40_000usize).prop_map(|(step, length)| (0..length).map(|at| (at >> step) as u8).collect()),
    ];
    (prop::collection::vec(part, 1..8), prop::collection::vec(0..8usize, 0..12))
        .prop_map(|(parts, order)| [parts.concat(), order.iter().flat_map(|at| parts[at % parts.len()].clone()).collect()].concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_packed_is_given_back_whatever_the_buffers_and_however_it_is_read(
        members in prop::collection::vec((data(), 0..10u32), 1..4), room in 1..100_000usize, bytes in 1..5_000usize
    ) {
        let packed = members.iter().flat_map(|(data, level)| gzip(data, *level)).collect::<Vec<_>>();
        let (whole, end) = gunzip(&packed, room, bytes);
        prop_assert!(end.is_ok(), "{end:?}");
        prop_assert!(whole == members.into_iter().flat_map(|(data, _)| data).collect::<Vec<_>>());
    }

    /// Of a file that was cut, all is given that is certain, which may be more than zlib gives, and nothing else.
    #[test]
    fn a_file_that_was_cut_gives_what_there_is_and_says_so(data in data(), level in 0..10u32, at in 0..10_000usize, room in 1..100_000usize) {
        let packed = gzip(&data, level);
        let cut = &packed[..at % packed.len()];
        let (whole, end) = gunzip(cut, room, 4096);
        prop_assert!(matches!(end, Err(InflateError::Short)), "{end:?}");
        prop_assert!(data.starts_with(&whole) && whole.len() >= by_zlib(cut).0.len());
    }

    #[test]
    fn a_damaged_file_is_refused_where_zlib_refuses_it(
        data in data(), level in 0..10u32, flips in prop::collection::vec((any::<u32>(), 0..8u32), 1..4), room in 1..100_000usize
    ) {
        let mut packed = gzip(&data, level);
        for (at, bit) in flips {
            let at = at as usize % packed.len();
            // The begin is looked at by who opens it.
            if at >= MAGIC.len() {
                packed[at] ^= 1 << bit;
            }
        }
        let (whole, end) = gunzip(&packed, room, 4096);
        let (zlib, well) = by_zlib(&packed);
        let rest = matches!(end, Err(InflateError::Damaged("something else follows it"))) || matches!(end, Err(InflateError::Short)) && well;
        prop_assert_eq!(end.is_ok() || rest, well, "{:?}", end);
        prop_assert!(whole.starts_with(&zlib));
    }

    /// Bits of any sort behind a header.
    #[test]
    fn no_bytes_make_it_fail_otherwise_than_with_words(bits in prop::collection::vec(any::<u8>(), 0..3_000), room in 1..5_000usize) {
        let packed = [&gzip(b"", 6)[..10], &bits].concat();
        let (whole, end) = gunzip(&packed, room, 777);
        let (zlib, well) = by_zlib(&packed);
        prop_assert!(whole.starts_with(&zlib));
        prop_assert!(well || end.is_err());
    }
}

#[test]
fn headers_may_have_everything_that_they_can() {
    let plain = gzip(b"data", 6);
    let header = [&MAGIC[..], &[8, 0b1_1110, 0, 0, 0, 0, 0, 3], &[3, 0], b"ext", b"a name\0", b"a comment\0", &[1, 2]].concat();
    assert_eq!(gunzip(&[&header, &plain[10..]].concat(), 100, 1).0, b"data");
    let unknown = [&MAGIC[..], &[8, 0x80, 0, 0, 0, 0, 0, 3], &plain[10..]].concat();
    assert!(matches!(gunzip(&unknown, 100, 1).1, Err(InflateError::Damaged(_))));
}

#[test]
fn what_follows_the_last_member_is_told_and_a_member_may_be_empty() {
    let packed = [gzip(b"", 6), gzip(b"data", 6), gzip(b"", 0)].concat();
    assert!(matches!(gunzip(&packed, 10, 3), (data, Ok(())) if data == b"data"));
    let (data, end) = gunzip(&[packed, b"\0\0".to_vec()].concat(), 10, 3);
    assert_eq!(data, b"data");
    assert!(matches!(end, Err(InflateError::Damaged("something else follows it"))));
    assert!(matches!(gunzip(b"", 10, 3).1, Err(InflateError::Short)));
}
