//! Reads masters.

use super::cursor::{Cursor, Malformed, Tag};
use super::fields::{credits, images, videos};
use crate::model::document::{Generic, Master};

/// The master that `record` begins.
pub fn read<'a>(cursor: &mut Cursor<'a>, record: &Tag<'a>) -> Result<Master<'a>, Malformed> {
    let mut master = Master::default();
    cursor.attributes(record, &mut [("id", &mut master.id)])?;
    cursor.only_id_attribute(record, &mut master.id);
    cursor.children(record, |cursor, tag| match tag.name {
        "main_release" => cursor.id_field(&tag, &mut master.main_release),
        "title" => cursor.field(&tag, &mut master.title),
        "year" => year(cursor, &tag, &mut master.year),
        "artists" => credits(cursor, &tag, &mut master.artists),
        "genres" => cursor.texts(&tag, "genre", &mut master.genres),
        "styles" => cursor.texts(&tag, "style", &mut master.styles),
        "notes" => cursor.field(&tag, &mut master.notes),
        "data_quality" => cursor.field(&tag, &mut master.data_quality),
        "videos" => videos(cursor, &tag, &mut master.videos),
        "images" => images(cursor, &tag, &mut master.images),
        _ => cursor.unknown(&tag),
    })?;
    Ok(master)
}

fn year<'a>(cursor: &mut Cursor<'a>, tag: &Tag<'a>, place: &mut Option<u32>) -> Result<(), Malformed> {
    let Some(text) = cursor.text(tag)? else { return Ok(()) };
    let number = if text.starts_with('+') { None } else { text.parse().ok() };
    match number {
        Some(0) => {}
        Some(year) if place.is_none() => *place = Some(year),
        _ => cursor.keep(tag.name, Generic::Text(text)),
    }
    Ok(())
}
