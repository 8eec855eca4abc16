//! Decodes the system prompt and the conversation, block by block.
//!
//! Results of tools are in user messages here; they become separate messages before the rest, as
//! all other APIs expect. Empty texts are dropped: they have no meaning, and some providers reject
//! them.
//!
//! The one thing to know: no kind of block is rejected. An unknown one, or one at an unexpected
//! place, is kept as sent together with its text. An empty signature is dropped, since the gateway
//! writes one if it has none.

use std::collections::HashMap;

use serde_json::Value;

use super::foreign::{foreign, late_tool};
use crate::chat::{
    Document, DocumentSource, Image, ImageSource, Message, Part, Role, Tool, ToolCall, ToolResult,
};
use crate::wire::fields::{Fields, Object, take};
use crate::wire::signature::REDACTED;
use crate::wire::{image, pdf};

/// The image types that the API accepts.
const PICTURES: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "image/webp"];

/// The place of a block, which decides what it may be.
#[derive(Clone, Copy)]
enum Place {
    System,
    User,
    Assistant,
    Result,
}

/// A decoded conversation.
#[derive(Default)]
pub(super) struct Conversation {
    pub(super) messages: Vec<Message>,
    /// The tools that it adds midway.
    pub(super) late_tools: Vec<Tool>,
    /// The names of fields in known blocks that are not read.
    pub(super) unread: Vec<String>,
    /// The names of the tools called so far, by the ids of the calls.
    called: HashMap<String, String>,
}

/// Reads `system` and `messages`.
pub(super) fn read(fields: &mut Fields, body: &mut Object) -> Conversation {
    let mut conversation = Conversation::default();
    let system =
        content(fields, body, "system", Place::System, &mut conversation).unwrap_or_default();
    if !system.is_empty() {
        conversation.messages.push(Message { role: Role::System, content: system, name: None });
    }
    let list = fields.required_list(body, "messages").unwrap_or_default();
    fields.each("messages", list, |fields, mut item| message(fields, &mut item, &mut conversation));
    conversation
}

