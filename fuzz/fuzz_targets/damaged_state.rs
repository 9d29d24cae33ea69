//! A file of the state in which up to three bits are wrong, which was cut, or to which something was added: words, or exactly what was saved.
#![no_main]

use std::cell::RefCell;

use discodiff_fuzz::{Saved, read};
use libfuzzer_sys::fuzz_target;

thread_local! {
    static SAVED: RefCell<Saved> = RefCell::default();
}

fuzz_target!(|input: &[u8]| {
    let [file, how, edits @ ..] = input else { return };
    SAVED.with_borrow_mut(|saved| {
        let file = *file as usize % saved.files.len();
        let mut bytes = saved.files[file].1.clone();
        let place = |edit: &[u8]| usize::from(u16::from_le_bytes([edit[0], edit[1]]));
        match how % 3 {
            0 => {
                for edit in edits.chunks_exact(3).take(3) {
                    let at = place(edit) % bytes.len();
                    bytes[at] ^= 1 << (edit[2] % 8);
                }
            }
            1 if edits.len() >= 2 => bytes.truncate(place(edits) % (bytes.len() + 1)),
            _ => bytes.extend_from_slice(edits),
        }
        saved.put(file, &bytes);
        match read(&saved.storage) {
            Ok(content) => assert_eq!(content, saved.content, "{}", saved.files[file].0),
            Err(words) => assert!(!words.is_empty()),
        }
    });
});
