//! What each stage costs, against the least that any program must do for the same, on the same generated records in memory.
//!
//! ```text
//! cargo bench --bench stages                      20,000 releases, all stages, rows 3 and 4 of the table of targets
//! RELEASES=5000 cargo bench --bench stages -- sinks
//! ```
//!
//! Each round times both sides, one right after the other and the order turned round by round; what is told is the median of the
//! rounds' ratios. So a machine that is busy with other things makes rounds slow, and ratios little wrong.

#[path = "../decompressors.rs"]
mod decompressors;
mod diff;
mod measure;
mod reading;
mod records;
#[path = "../rows.rs"]
mod rows;
mod sinks;

use std::fs;
use std::io::Read;

use anyhow::{Context, Result};
use bytes::Bytes;
use discodiff::generate::{Options, generate};
use discodiff::model::Kind;
use discodiff::xml::{Record, Splitter};

/// What the reader hands to the splitter at once.
const PIECE: usize = 1 << 20;

/// One kind's dump: the file, what is in it, and the records in that.
pub struct Dump {
    kind: Kind,
    packed: Bytes,
    xml: Bytes,
    records: Vec<Record>,
}

fn main() -> Result<()> {
    let releases = std::env::var("RELEASES").ok().map(|text| text.parse()).transpose().context("RELEASES is no number")?.unwrap_or(20_000);
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    generate(&Options { months: 1, ..Options::new(folder.path().join("months"), releases) }, &mut |_| {})?;
    let dumps = Kind::ALL.map(|kind| {
        let packed = Bytes::from(fs::read(folder.path().join(format!("months/2026-01/discogs_20260101_{}.xml.gz", kind.plural())))?);
        let mut xml = Vec::new();
        decompressors::DECOMPRESSORS[0].1(Box::new(std::io::Cursor::new(packed.clone()))).read_to_end(&mut xml)?;
        let xml = Bytes::from(xml);
        Ok(Dump { kind, packed, records: cut(kind, &xml), xml })
    });
    let dumps = dumps.into_iter().collect::<Result<Vec<_>>>()?;
    measure::heading();
    let stages = [reading::measure, records::measure, diff::measure, sinks::measure];
    let wanted = |name: &str| asked.is_empty() || asked.iter().any(|asked| asked == name);
    let named = ["reading", "records", "diff", "sinks"].into_iter().zip(stages);
    named.filter(|(name, _)| wanted(name)).try_for_each(|(_, measure)| measure(&dumps))
}

/// The splitter, as the reader drives it.
fn cut(kind: Kind, xml: &Bytes) -> Vec<Record> {
    let mut splitter = Splitter::new(kind);
    let mut records = Vec::new();
    for at in (0..xml.len()).step_by(PIECE) {
        splitter.feed(xml.slice(at..xml.len().min(at + PIECE)), &mut records);
    }
    splitter.finish(None, &mut records);
    records
}
