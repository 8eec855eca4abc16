//! Reading a conversation for APIs that are stricter about it than the canonical model.
//!
//! It owns the pairing of tool calls with their results: every call gets an id and every result the id and name
//! of its call, whatever the client's own API leaves out. It refuses results that answer nothing.
//!
//! The one thing to know: ids are made by position, so the same conversation always yields the same ids, and a
//! provider's prompt cache stays warm.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::chat::{
    ChatRequest, GatewayError, Image, ImageSource, Message, Part, Role, ToolCall, ToolChoice,
    ToolResult,
};

/// The ids of a conversation's calls and results, in the order in which they appear.
#[derive(Debug, Default)]
pub(super) struct Links<'a> {
    calls: std::vec::IntoIter<String>,
    results: std::vec::IntoIter<(String, &'a str)>,
}

impl<'a> Links<'a> {
    /// Pairs the calls and results of `request`. An id of which `fits` says no is replaced on both sides.
    pub(super) fn new(
        request: &'a ChatRequest,
        fits: impl Fn(&str) -> bool,
    ) -> Result<Self, GatewayError> {
        let mut open: Vec<Open<'a>> = Vec::new();
        let mut calls = Vec::new();
        let mut results = Vec::new();
        for part in request.messages.iter().flat_map(|message| &message.content) {
            match part {
                Part::ToolCall(call) => {
                    let own = call.id.as_deref();
                    let id = match own.filter(|id| fits(id)) {
                        Some(id) => id.to_owned(),
                        None => format!("call_{}", calls.len()),
                    };
                    calls.push(id.clone());
                    open.push(Open { own, id, name: &call.name, answered: false });
                }
                Part::ToolResult(result) => results.push(answer(result, &mut open)?),
                Part::Text(_) | Part::Image(_) | Part::Reasoning { .. } => {}
            }
        }
        Ok(Self { calls: calls.into_iter(), results: results.into_iter() })
    }

    /// The id of the next call.
    pub(super) fn call(&mut self) -> String {
        self.calls.next().unwrap_or_default()
    }

    /// The id and the tool's name of the next result.
    pub(super) fn result(&mut self) -> (String, &'a str) {
        self.results.next().unwrap_or_default()
    }
}

/// A call that may be answered.
#[derive(Debug)]
struct Open<'a> {
    own: Option<&'a str>,
    id: String,
    name: &'a str,
    answered: bool,
}

/// Finds the call that `result` answers: by id, else by the tool's name, else the oldest that waits.
fn answer<'a>(
    result: &'a ToolResult,
    open: &mut [Open<'a>],
) -> Result<(String, &'a str), GatewayError> {
    let name = result.name.as_deref();
    let found = match result.call_id.as_deref() {
        Some(id) => open.iter_mut().rev().find(|call| call.own == Some(id)),
        None => {
            open.iter_mut().find(|call| !call.answered && name.is_none_or(|name| name == call.name))
        }
    };
    let Some(call) = found else {
        let what = match result.call_id.as_deref() {
            Some(id) => format!("tool_call_id: no earlier message calls `{}`", shown(id)),
            None => "messages: a tool message must follow the call that it answers".to_owned(),
        };
        return Err(GatewayError::invalid(what));
    };
    call.answered = true;
    Ok((call.id.clone(), call.name))
}

fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

/// Tool names in the letters a provider allows, and back.
///
/// OpenAI, Anthropic and Gemini take 64 letters, digits, `_` and `-`; names of MCP servers hold dots and slashes.
/// Built from the request alone, so the decoder of its answer knows the same names as the encoder.
#[derive(Debug, Default)]
pub(super) struct ToolNames {
    /// The client's name and the provider's, for those that differ.
    changed: Vec<(String, String)>,
}

impl ToolNames {
    const LONGEST: usize = 64;

    pub(super) fn new(request: &ChatRequest) -> Self {
        let mut taken: HashSet<String> = HashSet::new();
        let mut unfit: Vec<&str> = Vec::new();
        for name in all_names(request) {
            if fits_as_name(name) {
                taken.insert(name.to_owned());
            } else if !unfit.contains(&name) {
                unfit.push(name);
            }
        }
        let mut changed = Vec::with_capacity(unfit.len());
        for name in unfit {
            let stem: String = name
                .chars()
                .map(|letter| if is_name_letter(letter) { letter } else { '_' })
                .take(Self::LONGEST)
                .collect();
            let mut fit = stem.clone();
            let mut number = 2u32;
            while fit.is_empty() || taken.contains(&fit) {
                let tail = format!("_{number}");
                let kept = Self::LONGEST.saturating_sub(tail.len());
                fit = stem.chars().take(kept).chain(tail.chars()).collect();
                number = number.saturating_add(1);
            }
            taken.insert(fit.clone());
            changed.push((name.to_owned(), fit));
        }
        Self { changed }
    }

