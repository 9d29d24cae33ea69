//! A faulty network: a proxy before a real server, which forwards until it is told to cut, to stall, to half-close, to refuse, or to be slow.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Child;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use super::harness::fault;

/// How often a thread that waits looks about.
const TURN: Duration = Duration::from_millis(5);

pub struct Proxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

/// What is to happen once the client has sent something certain, which still reaches the server.
pub struct Snare {
    /// Nothing counts before a piece like this.
    pub first: fn(&[u8]) -> bool,
    /// Whether a piece of what the client sends is it.
    pub seen: fn(&[u8]) -> bool,
    /// How many of them are let pass before.
    pub after: usize,
    pub then: Then,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The server's answer is awaited and not forwarded: the connection is cut instead.
    Cut,
    /// Nothing is forwarded any more, on any connection.
    Stall,
}

#[derive(Default)]
struct Shared {
    to: Mutex<String>,
    ended: AtomicBool,
    stalled: AtomicBool,
    refusing: AtomicBool,
    /// Bytes a second in each direction of a connection; 0: no bound.
    pace: AtomicU64,
    /// Bytes in both directions.
    passed: AtomicU64,
    snare: Mutex<Option<Snare>>,
    armed: AtomicBool,
    snared: AtomicUsize,
    connections: Mutex<Vec<Arc<Connection>>>,
}

struct Connection {
    client: TcpStream,
    server: TcpStream,
    cut: AtomicBool,
    forgotten: AtomicBool,
    /// The next answer is to be lost.
    snared: AtomicBool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}

impl Proxy {
    /// Before the server at `to`, `host:port`.
    pub fn before(to: &str) -> Proxy {
        Proxy::at("127.0.0.1:0", to)
    }

