//! Processes, and what they cost.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use nix::libc;

use super::settings::Settings;

/// What a process took from its start to its end.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Seconds.
    pub wall: f64,
    /// Seconds of all CPUs.
    pub cpu: f64,
    /// Most memory, in MiB. Never less than what this program had when it started the other, which is why this one holds nothing large.
    pub peak: f64,
}

/// What a refresh took, and what it told.
pub struct Refresh {
    pub cost: Cost,
    /// Records read.
    pub records: u64,
    /// Records inserted, updated and deleted.
    pub changes: u64,
}

/// Runs a command, which must succeed, and gives what it wrote.
pub fn run(command: &mut Command, work: &Path) -> Result<(Cost, Vec<u8>)> {
    let (out, err) = (work.join("stdout"), work.join("stderr"));
    command.stdin(Stdio::null()).stdout(File::create(&out)?).stderr(File::create(&err)?);
    let begun = Instant::now();
    let child = command.spawn().with_context(|| format!("{command:?}"))?;
    let (status, usage) = wait(child.id())?;
    let wall = begun.elapsed().as_secs_f64();
    ensure!(status.success(), "{command:?}: {status}\n{}", fs::read_to_string(err)?);
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    let cost = Cost { wall, cpu: seconds(usage.ru_utime) + seconds(usage.ru_stime), peak: usage.ru_maxrss as f64 / 1024.0 };
    Ok((cost, fs::read(out)?))
}

fn wait(child: u32) -> Result<(ExitStatus, libc::rusage)> {
    loop {
        let mut status = 0;
        // SAFETY: all zeros are a `rusage`; both pointers are to what lives until the call is over. Nobody else waits for the child.
        let (ended, usage) = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            (libc::wait4(child.cast_signed(), &mut status, 0, &mut usage), usage)
        };
        if ended == child.cast_signed() {
            return Ok((ExitStatus::from_raw(status), usage));
        }
        let error = std::io::Error::last_os_error();
        ensure!(error.kind() == std::io::ErrorKind::Interrupted, "waiting: {error}");
    }
}

/// `discodiff refresh` of a month, with these further arguments.
pub fn refresh(settings: &Settings, month: &Path, state: &Path, more: &[&str]) -> Result<Refresh> {
    let mut command = discodiff();
    command.args(["refresh", "--json", "--dumps"]).arg(month).arg("--state").arg(state).args(more);
    let (cost, told) = run(&mut command, &settings.work)?;
    let told: serde_json::Value = serde_json::from_slice(&told).context("what a refresh told")?;
    let kinds = told["kinds"].as_object().context("a refresh told of no kinds")?;
    let sum = |names: &[&str]| kinds.values().flat_map(|kind| names.iter().filter_map(|name| kind[name].as_u64())).sum();
    Ok(Refresh { cost, records: sum(&["received"]), changes: sum(&["inserted", "updated", "deleted"]) })
}

/// The program that is measured, with nothing but its own defaults.
pub fn discodiff() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_discodiff"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("DISCODIFF_")) {
        command.env_remove(name);
    }
    command.env("DISCODIFF_LOG", "warn");
    command
}

/// Runs one after another, each once a round, the order turned round by round; gives what each cost, round by round.
pub fn by_turns(rounds: usize, sides: &mut [Box<dyn FnMut() -> Result<Cost> + '_>]) -> Result<Vec<Vec<Cost>>> {
    let mut costs = vec![Vec::new(); sides.len()];
    for round in 0..rounds {
        for at in 0..sides.len() {
            let at = if round % 2 == 0 { at } else { sides.len() - 1 - at };
            costs[at].push(sides[at]()?);
        }
    }
    Ok(costs)
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
