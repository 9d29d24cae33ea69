//! Documents in compacted Kafka topics, one a kind: key = id, value = the document, a tombstone where there is none.
//!
//! ```text
//!   PREFIX.artists    "3" -> {"id":"3",...}   "7" -> tombstone   "3" -> {"id":"3",...}     the last one of a key counts
//!   PREFIX.progress   "progress": for each kind the epoch that is applied, and the one that was begun
//! ```
//!
//! A store like others: judged kind by kind, brought up where it is new or behind, and read back by `verify`. Every write is absolute, so a
//! run that is taken up again writes the same messages again. What topics cannot do: say which fields changed, and hold dead letters.

mod rows;
mod writer;

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::kafka::{Place, Progress, Session, unanswered};
use super::tables::fenced;
use super::{Documents, Epoch, KindEnd, Run, Sink, SinkError, Standing, Writer, Writers};
use crate::kafka::read;
use crate::kafka::topics::{COMPACTED, COMPACTED_DOCUMENTS, Count, Wanted};
use crate::model::{Kind, PerKind};
use writer::DocumentWriter;

/// What the progress record says of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Held {
    /// Partitions of its topic, once it was begun.
    partitions: usize,
    /// The epoch that was applied last.
    applied: Option<Epoch>,
    /// The epoch that was begun and not completed.
    begun: Option<Epoch>,
}

type Noted = Progress<PerKind<Held>>;

/// What the sink and its writer share.
struct Writing {
    session: Session<PerKind<Held>>,
    partitions: PerKind<usize>,
}

/// Topics of documents.
pub struct DocumentTopics {
    place: Place,
    partitions: Option<usize>,
    writing: Option<Arc<Mutex<Writing>>>,
}

impl DocumentTopics {
    /// Names the topics, by `place`'s prefix; nothing is asked before [`Sink::standing`]. `partitions`: of topics that are made.
    pub fn new(place: Place, partitions: Option<usize>) -> DocumentTopics {
        DocumentTopics { place, partitions, writing: None }
    }

    /// The topics of kinds, in their order, and that of progress.
    fn wanted(&self) -> Vec<Wanted> {
        let of = |kind: Kind| {
            let partitions = Count::Asked(self.partitions);
            Wanted { name: self.place.topics.of(kind), settings: COMPACTED_DOCUMENTS, partitions }
        };
        let progress = Wanted { name: self.place.topics.progress(), settings: COMPACTED, partitions: Count::One };
        Kind::ALL.into_iter().map(of).chain([progress]).collect()
    }

    /// The progress record, where there is one, and the partitions of each topic.
    fn look(&self) -> Result<(Option<Noted>, PerKind<usize>), SinkError> {
        let counts = self.place.check(&self.wanted())?;
        let partitions = PerKind::from_fn(|kind| counts[kind.index()].unwrap_or(0));
        let records = if counts[Kind::ALL.len()].is_some() { self.place.records()? } else { Default::default() };
        let noted: Option<Noted> = Progress::find(&self.place, &records)?;
        for (kind, held) in noted.iter().flat_map(|noted| noted.of.iter()) {
            let (had, has) = (held.partitions, partitions[kind]);
            if had > 0 && has > 0 && had != has {
                return Err(SinkError::stop(format!(
                    "the topic {} has {has} partitions and had {had}: keys would come to stand in others. Delete it, and it is made anew and \
                     filled, or name other topics with {}",
                    self.place.topics.of(kind),
                    self.place.setting
                )));
            }
        }
        Ok((noted, partitions))
    }

    fn refuse_foreign(&self, partitions: &PerKind<usize>) -> Result<(), SinkError> {
        for (kind, partitions) in partitions.iter() {
            let name = self.place.topics.of(kind);
            if read::ends(&self.place.topics, &name, *partitions).map_err(unanswered)?.iter().any(|end| *end > 0) {
                let progress = self.place.topics.progress();
                return Err(SinkError::stop(format!(
                    "the topic {name} holds messages that no discodiff wrote ({progress} says nothing of it): name other topics with {}. It stays \
                     as it was",
                    self.place.setting
                )));
            }
        }
        Ok(())
    }
}

