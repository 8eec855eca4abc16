//! Reading Gemini's answers.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{refusal, signature};
use crate::backend::DecodeError;
use crate::backend::calls::Calls;
use crate::backend::names::ToolNames;
use crate::backend::reason::finish;
use crate::backend::stream::{Reader, count, parse, text};
use crate::chat::{ChatEvent, ChatRequest, Completion, Finish, TokenLogprob, Usage};

/// The state of reading one answer.
pub(super) struct Responses {
    names: ToolNames,
    calls: Calls,
    /// The reason the answer ended, once known.
    finish: Option<Finish>,
    usage: Usage,
    done: bool,
}

impl Responses {
    pub(super) fn new(request: &ChatRequest, seed: u64) -> Self {
        Self {
            names: ToolNames::new(request),
            calls: Calls::new(seed),
            finish: None,
            usage: Usage::default(),
            done: false,
        }
    }

    fn response(
        &mut self,
        response: Response,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), DecodeError> {
        if let Some(error) = response.error {
            return Err(DecodeError::Reported(refusal::in_band(&error)));
        }
        // Cumulative: the last one counts.
        if let Some(usage) = response.usage_metadata {
            self.usage = Usage::from(usage);
        }
        let mut is_blocked =
            response.prompt_feedback.is_some_and(|told| told.block_reason.is_some());
        for candidate in response.candidates.into_iter().flatten() {
            is_blocked = false;
            if candidate.index.unwrap_or(0) == 0 {
                self.candidate(candidate, events)?;
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
        let parts = candidate.content.and_then(|content| content.parts);
        for part in parts.into_iter().flatten() {
            self.part(part, events);
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

    fn part(&mut self, part: WirePart, events: &mut Vec<ChatEvent>) {
        if let Some(text) = part.text {
            if part.thought == Some(true) {
                events.push(ChatEvent::Reasoning(text));
            } else {
                events.push(ChatEvent::Text(text));
            }
        }
        let Some(call) = part.function_call else { return };
        let mut id = call.id;
        if let Some(proof) = &part.thought_signature {
            events.push(signature::event(proof));
            id = id.or_else(|| Some(signature::fold(self.calls.next_id(), proof)));
        }
        self.calls.begin(id, self.names.inbound(call.name), events);
        // Calls come whole.
        let arguments = call.args.map(|raw| raw.get().to_owned()).unwrap_or_default();
        self.calls.add(arguments, events);
        self.calls.end(events);
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
            // A document without `alt=sse` is a list of what the events would be.
            Some(b'[') => {
                let responses: Vec<Response> = parse(data)?;
                responses.into_iter().try_for_each(|response| self.response(response, events))
            }
            Some(_) => self.response(parse(data)?, events),
        }
    }

    fn is_done(&self) -> bool {
        self.done
    }

    /// There is no end marker but the reason: the body just ends, and the last events may follow the reason.
    fn end(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), DecodeError> {
        let finish = match self.finish {
            None => return Err(DecodeError::Cut),
            // Calls end with STOP.
            Some(Finish::Stop) if self.calls.any() => Finish::ToolCalls,
            Some(finish) => finish,
        };
        self.done = true;
        events.push(ChatEvent::Done(Completion { finish, stop_sequence: None, usage: self.usage }));
        Ok(())
    }
}

/// One event. Every field may miss: proto3 leaves out what has its default.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    #[serde(default)]
    candidates: Option<Vec<Candidate>>,
    #[serde(default)]
    prompt_feedback: Option<Feedback>,
    #[serde(default)]
    usage_metadata: Option<Counts>,
    #[serde(default)]
    error: Option<Value>,
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
    #[serde(default)]
    logprobs_result: Option<Logprobs>,
}

#[derive(Deserialize)]
struct Content {
    #[serde(default)]
    parts: Option<Vec<WirePart>>,
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
    name: String,
    #[serde(default)]
    args: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Logprobs {
    #[serde(default)]
    chosen_candidates: Vec<Token>,
    #[serde(default)]
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
    #[serde(default)]
    candidates: Vec<Token>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Token {
    #[serde(default)]
    token: String,
    #[serde(default)]
    log_probability: f64,
}

impl From<Token> for TokenLogprob {
    fn from(token: Token) -> Self {
        // Google gives no bytes; a token that is part of a character has none that could be told.
        let is_whole = !token.token.contains(char::REPLACEMENT_CHARACTER);
        Self {
            bytes: is_whole.then(|| token.token.clone().into_bytes()),
            token: token.token,
            logprob: token.log_probability,
            top: Vec::new(),
        }
    }
}

#[derive(Deserialize)]
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

impl From<Counts> for Usage {
    /// Counts that miss are zero here, because proto3 leaves zeros out.
    fn from(counts: Counts) -> Self {
        let sum = |one: Option<u64>, other: Option<u64>| {
            Some(one.unwrap_or(0).saturating_add(other.unwrap_or(0)))
        };
        Self {
            prompt: sum(counts.prompt_token_count, counts.tool_use_prompt_token_count),
            // Thoughts are not among the candidates' tokens.
            completion: sum(counts.candidates_token_count, counts.thoughts_token_count),
            cached: Some(counts.cached_content_token_count.unwrap_or(0)),
            cache_written: None,
            reasoning: Some(counts.thoughts_token_count.unwrap_or(0)),
        }
    }
}
