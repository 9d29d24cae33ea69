//! Links per record in excerpts of real dumps, and what all of Discogs comes to by them.
//!
//! There are excerpts from all over the ids (2020-08), and of the first ids (2025-11, 2025-12). The first are reckoned with: they give
//! the numbers of edges that a Neo4j of all of Discogs is reported to hold.

use std::collections::{BTreeMap, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use discodiff::model::Kind;
use discodiff::model::graph::{Link, LinkKind, Relation};
use discodiff::xml::{Splitter, canonical};
use flate2::bufread::MultiGzDecoder;

use crate::made::RECORDS;

/// Bytes that a link, a shared edge, and a text beside its own bytes take in memory, as `cargo bench --bench links` finds, and on disk.
const BYTES: [(f64, f64); 3] = [(14.1, 20.0), (32.5, 24.0), (25.0, 8.0)];

/// The links of every record in an excerpt.
struct Sample(Vec<Vec<Link<Box<str>>>>);

impl Sample {
    fn read(folder: &Path, day: &str, kind: Kind) -> Result<Sample> {
        let path = folder.join(format!("{}-{}/discogs_{day}_{}.xml.gz", &day[..4], &day[4..6], kind.plural()));
        let packed = std::fs::read(&path).with_context(|| format!("{}: DISCODIFF_REAL_DUMPS names the folder of dumps", path.display()))?;
        let (mut xml, mut records, mut splitter) = (Vec::new(), Vec::new(), Splitter::new(kind));
        MultiGzDecoder::new(&packed[..]).read_to_end(&mut xml)?;
        splitter.feed(Bytes::from(xml), &mut records);
        splitter.finish(None, &mut records);
        let mut scratch = Vec::new();
        let links = records.iter().map(|record| {
            let canonical = canonical(kind, &record.raw, &mut scratch, |_| true).map_err(|error| anyhow!(error))?;
            Ok(canonical.projection.context("no projection")?.links.clone())
        });
        Ok(Sample(links.collect::<Result<_>>()?))
    }

    fn links(&self, kind: LinkKind) -> impl Iterator<Item = &Link<Box<str>>> {
        self.0.iter().flatten().filter(move |link| link.kind == kind)
    }

    fn a_record(&self, kind: LinkKind) -> f64 {
        self.links(kind).count() as f64 / self.0.len() as f64
    }

    /// Share of the records that have any.
    fn have(&self, kind: LinkKind) -> f64 {
        self.0.iter().filter(|links| links.iter().any(|link| link.kind == kind)).count() as f64 / self.0.len() as f64
    }

    /// Distinct texts among so many links, as their number grew from every second record to all: `distinct x (links / these links)^rise`.
    fn growth(&self, kind: LinkKind, text: TextOf) -> Growth {
        let of = |step: usize| {
            let texts: Vec<&str> =
                self.0.iter().step_by(step).flatten().filter(|link| link.kind == kind).filter_map(|link| text(link).as_deref()).collect();
            (texts.len() as f64, texts.into_iter().collect::<HashSet<_>>())
        };
        let ((links, texts), (half_links, half_texts)) = (of(1), of(2));
        let distinct = texts.len() as f64;
        let rise = (distinct / half_texts.len() as f64).ln() / (links / half_links).ln();
        Growth { links, distinct, rise, length: texts.iter().map(|text| text.len()).sum::<usize>() as f64 / distinct }
    }
}

type TextOf = fn(&Link<Box<str>>) -> &Option<Box<str>>;

struct Growth {
    links: f64,
    distinct: f64,
    rise: f64,
    length: f64,
}

/// Prints all tables.
pub fn tell() -> Result<()> {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/dumps");
    let folder = std::env::var_os("DISCODIFF_REAL_DUMPS").map_or_else(default, PathBuf::from).join("real");
    let mut wide = BTreeMap::new();
    for kind in Kind::ALL {
        wide.insert(kind, Sample::read(&folder, "20200801", kind)?);
    }
    let mut first = BTreeMap::new();
    first.insert(Kind::Master, Sample::read(&folder, "20251201", Kind::Master)?);
    first.insert(Kind::Release, Sample::read(&folder, "20251101", Kind::Release)?);
    by_record(&wide, &first);
    by_relation(&wide, &first);
    texts(&wide[&Kind::Release], &first[&Kind::Release]);
    Ok(())
}

type Samples = BTreeMap<Kind, Sample>;

fn by_record(wide: &Samples, first: &Samples) {
    println!(
        "| records | links | a record, all over | have any | a record, first ids | have any |\n| --- | --- | ---: | ---: | ---: | ---: |"
    );
    for (kind, link) in Kind::ALL.into_iter().flat_map(|kind| LinkKind::ALL.map(|link| (kind, link))) {
        let told = |sample: &Sample| format!("{:.3} | {:.1} %", sample.a_record(link), 100.0 * sample.have(link));
        if wide[&kind].links(link).next().is_some() {
            println!("| {}s | {link:?} | {} | {} |", kind, told(&wide[&kind]), first.get(&kind).map_or("|".to_owned(), told));
        }
    }
}

/// A relation, what asserts it, and what is told of its number of edges in a Neo4j of all of Discogs, in millions.
const RELATIONS: [(Relation, &[LinkKind], Option<f64>); 10] = [
    (Relation::By, &[LinkKind::By], Some(26.0)),
    (Relation::On, &[LinkKind::On], Some(20.6)),
    (Relation::DerivedFrom, &[LinkKind::DerivedFrom], Some(19.0)),
    (Relation::Is, &[LinkKind::IsGenre, LinkKind::IsStyle], Some(61.2)),
    (Relation::MemberOf, &[LinkKind::MemberOf, LinkKind::HasMember], Some(2.3)),
    (Relation::AliasOf, &[LinkKind::AliasOf], Some(4.9)),
    // The excerpt's sublabels have lost their ids; each is named by a parent as it names that.
    (Relation::SublabelOf, &[LinkKind::SublabelOf, LinkKind::SublabelOf], Some(0.278)),
    (Relation::PartOf, &[LinkKind::PartOf], Some(0.01)),
    (Relation::CreditedOn, &[LinkKind::CreditedOn], None),
    (Relation::SameAs, &[LinkKind::SameAs], None),
];

fn by_relation(wide: &Samples, first: &Samples) {
    println!("\n| relation | links, M | by first ids, M | edges, M | reported, M | arranged in | MB in memory | MB on disk |");
    println!("| --- | ---: | ---: | ---: | ---: | --- | ---: | ---: |");
    let mut all = [0.0; 5];
    for (relation, kinds, reported) in RELATIONS {
        let millions = |samples: &Samples| -> f64 {
            let of = |(kind, records): (Kind, u64)| {
                let sample = samples.get(&kind).or(wide.get(&kind));
                sample.map_or(0.0, |sample| kinds.iter().map(|link| sample.a_record(*link)).sum::<f64>() * records as f64 / 1e6)
            };
            RECORDS.into_iter().map(of).sum()
        };
        let (links, by_first) = (millions(wide), millions(first));
        let edges = match relation {
            Relation::MemberOf | Relation::SublabelOf => links / 2.0,
            Relation::PartOf => reported.unwrap_or_default(),
            // At most: one an artist, who has one name in a dump.
            Relation::SameAs => RECORDS[0].1 as f64 / 1e6,
            _ => links,
        };
        let (shared, arranged) = if kinds[0].is_shared() { (edges, "links and edges") } else { (0.0, "links") };
        let [in_memory, on_disk] = [links * BYTES[0].0 + shared * BYTES[1].0, links * BYTES[0].1 + shared * BYTES[1].1];
        for (sum, number) in all.iter_mut().zip([links, by_first, edges, in_memory, on_disk]) {
            *sum += number;
        }
        let (name, reported) = (relation.name(), reported.map_or(String::new(), |reported| reported.to_string()));
        println!("| {name} | {links:.2} | {by_first:.2} | {edges:.2} | {reported} | {arranged} | {in_memory:.0} | {on_disk:.0} |");
    }
    let [links, by_first, edges, in_memory, on_disk] = all;
    println!("| all | {links:.2} | {by_first:.2} | {edges:.2} | | | {in_memory:.0} | {on_disk:.0} |");
}

/// What the dictionary comes to: its texts go on growing as they did in the samples, of which the one that gives more is taken.
fn texts(wide: &Sample, first: &Sample) {
    let releases = RECORDS[3].1 as f64;
    println!("\n| texts | sample | links | distinct | rise | bytes long | in all, M | MB in memory | MB on disk |");
    println!("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let texts: [(&str, LinkKind, TextOf, f64); 3] = [
        ("names", LinkKind::CreditedOn, |link| &link.name, RECORDS[0].1 as f64),
        ("roles", LinkKind::CreditedOn, |link| &link.property, f64::MAX),
        ("catalogue numbers", LinkKind::On, |link| &link.property, f64::MAX),
    ];
    let (mut memory, mut disk) = (0.0, 0.0);
    for (name, kind, text, most) in texts {
        let links = wide.a_record(kind) * releases;
        let mut largest = (0.0, 0.0);
        for (sample, growth) in [("all over", wide.growth(kind, text)), ("first ids", first.growth(kind, text))] {
            let Growth { links: seen, distinct, rise, length } = growth;
            let number = (distinct * (links / seen).powf(rise)).min(most);
            let (in_memory, on_disk) = (number * (length + BYTES[2].0) / 1e6, number * (length + BYTES[2].1) / 1e6);
            println!(
                "| {name} | {sample} | {seen} | {distinct} | {rise:.3} | {length:.1} | {:.1} | {in_memory:.0} | {on_disk:.0} |",
                number / 1e6
            );
            if in_memory > largest.0 {
                largest = (in_memory, on_disk);
            }
        }
        (memory, disk) = (memory + largest.0, disk + largest.1);
    }
    println!("| all, of each the larger | | | | | | | {memory:.0} | {disk:.0} |");
    for (sample, of) in [("all over", wide), ("first ids", first)] {
        let artists: HashSet<_> = of.links(LinkKind::SameAs).map(|link| link.id).collect();
        let edges: HashSet<_> = of.links(LinkKind::SameAs).map(|link| (link.id, &link.name)).collect();
        println!("\nSAME_AS, {sample}: {} edges of {} artists", edges.len(), artists.len());
    }
}
