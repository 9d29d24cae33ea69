//! Masters.

use crate::model::Kind;

use super::super::rng::Rng;
use super::edits::What;
use super::{Page, Part};

impl Page<'_> {
    pub(super) fn master(&mut self, id: u64) {
        let mut rng = self.dice(Part::Size);
        let weight = rng.weight();
        self.raw("<master id=\"");
        self.number(id);
        self.raw("\"><main_release>");
        let mut main = self.draw(Kind::Release, &mut rng);
        for dice in self.edits.of(What::Main).collect::<Vec<_>>() {
            let before = main;
            main = self.draw(Kind::Release, &mut Rng::new(dice));
            main += u64::from(main == before);
        }
        self.number(main);
        self.raw("</main_release>");
        let (artist, _) = self.artists(0.84);
        self.genres(0.992);
        self.element("year", &if rng.chance(0.06) { 0 } else { rng.range(1955, 2024) }.to_string());
        self.title();
        self.quality("Correct");
        let notes = if rng.chance(0.12) { rng.round(60.0 + 160.0 * weight) } else { 0 };
        self.prose("notes", Part::Notes, notes);
        let videos = if rng.chance(0.91) { 1 + rng.round(3.8 * weight) } else { 0 };
        self.videos(videos, artist);
        self.raw("</master>");
    }
}
