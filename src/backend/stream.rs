//! Reads answers in server-sent events: distinguishes a stream from one document, and an end from a
//! cut.
//!
//! It owns the framing of an answer; a [`Reader`] owns the meaning of the pieces. The gateway
//! always asks for a stream, but some providers answer with one JSON document, so the first byte
//! that is not white space decides: `{`, `[` and `<` begin a document, any other byte a stream.
//!
//! The one thing to know: a last event without its blank line that does not parse was cut; it is
//! not malformed.

use serde_json::Value;

use super::document::{append, parse};
use super::{DecodeError, Decoder, MAX_PIECE, Rejection, RejectionClass, shorten};
use crate::chat::ChatEvent;
use crate::wire::sse::{Events, SplitError};

/// The message for a provider that reports a failure without a reason.
pub(super) const NO_REASON: &str = "the provider named no reason";

/// Reads the pieces of one API's answers.
pub(super) trait Reader: Send {
    /// Reads one event with its name and data, or a document without a name.
    fn piece(
        &mut self,
        name: &[u8],
        data: &[u8],
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), DecodeError>;

    /// Whether [`ChatEvent::Done`] was given; nothing is read afterwards.
    fn is_done(&self) -> bool;

    /// The failure in a document that is not a piece of an answer; `None` if it holds none.
    fn failure_in(&self, body: &Value) -> Option<DecodeError>;

    /// Ends the answer: nothing more comes.
    fn end(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), DecodeError>;
}

/// Reads an answer that is a stream of events, or one document.
pub(super) struct EventDecoder<R> {
    shape: Shape,
    reader: R,
    /// Whether a piece of valid JSON in an unknown shape is skipped: the client of a carried answer
    /// reads it itself.
    is_lenient: bool,
}

enum Shape {
    Unknown,
    Events(Events),
    Document(Vec<u8>),
}

impl<R: Reader> EventDecoder<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { shape: Shape::Unknown, reader, is_lenient: false }
    }

    /// A decoder that only watches an answer.
    pub(super) fn lenient(reader: R) -> Self {
        Self { is_lenient: true, ..Self::new(reader) }
    }
}

impl<R: Reader> Decoder for EventDecoder<R> {
    fn feed(&mut self, mut bytes: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), DecodeError> {
        if matches!(self.shape, Shape::Unknown) {
            bytes = bytes.trim_ascii_start();
            match bytes.first() {
                None => return Ok(()),
                Some(b'{' | b'[' | b'<') => self.shape = Shape::Document(Vec::new()),
                Some(_) => self.shape = Shape::Events(Events::new(MAX_PIECE)),
            }
        }
        let (reader, is_lenient) = (&mut self.reader, self.is_lenient);
        match &mut self.shape {
            Shape::Unknown => Ok(()),
            Shape::Events(framing) => framing.feed(bytes, |event| {
                if reader.is_done() {
                    return Ok(());
                }
                read(reader, is_lenient, event.name, event.data, events)
            }),
            Shape::Document(document) => append(document, bytes),
        }
    }

    fn finish(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), DecodeError> {
        if self.reader.is_done() {
            return Ok(());
        }
        let (reader, is_lenient) = (&mut self.reader, self.is_lenient);
        match &mut self.shape {
            Shape::Unknown => {}
            Shape::Events(framing) => {
                let last = framing
                    .finish(|event| read(reader, is_lenient, event.name, event.data, events));
                last.map_err(|error| match error {
                    DecodeError::Malformed(_) => DecodeError::Cut,
                    other => other,
                })?;
            }
            Shape::Document(document) => read(reader, is_lenient, b"", document, events)?,
        }
        if reader.is_done() { Ok(()) } else { reader.end(events) }
    }
}

/// Has `reader` read a piece, and looks for a failure in a piece that it cannot read.
fn read(
    reader: &mut impl Reader,
    is_lenient: bool,
    name: &[u8],
    data: &[u8],
    events: &mut Vec<ChatEvent>,
) -> Result<(), DecodeError> {
    if name == b"error" {
        return Err(named_error(reader, data));
    }
    reader.piece(name, data, events).or_else(|error| match error {
        DecodeError::Malformed(_) => {
            let said: Option<Value> = serde_json::from_slice(data).ok();
            let is_json = said.is_some() || data.trim_ascii() == b"[DONE]";
            match said.and_then(|body| reader.failure_in(&body)) {
                Some(failed) => Err(failed),
                None if is_lenient && is_json => Ok(()),
                None => Err(error),
            }
        }
        other => Err(other),
    })
}

/// The failure in an event named `error`, with or without JSON.
fn named_error(reader: &impl Reader, data: &[u8]) -> DecodeError {
    let plain = |words: &str| {
        let words = shorten(words);
        let message = if words.is_empty() { NO_REASON.to_owned() } else { words };
        let class = RejectionClass::Broken;
        DecodeError::Reported(Rejection { class, message, retry_after: None })
    };
    match parse::<Value>(data) {
        Ok(body) => reader.failure_in(&body).unwrap_or_else(|| plain("")),
        Err(DecodeError::Cut) if !data.trim_ascii().is_empty() => DecodeError::Cut,
        Err(_) => plain(&String::from_utf8_lossy(data)),
    }
}

impl From<SplitError> for DecodeError {
    fn from(error: SplitError) -> Self {
        match error {
            SplitError::TooLarge { .. } => Self::TooLarge,
            SplitError::NotText => Self::Malformed(error.to_string()),
        }
    }
}
