//! Reading the system prompt and the conversation, block by block.
//!
//! Results of tools stand in user messages here; they become messages of their own, before the rest of theirs, as
//! every other API wants them. Empty texts are dropped: they say nothing, and some providers refuse them.
//!
//! The one thing to know: `redacted_thinking` is dropped, since only its own provider can read it and no answer
//! from here holds any. So is an empty signature, which is what this gateway writes where it had none.

use std::collections::HashMap;

use serde_json::Value;

use crate::chat::{Image, ImageSource, Message, Part, Role, ToolCall, ToolResult};
use crate::wire::fields::{Fields, Object, take};
use crate::wire::image;

/// The types that the API takes.
const PICTURES: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "image/webp"];

/// Where a block stands, which decides what it may be.
#[derive(Clone, Copy)]
enum Place {
    System,
    User,
    Assistant,
    Result,
}

/// The names of the tools called so far, by the ids of the calls.
type Called = HashMap<String, String>;

/// Reads `system` and `messages`.
pub(super) fn read(fields: &mut Fields, body: &mut Object) -> Vec<Message> {
    let mut called = Called::new();
    let mut messages = Vec::new();
    let system = content(fields, body, "system", Place::System, &mut called).unwrap_or_default();
    if !system.is_empty() {
        messages.push(Message { role: Role::System, content: system, name: None });
    }
    let list = fields.required_list(body, "messages").unwrap_or_default();
    fields.within("messages", |fields| {
        for (index, item) in list.into_iter().enumerate() {
            if let Some(mut item) = fields.item(index, item) {
                fields.within(index, |fields| {
                    message(fields, &mut item, &mut called, &mut messages);
                });
            }
        }
    });
    messages
}

fn message(
    fields: &mut Fields,
    item: &mut Object,
    called: &mut Called,
    messages: &mut Vec<Message>,
) {
    let role = fields.required_text(item, "role");
    let (role, place) = match role.as_deref() {
        // A role that is not there was noted; the content is read for more problems.
        Some("user") | None => (Role::User, Place::User),
        Some("assistant") => (Role::Assistant, Place::Assistant),
        Some("system") => (Role::System, Place::System),
        Some(_) => {
            fields.problem("role", "literal_error", "Input should be 'user' or 'assistant'");
            return;
        }
    };
    let Some(content) = content(fields, item, "content", place, called) else {
        fields.problem("content", "missing", "Field required");
        return;
    };
    let mut is_result = false;
    let (results, rest): (Vec<Part>, Vec<Part>) = content.into_iter().partition(|part| {
        // A mark stays behind what it marks.
        is_result = match part {
            Part::ToolResult(_) => true,
            Part::CacheMark(_) => is_result,
            Part::Text(_)
            | Part::Image(_)
            | Part::Document(_)
            | Part::Foreign(_)
            | Part::Reasoning { .. }
            | Part::ToolCall(_) => false,
        };
        is_result
    });
    let has_results = !results.is_empty();
    if has_results {
        messages.push(Message { role: Role::Tool, content: results, name: None });
    }
    if !(has_results && rest.is_empty()) {
        messages.push(Message { role, content: rest, name: None });
    }
}

/// Takes a text or a list of blocks. `None` when there is neither; only a wrong type is noted.
fn content(
    fields: &mut Fields,
    item: &mut Object,
    key: &str,
    place: Place,
    called: &mut Called,
) -> Option<Vec<Part>> {
    match take(item, key)? {
        Value::String(text) => Some(some_text(text).into_iter().collect()),
        Value::Array(list) => Some(fields.within(key, |fields| {
            let items = list.into_iter().enumerate();
            items
                .filter_map(|(index, item)| {
                    let mut item = fields.item(index, item)?;
                    let part =
                        fields.within(index, |fields| block(fields, &mut item, place, called))?;
                    Some([Some(part), cache_mark(&mut item).map(Part::CacheMark)])
                })
                .flatten()
                .flatten()
                .collect()
        })),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            let expected = "Input should be a valid string or list of content blocks";
            fields.problem(key, "string_type", expected);
            Some(Vec::new())
        }
    }
}

