//! Tracklists.

use super::super::rng::{Rng, hash};
use super::super::text;
use super::{Page, Part};

/// How positions are counted.
#[derive(Clone, Copy)]
pub(super) enum Sides {
    /// A1, A2, B1: so many tracks a side.
    Lettered(u64),
    /// 1, 2, 3.
    Plain,
    /// 1-01, 1-02, 2-01: so many tracks a disc.
    Discs(u64),
}

impl Page<'_> {
    /// `<tracklist>`; `credited`: how often tracks have credits.
    pub(super) fn tracklist(&mut self, n: u64, sides: Sides, compiled: bool, credited: f64) {
        let mut rng = Rng::new(hash([self.dice, Part::Tracks as u64]));
        let (timed, mut again) = (rng.chance(0.62), None);
        self.raw("<tracklist>");
        for at in 0..n {
            let heading = rng.chance(0.02);
            let indexed = rng.chance(0.0007);
            self.raw("<track>");
            if !heading && !indexed {
                self.raw("<position>");
                self.position(at, sides);
                self.raw("</position>");
            }
            self.raw("<title>");
            self.track_title(at);
            self.raw("</title>");
            if timed && !heading && rng.chance(0.98) {
                self.timed(&mut rng);
            }
            if !heading && compiled {
                self.track_artists(&mut rng);
            }
            if !heading && rng.chance(credited) {
                self.raw("<extraartists>");
                let credits = 1 + rng.round(1.0);
                self.some_credits(credits, 0.0, &mut again, &mut rng);
                self.raw("</extraartists>");
            }
            if indexed {
                self.sub_tracks(at, sides, &mut rng);
            }
            self.raw("</track>");
        }
        self.raw("</tracklist>");
    }

    fn sub_tracks(&mut self, at: u64, sides: Sides, rng: &mut Rng) {
        self.raw("<sub_tracks>");
        for sub in 0..rng.range(2, 6) {
            self.raw("<track><position>");
            self.position(at, sides);
            self.out.extend_from_slice(&[b'.', b'a' + sub as u8]);
            self.raw("</position><title>");
            text::title(&mut self.out, rng);
            self.raw("</title>");
            if rng.chance(0.4) {
                self.timed(rng);
            }
            if rng.chance(0.3) {
                self.track_artists(rng);
            }
            if rng.chance(0.2) {
                self.raw("<extraartists>");
                self.some_credits(1, 0.0, &mut None, rng);
                self.raw("</extraartists>");
            }
            self.raw("</track>");
        }
        self.raw("</sub_tracks>");
    }

    fn timed(&mut self, rng: &mut Rng) {
        self.raw("<duration>");
        let seconds = if rng.chance(0.004) { rng.range(3600, 9000) } else { rng.range(90, 510) };
        text::duration(&mut self.out, seconds);
        self.raw("</duration>");
    }

    fn position(&mut self, at: u64, sides: Sides) {
        match sides {
            Sides::Lettered(tracks) => {
                self.out.push(b'A' + (at / tracks % 26) as u8);
                self.number(at % tracks + 1);
            }
            Sides::Plain => self.number(at + 1),
            Sides::Discs(tracks) => {
                self.number(at / tracks + 1);
                self.out.push(b'-');
                text::two(&mut self.out, at % tracks % 99 + 1);
            }
        }
    }
}
