//! Writing a message as server-sent events.
//!
//! Blocks follow one another: each is started, filled and stopped before the next, with indexes
//! from 0. It owns the open block and the events that wait until a call's arguments are complete.
//!
//! The one thing to know: `message_start` precedes everything, even a `ping`, so that clients that
//! follow the API strictly never read events out of order. The prompt's count is not known by then;
//! the true count comes with `message_delta`, which clients prefer to the first.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use super::message::{Block, Counts, Ending, Head, Message};
use crate::chat::{ChatEvent, Completion, GatewayError, ToolCallPiece, Usage};
use crate::dialect::{Encoder, Waiting, arguments};
use crate::wire::signature::REDACTED;
use crate::wire::sse;

/// Writes a message as a stream.
pub(super) struct Streamed {
    head: Head,
    has_begun: bool,
    has_ended: bool,
    /// Whether a tool was called.
    calls: bool,
    /// The index of the open block, or of the next.
    index: u32,
    open: Option<Open>,
    /// The events that arrived inside an incomplete call.
    waiting_events: Vec<ChatEvent>,
}

/// The open block.
enum Open {
    Text,
    Thinking { is_signed: bool },
    Call { index: u32, arguments: String },
}

impl Streamed {
    pub(super) fn new(head: Head) -> Self {
        Self {
            head,
            has_begun: false,
            has_ended: false,
            calls: false,
            index: 0,
            open: None,
            waiting_events: Vec::new(),
        }
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if !self.has_begun {
            self.has_begun = true;
            let usage = Counts::of_message(&Usage::default());
            let message = self.head.message(&[], Ending::default(), usage);
            Event::MessageStart { message }.write(out);
        }
    }

    fn write_event(&mut self, event: ChatEvent, out: &mut Vec<u8>) {
        match event {
            ChatEvent::Text(_) | ChatEvent::Reasoning(_) | ChatEvent::Signature(_)
                if self.is_call_growing() =>
            {
                self.waiting_events.push(event);
            }
            ChatEvent::Text(text) => self.text(text, out),
            ChatEvent::Reasoning(text) if self.head.shows_thinking => self.think(text, out),
            ChatEvent::Signature(signature) if self.head.wants_thinking => {
                self.sign(signature, out)
            }
            ChatEvent::Reasoning(_)
            | ChatEvent::Signature(_)
            | ChatEvent::Logprobs(_)
            | ChatEvent::Whole(_)
            | ChatEvent::Carried(_) => {}
            ChatEvent::ToolCall(piece) => self.call(piece, out),
            ChatEvent::Done(done) => self.end(&done, out),
        }
    }

    fn is_call_growing(&self) -> bool {
        match &self.open {
            Some(Open::Call { arguments, .. }) => !arguments::is_complete(arguments),
            Some(Open::Text | Open::Thinking { .. }) | None => false,
        }
    }

    fn text(&mut self, text: String, out: &mut Vec<u8>) {
        self.close_call(out);
        if !matches!(self.open, Some(Open::Text)) {
            self.announce(Open::Text, Block::Text { text: String::new() }, out);
        }
        self.fill(Delta::Text { text }, out);
    }

    fn think(&mut self, thinking: String, out: &mut Vec<u8>) {
        self.close_call(out);
        // Signed thinking is complete; more thinking is a new block.
        if !matches!(self.open, Some(Open::Thinking { is_signed: false })) {
            self.announce_thinking(out);
        }
        self.fill(Delta::Thinking { thinking }, out);
    }

    fn sign(&mut self, signature: String, out: &mut Vec<u8>) {
        self.close_call(out);
        if let Some(data) = signature.strip_prefix(REDACTED) {
            let block = Block::RedactedThinking { data: data.to_owned() };
            self.announce(Open::Thinking { is_signed: true }, block, out);
            return;
        }
        if !matches!(self.open, Some(Open::Thinking { is_signed: false })) {
            self.announce_thinking(out);
        }
        self.open = Some(Open::Thinking { is_signed: true });
        self.fill(Delta::Signature { signature }, out);
    }

    fn announce_thinking(&mut self, out: &mut Vec<u8>) {
        let empty = Block::Thinking { thinking: String::new(), signature: String::new() };
        self.announce(Open::Thinking { is_signed: false }, empty, out);
    }

