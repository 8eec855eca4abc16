//! Writing an answer: one document, server-sent events, or a JSON list that grows.
//!
//! It owns the parts of an answer, which are the same whole and streamed; a whole answer joins
//! adjacent parts of one kind. A call is written when its arguments are complete, since clients do
//! not know partial calls.
//!
//! The one thing to know: there is no end marker. The last piece has the finish reason and the
//! counts, and one empty text, since clients treat a piece without parts as a broken answer.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::thought_signature;
use crate::chat::{
    ChatEvent, ChatRequest, Completion, Finish, GatewayError, TokenLogprob, ToolCallPiece, Usage,
};
use crate::dialect::{AnswerHead, Encoder, arguments};
use crate::wire::json;
use crate::wire::signature::geminis;

/// Separates server-sent events, or entries of a list.
const LINE_END: &[u8] = b"\r\n";

/// Writes one answer.
pub(super) struct Answer {
    id: String,
    model: String,
    shows_thoughts: bool,
    form: Form,
    has_begun: bool,
    has_ended: bool,
    /// The call whose arguments may be incomplete.
    growing: Option<Growing>,
    /// Gemini's signature of the next call.
    signature: Option<String>,
    /// The parts of a whole answer so far.
    parts: Vec<WirePart>,
    logprobs: Vec<TokenLogprob>,
}

/// The form of the answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Whole,
    Events,
    List,
}

struct Growing {
    index: u32,
    id: Option<String>,
    name: String,
    arguments: String,
    signature: Option<String>,
}

/// One part: a text, a thought or a call.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct WirePart {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    thought: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_call: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thought_signature: Option<String>,
}

impl WirePart {
    fn text(text: String) -> Self {
        Self { text: Some(text), ..Self::default() }
    }

    fn thought(text: String) -> Self {
        Self { text: Some(text), thought: true, ..Self::default() }
    }
}

impl Answer {
    pub(super) fn new(request: &ChatRequest, head: &AnswerHead) -> Self {
        Self {
            id: head.id.simple().to_string(),
            model: head.model_for(request.model.as_deref()),
            shows_thoughts: request.shape.shows_thoughts,
            form: match (request.stream, request.shape.is_list) {
                (false, _) => Form::Whole,
                (true, false) => Form::Events,
                (true, true) => Form::List,
            },
            has_begun: false,
            has_ended: false,
            growing: None,
            signature: None,
            parts: Vec::new(),
            logprobs: Vec::new(),
        }
    }

    /// The parts that can be written after `event`.
    fn parts_of(&mut self, event: ChatEvent) -> Vec<WirePart> {
        let mut parts = Vec::new();
        match event {
            ChatEvent::Text(text) => {
                self.finish_complete_call(&mut parts);
                parts.push(WirePart::text(text));
            }
            ChatEvent::Reasoning(text) if self.shows_thoughts => {
                self.finish_complete_call(&mut parts);
                parts.push(WirePart::thought(text));
            }
            ChatEvent::Signature(signature) if geminis(&signature).is_some() => {
                self.signature = Some(signature)
            }
            // It signs the reasoning before it, and is void without it.
            ChatEvent::Signature(signature) if self.shows_thoughts => {
                self.finish_complete_call(&mut parts);
                let thought_signature = Some(thought_signature::write(&signature));
                parts.push(WirePart { thought_signature, ..WirePart::thought(String::new()) });
            }
            ChatEvent::ToolCall(piece) => self.call(piece, &mut parts),
            ChatEvent::Logprobs(tokens) => self.logprobs.extend(tokens),
            ChatEvent::Reasoning(_)
            | ChatEvent::Signature(_)
            | ChatEvent::Whole(_)
            | ChatEvent::Carried(_)
            | ChatEvent::Done(_) => {}
        }
        parts
    }

    fn call(&mut self, piece: ToolCallPiece, parts: &mut Vec<WirePart>) {
        let ToolCallPiece { index, id, name, arguments } = piece;
        if let Some(growing) = self.growing.as_mut().filter(|growing| growing.index == index) {
            growing.arguments.push_str(&arguments);
            return;
        }
        // A piece without a name belongs to a call that was complete: at most white space.
        let Some(name) = name else { return };
        parts.extend(self.finish_call(false));
        let signature = self.signature.take().as_deref().map(thought_signature::write);
        self.growing = Some(Growing { index, id, name, arguments, signature });
    }

    /// Writes the call before the next part, if it is complete.
    fn finish_complete_call(&mut self, parts: &mut Vec<WirePart>) {
        let is_complete = |growing: &Growing| arguments::is_complete(&growing.arguments);
        if self.growing.as_ref().is_some_and(is_complete) {
            parts.extend(self.finish_call(false));
        }
    }

    /// Takes the call. `None` if the token limit cut its arguments off.
    fn finish_call(&mut self, is_cut: bool) -> Option<WirePart> {
        let Growing { index, id, name, arguments, signature } = self.growing.take()?;
        let arguments = arguments::object_or_raw(arguments, is_cut)?;
        let id = id.unwrap_or_else(|| format!("call_{}_{index}", self.id));
        let function_call = Some(json!({"id": id, "name": name, "args": arguments}));
        Some(WirePart { function_call, thought_signature: signature, ..WirePart::default() })
    }

