//! Reads the lines of an answer, or a whole answer, from Ollama and from servers that imitate it.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::errors;
use crate::backend::calls::{Calls, Fragment};
use crate::backend::lenient::{self, OutputPart, count, list, optional, text};
use crate::backend::logprobs::{Token, tokens};
use crate::backend::{DecodeError, Decoder, MAX_PIECE, finish_reason};
use crate::chat::{ChatEvent, ChatRequest, Completion, Durations, Finish, Usage};
use crate::wire::ndjson::Lines;

/// Reads the lines of one answer.
pub(super) struct Answer {
    lines: Lines,
    state: State,
    /// Whether a line of valid JSON in an unknown shape is skipped: the client of a carried answer
    /// reads it itself.
    is_lenient: bool,
}

struct State {
    calls: Calls,
    usage: Usage,
    /// Whether all output is text: Ollama's own completions do not separate thinking.
    is_prompt: bool,
    done: bool,
}

impl Answer {
    pub(super) fn new(request: &ChatRequest, seed: u64) -> Self {
        let (calls, usage) = (Calls::new(seed), Usage::default());
        let state = State { calls, usage, is_prompt: request.is_prompt, done: false };
        Self { lines: Lines::new(MAX_PIECE), state, is_lenient: false }
    }

    /// A decoder that only watches an answer.
    pub(super) fn lenient(request: &ChatRequest, seed: u64) -> Self {
        Self { is_lenient: true, ..Self::new(request, seed) }
    }
}

/// Whether a line is valid JSON. A parser that skips a text does not see whether it is UTF-8.
fn is_json(line: &[u8]) -> bool {
    std::str::from_utf8(line).is_ok_and(|line| serde_json::from_str::<IgnoredAny>(line).is_ok())
}

impl Decoder for Answer {
    fn feed(&mut self, bytes: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), DecodeError> {
        let Self { lines, state, is_lenient } = self;
        lines.feed(bytes, |line| match state.read(line, events) {
            Err(DecodeError::Malformed(_)) if *is_lenient && is_json(line) => Ok(()),
            read => read,
        })
    }

    fn finish(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), DecodeError> {
        let rest = self.lines.take_rest();
        if !rest.iter().all(u8::is_ascii_whitespace) {
            // A last line without its line feed is whole if it parses, as a unary answer does.
            match self.state.read(&rest, events) {
                Ok(()) => {}
                Err(DecodeError::Malformed(_)) if !self.state.done => return Err(DecodeError::Cut),
                Err(error) => return Err(error),
            }
        }
        if self.state.done { Ok(()) } else { Err(DecodeError::Cut) }
    }
}

impl State {
    fn read(&mut self, line: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), DecodeError> {
        if self.done {
            return Ok(());
        }
        let parsed: Line = match serde_json::from_slice(line) {
            Ok(parsed) => parsed,
            Err(error) => return Err(error_in(line).unwrap_or(error.into())),
        };
        if parsed.error.is_some()
            && let Some(error) = error_in(line)
        {
            return Err(error);
        }
        let has_nothing = parsed.message.is_none() && parsed.response.is_none();
        if has_nothing && parsed.done.is_none() && parsed.model.is_none() {
            let nothing = || DecodeError::Malformed("a line without `message`".to_owned());
            return Err(error_in(line).unwrap_or_else(nothing));
        }
        let message = parsed.message.unwrap_or_default();
        let thought = [message.thinking, parsed.thinking, message.reasoning];
        let thought = thought.into_iter().find(|thought| !thought.is_empty());
        let thought = thought.map(OutputPart::Reasoning);
        events.extend(thought.into_iter().chain(message.content).map(|said| match said {
            OutputPart::Reasoning(text) if !self.is_prompt => ChatEvent::Reasoning(text),
            OutputPart::Text(text) | OutputPart::Reasoning(text) => ChatEvent::Text(text),
        }));
        events.extend(parsed.response.filter(|text| !text.is_empty()).map(ChatEvent::Text));
        let told = tokens(parsed.logprobs.unwrap_or_default());
        if !told.is_empty() {
            events.push(ChatEvent::Logprobs(told));
        }
        for call in message.tool_calls.into_iter().chain(parsed.tool_calls) {
            let LineFunction { name, arguments } = call.function.unwrap_or_default();
            // Every call comes whole.
            let call = Fragment { index: None, id: call.id, name, arguments, fallback: None };
            self.calls.take_whole(call, events)?;
        }
        let timings = Timings {
            total_duration: parsed.total_duration,
            load_duration: parsed.load_duration,
            prompt_eval_duration: parsed.prompt_eval_duration,
            eval_duration: parsed.eval_duration,
        };
        self.usage.update(Usage {
            prompt: parsed.prompt_eval_count,
            completion: parsed.eval_count,
            cached: parsed.prompt_eval_cached_count,
            durations: timings.durations(),
            ..Usage::default()
        });
        if parsed.done == Some(true) {
            let finish = self.finish(parsed.done_reason.as_deref())?;
            self.done = true;
            let usage = self.usage;
            events.push(ChatEvent::Done(Completion { finish, stop_sequence: None, usage }));
        }
        Ok(())
    }

