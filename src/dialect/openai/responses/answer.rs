//! Writing a response, streamed or whole.
//!
//! It owns the sequence of events: every item is added, grows and is done, every event has its
//! number, and the last one has the whole response. A whole answer takes the same steps and writes
//! only that response, so the two cannot differ.
//!
//! The one thing to know: there is no `[DONE]`. `response.completed`, `.incomplete` or `.failed` is
//! the end.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::call::Call;
use super::memory::PREVIOUS;
use super::object::{Counts, Response};
use super::output::{Item, Kind, Status};
use super::sealed::Signature;
use crate::chat::{
    CallForm, ChatEvent, ChatRequest, Completion, ErrorKind, Finish, GatewayError, TokenLogprob,
    ToolCallPiece,
};
use crate::dialect::openai::message;
use crate::dialect::{AnswerHead, Encoder, Turn, Waiting, comment};
use crate::wire::fields::Object;
use crate::wire::{json, sse};

/// Writes one response.
pub(super) struct Answer {
    response: Response,
    with_logprobs: bool,
    with_signatures: bool,
    forms: Vec<(String, CallForm)>,
    /// The input, if the answer may be stored.
    input: Option<Vec<Value>>,
    /// The whole response, if it will be stored.
    whole: Option<Object>,
    events: Events,
    items: Vec<Item>,
    /// The position of the open message or reasoning.
    text: Option<usize>,
    /// The position of the open call, and its index among the calls.
    call: Option<(usize, u32)>,
}

impl Answer {
    pub(super) fn new(request: &ChatRequest, head: &AnswerHead) -> Self {
        Self {
            response: Response::new(request, head),
            with_logprobs: request.logprobs.is_some(),
            with_signatures: request.shape.with_signatures,
            forms: request.shape.forms.clone(),
            input: request.shape.input.clone(),
            whole: None,
            events: Events { streamed: request.stream, next: 0 },
            items: Vec::new(),
            text: None,
            call: None,
        }
    }

    /// Writes the two events that come first.
    fn begin(&mut self, out: &mut Vec<u8>) {
        if self.events.streamed && self.events.next == 0 {
            let payload = json!({"response": self.response.object(Status::InProgress, &[])});
            self.events.emit("response.created", &payload, out);
            self.events.emit("response.in_progress", &payload, out);
        }
    }

    fn add_text(&mut self, more: &str, thinking: bool, out: &mut Vec<u8>) {
        self.begin(out);
        let position = self.open_text(thinking, out);
        let Some(item) = self.items.get_mut(position) else { return };
        match &mut item.kind {
            Kind::Message { text, .. } => {
                text.push_str(more);
                let delta = TextDelta {
                    item_id: &item.id,
                    output_index: position,
                    content_index: 0,
                    delta: more,
                    logprobs: [],
                };
                self.events.emit("response.output_text.delta", delta, out);
            }
            Kind::Reasoning { text, .. } => {
                if text.is_empty() {
                    let added =
                        json!({"summary_index": 0, "part": {"type": "summary_text", "text": ""}});
                    let event = "response.reasoning_summary_part.added";
                    self.events.emit_of(position, item, event, added, out);
                }
                let Kind::Reasoning { text, .. } = &mut item.kind else { return };
                text.push_str(more);
                let delta = json!({"summary_index": 0, "delta": more});
                let event = "response.reasoning_summary_text.delta";
                self.events.emit_of(position, item, event, delta, out);
            }
            Kind::Call(_) => {}
        }
    }

    /// Adds them to the text before them. A stream writes them when the text is done.
    fn add_logprobs(&mut self, tokens: Vec<TokenLogprob>) {
        let open = self.text.and_then(|position| self.items.get_mut(position));
        if let Some(Item { kind: Kind::Message { logprobs, .. }, .. }) = open {
            logprobs.extend(tokens);
        }
    }

    /// A signature may come without visible reasoning.
    fn add_signature(&mut self, signature: String, out: &mut Vec<u8>) {
        self.begin(out);
        let position = self.open_text(true, out);
        if let Some(Item { kind: Kind::Reasoning { text, signatures }, .. }) =
            self.items.get_mut(position)
        {
            signatures.push(Signature { until: text.len(), signature });
        }
    }

