//! Takes a line that changes with every call out of a carried conversation, for servers that do
//! not read it.
//!
//! It owns the place of that line in the bytes: the beginning of the first system text. All bytes
//! behind it stay as they were written.
//!
//! The one thing to know: the line comes before the rest of the prompt, so that no server's prompt
//! cache would match.

use serde_json::value::RawValue;

use crate::chat::BILLING;
use crate::wire::splice::{Edits, Outline, quoted};

/// Removes the line from `system`, and tells whether it was there.
pub(super) fn remove(outline: &Outline<'_>, edits: &mut Edits<'_, '_>) -> bool {
    let Some(system) = outline.get("system") else { return false };
    let left = match system.first() {
        Some(b'"') => of_text(system),
        Some(b'[') => of_blocks(system),
        Some(_) | None => None,
    };
    match left {
        None => return false,
        Some(left) if left.is_empty() => edits.remove("system"),
        Some(left) => edits.set("system", left),
    }
    true
}

/// The text without the line, which may be empty; `None` if it has no such line.
fn of_text(text: &[u8]) -> Option<Vec<u8>> {
    let text: String = serde_json::from_slice(text).ok()?;
    if !text.trim_start().starts_with(BILLING) {
        return None;
    }
    let rest = text.trim_start().split_once('\n').map_or("", |(_, rest)| rest).trim_start();
    Some(if rest.is_empty() { Vec::new() } else { quoted(rest) })
}

fn of_blocks(blocks: &[u8]) -> Option<Vec<u8>> {
    let items: Vec<&RawValue> = serde_json::from_slice(blocks).ok()?;
    let first = items.first()?.get().as_bytes();
    let block = Outline::read(first)?;
    let left = of_text(block.get("text")?)?;
    let start = blocks.iter().position(|byte| *byte == b'{')?;
    let behind = blocks.get(start + first.len()..)?;
    if !left.is_empty() {
        let mut edits = block.edit();
        edits.set("text", left);
        return Some([blocks.get(..start)?, &edits.apply(), behind].concat());
    }
    if items.len() == 1 {
        return Some(Vec::new());
    }
    let comma = behind.iter().position(|byte| *byte == b',')?;
    Some([blocks.get(..start)?, behind.get(comma + 1..)?].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(body: &str) -> (bool, String) {
        let outline = Outline::read(body.as_bytes()).unwrap();
        let mut edits = outline.edit();
        let was_there = remove(&outline, &mut edits);
        (was_there, String::from_utf8(edits.apply()).unwrap())
    }

    #[test]
    fn the_line_is_removed_and_every_other_byte_stays() {
        let bill = "x-anthropic-billing-header: cc_version=2.1; cch=fa690;";
        for (body, expected) in [
            (
                r#"{"model":"m","system":[ {"type":"text","text":"BILL"} , {"text" : "a\u0062","x":1.0}],"z":1}"#,
                r#"{"model":"m","system":[  {"text" : "a\u0062","x":1.0}],"z":1}"#,
            ),
            (
                r#"{"system":[{"x":{},"text":"BILL\n\nYou are"},{"text":"b"}]}"#,
                r#"{"system":[{"x":{},"text":"You are"},{"text":"b"}]}"#,
            ),
            (r#"{"system":[{"type":"text","text":"BILL"}],"z":1}"#, r#"{"z":1}"#),
            (r#"{"a":1,"system":"BILL\nYou"}"#, r#"{"a":1,"system":"You"}"#),
        ] {
            assert_eq!(left(&body.replace("BILL", bill)), (true, expected.to_owned()), "{body}");
        }
    }

    #[test]
    fn a_body_without_the_line_is_not_changed() {
        for body in [
            r#"{"system":[{"text":"a"},{"text":"x-anthropic-billing-header: b"}]}"#,
            r#"{"system":"a"}"#,
            r#"{"system":[]}"#,
            r#"{"system":[7]}"#,
            r#"{"system":null}"#,
            r#"{"messages":[]}"#,
        ] {
            assert_eq!(left(body), (false, body.to_owned()));
        }
    }
}
