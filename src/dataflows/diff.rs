//! `diff`: the heart. A timely operator over a differential trace of fingerprints, which says of every record whether it is new,
//! changed or as it was, and at a kind's end which keys are gone.
//!
//! ```text
//!             arrivals (records and ends, exchanged by shard)      verdicts (fed back from guard)
//!                 │                                                    │
//!                 v   once a tick is closed: sorted by key, position   v
//!   ┌─ diff ───────────────────────────────────────────────────────────────────────┐
//!   │  cursor over the trace:  key -> (raw, document, graph)                       │
//!   │    raw as before      -> seen, dropped, never parsed                         │
//!   │    document as before -> seen, the raw hash updated                          │
//!   │    else               -> Change;  (key, old, -1), (key, new, +1) to the trace│
//!   │  end: count the keys not seen -> tally ... verdict -> Delete or Held, End    │
//!   └───────────────┬──────────────────────────────────────────────┬───────────────┘
//!                   v events                                       v tallies
//! ```
//!
//! A key is claimed by the first whole record of the snapshot; later copies are duplicates. A rejected record claims nothing: where a
//! key has rejected records only, its fingerprint stays, and it is neither deleted nor taken for unchanged. Ticks are processed
//! strictly in order. What this operator cannot see: whether its input closed because all was read (that is what `End`s are for).

mod parsing;
mod sweep;
mod trace;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roaring::RoaringTreemap;
use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::generic::{OutputBuilder, OutputBuilderSession};

use super::Arrival;
use super::guard::{End, Tally, Verdict};
use super::journal::{Entry, Journal, Records};
use super::rejects::{self, Excess};
use crate::model::document::Canonical;
use crate::model::{Change, DeadLetter, Digest, Event, Fingerprint, Key, Kind, Peers, PerKind, Stage, Verdict as Found};
use crate::sources::{Budget, Holder, Tick, first_delete_tick, kind_of};
use crate::telemetry::{self, Measures, Recorder, RunStage};
use crate::xml::{Ending, Record, canonical};
use parsing::Parsing;
use sweep::Sweep;
pub use trace::Fingerprints;

/// What the operator needs to know beforehand.
#[derive(Clone, Debug)]
pub struct DiffOptions {
    /// Number of the epoch.
    pub epoch: u64,
    /// All workers.
    pub peers: Peers,
    /// Names of the dump files.
    pub files: PerKind<Arc<str>>,
    /// Records of each kind that are given even where they did not change: these are always parsed.
    pub asked: PerKind<Asked>,
    /// Where links are kept: kinds of which every record's projection is asked for; of the others, those that changed. `None`: no
    /// projection is made.
    pub projections: Option<PerKind<bool>>,
    /// Whether the state's digests can be compared with those taken now; if not, every record is parsed.
    pub trust_raw: bool,
    /// Where it is said that too many records were rejected.
    pub excess: Excess,
}

/// Which unchanged records of a kind are asked for.
#[derive(Clone, Debug)]
pub enum Asked {
    /// None: all sinks have them.
    None,
    /// All: some sink is brought up.
    All,
    /// Those with these ids: some sink is repaired. The state holds the very snapshot that is read, and nothing is deleted.
    Only(Arc<RoaringTreemap>),
}

impl Asked {
    fn contains(&self, id: u64) -> bool {
        match self {
            Asked::None => false,
            Asked::All => true,
            Asked::Only(ids) => ids.contains(id),
        }
    }
}

/// Counts of one kind, by the state's verdict. received = inserted + updated + unchanged + duplicates + rejected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Records read.
    pub received: u64,
    /// Keys that were new.
    pub inserted: u64,
    /// Keys whose document changed.
    pub updated: u64,
    /// Keys that were gone.
    pub deleted: u64,
    /// Keys whose document was as before.
    pub unchanged: u64,
    /// Later copies of a key.
    pub duplicates: u64,
    /// Records that could not be read.
    pub rejected: u64,
    /// Keys that were gone and were kept.
    pub deletes_withheld: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.received += other.received;
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.deleted += other.deleted;
        self.unchanged += other.unchanged;
        self.duplicates += other.duplicates;
        self.rejected += other.rejected;
        self.deletes_withheld += other.deletes_withheld;
    }
}

/// Two whole records of one key that differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Twin {
    /// Whose.
    pub key: Key,
    /// Offsets between which the first begins, which counts; equal where it is known exactly.
    pub first: (u64, u64),
    /// Offset of the other.
    pub other: u64,
}

/// How many differing duplicates and rejected records are named; all are counted.
const NAMED: usize = 20;

