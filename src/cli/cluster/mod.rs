//! Several processes with one command: found, led, and told how it ended; and `discodiff cluster`, which starts them.

mod children;
mod up;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};

pub use children::end_with_supervisor;

use super::exit::Exit;
use super::open;
use crate::cluster::{self, Cluster};
use crate::model::Peers;
use crate::refresh::{Request, Sources, led};
use crate::settings::{Mistakes, Settings};
use crate::sinks::Access;
use crate::sources::StoppedOnRequest;
use crate::telemetry::words;

const EXAMPLES: &str = "\
Examples:
  discodiff cluster up --processes 3 --dumps 2025-12 --state state --null
      apply a month by three processes on this machine

Where each process is to run on a machine of its own, start each by itself: refresh --processes 3
--process 0 --hostfile hosts, and so on.";

/// What `discodiff cluster` takes.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ClusterArgs {
    /// What to do.
    #[command(subcommand)]
    pub act: Act,
}

/// What can be done with several processes.
#[derive(Clone, Debug, Subcommand)]
pub enum Act {
    /// Start all processes of a refresh here, and again where one is lost; it takes what refresh takes
    Up(Box<up::UpArgs>),
}

impl ClusterArgs {
    /// The settings, or everything that is wrong with them.
    pub fn settings(&self) -> Result<Settings, Mistakes> {
        let Act::Up(args) = &self.act;
        args.settings()
    }
}

/// Does what was asked for.
pub fn run(settings: &Settings) -> Result<Exit> {
    up::run(settings)
}

/// One address cannot be several processes': of those that are supervised here, process 0 alone is watched.
pub fn settle(settings: &mut Settings) {
    if settings.process > 0 && children::supervisor().is_some() {
        (settings.listen, settings.metrics_file) = (None, None);
    }
}

/// Finds the other processes; `None` where there are none.
pub fn assemble(settings: &Settings) -> Result<Option<Arc<Cluster>>> {
    if settings.processes == 1 {
        return Ok(None);
    }
    let hostfile = settings.hostfile.as_deref().context("no hostfile was named")?;
    let hosts = cluster::hosts(hostfile, settings.processes)?;
    let terms = cluster::terms(Peers { processes: settings.processes, workers: settings.workers }, settings.common())?;
    Ok(Some(Arc::new(Cluster::assemble(settings.process, &terms, hosts, open::stop_requested())?)))
}

/// Does this process's part of a command: process 0 leads, and `work` is its part. However that ends, the others are told.
pub fn together(request: Request, settings: &Settings, work: impl FnOnce(Request) -> Result<Exit>) -> Result<Exit> {
    let Some(cluster) = request.cluster.clone() else { return work(request) };
    let stop = Arc::clone(&request.stop);
    let done = if cluster.leads() { work(request) } else { follow(&request, &cluster, settings) };
    // Whatever came of it first, here or elsewhere.
    let done = done.map_err(|error| if stop.load(Ordering::Relaxed) { StoppedOnRequest.into() } else { error });
    let [sent, received] = [&cluster.traffic.sent, &cluster.traffic.received].map(|bytes| words::bytes(bytes.load(Ordering::Relaxed)));
    tracing::info!("exchanged with other processes: {sent} sent, {received} received");
    match &done {
        Ok(_) if cluster.leads() => cluster.finish(),
        Ok(_) => {}
        Err(error) => cluster.fail(error),
    }
    done
}

fn follow(request: &Request, cluster: &Cluster, settings: &Settings) -> Result<Exit> {
    let open = || open::sinks(settings, Access::Read);
    if settings.kafka {
        led(request, cluster, &Sources::Topics(&settings.topics()?), open)?;
    } else {
        led(request, cluster, &Sources::Dumps(settings.dumps_dir()?), open)?;
    }
    Ok(Exit::Complete)
}
