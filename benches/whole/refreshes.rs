//! Rows 1 to 3: refreshes and a first load with no sink on one worker, against those who only decompress or parse the same files.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::decompressors::DECOMPRESSORS;
use super::input;
use super::limits::{self, EVENTS, NOTHING, Way};
use super::process::{Cost, Refresh, by_turns, median, refresh};
use super::rows::Row;
use super::settings::Settings;

const NO_SINK: [&str; 3] = ["--null", "-w", "1"];

/// A row and what it says of wall and CPU time, each with its target.
type Target = (u32, &'static str, f64);

pub fn measure(settings: &Settings, asked: impl Fn(u32) -> bool) -> Result<()> {
    let [first, second] = input::main_months(settings)?;
    let state = settings.work.join("state");
    input::empty(&state)?;
    refresh(settings, &first, &state, &NO_SINK)?;
    if asked(1) {
        let again = input::again(settings, &first)?;
        let targets = [(1, "refresh, nothing changed, wall seconds", 1.15), (1, "refresh, nothing changed, CPU seconds", 1.4)];
        refreshed(settings, &again, &state, 0, targets)?;
    }
    if asked(2) {
        let changes = refresh(settings, &second, &input::copy_of(&state, "round")?, &NO_SINK)?.changes;
        ensure!(changes > 0, "nothing changed from the first month to the second");
        let targets = [(2, "refresh, a month of churn, wall seconds", 1.3), (2, "refresh, a month of churn, CPU seconds", 1.7)];
        refreshed(settings, &second, &state, changes, targets)?;
    }
    if asked(3) {
        let load = || {
            let state = settings.work.join("round");
            input::empty(&state)?;
            Ok(refresh(settings, &first, &state, &NO_SINK)?.cost)
        };
        let costs = beside(settings, &first, &EVENTS, Box::new(load))?;
        told((3, "first load, CPU seconds", 1.8), &costs, |cost| cost.cpu)?;
    }
    Ok(())
}

/// Refreshes from a month against decompressing it.
fn refreshed(settings: &Settings, month: &Path, state: &Path, changes: u64, [wall, cpu]: [Target; 2]) -> Result<()> {
    let ours = || {
        // Outside of the time: what is measured begins with the process.
        let Refresh { cost, changes: found, .. } = refresh(settings, month, &input::copy_of(state, "round")?, &NO_SINK)?;
        ensure!(found == changes, "{found} changes, not {changes}");
        Ok(cost)
    };
    let costs = beside(settings, month, &[NOTHING], Box::new(ours))?;
    told(wall, &costs, |cost| cost.wall)?;
    told(cpu, &costs, |cost| cost.cpu)
}

/// Costs of the product, and of each decompressor with each of these ways.
fn beside<'s>(
    settings: &'s Settings,
    month: &'s Path,
    ways: &'s [Way],
    ours: Box<dyn FnMut() -> Result<Cost> + 's>,
) -> Result<Vec<Vec<Cost>>> {
    let mut sides = vec![ours];
    for decompressor in DECOMPRESSORS {
        sides.extend(ways.iter().map(|way| Box::new(move || limits::cost(settings, decompressor, *way, month)) as Box<_>));
    }
    by_turns(settings.rounds, &mut sides)
}

/// The limit is the one that is the fastest by the median.
fn told((row, what, target): Target, costs: &[Vec<Cost>], of: fn(&Cost) -> f64) -> Result<()> {
    let middle = |costs: &&Vec<Cost>| median(costs.iter().map(of).collect());
    let (ours, others) = costs.split_first().context("no sides")?;
    let limit = others.iter().min_by(|a, b| middle(a).total_cmp(&middle(b))).context("no limit")?;
    let rounds: Vec<_> = ours.iter().map(of).zip(limit.iter().map(of)).collect();
    Ok(Row::of(row, what, &rounds, target, false).tell()?)
}
