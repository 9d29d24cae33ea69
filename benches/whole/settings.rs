//! What can be set from the environment: `benches/end-to-end.sh` says what each is.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result, ensure};

pub struct Settings {
    /// Releases of the first month; the rest in proportion.
    pub releases: u64,
    pub rounds: usize,
    /// Months of that size; generated where they are not there.
    pub months: PathBuf,
    /// Where states and other months go.
    pub work: PathBuf,
    /// Releases of the first month, of rising inputs.
    pub sizes: Vec<u64>,
    /// Which part of all of Discogs row 12 generates.
    pub whole: f64,
}

impl Settings {
    pub fn from_environment() -> Result<Settings> {
        let releases = setting("RELEASES", 200_000)?;
        let work = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("whole");
        std::fs::create_dir_all(&work)?;
        let months = std::env::var_os("MONTHS").map_or_else(|| work.join(format!("months-{releases}")), PathBuf::from);
        let sizes = match std::env::var("SIZES") {
            Ok(text) => text.split_whitespace().map(str::parse).collect::<Result<_, _>>().context("SIZES are no numbers")?,
            Err(_) => vec![releases / 20, releases / 2, releases * 5],
        };
        ensure!(sizes.len() > 1, "SIZES are several");
        Ok(Settings { releases, rounds: setting("ROUNDS", 5)?, months, work, sizes, whole: setting("WHOLE", 1.0)? })
    }
}

fn setting<T: FromStr>(name: &str, default: T) -> Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name} is {text}, which is no number")),
        Err(_) => Ok(default),
    }
}