fn block(
    fields: &mut Fields,
    item: &mut Object,
    place: Place,
    called: &mut Called,
) -> Option<Part> {
    let kind = fields.required_text(item, "type")?;
    match (kind.as_str(), place) {
        ("text", _) => some_text(fields.required_text(item, "text")?),
        ("image", Place::User | Place::Result) => picture(fields, item),
        ("tool_result", Place::User) => tool_result(fields, item, called),
        ("tool_use", Place::Assistant) => tool_use(fields, item, called),
        ("thinking", Place::Assistant) => {
            let text = fields.text(item, "thinking").unwrap_or_default();
            let signature = fields.text(item, "signature").filter(|proof| !proof.is_empty());
            let says_nothing = text.is_empty() && signature.is_none();
            (!says_nothing).then_some(Part::Reasoning { text, signature })
        }
        ("redacted_thinking", Place::Assistant) => None,
        _ => {
            let kind: String = kind.chars().take(64).collect();
            let message = format!("`{kind}` blocks are not available here");
            fields.problem("type", "unsupported", message);
            None
        }
    }
}

/// Takes the mark that the prompt is worth keeping up to here.
pub(super) fn cache_mark(item: &mut Object) -> Option<Value> {
    take(item, "cache_control").filter(|mark| !mark.is_null())
}

fn some_text(text: String) -> Option<Part> {
    (!text.is_empty()).then_some(Part::Text(text))
}

fn picture(fields: &mut Fields, item: &mut Object) -> Option<Part> {
    let mut source = fields.required_object(item, "source")?;
    let source = fields.within("source", |fields| {
        match fields.required_text(&mut source, "type")?.as_str() {
            "base64" => inline(fields, &mut source),
            "url" => Some(ImageSource::Url(fields.required_text(&mut source, "url")?)),
            _ => {
                let expected = "Input should be 'base64' or 'url'; files are not available here";
                fields.problem("type", "unsupported", expected);
                None
            }
        }
    })?;
    Some(Part::Image(Image { source, detail: None }))
}

fn inline(fields: &mut Fields, source: &mut Object) -> Option<ImageSource> {
    let declared = fields.required_text(source, "media_type");
    let Some(base64) = image::standard_base64(fields.required_text(source, "data")?) else {
        fields.problem("data", "base64", "Input should be valid base64");
        return None;
    };
    let declared = declared?;
    // What the bytes say counts: providers refuse a picture that is declared as another type.
    let media_type = image::media_type(&base64).unwrap_or(&declared).to_owned();
    if !PICTURES.contains(&media_type.as_str()) {
        let expected = "Input should be 'image/jpeg', 'image/png', 'image/gif' or 'image/webp'";
        fields.problem("media_type", "literal_error", expected);
        return None;
    }
    Some(ImageSource::Inline { media_type, base64 })
}

fn tool_use(fields: &mut Fields, item: &mut Object, called: &mut Called) -> Option<Part> {
    let id = fields.required_text(item, "id");
    let name = fields.required_text(item, "name");
    let input = Value::Object(fields.required_object(item, "input")?);
    let (id, name) = (id?, name?);
    called.insert(id.clone(), name.clone());
    Some(Part::ToolCall(ToolCall { id: Some(id), name, arguments: input.to_string() }))
}

fn tool_result(fields: &mut Fields, item: &mut Object, called: &mut Called) -> Option<Part> {
    let id = fields.required_text(item, "tool_use_id");
    let is_error = fields.flag(item, "is_error").unwrap_or(false);
    let content = content(fields, item, "content", Place::Result, called).unwrap_or_default();
    let id = id?;
    let name = called.get(&id).cloned();
    Some(Part::ToolResult(ToolResult { call_id: Some(id), name, content, is_error }))
}
