//! Several processes that work as one: they find each other, agree, tell of their ends, and connect timely's workers.
//!
//! ```text
//!   process 0                                              process 1, 2, ...
//!      │ <──────────── control: Terms ───────────────────────── │   once, up to a deadline
//!      │ ───────────── agreed, or why not ────────────────────> │
//!      │ ═════════════ control: a sign of life each 0.5 s ═════ │   silence of 5 s, or an end: all end, with words
//!      │ ───────────── Task ──────────────────────────────────> │   one a snapshot
//!      │ <──────────── asides: checkpoints ───────────────────> │
//!      │ <──────────── Ready, and to all: Connect ────────────> │   however long it takes to make ready
//!      │ <════════════ timely, each with each ════════════════> │   progress, tallies, verdicts; for a graph nodes and edges: no record
//!      │ <──────────── Outcome, or Failed ───────────────────── │
//!      │ ───────────── Finished ──────────────────────────────> │
//! ```
//!
//! Whoever can connect to these ports can take part: they belong into a network of their own.

mod control;
mod door;
mod hostfile;
mod link;
mod message;

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::net::TcpStream;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use xxhash_rust::xxh3::Xxh3;

use crate::model::Peers;
use crate::sources::{Stop, StoppedOnRequest};
use control::{Control, Message};
use door::{Door, knock};
pub use hostfile::hosts;
pub use link::{Link, Traffic};
pub use message::Terms;
use message::{MAGIC, Opening, Purpose, receive, send};

/// How long it is waited for all processes: machines that are started together differ by less.
const ASSEMBLING: Duration = Duration::from_secs(120);

/// [`ASSEMBLING`], but in tests.
fn assembling() -> Duration {
    fail::fail_point!("assembling", |seconds| Duration::from_secs(seconds.and_then(|seconds| seconds.parse().ok()).unwrap_or(1)));
    ASSEMBLING
}

/// How long a process that was not answered waits before it tries again.
const AGAIN: Duration = Duration::from_millis(500);

/// How often who waits looks whether it is of any use still.
const LOOK: Duration = Duration::from_millis(100);

const UNLED: &str = "process 0 does not lead this process";

/// How long it is waited for the others to end too.
const LEAVING: Duration = Duration::from_secs(2);

/// How long all may take to connect for a run, once all are ready. Who is lost is found sooner.
const CONNECTING: Duration = Duration::from_secs(60);

/// A process's part in a cluster.
#[derive(Debug)]
pub struct Cluster {
    /// This process.
    pub process: usize,
    /// All workers.
    pub peers: Peers,
    /// Bytes between this process and all others, but for messages.
    pub traffic: Arc<Traffic>,
    hosts: Vec<String>,
    door: Door,
    controls: Vec<Control>,
    messages: Receiver<(usize, Message)>,
    asides: Receiver<(usize, Vec<u8>)>,
    shared: Arc<Shared>,
}

/// Where what is heard goes.
#[derive(Clone)]
struct Heard {
    messages: Sender<(usize, Message)>,
    asides: Sender<(usize, Vec<u8>)>,
}

#[derive(Debug, Default)]
struct Shared(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Why the cluster is no more.
    over: Option<Over>,
    /// What is to be stopped then.
    run: Option<Stop>,
    /// All was done: nobody is missed any more.
    finished: bool,
}

/// Why a cluster is no more.
#[derive(Clone, Debug)]
enum Over {
    Failed(String),
    /// Somebody wanted it to stop.
    Stopped,
}

impl Over {
    fn error(&self) -> anyhow::Error {
        match self {
            Over::Failed(words) => anyhow!(words.clone()),
            Over::Stopped => StoppedOnRequest.into(),
        }
    }
}

impl Shared {
    fn end(&self, why: Over) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.finished {
            return;
        }
        let error = inner.over.get_or_insert(why).error();
        if let Some(run) = &inner.run {
            run.fail(error);
        }
    }

    fn watch(&self, run: Stop) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(over) = &inner.over {
            run.fail(over.error());
        }
        inner.run = Some(run);
    }

    fn finish(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).finished = true;
    }

    fn why(&self) -> Option<anyhow::Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).over.as_ref().map(Over::error)
    }
}

/// What process 0 answers to the terms of another.
#[derive(Serialize, Deserialize)]
enum Answer {
    Agreed,
    Refused(String),
    /// Somebody wants process 0 to stop.
    Stopped,
}

