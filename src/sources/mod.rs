//! Where records come from. A source cuts what it reads into blocks by position alone and feeds every worker its part of each.

mod budget;
mod checksums;
mod dump_files;
pub mod kafka;
mod pieces;
mod reading;
mod snapshot;
mod stop;
mod sum;
mod trail;

use crossbeam_channel::{Receiver, Sender};
use timely::scheduling::SyncActivator;

use crate::model::Kind;
use crate::xml::{Ending, Record};

pub use budget::{Budget, Holder};
pub use checksums::{CHECKSUM, checksums};
pub use dump_files::first_look;
pub use reading::{BlockSize, Position, Reading, Surroundings, read};
pub use snapshot::{DumpFile, Folder, Place, Snapshot, SnapshotError, a_dump_in, parse_name};
pub use stop::{Stop, StoppedOnRequest};
pub use sum::{hexadecimal, of_file as sha256_of_file};
pub use trail::{Lane, Mark, SourcePosition, Trail};

/// timely's time, totally ordered: 32 bits of epoch, 4 of kind, 28 of block. In the upper half of a kind's blocks its deletes flow.
pub type Tick = u64;

/// The first tick of a kind's blocks.
pub const fn first_tick(epoch: u64, kind: Kind) -> Tick {
    (epoch << 32) | ((kind as u64) << 28)
}

/// The tick of the block with which a kind ends: the same for all who read a part of it, however many blocks they have before.
pub const fn last_tick(epoch: u64, kind: Kind) -> Tick {
    first_delete_tick(epoch, kind) - 1
}

/// The first tick of a kind's deletes: after all of its blocks, before the next kind's.
pub const fn first_delete_tick(epoch: u64, kind: Kind) -> Tick {
    first_tick(epoch, kind) | (1 << 27)
}

/// The first tick after all kinds, of edges that records of several kinds may assert.
pub const fn first_epilogue_tick(epoch: u64) -> Tick {
    first_delete_tick(epoch, Kind::Release) | (1 << 26)
}

/// The kind whose ticks this is one of.
pub fn kind_of(tick: Tick) -> Kind {
    Kind::ALL[(tick >> 28) as usize & 3]
}

/// One worker's part of a block.
#[derive(Debug)]
pub struct Block {
    /// The block's tick; every worker gets its part of every block, in order.
    pub tick: Tick,
    /// Which dump it comes from.
    pub kind: Kind,
    /// The worker's records, in the order of the dump.
    pub records: Vec<Record>,
    /// At the last block of a kind: how the dump ended, and how many records the worker was given of it in all.
    pub ending: Option<Ending>,
}

/// One worker's end of the way from the reader.
#[derive(Debug)]
pub struct Inlet {
    /// Its parts of the blocks; closed when the reader has ended.
    pub blocks: Receiver<Block>,
    /// Where the worker leaves the handle by which the reader wakes its source operator.
    pub waker: Sender<SyncActivator>,
}
