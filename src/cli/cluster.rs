//! Several processes with one command: found, led, and told how it ended.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result};

use super::exit::Exit;
use super::open;
use crate::cluster::{self, Cluster};
use crate::model::Peers;
use crate::refresh::{Request, Sources, led};
use crate::settings::Settings;
use crate::sinks::Access;
use crate::sources::StoppedOnRequest;
use crate::telemetry::words;

/// Finds the other processes; `None` where there are none.
pub fn assemble(settings: &Settings) -> Result<Option<Arc<Cluster>>> {
    if settings.processes == 1 {
        return Ok(None);
    }
    let hostfile = settings.hostfile.as_deref().context("no hostfile was named")?;
    let hosts = cluster::hosts(hostfile, settings.processes)?;
    let terms = cluster::terms(Peers { processes: settings.processes, workers: settings.workers }, settings.common())?;
    Ok(Some(Arc::new(Cluster::assemble(settings.process, &terms, hosts)?)))
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
