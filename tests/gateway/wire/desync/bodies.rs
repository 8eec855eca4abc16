//! The same answer in each API, whole or streamed.

use serde_json::{Value, json};

/// The marker of unsolicited bytes.
pub const PLANTED: &str = "mkffffffff";

/// What a provider speaks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Api {
    Ollama,
    OpenAi,
    Gemini,
    Anthropic,
}

impl Api {
    pub fn backend(self) -> &'static str {
        match self {
            Self::Ollama => "ollama",
            Self::OpenAi => "openai",
            Self::Gemini => "gemini",
            Self::Anthropic => "anthropic",
        }
    }

    /// The path of its providers' addresses.
    pub fn path(self) -> &'static str {
        match self {
            Self::OpenAi => "/v1",
            Self::Ollama | Self::Gemini | Self::Anthropic => "",
        }
    }
}

/// Where a client asks this model in the provider's own API, so that the answer is carried, and
/// what it asks.
pub fn asked(api: Api, model: &str, text: &str, is_streamed: bool) -> (String, Value) {
    let mut body = json!({ "model": model, "max_tokens": 9, "stream": is_streamed,
        "messages": [{ "role": "user", "content": text }] });
    let path = match api {
        Api::Ollama => "/api/chat".to_owned(),
        Api::OpenAi => "/v1/chat/completions".to_owned(),
        Api::Anthropic => "/v1/messages".to_owned(),
        Api::Gemini => {
            body = json!({ "contents": [{ "parts": [{ "text": text }] }] });
            let method =
                if is_streamed { "streamGenerateContent?alt=sse" } else { "generateContent" };
            format!("/v1beta/models/{model}:{method}")
        }
    };
    (path, body)
}

/// What a whole answer has at its end, carried or not.
pub fn end(api: Api, is_streamed: bool) -> &'static str {
    match (api, is_streamed) {
        (Api::Ollama, _) => "\"done\":true",
        (Api::OpenAi, true) => "[DONE]",
        (Api::OpenAi, false) => "\"finish_reason\":\"stop\"",
        (Api::Gemini, _) => "\"STOP\"",
        (Api::Anthropic, true) => "\"message_stop\"",
        (Api::Anthropic, false) => "\"end_turn\"",
    }
}

/// An answer in one object.
pub fn whole(api: Api, text: &str) -> String {
    let text = format!("say {text}");
    match api {
        Api::Ollama => ollama(&text, true),
        Api::OpenAi => json!({
            "id": "x", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [{ "index": 0, "finish_reason": "stop",
                "message": { "role": "assistant", "content": text } }],
        }),
        Api::Gemini => gemini(&text, Some("STOP")),
        Api::Anthropic => json!({
            "id": "x", "type": "message", "role": "assistant", "model": "m",
            "content": [{ "type": "text", "text": text }], "stop_reason": "end_turn",
            "stop_sequence": null, "usage": { "input_tokens": 1, "output_tokens": 1 },
        }),
    }
    .to_string()
}

/// The same as a stream of several events.
pub fn streamed(api: Api, text: &str) -> String {
    let pieces = ["say ".to_owned(), text.to_owned()];
    match api {
        Api::Ollama => {
            let lines = pieces.iter().map(|piece| format!("{}\n", ollama(piece, false)));
            format!("{}{}\n", lines.collect::<String>(), ollama("", true))
        }
        Api::OpenAi => {
            let chunk = |delta: Value, reason: Value| {
                let choice = json!({ "index": 0, "delta": delta, "finish_reason": reason });
                event(&json!({ "id": "x", "object": "chat.completion.chunk", "created": 1,
                    "model": "m", "choices": [choice] }))
            };
            let deltas = pieces.iter().map(|piece| chunk(json!({ "content": piece }), Value::Null));
            let end = chunk(json!({}), "stop".into());
            format!("{}{end}data: [DONE]\n\n", deltas.collect::<String>())
        }
        Api::Gemini => {
            let events = pieces.iter().map(|piece| event(&gemini(piece, None)));
            format!("{}{}", events.collect::<String>(), event(&gemini("", Some("STOP"))))
        }
        Api::Anthropic => anthropic(&pieces),
    }
}

fn ollama(text: &str, done: bool) -> Value {
    let mut line = json!({ "model": "m", "done": done,
        "message": { "role": "assistant", "content": text } });
    if done {
        line["done_reason"] = "stop".into();
    }
    line
}

fn gemini(text: &str, reason: Option<&str>) -> Value {
    let content = json!({ "role": "model", "parts": [{ "text": text }] });
    let mut candidate = json!({ "index": 0, "content": content });
    if let Some(reason) = reason {
        candidate["finishReason"] = reason.into();
    }
    json!({ "candidates": [candidate] })
}

fn anthropic(pieces: &[String]) -> String {
    let named = |value: &Value| {
        format!("event: {}\n{}", value["type"].as_str().unwrap_or_default(), event(value))
    };
    let message = json!({ "id": "x", "type": "message", "role": "assistant", "model": "m",
        "content": [], "stop_reason": null, "usage": { "input_tokens": 1, "output_tokens": 0 } });
    let mut events = named(&json!({ "type": "message_start", "message": message }));
    let block = json!({ "type": "text", "text": "" });
    events += &named(&json!({ "type": "content_block_start", "index": 0, "content_block": block }));
    for piece in pieces {
        let delta = json!({ "type": "text_delta", "text": piece });
        events += &named(&json!({ "type": "content_block_delta", "index": 0, "delta": delta }));
    }
    events += &named(&json!({ "type": "content_block_stop", "index": 0 }));
    let delta = json!({ "stop_reason": "end_turn", "stop_sequence": null });
    let usage = json!({ "output_tokens": 1 });
    events += &named(&json!({ "type": "message_delta", "delta": delta, "usage": usage }));
    events + &named(&json!({ "type": "message_stop" }))
}

fn event(value: &Value) -> String {
    format!("data: {value}\n\n")
}
