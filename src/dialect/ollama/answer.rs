//! Writing an answer for an Ollama client.
//!
//! One encoder serves both forms: it collects content, which a streamed answer writes after every
//! event and a whole one at the end. Tool calls are written complete, since their arguments are an
//! object here instead of its JSON text.
//!
//! The one thing to know: the durations of an Ollama provider are passed on unchanged. If the
//! provider sends none, times are measured here, from the request's arrival, without the wait in
//! line.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Ollama, words};
use crate::chat::{
    ChatEvent, ChatRequest, Completion, Durations, ErrorKind, Finish, GatewayError, TokenLogprob,
    ToolCallPiece,
};
use crate::dialect::{AnswerHead, Encoder, append, arguments};
use crate::wire::json;

/// Writes one answer.
pub(super) struct Answer {
    route: Ollama,
    stream: bool,
    /// The model's name for the client.
    model: String,
    created: SystemTime,
    waited: Duration,
    wants_logprobs: bool,
    /// The content that was not written yet.
    pending: Pending,
    /// The call whose arguments may still grow.
    call: Option<GrowingCall>,
    /// Calls completed so far, which gives each its number.
    calls: u32,
    first: Option<Duration>,
    last: Duration,
    ended: bool,
}

#[derive(Default)]
struct Pending {
    content: String,
    thinking: String,
    calls: Vec<LineCall>,
    logprobs: Vec<TokenLogprob>,
}

struct GrowingCall {
    index: u32,
    id: Option<String>,
    name: String,
    arguments: String,
}

impl Answer {
    pub(super) fn new(route: Ollama, request: &ChatRequest, head: &AnswerHead) -> Self {
        Self {
            route,
            stream: request.stream,
            model: head.model_for(request.model.as_deref()),
            created: head.created,
            waited: head.waited,
            wants_logprobs: request.logprobs.is_some(),
            pending: Pending::default(),
            call: None,
            calls: 0,
            first: None,
            last: Duration::ZERO,
            ended: false,
        }
    }

    fn take(&mut self, event: ChatEvent, at: Duration, out: &mut Vec<u8>) -> Result<(), String> {
        match event {
            ChatEvent::Text(text) => append(&mut self.pending.content, text),
            ChatEvent::Reasoning(text) => append(&mut self.pending.thinking, text),
            ChatEvent::Logprobs(tokens) if self.wants_logprobs => {
                self.pending.logprobs.extend(tokens)
            }
            ChatEvent::Logprobs(_)
            | ChatEvent::Signature(_)
            | ChatEvent::Whole(_)
            | ChatEvent::Carried(_) => {}
            ChatEvent::ToolCall(piece) => self.grow_call(piece)?,
            ChatEvent::Done(done) => self.finish(&done, at, out)?,
        }
        Ok(())
    }

    /// Adds a piece of a call; a new index completes the previous call.
    fn grow_call(&mut self, piece: ToolCallPiece) -> Result<(), String> {
        match &mut self.call {
            Some(call) if call.index == piece.index => call.arguments.push_str(&piece.arguments),
            Some(_) | None => {
                self.complete_call()?;
                self.call = Some(GrowingCall {
                    index: piece.index,
                    id: piece.id,
                    name: piece.name.unwrap_or_default(),
                    arguments: piece.arguments,
                });
            }
        }
        Ok(())
    }

    fn complete_call(&mut self) -> Result<(), String> {
        let Some(call) = self.call.take() else { return Ok(()) };
        let Some(arguments) = arguments::object(&call.arguments) else {
            let name = call.name;
            return Err(format!(
                "the model called `{name}` with arguments that are no JSON object"
            ));
        };
        let index = self.calls;
        self.calls = self.calls.saturating_add(1);
        let function = LineFunction { index, name: call.name, arguments };
        self.pending.calls.push(LineCall { id: call.id, function });
        Ok(())
    }

    fn finish(&mut self, done: &Completion, at: Duration, out: &mut Vec<u8>) -> Result<(), String> {
        match self.complete_call() {
            // Cut off by the limit: it cannot be run, and the finish reason says so.
            Err(_) if done.finish == Finish::Length => {}
            completed => completed?,
        }
        if self.stream && !self.pending.is_empty() {
            self.write(None, at, out);
        }
        self.write(Some(done), at, out);
        self.ended = true;
        Ok(())
    }

    /// Writes the collected content.
    fn write(&mut self, done: Option<&Completion>, at: Duration, out: &mut Vec<u8>) {
        let pending = std::mem::take(&mut self.pending);
        let thinking = (!pending.thinking.is_empty()).then_some(pending.thinking.as_str());
        let (message, response, thinking) = match self.route {
            Ollama::Chat => {
                let calls = &pending.calls;
                let content = &pending.content;
                let message = LineMessage { role: "assistant", content, thinking, calls };
                (Some(message), None, None)
            }
            Ollama::Generate | Ollama::Embed | Ollama::Embeddings | Ollama::Show => {
                (None, Some(pending.content.as_str()), thinking)
            }
        };
        let line = Line {
            model: &self.model,
            created_at: self.time(at),
            message,
            response,
            thinking,
            done: done.is_some(),
            done_reason: done.map(|done| reason(done.finish)),
            logprobs: pending.logprobs.iter().map(LineLogprob::from).collect(),
            counts: done.and_then(|done| self.counts(done, at)),
        };
        json::write(out, &line);
        if self.stream {
            out.push(b'\n');
        }
    }

