//! What processes beside the first do, and what the first tells them.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use super::apply::{Applied, Kept, Target, apply};
use super::checkpoints::adopt_texts;
use super::dataflow::SavedLinks;
use super::{Plan, Request};
use crate::cluster::Cluster;
use crate::dataflows::Findings;
use crate::model::graph::Dictionary;
use crate::model::{Kind, PerKind};
use crate::sinks::driver::{Missed, Report};
use crate::sinks::{Run, Sink, Writers};
use crate::sources::kafka::{Attempt, Stretch, Topics};
use crate::sources::{DumpFile, Place, Snapshot};
use crate::state::{Checkpoint, Manifest, Part, State, Storage, load_dictionary};
use crate::telemetry::Phase;

/// What one run of all processes is.
#[derive(Serialize, Deserialize)]
pub(super) struct Task {
    /// Its name among them.
    pub run: Uuid,
    manifest: Manifest,
    plan: Plan,
    month: String,
    sources: PerKind<Option<Source>>,
    /// Of each sink, in their order: its name, what it needs to know, and its pass; `None`: only process 0 writes to it.
    sinks: Vec<(String, Run, Option<String>)>,
    /// Whether links are kept.
    keeps_links: bool,
    /// What checkpoints go on from, if any are taken.
    checkpoint: Option<Checkpoint>,
}

/// A dump as other processes find it.
#[derive(Serialize, Deserialize)]
struct Source {
    name: String,
    bytes: u64,
    sha256: String,
    /// What its beginning and end are, where it is a file: a gzip file ends with a checksum of all that is in it.
    ends: Option<u64>,
    /// Where it is read from topics: what was published, and why its records cannot be counted.
    topic: Option<(Attempt, Option<String>)>,
}

/// What one process came to.
#[derive(Serialize, Deserialize)]
struct Outcome {
    findings: Findings,
    parts: Vec<Part>,
    links: Vec<SavedLinks>,
    reports: Vec<Report>,
    peak_in_flight: usize,
}

impl Outcome {
    /// As JSON, but for the codes of texts that are used in its links: there may be as many millions as records.
    fn write(&mut self) -> Result<Vec<u8>> {
        let mut used = RoaringBitmap::new();
        self.links.iter_mut().for_each(|part| used |= std::mem::take(&mut part.used));
        let mut bits = Vec::with_capacity(used.serialized_size());
        used.serialize_into(&mut bits)?;
        Ok(bincode::serialize(&(serde_json::to_vec(self)?, bits))?)
    }

    fn read(bytes: &[u8]) -> Result<Outcome> {
        let (json, bits): (Vec<u8>, Vec<u8>) = bincode::deserialize(bytes)?;
        let mut outcome: Outcome = serde_json::from_slice(&json)?;
        if let Some(first) = outcome.links.first_mut() {
            first.used = RoaringBitmap::deserialize_from(&bits[..])?;
        }
        Ok(outcome)
    }
}

impl Task {
    /// What the others are told of a run that was begun here.
    pub(super) fn of(manifest: &Manifest, plan: &Plan, snapshot: &Snapshot, sinks: &[(&dyn Sink, &Run)], kept: &Kept) -> Result<Task> {
        let mut sources = PerKind::default();
        for (kind, file) in snapshot.files.iter().filter(|(kind, _)| plan.read[*kind]) {
            let Some(file) = file else { continue };
            let (ends, topic) = match &file.place {
                Place::File(path) => (Some(ends_of(path)?), None),
                Place::Topic(stretch) => (None, Some((stretch.attempt.clone(), stretch.uncounted().map(str::to_owned)))),
                Place::Unmarked(_) => bail!(UNMARKED),
            };
            sources[kind] = Some(Source { name: file.name.clone(), bytes: file.bytes, sha256: file.sha256.clone(), ends, topic });
        }
        let sinks = sinks.iter().map(|(sink, run)| (sink.name().to_owned(), (*run).clone(), sink.pass())).collect();
        let (manifest, plan, checkpoint) = (manifest.clone(), plan.clone(), kept.checkpoint.clone());
        let (run, month, keeps_links) = (Uuid::new_v4(), snapshot.month.clone(), kept.links.is_some());
        Ok(Task { run, manifest, plan, month, sources, sinks, keeps_links, checkpoint })
    }

