//! The dictionary: names and properties of links as numbers, which stay the same as long as a link uses them.

use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;
use xxhash_rust::xxh3::Xxh3DefaultBuilder;

/// Parts of the dictionary, each with a lock of its own: enough that workers seldom meet.
const PARTS: usize = 64;

/// The number of a text. [`NONE`] stands for no text.
pub type Code = u32;

/// The code of an absent text.
pub const NONE: Code = 0;

/// Texts and their codes, for all workers of a process. Texts are only added; those that no link uses any more are left out when it is
/// saved, and their codes are given to others after the next start.
#[derive(Debug)]
pub struct Dictionary {
    parts: Vec<Mutex<Part>>,
    /// Whether another process gives the codes: all of them must say the same.
    follows: bool,
}

#[derive(Debug, Default)]
struct Part {
    /// Indices into the two below, by the hash of the text.
    table: HashTable<u32>,
    starts: Vec<usize>,
    lengths: Vec<u32>,
    texts: Vec<u8>,
    /// Indices that stand for nothing.
    free: Vec<u32>,
    /// Indices that were given out since this was last asked for.
    fresh: Vec<u32>,
}

impl Part {
    fn text(&self, index: u32) -> &str {
        let at = index as usize;
        let start = self.starts.get(at).copied().unwrap_or(0);
        let length = self.lengths.get(at).copied().unwrap_or(0) as usize;
        // Only whole texts were ever put in.
        self.texts.get(start..start + length).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }

    fn find(&self, hash: u64, text: &str) -> Option<u32> {
        self.table.find(hash, |&index| self.text(index) == text).copied()
    }

    fn put(&mut self, hash: u64, index: u32, text: &str) {
        let at = index as usize;
        if self.starts.len() <= at {
            let first = self.starts.len() as u32;
            self.free.extend(first..index);
            self.starts.resize(at + 1, 0);
            self.lengths.resize(at + 1, 0);
        }
        self.starts[at] = self.texts.len();
        self.lengths[at] = text.len() as u32;
        self.texts.extend_from_slice(text.as_bytes());
        let Part { table, starts, lengths, texts, .. } = self;
        table.insert_unique(hash, index, |&index| {
            let (start, length) = (starts[index as usize], lengths[index as usize] as usize);
            hash_of(&texts[start..start + length])
        });
    }
}

/// The part that a text belongs to: by bits of its hash that the table itself makes no use of.
fn part_of(hash: u64) -> usize {
    (hash >> 40) as usize % PARTS
}

fn hash_of(text: &[u8]) -> u64 {
    Xxh3DefaultBuilder.hash_one(text)
}

impl Default for Dictionary {
    fn default() -> Dictionary {
        Dictionary { parts: (0..PARTS).map(|_| Mutex::default()).collect(), follows: false }
    }
}

impl Dictionary {
    /// The same, but that it gives no codes: each text is put into it under the code that another process gave, before that is asked for.
    pub fn following(mut self) -> Dictionary {
        self.follows = true;
        for part in &mut self.parts {
            part.get_mut().unwrap_or_else(PoisonError::into_inner).free = Vec::new();
        }
        self
    }

    /// Whether another process gives the codes.
    pub fn follows(&self) -> bool {
        self.follows
    }

    /// The code of a text, which gets one where it has none yet; [`NONE`] for an empty one.
    pub fn code(&self, text: &str) -> Code {
        if text.is_empty() {
            return NONE;
        }
        let hash = hash_of(text.as_bytes());
        let part = part_of(hash);
        let mut held = self.lock(part);
        let index = held.find(hash, text).unwrap_or_else(|| {
            assert!(!self.follows, "a text was coded before its code came: this is a defect of discodiff");
            let index = held.free.pop().unwrap_or(held.starts.len() as u32);
            held.put(hash, index, text);
            held.fresh.push(index);
            index
        });
        index * PARTS as u32 + part as u32 + 1
    }

    /// The code of a text; `None` where it has none.
    pub fn find(&self, text: &str) -> Option<Code> {
        let hash = hash_of(text.as_bytes());
        let part = part_of(hash);
        self.lock(part).find(hash, text).map(|index| index * PARTS as u32 + part as u32 + 1)
    }

    /// Puts a text under a code that an earlier run gave it; false where that cannot be its code.
    pub fn restore(&self, code: Code, text: &str) -> bool {
        let hash = hash_of(text.as_bytes());
        let part = part_of(hash);
        let Some(number) = code.checked_sub(1).filter(|number| *number as usize % PARTS == part) else { return false };
        let mut held = self.lock(part);
        let index = number / PARTS as u32;
        // They are saved in the order of codes within each part.
        let fresh = !text.is_empty() && held.find(hash, text).is_none() && held.starts.len() <= index as usize;
        if fresh {
            held.put(hash, index, text);
        }
        fresh
    }

    /// Puts a text under the code that a run gave it which is taken up; false where that cannot be its code.
    pub fn adopt(&self, code: Code, text: &str) -> bool {
        let hash = hash_of(text.as_bytes());
        let part = part_of(hash);
        let Some(number) = code.checked_sub(1).filter(|number| *number as usize % PARTS == part) else { return false };
        let mut held = self.lock(part);
        let index = number / PARTS as u32;
        if let Some(found) = held.find(hash, text) {
            return found == index;
        }
        if (index as usize) < held.starts.len() {
            if held.lengths.get(index as usize) != Some(&0) {
                return false;
            }
            if let Some(at) = held.free.iter().position(|free| *free == index) {
                held.free.swap_remove(at);
            }
        }
        held.put(hash, index, text);
        if self.follows {
            held.free.clear();
        }
        !text.is_empty()
    }

