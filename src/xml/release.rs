//! Reads releases.

use super::cursor::{Cursor, Malformed, Tag};
use super::fields::{credits, images, imprints, videos};
use crate::model::document::{Company, Format, Generic, Identifier, Release, Track};

/// The release that `record` begins.
pub fn read<'a>(cursor: &mut Cursor<'a>, record: &Tag<'a>) -> Result<Release<'a>, Malformed> {
    let mut release = Release::default();
    cursor.attributes(record, &mut [("id", &mut release.id), ("status", &mut release.status)])?;
    cursor.only_id_attribute(record, &mut release.id);
    cursor.children(record, |cursor, tag| match tag.name {
        "title" => cursor.field(&tag, &mut release.title),
        "released" => cursor.field(&tag, &mut release.released),
        "country" => cursor.field(&tag, &mut release.country),
        "notes" => cursor.field(&tag, &mut release.notes),
        "data_quality" => cursor.field(&tag, &mut release.data_quality),
        "master_id" => master_id(cursor, &tag, &mut release),
        "artists" => credits(cursor, &tag, &mut release.artists),
        "extraartists" => credits(cursor, &tag, &mut release.extraartists),
        "labels" => imprints(cursor, &tag, "label", &mut release.labels),
        "series" => imprints(cursor, &tag, "series", &mut release.series),
        "formats" => cursor.objects(&tag, "format", &mut release.formats, format),
        "genres" => cursor.texts(&tag, "genre", &mut release.genres),
        "styles" => cursor.texts(&tag, "style", &mut release.styles),
        "tracklist" => cursor.objects(&tag, "track", &mut release.tracklist, track),
        "identifiers" => cursor.objects(&tag, "identifier", &mut release.identifiers, identifier),
        "companies" => cursor.objects(&tag, "company", &mut release.companies, company),
        "videos" => videos(cursor, &tag, &mut release.videos),
        "images" => images(cursor, &tag, &mut release.images),
        _ => cursor.unknown(&tag),
    })?;
    release.year = release.released.as_deref().and_then(year);
    Ok(release)
}

/// The year that a date begins with: four digits, no more, and not 0000.
fn year(released: &str) -> Option<u32> {
    let digits = released.bytes().take(5).take_while(u8::is_ascii_digit).count();
    if digits == 4 { released[..4].parse().ok().filter(|&year| year != 0) } else { None }
}

fn master_id<'a>(cursor: &mut Cursor<'a>, tag: &Tag<'a>, release: &mut Release<'a>) -> Result<(), Malformed> {
    let mut main = None;
    cursor.attributes(tag, &mut [("is_main_release", &mut main)])?;
    let mut id = cursor.content(tag)?;
    let none = id.as_deref().is_none_or(|text| text.bytes().all(|byte| byte == b'0'));
    let first = release.master_id.is_none();
    if first {
        cursor.only_id(tag.name, &mut id);
        release.master_id = id.take();
    } else if let Some(id) = id {
        cursor.keep(tag.name, Generic::Text(id));
    }
    let flag = match main.as_deref() {
        Some("true") => Some(true),
        Some("false") => Some(false),
        _ => None,
    };
    match main {
        Some(_) if first && flag.is_some() && release.master_id.is_some() => release.master_is_main_release = flag,
        // Of no master it says nothing.
        Some(_) if flag.is_some() && none => {}
        Some(main) => cursor.keep(&format!("{}@is_main_release", tag.name), Generic::Text(main)),
        None => {}
    }
    Ok(())
}

fn format<'a>(cursor: &mut Cursor<'a>, tag: &Tag<'a>) -> Result<Format<'a>, Malformed> {
    let mut format = Format::default();
    let Format { name, qty, text, descriptions } = &mut format;
    cursor.attributes(tag, &mut [("name", name), ("qty", qty), ("text", text)])?;
    cursor.children(tag, |cursor, tag| match tag.name {
        "descriptions" => cursor.texts(&tag, "description", descriptions),
        _ => cursor.unknown(&tag),
    })?;
    Ok(format)
}

fn track<'a>(cursor: &mut Cursor<'a>, tag: &Tag<'a>) -> Result<Track<'a>, Malformed> {
    let mut track = Track::default();
    cursor.attributes(tag, &mut [])?;
    cursor.children(tag, |cursor, tag| match tag.name {
        "position" => cursor.field(&tag, &mut track.position),
        "title" => cursor.field(&tag, &mut track.title),
        "duration" => cursor.field(&tag, &mut track.duration),
        "artists" => credits(cursor, &tag, &mut track.artists),
        "extraartists" => credits(cursor, &tag, &mut track.extraartists),
        "sub_tracks" => cursor.objects(&tag, "track", &mut track.sub_tracks, self::track),
        _ => cursor.unknown(&tag),
    })?;
    Ok(track)
}

fn identifier<'a>(cursor: &mut Cursor<'a>, tag: &Tag<'a>) -> Result<Identifier<'a>, Malformed> {
    let mut identifier = Identifier::default();
    let Identifier { r#type, value, description } = &mut identifier;
    cursor.attributes(tag, &mut [("type", r#type), ("value", value), ("description", description)])?;
    cursor.childless(tag)?;
    Ok(identifier)
}

fn company<'a>(cursor: &mut Cursor<'a>, tag: &Tag<'a>) -> Result<Company<'a>, Malformed> {
    let mut company = Company::default();
    cursor.attributes(tag, &mut [])?;
    cursor.children(tag, |cursor, tag| match tag.name {
        "id" => cursor.id_field(&tag, &mut company.id),
        "name" => cursor.field(&tag, &mut company.name),
        "catno" => cursor.field(&tag, &mut company.catno),
        "entity_type" => cursor.field(&tag, &mut company.entity_type),
        "entity_type_name" => cursor.field(&tag, &mut company.entity_type_name),
        "resource_url" => cursor.field(&tag, &mut company.resource_url),
        _ => cursor.unknown(&tag),
    })?;
    Ok(company)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_year_is_four_digits_and_no_more() {
        assert_eq!(["1999", "1999-03-00", "1999?"].map(year), [Some(1999); 3]);
        assert_eq!(["0000", "0000-01-01", "19990", "199", "May 1999", "", "１９９９"].map(year), [None; 7]);
    }
}
