//! Releases.

use crate::model::Kind;

use super::super::rng::Rng;
use super::super::text;
use super::super::vocabulary::{COUNTRIES, ENTITIES, FORMATS, IDENTIFIERS, SOCIETIES};
use super::super::words::{ODD, TITLE};
use super::tracks::Sides;
use super::{Page, Part};

impl Page<'_> {
    pub(super) fn release(&mut self, id: u64) {
        let mut rng = self.dice(Part::Size);
        let weight = rng.weight();
        // Sections grow with the record, but not all alike.
        let some = |rng: &mut Rng, share: f64, mean: f64| {
            let mean = mean * weight * (0.4 + 0.6 * rng.weight());
            if rng.chance(share) { 1 + rng.round(mean) } else { 0 }
        };
        self.raw("<release id=\"");
        self.number(id);
        self.raw("\" status=\"Accepted\">");
        let (artist, various) = self.artists(0.0);
        self.title();
        let label_code = self.labels();
        let credits = some(&mut rng, 0.82, 2.3);
        self.credits(credits);
        let vinyl = self.formats();
        self.genres(1.0);
        self.element("country", rng.favour(COUNTRIES));
        self.released();
        let notes = some(&mut rng, 0.77, 250.0);
        self.prose("notes", Part::Notes, notes);
        self.quality("Needs Vote");
        self.of_master();
        let tracks = 1 + rng.round(4.7 * weight);
        let sides = match vinyl {
            true => Sides::Lettered(tracks.div_ceil(2).clamp(1, 6)),
            false if tracks > 20 => Sides::Discs(18),
            false => Sides::Plain,
        };
        let (compiled, credited) = (various || rng.chance(0.13), if rng.chance(0.5) { rng.unit() } else { 0.0 });
        self.tracklist(tracks, sides, compiled, credited);
        let identifiers = some(&mut rng, 0.8, 2.8);
        self.identifiers(identifiers, label_code);
        let videos = some(&mut rng, 0.81, 3.0);
        self.videos(videos, artist);
        let companies = some(&mut rng, 0.77, 3.4);
        self.companies(companies);
        self.raw("</release>");
    }

    /// `<labels>`, and `<series>` where there are any; gives dice for the catalogue number.
    fn labels(&mut self) -> u64 {
        let mut rng = self.dice(Part::Labels);
        let code = rng.next();
        self.raw("<labels>");
        let mut id = self.draw(Kind::Label, &mut rng);
        let n = 1 + rng.round(0.19);
        for at in 0..n {
            // One label with two catalogue numbers is more common than two labels.
            if at > 0 && rng.chance(0.4) {
                id = self.draw(Kind::Label, &mut rng);
            }
            self.label_like("label", id);
            match rng.below(12) {
                0 => self.raw("none"),
                _ => self.catno(code, at),
            }
            self.raw("\" id=\"");
            self.number(id);
            self.raw("\"/>");
        }
        self.raw("</labels>");
        if rng.chance(0.074) {
            self.raw("<series>");
            for _ in 0..1 + rng.round(0.03) {
                let id = self.draw(Kind::Label, &mut rng);
                self.label_like("series", id);
                if rng.chance(0.7) {
                    self.number(rng.range(1, 60));
                }
                self.raw("\" id=\"");
                self.number(id);
                self.raw("\"/>");
            }
            self.raw("</series>");
        }
        code
    }

    fn label_like(&mut self, tag: &str, id: u64) {
        self.out.push(b'<');
        self.raw(tag);
        self.raw(" name=\"");
        self.name(Kind::Label, id);
        self.raw("\" catno=\"");
    }

    fn catno(&mut self, code: u64, variant: u64) {
        let mut rng = Rng::new(code);
        for _ in 0..rng.range(2, 4) {
            self.out.push(b'A' + rng.below(26) as u8);
        }
        self.raw(["-", " ", "", "/"][((code >> 7) + variant) as usize % 4]);
        let number = rng.below(2000);
        if number < 100 {
            self.out.push(b'0');
        }
        self.number(number);
    }

    /// `<formats>`; gives whether it is a record with sides.
    fn formats(&mut self) -> bool {
        let mut rng = self.dice(Part::Formats);
        let mut sided = false;
        self.raw("<formats>");
        let n = if rng.chance(0.03) { rng.range(2, 4) } else { 1 };
        for at in 0..n {
            let (name, descriptions) = rng.favour(FORMATS);
            sided |= at == 0 && matches!(name, "Vinyl" | "Cassette" | "Shellac");
            self.raw("<format name=\"");
            self.raw(name);
            self.raw("\" qty=\"");
            match rng.below(20_000) {
                // There are real ones like this.
                0 => (0..8).for_each(|_| self.raw("90817263")),
                1..1500 => self.number(rng.range(2, 12)),
                _ => self.number(1),
            }
            self.raw("\" text=\"");
            if rng.chance(0.13) {
                self.raw(rng.pick(TITLE));
                self.raw(rng.pick(&["", " Translucent", " Marbled", ", 180g", " &quot;Splatter&quot;", " &amp; White"]));
            }
            self.raw("\"><descriptions>");
            let (from, count) = (rng.below(descriptions.len() as u64), 1 + rng.round(0.9));
            for at in 0..count {
                self.element("description", descriptions[((from + at * 5) % descriptions.len() as u64) as usize]);
            }
            self.raw("</descriptions></format>");
        }
        self.raw("</formats>");
        sided
    }

    fn released(&mut self) {
        let mut rng = self.dice(Part::Date);
        let form = rng.below(1000);
        if form < 16 {
            return;
        }
        self.raw("<released>");
        match form {
            16..19 => self.raw(rng.pick(&["Unknown", "?", "199?", "late 1980s", "Summer 2001", "c. 1975", "20th century", "2001-2"])),
            _ => self.number(rng.range(1958, 2024)),
        }
        match form {
            19..280 => {
                self.out.push(b'-');
                let month = rng.range(1, 12);
                text::two(&mut self.out, month);
                self.raw("-00");
            }
            280..290 => self.raw("-00-00"),
            290..660 => {
                for part in [rng.range(1, 12), rng.range(1, 28)] {
                    self.out.push(b'-');
                    text::two(&mut self.out, part);
                }
            }
            _ => {}
        }
        self.raw("</released>");
    }

    fn of_master(&mut self) {
        let mut rng = self.dice(Part::Master);
        if rng.chance(0.16) {
            return self.raw("<master_id is_main_release=\"false\">0</master_id>");
        }
        let master = self.draw(Kind::Master, &mut rng);
        self.raw(if rng.chance(0.55) { "<master_id is_main_release=\"true\">" } else { "<master_id is_main_release=\"false\">" });
        self.number(master);
        self.raw("</master_id>");
    }

    fn identifiers(&mut self, n: u64, code: u64) {
        if n == 0 {
            return;
        }
        let mut rng = self.dice(Part::Identifiers);
        self.raw("<identifiers>");
        for _ in 0..n {
            let (kind, descriptions) = rng.favour(IDENTIFIERS);
            self.raw("<identifier type=\"");
            self.raw(kind);
            self.raw("\" description=\"");
            self.raw(rng.pick(descriptions));
            self.raw("\" value=\"");
            match kind {
                "Matrix / Runout" => {
                    self.catno(code, 0);
                    for _ in 0..rng.range(1, 3) {
                        self.out.push(b' ');
                        match rng.below(5) {
                            0 => text::made_up(&mut self.out, &mut rng),
                            1 => self.raw(rng.pick(&["A1", "B1", "A2", "B-2", "MT &lt;&gt;", "S̶T̶", "&quot;etched&quot;", "△", "&#9;"])),
                            2 if rng.chance(0.05) => self.raw(rng.pick(ODD).trim()),
                            _ => self.number(rng.below(100_000)),
                        }
                    }
                }
                "Barcode" => {
                    self.number(rng.below(10));
                    self.out.push(b' ');
                    self.number(rng.range(100_000, 999_999));
                    self.out.push(b' ');
                    self.number(rng.range(100_000, 999_999));
                }
                "Rights Society" => self.raw(rng.pick(SOCIETIES)),
                "Label Code" => {
                    self.raw("LC ");
                    self.number(rng.range(100, 99_999));
                }
                _ => {
                    self.raw(rng.pick(&["IFPI ", "IFPI L", "D.L. ", "PX ", "C-"]));
                    self.number(rng.range(10, 99_999));
                }
            }
            self.raw("\"/>");
        }
        self.raw("</identifiers>");
    }

    fn companies(&mut self, n: u64) {
        if n == 0 {
            return;
        }
        let mut rng = self.dice(Part::Companies);
        let mut id = self.draw(Kind::Label, &mut rng);
        self.raw("<companies>");
        for at in 0..n {
            if at > 0 && rng.chance(0.8) {
                id = self.draw(Kind::Label, &mut rng);
            }
            self.raw("<company><id>");
            self.number(id);
            self.raw("</id><name>");
            self.name(Kind::Label, id);
            self.raw("</name>");
            if rng.chance(0.057) {
                self.raw("<catno>");
                self.number(rng.below(1_000_000));
                self.raw("</catno>");
            }
            let (number, done) = rng.favour(ENTITIES);
            self.element("entity_type", number);
            self.element("entity_type_name", done);
            self.raw("<resource_url>https://api.discogs.com/labels/");
            self.number(id);
            self.raw("</resource_url></company>");
        }
        self.raw("</companies>");
    }
}
