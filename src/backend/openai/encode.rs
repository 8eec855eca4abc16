//! Writes a chat for OpenAI and its imitators.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::common::{Settings, check, name_unsupported};
use super::family::{Family, is_mistrals};
use super::features::{effort_of, features, file};
use super::reasoning::Replay;
use super::{infill, system};
use crate::backend::call_ids::{CallIds, is_made_like};
use crate::backend::degrade;
use crate::backend::history::{
    REASONING, address, documents, images, name_cache_marks, name_foreign, refuse_audio,
    result_text,
};
use crate::backend::tool_names::ToolNames;
use crate::backend::{Target, UpstreamRequest, bearer, foreign_fields};
use crate::chat::{
    Api, ChatRequest, Foreign, Format, GatewayError, Image, Message, Part, Role, Tool, ToolChoice,
    ToolResult,
};
use crate::wire::json;

/// The longest call id that OpenAI accepts in a history, in bytes.
const LONGEST_ID: usize = 40;

/// Builds the call.
pub(super) fn chat(
    request: &ChatRequest,
    target: Target<'_>,
) -> Result<UpstreamRequest, GatewayError> {
    let Target { model, api_key, quirks, .. } = target;
    refuse_audio(request)?;
    let mut dropped = Vec::new();
    let family = Family::of(model);
    let request = &*degrade::adapt(request, features(family, target), &mut dropped)?;
    if let Some(suffix) = &request.suffix {
        return infill::completion(suffix, request, target, dropped);
    }
    let stop = check(request)?;
    let passed = foreign_fields(request, Api::OpenAi, &mut dropped)?;
    let passed = passed.into_iter().filter(|(name, _)| !OWN.contains(name)).collect();
    let names = ToolNames::new(request);
    let settings = settings(request, target, family, stop, &mut dropped);
    let replay = Replay::of(quirks.reasoning_back, model);
    name_unsupported(request, replay, &mut dropped);
    name_cache_marks(request, &mut dropped);
    // `name_unsupported` reports thinking that is lost.
    let is_known = |foreign: &Foreign| is_own(foreign) || foreign.kind == REASONING;
    name_foreign(request, is_known, &mut dropped)?;
    let has_tools = !request.tools.is_empty();
    let body = Body {
        model,
        messages: messages(&system::placed(request, quirks.system), model, replay, &names)?,
        settings,
        tools: request.tools.iter().map(|tool| declaration(tool, &names)).collect(),
        tool_choice: choice(request, &names),
        parallel_tool_calls: request.parallel_tool_calls.filter(|_| has_tools),
        response_format: format(&request.format),
        reasoning_effort: effort_of(request, target, &mut dropped),
        logprobs: request.logprobs.map(|_| true),
        top_logprobs: request.logprobs.filter(|top| *top > 0),
        passed,
    };
    Ok(UpstreamRequest::post("/chat/completions", bearer(api_key), &body, dropped))
}

/// The settings that a model of this family takes.
fn settings<'a>(
    request: &ChatRequest,
    target: Target<'_>,
    family: Family,
    stop: Vec<&'a str>,
    dropped: &mut Vec<String>,
) -> Settings<'a> {
    let mut settings = Settings::of(request, target, stop);
    if family.has_newer_limit(target.quirks.limit_field) {
        settings.max_completion_tokens = settings.max_tokens.take();
    }
    // Reasoning models refuse any sampling but the default; a client that asks for the default
    // loses nothing.
    if family == Family::OpenAiReasoning {
        for (name, value, neutral) in [
            ("temperature", &mut settings.temperature, 1.0),
            ("top_p", &mut settings.top_p, 1.0),
            ("presence_penalty", &mut settings.presence_penalty, 0.0),
            ("frequency_penalty", &mut settings.frequency_penalty, 0.0),
        ] {
            if value.take().is_some_and(|value| value != neutral) {
                dropped.push(name.to_owned());
            }
        }
    }
    settings
}

fn messages(
    request: &ChatRequest,
    model: &str,
    replay: Replay,
    names: &ToolNames,
) -> Result<Vec<WireMessage>, GatewayError> {
    let fits = |id: &str| match is_mistrals(model) {
        true => is_made_like(id),
        false => !id.is_empty() && id.len() <= LONGEST_ID,
    };
    let mut call_ids = CallIds::new(request, fits)?;
    let mut written = Vec::with_capacity(request.messages.len());
    // Tool messages hold only text: their pictures follow in a user message after the last of them.
    let mut pictures = Vec::new();
    for message in &request.messages {
        if message.role != Role::Tool {
            flush(&mut pictures, &mut written);
        }
        match message.role {
            Role::System | Role::User => written.push(plain(message)),
            Role::Assistant => written.push(assistant(message, replay, &mut call_ids, names)),
            Role::Tool => {
                for part in &message.content {
                    if let Part::ToolResult(result) = part {
                        written.push(tool_result(result, &mut call_ids));
                        pictures.extend(images(result).map(picture));
                        pictures.extend(documents(result).filter_map(file));
                    }
                }
            }
        }
    }
    flush(&mut pictures, &mut written);
    Ok(written)
}

fn flush(pictures: &mut Vec<Value>, written: &mut Vec<WireMessage>) {
    if !pictures.is_empty() {
        let content = Content::Parts(std::mem::take(pictures));
        written.push(WireMessage { content, ..WireMessage::new(Role::User) });
    }
}