/// What was found on the way besides changes, on one worker.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Findings {
    /// Counts a kind.
    pub counts: PerKind<Counts>,
    /// What the guard decided, a kind.
    pub verdicts: PerKind<Option<Verdict>>,
    /// Duplicates that differ, the first few.
    pub twins: Vec<Twin>,
    /// Rejected records, the first few, without their bytes.
    pub rejected: Vec<DeadLetter>,
    /// Schema drift: paths that no reader knows, and how often each was met.
    pub unmapped: PerKind<BTreeMap<String, u64>>,
    /// Characters that XML forbids and that were removed.
    pub removed_characters: u64,
    /// Ampersands that were taken as themselves.
    pub lone_ampersands: u64,
    /// Records that were parsed.
    pub parsed: u64,
}

/// How long deletes, and shared edges, wait before they look again whether there is room for more in flight.
pub(super) const NO_ROOM: Duration = Duration::from_millis(2);

impl Findings {
    /// Adds what another worker found.
    pub fn merge(&mut self, other: Findings) {
        for kind in Kind::ALL {
            self.counts[kind] += other.counts[kind];
            // The guard told every worker the same.
            self.verdicts[kind] = self.verdicts[kind].take().or_else(|| other.verdicts[kind].clone());
            if let Some(verdict) = self.verdicts[kind].as_ref().filter(|verdict| verdict.withheld.is_some()) {
                self.counts[kind].deletes_withheld = verdict.missing;
            }
            for (path, times) in &other.unmapped[kind] {
                *self.unmapped[kind].entry(path.clone()).or_default() += times;
            }
        }
        self.twins.extend(other.twins);
        self.twins.sort_by_key(|twin| (twin.key.kind(), twin.other));
        self.twins.truncate(NAMED);
        self.rejected.extend(other.rejected);
        self.keep_first();
        self.removed_characters += other.removed_characters;
        self.lone_ampersands += other.lone_ampersands;
        self.parsed += other.parsed;
    }

    fn keep_first(&mut self) {
        self.rejected.sort_by_key(|letter| (letter.kind, letter.position));
        self.rejected.truncate(NAMED);
    }

    /// What the guard is told of a kind.
    pub fn tally(&self, kind: Kind) -> Tally {
        let Counts { received, rejected, .. } = self.counts[kind];
        let mut first: Vec<_> = self.rejected.iter().filter(|letter| letter.kind == kind).cloned().collect();
        first.sort_by_key(|letter| letter.position);
        first.truncate(rejects::NAMED);
        Tally { received, rejected, first, end: None }
    }
}

/// The stretch of the dump in which keys were claimed in one tick.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stretch {
    keys: (Key, Key),
    offsets: (u64, u64),
}

type Events<'a, 'b> = OutputBuilderSession<'a, Tick, CapacityContainerBuilder<Vec<Event>>>;

/// The operator's memory beside the trace: what has been seen of the kind that is being read.
pub struct Diff {
    options: DiffOptions,
    budget: Arc<Budget>,
    findings: Rc<RefCell<Findings>>,
    counted: Arc<telemetry::Records>,
    trace: Rc<RefCell<Fingerprints>>,
    /// Ids claimed by a whole record.
    seen: RoaringTreemap,
    /// Ids of rejected records.
    rejected: RoaringTreemap,
    anonymous: u64,
    stretches: Vec<Stretch>,
    scratch: Vec<u8>,
    journal: Journal,
    recorder: Recorder,
    parsing: Parsing,
    sweeping: Recorder,
}

enum Stance {
    /// Ticks are processed as they close.
    Reading,
    /// The tally is out; nothing goes on before the verdict.
    Awaiting,
    /// Deletes flow, some in each activation.
    Sweeping(Sweep),
    /// Too many records of the kind were rejected: nothing more is given.
    Over,
}

impl Diff {
    /// An operator's memory around a restored trace.
    pub fn new(
        options: DiffOptions,
        trace: Rc<RefCell<Fingerprints>>,
        budget: Arc<Budget>,
        findings: Rc<RefCell<Findings>>,
        journal: Journal,
        measures: &Measures,
    ) -> Diff {
        Diff {
            options,
            budget,
            findings,
            counted: measures.records(),
            trace,
            seen: RoaringTreemap::new(),
            rejected: RoaringTreemap::new(),
            anonymous: 0,
            stretches: Vec::new(),
            scratch: Vec::new(),
            journal,
            recorder: measures.recorder(RunStage::Diff),
            parsing: Parsing::new(measures.recorder(RunStage::Parse)),
            sweeping: measures.recorder(RunStage::Sweep),
        }
    }

