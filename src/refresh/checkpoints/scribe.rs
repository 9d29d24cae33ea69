//! Taking checkpoints: the thread that writes the journal, and at process 0 the checkpoint.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, never, select, unbounded};

use super::words::{Answer, Kept, Question, Word, agreed};
use crate::cluster::Cluster;
use crate::dataflows::{Entry, Excess, Journal, Note};
use crate::model::graph::Dictionary;
use crate::model::{PerKind, Seat};
use crate::sinks::driver::Missed;
use crate::sources::{Budget, Holder, Mark, Stop, StoppedOnRequest, Tick, Trail};
use crate::state::{Checkpoint, JournalWriter, Manifest, Storage};
use crate::telemetry::{Measures, Recorder, RunStage};

/// Texts of the dictionary in one entry.
const TEXTS: usize = 16_384;

/// How long it is waited for notes before it is looked at the clock and at whether the run is to end.
const LOOK: Duration = Duration::from_millis(50);

/// How long a run that is to end may take for its last checkpoint: what is in flight is committed in a fraction of that.
const LAST: Duration = Duration::from_secs(5);

/// What a checkpoint is taken with.
pub struct Scribe {
    /// Where the state's files are.
    pub storage: Storage,
    /// What is written, but for how far it has come.
    pub checkpoint: Checkpoint,
    /// How often.
    pub interval: Duration,
    /// The first worker of this process.
    pub first: Seat,
    /// The other processes.
    pub cluster: Option<Arc<Cluster>>,
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
        let Checkpoint { epoch, segments, mark, .. } = &self.checkpoint;
        let number = (epoch.number, segments.len() + self.first.process());
        let writer = JournalWriter::create(&self.storage, manifest, number, self.first.run, mark.tick)?;
        let (sender, notes) = unbounded();
        let (journal, rounds) = (Journal::new(Some(sender), Arc::clone(&self.budget)), Rounds::default());
        let (mine, stop) = (rounds.clone(), self.stop.clone());
        let span = tracing::error_span!("checkpoint", stage = RunStage::Checkpoint.name());
        let write = move || {
            let _entered = span.enter();
            let (last, recorder) = (self.checkpoint.mark.tick, self.measures.recorder(RunStage::Checkpoint));
            let (done, changes, answers) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
            let next = Instant::now() + self.interval;
            let mut work = Work {
                scribe: self,
                writer,
                rounds: mine,
                last,
                done,
                changes,
                next,
                asked: None,
                answers,
                ending: None,
                is_last: false,
                recorder,
            };
            if let Err(error) = work.run(&notes) {
                stop.fail(error.context("the checkpoint cannot be written"));
                // What operators still send is to be let go of: nobody else does.
                notes.iter().for_each(drop);
            }
        };
        let thread = thread::Builder::new().name("checkpoint".to_owned()).spawn(write).context("cannot start a thread")?;
        Ok((journal, rounds, thread))
    }
}

/// A scribe at work.
struct Work {
    scribe: Scribe,
    writer: JournalWriter,
    rounds: Rounds,
    /// The tick of the checkpoint that was taken last.
    last: Tick,
    /// What workers of this process have said in this round.
    done: BTreeMap<usize, Tick>,
    /// How many keys were changed, of each tick: some bytes a block.
    changes: BTreeMap<Tick, u64>,
    /// When process 0 takes the next one.
    next: Instant,
    /// What process 0 has asked, and when the checkpoint was begun.
    asked: Option<(Question, Instant)>,
    /// What the processes have answered.
    answers: BTreeMap<usize, Answer>,
    /// Since when the run is to end.
    ending: Option<Instant>,
    /// Whether it ends with the checkpoint that is being taken: all that was read is done.
    is_last: bool,
    recorder: Recorder,
}

