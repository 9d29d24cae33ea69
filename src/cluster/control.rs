//! A connection between process 0 and another: messages, and the sign of life that timely does not give.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::message::{receive, send};

/// How often each end says that it is there.
const BEAT: Duration = Duration::from_millis(500);

/// After such a silence the other process is taken for lost: all are to end within ten seconds of its last word.
const SILENCE: Duration = Duration::from_secs(5);

/// What processes say to each other once they have agreed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// It is there.
    Alive,
    /// What the others are to do, from process 0.
    Task(Vec<u8>),
    /// A process has made ready for the task, and only connecting is left.
    Ready,
    /// All have, from process 0.
    Connect,
    /// What a process came to.
    Outcome(Vec<u8>),
    /// What is said while a task is done, between who does it there and here.
    Aside(Vec<u8>),
    /// A process has failed, and the run of all is over.
    Failed(String),
    /// A process was asked to stop, and so are all.
    Stopped,
    /// Nothing more is to be done, from process 0.
    Finished,
}

/// One end.
#[derive(Clone, Debug)]
pub struct Control {
    /// The process at the other end.
    pub process: usize,
    socket: Arc<Mutex<TcpStream>>,
}

impl Control {
    /// Starts to listen and to give signs of life. `heard` gets each message, and last why there are no more.
    pub fn start(process: usize, socket: TcpStream, mut heard: impl FnMut(Result<Message, String>) + Send + 'static) -> Result<Control> {
        let what = || format!("the connection to process {process}");
        socket.set_read_timeout(Some(SILENCE)).and_then(|()| socket.set_write_timeout(Some(SILENCE))).with_context(what)?;
        let mut incoming = socket.try_clone().with_context(what)?;
        let control = Control { process, socket: Arc::new(Mutex::new(socket)) };
        let listen = move || {
            loop {
                match receive(&mut incoming) {
                    Ok(Message::Alive) => {}
                    Ok(message) => heard(Ok(message)),
                    Err(error) => return heard(Err(words(&error))),
                }
            }
        };
        let beating = control.clone();
        // It ends with the connection: the other end's silence is what is told.
        let beat = move || {
            while beating.send(&Message::Alive).is_ok() {
                thread::sleep(BEAT);
            }
        };
        thread::Builder::new().name(format!("hear {process}")).spawn(listen).context("cannot start a thread")?;
        thread::Builder::new().name(format!("beat {process}")).spawn(beat).context("cannot start a thread")?;
        Ok(control)
    }

    /// Says something.
    pub fn send(&self, message: &Message) -> io::Result<()> {
        send(&mut *self.socket.lock().unwrap_or_else(PoisonError::into_inner), message)
    }

    /// Says no more; what was said arrives.
    pub fn close(&self) {
        let _ = self.socket.lock().unwrap_or_else(PoisonError::into_inner).shutdown(Shutdown::Write);
    }
}

fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => format!("it has said nothing for {} s", SILENCE.as_secs()),
        io::ErrorKind::UnexpectedEof => "it has ended".to_owned(),
        _ => format!("the connection was lost: {error}"),
    }
}
