//! Writes a JSON document as Go does.

use bytes::Bytes;
use serde::Serialize;

/// Writes compact JSON with Go's escapes.
pub fn object(value: &impl Serialize) -> Bytes {
    // Serialising these types cannot fail: all maps have strings as keys.
    let text = serde_json::to_string(value).unwrap_or_default();
    if !text.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return Bytes::from(text);
    }
    // These characters occur only inside strings, where an escape means the same.
    let escape = |letter: char| match letter {
        '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => format!("\\u{:04x}", u32::from(letter)),
        other => other.to_string(),
    };
    Bytes::from(text.chars().map(escape).collect::<String>())
}