impl Work {
    fn run(&mut self, notes: &Receiver<Note>) -> Result<()> {
        self.scribe.measures.course().checkpoint_taken();
        let mut words = self.scribe.cluster.as_ref().map_or_else(never, |cluster| cluster.asides().clone());
        loop {
            // What a run still does without its state is done again by the one that has it.
            self.scribe.storage.not_taken_over()?;
            self.look_at_the_end();
            if self.leads() && self.asked.is_none() && (self.ending.is_some() || Instant::now() >= self.next) {
                self.ask(Question::Come)?;
            }
            let due = self.next.saturating_duration_since(Instant::now()).min(LOOK);
            let wait = if self.leads() && self.asked.is_none() { due } else { LOOK };
            select! {
                recv(notes) -> note => match note {
                    Ok(Note::Entry(tick, entry, bytes)) => self.note(tick, &entry, bytes)?,
                    Ok(Note::Done(worker, below)) => self.has_come(worker, below)?,
                    Err(_) => return Ok(()),
                },
                recv(words) -> heard => match heard {
                    Ok((process, word)) => self.hear(process, &word)?,
                    // All others are gone, and the run is about to end.
                    Err(_) => words = never(),
                },
                default(wait) => {}
            }
        }
    }

    fn leads(&self) -> bool {
        self.scribe.first.process() == 0
    }

    fn look_at_the_end(&mut self) {
        if !self.scribe.trail.is_ending() {
            return;
        }
        if self.ending.is_none() {
            self.say(Word::End);
        }
        if self.ending.get_or_insert_with(Instant::now).elapsed() > LAST {
            self.scribe.stop.fail(StoppedOnRequest.into());
        }
    }

    fn note(&mut self, tick: Tick, entry: &Entry, bytes: usize) -> Result<()> {
        if entry.changes() > 0 {
            *self.changes.entry(tick).or_default() += entry.changes();
        }
        self.writer.push(tick, entry.what(), &entry.encode()?)?;
        self.scribe.budget.release(Holder::JOURNAL, bytes);
        Ok(())
    }

    /// A worker has come up to a tick: when all of this process have, it is answered.
    fn has_come(&mut self, worker: usize, below: Tick) -> Result<()> {
        self.done.insert(worker, below);
        if self.done.len() < self.scribe.first.peers.workers {
            return Ok(());
        }
        let below = std::mem::take(&mut self.done).into_values().min().unwrap_or(0);
        // The next run is to come to the same end, unless it is allowed more.
        let below = self.scribe.excess.found().map_or(below, |found| below.min(found.tick));
        self.answer(Answer::Came(below, self.scribe.trail.next()))
    }

    /// Tells the other processes, or process 0; whoever is gone is told of by its control.
    fn say(&self, word: Word) {
        if let Some(cluster) = &self.scribe.cluster
            && let Ok(bytes) = bincode::serialize(&(self.scribe.first.run, word))
        {
            cluster.say_aside(&bytes);
        }
    }

    fn hear(&mut self, process: usize, bytes: &[u8]) -> Result<()> {
        let (run, word): (Option<u32>, Word) = bincode::deserialize(bytes).with_context(|| format!("what process {process} says"))?;
        match word {
            // Of a run that has ended meanwhile.
            _ if run != self.scribe.first.run => Ok(()),
            Word::Ask(question) => self.do_as_asked(&question),
            Word::Answer(answer) => self.take(process, answer),
            Word::End => {
                self.scribe.trail.end();
                Ok(())
            }
        }
    }

    fn ask(&mut self, question: Question) -> Result<()> {
        let begun = match (&question, &self.asked) {
            (Question::Keep(_), Some((_, begun))) => *begun,
            // Until workers have answered nothing is done.
            _ => Instant::now(),
        };
        self.asked = Some((question.clone(), begun));
        self.say(Word::Ask(question.clone()));
        self.do_as_asked(&question)
    }

