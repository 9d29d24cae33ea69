//! Memory and time.

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result};

/// Times are medians of so many.
const ROUNDS: usize = 3;

/// Resident memory of the process at some time, in bytes.
pub struct Memory(f64);

/// What has come to it since.
#[derive(Clone, Copy)]
pub struct Taken {
    /// Now.
    pub rest: f64,
    /// At most.
    pub peak: f64,
}

impl Memory {
    /// From here on.
    pub fn begin() -> Result<Memory> {
        // The peak is counted anew.
        fs::write("/proc/self/clear_refs", "5")?;
        Ok(Memory(now("VmRSS:")?))
    }

    /// Up to here.
    pub fn taken(&self) -> Result<Taken> {
        Ok(Taken { rest: now("VmRSS:")? - self.0, peak: now("VmHWM:")? - self.0 })
    }
}

fn now(field: &str) -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).context("no such field")?;
    Ok(1024.0 * line.trim().trim_end_matches(" kB").parse::<f64>()?)
}

/// Heads the table of [`Taken::tell`].
pub fn memory_table() {
    println!("\n| memory | number | MB | bytes each | peak MB | peak / rest |\n| --- | ---: | ---: | ---: | ---: | ---: |");
}

impl Taken {
    /// Prints a line of the table.
    pub fn tell(self, what: &str, number: u64) {
        let Taken { rest, peak } = self;
        println!("| {what} | {number} | {:.1} | {:.1} | {:.1} | {:.2} |", rest / 1e6, rest / number as f64, peak / 1e6, peak / rest);
    }
}

/// Heads the table of [`by_turns`].
pub fn time_table() {
    println!("| time | MB | seconds | MB/s | plain file, MB/s | ratio |\n| --- | ---: | ---: | ---: | ---: | ---: |");
}

/// Times two ways with so many bytes by turns, prints a line of the table, and gives what the first gave last.
pub fn by_turns<A>(what: &str, bytes: usize, mut ours: impl FnMut() -> Result<A>, mut plain: impl FnMut() -> Result<()>) -> Result<A> {
    let (mut seconds, mut last) = ([const { Vec::new() }; 2], None);
    for _ in 0..ROUNDS {
        drop(last.take());
        let begun = Instant::now();
        last = Some(ours()?);
        seconds[0].push(begun.elapsed().as_secs_f64());
        let begun = Instant::now();
        plain()?;
        seconds[1].push(begun.elapsed().as_secs_f64());
    }
    let [ours, plain] = seconds.map(|mut seconds| {
        seconds.sort_unstable_by(f64::total_cmp);
        seconds[ROUNDS / 2]
    });
    let megabytes = bytes as f64 / 1e6;
    println!("| {what} | {megabytes:.0} | {ours:.2} | {:.0} | {:.0} | {:.2} |", megabytes / ours, megabytes / plain, ours / plain);
    last.context("no rounds")
}
