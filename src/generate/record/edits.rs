//! What was done to a record until a month. Every edit adds something, or takes something away, so that the text differs.

use crate::model::Kind;

use super::super::plan::Plan;
use super::super::rng::{Rng, hash};

/// What an edit changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    VideoAdded,
    VideoRetitled,
    VideoDropped,
    Notes,
    Style,
    Credit,
    Main,
    Title,
    Url,
    NameVariation,
    Alias,
    Quality,
}

/// Edits in the order in which they were made, each with dice of its own.
#[derive(Default)]
pub(super) struct Edits(Vec<(What, u64)>);

impl Edits {
    pub fn collect(&mut self, plan: &Plan, place: u64, born: usize, month: usize, more: Option<u64>) {
        self.0.clear();
        for dice in (born + 1..=month).filter_map(|j| plan.edit(place, j)) {
            self.0.push((what(plan.kind(), dice), hash([dice])));
        }
        if let Some(dice) = more {
            self.0.push((What::Notes, dice));
        }
    }

    /// Dice of the edits of this.
    pub fn of(&self, what: What) -> impl Iterator<Item = u64> {
        self.0.iter().filter(move |(each, _)| *each == what).map(|(_, dice)| *dice)
    }

    /// All edits.
    pub fn all(&self) -> impl Iterator<Item = (What, u64)> {
        self.0.iter().copied()
    }
}

/// In real months 85 % of the changed masters and releases change in their videos only.
fn what(kind: Kind, dice: u64) -> What {
    let x = Rng::new(dice).below(1000);
    match (kind, x) {
        (Kind::Master | Kind::Release, 0..640) => What::VideoAdded,
        (Kind::Master | Kind::Release, 640..750) => What::VideoRetitled,
        (Kind::Master | Kind::Release, 750..850) => What::VideoDropped,
        (Kind::Master | Kind::Release, 850..925) => What::Notes,
        (Kind::Master | Kind::Release, 925..960) => What::Style,
        (Kind::Master | Kind::Release, 960..980) => What::Credit,
        (Kind::Master, 980..994) => What::Main,
        (Kind::Master | Kind::Release, _) => What::Title,
        (Kind::Artist | Kind::Label, 0..450) => What::Url,
        (Kind::Artist | Kind::Label, 450..700) => What::Notes,
        (Kind::Artist, 700..800) => What::NameVariation,
        (Kind::Artist, 800..880) => What::Alias,
        (Kind::Artist | Kind::Label, _) => What::Quality,
    }
}
