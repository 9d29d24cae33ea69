//! What PostgreSQL and SQLite have in common: the tables, which rows and changes belong into them, and the words of their refusals.

use std::collections::BTreeSet;
use std::error::Error;

use refinery::Migration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::error::causes;
use super::{Class, KindRun, Need, Run, SinkError};
use crate::model::{Change, Digest, Key, Kind, Verdict};

/// Where the applied migrations are noted: a name of our own, since refinery's may be another program's.
pub(crate) const MIGRATIONS_TABLE: &str = "discodiff_migrations";

/// Tables and their columns as the first migration makes them.
pub(crate) const TABLES: [(&str, &[&str]); 10] = [
    ("artists", &["data", "data_id", "hash", "updated_at"]),
    ("labels", &["data", "data_id", "hash", "updated_at"]),
    ("masters", &["data", "data_id", "hash", "updated_at"]),
    ("releases", &["data", "data_id", "hash", "updated_at"]),
    ("changes", &["at", "epoch", "fields", "id", "kind", "op"]),
    (
        "snapshots",
        &["abandoned", "begun_at", "completed_at", "deletes_withheld", "epoch", "file", "kind", "month", "records", "rejected", "sha256"],
    ),
    ("dead_letters", &["at", "epoch", "file", "id", "kind", "position", "raw", "reason", "stage"]),
    ("watermarks", &["batch", "epoch", "run", "state", "tick", "writer"]),
    ("binding", &["one", "run", "state", "store"]),
    ("applied", &["begun_epoch", "begun_id", "epoch", "id", "kind"]),
];

/// What was applied, in the order of epochs.
pub(crate) const SNAPSHOTS: &str = "SELECT epoch, kind, month, file, sha256, completed_at IS NOT NULL, records, rejected, deletes_withheld
    FROM snapshots ORDER BY epoch, kind";

/// The error of migrations, whose library wraps the client's error in its own; `help` says what to do about that.
pub(crate) fn not_migrated<E: Error + 'static>(place: &str, error: refinery::Error, help: fn(&E) -> &'static str) -> SinkError {
    let help = causes(&error).find_map(|cause| cause.downcast_ref()).map_or("", help);
    SinkError::new(Class::Stop, format!("{place}: its tables could not be made or migrated{help}"), error)
}

/// What an unbound store holds under one of our names.
pub(crate) struct Found {
    /// The table.
    pub table: &'static str,
    /// Its columns, sorted.
    pub columns: BTreeSet<String>,
    /// Whether it has rows.
    pub rows: bool,
}

/// The refusal of a store that no discodiff wrote; `migrated`: the tables are ours, so only their rows count.
pub(crate) fn refuse_foreign(place: &str, migrated: bool, found: &[Found]) -> Result<(), SinkError> {
    for Found { table, columns, rows } in found {
        let ours = TABLES.iter().find(|(name, _)| name == table).map_or(&[][..], |(_, columns)| columns);
        let held = if *rows {
            "holds data"
        } else if !migrated && !columns.iter().map(String::as_str).eq(ours.iter().copied()) {
            "has columns"
        } else {
            continue;
        };
        return Err(SinkError::stop(format!(
            "{place} is foreign: table {table} {held} that no discodiff wrote; name an empty database or file"
        )));
    }
    Ok(())
}

/// One row of the table of migrations.
pub(crate) struct Applied {
    /// The migration's number.
    pub version: i32,
    /// When it was applied, as refinery writes it.
    pub applied_on: String,
    /// refinery's checksum.
    pub checksum: String,
}

/// Refuses a store that a newer program has migrated, and a table of migrations that refinery could not read.
pub(crate) fn refuse_newer(place: &str, applied: &[Applied], known: &[Migration]) -> Result<(), SinkError> {
    let newest = applied.iter().map(|a| a.version).max().unwrap_or(0);
    let known = known.iter().map(|m| m.version()).max().unwrap_or(0);
    if newest > known {
        return Err(SinkError::stop(format!(
            "{place} was written by a newer discodiff: its tables are of version {newest}, this one knows versions up to {known}; use the newer one"
        )));
    }
    // refinery panics on these
    if applied.iter().any(|a| a.checksum.parse::<u64>().is_err() || OffsetDateTime::parse(&a.applied_on, &Rfc3339).is_err()) {
        return Err(SinkError::stop(format!("{place}: table {MIGRATIONS_TABLE} holds rows that discodiff did not write")));
    }
    Ok(())
}

/// The refusal of a store that belongs to another state.
pub(crate) fn other_state(place: &str, theirs: Uuid, ours: Uuid) -> SinkError {
    SinkError::stop(format!(
        "{place} is bound to state {theirs}, and this state is {ours}; name the state that it belongs to, or an empty one"
    ))
}

/// What a writer says when the store's run number is no longer its own.
pub(crate) fn fenced(place: &str) -> SinkError {
    SinkError::stop(format!("{place}: another run has taken over; this one ends"))
}

/// What a writer has to do with one change.
pub(crate) struct Task<'a> {
    /// Whose.
    pub key: Key,
    /// The state's verdict.
    pub verdict: Verdict,
    /// What the row shall be; `None`: there shall be none.
    pub document: Option<(Digest, &'a str)>,
    /// What the sink needs of the kind.
    pub need: Need,
}

impl<'a> Task<'a> {
    /// `None` where nothing is to be written: an unchanged document, and a sink that has it.
    pub(crate) fn of(run: &Run, change: &'a Change) -> Result<Option<Task<'a>>, SinkError> {
        let Some(KindRun { need, .. }) = run.kinds[change.key.kind()] else {
            return Err(SinkError::stop(format!("a change of {}, whose kind is no part of this run", change.key)));
        };
        let document = change.document.as_ref().map(|(digest, json)| (*digest, &**json));
        if document.is_some() == (change.verdict == Verdict::Delete) {
            return Err(SinkError::stop(format!("{} of {} with and without a document", change.verdict.name(), change.key)));
        }
        let wanted = need != Need::Changes || change.verdict != Verdict::Unchanged;
        Ok(wanted.then_some(Task { key: change.key, verdict: change.verdict, document, need }))
    }

    /// Whether the fields of this change are asked for by a feed.
    pub(crate) fn gives_fields(&self) -> bool {
        self.verdict == Verdict::Update && self.need == Need::Changes
    }
}

/// The id that a `data_id` stands for; `None` for any text that no record's id would be written as.
pub(crate) fn id_of(kind: Kind, data_id: &str) -> Option<u64> {
    if data_id.starts_with('0') || !data_id.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    data_id.parse().ok().and_then(|id| Key::new(kind, id)).map(Key::id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_records_id_is_written_as_is_an_id() {
        for junk in ["", "0", "01", "+1", "-1", " 1", "1 ", "1a", "x", "72057594037927936", "99999999999999999999", "１"] {
            assert_eq!(id_of(Kind::Artist, junk), None, "{junk:?}");
        }
        assert_eq!(id_of(Kind::Artist, "72057594037927935"), Some(Key::MAX_ID));
        assert_eq!(id_of(Kind::Artist, "10"), Some(10));
    }
}
