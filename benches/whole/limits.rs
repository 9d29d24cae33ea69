//! What others do with dump files, each in a process of its own, on one thread, one file after another.

use std::fs::File;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use quick_xml::Reader;
use quick_xml::events::Event;

use super::decompressors::{DECOMPRESSORS, Decompressor};
use super::process::{self, Cost};
use super::settings::Settings;

/// What is done with a file's XML.
pub type Way = (&'static str, fn(Box<dyn BufRead>) -> Result<()>);

/// Nothing.
pub const NOTHING: Way = ("nothing", |mut xml| {
    while let read @ 1.. = black_box(xml.fill_buf()?).len() {
        xml.consume(read);
    }
    Ok(())
});

/// Events of quick-xml, in either way that it has; nothing is done with them.
pub const EVENTS: [Way; 2] = [
    ("events from a buffer", |xml| {
        let mut reader = Reader::from_reader(xml);
        let mut event = Vec::new();
        while !matches!(black_box(reader.read_event_into(&mut event))?, Event::Eof) {
            event.clear();
        }
        Ok(())
    }),
    ("events from memory", |mut xml| {
        let mut whole = Vec::new();
        xml.read_to_end(&mut whole)?;
        let mut reader = Reader::from_reader(&whole[..]);
        while !matches!(black_box(reader.read_event())?, Event::Eof) {}
        Ok(())
    }),
];

/// What the process does that [`cost`] starts.
pub fn run(arguments: &[String]) -> Result<()> {
    let [decompressor, way, files @ ..] = arguments else { bail!("a decompressor, a way and files are asked for") };
    let (_, decompress) = DECOMPRESSORS.iter().find(|(name, _)| name == decompressor).context("no such decompressor")?;
    let (_, work) = EVENTS.iter().chain([&NOTHING]).find(|(name, _)| name == way).context("no such way")?;
    for file in files {
        let packed: Box<dyn BufRead> = Box::new(BufReader::with_capacity(256 << 10, File::open(file)?));
        work(decompress(packed))?;
    }
    Ok(())
}

/// What it costs to do this with all dumps of a month.
pub fn cost(settings: &Settings, (decompressor, _): Decompressor, (way, _): Way, month: &Path) -> Result<Cost> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["limit", decompressor, way]).args(dumps(month)?);
    process::run(&mut command, &settings.work).map(|(cost, _)| cost)
}

/// The dumps of a month, in the order of their names.
pub fn dumps(month: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(month).with_context(|| month.display().to_string())? {
        files.extend(Some(entry?.path()).filter(|path| path.extension().is_some_and(|ending| ending == "gz")));
    }
    files.sort();
    Ok(files)
}

/// Bytes of XML in a month's dumps.
pub fn bytes(month: &Path) -> Result<u64> {
    let mut bytes = 0;
    for file in dumps(month)? {
        let packed: Box<dyn BufRead> = Box::new(BufReader::with_capacity(256 << 10, File::open(file)?));
        bytes += std::io::copy(&mut DECOMPRESSORS[0].1(packed), &mut std::io::sink())?;
    }
    Ok(bytes)
}
