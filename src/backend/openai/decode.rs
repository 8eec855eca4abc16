//! Reads the chunks of an answer, or a whole answer, from OpenAI and its imitators.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::errors;
use super::infill::Lists;
use super::usage::{self, Timings};
use crate::backend::DecodeError;
use crate::backend::calls::{Calls, Fragment};
use crate::backend::document::parse;
use crate::backend::finish_reason::finish;
use crate::backend::lenient::{self, OutputPart, count, list, optional, reasoning, text, word};
use crate::backend::logprobs::{Token, tokens};
use crate::backend::stream::Reader;
use crate::backend::tool_names::ToolNames;
use crate::chat::{ChatEvent, ChatRequest, Completion, Finish, Usage};

/// The state of reading one answer.
pub(super) struct Chunks {
    names: ToolNames,
    calls: Calls,
    /// The reason why the answer ended, once known.
    finish: Option<Finish>,
    usage: Usage,
    timings: Timings,
    done: bool,
    /// Whether the provider marked the end of the stream with `[DONE]`.
    is_marked: bool,
    /// The other answers that have begun, by their index, and whether they have ended.
    others: BTreeMap<u64, bool>,
}

/// How many other answers to one request are followed at most.
const MOST_ANSWERS: usize = 128;

impl Chunks {
    pub(super) fn new(request: &ChatRequest, seed: u64) -> Self {
        Self {
            names: ToolNames::new(request),
            calls: Calls::new(seed),
            finish: None,
            usage: Usage::default(),
            timings: Timings::default(),
            done: false,
            is_marked: false,
            others: BTreeMap::new(),
        }
    }

    fn choice(&mut self, choice: Choice, events: &mut Vec<ChatEvent>) -> Result<(), DecodeError> {
        // Whole answers have `message`, chunks `delta`, and infills `text`.
        match choice.delta.or(choice.message) {
            Some(delta) => self.delta(delta, events)?,
            None => events.extend(choice.text.map(ChatEvent::Text)),
        }
        let told = match choice.logprobs {
            Some(Logprobs::Entries { content: Some(told) }) => tokens(told),
            Some(Logprobs::Lists(lists)) => lists.into_tokens(),
            Some(Logprobs::Entries { content: None }) | None => Vec::new(),
        };
        if !told.is_empty() {
            events.push(ChatEvent::Logprobs(told));
        }
        self.count(choice.usage);
        if let Some(reason) = choice.finish_reason {
            self.finish = finish(&reason, None)?.or(self.finish);
        }
        Ok(())
    }

    fn delta(&mut self, delta: Delta, events: &mut Vec<ChatEvent>) -> Result<(), DecodeError> {
        // Some servers send the same thinking under several names.
        let thoughts = [delta.reasoning_content, delta.reasoning, delta.reasoning_details];
        let thought = thoughts.into_iter().find(|thought| !thought.is_empty());
        events.extend(thought.map(ChatEvent::Reasoning));
        events.extend(delta.content.into_iter().map(|said| match said {
            OutputPart::Text(text) => ChatEvent::Text(text),
            OutputPart::Reasoning(text) => ChatEvent::Reasoning(text),
        }));
        // Clients show a refusal as text, and the canonical model has no other place for it.
        events.extend(delta.refusal.map(ChatEvent::Text));
        let old = delta.function_call.filter(|_| delta.tool_calls.is_empty());
        let old = old.map(|function| ToolCall { index: None, id: None, function: Some(function) });
        for (position, call) in delta.tool_calls.into_iter().chain(old).enumerate() {
            let function = call.function.unwrap_or_default();
            let fragment = Fragment {
                index: call.index,
                id: call.id,
                name: function.name.map(|name| self.names.inbound(name)),
                arguments: function.arguments,
                fallback: None,
            };
            self.calls.take_piece(fragment, position == 0, events)?;
        }
        Ok(())
    }

    fn count(&mut self, counts: Option<Map<String, Value>>) {
        if let Some(counts) = counts {
            self.usage.update(usage::read(&counts));
        }
    }
}

