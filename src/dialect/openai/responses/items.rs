//! Decodes the input of a responses request: instructions, messages, calls, results, reasoning.
//!
//! It handles every kind of item, even unknown ones: one item in its history must not make a
//! conversation unusable. Of an unknown item the text is kept; without text it is dropped and
//! named.
//!
//! The one thing to know: the model's output of one turn comes as several items here, and becomes
//! one message. Items between a call and its result come after the result, because most providers
//! expect the two together.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::free_text;
use super::sealed;
use super::tools::{Offer, SHELL, plain};
use crate::chat::{Message, Part, Role, ToolCall, ToolResult};
use crate::dialect::openai::INVALID_VALUE;
use crate::dialect::openai::content::{self, Allowed, MEDIA};
use crate::wire::fields::{Fields, Object};

/// The input of a request.
#[derive(Default)]
pub(super) struct Input {
    /// The conversation.
    pub(super) messages: Vec<Message>,
    /// The kinds of the dropped items.
    pub(super) dropped: Vec<String>,
    /// The messages that wait for the results of open calls.
    held: Vec<Message>,
    /// The calls of the last turn that have no result yet.
    open: HashSet<String>,
    /// All calls.
    called: HashSet<String>,
}

/// Takes `instructions`, which come before the conversation.
pub(super) fn instructions(fields: &mut Fields, body: &mut Object) -> Option<Message> {
    let text = fields.text(body, "instructions")?;
    (!text.is_empty()).then(|| Message::text(Role::System, text))
}

/// Takes `input` as a list of items; a text is a user's message.
pub(super) fn list(fields: &mut Fields, body: &mut Object) -> Vec<Value> {
    if let Some(Value::String(text)) = body.get_mut("input") {
        let text = std::mem::take(text);
        body.insert("input".to_owned(), Value::Null);
        return vec![json!({"role": "user", "content": text})];
    }
    fields.required_list(body, "input").unwrap_or_default()
}

/// Adds the tools in items. They count as the request's.
pub(super) fn tools(fields: &mut Fields, list: &mut [Value], offer: &mut Offer) {
    fields.within("input", |fields| {
        for (index, item) in list.iter_mut().enumerate() {
            let kind = item.get("type").and_then(Value::as_str);
            if !matches!(kind, Some("additional_tools" | "tool_search_output")) {
                continue;
            }
            let Some(item) = item.as_object_mut() else { continue };
            fields.within(index, |fields| {
                let tools = fields.list(item, "tools").unwrap_or_default();
                fields.within("tools", |fields| offer.add(fields, tools));
            });
        }
    });
}

impl Input {
    /// Adds the items of a list; their calls are of the offered tools.
    pub(super) fn read(&mut self, fields: &mut Fields, list: Vec<Value>, offer: &Offer) {
        fields.each("input", list, |fields, mut item| self.item(fields, &mut item, offer));
        self.release();
    }

    fn item(&mut self, fields: &mut Fields, item: &mut Object, offer: &Offer) {
        let kind = fields.text(item, "type");
        match kind.as_deref() {
            None | Some("message") => {
                if let Some(message) = self.message(fields, item) {
                    self.add(message);
                }
            }
            Some("function_call") => {
                let id = fields.required_text(item, "call_id");
                let namespace = fields.text(item, "namespace");
                if let Some(mut call) = content::call(fields, item, id) {
                    call.name = offer.given(namespace.as_deref(), &call.name).to_owned();
                    self.add_call(call);
                }
            }
            Some("custom_tool_call") => {
                let id = fields.required_text(item, "call_id");
                let namespace = fields.text(item, "namespace");
                let text = fields.text(item, "input").unwrap_or_default();
                if let Some(name) = fields.required_text(item, "name") {
                    let name = offer.given(namespace.as_deref(), &name).to_owned();
                    self.add_call(ToolCall { id, name, arguments: free_text::arguments(&text) });
                }
            }
            Some("local_shell_call") => {
                let id = fields.text(item, "call_id").or_else(|| fields.text(item, "id"));
                let mut action = fields.object(item, "action").unwrap_or_default();
                action.retain(|key, value| key != "type" && !value.is_null());
                let name = offer.given(None, SHELL).to_owned();
                self.add_call(ToolCall { id, name, arguments: Value::Object(action).to_string() });
            }
            Some("function_call_output" | "custom_tool_call_output") => {
                let id = fields.required_text(item, "call_id");
                self.result(fields, item, id);
            }
            Some("local_shell_call_output") => {
                let id = fields.text(item, "call_id").or_else(|| fields.text(item, "id"));
                self.result(fields, item, id);
            }
            Some("reasoning") => {
                let content = thinking(fields, item);
                if !content.is_empty() {
                    self.add(Message { role: Role::Assistant, content, name: None });
                }
            }
            // Their tools were already taken.
            Some("additional_tools" | "tool_search_output") => {}
            Some(kind) => self.unknown(kind, item),
        }
    }

    fn message(&mut self, fields: &mut Fields, item: &mut Object) -> Option<Message> {
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
        let content = self.content(fields, item, "content", allowed)?;
        // An answer that was cut off before its first token comes back as an empty list.
        (!content.is_empty() || role == Role::Assistant).then_some(Message {
            role,
            content,
            name: None,
        })
    }

