//! Whole processes, each beside the least that any program must do for the same: refreshes that read files, with no sink.
//!
//! ```text
//! cargo bench --bench whole                 rows 1, 2, 3, 11, 13 of the table of targets, and 9 where there are servers
//! cargo bench --bench whole -- 1 2          some rows
//! ```
//!
//! `benches/end-to-end.sh` runs this with the servers, and says what can be set from the environment. What is told are medians of rounds, in each
//! of which both sides run one right after the other, in another order from round to round. Where a row is about CPU time it is that of all
//! threads of the process, as the kernel counted it.

#[path = "../decompressors.rs"]
mod decompressors;
mod growth;
mod input;
mod limits;
mod process;
mod refreshes;
#[path = "../rows.rs"]
mod rows;
mod servers;
mod settings;
mod whole;

use anyhow::{Context, Result};
use settings::Settings;

/// Rows that are measured where none is named; the whole of Discogs is measured by name only.
const ROWS: [u32; 6] = [1, 2, 3, 9, 11, 13];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let Some(("limit", rest)) = arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        return limits::run(rest);
    }
    let named: Vec<u32> = arguments.iter().map(|text| text.parse()).collect::<Result<_, _>>().context("rows are named by number")?;
    let servers = servers::Servers::from_environment();
    let asked = |row: u32| if named.is_empty() { ROWS.contains(&row) && (row != 9 || servers.is_some()) } else { named.contains(&row) };
    let settings = Settings::from_environment()?;
    if [1, 2, 3].into_iter().any(asked) {
        refreshes::measure(&settings, asked)?;
    }
    if asked(9) {
        servers
            .as_ref()
            .context("row 9 needs DISCODIFF_TEST_POSTGRES and DISCODIFF_TEST_NEO4J, whose graph it wipes")?
            .measure(&settings)?;
    }
    if asked(11) || asked(13) {
        growth::measure(&settings, asked)?;
    }
    if asked(12) {
        whole::measure(&settings)?;
    }
    Ok(())
}
