//! Writes a chat for Ollama.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::common::{Options, Passed, Settings, inline};
use super::infill;
use crate::backend::degrade::{self, Documents, Features};
use crate::backend::history::{
    REASONING, arguments, name_cache_marks, name_foreign, refuse_audio, refuse_several,
    results_in_order,
};
use crate::backend::{Target, UpstreamRequest, bearer};
use crate::chat::{
    Api, ChatRequest, Effort, Foreign, Format, GatewayError, Message, Part, Role, Tool, ToolCall,
    ToolChoice, ToolResult,
};

/// The fields of Ollama's own API that are passed on as the client sent them.
const PASSED_ON: &[&str] = &["keep_alive", "truncate", "shift"];

/// The features of the API.
const FEATURES: Features = Features {
    api: Api::Ollama,
    user_documents: Documents::None,
    tool_documents: Documents::None,
    late_system: false,
    keeps_volatile: false,
};

/// Builds the call.
pub(super) fn chat(
    request: &ChatRequest,
    target: Target<'_>,
) -> Result<UpstreamRequest, GatewayError> {
    let Target { model, api_key, thinks, .. } = target;
    refuse_several(request)?;
    refuse_audio(request)?;
    let mut dropped = Vec::new();
    let features = Features { keeps_volatile: target.quirks.keeps_volatile, ..FEATURES };
    let request = &*degrade::adapt(request, features, &mut dropped)?;
    let request = &*results_in_order(request);
    let (passed, options) = own_fields(request, &mut dropped);
    name_cache_marks(request, &mut dropped);
    name_foreign(request, is_taken, &mut dropped)?;
    if request.parallel_tool_calls == Some(false) {
        dropped.push("parallel_tool_calls".to_owned());
    }
    if request.tool_choice == ToolChoice::Required {
        dropped.push("tool_choice".to_owned());
    }
    // A model that cannot think refuses an effort, except an effort of none.
    let is_lost = |effort: &Effort| thinks == Some(false) && *effort != Effort::None;
    if request.effort.as_ref().is_some_and(is_lost) {
        dropped.push("reasoning_effort".to_owned());
    }
    let format = match &request.format {
        Format::Text => None,
        Format::Json => Some(json!("json")),
        Format::Schema { schema, .. } => Some(schema.clone()),
    };
    let think = request.effort.filter(|effort| !is_lost(effort)).map(think);
    // An Ollama client may turn the limit off, which no other API can express.
    let limit = match options {
        Some(own) if own.contains_key("num_predict") => request.sampling.max_tokens,
        Some(_) | None => target.limit(request),
    };
    let settings = Settings {
        format,
        think,
        logprobs: request.logprobs.map(|_| true),
        top_logprobs: request.logprobs.filter(|top| *top > 0),
        options: Options { sampling: &request.sampling, limit, own: options },
        passed,
    };
    if request.suffix.is_some() || infill::is_bare(request) {
        return infill::prompt(request, target, settings, dropped);
    }
    let body = Body {
        model,
        messages: messages(&request.messages)?,
        // An empty conversation loads or unloads the model; the answer is one document.
        stream: !request.messages.is_empty(),
        tools: offered(request).map(tool).collect(),
        settings,
    };
    Ok(UpstreamRequest::post("/api/chat", bearer(api_key), &body, dropped))
}

/// Splits the client's own fields into those passed on, the options, and those dropped.
fn own_fields<'a>(
    request: &'a ChatRequest,
    dropped: &mut Vec<String>,
) -> (Passed<'a>, Option<&'a Map<String, Value>>) {
    dropped.extend(request.dropped.iter().cloned());
    let Some(extra) = &request.extra else { return (Vec::new(), None) };
    let own = extra.api == Api::Ollama;
    let mut passed = Vec::new();
    let mut options = None;
    for (name, value) in &extra.fields {
        match value {
            Value::Object(object) if own && name == "options" => options = Some(object),
            _ if own && PASSED_ON.contains(&name.as_str()) => passed.push((name.as_str(), value)),
            _ => dropped.push(name.clone()),
        }
    }
    (passed, options)
}

/// Ollama cannot force a call. For one forced tool only that tool is offered, and for a choice of
/// none no tool.
fn offered(request: &ChatRequest) -> impl Iterator<Item = &Tool> {
    request.tools.iter().filter(|tool| match &request.tool_choice {
        ToolChoice::Auto | ToolChoice::Required => true,
        ToolChoice::None => false,
        ToolChoice::Named(name) => tool.name == *name,
    })
}

fn tool(tool: &Tool) -> Value {
    let empty = || json!({"type": "object", "properties": {}});
    json!({"type": "function", "function": {
        "name": tool.name,
        "description": tool.description.as_deref().unwrap_or_default(),
        "parameters": tool.parameters.clone().unwrap_or_else(empty),
    }})
}

