//! Which top-level fields of two documents differ.

use serde_json::{Map, Value};

/// Names of the fields that one of the two JSON objects has and the other has not, or has with another value; sorted.
pub fn changed_fields(old: &str, new: &str) -> Vec<String> {
    let object = |json: &str| serde_json::from_str::<Map<String, Value>>(json).unwrap_or_default();
    let (old, new) = (object(old), object(new));
    let mut fields: Vec<String> = old.iter().filter(|(name, value)| new.get(*name) != Some(value)).map(|(name, _)| name.clone()).collect();
    fields.extend(new.keys().filter(|name| !old.contains_key(*name)).cloned());
    fields.sort_unstable();
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_came_went_or_changed_are_named_in_order() {
        let old = r#"{"id": "1", "title": "A", "year": 1999, "genres": ["Rock"]}"#;
        let new = r#"{"id": "1", "title": "B", "genres": ["Rock"], "notes": "x"}"#;
        assert_eq!(changed_fields(old, new), ["notes", "title", "year"]);
        assert!(changed_fields(old, old).is_empty());
    }
}
