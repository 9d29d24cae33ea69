//! Which of the snapshots in topics are applied, and in which order.
//!
//! ```text
//!   catalogue ─ newest attempt of each snapshot ─ of the months asked for ─ complete ─ behind what the state has reached
//!     ─ not older than it ─ by month and attempt
//! ```

use anyhow::{Result, bail};

use super::due::Due;
use crate::model::{Kind, PerKind};
use crate::sources::kafka::{Attempt, Catalogue, Topics, first_offset, offset_at};
use crate::state::Manifest;

/// Where to begin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum From {
    /// With whatever the state has not applied.
    #[default]
    News,
    /// With the last snapshot that is asked for: nothing before it is applied. Of a kind that the state holds, what it holds.
    Last,
    /// With the first that was published.
    Earliest,
    /// With a month, `2025-11`.
    Snapshot(String),
    /// With the snapshot that has this offset, and its month.
    Offset {
        /// Of which topic.
        kind: Kind,
        /// Of which partition.
        partition: usize,
        /// In it.
        offset: i64,
    },
    /// With what was complete at this time or later, in milliseconds since 1970.
    Time(i64),
}

/// Which snapshots are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The first.
    pub from: From,
    /// The last month; `None`: the newest.
    pub to: Option<String>,
}

/// A selection in terms of attempts.
pub struct Bounds {
    last: bool,
    /// The first of each kind: month and attempt.
    first: PerKind<(String, u64)>,
    to: Option<String>,
}

impl Selection {
    /// Asks the catalogue, and where need be the broker, what is meant. What is not there is an error, as is an offset that has expired.
    pub fn bounds(&self, topics: &Topics, catalogue: &Catalogue) -> Result<Bounds> {
        let month = |month: &str| match catalogue.months().contains(month) {
            true => Ok(month.to_owned()),
            false => Err(not_published(month, topics, catalogue)),
        };
        let to = self.to.as_deref().map(month).transpose()?;
        let mut first = PerKind::from_fn(|_| (String::new(), 0));
        match &self.from {
            From::News | From::Last | From::Earliest => {}
            From::Snapshot(from) => {
                let from = month(from)?;
                first = PerKind::from_fn(|_| (from.clone(), 0));
            }
            From::Offset { kind, partition, offset } => {
                let found = with_offset(topics, catalogue, *kind, *partition, *offset)?;
                first = PerKind::from_fn(|_| (found.month.clone(), 0));
                first[*kind].1 = found.attempt;
                tracing::info!("offset {offset} is of {} ({}, attempt {})", found.file, found.month, found.attempt);
            }
            From::Time(time) => {
                for kind in Kind::ALL {
                    let Some(offset) = catalogue.of(kind).next().map(|_| offset_at(topics, kind, *time)).transpose()? else { continue };
                    let since = catalogue.of(kind).find(|attempt| ends_behind(attempt, 0, offset));
                    // None: nothing of this kind.
                    first[kind] = since.map_or_else(|| ("~".to_owned(), 0), |attempt| (attempt.month.clone(), attempt.attempt));
                }
            }
        }
        if let (Some(to), Some((from, _))) = (&to, first.0.iter().filter(|(from, _)| from != "~").min())
            && from > to
        {
            bail!("from {from} to {to}: that is no month at all");
        }
        Ok(Bounds { last: self.from == From::Last, first, to })
    }
}

fn not_published(month: &str, topics: &Topics, catalogue: &Catalogue) -> anyhow::Error {
    let months: Vec<_> = catalogue.months().into_iter().collect();
    anyhow::anyhow!("{month} was not published to {}.*: there are {}", topics.prefix, months.join(", "))
}

/// Whether anything of an attempt stands at this offset of a partition or behind it. One that has not ended may still grow.
fn ends_behind(attempt: &Attempt, partition: usize, offset: i64) -> bool {
    attempt.ends.as_ref().is_none_or(|ends| ends.offsets.get(partition).is_some_and(|end| *end >= offset))
}

