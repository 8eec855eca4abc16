//! A client's request, read from the body of `/api/chat` or `/api/generate`.
//!
//! Owns the checks that need no model: types, `think` values, images in base64, `format`. Refuses
//! what Ollama refuses, in its words. Sampling options (`temperature`, `top_p`, …) are accepted
//! and change nothing: simulated text is a function of the question. Images are accepted by
//! every model, and change the answer.

use std::time::Duration;

use serde_json::Value;

use super::field::Fields;
use super::refusal::Refusal;
use super::runner_options::{DEFAULT_NUM_CTX, RunnerOptions};
use super::scheduler::FOREVER;

#[cfg(test)]
mod tests;

/// One request, of any endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// The model as the client wrote it.
    pub model: String,
    /// The conversation; empty if the client only wants to load or unload the model.
    pub messages: Vec<Message>,
    /// The tools offered.
    pub tools: Vec<Tool>,
    /// The required form of the content.
    pub format: Format,
    /// Whether to think; if the client does not set it, the model decides.
    pub think: Option<bool>,
    /// The most tokens to generate; `None` means no limit.
    pub num_predict: Option<u64>,
    /// Strings that end the answer and are not part of it.
    pub stop: Vec<String>,
    /// The client's seed.
    pub seed: Option<i64>,
    /// Context length in tokens.
    pub num_ctx: u32,
    /// The options that the model must be loaded with.
    pub options: RunnerOptions,
    /// How long the model stays after this request, if it says so.
    pub keep_alive: Option<Duration>,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// Whether it is a fill-in-the-middle request.
    pub fills: bool,
}

/// One turn of the conversation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    /// Lower case.
    pub role: String,
    /// Text, possibly empty.
    pub content: String,
    /// Images in base64.
    pub images: Vec<String>,
    /// The reasoning that is sent back with it, possibly empty.
    pub thinking: String,
    /// Its tool calls, as the model sees them; of a tool's result, the tool.
    pub calls: Vec<String>,
}

/// An offered tool.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// JSON Schema of its arguments.
    pub parameters: Value,
    /// All of it, as the model sees it.
    pub seen: String,
}

/// The required form of the content.
#[derive(Clone, Debug, PartialEq)]
pub enum Format {
    /// Anything.
    Text,
    /// A JSON object.
    Json,
    /// An instance of this schema.
    Schema(Value),
}

impl Ask {
    /// Reads the body of `/api/chat`.
    ///
    /// # Errors
    /// 400 for a wrong type or value, 500 for a wrong `format` or option, as in Ollama.
    pub fn chat(body: &Value) -> Result<Self, Refusal> {
        let fields = Fields::new("ChatRequest", body)?;
        let messages = fields.array("messages", "[]api.Message")?;
        let messages = messages.iter().map(message).collect::<Result<_, _>>()?;
        let tools = fields.array("tools", "api.Tools")?.iter().map(tool);
        Ok(Self { messages, tools: tools.collect::<Result<_, _>>()?, ..common(&fields)? })
    }

    /// Reads the body of `/api/generate`: a conversation of at most a system and a user turn.
    ///
    /// # Errors
    /// Those of [`Ask::chat`]; also 400 for `raw` together with a template, system text or context.
    pub fn generate(body: &Value) -> Result<Self, Refusal> {
        let fields = Fields::new("GenerateRequest", body)?;
        let [prompt, system, suffix, template] =
            ["prompt", "system", "suffix", "template"].map(|name| fields.string(name));
        let (prompt, system, suffix, template) = (prompt?, system?, suffix?, template?);
        let context = fields.array("context", "[]int")?;
        let added = !template.is_empty() || !system.is_empty() || !context.is_empty();
        if fields.boolean("raw", false)? && added {
            let text = "raw mode does not support template, system, or context";
            return Err(Refusal::bad(text));
        }
        let images = images(&fields)?;
        let mut messages = Vec::new();
        if !prompt.is_empty() {
            if !system.is_empty() {
                messages.push(Message::new("system", system));
            }
            let content = format!("{prompt}{suffix}");
            messages.push(Message { images, ..Message::new("user", &content) });
        }
        Ok(Self { messages, fills: !suffix.is_empty(), ..common(&fields)? })
    }