    /// Takes up what another run noted of the kind that is read first; `owns`: which keys are this worker's; `first`: it is the worker
    /// that takes what belongs to no key.
    pub fn resume(&mut self, kind: Kind, records: Records, owns: impl Fn(Key) -> bool, first: bool) {
        let own = |id: &u64| Key::new(kind, *id).is_some_and(&owns);
        self.seen.extend(records.seen.into_iter().filter(own));
        self.rejected.extend(records.rejected.into_iter().filter(own));
        self.anonymous += if first { records.anonymous } else { 0 };
        self.stretches.extend(records.stretch);
    }

    /// Builds the operator. Gives the events and the tallies.
    pub fn build<'scope>(
        mut self,
        arrivals: Stream<'scope, Tick, Vec<Arrival>>,
        verdicts: Stream<'scope, Tick, Vec<Verdict>>,
    ) -> (Stream<'scope, Tick, Vec<Event>>, Stream<'scope, Tick, Vec<Tally>>) {
        let mut builder = OperatorBuilder::new("Diff".to_owned(), arrivals.scope());
        let info = builder.operator_info();
        let activator = arrivals.scope().activator_for(Rc::clone(&info.address));
        let (peers, own) = (self.options.peers, arrivals.scope().index() as u64);
        let route = move |arrival: &Arrival| match arrival {
            // One without a key stays where it was read: it only becomes a dead letter.
            Arrival::Record(record) => record.key.map_or(own, |key| peers.owner(key.shard()) as u64),
            Arrival::End { worker, .. } => *worker as u64,
        };
        let mut arrivals = builder.new_input(arrivals, Exchange::new(route));
        let mut verdicts = builder.new_input(verdicts, Exchange::new(|verdict: &Verdict| verdict.worker as u64));
        let (events, event_stream) = builder.new_output();
        let (tallies, tally_stream) = builder.new_output();
        let mut events = OutputBuilder::from(events);
        let mut tallies = OutputBuilder::<_, CapacityContainerBuilder<Vec<Tally>>>::from(tallies);

        builder.build(move |mut capabilities| {
            // Held at the next tick to be processed: one for events, one for tallies.
            let mut held: Option<(Capability<Tick>, Capability<Tick>)> =
                capabilities.pop().and_then(|tally| capabilities.pop().map(|event| (event, tally)));
            let mut stash: Vec<(Tick, Vec<Arrival>)> = Vec::new();
            let mut stance = Stance::Reading;
            move |frontiers| {
                arrivals.for_each(|capability, data| {
                    let Some(&tick) = capability.least() else { return };
                    match stash.iter_mut().find(|(stashed, _)| *stashed == tick) {
                        Some((_, arrivals)) => arrivals.append(data),
                        None => stash.push((tick, std::mem::take(data))),
                    }
                });
                let mut verdict = None;
                verdicts.for_each(|_, data| verdict = data.pop().or(verdict.take()));
                let Some((event_capability, tally_capability)) = &mut held else { return };
                if let Some(verdict) = verdict {
                    stance = match verdict.over {
                        false => Stance::Sweeping(self.begin_sweep(verdict)),
                        true => {
                            // What was rejected is to be committed, and an end of the month is not to be seen.
                            let beyond = first_delete_tick(self.options.epoch, verdict.kind);
                            event_capability.downgrade(&beyond);
                            tally_capability.downgrade(&beyond);
                            Stance::Over
                        }
                    };
                }
                stash.sort_unstable_by_key(|(tick, _)| *tick);
                let closed = frontiers[0].frontier().iter().next().copied();
                let mut events = events.activate();
                loop {
                    match &mut stance {
                        Stance::Awaiting | Stance::Over => return,
                        Stance::Sweeping(sweep) => {
                            if !self.sweep(sweep, event_capability, &mut events) {
                                if self.budget.has_room() {
                                    activator.activate()
                                } else {
                                    activator.activate_after(NO_ROOM)
                                }
                                return;
                            }
                            stance = Stance::Reading;
                        }
                        Stance::Reading => {}
                    }
                    match stash.first() {
                        Some((tick, _)) if closed.is_none_or(|closed| *tick < closed) => {}
                        _ => break,
                    }
                    let (tick, arrivals) = stash.remove(0);
                    event_capability.downgrade(&tick);
                    tally_capability.downgrade(&tick);
                    let tally = self.tick(tick, arrivals, event_capability, &mut events);
                    if tally.end.is_some() {
                        stance = Stance::Awaiting;
                    }
                    tallies.activate().session(&*tally_capability).give(tally);
                }
                match closed {
                    // After deletes, which flow ahead of the input, the capability stands beyond it.
                    Some(tick) => {
                        event_capability.downgrade(&tick.max(*event_capability.time()));
                        tally_capability.downgrade(&tick.max(*tally_capability.time()));
                    }
                    None => held = None,
                }
            }
        });
        (event_stream, tally_stream)
    }

    /// Processes one closed tick; gives its tally.
    fn tick(&mut self, tick: Tick, arrivals: Vec<Arrival>, capability: &Capability<Tick>, output: &mut Events<'_, '_>) -> Tally {
        let begun = Instant::now();
        let mut records = Vec::with_capacity(arrivals.len());
        let mut end = None;
        for arrival in arrivals {
            match arrival {
                Arrival::Record(record) => records.push(record),
                Arrival::End { kind, ending, .. } => end = Some((kind, ending)),
            }
        }
        let kind = kind_of(tick);
        let (received, bytes) = (records.len(), records.iter().map(|record| record.raw.len()).sum());
        let mut session = output.session(capability);
        let mut give = |event| session.give(event);
        let tally = self.records(tick, kind, records, &mut give);
        self.budget.release(Holder::WORKERS, bytes);
        let tally = Tally { end: end.map(|(kind, ending)| self.end(kind, ending)), ..tally };
        self.recorder.since(begun, received, bytes);
        tally
    }

    fn records(&mut self, tick: Tick, kind: Kind, mut records: Vec<Record>, give: &mut impl FnMut(Event)) -> Tally {
        // The input mostly comes sorted, which the sort recognises.
        records.sort_by_key(|record| (record.key, record.position));
        // What this tick comes to by itself.
        let mut noted = Records::default();
        let findings = &mut noted.findings;
        let keeps = self.journal.is_kept();
        findings.counts[kind].received += records.len() as u64;
        let asked = self.options.asked[kind].clone();
        let mut stretch: Option<Stretch> = None;
        let mut updates = Vec::new();
        let mut cursor = self.trace.borrow_mut().cursor();
        // The claim made last in this tick: copies in the same tick follow at once.
        let mut claimed: Option<(Key, Fingerprint, u64)> = None;
        for record in records {
            let Some(key) = record.key else {
                noted.anonymous += 1;
                let reason = record.defect.clone().unwrap_or_default();
                reject(findings, &self.options, tick, &record, Stage::Split, reason, give);
                continue;
            };
            if let Some(reason) = record.defect.clone() {
                noted.rejected.push(key.id());
                reject(findings, &self.options, tick, &record, Stage::Split, reason, give);
                continue;
            }
            let here = claimed.filter(|(claimed, ..)| *claimed == key);
            let old = match here {
                Some((_, fingerprint, _)) => Some(fingerprint),
                None => cursor.seek(key),
            };
            let copy = here.is_some() || self.seen.contains(key.id());
            let same_raw = self.options.trust_raw && old.is_some_and(|old| old.raw == record.hash);
            if same_raw && (copy || !asked.contains(key.id())) {
                self.parsing.none();
                if copy {
                    findings.counts[kind].duplicates += 1;
                } else {
                    self.seen.insert(key.id());
                    noted.seen.push(key.id());
                    findings.counts[kind].unchanged += 1;
                    extend(&mut stretch, key, record.position);
                    claimed = old.map(|old| (key, old, record.position));
                }
                continue;
            }
            let projected = |graph: Digest| match &self.options.projections {
                None => false,
                Some(all) => all[kind] || old.is_none_or(|old| old.graph != graph.short()),
            };
            self.parsing.one(record.raw.len());
            let document = match read(key, &record.raw, &mut self.scratch, projected) {
                Ok(document) if document.id == key.id() => document,
                Ok(document) => {
                    noted.rejected.push(key.id());
                    let reason = format!("its id reads as {} and as {}", key.id(), document.id);
                    reject(findings, &self.options, tick, &record, Stage::Parse, reason, give);
                    continue;
                }
                Err(reason) => {
                    noted.rejected.push(key.id());
                    reject(findings, &self.options, tick, &record, Stage::Parse, reason, give);
                    continue;
                }
            };
            findings.parsed += 1;
            let new = Fingerprint { raw: record.hash, document: document.hash.short(), graph: document.graph.short() };
            if copy {
                findings.counts[kind].duplicates += 1;
                if old.is_some_and(|old| old.document != new.document) && findings.twins.len() < NAMED {
                    let first = here.map_or_else(|| self.position_of(key), |(_, _, position)| (position, position));
                    findings.twins.push(Twin { key, first, other: record.position });
                }
                continue;
            }
            findings.removed_characters += u64::from(document.removed_characters);
            findings.lone_ampersands += u64::from(document.lone_ampersands);
            for path in document.unmapped {
                *findings.unmapped[kind].entry(path).or_default() += 1;
            }
            self.seen.insert(key.id());
            noted.seen.push(key.id());
            extend(&mut stretch, key, record.position);
            claimed = Some((key, new, record.position));
            let verdict = match old {
                None => Found::Insert,
                Some(old) if old.document == new.document => Found::Unchanged,
                Some(_) => Found::Update,
            };
            match verdict {
                Found::Insert => findings.counts[kind].inserted += 1,
                Found::Update => findings.counts[kind].updated += 1,
                _ => findings.counts[kind].unchanged += 1,
            }
            if verdict != Found::Unchanged || asked.contains(key.id()) {
                let graph = document.projection.map(|projection| (document.graph, projection));
                give(Event::Change(Change { key, verdict, tick, document: Some((document.hash, document.json)), graph }));
            }
            if old != Some(new) {
                self.trace.borrow_mut().replace(&mut updates, key, old, Some(new), tick);
                if keeps {
                    noted.updates.push((key, new));
                }
            }
        }
        drop(cursor);
        self.parsing.end_tick();
        self.trace.borrow_mut().commit(updates, tick);
        self.stretches.extend(stretch.clone());
        self.rejected.extend(noted.rejected.iter().copied());
        self.anonymous += noted.anonymous;
        self.findings.borrow_mut().merge(noted.findings.clone());
        self.counted.add(kind, &noted.findings.counts[kind], noted.findings.parsed);
        let tally = noted.findings.tally(kind);
        self.journal.note(tick, || Entry::Records(Box::new(Records { stretch, ..noted })));
        tally
    }

    /// Where the first record of a key claimed in an earlier tick begins, as nearly as is known.
    fn position_of(&self, key: Key) -> (u64, u64) {
        let holds = |stretch: &&Stretch| stretch.keys.0 <= key && key <= stretch.keys.1;
        self.stretches.iter().find(holds).map_or((0, 0), |stretch| stretch.offsets)
    }

    fn end(&mut self, kind: Kind, ending: Ending) -> End {
        let counts = self.findings.borrow().counts[kind];
        // Of a run that was taken up, one worker has what was counted before on all: only the sums of all workers mean anything.
        let before = self.trace.borrow().live(kind).cast_signed() - counts.inserted.cast_signed();
        // Whatever was claimed and is not new was there.
        let known = (counts.updated + counts.unchanged).cast_signed();
        // Keys with rejected records only are neither seen nor missing.
        self.rejected -= &self.seen;
        let mut cursor = self.trace.borrow_mut().cursor();
        let kept = self.rejected.iter().filter(|id| Key::new(kind, *id).is_some_and(|key| cursor.seek(key).is_some())).count() as i64;
        let missing = if ending.partial { 0 } else { before - known - kept };
        End { ending, before, missing, anonymous: self.anonymous }
    }
}

