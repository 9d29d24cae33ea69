//! The command line: one file a command, each thin. Parsing knows only syntax; what the flags mean, together with the environment
//! and the settings file, is decided in [`crate::settings`].

// Data is printed by `output`, which takes a closed pipe for what it is; `println!` panics on one.
#![deny(clippy::print_stdout)]

pub mod check;
pub mod cluster;
pub mod completions;
pub mod dead_letters;
pub mod demo;
pub mod exit;
pub mod fetch;
pub mod generate;
pub mod man;
mod open;
pub mod output;
pub mod panics;
pub mod plan;
pub mod publish;
pub mod refresh;
pub mod replay;
mod report;
mod stages;
pub mod state;
pub mod status;
pub mod verify;
mod watch;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use tracing::{debug, error, error_span, warn};

use crate::fetch::FetchError;
use crate::kafka::closing;
use crate::settings::{Flags, Mistakes, Settings, load, resolve};
use crate::sources::StoppedOnRequest;
use crate::sources::kafka::StoppedPublishing;
use crate::state::StateError;
use crate::telemetry::{Measures, log};
use exit::Exit;
use watch::Watch;

const AFTER_HELP: &str = "\
Settings come from flags, over variables DISCODIFF_..., over a settings file, over defaults.
One name everywhere: --log-format json, DISCODIFF_LOG_FORMAT=json, or log_format = \"json\" in the
settings file, discodiff.toml in this folder or the one that --config names.

Exit status:
  0  complete
  1  failed; the same command goes on, and what was complete before stays
  2  the command, a flag or a setting is wrong by itself; nothing was begun
  3  complete, but records were rejected, deletes withheld, or a sink is still behind
  4  stopped on request; the same command goes on

First steps:
  discodiff demo
      two small months through the whole way; nothing needed
  discodiff check --dumps 2025-12 --state state
      would a run go well?
  discodiff refresh --dumps 2025-12 --state state
      bring state/discodiff.sqlite to that month
  discodiff refresh --fetch --dumps dumps --state state
      get the newest month from Discogs first, if it is not there";

/// Keeps PostgreSQL, SQLite, Neo4j and a change feed equal to the monthly Discogs dumps, at the cost of what changed.
#[derive(Debug, Parser)]
#[command(name = "discodiff", version, about, after_help = AFTER_HELP, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Bring the sinks to a month: insert, update and delete what changed, and nothing else
    Refresh(refresh::RefreshArgs),
    /// Get a month's dumps from Discogs, politely, and check them
    Fetch(fetch::FetchArgs),
    /// Publish the records of dumps to Kafka topics, from which any number of refreshes can read
    Publish(publish::PublishArgs),
    /// Bring new or lost sinks up from Kafka topics, through the months or to the last one
    Replay(replay::ReplayArgs),
    /// Say what refresh would do, without writing anything
    Plan(plan::PlanArgs),
    /// Prove from their content that the sinks equal the state, and name the keys that differ
    Verify(verify::VerifyArgs),
    /// Show the months applied, the generation, and where each sink stands
    Status(status::StatusArgs),
    /// Tell which records were rejected, why, and what to do about them
    DeadLetters(dead_letters::DeadLettersArgs),
    /// Make a state that was lost anew from a store
    State(state::StateArgs),
    /// Try settings, folders and connections before a run
    Check(check::CheckArgs),
    /// Run all processes of a refresh on this machine, to try several of them out
    Cluster(cluster::ClusterArgs),
    /// Write synthetic dumps of any size, two or more months that differ as real ones do
    Generate(generate::Args),
    /// Send two small months that are built in through the whole way
    Demo(demo::DemoArgs),
    /// Print what makes a shell complete commands, flags and their values
    Completions(completions::CompletionsArgs),
    /// Write man pages, one a command
    Man(man::ManArgs),
}

impl Command {
    /// The settings of the command that was given.
    pub fn settings(&self) -> Result<Settings, Mistakes> {
        match self {
            Command::Generate(_) => load(&Flags::of(&[])),
            // A shell that starts in a folder whose settings are wrong must come up all the same.
            Command::Completions(_) | Command::Man(_) => resolve(&Flags::of(&[]), [], None),
            Command::Refresh(args) => args.settings(),
            Command::Fetch(args) => args.settings(),
            Command::Publish(args) => args.settings(),
            Command::Replay(args) => args.settings(),
            Command::Plan(args) => args.settings(),
            Command::Verify(args) => args.settings(),
            Command::Status(args) => args.settings(),
            Command::DeadLetters(args) => args.settings(),
            Command::State(args) => args.settings(),
            Command::Check(args) => args.settings(),
            Command::Cluster(args) => args.settings(),
            Command::Demo(args) => args.settings(),
        }
    }

