//! A topic with every change as one message, which no run can take back.
//!
//! ```text
//!   TOPIC           epoch 2, given up     gap?  epoch 3                     complete
//!                   artist/3  artist/7           artist/3  artist/9 ...       E        one E in each partition
//!   TOPIC.progress  "progress": last, begun with its offsets, what is owed     "owed/artist": ids
//! ```
//!
//! A key changes at most once in an epoch, so what an epoch has written is told by the keys from the offsets at which it began, however
//! often it was taken up again. What a given-up epoch has written is *owed*: the next epoch writes those keys again, whatever became of
//! them, so that who takes the last message of each key holds what the state holds once an epoch is complete.

mod message;
mod owed;
mod writer;

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use roaring::RoaringTreemap;
use serde::{Deserialize, Serialize};

use super::gap;
use crate::kafka::read;
use crate::kafka::topics::{COMPACTED_DOCUMENTS, Count, KEPT, Wanted};
use crate::model::PerKind;
use crate::sinks::kafka::{Place, Progress, Session, unanswered};
use crate::sinks::tables::fenced;
use crate::sinks::{Epoch, Holds, KindEnd, Run, Sink, SinkError, Standing, Writer, Writers};
use owed::{Found, read_back, read_owed, send_owed};
use writer::TopicWriter;

/// An epoch, and where it began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    epoch: Epoch,
    /// The offset of each partition from which on its changes stand.
    begins: Vec<i64>,
}

/// What the progress record says of a feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fed {
    /// The epoch that was completed last, and the one before: a state that did not see the last completed goes back by one.
    last: Option<Mark>,
    before: Option<Mark>,
    begun: Option<Mark>,
    /// The given-up epoch of which some keys of the kind are owed.
    owes: PerKind<Option<Epoch>>,
}

/// What the sink and its writer share.
struct Feeding {
    session: Session<Fed>,
    partitions: usize,
    /// Ids that are owed to readers.
    owed: PerKind<RoaringTreemap>,
    /// Ids that this epoch has written, where some are owed or were written before this run.
    done: PerKind<RoaringTreemap>,
    /// Where rejected records stand of which this epoch has told before this run.
    told: BTreeSet<String>,
    /// This epoch's end is there already.
    ended: bool,
}

/// A feed in a Kafka topic.
pub struct FeedTopic {
    place: Place,
    partitions: Option<usize>,
    feeding: Option<Arc<Mutex<Feeding>>>,
}

impl FeedTopic {
    /// Names the topic, `place`'s prefix; nothing is asked before [`Sink::standing`]. `partitions`: of the topic, where it is made.
    pub fn new(place: Place, partitions: Option<usize>) -> FeedTopic {
        FeedTopic { place, partitions, feeding: None }
    }

    fn name(&self) -> &str {
        &self.place.topics.prefix
    }

    fn wanted(&self) -> [Wanted; 2] {
        let topic = Wanted { name: self.name().to_owned(), settings: KEPT, partitions: Count::Asked(self.partitions) };
        [topic, Wanted { name: self.place.topics.progress(), settings: COMPACTED_DOCUMENTS, partitions: Count::One }]
    }

    /// Refuses a topic that is not the one that the progress record tells of.
    fn match_up(&self, fed: Option<&Fed>, partitions: Option<usize>) -> Result<(), SinkError> {
        let ends = read::ends(&self.place.topics, self.name(), partitions.unwrap_or(0)).map_err(unanswered)?;
        let (name, progress) = (self.name(), self.place.topics.progress());
        let Some(fed) = fed else {
            if ends.iter().any(|end| *end > 0) {
                return Err(SinkError::stop(format!(
                    "the topic {name} holds messages that no discodiff wrote ({progress} says nothing of it): name another topic. It stays as it was"
                )));
            }
            return Ok(());
        };
        for mark in [&fed.begun, &fed.last].into_iter().flatten() {
            if mark.begins.len() != ends.len() && !ends.is_empty() {
                return Err(SinkError::stop(format!(
                    "the topic {name} has {} partitions and had {}: keys would come to stand in others. Name another topic",
                    ends.len(),
                    mark.begins.len()
                )));
            }
            if ends.is_empty() || mark.begins.iter().zip(&ends).any(|(begin, end)| begin > end) {
                return Err(SinkError::stop(format!(
                    "the topic {name} ends before what {progress} says was written to it: it was deleted or made anew. Name another topic, or \
                     delete {progress} too"
                )));
            }
        }
        Ok(())
    }

