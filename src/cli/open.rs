//! Opens the sinks that the settings name, document stores first: a feed is told by them which fields changed.

use anyhow::Result;

use super::exit::Exit;
use crate::refresh::{Allowed, Request};
use crate::settings::{FeedPlace, Key, Mistakes, Settings};
use crate::sinks::documents::DocumentTopics;
use crate::sinks::feed::{Feed, FeedTopic};
use crate::sinks::kafka::Place;
use crate::sinks::neo4j::Neo4j;
use crate::sinks::postgres::Postgres;
use crate::sinks::sqlite::Sqlite;
use crate::sinks::{Access, Sink};
use crate::sources::BlockSize;
use crate::state::{State, StateError, Storage};
use crate::telemetry::{Measures, Progress, Style};
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// The sinks that are named, or the state's own SQLite file where none is.
pub fn sinks(settings: &Settings, access: Access) -> Result<Vec<Box<dyn Sink>>> {
    if access == Access::Write
        && let Some(words) = second_store(settings)?
    {
        let mut mistakes = Mistakes::default();
        mistakes.add(Key::Sqlite.flag(), words);
        return Err(mistakes.into());
    }
    let mut sinks: Vec<Box<dyn Sink>> = Vec::new();
    if let Some(url) = &settings.postgres {
        let password = settings.postgres_password()?;
        let password = password.as_ref().map(|password| password.reveal());
        sinks.push(Box::new(Postgres::open(url.reveal(), password, &settings.postgres_files()?, access)?));
    }
    if let Some(path) = settings.sqlite_file() {
        sinks.push(Box::new(Sqlite::open(&path, access)?));
    }
    if let Some(url) = &settings.neo4j {
        let password = settings.neo4j_password()?;
        sinks.push(Box::new(Neo4j::open(url.reveal(), password.as_ref().map(|password| password.reveal()), access)?));
    }
    if let Some(prefix) = &settings.document_topics {
        let place = place(settings, "document_topics", "discodiff-documents", Key::DocumentTopics, prefix, access)?;
        sinks.push(Box::new(DocumentTopics::new(place, settings.partitions)));
    }
    match &settings.feed {
        Some(FeedPlace::File(path)) => sinks.push(Box::new(Feed::open(path)?)),
        Some(FeedPlace::Topic(topic)) => {
            let place = place(settings, "feed", "discodiff-feed", Key::Feed, topic, access)?;
            sinks.push(Box::new(FeedTopic::new(place, settings.partitions)));
        }
        None => {}
    }
    Ok(sinks)
}

/// Why the state's own SQLite file is not meant, where it would be used: a command that leaves out the sinks of before would fill it as a
/// second store.
pub fn second_store(settings: &Settings) -> Result<Option<String>> {
    let own = settings.sqlite_file().filter(|own| settings.sqlite.is_none() && !own.exists());
    let (Some(own), Some(state)) = (own, &settings.state) else { return Ok(None) };
    if State::look(&storage(settings)?)?.manifest().generation == 0 {
        return Ok(None);
    }
    Ok(Some(format!(
        "no sink is named, and the state in {} was applied to others: name them (--sqlite FILE, --postgres URL and so on), or say --sqlite {} \
         to fill a new one, or --null for none",
        state,
        own.display()
    )))
}

/// The store with tables that is named, or the state's own SQLite file, for reading.
pub fn store_with_tables(settings: &Settings) -> Result<Box<dyn Sink>> {
    let named = each(settings).into_iter().find(|(name, _)| matches!(*name, "postgres" | "sqlite"));
    if let Some((_, only)) = named
        && let Some(store) = sinks(&only, Access::Read)?.into_iter().next()
    {
        return Ok(store);
    }
    if !settings.names_a_sink() && !settings.null {
        settings.state()?;
    }
    anyhow::bail!("no store that keeps dead letters is named: name one with --sqlite or --postgres")
}

