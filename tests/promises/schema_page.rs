//! The schema page of the guides, held against migrated stores, a graph, and the code.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use discodiff::kafka::topics::{COMPACTED, COMPACTED_DOCUMENTS, KEPT, Settings};
use discodiff::model::Kind;
use discodiff::model::graph::{Node, Relation, category};
use serde_json::Value;

use super::graph::Server;
use super::guides::{page, ticked};
use super::harness::{Database, Home, KINDS, artists};

/// The rows of all tables below a heading that `of` takes, each with the heading; a row is its cells.
fn rows(of: impl Fn(&str) -> bool) -> Vec<(String, Vec<String>)> {
    let text = page("schema.md");
    let mut heading = "";
    let mut found = Vec::new();
    for line in text.lines() {
        if line.starts_with('#') {
            heading = line;
        } else if let Some(row) = line.strip_prefix("| ").and_then(|line| line.strip_suffix(" |"))
            && of(heading)
        {
            found.push((heading.to_owned(), row.split('|').map(|cell| cell.trim().to_owned()).collect()));
        }
    }
    found.retain(|(_, row): &(String, Vec<String>)| !row[0].starts_with("---"));
    assert!(!found.is_empty(), "the page has no such table");
    found
}

/// The rows below one heading, without the head.
fn below(heading: &str) -> Vec<Vec<String>> {
    let mut rows = rows(|found| found.trim_start_matches('#').trim() == heading).into_iter().map(|(_, row)| row);
    rows.next();
    rows.collect()
}

fn set(words: &[String]) -> BTreeSet<String> {
    words.iter().cloned().collect()
}

/// `artists.data_id text not null` for each column, of PostgreSQL and of SQLite.
fn columns() -> [BTreeSet<String>; 2] {
    let mut columns = [BTreeSet::new(), BTreeSet::new()];
    for (heading, row) in rows(|heading| heading.starts_with("### `")) {
        let Some(column) = ticked(&row[0]).pop() else { continue };
        for table in ticked(&heading) {
            for (columns, cell) in columns.iter_mut().zip(&row[1..]) {
                columns.insert(format!("{table}.{column} {}", ticked(cell)[0]));
            }
        }
    }
    columns
}

/// An artist, applied to these sinks.
fn refreshed(sinks: &str) -> Home {
    let home = Home::new();
    let dumps = home.dumps("2026-01", &[("artists", &artists(1))]);
    home.refresh(&dumps, sinks).json(0);
    home
}

fn sqlite_texts(home: &Home, sql: &str) -> BTreeSet<String> {
    let connection = rusqlite::Connection::open(home.path("x.sqlite")).expect("a SQLite file");
    let mut statement = connection.prepare(sql).expect("SQL");
    statement.query_map([], |row| row.get(0)).expect("rows").map(|row| row.expect("a row")).collect()
}

#[test]
fn the_tables_columns_and_indexes_of_a_sqlite_file_are_those_of_the_schema_page() {
    let home = refreshed("--sqlite x.sqlite");
    let sql = "SELECT t.name || '.' || c.name || ' ' || c.type || iif(c.\"notnull\", ' not null', '')
               FROM sqlite_master t, pragma_table_info(t.name) c WHERE t.type = 'table'";
    let [_, page] = columns();
    assert_eq!(sqlite_texts(&home, sql), page);
    let sql = "SELECT name || ' ' || tbl_name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL";
    let page = below("Of SQLite").iter().map(|row| format!("{} {}", ticked(&row[0])[0], ticked(&row[1])[0])).collect();
    assert_eq!(sqlite_texts(&home, sql), page);
}

