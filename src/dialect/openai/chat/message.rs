//! Reading the messages of a chat completion request.
//!
//! The one thing to know: whether every call was answered is not checked. Only some providers mind, and those say
//! so themselves.

use serde_json::Value;

use crate::chat::{Message, Part, Role, ToolResult};
use crate::dialect::openai::content::{self, Allowed};
use crate::dialect::openai::request::{refuse, shown};
use crate::dialect::openai::tools::required_object;
use crate::dialect::openai::{INVALID_VALUE, UNSUPPORTED_VALUE};
use crate::wire::fields::{Fields, Object, take};
use crate::wire::signature::of_gemini;

/// Takes `messages`, at least one.
pub(super) fn messages(fields: &mut Fields, body: &mut Object) -> Vec<Message> {
    let list = fields.required_list(body, "messages").unwrap_or_default();
    fields.within("messages", |fields| {
        let items = list.into_iter().enumerate();
        items
            .filter_map(|(index, item)| {
                let mut item = fields.item(index, item)?;
                fields.within(index, |fields| message(fields, &mut item))
            })
            .collect()
    })
}

fn message(fields: &mut Fields, item: &mut Object) -> Option<Message> {
    let name = fields.text(item, "name");
    let (role, content) = match fields.required_text(item, "role")?.as_str() {
        "system" | "developer" => {
            (Role::System, content::required(fields, item, "content", Allowed::Text)?)
        }
        "user" => (Role::User, content::required(fields, item, "content", Allowed::TextAndImages)?),
        "assistant" => (Role::Assistant, said(fields, item)),
        "tool" => {
            let call_id = fields.required_text(item, "tool_call_id");
            (Role::Tool, vec![result(fields, item, call_id, None)?])
        }
        "function" => {
            if name.is_none() {
                fields.problem("name", "missing", "Field required");
            }
            let result = result(fields, item, None, name)?;
            return Some(Message { role: Role::Tool, content: vec![result], name: None });
        }
        _ => {
            let roles = "should be developer, system, user, assistant, tool or function";
            fields.problem("role", INVALID_VALUE, roles);
            return None;
        }
    };
    Some(Message { role, content, name })
}

/// What the model said earlier: thinking, text, calls, in the order in which they came about.
fn said(fields: &mut Fields, item: &mut Object) -> Vec<Part> {
    refuse(fields, item, "audio", "send its transcript as `content`");
    let mut parts = Vec::new();
    // Two habits of other servers' clients; both sent means the same text twice.
    let reasoning = fields.text(item, "reasoning_content");
    let reasoning = reasoning.or_else(|| fields.text(item, "reasoning"));
    if let Some(text) = reasoning.filter(|text| !text.is_empty()) {
        parts.push(Part::Reasoning { text, signature: None });
    }
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

/// A call, and before it the signature of the thinking that led to it.
fn call(fields: &mut Fields, index: usize, value: Value) -> Option<Vec<Part>> {
    let mut call = fields.item(index, value)?;
    fields.within(index, |fields| {
        if let Some(kind) = fields.text(&mut call, "type").filter(|kind| kind != "function") {
            let message = format!("`{}` calls are not supported", shown(&kind));
            fields.problem("type", UNSUPPORTED_VALUE, message);
            return None;
        }
        let id = fields.text(&mut call, "id");
        let proof = proof(&mut call)
            .map(|signature| Part::Reasoning { text: String::new(), signature: Some(signature) });
        let mut function = required_object(fields, &mut call, "function")?;
        fields
            .within("function", |fields| content::call(fields, &mut function, id))
            .map(|call| proof.into_iter().chain([Part::ToolCall(call)]).collect())
    })
}

/// The signature where Google's own OpenAI endpoint puts it. Anything else there is nothing to go by.
fn proof(call: &mut Object) -> Option<String> {
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
