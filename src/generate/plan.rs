//! What happens to the records of one kind, decided before anything is written.
//!
//! A record is known by its place among all that there ever are. Its id, birth, edits and end follow from hashes of its
//! place; only what the options ask for is kept in maps, so that a plan for tens of millions of records takes no room.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::model::Kind;

use super::names::HUBS;
use super::rng::{Rng, hash, within};
use super::{Error, Options};

/// How a record is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Break {
    /// It ends too soon.
    Cut,
    /// A byte 0xff stands in a text.
    Utf8,
}

impl Break {
    pub const fn name(self) -> &'static str {
        match self {
            Break::Cut => "cut",
            Break::Utf8 => "utf-8",
        }
    }
}

/// How a record is written again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// As it is.
    Exact,
    /// With one more edit.
    Edited,
}

impl Again {
    pub const fn name(self) -> &'static str {
        match self {
            Again::Exact => "exact",
            Again::Edited => "edited",
        }
    }
}

/// What a hash is for, so that no two uses share one.
const GONE: u64 = 1;
const EDIT: u64 = 2;
const GAPS: u64 = 3;
const PICK: u64 = 4;

/// Share of records deleted a month, as between real months.
const DELETED: f64 = 0.0005;
/// Ids come in runs of this many, each run with `HOLES` ids left out: those of records that were deleted long ago.
const RUN: u64 = 40;
const HOLES: u64 = 3;

/// Share of records edited a month, as between real months.
const fn changed(kind: Kind) -> f64 {
    match kind {
        Kind::Artist => 0.012,
        Kind::Label => 0.015,
        Kind::Master => 0.047,
        Kind::Release => 0.03,
    }
}

/// Share of records added a month, as between real months.
const fn added(kind: Kind) -> f64 {
    match kind {
        Kind::Artist | Kind::Label => 0.004,
        Kind::Master | Kind::Release => 0.005,
    }
}

/// Records of a kind that there are or were by a month, where the first had this many.
pub(super) fn grown(kind: Kind, size: u64, churn: f64, month: usize) -> u64 {
    size + (size as f64 * added(kind) * churn * month as f64) as u64
}

/// The fates of one kind's records.
pub(super) struct Plan {
    kind: Kind,
    seed: u64,
    churn: f64,
    /// Records that there are or were, by month.
    pub grown: Vec<u64>,
    /// By place: the month in which a record vanishes, and the one in which it is back.
    gone: HashMap<u64, usize>,
    back: HashMap<u64, usize>,
    /// By month: ids that are merged, into which.
    pub merged: Vec<BTreeMap<u64, u64>>,
    /// By month: where references to ids merged until then lead now.
    pub moved: Vec<HashMap<u64, u64>>,
    /// By month and place.
    pub broken: Vec<HashMap<u64, Break>>,
    /// By month and place.
    pub copied: Vec<HashMap<u64, Again>>,
    /// By month and place before which to write: places of the records to write again there.
    pub copies: Vec<BTreeMap<u64, Vec<u64>>>,
}

impl Plan {
    /// Decides everything.
    pub fn new(options: &Options, kind: Kind) -> Result<Plan, Error> {
        let (months, size) = (options.months as usize, options.sizes()[kind]);
        let mut plan = Plan {
            kind,
            seed: options.seed,
            churn: options.churn,
            grown: (0..months).map(|j| grown(kind, size, options.churn, j)).collect(),
            gone: HashMap::new(),
            back: HashMap::new(),
            merged: vec![BTreeMap::new(); months],
            moved: vec![HashMap::new(); months],
            broken: vec![HashMap::new(); months],
            copied: vec![HashMap::new(); months],
            copies: vec![BTreeMap::new(); months],
        };
        for j in 0..months {
            plan.decide(options, j)?;
        }
        Ok(plan)
    }

    fn decide(&mut self, options: &Options, j: usize) -> Result<(), Error> {
        let mut rng = Rng::new(hash([self.seed, PICK, self.kind as u64, j as u64]));
        if 0 < j && j + 1 < self.grown.len() {
            for i in self.pick("reinserts", options.reinserts, j, &mut rng, Self::steady)? {
                self.gone.insert(i, j);
                self.back.insert(i, j + 1);
            }
        }
        if 0 < j && self.kind != Kind::Release {
            let old = self.pick("merges", options.merges, j, &mut rng, Self::steady)?;
            self.gone.extend(old.iter().map(|i| (*i, j)));
            let new = self.pick("merges", options.merges, j, &mut rng, Self::alive)?;
            let merged: BTreeMap<u64, u64> = old.into_iter().zip(new).map(|(old, new)| (self.id(old), self.id(new))).collect();
            // An id merged before may have been merged into one that is merged now.
            let follow = |(old, new): (&u64, &u64)| (*old, *merged.get(new).unwrap_or(new));
            self.moved[j] = self.moved[j - 1].iter().map(follow).collect();
            self.moved[j].extend(&merged);
            self.merged[j] = merged;
        }
        let broken = self.pick("broken", options.broken, j, &mut rng, Self::alive)?;
        self.broken[j] = broken.into_iter().zip([Break::Cut, Break::Utf8].into_iter().cycle()).collect();
        let copied = self.pick("duplicates", options.duplicates, j, &mut rng, Self::whole)?;
        for (i, how) in copied.into_iter().zip([Again::Exact, Again::Edited].into_iter().cycle()) {
            self.copied[j].insert(i, how);
            let before = rng.range(i + 1, self.places());
            self.copies[j].entry(before).or_default().push(i);
        }
        Ok(())
    }

