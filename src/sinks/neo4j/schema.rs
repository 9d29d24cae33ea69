//! Constraints and indexes: what every lookup of a batch needs, and what readers expect.

use neo4rs::query;

use super::connect::Connection;
use crate::sinks::SinkError;
use crate::sinks::patience::patience;

/// Version of everything that is written here but the records' content: labels, properties, bookkeeping.
pub(super) const VERSION: i64 = 1;

/// One statement each: several at once deadlock, and one transaction for all of them holds up everyone else.
///
/// Names and titles have text indexes, which take texts up to 32 kB, where others take 8 kB: a record whose text does not fit can only be
/// refused.
const STATEMENTS: [&str; 24] = [
    "CREATE CONSTRAINT discodiff_artist_id IF NOT EXISTS FOR (n:Artist) REQUIRE n.id IS UNIQUE",
    "CREATE CONSTRAINT discodiff_label_id IF NOT EXISTS FOR (n:Label) REQUIRE n.id IS UNIQUE",
    "CREATE CONSTRAINT discodiff_master_id IF NOT EXISTS FOR (n:Master) REQUIRE n.id IS UNIQUE",
    "CREATE CONSTRAINT discodiff_release_id IF NOT EXISTS FOR (n:Release) REQUIRE n.id IS UNIQUE",
    "CREATE CONSTRAINT discodiff_genre_name IF NOT EXISTS FOR (n:Genre) REQUIRE n.name IS UNIQUE",
    "CREATE CONSTRAINT discodiff_style_name IF NOT EXISTS FOR (n:Style) REQUIRE n.name IS UNIQUE",
    "CREATE CONSTRAINT discodiff_person_name IF NOT EXISTS FOR (n:Person) REQUIRE n.name IS UNIQUE",
    "CREATE CONSTRAINT discodiff_binding IF NOT EXISTS FOR (n:DiscodiffBinding) REQUIRE n.one IS UNIQUE",
    "CREATE CONSTRAINT discodiff_kind IF NOT EXISTS FOR (n:DiscodiffKind) REQUIRE n.kind IS UNIQUE",
    "CREATE CONSTRAINT discodiff_snapshot IF NOT EXISTS FOR (n:DiscodiffSnapshot) REQUIRE (n.epoch, n.kind) IS UNIQUE",
    "CREATE CONSTRAINT discodiff_watermark IF NOT EXISTS FOR (n:DiscodiffWatermark) REQUIRE n.writer IS UNIQUE",
    "CREATE TEXT INDEX discodiff_artist_name IF NOT EXISTS FOR (n:Artist) ON (n.name)",
    "CREATE TEXT INDEX discodiff_label_name IF NOT EXISTS FOR (n:Label) ON (n.name)",
    "CREATE TEXT INDEX discodiff_master_title IF NOT EXISTS FOR (n:Master) ON (n.title)",
    "CREATE TEXT INDEX discodiff_release_title IF NOT EXISTS FOR (n:Release) ON (n.title)",
    "CREATE INDEX discodiff_master_year IF NOT EXISTS FOR (n:Master) ON (n.year)",
    "CREATE INDEX discodiff_release_year IF NOT EXISTS FOR (n:Release) ON (n.year)",
    "CREATE FULLTEXT INDEX artist_name_fulltext IF NOT EXISTS FOR (n:Artist) ON EACH [n.name]",
    "CREATE FULLTEXT INDEX label_name_fulltext IF NOT EXISTS FOR (n:Label) ON EACH [n.name]",
    "CREATE FULLTEXT INDEX genre_name_fulltext IF NOT EXISTS FOR (n:Genre) ON EACH [n.name]",
    "CREATE FULLTEXT INDEX style_name_fulltext IF NOT EXISTS FOR (n:Style) ON EACH [n.name]",
    "CREATE FULLTEXT INDEX person_name_fulltext IF NOT EXISTS FOR (n:Person) ON EACH [n.name]",
    "CREATE FULLTEXT INDEX release_title_fulltext IF NOT EXISTS FOR (n:Release) ON EACH [n.title]",
    "CALL db.awaitIndexes(300)",
];

/// Makes what is missing, and waits until all of it can be used.
pub(super) fn make(connection: &mut Connection) -> Result<(), SinkError> {
    STATEMENTS.into_iter().try_for_each(|statement| connection.statement("making constraints and indexes", statement))?;
    // a name that is taken by something else is passed over in silence by IF NOT EXISTS: without its index a batch would take for ever
    let place = connection.place().to_owned();
    connection.transaction("reading constraints", Some(patience()), async |tx| {
        let sql = "SHOW CONSTRAINTS YIELD labelsOrTypes, properties, type WHERE type STARTS WITH 'UNIQUE' OR type = 'NODE_KEY'
                   RETURN labelsOrTypes[0] AS label, properties AS properties";
        let mut found = Vec::new();
        tx.each(query(sql), |row| {
            found.push((row.get::<String>("label")?, row.get::<Vec<String>>("properties")?));
            Ok(())
        })
        .await?;
        let has = |label: &str, property: &str| found.iter().any(|(of, properties)| of == label && properties == &[property]);
        let needed = ["Artist", "Label", "Master", "Release"].map(|label| (label, "id"));
        let named = ["Genre", "Style", "Person"].map(|label| (label, "name"));
        match needed.into_iter().chain(named).find(|(label, property)| !has(label, property)) {
            Some((label, property)) => Err(SinkError::stop(format!(
                "{place}: the constraint that {property} is unique among nodes {label} could not be made; drop what has its name, \
                 discodiff_{}_{property}",
                label.to_lowercase()
            ))),
            None => Ok(()),
        }
    })
}
