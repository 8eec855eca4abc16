//! Decodes a request of an Ollama client.
//!
//! The one thing to know: many of these clients have no ids for tool calls. A result without one
//! belongs to the call of the same name, else to the first call without a result. Calls without ids
//! get ids made from their position in the conversation, so that the same conversation is always
//! decoded in the same way.

use serde_json::{Value, json};

use crate::chat::{
    Api, ChatRequest, Effort, Extra, Foreign, Format, GatewayError, Image, ImageSource, Message,
    Part, Role, Sampling, ShowRequest, Tool, ToolCall, ToolResult,
};
use crate::wire::fields::{Fields, Object, take};
use crate::wire::image;

/// Decodes a conversation.
pub(super) fn chat(fields: &mut Fields, body: &mut Object) -> Result<ChatRequest, GatewayError> {
    let mut request = shared(fields, body)?;
    request.tools = tools(fields, body);
    let messages = fields.list(body, "messages").unwrap_or_default();
    request.messages = fields.within("messages", |fields| conversation(fields, messages));
    Ok(closed(request, body))
}

/// Decodes a prompt as a conversation of one turn.
pub(super) fn generate(
    fields: &mut Fields,
    body: &mut Object,
) -> Result<ChatRequest, GatewayError> {
    let mut request = shared(fields, body)?;
    for key in ["raw", "template", "context"] {
        if take(body, key).is_some_and(|value| !is_empty(&value)) {
            return Err(GatewayError::invalid(format!(
                "{key}: prompts are answered as chats here, leave it out or use /api/chat"
            )));
        }
    }
    let system = some_text(fields, body, "system");
    let prompt = some_text(fields, body, "prompt");
    let images = images(fields, body);
    let suffix = some_text(fields, body, "suffix");
    // Without a prompt, the request only loads the model.
    if let Some(prompt) = prompt {
        request.messages.extend(system.map(|system| Message::text(Role::System, system)));
        let mut message = Message::text(Role::User, prompt);
        message.content.extend(images);
        request.messages.push(message);
        request.suffix = suffix;
    }
    Ok(closed(request, body))
}

/// Decodes a request for the facts about a model.
pub(super) fn show(fields: &mut Fields, body: &mut Object) -> Result<ShowRequest, GatewayError> {
    // The old name of the field.
    if let Some(name) = body.swap_remove("name").filter(|_| body.get("model").is_none_or(is_empty))
    {
        body.insert("model".to_owned(), name);
    }
    let model = model_name(fields, body)?;
    Ok(ShowRequest { model, verbose: fields.flag(body, "verbose").unwrap_or(false) })
}

/// Takes the model's name, which is required.
pub(super) fn model_name(fields: &mut Fields, body: &mut Object) -> Result<String, GatewayError> {
    if body.get("model").is_none_or(is_empty) {
        return Err(GatewayError::invalid("model is required"));
    }
    Ok(fields.text(body, "model").unwrap_or_default())
}

/// Decodes what both routes have in common; the messages are still missing.
fn shared(fields: &mut Fields, body: &mut Object) -> Result<ChatRequest, GatewayError> {
    Ok(ChatRequest {
        model: Some(model_name(fields, body)?),
        stream: fields.flag(body, "stream").unwrap_or(true),
        sampling: options(fields, body),
        format: format(body)?,
        effort: effort(body)?,
        logprobs: logprobs(fields, body)?,
        ..ChatRequest::default()
    })
}

/// Whether a value is null or empty.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) | Value::Number(_) => false,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty(),
    }
}

/// Keeps the rest of `body` for a provider of the same API.
fn closed(mut request: ChatRequest, body: &mut Object) -> ChatRequest {
    request.extra = kept(body);
    // Loading a model is answered with one document, even for a client that streams.
    request.stream &= !request.messages.is_empty();
    request
}

/// The fields that were not read, for a provider of the same API.
pub(super) fn kept(body: &mut Object) -> Option<Extra> {
    body.retain(|_, value| !value.is_null());
    let fields = std::mem::take(body);
    (!fields.is_empty()).then_some(Extra { api: Api::Ollama, fields })
}

/// Takes the options that every provider knows; puts the others back.
fn options(fields: &mut Fields, body: &mut Object) -> Sampling {
    let Some(mut options) = fields.object(body, "options") else { return Sampling::default() };
    let sampling = fields.within("options", |fields| sampling(fields, &mut options));
    options.retain(|_, value| !value.is_null());
    if !options.is_empty() {
        body.insert("options".to_owned(), Value::Object(options));
    }
    sampling
}

