//! What to generate.

use std::path::PathBuf;

use crate::model::{Kind, PerKind};

use super::Error;

/// What to generate. Counts of options are a month and a kind.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder that gets a folder a month, and `truth.json`.
    pub out: PathBuf,
    /// How many months.
    pub months: u32,
    /// Year and month (1 to 12) of the first.
    pub first: (i32, u8),
    /// Releases in the first month.
    pub releases: u64,
    /// Artists in the first month; by default half as many as releases.
    pub artists: Option<u64>,
    /// Labels in the first month; by default an eighth of the releases.
    pub labels: Option<u64>,
    /// Masters in the first month; by default an eighth of the releases.
    pub masters: Option<u64>,
    /// Other seeds give other records.
    pub seed: u64,
    /// How many times the rates of real months records change, come and go.
    pub churn: f64,
    /// Records that are written again further down, by turns exact and edited; the first counts.
    pub duplicates: u64,
    /// Artists, labels and masters that vanish into others, from the second month on; what referred to them refers to those.
    pub merges: u64,
    /// Records that are deleted in a month after the first and back in the next. Needs three months.
    pub reinserts: u64,
    /// Records that are malformed this month, by turns cut short and with a byte that is not UTF-8.
    pub broken: u64,
    /// The one month whose dumps are written, by its name; by default all are. They have the bytes that they have among the others.
    pub only: Option<String>,
}

impl Options {
    /// Two months of this size from January 2026 on, with nothing odd among them.
    pub fn new(out: impl Into<PathBuf>, releases: u64) -> Options {
        Options {
            out: out.into(),
            months: 2,
            first: (2026, 1),
            releases,
            artists: None,
            labels: None,
            masters: None,
            seed: 1,
            churn: 1.0,
            duplicates: 0,
            merges: 0,
            reinserts: 0,
            broken: 0,
            only: None,
        }
    }

    /// Records of the first month, by kind; at least one of each.
    pub fn sizes(&self) -> PerKind<u64> {
        PerKind::from_fn(|kind| {
            let size = match kind {
                Kind::Artist => self.artists.unwrap_or(self.releases / 2),
                Kind::Label => self.labels.unwrap_or(self.releases / 8),
                Kind::Master => self.masters.unwrap_or(self.releases / 8),
                Kind::Release => self.releases,
            };
            size.max(1)
        })
    }

    /// Names of the months, `2026-01` and on.
    pub fn names(&self) -> Vec<String> {
        let first = i64::from(self.first.0) * 12 + i64::from(self.first.1) - 1;
        (first..first + i64::from(self.months)).map(|n| format!("{:04}-{:02}", n.div_euclid(12), n.rem_euclid(12) + 1)).collect()
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        let wrong = |why: &str| Err(Error::Options(why.to_owned()));
        let (last_year, _) = self.names().last().map_or((0, 0), |name| (name[..name.len() - 3].parse().unwrap_or(0), 0));
        if self.months == 0 {
            return wrong("at least one month is needed");
        }
        if self.months > 120 {
            return wrong("at most 120 months can be generated at once: each is a file that is open while a kind is written");
        }
        if !(1..=12).contains(&self.first.1) || !(1000..=9999).contains(&self.first.0) || last_year > 9999 {
            return wrong("the months are from 1000-01 to 9999-12");
        }
        if !self.churn.is_finite() || !(0.0..=20.0).contains(&self.churn) {
            return wrong("the churn is from 0 to 20 times the real rates");
        }
        if self.sizes().iter().any(|(_, size)| *size > 1_000_000_000) {
            return wrong("at most 1,000,000,000 records of a kind");
        }
        if let (Some(only), [first, .., last] | [first @ last]) = (&self.only, &self.names()[..])
            && !(first..=last).contains(&only)
        {
            return wrong(&format!("--only {only}: the months are {first} to {last}"));
        }
        if self.reinserts > 0 && self.months < 3 {
            return wrong("reinserts need three months: there, gone, back");
        }
        if self.merges > 0 && self.months < 2 {
            return wrong("merges need two months: records vanish from the second on");
        }
        Ok(())
    }
}