impl Reader for Chunks {
    fn piece(
        &mut self,
        _name: &[u8],
        data: &[u8],
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), DecodeError> {
        match data.trim_ascii() {
            b"" => return Ok(()),
            b"[DONE]" => {
                self.is_marked = true;
                return self.end(events);
            }
            _ => {}
        }
        let chunk: Chunk = parse(data)?;
        // Only a chunk that may hold no answer is parsed a second time.
        let is_odd = chunk.error.is_some() || chunk.choices.is_empty();
        if is_odd && let Some(rejection) = errors::in_band(&parse(data)?) {
            return Err(DecodeError::Reported(rejection));
        }
        self.count(chunk.usage);
        self.count(chunk.x_groq.and_then(|own| own.usage));
        if let Some(timings) = chunk.timings {
            self.timings = Timings::read(&timings);
        }
        // The gateway asks for one answer; if a server gives several, it reads the first.
        for choice in chunk.choices {
            if let Some(error) = choice.error.as_ref().and_then(errors::of_choice) {
                return Err(DecodeError::Reported(error));
            }
            match choice.index.unwrap_or(0) {
                0 => self.choice(choice, events)?,
                // A choice with a whole message needs no end.
                other if choice.is_piece() && self.others.len() < MOST_ANSWERS => {
                    *self.others.entry(other).or_default() |= choice.finish_reason.is_some();
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn failure_in(&self, body: &Value) -> Option<DecodeError> {
        let of_choice = || errors::of_choice(body.pointer("/choices/0/error")?);
        errors::in_band(body).or_else(of_choice).map(DecodeError::Reported)
    }

    fn end(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), DecodeError> {
        let Some(finish) = self.finish else { return Err(DecodeError::Cut) };
        // A carried answer passes the other answers on as well: they must be whole too.
        if !self.is_marked && self.others.values().any(|has_ended| !has_ended) {
            return Err(DecodeError::Cut);
        }
        self.calls.end(events)?;
        let finish = self.calls.finish(finish);
        let usage = self.timings.complete(self.usage);
        self.done = true;
        events.push(ChatEvent::Done(Completion { finish, stop_sequence: None, usage }));
        Ok(())
    }
}

/// One chunk, or a whole answer. Every field may be missing or `null`.
#[derive(Deserialize)]
struct Chunk {
    #[serde(default, deserialize_with = "list")]
    choices: Vec<Choice>,
    #[serde(default, deserialize_with = "optional")]
    usage: Option<Map<String, Value>>,
    /// The place where Groq puts the counts of a stream.
    #[serde(default, deserialize_with = "optional")]
    x_groq: Option<Counted>,
    /// The measurements of `llama-server`: in a stream in its last chunk, or in every one.
    #[serde(default, deserialize_with = "optional")]
    timings: Option<Map<String, Value>>,
    #[serde(default)]
    error: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Counted {
    #[serde(default, deserialize_with = "optional")]
    usage: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default, deserialize_with = "count")]
    index: Option<u64>,
    #[serde(default)]
    delta: Option<Delta>,
    #[serde(default)]
    message: Option<Delta>,
    /// Takes the place of both in an infill.
    #[serde(default, deserialize_with = "text")]
    text: Option<String>,
    #[serde(default, deserialize_with = "optional")]
    logprobs: Option<Logprobs>,
    #[serde(default, deserialize_with = "word")]
    finish_reason: Option<String>,
    /// The place where Moonshot puts the counts of a stream.
    #[serde(default, deserialize_with = "optional")]
    usage: Option<Map<String, Value>>,
    /// The error of OpenRouter's provider.
    #[serde(default)]
    error: Option<Value>,
}

impl Choice {
    /// Whether it may be one of several pieces of an answer.
    fn is_piece(&self) -> bool {
        self.delta.is_some() || self.text.is_some()
    }
}

#[derive(Deserialize)]
struct Delta {
    #[serde(default, deserialize_with = "lenient::content")]
    content: Vec<OutputPart>,
    #[serde(default, deserialize_with = "text")]
    refusal: Option<String>,
    #[serde(default, deserialize_with = "reasoning")]
    reasoning_content: String,
    #[serde(default, deserialize_with = "reasoning")]
    reasoning: String,
    #[serde(default, deserialize_with = "reasoning")]
    reasoning_details: String,
    #[serde(default, deserialize_with = "list")]
    tool_calls: Vec<ToolCall>,
    /// The only call of a message in the API's older form without `tool_calls`.
    #[serde(default)]
    function_call: Option<Function>,
}

#[derive(Deserialize)]
struct ToolCall {
    #[serde(default, deserialize_with = "count")]
    index: Option<u64>,
    #[serde(default, deserialize_with = "text")]
    id: Option<String>,
    #[serde(default)]
    function: Option<Function>,
}

#[derive(Deserialize, Default)]
struct Function {
    #[serde(default, deserialize_with = "text")]
    name: Option<String>,
    #[serde(default, deserialize_with = "lenient::arguments")]
    arguments: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Logprobs {
    Lists(Lists),
    Entries {
        #[serde(default)]
        content: Option<Vec<Token>>,
    },
}
