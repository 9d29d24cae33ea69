//! A connection between two processes on which timely exchanges what flows between their workers.
//!
//! timely takes every error of a connection for a panic, and a peer that ends early for one that has nothing more to say. Here a connection
//! that is lost says so to the run, and is silent then: it takes whatever is sent and gives nothing, until the process ends with words.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use timely::communication::allocator::zero_copy::stream::Stream;

/// Bytes of the header of each of timely's messages: six numbers, of which the fifth is the length of what follows.
const HEADER: usize = 48;

/// Bytes that went over a connection, and came.
#[derive(Debug, Default)]
pub struct Traffic {
    /// To the other process.
    pub sent: AtomicU64,
    /// From it.
    pub received: AtomicU64,
}

/// What both directions share.
struct Shared {
    /// Called once, with what was wrong.
    lost: Box<dyn Fn(String) + Send + Sync>,
    is_lost: AtomicBool,
    traffic: Arc<Traffic>,
}

impl Shared {
    fn lose(&self, words: String) {
        if !self.is_lost.swap(true, Ordering::Relaxed) {
            (self.lost)(words);
        }
    }
}

/// One direction of a connection.
pub struct Link {
    socket: TcpStream,
    shared: Arc<Shared>,
    messages: Messages,
}

impl Link {
    /// A connection to another process; `lost` is told why, when it is.
    pub fn new(socket: TcpStream, traffic: Arc<Traffic>, lost: impl Fn(String) + Send + Sync + 'static) -> io::Result<Link> {
        socket.set_nodelay(true)?;
        // A timeout of the handshake's would be an error in the midst of the run.
        socket.set_read_timeout(None)?;
        socket.set_write_timeout(None)?;
        let shared = Shared { lost: Box::new(lost), is_lost: AtomicBool::new(false), traffic };
        Ok(Link { socket, shared: Arc::new(shared), messages: Messages::new() })
    }

    /// timely's thread waits here for the end of the process, which is near.
    fn silent(&self) -> ! {
        loop {
            thread::park();
        }
    }
}

impl Stream for Link {
    fn try_clone(&self) -> io::Result<Link> {
        Ok(Link { socket: self.socket.try_clone()?, shared: Arc::clone(&self.shared), messages: Messages::new() })
    }

    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.socket.set_nonblocking(nonblocking)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        if let Err(error) = self.socket.shutdown(how) {
            self.shared.lose(format!("closing the connection: {error}"));
        }
        Ok(())
    }
}

impl Read for Link {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.socket.read(buffer) {
                Ok(0) if self.messages.ended => return Ok(0),
                Ok(0) => self.shared.lose("it closed the connection".to_owned()),
                Ok(n) => {
                    self.shared.traffic.received.fetch_add(n as u64, Ordering::Relaxed);
                    self.messages.pass(&buffer[..n]);
                    return Ok(n);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => self.shared.lose(format!("the connection was lost: {error}")),
            }
            self.silent();
        }
    }
}

impl Write for Link {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if self.shared.is_lost.load(Ordering::Relaxed) {
            return Ok(buffer.len());
        }
        loop {
            match self.socket.write(buffer) {
                Ok(n) if n > 0 || buffer.is_empty() => {
                    self.shared.traffic.sent.fetch_add(n as u64, Ordering::Relaxed);
                    return Ok(n);
                }
                Ok(_) => self.shared.lose("the connection takes nothing".to_owned()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => self.shared.lose(format!("the connection was lost: {error}")),
            }
            return Ok(buffer.len());
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Follows timely's messages, of which one without content is the last.
struct Messages {
    header: [u8; HEADER],
    /// Bytes of the header that have come.
    at: usize,
    /// Bytes of content that are still to come.
    content: u64,
    ended: bool,
}

impl Messages {
    fn new() -> Messages {
        Messages { header: [0; HEADER], at: 0, content: 0, ended: false }
    }

    fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.content > 0 {
                let n = self.content.min(bytes.len() as u64);
                self.content -= n;
                bytes = &bytes[n as usize..];
                continue;
            }
            let n = (HEADER - self.at).min(bytes.len());
            self.header[self.at..self.at + n].copy_from_slice(&bytes[..n]);
            (self.at, bytes) = (self.at + n, &bytes[n..]);
            if self.at == HEADER {
                let [.., a, b, c, d, e, f, g, h] = self.header[..40] else { return };
                (self.at, self.content) = (0, u64::from_be_bytes([a, b, c, d, e, f, g, h]));
                self.ended = self.content == 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    use super::*;

    fn message(content: &[u8]) -> Vec<u8> {
        let header: [u64; 6] = [7, 1, 0, 1, content.len() as u64, 3];
        header.iter().flat_map(|number| number.to_be_bytes()).chain(content.iter().copied()).collect()
    }

    fn linked() -> io::Result<(Link, TcpStream, Receiver<String>)> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let other = TcpStream::connect(listener.local_addr()?)?;
        let (sender, words) = channel();
        let link = Link::new(listener.accept()?.0, Arc::default(), move |words| drop(sender.send(words)))?;
        Ok((link, other, words))
    }

    #[test]
    fn an_end_that_was_announced_is_an_end_and_every_other_is_told_and_waited_in() -> io::Result<()> {
        for (sent, announced) in [(vec![message(b"content"), message(b"")], true), (vec![message(b"content")], false)] {
            let (mut link, mut other, words) = linked()?;
            // In pieces that are no messages.
            for piece in sent.concat().chunks(11) {
                other.write_all(piece)?;
            }
            drop(other);
            let (done, ended) = channel();
            thread::spawn(move || done.send(io::copy(&mut link, &mut io::sink())));
            let ended = ended.recv_timeout(Duration::from_millis(300)).is_ok();
            let told = words.try_recv().is_ok();
            assert_eq!((ended, told), (announced, !announced));
        }
        Ok(())
    }

    #[test]
    fn what_is_written_to_a_connection_that_is_lost_is_let_go_of() -> io::Result<()> {
        let (mut link, other, words) = linked()?;
        drop(other);
        for _ in 0..1_000 {
            link.write_all(&[0; 4096])?;
        }
        assert!(words.try_recv().is_ok(), "it is told");
        assert!(words.try_recv().is_err(), "once");
        Ok(())
    }
}
