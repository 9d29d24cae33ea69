//! A place that offers dumps and behaves as the real one does, and worse where it is told to: pages made for people, no ranges, no lengths.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use openssl::ssl::SslAcceptor;

use super::harness::sha256;

/// Files by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// What happens instead of, or before, a good answer.
pub enum Instead {
    /// A status and its headers.
    Status(u16, &'static str),
    /// So many bytes, and then the connection is cut.
    Cut(usize),
    /// So many of as many bytes as there are, which are promised, and then the connection is cut.
    CutOfLength(usize),
    /// So many bytes, and then nothing more.
    Stall(usize),
    /// Another content.
    Bytes(Vec<u8>),
    /// Bytes that never end.
    Endless,
    /// No HTTP at all.
    Noise,
    /// The place changes, and then answers as ever.
    Changed(Box<dyn FnOnce(&mut Files) + Send>),
}

/// How pages look.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Pages {
    /// As at Discogs.
    Html,
    /// As the storage behind it had them.
    Xml,
}

pub struct Place {
    pub address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
}

struct Shared {
    files: Mutex<Files>,
    instead: Mutex<BTreeMap<String, VecDeque<Instead>>>,
    asked: Mutex<Vec<String>>,
    heads: Mutex<Vec<String>>,
    pages: Pages,
    open: AtomicUsize,
    most_open: AtomicUsize,
    connections: AtomicUsize,
    ended: AtomicBool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Place {
    pub fn new() -> Place {
        Place::of(Pages::Html, None)
    }

    pub fn of(pages: Pages, tls: Option<SslAcceptor>) -> Place {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            files: Mutex::default(),
            instead: Mutex::default(),
            asked: Mutex::default(),
            heads: Mutex::default(),
            pages,
            open: AtomicUsize::new(0),
            most_open: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
        });
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (accepting, tls) = (Arc::clone(&shared), tls.map(Arc::new));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if accepting.ended.load(Ordering::Relaxed) {
                    return;
                }
                let (shared, tls) = (Arc::clone(&accepting), tls.clone());
                thread::spawn(move || match tls {
                    None => shared.serve(stream),
                    Some(tls) => tls.accept(stream).map_or((), |stream| shared.serve(stream)),
                });
            }
        });
        Place { address, scheme, shared }
    }

    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}/", self.scheme, self.address.port())
    }

    /// Offers all files of a month's folder, `CHECKSUM.txt` last.
    pub fn offer(&self, folder: &Path) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            self.put(&name, fs::read(path).expect("a file"));
        }
    }

    pub fn put(&self, name: &str, bytes: impl Into<Vec<u8>>) {
        locked(&self.shared.files).insert(name.to_owned(), bytes.into());
    }

    pub fn remove(&self, name: &str) -> Vec<u8> {
        locked(&self.shared.files).remove(name).expect("it was there")
    }

    pub fn file(&self, name: &str) -> Vec<u8> {
        locked(&self.shared.files)[name].clone()
    }

    /// What happens the next times this is asked for: a file's name, or the query of a page.
    pub fn instead(&self, of: &str, what: impl IntoIterator<Item = Instead>) {
        locked(&self.shared.instead).entry(of.to_owned()).or_default().extend(what);
    }

    /// What was asked for since the last time, in order.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut locked(&self.shared.asked))
    }

    /// Heads of all requests.
    pub fn heads(&self) -> Vec<String> {
        locked(&self.shared.heads).clone()
    }

    /// The most connections at one time, and all there ever were.
    pub fn connections(&self) -> (usize, usize) {
        (self.shared.most_open.load(Ordering::Relaxed), self.shared.connections.load(Ordering::Relaxed))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

/// `CHECKSUM.txt` of these files of a month, as Discogs writes it.
pub fn checksum(files: &Files, month: &str) -> Vec<u8> {
    let of_month = files.iter().filter(|(name, _)| name.contains(month) && name.ends_with(".xml.gz"));
    let lines: Vec<_> = of_month.map(|(name, bytes)| format!("{} {name}\n", sha256(bytes))).collect();
    lines.into_iter().rev().collect::<String>().into_bytes()
}

impl Shared {
    fn serve(&self, mut stream: impl Read + Write) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_open.fetch_max(open, Ordering::Relaxed);
        while let Some(head) = head(&mut stream) {
            let target = head.split_whitespace().nth(1).unwrap_or("/").to_owned();
            locked(&self.heads).push(head);
            let query = target.split_once('?').map_or("", |(_, query)| query).to_owned();
            if self.answer(&mut stream, &query).is_none() {
                break;
            }
        }
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// `None` where the connection is of no use any more.
    fn answer(&self, stream: &mut impl Write, query: &str) -> Option<()> {
        let name = query.strip_prefix("download=data%2F").map_or(query, |path| path.split_once("%2F").map_or(path, |(_, name)| name));
        locked(&self.asked).push(name.to_owned());
        let instead = locked(&self.instead).get_mut(name).and_then(VecDeque::pop_front);
        let content = || if query.starts_with("download=") { locked(&self.files).get(name).cloned() } else { Some(self.page(query)) };
        match instead {
            None => match content() {
                Some(bytes) => chunked(stream, &bytes, None),
                None => status(stream, 404, "", b"gone"),
            },
            Some(Instead::Changed(change)) => {
                change(&mut locked(&self.files));
                match content() {
                    Some(bytes) => chunked(stream, &bytes, None),
                    None => status(stream, 404, "", b"gone"),
                }
            }
            Some(Instead::Status(code, headers)) => {
                status(stream, code, headers, b"{\"message\":\"You are making requests too quickly.\"}")
            }
            Some(Instead::Bytes(bytes)) => chunked(stream, &bytes, None),
            Some(Instead::Cut(after)) => {
                chunked(stream, &content()?, Some(after))?;
                None
            }
            Some(Instead::CutOfLength(after)) => {
                let bytes = content()?;
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", bytes.len()).ok()?;
                stream.write_all(&bytes[..after]).ok()?;
                None
            }
            Some(Instead::Stall(after)) => {
                chunked(stream, &content()?, Some(after))?;
                (0..1200).take_while(|_| !self.ended.load(Ordering::Relaxed)).for_each(|_| thread::sleep(Duration::from_millis(50)));
                None
            }
            Some(Instead::Endless) => {
                write!(stream, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").ok()?;
                loop {
                    write!(stream, "10000\r\n").ok()?;
                    stream.write_all(&[b' '; 0x10000]).ok()?;
                    write!(stream, "\r\n").ok()?;
                }
            }
            Some(Instead::Noise) => {
                let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n\r\n");
                None
            }
        }
    }

    /// Years, or what there is of one.
    fn page(&self, query: &str) -> Vec<u8> {
        let files = locked(&self.files);
        let year = query.strip_prefix("prefix=data%2F").map(|rest| rest.trim_end_matches("%2F"));
        let mut lines: Vec<String> = files
            .keys()
            .filter_map(|name| {
                let of = name.strip_prefix("discogs_").and_then(|date| date.get(..4)).unwrap_or("1999");
                match (year, self.pages) {
                    (None, Pages::Html) => Some(format!("<a href=\"?prefix=data%2F{of}%2F\">{of}/</a>")),
                    (None, Pages::Xml) => Some(format!("<CommonPrefixes><Prefix>data/{of}/</Prefix></CommonPrefixes>")),
                    (Some(year), _) if year != of => None,
                    (Some(_), Pages::Html) => Some(format!("2026-08-02 86.0 MB <a href=\"?download=data%2F{of}%2F{name}\">{name}</a>")),
                    (Some(_), Pages::Xml) => Some(format!("<Contents><Key>data/{of}/{name}</Key></Contents>")),
                }
            })
            .collect();
        lines.dedup();
        let (before, after) = match self.pages {
            Pages::Html => ("<!DOCTYPE html><html><body><h1>Discogs Data</h1><pre>\n", "\n</pre></body></html>\n"),
            Pages::Xml => (
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">",
                "</ListBucketResult>",
            ),
        };
        format!("{before}{}{after}", lines.join("\n")).into_bytes()
    }
}

fn head(stream: &mut impl Read) -> Option<String> {
    let mut reader = BufReader::with_capacity(1, stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    Some(head)
}

fn status(stream: &mut impl Write, code: u16, headers: &str, body: &[u8]) -> Option<()> {
    write!(stream, "HTTP/1.1 {code} So\r\n{headers}content-length: {}\r\n\r\n", body.len()).ok()?;
    stream.write_all(body).ok()
}

/// All of it, or only so much, and then no end.
fn chunked(stream: &mut impl Write, bytes: &[u8], until: Option<usize>) -> Option<()> {
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-disposition: attachment\r\netag: \"x\"\r\ntransfer-encoding: chunked\r\n\r\n").ok()?;
    for piece in bytes[..until.unwrap_or(bytes.len()).min(bytes.len())].chunks(10_000) {
        write!(stream, "{:x}\r\n", piece.len()).ok()?;
        stream.write_all(piece).ok()?;
        write!(stream, "\r\n").ok()?;
    }
    if until.is_none() {
        write!(stream, "0\r\n\r\n").ok()?;
    }
    stream.flush().ok()
}
