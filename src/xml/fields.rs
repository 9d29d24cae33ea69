//! How fields are filled: the first value counts, later ones are kept as unmapped; lists keep their order and leave out what is empty.

use std::borrow::Cow;

use super::cursor::{Cursor, Malformed, Tag};
use crate::model::document::{Absent, Credit, Entity, Generic, Image, Imprint, Text, Video};

impl<'a> Cursor<'a> {
    /// Fills a field from an element's text.
    pub fn field(&mut self, tag: &Tag<'a>, place: &mut Option<Text<'a>>) -> Result<(), Malformed> {
        let value = self.text(tag)?;
        self.settle(tag.name, value, place);
        Ok(())
    }

    /// Fills a record's own id. Where it has two that differ, most likely the end of one record and the beginning of another were lost.
    pub fn own_id(&mut self, tag: &Tag<'a>, place: &mut Option<Text<'a>>) -> Result<(), Malformed> {
        let mut value = self.text(tag)?;
        self.only_id(tag.name, &mut value);
        if let (Some(first), Some(other)) = (&*place, &value)
            && first != other
        {
            return Err(format!("its id reads as {first} and as {other}"));
        }
        self.settle(tag.name, value, place);
        Ok(())
    }

    /// Fills a field from an element that is an id.
    pub fn id_field(&mut self, tag: &Tag<'a>, place: &mut Option<Text<'a>>) -> Result<(), Malformed> {
        let mut value = self.text(tag)?;
        self.only_id(tag.name, &mut value);
        self.settle(tag.name, value, place);
        Ok(())
    }

    /// Fills a field, or keeps the value under `what` where there is one already.
    pub fn settle(&mut self, what: &str, value: Option<Text<'a>>, place: &mut Option<Text<'a>>) {
        match value {
            Some(value) if place.is_some() => self.keep(what, Generic::Text(value)),
            Some(value) => *place = Some(value),
            None => {}
        }
    }

    /// Makes an id of a text: 0 is absent, what is no number is kept under `what`.
    pub fn only_id(&mut self, what: &str, place: &mut Option<Text<'a>>) {
        match place.take() {
            Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                *place = match text {
                    Cow::Borrowed(text) => Some(text.trim_start_matches('0')).filter(|id| !id.is_empty()).map(Cow::Borrowed),
                    Cow::Owned(text) => Some(text.trim_start_matches('0').to_owned()).filter(|id| !id.is_empty()).map(Cow::Owned),
                }
            }
            Some(text) => self.keep(what, Generic::Text(text)),
            None => {}
        }
    }

    /// A list of texts: `<genres><genre>`.
    pub fn texts(&mut self, container: &Tag<'a>, item: &str, list: &mut Vec<Text<'a>>) -> Result<(), Malformed> {
        self.attributes(container, &mut [])?;
        self.children(container, |cursor, tag| {
            if tag.name != item {
                return cursor.unknown(&tag);
            }
            list.extend(cursor.text(&tag)?);
            Ok(())
        })
    }

    /// A list of objects: `<videos><video>`.
    pub fn objects<T: Absent>(
        &mut self,
        container: &Tag<'a>,
        item: &str,
        list: &mut Vec<T>,
        read: fn(&mut Self, &Tag<'a>) -> Result<T, Malformed>,
    ) -> Result<(), Malformed> {
        self.attributes(container, &mut [])?;
        self.children(container, |cursor, tag| {
            if tag.name != item {
                return cursor.unknown(&tag);
            }
            let object = read(cursor, &tag)?;
            if !object.absent() {
                list.push(object);
            }
            Ok(())
        })
    }

    /// An element without children: its text, if it has any, is stray.
    pub fn childless(&mut self, tag: &Tag<'a>) -> Result<(), Malformed> {
        self.children(tag, |cursor, child| cursor.unknown(&child))
    }
}

/// `<images>`.
pub fn images<'a>(cursor: &mut Cursor<'a>, container: &Tag<'a>, list: &mut Vec<Image<'a>>) -> Result<(), Malformed> {
    cursor.objects(container, "image", list, |cursor, tag| {
        let mut image = Image::default();
        let Image { r#type, uri, uri150, width, height } = &mut image;
        cursor.attributes(tag, &mut [("type", r#type), ("uri", uri), ("uri150", uri150), ("width", width), ("height", height)])?;
        cursor.childless(tag)?;
        Ok(image)
    })
}

/// `<videos>`.
pub fn videos<'a>(cursor: &mut Cursor<'a>, container: &Tag<'a>, list: &mut Vec<Video<'a>>) -> Result<(), Malformed> {
    cursor.objects(container, "video", list, |cursor, tag| {
        let mut video = Video::default();
        let Video { src, duration, embed, title, description } = &mut video;
        cursor.attributes(tag, &mut [("src", src), ("duration", duration), ("embed", embed)])?;
        cursor.children(tag, |cursor, tag| match tag.name {
            "title" => cursor.field(&tag, title),
            "description" => cursor.field(&tag, description),
            _ => cursor.unknown(&tag),
        })?;
        Ok(video)
    })
}

/// `<artists>` and `<extraartists>` of a master, release or track.
pub fn credits<'a>(cursor: &mut Cursor<'a>, container: &Tag<'a>, list: &mut Vec<Credit<'a>>) -> Result<(), Malformed> {
    cursor.objects(container, "artist", list, |cursor, tag| {
        let mut credit = Credit::default();
        cursor.attributes(tag, &mut [])?;
        cursor.children(tag, |cursor, tag| match tag.name {
            "id" => cursor.id_field(&tag, &mut credit.id),
            "name" => cursor.field(&tag, &mut credit.name),
            "anv" => cursor.field(&tag, &mut credit.anv),
            "join" => cursor.field(&tag, &mut credit.join),
            "role" => cursor.field(&tag, &mut credit.role),
            "tracks" => cursor.field(&tag, &mut credit.tracks),
            _ => cursor.unknown(&tag),
        })?;
        Ok(credit)
    })
}

/// `<labels>` and `<series>` of a release, whose entries are attributes only.
pub fn imprints<'a>(cursor: &mut Cursor<'a>, container: &Tag<'a>, item: &str, list: &mut Vec<Imprint<'a>>) -> Result<(), Malformed> {
    cursor.objects(container, item, list, |cursor, tag| {
        let mut imprint = Imprint::default();
        let Imprint { id, name, catno } = &mut imprint;
        cursor.attributes(tag, &mut [("name", name), ("catno", catno), ("id", id)])?;
        cursor.only_id_attribute(tag, &mut imprint.id);
        cursor.childless(tag)?;
        Ok(imprint)
    })
}

/// An element with an `id` whose text is a name.
pub fn entity<'a>(cursor: &mut Cursor<'a>, tag: &Tag<'a>) -> Result<Entity<'a>, Malformed> {
    let mut id = None;
    cursor.attributes(tag, &mut [("id", &mut id)])?;
    cursor.only_id_attribute(tag, &mut id);
    Ok(Entity { id, name: cursor.content(tag)? })
}

impl<'a> Cursor<'a> {
    /// Makes an id of the `id` attribute's text.
    pub fn only_id_attribute(&mut self, tag: &Tag<'a>, place: &mut Option<Text<'a>>) {
        if place.as_ref().is_some_and(|text| !text.bytes().all(|byte| byte.is_ascii_digit()) || text.starts_with('0')) {
            self.only_id(&format!("{}@id", tag.name), place);
        }
    }
}
