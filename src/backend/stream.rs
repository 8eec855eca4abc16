//! What the event-streaming backends share: telling a stream of events from one document, and the end from a cut.
//!
//! It owns the framing of an answer; a [`Reader`] owns what the pieces mean. Providers are always asked for a
//! stream, yet some answer with one JSON document all the same, so the first byte that is no white space
//! decides: `{`, `[` and `<` begin a document, anything else a stream.
//!
//! The one thing to know: a last event that nobody ended and that does not parse is a cut, not nonsense.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{DecodeError, Decoder, MAX_PIECE};
use crate::chat::ChatEvent;
use crate::wire::sse::{Events, Unsplit};

/// What the pieces of one API's answers mean.
pub(super) trait Reader: Send {
    /// Takes one event's name and data, or a document without a name.
    fn piece(
        &mut self,
        name: &[u8],
        data: &[u8],
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), DecodeError>;

    /// Whether [`ChatEvent::Done`] was given; nothing is read afterwards.
    fn is_done(&self) -> bool;

    /// Says that nothing more comes.
    fn end(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), DecodeError>;
}

/// Reads an answer that is a stream of events, or one document.
pub(super) struct EventDecoder<R> {
    shape: Shape,
    reader: R,
}

enum Shape {
    Unknown,
    Events(Events),
    Document(Vec<u8>),
}

impl<R: Reader> EventDecoder<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { shape: Shape::Unknown, reader }
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
        let reader = &mut self.reader;
        match &mut self.shape {
            Shape::Unknown => Ok(()),
            Shape::Events(framing) => framing.feed(bytes, |event| {
                if reader.is_done() {
                    return Ok(());
                }
                reader.piece(event.name, event.data, events)
            }),
            Shape::Document(document) => {
                if document.len().saturating_add(bytes.len()) > MAX_PIECE {
                    return Err(DecodeError::TooLarge);
                }
                document.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    fn finish(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), DecodeError> {
        if self.reader.is_done() {
            return Ok(());
        }
        let reader = &mut self.reader;
        match &mut self.shape {
            Shape::Unknown => {}
            Shape::Events(framing) => {
                let last = framing.finish(|event| reader.piece(event.name, event.data, events));
                last.map_err(|error| match error {
                    DecodeError::Malformed(_) => DecodeError::Cut,
                    other => other,
                })?;
            }
            Shape::Document(document) => reader.piece(b"", document, events)?,
        }
        if reader.is_done() { Ok(()) } else { reader.end(events) }
    }
}

impl From<Unsplit> for DecodeError {
    fn from(unsplit: Unsplit) -> Self {
        match unsplit {
            Unsplit::TooLarge { .. } => Self::TooLarge,
            Unsplit::NotText => Self::Malformed(unsplit.to_string()),
        }
    }
}

/// Reads one piece. A document that merely stops is a cut.
pub(super) fn parse<T: DeserializeOwned>(data: &[u8]) -> Result<T, DecodeError> {
    serde_json::from_slice(data).map_err(|error| {
        if error.is_eof() { DecodeError::Cut } else { DecodeError::Malformed(error.to_string()) }
    })
}

/// Reads a count however it is written; what is no count is unknown.
pub(super) fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    // A float's decimal digits are parsed rather than cast, so that no number is bent to fit.
    Ok(match &value {
        Value::Number(number) => number
            .as_u64()
            .or_else(|| number.to_string().strip_suffix(".0").and_then(|text| text.parse().ok())),
        Value::String(text) => text.parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    })
}

/// Reads a text; anything else is none.
pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) if !text.is_empty() => Some(text),
        _ => None,
    })
}
