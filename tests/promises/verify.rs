//! `verify` believes no stored hash: it names every row that is not as it was written.

use serde_json::{Value, json};

use super::generated::small;
use super::harness::{Database, Home};

/// What is done to a store behind the program's back, to which artist, and what verify says of it. `{id}` is replaced.
const DAMAGES: [(&str, &str, &str); 5] = [
    ("data", "UPDATE artists SET data = {set} WHERE data_id = '{id}'", "its document is not the one that was written"),
    ("hash", "UPDATE artists SET hash = '00000000000000000000000000000000' WHERE data_id = '{id}'", "its hash is not that of its document"),
    ("row", "DELETE FROM artists WHERE data_id = '{id}'", "it has no row"),
    (
        "swap",
        "UPDATE artists SET data = (SELECT data FROM artists WHERE data_id = '{other}') WHERE data_id = '{id}'",
        "its document is that of",
    ),
    (
        "extra",
        "INSERT INTO artists SELECT '99999999', hash, data, updated_at FROM artists WHERE data_id = '{id}'",
        "the state holds no such record",
    ),
];

fn damage(set: &str, ids: &[String], execute: impl Fn(&str)) {
    for (number, (_, sql, _)) in DAMAGES.iter().enumerate() {
        execute(&sql.replace("{set}", set).replace("{id}", &ids[number]).replace("{other}", &ids[9]));
    }
}

fn check(verified: &Value, sink: &str, ids: &[String]) {
    assert_eq!(verified["equal"], false);
    let found = &verified["sinks"][sink]["kinds"];
    for kind in ["label", "master", "release"] {
        assert_eq!((&found[kind]["differ"], &found[kind]["named"]), (&json!(0), &json!([])));
    }
    let artists = &found["artist"];
    assert_eq!((&artists["differ"], &artists["missing"], &artists["extra"]), (&json!(3), &json!(1), &json!(1)));
    let named = artists["named"].as_array().expect("named");
    assert_eq!(named.len(), DAMAGES.len());
    for (number, (name, _, what)) in DAMAGES.iter().enumerate() {
        let id = if *name == "extra" { "99999999" } else { &ids[number] };
        let found = named.iter().find(|named| named["id"] == id).unwrap_or_else(|| panic!("{name} {id} is not in {named:?}"));
        assert!(found["what"].as_str().expect("words").contains(what), "{found}");
    }
}

#[test]
fn verify_names_each_row_that_was_altered_removed_or_added_in_each_store() {
    let (home, months) = (Home::new(), small().folders());
    let database = Database::new();
    let postgres = database.as_ref().map_or_else(String::new, |database| format!("--postgres {}", database.url()));
    let all = format!("--sqlite store.sqlite {postgres}");
    for month in &months[..2] {
        home.refresh(month, &all).json(0);
    }
    let line = format!("verify --state state --json {all}");
    assert_eq!(home.run(&line).json(0)["equal"], true);
    let ids: Vec<String> = home.sqlite("store.sqlite").into_keys().filter(|key| key.0 == "artist").map(|key| key.1).take(10).collect();
    let sqlite = rusqlite::Connection::open(home.path("store.sqlite")).expect("opened");
    damage("json_set(data, '$.profile', 'forged')", &ids, |sql| assert_eq!(sqlite.execute(sql, []), Ok(1), "{sql}"));
    drop(sqlite);
    let verified = home.run(&line).json(1);
    check(&verified, "sqlite", &ids);
    if let Some(database) = &database {
        let untouched = &verified["sinks"]["postgres"]["kinds"]["artist"];
        assert_eq!(untouched["named"], json!([]), "each store is compared on its own");
        damage(r#"data || '{"profile": "forged"}'"#, &ids, |sql| database.execute(sql));
        check(&home.run(&line).json(1), "postgres", &ids);
    }
    let words = home.run(&format!("verify --state state {all}"));
    assert_eq!(words.status, Some(1));
    assert!(words.stdout.contains(&format!("artist {}: its document is not the one that was written", ids[0])), "{}", words.stdout);
}

#[test]
fn verify_says_that_a_store_which_is_behind_differs() {
    let (home, months) = (Home::new(), small().folders());
    home.refresh(&months[0], "--sqlite a.sqlite").json(0);
    home.copy("a.sqlite", "b.sqlite");
    home.refresh(&months[1], "--sqlite a.sqlite").json(0);
    assert_eq!(home.run("verify --state state --json --sqlite a.sqlite").json(0)["equal"], true);
    assert_eq!(home.run("verify --state state --json --sqlite b.sqlite").json(1)["equal"], false);
}

#[test]
fn verify_refuses_what_it_cannot_compare() {
    let (home, months) = (Home::new(), small().folders());
    home.run("verify --state nowhere --sqlite a.sqlite").refused(&["there is no state in nowhere"]);
    assert!(!home.path("nowhere").exists() && !home.path("a.sqlite").exists(), "and makes nothing");
    home.refresh(&months[0], "--sqlite a.sqlite --feed feed.jsonl").json(0);
    home.refresh(&months[0], "--state other --sqlite b.sqlite").json(0);
    home.run("verify --state state --sqlite b.sqlite").refused(&["belongs to the state"]);
    home.run("verify --state state --feed feed.jsonl").refused(&["no store is named"]);
}
