//! Writing a legacy completion, whole or streamed: both use the same object.
//!
//! It owns the old shape of log probabilities, four parallel lists. Reasoning has no place in this
//! API and is dropped.
//!
//! The one thing to know: `text_offset` counts characters, not bytes, from the start of the whole
//! answer, not of one piece.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::chat::{ChatEvent, ChatRequest, Completion, Finish, GatewayError, TokenLogprob};
use crate::dialect::openai::completion_object::Identity;
use crate::dialect::openai::{envelope, finish_reason};
use crate::dialect::single::{AtEnd, Collector};
use crate::dialect::{AnswerHead, Encoder, Waiting, append, comment};
use crate::wire::sse;

/// Begins to write an answer.
pub(super) fn encoder(request: &ChatRequest, head: &AnswerHead) -> Box<dyn Encoder> {
    let identity = Identity::new("cmpl", "text_completion", request, head);
    let tokens = Tokens { wanted: request.logprobs.is_some(), ..Tokens::default() };
    if request.stream {
        Box::new(Streamed { identity, tokens })
    } else {
        Box::new(AtEnd(Whole { identity, tokens, text: String::new() }))
    }
}

/// Log probabilities that were not written yet.
#[derive(Default)]
struct Tokens {
    wanted: bool,
    pending: Vec<TokenLogprob>,
    /// The number of characters before the pending tokens.
    offset: usize,
}

impl Tokens {
    fn add(&mut self, tokens: Vec<TokenLogprob>) {
        if self.wanted {
            self.pending.extend(tokens);
        }
    }

    fn take(&mut self) -> Option<Value> {
        if self.pending.is_empty() {
            return None;
        }
        let mut offsets = Vec::with_capacity(self.pending.len());
        let mut tokens = Vec::with_capacity(self.pending.len());
        let mut logprobs = Vec::with_capacity(self.pending.len());
        let mut tops = Vec::with_capacity(self.pending.len());
        for token in self.pending.drain(..) {
            offsets.push(self.offset);
            self.offset += token.token.chars().count();
            let top: Map<String, Value> =
                token.top.into_iter().map(|top| (top.token, json!(top.logprob))).collect();
            tops.push(top);
            logprobs.push(token.logprob);
            tokens.push(token.token);
        }
        Some(json!({
            "tokens": tokens, "token_logprobs": logprobs, "top_logprobs": tops, "text_offset": offsets,
        }))
    }
}

/// Writes the answer at its end.
struct Whole {
    identity: Identity,
    tokens: Tokens,
    text: String,
}

impl Collector for Whole {
    fn add(&mut self, event: ChatEvent) {
        match event {
            ChatEvent::Text(text) => append(&mut self.text, text),
            ChatEvent::Logprobs(tokens) => self.tokens.add(tokens),
            ChatEvent::Reasoning(_)
            | ChatEvent::Signature(_)
            | ChatEvent::ToolCall(_)
            | ChatEvent::Whole(_)
            | ChatEvent::Carried(_)
            | ChatEvent::Done(_) => {}
        }
    }

    fn write(&mut self, completion: &Completion, out: &mut Vec<u8>) {
        let logprobs = self.tokens.take();
        let finish_reason = Some(reason(completion.finish));
        let choice = Choice { text: &self.text, index: 0, logprobs, finish_reason };
        self.identity.whole(choice, &completion.usage, out);
    }
}

/// Writes server-sent events.
struct Streamed {
    identity: Identity,
    tokens: Tokens,
}

impl Streamed {
    fn piece(&mut self, text: &str, finish: Option<&'static str>, out: &mut Vec<u8>) {
        let logprobs = self.tokens.take();
        self.identity.piece(Choice { text, index: 0, logprobs, finish_reason: finish }, out);
    }
}

impl Encoder for Streamed {
    fn content_type(&self) -> &'static str {
        "text/event-stream"
    }

    fn event(
        &mut self,
        event: ChatEvent,
        _at: Duration,
        out: &mut Vec<u8>,
    ) -> Result<(), GatewayError> {
        match event {
            ChatEvent::Text(text) => self.piece(&text, None, out),
            ChatEvent::Logprobs(tokens) => {
                self.tokens.add(tokens);
                if !self.tokens.pending.is_empty() {
                    self.piece("", None, out);
                }
            }
            ChatEvent::Done(completion) => {
                self.piece("", Some(reason(completion.finish)), out);
                self.identity.end(&completion.usage, out);
            }
            ChatEvent::Reasoning(_)
            | ChatEvent::Signature(_)
            | ChatEvent::ToolCall(_)
            | ChatEvent::Whole(_)
            | ChatEvent::Carried(_) => {}
        }
        Ok(())
    }

    fn failure(&mut self, error: &GatewayError, out: &mut Vec<u8>) {
        sse::write("", &envelope(error), out);
    }

    fn heartbeat(&mut self, waiting: Option<Waiting>, out: &mut Vec<u8>) {
        comment(waiting, out);
    }
}

/// This API has no calls.
fn reason(finish: Finish) -> &'static str {
    if finish == Finish::ToolCalls { "stop" } else { finish_reason(finish) }
}

#[derive(Serialize)]
struct Choice<'a> {
    text: &'a str,
    index: u32,
    logprobs: Option<Value>,
    finish_reason: Option<&'static str>,
}