    /// Tells the others.
    pub(super) fn assign(&self, cluster: &Cluster) -> Result<()> {
        cluster.assign(&serde_json::to_vec(self)?)
    }
}

const UNMARKED: &str = "topics that another program fills are read by one process: leave out --processes";

/// Whether several processes can do what is planned; an error says why not.
pub(super) fn suits(cluster: &Cluster, plan: &Plan, snapshot: &Snapshot, sinks: &[Box<dyn Sink>]) -> Result<()> {
    if let Some(sink) = sinks.iter().find(|sink| sink.writers() == Writers::Alone) {
        bail!("{} is written to by one process only, and several were asked for: leave out --processes, or name other sinks", sink.name());
    }
    for (_, file) in snapshot.files.iter().filter(|(kind, _)| plan.read[*kind]) {
        match file.as_ref().map(|file| &file.place) {
            Some(Place::Topic(stretch)) => shared_evenly(cluster, stretch)?,
            Some(Place::Unmarked(_)) => bail!(UNMARKED),
            Some(Place::File(_)) | None => {}
        }
    }
    Ok(())
}

fn shared_evenly(cluster: &Cluster, stretch: &Stretch) -> Result<()> {
    let (partitions, processes) = (stretch.attempt.begins.len(), cluster.peers.processes);
    if partitions.is_multiple_of(processes) {
        return Ok(());
    }
    let right: Vec<_> = (2..=partitions).filter(|number| partitions.is_multiple_of(*number)).map(|number| number.to_string()).collect();
    bail!(
        "the {} partitions of {} cannot be shared by {processes} processes so that each has whole ones: say --processes {}",
        partitions,
        stretch.topics.of(stretch.attempt.kind),
        right.join(" or ")
    );
}

/// Adds what the other processes came to.
pub(super) fn gather(cluster: &Cluster, stop: &AtomicBool, applied: &mut Applied) -> Result<()> {
    for (process, outcome) in (1..).zip(cluster.outcomes(stop)?) {
        let outcome = Outcome::read(&outcome).with_context(|| format!("what process {process} came to cannot be read"))?;
        applied.findings.merge(outcome.findings);
        applied.parts.extend(outcome.parts);
        applied.links.extend(outcome.links);
        for (report, other) in applied.reports.iter_mut().zip(outcome.reports) {
            report.tally += other.tally;
            other.undelivered.iter().for_each(|(kind, undelivered)| report.undelivered[kind] += undelivered);
        }
        applied.peak_in_flight = applied.peak_in_flight.max(outcome.peak_in_flight);
    }
    Ok(())
}

