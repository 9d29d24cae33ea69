//! What the benches of stores have in common: months that are made once, the product as a process of its own, and what each side costs.
//!
//! Client, server and product share the machine's two cores. So what a bare client is held to have taken is the larger of its wall time and
//! of half the CPU time that it, the server, and the product's own work on the same input (with the null sink) take.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::time::Instant;

/// Ticks of `/proc/PID/stat` in a second.
const HERTZ: f64 = 100.0;

/// Seconds of time, and of CPUs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// On the clock.
    pub wall: f64,
    /// Of those who worked.
    pub cpu: f64,
}

impl Cost {
    /// What a bare client that cost this is held to have taken. `null`: what the same input costs the product with the null sink.
    pub fn limit(self, null: Cost) -> f64 {
        self.wall.max((self.cpu + null.cpu) / 2.0)
    }
}

/// What some work costs this process, its children, and the server that listens on a port of this machine.
pub fn measured(port: Option<u16>, work: impl FnOnce()) -> Cost {
    let server = port.map(Server::at);
    let cpu = || stat(std::process::id()).map_or(0.0, |stat| stat.own + stat.reaped) + server.as_ref().map_or(0.0, Server::cpu);
    let (before, begun) = (cpu(), Instant::now());
    work();
    let wall = begun.elapsed().as_secs_f64();
    Cost { wall, cpu: cpu() - before }
}

/// A server that listens on this machine.
struct Server {
    pid: u32,
}

impl Server {
    /// The process that listens on a port; of several, the one that started the others.
    fn at(port: u16) -> Server {
        let listening = |line: &str| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
            let of = u16::from_str_radix(local.rsplit(':').next()?, 16).ok()?;
            (*state == "0A" && of == port).then(|| format!("socket:[{inode}]"))
        };
        let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
        let sockets: Vec<String> = tables.iter().flat_map(|table| table.lines()).filter_map(listening).collect();
        let holds = |pid: &u32| {
            let handles = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
            handles
                .filter_map(|handle| fs::read_link(handle.path()).ok())
                .any(|to| sockets.iter().any(|socket| to.as_os_str() == socket.as_str()))
        };
        let pid = processes().filter(holds).min().unwrap_or_else(|| panic!("no process of this machine listens on port {port}"));
        Server { pid }
    }

    /// Seconds of CPU that it and its children, those that have ended among them, have used so far.
    fn cpu(&self) -> f64 {
        let own = stat(self.pid).expect("the server runs");
        let children = processes().filter_map(stat).filter(|child| child.parent == self.pid).map(|child| child.own);
        own.own + own.reaped + children.sum::<f64>()
    }
}

/// What the system says of a process.
struct Stat {
    parent: u32,
    /// Seconds of CPU.
    own: f64,
    /// Those of children that have ended and were waited for.
    reaped: f64,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let seconds = |at: usize| fields.get(at)?.parse::<f64>().ok().map(|ticks| ticks / HERTZ);
    Some(Stat { parent: fields.get(1)?.parse().ok()?, own: seconds(11)? + seconds(12)?, reaped: seconds(13)? + seconds(14)? })
}

fn processes() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// A number from the environment.
pub fn setting<T: FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// How many rounds are measured.
pub fn rounds() -> usize {
    setting("ROUNDS", 3)
}

/// Runs the product.
pub fn product(arguments: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_discodiff"));
    let output = command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output().expect("it starts");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// `refresh` of a month into what the other arguments name.
pub fn refresh(month: &Path, state: &Path, arguments: &[&str]) {
    let (month, state) = (month.to_str().expect("a path"), state.to_str().expect("a path"));
    product(&[&["refresh", "--dumps", month, "--state", state], arguments].concat());
}

/// Two months of `RELEASES` releases and the rest in proportion, made once for each size.
pub fn months() -> [PathBuf; 2] {
    let releases: u64 = setting("RELEASES", 200_000);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("target/bench/months-{releases}"));
    if !folder.join("truth.json").exists() {
        product(&["generate", folder.to_str().expect("a path"), "--months", "2", "--releases", &releases.to_string()]);
    }
    ["2026-01", "2026-02"].map(|month| folder.join(month))
}
