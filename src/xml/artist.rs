//! Reads artists.

use super::cursor::{Cursor, Malformed, Tag};
use super::fields::{entity, images};
use crate::model::document::{Absent, Artist, Entity, Text};

/// The artist that `record` begins.
pub fn read<'a>(cursor: &mut Cursor<'a>, record: &Tag<'a>) -> Result<Artist<'a>, Malformed> {
    let mut artist = Artist::default();
    cursor.attributes(record, &mut [])?;
    cursor.children(record, |cursor, tag| match tag.name {
        "id" => cursor.own_id(&tag, &mut artist.id),
        "name" => cursor.field(&tag, &mut artist.name),
        "realname" => cursor.field(&tag, &mut artist.realname),
        "profile" => cursor.field(&tag, &mut artist.profile),
        "data_quality" => cursor.field(&tag, &mut artist.data_quality),
        "urls" => cursor.texts(&tag, "url", &mut artist.urls),
        "namevariations" => cursor.texts(&tag, "name", &mut artist.namevariations),
        "aliases" => entities(cursor, &tag, &mut artist.aliases),
        "members" => entities(cursor, &tag, &mut artist.members),
        "groups" => entities(cursor, &tag, &mut artist.groups),
        "images" => images(cursor, &tag, &mut artist.images),
        _ => cursor.unknown(&tag),
    })?;
    Ok(artist)
}

/// `<name id="1">`s. Among members each is preceded by a bare `<id>` that repeats the attribute, or supplies it; one that does neither is an
/// entry of its own, so that it is not lost.
fn entities<'a>(cursor: &mut Cursor<'a>, container: &Tag<'a>, list: &mut Vec<Entity<'a>>) -> Result<(), Malformed> {
    let mut bare: Option<Text<'a>> = None;
    cursor.attributes(container, &mut [])?;
    cursor.children(container, |cursor, tag| {
        match tag.name {
            "id" => {
                let mut id = cursor.text(&tag)?;
                cursor.only_id("id", &mut id);
                push(list, Entity { id: std::mem::replace(&mut bare, id), name: None });
            }
            "name" => {
                let mut named = entity(cursor, &tag)?;
                match bare.take() {
                    id if named.id.is_none() => named.id = id,
                    id if named.id == id => {}
                    id => push(list, Entity { id, name: None }),
                }
                push(list, named);
            }
            _ => cursor.unknown(&tag)?,
        }
        Ok(())
    })?;
    push(list, Entity { id: bare, name: None });
    Ok(())
}

fn push<'a>(list: &mut Vec<Entity<'a>>, entity: Entity<'a>) {
    if !entity.absent() {
        list.push(entity);
    }
}
