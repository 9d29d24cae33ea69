//! Reads labels.

use super::cursor::{Cursor, Malformed, Tag};
use super::fields::{entity, images};
use crate::model::document::{Absent, Label};

/// The label that `record` begins.
pub fn read<'a>(cursor: &mut Cursor<'a>, record: &Tag<'a>) -> Result<Label<'a>, Malformed> {
    let mut label = Label::default();
    cursor.attributes(record, &mut [])?;
    cursor.children(record, |cursor, tag| match tag.name {
        "id" => cursor.own_id(&tag, &mut label.id),
        "name" => cursor.field(&tag, &mut label.name),
        "contactinfo" => cursor.field(&tag, &mut label.contactinfo),
        "profile" => cursor.field(&tag, &mut label.profile),
        "data_quality" => cursor.field(&tag, &mut label.data_quality),
        "parentLabel" if label.parent_label.is_none() => {
            label.parent_label = Some(entity(cursor, &tag)?).filter(|parent| !parent.absent());
            Ok(())
        }
        "sublabels" => cursor.objects(&tag, "label", &mut label.sublabels, entity),
        "urls" => cursor.texts(&tag, "url", &mut label.urls),
        "images" => images(cursor, &tag, &mut label.images),
        _ => cursor.unknown(&tag),
    })?;
    Ok(label)
}
