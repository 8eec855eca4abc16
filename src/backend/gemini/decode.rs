//! Reads Gemini's answers.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{errors, signature};
use crate::backend::DecodeError;
use crate::backend::calls::{Calls, Fragment};
use crate::backend::document::parse;
use crate::backend::finish_reason::finish;
use crate::backend::lenient::{arguments, count, list, optional, text};
use crate::backend::stream::Reader;
use crate::backend::tool_names::ToolNames;
use crate::chat::{ChatEvent, ChatRequest, Completion, Finish, TokenLogprob, Usage, later_of};

/// The state of reading one answer.
pub(super) struct Responses {
    names: ToolNames,
    calls: Calls,
    /// The reason why the answer ended, once known.
    finish: Option<Finish>,
    /// The counts so far, each of which is cumulative.
    counts: Option<Counts>,
    done: bool,
    /// Whether every candidate counts, since all of them are handed on.
    follows_all: bool,
    /// The other candidates that have begun, and whether they have ended.
    others: BTreeMap<u64, bool>,
}

/// More candidates of one request are not followed.
const MOST_CANDIDATES: usize = 128;

impl Responses {
    pub(super) fn new(request: &ChatRequest, seed: u64) -> Self {
        Self {
            names: ToolNames::new(request),
            calls: Calls::new(seed),
            finish: None,
            counts: None,
            done: false,
            follows_all: false,
            others: BTreeMap::new(),
        }
    }

    /// One that reads what is handed on as it came.
    pub(super) fn watching(request: &ChatRequest, seed: u64) -> Self {
        Self { follows_all: true, ..Self::new(request, seed) }
    }

    fn response(&mut self, data: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), DecodeError> {
        let Some(response) = parse::<Option<Response>>(data)? else { return Ok(()) };
        // Only a response that may hold no answer is parsed a second time.
        let is_odd = response.error.is_some() || response.candidates.is_empty();
        if is_odd && let Some(error) = self.failure_in(&parse(data)?) {
            return Err(error);
        }
        if let Some(later) = &response.usage_metadata {
            self.counts.get_or_insert_default().update(later);
        }
        let mut is_blocked =
            response.prompt_feedback.is_some_and(|told| told.block_reason.is_some());
        for candidate in response.candidates {
            is_blocked = false;
            match candidate.index.unwrap_or(0) {
                0 => self.candidate(candidate, events)?,
                other if self.follows_all && self.others.len() < MOST_CANDIDATES => {
                    *self.others.entry(other).or_default() |= candidate.finish_reason.is_some();
                }
                _ => {}
            }
        }
        if is_blocked {
            self.finish = Some(Finish::ContentFilter);
        }
        Ok(())
    }

    fn candidate(
        &mut self,
        candidate: Candidate,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), DecodeError> {
        for part in candidate.content.map(|content| content.parts).unwrap_or_default() {
            self.part(part, events)?;
        }
        if let Some(tokens) = candidate.logprobs_result.map(Logprobs::tokens)
            && !tokens.is_empty()
        {
            events.push(ChatEvent::Logprobs(tokens));
        }
        if let Some(reason) = candidate.finish_reason {
            self.finish = finish(&reason, candidate.finish_message.as_deref())?.or(self.finish);
        }
        Ok(())
    }

    fn part(&mut self, part: WirePart, events: &mut Vec<ChatEvent>) -> Result<(), DecodeError> {
        if let Some(text) = part.text {
            let is_thought = part.thought == Some(true);
            events.push(if is_thought {
                ChatEvent::Reasoning(text)
            } else {
                ChatEvent::Text(text)
            });
        }
        let Some(call) = part.function_call else { return Ok(()) };
        let mut id = call.id;
        if let Some(proof) = &part.thought_signature {
            events.push(signature::event(proof));
            id = id.or_else(|| Some(signature::append(self.calls.next_id(), proof)));
        }
        // Every call comes whole.
        let name = call.name.map(|name| self.names.inbound(name));
        let call = Fragment { index: None, id, name, arguments: call.args, fallback: None };
        self.calls.take_whole(call, events)
    }
}

