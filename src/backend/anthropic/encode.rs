//! Writes a chat for Anthropic.

use serde_json::{Map, Value, json};

use super::request_body::{Block, Body, Declaration, Kind, OWN, Offered, System, Turn};
use super::thinking::{Thinking, is_own};
use super::thinking_style::ThinkingStyle;
use crate::backend::call_ids::{CallIds, fits_as_id};
use crate::backend::degrade::{self, Documents, Features};
use crate::backend::history::{
    self, arguments, instructions, leading_system, refuse_images, refuse_infill,
};
use crate::backend::tool_names::ToolNames;
use crate::backend::{ApiVersion, Target, UpstreamRequest, foreign_fields};
use crate::chat::{
    Api, ChatRequest, Foreign, Format, GatewayError, HostedTool, Message, Part, Role, Tool,
    ToolChoice,
};
use crate::wire::signature::REDACTED;

/// The longest call id that is sent, in bytes. Anthropic's own have 30.
const LONGEST_ID: usize = 64;

/// Replaces a JSON mode, which the API does not have.
pub(super) const JSON_MODE: &str = "Answer with one JSON object and nothing else.";

/// Builds the call.
pub(super) fn chat(
    request: &ChatRequest,
    target: Target<'_>,
) -> Result<UpstreamRequest, GatewayError> {
    let Target { model, api_key, quirks, .. } = target;
    refuse_infill(request)?;
    let style = ThinkingStyle::of(model);
    let mut dropped = Vec::new();
    let request = &*degrade::adapt(request, features(target, style), &mut dropped)?;
    let stop_sequences = check(request)?;
    let passed = foreign_fields(request, Api::Anthropic, &mut dropped)?;
    let metadata = metadata(request, &mut dropped);
    let names = ToolNames::new(request);
    let thinking = Thinking::of(request, style, quirks.default_max_tokens);
    let messages = messages(request, &names, &mut dropped)?;
    if messages.is_empty() {
        return Err(GatewayError::invalid("messages: this provider needs a user message"));
    }
    history::name_unsupported(request, &mut dropped);
    let own = |foreign: &Foreign| foreign.api == Api::Anthropic;
    history::name_foreign(request, own, &mut dropped)?;
    name_unsupported(request, &thinking, quirks.api_version, &mut dropped);
    let sampling = &request.sampling;
    let has_sampling = quirks.api_version.has_sampling();
    let is_tuned = has_sampling && !thinking.is_on();
    let body = Body {
        model,
        max_tokens: thinking.max_tokens,
        system: system(request)?,
        messages,
        stream: true,
        // Other APIs take temperatures up to 2, this one up to 1; thinking allows only the default.
        temperature: sampling.temperature.filter(|_| is_tuned).map(|value| value.min(1.0)),
        top_p: sampling.top_p.filter(|_| has_sampling),
        top_k: sampling.top_k.filter(|_| is_tuned),
        stop_sequences,
        tools: declarations(request, &names),
        tool_choice: choice(request, &names),
        thinking: thinking.field(),
        output_config: output_config(request, &thinking),
        metadata,
        passed: passed.into_iter().filter(|(name, _)| !OWN.contains(name)).collect(),
    };
    let headers = headers(api_key, quirks.api_version);
    Ok(UpstreamRequest::post("/v1/messages", headers, &body, dropped))
}

/// The features of this provider. Only models that think adaptively accept system messages amid a
/// conversation.
fn features(target: Target<'_>, style: ThinkingStyle) -> Features {
    Features {
        api: Api::Anthropic,
        user_documents: Documents::Any,
        tool_documents: Documents::Any,
        late_system: style == ThinkingStyle::Adaptive,
        keeps_volatile: target.quirks.keeps_volatile,
    }
}

fn output_config(request: &ChatRequest, thinking: &Thinking) -> Option<Value> {
    let mut config = Map::new();
    config.extend(thinking.effort().map(|effort| ("effort".to_owned(), json!(effort))));
    match &request.format {
        Format::Schema { schema, .. } => {
            let format = json!({"type": "json_schema", "schema": schema});
            config.insert("format".to_owned(), format);
        }
        Format::Text | Format::Json => {}
    }
    (!config.is_empty()).then_some(Value::Object(config))
}

