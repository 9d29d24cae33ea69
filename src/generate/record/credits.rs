//! Who made it: artists and credits.

use crate::model::Kind;

use super::super::names::{self, HUBS};
use super::super::rng::Rng;
use super::super::vocabulary::{JOINS, ROLES};
use super::edits::What;
use super::{Page, Part};

impl Page<'_> {
    /// `<artists>` of a release or master; gives the first one's id, and whether they are too many to name.
    /// `trailing`: how often a join follows the last.
    pub(super) fn artists(&mut self, trailing: f64) -> (u64, bool) {
        let mut rng = self.dice(Part::Artists);
        let [(various, _), (unknown, _), _] = HUBS;
        let hub = match rng.below(100) {
            0..5 => self.world.hub(various),
            5 => self.world.hub(unknown),
            _ => None,
        };
        self.raw("<artists>");
        let first = match hub {
            Some(id) => self.refer(Kind::Artist, id),
            None => self.draw(Kind::Artist, &mut rng),
        };
        let more = if hub.is_none() && rng.chance(0.09) { rng.range(1, 2) } else { 0 };
        for at in 0..=more {
            let id = if at == 0 { first } else { self.draw(Kind::Artist, &mut rng) };
            let join = if at < more || rng.chance(trailing) { Some(if at < more { rng.favour(JOINS) } else { "," }) } else { None };
            self.artist_of(id, 0.1, join, &mut rng);
        }
        if self.kind == Kind::Master {
            for dice in self.edits.of(What::Credit).collect::<Vec<_>>() {
                let mut rng = Rng::new(dice);
                let id = self.draw(Kind::Artist, &mut rng);
                self.artist_of(id, 0.0, None, &mut rng);
            }
        }
        self.raw("</artists>");
        // Not by the id of the first, which somebody may be merged into later.
        (first, hub == Some(various))
    }

    /// `<artists>` of a track.
    pub(super) fn track_artists(&mut self, rng: &mut Rng) {
        self.raw("<artists>");
        let more = u64::from(rng.chance(0.06));
        for at in 0..=more {
            let id = match self.world.hub(HUBS[2].0) {
                Some(nobody) if rng.chance(0.01) => self.refer(Kind::Artist, nobody),
                _ => self.draw(Kind::Artist, rng),
            };
            let join = (at < more).then(|| rng.favour(JOINS));
            self.artist_of(id, 0.1, join, rng);
        }
        self.raw("</artists>");
    }

    fn artist_of(&mut self, id: u64, varied: f64, join: Option<&str>, rng: &mut Rng) {
        self.raw("<artist><id>");
        self.number(id);
        self.raw("</id><name>");
        self.name(Kind::Artist, id);
        self.raw("</name>");
        if rng.chance(varied) {
            self.variation(id, rng);
        }
        if let Some(join) = join {
            self.element("join", join);
        }
        self.raw("</artist>");
    }

    /// `<extraartists>` of a release.
    pub(super) fn credits(&mut self, n: u64) {
        let mut rng = self.dice(Part::Credits);
        let added: Vec<u64> = self.edits.of(What::Credit).collect();
        if n as usize + added.len() == 0 {
            return;
        }
        self.raw("<extraartists>");
        self.some_credits(n, 0.1, &mut None, &mut rng);
        for dice in added {
            self.some_credits(1, 0.0, &mut None, &mut Rng::new(dice));
        }
        self.raw("</extraartists>");
    }

    /// Some credits. The same people do several things (`again`: who did the last), and a few are nobody that has a record.
    pub(super) fn some_credits(&mut self, n: u64, for_tracks: f64, again: &mut Option<u64>, rng: &mut Rng) {
        for _ in 0..n {
            self.raw("<artist>");
            let x = rng.below(1000);
            if x < 14 {
                self.raw(if x < 4 { "<id>0</id><name>" } else { "<name>" });
                names::stranger(&mut self.out, rng);
                self.raw("</name>");
            } else {
                let id = match *again {
                    Some(id) if rng.chance(0.45) => id,
                    _ => self.draw(Kind::Artist, rng),
                };
                *again = Some(id);
                self.raw("<id>");
                self.number(id);
                self.raw("</id><name>");
                self.name(Kind::Artist, id);
                self.raw("</name>");
                if rng.chance(0.33) {
                    self.variation(id, rng);
                }
            }
            self.element("role", rng.favour(ROLES));
            if rng.chance(for_tracks) {
                self.raw("<tracks>");
                self.raw(rng.pick(&["A1", "B1", "B2", "A1 to A3", "1, 4", "2 to 5", "B1, B2", "1-03", "A1, B2"]));
                self.raw("</tracks>");
            }
            self.raw("</artist>");
        }
    }
}
