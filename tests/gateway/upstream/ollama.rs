//! Answers of Ollama's native API.
//!
//! It owns the shapes of its lines. The text of an answer is the caller's; every count follows from
//! it: one token per piece, ten tokens per prompt.

use bytes::Bytes;
use serde_json::{Value, json};

use super::ledger::Call;
use super::script::Script;

/// The only model that the healthy provider lists.
pub const MODEL: &str = "llama3.1";

const BLOCK: usize = 64 * 1024;

/// Three tokens, as a stream or as one object, whichever `call` asks for.
pub fn reply(call: &Call) -> Script {
    reply_with(call, &["Hel", "lo", "!"])
}

/// These tokens, as a stream or as one object, whichever `call` asks for.
pub fn reply_with(call: &Call, pieces: &[&str]) -> Script {
    let wants_stream = call.json().get("stream").and_then(Value::as_bool).unwrap_or(true);
    if wants_stream { answer(pieces) } else { whole(pieces) }
}

/// A streamed chat: one chunk per piece, then the last line with its counts.
pub fn answer(pieces: &[&str]) -> Script {
    opened(pieces).piece(done(pieces.len()))
}

/// A streamed chat without its last line; more pieces may be added.
pub fn opened(pieces: &[&str]) -> Script {
    stream_head().pieces(pieces.iter().map(|piece| line(piece)))
}

/// The head of a stream and nothing else yet.
pub fn stream_head() -> Script {
    Script::status(200).header("content-type", "application/x-ndjson").chunked()
}

/// A chat answered in one object.
pub fn whole(pieces: &[&str]) -> Script {
    let mut answer = last_line(pieces.len());
    answer["message"]["content"] = pieces.concat().into();
    Script::json(200, &answer)
}

/// An error with Ollama's envelope.
pub fn error(code: u16, message: &str) -> Script {
    Script::json(code, &json!({ "error": message }))
}

/// One line of a stream, with its newline.
pub fn line(piece: &str) -> Bytes {
    newline(&json!({
        "model": MODEL,
        "created_at": "2026-11-22T10:00:00.000000Z",
        "message": { "role": "assistant", "content": piece },
        "done": false,
    }))
}

/// The last line of a stream that held `tokens` pieces.
pub fn done(tokens: usize) -> Bytes {
    newline(&last_line(tokens))
}

/// The line that reports a failure in the middle of a stream.
pub fn error_line(message: &str) -> Bytes {
    newline(&json!({ "error": message }))
}

/// About `total` bytes of one line that never ends.
pub fn one_endless_line(total: u64) -> Script {
    let opening = line("");
    let empty = br#""content":"""#;
    let start = opening.windows(empty.len()).position(|part| part == empty).unwrap();
    let opening = opening.slice(..start + empty.len() - 1);
    let blocks = usize::try_from(total).unwrap() / BLOCK;
    let letters = Bytes::from(vec![b'a'; BLOCK]);
    stream_head().piece(opening).flood(std::iter::repeat_n(letters, blocks))
}

/// About `total` bytes of small events and a proper end.
pub fn many_small_events(total: u64) -> Script {
    let event = line("a");
    let events = BLOCK / event.len();
    let block = Bytes::from(event.repeat(events));
    let blocks = usize::try_from(total).unwrap() / block.len();
    stream_head().flood(std::iter::repeat_n(block, blocks)).piece(done(blocks * events))
}

/// What a healthy provider with these models loaded answers about itself, and to a load.
pub fn about_itself(question: &Call, loaded: &[String]) -> Script {
    if question.is_load() {
        return Script::json(200, &json!({ "model": MODEL, "done": true, "done_reason": "load" }));
    }
    let path = question.path.split('?').next().unwrap_or_default();
    let details = json!({ "format": "gguf", "family": "llama", "families": ["llama"],
        "parameter_size": "8.0B", "quantization_level": "Q4_K_M" });
    let model = json!({ "name": MODEL, "model": MODEL, "size": 1, "digest": "0".repeat(64),
        "modified_at": "2026-11-22T10:00:00Z", "details": details });
    match path {
        "/" => Script::status(200).piece("Ollama is running"),
        "/api/version" => Script::json(200, &json!({ "version": "0.33.0" })),
        "/api/tags" => Script::json(200, &json!({ "models": [model] })),
        "/api/ps" => {
            let entry = |name: &String| json!({ "name": name, "digest": "0".repeat(64) });
            let entries: Vec<Value> = loaded.iter().map(entry).collect();
            Script::json(200, &json!({ "models": entries }))
        }
        "/api/show" => {
            let shown = json!({ "details": details, "model_info": {},
                "capabilities": ["completion", "tools"] });
            Script::json(200, &shown)
        }
        _ => error(404, "not found"),
    }
}

fn last_line(tokens: usize) -> Value {
    json!({
        "model": MODEL,
        "created_at": "2026-11-22T10:00:01.000000Z",
        "message": { "role": "assistant", "content": "" },
        "done": true,
        "done_reason": "stop",
        "total_duration": 300_000_000,
        "load_duration": 100_000_000,
        "prompt_eval_count": 10,
        "prompt_eval_duration": 100_000_000,
        "eval_count": tokens,
        "eval_duration": 100_000_000,
    })
}

fn newline(value: &Value) -> Bytes {
    format!("{value}\n").into()
}
