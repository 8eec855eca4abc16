//! Decodes instructions and conversation, part by part.
//!
//! Results of functions are in the user's contents here; they become separate messages before the
//! rest, as all other APIs expect. Files that were uploaded to Google are rejected, since only
//! Google can read them.
//!
//! The one thing to know: clients keep a streamed answer piece by piece, so consecutive contents of
//! the model become one message, and their texts are joined.

use serde_json::{Value, json};

use super::{camel, thought_signature};
use crate::chat::{
    Api, Document, DocumentSource, Foreign, Image, ImageSource, Message, Part, Role, ToolCall,
    ToolResult,
};
use crate::wire::fields::{Fields, Object, take};
use crate::wire::{image, pdf};

/// Decodes `systemInstruction` and `contents`.
pub(super) fn read(fields: &mut Fields, body: &mut Object) -> Vec<Message> {
    let mut messages: Vec<Message> = instructions(fields, body).into_iter().collect();
    if let Some(one @ Value::Object(_)) = body.get_mut("contents") {
        *one = json!([one.take()]);
    }
    let list = fields.required_list(body, "contents").unwrap_or_default();
    fields.each("contents", list, |fields, item| content(fields, camel(item), &mut messages));
    messages
}

fn instructions(fields: &mut Fields, body: &mut Object) -> Option<Message> {
    let content = match take(body, "systemInstruction")? {
        Value::String(text) => vec![Part::Text(text)],
        Value::Object(item) => fields
            .within("systemInstruction", |fields| parts(fields, &mut camel(item), Role::System)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
            fields.problem("systemInstruction", "dict_type", "should be a content with parts");
            return None;
        }
    };
    (!content.is_empty()).then_some(Message { role: Role::System, content, name: None })
}

fn content(fields: &mut Fields, mut item: Object, messages: &mut Vec<Message>) {
    let role = match fields.text(&mut item, "role").as_deref() {
        Some("user" | "function" | "tool" | "") | None => Role::User,
        Some("model") => Role::Assistant,
        Some("system") => Role::System,
        Some(_) => {
            fields.problem("role", "literal_error", "should be `user` or `model`");
            return;
        }
    };
    let content = parts(fields, &mut item, role);
    let is_result = |part: &Part| matches!(part, Part::ToolResult(_));
    let (results, rest): (Vec<Part>, Vec<Part>) = content.into_iter().partition(is_result);
    // An empty message of the user is still a turn.
    let is_turn = role == Role::User && results.is_empty();
    for (role, content) in [(Role::Tool, results), (role, rest)] {
        if content.is_empty() && !(is_turn && role == Role::User) {
            continue;
        }
        match messages.last_mut() {
            Some(last) if role == Role::Assistant && last.role == role => {
                content.into_iter().for_each(|part| add(&mut last.content, part));
            }
            Some(_) | None => messages.push(Message { role, content, name: None }),
        }
    }
}

fn parts(fields: &mut Fields, item: &mut Object, role: Role) -> Vec<Part> {
    if let Some(one @ Value::Object(_)) = item.get_mut("parts") {
        *one = json!([one.take()]);
    }
    let list = fields.list(item, "parts").unwrap_or_default();
    let mut read = Vec::with_capacity(list.len());
    fields.within("parts", |fields| {
        for (index, item) in list.into_iter().enumerate() {
            let Some(item) = fields.item(index, item) else { continue };
            for part in fields.within(index, |fields| part(fields, camel(item), role)) {
                match role {
                    Role::Assistant => add(&mut read, part),
                    Role::System | Role::User | Role::Tool => read.push(part),
                }
            }
        }
    });
    read
}

/// Adds a part of the model; a part that continues the one before is joined with it.
fn add(read: &mut Vec<Part>, part: Part) {
    match (read.last_mut(), part) {
        (Some(Part::Text(before)), Part::Text(text)) => before.push_str(&text),
        (
            Some(Part::Reasoning { text: before, signature: unsigned @ None }),
            Part::Reasoning { text, signature },
        ) => {
            before.push_str(&text);
            *unsigned = signature;
        }
        (_, part) => read.push(part),
    }
}

/// The parts for one of Google's parts: a signature precedes what it signs.
fn part(fields: &mut Fields, mut item: Object, role: Role) -> Vec<Part> {
    let signature = fields.text(&mut item, "thoughtSignature").and_then(thought_signature::read);
    let is_thought = fields.flag(&mut item, "thought") == Some(true);
    let is_models = role == Role::Assistant;
    let mut read = Vec::new();
    if let Some(text) = fields.text(&mut item, "text") {
        if is_models && is_thought {
            let says_nothing = text.is_empty() && signature.is_none();
            read.extend((!says_nothing).then_some(Part::Reasoning { text, signature }));
        } else if !text.is_empty() {
            // Gemini does not require the signature of a text.
            read.push(Part::Text(text));
        }
    } else if let Some(call) = fields.object(&mut item, "functionCall").filter(|_| is_models) {
        let signed = signature
            .map(|signature| Part::Reasoning { text: String::new(), signature: Some(signature) });
        read.extend(signed);
        read.extend(fields.within("functionCall", |fields| called(fields, call)));
    } else if let Some(result) = fields.object(&mut item, "functionResponse") {
        read.extend(fields.within("functionResponse", |fields| answered(fields, camel(result))));
    } else if let Some(blob) = fields.object(&mut item, "inlineData") {
        read.extend(fields.within("inlineData", |fields| inline(fields, camel(blob))));
    } else if let Some(file) = fields.object(&mut item, "fileData") {
        read.extend(fields.within("fileData", |fields| linked(fields, camel(file))));
    } else {
        read.extend(code(&mut item).map(Part::Text));
    }
    for (name, _) in item.iter().filter(|(_, value)| !value.is_null()) {
        fields.note_dropped(name);
    }
    read
}

