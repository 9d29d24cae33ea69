//! The workers of a run, and which of them owns what.

use serde::{Deserialize, Serialize};

/// All workers of a run: as many in each of its processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peers {
    /// Number of processes.
    pub processes: usize,
    /// Number of workers in each.
    pub workers: usize,
}

impl Peers {
    /// The workers of the only process.
    pub const fn alone(workers: usize) -> Peers {
        Peers { processes: 1, workers }
    }

    /// How many there are.
    pub const fn count(self) -> usize {
        self.processes * self.workers
    }

    /// The process that owns a shard. Where the number of a topic's partitions is a multiple of that of the processes, it owns whole
    /// partitions.
    pub const fn process(self, shard: u64) -> usize {
        shard as usize % self.processes
    }

    /// The worker that owns a shard; those of one process follow each other.
    pub const fn owner(self, shard: u64) -> usize {
        let within = shard as usize / self.processes % self.workers;
        self.process(shard) * self.workers + within
    }

    /// The place of a process's first worker.
    pub const fn first_of(self, process: usize) -> Seat {
        Seat { worker: process * self.workers, peers: self, run: None }
    }

    /// The places of all.
    pub fn seats(self) -> impl Iterator<Item = Seat> {
        (0..self.count()).map(move |worker| Seat { worker, peers: self, run: None })
    }
}

/// One worker's place among all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Its number.
    pub worker: usize,
    /// Among whom.
    pub peers: Peers,
    /// What a run of several processes is called: files that they write are named so, and one that is left over from an older run writes to
    /// none of this one's.
    pub run: Option<u32>,
}

impl Seat {
    /// That of the only worker.
    pub const ALONE: Seat = Seat { worker: 0, peers: Peers::alone(1), run: None };

    /// Whether it takes what belongs to no worker.
    pub const fn is_first(self) -> bool {
        self.worker == 0
    }

    /// The process that it is in.
    pub const fn process(self) -> usize {
        self.worker / self.peers.workers
    }

    /// Whether its process reads a partition of a topic.
    pub const fn reads(self, partition: usize) -> bool {
        self.peers.process(partition as u64) == self.process()
    }

    /// Whether it owns a shard.
    pub const fn owns(self, shard: u64) -> bool {
        self.peers.owner(shard) == self.worker
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SHARDS;

    #[test]
    fn every_shard_has_one_owner_and_owners_have_as_many_as_each_other_where_that_is_possible() {
        for (processes, workers) in [(1, 1), (1, 4), (2, 2), (4, 1), (3, 2), (16, 4)] {
            let peers = Peers { processes, workers };
            let owned: Vec<u64> = peers.seats().map(|seat| (0..SHARDS).filter(|shard| seat.owns(*shard)).count() as u64).collect();
            assert_eq!(owned.iter().sum::<u64>(), SHARDS);
            let (least, most) = (owned.iter().min().copied().unwrap_or(0), owned.iter().max().copied().unwrap_or(0));
            assert!(least > 0 && (most - least <= 2), "{peers:?}: {owned:?}");
        }
    }

    #[test]
    fn a_process_owns_whole_partitions_where_their_number_is_a_multiple() {
        for (processes, partitions) in [(2, 16), (4, 16), (3, 6), (8, 64)] {
            let peers = Peers { processes, workers: 3 };
            for shard in 0..SHARDS {
                assert_eq!(peers.process(shard), (shard % partitions) as usize % processes);
                assert_eq!(peers.owner(shard) / 3, peers.process(shard));
            }
        }
    }
}