    fn feeding(&self) -> Result<&Arc<Mutex<Feeding>>, SinkError> {
        self.feeding.as_ref().ok_or_else(|| SinkError::stop(format!("the topic {} was not begun", self.name())))
    }
}

impl Sink for FeedTopic {
    fn name(&self) -> &'static str {
        self.place.sink
    }

    fn standing(&mut self) -> Result<Standing, SinkError> {
        let counts = self.place.check(&self.wanted())?;
        let records = if counts[1].is_some() { self.place.records()? } else { Default::default() };
        let progress = Progress::<Fed>::find(&self.place, &records)?;
        self.match_up(progress.as_ref().map(|progress| &progress.of), counts[0])?;
        let Some(Progress { state, store, of: fed, .. }) = progress else {
            return Ok(Standing::default());
        };
        let epoch_of = |mark: &Option<Mark>| mark.as_ref().map(|mark| mark.epoch);
        let (last, begun) = (epoch_of(&fed.last), epoch_of(&fed.begun));
        Ok(Standing {
            state: Some(state),
            store: Some(store),
            kinds: PerKind::from_fn(|_| last),
            begun: PerKind::from_fn(|kind| fed.owes[kind].or(begun)),
        })
    }

    fn holds(&self) -> Holds {
        Holds::Messages
    }

    fn writers(&self) -> Writers {
        Writers::Processes
    }

    fn begin(&mut self, run: &Run) -> Result<Vec<Box<dyn Writer>>, SinkError> {
        let partitions = self.place.ensure(&self.wanted())?[0];
        let fresh = Fed { last: None, before: None, begun: None, owes: PerKind::default() };
        let (session, records) = Session::begin(self.place.clone(), run, fresh)?;
        self.match_up(Some(&session.progress.of), Some(partitions))?;
        let owed = read_owed(&self.place, &records)?;
        let mut feeding = Feeding { session, partitions, owed, done: PerKind::default(), told: BTreeSet::new(), ended: false };
        feeding.begin(run)?;
        let feeding = Arc::new(Mutex::new(feeding));
        self.feeding = Some(Arc::clone(&feeding));
        Ok(vec![Box::new(TopicWriter::new(feeding, run.epoch.number))])
    }

    fn pass(&self) -> Option<String> {
        self.feeding.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner).session.pass()
    }

    fn join(&mut self, run: &Run, pass: &str, workers: Range<usize>) -> Result<Vec<Box<dyn Writer>>, SinkError> {
        let (session, records) = Session::<Fed>::join(self.place.clone(), workers.start / run.peers.workers, pass)?;
        let owed = read_owed(&self.place, &records)?;
        let begun = session.progress.of.begun.as_ref().filter(|begun| begun.epoch == run.epoch);
        let begins = begun.map(|begun| begun.begins.clone()).ok_or_else(|| fenced(&format!("the topic {}", self.name())))?;
        let Found { ids: done, rejected: told, .. } = read_back(&self.place, &begins)?;
        let feeding = Feeding { session, partitions: begins.len(), owed, done, told, ended: false };
        Ok(vec![Box::new(TopicWriter::new(Arc::new(Mutex::new(feeding)), run.epoch.number))])
    }

    fn complete(&mut self, run: &Run, ends: &PerKind<Option<KindEnd>>) -> Result<(), SinkError> {
        self.feeding()?.lock().unwrap_or_else(PoisonError::into_inner).complete(run, ends)
    }
}

