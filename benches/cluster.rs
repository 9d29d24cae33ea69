//! One month from topics, applied by one process and by several: CPU in all, time, and bytes between them, by turns, on the broker that
//! `DISCODIFF_TEST_KAFKA` names.
//!
//! ```sh
//! scripts/services.sh start kafka && export $(scripts/services.sh env kafka) && cargo bench --bench cluster
//! ```
//!
//! `RELEASES` (200,000) says how large the months are, `ROUNDS` (3) how often.

#[expect(dead_code, reason = "benches of stores need more of it")]
#[path = "sides.rs"]
mod sides;

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use sides::{Cost, measured, months, product, rounds};

/// Processes and workers of each.
const SHAPES: [(usize, usize); 5] = [(1, 1), (2, 1), (4, 1), (1, 2), (1, 4)];

/// What one refresh came to.
#[derive(Clone, Default)]
struct Came {
    cost: Cost,
    /// MB that all processes have sent to each other.
    sent: f64,
    /// Lowest and highest CPU seconds of a process.
    each: (f64, f64),
}

fn start(folder: &Path, state: &Path, topics: &[&str], (processes, workers): (usize, usize)) -> Vec<Child> {
    let listeners: Vec<_> = (0..processes).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
    let hosts: Vec<_> = listeners.iter().map(|listener| listener.local_addr().expect("an address").to_string()).collect();
    drop(listeners);
    let hostfile = folder.join("hosts");
    fs::write(&hostfile, hosts.join("\n")).expect("written");
    let start = |process: usize| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_discodiff"));
        command.args(["refresh", "--kafka", "--null", "--workers", &workers.to_string(), "--state"]).arg(state).args(topics);
        if processes > 1 {
            command.args(["--processes", &processes.to_string(), "--process", &process.to_string(), "--hostfile"]).arg(&hostfile);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts")
    };
    (0..processes).map(start).collect()
}

fn refresh(folder: &Path, state: &Path, topics: &[&str], shape: (usize, usize)) -> Came {
    let mut came = Came { each: (f64::MAX, 0.0), ..Came::default() };
    came.cost = measured(None, || {
        for child in start(folder, state, topics, shape) {
            let mut output = None;
            // What a child has taken counts when it is waited for.
            let cpu = measured(None, || output = child.wait_with_output().ok()).cpu;
            let output = output.expect("it has ended");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{said}");
            came.each = (came.each.0.min(cpu), came.each.1.max(cpu));
            let exchanged = said.lines().find_map(|line| line.split_once("exchanged with other processes: "));
            came.sent += exchanged.map_or(0.0, |(_, words)| megabytes(words));
        }
    });
    came
}

/// `858.45 KiB sent, ...` in MB.
fn megabytes(words: &str) -> f64 {
    let mut words = words.split_whitespace();
    let number: f64 = words.next().and_then(|number| number.parse().ok()).expect("a number");
    let unit = match words.next() {
        Some("B") => 1.0,
        Some("KiB") => 1024.0,
        Some("MiB") => 1024.0 * 1024.0,
        unit => panic!("{unit:?}"),
    };
    number * unit / 1e6
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_unstable_by(f64::total_cmp);
    of[of.len() / 2]
}

/// Every shape in every round, in another order from round to round; `from` is the state that each begins with.
fn by_turns(what: &str, folder: &Path, from: Option<&Path>, topics: &[&str]) {
    let mut all = vec![Vec::new(); SHAPES.len()];
    for round in 0..rounds() {
        for turn in 0..SHAPES.len() {
            let at = (turn + round) % SHAPES.len();
            let state = folder.join("state");
            let _ = fs::remove_dir_all(&state);
            if let Some(from) = from {
                copy(from, &state);
            }
            all[at].push(refresh(folder, &state, topics, SHAPES[at]));
        }
    }
    let of = |at: usize, what: fn(&Came) -> f64| median(all[at].iter().map(what).collect());
    for (at, (processes, workers)) in SHAPES.iter().enumerate() {
        let (cpu, wall) = (of(at, |came| came.cost.cpu), of(at, |came| came.cost.wall));
        let ratio = median(all[at].iter().zip(&all[0]).map(|(came, one)| came.cost.cpu / one.cost.cpu).collect());
        let (sent, least, most) = (of(at, |came| came.sent), of(at, |came| came.each.0), of(at, |came| came.each.1));
        println!("| {what} | {processes} x {workers} | {cpu:.2} | {ratio:.2} | {least:.2} to {most:.2} | {wall:.2} | {sent:.2} |");
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("created");
    for entry in fs::read_dir(from).expect("listed").flatten() {
        fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
    }
}

fn main() {
    let Ok(brokers) = std::env::var("DISCODIFF_TEST_KAFKA") else {
        println!("skipped: DISCODIFF_TEST_KAFKA is not set (scripts/services.sh start kafka, then env)");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let prefix = format!("cluster-{}", std::process::id());
    let topics = ["--brokers", &brokers, "--topic-prefix", &prefix];
    let publish =
        |month: &Path| product(&[&["publish", "--dumps", month.to_str().expect("a path"), "--partitions", "16"], &topics[..]].concat());
    println!("| | processes x workers | CPU s | CPU by that of 1 x 1 | CPU s a process | wall s | MB between them |");
    println!("| --- | --- | ---: | ---: | ---: | ---: | ---: |");
    let [first, second] = months();
    publish(&first);
    by_turns("first load", folder.path(), None, &topics);
    let loaded = folder.path().join("loaded");
    copy(&folder.path().join("state"), &loaded);
    publish(&second);
    by_turns("a month of churn", folder.path(), Some(&loaded), &topics);
}