fn called(fields: &mut Fields, mut call: Object) -> Option<Part> {
    let id = fields.text(&mut call, "id").filter(|id| !id.is_empty());
    let name = fields.required_text(&mut call, "name");
    let arguments = fields.object(&mut call, "args").unwrap_or_default();
    let arguments = Value::Object(arguments).to_string();
    Some(Part::ToolCall(ToolCall { id, name: name?, arguments }))
}

/// The result of a function: if it is only a text, that text.
fn answered(fields: &mut Fields, mut result: Object) -> Option<Part> {
    let call_id = fields.text(&mut result, "id").filter(|id| !id.is_empty());
    let name = fields.required_text(&mut result, "name");
    let response = fields.object(&mut result, "response").unwrap_or_default();
    let mut is_error = false;
    let only = response.iter().next().filter(|_| response.len() == 1);
    let text = match only {
        Some((key, Value::String(text)))
            if matches!(key.as_str(), "result" | "output" | "error") =>
        {
            is_error = key == "error";
            text.clone()
        }
        Some(_) | None => Value::Object(response).to_string(),
    };
    let mut content = vec![Part::Text(text)];
    let is_readable = |part: &Part| matches!(part, Part::Image(_) | Part::Document(_));
    content.extend(parts(fields, &mut result, Role::User).into_iter().filter(is_readable));
    Some(Part::ToolResult(ToolResult { call_id, name: Some(name?), content, is_error }))
}

fn inline(fields: &mut Fields, mut blob: Object) -> Option<Part> {
    let declared = fields.required_text(&mut blob, "mimeType");
    let title = fields.text(&mut blob, "displayName");
    let Some(base64) = image::standard_base64(fields.required_text(&mut blob, "data")?) else {
        fields.problem("data", "base64", "should be valid base64");
        return None;
    };
    let declared = declared?.to_ascii_lowercase();
    // The bytes decide: providers reject an image that is declared as another type.
    let media_type = image::media_type(&base64).map_or(declared, str::to_owned);
    match media_type.split_once('/') {
        Some(("image", _)) => {
            let source = ImageSource::Inline { media_type, base64 };
            Some(Part::Image(Image { source, detail: None }))
        }
        Some(("audio", format)) => Some(Part::Foreign(sound("input_audio", format, base64))),
        Some(("video", format)) => Some(Part::Foreign(sound("input_video", format, base64))),
        Some(_) => {
            let text = pdf::text(&base64).filter(|_| media_type.starts_with("text/"));
            let whole = DocumentSource::Inline { media_type, base64 };
            let source = text.map_or(whole, DocumentSource::Text);
            Some(Part::Document(Document { source, title, context: None, citations: None }))
        }
        None => {
            fields.problem("mimeType", "literal_error", "should look like image/png");
            None
        }
    }
}

/// Audio or video in OpenAI's form, which backends read.
fn sound(kind: &str, format: &str, base64: String) -> Foreign {
    let format = match format {
        "mpeg" | "mp3" => "mp3",
        "wav" | "x-wav" | "wave" => "wav",
        other => other,
    };
    let value = json!({"type": kind, kind: {"data": base64, "format": format}});
    Foreign { api: Api::OpenAi, kind: kind.to_owned(), text: None, is_decisive: true, value }
}

/// An image at a public URL. Files that were uploaded to Google are available only to Google's own
/// clients.
fn linked(fields: &mut Fields, mut file: Object) -> Option<Part> {
    let media_type = fields.text(&mut file, "mimeType").unwrap_or_default();
    let uri = fields.required_text(&mut file, "fileUri")?;
    let is_public = uri.starts_with("https://") && !uri.contains("googleapis.com/");
    if is_public && media_type.starts_with("image/") {
        return Some(Part::Image(Image { source: ImageSource::Url(uri), detail: None }));
    }
    let message = "files are not kept here, send the bytes as inlineData";
    fields.problem("fileUri", "unsupported", message);
    None
}

/// The code that Google's own tools ran and its output, as text.
fn code(item: &mut Object) -> Option<String> {
    let run = take(item, "executableCode").map(|run| ("code", run));
    let (word, result) = run.or_else(|| Some(("output", take(item, "codeExecutionResult")?)))?;
    let text = result.get(word).and_then(Value::as_str).filter(|text| !text.is_empty())?;
    Some(format!("```\n{text}\n```"))
}