#[test]
fn the_tables_columns_and_indexes_of_postgresql_are_those_of_the_schema_page() {
    let Some(database) = Database::new() else { return };
    refreshed(&format!("--postgres {}", database.url()));
    let sql =
        "SELECT relname || '.' || attname || ' ' || format_type(atttypid, atttypmod) || CASE WHEN attnotnull THEN ' not null' ELSE '' END
               FROM pg_attribute JOIN pg_class c ON c.oid = attrelid JOIN pg_namespace n ON n.oid = relnamespace
               WHERE nspname = current_schema() AND relkind = 'r' AND attnum > 0 AND NOT attisdropped";
    let [page, _] = columns();
    assert_eq!(database.texts(sql), page);
    let sql = "SELECT i.relname || ' ' || t.relname || ' ' || amname FROM pg_index x JOIN pg_class i ON i.oid = indexrelid
               JOIN pg_class t ON t.oid = indrelid JOIN pg_am a ON a.oid = i.relam JOIN pg_namespace n ON n.oid = t.relnamespace
               WHERE nspname = current_schema() AND NOT indisprimary";
    let page =
        below("Of PostgreSQL").iter().map(|row| row[..3].iter().flat_map(|cell| ticked(cell)).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(database.texts(sql), page);
}

#[test]
fn each_query_of_the_checklist_is_answered_by_the_index_that_is_named_behind_it() {
    let Some(database) = Database::new() else { return };
    refreshed(&format!("--postgres {}", database.url()));
    // what a planner takes that may not read whole tables: of a table with one row it would read all
    database.execute("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET enable_seqscan = off', current_database()); END $$");
    let page = page("deployment-checklist.md");
    let queries: Vec<(&str, &str)> = page.lines().filter_map(|line| line.strip_prefix("SELECT ")?.split_once("; ")).collect();
    assert!(queries.len() > 20, "{queries:?}");
    for (query, index) in queries {
        let index = index.trim().trim_start_matches("-- ");
        let plan: Vec<String> = database.texts(&format!("EXPLAIN (COSTS OFF) SELECT {query}")).into_iter().collect();
        assert!(plan.iter().any(|line| line.split(' ').any(|word| word == index)), "{query}: not by {index}: {plan:#?}");
    }
}

#[test]
fn labels_and_relationship_types_of_the_schema_page_are_those_of_the_code() {
    let name = || "x".into();
    let named = [Node::Genre(name()), Node::Style(name()), Node::Person(name())];
    let labels: BTreeSet<String> =
        Kind::ALL.iter().map(|kind| kind.label()).chain(named.iter().map(Node::label)).map(str::to_owned).collect();
    let (own, others): (Vec<_>, Vec<_>) =
        below("Nodes").into_iter().filter(|row| row[0] != "label").partition(|row| row[0].contains("Discodiff"));
    assert_eq!(others.iter().map(|row| ticked(&row[0])[0].clone()).collect::<BTreeSet<_>>(), labels);
    assert_eq!(own.len(), 4);
    let relations = below("Relationships");
    let types: Vec<String> = relations.iter().map(|row| ticked(&row[0])[0].clone()).collect();
    assert_eq!(types, Relation::ALL.map(Relation::name));
    for (row, relation) in relations.iter().zip(Relation::ALL) {
        assert_eq!(ticked(&row[3]).first().map(String::as_str), relation.property(), "{row:?}");
    }
    for row in &relations {
        assert!(ticked(&row[1]).iter().chain(&ticked(&row[2])).all(|label| labels.contains(label)), "{row:?}");
    }
    let text = page("schema.md");
    for role in ["Producer", "Recorded By", "Mastered By", "Vocals", "Photography By", "Management", "?"] {
        assert!(text.contains(&format!("`{}`", category(Some(role)))), "{role}");
    }
}

#[test]
fn a_graph_holds_what_the_schema_page_names_and_nothing_else() {
    let Some(server) = Server::new() else { return };
    let home = Home::new();
    let demo = home.run("demo --state demo");
    assert_eq!(demo.status, Some(0), "{}", demo.stderr);
    home.refresh(&home.path("demo/dumps/2026-01"), &server.sink()).json(0);
    home.refresh(&home.path("demo/dumps/2026-02"), &server.sink()).json(0);

    let mut page: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in below("Nodes").iter().filter(|row| row[0] != "label") {
        let properties = if row.len() == 2 { &row[1] } else { &row[2] };
        page.insert(ticked(&row[0])[0].clone(), set(&ticked(properties)));
    }
    let mut ends = BTreeSet::new();
    for row in below("Relationships") {
        let name = ticked(&row[0])[0].clone();
        page.insert(name.clone(), set(&ticked(&row[3])));
        for from in ticked(&row[1]) {
            ends.extend(ticked(&row[2]).into_iter().map(|to| format!("{from} {name} {to}")));
        }
    }
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let nodes = server.query("MATCH (n) UNWIND keys(n) AS key RETURN DISTINCT labels(n)[0], key");
    let edges = server.query("MATCH ()-[e]->() UNWIND keys(e) AS key RETURN DISTINCT type(e), key");
    for row in nodes.iter().chain(&edges) {
        assert!(page.get(&text(&row[0])).is_some_and(|properties| properties.contains(&text(&row[1]))), "{row:?} is not on the page");
    }
    let found = server.query("MATCH (s)-[e]->(t) RETURN DISTINCT labels(s)[0] + ' ' + type(e) + ' ' + labels(t)[0]");
    assert_eq!(found.iter().map(|row| text(&row[0])).collect::<BTreeSet<_>>(), ends);

    let sql = "SHOW INDEXES YIELD name, type, labelsOrTypes, properties, owningConstraint WHERE type <> 'LOOKUP'
               RETURN name, CASE WHEN owningConstraint IS NULL THEN toLower(type) ELSE 'unique' END, labelsOrTypes[0], properties";
    let list = |value: &Value| value.as_array().expect("a list").iter().map(text).collect::<Vec<_>>();
    let indexes: BTreeSet<_> = server.query(sql).iter().map(|row| (text(&row[0]), text(&row[1]), text(&row[2]), list(&row[3]))).collect();
    let cell = |row: &[String], at: usize| ticked(&row[at])[0].clone();
    let rows = below("Constraints and indexes of the graph");
    let page: BTreeSet<_> = rows.iter().map(|row| (cell(row, 0), cell(row, 1), cell(row, 2), ticked(&row[3]))).collect();
    assert_eq!(indexes, page);
}

/// The fields of an object of the documents, in the order of its definition.
fn fields(name: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/model/document");
    let definition = format!("    {name}<'a> {{\n");
    let text = fs::read_dir(folder).expect("a folder").map(|entry| fs::read_to_string(entry.expect("an entry").path()).expect("source"));
    let text = text.filter_map(|text| text.split_once(&definition).map(|(_, rest)| rest.to_owned())).next();
    let text = text.unwrap_or_else(|| panic!("no object {name}"));
    let (body, _) = text.split_once("\n    }").expect("an end");
    let mut renamed = None;
    let mut fields = Vec::new();
    for line in body.lines().map(str::trim) {
        if let Some((_, name)) = line.split_once("rename = \"") {
            renamed = name.split('"').next();
        } else if !line.starts_with(['/', '#'])
            && let Some((field, _)) = line.split_once(':')
        {
            fields.push(renamed.take().unwrap_or(field.trim_start_matches("r#")).to_owned());
        }
    }
    fields
}

#[test]
fn the_documents_fields_on_the_schema_page_are_those_of_the_code_in_their_order() {
    let rows = below("Documents");
    for kind in KINDS {
        let row = rows.iter().find(|row| row[0] == kind).expect("a row a kind");
        assert_eq!(ticked(&row[1]), fields(&format!("{}{}", kind[..1].to_uppercase(), &kind[1..])), "{kind}");
    }
    for object in ["entity", "credit", "imprint", "format", "track", "identifier", "company", "video", "image"] {
        let row = rows.iter().find(|row| row[1] == object).unwrap_or_else(|| panic!("no row of {object}"));
        assert_eq!(ticked(&row[2]), fields(&format!("{}{}", object[..1].to_uppercase(), &object[1..])), "{object}");
    }
}

#[test]
fn the_feeds_objects_on_the_schema_page_are_those_of_its_json_schema() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/feed.schema.json");
    let schema: Value = serde_json::from_slice(&fs::read(file).expect("a schema")).expect("JSON");
    let keys = |of: &Value| of["properties"].as_object().expect("properties").keys().cloned().collect::<BTreeSet<_>>();
    for row in below("The feed") {
        let definition = &schema["$defs"][row[0].replace(' ', "_")];
        let mut wanted = keys(definition);
        if row[0] == "dead letter" {
            wanted.extend(keys(&definition["properties"]["dead_letter"]));
        }
        let mut named = set(&ticked(&row[1]));
        named.retain(|key| !["insert", "update", "delete"].contains(&key.as_str()));
        assert_eq!(named, wanted, "{}", row[0]);
    }
}

#[test]
fn the_topics_settings_on_the_schema_page_are_those_with_which_they_are_made() {
    let said = |settings: &Settings| settings.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
    let rows = below("Topics");
    let settings = |topic: &str| {
        let row = rows.iter().find(|row| row[0].starts_with(topic)).unwrap_or_else(|| panic!("no row of {topic}"));
        ticked(&row[3])
    };
    for (topic, wanted) in [
        ("`PREFIX.artists`, `.labels`", KEPT),
        ("`PREFIX.attempts`", COMPACTED),
        ("`TOPIC` of the feed", KEPT),
        ("`TOPIC.progress`", COMPACTED),
        ("`PREFIX.artists`, ... of documents", COMPACTED_DOCUMENTS),
        ("`PREFIX.progress` of documents", COMPACTED),
    ] {
        assert_eq!(settings(topic), said(wanted), "{topic}");
    }
}