fn message(fields: &mut Fields, item: &mut Object, conversation: &mut Conversation) {
    let role = fields.required_text(item, "role");
    let (role, place) = match role.as_deref() {
        // A missing role was noted; the content is still checked for more problems.
        Some("user") | None => (Role::User, Place::User),
        Some("assistant") => (Role::Assistant, Place::Assistant),
        Some("system" | "developer") => (Role::System, Place::System),
        Some(_) => {
            let expected = "Input should be 'user', 'assistant' or 'system'";
            fields.problem("role", "literal_error", expected);
            return;
        }
    };
    let Some(content) = content(fields, item, "content", place, conversation) else {
        fields.problem("content", "missing", "Field required");
        return;
    };
    let mut is_result = false;
    let (results, rest): (Vec<Part>, Vec<Part>) = content.into_iter().partition(|part| {
        // A mark stays behind the part that it marks.
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
        conversation.messages.push(Message { role: Role::Tool, content: results, name: None });
    }
    // Empty instructions are dropped.
    let is_void = rest.is_empty() && (has_results || role == Role::System);
    if !is_void {
        conversation.messages.push(Message { role, content: rest, name: None });
    }
}

/// Takes a text or a list of blocks. `None` if there is neither; only a wrong type is noted.
fn content(
    fields: &mut Fields,
    item: &mut Object,
    key: &str,
    place: Place,
    conversation: &mut Conversation,
) -> Option<Vec<Part>> {
    match take(item, key)? {
        Value::String(text) => Some(some_text(text).into_iter().collect()),
        Value::Array(list) => {
            let mut parts = Vec::with_capacity(list.len());
            fields.each(key, list, |fields, mut item| {
                let mark = cache_mark(&mut item).map(Part::CacheMark);
                if let Some(part) = block(fields, &mut item, place, conversation) {
                    parts.push(part);
                    parts.extend(mark);
                }
            });
            Some(parts)
        }
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
    conversation: &mut Conversation,
) -> Option<Part> {
    let kind = match item.get("type") {
        Some(Value::String(kind)) => kind.clone(),
        _ => fields.required_text(item, "type")?,
    };
    let part = match (kind.as_str(), place) {
        ("text", _) => fields.required_text(item, "text").and_then(some_text),
        ("image", Place::User | Place::Result) if has_source(item, &["base64", "url"]) => {
            picture(fields, item)
        }
        ("document", Place::User | Place::Result)
            if has_source(item, &["base64", "text", "url", "file"]) =>
        {
            document(fields, item)
        }
        ("tool_result", Place::User) => tool_result(fields, item, conversation),
        ("tool_use", Place::Assistant) => tool_use(fields, item, conversation),
        ("thinking", Place::Assistant) => {
            let text = fields.text(item, "thinking").unwrap_or_default();
            let signature = fields.text(item, "signature").filter(|text| !text.is_empty());
            let says_nothing = text.is_empty() && signature.is_none();
            (!says_nothing).then_some(Part::Reasoning { text, signature })
        }
        ("redacted_thinking", Place::Assistant) => fields.text(item, "data").map(|data| {
            Part::Reasoning { text: String::new(), signature: Some(format!("{REDACTED}{data}")) }
        }),
        _ => {
            conversation.late_tools.extend(late_tool(item).filter(|_| kind == "tool_addition"));
            return Some(Part::Foreign(foreign(&kind, item)));
        }
    };
    item.swap_remove("type");
    conversation.unread(item);
    part
}

impl Conversation {
    /// Notes the fields of a known block that were not read.
    fn unread(&mut self, item: &Object) {
        for (name, value) in item {
            let is_void = match value {
                Value::Null => true,
                Value::Array(list) => list.is_empty(),
                Value::Object(fields) => fields.is_empty(),
                Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
            };
            if !is_void && !self.unread.contains(name) {
                self.unread.push(name.clone());
            }
        }
    }
}

/// Whether the source is missing, which is noted later, or of a known kind; blocks with other
/// sources are foreign.
fn has_source(item: &Object, kinds: &[&str]) -> bool {
    match item.get("source").and_then(|source| source.get("type")) {
        Some(Value::String(kind)) => kinds.contains(&kind.as_str()),
        Some(_) | None => true,
    }
}

/// Takes the mark that makes the prompt up to here worth caching. Clients move it from turn to turn:
/// the other fields keep their order, so that a block that is passed on is the same without it.
pub(super) fn cache_mark(item: &mut Object) -> Option<Value> {
    item.shift_remove("cache_control").filter(|mark| !mark.is_null())
}

fn some_text(text: String) -> Option<Part> {
    (!text.is_empty()).then_some(Part::Text(text))
}

fn picture(fields: &mut Fields, item: &mut Object) -> Option<Part> {
    let mut source = fields.required_object(item, "source")?;
    let source = fields.within("source", |fields| {
        match fields.required_text(&mut source, "type")?.as_str() {
            "url" => Some(ImageSource::Url(fields.required_text(&mut source, "url")?)),
            _ => inline(fields, &mut source),
        }
    })?;
    Some(Part::Image(Image { source, detail: None }))
}

fn document(fields: &mut Fields, item: &mut Object) -> Option<Part> {
    let title = fields.text(item, "title");
    let context = fields.text(item, "context");
    let wants = |wish: &Value| wish.get("enabled") != Some(&Value::Bool(false));
    let citations = take(item, "citations").filter(wants);
    let mut source = fields.required_object(item, "source")?;
    let source = fields.within("source", |fields| {
        Some(match fields.required_text(&mut source, "type")?.as_str() {
            "url" => DocumentSource::Url(fields.required_text(&mut source, "url")?),
            "file" => DocumentSource::Upload(fields.required_text(&mut source, "file_id")?),
            "text" => DocumentSource::Text(fields.required_text(&mut source, "data")?),
            _ => pages(fields, &mut source)?,
        })
    })?;
    Some(Part::Document(Document { source, title, context, citations }))
}

/// A document in base64; if its type is text, it becomes text.
fn pages(fields: &mut Fields, source: &mut Object) -> Option<DocumentSource> {
    let (media_type, base64) = inline_data(fields, source)?;
    let text = pdf::text(&base64).filter(|_| media_type.starts_with("text/"));
    Some(text.map_or(DocumentSource::Inline { media_type, base64 }, DocumentSource::Text))
}

fn inline(fields: &mut Fields, source: &mut Object) -> Option<ImageSource> {
    let (declared, base64) = inline_data(fields, source)?;
    // The bytes decide: providers reject an image that is declared as another type.
    let media_type = image::media_type(&base64).unwrap_or(&declared).to_owned();
    if !PICTURES.contains(&media_type.as_str()) {
        let expected = "Input should be 'image/jpeg', 'image/png', 'image/gif' or 'image/webp'";
        fields.problem("media_type", "literal_error", expected);
        return None;
    }
    Some(ImageSource::Inline { media_type, base64 })
}

/// Takes the declared type and the base64 of a source.
fn inline_data(fields: &mut Fields, source: &mut Object) -> Option<(String, String)> {
    let declared = fields.required_text(source, "media_type");
    let Some(base64) = image::standard_base64(fields.required_text(source, "data")?) else {
        fields.problem("data", "base64", "Input should be valid base64");
        return None;
    };
    Some((declared?, base64))
}

fn tool_use(
    fields: &mut Fields,
    item: &mut Object,
    conversation: &mut Conversation,
) -> Option<Part> {
    let id = fields.required_text(item, "id");
    let name = fields.required_text(item, "name");
    let input = Value::Object(fields.required_object(item, "input")?);
    let (id, name) = (id?, name?);
    conversation.called.insert(id.clone(), name.clone());
    Some(Part::ToolCall(ToolCall { id: Some(id), name, arguments: input.to_string() }))
}

fn tool_result(
    fields: &mut Fields,
    item: &mut Object,
    conversation: &mut Conversation,
) -> Option<Part> {
    let id = fields.required_text(item, "tool_use_id");
    let is_error = fields.flag(item, "is_error").unwrap_or(false);
    let content = content(fields, item, "content", Place::Result, conversation).unwrap_or_default();
    let id = id?;
    let name = conversation.called.get(&id).cloned();
    Some(Part::ToolResult(ToolResult { call_id: Some(id), name, content, is_error }))
}
