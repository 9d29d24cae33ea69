//! The end of a kind: deletes of the keys that were not seen, once the guard has decided.

use std::time::Instant;

use timely::dataflow::operators::Capability;

use super::{Asked, Change, Diff, Entry, Event, Events, Findings, Found, Verdict};
use crate::model::{Key, Kind};
use crate::sources::{Tick, first_delete_tick};

/// Keys deleted or held in one activation and one tick: deletes of a whole kind must neither hold up the worker nor fill the memory.
const SLICE: usize = 16_384;

/// A sweep under way.
pub(super) struct Sweep {
    kind: Kind,
    delete: bool,
    /// Where the next slice begins.
    from: Key,
    tick: Tick,
    ended: bool,
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
        Sweep { kind, delete, from: Key::floor(kind), tick, ended: !needed }
    }

    fn found(&mut self, tick: Tick, deleted: Vec<Key>, findings: Findings) {
        self.findings.borrow_mut().merge(findings.clone());
        self.journal.note(tick, || Entry::Swept(deleted, Box::new(findings)));
    }

    /// Gives a slice of the kind's missing keys; true when it has given them all, and the kind's end.
    pub(super) fn sweep(&mut self, sweep: &mut Sweep, capability: &mut Capability<Tick>, output: &mut Events<'_, '_>) -> bool {
        if !sweep.ended && !self.budget.has_room() {
            return false;
        }
        let (begun, walks) = (Instant::now(), !sweep.ended);
        capability.downgrade(&sweep.tick);
        let mut session = output.session(&*capability);
        let mut given = 0;
        let (mut updates, mut deleted) = (Vec::new(), Vec::new());
        let mut cursor = self.trace.borrow_mut().cursor();
        cursor.skip_to(sweep.from);
        while !sweep.ended && given < SLICE {
            match cursor.next().filter(|(key, _)| key.kind() == sweep.kind) {
                None => sweep.ended = true,
                Some((key, _)) if self.seen.contains(key.id()) => {}
                Some((key, old)) => {
                    given += 1;
                    sweep.from = key;
                    if sweep.delete && !self.rejected.contains(key.id()) {
                        deleted.push(key);
                        session.give(Event::Change(Change { key, verdict: Found::Delete, tick: sweep.tick, document: None, graph: None }));
                        self.trace.borrow_mut().replace(&mut updates, key, Some(old), None, sweep.tick);
                    } else {
                        session.give(Event::Held(key));
                    }
                }
            }
        }
        drop(cursor);
        self.trace.borrow_mut().commit(updates, sweep.tick);
        if !deleted.is_empty() {
            let mut findings = Findings::default();
            findings.counts[sweep.kind].deleted = deleted.len() as u64;
            self.found(sweep.tick, deleted, findings);
        }
        if walks {
            self.sweeping.since(begun, given, 0);
        }
        if !sweep.ended {
            sweep.from = sweep.from.next();
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
