//! Finds a record's own id in its raw bytes, whole or cut short.

use memchr::{memchr, memmem};

use super::patterns::{is_space, tag_end};
use crate::model::{Key, Kind};

/// The record's key, or why it has none.
pub fn key(kind: Kind, raw: &[u8]) -> Result<Key, String> {
    let text = match kind {
        Kind::Artist | Kind::Label => child(kind, raw),
        Kind::Master | Kind::Release => attribute(kind, raw),
    };
    let text = text.map(<[u8]>::trim_ascii).filter(|text| !text.is_empty()).ok_or("it has no id")?;
    let shown = || String::from_utf8_lossy(&text[..text.len().min(40)]).into_owned();
    let mut number = 0_u64;
    for &byte in text {
        if !byte.is_ascii_digit() {
            return Err(format!("its id is \"{}\", not a number", shown().escape_debug()));
        }
        number = number.saturating_mul(10).saturating_add(u64::from(byte - b'0'));
    }
    match Key::new(kind, number) {
        Some(key) => Ok(key),
        None if number == 0 => Err("its id is 0".to_owned()),
        None => Err(format!("its id is {}, which is too large", shown())),
    }
}

/// The value of the start tag's `id`.
fn attribute(kind: Kind, raw: &[u8]) -> Option<&[u8]> {
    let mut rest = raw.get(kind.name().len() + 1..)?;
    loop {
        rest = rest.trim_ascii_start();
        if matches!(rest.first()?, b'>' | b'/') {
            return None;
        }
        let equals = memchr(b'=', rest)?;
        let name = rest[..equals].trim_ascii_end();
        let value = rest[equals + 1..].trim_ascii_start();
        let quote = *value.first().filter(|quote| matches!(quote, b'"' | b'\''))?;
        let end = 1 + memchr(quote, &value[1..])?;
        if name == b"id" {
            return Some(&value[1..end]);
        }
        rest = &value[end + 1..];
    }
}

/// The content of the `<id>` directly beneath the root element.
fn child(kind: Kind, raw: &[u8]) -> Option<&[u8]> {
    let root = kind.name().len() + 1;
    let content = match raw.get(root)? {
        b'>' => root + 1,
        _ => tag_end(raw, root)?.0,
    };
    if let Some(text) = raw[content..].strip_prefix(b"<id>") {
        return closed(text);
    }
    // Names of the elements that are open: an end tag that does not match leaves it unknown what is directly beneath the root.
    let mut open: Vec<&[u8]> = Vec::new();
    let mut at = content;
    loop {
        at += memchr(b'<', &raw[at..])?;
        let rest = &raw[at..];
        if rest.starts_with(b"<!--") {
            at += 4 + memmem::find(&rest[4..], b"-->")? + 3;
        } else if rest.starts_with(b"<![CDATA[") {
            at += 9 + memmem::find(&rest[9..], b"]]>")? + 3;
        } else if let Some(name) = rest.strip_prefix(b"</") {
            let end = memchr(b'>', name)?;
            if open.pop()? != name[..end].trim_ascii_end() {
                return None;
            }
            at += 2 + end + 1;
        } else {
            let name_end = at + 1 + rest[1..].iter().position(|&byte| is_space(byte) || matches!(byte, b'>' | b'/'))?;
            let (end, alone) = tag_end(raw, name_end)?;
            let name = &raw[at + 1..name_end];
            if open.is_empty() && name == b"id" && !alone {
                return closed(&raw[end..]);
            }
            if !alone {
                open.push(name);
            }
            at = end;
        }
    }
}

/// The text up to its end tag, which must be there: of a number that was cut the rest is not known.
fn closed(text: &[u8]) -> Option<&[u8]> {
    let end = memchr(b'<', text)?;
    let after = text[end..].strip_prefix(b"</id")?;
    after.trim_ascii_start().starts_with(b">").then(|| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(kind: Kind, raw: &str) -> Result<u64, String> {
        key(kind, raw.as_bytes()).map(Key::id)
    }

    #[test]
    fn an_artist_s_id_is_the_child_directly_beneath_it() {
        assert_eq!(id(Kind::Artist, "<artist><id>1</id>"), Ok(1));
        assert_eq!(id(Kind::Artist, r#"<artist><images><image uri="a>b"/></images><id> 2 </id></artist>"#), Ok(2));
        assert_eq!(id(Kind::Artist, "<artist><members><id>3</id></members><id>4</id></artist>"), Ok(4));
        assert_eq!(id(Kind::Artist, "<artist ><!-- <id>9</id> --><id\n>5</id ></artist>"), Ok(5));
        assert_eq!(id(Kind::Artist, "<artist><members><id>3</id></members></artist>"), Err("it has no id".to_owned()));
        assert_eq!(id(Kind::Artist, "<artist><a></b></a><id>3</id>"), Err("it has no id".to_owned()));
        assert_eq!(id(Kind::Label, "<label><sublabels><label id=\"7\">x</label></sublabels><id>8</id></label>"), Ok(8));
    }

    #[test]
    fn a_release_s_id_is_an_attribute_in_either_quotes() {
        assert_eq!(id(Kind::Release, r#"<release id="1" status="Accepted">"#), Ok(1));
        assert_eq!(id(Kind::Release, "<release status = 'x id=\"3\"'\n id = '007'/>"), Ok(7));
        assert_eq!(id(Kind::Release, r#"<release xid="1"><a id="2"/>"#), Err("it has no id".to_owned()));
        assert_eq!(id(Kind::Master, r#"<master id="1"#), Err("it has no id".to_owned()));
    }

    #[test]
    fn what_is_no_id_is_said_in_words() {
        assert_eq!(id(Kind::Artist, "<artist><id>abc</id>"), Err("its id is \"abc\", not a number".to_owned()));
        assert_eq!(id(Kind::Artist, "<artist><id>0</id>"), Err("its id is 0".to_owned()));
        assert_eq!(id(Kind::Artist, "<artist><id></id>"), Err("it has no id".to_owned()));
        assert_eq!(id(Kind::Artist, "<artist><id/>"), Err("it has no id".to_owned()));
        assert_eq!(id(Kind::Artist, "<artist><id>12"), Err("it has no id".to_owned()));
        assert_eq!(
            id(Kind::Artist, "<artist><id>99999999999999999999</id>"),
            Err("its id is 99999999999999999999, which is too large".to_owned())
        );
    }
}
