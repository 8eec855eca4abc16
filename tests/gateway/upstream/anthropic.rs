//! Answers of Anthropic's messages.

use bytes::Bytes;
use serde_json::{Value, json};

use super::script::Script;

/// A streamed message with all its events.
pub fn answer(pieces: &[&str]) -> Script {
    opened(pieces)
        .piece(event(&json!({ "type": "content_block_stop", "index": 0 })))
        .piece(event(&json!({
            "type": "message_delta",
            "delta": { "stop_reason": "end_turn", "stop_sequence": null },
            "usage": { "output_tokens": pieces.len() },
        })))
        .piece(event(&json!({ "type": "message_stop" })))
}

/// A streamed message without its end; more pieces may be added.
pub fn opened(pieces: &[&str]) -> Script {
    let delta = |piece: &&str| {
        let delta = json!({ "type": "text_delta", "text": piece });
        event(&json!({ "type": "content_block_delta", "index": 0, "delta": delta }))
    };
    Script::status(200)
        .header("content-type", "text/event-stream; charset=utf-8")
        .chunked()
        .piece(event(&json!({ "type": "message_start", "message": message(&json!([]), 0) })))
        .piece(event(&json!({
            "type": "content_block_start", "index": 0,
            "content_block": { "type": "text", "text": "" },
        })))
        .pieces(pieces.iter().map(delta))
}

/// A message in one object.
pub fn whole(pieces: &[&str]) -> Script {
    let content = json!([{ "type": "text", "text": pieces.concat() }]);
    let mut message = message(&content, pieces.len());
    message["stop_reason"] = "end_turn".into();
    Script::json(200, &message)
}

/// An error with Anthropic's envelope.
pub fn error(code: u16, kind: &str, message: &str) -> Script {
    let error = json!({ "type": kind, "message": message });
    Script::json(code, &json!({ "type": "error", "error": error, "request_id": "req_scripted" }))
}

fn message(content: &Value, tokens: usize) -> Value {
    json!({
        "id": "msg_scripted", "type": "message", "role": "assistant", "model": "claude-scripted",
        "content": content, "stop_reason": null, "stop_sequence": null,
        "usage": { "input_tokens": 10, "output_tokens": tokens },
    })
}

fn event(value: &Value) -> Bytes {
    let kind = value["type"].as_str().unwrap_or_default();
    format!("event: {kind}\ndata: {value}\n\n").into()
}
