//! Dead letters in words. What they quote comes from damaged files, and must not steer a terminal.

use std::borrow::Cow;

use crate::sinks::letters::{Letter, Since};

/// `artist 5`, or `artist, no id`.
pub fn whose(letter: &Letter) -> String {
    match &letter.id {
        Some(id) => format!("{} {}", letter.kind, printable(id)),
        None => format!("{}, no id", letter.kind),
    }
}

/// `FILE:POSITION`, as `show` takes it; the file alone where a sink refused a document.
pub fn place(letter: &Letter) -> String {
    let file = printable(&letter.file);
    letter.offset().map_or_else(|| file.to_string(), |offset| format!("{file}:{offset}"))
}

/// `2026-01 (epoch 1)`.
pub fn since(since: &Since) -> String {
    format!("{} (epoch {})", since.month.as_deref().map_or("?".into(), printable), since.epoch)
}

/// A text of one line.
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().any(char::is_control) { escaped(text, |_| false).into() } else { text.into() }
}

/// Bytes as text, with what is no text as `\xff`, and control characters but tabs and line feeds as `\u{1b}`.
pub fn readable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text += &escaped(chunk.valid(), |character| matches!(character, '\t' | '\n'));
        chunk.invalid().iter().for_each(|byte| text += &format!("\\x{byte:02x}"));
    }
    text
}

fn escaped(text: &str, spared: impl Fn(char) -> bool) -> String {
    let mut clean = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            control if control.is_control() && !spared(control) => clean.extend(control.escape_default()),
            other => clean.push(other),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_holds_does_not_steer_the_terminal() {
        assert_eq!(readable(b"<name>\xc3\xa9\xff\x1b[2J\n\tx\r</name>"), "<name>é\\xff\\u{1b}[2J\n\tx\\r</name>");
        assert_eq!((printable("a\u{9b}b\n"), printable("é \"x\"")), ("a\\u{9b}b\\n".into(), "é \"x\"".into()));
    }
}
