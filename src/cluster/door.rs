//! Where the other processes knock: a listener whose connections are sorted by what they are for.

use std::io;
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, never, unbounded};
use uuid::Uuid;

use crate::sources::Stop;

use super::message::{MAGIC, Opening, Purpose, receive, send};

/// How long who has connected may take to say what for.
const INTRODUCTION: Duration = Duration::from_secs(5);

/// How long it is waited before another process is tried again.
const PAUSE: Duration = Duration::from_millis(200);

/// The way in.
#[derive(Debug)]
pub struct Door {
    control: Receiver<(usize, TcpStream)>,
    runs: Receiver<(Uuid, usize, TcpStream)>,
}

impl Door {
    /// Listens at this process's own address.
    pub fn open(address: &str) -> Result<Door> {
        let listener = TcpListener::bind(address).with_context(|| {
            format!("cannot listen at {address}, which the hostfile names for this process: is another program there, or the line another machine's?")
        })?;
        let ((control, for_control), (runs, for_runs)) = (unbounded(), unbounded());
        let listening = move || {
            for socket in listener.incoming().flatten() {
                let (control, runs) = (control.clone(), runs.clone());
                // Whoever says nothing keeps nobody else waiting.
                let introduced = thread::Builder::new().name("introduce".to_owned()).spawn(move || introduce(socket, &control, &runs));
                if let Err(error) = introduced {
                    tracing::warn!("a connection of another process was not taken: {error}");
                }
            }
        };
        thread::Builder::new().name("listen".to_owned()).spawn(listening).context("cannot start a thread")?;
        Ok(Door { control: for_control, runs: for_runs })
    }

    /// The next process that wants to be led; `None` after this time.
    pub fn led(&self, patience: Duration) -> Option<(usize, TcpStream)> {
        self.control.recv_timeout(patience).ok()
    }

    /// Takes no more processes that want to be led.
    pub fn close(&mut self) {
        self.control = never();
    }

    /// Connections of a run with these processes, in any order; of other runs none is left that matters.
    pub fn of_run(&self, run: Uuid, from: Range<usize>, deadline: Instant, stop: &Stop) -> Result<Vec<(usize, TcpStream)>> {
        let mut found: Vec<(usize, TcpStream)> = Vec::new();
        while found.len() < from.len() {
            let last = Instant::now() + PAUSE >= deadline;
            match self.runs.recv_timeout(PAUSE) {
                Ok((of, process, socket)) if of == run && from.contains(&process) => {
                    found.retain(|(other, _)| *other != process);
                    found.push((process, socket));
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) if stop.is_set() => bail!("the run is over"),
                Err(RecvTimeoutError::Timeout) if !last => {}
                Err(RecvTimeoutError::Timeout) => {
                    let missing = from.clone().find(|process| !found.iter().any(|(other, _)| other == process));
                    bail!("process {} did not connect in time", missing.unwrap_or_default());
                }
                Err(RecvTimeoutError::Disconnected) => bail!("nobody listens any more"),
            }
        }
        Ok(found)
    }
}

fn introduce(mut socket: TcpStream, control: &Sender<(usize, TcpStream)>, runs: &Sender<(Uuid, usize, TcpStream)>) {
    let opening = socket.set_read_timeout(Some(INTRODUCTION)).and_then(|()| receive::<Opening>(&mut socket));
    match opening {
        Ok(Opening { magic: MAGIC, purpose: Purpose::Control, process }) => drop(control.send((process, socket))),
        Ok(Opening { magic: MAGIC, purpose: Purpose::Run(run), process }) => drop(runs.send((run, process, socket))),
        Ok(_) => tracing::warn!("a connection was refused: it is none of discodiff's, or of another version"),
        Err(error) => tracing::debug!("a connection was refused: {error}"),
    }
}

/// Connects to another process, which may not have started yet, up to a deadline.
pub fn knock(address: &str, opening: Opening, deadline: Instant, over: impl Fn() -> bool) -> Result<TcpStream> {
    loop {
        let error = match connect(address, deadline) {
            Ok(mut socket) => {
                send(&mut socket, &opening).with_context(|| format!("cannot talk to {address}"))?;
                return Ok(socket);
            }
            Err(error) => error,
        };
        if over() || Instant::now() + PAUSE > deadline {
            return Err(anyhow!(error).context(format!("cannot connect to {address}")));
        }
        thread::sleep(PAUSE);
    }
}

fn connect(address: &str, deadline: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name stands for no address");
    // Asked for each time: names of machines that start appear late.
    for address in address.to_socket_addrs()? {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        match TcpStream::connect_timeout(&address, left.min(INTRODUCTION)) {
            Ok(socket) => {
                socket.set_nodelay(true)?;
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
