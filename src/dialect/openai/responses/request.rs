//! Decodes a responses request.
//!
//! The one thing to know: unlike elsewhere, unknown fields are not kept for the provider, because
//! providers get chat completions and would reject fields of another route. Only the few that both
//! routes have are kept; the names of the others are reported as dropped.

use serde_json::Value;

use super::items::{self, Input, instructions};
use super::memory;
use super::tools::Offer;
use crate::chat::{
    AnswerShape, CallForm, ChatRequest, GatewayError, Message, Sampling, Tool, ToolChoice,
};
use crate::dialect::Turns;
use crate::dialect::openai::request::{effort, model, refuse, rest, sampling};
use crate::dialect::openai::tools::{self, Form};
use crate::wire::fields::{Fields, Object, take};
use crate::wire::json;

/// The fields that the answer repeats unchanged.
const ECHOED: &[&str] = &[
    "instructions",
    "max_output_tokens",
    "metadata",
    "parallel_tool_calls",
    "previous_response_id",
    "reasoning",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_p",
    "truncation",
];

/// The fields that chat completions have with the same name.
const SHARED: &[&str] = &[
    "metadata",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "user",
    "verbosity",
];

/// Additional output that an answer can have. The rest belongs to OpenAI's own tools, which are not
/// available here.
const INCLUDED: &[&str] = &["message.output_text.logprobs", "reasoning.encrypted_content"];

/// Fields that need a store between calls.
const REFUSED: &[(&str, &str)] = &[
    ("conversation", "send the whole conversation as `input`, or go on by `previous_response_id`"),
    ("background", "wait for the answer or stream it"),
    ("prompt", "no prompts are stored, send `instructions` and `input`"),
];

/// Decodes a request body.
pub(super) fn decode(body: &[u8], turns: &Turns) -> Result<ChatRequest, GatewayError> {
    let mut body = json::read_object(body)?;
    let mut fields = Fields::new();
    let noted = &mut fields;
    let echo = echo(&body);
    for (key, instead) in REFUSED {
        refuse(noted, &mut body, key, instead);
    }
    let conversation = conversation(noted, &mut body, turns)?;
    let Conversation { messages, tools, tool_choice, forms, input, mut dropped } = conversation;
    let include = noted.list(&mut body, "include").unwrap_or_default();
    let includes = |word: &str| include.iter().any(|item| item == word);
    let is_had = |item: &Value| item.as_str().is_some_and(|item| INCLUDED.contains(&item));
    if !include.iter().all(is_had) {
        dropped.push("include".to_owned());
    }
    let mut text = noted.object(&mut body, "text").unwrap_or_default();
    let format =
        noted.within("text", |fields| tools::format(fields, &mut text, "format", Form::Flat));
    let mut reasoning = noted.object(&mut body, "reasoning").unwrap_or_default();
    let mut request = ChatRequest {
        model: model(noted, &mut body),
        hint: noted.text(&mut body, "model_hint"),
        messages,
        stream: noted.flag(&mut body, "stream").unwrap_or(false),
        sampling: Sampling {
            max_tokens: noted.unsigned(&mut body, "max_output_tokens", 1),
            ..sampling(noted, &mut body)
        },
        tools,
        tool_choice,
        parallel_tool_calls: noted.flag(&mut body, "parallel_tool_calls"),
        format,
        effort: noted.within("reasoning", |fields| effort(fields, &mut reasoning, "effort")),
        logprobs: logprobs(noted, &mut body, includes("message.output_text.logprobs")),
        dropped,
        shape: AnswerShape {
            echo,
            forms,
            with_signatures: input.is_some() || includes("reasoning.encrypted_content"),
            input,
            ..AnswerShape::default()
        },
        ..ChatRequest::default()
    };
    check_echoed(noted, &mut body);
    request.dropped.extend(fields.take_dropped());
    fields.finish()?;
    if let Some(verbosity) = take(&mut text, "verbosity") {
        body.insert("verbosity".to_owned(), verbosity);
    }
    body.retain(|key, value| {
        let is_shared = SHARED.contains(&key.as_str());
        // A disabled setting is not reported as dropped.
        if !is_shared && !matches!(value, Value::Null | Value::Bool(false)) {
            request.dropped.push(key.clone());
        }
        is_shared
    });
    request.extra = rest(body);
    Ok(request)
}

fn echo(body: &Object) -> Object {
    let mut echo = Object::new();
    for key in ECHOED {
        if let Some(value) = body.get(*key).filter(|value| !value.is_null()) {
            echo.insert((*key).to_owned(), value.clone());
        }
    }
    echo
}

/// Checks the fields that are only repeated, so that an answer never holds a value that its client
/// cannot parse.
fn check_echoed(fields: &mut Fields, body: &mut Object) {
    if let Some(metadata) = fields.object(body, "metadata") {
        body.insert("metadata".to_owned(), Value::Object(metadata));
    }
    let _ = fields.text(body, "truncation");
}

/// The conversation and its tools.
struct Conversation {
    messages: Vec<Message>,
    tools: Vec<Tool>,
    tool_choice: ToolChoice,
    forms: Vec<(String, CallForm)>,
    /// The input of this turn, if it will be stored.
    input: Option<Vec<Value>>,
    dropped: Vec<String>,
}

fn conversation(
    fields: &mut Fields,
    body: &mut Object,
    turns: &Turns,
) -> Result<Conversation, GatewayError> {
    let previous = fields.text(body, memory::PREVIOUS).filter(|id| !id.is_empty());
    let is_kept = fields.flag(body, "store").unwrap_or(true);
    let mut list = items::list(fields, body);
    memory::resolve(&mut list, turns)?;
    let stored_input = is_kept.then(|| list.clone());
    if let Some(previous) = &previous {
        list.splice(..0, memory::before(previous, turns)?);
    }
    let mut offer = offer(fields, body, &mut list);
    let tool_choice = offer.choice(fields, body);
    let mut input = Input::default();
    input.messages.extend(instructions(fields, body));
    input.read(fields, list, &offer);
    let Input { messages, mut dropped, .. } = input;
    dropped.append(&mut offer.dropped);
    let (tools, forms) = offer.parts();
    Ok(Conversation { messages, tools, tool_choice, forms, input: stored_input, dropped })
}

/// All tools: those of the request, and those in its items.
fn offer(fields: &mut Fields, body: &mut Object, list: &mut [Value]) -> Offer {
    let mut offer = Offer::default();
    let tools = fields.list(body, "tools").unwrap_or_default();
    fields.within("tools", |fields| offer.add(fields, tools));
    items::tools(fields, list, &mut offer);
    offer.settle();
    offer
}

/// Wanted if the number of alternatives is given or `include` asks for them.
fn logprobs(fields: &mut Fields, body: &mut Object, is_included: bool) -> Option<u8> {
    let top = fields.integer(body, "top_logprobs", 0, 20).unwrap_or(0);
    let wanted = top > 0 || is_included;
    if wanted { u8::try_from(top).ok() } else { None }
}

#[cfg(test)]
mod tests;
