//! `discodiff dead-letters list`.

use clap::Args;
use serde_json::{Map, json};

use super::{PlaceFlags, kind, letters, object, text};
use crate::cli::exit::Exit;
use crate::cli::output;
use crate::model::Kind;
use crate::settings::Settings;
use crate::sinks::Sink;
use crate::sinks::letters::{LetterCount, Which};
use crate::telemetry::words::count;

const EXAMPLES: &str = "\
Examples:
  discodiff dead-letters list --state state
      the open ones of state/discodiff.sqlite: whose, file and byte, since when, why
  discodiff dead-letters list --postgres postgresql://discogs@db/discogs --kind release --limit 1000
      those of PostgreSQL, of releases only
  discodiff dead-letters list --state state --all --json | jq -r '.letters[] | .reason'
      with those that a later month has cleared, as JSON

One is cleared when a later dump of its kind was read whole (what that one rejected has entries of
its own), or else when its record changed, or was rejected again. One store is asked.";

/// What `discodiff dead-letters list` takes.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = EXAMPLES)]
pub struct ListArgs {
    /// Only of this kind: artist, label, master or release
    #[arg(long, value_name = "KIND", value_parser = kind)]
    pub kind: Option<Kind>,
    /// Show so many at most, 1 to 100000
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
    /// Show those too that a later month has cleared
    #[arg(long)]
    pub all: bool,
    /// Where they are.
    #[command(flatten)]
    pub place: PlaceFlags,
}

/// Shows the oldest of each kind first.
pub fn run(args: &ListArgs, settings: &Settings, store: &mut dyn Sink) -> anyhow::Result<Exit> {
    let name = store.name();
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| args.kind.is_none_or(|only| only == *kind)).collect();
    let which = if args.all { Which::All } else { Which::Open };
    let store = letters(store)?;
    let counts = store.count()?;
    let mut found = Vec::new();
    for kind in &kinds {
        found.extend(store.letters(*kind, which, args.limit as usize - found.len())?);
        if found.len() >= args.limit as usize {
            break;
        }
    }
    let number = |of: fn(&LetterCount) -> u64| kinds.iter().map(|kind| of(&counts[*kind])).sum::<u64>();
    let (open, cleared) = (number(|counts| counts.open), number(|counts| counts.cleared));
    if settings.json {
        let of = |of: fn(&LetterCount) -> u64| {
            kinds.iter().map(|kind| (kind.name().to_owned(), json!(of(&counts[*kind])))).collect::<Map<_, _>>()
        };
        output::json(&json!({
            "store": name,
            "letters": found.iter().map(object).collect::<Vec<_>>(),
            "open": of(|counts| counts.open),
            "cleared": of(|counts| counts.cleared),
        }))?;
        return Ok(Exit::Complete);
    }
    let rows: Vec<[String; 4]> = found
        .iter()
        .map(|letter| [text::whose(letter), text::place(letter), text::printable(&letter.stage).into_owned(), text::since(&letter.first)])
        .collect();
    let wide = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [wide(0), wide(1), wide(2), wide(3)];
    let mut words = String::new();
    for (letter, row) in found.iter().zip(&rows) {
        for (text, width) in row.iter().zip(widths) {
            words += &format!("{text:<width$}  ");
        }
        words += &text::printable(&letter.reason);
        words += &letter.cleared.map(|epoch| format!(" [cleared in epoch {epoch}]")).unwrap_or_default();
        words.push('\n');
    }
    words += &match open {
        0 => format!("{name}: no dead letter is open"),
        _ => format!("{name}: {} open", count(open)),
    };
    let each =
        kinds.iter().filter(|kind| counts[**kind].open > 0).map(|kind| format!("{} of {}", count(counts[*kind].open), kind.plural()));
    let each = each.collect::<Vec<_>>().join(", ");
    words += &if each.is_empty() { String::new() } else { format!(" ({each})") };
    words += &match cleared {
        0 => String::new(),
        _ if args.all => format!(", {} cleared", count(cleared)),
        _ => format!(", {} cleared (--all shows them)", count(cleared)),
    };
    words.push('\n');
    let unshown = if args.all { open + cleared } else { open }.saturating_sub(found.len() as u64);
    if unshown > 0 {
        words += &format!("{} more are not shown: raise --limit, or name a --kind\n", count(unshown));
    }
    output::text(&words)?;
    Ok(Exit::Complete)
}
