//! `guard`: decides, once for all workers, whether a kind's missing keys are deleted.
//!
//! ```text
//!   diff on every worker --tally--> guard on the first worker --verdict--> feedback --> diff on every worker
//! ```

use serde::{Deserialize, Serialize};
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::operator::Operator;

use crate::model::{Kind, PerKind};
use crate::sources::Tick;
use crate::xml::Ending;

/// Deletions of a kind are taken without being asked for up to this number, however small the kind is.
const ALWAYS_ALLOWED: u64 = 100;

/// What the guard goes by.
#[derive(Clone, Copy, Debug)]
pub struct Guard {
    /// Deletes are taken up to this share of the kind's records, in percent.
    pub limit_percent: f64,
    /// The user takes deletes beyond the limit, and those made doubtful by rejected records whose ids are not known.
    pub allow_deletes: bool,
}

/// What one worker counted for a kind.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tally {
    /// Whose.
    pub kind: Kind,
    /// How the dump ended, as this worker was told.
    pub ending: Ending,
    /// Records that reached this worker.
    pub received: u64,
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
}

impl Guard {
    fn judge(&self, total: &Tally) -> Option<String> {
        let missing = total.missing.max(0).cast_unsigned();
        let limit = ALWAYS_ALLOWED.max((total.before as f64 * self.limit_percent / 100.0) as u64);
        if missing == 0 {
            None
        } else if let Some(defect) = &total.ending.defect {
            // Not for the user to allow: what was not read cannot be told from what is gone.
            Some(format!("the dump was not read whole: {defect}"))
        } else if total.received != total.ending.records {
            Some(format!("{} of {} records reached the workers: this is a defect of discodiff", total.received, total.ending.records))
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

/// Sums the tallies of all workers, and sends each the verdict.
pub fn guard<'scope>(tallies: Stream<'scope, Tick, Vec<Tally>>, guard: Guard) -> Stream<'scope, Tick, Vec<Verdict>> {
    let peers = tallies.scope().peers();
    tallies.unary(Exchange::new(|_: &Tally| 0), "Guard", move |_, _| {
        let mut sums: PerKind<Option<(usize, Tally)>> = PerKind::from_fn(|_| None);
        move |input, output| {
            input.for_each(|capability, tallies| {
                for tally in tallies.drain(..) {
                    let kind = tally.kind;
                    let (heard, total) = match sums[kind].take() {
                        None => (1, tally),
                        Some((heard, mut total)) => {
                            total.received += tally.received;
                            total.before += tally.before;
                            total.missing += tally.missing;
                            total.anonymous += tally.anonymous;
                            (heard + 1, total)
                        }
                    };
                    if heard < peers {
                        sums[kind] = Some((heard, total));
                        continue;
                    }
                    let withheld = guard.judge(&total);
                    let verdict = |worker| Verdict {
                        worker,
                        kind,
                        missing: total.missing.max(0).cast_unsigned(),
                        withheld: withheld.clone(),
                        defect: total.ending.defect.clone(),
                        partial: total.ending.partial,
                    };
                    if let Some(capability) = capability.retain_least(0) {
                        output.session(&capability).give_iterator((0..peers).map(verdict));
                    }
                }
            });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(before: i64, missing: i64) -> Tally {
        Tally { kind: Kind::Label, ending: Ending { records: 9, defect: None, partial: false }, received: 9, before, missing, anonymous: 0 }
    }

    const GUARD: Guard = Guard { limit_percent: 1.0, allow_deletes: false };
    const ALLOWING: Guard = Guard { limit_percent: 1.0, allow_deletes: true };

    #[test]
    fn deletes_are_taken_up_to_one_percent_and_always_up_to_a_hundred() {
        for (before, missing, taken) in [(200, 100, true), (200, 101, false), (50_000, 500, true), (50_000, 501, false), (0, 0, true)] {
            assert_eq!(GUARD.judge(&tally(before, missing)).is_none(), taken, "{missing} of {before}");
        }
        assert_eq!(ALLOWING.judge(&tally(200, 200)), None);
    }

    #[test]
    fn a_dump_that_was_not_read_whole_never_deletes_whatever_is_allowed() {
        let mut cut = tally(5_000, 1);
        cut.ending.defect = Some("cut short".to_owned());
        assert!(GUARD.judge(&cut).is_some());
        assert!(ALLOWING.judge(&cut).is_some());
        let lost = Tally { received: 8, ..tally(5_000, 1) };
        assert!(ALLOWING.judge(&lost).is_some());
    }

    #[test]
    fn rejected_records_without_an_id_withhold_deletes_until_the_user_takes_them() {
        let doubtful = Tally { anonymous: 1, ..tally(5_000, 1) };
        assert!(GUARD.judge(&doubtful).is_some());
        assert_eq!(ALLOWING.judge(&doubtful), None);
    }
}