fn with_offset<'a>(topics: &Topics, catalogue: &'a Catalogue, kind: Kind, partition: usize, offset: i64) -> Result<&'a Attempt> {
    let name = topics.of(kind);
    let partitions = catalogue.of(kind).map(|attempt| attempt.begins.len()).max().unwrap_or(0);
    if partition >= partitions {
        bail!("there is no partition {partition} of {name} to which anything was published: it has {partitions}");
    }
    let first = first_offset(topics, kind, partition)?;
    if offset < first {
        bail!("offset {offset} of partition {partition} of {name} has expired: it begins at {first}. Name that one, or a later month");
    }
    let found = catalogue.of(kind).find(|attempt| ends_behind(attempt, partition, offset));
    found.ok_or_else(|| anyhow::anyhow!("nothing was published at or behind offset {offset} of partition {partition} of {name}"))
}

impl Bounds {
    fn holds(&self, attempt: &Attempt) -> bool {
        let (month, number) = &self.first[attempt.kind];
        let behind = attempt.month > *month || (attempt.month == *month && attempt.attempt >= *number);
        behind && self.to.as_ref().is_none_or(|to| attempt.month <= *to)
    }

    /// What of a kind is to be done for this state. `older`: a month older than what it holds is applied too.
    pub fn due<'a>(&self, catalogue: &'a Catalogue, kind: Kind, manifest: &Manifest, older: bool) -> Due<'a> {
        // A sink that is rebuilt as the state has it leaves the state where it is.
        let stays = self.last && self.to.is_none() && manifest.kinds[kind].is_some();
        let mut due = Due::within(catalogue, kind, manifest, older, |attempt| !stays && self.holds(attempt));
        if self.last {
            due.news.drain(..due.news.len().saturating_sub(1));
        }
        due
    }
}