impl Cluster {
    /// Finds the other processes. Process 0 waits for all and compares what they were told; an error says who is missing, or who differs
    /// in what. `stop`: the user wants this process to stop.
    pub fn assemble(process: usize, terms: &Terms, hosts: Vec<String>, stop: &AtomicBool) -> Result<Cluster> {
        let (peers, deadline) = (terms.peers, Instant::now() + assembling());
        let door = Door::open(&hosts[process])?;
        let ((for_messages, messages), (for_asides, asides)) = (unbounded(), unbounded());
        let heard = Heard { messages: for_messages, asides: for_asides };
        let (traffic, controls, shared) = (Arc::default(), Vec::new(), Arc::default());
        let mut cluster = Cluster { process, peers, traffic, hosts, door, controls, messages, asides, shared };
        if process == 0 {
            let found = cluster.gather(terms, deadline, stop)?;
            cluster.door.close();
            for (other, socket) in found {
                cluster.controls.push(cluster.control(other, socket, heard.clone())?);
            }
        } else {
            let socket = cluster.join(terms, deadline, stop);
            let socket = if stop.load(Ordering::Relaxed) { Err(StoppedOnRequest.into()) } else { socket };
            let socket = socket.map_err(|error| if error.is::<StoppedOnRequest>() { error } else { error.context(UNLED) })?;
            cluster.controls.push(cluster.control(0, socket, heard)?);
        }
        Ok(cluster)
    }

    /// Whether this process leads the others.
    pub fn leads(&self) -> bool {
        self.process == 0
    }

    fn others(&self) -> Range<usize> {
        1..self.peers.processes
    }

    fn gather(&self, terms: &Terms, deadline: Instant, stop: &AtomicBool) -> Result<Vec<(usize, TcpStream)>> {
        let mut found: Vec<(usize, TcpStream)> = Vec::new();
        let all_agree = self.compare(terms, deadline, stop, &mut found);
        let answer = match &all_agree {
            Ok(()) => Answer::Agreed,
            Err(error) if error.is::<StoppedOnRequest>() => Answer::Stopped,
            Err(error) => Answer::Refused(format!("{error:#}")),
        };
        for (process, socket) in &mut found {
            let told = send(socket, &answer);
            if all_agree.is_ok() {
                told.with_context(|| format!("process {process} is gone"))?;
            }
        }
        all_agree.map(|()| found)
    }

    /// Takes those who come into `found`, until all are there.
    fn compare(&self, terms: &Terms, deadline: Instant, stop: &AtomicBool, found: &mut Vec<(usize, TcpStream)>) -> Result<()> {
        while found.len() < self.others().len() {
            let Some((process, mut socket)) = self.door.led(LOOK) else {
                if stop.load(Ordering::Relaxed) {
                    return Err(StoppedOnRequest.into());
                }
                if Instant::now() < deadline {
                    continue;
                }
                let missing = self.others().filter(|process| !found.iter().any(|(other, _)| other == process));
                let named: Vec<_> = missing.map(|process| format!("process {process} ({})", self.hosts[process])).collect();
                bail!("{} did not come within {} s", named.join(", "), assembling().as_secs());
            };
            let theirs: Terms = match receive(&mut socket) {
                Ok(terms) => terms,
                Err(error) => {
                    tracing::warn!("process {process} connected and said nothing that can be read: {error}");
                    continue;
                }
            };
            let wrong = if !self.others().contains(&process) {
                Some(format!("there is no process {process} among {}", self.peers.processes))
            } else if found.iter().any(|(other, _)| *other == process) {
                Some(format!("two processes were told to be process {process}"))
            } else {
                terms.differ(process, &theirs)
            };
            found.push((process, socket));
            if let Some(words) = wrong {
                bail!(words);
            }
            tracing::info!("process {process} is here");
        }
        Ok(())
    }

    fn join(&self, terms: &Terms, deadline: Instant, stop: &AtomicBool) -> Result<TcpStream> {
        let opening = Opening { magic: MAGIC, purpose: Purpose::Control, process: self.process };
        loop {
            let mut socket = knock(&self.hosts[0], opening, deadline, || stop.load(Ordering::Relaxed))?;
            // A little more, so that it can say who is missing.
            let over = || stop.load(Ordering::Relaxed) || Instant::now() > deadline + LEAVING;
            match send(&mut socket, terms).and_then(|()| answered(&socket, over)).and_then(|()| receive(&mut socket)) {
                Ok(Answer::Agreed) => return Ok(socket),
                Ok(Answer::Refused(words)) => bail!(words),
                Ok(Answer::Stopped) => return Err(StoppedOnRequest.into()),
                // It was one that is ending, or has begun without this process.
                Err(error) if over() || Instant::now() > deadline => return Err(error).context("it has not answered"),
                Err(_) => thread::sleep(AGAIN),
            }
        }
    }

