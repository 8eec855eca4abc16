//! Reads a conversation for APIs that are stricter than the canonical model.
//!
//! It owns what several backends need of messages: instructions, pictures, arguments and results in
//! the shapes that they take. [`call_ids`](super::call_ids) pairs calls with results,
//! [`tool_names`](super::tool_names) adapts tool names.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::chat::{
    Api, ChatRequest, Document, Foreign, GatewayError, Image, ImageSource, Message, Part, Role,
    ToolCall, ToolResult,
};

/// The kind of a part with a client's own fields for the thinking of an assistant message.
pub(super) const REASONING: &str = "reasoning";

/// The name under which cache marks are reported as dropped.
const CACHE_MARK: &str = "cache_control";

/// Reports fields of messages that most APIs do not have as dropped.
pub(super) fn name_unsupported(request: &ChatRequest, dropped: &mut Vec<String>) {
    let messages = || request.messages.iter();
    let mut parts = messages().flat_map(|message| &message.content);
    if messages().any(|message| message.name.is_some()) {
        dropped.push("name".to_owned());
    }
    if parts.any(|part| matches!(part, Part::Image(Image { detail: Some(_), .. }))) {
        dropped.push("detail".to_owned());
    }
}

/// Refuses to give several answers to one request.
///
/// # Errors
///
/// `InvalidRequest` when more than one is wanted.
pub(super) fn refuse_several(request: &ChatRequest) -> Result<(), GatewayError> {
    match request.n {
        Some(2..) => Err(GatewayError::invalid("n: this provider gives one answer, ask for n = 1")),
        Some(..=1) | None => Ok(()),
    }
}

/// The stop texts without empty ones.
pub(super) fn stop_texts(request: &ChatRequest) -> Vec<&str> {
    let stops = request.sampling.stop.iter().map(String::as_str);
    stops.filter(|stop| !stop.is_empty()).collect()
}

/// Refuses a request for an audio answer, which the canonical model cannot hold.
///
/// # Errors
///
/// `InvalidRequest` naming the field.
pub(super) fn refuse_audio(request: &ChatRequest) -> Result<(), GatewayError> {
    let fields = request.extra.as_ref().filter(|extra| extra.api == Api::OpenAi);
    let asks = |name: &str| match fields.and_then(|extra| extra.fields.get(name)) {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Array(list)) => list.iter().any(|one| one != "text"),
        Some(Value::Bool(true) | Value::Number(_) | Value::String(_) | Value::Object(_)) => true,
    };
    match ["modalities", "audio"].into_iter().find(|name| asks(name)) {
        None => Ok(()),
        Some(name) => Err(GatewayError::invalid(format!(
            "{name}: this provider answers text only, leave it out"
        ))),
    }
}

/// The conversation with the results of each turn in the order of its calls, for APIs that match
/// results to calls only by order. Agents run calls in parallel and send the results in the order
/// in which they finish.
pub(super) fn results_in_order(request: &ChatRequest) -> Cow<'_, ChatRequest> {
    let mut changed: Option<Vec<Message>> = None;
    let mut calls: HashMap<&str, usize> = HashMap::new();
    let mut at = 0;
    while let Some(message) = request.messages.get(at) {
        if message.role != Role::Tool {
            if message.role == Role::Assistant {
                calls = call_positions(message);
            }
            at += 1;
            continue;
        }
        let rest = request.messages.get(at..).unwrap_or_default();
        let run = rest.iter().take_while(|message| message.role == Role::Tool).count();
        let turn = rest.get(..run).unwrap_or_default();
        let position = |result: &ToolResult| calls.get(result.call_id.as_deref()?).copied();
        // A result without an id belongs where it is.
        let are_known = results(turn).all(|result| position(result).is_some());
        if are_known && !results(turn).is_sorted_by_key(position) {
            let mut sorted: Vec<ToolResult> = results(turn).cloned().collect();
            sorted.sort_by_key(position);
            let messages = changed.get_or_insert_with(|| request.messages.clone());
            let mut sorted = sorted.into_iter();
            for part in messages.iter_mut().skip(at).take(run).flat_map(|it| &mut it.content) {
                if let Part::ToolResult(result) = part
                    && let Some(next) = sorted.next()
                {
                    *result = next;
                }
            }
        }
        at += run;
    }
    match changed {
        None => Cow::Borrowed(request),
        Some(messages) => Cow::Owned(ChatRequest { messages, ..request.clone() }),
    }
}

