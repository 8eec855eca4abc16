//! The content of messages: texts, images, the model's calls.
//!
//! It owns the parts of both chat completions and responses, whose names differ (`text` and
//! `input_text`) while their meaning does not; each route accepts the other's names too. No part is
//! rejected because of its kind: files in the request are documents; audio, video and other files
//! are kept unchanged for a provider that accepts them; of unknown parts the text is kept.
//!
//! The one thing to know: every function notes problems and continues, so that a caller learns of
//! all of them.

use serde_json::Value;

use super::{INVALID_VALUE, document, image};
use crate::chat::{Api, Foreign, Image, Part, ToolCall};
use crate::wire::fields::{Fields, Object, take};
use crate::wire::json;

/// Which parts a content may hold.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Allowed {
    /// Only texts.
    Text,
    /// Texts and images.
    TextAndImages,
}

/// Takes the required content under `key`, a string or a list of parts.
pub(super) fn required(
    fields: &mut Fields,
    item: &mut Object,
    key: &str,
    allowed: Allowed,
) -> Option<Vec<Part>> {
    // `null` and an empty list are empty content, which one message of many may have.
    let nothing = item.contains_key(key);
    match take(item, key) {
        None if nothing => Some(Vec::new()),
        None => {
            fields.problem(key, "missing", "Field required");
            None
        }
        Some(value) => read(fields, key, value, allowed),
    }
}

/// Takes the optional content under `key`.
pub(super) fn optional(fields: &mut Fields, item: &mut Object, key: &str) -> Vec<Part> {
    let read = |value| read(fields, key, value, Allowed::TextAndImages);
    take(item, key).and_then(read).unwrap_or_default()
}

fn read(fields: &mut Fields, key: &str, value: Value, allowed: Allowed) -> Option<Vec<Part>> {
    match value {
        Value::String(text) => Some(vec![Part::Text(text)]),
        Value::Array(parts) => Some(fields.within(key, |fields| {
            let parts = parts.into_iter().enumerate();
            parts.flat_map(|(index, value)| marked(fields, index, value, allowed)).collect()
        })),
        // One part without its list.
        part @ Value::Object(_) => read(fields, key, Value::Array(vec![part]), allowed),
        _ => {
            fields.problem(key, "string_type", "should be a string or a list of parts");
            None
        }
    }
}

/// A part, followed by the mark for a prompt cache that clients of Anthropic's models set in this
/// API too.
fn marked(fields: &mut Fields, index: usize, mut value: Value, allowed: Allowed) -> Vec<Part> {
    let mark = value.as_object_mut().and_then(|part| take(part, "cache_control"));
    let part = part(fields, index, value, allowed);
    let mark = mark.filter(|_| part.is_some()).map(Part::CacheMark);
    part.into_iter().chain(mark).collect()
}

fn part(fields: &mut Fields, index: usize, value: Value, allowed: Allowed) -> Option<Part> {
    if let Value::String(text) = value {
        return Some(Part::Text(text));
    }
    let mut part = fields.item(index, value)?;
    fields.within(index, |fields| {
        // Some clients omit the kind of a text part.
        let kind = match part.contains_key("text") {
            true => fields.text(&mut part, "type").unwrap_or_else(|| "text".to_owned()),
            false => fields.required_text(&mut part, "type")?,
        };
        match kind.as_str() {
            "text" | "input_text" | "output_text" => {
                fields.required_text(&mut part, "text").map(Part::Text)
            }
            "refusal" => fields.required_text(&mut part, "refusal").map(Part::Text),
            "image_url" | "input_image" if allowed == Allowed::TextAndImages => {
                picture(fields, &mut part)
            }
            kind if MEDIA.contains(&kind) => {
                let document = document::read(kind, &part);
                let document = document.filter(|_| allowed == Allowed::TextAndImages);
                Some(document.map_or_else(|| foreign(kind, part), Part::Document))
            }
            kind => {
                fields.note_dropped(kind);
                // Of an unknown part, the text is kept.
                let text =
                    fields.text(&mut part, "text").or_else(|| fields.text(&mut part, "thinking"));
                text.map(Part::Text)
            }
        }
    })
}

/// The kinds of media that OpenAI, vLLM, llama.cpp and OpenRouter accept in addition to images.
pub(super) const MEDIA: &[&str] = &[
    "input_audio",
    "audio_url",
    "audio",
    "video_url",
    "input_video",
    "video",
    "file",
    "input_file",
];

/// An unchanged part, with the names of chat completions.
fn foreign(kind: &str, mut fields: Object) -> Part {
    let mut kind = kind;
    if kind == "input_file" {
        kind = "file";
        let inner = std::mem::take(&mut fields);
        fields.insert(kind.to_owned(), Value::Object(inner));
    }
    fields.insert("type".to_owned(), Value::String(kind.to_owned()));
    let (api, kind, value) = (Api::OpenAi, kind.to_owned(), Value::Object(fields));
    Part::Foreign(Foreign { api, kind, text: None, is_decisive: true, value })
}

/// `image_url` is an object in chat completions, and a string in responses and in many other
/// clients.
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

/// Decodes `name` and `arguments` of an earlier call of the model.
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
