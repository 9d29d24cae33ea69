//! Months and states to measure with.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use discodiff::sources::sha256_of_file;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::decompressors::DECOMPRESSORS;
use super::limits::dumps;
use super::process::{discodiff, run};
use super::settings::Settings;

/// Other than the 6 of generated dumps, so that the bytes are others, and next to it, so that they are as quickly decompressed.
const LEVEL: u32 = 7;

/// The first two months in a folder; generated there, with so many releases, where the folder is not there or was not generated to its end.
pub fn months(settings: &Settings, folder: &Path, releases: u64) -> Result<[PathBuf; 2]> {
    let made = fs::metadata(folder.join("truth.json")).is_ok_and(|truth| truth.len() > 3);
    if !made {
        let mut command = discodiff();
        command.arg("generate").arg(folder).args(["--months", "2", "--releases", &releases.to_string()]);
        run(&mut command, &settings.work)?;
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        found.extend(Some(entry?.path()).filter(|path| path.is_dir()));
    }
    found.sort();
    found.truncate(2);
    found.try_into().ok().with_context(|| format!("{} has less than two months", folder.display()))
}

/// The months of the size that most rows are measured with.
pub fn main_months(settings: &Settings) -> Result<[PathBuf; 2]> {
    months(settings, &settings.months, settings.releases)
}

/// The month's dumps with the same content in other bytes, and their CHECKSUM.txt, in another folder.
pub fn again(settings: &Settings, month: &Path) -> Result<PathBuf> {
    let folder = settings.work.join("again");
    empty(&folder)?;
    let (mut stated, mut checksum_file) = (String::new(), String::new());
    for path in dumps(month)? {
        let name = path.file_name().context("a file has a name")?.to_string_lossy().into_owned();
        let packed: Box<dyn BufRead> = Box::new(BufReader::with_capacity(256 << 10, File::open(&path)?));
        let mut out = GzEncoder::new(BufWriter::new(File::create(folder.join(&name))?), Compression::new(LEVEL));
        std::io::copy(&mut DECOMPRESSORS[0].1(packed), &mut out)?;
        out.finish()?.into_inner()?.sync_all()?;
        let (_, sum) = sha256_of_file(&folder.join(&name))?;
        stated += &format!("{sum} {name}\n");
        checksum_file = name.split('_').take(2).chain(["CHECKSUM.txt"]).collect::<Vec<_>>().join("_");
    }
    fs::write(folder.join(checksum_file), stated)?;
    Ok(folder)
}

/// An empty folder in place of whatever was there.
pub fn empty(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    Ok(fs::create_dir_all(folder)?)
}

/// A state as another one is.
pub fn copy_of(state: &Path, name: &str) -> Result<PathBuf> {
    let copy = state.with_file_name(name);
    empty(&copy)?;
    for entry in fs::read_dir(state)? {
        let entry = entry?;
        ensure!(entry.file_type()?.is_file(), "a state is made of files");
        fs::copy(entry.path(), copy.join(entry.file_name()))?;
    }
    Ok(copy)
}
