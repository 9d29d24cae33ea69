//! timely's workers, of this process alone or connected with those of others.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use crossbeam_channel::{RecvTimeoutError, bounded};
use timely::communication::allocator::ProcessBuilder;
use timely::communication::allocator::zero_copy::initialize::{CommsGuard, initialize_networking_from_sockets};
use timely::communication::{AllocatorBuilder, Hooks};
use uuid::Uuid;

use crate::cluster::Cluster;
use crate::sources::Stop;

/// Emptied buffers of a MiB that each of timely's threads keeps: all of them, unless it is told.
const BUFFERS: usize = 4;

/// How long the last of what was exchanged may take to arrive: nothing depends on it any more.
const FAREWELL: Duration = Duration::from_secs(5);

/// Workers of the only process.
pub fn alone(workers: usize) -> Result<Vec<AllocatorBuilder>> {
    let config = if workers == 1 { timely::Config::thread() } else { timely::Config::process(workers) };
    let (allocators, _) = config.communication.try_build().map_err(anyhow::Error::msg)?;
    Ok(allocators)
}

/// Workers that exchange with those of all other processes.
pub fn with_others(cluster: &Cluster, run: Uuid, stop: &Stop) -> Result<(Vec<AllocatorBuilder>, Connected)> {
    let links = cluster.links(run, stop)?;
    let mut hooks = Hooks::default();
    hooks.refill.limit = Some(BUFFERS);
    let workers = cluster.peers.workers;
    // Within a process nothing is written out and read again.
    let within = ProcessBuilder::new_typed_vector(workers, hooks.refill.clone(), None);
    let (allocators, comms) = initialize_networking_from_sockets(within, links, cluster.process, workers, hooks)
        .context("cannot start the threads that exchange with other processes")?;
    Ok((allocators.into_iter().map(AllocatorBuilder::Tcp).collect(), Connected(comms)))
}

/// timely's threads that talk to other processes.
pub struct Connected(CommsGuard);

impl Connected {
    /// Waits until all was sent and the others have ended too. Where the run has failed, or one of them does not end, the threads are left
    /// behind, as they may wait for ever.
    pub fn end(self, stop: &Stop) {
        let (done, ended) = bounded::<()>(0);
        let joining = thread::Builder::new().name("farewell".to_owned()).spawn(move || {
            let _done = done;
            drop(self.0);
        });
        let begun = Instant::now();
        while joining.is_ok() && !stop.is_set() && begun.elapsed() < FAREWELL {
            if ended.recv_timeout(Duration::from_millis(20)) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
        }
    }
}