impl Feeding {
    /// Takes the epoch up where it was left, or begins it; what given-up epochs wrote is owed from then on.
    fn begin(&mut self, run: &Run) -> Result<(), SinkError> {
        let place = self.session.place.clone();
        let fed = &mut self.session.progress.of;
        let is = |mark: &Option<Mark>, epoch: Option<Epoch>| mark.as_ref().map(|mark| mark.epoch) == epoch;
        if fed.begun.is_none() && is(&fed.last, Some(run.epoch)) {
            // It was completed here, and not in the state.
            (fed.begun, fed.last) = (fed.last.take(), fed.before.take());
        }
        if let Some(begun) = fed.begun.as_ref().filter(|begun| begun.epoch == run.epoch) {
            let Found { ids, rejected, ended } = read_back(&place, &begun.begins)?;
            (self.done, self.told, self.ended) = (ids, rejected, ended);
            return self.session.transact(|_| Ok(()));
        }
        let begins = read::ends(&place.topics, &place.topics.prefix, self.partitions).map_err(unanswered)?;
        // Epochs that the state does not stand on: one that was given up, and one that was completed here only.
        let gone_back = !is(&fed.last, run.before) && fed.before.is_some() && is(&fed.before, run.before);
        let undone = fed.last.as_ref().is_some_and(|last| run.abandoned.contains(&last.epoch.number));
        let mut given_up = fed.begun.take();
        if gone_back || undone {
            given_up = std::mem::replace(&mut fed.last, fed.before.take());
        }
        let before = self.owed.clone();
        if let Some(Mark { epoch, begins }) = given_up {
            let Found { ids, .. } = read_back(&place, &begins)?;
            for (kind, ids) in ids.iter().filter(|(_, ids)| !ids.is_empty()) {
                self.owed[kind] |= ids;
                fed.owes[kind] = Some(epoch);
            }
        }
        let missed = gap(fed.last.as_ref().map(|mark| mark.epoch), run);
        fed.begun = Some(Mark { epoch: run.epoch, begins });
        let (owed, partitions) = (&self.owed, self.partitions);
        self.session.transact(|sending| {
            send_owed(sending, &place, &before, owed)?;
            missed.map_or(Ok(()), |missed| {
                message::to_each(sending, &place, partitions, run.epoch.number, "gap", &serde_json::json!({ "gap": missed }))
            })
        })
    }

    /// Says that the epoch is complete, and what is still owed.
    fn complete(&mut self, run: &Run, ends: &PerKind<Option<KindEnd>>) -> Result<(), SinkError> {
        let place = self.session.place.clone();
        let before = std::mem::take(&mut self.owed);
        if run.peers.processes > 1
            && before.iter().any(|(_, owed)| !owed.is_empty())
            && let Some(begun) = &self.session.progress.of.begun
        {
            // The other processes have written some of what is owed.
            self.session.until_seen(vec![(place.topics.prefix.clone(), self.partitions)])?;
            self.done = read_back(&place, &begun.begins)?.ids;
        }
        self.owed = PerKind::from_fn(|kind| &before[kind] - &self.done[kind]);
        let fed = &mut self.session.progress.of;
        fed.before = fed.last.take();
        fed.last = fed.begun.take();
        for (kind, _) in self.owed.iter().filter(|(_, owed)| owed.is_empty()) {
            fed.owes[kind] = None;
        }
        let (owed, partitions, ended) = (&self.owed, self.partitions, self.ended);
        self.session.transact(|sending| {
            send_owed(sending, &place, &before, owed)?;
            if ended {
                return Ok(());
            }
            let records = ends.iter().filter_map(|(kind, end)| Some((kind.name().to_owned(), end.as_ref()?.records.into())));
            let records: serde_json::Map<_, _> = records.collect();
            let end = serde_json::json!({ "complete": run.epoch.number, "snapshot": run.month, "records": records });
            message::to_each(sending, &place, partitions, run.epoch.number, "complete", &end)
        })?;
        self.session.until_seen(vec![(place.topics.prefix.clone(), partitions)])
    }
}