    /// This many different records that fit; an error where there are fewer.
    fn pick(&self, option: &str, n: u64, j: usize, rng: &mut Rng, fits: fn(&Plan, u64, usize) -> bool) -> Result<Vec<u64>, Error> {
        let (end, mut found, mut seen) = (self.grown[j], Vec::new(), HashSet::new());
        if n <= end / 4 {
            for _ in 0..n * 16 + 64 {
                if found.len() as u64 == n {
                    return Ok(found);
                }
                let i = rng.below(end);
                if fits(self, i, j) && seen.insert(i) {
                    found.push(i);
                }
            }
        }
        // So many are asked for, or so few fit, that throwing dice does not find them: shuffle those that there are.
        let mut all: Vec<u64> = (0..end).filter(|i| fits(self, *i, j)).collect();
        if n > all.len() as u64 {
            return Err(Error::TooFew { option: option.to_owned(), asked: n, found: all.len() as u64, kind: self.kind });
        }
        for at in 0..n as usize {
            let other = rng.range(at as u64, all.len() as u64 - 1) as usize;
            all.swap(at, other);
        }
        all.truncate(n as usize);
        Ok(all)
    }

    /// Whose plan this is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// How many records there ever are.
    pub fn places(&self) -> u64 {
        *self.grown.last().expect("at least one month")
    }

    /// The month in which a record first stands.
    pub fn born(&self, i: u64) -> usize {
        self.grown.partition_point(|n| *n <= i)
    }

    /// Whether a record stands in a month's dump.
    pub fn alive(&self, i: u64, j: usize) -> bool {
        let gone = |gone: usize| gone <= j && self.back.get(&i).is_none_or(|back| j < *back);
        i < self.grown[j] && !self.end(i).is_some_and(gone)
    }

    /// A record that stood in the month before and has no end yet.
    fn steady(&self, i: u64, j: usize) -> bool {
        i < self.grown[j - 1] && self.end(i).is_none() && !self.lasting(i)
    }

    fn whole(&self, i: u64, j: usize) -> bool {
        !self.broken[j].contains_key(&i) && self.alive(i, j)
    }

    /// The month in which a record vanishes.
    fn end(&self, i: u64) -> Option<usize> {
        if let Some(j) = self.gone.get(&i) {
            return Some(*j);
        }
        let dies = |j: &usize| within(hash([self.seed, GONE, self.kind as u64, i, *j as u64]), DELETED * self.churn);
        (self.born(i) + 1..self.grown.len()).find(dies).filter(|_| !self.lasting(i))
    }

    /// An artist that so much refers to that it never vanishes.
    fn lasting(&self, i: u64) -> bool {
        self.kind == Kind::Artist && HUBS.iter().any(|(id, _)| *id == self.id(i))
    }

    /// A number for this month's edit of a record; `None`: it is not edited.
    pub fn edit(&self, i: u64, j: usize) -> Option<u64> {
        let dice = hash([self.seed, EDIT, self.kind as u64, i, j as u64]);
        (j > self.born(i) && within(dice, changed(self.kind) * self.churn)).then(|| hash([dice]))
    }

    /// The id of a record. Ids rise with places.
    pub fn id(&self, i: u64) -> u64 {
        let (run, mut at) = (i / RUN, i % RUN);
        for hole in self.holes(run) {
            at += u64::from(at >= hole);
        }
        run * (RUN + HOLES) + at + 1
    }

    /// The place of the record with this id.
    pub fn place(&self, id: u64) -> Option<u64> {
        let at = id.checked_sub(1)?;
        let (run, at) = (at / (RUN + HOLES), at % (RUN + HOLES));
        let holes = self.holes(run);
        let before = holes.iter().filter(|hole| **hole < at).count() as u64;
        let i = run * RUN + at - before;
        (!holes.contains(&at) && i < self.places()).then_some(i)
    }

    /// Three rising numbers within a run that are no record's; never its first, so that the first id is 1.
    fn holes(&self, run: u64) -> [u64; HOLES as usize] {
        let dice = hash([self.seed, GAPS, self.kind as u64, run]);
        [1 + dice % 13, 15 + (dice >> 16) % 13, 29 + (dice >> 32) % 13]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise_and_lead_back_to_their_places() {
        let plan = Plan::new(&Options::new("", 5000), Kind::Release).unwrap();
        let mut before = 0;
        for i in 0..plan.places() {
            assert!(plan.id(i) > before);
            before = plan.id(i);
            assert_eq!(plan.place(before), Some(i));
        }
        assert_eq!((0..=before).filter(|id| plan.place(*id).is_some()).count() as u64, plan.places());
    }

    #[test]
    fn asking_for_more_than_there_is_names_the_option_and_the_kind() {
        let options = Options { broken: 60, ..Options::new("", 400) };
        assert!(Plan::new(&options, Kind::Release).is_ok());
        let error = Plan::new(&options, Kind::Label).err().unwrap().to_string();
        assert_eq!(error, "--broken 60: there are only 50 labels to choose from");
    }

    #[test]
    fn artists_that_much_refers_to_never_vanish() {
        let plan =
            Plan::new(&Options { churn: 20.0, months: 9, merges: 20, reinserts: 20, ..Options::new("", 1000) }, Kind::Artist).unwrap();
        for (id, _) in HUBS {
            let Some(i) = plan.place(id) else { continue };
            assert!((plan.born(i)..9).all(|j| plan.alive(i, j)), "{id}");
        }
    }

    #[test]
    fn all_that_there_is_can_be_asked_for() {
        let plan = Plan::new(&Options { broken: 50, ..Options::new("", 400) }, Kind::Label).unwrap();
        assert_eq!(plan.broken[0].len(), 50);
    }
}