fn sampling(fields: &mut Fields, options: &mut Object) -> Sampling {
    let whole = |fields: &mut Fields, options: &mut Object, key| {
        fields.integer(options, key, i64::from(i32::MIN), i64::from(i32::MAX))
    };
    let number = |fields: &mut Fields, options: &mut Object, key| {
        fields.number(options, key, f64::MIN, f64::MAX)
    };
    Sampling {
        // −1 is no limit and −2 fills the context: both leave it to the provider.
        max_tokens: whole(fields, options, "num_predict").and_then(|limit| limit.try_into().ok()),
        temperature: number(fields, options, "temperature"),
        top_p: number(fields, options, "top_p"),
        // Values below 0 mean no limit, as 0 does.
        top_k: whole(fields, options, "top_k").map(|top| top.try_into().unwrap_or(0)),
        min_p: number(fields, options, "min_p"),
        presence_penalty: number(fields, options, "presence_penalty"),
        frequency_penalty: number(fields, options, "frequency_penalty"),
        repeat_penalty: number(fields, options, "repeat_penalty"),
        // −1 asks for a random one.
        seed: fields.integer(options, "seed", i64::MIN, i64::MAX).filter(|seed| *seed != -1),
        stop: fields
            .texts(options, "stop")
            .map(|stop| stop.into_iter().filter(|text| !text.is_empty()).collect())
            .unwrap_or_default(),
    }
}

fn format(body: &mut Object) -> Result<Format, GatewayError> {
    match take(body, "format") {
        None => Ok(Format::Text),
        Some(Value::String(name)) if name.is_empty() => Ok(Format::Text),
        Some(Value::String(name)) if name == "json" => Ok(Format::Json),
        Some(schema @ Value::Object(_)) => {
            Ok(Format::Schema { name: None, description: None, schema, strict: None })
        }
        Some(_) => Err(GatewayError::invalid(
            "invalid format: expected \"json\" or a valid JSON Schema object",
        )),
    }
}

fn effort(body: &mut Object) -> Result<Option<Effort>, GatewayError> {
    let Some(think) = take(body, "think") else { return Ok(None) };
    let effort = match &think {
        Value::Bool(false) => Some(Effort::None),
        Value::Bool(true) => Some(Effort::On),
        Value::String(level) => match level.as_str() {
            "low" => Some(Effort::Low),
            "medium" => Some(Effort::Medium),
            "high" => Some(Effort::High),
            "max" => Some(Effort::Max),
            _ => None,
        },
        Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
    };
    let expected =
        "invalid think value: must be \"high\", \"medium\", \"low\", \"max\", true, or false";
    effort.map(Some).ok_or_else(|| GatewayError::invalid(expected))
}

fn logprobs(fields: &mut Fields, body: &mut Object) -> Result<Option<u8>, GatewayError> {
    let wanted = fields.flag(body, "logprobs").unwrap_or(false);
    let top = fields.integer(body, "top_logprobs", i64::MIN, i64::MAX).unwrap_or(0);
    match u8::try_from(top) {
        Ok(top) if top <= 20 => Ok(wanted.then_some(top)),
        _ => Err(GatewayError::invalid("top_logprobs must be between 0 and 20")),
    }
}

fn tools(fields: &mut Fields, body: &mut Object) -> Vec<Tool> {
    let list = fields.list(body, "tools").unwrap_or_default();
    let mut tools = Vec::with_capacity(list.len());
    fields.each("tools", list, |fields, mut item| tools.extend(tool(fields, &mut item)));
    tools
}

fn tool(fields: &mut Fields, item: &mut Object) -> Option<Tool> {
    let kind = fields.text(item, "type").filter(|kind| kind != "function");
    if let Some(kind) = kind.filter(|_| !item.contains_key("function")) {
        fields.note_dropped(&kind);
        return None;
    }
    let mut function = fields.required_object(item, "function")?;
    fields.within("function", |fields| {
        let name = fields.required_text(&mut function, "name");
        let description = fields.text(&mut function, "description");
        let parameters = fields.object(&mut function, "parameters").map(Value::Object);
        Some(Tool { name: name?, description, parameters, ..Tool::default() })
    })
}

fn conversation(fields: &mut Fields, list: Vec<Value>) -> Vec<Message> {
    let mut open = Vec::new();
    let items = list.into_iter().enumerate();
    items
        .filter_map(|(index, item)| {
            let mut item = fields.item(index, item)?;
            fields.within(index, |fields| message(fields, &mut item, index, &mut open))
        })
        .collect()
}

/// A call of the latest assistant message that has no result yet.
struct OpenCall {
    id: String,
    name: String,
}