    /// An empty request with all defaults, with which parsers start.
    pub fn empty(model: &str) -> Self {
        Self {
            model: model.to_owned(),
            messages: Vec::new(),
            tools: Vec::new(),
            format: Format::Text,
            think: None,
            num_predict: None,
            stop: Vec::new(),
            seed: None,
            num_ctx: DEFAULT_NUM_CTX,
            options: RunnerOptions::default(),
            keep_alive: None,
            stream: true,
            fills: false,
        }
    }
}

impl Message {
    /// A turn without images.
    pub fn new(role: &str, content: &str) -> Self {
        let role = role.to_lowercase();
        Self { role, content: content.to_owned(), ..Self::default() }
    }
}

/// Reads `keep_alive`, if there is one: a duration string, or seconds; negative is forever.
///
/// # Errors
/// 400 for a string that is not a duration, or another type.
pub fn keep_alive(fields: &Fields<'_>) -> Result<Option<Duration>, Refusal> {
    let Some(value) = fields.get("keep_alive") else { return Ok(None) };
    let length = if let Some(seconds) = value.as_f64() {
        if seconds < 0.0 {
            return Ok(Some(FOREVER));
        }
        Duration::try_from_secs_f64(seconds).unwrap_or(FOREVER)
    } else {
        let text = value.as_str().ok_or_else(|| fields.wrong("keep_alive", "time.Duration"))?;
        let invalid = |_| Refusal::bad(format!("time: invalid duration {text:?}"));
        match text.strip_prefix('-') {
            Some(positive) => humantime::parse_duration(positive).map(|_| FOREVER),
            None => humantime::parse_duration(text),
        }
        .map_err(invalid)?
    };
    Ok(Some(length.min(FOREVER)))
}

/// Reads the options that the model must be loaded with.
///
/// # Errors
/// Ollama's error for an option of a wrong type.
pub fn runner_options(fields: &Fields<'_>) -> Result<RunnerOptions, Refusal> {
    let empty = Value::Object(serde_json::Map::new());
    let options = Fields::new("Options", fields.get("options").unwrap_or(&empty))?;
    let num_ctx = integer(&options, "num_ctx")?.filter(|tokens| *tokens > 0);
    let num_ctx =
        num_ctx.map_or(DEFAULT_NUM_CTX, |tokens| u32::try_from(tokens).unwrap_or(u32::MAX));
    RunnerOptions::read(fields, &options, num_ctx)
}

/// Reads a tool, in the form that both APIs share.
///
/// # Errors
/// 400 for a part of a wrong type.
pub fn tool(value: &Value) -> Result<Tool, Refusal> {
    let fields = Fields::new("Tool", value)?;
    let function = Fields::new("ToolFunction", fields.get("function").unwrap_or(&Value::Null))?;
    let name = function.string("name")?.to_owned();
    let parameters = function.get("parameters").cloned();
    let empty = || serde_json::json!({"type": "object"});
    let seen = value.to_string();
    Ok(Tool { name, parameters: parameters.unwrap_or_else(empty), seen })
}

/// A tool call of a conversation, as the model sees it.
pub fn seen_call(name: &str, arguments: &Value) -> String {
    format!("{{\"name\":\"{name}\",\"arguments\":{arguments}}}")
}

/// The fields that chat and generate share.
fn common(fields: &Fields<'_>) -> Result<Ask, Refusal> {
    let empty = Value::Object(serde_json::Map::new());
    let options = fields.get("options").unwrap_or(&empty);
    let options = Fields::new("Options", options)?;
    let stop = match options.get("stop") {
        Some(Value::Array(stops)) => stops.iter().filter_map(Value::as_str).collect(),
        Some(_) => return Err(option_type("stop", "array")),
        None => Vec::new(),
    };
    let num_predict = integer(&options, "num_predict")?;
    let mut ask = Ask::empty(fields.string("model")?);
    ask.stream = fields.boolean("stream", true)?;
    ask.format = format(fields)?;
    ask.think = think(fields)?;
    ask.keep_alive = keep_alive(fields)?;
    ask.seed = integer(&options, "seed")?;
    ask.options = runner_options(fields)?;
    ask.num_ctx = ask.options.num_ctx;
    // Zero and negative mean no limit.
    ask.num_predict =
        num_predict.and_then(|most| u64::try_from(most).ok()).filter(|most| *most > 0);
    ask.stop = stop.into_iter().filter(|stop| !stop.is_empty()).map(str::to_owned).collect();
    Ok(ask)
}

