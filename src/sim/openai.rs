//! `/v1/chat/completions`: OpenAI's shapes for the same models.
//!
//! Owns the reading of its bodies and the writing of its chunks. Refuses what Ollama's own layer
//! refuses. Like that layer it reads `max_tokens` and ignores `max_completion_tokens`, `n`,
//! `tool_choice` and `user`; every content part of a message becomes a message of its own.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde_json::{Value, json};

use super::answer::{Answer, DoneReason, Piece, ToolCall};
use super::ask::{Ask, Format, Message, seen_call, tool};
use super::document::object;
use super::field::Fields;
use super::refusal::Refusal;
use super::told::Told;

#[cfg(test)]
mod tests;

/// The parts of an OpenAI answer besides its content.
#[derive(Clone, Debug, Default)]
pub struct Openai {
    /// `chatcmpl-` and a number.
    pub id: String,
    /// Whether the stream ends with a usage chunk.
    pub include_usage: bool,
}

impl Openai {
    /// Reads a body; `number` goes into the id.
    ///
    /// # Errors
    /// 400 for wrong types, images by URL, and unknown efforts.
    pub fn read(body: &Value, number: u64) -> Result<(Ask, Self), Refusal> {
        let fields = Fields::new("ChatCompletionRequest", body)?;
        let mut ask = Ask::empty(fields.string("model")?);
        ask.stream = fields.boolean("stream", false)?;
        for message in fields.array("messages", "[]openai.Message")? {
            read_message(message, &mut ask.messages)?;
        }
        if ask.messages.is_empty() {
            return Err(Refusal::bad("[] is too short - 'messages'"));
        }
        let tools = fields.array("tools", "[]api.Tool")?;
        ask.tools = tools.iter().map(tool).collect::<Result<_, _>>()?;
        ask.num_predict = fields.get("max_tokens").and_then(Value::as_u64).filter(|most| *most > 0);
        ask.seed = fields.get("seed").and_then(Value::as_i64);
        ask.stop = match fields.get("stop") {
            Some(Value::String(stop)) => vec![stop.clone()],
            Some(Value::Array(stops)) => {
                stops.iter().filter_map(Value::as_str).map(str::to_owned).collect()
            }
            Some(_) | None => Vec::new(),
        };
        ask.stop.retain(|stop| !stop.is_empty());
        ask.format = format(&fields);
        ask.think = effort(&fields)?;
        let options = fields.get("stream_options");
        let include_usage = options.and_then(|it| it.get("include_usage")?.as_bool());
        let id = format!("chatcmpl-{number}");
        Ok((ask, Self { id, include_usage: include_usage.unwrap_or(false) }))
    }

    /// One chunk of a stream.
    pub fn piece(&self, model: &str, piece: &Piece) -> Bytes {
        let mut delta = json!({"role": "assistant", "content": ""});
        match piece {
            Piece::Text(text) => set(&mut delta, "content", json!(text)),
            Piece::Thinking(text) => set(&mut delta, "reasoning", json!(text)),
            Piece::Call(call) => set(&mut delta, "tool_calls", json!([tool_call(call)])),
        }
        event(&self.chunk(model, &json!([{"index": 0, "delta": delta, "finish_reason": null}])))
    }

    /// The finish chunk, the usage chunk if requested, and `[DONE]`.
    pub fn last(&self, model: &str, answer: &Answer, told: &Told) -> Bytes {
        let delta = json!({"role": "assistant", "content": ""});
        let choices = json!([{"index": 0, "delta": delta, "finish_reason": finish(answer)}]);
        let mut last = self.chunk(model, &choices);
        let mut bytes = Vec::new();
        if self.include_usage {
            bytes.extend_from_slice(&event(&last));
            last = self.chunk(model, &json!([]));
            set(&mut last, "usage", usage(answer, told));
        }
        if let Some(timings) = told.timings(answer) {
            set(&mut last, "timings", timings);
        }
        bytes.extend_from_slice(&event(&last));
        bytes.extend_from_slice(b"data: [DONE]\n\n");
        Bytes::from(bytes)
    }

    /// The whole answer.
    pub fn whole(&self, model: &str, answer: &Answer, told: &Told) -> Value {
        let mut message = json!({"role": "assistant", "content": answer.content()});
        if !answer.thinking().is_empty() {
            set(&mut message, "reasoning", json!(answer.thinking()));
        }
        let calls: Vec<Value> = answer.calls().into_iter().map(tool_call).collect();
        if !calls.is_empty() {
            set(&mut message, "tool_calls", json!(calls));
        }
        let choice = json!({"index": 0, "message": message, "finish_reason": finish(answer)});
        let mut whole = self.envelope("chat.completion", model, &json!([choice]));
        set(&mut whole, "usage", usage(answer, told));
        if let Some(timings) = told.timings(answer) {
            set(&mut whole, "timings", timings);
        }
        whole
    }

    /// OpenAI's error object.
    pub fn refusal(refusal: &Refusal) -> Value {
        let kind = match refusal.status {
            400 => "invalid_request_error",
            404 => "not_found_error",
            _ => "api_error",
        };
        json!({"error": {"message": refusal.text, "type": kind, "param": null, "code": null}})
    }

