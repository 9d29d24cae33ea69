//! Records as they stand in a dump. Any record of any month is made alone, again and again, from its place.

mod artist;
mod credits;
mod edits;
mod label;
mod master;
mod release;
mod tracks;
mod video;

use crate::model::Kind;

use super::names;
use super::plan::Break;
use super::rng::{Rng, hash};
use super::text;
use super::world::World;
use edits::Edits;

/// Sections of a record. Each has dice of its own, so that an edit of one leaves the others as they are.
#[derive(Clone, Copy)]
enum Part {
    Size = 100,
    Artists,
    Title,
    Labels,
    Credits,
    Formats,
    Styles,
    Date,
    Notes,
    Master,
    Tracks,
    Identifiers,
    Videos,
    Companies,
    Profile,
    Urls,
    Names,
    Groups,
    Quality,
}

/// A record that is being written: one a kind is made, and used for all its records.
pub(super) struct Page<'w> {
    world: &'w World,
    kind: Kind,
    /// The text.
    pub out: Vec<u8>,
    /// What it refers to.
    pub refs: Vec<(Kind, u64)>,
    edits: Edits,
    /// Dice of the record.
    dice: u64,
    place: u64,
    born: usize,
    month: usize,
}

impl<'w> Page<'w> {
    /// An empty page for records of one kind.
    pub fn new(world: &'w World, kind: Kind) -> Page<'w> {
        Page { world, kind, out: Vec::new(), refs: Vec::new(), edits: Edits::default(), dice: 0, place: 0, born: 0, month: 0 }
    }

    /// Writes a record as it stands in a month; with one more edit, that differs from all others, where a number for it is given.
    pub fn write(&mut self, place: u64, month: usize, more: Option<u64>) {
        let plan = &self.world.plans[self.kind];
        (self.place, self.month, self.born) = (place, month, plan.born(place));
        self.dice = hash([self.world.seed, self.kind as u64, place]);
        self.edits.collect(plan, place, self.born, month, more);
        self.out.clear();
        self.refs.clear();
        let id = plan.id(place);
        match self.kind {
            Kind::Artist => self.artist(id),
            Kind::Label => self.label(id),
            Kind::Master => self.master(id),
            Kind::Release => self.release(id),
        }
    }

    /// Whether something that the record refers to is merged in this month.
    pub fn touched(&self, month: usize) -> bool {
        self.refs.iter().any(|(of, id)| self.world.plans[*of].merged[month].contains_key(id))
    }

    /// The record that was written, malformed somewhere after its own id.
    pub fn spoiled(&self, how: Break) -> Vec<u8> {
        let mut rng = Rng::new(hash([self.dice, self.month as u64]));
        let (mut text, own) = (self.out.clone(), own_end(&self.out));
        match how {
            Break::Cut => {
                let last = text.len() - self.kind.name().len() - 2;
                let mut at = rng.range(own as u64, last as u64) as usize;
                // Not within a character, and not where a label of another ends as this one would.
                while at > own && (text[at] & 0xC0 == 0x80 || text[..at].ends_with(b">")) {
                    at -= 1;
                }
                text.truncate(at);
            }
            Break::Utf8 => {
                let ends = |at: &usize| text[*at..].starts_with(b"</") && text[at - 1] != b'>';
                let all: Vec<usize> = (own..text.len()).filter(ends).collect();
                text.insert(all[rng.below(all.len() as u64) as usize], 0xFF);
            }
        }
        text
    }

    fn dice(&self, part: Part) -> Rng {
        Rng::new(hash([self.dice, part as u64]))
    }

    fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn number(&mut self, number: u64) {
        text::number(&mut self.out, number);
    }

    /// `<tag>text</tag>`
    fn element(&mut self, tag: &str, text: &str) {
        self.open(tag);
        self.raw(text);
        self.close(tag);
    }

    fn open(&mut self, tag: &str) {
        self.out.push(b'<');
        self.raw(tag);
        self.out.push(b'>');
    }

    fn close(&mut self, tag: &str) {
        self.raw("</");
        self.raw(tag);
        self.out.push(b'>');
    }

    fn name(&mut self, of: Kind, id: u64) {
        self.world.name(&mut self.out, of, id);
    }

    /// Draws what to refer to, as it is called in this month.
    fn draw(&mut self, of: Kind, rng: &mut Rng) -> u64 {
        let id = self.world.draw(of, self.born, rng);
        self.refer(of, id)
    }

    /// Refers to a record, or to the one that it was merged into.
    fn refer(&mut self, of: Kind, id: u64) -> u64 {
        let id = self.world.moved(of, id, self.month);
        self.refs.push((of, id));
        id
    }

    /// `<tag id="ID">NAME</tag>`
    fn named(&mut self, tag: &str, of: Kind, id: u64) {
        self.out.push(b'<');
        self.raw(tag);
        self.raw(" id=\"");
        self.number(id);
        self.raw("\">");
        self.name(of, id);
        self.close(tag);
    }

    fn quality(&mut self, common: &str) {
        let mut rng = self.dice(Part::Quality);
        let qualities = super::vocabulary::QUALITIES;
        let first = if rng.chance(0.6) { common } else { rng.favour(qualities) };
        let at = qualities.iter().position(|quality| *quality == first).unwrap_or(0);
        self.element("data_quality", qualities[(at + self.edits.of(edits::What::Quality).count()) % qualities.len()]);
    }

    /// `<urls>`, where there are any.
    fn urls(&mut self, n: u64) {
        let mut rng = self.dice(Part::Urls);
        let added: Vec<u64> = self.edits.of(edits::What::Url).collect();
        if n as usize + added.len() > 0 {
            self.raw("<urls>");
            for _ in 0..n {
                self.url(&mut rng);
            }
            for dice in added {
                self.url(&mut Rng::new(dice));
            }
            self.raw("</urls>");
        }
    }

    fn url(&mut self, rng: &mut Rng) {
        self.raw("<url>");
        text::address(&mut self.out, rng);
        self.raw("</url>");
    }

    /// `<title>`, the record's own.
    fn title(&mut self) {
        self.raw("<title>");
        let mut rng = self.dice(Part::Title);
        text::title(&mut self.out, &mut rng);
        for dice in self.edits.of(edits::What::Title) {
            self.out.push(b' ');
            text::made_up(&mut self.out, &mut Rng::new(dice));
        }
        self.raw("</title>");
    }

    /// Prose of about this many bytes and what edits add to it, in an element, where there is any.
    fn prose(&mut self, tag: &str, part: Part, bytes: u64) {
        let added: Vec<u64> = self.edits.of(edits::What::Notes).collect();
        if bytes == 0 && added.is_empty() {
            return;
        }
        self.open(tag);
        if bytes > 0 {
            let mut rng = self.dice(part);
            text::prose(&mut self.out, &mut rng, bytes);
        }
        for dice in added {
            self.out.push(b' ');
            text::sentence(&mut self.out, &mut Rng::new(dice));
        }
        self.close(tag);
    }

    /// `<genres>` and `<styles>`.
    fn genres(&mut self, with_styles: f64) {
        let mut rng = self.dice(Part::Styles);
        let (genres, styles) = (super::vocabulary::GENRES, super::vocabulary::STYLES);
        let first = rng.favour(genres);
        self.raw("<genres>");
        self.element("genre", first);
        let second = rng.favour(genres);
        if rng.chance(0.12) && second != first {
            self.element("genre", second);
        }
        self.raw("</genres>");
        let n = if rng.chance(with_styles) { 1 + rng.round(1.1) } else { 0 };
        let added: Vec<u64> = self.edits.of(edits::What::Style).collect();
        if n as usize + added.len() == 0 {
            return;
        }
        self.raw("<styles>");
        let mut seen = 0u64;
        for at in 0..n as usize + added.len() {
            let drawn = if at < n as usize { rng.unit() } else { Rng::new(added[at - n as usize]).unit() };
            let mut style = (drawn * drawn * styles.len() as f64) as usize;
            while seen & (1 << style) != 0 {
                style = (style + 1) % styles.len();
            }
            seen |= 1 << style;
            self.element("style", styles[style]);
        }
        self.raw("</styles>");
    }

    /// Appends how an artist is called on this sleeve, as `<anv>`.
    fn variation(&mut self, id: u64, rng: &mut Rng) {
        self.raw("<anv>");
        names::variation(&mut self.out, self.world.seed, id, rng);
        self.raw("</anv>");
    }
}

/// Where the statement of a record's own id ends.
fn own_end(text: &[u8]) -> usize {
    let digit = text.iter().position(u8::is_ascii_digit).unwrap_or(0);
    digit + text[digit..].iter().position(|byte| *byte == b'>').unwrap_or(0) + 1
}
