//! Decodes the messages of a chat completion request.
//!
//! The one thing to know: whether every call has a result is not checked. Only some providers
//! require it, and they report it themselves.

use serde_json::{Value, json};

use crate::chat::{Api, Foreign, Message, Part, Role, ToolCall, ToolResult};
use crate::dialect::openai::content::{self, Allowed};
use crate::dialect::openai::tools::required_object;
use crate::wire::fields::{Fields, Object, take};
use crate::wire::signature::of_gemini;

/// Takes `messages`, at least one.
pub(super) fn messages(fields: &mut Fields, body: &mut Object) -> Vec<Message> {
    let list = fields.required_list(body, "messages").unwrap_or_default();
    let mut messages = Vec::with_capacity(list.len());
    fields.each("messages", list, |fields, mut item| messages.extend(message(fields, &mut item)));
    messages
}

fn message(fields: &mut Fields, item: &mut Object) -> Option<Message> {
    let message = known(fields, item);
    for (name, _) in item.iter().filter(|(_, value)| !is_nothing(value)) {
        if !KNOWN.contains(&name.as_str()) {
            fields.note_dropped(name);
        }
    }
    message
}

/// Fields that clients send even in messages whose role does not use them.
const KNOWN: &[&str] = &["role", "name", "content", "type", "id", "tool_call_id"];

/// Whether a value is false, null or empty.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) | Value::Number(_) => false,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

fn known(fields: &mut Fields, item: &mut Object) -> Option<Message> {
    let name = fields.text(item, "name");
    let (role, content) = match fields.required_text(item, "role")?.as_str() {
        "system" | "developer" => {
            (Role::System, content::required(fields, item, "content", Allowed::TextAndImages)?)
        }
        "user" => (Role::User, content::required(fields, item, "content", Allowed::TextAndImages)?),
        "assistant" => (Role::Assistant, assistant_parts(fields, item)),
        "tool" => {
            let call_id = fields.required_text(item, "tool_call_id");
            (Role::Tool, vec![result(fields, item, call_id, None)?])
        }
        "function" => {
            let result = result(fields, item, None, name)?;
            return Some(Message { role: Role::Tool, content: vec![result], name: None });
        }
        // A template may know more roles than this API; the content is treated as the user's.
        word => {
            fields.note_dropped(word);
            (Role::User, content::optional(fields, item, "content"))
        }
    };
    Some(Message { role, content, name })
}

/// The model's earlier output: reasoning, text and calls, in their original order.
fn assistant_parts(fields: &mut Fields, item: &mut Object) -> Vec<Part> {
    if take(item, "audio").is_some_and(|audio| !audio.is_boolean()) {
        fields.note_dropped("audio");
    }
    let mut parts = Vec::new();
    parts.extend(reasoning(item));
    parts.extend(content::optional(fields, item, "content"));
    parts.extend(fields.text(item, "refusal").map(Part::Text));
    let calls = fields.list(item, "tool_calls").unwrap_or_default();
    fields.within("tool_calls", |fields| {
        for (index, value) in calls.into_iter().enumerate() {
            parts.extend(call(fields, index, value).into_iter().flatten());
        }
    });
    if let Some(mut function) = fields.object(item, "function_call") {
        let call =
            fields.within("function_call", |fields| content::call(fields, &mut function, None));
        parts.extend(call.map(Part::ToolCall));
    }
    parts
}

/// The model's reasoning in the fields of other servers' clients: its text, and all fields
/// unchanged for a server that needs them back. Two fields with a text hold the same text.
fn reasoning(item: &mut Object) -> Vec<Part> {
    const NAMES: [&str; 3] = ["reasoning_content", "reasoning", "reasoning_details"];
    let mut fields = Object::new();
    for name in NAMES {
        fields.extend(take(item, name).map(|value| (name.to_owned(), value)));
    }
    let plain = |name: &&str| fields.get(*name)?.as_str().filter(|text| !text.is_empty());
    let detailed = || {
        let details = fields.get("reasoning_details")?.as_array()?.iter();
        let texts = details.filter_map(|detail| detail.get("text").or(detail.get("summary")));
        Some(texts.filter_map(Value::as_str).collect::<String>())
    };
    let text = NAMES.iter().find_map(plain).map(str::to_owned).or_else(detailed);
    let text = text.filter(|text| !text.is_empty());
    let mut parts: Vec<Part> =
        text.into_iter().map(|text| Part::Reasoning { text, signature: None }).collect();
    if fields.values().any(|value| value.as_str() != Some("")) {
        parts.push(Part::Foreign(Foreign {
            api: Api::OpenAi,
            kind: "reasoning".to_owned(),
            text: None,
            is_decisive: false,
            value: Value::Object(fields),
        }));
    }
    parts
}

/// A call, preceded by the signature of the reasoning that led to it.
fn call(fields: &mut Fields, index: usize, value: Value) -> Option<Vec<Part>> {
    let mut call = fields.item(index, value)?;
    fields.within(index, |fields| {
        let kind = fields.text(&mut call, "type").filter(|kind| kind != "function");
        if let Some(kind) = kind.filter(|_| !call.contains_key("function")) {
            return free_call(fields, &kind, &mut call);
        }
        let id = fields.text(&mut call, "id");
        let signature = signature(&mut call)
            .map(|signature| Part::Reasoning { text: String::new(), signature: Some(signature) });
        let mut function = required_object(fields, &mut call, "function")?;
        fields
            .within("function", |fields| content::call(fields, &mut function, id))
            .map(|call| signature.into_iter().chain([Part::ToolCall(call)]).collect())
    })
}

/// A call with free text as its input, converted to one with that text as its argument. A call of
/// another kind is dropped.
fn free_call(fields: &mut Fields, kind: &str, call: &mut Object) -> Option<Vec<Part>> {
    let id = fields.text(call, "id");
    let Some(mut inner) = fields.object(call, kind).filter(|inner| inner.contains_key("name"))
    else {
        fields.note_dropped(kind);
        return None;
    };
    fields.within(kind, |fields| {
        let name = fields.required_text(&mut inner, "name")?;
        let input = fields.text(&mut inner, "input").unwrap_or_default();
        let arguments = json!({"input": input}).to_string();
        Some(vec![Part::ToolCall(ToolCall { id, name, arguments })])
    })
}

/// The signature in the field of Google's own OpenAI endpoint. Other contents of the field are
/// ignored.
fn signature(call: &mut Object) -> Option<String> {
    let extra = take(call, "extra_content")?;
    let signature = extra.pointer("/google/thought_signature")?.as_str()?;
    Some(of_gemini(signature))
}

fn result(
    fields: &mut Fields,
    item: &mut Object,
    call_id: Option<String>,
    name: Option<String>,
) -> Option<Part> {
    let content = content::required(fields, item, "content", Allowed::TextAndImages)?;
    Some(Part::ToolResult(ToolResult { call_id, name, content, is_error: false }))
}
