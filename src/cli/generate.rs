//! `generate`: synthetic dumps of any size, two or more months that differ as real ones do.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::exit::Exit;
use crate::generate::{self, Counts, Options, Summary};

const EXAMPLES: &str = "\
Examples:
  discodiff generate months --months 2 --releases 20000
      two months, months/2026-01 and months/2026-02, and months/truth.json: what a diff must find
  discodiff generate months --months 3 --duplicates 9 --merges 5 --broken 4 --churn 2
      with records written twice, merged into others and malformed, and twice the usual changes

The same options give the same records, byte for byte.";

/// Write synthetic dumps of any size, two or more months that differ as real ones do, with truth.json beside them.
///
/// A folder that was generated before is replaced; any other that is not empty is left alone.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Folder to write: a folder a month, and truth.json (what a correct diff must find, per month and kind)
    pub out: PathBuf,
    /// How many months
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub months: u32,
    /// The first month
    #[arg(long, default_value = "2026-01", value_name = "YYYY-MM", value_parser = month)]
    pub first: (i32, u8),
    /// Releases in the first month
    #[arg(long, default_value_t = 20_000, value_name = "N")]
    pub releases: u64,
    /// Artists in the first month [default: half the releases]
    #[arg(long, value_name = "N")]
    pub artists: Option<u64>,
    /// Labels in the first month [default: an eighth of the releases]
    #[arg(long, value_name = "N")]
    pub labels: Option<u64>,
    /// Masters in the first month [default: an eighth of the releases]
    #[arg(long, value_name = "N")]
    pub masters: Option<u64>,
    /// Another seed gives other records
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// Times the rates at which real records change, come and go in a month
    #[arg(long, default_value_t = 1.0, value_name = "X")]
    pub churn: f64,
    /// Records a month and kind that are written twice, by turns exact and edited; the first counts
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub duplicates: u64,
    /// Artists, labels and masters a month that vanish into others, with all that refers to them
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub merges: u64,
    /// Records a month and kind that are deleted and come back a month later; needs three months
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub reinserts: u64,
    /// Records a month and kind that are malformed, by turns cut short and not UTF-8
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub broken: u64,
    /// Write this month's dumps only, with the bytes that they have among the others; truth.json tells of all
    #[arg(long, value_name = "YYYY-MM", value_parser = month_name)]
    pub only: Option<String>,
}

fn month(text: &str) -> Result<(i32, u8), String> {
    let parsed = text.split_once('-').and_then(|(year, month)| Some((year.parse().ok()?, month.parse().ok()?)));
    match parsed {
        Some((year, month)) if (1000..=9999).contains(&year) && (1..=12).contains(&month) => Ok((year, month)),
        _ => Err("a month is written like 2026-01".to_owned()),
    }
}

/// A month as it is written everywhere.
pub(super) fn month_name(text: &str) -> Result<String, String> {
    month(text).map(|(year, month)| format!("{year:04}-{month:02}"))
}

impl From<Args> for Options {
    fn from(args: Args) -> Options {
        Options {
            out: args.out,
            months: args.months,
            first: args.first,
            releases: args.releases,
            artists: args.artists,
            labels: args.labels,
            masters: args.masters,
            seed: args.seed,
            churn: args.churn,
            duplicates: args.duplicates,
            merges: args.merges,
            reinserts: args.reinserts,
            broken: args.broken,
            only: args.only,
        }
    }
}

/// Generates, and says what came of it on stderr.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let options = Options::from(args.clone());
    let total = generate::total(&options)?;
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(total) } else { ProgressBar::hidden() };
    bar.set_style(ProgressStyle::with_template("{bar:40} {human_pos} of {human_len} records, {per_sec}, {eta} left")?);
    let began = Instant::now();
    let result = generate::generate(&options, &mut |done| bar.set_position(done));
    bar.finish_and_clear();
    eprint!("{}", table(&result?, began.elapsed()));
    eprintln!("Written to {}, with truth.json.", options.out.display());
    Ok(Exit::Complete)
}

/// A column: its title, and what it shows.
type Column = (&'static str, fn(&Counts) -> u64);

/// Counts by month and kind; columns of which there is nothing are left out.
fn table(summary: &Summary, time: Duration) -> String {
    let columns: [Column; 8] = [
        ("records", |counts| counts.records),
        ("inserted", |counts| counts.inserted),
        ("updated", |counts| counts.updated),
        ("deleted", |counts| counts.deleted),
        ("duplicates", |counts| counts.duplicates),
        ("merged", |counts| counts.merged),
        ("reinserted", |counts| counts.reinserted),
        ("broken", |counts| counts.broken),
    ];
    let all = || summary.months.iter().flat_map(|(_, kinds)| &kinds.0);
    let shown: Vec<Column> = columns.into_iter().filter(|(_, count)| all().any(|counts| count(counts) > 0)).collect();
    let mut text = format!("{:<8} {:<8}", "month", "kind");
    shown.iter().for_each(|(title, _)| text += &format!(" {title:>10}"));
    text += &format!(" {:>10} {:>10}\n", "XML MB", "gzip MB");
    for (month, kinds) in &summary.months {
        for (kind, counts) in kinds.iter() {
            text += &format!("{month:<8} {:<8}", kind.plural());
            shown.iter().for_each(|(_, count)| text += &format!(" {:>10}", count(counts)));
            text += &format!(" {:>10.1} {:>10.1}\n", counts.bytes as f64 / 1e6, counts.gzipped as f64 / 1e6);
        }
    }
    let megabytes = summary.bytes() as f64 / 1e6;
    text + &format!("{megabytes:.1} MB of XML in {:.1} s, {:.0} MB/s.\n", time.as_secs_f64(), megabytes / time.as_secs_f64().max(1e-3))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn defaults_are_two_months_of_twenty_thousand_releases() {
        let options = Options::from(Cli::parse_from(["generate", "out"]).args);
        assert_eq!((options.months, options.first, options.releases, options.seed), (2, (2026, 1), 20_000, 1));
        assert_eq!(options.names(), ["2026-01", "2026-02"]);
    }

    #[test]
    fn a_month_that_is_none_is_refused() {
        for wrong in ["2026", "2026-13", "26-01", "2026-1x", "2026-00"] {
            assert!(Cli::try_parse_from(["generate", "out", "--first", wrong]).is_err(), "{wrong}");
        }
        assert_eq!(month("2025-11"), Ok((2025, 11)));
    }

    #[test]
    fn the_table_shows_only_what_there_is() {
        let mut summary = Summary { months: vec![("2026-01".to_owned(), Default::default())] };
        summary.months[0].1[crate::model::Kind::Artist].records = 7;
        let text = table(&summary, Duration::from_secs(1));
        assert!(text.contains("records") && !text.contains("merged"), "{text}");
    }
}
