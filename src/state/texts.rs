//! The file of the dictionary: texts and their codes, in checksummed blocks.
//!
//! ```text
//!   header  "discodic" | format u32 | state uuid 16 B | generation u64 | crc u32
//!   block   bytes u32 | crc u32 | texts x (code u32, length u32, UTF-8)      all little-endian
//!   end     0 u32 | crc of the number of all texts as u64 u32
//! ```

use std::io::{Read, Write};

use roaring::RoaringBitmap;

use super::parts::{header, open};
use super::{DictionaryFile, Manifest, StateError, Storage};
use crate::model::graph::Dictionary;

const WHAT: &[u8; 8] = b"discodic";
const ENDING: &str = "dictionary";

/// A block is closed when it has come to this many bytes; with one text of 64 MB in it, the longest record there is, it is larger.
const BLOCK: usize = 1 << 20;

pub(super) fn is_dictionary(name: &str) -> bool {
    name.strip_suffix(".new").unwrap_or(name).ends_with(".dictionary")
}

/// Writes the texts whose codes are `used` as a part of the generation after the valid one, durably.
pub fn save_dictionary(
    storage: &Storage,
    manifest: &Manifest,
    dictionary: &Dictionary,
    used: &RoaringBitmap,
) -> Result<DictionaryFile, StateError> {
    let generation = manifest.generation + 1;
    let (mut file, mut texts) = (storage.create(&format!("g{generation}"), ENDING)?, 0u64);
    let path = file.path().to_owned();
    let io = |source| StateError::io("write", &path, source);
    file.write_all(&header(WHAT, manifest.state, generation)).map_err(io)?;
    let mut block = Vec::with_capacity(BLOCK);
    let mut flush = |block: &mut Vec<u8>, number: u32| {
        file.write_all(&(block.len() as u32).to_le_bytes())?;
        file.write_all(&number.to_le_bytes())?;
        file.write_all(block)?;
        block.clear();
        std::io::Result::Ok(())
    };
    dictionary.each(|code, text| {
        if used.contains(code) {
            texts += 1;
            block.extend_from_slice(&code.to_le_bytes());
            block.extend_from_slice(&(text.len() as u32).to_le_bytes());
            block.extend_from_slice(text.as_bytes());
        }
        let crc = if block.len() >= BLOCK { Some(crc32fast::hash(&block)) } else { None };
        crc.map_or(Ok(()), |crc| flush(&mut block, crc)).map_err(io)
    })?;
    if !block.is_empty() {
        let crc = crc32fast::hash(&block);
        flush(&mut block, crc).map_err(io)?;
    }
    flush(&mut block, crc32fast::hash(&texts.to_le_bytes())).map_err(io)?;
    Ok(DictionaryFile { file: file.finish()?, texts })
}

/// The dictionary of the valid generation; an empty one where no links are kept.
pub fn load_dictionary(storage: &Storage, manifest: &Manifest) -> Result<Dictionary, StateError> {
    let dictionary = Dictionary::default();
    let Some(links) = &manifest.links else { return Ok(dictionary) };
    let (path, mut file) = open(storage, &links.dictionary.file, WHAT, ENDING, manifest)?;
    let damaged = |problem: &str| StateError::Part { path: path.clone(), problem: problem.to_owned() };
    let word = |file: &mut dyn Read| {
        let mut bytes = [0; 4];
        file.read_exact(&mut bytes).map_err(|error| StateError::unread(&path, error, || "the file is cut short".to_owned()))?;
        Ok(u32::from_le_bytes(bytes))
    };
    let mut block = Vec::new();
    let mut texts = 0u64;
    loop {
        let (length, crc) = (word(&mut file)?, word(&mut file)?);
        if length == 0 {
            if crc != crc32fast::hash(&texts.to_le_bytes()) || texts != links.dictionary.texts {
                return Err(damaged("the number of texts does not agree"));
            }
            return Ok(dictionary);
        }
        block.clear();
        // A damaged length must not be believed before the bytes are there.
        let read = file.by_ref().take(u64::from(length)).read_to_end(&mut block);
        if read.map_err(|source| StateError::io("read", &path, source))? < length as usize {
            return Err(damaged("the file is cut short"));
        }
        if crc != crc32fast::hash(&block) {
            return Err(damaged("a block's checksum does not agree"));
        }
        let mut rest = &block[..];
        while !rest.is_empty() {
            let text = text(&mut rest).filter(|(code, text)| dictionary.restore(*code, text));
            if text.is_none() {
                return Err(damaged("a text is damaged or stands twice"));
            }
            texts += 1;
        }
    }
}

fn text<'b>(rest: &mut &'b [u8]) -> Option<(u32, &'b str)> {
    let (head, tail) = rest.split_at_checked(8)?;
    let number = |at: usize| Some(u32::from_le_bytes(head.get(at..at + 4)?.try_into().ok()?));
    let (text, tail) = tail.split_at_checked(number(4)? as usize)?;
    *rest = tail;
    Some((number(0)?, std::str::from_utf8(text).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PerKind;
    use crate::state::Links;

    fn saved(storage: &Storage) -> (Manifest, Dictionary) {
        let (mut manifest, dictionary) = (Manifest::new(), Dictionary::default());
        let codes: RoaringBitmap = (0..40_000).map(|i| dictionary.code(&format!("the text of number {i}, not too short"))).collect();
        dictionary.code("of no use any more");
        let file = save_dictionary(storage, &manifest, &dictionary, &codes).expect("saved");
        manifest.generation += 1;
        let (links, edges) = (Vec::new(), Vec::new());
        manifest.links = Some(Links { version: 1, complete: PerKind::default(), links, edges, dictionary: file });
        (manifest, dictionary)
    }

    #[test]
    fn a_dictionary_reads_back_with_the_texts_that_are_used() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let (manifest, before) = saved(&folder.path().into());
        let after = load_dictionary(&folder.path().into(), &manifest).expect("loaded");
        let mut texts = 0;
        after
            .each(|code, text| {
                texts += 1;
                if before.text(code).as_deref() == Some(text) { Ok(()) } else { Err(()) }
            })
            .expect("every text under its code");
        assert_eq!(texts, 40_000);
    }

    #[test]
    fn a_damaged_or_cut_dictionary_is_refused_in_words() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let (manifest, _) = saved(&folder.path().into());
        let path = folder.path().join("g1.dictionary");
        let whole = std::fs::read(&path).expect("read");
        let refused = |bytes: &[u8]| {
            std::fs::write(&path, bytes).expect("written");
            load_dictionary(&folder.path().into(), &manifest).expect_err("refused").to_string()
        };
        for at in [60, whole.len() / 2, whole.len() - 1] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            assert!(refused(&bytes).contains("agree"), "byte {at}");
        }
        assert!(refused(&whole[..whole.len() - 4]).contains("cut short"));
        assert!(refused(&whole[..20]).contains("shorter than its header"));
        std::fs::remove_file(&path).expect("removed");
        assert!(load_dictionary(&folder.path().into(), &manifest).expect_err("refused").to_string().contains("missing"));
    }
}
