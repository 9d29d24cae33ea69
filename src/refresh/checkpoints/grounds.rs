//! What a checkpoint stands on: which one a run can go on from, and what its own go on from.

use std::sync::Arc;

use anyhow::{Result, anyhow};

use super::decode;
use crate::dataflows::Entry;
use crate::model::graph::Dictionary;
use crate::model::{Kind, PerKind};
use crate::refresh::{Member, Plan};
use crate::sinks::Sink;
use crate::sources::{BlockSize, Place, Snapshot};
use crate::state::{Checkpoint, Manifest, Participant, Storage, load_dictionary, replay};

/// What the words begin with for a file.
const FILE: &str = "file ";

/// What checkpoints stand on, beside the plan.
pub struct Grounds<'a> {
    /// Where the state's files are.
    pub storage: &'a Storage,
    /// The generation in force.
    pub before: &'a Manifest,
    /// What is applied.
    pub snapshot: &'a Snapshot,
    /// The sinks as they stood, in their order.
    pub members: &'a [Member],
    /// Where blocks are cut.
    pub block: BlockSize,
    /// Whether links are kept.
    pub keeps_links: bool,
}

impl Grounds<'_> {
    /// The checkpoint from which this run can go on, and the dictionary, with the texts that were added before it.
    pub fn take_up(&self, plan: &Plan) -> Result<(Option<Checkpoint>, Arc<Dictionary>)> {
        const ANEW: &str = "the month is begun anew, and not at its checkpoint";
        let dictionary = load_dictionary(self.storage, self.before)?;
        let usable = self.usable(plan).unwrap_or_else(|why| {
            tracing::info!("{ANEW}: {why}");
            None
        });
        let Some(checkpoint) = usable else { return Ok((None, Arc::new(dictionary))) };
        if let Err(error) = adopt_texts(self.storage, self.before, &checkpoint, &dictionary) {
            tracing::warn!("{ANEW}: {error:#}");
            // Some of those texts are in this one.
            return Ok((None, Arc::new(load_dictionary(self.storage, self.before)?)));
        }
        Ok((Some(checkpoint), Arc::new(dictionary)))
    }

    /// The one there is. `Err`: it is of no use, in words.
    fn usable(&self, plan: &Plan) -> Result<Option<Checkpoint>, String> {
        let Some(checkpoint) = Checkpoint::read(self.storage)? else { return Ok(None) };
        if !plan.resumed || checkpoint.epoch != plan.epoch || checkpoint.state != self.before.state {
            return Ok(None);
        }
        let wrong = if !checkpoint.is_current() || checkpoint.generation != self.before.generation {
            "it was taken by another version of discodiff"
        } else if checkpoint.block != self.block || !self.reads(plan, &checkpoint.sources) {
            "the month is read from elsewhere now"
        } else if checkpoint.keeps_links != self.keeps_links {
            "a graph is kept now, and was not then"
        } else if !self.members.iter().all(|member| member.took_part(&checkpoint, plan)) {
            "a sink is named that did not take part"
        } else {
            return Ok(Some(checkpoint));
        };
        Err(wrong.to_owned())
    }

    /// What this run's checkpoints go on from: the one that was taken up, or none yet; the sinks have begun. `None`: none are taken,
    /// as nothing says where the next run could go on.
    pub fn begin(&self, plan: &Plan, sinks: &mut [Box<dyn Sink>], taken_up: Option<&Checkpoint>) -> Result<Option<Checkpoint>> {
        if self.snapshot.files.iter().any(|(_, file)| file.as_ref().is_some_and(|file| matches!(file.place, Place::Unmarked(_)))) {
            return Ok(None);
        }
        let Some(sinks) = self.participants(plan, sinks, taken_up)? else { return Ok(None) };
        let mut checkpoint = Checkpoint::new(self.before, plan.epoch, self.block, self.sources(plan), self.keeps_links, sinks);
        if let Some(Checkpoint { mark, segments, changes, .. }) = taken_up {
            (checkpoint.mark, checkpoint.segments, checkpoint.changes) = (mark.clone(), segments.clone(), *changes);
        }
        Ok(Some(checkpoint))
    }

    /// The sinks as a checkpoint knows them; `None` where one of them keeps no id of its own, by which it could be known again.
    fn participants(&self, plan: &Plan, sinks: &mut [Box<dyn Sink>], taken_up: Option<&Checkpoint>) -> Result<Option<Vec<Participant>>> {
        let mut participants = Vec::with_capacity(sinks.len());
        for ((sink, member), needs) in sinks.iter_mut().zip(self.members).zip(&plan.needs) {
            let store = match member.standing.store {
                Some(store) => store,
                // One that is new has an id since it began.
                None => match sink.standing()?.store {
                    Some(store) => store,
                    None => return Ok(None),
                },
            };
            let known = taken_up.and_then(|checkpoint| member.participant(checkpoint));
            let missed = known.map_or_else(PerKind::default, |known| known.missed);
            participants.push(Participant { name: sink.name().to_owned(), store, needs: *needs, missed });
        }
        Ok(Some(participants))
    }

    /// Whether each kind is read from what is told here.
    fn reads(&self, plan: &Plan, sources: &PerKind<Option<String>>) -> bool {
        let told = self.sources(plan);
        sources.iter().all(|(kind, source)| {
            let file = self.snapshot.files[kind].as_ref().filter(|_| told[kind].is_some());
            let noted = source.as_ref().and_then(|source| source.strip_prefix(FILE));
            *source == told[kind] || file.zip(noted).is_some_and(|(file, noted)| file.is_noted_as(noted))
        })
    }

    /// What each kind is read from, in words that nothing else has.
    fn sources(&self, plan: &Plan) -> PerKind<Option<String>> {
        PerKind::from_fn(|kind| {
            let file = self.snapshot.files[kind].as_ref().filter(|_| plan.read[kind])?;
            Some(match &file.place {
                Place::File(_) => format!("{FILE}{}", file.noted()),
                Place::Topic(stretch) => format!("attempt {} of {}", stretch.attempt.attempt, stretch.attempt.log),
                Place::Unmarked(span) => span.identity(),
            })
        })
    }
}

impl Member {
    fn took_part(&self, checkpoint: &Checkpoint, plan: &Plan) -> bool {
        let begun = |kind: Kind| !plan.read[kind] || self.standing.begun[kind] == Some(checkpoint.epoch);
        self.participant(checkpoint).is_some() && Kind::ALL.into_iter().all(begun)
    }

    /// What the checkpoint knows of it.
    pub fn participant<'c>(&self, checkpoint: &'c Checkpoint) -> Option<&'c Participant> {
        checkpoint.sinks.iter().find(|known| Some(known.store) == self.standing.store)
    }
}

/// Puts texts that were added within the epoch into the dictionary.
pub fn adopt_texts(storage: &Storage, manifest: &Manifest, checkpoint: &Checkpoint, dictionary: &Dictionary) -> Result<()> {
    let mut wrong = 0;
    replay(
        storage,
        manifest,
        &checkpoint.segments,
        |what| what == Entry::TEXTS,
        |_, _, payload| {
            if let Entry::Texts(texts) = decode(storage, payload)? {
                wrong += texts.iter().filter(|(code, text)| !dictionary.adopt(*code, text)).count();
            }
            Ok(())
        },
    )?;
    dictionary.take_fresh();
    if wrong == 0 { Ok(()) } else { Err(anyhow!("{wrong} texts of the journal have no place in the dictionary")) }
}
