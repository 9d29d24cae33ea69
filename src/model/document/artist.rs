//! Artists.

use super::{Document, Entity, Image, Projection, Text, Unmapped, object};
use crate::model::Kind;

object! {
    /// A person or group.
    Artist<'a> {
        /// Its id.
        id: Option<Text<'a>>,
        /// Its name.
        name: Option<Text<'a>>,
        /// The name behind the name.
        realname: Option<Text<'a>>,
        /// Who it is.
        profile: Option<Text<'a>>,
        /// How far the record was checked.
        data_quality: Option<Text<'a>>,
        /// Web pages.
        urls: Vec<Text<'a>>,
        /// Other spellings.
        namevariations: Vec<Text<'a>>,
        /// Other names of the same artist.
        aliases: Vec<Entity<'a>>,
        /// A group's members.
        members: Vec<Entity<'a>>,
        /// The groups whose member it is.
        groups: Vec<Entity<'a>>,
        /// Images.
        images: Vec<Image<'a>>,
        /// Everything else.
        unmapped: Unmapped<'a>,
    }
}

impl<'a> Document<'a> for Artist<'a> {
    const KIND: Kind = Kind::Artist;

    fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    fn project(&self, out: &mut Projection<'_>) {
        out.text(&self.id).text(&self.name);
        for list in [&self.aliases, &self.members, &self.groups] {
            out.list(list, |out, entity| {
                out.text(&entity.id);
            });
        }
    }

    fn unmapped(&mut self) -> &mut Unmapped<'a> {
        &mut self.unmapped
    }
}
