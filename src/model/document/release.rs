//! Releases.

use super::{Credit, Document, Image, Imprint, Text, Unmapped, Video, dimensions, links_to, number, object};
use crate::model::Kind;
use crate::model::graph::{Link, LinkKind, Projection, Properties};

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

    fn project(&self) -> Projection<&str> {
        let credits = self.artists.len() + 2 * self.extraartists.len();
        let mut links = Vec::with_capacity(credits + self.labels.len() + 1 + self.genres.len() + 2 * self.styles.len());
        links.extend(links_to(LinkKind::By, &self.artists, |credit| &credit.id));
        for label in &self.labels {
            links.extend(Link::to_record(LinkKind::On, number(&label.id)).map(|link| link.with(label.catno.as_deref())));
        }
        links.extend(Link::to_record(LinkKind::DerivedFrom, number(&self.master_id)));
        dimensions(&self.genres, &self.styles, &mut links);
        for credit in &self.extraartists {
            let Some(name) = credit.name.as_deref() else { continue };
            links.push(Link::to_name(LinkKind::CreditedOn, name).with(credit.role.as_deref()));
            links.extend(number(&credit.id).map(|id| Link { id, ..Link::to_name(LinkKind::SameAs, name) }));
        }
        let properties = Properties {
            title: self.title.as_deref(),
            year: self.year,
            formats: self.formats.iter().filter_map(|format| format.name.as_deref()).collect(),
            catalog_number: self.labels.first().and_then(|label| label.catno.as_deref()),
        };
        Projection::new(properties, links)
    }

    fn unmapped(&mut self) -> &mut Unmapped<'a> {
        &mut self.unmapped
    }
}
