//! Memory and time, and the plain file that a file of the state is measured against.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

/// Times are medians of so many.
const ROUNDS: usize = 3;

/// Bytes that a plain file is read and written by: some hundred KiB, as the program has them.
const PIECE: usize = 16_384 * 20;

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

/// Times two ways with so many bytes by turns, prints a line of the table, and gives what the first gave last, and the seconds of each in
/// every round.
pub fn by_turns<A>(
    what: &str,
    bytes: usize,
    mut ours: impl FnMut() -> Result<A>,
    mut plain: impl FnMut() -> Result<()>,
) -> Result<(A, Vec<(f64, f64)>)> {
    let (mut rounds, mut last) = (Vec::new(), None);
    for _ in 0..ROUNDS {
        drop(last.take());
        let begun = Instant::now();
        last = Some(ours()?);
        let first = begun.elapsed().as_secs_f64();
        let begun = Instant::now();
        plain()?;
        rounds.push((first, begun.elapsed().as_secs_f64()));
    }
    let median = |of: fn(&(f64, f64)) -> f64| {
        let mut seconds: Vec<f64> = rounds.iter().map(of).collect();
        seconds.sort_unstable_by(f64::total_cmp);
        seconds[ROUNDS / 2]
    };
    let (ours, plain) = (median(|round| round.0), median(|round| round.1));
    let megabytes = bytes as f64 / 1e6;
    println!("| {what} | {megabytes:.0} | {ours:.2} | {:.0} | {:.0} | {:.2} |", megabytes / ours, megabytes / plain, ours / plain);
    Ok((last.context("no rounds")?, rounds))
}

/// Writes a file of about so many bytes in pieces, each with its CRC-32, and syncs it.
pub fn write_plain(path: &Path, bytes: usize) -> Result<()> {
    let mut file = File::create(path)?;
    let mut piece = vec![7; PIECE];
    for at in (0..bytes).step_by(PIECE) {
        piece[..8].copy_from_slice(&at.to_le_bytes());
        file.write_all(&crc32fast::hash(&piece).to_le_bytes())?;
        file.write_all(&piece)?;
    }
    Ok(file.sync_all()?)
}

/// Reads what [`write_plain`] wrote, and checks it.
pub fn read_plain(path: &Path) -> Result<()> {
    let mut file = File::open(path)?;
    let mut piece = vec![0; 4 + PIECE];
    while file.read_exact(&mut piece).is_ok() {
        ensure!(crc32fast::hash(&piece[4..]).to_le_bytes() == piece[..4], "another checksum");
    }
    Ok(())
}
