//! A run of the program that is watched: asked over HTTP while it goes on, its metrics read as Prometheus reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::harness::Ran;

/// How long anything is waited for that comes soon.
const SOON: Duration = Duration::from_secs(60);

/// A command that was given `--listen 0`, under way.
pub struct Watched {
    child: Child,
    pub address: String,
    stderr: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<String>>,
}

impl Watched {
    /// Starts a command and waits until it says where it listens.
    pub fn begin(command: &mut Command, points: &str) -> Watched {
        let mut child = command.env("FAILPOINTS", points).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let stderr = Arc::new(Mutex::new(String::new()));
        let (shared, said) = (Arc::clone(&stderr), BufReader::new(child.stderr.take().expect("a pipe")));
        let mut printed = child.stdout.take().expect("a pipe");
        let readers = vec![
            thread::spawn(move || {
                for line in said.lines() {
                    let mut text = shared.lock().expect("unharmed");
                    *text += &line.expect("read");
                    text.push('\n');
                }
                String::new()
            }),
            thread::spawn(move || {
                let mut text = String::new();
                printed.read_to_string(&mut text).expect("read");
                text
            }),
        ];
        let mut watched = Watched { child, address: String::new(), stderr, readers };
        watched.address = watched.until(|watched| {
            let stderr = watched.said();
            let (_, rest) = stderr.split_once("http://")?;
            Some(rest.split_once('/')?.0.to_owned())
        });
        watched
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        self.stderr.lock().expect("unharmed").clone()
    }

    /// Looks until there is what is looked for.
    #[track_caller]
    pub fn until<T>(&self, look: impl Fn(&Watched) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            match look(self) {
                Some(found) => return found,
                None if begun.elapsed() > SOON => panic!("it did not come: {}", self.said()),
                None => thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Status and body of an answer; `None`: there is nobody any more.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        request(&self.address, &format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address))
    }

    /// Its metrics now; `None`: it has ended.
    pub fn metrics(&self) -> Option<Metrics> {
        let (status, body) = self.get("/metrics")?;
        assert_eq!(status, 200);
        Some(Metrics::of(&body))
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status().expect("sent");
        assert!(sent.success());
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ran {
        let status = self.child.wait().expect("ended").code();
        let texts: Vec<_> = self.readers.drain(..).map(|reader| reader.join().expect("read")).collect();
        Ran { status, stdout: texts[1].clone(), stderr: self.said() }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // Of no use where it has ended, which is what a test that passes saw to.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Status and body of what is answered to this request.
pub fn request(address: &str, request: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(SOON)).expect("set");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    // One that ends in the midst of an answer has ended.
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// A sample: its name, its labels, its value.
pub type Sample = (String, BTreeMap<String, String>, f64);

/// A page of metrics.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub text: String,
    /// Each family's type.
    pub types: BTreeMap<String, String>,
    pub samples: Vec<Sample>,
}

impl Metrics {
    /// What a page says, which must be in order.
    #[track_caller]
    pub fn of(text: &str) -> Metrics {
        let mut metrics = Metrics { text: text.to_owned(), ..Metrics::default() };
        let mut helped = BTreeSet::new();
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, words) = help.split_once(' ').expect("a name and words");
                assert!(!words.is_empty() && helped.insert(name.to_owned()), "{line}");
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a name and a type");
                assert!(helped.contains(name), "{line}");
                assert_eq!(metrics.types.insert(name.to_owned(), kind.to_owned()), None, "{line}");
            } else {
                let (series, value) = line.rsplit_once(' ').expect("a series and a value");
                let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
                let labels = labels.strip_suffix('}').expect("the end of labels");
                let labels = labels.split("\",").filter(|label| !label.is_empty()).map(|label| {
                    let (label, value) = label.split_once("=\"").expect("a label");
                    (label.to_owned(), value.trim_end_matches('"').to_owned())
                });
                let sample = (name.to_owned(), labels.collect(), value.parse().expect("a number"));
                assert!(metrics.types.contains_key(metrics.family(name)), "{line}");
                assert!(!metrics.samples.iter().any(|of| (&of.0, &of.1) == (&sample.0, &sample.1)), "twice: {line}");
                metrics.samples.push(sample);
            }
        }
        metrics
    }

    pub fn at(path: &Path) -> Metrics {
        Metrics::of(&fs::read_to_string(path).expect("a file of metrics"))
    }

    /// The name of the family that a sample is of.
    pub fn family<'a>(&self, name: &'a str) -> &'a str {
        let parts = ["_bucket", "_sum", "_count"].into_iter().filter_map(|part| name.strip_suffix(part));
        parts.into_iter().find(|family| self.types.get(*family).is_some_and(|kind| kind == "histogram")).unwrap_or(name)
    }

    /// The value of the sample of this name with these labels among its own; the sum, where there are several.
    #[track_caller]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(name, labels).unwrap_or_else(|| panic!("no {name} {labels:?} in {}", self.text))
    }

    pub fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let has = |of: &BTreeMap<String, String>| labels.iter().all(|(label, value)| of.get(*label).is_some_and(|is| is == value));
        let values: Vec<f64> =
            self.samples.iter().filter(|(of, labels, _)| of == name && has(labels)).map(|(_, _, value)| *value).collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// The value of a label of a family's first sample.
    #[track_caller]
    pub fn label(&self, name: &str, label: &str) -> &str {
        let sample = self.samples.iter().find(|(of, labels, _)| of == name && labels.contains_key(label));
        sample.map_or_else(|| panic!("no {name} with {label} in {}", self.text), |(_, labels, _)| &labels[label])
    }

    /// The labels of each family, but those of Prometheus' own making.
    pub fn labels(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut found = BTreeMap::<String, BTreeSet<String>>::new();
        for (name, labels, _) in &self.samples {
            let own = labels.keys().filter(|label| *label != "le" && *label != "command").cloned();
            found.entry(self.family(name).to_owned()).or_default().extend(own);
        }
        found
    }
}
