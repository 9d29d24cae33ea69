//! `guard`: counts what is rejected, tick by tick, and decides, once for all workers, whether a kind's missing keys are deleted.
//!
//! ```text
//!   diff on every worker --tallies--> guard on the first worker --verdict--> feedback --> diff on every worker
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::operator::Operator;

use super::rejects::{Excess, NAMED, RejectLimit, TooManyRejected};
use crate::model::{DeadLetter, Kind, PerKind};
use crate::sources::{Tick, kind_of};
use crate::xml::Ending;

/// Deletions of a kind are taken without being asked for up to this number, however small the kind is.
const ALWAYS_ALLOWED: u64 = 100;

/// What the guard goes by.
#[derive(Clone, Debug)]
pub struct Guard {
    /// Deletes are taken up to this share of the kind's records, in percent.
    pub limit_percent: f64,
    /// The user takes deletes beyond the limit, and those made doubtful by rejected records whose ids are not known.
    pub allow_deletes: bool,
    /// How many records may be rejected.
    pub rejects: RejectLimit,
    /// Names of the dump files.
    pub files: PerKind<Arc<str>>,
    /// Where it is said that more were.
    pub excess: Excess,
}

/// What one worker counted of a kind in one tick.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Records that reached this worker.
    pub received: u64,
    /// Those of them that were rejected.
    pub rejected: u64,
    /// The first of these, without their bytes.
    pub first: Vec<DeadLetter>,
    /// In the last tick of the kind.
    pub end: Option<End>,
}

/// What one worker has at the end of a kind.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct End {
    /// How the dump ended, as this worker was told, and how many records it was given.
    pub ending: Ending,
    /// Keys held before the kind began. Of a run that was taken up, this and the next mean something only as sums of all workers.
    pub before: i64,
    /// Keys held before that the snapshot did not contain, not even as a rejected record.
    pub missing: i64,
    /// Rejected records whose id is not known.
    pub anonymous: u64,
}

/// What becomes of a kind's missing keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The worker it is for.
    pub worker: usize,
    /// The kind.
    pub kind: Kind,
    /// Number of missing keys, of all workers.
    pub missing: u64,
    /// Why deletes are withheld; `None`: they are taken.
    pub withheld: Option<String>,
    /// Why the dump is not whole.
    pub defect: Option<String>,
    /// Nothing is deleted, as what is read was never meant to be all of the kind.
    pub partial: bool,
    /// Too many of its records were rejected: nothing more is given.
    pub over: bool,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.received += other.received;
        self.rejected += other.rejected;
        self.first.extend(other.first);
        self.first.sort_by_key(|letter| letter.position);
        self.first.truncate(NAMED);
        match (&mut self.end, other.end) {
            (Some(end), Some(other)) => {
                end.ending.records += other.ending.records;
                end.ending.defect = end.ending.defect.take().or(other.ending.defect);
                end.before += other.before;
                end.missing += other.missing;
                end.anonymous += other.anonymous;
            }
            (end, other) => *end = end.take().or(other),
        }
    }
}

impl Guard {
    /// Whether too many were rejected up to this tick.
    fn count(&self, tick: Tick, total: &Tally) {
        let limit = self.rejects.of(total.received, total.end.is_some());
        if total.rejected > limit {
            let kind = kind_of(tick);
            let (file, first) = (Arc::clone(&self.files[kind]), total.first.clone());
            let (read, rejected) = (total.received, total.rejected);
            self.excess.note(TooManyRejected { tick, kind, file, read, rejected, limit, first });
        }
    }

    fn judge(&self, received: u64, total: &End) -> Option<String> {
        let missing = total.missing.max(0).cast_unsigned();
        let limit = ALWAYS_ALLOWED.max((total.before as f64 * self.limit_percent / 100.0) as u64);
        if missing == 0 {
            None
        } else if let Some(defect) = &total.ending.defect {
            // Not for the user to allow: what was not read cannot be told from what is gone.
            Some(format!("the dump was not read whole: {defect}"))
        } else if received != total.ending.records {
            Some(format!("{received} of {} records reached the workers: this is a defect of discodiff", total.ending.records))
        } else if self.allow_deletes {
            None
        } else if total.anonymous > 0 {
            Some(format!("{} rejected records have no known id, and could be those that are missing", total.anonymous))
        } else if missing > limit {
            Some(format!("{missing} of {} records are missing, more than the limit of {limit}", total.before))
        } else {
            None
        }
    }
}

