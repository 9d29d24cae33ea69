//! Values that are sent, and values that come back.

use neo4rs::{BoltInteger, BoltList, BoltMap, BoltNull, BoltString, BoltType};

use crate::model::Kind;
use crate::sinks::tables;

pub(super) fn text(text: &str) -> BoltType {
    BoltType::String(BoltString::new(text))
}

pub(super) fn id(id: u64) -> BoltType {
    text(&id.to_string())
}

pub(super) fn texts<'t>(all: impl IntoIterator<Item = &'t str>) -> BoltType {
    list(all.into_iter().map(text))
}

pub(super) fn ids(all: impl IntoIterator<Item = u64>) -> BoltType {
    list(all.into_iter().map(id))
}

pub(super) fn number(number: i64) -> BoltType {
    BoltType::Integer(BoltInteger::new(number))
}

pub(super) fn list(values: impl IntoIterator<Item = BoltType>) -> BoltType {
    BoltType::List(BoltList { value: values.into_iter().collect() })
}

pub(super) fn or_null(value: Option<BoltType>) -> BoltType {
    value.unwrap_or(BoltType::Null(BoltNull))
}

/// A map of values that are there.
pub(super) fn map<'k>(entries: impl IntoIterator<Item = (&'k str, Option<BoltType>)>) -> BoltType {
    let mut map = BoltMap::with_capacity(6);
    for (key, value) in entries {
        if let Some(value) = value {
            map.put(BoltString::new(key), value);
        }
    }
    BoltType::Map(map)
}

/// The id that a node's `id` stands for; `None` for anything that no record's id would be written as.
pub(super) fn id_of(kind: Kind, value: &BoltType) -> Option<u64> {
    match value {
        BoltType::String(text) => tables::id_of(kind, &text.value),
        _ => None,
    }
}
