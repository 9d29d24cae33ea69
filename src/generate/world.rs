//! All that there is in all months: four plans, and what refers to what.

use crate::model::{Kind, PerKind};

use super::names;
use super::plan::Plan;
use super::rng::{Rng, hash};
use super::{Error, Options};

/// Share of references that lead nowhere, as in real dumps.
const DANGLING: f64 = 0.01;
/// Artists come in blocks of this many; aliases that name each other, and bands with their members, stay within one.
const BLOCK: u64 = 16;
const ALIASES: u64 = 11;
const BAND: u64 = 12;

/// The plans of all kinds.
pub(super) struct World {
    /// Of the options.
    pub seed: u64,
    /// By kind.
    pub plans: PerKind<Plan>,
}

impl World {
    /// Decides everything.
    pub fn new(options: &Options) -> Result<World, Error> {
        let [artist, label, master, release] = Kind::ALL.map(|kind| Plan::new(options, kind));
        Ok(World { seed: options.seed, plans: PerKind([artist?, label?, master?, release?]) })
    }

    /// An id that a record born in this month may refer to: low ones more often, sometimes one that there never is.
    pub fn draw(&self, of: Kind, born: usize, rng: &mut Rng) -> u64 {
        let (plan, x) = (&self.plans[of], rng.unit() / (1.0 - DANGLING));
        if x < 1.0 { plan.id((plan.grown[born] as f64 * x * x) as u64) } else { plan.id(plan.places() - 1) + 1 + rng.below(1000) }
    }

    /// One of the artists that everything refers to, where there is such a one from the first month on.
    pub fn hub(&self, id: u64) -> Option<u64> {
        let plan = &self.plans[Kind::Artist];
        plan.place(id).filter(|place| *place < plan.grown[0]).map(|_| id)
    }

    /// The id that stands for this one in this month: another where it was merged.
    pub fn moved(&self, of: Kind, id: u64, month: usize) -> u64 {
        let moved = &self.plans[of].moved[month];
        if moved.is_empty() { id } else { *moved.get(&id).unwrap_or(&id) }
    }

    /// Appends the name of an artist or label.
    pub fn name(&self, out: &mut Vec<u8>, of: Kind, id: u64) {
        match of {
            Kind::Artist => names::artist(out, self.seed, id),
            _ => names::label(out, self.seed, id),
        }
    }

    fn first_artist(&self, place: u64) -> bool {
        place < self.plans[Kind::Artist].grown[0]
    }

    /// The place of the artist that is this one's alias, and the other way round.
    pub fn alias(&self, place: u64) -> Option<u64> {
        let block = place / BLOCK;
        let dice = hash([self.seed, ALIASES, block]);
        // Its own inverse, and never the same place.
        let other = block * BLOCK + ((place % BLOCK) ^ (1 + dice % (BLOCK - 1)));
        let tied = hash([dice, place.min(other)]) % 100 < 9;
        (tied && self.first_artist(place) && self.first_artist(other)).then_some(other)
    }

    /// The place of the first artist of this one's block, and how many after it are its members.
    pub fn band(&self, place: u64) -> Option<(u64, u64)> {
        let first = place / BLOCK * BLOCK;
        let dice = hash([self.seed, BAND, first]);
        let members = 2 + (dice >> 32) % 4;
        (dice % 100 < 55 && place - first <= members && self.first_artist(first + members)).then_some((first, members))
    }
}
