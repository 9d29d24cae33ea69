//! Checkpoints inside an epoch: taken while it runs, and taken up by the next run.
//!
//! ```text
//!   operators ──entries──┐                              every --checkpoint-interval:
//!                        ├──> scribe: journal             each worker says up to where the probe has come;
//!   workers ───"done"────┘            │                   the least of them is what all sinks have committed;
//!   reader ───trail───────────────────┴──> checkpoint     journal made durable, checkpoint renamed into place
//! ```
//!
//! Nothing waits for it: entries are written as ticks are processed, beyond the checkpoint too, and what lies beyond is ignored by who
//! takes it up.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use crossbeam_channel::{Receiver, RecvTimeoutError, unbounded};
use roaring::RoaringTreemap;

use super::{Member, Plan};
use crate::dataflows::{Diff, Edges, Entry, Excess, Findings, Fingerprints, Journal, Links, Note};
use crate::model::graph::Dictionary;
use crate::model::{Key, Kind, PerKind, Seat};
use crate::sinks::driver::Missed;
use crate::sinks::{Need, Sink};
use crate::sources::{BlockSize, Budget, Holder, Place, Snapshot, Stop, StoppedOnRequest, Tick, Trail, kind_of};
use crate::state::{Checkpoint, JournalWriter, Manifest, Participant, StateError, load_dictionary, replay};
use crate::telemetry::{Measures, RunStage};

/// Texts of the dictionary in one entry.
const TEXTS: usize = 16_384;

/// How long it is waited for notes before it is looked at the clock and at whether the run is to end.
const LOOK: Duration = Duration::from_millis(50);

/// What the words begin with for a file.
const FILE: &str = "file ";

/// How long a run that is to end may take for its last checkpoint: what is in flight is committed in a fraction of that.
const LAST: Duration = Duration::from_secs(5);

/// What a checkpoint is taken with.
pub struct Scribe {
    /// The state's folder.
    pub folder: PathBuf,
    /// What is written, but for how far it has come.
    pub checkpoint: Checkpoint,
    /// How often.
    pub interval: Duration,
    /// Number of workers.
    pub workers: usize,
    /// Where the reader was.
    pub trail: Arc<Trail>,
    /// The dictionary of links.
    pub dictionary: Arc<Dictionary>,
    /// What each of the checkpoint's sinks has missed in this run, in their order.
    pub missed: Vec<Missed>,
    /// Bytes in flight.
    pub budget: Arc<Budget>,
    /// Whether too many records were rejected.
    pub excess: Excess,
    /// What the run measures of itself.
    pub measures: Arc<Measures>,
    /// The run's stop signal.
    pub stop: Stop,
}

/// Opens a round of a checkpoint: every worker answers it once.
#[derive(Clone, Debug, Default)]
pub struct Rounds(Arc<AtomicU64>);

impl Rounds {
    /// Answers the round that is open, if this worker has not answered it yet: up to where it has come.
    pub fn answer(&self, answered: &mut u64, worker: usize, done: impl FnOnce() -> Option<Tick>, journal: &Journal) {
        let round = self.0.load(Ordering::Relaxed);
        if round > *answered
            && let Some(done) = done()
        {
            *answered = round;
            journal.done(worker, done);
        }
    }
}

impl Scribe {
    /// Starts the thread. It ends when all journals were dropped.
    pub fn start(self, manifest: &Manifest) -> Result<(Journal, Rounds, JoinHandle<()>)> {
        let from = self.checkpoint.mark.tick;
        let writer = JournalWriter::create(&self.folder, manifest, self.checkpoint.epoch.number, self.checkpoint.segments.len(), from)?;
        let (sender, notes) = unbounded();
        let (journal, rounds) = (Journal::new(Some(sender), Arc::clone(&self.budget)), Rounds::default());
        let (mine, stop) = (rounds.clone(), self.stop.clone());
        let span = tracing::error_span!("checkpoint", stage = RunStage::Checkpoint.name());
        let write = move || {
            let _entered = span.enter();
            if let Err(error) = self.write(writer, &notes, &mine) {
                stop.fail(error.context("the checkpoint cannot be written"));
                // What operators still send is to be let go of: nobody else does.
                notes.iter().for_each(drop);
            }
        };
        let thread = thread::Builder::new().name("checkpoint".to_owned()).spawn(write).context("cannot start a thread")?;
        Ok((journal, rounds, thread))
    }