    fn control(&self, other: usize, socket: TcpStream, to: Heard) -> Result<Control> {
        let shared = Arc::clone(&self.shared);
        Control::start(other, socket, move |heard| match heard {
            // Nobody takes it between tasks.
            Ok(Message::Aside(words)) => drop(to.asides.send((other, words))),
            Ok(message) => {
                match &message {
                    // Without waiting for who takes messages: the run is to end at once.
                    Message::Failed(words) => shared.end(Over::Failed(format!("process {other}: {words}"))),
                    Message::Stopped => shared.end(Over::Stopped),
                    Message::Finished => shared.finish(),
                    _ => {}
                }
                // Nobody takes them any more when this process is about to end.
                let _ = to.messages.send((other, message));
            }
            Err(words) => shared.end(Over::Failed(format!("process {other}: {words}"))),
        })
    }

    /// An error where the cluster is no more, for who waits for something else.
    pub fn check(&self) -> Result<()> {
        self.shared.why().map_or(Ok(()), Err)
    }

    /// Has the end of the cluster, however that comes, stop a run.
    pub fn watch(&self, run: &Stop) {
        self.shared.watch(run.clone());
    }

    /// Tells the others what is to be done. Process 0 only.
    pub fn assign(&self, task: &[u8]) -> Result<()> {
        self.say(&Message::Task(task.to_vec()))
    }

    /// What is to be done next; `None`: nothing any more. `stop`: the user wants this process to stop.
    pub fn next_task(&self, stop: &AtomicBool) -> Result<Option<Vec<u8>>> {
        match self.take(|| stop.load(Ordering::Relaxed))? {
            (_, Message::Task(task)) => Ok(Some(task)),
            (_, Message::Finished) => Ok(None),
            (process, _) => Err(misplaced(process)),
        }
    }

    /// Tells process 0 what this one came to.
    pub fn report(&self, outcome: &[u8]) -> Result<()> {
        self.say(&Message::Outcome(outcome.to_vec()))
    }

    /// Tells the others why this process ends before all is done: their runs end too.
    pub fn fail(&self, error: &anyhow::Error) {
        self.warn(error);
        self.leave();
    }

    /// The same before this process has let go of all that it holds.
    pub fn warn(&self, error: &anyhow::Error) {
        let message = if error.is::<StoppedOnRequest>() { Message::Stopped } else { Message::Failed(format!("{error:#}")) };
        self.tell(&message);
    }

    /// Tells the others that nothing more is to be done.
    pub fn finish(&self) {
        self.shared.finish();
        self.tell(&Message::Finished);
        self.leave();
    }

    /// Waits until the others have gone too, but not long: what they have not read of a process that ends first may be lost.
    fn leave(&self) {
        self.controls.iter().for_each(Control::close);
        let begun = Instant::now();
        while begun.elapsed() < LEAVING && self.messages.recv_timeout(LEAVING) != Err(RecvTimeoutError::Disconnected) {}
    }

    fn say(&self, message: &Message) -> Result<()> {
        self.controls.iter().try_for_each(|control| control.send(message).map_err(|error| self.gone(control.process, &error)))
    }

    /// Says something to who does the same task there: to all, or from another process to process 0. Whoever is gone is told of elsewhere.
    pub fn say_aside(&self, words: &[u8]) {
        self.tell(&Message::Aside(words.to_vec()));
    }

    /// Each for itself: whoever does not hear it any more has gone, or sees this process go.
    fn tell(&self, message: &Message) {
        self.controls.iter().for_each(|control| drop(control.send(message)));
    }

    /// What is said so, and by whom; what is left of older tasks too.
    pub fn asides(&self) -> &Receiver<(usize, Vec<u8>)> {
        &self.asides
    }