fn message(value: &Value) -> Result<Message, Refusal> {
    let fields = Fields::new("ChatRequest.messages", value)?;
    let mut calls = Vec::new();
    for call in fields.array("tool_calls", "[]api.ToolCall")? {
        let call = Fields::new("ToolCall", call)?;
        let function = call.get("function").unwrap_or(&Value::Null);
        let function = Fields::new("ToolCallFunction", function)?;
        if function.get("arguments").is_some_and(|arguments| !arguments.is_object()) {
            return Err(function.wrong("arguments", "api.ToolCallFunctionArguments"));
        }
        let arguments = function.get("arguments").unwrap_or(&Value::Null);
        calls.push(seen_call(function.string("name")?, arguments));
    }
    let message = Message::new(fields.string("role")?, fields.string("content")?);
    let of = fields.string("tool_name")?;
    calls.extend((!of.is_empty()).then(|| of.to_owned()));
    let thinking = fields.string("thinking")?.to_owned();
    Ok(Message { images: images(&fields)?, thinking, calls, ..message })
}

fn images(fields: &Fields<'_>) -> Result<Vec<String>, Refusal> {
    let read = |image: &Value| {
        let text = image.as_str().ok_or_else(|| fields.wrong("images", "[]api.ImageData"))?;
        match bad_base64(text) {
            Some(at) => Err(Refusal::bad(format!("illegal base64 data at input byte {at}"))),
            None => Ok(text.to_owned()),
        }
    };
    fields.array("images", "[]api.ImageData")?.iter().map(read).collect()
}

/// The position at which a text is not padded standard base64; `None` if all of it is valid.
fn bad_base64(text: &str) -> Option<usize> {
    let digits = text.trim_end_matches('=').len();
    let padding = text.len() - digits;
    let letter = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'+' || *byte == b'/';
    let odd = text.bytes().take(digits).position(|byte| !letter(&byte));
    odd.or_else(|| (!text.len().is_multiple_of(4) || padding > 2).then_some(digits))
}

fn think(fields: &Fields<'_>) -> Result<Option<bool>, Refusal> {
    match fields.get("think") {
        None => Ok(None),
        Some(Value::Bool(think)) => Ok(Some(*think)),
        Some(Value::String(level)) => match level.as_str() {
            "low" | "medium" | "high" | "max" => Ok(Some(true)),
            _ => Err(Refusal::bad(format!(
                "invalid think value: {level:?} (must be \"high\", \"medium\", \"low\", \"max\", \
                 true, or false)"
            ))),
        },
        Some(_) => Err(Refusal::bad("think must be a boolean or string")),
    }
}

fn format(fields: &Fields<'_>) -> Result<Format, Refusal> {
    match fields.get("format") {
        None => Ok(Format::Text),
        Some(Value::String(name)) if name.is_empty() => Ok(Format::Text),
        Some(Value::String(name)) if name == "json" => Ok(Format::Json),
        Some(schema @ Value::Object(_)) => Ok(Format::Schema(schema.clone())),
        Some(other) => Err(Refusal {
            status: 500,
            text: format!(
                "invalid format: {other}; expected \"json\" or a valid JSON Schema object"
            ),
        }),
    }
}

/// Reads an integer option from any JSON number, without its fraction.
fn integer(options: &Fields<'_>, name: &str) -> Result<Option<i64>, Refusal> {
    let Some(value) = options.get(name) else { return Ok(None) };
    let float = || value.as_f64().map(|number| number as i64);
    let number = value.as_i64().or_else(float);
    number.map(Some).ok_or_else(|| option_type(name, "integer"))
}

fn option_type(name: &str, wanted: &str) -> Refusal {
    Refusal { status: 500, text: format!("option {name:?} must be of type {wanted}") }
}
