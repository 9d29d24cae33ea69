//! A small state on disk, with one file of each sort, and what is read back from it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use discodiff::dataflows::{Entry, Records};
use discodiff::model::graph::{Coded, Dictionary, EdgeId, LINKS_VERSION, Link, LinkKind};
use discodiff::model::{Fingerprint, Key, Kind, PerKind, Seat};
use discodiff::sinks::Epoch;
use discodiff::sources::BlockSize;
use discodiff::state::{
    Checkpoint, JournalWriter, Links, Manifest, PartWriter, Row, Rows, Segment, State, Storage, check, load_dictionary, replay, save_dictionary,
};
use roaring::RoaringBitmap;
use uuid::Uuid;

/// Rows of a file. Its checksum tells any three bits that are wrong in some 10 kB.
const ROWS: u64 = 100;

/// All that a state's folder says.
#[derive(Debug, Default, PartialEq)]
pub struct Content {
    /// The manifest.
    pub manifest: Option<Manifest>,
    /// Fingerprints.
    pub fingerprints: Vec<(Key, Fingerprint)>,
    /// What records assert.
    pub links: Vec<(Key, Coded)>,
    /// By how many each edge is asserted.
    pub edges: Vec<(EdgeId, u32)>,
    /// Texts by their codes.
    pub texts: BTreeMap<u32, String>,
    /// The checkpoint.
    pub checkpoint: Option<Checkpoint>,
    /// Entries of the journal.
    pub entries: Vec<(u64, u8, Vec<u8>)>,
}

/// A state's folder.
pub struct Saved {
    _temporary: tempfile::TempDir,
    /// Where it is.
    pub storage: Storage,
    folder: PathBuf,
    /// Its files as they were written, by name.
    pub files: Vec<(String, Vec<u8>)>,
    /// What they say.
    pub content: Content,
    dirty: Option<usize>,
}

impl Default for Saved {
    fn default() -> Saved {
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = temporary.path().join("state");
        let storage = Storage::from(&folder);
        write(&storage);
        let mut files = Vec::new();
        for entry in fs::read_dir(&folder).expect("listed") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if name != "lock" {
                files.push((name, fs::read(&path).expect("read")));
            }
        }
        files.sort();
        assert_eq!(files.len(), 7, "{files:?}");
        let content = read(&storage).expect("as it was written");
        Saved { _temporary: temporary, storage, folder, files, content, dirty: None }
    }
}

impl Saved {
    /// Puts other bytes in place of one file; the one that was put before is as it was again.
    pub fn put(&mut self, file: usize, bytes: &[u8]) {
        if let Some(before) = self.dirty.replace(file).filter(|before| *before != file) {
            let (name, bytes) = &self.files[before];
            fs::write(self.folder.join(name), bytes).expect("written");
        }
        fs::write(self.folder.join(&self.files[file].0), bytes).expect("written");
    }

    /// The file whose name ends like that.
    pub fn file(&self, ending: &str) -> usize {
        self.files.iter().position(|(name, _)| name.ends_with(ending)).expect(ending)
    }
}

fn key(number: u64) -> Key {
    Key::new(Kind::ALL[(number * 4 / ROWS) as usize % 4], number + 1).expect("a key")
}