    /// Codes that were given out since this was last asked for, and their texts.
    pub fn take_fresh(&self) -> Vec<(Code, Arc<str>)> {
        let mut all = Vec::new();
        for part in 0..PARTS {
            let mut held = self.lock(part);
            let fresh = std::mem::take(&mut held.fresh);
            all.extend(fresh.into_iter().map(|index| (index * PARTS as u32 + part as u32 + 1, Arc::from(held.text(index)))));
        }
        all
    }

    /// The text of a code; `None` for [`NONE`] and for codes that stand for nothing.
    pub fn text(&self, code: Code) -> Option<Arc<str>> {
        let number = code.checked_sub(1)?;
        let held = self.lock(number as usize % PARTS);
        Some(held.text(number / PARTS as u32)).filter(|text| !text.is_empty()).map(Arc::from)
    }

    /// Calls `each` with every code and its text, in the order of codes within each part.
    pub fn each<E>(&self, mut each: impl FnMut(Code, &str) -> Result<(), E>) -> Result<(), E> {
        for part in 0..PARTS {
            let held = self.lock(part);
            for index in 0..held.starts.len() as u32 {
                let text = held.text(index);
                if !text.is_empty() {
                    each(index * PARTS as u32 + part as u32 + 1, text)?;
                }
            }
        }
        Ok(())
    }

    /// Bytes that it takes in memory.
    pub fn bytes(&self) -> usize {
        (0..PARTS)
            .map(|part| {
                let part = self.lock(part);
                part.table.allocation_size() + part.starts.capacity() * 8 + part.lengths.capacity() * 4 + part.texts.capacity()
            })
            .sum()
    }

    fn lock(&self, part: usize) -> MutexGuard<'_, Part> {
        self.parts[part].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_keeps_its_code_through_a_restart_in_which_others_are_dropped() {
        let texts: Vec<String> = (1..2000).map(|i| format!("text {i}")).collect();
        let before = Dictionary::default();
        let codes: Vec<Code> = texts.iter().map(|text| before.code(text)).collect();
        assert!(codes.iter().all(|code| *code != NONE));
        assert_eq!(before.code("text 7"), codes[6]);
        let after = Dictionary::default();
        for (text, code) in texts.iter().zip(&codes).skip(1).step_by(2) {
            assert!(after.restore(*code, text));
        }
        for (text, code) in texts.iter().zip(&codes).skip(1).step_by(2) {
            assert_eq!(after.code(text), *code);
            assert_eq!(after.text(*code).as_deref(), Some(text.as_str()));
        }
        // Codes that were dropped go to others, and no two texts share one.
        let mut all: Vec<Code> = (0..5000).map(|i| after.code(&format!("other {i}"))).collect();
        all.extend(codes.iter().skip(1).step_by(2));
        let number = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), number);
        assert!(all.iter().any(|code| codes.iter().step_by(2).any(|dropped| dropped == code)));
    }

    #[test]
    fn what_a_run_gave_out_is_taken_up_under_the_same_codes_in_any_order_and_nothing_else_is() {
        let before = Dictionary::default();
        for i in 0..500 {
            before.code(&format!("old {i}"));
        }
        before.take_fresh();
        let codes: Vec<Code> = (0..500).map(|i| before.code(&format!("new {i}"))).collect();
        let mut fresh = before.take_fresh();
        assert_eq!(fresh.len(), 500);
        assert!(before.take_fresh().is_empty());
        fresh.reverse();
        // Of the old ones every second is still there.
        let after = Dictionary::default();
        for i in (0..500).step_by(2) {
            let text = format!("old {i}");
            assert!(before.find(&text).is_some_and(|code| after.restore(code, &text)));
        }
        assert!(fresh.iter().all(|(code, text)| after.adopt(*code, text) && after.adopt(*code, text)));
        assert!((0..500).all(|i| after.find(&format!("new {i}")) == Some(codes[i])));
        assert!(!after.adopt(codes[0], "another"), "taken, or another part's");
        let mut all: Vec<Code> = (0..3000).map(|i| after.code(&format!("more {i}"))).chain(codes).collect();
        let number = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), number, "no code twice");
    }

    #[test]
    fn one_that_follows_takes_the_codes_of_another_in_any_order() {
        let first = Dictionary::default();
        let texts: Vec<String> = (0..2000).map(|i| format!("text {i}")).collect();
        let codes: Vec<Code> = texts.iter().map(|text| first.code(text)).collect();
        let second = Dictionary::default();
        assert!(second.restore(codes[1999], &texts[1999]));
        let second = second.following();
        for i in (0..2000).rev().step_by(2).chain((0..2000).step_by(4)) {
            assert!(second.adopt(codes[i], &texts[i]) && second.adopt(codes[i], &texts[i]));
        }
        assert!(texts.iter().zip(&codes).all(|(text, code)| second.find(text).is_none_or(|found| found == *code)));
        assert!(!second.adopt(codes[1], &texts[0]), "two codes");
        assert!(second.take_fresh().is_empty());
    }

    #[test]
    fn a_code_that_cannot_be_a_texts_is_refused() {
        let dictionary = Dictionary::default();
        let code = dictionary.code("x");
        let fresh = Dictionary::default();
        assert!(!fresh.restore(NONE, "x"));
        assert!(!fresh.restore(code + 1, "x"));
        assert!(fresh.restore(code, "x"));
        assert!(!fresh.restore(code, "x"));
    }
}