/// The headers of every call.
pub(super) fn headers(api_key: Option<&str>, version: ApiVersion) -> Vec<(&'static str, String)> {
    let key = api_key.map(|key| ("x-api-key", key.to_owned()));
    [("anthropic-version", version.as_str().to_owned())].into_iter().chain(key).collect()
}

/// Refuses requests that cannot be expressed, and returns the stop texts without empty ones.
fn check(request: &ChatRequest) -> Result<Vec<&str>, GatewayError> {
    history::refuse_several(request)?;
    if request.logprobs.is_some() {
        return Err(GatewayError::invalid("logprobs: this provider has none, leave it out"));
    }
    let stops = history::stop_texts(request);
    if stops.iter().any(|stop| stop.trim().is_empty()) {
        return Err(GatewayError::invalid(
            "stop: this provider takes no text of white space alone",
        ));
    }
    Ok(stops)
}

/// Reports the settings for which the API has no field as dropped.
fn name_unsupported(
    request: &ChatRequest,
    thinking: &Thinking,
    version: ApiVersion,
    dropped: &mut Vec<String>,
) {
    let has_sampling = version.has_sampling();
    let is_untuned = thinking.is_on() || !has_sampling;
    let sampling = &request.sampling;
    let is_set = |value: Option<f64>, neutral: f64| value.is_some_and(|value| value != neutral);
    for (name, is_lost) in [
        ("reasoning_effort", thinking.is_dropped),
        ("temperature", is_untuned && is_set(sampling.temperature, 1.0)),
        ("top_p", !has_sampling && is_set(sampling.top_p, 1.0)),
        ("top_k", is_untuned && sampling.top_k.is_some()),
        ("min_p", is_set(sampling.min_p, 0.0)),
        ("presence_penalty", is_set(sampling.presence_penalty, 0.0)),
        ("frequency_penalty", is_set(sampling.frequency_penalty, 0.0)),
        ("repeat_penalty", is_set(sampling.repeat_penalty, 1.0)),
        ("seed", sampling.seed.is_some()),
    ] {
        if is_lost {
            dropped.push(name.to_owned());
        }
    }
}

fn system(request: &ChatRequest) -> Result<Option<System<'_>>, GatewayError> {
    let told = instructions(request)?;
    let messages = || leading_system(request);
    let is_mark = |part: &Part| matches!(part, Part::CacheMark(_) | Part::Foreign(_));
    if messages().any(|message| message.content.iter().any(is_mark)) {
        let mut blocks: Vec<Block<'_>> =
            messages().flat_map(|message| blocks_of(&message.content)).collect();
        if request.format == Format::Json {
            blocks.push(Kind::Text { text: JSON_MODE }.into());
        }
        return Ok(Some(System::Blocks(blocks)));
    }
    let mode = match request.format {
        Format::Json => Some(JSON_MODE.to_owned()),
        Format::Text | Format::Schema { .. } => None,
    };
    Ok(match (told, mode) {
        (Some(told), Some(mode)) => Some(System::Text(format!("{told}\n\n{mode}"))),
        (told, mode) => told.or(mode).map(System::Text),
    })
}

/// The user's id, from OpenAI's fields for it.
fn metadata(request: &ChatRequest, dropped: &mut Vec<String>) -> Option<Value> {
    let extra = request.extra.as_ref().filter(|extra| extra.api == Api::OpenAi)?;
    let told = ["safety_identifier", "user"]
        .into_iter()
        .find_map(|name| Some((name, extra.fields.get(name)?.as_str()?)));
    let (name, user) = told?;
    dropped.retain(|other| other != name);
    Some(json!({"user_id": user}))
}

