//! What `check` finds at the brokers: a line for them, and one a topic.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use super::Finding;
use crate::kafka::survey::survey;
use crate::model::Kind;
use crate::refresh::Due;
use crate::settings::Settings;
use crate::sources::kafka::{Attempt, Catalogue, Finder};
use crate::state::{Manifest, State};
use crate::telemetry::words::count;

/// Asks the brokers that are named. An error only where a setting is wrong; all else is a finding.
pub fn look(settings: &Settings) -> Result<Vec<Finding>> {
    let topics = settings.topics()?;
    let survey = match survey(&topics) {
        Ok(survey) => survey,
        Err(error) => return Ok(vec![Finding::new("kafka", Err(error))]),
    };
    let mut found = vec![Finding::new("kafka", Ok(survey.brokers))];
    // That the state can be read is a finding of its own.
    let state = settings
        .state
        .as_ref()
        .and_then(|_| State::look(&crate::cli::open::storage(settings).ok()?).ok())
        .filter(|state| !state.is_fresh());
    let mut published = None;
    for (kind, there) in survey.topics {
        let name = kind.map_or_else(|| topics.catalogue(), |kind| topics.of(kind));
        let said = match (kind, there) {
            (None, None) if settings.kafka => Catalogue::find(&topics).map(|_| String::new()),
            (_, None) => Ok("is not there: publish makes it".to_owned()),
            (_, Some(Err(error))) => Err(error),
            (None, Some(Ok(words))) => Catalogue::read(&topics).and_then(|catalogue| {
                let words = format!("{words}; {}", months(&catalogue));
                published = Some((catalogue, Finder::open(&topics)?));
                Ok(words)
            }),
            (Some(kind), Some(Ok(words))) => match &mut published {
                Some((catalogue, finder)) => {
                    still_there(finder, catalogue, kind, state.as_ref().map(State::manifest), settings.allow_older)
                        .map(|due| format!("{words}; {due}"))
                }
                None => Ok(words),
            },
        };
        found.push(Finding::new(&name, said));
    }
    Ok(found)
}

/// The months in the topics, and what of them is complete.
fn months(catalogue: &Catalogue) -> String {
    let mut months: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (kind, attempt) in Kind::ALL.into_iter().flat_map(|kind| catalogue.newest(kind).into_iter().map(move |attempt| (kind, attempt))) {
        let records = count(attempt.records);
        let so_far = if attempt.ends.is_some() { "" } else { " so far, not complete" };
        months.entry(&attempt.month).or_default().push(format!("{records} {}{so_far}", kind.plural()));
    }
    if months.is_empty() {
        return "nothing is published yet".to_owned();
    }
    months.into_iter().map(|(month, kinds)| format!("{month}: {}", kinds.join(", "))).collect::<Vec<_>>().join("; ")
}

/// Whether all that a refresh would apply is whole; without a state, all that is complete.
fn still_there(finder: &mut Finder, catalogue: &Catalogue, kind: Kind, manifest: Option<&Manifest>, older: bool) -> Result<String> {
    let fresh = Manifest::new();
    let due = Due::of(catalogue, kind, manifest.unwrap_or(&fresh), older);
    let mut wrong = Vec::new();
    for attempt in &due.news {
        if let Err(error) = finder.stretch(attempt) {
            wrong.push(format!("{error:#}"));
        }
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("; "));
    }
    let months = |attempts: &[&Attempt]| attempts.iter().map(|attempt| attempt.month.as_str()).collect::<Vec<_>>().join(", ");
    let what = if manifest.is_some() { "not applied yet" } else { "complete" };
    Ok(if due.news.is_empty() { format!("nothing is {what}") } else { format!("{what}, and whole: {}", months(&due.news)) })
}
