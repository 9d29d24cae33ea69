//! Row 12: the whole of Discogs, once.

use std::fs;

use anyhow::Result;

use super::input;
use super::process::{Refresh, discodiff, refresh, run};
use super::rows::Row;
use super::settings::Settings;

/// Records of all of Discogs, by the option that asks for them.
const RECORDS: [(&str, f64); 4] = [("--releases", 19.3e6), ("--artists", 10.2e6), ("--masters", 2.6e6), ("--labels", 2.4e6)];

/// What each of the months may take: seconds, GiB.
const MONTHS: [(&str, &str, f64, f64); 2] = [("2026-01", "first load", 900.0, 3.5), ("2026-02", "refresh", 300.0, 3.0)];

pub fn measure(settings: &Settings) -> Result<()> {
    let (folder, state) = (settings.work.join("whole"), settings.work.join("whole-state"));
    input::empty(&state)?;
    for (month, what, seconds, memory) in MONTHS {
        // What a run that was ended had made is taken as it is.
        let made = folder.join(month).join(format!("discogs_{}01_CHECKSUM.txt", month.replace('-', ""))).exists();
        if !made {
            // One month at a time, since each takes some 16 GB of disk: generating one takes the one before away.
            let mut command = discodiff();
            command.arg("generate").arg(&folder).args(["--months", "2", "--only", month]);
            for (kind, all) in RECORDS {
                command.args([kind, &((all * settings.whole) as u64).to_string()]);
            }
            run(&mut command, &settings.work)?;
        }
        let Refresh { cost, records, .. } = refresh(settings, &folder.join(month), &state, &["--null", "-w", "2"])?;
        let tell = |unit, value, limit| Row::of(12, &format!("{what}, {records} records, {unit}"), &[(value, limit)], 1.0, false).tell();
        tell("wall seconds", cost.wall, seconds)?;
        tell("GiB of memory", cost.peak / 1024.0, memory)?;
    }
    fs::remove_dir_all(folder)?;
    Ok(fs::remove_dir_all(state)?)
}