fn messages<'a>(
    request: &'a ChatRequest,
    names: &'a ToolNames,
    dropped: &mut Vec<String>,
) -> Result<Vec<Turn<'a>>, GatewayError> {
    let mut call_ids = CallIds::new(request, |id| fits_as_id(id, LONGEST_ID))?;
    let mut turns: Vec<Turn<'a>> = Vec::with_capacity(request.messages.len());
    // The system messages that open the conversation have a field of their own.
    for message in request.messages.iter().skip(leading_system(request).count()) {
        let (role, content) = match message.role {
            Role::System => ("system", blocks_of(&message.content)),
            Role::User => ("user", user(message)),
            Role::Assistant => ("assistant", assistant(message, &mut call_ids, names, dropped)?),
            Role::Tool => ("user", results(message, &mut call_ids)),
        };
        match turns.last_mut() {
            // The results of one turn's calls belong in one message, together with what the user
            // adds.
            Some(last) if last.role == role => last.content.extend(content),
            _ if content.is_empty() => {}
            _ => turns.push(Turn { role, content }),
        }
    }
    for turn in turns.iter_mut().filter(|turn| turn.role == "user") {
        // Results come first; the order is otherwise unchanged.
        turn.content.sort_by_key(|block| !matches!(block.kind, Kind::ToolResult { .. }));
    }
    trim_prefill(&mut turns);
    Ok(turns)
}

/// The model continues a last assistant message, which may not end in white space.
fn trim_prefill(turns: &mut Vec<Turn<'_>>) {
    let Some(last) = turns.last_mut().filter(|turn| turn.role == "assistant") else { return };
    if let Some(Block { kind: Kind::Text { text }, .. }) = last.content.last_mut() {
        *text = text.trim_end();
        if text.is_empty() {
            last.content.pop();
        }
    }
    if last.content.is_empty() {
        turns.pop();
    }
}

/// The API refuses an empty message, so a user message without content becomes a space.
fn user(message: &Message) -> Vec<Block<'_>> {
    let mut blocks = blocks_of(&message.content);
    if blocks.is_empty() {
        blocks.push(Kind::Text { text: " " }.into());
    }
    blocks
}

/// The texts, pictures and documents. The API refuses empty texts, so they are left out.
fn blocks_of(parts: &[Part]) -> Vec<Block<'_>> {
    let mut blocks = Vec::with_capacity(parts.len());
    for part in parts {
        match part {
            Part::Text(text) if !text.is_empty() => blocks.push(Kind::Text { text }.into()),
            Part::Image(image) => blocks.push(Kind::image(image).into()),
            Part::Document(document) => blocks.push(Kind::document(document).into()),
            Part::Foreign(foreign) => blocks.push(Kind::Foreign(&foreign.value).into()),
            Part::CacheMark(mark) => set_cache_mark(mark, &mut blocks),
            Part::Text(_) | Part::Reasoning { .. } | Part::ToolCall(_) | Part::ToolResult(_) => {}
        }
    }
    blocks
}

/// Puts the cache mark on the last block.
fn set_cache_mark<'a>(mark: &'a Value, blocks: &mut [Block<'a>]) {
    if let Some(last) = blocks.last_mut() {
        last.cache_control = Some(mark);
    }
}

fn assistant<'a>(
    message: &'a Message,
    call_ids: &mut CallIds<'a>,
    names: &'a ToolNames,
    dropped: &mut Vec<String>,
) -> Result<Vec<Block<'a>>, GatewayError> {
    refuse_images(message)?;
    let mut blocks = Vec::with_capacity(message.content.len());
    for part in &message.content {
        match part {
            Part::Text(text) if !text.is_empty() => blocks.push(Kind::Text { text }.into()),
            Part::CacheMark(mark) => set_cache_mark(mark, &mut blocks),
            Part::Foreign(foreign) => blocks.push(Kind::Foreign(&foreign.value).into()),
            Part::Document(document) => blocks.push(Kind::document(document).into()),
            Part::Text(_) | Part::Image(_) | Part::ToolResult(_) => {}
            Part::Reasoning { text, signature } => match signature.as_deref() {
                Some(signature) if is_own(signature) => {
                    let thinking = match signature.strip_prefix(REDACTED) {
                        Some(data) => Kind::RedactedThinking { data },
                        None => Kind::Thinking { thinking: text, signature },
                    };
                    blocks.push(thinking.into());
                }
                // The API refuses thinking without its signature, so such thinking is left out.
                Some(_) | None if dropped.iter().any(|name| name == "reasoning") => {}
                Some(_) | None => dropped.push("reasoning".to_owned()),
            },
            Part::ToolCall(call) => {
                let (id, name) = (call_ids.call(), names.outbound(&call.name));
                blocks.push(Kind::ToolUse { id, name, input: arguments(call)? }.into());
            }
        }
    }
    Ok(blocks)
}

