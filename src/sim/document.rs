//! One JSON document as Go writes it.

use bytes::Bytes;
use serde::Serialize;

/// Compact JSON with Go's escapes.
pub fn object(value: &impl Serialize) -> Bytes {
    // Serialising these types to a string cannot fail: no maps with odd keys, no foreign code.
    let text = serde_json::to_string(value).unwrap_or_default();
    if !text.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return Bytes::from(text);
    }
    // These letters can only stand inside strings, where an escape means the same.
    let escape = |letter: char| match letter {
        '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => format!("\\u{:04x}", u32::from(letter)),
        other => other.to_string(),
    };
    Bytes::from(text.chars().map(escape).collect::<String>())
}