fn write(storage: &Storage) {
    let mut state = State::open(storage).expect("opened");
    let mut manifest = state.manifest().clone();
    let dictionary = Dictionary::default();
    let coded = |number: u64| {
        let name = Link::to_name(LinkKind::PartOf, format!("style {number}")).with(Some("genre".to_owned()));
        let record = Link::to_record(LinkKind::MemberOf, Some(number + 1)).expect("a link");
        Coded::of(if number % 2 == 0 { &name } else { &record }, &dictionary)
    };
    let epoch = Epoch { number: 1, id: Uuid::from_u128(1) };
    let (state_id, next) = (manifest.state, manifest.generation + 1);
    fn part<R: Row>(storage: &Storage, state: Uuid, generation: u64, mut rows: Vec<R>) -> discodiff::state::Part {
        rows.sort_by_key(Row::place);
        let mut writer = PartWriter::create(storage, state, generation, Seat::ALONE).expect("created");
        rows.into_iter().for_each(|row| writer.push(row).expect("written"));
        writer.finish().expect("finished")
    }
    let fingerprint = |number: u64| Fingerprint { raw: number, document: number * 3, graph: number * 7 };
    manifest.parts = vec![part(storage, state_id, next, (0..ROWS).map(|number| (key(number), fingerprint(number))).collect())];
    let links: Vec<(Key, Coded)> = (0..ROWS).map(|number| (key(number), coded(number))).collect();
    let mut edges: Vec<(EdgeId, u32)> = links.iter().map(|(key, link)| (EdgeId::of(*key, *link), 2)).collect();
    edges.sort();
    edges.dedup();
    let (links, edges) = (vec![part(storage, state_id, next, links)], vec![part(storage, state_id, next, edges)]);
    let mut used = RoaringBitmap::new();
    let all: Result<(), ()> = dictionary.each(|code, _| {
        used.insert(code);
        Ok(())
    });
    all.expect("none fails");
    let dictionary = save_dictionary(storage, &manifest, &dictionary, &used).expect("saved");
    manifest.links = Some(Links { version: LINKS_VERSION, complete: PerKind::default(), links, edges, dictionary });
    manifest.generation = next;
    manifest.last_epoch = 2;
    state.replace(manifest.clone()).expect("replaced");

    let mut journal = JournalWriter::create(storage, &manifest, (2, 0), None, 10).expect("created");
    for tick in 10..20 {
        let updates = vec![(key(tick), fingerprint(tick))];
        let entry = Entry::Records(Box::new(Records { updates, seen: vec![tick], rejected: vec![3], anonymous: 1, ..Records::default() }));
        journal.push(tick, entry.what(), &entry.encode().expect("encoded")).expect("pushed");
    }
    let entry = Entry::Texts(vec![(5, "a text".into())]);
    journal.push(0, entry.what(), &entry.encode().expect("encoded")).expect("pushed");
    let sources = PerKind::from_fn(|kind| Some(format!("file {kind}")));
    let mut checkpoint = Checkpoint::new(&manifest, epoch, BlockSize::default(), sources, true, Vec::new());
    checkpoint.segments = journal.sync(15).expect("synced");
    checkpoint.write(storage).expect("written");
}

/// Reads all of a state, or says what is wrong with it.
pub fn read(storage: &Storage) -> Result<Content, String> {
    let words = |error: &dyn std::fmt::Display| error.to_string();
    let state = State::look(storage).map_err(|error| words(&error))?;
    let manifest = state.manifest();
    check(storage, manifest).map_err(|error| words(&error))?;
    let mut content =
        Content { manifest: Some(manifest.clone()), fingerprints: rows(storage, manifest, &manifest.parts)?, ..Content::default() };
    if let Some(links) = &manifest.links {
        content.links = rows(storage, manifest, &links.links)?;
        content.edges = rows(storage, manifest, &links.edges)?;
        let dictionary = load_dictionary(storage, manifest).map_err(|error| words(&error))?;
        let all: Result<(), ()> = dictionary.each(|code, text| {
            content.texts.insert(code, text.to_owned());
            Ok(())
        });
        all.expect("none fails");
    }
    content.checkpoint = Checkpoint::read(storage)?;
    let segments = content.checkpoint.as_ref().map_or(&[][..], |checkpoint| &checkpoint.segments);
    content.entries = entries(storage, manifest, segments)?;
    Ok(content)
}

/// The rows of parts.
pub fn rows<R: Row>(storage: &Storage, manifest: &Manifest, parts: &[discodiff::state::Part]) -> Result<Vec<R>, String> {
    let mut rows = Rows::<R>::open(storage, manifest, parts).map_err(|error| error.to_string())?;
    let mut all = Vec::new();
    while let Some(row) = rows.next().map_err(|error| error.to_string())? {
        all.push(row);
    }
    Ok(all)
}

/// The entries of journals, each of which is one or says that it is none.
pub fn entries(storage: &Storage, manifest: &Manifest, segments: &[Segment]) -> Result<Vec<(u64, u8, Vec<u8>)>, String> {
    let mut entries = Vec::new();
    let all = replay(
        storage,
        manifest,
        segments,
        |_| true,
        |tick, what, payload| {
            entries.push((tick, what, payload.to_vec()));
            Ok(())
        },
    );
    all.map(|()| entries).map_err(|error| error.to_string())
}
