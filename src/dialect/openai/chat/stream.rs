//! Writing a chat completion as a stream.
//!
//! It owns the order that SDKs rely on: the role once and first, id and name once per call, the
//! finish reason always, the counts last and only if requested, then `[DONE]`. After a failure
//! neither a finish reason nor `[DONE]` is written, so that no client mistakes the part for the
//! whole.
//!
//! The one thing to know: SDKs join strings of the same key. A role or a name that is sent twice
//! becomes `assistantassistant`.

use std::time::Duration;

use serde::Serialize;

use super::{ExtraContent, Logprobs, finish_reason, logprobs};
use crate::chat::{
    ChatEvent, ChatRequest, Completion, GatewayError, ReasoningField, ToolCallPiece,
};
use crate::dialect::openai::completion_object::Identity;
use crate::dialect::openai::envelope;
use crate::dialect::{Encoder, Waiting, comment};
use crate::wire::sse;

/// Writes server-sent events.
pub(super) struct Streamed {
    identity: Identity,
    with_logprobs: bool,
    old_functions: bool,
    reasoning: ReasoningField,
    begun: bool,
    call: Option<OpenCall>,
    /// The signature of the next call.
    signature: Option<String>,
}

/// The call that is being written.
struct OpenCall {
    index: u32,
    /// Whether it has no arguments yet. A call must not end without them: an empty text is not
    /// JSON.
    is_empty: bool,
}

impl Streamed {
    pub(super) fn new(request: &ChatRequest, identity: Identity) -> Self {
        Self {
            identity,
            with_logprobs: request.logprobs.is_some(),
            old_functions: request.shape.old_functions,
            reasoning: request.shape.reasoning,
            begun: false,
            call: None,
            signature: None,
        }
    }

    /// Writes the role, before anything else.
    fn begin(&mut self, content: Option<&'static str>, out: &mut Vec<u8>) {
        if !self.begun {
            self.begun = true;
            self.delta(Delta::First { role: "assistant", content, refusal: () }, out);
        }
    }

    fn call(&mut self, piece: &ToolCallPiece, out: &mut Vec<u8>) {
        self.begin(None, out);
        let is_open = self.call.as_ref().is_some_and(|call| call.index == piece.index);
        if self.old_functions && piece.index > 0 {
            return;
        }
        if !is_open {
            self.end_call(out);
            self.call = Some(OpenCall { index: piece.index, is_empty: true });
        } else if piece.arguments.is_empty() {
            return;
        }
        if let Some(call) = &mut self.call {
            call.is_empty &= piece.arguments.is_empty();
        }
        let (id, name) = if is_open {
            (None, None)
        } else {
            (Some(piece.id.as_deref().unwrap_or_default()), piece.name.as_deref())
        };
        let signature = if is_open { None } else { self.signature.take() };
        let extra = signature.as_deref().and_then(ExtraContent::of);
        self.fragment(piece.index, id, name, &piece.arguments, extra, out);
    }

    fn end_call(&mut self, out: &mut Vec<u8>) {
        if let Some(OpenCall { index, is_empty: true }) = self.call.take() {
            self.fragment(index, None, None, "{}", None, out);
        }
    }

    fn fragment(
        &self,
        index: u32,
        id: Option<&str>,
        name: Option<&str>,
        arguments: &str,
        extra_content: Option<ExtraContent<'_>>,
        out: &mut Vec<u8>,
    ) {
        let function = FunctionPiece { name, arguments };
        if self.old_functions {
            return self.delta(Delta::OldCall { function_call: function }, out);
        }
        let kind = id.map(|_| "function");
        let call = CallPiece { index, id, kind, function, extra_content };
        self.delta(Delta::Call { tool_calls: [call] }, out);
    }

    fn end(&mut self, completion: &Completion, out: &mut Vec<u8>) {
        self.begin(Some(""), out);
        self.end_call(out);
        let finish = finish_reason(completion.finish, self.old_functions);
        self.choice(Delta::Nothing {}, None, Some(finish), out);
        self.identity.end(&completion.usage, out);
    }

    fn delta(&self, delta: Delta<'_>, out: &mut Vec<u8>) {
        self.choice(delta, None, None, out);
    }

    fn choice(
        &self,
        delta: Delta<'_>,
        logprobs: Option<Logprobs<'_>>,
        finish_reason: Option<&'static str>,
        out: &mut Vec<u8>,
    ) {
        let choice = Choice { index: 0, delta, logprobs, finish_reason };
        self.identity.piece(choice, out);
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
            ChatEvent::Text(text) => {
                self.signature = None;
                self.begin(Some(""), out);
                self.delta(Delta::Text { content: &text }, out);
            }
            ChatEvent::Reasoning(text) => {
                self.begin(Some(""), out);
                let (reasoning_content, reasoning) = self.reasoning.named(&text);
                self.delta(Delta::Reasoning { reasoning_content, reasoning }, out);
            }
            ChatEvent::ToolCall(piece) => self.call(&piece, out),
            ChatEvent::Logprobs(tokens) if self.with_logprobs => {
                self.begin(Some(""), out);
                self.choice(Delta::Nothing {}, logprobs(&tokens), None, out);
            }
            ChatEvent::Done(completion) => self.end(&completion, out),
            ChatEvent::Signature(signature) => self.signature = Some(signature),
            ChatEvent::Logprobs(_) | ChatEvent::Whole(_) | ChatEvent::Carried(_) => {}
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

#[derive(Serialize)]
struct Choice<'a> {
    index: u32,
    delta: Delta<'a>,
    logprobs: Option<Logprobs<'a>>,
    finish_reason: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Delta<'a> {
    First {
        role: &'static str,
        content: Option<&'static str>,
        refusal: (),
    },
    Text {
        content: &'a str,
    },
    Reasoning {
        #[serde(skip_serializing_if = "Option::is_none")]
        reasoning_content: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reasoning: Option<&'a str>,
    },
    Call {
        tool_calls: [CallPiece<'a>; 1],
    },
    OldCall {
        function_call: FunctionPiece<'a>,
    },
    Nothing {},
}

#[derive(Serialize)]
struct CallPiece<'a> {
    index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    function: FunctionPiece<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra_content: Option<ExtraContent<'a>>,
}

#[derive(Serialize)]
struct FunctionPiece<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    arguments: &'a str,
}
