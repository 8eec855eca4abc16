//! The arguments of a tool call, for dialects in which they are an object instead of its JSON text.

use serde::de::IgnoredAny;
use serde_json::{Map, Value};

/// The arguments as an object, or `None` if the text is not one. An empty text is an empty object.
pub(super) fn object(text: &str) -> Option<Map<String, Value>> {
    match text.trim() {
        "" => Some(Map::new()),
        text => serde_json::from_str(text).ok(),
    }
}

/// The arguments as an object. A text that is not a JSON object becomes `{"_raw": "…"}`: the tool
/// then refuses it and the model learns why, which helps a client more than an answer it cannot
/// read. `None` if the token limit cut the text off, since such a call cannot be run.
pub(super) fn object_or_raw(text: String, is_cut: bool) -> Option<Map<String, Value>> {
    match object(&text) {
        Some(object) => Some(object),
        None if is_cut => None,
        None => Some(Map::from_iter([("_raw".to_owned(), Value::String(text))])),
    }
}

/// Whether the text is complete JSON.
pub(super) fn is_complete(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}
