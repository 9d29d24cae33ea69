//! From records to documents: reading, canonical JSON, digests; rows 3 and 4.

use std::hint::black_box;

use anyhow::Result;
use discodiff::model::document::{Artist, Document, Label, Master, Release};
use discodiff::model::{Digest, Kind, Peers};
use discodiff::xml::{self, Record, canonical};
use quick_xml::events::Event;

use super::Dump;
use super::measure::{paired, stage};
use super::reading::summed;
use super::rows::Row;

pub fn measure(dumps: &[Dump]) -> Result<()> {
    for Dump { kind, xml, records, .. } in dumps {
        let size = (records.len(), xml.len());
        let bare = "quick-xml's bare events";
        let read = || records.iter().filter(|record| xml::read(*kind, &record.raw).is_ok()).count();
        stage(&format!("read {kind}s"), size, read, bare, || events(records))?;
        let documents = || documents(*kind, records);
        stage(&format!("read, JSON, digests of {kind}s"), size, documents, bare, || events(records))?;
        let texts: Vec<_> =
            records.iter().filter_map(|record| Some(canonical(*kind, &record.raw, &mut Vec::new(), |_| false).ok()?.json)).collect();
        match kind {
            Kind::Artist => of_documents::<Artist<'_>>(*kind, &texts)?,
            Kind::Label => of_documents::<Label<'_>>(*kind, &texts)?,
            Kind::Master => of_documents::<Master<'_>>(*kind, &texts)?,
            Kind::Release => of_documents::<Release<'_>>(*kind, &texts)?,
        }
    }
    let bytes: usize = dumps.iter().map(|dump| dump.xml.len()).sum();
    let rates =
        |rounds: Vec<(f64, f64)>| -> Vec<_> { rounds.into_iter().map(|(a, b)| (bytes as f64 / 1e6 / a, bytes as f64 / 1e6 / b)).collect() };
    let all = || dumps.iter().map(|dump| documents(dump.kind, &dump.records)).sum::<usize>();
    let bare = || dumps.iter().map(|dump| events(&dump.records)).sum::<usize>();
    Row::of(3, "read, JSON and digests of every record, MB of XML a second", &rates(paired(all, bare)), 0.5, true).tell()?;
    let parts = parts(dumps);
    let two = || {
        std::thread::scope(|scope| {
            let workers =
                parts.iter().map(|part| scope.spawn(|| part.iter().map(|(kind, records)| documents(*kind, records)).sum::<usize>()));
            let workers: Vec<_> = workers.collect();
            workers.into_iter().map(|worker| worker.join().expect("a worker does not panic")).sum::<usize>()
        })
    };
    Row::of(4, "read, JSON and digests on two workers against one, MB of XML a second", &rates(paired(two, all)), 1.7, true).tell()?;
    Ok(())
}

/// Of documents that are held: writing them, and digesting what was written.
fn of_documents<'a, D: Document<'a> + serde::Deserialize<'a>>(kind: Kind, texts: &'a [impl AsRef<str>]) -> Result<()> {
    let documents = texts.iter().map(|text| Ok(serde_json::from_str(text.as_ref())?)).collect::<Result<Vec<D>>>()?;
    let texts: Vec<&[u8]> = texts.iter().map(|text| text.as_ref().as_bytes()).collect();
    let size = (texts.len(), texts.iter().map(|text| text.len()).sum());
    let (mut written, mut copied) = (Vec::new(), Vec::new());
    let write = || {
        for document in &documents {
            written.clear();
            serde_json::to_writer(&mut written, document).expect("a document can be written");
            black_box(&written);
        }
    };
    let copy = || {
        for text in &texts {
            copied.clear();
            copied.extend_from_slice(text);
            black_box(&copied);
        }
    };
    stage(&format!("JSON of {kind}s"), size, write, "copying it", copy)?;
    let digest = || texts.iter().fold(0, |sum, text| sum ^ Digest::of(text).short());
    stage(&format!("digests of {kind}s' JSON"), size, digest, "sum of 64-bit words", || {
        texts.iter().fold(0, |sum, text| sum ^ summed(text))
    })
}

/// The product's stage: all that is made of a record that changed.
fn documents(kind: Kind, records: &[Record]) -> usize {
    let mut scratch = Vec::new();
    records.iter().filter(|record| canonical(kind, &record.raw, &mut scratch, |_| false).is_ok()).count()
}

/// Records as they are dealt to two workers.
fn parts(dumps: &[Dump]) -> [Vec<(Kind, Vec<Record>)>; 2] {
    let mut parts = [Vec::new(), Vec::new()];
    for Dump { kind, records, .. } in dumps {
        for (worker, part) in parts.iter_mut().enumerate() {
            let own = records.iter().filter(|record| record.key.map_or(0, |key| Peers::alone(2).owner(key.shard())) == worker);
            part.push((*kind, own.cloned().collect()));
        }
    }
    parts
}

/// Every event of every record, and nothing done with it: no attribute is read, no reference resolved.
pub fn events(records: &[Record]) -> usize {
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
