//! Labels.

use crate::model::Kind;

use super::super::names;
use super::super::rng::Rng;
use super::super::text;
use super::{Page, Part};

impl Page<'_> {
    pub(super) fn label(&mut self, id: u64) {
        let mut rng = self.dice(Part::Size);
        let known = if rng.chance(0.37) { 0.3 + rng.weight() } else { 0.0 };
        let some = |rng: &mut Rng, share: f64, mean: f64| if known > 0.0 && rng.chance(share) { 1 + rng.round(mean * known) } else { 0 };
        self.raw("<label><id>");
        self.number(id);
        self.raw("</id>");
        // A few real labels have no name.
        if !rng.chance(0.0004) {
            self.raw("<name>");
            self.name(Kind::Label, id);
            self.raw("</name>");
        }
        if known > 0.0 && rng.chance(0.33) {
            self.contact(&mut rng);
        }
        let profile = some(&mut rng, 0.62, 200.0);
        self.prose("profile", Part::Profile, profile);
        self.quality("Needs Major Changes");
        if known > 0.0 && rng.chance(0.22) {
            let parent = self.draw(Kind::Label, &mut rng);
            self.named("parentLabel", Kind::Label, parent);
        }
        let urls = some(&mut rng, 0.4, 1.7);
        self.urls(urls);
        let sublabels = some(&mut rng, 0.13, 2.0);
        if sublabels > 0 {
            self.raw("<sublabels>");
            for _ in 0..sublabels {
                let sublabel = self.draw(Kind::Label, &mut rng);
                self.named("label", Kind::Label, sublabel);
            }
            if rng.chance(0.02) {
                self.raw("<label/>");
            }
            self.raw("</sublabels>");
        }
        self.raw("</label>");
    }

    fn contact(&mut self, rng: &mut Rng) {
        let newline = text::newline(rng);
        self.raw("<contactinfo>");
        names::stranger(&mut self.out, rng);
        for _ in 0..rng.range(1, 4) {
            self.out.extend_from_slice(newline);
            match rng.below(4) {
                0 => {
                    self.raw(rng.pick(&["Tel: +", "Fax: +", "Phone: +", "P.O. Box "]));
                    self.number(rng.below(10_000_000_000));
                }
                1 => {
                    names::word(&mut self.out, rng);
                    self.out.push(b'@');
                    names::word(&mut self.out, rng);
                    self.raw(".example");
                }
                _ => {
                    self.number(rng.range(1, 999));
                    self.out.push(b' ');
                    text::made_up(&mut self.out, rng);
                    self.raw(rng.pick(&[" Street", " Road", " Avenue", "weg", "gatan", ", Suite D"]));
                }
            }
        }
        self.raw("</contactinfo>");
    }
}