    /// The time of an event that came `at` after the arrival.
    fn time(&self, at: Duration) -> String {
        // The last second that RFC 3339 can express; formatting fails beyond it.
        const LAST: Duration = Duration::from_secs(253_402_300_799);
        let begun = self.created.duration_since(UNIX_EPOCH).unwrap_or_default();
        let since_first = at.saturating_sub(self.first.unwrap_or(at));
        let time = UNIX_EPOCH + begun.saturating_add(since_first).min(LAST);
        humantime::format_rfc3339_nanos(time).to_string()
    }

    fn counts(&self, done: &Completion, at: Duration) -> Option<Counts> {
        match done.finish {
            Finish::Stop
            | Finish::Length
            | Finish::ToolCalls
            | Finish::ContentFilter
            | Finish::Paused => {}
            Finish::Load | Finish::Unload => return None,
        }
        let first = self.first.unwrap_or(at);
        let measured = || Durations {
            total: nanoseconds(at.saturating_sub(self.waited)),
            load: 0,
            prompt: nanoseconds(first.saturating_sub(self.waited)),
            answer: nanoseconds(self.last.saturating_sub(first)),
        };
        let durations = match done.usage.durations {
            // Not every provider's clock measures the whole call.
            Some(told) if told.total == 0 => Durations { total: measured().total, ..told },
            Some(told) => told,
            None => measured(),
        };
        Some(Counts {
            total_duration: durations.total,
            load_duration: durations.load,
            prompt_eval_count: done.usage.prompt.unwrap_or(0),
            prompt_eval_cached_count: done.usage.cached.unwrap_or(0),
            prompt_eval_duration: durations.prompt,
            eval_count: done.usage.completion.unwrap_or(0),
            eval_duration: durations.answer,
        })
    }
}

impl Encoder for Answer {
    fn content_type(&self) -> &'static str {
        if self.stream { "application/x-ndjson" } else { "application/json" }
    }

    fn event(
        &mut self,
        event: ChatEvent,
        at: Duration,
        out: &mut Vec<u8>,
    ) -> Result<(), GatewayError> {
        if self.ended {
            return Ok(());
        }
        if !matches!(event, ChatEvent::Done(_)) {
            self.first.get_or_insert(at);
            self.last = at;
        }
        let taken = self.take(event, at, out);
        taken.map_err(|message| GatewayError::upstream(ErrorKind::BadUpstream, message))?;
        if self.stream && !self.pending.is_empty() {
            self.write(None, at, out);
        }
        Ok(())
    }

    fn failure(&mut self, error: &GatewayError, out: &mut Vec<u8>) {
        if self.stream && !self.ended {
            self.ended = true;
            write_error(words(error), out);
        }
    }
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.content.is_empty()
            && self.thinking.is_empty()
            && self.calls.is_empty()
            && self.logprobs.is_empty()
    }
}

fn write_error(error: &str, out: &mut Vec<u8>) {
    json::write(out, &json!({"error": error}));
    out.push(b'\n');
}

fn reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::ToolCalls | Finish::ContentFilter | Finish::Paused => "stop",
        Finish::Length => "length",
        Finish::Load => "load",
        Finish::Unload => "unload",
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// An answer, or one line of it.
#[derive(Serialize)]
struct Line<'a> {
    model: &'a str,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<LineMessage<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<&'a str>,
    done: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    done_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    logprobs: Vec<LineLogprob<'a>>,
    #[serde(flatten)]
    counts: Option<Counts>,
}

#[derive(Serialize)]
struct LineMessage<'a> {
    role: &'static str,
    content: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<&'a str>,
    #[serde(rename = "tool_calls", skip_serializing_if = "<[_]>::is_empty")]
    calls: &'a [LineCall],
}

#[derive(Serialize)]
struct LineCall {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    function: LineFunction,
}

#[derive(Serialize)]
struct LineFunction {
    index: u32,
    name: String,
    arguments: Map<String, Value>,
}

#[derive(Serialize)]
struct LineLogprob<'a> {
    token: &'a str,
    logprob: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<&'a [u8]>,
    #[serde(rename = "top_logprobs", skip_serializing_if = "Vec::is_empty")]
    top: Vec<LineLogprob<'a>>,
}

impl<'a> From<&'a TokenLogprob> for LineLogprob<'a> {
    fn from(token: &'a TokenLogprob) -> Self {
        Self {
            token: &token.token,
            logprob: token.logprob,
            bytes: token.bytes.as_deref(),
            top: token.top.iter().map(Self::from).collect(),
        }
    }
}

/// Ollama omits counts that are 0, and so does this. All durations are whole nanoseconds.
#[derive(Serialize)]
struct Counts {
    #[serde(skip_serializing_if = "is_zero")]
    total_duration: u64,
    #[serde(skip_serializing_if = "is_zero")]
    load_duration: u64,
    #[serde(skip_serializing_if = "is_zero")]
    prompt_eval_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    prompt_eval_cached_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    prompt_eval_duration: u64,
    #[serde(skip_serializing_if = "is_zero")]
    eval_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    eval_duration: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
