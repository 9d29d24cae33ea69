//! Masters.

use super::{Credit, Document, Image, Text, Unmapped, Video, dimensions, links_to, named, object};
use crate::model::Kind;
use crate::model::graph::{LinkKind, Projection, Properties};

object! {
    /// What several releases have in common.
    Master<'a> {
        /// Its id.
        id: Option<Text<'a>>,
        /// Its title.
        title: Option<Text<'a>>,
        /// Year of the first release; absent when the dump says 0.
        year: Option<u32>,
        /// Id of the release that stands for it.
        main_release: Option<Text<'a>>,
        /// Whose it is.
        artists: Vec<Credit<'a>>,
        /// Genres.
        genres: Vec<Text<'a>>,
        /// Styles.
        styles: Vec<Text<'a>>,
        /// Notes.
        notes: Option<Text<'a>>,
        /// How far the record was checked.
        data_quality: Option<Text<'a>>,
        /// Videos.
        videos: Vec<Video<'a>>,
        /// Images.
        images: Vec<Image<'a>>,
        /// Everything else.
        unmapped: Unmapped<'a>,
    }
}

impl<'a> Document<'a> for Master<'a> {
    const KIND: Kind = Kind::Master;

    fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    fn project(&self) -> Projection<&str> {
        let mut links = Vec::with_capacity(self.artists.len() + self.genres.len() + 2 * self.styles.len());
        links.extend(links_to(LinkKind::By, &self.artists, |credit| &credit.id));
        dimensions(&self.genres, &self.styles, &mut links);
        Projection::new(Properties { year: self.year, ..named(&self.title) }, links)
    }

    fn unmapped(&mut self) -> &mut Unmapped<'a> {
        &mut self.unmapped
    }
}
