//! The content of messages: texts, pictures, calls the model made.
//!
//! It owns the parts of both chat completions and responses, whose names differ (`text` and `input_text`) and
//! whose meaning does not; each route reads the other's names too. It refuses audio and files by name.
//!
//! The one thing to know: every function notes problems and goes on, so that a caller learns of all of them.

use serde_json::Value;

use super::{INVALID_VALUE, UNSUPPORTED_VALUE, image, request::shown};
use crate::chat::{Image, Part, ToolCall};
use crate::wire::fields::{Fields, Object, take};
use crate::wire::json;

/// Which parts a content may hold.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Allowed {
    /// Texts.
    Text,
    /// Texts and pictures.
    TextAndImages,
}

/// Takes the content under `key`, a string or a list of parts, which must be there.
pub(super) fn required(
    fields: &mut Fields,
    item: &mut Object,
    key: &str,
    allowed: Allowed,
) -> Option<Vec<Part>> {
    match take(item, key) {
        None => {
            fields.problem(key, "missing", "Field required");
            None
        }
        Some(value) => read(fields, key, value, allowed),
    }
}

/// Takes the content under `key` where it may be absent.
pub(super) fn optional(fields: &mut Fields, item: &mut Object, key: &str) -> Vec<Part> {
    take(item, key).and_then(|value| read(fields, key, value, Allowed::Text)).unwrap_or_default()
}

fn read(fields: &mut Fields, key: &str, value: Value, allowed: Allowed) -> Option<Vec<Part>> {
    match value {
        Value::String(text) => Some(vec![Part::Text(text)]),
        Value::Array(parts) if parts.is_empty() => {
            fields.problem(key, "too_short", "should hold at least one part");
            None
        }
        Value::Array(parts) => Some(fields.within(key, |fields| {
            let parts = parts.into_iter().enumerate();
            parts.filter_map(|(index, value)| part(fields, index, value, allowed)).collect()
        })),
        _ => {
            fields.problem(key, "string_type", "should be a string or a list of parts");
            None
        }
    }
}

fn part(fields: &mut Fields, index: usize, value: Value, allowed: Allowed) -> Option<Part> {
    let mut part = fields.item(index, value)?;
    fields.within(index, |fields| {
        let kind = fields.required_text(&mut part, "type")?;
        match kind.as_str() {
            "text" | "input_text" | "output_text" => {
                fields.required_text(&mut part, "text").map(Part::Text)
            }
            "refusal" => fields.required_text(&mut part, "refusal").map(Part::Text),
            "image_url" | "input_image" if allowed == Allowed::TextAndImages => {
                picture(fields, &mut part)
            }
            _ => {
                let instead = match allowed {
                    Allowed::Text => "send text",
                    Allowed::TextAndImages => "send text and images",
                };
                let message = format!("`{}` parts are not supported here, {instead}", shown(&kind));
                fields.problem("type", UNSUPPORTED_VALUE, message);
                None
            }
        }
    })
}

/// `image_url` is an object in chat completions, a string in responses and in many other clients.
fn picture(fields: &mut Fields, part: &mut Object) -> Option<Part> {
    let mut detail = fields.text(part, "detail");
    let url = match take(part, "image_url") {
        Some(Value::String(url)) => url,
        Some(Value::Object(mut inner)) => fields.within("image_url", |fields| {
            detail = fields.text(&mut inner, "detail").or(detail.take());
            fields.required_text(&mut inner, "url")
        })?,
        Some(_) => {
            fields.problem("image_url", "string_type", "should be an object with `url`");
            return None;
        }
        None => {
            let message = "Field required; files are not stored here, send the image itself";
            fields.problem("image_url", "missing", message);
            return None;
        }
    };
    match image::source(url) {
        Ok(source) => Some(Part::Image(Image { source, detail })),
        Err(message) => {
            fields.problem("image_url", INVALID_VALUE, message);
            None
        }
    }
}

/// Reads `name` and `arguments` of a call that the model made earlier.
pub(super) fn call(
    fields: &mut Fields,
    function: &mut Object,
    id: Option<String>,
) -> Option<ToolCall> {
    let name = fields.required_text(function, "name");
    let arguments = match take(function, "arguments") {
        None => String::new(),
        Some(Value::String(text)) => text,
        // Some clients send the object itself.
        Some(object @ Value::Object(_)) => {
            String::from_utf8(json::to_vec(&object)).unwrap_or_default()
        }
        Some(_) => {
            fields.problem("arguments", "string_type", "should be a JSON object, as a string");
            return None;
        }
    };
    let arguments = if arguments.trim().is_empty() { "{}".to_owned() } else { arguments };
    Some(ToolCall { id, name: name?, arguments })
}
