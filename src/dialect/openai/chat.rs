//! `POST /v1/chat/completions`.
//!
//! It owns the route and the answer as one document; `request` and `message` decode, `stream`
//! writes pieces. It rejects requests that no answer could satisfy, and leaves settings that only
//! some providers know to them.
//!
//! The one thing to know: reasoning is written as `reasoning_content` and as `reasoning`. OpenAI
//! has no such field, its SDKs keep it as an extra one, and clients of open models read one or the
//! other. Likewise, `extra_content` has Gemini's signature of a call, as in Google's own OpenAI
//! endpoint: a client that sends the call back unchanged sends the signature too.

mod message;
mod request;
mod stream;

use serde::Serialize;

use super::Logprob;
use super::completion_object::Identity;
use crate::chat::{
    Ask, ChatEvent, ChatRequest, Completion, Endpoint, Finish, GatewayError, ReasoningField,
    TokenLogprob, ToolCall, ToolCallPiece,
};
use crate::dialect::single::{AtEnd, Collector, misdirected};
use crate::dialect::{AnswerHead, Dialect, Encoder, ErrorBody, append};
use crate::wire::signature::geminis;

/// OpenAI's chat completions.
#[derive(Debug)]
pub struct OpenAiChat;

impl Dialect for OpenAiChat {
    fn name(&self) -> &'static str {
        super::NAME
    }

    fn paths(&self) -> &'static [&'static str] {
        // The second is for base URLs without `/v1`.
        &["/v1/chat/completions", "/chat/completions"]
    }

    fn has_heartbeat(&self) -> bool {
        true
    }

    fn endpoint(&self) -> Option<Endpoint> {
        Some(Endpoint::OpenAiChat)
    }

    fn decode(&self, body: &[u8]) -> Result<Ask, GatewayError> {
        request::decode(body).map(Ask::Chat)
    }

    fn encoder(&self, ask: &Ask, head: AnswerHead) -> Box<dyn Encoder> {
        let Ask::Chat(request) = ask else { return misdirected() };
        let identity = |object| Identity::new("chatcmpl", object, request, &head);
        if request.stream {
            Box::new(stream::Streamed::new(request, identity("chat.completion.chunk")))
        } else {
            Box::new(AtEnd(Whole::new(request, identity("chat.completion"))))
        }
    }

    fn error(&self, error: &GatewayError, _request_id: &str) -> ErrorBody {
        super::error_body(error)
    }
}

/// Writes the answer at its end.
struct Whole {
    identity: Identity,
    old_functions: bool,
    with_logprobs: bool,
    content: String,
    reasoning: String,
    reasoning_field: ReasoningField,
    calls: Vec<ToolCall>,
    /// The signature of each call, if it has one.
    signatures: Vec<Option<String>>,
    /// The signature of the next call.
    signature: Option<String>,
    logprobs: Vec<TokenLogprob>,
}

impl Whole {
    fn new(request: &ChatRequest, identity: Identity) -> Self {
        Self {
            identity,
            old_functions: request.shape.old_functions,
            with_logprobs: request.logprobs.is_some(),
            content: String::new(),
            reasoning: String::new(),
            reasoning_field: request.shape.reasoning,
            calls: Vec::new(),
            signatures: Vec::new(),
            signature: None,
            logprobs: Vec::new(),
        }
    }

    fn add_call(&mut self, piece: ToolCallPiece) {
        let index = usize::try_from(piece.index).unwrap_or(usize::MAX);
        if let Some(call) = self.calls.get_mut(index) {
            call.arguments.push_str(&piece.arguments);
        } else {
            let name = piece.name.unwrap_or_default();
            self.signatures.push(self.signature.take());
            self.calls.push(ToolCall { id: piece.id, name, arguments: piece.arguments });
        }
    }

    fn message(&self) -> Message<'_> {
        let old_call = self.calls.first().filter(|_| self.old_functions).map(function);
        let calls = if self.old_functions { &[][..] } else { &self.calls };
        let silent = self.content.is_empty() && !self.calls.is_empty();
        let (reasoning_content, reasoning) = match self.reasoning.as_str() {
            "" => (None, None),
            text => self.reasoning_field.named(text),
        };
        Message {
            role: "assistant",
            content: (!silent).then_some(&self.content),
            refusal: (),
            reasoning_content,
            reasoning,
            tool_calls: calls.iter().zip(&self.signatures).map(call).collect(),
            function_call: old_call,
        }
    }
}

impl Collector for Whole {
    fn add(&mut self, event: ChatEvent) {
        match event {
            ChatEvent::Text(text) => {
                self.signature = None;
                append(&mut self.content, text);
            }
            ChatEvent::Reasoning(text) => self.reasoning.push_str(&text),
            ChatEvent::ToolCall(piece) => self.add_call(piece),
            ChatEvent::Logprobs(tokens) if self.with_logprobs => self.logprobs.extend(tokens),
            ChatEvent::Signature(signature) => self.signature = Some(signature),
            ChatEvent::Logprobs(_)
            | ChatEvent::Whole(_)
            | ChatEvent::Carried(_)
            | ChatEvent::Done(_) => {}
        }
    }

    fn write(&mut self, completion: &Completion, out: &mut Vec<u8>) {
        let finish_reason = finish_reason(completion.finish, self.old_functions);
        let logprobs = logprobs(&self.logprobs);
        let choice = Choice { index: 0, message: self.message(), logprobs, finish_reason };
        self.identity.whole(choice, &completion.usage, out);
    }
}

fn finish_reason(finish: Finish, old_functions: bool) -> &'static str {
    if old_functions && finish == Finish::ToolCalls {
        return "function_call";
    }
    super::finish_reason(finish)
}

fn call<'a>((call, signature): (&'a ToolCall, &'a Option<String>)) -> Call<'a> {
    let id = call.id.as_deref().unwrap_or_default();
    let extra_content = signature.as_deref().and_then(ExtraContent::of);
    Call { id, kind: "function", function: function(call), extra_content }
}

/// An empty text is not JSON, and breaks clients that parse the arguments.
fn function(call: &ToolCall) -> Function<'_> {
    let arguments = if call.arguments.is_empty() { "{}" } else { &call.arguments };
    Function { name: &call.name, arguments }
}

fn logprobs(tokens: &[TokenLogprob]) -> Option<Logprobs<'_>> {
    if tokens.is_empty() {
        return None;
    }
    Some(Logprobs { content: tokens.iter().map(Logprob::from).collect(), refusal: () })
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u32,
    message: Message<'a>,
    logprobs: Option<Logprobs<'a>>,
    finish_reason: &'static str,
}

/// `tool_calls` is omitted if there are none: some clients test for its presence.
#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: Option<&'a String>,
    refusal: (),
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_call: Option<Function<'a>>,
}

#[derive(Serialize)]
struct Call<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    function: Function<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra_content: Option<ExtraContent<'a>>,
}

/// The field in which Google's own OpenAI endpoint sends a call's signature, and expects it back.
#[derive(Serialize)]
struct ExtraContent<'a> {
    google: Google<'a>,
}

#[derive(Serialize)]
struct Google<'a> {
    thought_signature: &'a str,
}

impl<'a> ExtraContent<'a> {
    /// Only Gemini's signatures have a place in this API.
    fn of(signature: &'a str) -> Option<Self> {
        geminis(signature).map(|thought_signature| Self { google: Google { thought_signature } })
    }
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    arguments: &'a str,
}

#[derive(Serialize)]
struct Logprobs<'a> {
    content: Vec<Logprob<'a>>,
    refusal: (),
}

#[cfg(test)]
mod tests;