fn results<'a>(message: &'a Message, call_ids: &mut CallIds<'a>) -> Vec<Block<'a>> {
    let mut blocks = Vec::with_capacity(message.content.len());
    for part in &message.content {
        match part {
            Part::ToolResult(result) => {
                let (content, is_error) = (blocks_of(&result.content), result.is_error);
                let tool_use_id = call_ids.result().0;
                blocks.push(Kind::ToolResult { tool_use_id, content, is_error }.into());
            }
            Part::CacheMark(mark) => set_cache_mark(mark, &mut blocks),
            Part::Text(_)
            | Part::Image(_)
            | Part::Document(_)
            | Part::Foreign(_)
            | Part::Reasoning { .. }
            | Part::ToolCall(_) => {}
        }
    }
    blocks
}

/// The tools in the client's order. Tools that the conversation declares later stay there.
fn declarations<'a>(request: &'a ChatRequest, names: &'a ToolNames) -> Vec<Offered<'a>> {
    let own = |hosted: &&HostedTool| hosted.api == Api::Anthropic;
    let mut hosted = request.hosted.iter().filter(own).peekable();
    let mut offered = Vec::with_capacity(request.tools.len());
    for (at, tool) in request.tools.iter().enumerate() {
        while let Some(hosted) = hosted.next_if(|hosted| hosted.at <= at) {
            offered.push(Offered::Hosted(&hosted.value));
        }
        if !tool.is_late {
            offered.push(Offered::Function(declaration(tool, names)));
        }
    }
    offered.extend(hosted.map(|hosted| Offered::Hosted(&hosted.value)));
    offered
}

fn declaration<'a>(tool: &'a Tool, names: &'a ToolNames) -> Declaration<'a> {
    Declaration {
        name: names.outbound(&tool.name),
        description: tool.description.as_deref(),
        input_schema: match &tool.parameters {
            Some(schema) => schema.clone(),
            None => json!({"type": "object", "properties": {}}),
        },
        strict: tool.strict.filter(|strict| *strict),
        cache_control: tool.cache_mark.as_ref(),
        passed: own_fields(tool),
    }
}

/// The fields of a tool that only Anthropic's clients send.
fn own_fields(tool: &Tool) -> Vec<(&str, &Value)> {
    let own = tool.extra.as_ref().filter(|extra| extra.api == Api::Anthropic);
    own.into_iter()
        .flat_map(|extra| &extra.fields)
        .map(|(name, value)| (name.as_str(), value))
        .collect()
}

fn choice(request: &ChatRequest, names: &ToolNames) -> Option<Value> {
    if request.tools.is_empty() && request.hosted.is_empty() {
        return None;
    }
    let alone = request.parallel_tool_calls == Some(false);
    let mut choice = match &request.tool_choice {
        ToolChoice::Auto if !alone => return None,
        ToolChoice::Auto => json!({"type": "auto"}),
        ToolChoice::None => return Some(json!({"type": "none"})),
        ToolChoice::Required => json!({"type": "any"}),
        ToolChoice::Named(name) => json!({"type": "tool", "name": names.outbound(name)}),
    };
    if let Some(fields) = choice.as_object_mut().filter(|_| alone) {
        fields.insert("disable_parallel_tool_use".to_owned(), json!(true));
    }
    Some(choice)
}