    /// The name by which log lines and metrics tell it from others.
    const fn name(&self) -> &'static str {
        match self {
            Command::Refresh(_) => "refresh",
            Command::Fetch(_) => "fetch",
            Command::Publish(_) => "publish",
            Command::Replay(_) => "replay",
            Command::Plan(_) => "plan",
            Command::Verify(_) => "verify",
            Command::Status(_) => "status",
            Command::DeadLetters(_) => "dead-letters",
            Command::State(_) => "state",
            Command::Check(_) => "check",
            Command::Cluster(_) => "cluster",
            Command::Generate(_) => "generate",
            Command::Demo(_) => "demo",
            Command::Completions(_) => "completions",
            Command::Man(_) => "man",
        }
    }

    /// Which of several processes this one is.
    fn process(&self, settings: &Settings) -> Option<usize> {
        (matches!(self, Command::Refresh(_)) && settings.processes > 1).then_some(settings.process)
    }

    /// Whether it takes so long for real dumps that it is watched.
    const fn is_watched(&self) -> bool {
        match self {
            Command::Refresh(_) | Command::Fetch(_) | Command::Publish(_) | Command::Replay(_) | Command::Verify(_) | Command::State(_) => {
                true
            }
            Command::DeadLetters(args) => args.is_retry(),
            _ => false,
        }
    }

    fn run(&self, settings: &Settings, measures: &Arc<Measures>) -> anyhow::Result<Exit> {
        match self {
            Command::Refresh(args) => refresh::run(args, settings, measures),
            Command::Fetch(args) => fetch::run(args, settings, measures),
            Command::Publish(args) => publish::run(args, settings, measures),
            Command::Replay(args) => replay::run(args, settings, measures),
            Command::Plan(_) => plan::run(settings, measures),
            Command::Verify(args) => verify::run(args, settings, measures),
            Command::Status(_) => status::run(settings),
            Command::DeadLetters(args) => dead_letters::run(args, settings, measures),
            Command::State(_) => state::run(settings, measures),
            Command::Check(_) => check::run(settings),
            Command::Cluster(_) => cluster::run(settings),
            Command::Generate(args) => generate::run(args),
            Command::Demo(_) => demo::run(settings),
            Command::Completions(args) => completions::run(args),
            Command::Man(args) => man::run(args),
        }
    }
}

/// The whole program, after parsing.
pub fn run(cli: &Cli) -> ExitCode {
    cluster::end_with_supervisor();
    let settings = match cli.command.settings() {
        Ok(settings) => settings,
        Err(mistakes) => return usage(&mistakes).into(),
    };
    log::init(&settings.log, settings.log_format);
    let measures = Arc::new(Measures::of(cli.command.name()));
    // An error's, so that its fields are there whatever the filter lets through.
    let process = cli.command.process(&settings);
    let _run = error_span!(log::RUN, run = %measures.course().run, command = cli.command.name(), process).entered();
    debug!("settings:\n{settings}");
    let watch = match cli.command.is_watched().then(|| Watch::begin(&settings, &measures)).transpose() {
        Ok(watch) => watch,
        Err(mistakes) => return usage(&mistakes).into(),
    };
    let result = cli.command.run(&settings, &measures);
    closing::wait();
    let exit = result.unwrap_or_else(|error| failed(&error));
    if let Some(watch) = watch {
        watch.end(exit);
    }
    exit.into()
}

/// Says what went wrong.
fn failed(error: &anyhow::Error) -> Exit {
    // Some mistakes come to light only later, such as a password file that is not there.
    if let Some(mistakes) = error.downcast_ref::<Mistakes>() {
        return usage(mistakes);
    }
    if stopped(error) {
        warn!("{error:#}");
        return Exit::Stopped;
    }
    error!("{error:#}{}", error.downcast_ref().map_or("", FetchError::advice));
    Exit::Failed
}

/// Whether the user asked for the end, and nothing is wrong.
fn stopped(error: &anyhow::Error) -> bool {
    let fetching = matches!(error.downcast_ref(), Some(FetchError::Stopped(_)));
    // What an object store did not answer while the end was waited for is no failure.
    let waiting = error.is::<StateError>() && open::was_stopped();
    fetching || waiting || error.is::<StoppedOnRequest>() || error.is::<StoppedPublishing>()
}

fn usage(mistakes: &Mistakes) -> Exit {
    // As clap says its own, and not as a log line: how those look is itself a setting.
    let _ = writeln!(io::stderr(), "error: {mistakes}");
    Exit::Usage
}

#[cfg(test)]
mod tests;