fn message(
    fields: &mut Fields,
    item: &mut Object,
    index: usize,
    open: &mut Vec<OpenCall>,
) -> Option<Message> {
    let role = role(fields, item);
    let thinking = some_text(fields, item, "thinking");
    let text = some_text(fields, item, "content").map(Part::Text);
    let seen = text.into_iter().chain(images(fields, item));
    let calls = tool_calls(fields, item, index);
    let tool_name = some_text(fields, item, "tool_name");
    let call_id = some_text(fields, item, "tool_call_id");
    let (role, own) = role?;
    let content = match role {
        Role::System | Role::User => own.into_iter().chain(seen).collect(),
        Role::Assistant => {
            let ids = calls.iter().filter_map(|call| {
                Some(OpenCall { id: call.id.clone()?, name: call.name.clone() })
            });
            *open = ids.collect();
            let thinking = thinking.map(|text| Part::Reasoning { text, signature: None });
            thinking.into_iter().chain(seen).chain(calls.into_iter().map(Part::ToolCall)).collect()
        }
        Role::Tool => vec![Part::ToolResult(linked(call_id, tool_name, seen.collect(), open))],
    };
    Some(Message { role, content, name: None })
}

/// The role, and its name if it is not one of the usual ones: templates of models may know more
/// roles.
fn role(fields: &mut Fields, item: &mut Object) -> Option<(Role, Option<Part>)> {
    let word = fields.required_text(item, "role")?;
    let role = match word.to_ascii_lowercase().as_str() {
        "system" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" => Role::Tool,
        _ => {
            let foreign = Foreign {
                api: Api::Ollama,
                kind: "role".to_owned(),
                text: None,
                is_decisive: false,
                value: json!({"role": word}),
            };
            return Some((Role::User, Some(Part::Foreign(foreign))));
        }
    };
    Some((role, None))
}

/// Takes a string that is not empty.
fn some_text(fields: &mut Fields, item: &mut Object, key: &str) -> Option<String> {
    fields.text(item, key).filter(|text| !text.is_empty())
}

fn images(fields: &mut Fields, item: &mut Object) -> Vec<Part> {
    let list = fields.texts(item, "images").unwrap_or_default();
    fields.within("images", |fields| {
        let items = list.into_iter().enumerate();
        items
            .filter_map(|(index, text)| {
                let Some(base64) = image::standard_base64(text) else {
                    let expected = "Input should be base64 without a data: prefix";
                    fields.problem(&index.to_string(), "base64", expected);
                    return None;
                };
                // Audio is sent here too, for models that accept it.
                let known = image::media_type(&base64).unwrap_or("application/octet-stream");
                let source = ImageSource::Inline { media_type: known.to_owned(), base64 };
                Some(Part::Image(Image { source, detail: None }))
            })
            .collect()
    })
}

fn tool_calls(fields: &mut Fields, item: &mut Object, message: usize) -> Vec<ToolCall> {
    let list = fields.list(item, "tool_calls").unwrap_or_default();
    fields.within("tool_calls", |fields| {
        let items = list.into_iter().enumerate();
        items
            .filter_map(|(index, item)| {
                let mut item = fields.item(index, item)?;
                fields.within(index, |fields| {
                    // From its position, so that it stays the same in every later request. The
                    // templates of all models accept nine letters and digits.
                    let id = some_text(fields, &mut item, "id")
                        .unwrap_or_else(|| format!("c{message:05}{index:03}"));
                    let mut function = fields.required_object(&mut item, "function")?;
                    fields.within("function", |fields| tool_call(fields, &mut function, id))
                })
            })
            .collect()
    })
}

fn tool_call(fields: &mut Fields, function: &mut Object, id: String) -> Option<ToolCall> {
    let name = fields.required_text(function, "name");
    // OpenAI's clients send the JSON text of an object.
    let text = function.get("arguments").and_then(Value::as_str);
    if let Some(parsed) = text.and_then(|text| serde_json::from_str::<Object>(text).ok()) {
        function.insert("arguments".to_owned(), Value::Object(parsed));
    }
    let arguments = fields.object(function, "arguments").unwrap_or_default();
    let arguments = Value::Object(arguments).to_string();
    Some(ToolCall { id: Some(id), name: name?, arguments })
}

/// A result with the id of the call that it answers.
fn linked(
    call_id: Option<String>,
    tool_name: Option<String>,
    content: Vec<Part>,
    open: &mut Vec<OpenCall>,
) -> ToolResult {
    let found = match (&call_id, &tool_name) {
        (Some(id), _) => open.iter().position(|call| call.id == *id),
        (None, Some(name)) => open.iter().position(|call| call.name == *name).or(Some(0)),
        (None, None) => Some(0),
    };
    let answered = found.filter(|at| *at < open.len()).map(|at| open.remove(at));
    let (id, name) = answered.map(|call| (call.id, call.name)).unzip();
    ToolResult { call_id: call_id.or(id), name: tool_name.or(name), content, is_error: false }
}

#[cfg(test)]
mod tests;