    fn call(&mut self, piece: ToolCallPiece, out: &mut Vec<u8>) {
        let ToolCallPiece { index, id, name, arguments: more } = piece;
        match &mut self.open {
            Some(Open::Call { index: open, arguments }) if *open == index => {
                arguments.push_str(&more);
            }
            Some(Open::Text | Open::Thinking { .. } | Open::Call { .. }) | None => {
                // A piece without a name belongs to a call that was complete: at most white space.
                let Some(name) = name else { return };
                self.calls = true;
                let id = id.unwrap_or_else(|| self.head.call_id(index));
                let block = Block::ToolUse { id, name, input: Map::new() };
                self.announce(Open::Call { index, arguments: more.clone() }, block, out);
            }
        }
        if !more.is_empty() {
            self.fill(Delta::InputJson { partial_json: more }, out);
        }
    }

    /// Stops the open block, writes the events that waited for it, and starts another.
    fn announce(&mut self, open: Open, content_block: Block, out: &mut Vec<u8>) {
        self.close(out);
        self.open = Some(open);
        Event::ContentBlockStart { index: self.index, content_block }.write(out);
    }

    fn fill(&self, delta: Delta, out: &mut Vec<u8>) {
        Event::ContentBlockDelta { index: self.index, delta }.write(out);
    }

    /// Stops a call, so that the events that waited for it precede what follows.
    fn close_call(&mut self, out: &mut Vec<u8>) {
        if matches!(self.open, Some(Open::Call { .. })) {
            self.close_one(out);
        }
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        while self.open.is_some() {
            self.close_one(out);
        }
    }

    /// Stops the open block; the events that waited for it may open another.
    fn close_one(&mut self, out: &mut Vec<u8>) {
        self.open = None;
        Event::ContentBlockStop { index: self.index }.write(out);
        self.index = self.index.saturating_add(1);
        for event in std::mem::take(&mut self.waiting_events) {
            self.write_event(event, out);
        }
    }

    fn end(&mut self, done: &Completion, out: &mut Vec<u8>) {
        self.close(out);
        let delta = Ending::new(done, self.calls);
        Event::MessageDelta { delta, usage: Counts::of_end(&done.usage) }.write(out);
        Event::MessageStop {}.write(out);
        self.has_ended = true;
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
        if !self.has_ended {
            self.begin(out);
            self.write_event(event, out);
        }
        Ok(())
    }

    fn failure(&mut self, error: &GatewayError, out: &mut Vec<u8>) {
        if !self.has_ended {
            self.has_ended = true;
            Event::Error { error: super::detail(error) }.write(out);
        }
    }

    fn heartbeat(&mut self, waiting: Option<Waiting>, out: &mut Vec<u8>) {
        if !self.has_ended {
            self.begin(out);
            if waiting.is_some() {
                crate::dialect::comment(waiting, out);
            }
            Event::Ping {}.write(out);
        }
    }

    fn has_begun(&self) -> bool {
        self.has_begun
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event<'a> {
    MessageStart { message: Message<'a> },
    ContentBlockStart { index: u32, content_block: Block },
    ContentBlockDelta { index: u32, delta: Delta },
    ContentBlockStop { index: u32 },
    MessageDelta { delta: Ending<'a>, usage: Counts },
    MessageStop {},
    Ping {},
    Error { error: Value },
}

impl Event<'_> {
    /// Writes the event with its name: clients ignore events without one.
    fn write(&self, out: &mut Vec<u8>) {
        let name = match self {
            Self::MessageStart { .. } => "message_start",
            Self::ContentBlockStart { .. } => "content_block_start",
            Self::ContentBlockDelta { .. } => "content_block_delta",
            Self::ContentBlockStop { .. } => "content_block_stop",
            Self::MessageDelta { .. } => "message_delta",
            Self::MessageStop {} => "message_stop",
            Self::Ping {} => "ping",
            Self::Error { .. } => "error",
        };
        sse::write(name, self, out);
    }
}

#[derive(Serialize)]
#[serde(tag = "type")]
enum Delta {
    #[serde(rename = "text_delta")]
    Text { text: String },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: String },
    #[serde(rename = "signature_delta")]
    Signature { signature: String },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: String },
}
