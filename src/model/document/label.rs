//! Labels.

use super::{Document, Entity, Image, Text, Unmapped, links_to, named, number, object};
use crate::model::Kind;
use crate::model::graph::{Link, LinkKind, Projection};

object! {
    /// A label or company.
    Label<'a> {
        /// Its id.
        id: Option<Text<'a>>,
        /// Its name; label 212 has none.
        name: Option<Text<'a>>,
        /// How to reach it.
        contactinfo: Option<Text<'a>>,
        /// What it is.
        profile: Option<Text<'a>>,
        /// How far the record was checked.
        data_quality: Option<Text<'a>>,
        /// The label that it belongs to.
        #[serde(rename = "parentLabel")]
        parent_label: Option<Entity<'a>>,
        /// The labels that belong to it.
        sublabels: Vec<Entity<'a>>,
        /// Web pages.
        urls: Vec<Text<'a>>,
        /// Images.
        images: Vec<Image<'a>>,
        /// Everything else.
        unmapped: Unmapped<'a>,
    }
}

impl<'a> Document<'a> for Label<'a> {
    const KIND: Kind = Kind::Label;

    fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    fn project(&self) -> Projection<&str> {
        let mut links = Vec::with_capacity(1 + self.sublabels.len());
        links.extend(Link::to_record(LinkKind::SublabelOf, self.parent_label.as_ref().and_then(|parent| number(&parent.id))));
        links.extend(links_to(LinkKind::HasSublabel, &self.sublabels, |entity| &entity.id));
        Projection::new(named(&self.name), links)
    }

    fn unmapped(&mut self) -> &mut Unmapped<'a> {
        &mut self.unmapped
    }
}
