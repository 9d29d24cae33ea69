//! Releases.

use super::{Credit, Document, Image, Imprint, Projection, Text, Unmapped, Video, object};
use crate::model::Kind;

object! {
    /// A release.
    Release<'a> {
        /// Its id.
        id: Option<Text<'a>>,
        /// Its status; gone from the dumps by 2026-08.
        status: Option<Text<'a>>,
        /// Its title.
        title: Option<Text<'a>>,
        /// When it came out, as the dump says: `1999-03-00`, `1999` or free text.
        released: Option<Text<'a>>,
        /// The year of `released`, where that begins with one.
        year: Option<u32>,
        /// Where it came out.
        country: Option<Text<'a>>,
        /// Notes.
        notes: Option<Text<'a>>,
        /// How far the record was checked.
        data_quality: Option<Text<'a>>,
        /// Its master's id; absent when the dump says 0.
        master_id: Option<Text<'a>>,
        /// Whether it is its master's main release.
        master_is_main_release: Option<bool>,
        /// Whose it is.
        artists: Vec<Credit<'a>>,
        /// Who else had a part in it.
        extraartists: Vec<Credit<'a>>,
        /// Labels and catalogue numbers.
        labels: Vec<Imprint<'a>>,
        /// Series.
        series: Vec<Imprint<'a>>,
        /// Formats.
        formats: Vec<Format<'a>>,
        /// Genres.
        genres: Vec<Text<'a>>,
        /// Styles.
        styles: Vec<Text<'a>>,
        /// Tracks and headings.
        tracklist: Vec<Track<'a>>,
        /// Barcodes, matrix numbers and the like.
        identifiers: Vec<Identifier<'a>>,
        /// Companies that had a part in it.
        companies: Vec<Company<'a>>,
        /// Videos.
        videos: Vec<Video<'a>>,
        /// Images.
        images: Vec<Image<'a>>,
        /// Everything else.
        unmapped: Unmapped<'a>,
    }
}

object! {
    /// A format of a release.
    Format<'a> {
        /// `Vinyl`, `CD`.
        name: Option<Text<'a>>,
        /// How many, as text: up to 64 digits.
        qty: Option<Text<'a>>,
        /// Free text, such as a colour.
        text: Option<Text<'a>>,
        /// `12"`, `Album`.
        descriptions: Vec<Text<'a>>,
    }
}

object! {
    /// A track, a heading or an index track.
    Track<'a> {
        /// Where on the release; not always a number, not always there.
        position: Option<Text<'a>>,
        /// Its title.
        title: Option<Text<'a>>,
        /// As printed.
        duration: Option<Text<'a>>,
        /// Whose it is, where that differs from the release's artists.
        artists: Vec<Credit<'a>>,
        /// Who else had a part in it.
        extraartists: Vec<Credit<'a>>,
        /// The tracks within it.
        sub_tracks: Vec<Track<'a>>,
    }
}

object! {
    /// A barcode, matrix number or the like.
    Identifier<'a> {
        /// Of what kind.
        r#type: Option<Text<'a>>,
        /// What it reads.
        value: Option<Text<'a>>,
        /// Where it stands.
        description: Option<Text<'a>>,
    }
}

object! {
    /// A company that had a part in a release.
    Company<'a> {
        /// Its id, that of a label.
        id: Option<Text<'a>>,
        /// Its name.
        name: Option<Text<'a>>,
        /// Catalogue number.
        catno: Option<Text<'a>>,
        /// Number of its part.
        entity_type: Option<Text<'a>>,
        /// Name of its part.
        entity_type_name: Option<Text<'a>>,
        /// Where the API has it.
        resource_url: Option<Text<'a>>,
    }
}

impl<'a> Document<'a> for Release<'a> {
    const KIND: Kind = Kind::Release;

    fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    fn project(&self, out: &mut Projection<'_>) {
        out.text(&self.id).text(&self.title).number(self.year);
        out.list(&self.formats, |out, format| {
            out.text(&format.name);
        });
        // The first label's catalogue number, a property of the node, is the first of these too.
        out.list(&self.labels, |out, label| {
            out.text(&label.id).text(&label.catno);
        });
        out.list(&self.artists, |out, credit| {
            out.text(&credit.id);
        });
        out.text(&self.master_id).texts(&self.genres).texts(&self.styles);
        out.list(&self.extraartists, |out, credit| {
            out.text(&credit.id).text(&credit.name).text(&credit.role);
        });
    }

    fn unmapped(&mut self) -> &mut Unmapped<'a> {
        &mut self.unmapped
    }
}