/// Tests have readers that know less.
fn read(key: Key, raw: &[u8], scratch: &mut Vec<u8>, projected: impl FnOnce(Digest) -> bool) -> Result<Canonical, String> {
    fail::fail_point!("reader-refuses", key.id() % 20 == 7, |_| Err("failpoint reader-refuses".to_owned()));
    canonical(key.kind(), raw, scratch, projected)
}

fn extend(stretch: &mut Option<Stretch>, key: Key, position: u64) {
    let Stretch { keys, offsets } = stretch.get_or_insert(Stretch { keys: (key, key), offsets: (position, position) });
    *keys = (keys.0.min(key), keys.1.max(key));
    *offsets = (offsets.0.min(position), offsets.1.max(position));
}

fn reject(
    findings: &mut Findings,
    options: &DiffOptions,
    tick: Tick,
    record: &Record,
    stage: Stage,
    reason: String,
    give: &mut impl FnMut(Event),
) {
    let kind = kind_of(tick);
    findings.counts[kind].rejected += 1;
    let letter = DeadLetter {
        kind,
        id: record.key.map(Key::id),
        file: Arc::clone(&options.files[kind]),
        position: record.position,
        tick,
        stage,
        reason,
        raw: Vec::new(),
    };
    findings.rejected.push(letter.clone());
    // Records come by their keys, and the first in the file are named.
    if findings.rejected.len() > 2 * NAMED {
        findings.keep_first();
    }
    give(Event::DeadLetter(DeadLetter { raw: record.raw.to_vec(), ..letter }));
}
