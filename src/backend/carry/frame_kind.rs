//! Classifies the frames of a carried stream for which the decoder gave no event.
//!
//! It owns the list of frames of each API that open, close or keep alive: they may be held back
//! until the answer has begun, so that another provider can still be asked. Every other frame,
//! known here or not, may matter to the client: it is handed on at once and proves that the
//! provider is alive.
//!
//! The one thing to know: another answer cannot be joined to one with a frame that may be part of
//! the answer and that the decoder did not read.

use serde_json::{Map, Value};

use super::frames::object;
use crate::chat::Endpoint;

/// What a frame means to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FrameKind {
    /// It opens, closes or keeps alive.
    Empty,
    /// It tells something beside the answer.
    Metadata,
    /// It may be part of the answer.
    Content,
}

impl FrameKind {
    /// The kind of a frame for which the decoder gave no event.
    pub(super) fn of(endpoint: Endpoint, frame: &[u8]) -> Self {
        // Comments, blank lines and `[DONE]` hold no object.
        let Some((start, end)) = object(frame) else { return Self::Empty };
        let said = frame.get(start..end).and_then(|said| serde_json::from_slice(said).ok());
        let Some(Value::Object(said)) = said else { return Self::Content };
        match endpoint {
            Endpoint::OpenAiChat | Endpoint::OpenAiCompletions => of_chunk(&said),
            Endpoint::OpenAiResponses => of_response(&said),
            Endpoint::AnthropicMessages => of_message(&said),
            Endpoint::OllamaChat | Endpoint::OllamaGenerate => of_line(&said),
            Endpoint::GeminiStream => of_candidates(&said),
            Endpoint::OpenAiEmbeddings
            | Endpoint::AnthropicCount
            | Endpoint::OllamaEmbed
            | Endpoint::GeminiGenerate
            | Endpoint::GeminiCount
            | Endpoint::GeminiEmbed
            | Endpoint::GeminiBatchEmbed => Self::Content,
        }
    }

    /// The kind of what a frame has beside the events that the decoder made of it.
    pub(super) fn untold(self) -> Self {
        if self == Self::Content { self } else { Self::Empty }
    }
}

fn of_chunk(chunk: &Map<String, Value>) -> FrameKind {
    const USUAL: [&str; 8] = [
        "choices",
        "created",
        "id",
        "model",
        "object",
        "service_tier",
        "system_fingerprint",
        "usage",
    ];
    const OF_CHOICE: [&str; 5] = ["delta", "finish_reason", "index", "logprobs", "text"];
    let Some(choices) = chunk.get("choices").and_then(Value::as_array) else {
        return FrameKind::Content;
    };
    let mut kind = metadata_or_empty(chunk, &USUAL);
    for choice in choices.iter().filter_map(Value::as_object) {
        let delta = choice.get("delta").and_then(Value::as_object);
        let says = delta.is_some_and(|delta| has_more(delta, &["role"]))
            || choice.get("text").is_some_and(|text| !is_empty(text));
        kind =
            kind.max(if says { FrameKind::Content } else { metadata_or_empty(choice, &OF_CHOICE) });
    }
    kind
}

fn of_message(event: &Map<String, Value>) -> FrameKind {
    let inner = |name: &str| event.get(name).and_then(Value::as_object);
    match kind(event) {
        "message_start" | "ping" | "content_block_stop" | "message_delta" | "message_stop" => {
            FrameKind::Empty
        }
        "content_block_start" => match inner("content_block") {
            Some(block) if matches!(kind(block), "text" | "thinking") => FrameKind::Empty,
            Some(_) | None => FrameKind::Content,
        },
        "content_block_delta" => match inner("delta") {
            Some(delta) if !has_more(delta, &["type"]) => FrameKind::Empty,
            Some(_) | None => FrameKind::Content,
        },
        _ => FrameKind::Content,
    }
}

fn of_response(event: &Map<String, Value>) -> FrameKind {
    let item = event.get("item").and_then(Value::as_object);
    match kind(event) {
        "response.created"
        | "response.in_progress"
        | "response.queued"
        | "response.content_part.added"
        | "response.content_part.done"
        | "response.output_text.done"
        | "response.refusal.done"
        | "response.reasoning_text.done"
        | "response.reasoning_summary_text.done"
        | "response.reasoning_summary_part.added"
        | "response.reasoning_summary_part.done"
        | "keepalive" => FrameKind::Empty,
        "response.output_item.added" | "response.output_item.done" => match item {
            Some(item) if matches!(kind(item), "message" | "reasoning") => FrameKind::Empty,
            Some(_) | None => FrameKind::Content,
        },
        _ => FrameKind::Content,
    }
}