    fn chunk(&self, model: &str, choices: &Value) -> Value {
        self.envelope("chat.completion.chunk", model, choices)
    }

    fn envelope(&self, kind: &str, model: &str, choices: &Value) -> Value {
        let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs());
        json!({"id": self.id, "object": kind, "created": created, "model": model,
            "system_fingerprint": "fp_ollama", "choices": choices})
    }
}

fn event(chunk: &Value) -> Bytes {
    let mut bytes = b"data: ".to_vec();
    bytes.extend_from_slice(&object(chunk));
    bytes.extend_from_slice(b"\n\n");
    Bytes::from(bytes)
}

fn set(object: &mut Value, name: &str, value: Value) {
    if let Value::Object(fields) = object {
        fields.insert(name.to_owned(), value);
    }
}

fn tool_call(call: &ToolCall) -> Value {
    let function = json!({"name": call.name, "arguments": call.arguments.to_string()});
    json!({"id": call.id, "index": call.index, "type": "function", "function": function})
}

fn finish(answer: &Answer) -> &'static str {
    match answer.reason {
        DoneReason::Length => "length",
        DoneReason::Stop | DoneReason::Load | DoneReason::Unload if answer.calls().is_empty() => {
            "stop"
        }
        DoneReason::Stop | DoneReason::Load | DoneReason::Unload => "tool_calls",
    }
}

fn usage(answer: &Answer, told: &Told) -> Value {
    let (prompt, completion) = (told.times.reading.tokens, answer.tokens());
    let mut usage = json!({"prompt_tokens": prompt, "completion_tokens": completion,
        "total_tokens": prompt + completion});
    if let Some(cached) = told.cached() {
        set(&mut usage, "prompt_tokens_details", json!({"cached_tokens": cached}));
    }
    usage
}

fn read_message(value: &Value, messages: &mut Vec<Message>) -> Result<(), Refusal> {
    let fields = Fields::new("ChatCompletionRequest.messages", value)?;
    let role = fields.string("role")?;
    let before = messages.len();
    match fields.get("content") {
        None => messages.push(Message::new(role, "")),
        Some(Value::String(text)) => messages.push(Message::new(role, text)),
        Some(Value::Array(parts)) => {
            for part in parts {
                messages.push(read_part(role, part)?);
            }
        }
        Some(_) => return Err(Refusal::bad("invalid message content type")),
    }
    let calls = fields.array("tool_calls", "[]openai.ToolCall")?;
    let calls: Vec<String> = calls.iter().filter_map(call_of).collect();
    if messages.len() == before && !calls.is_empty() {
        messages.push(Message::new(role, ""));
    }
    if let Some(last) = messages.get_mut(before..).and_then(<[Message]>::last_mut) {
        fields.string("reasoning")?.clone_into(&mut last.thinking);
        last.calls = calls;
    }
    Ok(())
}

/// A call in a conversation, as the model sees it.
fn call_of(call: &Value) -> Option<String> {
    let function = call.get("function")?;
    let arguments = function.get("arguments").and_then(Value::as_str).unwrap_or("{}");
    let arguments = serde_json::from_str(arguments).unwrap_or(Value::Null);
    Some(seen_call(function.get("name")?.as_str()?, &arguments))
}

fn read_part(role: &str, part: &Value) -> Result<Message, Refusal> {
    match part.get("type").and_then(Value::as_str) {
        Some("text") => {
            let text = part.get("text").and_then(Value::as_str);
            let text = text.ok_or_else(|| Refusal::bad("invalid message format"))?;
            Ok(Message::new(role, text))
        }
        Some("image_url") => {
            let image = part.get("image_url");
            let address = image.and_then(|it| it.as_str().or_else(|| it.get("url")?.as_str()));
            let address = address.ok_or_else(|| Refusal::bad("invalid message format"))?;
            if address.starts_with("http") {
                let text = "image URLs are not currently supported, please use base64 encoded data \
                            instead";
                return Err(Refusal::bad(text));
            }
            let (_, encoded) = address
                .split_once(";base64,")
                .ok_or_else(|| Refusal::bad("invalid image input"))?;
            Ok(Message { images: vec![encoded.to_owned()], ..Message::new(role, "") })
        }
        _ => Err(Refusal::bad("invalid message format")),
    }
}

fn format(fields: &Fields<'_>) -> Format {
    let wanted = fields.get("response_format");
    match wanted.and_then(|it| it.get("type")?.as_str()) {
        Some("json_object") => Format::Json,
        Some("json_schema") => {
            let schema = wanted.and_then(|it| it.get("json_schema")?.get("schema"));
            schema.map_or(Format::Json, |schema| Format::Schema(schema.clone()))
        }
        Some(_) | None => Format::Text,
    }
}

fn effort(fields: &Fields<'_>) -> Result<Option<bool>, Refusal> {
    match fields.string("reasoning_effort")? {
        "" => Ok(None),
        "none" => Ok(Some(false)),
        "minimal" | "low" | "medium" | "high" | "max" | "xhigh" | "ultra" => Ok(Some(true)),
        other => Err(Refusal::bad(format!("invalid reasoning value: '{other}'"))),
    }
}
