//! Writes answers as bytes, in Ollama's shapes and in OpenAI's.
//!
//! Owns the field names, their order, which fields are omitted if zero, and the escapes that Go's
//! encoder writes. Refuses nothing. Durations are in whole nanoseconds, and a counter that is 0 is
//! omitted: absence means 0, not unknown.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

use super::answer::{Answer, Piece, ToolCall};
use super::document::object;
use super::openai::Openai;
use super::refusal::Refusal;
use super::told::{Counts, Times, Told};

#[cfg(test)]
mod tests;

/// The API for which an answer is written.
#[derive(Clone, Debug)]
pub enum Shape {
    /// `/api/chat`.
    Chat,
    /// `/api/generate`.
    Generate,
    /// `/v1/chat/completions`.
    Openai(Openai),
}

/// Writes one answer.
#[derive(Clone, Debug)]
pub struct Writer {
    /// The API.
    pub shape: Shape,
    /// The model as the client wrote it.
    pub model: String,
    /// The server whose counts it tells.
    pub counts: Counts,
}

#[derive(Serialize)]
struct Line<'a> {
    model: &'a str,
    created_at: String,
    #[serde(flatten)]
    said: Said,
    done: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    done_reason: Option<&'static str>,
    #[serde(flatten)]
    counters: Counters,
}

/// The two forms of Ollama's content.
#[derive(Serialize)]
#[serde(untagged)]
enum Said {
    Chat {
        message: ChatMessage,
    },
    Generate {
        response: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        thinking: String,
    },
}

#[derive(Serialize)]
struct ChatMessage {
    role: &'static str,
    content: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    thinking: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Value>,
}

#[derive(Default, Serialize)]
struct Counters {
    #[serde(skip_serializing_if = "is_zero")]
    total_duration: u64,
    #[serde(skip_serializing_if = "is_zero")]
    load_duration: u64,
    #[serde(skip_serializing_if = "is_zero")]
    prompt_eval_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_eval_cached_count: Option<u64>,
    #[serde(skip_serializing_if = "is_zero")]
    prompt_eval_duration: u64,
    #[serde(skip_serializing_if = "is_zero")]
    eval_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    eval_duration: u64,
}

impl Writer {
    /// The content type of a stream.
    pub fn stream_type(&self) -> &'static str {
        match self.shape {
            Shape::Chat | Shape::Generate => "application/x-ndjson",
            Shape::Openai(_) => "text/event-stream",
        }
    }

    /// One piece of a stream.
    pub fn piece(&self, piece: &Piece) -> Bytes {
        let said = Answer {
            pieces: vec![piece.clone()],
            ..Answer::silent(super::answer::DoneReason::Stop)
        };
        match &self.shape {
            Shape::Chat => line(&self.line(chat(&said), None, Counters::default())),
            Shape::Generate => line(&self.line(generate(&said), None, Counters::default())),
            Shape::Openai(openai) => openai.piece(&self.model, piece),
        }
    }

    /// The end of a stream, with the counters.
    pub fn last(&self, answer: &Answer, times: Times) -> Bytes {
        let empty = Answer::silent(answer.reason);
        let end = Some(answer.reason.name());
        let told = Told { counts: self.counts, times };
        match &self.shape {
            Shape::Chat => line(&self.line(chat(&empty), end, counters(answer, &told))),
            Shape::Generate => line(&self.line(generate(&empty), end, counters(answer, &told))),
            Shape::Openai(openai) => openai.last(&self.model, answer, &told),
        }
    }

    /// The whole answer in one object.
    pub fn whole(&self, answer: &Answer, times: Times) -> Bytes {
        let end = Some(answer.reason.name());
        let told = Told { counts: self.counts, times };
        match &self.shape {
            Shape::Chat => object(&self.line(chat(answer), end, counters(answer, &told))),
            Shape::Generate => object(&self.line(generate(answer), end, counters(answer, &told))),
            Shape::Openai(openai) => object(&openai.whole(&self.model, answer, &told)),
        }
    }

    /// A refusal in this API's envelope.
    pub fn refusal(&self, refusal: &Refusal) -> Bytes {
        match self.shape {
            Shape::Chat | Shape::Generate => error(refusal),
            Shape::Openai(_) => object(&Openai::refusal(refusal)),
        }
    }

    fn line(&self, said: Said, done_reason: Option<&'static str>, counters: Counters) -> Line<'_> {
        let created_at = timestamp(SystemTime::now());
        let done = done_reason.is_some();
        Line { model: &self.model, created_at, said, done, done_reason, counters }
    }
}

/// Ollama's error object.
pub fn error(refusal: &Refusal) -> Bytes {
    object(&json!({"error": refusal.text}))
}

/// Writes a moment as RFC 3339 in UTC with nanoseconds.
pub fn timestamp(at: SystemTime) -> String {
    humantime::format_rfc3339_nanos(at).to_string()
}

/// A duration in whole nanoseconds, at most 584 years.
pub fn nanoseconds(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)
}

fn line(value: &impl Serialize) -> Bytes {
    let mut bytes = object(value).to_vec();
    bytes.push(b'\n');
    Bytes::from(bytes)
}

fn chat(answer: &Answer) -> Said {
    let message = ChatMessage {
        role: "assistant",
        content: answer.content(),
        thinking: answer.thinking(),
        tool_calls: answer.calls().into_iter().map(tool_call).collect(),
    };
    Said::Chat { message }
}

fn generate(answer: &Answer) -> Said {
    Said::Generate { response: answer.content(), thinking: answer.thinking() }
}

fn tool_call(call: &ToolCall) -> Value {
    let function = json!({"index": call.index, "name": call.name, "arguments": call.arguments});
    json!({"id": call.id, "function": function})
}

fn counters(answer: &Answer, told: &Told) -> Counters {
    let times = told.times;
    Counters {
        total_duration: nanoseconds(times.total),
        load_duration: nanoseconds(times.load),
        prompt_eval_count: times.reading.tokens,
        prompt_eval_cached_count: told.cached().filter(|_| times.reading.tokens > 0),
        prompt_eval_duration: nanoseconds(times.prompt),
        eval_count: answer.tokens(),
        eval_duration: nanoseconds(times.eval),
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