/// The calls of a turn by their ids, with their positions.
fn call_positions(message: &Message) -> HashMap<&str, usize> {
    let calls = message.content.iter().filter_map(Part::as_tool_call);
    calls
        .filter_map(|call| call.id.as_deref())
        .enumerate()
        .map(|(position, id)| (id, position))
        .collect()
}

fn results(messages: &[Message]) -> impl Iterator<Item = &ToolResult> {
    messages.iter().flat_map(|message| &message.content).filter_map(Part::as_tool_result)
}

/// Reports cache marks, which only Anthropic's API has, as dropped.
pub(super) fn name_cache_marks(request: &ChatRequest, dropped: &mut Vec<String>) {
    fn marked(parts: &[Part]) -> bool {
        parts.iter().any(|part| match part {
            Part::CacheMark(_) => true,
            Part::ToolResult(result) => marked(&result.content),
            Part::Text(_)
            | Part::Image(_)
            | Part::Document(_)
            | Part::Foreign(_)
            | Part::Reasoning { .. }
            | Part::ToolCall(_) => false,
        })
    }
    let is_marked = request.messages.iter().any(|message| marked(&message.content))
        || request.tools.iter().any(|tool| tool.cache_mark.is_some());
    if is_marked && !dropped.iter().any(|name| name == CACHE_MARK) {
        dropped.push(CACHE_MARK.to_owned());
    }
}

/// Reports parts that a backend does not take as dropped; `takes` says which it takes. Such a part
/// in the current question is refused instead, because the answer would be about something else.
///
/// # Errors
///
/// `InvalidRequest` naming the part.
pub(super) fn name_foreign(
    request: &ChatRequest,
    takes: impl Fn(&Foreign) -> bool,
    dropped: &mut Vec<String>,
) -> Result<(), GatewayError> {
    let answered = request.messages.iter().rposition(|message| message.role == Role::Assistant);
    let since = answered.map_or(0, |at| at + 1);
    for (index, message) in request.messages.iter().enumerate() {
        for (part, is_result) in with_results(&message.content) {
            let Part::Foreign(foreign) = part else { continue };
            // Only Anthropic's results may hold more than texts and pictures.
            if takes(foreign) && (!is_result || foreign.api == Api::Anthropic) {
                continue;
            }
            if index >= since && !is_result && foreign.is_decisive {
                let kind = excerpt(&foreign.kind);
                return Err(GatewayError::invalid(format!(
                    "{kind}: this provider takes no such parts, send text or name another's model"
                )));
            }
            if !dropped.contains(&foreign.kind) {
                dropped.push(excerpt(&foreign.kind));
            }
        }
    }
    Ok(())
}

/// All parts, each tool result followed by the parts within it; the flag tells whether a part is
/// within a result.
fn with_results(parts: &[Part]) -> impl Iterator<Item = (&Part, bool)> {
    parts.iter().flat_map(|part| {
        let within = match part {
            Part::ToolResult(result) => result.content.as_slice(),
            Part::Text(_)
            | Part::Image(_)
            | Part::Reasoning { .. }
            | Part::ToolCall(_)
            | Part::CacheMark(_)
            | Part::Document(_)
            | Part::Foreign(_) => &[],
        };
        std::iter::once((part, false)).chain(within.iter().map(|part| (part, true)))
    })
}

/// The arguments of a call as an object, which all APIs but OpenAI's require.
///
/// # Errors
///
/// `InvalidRequest` when the text is not a JSON object.
pub(super) fn arguments(call: &ToolCall) -> Result<Value, GatewayError> {
    let arguments = match call.arguments.trim() {
        "" => Value::Object(Map::new()),
        text => serde_json::from_str(text).unwrap_or(Value::Null),
    };
    if !arguments.is_object() {
        let name = excerpt(&call.name);
        return Err(GatewayError::invalid(format!(
            "tool_calls: the arguments of `{name}` must be a JSON object"
        )));
    }
    Ok(arguments)
}