/// Sums the tallies of all workers, and sends each the verdict at a kind's end. `before`: what was counted of the kind that is read first
/// before the run was taken up.
pub fn guard<'scope>(tallies: Stream<'scope, Tick, Vec<Tally>>, guard: Guard, before: Tally) -> Stream<'scope, Tick, Vec<Verdict>> {
    let peers = tallies.scope().peers();
    tallies.unary_frontier(Exchange::new(|_: &Tally| 0), "Guard", move |_, _| {
        let mut total = before;
        // Each tick is held until it was judged, so that no checkpoint lies behind one that has too many rejects.
        let mut waiting: BTreeMap<Tick, (Capability<Tick>, Vec<Tally>)> = BTreeMap::new();
        move |(input, frontier), output| {
            input.for_each(|capability, tallies| {
                let Some(held) = capability.retain_least(0) else { return };
                waiting.entry(*held.time()).or_insert_with(|| (held, Vec::new())).1.append(tallies);
            });
            while let Some(entry) = waiting.first_entry() {
                let tick = *entry.key();
                // At a kind's end all workers wait for the verdict within the tick.
                let ended = entry.get().1.iter().filter(|tally| tally.end.is_some()).count() == peers;
                if frontier.less_equal(&tick) && !ended {
                    break;
                }
                let (capability, tallies) = entry.remove();
                tallies.into_iter().for_each(|tally| total.add(tally));
                guard.count(tick, &total);
                let Some(end) = &total.end else { continue };
                let withheld = guard.judge(total.received, end);
                let verdict = |worker| Verdict {
                    worker,
                    kind: kind_of(tick),
                    missing: end.missing.max(0).cast_unsigned(),
                    withheld: withheld.clone(),
                    defect: end.ending.defect.clone(),
                    partial: end.ending.partial,
                    over: guard.excess.found().is_some(),
                };
                output.session(&capability).give_iterator((0..peers).map(verdict));
                total = Tally::default();
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(before: i64, missing: i64) -> End {
        End { ending: Ending { records: 9, defect: None, partial: false }, before, missing, anonymous: 0 }
    }

    fn judge(allow_deletes: bool, end: &End) -> Option<String> {
        let rejects = RejectLimit { percent: 1.0 };
        let files = PerKind::from_fn(|kind| Arc::from(kind.plural()));
        Guard { limit_percent: 1.0, allow_deletes, rejects, files, excess: Excess::default() }.judge(9, end)
    }

    #[test]
    fn deletes_are_taken_up_to_one_percent_and_always_up_to_a_hundred() {
        for (before, missing, taken) in [(200, 100, true), (200, 101, false), (50_000, 500, true), (50_000, 501, false), (0, 0, true)] {
            assert_eq!(judge(false, &end(before, missing)).is_none(), taken, "{missing} of {before}");
        }
        assert_eq!(judge(true, &end(200, 200)), None);
    }

    #[test]
    fn a_dump_that_was_not_read_whole_never_deletes_whatever_is_allowed() {
        let mut cut = end(5_000, 1);
        cut.ending.defect = Some("cut short".to_owned());
        assert!(judge(false, &cut).is_some());
        assert!(judge(true, &cut).is_some());
        let mut lost = end(5_000, 1);
        lost.ending.records = 10;
        assert!(judge(true, &lost).is_some());
    }

    #[test]
    fn rejected_records_without_an_id_withhold_deletes_until_the_user_takes_them() {
        let doubtful = End { anonymous: 1, ..end(5_000, 1) };
        assert!(judge(false, &doubtful).is_some());
        assert_eq!(judge(true, &doubtful), None);
    }
}