    fn write(&self, mut writer: JournalWriter, notes: &Receiver<Note>, rounds: &Rounds) -> Result<()> {
        let mut next = Instant::now() + self.interval;
        let mut last = self.checkpoint.mark.tick;
        let mut done: BTreeMap<usize, Tick> = BTreeMap::new();
        // How many, of each tick: some bytes a block.
        let mut changes: BTreeMap<Tick, u64> = BTreeMap::new();
        let mut open = false;
        let mut ending: Option<Instant> = None;
        let mut recorder = self.measures.recorder(RunStage::Checkpoint);
        self.measures.course().checkpoint_taken();
        loop {
            if self.trail.is_ending() {
                next = Instant::now();
                if ending.get_or_insert_with(Instant::now).elapsed() > LAST {
                    self.stop.fail(StoppedOnRequest.into());
                }
            }
            if !open && Instant::now() >= next {
                rounds.0.fetch_add(1, Ordering::Relaxed);
                open = true;
            }
            let wait = if open { LOOK } else { next.saturating_duration_since(Instant::now()).min(LOOK) };
            match notes.recv_timeout(wait) {
                Ok(Note::Entry(tick, entry, bytes)) => {
                    if entry.changes() > 0 {
                        *changes.entry(tick).or_default() += entry.changes();
                    }
                    writer.push(tick, entry.what(), &entry.encode()?)?;
                    self.budget.release(Holder::JOURNAL, bytes);
                }
                Ok(Note::Done(worker, below)) => {
                    done.insert(worker, below);
                    if done.len() == self.workers {
                        let below = std::mem::take(&mut done).into_values().min().unwrap_or(0);
                        let (begun, before) = (Instant::now(), last);
                        last = self.take(&mut writer, below, last, &changes)?;
                        if last > before {
                            recorder.since(begun, 0, 0);
                            self.measures.course().checkpoint_taken();
                        }
                        if ending.is_some() && self.trail.is_done(below) {
                            self.stop.fail(StoppedOnRequest.into());
                        }
                        next = Instant::now() + self.interval;
                        open = false;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    /// Takes a checkpoint where more is done than at the last one; gives its tick.
    fn take(&self, writer: &mut JournalWriter, below: Tick, last: Tick, changes: &BTreeMap<Tick, u64>) -> Result<Tick> {
        // The next run is to come to the same end, unless it is allowed more.
        let below = self.excess.found().map_or(below, |found| below.min(found.tick));
        let Some(mark) = self.trail.mark(below).filter(|mark| mark.tick > last) else { return Ok(last) };
        for texts in self.dictionary.take_fresh().chunks(TEXTS) {
            let entry = Entry::Texts(texts.to_vec());
            writer.push(0, entry.what(), &entry.encode()?)?;
        }
        let mut checkpoint = self.checkpoint.clone();
        let tick = mark.tick;
        checkpoint.mark = mark;
        checkpoint.segments.push(writer.sync(tick)?);
        for (sink, missed) in checkpoint.sinks.iter_mut().zip(&self.missed) {
            let missed = missed.lock().unwrap_or_else(PoisonError::into_inner);
            missed.iter().filter(|((of, _), _)| *of < tick).for_each(|((_, kind), number)| sink.missed[*kind] += number);
        }
        checkpoint.changes += changes.range(..tick).map(|(_, number)| number).sum::<u64>();
        checkpoint.write(&self.folder)?;
        tracing::debug!("checkpoint at tick {tick} of epoch {}", self.checkpoint.epoch.number);
        fail::fail_point!("checkpoint-taken");
        Ok(tick)
    }
}

/// What checkpoints stand on, beside the plan.
pub struct Grounds<'a> {
    /// The state's folder.
    pub folder: &'a Path,
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
        let dictionary = load_dictionary(self.folder, self.before)?;
        let usable = self.usable(plan).unwrap_or_else(|why| {
            tracing::info!("{ANEW}: {why}");
            None
        });
        let Some(checkpoint) = usable else { return Ok((None, Arc::new(dictionary))) };
        if let Err(error) = adopt_texts(self.folder, self.before, &checkpoint, &dictionary) {
            tracing::warn!("{ANEW}: {error:#}");
            // Some of those texts are in this one.
            return Ok((None, Arc::new(load_dictionary(self.folder, self.before)?)));
        }
        Ok((Some(checkpoint), Arc::new(dictionary)))
    }

    /// The one there is. `Err`: it is of no use, in words.
    fn usable(&self, plan: &Plan) -> Result<Option<Checkpoint>, String> {
        let Some(checkpoint) = Checkpoint::read(self.folder)? else { return Ok(None) };
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
fn adopt_texts(folder: &Path, manifest: &Manifest, checkpoint: &Checkpoint, dictionary: &Dictionary) -> Result<()> {
    let mut wrong = 0;
    replay(
        folder,
        manifest,
        &checkpoint.segments,
        |what| what == Entry::TEXTS,
        |_, _, payload| {
            if let Entry::Texts(texts) = decode(folder, payload)? {
                wrong += texts.iter().filter(|(code, text)| !dictionary.adopt(*code, text)).count();
            }
            Ok(())
        },
    )?;
    dictionary.take_fresh();
    if wrong == 0 { Ok(()) } else { Err(anyhow!("{wrong} texts of the journal have no place in the dictionary")) }
}

fn decode(folder: &Path, payload: &[u8]) -> Result<Entry, StateError> {
    Entry::decode(payload)
        .map_err(|error| StateError::Part { path: folder.to_owned(), problem: format!("an entry of a journal is damaged: {error}") })
}

/// Ids that were delivered of the kind that is read first, where a sink is being brought up with it.
pub fn delivered(folder: &Path, manifest: &Manifest, checkpoint: &Checkpoint) -> Result<PerKind<RoaringTreemap>> {
    let mut delivered = PerKind::from_fn(|_| RoaringTreemap::new());
    let kind = checkpoint.mark.kind();
    if checkpoint.sinks.iter().any(|sink| sink.needs[kind] == Some(Need::Everything)) {
        replay(
            folder,
            manifest,
            &checkpoint.segments,
            |what| what == Entry::RECORDS,
            |tick, _, payload| {
                if kind_of(tick) == kind
                    && let Entry::Records(records) = decode(folder, payload)?
                {
                    delivered[kind].extend(records.seen);
                }
                Ok(())
            },
        )?;
    }
    Ok(delivered)
}

/// What one worker has in memory.
pub struct Memory<'m> {
    /// Its number, and that of all.
    pub seat: Seat,
    /// The fingerprints.
    pub trace: &'m mut Fingerprints,
    /// The diff.
    pub diff: &'m mut Diff,
    /// What was found so far.
    pub findings: &'m mut Findings,
    /// The links and edges, where they are kept.
    pub links: Option<(&'m mut Links, &'m mut Edges)>,
}

impl Memory<'_> {
    /// Takes up what other runs of the epoch noted, on however many workers.
    pub fn take_up(&mut self, folder: &Path, manifest: &Manifest, checkpoint: &Checkpoint) -> Result<()> {
        let seat = self.seat;
        let (first, kind) = (seat.is_first(), checkpoint.mark.kind());
        let owns = |key: Key| seat.owns(key.shard());
        // Ticks of their own, below all of the epoch's: nobody asks how it stood at one of them.
        let mut tick = 0;
        replay(
            folder,
            manifest,
            &checkpoint.segments,
            |what| what != Entry::TEXTS,
            |of, _, payload| {
                tick += 1;
                match (decode(folder, payload)?, &mut self.links) {
                    (Entry::Records(mut records), _) => {
                        let updates = std::mem::take(&mut records.updates).into_iter().filter(|(key, _)| owns(*key));
                        self.trace.resume(updates.map(|(key, new)| (key, Some(new))), tick);
                        if first {
                            self.findings.merge(std::mem::take(&mut records.findings));
                        }
                        if kind_of(of) == kind {
                            self.diff.resume(kind, *records, owns, first);
                        }
                    }
                    (Entry::Swept(deleted, findings), _) => {
                        self.trace.resume(deleted.into_iter().filter(|key| owns(*key)).map(|key| (key, None)), tick);
                        if first {
                            self.findings.merge(*findings);
                        }
                    }
                    (Entry::Links(changes, held), Some((links, _))) => {
                        let held = if first { held } else { PerKind::default() };
                        links.resume(changes.into_iter().filter(|(key, ..)| owns(*key)), &held, tick);
                    }
                    (Entry::Assertions(mut assertions), Some((_, edges))) => {
                        assertions.retain(|(edge, _)| seat.owns(edge.anchor.shard()));
                        edges.commit(assertions, tick);
                    }
                    (Entry::Links(..) | Entry::Assertions(_), None) | (Entry::Texts(_), _) => {}
                }
                Ok(())
            },
        )?;
        Ok(())
    }
}
