//! Document stores: every digest is taken anew from the document.

use anyhow::Result;

use super::Differences;
use crate::model::document::{Stored, stored};
use crate::model::{Fingerprint, Key, Kind};
use crate::sinks::{Documents, Row, id_of};
use crate::state::{Rows, State};

/// What the state holds of one kind: ids in order, the short digest of each, and whether a row was met.
#[derive(Default)]
pub struct Expected {
    ids: Vec<u64>,
    digests: Vec<u64>,
    met: Vec<bool>,
}

impl Expected {
    /// What the state holds of `wanted`.
    pub fn of(state: &State, wanted: Kind) -> Result<Expected> {
        let mut expected = Expected::default();
        let mut rows = Rows::<(Key, Fingerprint)>::open(state.storage(), state.manifest(), &state.manifest().parts)?;
        while let Some((key, fingerprint)) = rows.next()? {
            if key.kind() == wanted {
                expected.ids.push(key.id());
                expected.digests.push(fingerprint.document);
            }
        }
        expected.met = vec![false; expected.ids.len()];
        Ok(expected)
    }

    fn compare(&mut self, kind: Kind, row: Row<'_>, found: &mut Differences) {
        let id = id_of(kind, row.data_id);
        let Some(at) = id.and_then(|id| self.ids.binary_search(&id).ok()) else {
            found.extra += 1;
            match id {
                Some(id) => drop(found.faults.remove.insert(id)),
                None => found.faults.junk = true,
            }
            found.name(row.data_id, "the state holds no such record");
            return;
        };
        self.met[at] = true;
        let what = match stored(kind, row.data) {
            Err(why) => why,
            Ok(Stored { id: own, .. }) if Some(own) != id => format!("its document is that of {own}"),
            Ok(Stored { hash, .. }) if hash.short() != self.digests[at] => "its document is not the one that was written".to_owned(),
            Ok(Stored { hash, .. }) if hash.to_string() != row.hash => "its hash is not that of its document".to_owned(),
            Ok(_) => return,
        };
        found.differ += 1;
        found.faults.write.insert(self.ids[at]);
        found.name(row.data_id, what);
    }

    /// Compares one store.
    pub fn hold_against(&mut self, kind: Kind, documents: &mut dyn Documents) -> Result<Differences> {
        self.met.fill(false);
        let mut found = Differences { records: self.ids.len() as u64, ..Differences::default() };
        documents.scan(kind, &mut |row| self.compare(kind, row, &mut found))?;
        for (id, _) in self.ids.iter().zip(&self.met).filter(|(_, met)| !**met) {
            found.missing += 1;
            found.faults.write.insert(*id);
            found.name(id.to_string(), "it has no row");
        }
        Ok(found)
    }
}