    /// Adds a part to a whole answer; a part that continues the one before is joined with it.
    fn add(&mut self, part: WirePart) {
        let goes_on = self.parts.last_mut().filter(|last| {
            last.thought == part.thought && last.thought_signature.is_none() && part.text.is_some()
        });
        match goes_on.and_then(|last| Some((last.text.as_mut()?, &mut last.thought_signature))) {
            Some((text, signature)) => {
                text.push_str(part.text.as_deref().unwrap_or_default());
                *signature = part.thought_signature;
            }
            None => self.parts.push(part),
        }
    }

    fn end(&mut self, done: &Completion, out: &mut Vec<u8>) {
        let mut parts: Vec<WirePart> =
            self.finish_call(done.finish == Finish::Length).into_iter().collect();
        if self.form == Form::Whole {
            parts.into_iter().for_each(|part| self.add(part));
            parts = std::mem::take(&mut self.parts);
        }
        if parts.is_empty() {
            parts.push(WirePart::text(String::new()));
        }
        self.write(parts, Some(done), out);
        self.close(out);
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if self.form == Form::List {
            out.push(b']');
        }
        self.has_ended = true;
    }

    /// Writes one piece, or the whole answer.
    fn write(&mut self, parts: Vec<WirePart>, done: Option<&Completion>, out: &mut Vec<u8>) {
        self.begin_piece(out);
        let logprobs = std::mem::take(&mut self.logprobs);
        let response = Response {
            candidates: [Candidate {
                content: Content { parts, role: "model" },
                finish_reason: done.map(|done| reason(done.finish)),
                index: 0,
                logprobs_result: (!logprobs.is_empty()).then(|| steps(&logprobs)),
            }],
            usage_metadata: done.map(|done| Counts::of(&done.usage)),
            model_version: &self.model,
            response_id: &self.id,
        };
        json::write(out, &response);
        self.end_piece(out);
    }

    fn begin_piece(&mut self, out: &mut Vec<u8>) {
        let before: &[u8] = match self.form {
            Form::Whole => b"",
            Form::Events => b"data: ",
            Form::List if self.has_begun => b",\r\n",
            Form::List => b"[",
        };
        out.extend_from_slice(before);
        self.has_begun = true;
    }

    fn end_piece(&self, out: &mut Vec<u8>) {
        if self.form == Form::Events {
            out.extend_from_slice(&LINE_END.repeat(2));
        }
    }
}

impl Encoder for Answer {
    fn content_type(&self) -> &'static str {
        match self.form {
            Form::Whole | Form::List => "application/json",
            Form::Events => "text/event-stream",
        }
    }

    fn event(
        &mut self,
        event: ChatEvent,
        _at: Duration,
        out: &mut Vec<u8>,
    ) -> Result<(), GatewayError> {
        if self.has_ended {
            return Ok(());
        }
        if let ChatEvent::Done(done) = &event {
            self.end(done, out);
            return Ok(());
        }
        let parts = self.parts_of(event);
        match self.form {
            Form::Whole => parts.into_iter().for_each(|part| self.add(part)),
            Form::Events | Form::List if parts.is_empty() => {}
            Form::Events | Form::List => self.write(parts, None, out),
        }
        Ok(())
    }

    fn begun_by_another(&mut self) {
        self.has_begun = true;
    }

    fn failure(&mut self, error: &GatewayError, out: &mut Vec<u8>) {
        if self.has_ended {
            return;
        }
        if self.form != Form::Whole {
            self.begin_piece(out);
            json::write(out, &super::envelope(error));
            self.end_piece(out);
        }
        self.close(out);
    }
}

/// Google's finish reason; an answer that ends with calls has the usual one.
fn reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::ToolCalls | Finish::Paused | Finish::Load | Finish::Unload => "STOP",
        Finish::Length => "MAX_TOKENS",
        Finish::ContentFilter => "SAFETY",
    }
}

fn steps(tokens: &[TokenLogprob]) -> Value {
    let one = |token: &TokenLogprob| json!({"token": token.token, "logProbability": token.logprob});
    let top =
        |token: &TokenLogprob| json!({"candidates": token.top.iter().map(one).collect::<Vec<_>>()});
    json!({
        "chosenCandidates": tokens.iter().map(one).collect::<Vec<_>>(),
        "topCandidates": tokens.iter().map(top).collect::<Vec<_>>(),
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    candidates: [Candidate; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage_metadata: Option<Counts>,
    model_version: &'a str,
    response_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Candidate {
    content: Content,
    #[serde(skip_serializing_if = "Option::is_none")]
    finish_reason: Option<&'static str>,
    index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs_result: Option<Value>,
}

#[derive(Serialize)]
struct Content {
    parts: Vec<WirePart>,
    role: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Counts {
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_token_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    candidates_token_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thoughts_token_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cached_content_token_count: Option<u64>,
    total_token_count: u64,
}

impl Counts {
    /// Reasoning is counted separately from the rest of the answer here.
    fn of(usage: &Usage) -> Self {
        let thought = usage.reasoning.filter(|count| *count > 0);
        let rest = |all: u64| all.saturating_sub(thought.unwrap_or(0));
        Self {
            prompt_token_count: usage.prompt,
            candidates_token_count: usage.completion.map(rest),
            thoughts_token_count: thought,
            cached_content_token_count: usage.cached.filter(|count| *count > 0),
            total_token_count: usage.total(),
        }
    }
}
