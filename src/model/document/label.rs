//! Labels.

use super::{Document, Entity, Image, Projection, Text, Unmapped, object};
use crate::model::Kind;

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

    fn project(&self, out: &mut Projection<'_>) {
        out.text(&self.id).text(&self.name);
        out.text(self.parent_label.as_ref().map_or(&None, |parent| &parent.id));
        out.list(&self.sublabels, |out, entity| {
            out.text(&entity.id);
        });
    }

    fn unmapped(&mut self) -> &mut Unmapped<'a> {
        &mut self.unmapped
    }
}