fn think(effort: Effort) -> Value {
    match effort {
        Effort::None => json!(false),
        Effort::On | Effort::Budget(_) => json!(true),
        Effort::Minimal | Effort::Low => json!("low"),
        Effort::Medium => json!("medium"),
        Effort::High => json!("high"),
        Effort::XHigh | Effort::Max => json!("max"),
    }
}

fn messages(messages: &[Message]) -> Result<Vec<WireMessage<'_>>, GatewayError> {
    // Results refer to their call by id; Ollama requires the tool's name.
    let mut names: HashMap<&str, &str> = HashMap::new();
    let mut written = Vec::with_capacity(messages.len());
    for message in messages {
        for part in &message.content {
            if let Part::ToolCall(ToolCall { id: Some(id), name, .. }) = part {
                names.insert(id, name);
            }
        }
        match message.role {
            Role::System | Role::User | Role::Assistant => written.push(plain(message)?),
            Role::Tool => {
                for part in &message.content {
                    if let Part::ToolResult(result) = part {
                        written.push(tool_result(result, &names)?);
                    }
                }
            }
        }
    }
    Ok(written)
}

fn plain(message: &Message) -> Result<WireMessage<'_>, GatewayError> {
    let mut written = WireMessage::new(message.role.as_str());
    for part in &message.content {
        match part {
            Part::Text(text) => written.add_text(text),
            Part::Image(image) => written.images.push(inline(&image.source)?),
            Part::Reasoning { text, .. } => written.thinking.push_str(text),
            Part::ToolCall(call) => written.tool_calls.push(tool_call(call)?),
            Part::Foreign(foreign) => written.set_role(foreign),
            Part::ToolResult(_) | Part::CacheMark(_) | Part::Document(_) => {}
        }
    }
    Ok(written)
}

fn tool_result<'a>(
    result: &'a ToolResult,
    names: &HashMap<&str, &'a str>,
) -> Result<WireMessage<'a>, GatewayError> {
    let mut written = WireMessage::new(Role::Tool.as_str());
    for part in &result.content {
        match part {
            Part::Text(text) => written.add_text(text),
            Part::Image(image) => written.images.push(inline(&image.source)?),
            Part::Reasoning { .. }
            | Part::ToolCall(_)
            | Part::ToolResult(_)
            | Part::CacheMark(_)
            | Part::Document(_)
            | Part::Foreign(_) => {}
        }
    }
    if result.is_error {
        written.content.insert_str(0, "Error: ");
    }
    let call_id = result.call_id.as_deref();
    written.tool_call_id = call_id;
    written.tool_name =
        result.name.as_deref().or_else(|| call_id.and_then(|id| names.get(id).copied()));
    Ok(written)
}

fn tool_call(call: &ToolCall) -> Result<WireCall<'_>, GatewayError> {
    let function = WireFunction { name: &call.name, arguments: arguments(call)? };
    Ok(WireCall { id: call.id.as_deref(), function })
}

/// Whether a part of another API, or a role of Ollama's own, can be sent.
fn is_taken(foreign: &Foreign) -> bool {
    // Thinking has a field of its own here, whatever the client called it.
    own_role(foreign).is_some() || foreign.kind == REASONING
}

/// The role that an Ollama client gave, if it is not a usual one.
fn own_role(foreign: &Foreign) -> Option<&str> {
    let is_role = foreign.api == Api::Ollama && foreign.kind == "role";
    foreign.value.get("role").filter(|_| is_role)?.as_str()
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<WireMessage<'a>>,
    stream: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Value>,
    #[serde(flatten)]
    settings: Settings<'a>,
}

#[derive(Serialize)]
struct WireMessage<'a> {
    role: &'a str,
    content: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    thinking: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<WireCall<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<&'a str>,
}

impl<'a> WireMessage<'a> {
    fn new(role: &'a str) -> Self {
        Self {
            role,
            content: String::new(),
            thinking: String::new(),
            images: Vec::new(),
            tool_calls: Vec::new(),
            tool_name: None,
            tool_call_id: None,
        }
    }

    /// A role that only Ollama has is sent as it came: the model's template knows its meaning.
    fn set_role(&mut self, foreign: &'a Foreign) {
        if let Some(role) = own_role(foreign) {
            self.role = role;
        }
    }

    /// Appends a text: Ollama's content is one string, so parts are joined by line feeds.
    fn add_text(&mut self, text: &str) {
        if !self.content.is_empty() {
            self.content.push('\n');
        }
        self.content.push_str(text);
    }
}

#[derive(Serialize)]
struct WireCall<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    function: WireFunction<'a>,
}

#[derive(Serialize)]
struct WireFunction<'a> {
    name: &'a str,
    arguments: Value,
}
