//! Reading the input of a responses request: instructions, messages, calls, results, thinking.
//!
//! It refuses items by reference and items of tools that the provider would run itself.
//!
//! The one thing to know: what the model did in one turn comes as several items here, and becomes one message.

use serde_json::Value;

use crate::chat::{Message, Part, Role, ToolCall, ToolResult};
use crate::dialect::openai::content::{self, Allowed};
use crate::dialect::openai::request::shown;
use crate::dialect::openai::{INVALID_VALUE, UNSUPPORTED_VALUE};
use crate::wire::fields::{Fields, Object, take};

/// Takes `instructions`, which come before the conversation.
pub(super) fn instructions(fields: &mut Fields, body: &mut Object) -> Option<Message> {
    let text = fields.text(body, "instructions")?;
    (!text.is_empty()).then(|| Message::text(Role::System, text))
}

/// Takes `input`: a text, or a list of items.
pub(super) fn items(fields: &mut Fields, body: &mut Object) -> Vec<Message> {
    if let Some(Value::String(text)) = body.get_mut("input") {
        let text = std::mem::take(text);
        body.insert("input".to_owned(), Value::Null);
        return vec![Message::text(Role::User, text)];
    }
    let list = fields.required_list(body, "input").unwrap_or_default();
    let mut messages = Vec::new();
    fields.within("input", |fields| {
        for (index, item) in list.into_iter().enumerate() {
            if let Some(mut item) = fields.item(index, item) {
                fields.within(index, |fields| read(fields, &mut item, &mut messages));
            }
        }
    });
    messages
}

fn read(fields: &mut Fields, item: &mut Object, messages: &mut Vec<Message>) {
    let kind = fields.text(item, "type");
    match kind.as_deref() {
        None | Some("message") => {
            if let Some(message) = message(fields, item) {
                add(messages, message);
            }
        }
        Some("function_call") => {
            let id = fields.required_text(item, "call_id");
            if let Some(call) = content::call(fields, item, id) {
                add_call(messages, call);
            }
        }
        Some("function_call_output") => messages.extend(result(fields, item)),
        Some("reasoning") => {
            let text = thinking(fields, item);
            if !text.is_empty() {
                let part = Part::Reasoning { text, signature: None };
                add(messages, Message { role: Role::Assistant, content: vec![part], name: None });
            }
        }
        Some("item_reference") => {
            let message = "is not supported; nothing is stored, so send the item itself \
                           (SDKs do when `store` is false)";
            fields.problem("type", UNSUPPORTED_VALUE, message);
        }
        Some(kind) => {
            let message = format!("`{}` items are not supported", shown(kind));
            fields.problem("type", UNSUPPORTED_VALUE, message);
        }
    }
}

fn message(fields: &mut Fields, item: &mut Object) -> Option<Message> {
    let (role, allowed) = match fields.required_text(item, "role")?.as_str() {
        "system" | "developer" => (Role::System, Allowed::Text),
        "user" => (Role::User, Allowed::TextAndImages),
        "assistant" => (Role::Assistant, Allowed::Text),
        _ => {
            let roles = "should be developer, system, user or assistant";
            fields.problem("role", INVALID_VALUE, roles);
            return None;
        }
    };
    // An answer that was cut before its first word comes back as an empty list.
    let content = match item.get("content") {
        Some(Value::Array(parts)) if parts.is_empty() && role == Role::Assistant => Vec::new(),
        _ => content::required(fields, item, "content", allowed)?,
    };
    Some(Message { role, content, name: None })
}

/// Adds a message. What the model says after it thought belongs to the same turn.
fn add(messages: &mut Vec<Message>, message: Message) {
    match messages.last_mut() {
        Some(last) if message.role == Role::Assistant && is_thinking(last) => {
            last.content.extend(message.content);
        }
        _ => messages.push(message),
    }
}

fn is_thinking(message: &Message) -> bool {
    message.role == Role::Assistant
        && message.content.iter().all(|part| match part {
            Part::Reasoning { .. } => true,
            Part::Text(_)
            | Part::Image(_)
            | Part::ToolCall(_)
            | Part::ToolResult(_)
            | Part::CacheMark(_)
            | Part::Document(_)
            | Part::Foreign(_) => false,
        })
}

/// Adds a call to the model's turn: the last message if it is the model's, else a new one.
fn add_call(messages: &mut Vec<Message>, call: ToolCall) {
    let part = Part::ToolCall(call);
    match messages.last_mut() {
        Some(last) if last.role == Role::Assistant => last.content.push(part),
        _ => messages.push(Message { role: Role::Assistant, content: vec![part], name: None }),
    }
}

fn result(fields: &mut Fields, item: &mut Object) -> Option<Message> {
    let call_id = fields.required_text(item, "call_id");
    let content = content::required(fields, item, "output", Allowed::TextAndImages)?;
    let result = Part::ToolResult(ToolResult { call_id, name: None, content, is_error: false });
    Some(Message { role: Role::Tool, content: vec![result], name: None })
}

/// The thinking itself where it is given, else its summary. An encrypted form means something only to whoever
/// encrypted it.
fn thinking(fields: &mut Fields, item: &mut Object) -> String {
    let whole = texts(fields, item, "content");
    let summary = texts(fields, item, "summary");
    if whole.is_empty() { summary } else { whole }
}

fn texts(fields: &mut Fields, item: &mut Object, key: &str) -> String {
    let mut joined = String::new();
    for value in fields.list(item, key).unwrap_or_default() {
        if let Value::Object(mut part) = value
            && let Some(Value::String(text)) = take(&mut part, "text")
        {
            if !joined.is_empty() {
                joined.push('\n');
            }
            joined.push_str(&text);
        }
    }
    joined
}