/// Where a sink's topics are.
fn place(settings: &Settings, sink: &'static str, id: &'static str, key: Key, prefix: &str, access: Access) -> Result<Place, Mistakes> {
    // Who only reads ends at the first Ctrl-C.
    let stop = if access == Access::Write { Arc::clone(stop_requested()) } else { Arc::default() };
    Ok(Place { sink, topics: settings.topics_of(prefix)?, id, setting: key.flag(), stop })
}

/// The settings with one sink each, so that one that fails does not hide the others.
pub fn each(settings: &Settings) -> Vec<(&'static str, Settings)> {
    let named = [
        ("postgres", settings.postgres.is_some()),
        ("sqlite", settings.sqlite_file().is_some()),
        ("neo4j", settings.neo4j.is_some()),
        ("document_topics", settings.document_topics.is_some()),
        ("feed", settings.feed.is_some()),
    ];
    named
        .into_iter()
        .filter(|(_, named)| *named)
        .map(|(what, _)| {
            let mut only = settings.clone();
            only.postgres = only.postgres.filter(|_| what == "postgres");
            only.sqlite = settings.sqlite_file().filter(|_| what == "sqlite");
            only.neo4j = only.neo4j.filter(|_| what == "neo4j");
            only.document_topics = only.document_topics.filter(|_| what == "document_topics");
            only.feed = only.feed.filter(|_| what == "feed");
            (what, only)
        })
        .collect()
}

/// Begins to show how far a command is. Data goes to stdout only, so that --json and progress do not meet.
pub fn progress() -> Progress {
    Progress::new(Style::of(false, std::io::stderr().is_terminal()))
}

/// The state's files, for who only looks. An object store is not asked anything yet.
pub fn storage(settings: &Settings) -> Result<Storage> {
    // Ends at the first Ctrl-C.
    opened(settings, &Arc::default())
}

fn opened(settings: &Settings, stop: &Arc<AtomicBool>) -> Result<Storage> {
    Storage::open(settings.state()?, stop).map_err(|error| match error {
        StateError::Variable { variable, words } => {
            let mut mistakes = Mistakes::default();
            mistakes.add(variable, words);
            mistakes.into()
        }
        error => error.into(),
    })
}

/// What a run is asked for.
pub fn request(settings: &Settings, measures: &Arc<Measures>) -> Result<Request> {
    Ok(Request {
        state: opened(settings, stop_requested())?,
        workers: settings.workers,
        cluster: None,
        block: block(),
        memory: usize::try_from(settings.memory)?,
        delete_limit_percent: settings.delete_limit_percent,
        reject_limit_percent: settings.reject_limit_percent,
        allowed: Allowed { deletes: settings.allow_deletes, older: settings.allow_older, retry: false },
        checkpoint_interval: settings.checkpoint_interval,
        stop: Arc::clone(stop_requested()),
        progress: Arc::new(progress()),
        measures: Arc::clone(measures),
    })
}

/// Where blocks are cut; a test has smaller ones.
fn block() -> BlockSize {
    fail::fail_point!("block-records", |records| {
        let records = records.and_then(|records| records.parse().ok()).unwrap_or(1);
        BlockSize { records, ..BlockSize::default() }
    });
    BlockSize::default()
}

static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Whether somebody has asked for the end.
pub fn was_stopped() -> bool {
    STOP.get().is_some_and(|stop| stop.load(Ordering::Relaxed))
}

/// Set by Ctrl-C, SIGTERM and SIGHUP; a second one ends the process at once.
pub fn stop_requested() -> &'static Arc<AtomicBool> {
    STOP.get_or_init(|| {
        let stop = Arc::new(AtomicBool::new(false));
        let (flag, span) = (Arc::clone(&stop), tracing::Span::current());
        let handled = ctrlc::set_handler(move || {
            if flag.swap(true, Ordering::Relaxed) {
                std::process::exit(Exit::Stopped as i32);
            }
            span.in_scope(|| tracing::warn!("stopping; once more ends the program at once"));
        });
        if let Err(error) = handled {
            tracing::warn!("signals are not handled, and end the program at once: {error}");
        }
        stop
    })
}