    /// Takes the content under `key`, without the parts that are unknown.
    fn content(
        &mut self,
        fields: &mut Fields,
        item: &mut Object,
        key: &str,
        allowed: Allowed,
    ) -> Option<Vec<Part>> {
        if let Some(Value::Array(parts)) = item.get_mut(key) {
            let dropped = &mut self.dropped;
            parts.retain_mut(|part| keep_part(part, dropped));
            if parts.is_empty() {
                return Some(Vec::new());
            }
        }
        content::required(fields, item, key, allowed)
    }

    /// Takes the result of a tool. If its call is missing, it becomes text, since no provider
    /// accepts it.
    fn result(&mut self, fields: &mut Fields, item: &mut Object, call_id: Option<String>) {
        let Some(mut content) = self.content(fields, item, "output", Allowed::TextAndImages) else {
            return;
        };
        if content.is_empty() {
            content.push(Part::Text(String::new()));
        }
        if !call_id.as_ref().is_some_and(|id| self.called.contains(id)) {
            return self.add(Message { role: Role::User, content, name: None });
        }
        if let Some(id) = &call_id {
            self.open.remove(id);
        }
        let result = Part::ToolResult(ToolResult { call_id, name: None, content, is_error: false });
        self.messages.push(Message { role: Role::Tool, content: vec![result], name: None });
        if self.open.is_empty() {
            self.release();
        }
    }

    /// Takes the text of an unknown item. Without a role it becomes the user's unless the item is a
    /// call, so that the model never continues a text that is not its own.
    fn unknown(&mut self, kind: &str, item: &Object) {
        let text = text_of(item);
        if text.is_empty() {
            return self.dropped.push(plain(kind));
        }
        let role = match item.get("role").and_then(Value::as_str) {
            Some("assistant") => Role::Assistant,
            Some("system" | "developer") => Role::System,
            Some(_) => Role::User,
            None if kind.ends_with("_call") => Role::Assistant,
            None => Role::User,
        };
        self.add(Message::text(role, text));
    }

    /// Adds a message. The model's output after reasoning or calls belongs to the same turn.
    fn add(&mut self, message: Message) {
        if message.role != Role::Assistant {
            match self.open.is_empty() {
                true => self.messages.push(message),
                false => self.held.push(message),
            }
            return;
        }
        let is_same_turn = self.held.is_empty()
            && self.messages.last().is_some_and(|last| {
                last.role == Role::Assistant && (is_thinking(last) || !self.open.is_empty())
            });
        match self.messages.last_mut().filter(|_| is_same_turn) {
            Some(last) => last.content.extend(message.content),
            None => {
                self.release();
                self.messages.push(message);
            }
        }
    }

    /// Adds a call to the model's turn: the last message if it is the model's, else a new one.
    fn add_call(&mut self, call: ToolCall) {
        let id = call.id.clone();
        let part = Part::ToolCall(call);
        let is_same_turn = self.held.is_empty();
        match self.messages.last_mut().filter(|_| is_same_turn) {
            Some(last) if last.role == Role::Assistant => last.content.push(part),
            _ => {
                self.release();
                let message = Message { role: Role::Assistant, content: vec![part], name: None };
                self.messages.push(message);
            }
        }
        if let Some(id) = id {
            self.called.insert(id.clone());
            self.open.insert(id);
        }
    }

    /// Adds the messages that waited; calls that are still open stay without a result.
    fn release(&mut self) {
        self.open.clear();
        self.messages.append(&mut self.held);
    }
}

fn is_thinking(message: &Message) -> bool {
    message.content.iter().all(|part| matches!(part, Part::Reasoning { .. }))
}

/// Whether a part is known; an unknown one with a text becomes that text.
fn keep_part(part: &mut Value, dropped: &mut Vec<String>) -> bool {
    const KNOWN: &[&str] =
        &["text", "input_text", "output_text", "refusal", "image_url", "input_image"];
    let Some(kind) = part.get("type").and_then(Value::as_str) else { return true };
    if KNOWN.contains(&kind) || MEDIA.contains(&kind) {
        return true;
    }
    let kind = plain(kind);
    let text = part.as_object().map(text_of).filter(|text| !text.is_empty());
    match text {
        Some(text) => *part = json!({"type": "text", "text": text}),
        None => {
            dropped.push(kind);
            return false;
        }
    }
    true
}

/// The reasoning itself if the item has it, else its summary. Content that this gateway sealed
/// restores the provider's signatures; other encrypted content is for its own provider only.
fn thinking(fields: &mut Fields, item: &mut Object) -> Vec<Part> {
    let sealed = fields.text(item, "encrypted_content").and_then(|sealed| sealed::open(&sealed));
    if let Some(parts) = sealed {
        return parts;
    }
    let whole = item.get("content").map(joined).unwrap_or_default();
    let summary = item.get("summary").map(joined).unwrap_or_default();
    let text = if whole.is_empty() { summary } else { whole };
    if text.is_empty() { Vec::new() } else { vec![Part::Reasoning { text, signature: None }] }
}

/// The text of an unknown item, in any of the usual fields.
fn text_of(item: &Object) -> String {
    const NAMES: &[&str] =
        &["content", "text", "output", "outputs", "summary", "message", "result", "stdout"];
    let texts = NAMES.iter().filter_map(|name| item.get(*name)).map(joined);
    texts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n")
}

/// A text, or the texts of a list.
fn joined(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => {
            let texts = list.iter().map(|part| match part {
                Value::String(text) => text.clone(),
                Value::Object(part) => ["text", "logs", "stdout"]
                    .iter()
                    .find_map(|key| part.get(*key)?.as_str())
                    .unwrap_or_default()
                    .to_owned(),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => String::new(),
            });
            texts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n")
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => String::new(),
    }
}