    /// The provider's name for the client's.
    pub(super) fn outbound<'a>(&'a self, name: &'a str) -> &'a str {
        self.changed.iter().find(|(own, _)| own == name).map_or(name, |(_, fit)| fit)
    }

    /// The client's name for the provider's.
    pub(super) fn inbound(&self, name: String) -> String {
        match self.changed.iter().find(|(_, fit)| *fit == name) {
            Some((own, _)) => own.clone(),
            None => name,
        }
    }
}

fn all_names(request: &ChatRequest) -> impl Iterator<Item = &str> {
    let parts = request.messages.iter().flat_map(|message| &message.content);
    let called = parts.filter_map(|part| match part {
        Part::ToolCall(call) => Some(call.name.as_str()),
        Part::Text(_) | Part::Image(_) | Part::Reasoning { .. } | Part::ToolResult(_) => None,
    });
    let chosen = match &request.tool_choice {
        ToolChoice::Named(name) => Some(name.as_str()),
        ToolChoice::Auto | ToolChoice::None | ToolChoice::Required => None,
    };
    request.tools.iter().map(|tool| tool.name.as_str()).chain(called).chain(chosen)
}

fn fits_as_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= ToolNames::LONGEST && name.chars().all(is_name_letter)
}

fn is_name_letter(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-')
}

/// Whether an id is made of letters, digits, `_` and `-`, at most `longest` of them.
pub(super) fn fits_as_id(id: &str, longest: usize) -> bool {
    !id.is_empty() && id.len() <= longest && id.chars().all(is_name_letter)
}

/// The arguments of a call, which all APIs but OpenAI's want as an object.
///
/// # Errors
///
/// `InvalidRequest` when the text is no JSON object.
pub(super) fn arguments(call: &ToolCall) -> Result<Value, GatewayError> {
    let arguments = match call.arguments.trim() {
        "" => Value::Object(Map::new()),
        text => serde_json::from_str(text).unwrap_or(Value::Null),
    };
    if !arguments.is_object() {
        let name = shown(&call.name);
        return Err(GatewayError::invalid(format!(
            "tool_calls: the arguments of `{name}` must be a JSON object"
        )));
    }
    Ok(arguments)
}

/// The system messages' text, joined by blank lines. Later ones are moved to the front with the first.
///
/// # Errors
///
/// `InvalidRequest` when one holds a picture.
pub(super) fn instructions(request: &ChatRequest) -> Result<Option<String>, GatewayError> {
    let mut texts = Vec::new();
    for message in request.messages.iter().filter(|message| message.role == Role::System) {
        refuse_images(message)?;
        let text = message.joined_text();
        if !text.trim().is_empty() {
            texts.push(text);
        }
    }
    Ok(if texts.is_empty() { None } else { Some(texts.join("\n\n")) })
}

/// Refuses pictures in a message whose role takes text only.
///
/// # Errors
///
/// `InvalidRequest` when it holds one.
pub(super) fn refuse_images(message: &Message) -> Result<(), GatewayError> {
    if !message.content.iter().any(|part| matches!(part, Part::Image(_))) {
        return Ok(());
    }
    let role = message.role.as_str();
    Err(GatewayError::invalid(format!(
        "image_url: {role} messages take text only, move the image to a user message"
    )))
}

/// What an inline picture is: by its first bytes, since clients mislabel, else as declared.
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

/// The pictures of a tool's answer.
pub(super) fn images(result: &ToolResult) -> impl Iterator<Item = &Image> {
    result.content.iter().filter_map(|part| match part {
        Part::Image(image) => Some(image),
        Part::Text(_) | Part::Reasoning { .. } | Part::ToolCall(_) | Part::ToolResult(_) => None,
    })
}

/// The picture as a `data:` URI, or the address it has.
pub(super) fn address(image: &Image) -> String {
    match &image.source {
        ImageSource::Url(url) => url.clone(),
        ImageSource::Inline { media_type: declared, base64 } => {
            format!("data:{};base64,{base64}", media_type(declared, base64))
        }
    }
}

/// The text of a tool's answer, marked when it failed, for APIs that have no field for that.
pub(super) fn result_text(result: &ToolResult) -> String {
    let text = plain_result_text(result);
    if result.is_error { format!("Error: {text}") } else { text }
}

/// The text of a tool's answer: its parts, joined by line feeds.
pub(super) fn plain_result_text(result: &ToolResult) -> String {
    let texts = result.content.iter().filter_map(|part| match part {
        Part::Text(text) => Some(text.as_str()),
        Part::Image(_) | Part::Reasoning { .. } | Part::ToolCall(_) | Part::ToolResult(_) => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}
