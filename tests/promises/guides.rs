//! The guides in docs/: what they quote is what the program says and takes, and the book that is made of them leads nowhere astray.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::harness::Home;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/src")
}

/// A page's Markdown.
pub fn page(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What stands in backquotes.
pub fn ticked(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn names_in(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            found.extend(names_in(&entry, ending));
        } else if entry.extension().is_some_and(|extension| extension == ending) {
            found.push(entry);
        }
    }
    found.sort();
    found
}

/// All of the source but its tests, with texts of several lines made one.
fn sources() -> Vec<String> {
    let files = names_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "rs");
    let files = files.iter().filter(|file| !file.components().any(|part| part.as_os_str() == "tests"));
    let joined = |text: String| {
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        code.split("\\\n").enumerate().map(|(i, part)| if i == 0 { part } else { part.trim_start() }).collect()
    };
    files.map(|file| joined(fs::read_to_string(file).expect("source"))).collect()
}

/// Whether the parts stand in the text one after the other, with no more between two of them than a message would have.
fn holds(text: &str, parts: &[&str]) -> bool {
    const APART: usize = 200;
    text.match_indices(parts[0]).any(|(mut end, first)| {
        end += first.len();
        parts[1..].iter().all(|part| {
            let found = text[end..].find(part).filter(|at| *at <= APART);
            found.inspect(|at| end += at + part.len()).is_some()
        })
    })
}

#[test]
fn each_message_of_the_troubleshooting_page_stands_in_the_source() {
    let sources = sources();
    let page = page("troubleshooting.md");
    let messages = page.lines().filter_map(|line| line.strip_prefix("- `")?.split_once('`')).map(|(message, _)| message);
    let (known, strange): (Vec<_>, Vec<_>) = messages.partition(|message| {
        let parts: Vec<&str> = message.split('…').map(str::trim).filter(|part| !part.is_empty()).collect();
        sources.iter().any(|source| holds(source, &parts))
    });
    assert!(strange.is_empty(), "the program says none of these: {strange:#?}");
    assert!(known.len() > 80, "{} messages", known.len());
}

/// Command lines in fenced blocks, joined where they go on after a backslash.
fn commands(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for block in text.split("\n```").skip(1).step_by(2).filter(|block| !block.starts_with("toml")) {
        let lines = block.replace("\\\n", " ");
        let lines = lines.lines().skip(1).map(|line| line.trim_start_matches("$ ").trim());
        found.extend(lines.filter(|line| line.starts_with("discodiff ")).map(str::to_owned));
    }
    found
}

#[test]
fn every_command_and_flag_in_the_guides_is_one_of_the_programs() {
    let home = Home::new();
    let mut helps: BTreeMap<String, String> = BTreeMap::new();
    let mut seen = 0;
    for file in names_in(&folder(), "md") {
        for line in commands(&fs::read_to_string(&file).expect("a page")) {
            let line = line.split(['#', '|', '>', ';']).next().unwrap_or_default().to_owned();
            let mut words = line.split_whitespace().skip(1).peekable();
            let mut command = String::new();
            while let Some(word) =
                words.next_if(|word| word.starts_with(|c: char| c.is_ascii_lowercase()) && command.matches(' ').count() < 2)
            {
                let longer = format!("{command}{word} ");
                let help = home.run(&format!("{longer}--help"));
                if help.status != Some(0) || helps.get(&command).is_some_and(|above| *above == help.stdout) {
                    break;
                }
                command = longer;
                helps.insert(command.clone(), help.stdout);
            }
            let Some(help) = helps.get(&command) else {
                assert!(line == "discodiff --version" || line == "discodiff --help", "{}: {line}: no such command", file.display());
                continue;
            };
            for flag in words.filter(|word| word.starts_with("--")).map(|word| word.split('=').next().unwrap_or_default()) {
                let known = help.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).any(|word| word == flag);
                assert!(known || ["--help", "--version"].contains(&flag), "{}: {line}: no flag {flag}", file.display());
            }
            seen += 1;
        }
    }
    assert!(seen > 40, "{seen} commands");
}

#[test]
fn the_commands_of_a_walk_name_the_same_store_each_time() {
    for name in ["monthly-run.md", "replay-and-repair.md", "cluster.md", "tuning.md"] {
        let commands = commands(&page(name));
        let of_the_state = commands.iter().filter(|line| line.contains(" --state state") && !line.contains(" state rebuild "));
        let sinks = ["--sqlite ", "--postgres ", "--null"];
        let bare: Vec<_> = of_the_state.filter(|line| !sinks.iter().any(|sink| line.contains(sink))).collect();
        assert!(bare.is_empty(), "{name}: these go to another store than those above them: {bare:#?}");
    }
}

#[test]
fn every_page_is_in_the_summary() {
    let summary = page("SUMMARY.md");
    for file in names_in(&folder(), "md").iter().filter(|file| !file.ends_with("SUMMARY.md")) {
        let name = file.strip_prefix(folder()).expect("below it").display().to_string();
        assert!(summary.contains(&format!("]({name})")), "{name} is not in SUMMARY.md");
    }
}

/// The values of an attribute in HTML.
fn values<'t>(html: &'t str, attribute: &str) -> Vec<&'t str> {
    html.split(&format!(" {attribute}=\"")).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[test]
fn every_link_and_anchor_of_the_book_leads_somewhere() {
    let Some(book) = std::env::var_os("DISCODIFF_TEST_BOOK").map(PathBuf::from) else {
        println!("skipped: DISCODIFF_TEST_BOOK does not name the book that scripts/book.sh makes");
        return;
    };
    let pages = names_in(&book, "html");
    let read = |file: &Path| fs::read_to_string(file).expect("a page");
    let anchors: BTreeMap<PathBuf, BTreeSet<String>> =
        pages.iter().map(|file| (file.clone(), values(&read(file), "id").into_iter().map(str::to_owned).collect())).collect();
    let (mut astray, mut seen) = (Vec::new(), 0);
    // print.html is all pages in one, and 404.html is shown at any address
    for file in pages.iter().filter(|file| !file.ends_with("print.html") && !file.ends_with("404.html")) {
        let html = read(file);
        assert!(!html.contains("{{#"), "{}: something was not included", file.display());
        for link in values(&html, "href").into_iter().chain(values(&html, "src")) {
            if link.contains(':') {
                continue;
            }
            seen += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { file.clone() } else { file.parent().expect("a folder").join(path) };
            let target = target.canonicalize().unwrap_or(target);
            let there = target.starts_with(book.canonicalize().expect("the book")) && target.exists();
            let named = anchor.is_empty()
                || anchors.iter().any(|(page, ids)| page.canonicalize().is_ok_and(|page| page == target) && ids.contains(anchor));
            if !there || !named {
                astray.push(format!("{}: {link}", file.display()));
            }
        }
    }
    assert!(astray.is_empty(), "{astray:#?}");
    assert!(seen > 500, "{seen} links");
}