    fn finish(&self, reason: Option<&str>) -> Result<Finish, DecodeError> {
        let finish = match reason {
            Some("load") => return Ok(Finish::Load),
            Some("unload") => return Ok(Finish::Unload),
            reason => finish_reason::finish(reason.unwrap_or_default(), None)?,
        };
        // Some servers leave out the reason; `done` marks the last line.
        Ok(self.calls.finish(finish.unwrap_or(Finish::Stop)))
    }
}

/// The failure in a line; `None` if there is none.
fn error_in(line: &[u8]) -> Option<DecodeError> {
    let body = serde_json::from_slice(line).ok()?;
    errors::in_band(&body).map(DecodeError::Reported)
}

/// One line of an answer. Every field may be missing or `null`, and Ollama may add others.
#[derive(Deserialize)]
struct Line {
    #[serde(default, deserialize_with = "text")]
    model: Option<String>,
    #[serde(default)]
    message: Option<LineMessage>,
    /// Takes the place of `message` in an infill, as do `thinking` and `tool_calls`.
    #[serde(default)]
    response: Option<String>,
    #[serde(default, deserialize_with = "lenient::reasoning")]
    thinking: String,
    #[serde(default, deserialize_with = "list")]
    tool_calls: Vec<LineCall>,
    #[serde(default)]
    done: Option<bool>,
    #[serde(default, deserialize_with = "text")]
    done_reason: Option<String>,
    #[serde(default, deserialize_with = "count")]
    prompt_eval_count: Option<u64>,
    /// The part of the prompt that was in the runner's cache; since version 0.34.
    #[serde(default, deserialize_with = "count")]
    prompt_eval_cached_count: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    eval_count: Option<u64>,
    // The fields of `Timings`: serde reads a line with flattened ones twice.
    #[serde(default, deserialize_with = "count")]
    total_duration: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    load_duration: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    prompt_eval_duration: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    eval_duration: Option<u64>,
    #[serde(default, deserialize_with = "optional")]
    logprobs: Option<Vec<Token>>,
    #[serde(default)]
    error: Option<Box<RawValue>>,
}

/// How long the steps took, in nanoseconds.
#[derive(Deserialize, Default)]
pub(super) struct Timings {
    #[serde(default, deserialize_with = "count")]
    total_duration: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    load_duration: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    prompt_eval_duration: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    eval_duration: Option<u64>,
}

impl Timings {
    /// The times of the answer; `None` if it tells none.
    pub(super) fn durations(&self) -> Option<Durations> {
        let durations = Durations {
            total: self.total_duration.unwrap_or(0),
            load: self.load_duration.unwrap_or(0),
            prompt: self.prompt_eval_duration.unwrap_or(0),
            answer: self.eval_duration.unwrap_or(0),
        };
        (durations != Durations::default()).then_some(durations)
    }
}

#[derive(Deserialize, Default)]
struct LineMessage {
    #[serde(default, deserialize_with = "lenient::content")]
    content: Vec<OutputPart>,
    #[serde(default, deserialize_with = "lenient::reasoning")]
    thinking: String,
    /// Sent instead of `thinking` by servers that imitate two APIs at once.
    #[serde(default, deserialize_with = "lenient::reasoning")]
    reasoning: String,
    #[serde(default, deserialize_with = "list")]
    tool_calls: Vec<LineCall>,
}

#[derive(Deserialize)]
struct LineCall {
    #[serde(default, deserialize_with = "text")]
    id: Option<String>,
    #[serde(default)]
    function: Option<LineFunction>,
}

#[derive(Deserialize, Default)]
struct LineFunction {
    #[serde(default, deserialize_with = "text")]
    name: Option<String>,
    #[serde(default, deserialize_with = "lenient::arguments")]
    arguments: String,
}