/// Where a process finds what the first one names.
pub enum Sources<'a> {
    /// Files in this folder.
    Dumps(&'a Path),
    /// Topics there.
    Topics(&'a Topics),
}

/// Does what process 0 assigns, until there is no more. `open` opens the sinks, for each run anew, for reading.
pub fn led(
    request: &Request,
    cluster: &Cluster,
    sources: &Sources<'_>,
    mut open: impl FnMut() -> Result<Vec<Box<dyn Sink>>>,
) -> Result<u64> {
    let mut runs = 0;
    loop {
        request.measures.course().enter(Phase::Waiting);
        let Some(task) = cluster.next_task(&request.stop)? else { return Ok(runs) };
        let task: Task = serde_json::from_slice(&task).context("what process 0 asks for cannot be read")?;
        let begun = Instant::now();
        request.measures.begin();
        request.measures.shows(&request.progress);
        request.measures.course().applies(task.plan.epoch.number, &task.month);
        let _epoch = tracing::error_span!("epoch", epoch = task.plan.epoch.number, month = task.month).entered();
        let mut sinks = open()?;
        let mut outcome = one(request, &task, sources, &mut sinks)?;
        sinks.iter_mut().try_for_each(|sink| sink.close())?;
        cluster.report(&outcome.write()?)?;
        runs += 1;
        tracing::info!("its part of {} was applied in {:.1} s", task.month, begun.elapsed().as_secs_f64());
    }
}

fn one(request: &Request, task: &Task, sources: &Sources<'_>, sinks: &mut [Box<dyn Sink>]) -> Result<Outcome> {
    if State::run_in(&request.state)? != Some(task.run) {
        bail!("{} is not where process 0 keeps the state: all processes need the same folder, or bucket and prefix", request.state);
    }
    let names = sinks.iter().map(|sink| sink.name());
    if !names.eq(task.sinks.iter().map(|(name, ..)| name.as_str())) {
        bail!("process 0 writes to other sinks than this process was told of");
    }
    let first = request.first();
    let workers = first.worker..first.worker + first.peers.workers;
    let mut targets = Vec::with_capacity(sinks.len());
    for (sink, (_, run, pass)) in sinks.iter_mut().zip(&task.sinks) {
        let writers = pass.as_ref().map_or_else(|| Ok(Vec::new()), |pass| sink.join(run, pass, workers.clone()))?;
        let (name, by, holds) = (sink.name(), sink.writers(), sink.holds());
        targets.push(Target { name, by, holds, run: run.clone(), writers, missed: Missed::default() });
    }
    let mut files = PerKind::default();
    for (kind, source) in task.sources.iter() {
        files[kind] = source.as_ref().map(|source| found(source, kind, sources)).transpose()?;
    }
    let snapshot = Snapshot { month: task.month.clone(), files };
    let links = if task.keeps_links { Some(Arc::new(dictionary(&request.state, task)?)) } else { None };
    let kept = Kept { save: true, links, checkpoint: task.checkpoint.clone(), run: Some(task.run) };
    let Applied { findings, parts, links, reports, peak_in_flight, .. } =
        apply(request, &snapshot, &task.plan, &task.manifest, &request.state, targets, kept)?;
    Ok(Outcome { findings, parts, links, reports, peak_in_flight })
}

/// The codes that the state and the run that is taken up have; process 0 gives all others.
fn dictionary(storage: &Storage, task: &Task) -> Result<Dictionary> {
    let dictionary = load_dictionary(storage, &task.manifest)?.following();
    if let Some(checkpoint) = &task.checkpoint {
        adopt_texts(storage, &task.manifest, checkpoint, &dictionary)?;
    }
    Ok(dictionary)
}

/// A digest of a file's first and last bytes.
fn ends_of(path: &Path) -> Result<u64> {
    const SIZE: u64 = 1 << 16;
    let read = || {
        let (mut file, mut bytes) = (File::open(path)?, Vec::new());
        file.by_ref().take(SIZE).read_to_end(&mut bytes)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(SIZE)))?;
        file.take(SIZE).read_to_end(&mut bytes)?;
        std::io::Result::Ok(xxh3_64(&bytes))
    };
    read().with_context(|| format!("cannot read {}", path.display()))
}

fn found(source: &Source, kind: Kind, sources: &Sources<'_>) -> Result<DumpFile> {
    let place = match (&source.topic, sources) {
        (None, Sources::Dumps(folder)) => {
            let path = folder.join(&source.name);
            let found = std::fs::metadata(&path).with_context(|| format!("cannot read {}, which process 0 reads", path.display()))?.len();
            if found != source.bytes {
                bail!(
                    "{} has {found} bytes, and what process 0 reads has {}: each process needs the same dumps",
                    path.display(),
                    source.bytes
                );
            }
            if Some(ends_of(&path)?) != source.ends {
                bail!("{} is not what process 0 reads, though as long: each process needs the same dumps", path.display());
            }
            Place::File(path)
        }
        (Some((attempt, uncounted)), Sources::Topics(topics)) => {
            Place::Topic(Arc::new(Stretch::known((*topics).clone(), attempt.clone(), uncounted.clone())))
        }
        _ => bail!("process 0 reads from elsewhere than this process was told of"),
    };
    let Source { name, bytes, sha256, .. } = source;
    let (name, bytes, sha256) = (name.clone(), *bytes, sha256.clone());
    Ok(DumpFile { kind, place, name, bytes, sha256, unproven: None, stamp: String::new(), checksum_agrees: None })
}