    /// The same at an address that is known beforehand.
    pub fn at(address: &str, to: &str) -> Proxy {
        let listener = TcpListener::bind(address).expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared { to: Mutex::new(to.to_owned()), ..Shared::default() });
        let accepting = Arc::clone(&shared);
        let accepting = Some(thread::spawn(move || accepting.accept(address, listener)));
        Proxy { address, shared, accepting }
    }

    /// This URL, but by way of the proxy.
    pub fn instead(&self, url: &str) -> String {
        let to = self.shared.to.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(url.contains(to.as_str()), "{url}");
        url.replacen(to.as_str(), &self.address.to_string(), 1)
    }

    /// Ends all connections by a reset; new ones are taken.
    pub fn cut(&self) {
        fault("connections cut");
        self.shared.all().iter().for_each(|connection| connection.cut());
    }

    /// Forwards nothing on connections that are there, for good, and tells neither side; new ones are taken.
    pub fn forget(&self) {
        fault("connections dead on the way");
        self.shared.all().iter().for_each(|connection| connection.forgotten.store(true, Ordering::SeqCst));
    }

    /// Forwards nothing until told to; connections stay, and new ones are taken.
    pub fn stall(&self, stalled: bool) {
        if stalled {
            fault("connections stalled");
        }
        self.shared.stalled.store(stalled, Ordering::SeqCst);
    }

    /// Tells this side of each connection that nothing more will come; what it sends is forwarded.
    pub fn half_close(&self, side: Side) {
        fault("connections half closed");
        for connection in self.shared.all() {
            let socket = if side == Side::Client { &connection.client } else { &connection.server };
            let _ = socket.shutdown(Shutdown::Write);
        }
    }

    /// Refuses connections until told not to, and cuts those that are there.
    pub fn refuse(&self, refusing: bool) {
        self.shared.refusing.store(refusing, Ordering::SeqCst);
        if refusing {
            self.cut();
        }
    }

    /// So many bytes a second in each direction of a connection; 0: as fast as can be.
    pub fn slow_down(&self, pace: u64) {
        if pace > 0 {
            fault("a slow server");
        }
        self.shared.pace.store(pace, Ordering::SeqCst);
    }

    pub fn lay(&self, snare: Snare) {
        fault("an answer lost");
        self.shared.armed.store(false, Ordering::SeqCst);
        *self.shared.snare.lock().unwrap_or_else(PoisonError::into_inner) = Some(snare);
    }

    /// How often a snare caught something.
    pub fn snared(&self) -> usize {
        self.shared.snared.load(Ordering::SeqCst)
    }

    /// Waits until the snare that was laid catches something.
    pub fn await_snare(&self, of: &mut Child) {
        while self.shared.snare.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            assert!(of.try_wait().expect("asked").is_none(), "it ended before anything was caught");
            sleep(TURN);
        }
    }

    pub fn passed(&self) -> u64 {
        self.shared.passed.load(Ordering::SeqCst)
    }

    /// Waits until so many more bytes have passed, for a program that is to be under way all the time.
    pub fn await_traffic(&self, bytes: u64, of: &mut Child) {
        let (begun, from) = (Instant::now(), self.passed());
        while self.passed() < from + bytes {
            assert!(of.try_wait().expect("asked").is_none(), "it ended before all was tried");
            assert!(begun.elapsed() < Duration::from_secs(60), "no traffic");
            sleep(TURN);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.cut();
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

impl Shared {
    fn all(&self) -> Vec<Arc<Connection>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn accept(self: &Arc<Shared>, address: SocketAddr, listener: TcpListener) {
        let mut listener = Some(listener);
        while !self.ended.load(Ordering::SeqCst) {
            if self.refusing.load(Ordering::SeqCst) {
                listener = None;
                sleep(TURN);
                continue;
            }
            let open = listener.get_or_insert_with(|| TcpListener::bind(address).expect("the same port"));
            open.set_nonblocking(true).expect("set");
            let Ok((client, _)) = open.accept() else {
                sleep(TURN);
                continue;
            };
            client.set_nonblocking(false).expect("set");
            let to = self.to.lock().unwrap_or_else(PoisonError::into_inner).clone();
            // A server that is away is one that hangs up.
            let Ok(server) = TcpStream::connect(to) else { continue };
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            let [cut, forgotten, snared] = [const { AtomicBool::new(false) }; 3];
            let connection = Arc::new(Connection { client, server, cut, forgotten, snared });
            self.connections.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&connection));
            for from in [Side::Client, Side::Server] {
                let (shared, connection) = (Arc::clone(self), Arc::clone(&connection));
                thread::spawn(move || shared.forward(&connection, from));
            }
        }
    }

    fn forward(&self, connection: &Arc<Connection>, from: Side) {
        let (mut source, mut sink) = match from {
            Side::Client => (&connection.client, &connection.server),
            Side::Server => (&connection.server, &connection.client),
        };
        let mut piece = vec![0; 32 << 10];
        loop {
            let length = source.read(&mut piece).unwrap_or(0);
            while self.holds(connection) {
                sleep(TURN);
            }
            if length == 0 || connection.cut.load(Ordering::SeqCst) {
                break;
            }
            let caught = from == Side::Client && self.is_snared(&piece[..length], connection);
            if from == Side::Server && connection.snared.load(Ordering::SeqCst) {
                connection.cut();
                break;
            }
            let pace = self.pace.load(Ordering::SeqCst);
            let sent = match pace {
                0 => sink.write_all(&piece[..length]),
                // A tenth of a second's worth at a time.
                pace => piece[..length].chunks(usize::try_from(pace / 10).expect("small").max(1)).try_for_each(|some| {
                    sleep(Duration::from_millis(100));
                    sink.write_all(some)
                }),
            };
            self.passed.fetch_add(length as u64, Ordering::SeqCst);
            if caught {
                self.stalled.store(true, Ordering::SeqCst);
            }
            // Whoever was told that nothing more comes gets no more; what it says itself goes on.
            if sent.is_err() && connection.cut.load(Ordering::SeqCst) {
                break;
            }
        }
        let _ = sink.shutdown(Shutdown::Write);
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| !Arc::ptr_eq(other, connection));
    }

    fn holds(&self, connection: &Connection) -> bool {
        let stalled = self.stalled.load(Ordering::SeqCst) || connection.forgotten.load(Ordering::SeqCst);
        stalled && !connection.cut.load(Ordering::SeqCst) && !self.ended.load(Ordering::SeqCst)
    }

    /// Whether all is to stall once this is sent; notes what else is to happen.
    fn is_snared(&self, piece: &[u8], connection: &Connection) -> bool {
        let mut snare = self.snare.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(laid) = snare.as_mut() else { return false };
        if (laid.first)(piece) {
            self.armed.store(true, Ordering::SeqCst);
        }
        if !self.armed.load(Ordering::SeqCst) || !(laid.seen)(piece) {
            return false;
        }
        if laid.after > 0 {
            laid.after -= 1;
            return false;
        }
        let then = laid.then;
        *snare = None;
        self.snared.fetch_add(1, Ordering::SeqCst);
        connection.snared.store(then == Then::Cut, Ordering::SeqCst);
        then == Then::Stall
    }
}

impl Connection {
    fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        for socket in [&self.client, &self.server] {
            // Closed without lingering, a socket resets its connection; no more to read lets go of whoever reads it.
            let _ = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
            let _ = socket.shutdown(Shutdown::Read);
        }
    }
}
