//! Artists.

use crate::model::Kind;

use super::super::names;
use super::super::rng::Rng;
use super::edits::What;
use super::{Page, Part};

impl Page<'_> {
    pub(super) fn artist(&mut self, id: u64) {
        let mut rng = self.dice(Part::Size);
        // Most artists are a name and nothing more; those that somebody cared for have some of everything.
        let known = if rng.chance(0.36) { 0.3 + 1.1 * rng.weight() } else { 0.0 };
        let some = |rng: &mut Rng, share: f64, mean: f64| if known > 0.0 && rng.chance(share) { 1 + rng.round(mean * known) } else { 0 };
        self.raw("<artist><id>");
        self.number(id);
        self.raw("</id><name>");
        self.name(Kind::Artist, id);
        self.raw("</name>");
        if known > 0.0 && rng.chance(0.38) {
            self.raw("<realname>");
            names::stranger(&mut self.out, &mut rng);
            self.raw("</realname>");
        }
        let profile = some(&mut rng, 0.5, 260.0);
        if profile == 0 && self.edits.of(What::Notes).next().is_none() {
            self.raw("<profile/>");
        }
        self.prose("profile", Part::Profile, profile);
        self.quality("Needs Major Changes");
        let urls = some(&mut rng, 0.42, 2.0);
        self.urls(urls);
        let variations = some(&mut rng, 0.7, 2.0);
        self.variations(id, variations);
        let (aliases, groups) = (some(&mut rng, 0.16, 2.2), some(&mut rng, 0.18, 1.0));
        let members = some(&mut rng, 0.08, 1.3);
        self.ties(aliases, members, groups);
        self.raw("</artist>");
    }

    fn variations(&mut self, id: u64, n: u64) {
        let mut rng = self.dice(Part::Names);
        let added: Vec<u64> = self.edits.of(What::NameVariation).collect();
        if n as usize + added.len() == 0 {
            return;
        }
        self.raw("<namevariations>");
        for _ in 0..n {
            self.one_variation(id, &mut rng);
        }
        for dice in added {
            self.one_variation(id, &mut Rng::new(dice));
        }
        self.raw("</namevariations>");
    }

    fn one_variation(&mut self, id: u64, rng: &mut Rng) {
        self.raw("<name>");
        names::variation(&mut self.out, self.world.seed, id, rng);
        self.raw("</name>");
    }

    /// Aliases, members and groups: those that the others name too, and these many that do not know of it.
    fn ties(&mut self, aliases: u64, members: u64, groups: u64) {
        let mut rng = self.dice(Part::Groups);
        let (alias, band) = (self.world.alias(self.place), self.world.band(self.place));
        let (mut of_it, mut it_is_in) = (Vec::new(), Vec::new());
        if let Some((first, count)) = band {
            if first == self.place { of_it.extend(first + 1..=first + count) } else { it_is_in.push(first) }
        }
        let added: Vec<u64> = self.edits.of(What::Alias).collect();
        let all = self.places_and_draws(alias.into_iter().collect(), aliases, &mut rng, added);
        self.section("aliases", &all, false);
        let all = self.places_and_draws(of_it, members, &mut rng, Vec::new());
        self.section("members", &all, true);
        let all = self.places_and_draws(it_is_in, groups, &mut rng, Vec::new());
        self.section("groups", &all, false);
    }

    fn places_and_draws(&mut self, places: Vec<u64>, draws: u64, rng: &mut Rng, added: Vec<u64>) -> Vec<u64> {
        let mut ids = Vec::new();
        for place in places {
            let id = self.world.plans[Kind::Artist].id(place);
            ids.push(self.refer(Kind::Artist, id));
        }
        for _ in 0..draws {
            ids.push(self.draw(Kind::Artist, rng));
        }
        for dice in added {
            ids.push(self.draw(Kind::Artist, &mut Rng::new(dice)));
        }
        ids
    }

    fn section(&mut self, tag: &str, ids: &[u64], twice: bool) {
        if ids.is_empty() {
            return;
        }
        self.open(tag);
        for id in ids {
            if twice {
                self.raw("<id>");
                self.number(*id);
                self.raw("</id>");
            }
            self.named("name", Kind::Artist, *id);
        }
        self.close(tag);
    }
}