    /// What each of the others came to, in their order. Process 0 only.
    pub fn outcomes(&self, stop: &AtomicBool) -> Result<Vec<Vec<u8>>> {
        let mut outcomes: Vec<Option<Vec<u8>>> = self.others().map(|_| None).collect();
        while outcomes.iter().any(Option::is_none) {
            match self.take(|| stop.load(Ordering::Relaxed))? {
                (process, Message::Outcome(outcome)) => outcomes[process - 1] = Some(outcome),
                (process, _) => return Err(misplaced(process)),
            }
        }
        Ok(outcomes.into_iter().flatten().collect())
    }

    fn take(&self, over: impl Fn() -> bool) -> Result<(usize, Message)> {
        loop {
            match self.messages.recv_timeout(LOOK) {
                Ok((_, Message::Failed(_) | Message::Stopped)) => {}
                Ok(taken) => return Ok(taken),
                Err(_) => {}
            }
            if let Some(error) = self.shared.why() {
                return Err(error);
            }
            if over() {
                return Err(StoppedOnRequest.into());
            }
        }
    }

    /// Waits until all have opened what they need.
    fn ready(&self, stop: &Stop) -> Result<()> {
        let wanted = if self.leads() {
            self.others().len()
        } else {
            self.say(&Message::Ready)?;
            1
        };
        for _ in 0..wanted {
            match (self.leads(), self.take(|| stop.is_set())?) {
                (true, (_, Message::Ready)) | (false, (_, Message::Connect)) => {}
                (_, (process, _)) => return Err(misplaced(process)),
            }
        }
        if self.leads() { self.say(&Message::Connect) } else { Ok(()) }
    }

    fn gone(&self, process: usize, error: &std::io::Error) -> anyhow::Error {
        self.shared.why().unwrap_or_else(|| anyhow!("process {process}: the connection was lost: {error}"))
    }

    /// Connections to all others for one run, in the order of processes; none to itself. When one is lost, the run is stopped.
    pub fn links(&self, run: Uuid, stop: &Stop) -> Result<Vec<Option<Link>>> {
        self.ready(stop)?;
        let deadline = Instant::now() + CONNECTING;
        let opening = Opening { magic: MAGIC, purpose: Purpose::Run(run), process: self.process };
        let mut sockets: Vec<(usize, TcpStream)> = Vec::new();
        for other in 0..self.process {
            let socket = knock(&self.hosts[other], opening, deadline, || stop.is_set()).with_context(|| format!("process {other}"))?;
            sockets.push((other, socket));
        }
        sockets.extend(self.door.of_run(run, self.process + 1..self.peers.processes, deadline, stop)?);
        let mut links: Vec<Option<Link>> = (0..self.peers.processes).map(|_| None).collect();
        for (other, socket) in sockets {
            let stop = stop.clone();
            let lost = move |words| stop.fail(anyhow!("process {other}: {words}"));
            links[other] = Some(Link::new(socket, Arc::clone(&self.traffic), lost).with_context(|| format!("process {other}"))?);
        }
        Ok(links)
    }
}

fn misplaced(process: usize) -> anyhow::Error {
    anyhow!("process {process} said what it does not say here: this is a defect of discodiff")
}

/// Of a program's file, which nobody forges: of its length and beginning. What is behind that is for debuggers, and several times as much.
fn digest_of(path: &Path) -> io::Result<String> {
    const BEGINNING: u64 = 48 << 20;
    let (file, mut hasher, mut buffer) = (File::open(path)?, Xxh3::new(), vec![0; 1 << 18]);
    hasher.update(&file.metadata()?.len().to_le_bytes());
    let mut beginning = file.take(BEGINNING);
    loop {
        match beginning.read(&mut buffer)? {
            0 => return Ok(format!("{:032x}", hasher.digest128())),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// Waits until something has come, or it is of no use any more.
fn answered(socket: &TcpStream, over: impl Fn() -> bool) -> io::Result<()> {
    socket.set_read_timeout(Some(LOOK))?;
    loop {
        match socket.peek(&mut [0]) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) && !over() => {}
            // The rest is on its way.
            done => return done.and_then(|_| socket.set_read_timeout(Some(LEAVING))),
        }
    }
}

/// What all processes must agree in, as this one was told it.
pub fn terms(peers: Peers, settings: Vec<(String, String)>) -> Result<Terms> {
    let binary = std::env::current_exe().context("cannot find the program's own file")?;
    let binary = digest_of(&binary).with_context(|| format!("cannot read {}", binary.display()))?;
    Ok(Terms { version: env!("CARGO_PKG_VERSION").to_owned(), binary, peers, settings })
}
