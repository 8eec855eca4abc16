//! Answers of OpenAI's chat completions.

use bytes::Bytes;
use serde_json::{Value, json};

use super::script::Script;

/// A streamed chat completion with its usage and its end marker.
pub fn answer(pieces: &[&str]) -> Script {
    let usage = usage(pieces.len());
    opened(pieces)
        .piece(event(&chunk(&json!([
            { "index": 0, "delta": {}, "finish_reason": "stop" }
        ]))))
        .piece(event(&{
            let mut last = chunk(&json!([]));
            last["usage"] = usage;
            last
        }))
        .piece("data: [DONE]\n\n")
}

/// A streamed chat completion without its end; more pieces may be added.
pub fn opened(pieces: &[&str]) -> Script {
    let delta = |piece: &&str| {
        let choice = json!({ "index": 0, "delta": { "content": piece }, "finish_reason": null });
        event(&chunk(&json!([choice])))
    };
    Script::status(200)
        .header("content-type", "text/event-stream; charset=utf-8")
        .chunked()
        .pieces(pieces.iter().map(delta))
}

/// A chat completion in one object.
pub fn whole(pieces: &[&str]) -> Script {
    let message = json!({ "role": "assistant", "content": pieces.concat() });
    Script::json(
        200,
        &json!({
            "id": "chatcmpl-scripted", "object": "chat.completion", "created": 1_795_341_600,
            "model": "gpt-scripted", "usage": usage(pieces.len()),
            "choices": [{ "index": 0, "message": message, "finish_reason": "stop" }],
        }),
    )
}

/// An error with OpenAI's envelope.
pub fn error(code: u16, kind: &str, message: &str) -> Script {
    let error = json!({ "message": message, "type": kind, "param": null, "code": null });
    Script::json(code, &json!({ "error": error }))
}

fn chunk(choices: &Value) -> Value {
    json!({
        "id": "chatcmpl-scripted", "object": "chat.completion.chunk", "created": 1_795_341_600,
        "model": "gpt-scripted", "choices": choices, "usage": null,
    })
}

fn usage(tokens: usize) -> Value {
    json!({ "prompt_tokens": 10, "completion_tokens": tokens, "total_tokens": 10 + tokens })
}

fn event(value: &Value) -> Bytes {
    format!("data: {value}\n\n").into()
}
