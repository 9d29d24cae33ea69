//! The arrangement `fingerprints`: what the state holds of each key.

use crate::dataflows::arrangement::{self, Arrangement};
use crate::model::{Fingerprint, Key, Kind, PerKind, Seat};
use crate::sources::Tick;
use crate::state::{Manifest, Part, PartWriter, Rows, StateError, Storage};

/// Updates of one tick: sorted by key, then fingerprint.
pub type Updates = arrangement::Updates<Key, Fingerprint>;

/// The trace of one worker, and how many keys of each kind it holds.
pub struct Fingerprints {
    trace: Arrangement<Key, Fingerprint>,
    live: PerKind<u64>,
}

impl Fingerprints {
    /// A worker's trace, restored from a generation.
    pub fn restore(storage: &Storage, manifest: &Manifest, seat: Seat) -> Result<Fingerprints, StateError> {
        let mut rows = Rows::<(Key, Fingerprint)>::of_worker(storage, manifest, &manifest.parts, seat)?;
        let mut live = PerKind::<u64>::default();
        let trace = Arrangement::restore(|| {
            let row = rows.next()?;
            Ok(row.map(|(key, fingerprint)| {
                live[key.kind()] += 1;
                (key, fingerprint, 1)
            }))
        })?;
        Ok(Fingerprints { trace, live })
    }

    /// Number of keys of a kind.
    pub fn live(&self, kind: Kind) -> u64 {
        self.live[kind]
    }

    /// A cursor over what was committed so far. It moves forward only.
    pub fn cursor(&mut self) -> Cursor {
        Cursor(self.trace.cursor())
    }

    /// Adds to `updates` that a key's fingerprint is another one now, or none.
    pub fn replace(&mut self, updates: &mut Updates, key: Key, old: Option<Fingerprint>, new: Option<Fingerprint>, tick: Tick) {
        match (old, new) {
            (None, Some(_)) => self.live[key.kind()] += 1,
            (Some(_), None) => self.live[key.kind()] -= 1,
            _ => {}
        }
        let mut both = [old.map(|old| ((key, old), tick, -1)), new.map(|new| ((key, new), tick, 1))];
        both.sort_unstable();
        updates.extend(both.into_iter().flatten());
    }

    /// Adds one tick's updates. Ticks must rise; keys in `updates` too.
    pub fn commit(&mut self, updates: Updates, tick: Tick) {
        self.trace.commit(updates, tick);
    }

    /// Takes up what another run noted: fingerprints of this worker's keys, sorted, and none for those that went. Ticks must rise.
    pub fn resume(&mut self, changes: impl Iterator<Item = (Key, Option<Fingerprint>)>, tick: Tick) {
        let mut cursor = self.cursor();
        let mut updates = Vec::new();
        for (key, new) in changes {
            let old = cursor.seek(key);
            self.replace(&mut updates, key, old, new, tick);
        }
        drop(cursor);
        self.commit(updates, tick);
    }

    /// Writes all rows as this worker's part of the next generation.
    pub fn save(&mut self, storage: &Storage, manifest: &Manifest, seat: Seat) -> Result<Part, StateError> {
        let writer = PartWriter::create(storage, manifest.state, manifest.generation + 1, seat)?;
        self.trace.cursor().save(writer, |key, fingerprint, _| Some((*key, *fingerprint)))
    }
}

/// A cursor over a trace that gives the fingerprint in force for each key.
pub struct Cursor(arrangement::Cursor<Key, Fingerprint>);

impl Cursor {
    /// The fingerprint of `key`. Keys asked for must not fall.
    pub fn seek(&mut self, key: Key) -> Option<Fingerprint> {
        if self.0.seek(&key) { self.current() } else { None }
    }

    /// Goes to the first key that is not below `key`.
    pub fn skip_to(&mut self, key: Key) {
        self.0.seek(&key);
    }

    /// The next key that is there, and its fingerprint; steps past it.
    pub fn next(&mut self) -> Option<(Key, Fingerprint)> {
        while let Some(key) = self.0.key() {
            let found = self.current();
            self.0.step();
            if let Some(fingerprint) = found {
                return Some((key, fingerprint));
            }
        }
        None
    }

    fn current(&mut self) -> Option<Fingerprint> {
        let mut found = None;
        self.0.values(|&fingerprint, _| found = Some(fingerprint));
        found
    }
}