    fn do_as_asked(&mut self, question: &Question) -> Result<()> {
        match question {
            // Answered when the workers have.
            Question::Come => {
                self.done.clear();
                self.rounds.0.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Question::Stand(below) => self.answer(Answer::Stands(self.scribe.trail.mark(*below))),
            Question::Keep(mark) => {
                let kept = self.keep(mark.tick)?;
                self.answer(Answer::Kept(kept))
            }
        }
    }

    /// Makes durable what counts where all ticks below this one are done.
    fn keep(&mut self, tick: Tick) -> Result<Kept> {
        for texts in self.scribe.dictionary.take_fresh().chunks(TEXTS) {
            let entry = Entry::Texts(texts.to_vec());
            self.writer.push(0, entry.what(), &entry.encode()?)?;
        }
        let segments = self.writer.sync(tick)?;
        let of_sink = |missed: &Missed| {
            let mut sum = PerKind::<u64>::default();
            let missed = missed.lock().unwrap_or_else(PoisonError::into_inner);
            missed.iter().filter(|((of, _), _)| *of < tick).for_each(|((_, kind), number)| sum[*kind] += number);
            sum
        };
        self.scribe.measures.course().checkpoint_taken();
        let changes = self.changes.range(..tick).map(|(_, number)| number).sum();
        Ok(Kept { segments, missed: self.scribe.missed.iter().map(of_sink).collect(), changes })
    }

    fn answer(&mut self, answer: Answer) -> Result<()> {
        if self.leads() {
            return self.take(0, answer);
        }
        self.say(Word::Answer(answer));
        Ok(())
    }

    /// Takes what a process answers to what is asked now. When all have, the next step is taken.
    fn take(&mut self, process: usize, answer: Answer) -> Result<()> {
        self.answers.insert(process, answer);
        if self.answers.len() < self.scribe.first.peers.processes {
            return Ok(());
        }
        let answers = std::mem::take(&mut self.answers).into_values();
        match self.asked.clone() {
            None => Ok(()),
            Some((Question::Come, _)) => {
                let came = answers.filter_map(|answer| if let Answer::Came(below, next) = answer { Some((below, next)) } else { None });
                // No tick is done that one of the readers has not passed.
                let (below, next) = came.reduce(|ours, theirs| (ours.0.min(theirs.0), ours.1.min(theirs.1))).unwrap_or_default();
                self.is_last = self.ending.is_some() && below >= next;
                self.ask(Question::Stand(below))
            }
            Some((Question::Stand(_), _)) => {
                let marks = answers.map(|answer| if let Answer::Stands(mark) = answer { mark } else { None });
                if let Some(mark) = agreed(marks).filter(|mark| mark.tick > self.last) {
                    return self.ask(Question::Keep(mark));
                }
                self.rest();
                Ok(())
            }
            Some((Question::Keep(mark), begun)) => {
                let kept = answers.filter_map(|answer| if let Answer::Kept(kept) = answer { Some(kept) } else { None });
                self.write(mark, kept)?;
                self.recorder.since(begun, 0, 0);
                self.rest();
                Ok(())
            }
        }
    }

    fn write(&mut self, mark: Mark, all: impl Iterator<Item = Kept>) -> Result<()> {
        let mut checkpoint = self.scribe.checkpoint.clone();
        self.last = mark.tick;
        checkpoint.mark = mark;
        for Kept { segments, missed, changes } in all {
            checkpoint.segments.extend(segments);
            checkpoint.changes += changes;
            for (sink, missed) in checkpoint.sinks.iter_mut().zip(&missed) {
                missed.iter().for_each(|(kind, number)| sink.missed[kind] += number);
            }
        }
        checkpoint.write(&self.scribe.storage)?;
        tracing::debug!("checkpoint at tick {} of epoch {}", self.last, checkpoint.epoch.number);
        fail::fail_point!("checkpoint-taken");
        Ok(())
    }

    fn rest(&mut self) {
        self.asked = None;
        self.next = Instant::now() + self.scribe.interval;
        if self.is_last {
            self.scribe.stop.fail(StoppedOnRequest.into());
        }
    }
}
