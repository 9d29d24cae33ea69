//! What the scribes of several processes say to each other, and how what they answer is brought together.

use serde::{Deserialize, Serialize};

use crate::model::PerKind;
use crate::sources::{Mark, Tick};
use crate::state::Segment;

/// What one scribe says to another.
#[derive(Debug, Serialize, Deserialize)]
pub enum Word {
    /// Process 0 asks.
    Ask(Question),
    /// Another one answers.
    Answer(Answer),
    /// The run is to end with a checkpoint: read no more. Whoever hears it first tells process 0, and that one all.
    End,
}

/// The three steps of a checkpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Question {
    /// Up to where have all workers come?
    Come,
    /// From where on is to be read, where all ticks below this one are done?
    Stand(Tick),
    /// Make durable what counts where all ticks below this one are done.
    Keep(Mark),
}

/// What a process answers.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    /// All ticks below the first one are done, and the reader's next block is that of the second.
    Came(Tick, Tick),
    /// `None`: it is not known.
    Stands(Option<Mark>),
    /// It is durable.
    Kept(Kept),
}

/// What one process adds to a checkpoint.
#[derive(Debug, Serialize, Deserialize)]
pub struct Kept {
    /// Its journal.
    pub segments: Vec<Segment>,
    /// What each sink has missed in this run, in the order of the checkpoint's.
    pub missed: Vec<PerKind<u64>>,
    /// Keys that were changed in this run.
    pub changes: u64,
}

/// From where on all are to read: those whose part of a kind is shorter have ended it, and stand where that was.
pub fn agreed(marks: impl IntoIterator<Item = Option<Mark>>) -> Option<Mark> {
    marks.into_iter().reduce(|ours, theirs| Some(ours?.with(theirs?))).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::{Lane, SourcePosition};

    fn at(tick: Tick, lanes: &[(usize, u64)]) -> Option<Mark> {
        let lane =
            |(partition, records): &(usize, u64)| Lane { partition: *partition, last: 7, records: *records, ended: false, defect: None };
        let records = lanes.iter().map(|(_, records)| records).sum();
        let position = SourcePosition { records, last: 0, lanes: lanes.iter().map(lane).collect() };
        Some(Mark { tick, position: Some(position).filter(|_| !lanes.is_empty()) })
    }

    #[test]
    fn all_read_on_at_the_farthest_block_from_where_each_stood_and_from_nowhere_where_one_does_not_know() {
        assert_eq!(agreed([at(9, &[(1, 30), (3, 31)]), at(9, &[(0, 28), (2, 32)])]), at(9, &[(0, 28), (1, 30), (2, 32), (3, 31)]));
        assert_eq!(agreed([at(9, &[(0, 30)]), at(5, &[(1, 10)])]), at(9, &[(0, 30), (1, 10)]), "the part of one was shorter");
        assert_eq!(agreed([at(9, &[(0, 30)]), at(1, &[])]), at(9, &[(0, 30)]), "and that of one a single block");
        assert_eq!(agreed([at(9, &[(0, 30)]), None]), None);
        let of_file = |tick| Some(Mark { tick, position: Some(SourcePosition { records: 40, last: 900, lanes: Vec::new() }) });
        assert_eq!(agreed([of_file(9), of_file(9), of_file(9)]), of_file(9));
    }
}
