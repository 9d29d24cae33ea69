//! The end of a kind: deletes of the keys that were not seen, once the guard has decided.

use std::time::Instant;

use timely::dataflow::operators::Capability;

use super::trace::Updates;
use super::{Asked, Change, Counts, Diff, Entry, Event, Events, Findings, Found, Verdict};
use crate::model::{Key, Kind};
use crate::sources::{Tick, first_delete_tick, kind_of};

/// Keys deleted or held in one tick: deletes of a whole kind must not fill the memory.
const SLICE: usize = 16_384;

/// Keys looked at in one activation, some milliseconds' worth: most of them were seen, and to find the others must not hold up the worker.
const WALK: usize = 65_536;

/// A sweep under way.
pub(super) struct Sweep {
    kind: Kind,
    delete: bool,
    /// Where the next slice begins.
    from: Key,
    tick: Tick,
    ended: bool,
    /// Of this tick so far: keys deleted or held, those deleted, and what that comes to in the trace.
    given: usize,
    deleted: Vec<Key>,
    updates: Updates,
}

impl Diff {
    pub(super) fn begin_sweep(&mut self, verdict: Verdict) -> Sweep {
        let kind = verdict.kind;
        let asked = &self.options.asked[kind];
        let delete = verdict.withheld.is_none() && !verdict.partial && !matches!(asked, Asked::Only(_));
        // Who asked for records is told of those that it will not get.
        let needed = (delete && verdict.missing > 0) || !matches!(asked, Asked::None);
        let tick = first_delete_tick(self.options.epoch, kind);
        let mut findings = Findings::default();
        findings.verdicts[kind] = Some(verdict);
        self.found(tick, Vec::new(), findings);
        Sweep { kind, delete, from: Key::floor(kind), tick, ended: !needed, given: 0, deleted: Vec::new(), updates: Vec::new() }
    }

    fn found(&mut self, tick: Tick, deleted: Vec<Key>, findings: Findings) {
        let kind = kind_of(tick);
        let withheld = findings.verdicts[kind].as_ref().filter(|verdict| verdict.withheld.is_some()).map_or(0, |verdict| verdict.missing);
        self.counted.add(kind, &Counts { deletes_withheld: withheld, ..findings.counts[kind] }, 0);
        self.findings.borrow_mut().merge(findings.clone());
        self.journal.note(tick, || Entry::Swept(deleted, Box::new(findings)));
    }

    /// Goes on giving the kind's missing keys; true when it has given them all, and the kind's end.
    pub(super) fn sweep(&mut self, sweep: &mut Sweep, capability: &mut Capability<Tick>, output: &mut Events<'_, '_>) -> bool {
        if !sweep.ended && !self.budget.has_room() {
            return false;
        }
        let (begun, walks, before) = (Instant::now(), !sweep.ended, sweep.given);
        capability.downgrade(&sweep.tick);
        let mut session = output.session(&*capability);
        let mut cursor = self.trace.borrow_mut().cursor();
        cursor.skip_to(sweep.from);
        let mut walked = 0;
        while !sweep.ended && sweep.given < SLICE {
            if walked == WALK {
                self.sweeping.since(begun, sweep.given - before, 0);
                return false;
            }
            let Some((key, old)) = cursor.next().filter(|(key, _)| key.kind() == sweep.kind) else {
                sweep.ended = true;
                break;
            };
            walked += 1;
            sweep.from = key.next();
            if self.seen.contains(key.id()) {
                continue;
            }
            sweep.given += 1;
            if sweep.delete && !self.rejected.contains(key.id()) {
                sweep.deleted.push(key);
                session.give(Event::Change(Change { key, verdict: Found::Delete, tick: sweep.tick, document: None, graph: None }));
                self.trace.borrow_mut().replace(&mut sweep.updates, key, Some(old), None, sweep.tick);
            } else {
                session.give(Event::Held(key));
            }
        }
        drop(cursor);
        if walks {
            self.sweeping.since(begun, sweep.given - before, 0);
        }
        sweep.given = 0;
        self.trace.borrow_mut().commit(std::mem::take(&mut sweep.updates), sweep.tick);
        let deleted = std::mem::take(&mut sweep.deleted);
        if !deleted.is_empty() {
            let mut findings = Findings::default();
            findings.counts[sweep.kind].deleted = deleted.len() as u64;
            self.found(sweep.tick, deleted, findings);
        }
        if !sweep.ended {
            sweep.tick += 1;
            return false;
        }
        session.give(Event::End(sweep.kind));
        drop(session);
        self.seen.clear();
        self.rejected.clear();
        self.anonymous = 0;
        self.stretches.clear();
        true
    }
}
