//! Rows 11 and 13: memory and cost as the dumps grow, with no sink on one worker.

use anyhow::{Context, Result};

use super::process::{Cost, Refresh, refresh};
use super::rows::Row;
use super::settings::Settings;
use super::{input, limits};

/// Bytes of memory that the state may take for each record: what the program has besides is what row 11 is about.
const FINGERPRINT: f64 = 56.0;

/// A first load and the refresh that follows it, round by round.
struct Loads {
    releases: u64,
    records: u64,
    /// Bytes of XML, of the first month and of the second.
    bytes: [u64; 2],
    costs: [Vec<Cost>; 2],
}

pub fn measure(settings: &Settings, asked: impl Fn(u32) -> bool) -> Result<()> {
    // Memory is looked at with the largest alone.
    let sizes = if asked(13) { &settings.sizes[..] } else { &settings.sizes[settings.sizes.len() - 1..] };
    let loads = sizes.iter().map(|size| loads(settings, *size)).collect::<Result<Vec<_>>>()?;
    let largest = loads.last().context("no sizes")?;
    for (at, what) in ["first load", "refresh"].into_iter().enumerate() {
        if asked(11) {
            let state = FINGERPRINT * largest.records as f64 / f64::from(1 << 20);
            let rounds: Vec<_> = largest.costs[at].iter().map(|cost| (cost.peak - state, 512.0)).collect();
            let what = format!("{what}, {} records, MiB beside {FINGERPRINT} bytes a record", largest.records);
            Row::of(11, &what, &rounds, 1.0, false).tell()?;
        }
        if asked(13) {
            for pair in loads.windows(2) {
                let rate = |loads: &Loads, cost: &Cost| 1e9 * cost.cpu / loads.bytes[at] as f64;
                let rounds: Vec<_> = pair[1].costs[at]
                    .iter()
                    .zip(&pair[0].costs[at])
                    .map(|(more, less)| (rate(&pair[1], more), rate(&pair[0], less)))
                    .collect();
                let what = format!("{what}, CPU ns a byte of XML, {} releases against {}", pair[1].releases, pair[0].releases);
                Row::of(13, &what, &rounds, 1.1, false).tell()?;
            }
        }
    }
    Ok(())
}

fn loads(settings: &Settings, releases: u64) -> Result<Loads> {
    let months = input::months(settings, &settings.work.join(format!("months-{releases}")), releases)?;
    let state = settings.work.join("growth");
    let mut loads =
        Loads { releases, records: 0, bytes: [limits::bytes(&months[0])?, limits::bytes(&months[1])?], costs: Default::default() };
    for _ in 0..settings.rounds {
        input::empty(&state)?;
        for (month, costs) in months.iter().zip(&mut loads.costs) {
            let Refresh { cost, records, .. } = refresh(settings, month, &state, &["--null", "-w", "1"])?;
            loads.records = records;
            costs.push(cost);
        }
    }
    Ok(loads)
}
