//! `discodiff cluster up`: all processes of a refresh on this machine, started again where one is lost.

use std::ffi::OsString;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{env, thread};

use anyhow::{Result, bail};
use clap::Args;

use super::super::exit::Exit;
use super::super::open;
use super::super::refresh::RefreshArgs;
use super::children::{Children, Ended};
use crate::settings::{Key, Mistakes, Settings};

const EXAMPLES: &str = "\
Examples:
  discodiff cluster up --processes 3 --dumps 2025-12 --state state --null
      apply a month by three processes on this machine
  discodiff cluster up --processes 4 -w 2 --kafka --brokers kafka:9092 --state state \\
      --postgres postgresql://discogs@db/discogs --follow
      each month that was published and each that comes, into PostgreSQL, until Ctrl-C

Lines on stderr say whose they are: [1] is process 1. Process 0 prints the report, and it alone has
--listen and --metrics-file. When a process is lost all are started again, five times in a row.";

/// What `discodiff cluster up` takes.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = EXAMPLES)]
pub struct UpArgs {
    /// What the processes do.
    #[command(flatten)]
    pub refresh: RefreshArgs,
}

impl UpArgs {
    /// The settings, or everything that is wrong with them, before anything is started.
    pub fn settings(&self) -> Result<Settings, Mistakes> {
        let mut refresh = self.refresh.clone();
        let mut mistakes = Mistakes::default();
        let own = [(Key::Process, refresh.cluster.process.is_some()), (Key::Hostfile, refresh.cluster.hostfile.is_some())];
        for (key, _) in own.into_iter().filter(|(_, given)| *given) {
            mistakes.add(key.flag(), "is what each process is told by `cluster up`: leave it out");
        }
        // As process 0 will be told.
        refresh.cluster.process = Some("0".to_owned());
        refresh.cluster.hostfile = Some("hosts".into());
        match refresh.needing(&[Key::State, Key::Processes]) {
            Ok(settings) if mistakes.is_empty() => return Ok(settings),
            Ok(_) => {}
            Err(others) => mistakes.append(others),
        }
        Err(mistakes)
    }
}

/// How often in a row all processes are started again.
const RESTARTS: u32 = 5;

/// Processes that lived for so long are no longer counted as started in a row.
const LASTING: Duration = Duration::from_secs(300);

/// The longest pause before they are started again.
const LONGEST: Duration = Duration::from_secs(30);

/// How long it is waited before a restart: 1 s, 2 s, 4 s and so on; tests begin with less.
fn pause(restart: u32) -> Duration {
    let first = || {
        fail::fail_point!("restart-pause", |millis| Duration::from_millis(millis.and_then(|millis| millis.parse().ok()).unwrap_or(1)));
        Duration::from_secs(1)
    };
    (first() * 2u32.saturating_pow(restart - 1)).min(LONGEST)
}

/// Starts all processes, and again where one is lost, until all are done or it is of no use.
pub fn run(settings: &Settings) -> Result<Exit> {
    // What each of them would say of files of passwords and certificates is said once.
    settings.postgres_password()?;
    settings.postgres_files()?;
    if settings.kafka {
        settings.topics()?;
    }
    let stop = open::stop_requested();
    // Behind the names of the program, the command and what it is to do.
    let given: Vec<OsString> = env::args_os().skip(3).collect();
    let mut restarts = 0;
    loop {
        let begun = Instant::now();
        let lost = match Children::start(settings, &given)?.wait(stop)? {
            Ended::With(exit) => return Ok(exit),
            Ended::Lost(words) => words,
        };
        restarts = if begun.elapsed() < LASTING { restarts + 1 } else { 1 };
        if restarts > RESTARTS {
            bail!(
                "{lost}, and all were started again {RESTARTS} times in a row: given up; once the cause is gone, the same command goes on"
            );
        }
        let pause = pause(restarts);
        tracing::warn!("{lost}: all are started again in {} s (restart {restarts})", pause.as_secs_f64());
        if slept(pause, stop) {
            return Ok(Exit::Stopped);
        }
    }
}

/// Waits; whether it was asked to stop.
fn slept(pause: Duration, stop: &AtomicBool) -> bool {
    const LOOK: Duration = Duration::from_millis(100);
    let begun = Instant::now();
    while begun.elapsed() < pause && !stop.load(Ordering::Relaxed) {
        thread::sleep(LOOK.min(pause));
    }
    stop.load(Ordering::Relaxed)
}
