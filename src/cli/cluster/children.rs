//! The processes that one process starts and supervises.

use std::env;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::ops::Range;
use std::os::unix::process::{CommandExt, ExitStatusExt, parent_id};
use std::process::{self, Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::NamedTempFile;
use uuid::Uuid;

use super::super::exit::Exit;
use crate::settings::{Key, LogFormat, SUPERVISOR_VARIABLE, Settings};

/// How long the others may take to end once one has: they find out within some seconds.
const LEAVING: Duration = Duration::from_secs(15);

/// How often it is looked whether one has ended.
const LOOK: Duration = Duration::from_millis(50);

/// The process that supervises this one.
pub fn supervisor() -> Option<u32> {
    env::var(SUPERVISOR_VARIABLE).ok()?.parse().ok()
}

/// Has this process end with the one that supervises it, however that ends.
pub fn end_with_supervisor() {
    let Some(supervisor) = supervisor() else { return };
    // A kernel that does not know this is none that runs anything else of today.
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
    // It may have ended before that.
    if parent_id() != supervisor {
        process::exit(Exit::Failed as i32);
    }
}

/// All processes of one refresh, process 0 first. None outlives this.
pub struct Children {
    all: Vec<One>,
    /// Who hands on what they say.
    lines: Vec<JoinHandle<()>>,
    /// When the first of them ended.
    since: Option<Instant>,
    /// The first that did not end well, or that a signal ended: the others see its end, and may be gone before it is.
    lost: Option<usize>,
    hosts: NamedTempFile,
}

struct One {
    child: Child,
    status: Option<ExitStatus>,
}

/// How they ended.
pub enum Ended {
    /// In a way that another start would not change.
    With(Exit),
    /// Otherwise, in words.
    Lost(String),
}

impl Children {
    /// Starts a refresh with these arguments and what says which process each is.
    pub fn start(settings: &Settings, given: &[OsString]) -> Result<Children> {
        let hosts = hosts(settings.processes).context("cannot write a hostfile")?;
        let mut children = Children { all: Vec::new(), lines: Vec::new(), since: None, lost: None, hosts };
        for process in 0..settings.processes {
            children.add(process, settings, given).with_context(|| format!("cannot start process {process}"))?;
        }
        Ok(children)
    }

    fn add(&mut self, process: usize, settings: &Settings, given: &[OsString]) -> io::Result<()> {
        let mut command = Command::new(env::current_exe()?);
        command.arg("refresh").arg(Key::Process.flag()).arg(process.to_string());
        command.arg(Key::Hostfile.flag()).arg(self.hosts.path()).args(given);
        command.env(SUPERVISOR_VARIABLE, process::id().to_string());
        // In a group of its own: Ctrl-C is for this process alone, which then asks each once.
        command.process_group(0).stdin(Stdio::null()).stderr(Stdio::piped());
        command.stdout(if process == 0 { Stdio::inherit() } else { Stdio::null() });
        let mut child = command.spawn()?;
        let stderr = child.stderr.take();
        self.all.push(One { child, status: None });
        let prefix = if settings.log_format == LogFormat::Json { String::new() } else { format!("[{process}] ") };
        let hand_on = move || stderr.into_iter().for_each(|stderr| hand_on(stderr, &prefix));
        self.lines.push(thread::Builder::new().name("lines".to_owned()).spawn(hand_on)?);
        Ok(())
    }

    /// Waits until all have ended. Where `stop` is set they are asked to. Those are killed that have not some time after another one.
    pub fn wait(mut self, stop: &AtomicBool) -> Result<Ended> {
        let mut asked = false;
        while self.look()? {
            if !asked && stop.load(Ordering::Relaxed) {
                asked = true;
                for one in self.all.iter().filter(|one| one.status.is_none()) {
                    // It has not been waited for, so the number is still its own.
                    kill(Pid::from_raw(one.child.id().try_into()?), Signal::SIGTERM).context("cannot ask a process to stop")?;
                }
            }
            // After a mistake nothing was begun that could have an end.
            let leaving = if self.any(Exit::Usage) { Duration::ZERO } else { LEAVING };
            if self.since.is_some_and(|since| since.elapsed() > leaving) {
                self.kill();
            }
            thread::sleep(LOOK);
        }
        // Their last words come before what is said of their end. One that panicked has said so.
        self.lines.drain(..).for_each(|lines| drop(lines.join()));
        Ok(self.judged(asked))
    }

    /// Notes who has ended; whether somebody has not.
    fn look(&mut self) -> io::Result<bool> {
        for (process, one) in self.all.iter_mut().enumerate().filter(|(_, one)| one.status.is_none()) {
            one.status = one.child.try_wait()?;
            if let Some(status) = one.status {
                self.since.get_or_insert_with(Instant::now);
                if status.signal().is_some() {
                    self.lost = Some(process);
                } else if !status.success() {
                    self.lost.get_or_insert(process);
                }
            }
        }
        Ok(self.all.iter().any(|one| one.status.is_none()))
    }

    /// Whether any ended so.
    fn any(&self, exit: Exit) -> bool {
        self.all.iter().any(|one| one.status.and_then(|status| status.code()) == Some(exit as i32))
    }

    fn kill(&mut self) {
        for (process, one) in self.all.iter_mut().enumerate().filter(|(_, one)| one.status.is_none()) {
            tracing::warn!("process {process} has not ended, and is killed");
            // Of no use where it ends just now.
            let _ = one.child.kill();
            one.status = one.child.wait().ok();
        }
    }

    fn judged(&self, asked: bool) -> Ended {
        let leader = self.all.first().and_then(|one| one.status?.code());
        match leader {
            _ if asked => Ended::With(Exit::Stopped),
            _ if self.any(Exit::Usage) => Ended::With(Exit::Usage),
            // All was done, whatever came of the others then.
            Some(0) => Ended::With(Exit::Complete),
            Some(3) => Ended::With(Exit::Incomplete),
            _ if self.any(Exit::Stopped) => Ended::With(Exit::Stopped),
            _ => Ended::Lost(self.words()),
        }
    }

    /// How the first ended that did not end well.
    fn words(&self) -> String {
        let process = self.lost.unwrap_or_default();
        let Some(status) = self.all.get(process).and_then(|one| one.status) else { return format!("process {process} is gone") };
        match (status.signal().and_then(|signal| Signal::try_from(signal).ok()), status.code()) {
            (Some(signal), _) => format!("process {process} was ended by {signal}"),
            (None, Some(code)) => format!("process {process} ended with status {code}"),
            (None, None) => format!("process {process} ended: {status}"),
        }
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Ports below those that systems give to outgoing connections: one of these could take what was free a moment ago.
const PORTS: Range<u16> = 10_000..30_000;

/// A hostfile for so many processes on this machine, with ports that were free just now.
fn hosts(processes: usize) -> io::Result<NamedTempFile> {
    let number = PORTS.len() as u128;
    // Whoever else looks for some begins elsewhere.
    let first = Uuid::new_v4().as_u128() % number;
    let ports = (0..number).map(|port| PORTS.start + ((first + port) % number) as u16);
    let taken: Vec<_> = ports.filter_map(|port| TcpListener::bind(("127.0.0.1", port)).ok()).take(processes).collect();
    let mut file = tempfile::Builder::new().prefix("discodiff-hosts-").tempfile()?;
    taken.iter().try_for_each(|listener| writeln!(file, "{}", listener.local_addr()?))?;
    Ok(file)
}

/// Hands on what a process says, line by line, so that no line is within another.
fn hand_on(stderr: impl Read, prefix: &str) {
    let (mut stderr, mut line) = (BufReader::new(stderr), prefix.as_bytes().to_vec());
    while stderr.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        if !line.ends_with(b"\n") {
            line.push(b'\n');
        }
        // In one piece. Nobody is left who could be told that it failed.
        let _ = io::stderr().lock().write_all(&line);
        line.truncate(prefix.len());
    }
}