/// Leaves out the months that are still being published: of which another kind, published together with these, is not complete.
pub fn whole_months_only(catalogue: &Catalogue, due: &mut PerKind<Due<'_>>) {
    let complete = |month: &str, kind: Kind| {
        let last = catalogue.of(kind).rfind(|attempt| attempt.month == month);
        last.is_some_and(|attempt| attempt.ends.is_some())
    };
    let whole = |attempt: &Attempt| attempt.with.iter().all(|kind| complete(&attempt.month, *kind));
    // One that is followed by a whole month was given up: that is applied, to all kinds alike.
    due.0.iter_mut().for_each(|due| due.news.retain(|attempt| whole(attempt)));
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::kafka::Brokers;
    use crate::sinks::Epoch;
    use crate::sources::kafka::Ends;
    use crate::state::Applied;

    fn attempt(kind: Kind, attempt: u64, month: &str, snapshot: &str, complete: bool) -> Attempt {
        Attempt {
            log: Uuid::nil(),
            kind,
            attempt,
            snapshot: snapshot.to_owned(),
            month: month.to_owned(),
            file: format!("{kind}-{month}"),
            with: vec![Kind::Artist, Kind::Label],
            begins: vec![10 * attempt as i64],
            records: 1,
            bytes: 1,
            last: 1,
            ends: complete.then(|| Ends { offsets: vec![10 * attempt as i64 + 8], defect: None }),
        }
    }

    fn catalogue() -> Catalogue {
        Catalogue::of_attempts([
            attempt(Kind::Artist, 1, "2026-01", "a", true),
            attempt(Kind::Artist, 2, "2026-02", "b", true),
            attempt(Kind::Artist, 3, "2026-02", "c", true),
            attempt(Kind::Artist, 4, "2026-03", "d", true),
            attempt(Kind::Label, 1, "2026-01", "e", true),
            attempt(Kind::Label, 2, "2026-03", "f", false),
        ])
    }

    fn holding(month: &str, sha256: &str) -> Manifest {
        let mut manifest = Manifest::new();
        manifest.kinds[Kind::Artist] = Some(Applied {
            epoch: Epoch { number: 1, id: Uuid::nil() },
            month: month.to_owned(),
            file: String::new(),
            sha256: sha256.to_owned(),
            records: 1,
            rejected: 0,
            deletes_withheld: 0,
            defect: None,
            unmapped: Default::default(),
        });
        manifest
    }

    fn nowhere() -> Topics {
        Topics { brokers: Brokers { addresses: String::new(), tls: None, login: None }, prefix: "discogs".to_owned() }
    }

    fn bounds(from: From, to: Option<&str>) -> Bounds {
        let topics = nowhere();
        Selection { from, to: to.map(str::to_owned) }.bounds(&topics, &catalogue()).expect("there")
    }

    fn artists(bounds: &Bounds, manifest: &Manifest) -> Vec<u64> {
        bounds.due(&catalogue(), Kind::Artist, manifest, false).news.iter().map(|attempt| attempt.attempt).collect()
    }

    #[test]
    fn months_are_applied_from_the_first_to_the_last_that_is_asked_for() {
        let fresh = Manifest::new();
        assert_eq!(artists(&bounds(From::Earliest, None), &fresh), [1, 2, 3, 4]);
        assert_eq!(artists(&bounds(From::Snapshot("2026-02".to_owned()), None), &fresh), [2, 3, 4]);
        assert_eq!(artists(&bounds(From::Snapshot("2026-02".to_owned()), Some("2026-02")), &fresh), [2, 3]);
        assert_eq!(artists(&bounds(From::Last, Some("2026-02")), &fresh), [3]);
        assert_eq!(artists(&bounds(From::Last, None), &fresh), [4]);
    }

    #[test]
    fn what_a_state_holds_is_not_applied_again_and_its_sinks_are_rebuilt_from_just_that() {
        let state = holding("2026-02", "b");
        assert_eq!(artists(&bounds(From::Earliest, None), &state), [3, 4]);
        let last = bounds(From::Last, None);
        assert!(artists(&last, &state).is_empty());
        let catalogue = catalogue();
        assert_eq!(last.due(&catalogue, Kind::Artist, &state, false).held.map(|held| held.attempt), Some(2));
        let older = bounds(From::Earliest, Some("2026-01")).due(&catalogue, Kind::Artist, &holding("2026-03", "x"), false);
        assert!(older.news.is_empty() && older.words()[0].contains("--allow-older"));
    }

    #[test]
    fn a_month_that_was_not_published_is_refused_with_those_that_were() {
        let topics = nowhere();
        for selection in [
            Selection { from: From::Snapshot("2025-12".to_owned()), to: None },
            Selection { from: From::Earliest, to: Some("2025-12".to_owned()) },
        ] {
            let words = selection.bounds(&topics, &catalogue()).err().expect("refused").to_string();
            assert!(words.contains("2026-01, 2026-02, 2026-03"), "{words}");
        }
        let backwards = Selection { from: From::Snapshot("2026-03".to_owned()), to: Some("2026-01".to_owned()) };
        assert!(backwards.bounds(&topics, &catalogue()).is_err());
    }

    #[test]
    fn a_month_of_which_a_kind_is_still_being_published_is_waited_for_as_a_whole() {
        let catalogue = catalogue();
        let all = bounds(From::News, None);
        let mut due = PerKind::from_fn(|kind| all.due(&catalogue, kind, &Manifest::new(), false));
        whole_months_only(&catalogue, &mut due);
        // The labels of 2026-02 were not published at all, and those of 2026-03 are on their way.
        assert_eq!(due[Kind::Artist].news.iter().map(|attempt| attempt.attempt).collect::<Vec<_>>(), [1]);
        assert_eq!(due[Kind::Label].news.len(), 1);

        // Of a month that was given up nothing is applied, and of the one after it all.
        let catalogue = Catalogue::of_attempts([
            attempt(Kind::Artist, 1, "2026-01", "a", true),
            attempt(Kind::Label, 1, "2026-01", "b", true),
            attempt(Kind::Artist, 2, "2026-02", "c", true),
            attempt(Kind::Artist, 3, "2026-03", "d", true),
            attempt(Kind::Label, 2, "2026-03", "e", true),
        ]);
        let mut due = PerKind::from_fn(|kind| all.due(&catalogue, kind, &Manifest::new(), false));
        whole_months_only(&catalogue, &mut due);
        let months = |kind: Kind| due[kind].news.iter().map(|attempt| attempt.month.as_str()).collect::<Vec<_>>();
        assert_eq!((months(Kind::Artist), months(Kind::Label)), (vec!["2026-01", "2026-03"], vec!["2026-01", "2026-03"]));
    }
}