/// The text of the system messages that open the conversation, joined by blank lines.
///
/// # Errors
///
/// `InvalidRequest` when one holds a picture.
pub(super) fn instructions(request: &ChatRequest) -> Result<Option<String>, GatewayError> {
    let mut texts = Vec::new();
    for message in leading_system(request) {
        refuse_images(message)?;
        let text = message.joined_text();
        if !text.trim().is_empty() {
            texts.push(text);
        }
    }
    Ok(if texts.is_empty() { None } else { Some(texts.join("\n\n")) })
}

/// The system messages that open the conversation.
pub(super) fn leading_system(request: &ChatRequest) -> impl Iterator<Item = &Message> {
    request.messages.iter().take_while(|message| message.role == Role::System)
}

/// An infill (fill in the middle).
pub(super) struct Infill<'a> {
    /// The message with the text before the suffix.
    pub(super) message: &'a Message,
    /// The system text.
    pub(super) instructions: Option<String>,
}

/// The infill that a request with a `suffix` asks for.
///
/// # Errors
///
/// `InvalidRequest` when there is not exactly one text before it.
pub(super) fn infill(request: &ChatRequest) -> Result<Infill<'_>, GatewayError> {
    let mut said = request.messages.iter().filter(|message| message.role != Role::System);
    let instructions = instructions(request)?;
    match (said.next(), said.next()) {
        (Some(message), None) if message.role == Role::User => Ok(Infill { message, instructions }),
        _ => Err(GatewayError::invalid("suffix: a gap follows one text, the user's")),
    }
}

/// Refuses an infill, for APIs that only answer.
///
/// # Errors
///
/// `InvalidRequest` when the request has a suffix.
pub(super) fn refuse_infill(request: &ChatRequest) -> Result<(), GatewayError> {
    match request.suffix {
        None => Ok(()),
        Some(_) => Err(GatewayError::invalid("suffix: this provider fills no gaps, leave it out")),
    }
}

/// Refuses pictures in a message whose role takes only text.
///
/// # Errors
///
/// `InvalidRequest` when the message holds one.
pub(super) fn refuse_images(message: &Message) -> Result<(), GatewayError> {
    if !message.content.iter().any(|part| matches!(part, Part::Image(_))) {
        return Ok(());
    }
    let role = message.role.as_str();
    Err(GatewayError::invalid(format!(
        "image_url: {role} messages take text only, move the image to a user message"
    )))
}

/// The media type of an inline picture: by its first bytes, since clients label pictures wrongly,
/// else as declared.
pub(super) fn media_type<'a>(declared: &'a str, base64: &str) -> &'a str {
    const SIGNS: &[(&str, &str)] = &[
        ("iVBORw0KGgo", "image/png"),
        ("/9j/", "image/jpeg"),
        ("R0lGOD", "image/gif"),
        ("UklGR", "image/webp"),
    ];
    let found = SIGNS.iter().find(|(sign, _)| base64.starts_with(sign));
    found.map_or(declared, |(_, media_type)| media_type)
}

/// The pictures in a tool result.
pub(super) fn images(result: &ToolResult) -> impl Iterator<Item = &Image> {
    result.content.iter().filter_map(Part::as_image)
}

/// The documents in a tool result.
pub(super) fn documents(result: &ToolResult) -> impl Iterator<Item = &Document> {
    result.content.iter().filter_map(Part::as_document)
}

/// The picture as a `data:` URI, or its own URL.
pub(super) fn address(image: &Image) -> String {
    match &image.source {
        ImageSource::Url(url) => url.clone(),
        ImageSource::Inline { media_type: declared, base64 } => {
            format!("data:{};base64,{base64}", media_type(declared, base64))
        }
    }
}

/// The text of a tool result, with a prefix if the tool failed, for APIs that have no field for
/// that.
pub(super) fn result_text(result: &ToolResult) -> String {
    let text = plain_result_text(result);
    if result.is_error { format!("Error: {text}") } else { text }
}

/// The text of a tool result: its text parts, joined by line feeds.
pub(super) fn plain_result_text(result: &ToolResult) -> String {
    let texts = result.content.iter().filter_map(Part::as_text);
    texts.collect::<Vec<_>>().join("\n")
}

/// The beginning of a client's own word, for an error message.
pub(super) fn excerpt(text: &str) -> String {
    text.chars().take(64).collect()
}
