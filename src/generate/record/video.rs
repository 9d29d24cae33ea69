//! Videos, which change more than all else in masters and releases.

use super::super::names;
use super::super::rng::{Rng, hash};
use super::super::text;
use super::edits::What;
use super::{Page, Part};
use crate::model::Kind;

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

struct Video {
    dice: u64,
    retitled: Option<u64>,
}

impl Page<'_> {
    /// `<videos>`: `n` at first, and what edits made of them. Their titles have the artist's name and titles of tracks.
    pub(super) fn videos(&mut self, n: u64, artist: u64) {
        let first = hash([self.dice, Part::Videos as u64]);
        let mut videos: Vec<Video> = (0..n).map(|at| Video { dice: hash([first, at]), retitled: None }).collect();
        for (what, dice) in self.edits.all() {
            match what {
                What::VideoDropped if !videos.is_empty() => drop(videos.remove(0)),
                What::VideoRetitled if !videos.is_empty() => videos[0].retitled = Some(dice),
                What::VideoAdded | What::VideoDropped | What::VideoRetitled => videos.push(Video { dice, retitled: None }),
                _ => {}
            }
        }
        if videos.is_empty() {
            return;
        }
        self.raw("<videos>");
        // Whoever uploads a record's tracks says the same of each.
        let uploader = Rng::new(hash([first, u64::MAX])).chance(0.8).then_some(first);
        for video in videos {
            self.video(video, artist, uploader);
        }
        self.raw("</videos>");
    }

    fn video(&mut self, video: Video, artist: u64, uploader: Option<u64>) {
        let mut rng = Rng::new(video.dice);
        self.raw("<video src=\"https://www.youtube.com/watch?v=");
        let address = rng.next();
        for at in 0..11 {
            self.out.push(DIGITS[(address.rotate_left(at * 6) & 63) as usize]);
        }
        self.raw("\" duration=\"");
        self.number(if rng.chance(0.01) { 0 } else { rng.range(60, 560) });
        self.raw(if rng.chance(0.995) { "\" embed=\"true\">" } else { "\" embed=\"false\">" });
        let track = rng.below(8);
        self.raw("<title>");
        let named = rng.chance(0.6);
        if named {
            self.name(Kind::Artist, artist);
            self.raw(rng.pick(&[" - ", " - ", " – ", ": "]));
        }
        self.track_title(track);
        if let Some(dice) = video.retitled {
            self.out.push(b' ');
            text::made_up(&mut self.out, &mut Rng::new(dice));
        }
        self.raw("</title>");
        match rng.below(100) {
            0..6 => {}
            6..8 => self.raw("<description> </description>"),
            _ => self.described(&mut rng, artist, track, uploader),
        }
        self.raw("</video>");
    }

    fn described(&mut self, rng: &mut Rng, artist: u64, track: u64, uploader: Option<u64>) {
        let newline = text::newline(rng);
        self.raw("<description>");
        if rng.chance(0.5) {
            self.name(Kind::Artist, artist);
            self.raw(" · ");
        }
        self.track_title(track);
        self.out.extend_from_slice(newline);
        if let Some(same) = uploader {
            let mut rng = Rng::new(same);
            self.out.extend_from_slice(newline);
            let bytes = rng.range(40, 150);
            text::prose(&mut self.out, &mut rng, bytes);
        }
        if uploader.is_none() || rng.chance(0.2) {
            let bytes = rng.range(1, 150);
            text::prose(&mut self.out, rng, bytes);
        }
        match rng.below(6) {
            0 => {
                self.out.extend_from_slice(newline);
                text::address(&mut self.out, rng);
            }
            1 => {
                self.out.extend_from_slice(newline);
                self.out.extend_from_slice(newline);
                self.raw("℗ ");
                self.number(rng.range(1955, 2025));
                self.out.push(b' ');
                names::stranger(&mut self.out, rng);
            }
            _ => {}
        }
        self.raw("</description>");
    }

    /// The title of one of the record's tracks, or of a track that it would have.
    pub(super) fn track_title(&mut self, track: u64) {
        text::title(&mut self.out, &mut Rng::new(hash([self.dice, Part::Tracks as u64, track])));
    }
}