    /// The position of the open message or reasoning; opens a new one if the other kind, or none,
    /// is open.
    fn open_text(&mut self, thinking: bool, out: &mut Vec<u8>) -> usize {
        if let Some(position) = self.text
            && let Some(item) = self.items.get(position)
            && matches!(item.kind, Kind::Reasoning { .. }) == thinking
        {
            return position;
        }
        self.close_text(Status::Completed, out);
        let (prefix, kind) = if thinking {
            ("rs", Kind::Reasoning { text: String::new(), signatures: Vec::new() })
        } else {
            ("msg", Kind::Message { text: String::new(), logprobs: Vec::new() })
        };
        let position = self.add(prefix, kind, out);
        self.text = Some(position);
        // Reasoning gets a part with its first text, a message at once.
        if let Some(item) = self.items.get(position).filter(|_| !thinking) {
            let added = json!({"content_index": 0, "part": item.part()});
            self.events.emit_of(position, item, "response.content_part.added", added, out);
        }
        position
    }

    fn add_call(&mut self, piece: ToolCallPiece, out: &mut Vec<u8>) {
        self.begin(out);
        let position = match self.call {
            Some((position, index)) if index == piece.index => position,
            _ => {
                self.close_text(Status::Completed, out);
                self.close_call(Status::Completed, out);
                let id = piece.id.unwrap_or_default();
                let call = Call::new(id, piece.name.unwrap_or_default(), &self.forms);
                let position = self.add(call.prefix(), Kind::Call(call), out);
                self.call = Some((position, piece.index));
                position
            }
        };
        let Some(item) = self.items.get_mut(position) else { return };
        if let Kind::Call(call) = &mut item.kind
            && let Some((event, delta)) = call.add(&piece.arguments)
        {
            self.events.emit_of(position, item, event, delta, out);
        }
    }

    /// Adds an item, writes its event and returns its position.
    fn add(&mut self, prefix: &str, kind: Kind, out: &mut Vec<u8>) -> usize {
        let position = self.items.len();
        let id = format!("{prefix}_{}{position}", self.response.id);
        let item = Item { id, status: Status::InProgress, kind };
        let added = json!({"output_index": position, "item": item.value()});
        self.items.push(item);
        self.events.emit("response.output_item.added", added, out);
        position
    }

    fn close_text(&mut self, status: Status, out: &mut Vec<u8>) {
        let Some(position) = self.text.take() else { return };
        let Some(item) = self.items.get_mut(position) else { return };
        item.status = status;
        let part = item.part();
        let (text_done, text, part_done, part) = match &item.kind {
            Kind::Message { text, .. } => (
                "response.output_text.done",
                json!({"content_index": 0, "text": text, "logprobs": item.logprobs()}),
                "response.content_part.done",
                json!({"content_index": 0, "part": part}),
            ),
            Kind::Reasoning { text, .. } if text.is_empty() => {
                return self.close(position, out);
            }
            Kind::Reasoning { text, .. } => (
                "response.reasoning_summary_text.done",
                json!({"summary_index": 0, "text": text}),
                "response.reasoning_summary_part.done",
                json!({"summary_index": 0, "part": part}),
            ),
            Kind::Call(_) => return,
        };
        self.events.emit_of(position, item, text_done, text, out);
        self.events.emit_of(position, item, part_done, part, out);
        self.close(position, out);
    }

    fn close_call(&mut self, status: Status, out: &mut Vec<u8>) {
        let Some((position, _)) = self.call.take() else { return };
        let Some(item) = self.items.get_mut(position) else { return };
        item.status = status;
        if let Kind::Call(call) = &mut item.kind {
            for (event, more) in call.end() {
                self.events.emit_of(position, item, event, more, out);
            }
        }
        self.close(position, out);
    }

    fn close(&mut self, position: usize, out: &mut Vec<u8>) {
        let Some(item) = self.items.get(position) else { return };
        let done = json!({"output_index": position, "item": item.value()});
        self.events.emit("response.output_item.done", done, out);
    }

    fn end(&mut self, completion: &Completion, out: &mut Vec<u8>) {
        self.begin(out);
        let (status, event, reason) = match completion.finish {
            Finish::Stop | Finish::ToolCalls | Finish::Paused | Finish::Load | Finish::Unload => {
                (Status::Completed, "response.completed", None)
            }
            Finish::Length => {
                (Status::Incomplete, "response.incomplete", Some("max_output_tokens"))
            }
            Finish::ContentFilter => {
                (Status::Incomplete, "response.incomplete", Some("content_filter"))
            }
        };
        if self.items.is_empty() {
            // Clients look for a message, even an empty one.
            self.open_text(false, out);
        }
        self.close_text(status, out);
        self.close_call(status, out);
        let mut response = self.response.object(status, &self.items);
        response.insert("usage".to_owned(), json!(Counts::from(&completion.usage)));
        if let Some(reason) = reason {
            response.insert("incomplete_details".to_owned(), json!({"reason": reason}));
        }
        if self.events.streamed {
            self.events.emit(event, json!({"response": response}), out);
        } else {
            json::write(out, &response);
        }
        self.whole = self.input.is_some().then_some(response);
    }
}

