//! Answers of Gemini's `generateContent`.

use bytes::Bytes;
use serde_json::{Value, json};

use super::Call;
use super::script::Script;

/// A streamed answer whose last piece carries the finish reason and the counts.
pub fn answer(pieces: &[&str]) -> Script {
    let (last, before) = pieces.split_last().unwrap();
    opened(before).piece(event(&finished(last, pieces.len())))
}

/// An answer as it was asked for: whole, as events, or as a list that grows.
pub fn reply(call: &Call, pieces: &[&str]) -> Script {
    match call.path.as_str() {
        path if path.ends_with("?alt=sse") => answer(pieces),
        path if path.ends_with(":streamGenerateContent") => list(pieces),
        _ => whole(pieces),
    }
}

/// A streamed answer as a list that grows, written as Google writes it.
pub fn list(pieces: &[&str]) -> Script {
    let (last, before) = pieces.split_last().unwrap();
    listed(before).piece(format!(",\r\n{:#}\r\n]\r\n", finished(last, pieces.len())))
}

/// A list without its end; more pieces may be added.
pub fn listed(pieces: &[&str]) -> Script {
    let item = |(index, piece): (usize, &&str)| {
        format!("{}{:#}\r\n", if index == 0 { "[" } else { "," }, part(piece))
    };
    Script::status(200)
        .header("content-type", "application/json")
        .chunked()
        .pieces(pieces.iter().enumerate().map(item))
}

/// A streamed answer without its end; more pieces may be added.
pub fn opened(pieces: &[&str]) -> Script {
    Script::status(200)
        .header("content-type", "text/event-stream")
        .chunked()
        .pieces(pieces.iter().map(|piece| event(&part(piece))))
}

/// An answer in one object.
pub fn whole(pieces: &[&str]) -> Script {
    Script::json(200, &finished(&pieces.concat(), pieces.len()))
}

/// An error with Google's envelope.
pub fn error(code: u16, status: &str, message: &str) -> Script {
    let error = json!({ "code": code, "message": message, "status": status });
    Script::json(code, &json!({ "error": error }))
}

fn finished(text: &str, tokens: usize) -> Value {
    let mut value = part(text);
    value["candidates"][0]["finishReason"] = "STOP".into();
    value["usageMetadata"] = json!({
        "promptTokenCount": 10, "candidatesTokenCount": tokens, "totalTokenCount": 10 + tokens,
    });
    value
}

fn part(text: &str) -> Value {
    let content = json!({ "role": "model", "parts": [{ "text": text }] });
    json!({
        "candidates": [{ "index": 0, "content": content }],
        "modelVersion": "gemini-scripted", "responseId": "scripted",
    })
}

fn event(value: &Value) -> Bytes {
    format!("data: {value}\r\n\r\n").into()
}
