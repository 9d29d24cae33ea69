//! Artists.

use super::{Document, Entity, Image, Text, Unmapped, links_to, named, object};
use crate::model::Kind;
use crate::model::graph::{LinkKind, Projection};

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

    fn project(&self) -> Projection<&str> {
        let mut links = Vec::with_capacity(self.aliases.len() + self.members.len() + self.groups.len());
        let of = [(LinkKind::AliasOf, &self.aliases), (LinkKind::HasMember, &self.members), (LinkKind::MemberOf, &self.groups)];
        for (kind, list) in of {
            links.extend(links_to(kind, list, |entity| &entity.id));
        }
        Projection::new(named(&self.name), links)
    }

    fn unmapped(&mut self) -> &mut Unmapped<'a> {
        &mut self.unmapped
    }
}