impl Encoder for Answer {
    fn content_type(&self) -> &'static str {
        if self.events.streamed { "text/event-stream" } else { "application/json" }
    }

    fn event(
        &mut self,
        event: ChatEvent,
        _at: Duration,
        out: &mut Vec<u8>,
    ) -> Result<(), GatewayError> {
        match event {
            ChatEvent::Text(text) => self.add_text(&text, false, out),
            ChatEvent::Reasoning(text) => self.add_text(&text, true, out),
            ChatEvent::ToolCall(piece) => self.add_call(piece, out),
            ChatEvent::Logprobs(tokens) if self.with_logprobs => self.add_logprobs(tokens),
            ChatEvent::Done(completion) => self.end(&completion, out),
            ChatEvent::Signature(signature) if self.with_signatures => {
                self.add_signature(signature, out)
            }
            ChatEvent::Logprobs(_)
            | ChatEvent::Signature(_)
            | ChatEvent::Whole(_)
            | ChatEvent::Carried(_) => {}
        }
        Ok(())
    }

    fn failure(&mut self, error: &GatewayError, out: &mut Vec<u8>) {
        self.begin(out);
        for item in &mut self.items {
            if item.status == Status::InProgress {
                item.status = Status::Incomplete;
            }
        }
        let mut response = self.response.object(Status::Failed, &self.items);
        let error_object = json!({"code": failure_code(error.kind), "message": message(error)});
        response.insert("error".to_owned(), error_object);
        self.events.emit("response.failed", json!({"response": response}), out);
    }

    /// Clients that time out on a silent stream count only events, so there is one in addition to
    /// the comment: it repeats that the response is in progress.
    fn heartbeat(&mut self, waiting: Option<Waiting>, out: &mut Vec<u8>) {
        if !self.events.streamed {
            return;
        }
        comment(waiting, out);
        if self.events.next == 0 {
            return self.begin(out);
        }
        let payload = json!({"response": self.response.object(Status::InProgress, &self.items)});
        self.events.emit("response.in_progress", payload, out);
    }

    fn has_begun(&self) -> bool {
        self.events.next > 0
    }

    fn take_turn(&mut self) -> Option<(String, Turn)> {
        let (response, input) = (self.whole.take()?, self.input.take()?);
        let text = |key: &str| Some(response.get(key)?.as_str()?.to_owned());
        let (id, previous) = (text("id")?, text(PREVIOUS));
        Some((id, Turn { response, input, previous }))
    }
}

/// The API has a closed list of codes for failed responses, unlike for errors.
fn failure_code(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::RateLimited | ErrorKind::QuotaExhausted => "rate_limit_exceeded",
        ErrorKind::InvalidRequest | ErrorKind::SchemaMismatch | ErrorKind::ContextTooLong => {
            "invalid_prompt"
        }
        ErrorKind::InvalidApiKey
        | ErrorKind::NotAllowed
        | ErrorKind::ModelNotFound
        | ErrorKind::NotFound
        | ErrorKind::MethodNotAllowed
        | ErrorKind::BodyTooLarge
        | ErrorKind::BodyTimeout
        | ErrorKind::UnsupportedMediaType
        | ErrorKind::UpgradeRequired
        | ErrorKind::NotImplemented
        | ErrorKind::BadUpstream
        | ErrorKind::Overloaded
        | ErrorKind::ProviderUnavailable
        | ErrorKind::Draining
        | ErrorKind::NoProviderForPolicy
        | ErrorKind::Timeout
        | ErrorKind::Internal => "server_error",
    }
}

/// Numbers and writes events; writes none of a whole answer.
struct Events {
    streamed: bool,
    next: u64,
}

impl Events {
    fn emit(&mut self, event: &'static str, payload: impl Serialize, out: &mut Vec<u8>) {
        if !self.streamed {
            return;
        }
        sse::write(event, &Event { kind: event, payload, sequence_number: self.next }, out);
        self.next += 1;
    }

    /// Writes an event about the item at `position`.
    fn emit_of(
        &mut self,
        position: usize,
        item: &Item,
        event: &'static str,
        more: Value,
        out: &mut Vec<u8>,
    ) {
        let mut payload = json!({"item_id": item.id, "output_index": position});
        if let (Value::Object(payload), Value::Object(more)) = (&mut payload, more) {
            payload.extend(more);
        }
        self.emit(event, payload, out);
    }
}

#[derive(Serialize)]
struct Event<P: Serialize> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    payload: P,
    sequence_number: u64,
}

/// The most frequent event.
#[derive(Serialize)]
struct TextDelta<'a> {
    item_id: &'a str,
    output_index: usize,
    content_index: u32,
    delta: &'a str,
    logprobs: [Value; 0],
}
