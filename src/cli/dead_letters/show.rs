//! `discodiff dead-letters show`.

use anyhow::bail;
use clap::Args;
use serde_json::json;

use super::{PlaceFlags, kind, letters, object, text};
use crate::cli::exit::Exit;
use crate::cli::output;
use crate::model::{Key, Kind};
use crate::settings::Settings;
use crate::sinks::hint;
use crate::sinks::letters::{Letter, Which};
use crate::sinks::{DeadLetters, Sink};
use crate::telemetry::words::count;

const EXAMPLES: &str = "\
Examples:
  discodiff dead-letters show artist 5 --state state
      the newest of that record: where and why it was rejected, what to do about it, and its bytes
  discodiff dead-letters show discogs_20260101_artists.xml.gz:36 --state state
      one that has no id, by file and position as list prints them
  discodiff dead-letters show artist 5 --state state --raw > artist-5.xml
      its bytes and nothing else

Bytes are shown as text, with what is no text as \\xff; --raw writes them as they are. Of a record
above 64 MiB only the first 64 KiB were kept; of one that a store refused, its document as JSON.";

/// How many of one record are looked for; one a month is 40 years' worth.
const MOST: usize = 500;

/// What `discodiff dead-letters show` takes.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = EXAMPLES, override_usage = "discodiff dead-letters show [OPTIONS] <KIND ID|FILE:POSITION>")]
pub struct ShowArgs {
    /// Kind and id, as artist 5; or file and position, as discogs_20260101_artists.xml.gz:36
    #[arg(value_name = "KIND ID|FILE:POSITION", num_args = 1..=2, required = true)]
    pub which: Vec<String>,
    /// The one of this epoch [default: the newest]
    #[arg(long, value_name = "N")]
    pub epoch: Option<u64>,
    /// Write the bytes to stdout as they are, and nothing else
    #[arg(long, conflicts_with = "json")]
    pub raw: bool,
    /// Where they are.
    #[command(flatten)]
    pub place: PlaceFlags,
}

/// Which record is asked for.
enum Asked<'a> {
    Record(Kind, u64),
    Place(&'a str, u64),
}

impl Asked<'_> {
    /// What the arguments name, or what is wrong with them.
    fn parse(which: &[String]) -> Result<Asked<'_>, String> {
        match which {
            [name, id] => {
                let kind = kind(name)?;
                let key = id.parse().ok().and_then(|id| Key::new(kind, id));
                key.map(|key| Asked::Record(kind, key.id())).ok_or_else(|| format!("{id} is no id of a record: a number from 1 on"))
            }
            [place] => place
                .rsplit_once(':')
                .and_then(|(file, position)| Some(Asked::Place(file, position.parse().ok()?)))
                .ok_or_else(|| format!("{place} is neither kind and id, as artist 5, nor FILE:POSITION, as list prints it")),
            _ => Err("one record is named by kind and id, or by FILE:POSITION".to_owned()),
        }
    }

    /// All that the store has of it, newest first.
    fn find(&self, store: &mut dyn DeadLetters) -> anyhow::Result<Vec<Letter>> {
        Ok(match *self {
            Asked::Record(kind, id) => store.letters(kind, Which::Of(id), MOST)?,
            Asked::Place(file, position) => {
                let mut found = Vec::new();
                for kind in Kind::ALL {
                    found.extend(store.letters(kind, Which::At(file, position), MOST)?);
                }
                found
            }
        })
    }
}

impl ShowArgs {
    /// The mistake in what is asked for, if there is one.
    pub fn mistake(&self) -> Option<String> {
        Asked::parse(&self.which).err()
    }
}

/// Shows one.
pub fn run(args: &ShowArgs, settings: &Settings, store: &mut dyn Sink) -> anyhow::Result<Exit> {
    let name = store.name();
    let store = letters(store)?;
    let asked = args.which.join(" ");
    let found = Asked::parse(&args.which).map_err(anyhow::Error::msg)?.find(store)?;
    let Some(at) = found.iter().position(|letter| args.epoch.is_none_or(|epoch| epoch == letter.epoch.epoch)) else {
        match (found.is_empty(), args.epoch) {
            (false, Some(epoch)) => bail!("{name} holds no dead letter of {asked} from epoch {epoch}, but from {}", epochs(&found)),
            _ => bail!("{name} holds no dead letter of {asked}; dead-letters list --all shows what it holds"),
        }
    };
    let letter = &found[at];
    let Some(raw) = store.raw(letter)? else { bail!("{name} lost the dead letter of {asked} while it was read; try again") };
    if args.raw {
        output::bytes(&raw)?;
        return Ok(Exit::Complete);
    }
    let others: Vec<&Letter> = found.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, letter)| letter).collect();
    if settings.json {
        let mut object = object(letter);
        object["store"] = json!(name);
        object["hint"] = json!(hint(&letter.stage, &letter.reason));
        object["utf8"] = json!(std::str::from_utf8(&raw).is_ok());
        // As JSON can say it: a program that needs more takes --raw.
        object["raw"] = std::str::from_utf8(&raw).map_or_else(|_| json!(text::readable(&raw)), |text| json!(text));
        object["others"] = others.iter().map(|letter| self::object(letter)).collect();
        output::json(&object)?;
        return Ok(Exit::Complete);
    }
    let mut words = format!("{}\n", text::whose(letter));
    let mut line = |name: &str, value: &str| words += &format!("  {name:<9} {value}\n");
    line("where", &text::place(letter));
    line("stage", &text::printable(&letter.stage));
    line("reason", &text::printable(&letter.reason));
    line("rejected", &format!("{}, at {}", text::since(&letter.epoch), text::printable(&letter.at)));
    if letter.first != letter.epoch {
        line("first", &text::since(&letter.first));
    }
    line("now", &letter.cleared.map_or_else(|| "open".to_owned(), |epoch| format!("cleared in epoch {epoch}")));
    line("hint", hint(&letter.stage, &letter.reason));
    for other in others.iter().take(10) {
        line("also", &format!("{}, {}", text::place(other), text::since(&other.epoch)));
    }
    words += &format!("  {} bytes:\n\n{}\n", count(letter.bytes), text::readable(&raw));
    output::text(&words)?;
    Ok(Exit::Complete)
}

fn epochs(found: &[Letter]) -> String {
    let mut epochs: Vec<String> = found.iter().map(|letter| letter.epoch.epoch.to_string()).collect();
    epochs.dedup();
    epochs.join(", ")
}
