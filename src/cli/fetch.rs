//! `discodiff fetch`: gets a month's dumps.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::exit::Exit;
use super::generate::month_name;
use super::{open, output};
use crate::fetch::{Fetched, Fetcher, Fetching};
use crate::settings::{FetchFlags, Flags, Key, Mistakes, MonitorFlags, OutputFlags, Settings, load};
use crate::telemetry::words::{bytes, duration};
use crate::telemetry::{Cause, Measures, Phase};

const EXAMPLES: &str = "\
Examples:
  discodiff fetch --dumps dumps
      the newest month that is complete, into dumps/2026-08 or whichever it is
  discodiff fetch --dumps dumps --month 2025-12
      that month
  discodiff refresh --dumps dumps/2025-12 --state state
      then apply it
  discodiff refresh --fetch --dumps dumps --state state
      both in one, and nothing where the newest month was applied: for a timer

Each file is checked against CHECKSUM.txt, and stands under its name only once it is whole. What is
there and whole is not fetched again, so an interrupted fetch is made good by the same command; a
file that was cut begins anew, since the place sends files as a whole only. It lets some 15 requests
pass and then asks to wait for about an hour: that is told and waited for, two hours at most.
Proxies are taken from HTTPS_PROXY, ALL_PROXY and NO_PROXY.";

/// What `discodiff fetch` takes.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = EXAMPLES)]
pub struct FetchArgs {
    /// Folder of the months: each is fetched into a folder of its own in it, such as 2025-12
    #[arg(long, value_name = "DIR")]
    pub dumps: Option<PathBuf>,
    /// Which month [default: the newest that is complete]
    #[arg(long, value_name = "YYYY-MM", value_parser = month_name)]
    pub month: Option<String>,
    /// Where from.
    #[command(flatten)]
    pub from: FetchFlags,
    /// Settings file [default: DISCODIFF_CONFIG, else discodiff.toml in this folder, if it is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Who watches.
    #[command(flatten)]
    pub monitor: MonitorFlags,
    /// What is printed.
    #[command(flatten)]
    pub output: OutputFlags,
}

impl FetchArgs {
    /// The settings, or everything that is wrong with them.
    pub fn settings(&self) -> Result<Settings, Mistakes> {
        let mut flags = Flags::of(&[&self.from, &self.monitor, &self.output]).needing(&[Key::Dumps]);
        flags.give(Key::Dumps, self.dumps.as_ref());
        flags.config.clone_from(&self.config);
        // A file that says where refresh reads from says nothing here.
        flags.give(Key::Kafka, Some("false"));
        load(&flags)
    }
}

/// Fetches, and says what came of it.
pub fn run(args: &FetchArgs, settings: &Settings, measures: &Measures) -> anyhow::Result<Exit> {
    let fetched = fetching(settings, measures, |fetcher| {
        let offered = match &args.month {
            Some(month) => fetcher.month(month),
            None => fetcher.newest(),
        }?;
        Ok(fetcher.take(offered)?)
    })?;
    if settings.json {
        output::json(&fetched)?;
    } else {
        output::text(&table(&fetched))?;
    }
    Ok(Exit::Complete)
}

/// Fetches into the folder that the settings name. Bars are done with when this ends.
pub fn fetching<T>(settings: &Settings, measures: &Measures, work: impl FnOnce(&mut Fetcher) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let progress = Arc::new(open::progress());
    measures.course().enter(Phase::Fetching);
    measures.shows(&progress);
    // The place may ask to be left alone for an hour; one that says nothing is given up by the client.
    let _waiting = measures.waits().within(Cause::Source.name());
    work(&mut Fetcher::new(Fetching {
        folder: settings.dumps_dir()?.to_owned(),
        place: settings.fetch_url.clone(),
        stop: Arc::clone(open::stop_requested()),
        progress,
    })?)
}

/// What was fetched, a line a file.
pub fn table(fetched: &Fetched) -> String {
    let Fetched { month, folder, files, .. } = fetched;
    let time = |seconds: f64| duration(Duration::from_secs_f64(seconds));
    let mut text = if files.values().any(|file| file.fetched) {
        format!("{month} fetched into {} in {}", folder.display(), time(fetched.seconds))
    } else {
        format!("{month} is there and whole, in {}: no dump was fetched", folder.display())
    };
    if fetched.waited_seconds > 0.0 {
        text += &format!(", of which {} were waited for the place", time(fetched.waited_seconds));
    }
    text += "\n\n";
    for (kind, file) in files {
        let said = if file.fetched { "fetched, checked" } else { "was there, checked" };
        text += &format!("{:<10} {:>12}  {said}\n", kind.plural(), bytes(file.bytes));
    }
    text
}