fn of_candidates(response: &Map<String, Value>) -> FrameKind {
    const USUAL: [&str; 7] = [
        "candidates",
        "createTime",
        "modelStatus",
        "modelVersion",
        "promptFeedback",
        "responseId",
        "usageMetadata",
    ];
    const OF_CANDIDATE: [&str; 8] = [
        "avgLogprobs",
        "content",
        "finishMessage",
        "finishReason",
        "index",
        "logprobsResult",
        "safetyRatings",
        "tokenCount",
    ];
    const OF_PART: [&str; 4] = ["functionCall", "text", "thought", "thoughtSignature"];
    let mut kind = metadata_or_empty(response, &USUAL);
    let candidates = response.get("candidates").and_then(Value::as_array).into_iter().flatten();
    for candidate in candidates.filter_map(Value::as_object) {
        let is_first = candidate.get("index").is_none_or(|index| index.is_null() || *index == 0);
        let parts = candidate.get("content").and_then(|content| content.get("parts"));
        let mut parts = parts.and_then(Value::as_array).into_iter().flatten();
        let says = parts.any(|part| match part.as_object() {
            Some(part) => has_more(part, if is_first { &OF_PART } else { &[] }),
            None => true,
        });
        kind = kind.max(if says {
            FrameKind::Content
        } else {
            metadata_or_empty(candidate, &OF_CANDIDATE)
        });
    }
    kind
}

fn of_line(line: &Map<String, Value>) -> FrameKind {
    const USUAL: [&str; 5] = ["created_at", "done", "message", "model", "response"];
    let message = line.get("message").and_then(Value::as_object);
    match message {
        Some(message) if has_more(message, &["role"]) => FrameKind::Content,
        Some(_) | None => metadata_or_empty(line, &USUAL),
    }
}

fn kind(object: &Map<String, Value>) -> &str {
    object.get("type").and_then(Value::as_str).unwrap_or_default()
}

fn metadata_or_empty(object: &Map<String, Value>, usual: &[&str]) -> FrameKind {
    if has_more(object, usual) { FrameKind::Metadata } else { FrameKind::Empty }
}

/// Whether it has a field with a value under another name than these.
fn has_more(object: &Map<String, Value>, usual: &[&str]) -> bool {
    object.iter().any(|(name, value)| !usual.contains(&name.as_str()) && !is_empty(value))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_frames_that_open_close_or_keep_alive_are_empty() {
        use Endpoint::{AnthropicMessages, OllamaChat, OpenAiChat, OpenAiResponses};
        for (endpoint, frame, expected) in [
            (OpenAiChat, ": waiting\n\n", FrameKind::Empty),
            (OpenAiChat, "data: [DONE]\n\n", FrameKind::Empty),
            (
                OpenAiChat,
                r#"data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#,
                FrameKind::Empty,
            ),
            (OpenAiChat, r#"data: {"choices":[],"usage":{"prompt_tokens":1}}"#, FrameKind::Empty),
            (
                OpenAiChat,
                r#"data: {"choices":[],"prompt_progress":{"total":9}}"#,
                FrameKind::Metadata,
            ),
            (
                OpenAiChat,
                r#"data: {"choices":[{"delta":{"audio":{"id":"a"}}}]}"#,
                FrameKind::Content,
            ),
            (OpenAiChat, r#"data: {"object":"weather"}"#, FrameKind::Content),
            (AnthropicMessages, r#"data: {"type":"ping"}"#, FrameKind::Empty),
            (AnthropicMessages, r#"data: {"type":"message_start","message":{}}"#, FrameKind::Empty),
            (
                AnthropicMessages,
                r#"data: {"type":"content_block_start","content_block":{"type":"text","text":""}}"#,
                FrameKind::Empty,
            ),
            (
                AnthropicMessages,
                r#"data: {"type":"content_block_start","content_block":{"type":"new"}}"#,
                FrameKind::Content,
            ),
            (
                AnthropicMessages,
                r#"data: {"type":"content_block_delta","delta":{"type":"new_delta","x":1}}"#,
                FrameKind::Content,
            ),
            (AnthropicMessages, r#"data: {"type":"weather"}"#, FrameKind::Content),
            (
                OpenAiResponses,
                r#"data: {"type":"response.created","response":{}}"#,
                FrameKind::Empty,
            ),
            (
                OpenAiResponses,
                r#"data: {"type":"response.output_item.added","item":{"type":"mcp_call"}}"#,
                FrameKind::Content,
            ),
            (
                OpenAiResponses,
                r#"data: {"type":"response.new.delta","delta":"x"}"#,
                FrameKind::Content,
            ),
            (OllamaChat, r#"{"message":{"role":"assistant","content":""}}"#, FrameKind::Empty),
            (OllamaChat, r#"{"message":{"content":"","audio":"x"}}"#, FrameKind::Content),
            (OllamaChat, r#"{"status":"loading"}"#, FrameKind::Metadata),
        ] {
            assert_eq!(FrameKind::of(endpoint, frame.as_bytes()), expected, "{frame}");
        }
    }
}