/// Texts are joined if there are no other parts, because the templates of imitators often expect
/// one string.
fn plain(message: &Message) -> WireMessage {
    let is_more = |part: &Part| match part {
        Part::Image(_) | Part::Document(_) => true,
        Part::Foreign(foreign) => is_own(foreign),
        Part::Text(_)
        | Part::Reasoning { .. }
        | Part::ToolCall(_)
        | Part::ToolResult(_)
        | Part::CacheMark(_) => false,
    };
    let content = if message.content.iter().any(is_more) {
        let parts = message.content.iter().filter_map(|part| match part {
            Part::Text(text) => Some(json!({"type": "text", "text": text})),
            Part::Image(image) => Some(picture(image)),
            Part::Document(document) => file(document),
            Part::Foreign(foreign) => is_own(foreign).then(|| foreign.value.clone()),
            Part::Reasoning { .. }
            | Part::ToolCall(_)
            | Part::ToolResult(_)
            | Part::CacheMark(_) => None,
        });
        Content::Parts(parts.collect())
    } else {
        Content::Text(message.joined_text())
    };
    WireMessage { content, name: message.name.clone(), ..WireMessage::new(message.role) }
}

/// Whether it is a part of this API that is sent as it came.
fn is_own(foreign: &Foreign) -> bool {
    foreign.api == Api::OpenAi && foreign.kind != REASONING
}

fn picture(image: &Image) -> Value {
    let mut inner = json!({"url": address(image)});
    if let (Some(detail), Some(inner)) = (&image.detail, inner.as_object_mut()) {
        inner.insert("detail".to_owned(), json!(detail));
    }
    json!({"type": "image_url", "image_url": inner})
}

fn assistant(
    message: &Message,
    replay: Replay,
    call_ids: &mut CallIds<'_>,
    names: &ToolNames,
) -> WireMessage {
    let mut written = plain(message);
    written.reasoning = replay.fields(message);
    for part in &message.content {
        if let Part::ToolCall(call) = part {
            let arguments = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
            let function = json!({"name": names.outbound(&call.name), "arguments": arguments});
            let call = json!({"id": call_ids.call(), "type": "function", "function": function});
            written.tool_calls.push(call);
        }
    }
    let is_empty = matches!(&written.content, Content::Text(text) if text.is_empty());
    if is_empty && !written.tool_calls.is_empty() {
        written.content = Content::Null;
    }
    written
}

fn tool_result(result: &ToolResult, call_ids: &mut CallIds<'_>) -> WireMessage {
    let (id, _) = call_ids.result();
    let content = Content::Text(result_text(result));
    WireMessage { content, tool_call_id: Some(id), ..WireMessage::new(Role::Tool) }
}

fn declaration(tool: &Tool, names: &ToolNames) -> Value {
    let mut function = json!({"name": names.outbound(&tool.name)});
    if let Some(fields) = function.as_object_mut() {
        let optional = [
            ("description", tool.description.as_ref().map(|text| json!(text))),
            ("parameters", tool.parameters.clone()),
            ("strict", tool.strict.map(|strict| json!(strict))),
        ];
        let set = optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        fields.extend(set);
    }
    json!({"type": "function", "function": function})
}

fn choice(request: &ChatRequest, names: &ToolNames) -> Option<Value> {
    match &request.tool_choice {
        ToolChoice::Auto => None,
        // OpenAI refuses a `tool_choice` without tools, and without tools it has no effect.
        ToolChoice::None => (!request.tools.is_empty()).then(|| json!("none")),
        ToolChoice::Required => Some(json!("required")),
        ToolChoice::Named(name) => {
            Some(json!({"type": "function", "function": {"name": names.outbound(name)}}))
        }
    }
}

fn format(format: &Format) -> Option<Value> {
    match format {
        Format::Text => None,
        Format::Json => Some(json!({"type": "json_object"})),
        Format::Schema { name, description, schema, strict } => {
            let mut inner = json!({"name": name.as_deref().unwrap_or("answer"), "schema": schema});
            if let Some(fields) = inner.as_object_mut() {
                let description = description.as_ref().map(|text| json!(text));
                fields.extend(description.map(|text| ("description".to_owned(), text)));
                fields.extend(strict.map(|strict| ("strict".to_owned(), json!(strict))));
            }
            Some(json!({"type": "json_schema", "json_schema": inner}))
        }
    }
}

/// The fields that the gateway itself sets; a client's own fields of these names are not passed on.
const OWN: &[&str] = &[
    "model",
    "messages",
    "stream",
    "stream_options",
    "n",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "stop",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "reasoning_effort",
    "logprobs",
    "top_logprobs",
];

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<WireMessage>,
    #[serde(flatten)]
    settings: Settings<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_logprobs: Option<u8>,
    #[serde(flatten, serialize_with = "json::entries")]
    passed: Vec<(&'a str, &'a Value)>,
}

#[derive(Serialize)]
struct WireMessage {
    role: &'static str,
    content: Content,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<String>,
    #[serde(flatten)]
    reasoning: Map<String, Value>,
}

impl WireMessage {
    fn new(role: Role) -> Self {
        Self {
            role: role.as_str(),
            content: Content::Null,
            name: None,
            tool_calls: Vec::new(),
            tool_call_id: None,
            reasoning: Map::new(),
        }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content {
    Null,
    Text(String),
    Parts(Vec<Value>),
}