impl Reader for Responses {
    fn piece(
        &mut self,
        _name: &[u8],
        data: &[u8],
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), DecodeError> {
        match data.trim_ascii_start().first() {
            None => Ok(()),
            // A document without `alt=sse` is a list of the events.
            Some(b'[') => {
                let responses: Vec<Box<RawValue>> = parse(data)?;
                let mut responses = responses.into_iter();
                responses.try_for_each(|one| self.response(one.get().as_bytes(), events))
            }
            Some(_) => self.response(data, events),
        }
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn failure_in(&self, body: &Value) -> Option<DecodeError> {
        errors::ERRORS.in_band(body).map(DecodeError::Reported)
    }

    /// The finish reason is the only end marker: the body just ends, and events may follow the
    /// reason.
    fn end(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), DecodeError> {
        let finish = self.calls.finish(self.finish.ok_or(DecodeError::Cut)?);
        if self.others.values().any(|has_ended| !has_ended) {
            return Err(DecodeError::Cut);
        }
        self.done = true;
        let usage = self.counts.as_ref().map(Usage::from).unwrap_or_default();
        events.push(ChatEvent::Done(Completion { finish, stop_sequence: None, usage }));
        Ok(())
    }
}

/// One event. Every field may be missing, since proto3 leaves out default values, or `null`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    #[serde(default, deserialize_with = "list")]
    candidates: Vec<Candidate>,
    #[serde(default)]
    prompt_feedback: Option<Feedback>,
    #[serde(default, deserialize_with = "optional")]
    usage_metadata: Option<Counts>,
    #[serde(default)]
    error: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Feedback {
    #[serde(default, deserialize_with = "text")]
    block_reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate {
    #[serde(default, deserialize_with = "count")]
    index: Option<u64>,
    #[serde(default)]
    content: Option<Content>,
    #[serde(default, deserialize_with = "text")]
    finish_reason: Option<String>,
    #[serde(default, deserialize_with = "text")]
    finish_message: Option<String>,
    #[serde(default, deserialize_with = "optional")]
    logprobs_result: Option<Logprobs>,
}

#[derive(Deserialize)]
struct Content {
    #[serde(default, deserialize_with = "list")]
    parts: Vec<WirePart>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WirePart {
    #[serde(default, deserialize_with = "text")]
    text: Option<String>,
    #[serde(default)]
    thought: Option<bool>,
    #[serde(default, deserialize_with = "text")]
    thought_signature: Option<String>,
    #[serde(default)]
    function_call: Option<Call>,
}

#[derive(Deserialize)]
struct Call {
    #[serde(default, deserialize_with = "text")]
    id: Option<String>,
    #[serde(default, deserialize_with = "text")]
    name: Option<String>,
    #[serde(default, deserialize_with = "arguments")]
    args: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Logprobs {
    #[serde(default, deserialize_with = "list")]
    chosen_candidates: Vec<Token>,
    #[serde(default, deserialize_with = "list")]
    top_candidates: Vec<Top>,
}

impl Logprobs {
    fn tokens(self) -> Vec<TokenLogprob> {
        let tops = self.top_candidates.into_iter().map(|top| top.candidates);
        let tops = tops.chain(std::iter::repeat_with(Vec::new));
        let chosen = self.chosen_candidates.into_iter().zip(tops);
        let token = |(token, top): (Token, Vec<Token>)| {
            let top = top.into_iter().map(TokenLogprob::from).collect();
            TokenLogprob { top, ..TokenLogprob::from(token) }
        };
        chosen.map(token).collect()
    }
}

#[derive(Deserialize)]
struct Top {
    #[serde(default, deserialize_with = "list")]
    candidates: Vec<Token>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Token {
    #[serde(default, deserialize_with = "text")]
    token: Option<String>,
    #[serde(default)]
    log_probability: Option<f64>,
}

impl From<Token> for TokenLogprob {
    fn from(token: Token) -> Self {
        let text = token.token.unwrap_or_default();
        // Google gives no bytes; those of a token that is only part of a character are unknown.
        let is_whole = !text.contains(char::REPLACEMENT_CHARACTER);
        Self {
            bytes: is_whole.then(|| text.clone().into_bytes()),
            token: text,
            logprob: token.log_probability.unwrap_or_default(),
            top: Vec::new(),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Counts {
    #[serde(default, deserialize_with = "count")]
    prompt_token_count: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    tool_use_prompt_token_count: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    candidates_token_count: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    thoughts_token_count: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    cached_content_token_count: Option<u64>,
}

impl Counts {
    /// Takes later counts one by one, because they are added up.
    fn update(&mut self, later: &Self) {
        for (count, later) in [
            (&mut self.prompt_token_count, later.prompt_token_count),
            (&mut self.tool_use_prompt_token_count, later.tool_use_prompt_token_count),
            (&mut self.candidates_token_count, later.candidates_token_count),
            (&mut self.thoughts_token_count, later.thoughts_token_count),
            (&mut self.cached_content_token_count, later.cached_content_token_count),
        ] {
            *count = later_of(*count, later);
        }
    }
}

impl From<&Counts> for Usage {
    /// Missing counts are zero here, because proto3 leaves zeros out.
    fn from(counts: &Counts) -> Self {
        let sum = |one: Option<u64>, other: Option<u64>| {
            Some(one.unwrap_or(0).saturating_add(other.unwrap_or(0)))
        };
        Self {
            prompt: sum(counts.prompt_token_count, counts.tool_use_prompt_token_count),
            // The candidates' tokens do not include thoughts.
            completion: sum(counts.candidates_token_count, counts.thoughts_token_count),
            cached: Some(counts.cached_content_token_count.unwrap_or(0)),
            cache_written: None,
            reasoning: Some(counts.thoughts_token_count.unwrap_or(0)),
            durations: None,
        }
    }
}
