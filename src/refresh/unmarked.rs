//! Refreshes from topics that another program fills: span by span, up to where it is told.

use std::sync::Arc;

use anyhow::{Result, bail};
use time::OffsetDateTime;

use super::FromTopics;
use crate::model::{Kind, PerKind};
use crate::sources::kafka::{Span, Until, names};
use crate::sources::{DumpFile, Place, Snapshot};
use crate::state::{Manifest, State};

impl FromTopics<'_> {
    /// Applies what is in the topics and was not applied yet, without deleting anything.
    pub fn until(&mut self, until: Until) -> Result<()> {
        let there = names(self.topics)?;
        if there.contains(&self.topics.catalogue()) {
            bail!(
                "the topics {}.* were filled by discodiff publish, which marks where each month ends ({}): leave --until out",
                self.topics.prefix,
                self.topics.catalogue()
            );
        }
        let wanted = Kind::ALL.map(|kind| self.topics.of(kind));
        if !wanted.iter().any(|name| there.contains(name)) {
            bail!("there is none of the topics {} at {}: name another --topic-prefix", wanted.join(", "), self.topics.brokers);
        }
        let (mut first, mut applied) = (true, false);
        loop {
            let state = State::look(&self.request.state)?;
            let manifest = state.manifest();
            let mut files = PerKind::from_fn(|_| None);
            for kind in Kind::ALL {
                let span = Span::next(self.topics, kind, manifest.topics[kind].as_ref(), until)?;
                files[kind] = span.map(|span| span.as_begun(begun(manifest, kind).unwrap_or_default()));
            }
            // Of a run that did not end, the same is applied again first.
            if first
                && files
                    .iter()
                    .any(|(kind, span)| span.as_ref().is_some_and(|span| Some(span.identity().as_str()) == begun(manifest, kind)))
            {
                Kind::ALL.iter().filter(|kind| begun(manifest, **kind).is_none()).for_each(|kind| files[*kind] = None);
            }
            first = false;
            let month = month(manifest);
            drop(state);
            let spans: Vec<Arc<Span>> = files.0.into_iter().flatten().map(Arc::new).collect();
            if spans.is_empty() {
                if !std::mem::replace(&mut applied, true) {
                    // A sink that is new or behind is told of.
                    let one = self.snapshot(Snapshot { month: String::new(), files: PerKind::from_fn(|_| None) })?;
                    (self.applied)(one)?;
                }
                break;
            }
            applied = true;
            let mut files = PerKind::from_fn(|_| None);
            for span in &spans {
                files[span.kind] = Some(DumpFile {
                    kind: span.kind,
                    place: Place::Unmarked(Arc::clone(span)),
                    name: self.topics.of(span.kind),
                    bytes: 0,
                    sha256: span.identity(),
                    unproven: None,
                    stamp: String::new(),
                    checksum_agrees: None,
                });
            }
            let one = self.snapshot(Snapshot { month, files })?;
            tracing::info!("{} was applied: {}", self.topics.prefix, spans.iter().map(|span| told(span)).collect::<Vec<_>>().join("; "));
            if one.report.kinds.is_empty() && spans.iter().any(|span| span.reached().is_none()) {
                bail!(
                    "the state says that it holds {}.* up to where it is to be read, and not up to where: this is a defect of discodiff",
                    self.topics.prefix
                );
            }
            (self.applied)(one)?;
            let reached = spans.iter().filter_map(|span| Some((span.kind, span.reached()?.offsets)));
            self.note(&reached.collect::<Vec<_>>())?;
        }
        Ok(())
    }
}

fn begun(manifest: &Manifest, kind: Kind) -> Option<&str> {
    manifest.begun.as_ref().and_then(|begun| begun.files[kind].as_deref())
}

/// Nothing says of which month such records are: this one, or that of the state where it is ahead.
fn month(manifest: &Manifest) -> String {
    let now = OffsetDateTime::now_utc();
    let now = format!("{:04}-{:02}", now.year(), u8::from(now.month()));
    manifest.kinds.0.iter().flatten().map(|applied| applied.month.clone()).fold(now, Ord::max)
}

fn told(span: &Span) -> String {
    let records: i64 = span.reached().map_or(0, |reached| reached.offsets.iter().zip(&span.from).map(|(to, from)| to - from).sum());
    format!("{} offsets of {}", crate::telemetry::words::count(records.max(0).unsigned_abs()), span.kind.plural())
}
