//! What the stages before the diff cost, each against the least that any program must do, on the same generated records.
//!
//! ```text
//! cargo bench --bench stages            20,000 releases
//! RELEASES=5000 cargo bench --bench stages
//! ```
//!
//! Each round times both sides, one right after the other and the order turned round by round; what is told is the median of the
//! rounds' ratios. So a machine that is busy with other things makes rounds slow, and ratios little wrong.

use std::fs;
use std::hint::black_box;
use std::io::Read;
use std::time::Instant;

use anyhow::{Context, Result};
use bytes::Bytes;
use discodiff::generate::{Options, generate};
use discodiff::model::Kind;
use discodiff::xml::{Record, Splitter, canonical};
use flate2::bufread::MultiGzDecoder;
use quick_xml::events::Event;

const ROUNDS: usize = 15;

/// What the reader hands to the splitter at once.
const PIECE: usize = 1 << 20;

fn main() -> Result<()> {
    let releases = std::env::var("RELEASES").ok().map(|text| text.parse()).transpose().context("RELEASES is no number")?.unwrap_or(20_000);
    let folder = std::env::temp_dir().join(format!("discodiff-stages-{}", std::process::id()));
    let generated = generate(&Options { months: 1, ..Options::new(&folder, releases) }, &mut |_| {});
    let result = generated.map_err(anyhow::Error::from).and_then(|_| measure(&folder.join("2026-01")));
    let _ = fs::remove_dir_all(&folder);
    result
}

fn measure(month: &std::path::Path) -> Result<()> {
    println!("Medians of {ROUNDS} rounds; ratio: the second's time by the first's, so above 1 the first is faster.\n");
    println!("| kind | records | MB | first | MB/s | second | MB/s | ratio (lowest to highest) |");
    println!("| --- | ---: | ---: | --- | ---: | --- | ---: | ---: |");
    for kind in Kind::ALL {
        let packed = fs::read(month.join(format!("discogs_20260101_{}.xml.gz", kind.plural())))?;
        let mut xml = Vec::new();
        MultiGzDecoder::new(&packed[..]).read_to_end(&mut xml)?;
        let xml = Bytes::from(xml);
        let records = cut(kind, &xml);
        let row = |first: &str, second: &str, pair: Pair| {
            let rate = |seconds: f64| xml.len() as f64 / 1e6 / seconds;
            println!(
                "| {}s | {} | {:.1} | {first} | {:.0} | {second} | {:.0} | {:.2} ({:.2} to {:.2}) |",
                kind,
                records.len(),
                xml.len() as f64 / 1e6,
                rate(pair.first),
                rate(pair.second),
                pair.ratio,
                pair.lowest,
                pair.highest
            );
        };
        row("split", "inflate", paired(|| cut(kind, &xml).len(), || inflate(&packed)));
        row("split", "quick-xml's bare events", paired(|| cut(kind, &xml).len(), || events(&records)));
        let mut scratch = Vec::new();
        row(
            "parse, document, digests",
            "quick-xml's bare events",
            paired(
                || records.iter().filter(|record| canonical(kind, &record.raw, &mut scratch, |_| false).is_ok()).count(),
                || events(&records),
            ),
        );
    }
    Ok(())
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

fn inflate(packed: &[u8]) -> usize {
    let mut decoder = MultiGzDecoder::new(packed);
    let mut piece = vec![0; PIECE];
    let mut total = 0;
    while let Ok(read @ 1..) = decoder.read(&mut piece) {
        total += read;
    }
    total
}

/// Every event of every record, and nothing done with it: no attribute is read, no reference resolved.
fn events(records: &[Record]) -> usize {
    let mut count = 0;
    for record in records {
        let Ok(text) = std::str::from_utf8(&record.raw) else { continue };
        let mut reader = quick_xml::Reader::from_str(text);
        loop {
            match reader.read_event() {
                Ok(Event::Eof) | Err(_) => break,
                Ok(event) => {
                    black_box(&event);
                    count += 1;
                }
            }
        }
    }
    count
}

struct Pair {
    first: f64,
    second: f64,
    ratio: f64,
    lowest: f64,
    highest: f64,
}

fn paired<A, B>(mut first: impl FnMut() -> A, mut second: impl FnMut() -> B) -> Pair {
    let (mut firsts, mut seconds, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let (a, b) = if round % 2 == 0 {
            let a = timed(&mut first);
            (a, timed(&mut second))
        } else {
            let b = timed(&mut second);
            (timed(&mut first), b)
        };
        firsts.push(a);
        seconds.push(b);
        ratios.push(b / a);
    }
    let ratio = median(&mut ratios);
    Pair { first: median(&mut firsts), second: median(&mut seconds), ratio, lowest: ratios[0], highest: ratios[ROUNDS - 1] }
}

fn timed<T>(work: &mut impl FnMut() -> T) -> f64 {
    let begun = Instant::now();
    black_box(work());
    begun.elapsed().as_secs_f64()
}

/// The middle one; sorts.
fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