impl Sink for DocumentTopics {
    fn name(&self) -> &'static str {
        self.place.sink
    }

    fn place(&self) -> String {
        format!("the topics {}.*", self.place.topics.prefix)
    }

    fn standing(&mut self) -> Result<Standing, SinkError> {
        let (progress, partitions) = self.look()?;
        let Some(Progress { state, store, of: held, .. }) = progress else {
            self.refuse_foreign(&partitions)?;
            return Ok(Standing::default());
        };
        // Of a topic that is gone, what is noted of it says nothing.
        let there = |kind: Kind| Some(held[kind]).filter(|_| partitions[kind] > 0).unwrap_or_default();
        Ok(Standing {
            state: Some(state),
            store: Some(store),
            kinds: PerKind::from_fn(|kind| there(kind).applied),
            begun: PerKind::from_fn(|kind| there(kind).begun),
        })
    }

    fn writers(&self) -> Writers {
        Writers::Processes
    }

    fn begin(&mut self, run: &Run) -> Result<Vec<Box<dyn Writer>>, SinkError> {
        let counts = self.place.ensure(&self.wanted())?;
        let (mut session, _) = Session::begin(self.place.clone(), run, PerKind::<Held>::default())?;
        for (kind, read) in run.kinds.iter() {
            let held = &mut session.progress.of[kind];
            if held.partitions != counts[kind.index()] {
                // A topic that was just made.
                *held = Held { partitions: counts[kind.index()], ..Held::default() };
            }
            // A kind of which another epoch was begun and never completed holds some of that: it is behind, whatever was applied before.
            if held.begun.is_some_and(|begun| begun != run.epoch) {
                held.applied = None;
            }
            if read.is_some() {
                held.begun = Some(run.epoch);
            }
        }
        session.transact(|_| Ok(()))?;
        let partitions = PerKind::from_fn(|kind| counts[kind.index()]);
        let writing = Arc::new(Mutex::new(Writing { session, partitions }));
        self.writing = Some(Arc::clone(&writing));
        Ok(vec![Box::new(DocumentWriter::new(writing, run.clone(), true))])
    }

    fn pass(&self) -> Option<String> {
        self.writing.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner).session.pass()
    }

    fn join(&mut self, run: &Run, pass: &str, workers: Range<usize>) -> Result<Vec<Box<dyn Writer>>, SinkError> {
        let process = workers.start / run.peers.workers;
        let (session, _) = Session::<PerKind<Held>>::join(self.place.clone(), process, pass)?;
        let partitions = PerKind::from_fn(|kind| session.progress.of[kind].partitions);
        if run.kinds.iter().any(|(kind, read)| read.is_some() && session.progress.of[kind].begun != Some(run.epoch)) {
            return Err(fenced(&format!("the topics {}.*", self.place.topics.prefix)));
        }
        let writing = Arc::new(Mutex::new(Writing { session, partitions }));
        Ok(vec![Box::new(DocumentWriter::new(writing, run.clone(), false))])
    }

    fn complete(&mut self, run: &Run, ends: &PerKind<Option<KindEnd>>) -> Result<(), SinkError> {
        let Some(writing) = &self.writing else { return Err(SinkError::stop(format!("{} was not begun", self.place.topics.prefix))) };
        let mut writing = writing.lock().unwrap_or_else(PoisonError::into_inner);
        for (kind, end) in ends.iter() {
            let held = &mut writing.session.progress.of[kind];
            if let Some(end) = end.filter(|end| end.current && held.begun == Some(run.epoch)) {
                (held.applied, held.begun) = (Some(end.epoch), None);
            }
        }
        writing.session.transact(|_| Ok(()))?;
        let topics = writing.partitions.iter().map(|(kind, partitions)| (self.place.topics.of(kind), *partitions));
        writing.session.until_seen(topics.collect())
    }

    fn documents(&mut self) -> Option<&mut dyn Documents> {
        Some(self)
    }
}
