//! Looks at a run from beside it: whether it moves, what it takes of the machine, and the file of metrics that outlives it.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::metrics::{For, metrics};
use super::resources::Resources;
use super::stages::Measures;

/// Often enough to tell within some seconds that nothing moves.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often resources are logged and the file is written: what a scrape a minute would see.
const TELL_EVERY: Duration = Duration::from_secs(30);

/// The monitor; dropped, it ends.
#[derive(Debug)]
pub struct Monitor {
    thread: Option<(Sender<()>, JoinHandle<()>)>,
    file: Option<MetricsFile>,
    measures: Arc<Measures>,
}

impl Monitor {
    /// Begins to look. Fails where the file cannot be written.
    pub fn start(measures: Arc<Measures>, file: Option<&Path>) -> io::Result<Monitor> {
        let file = file.map(|path| metrics_file(path, measures.course().command).map(MetricsFile)).transpose()?;
        // From here on the file says that a run is on: should it never say more, the run has died.
        file.iter().try_for_each(|file| file.write(&measures))?;
        let (sender, stop) = bounded(0);
        let (of_thread, file_of_thread) = (Arc::clone(&measures), file.clone());
        let span = tracing::Span::current();
        let watch = move || span.in_scope(|| watch(&of_thread, file_of_thread.as_ref(), &stop));
        let thread = thread::Builder::new().name("monitor".to_owned()).spawn(watch)?;
        Ok(Monitor { thread: Some((sender, thread)), file, measures })
    }

    /// Ends, with the run: the file says how.
    pub fn end(mut self) {
        self.join();
        if let Some(file) = &self.file
            && let Err(error) = file.write(&self.measures)
        {
            tracing::warn!("{error}");
        }
    }

    fn join(&mut self) {
        if let Some((sender, thread)) = self.thread.take() {
            drop(sender);
            // One that panicked has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.join();
    }
}

fn watch(measures: &Measures, file: Option<&MetricsFile>, stop: &Receiver<()>) {
    let mut told = (Instant::now(), Resources::now());
    let mut complained = false;
    while stop.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
        measures.pulse().look(measures);
        measures.gather();
        if told.0.elapsed() < tell_every() {
            continue;
        }
        let now = (Instant::now(), Resources::now());
        if let (Some(before), Some(resources)) = (told.1, now.1) {
            tell(&resources, resources.cpu.saturating_sub(before.cpu).as_secs_f64() / now.0.duration_since(told.0).as_secs_f64());
        }
        told = now;
        match file.map_or(Ok(()), |file| file.write(measures)) {
            Err(error) if !complained => {
                complained = true;
                tracing::warn!("{error}");
            }
            _ => {}
        }
    }
}

/// [`TELL_EVERY`], but in tests.
fn tell_every() -> Duration {
    fail::fail_point!("tell-every", |millis| Duration::from_millis(millis.and_then(|millis| millis.parse().ok()).unwrap_or(1)));
    TELL_EVERY
}

/// A line among those of progress; on a terminal, which has bars instead, only where more is asked for.
fn tell(resources: &Resources, cores: f64) {
    let cores = (cores * 100.0).round() / 100.0;
    let mebibytes = resources.memory.map(|(resident, _)| resident >> 20);
    let (open_files, threads) = (resources.open_files, resources.threads);
    if io::stderr().is_terminal() {
        tracing::debug!(cpu_cores = cores, memory_mib = mebibytes, open_files, threads, "resources");
    } else {
        tracing::info!(cpu_cores = cores, memory_mib = mebibytes, open_files, threads, "resources");
    }
}

/// Where a command's metrics are kept: in a folder each has a file of its own, so that none takes away how another ended.
pub fn metrics_file(path: &Path, command: &str) -> io::Result<PathBuf> {
    if path.is_dir() {
        return Ok(path.join(format!("discodiff-{command}.prom")));
    }
    if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("there is no folder {}; make it first", path.display())));
    }
    Ok(path.to_owned())
}

/// A file in Prometheus' text format, for the textfile collector of node_exporter.
#[derive(Clone, Debug)]
struct MetricsFile(PathBuf);

impl MetricsFile {
    /// Puts the metrics as they are now in place, whole. Who collects them is another user, so all may read it.
    fn write(&self, measures: &Measures) -> io::Result<()> {
        let path = &self.0;
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let temporary = path.with_file_name(name);
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&temporary)
            // Whatever the umask.
            .and_then(|file| file.set_permissions(Permissions::from_mode(0o644)).map(|()| file))
            .and_then(|mut file| file.write_all(metrics(measures, For::File).as_bytes()))
            .and_then(|()| fs::rename(&temporary, path));
        written.map_err(|error| {
            let advice = crate::disk::advice(&error);
            io::Error::new(error.kind(), format!("the metrics cannot be written to {}: {error}{advice}", path.display()))
        })
    }
}
