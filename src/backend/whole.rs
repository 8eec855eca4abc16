//! Reading an answer that is one JSON document: the result of a request that is no chat.
//!
//! The one thing to know: nothing is said before the end, since half a document means nothing.

use serde::Deserialize;
use serde_json::Value;

use super::{DecodeError, Decoder, MAX_PIECE, Rejection};
use crate::chat::{ChatEvent, Completion, Finish, Usage, Whole};

/// What a document says.
pub(super) type Read = fn(&[u8]) -> Result<(Whole, Usage), DecodeError>;

/// What a document says that is an error; `None` when it says none.
pub(super) type Failed = fn(&Value) -> Option<Rejection>;

/// A decoder that gives `read` the whole body, and `failed` what is no result. Of `inputs` texts as many vectors are
/// wanted.
pub(super) fn whole(read: Read, failed: Failed, inputs: usize) -> Box<dyn Decoder> {
    Box::new(Document { body: Vec::new(), read, failed, inputs })
}

/// A decoder for what this API is never asked: it reads nothing and fails.
pub(super) fn nothing() -> Box<dyn Decoder> {
    whole(|_| Err(DecodeError::Malformed("nothing was asked".to_owned())), |_| None, 0)
}

/// Parses a document.
///
/// # Errors
///
/// [`DecodeError::Cut`] when it stops before its end, else [`DecodeError::Malformed`].
pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, DecodeError> {
    serde_json::from_slice(body).map_err(|error| match error.is_eof() {
        true => DecodeError::Cut,
        false => error.into(),
    })
}

struct Document {
    body: Vec<u8>,
    read: Read,
    failed: Failed,
    inputs: usize,
}

impl Document {
    /// The error that the document is instead of a result.
    fn error(&self) -> Option<DecodeError> {
        let body = serde_json::from_slice(&self.body).ok()?;
        (self.failed)(&body).map(DecodeError::Reported)
    }
}

impl Decoder for Document {
    fn feed(&mut self, bytes: &[u8], _events: &mut Vec<ChatEvent>) -> Result<(), DecodeError> {
        if self.body.len().saturating_add(bytes.len()) > MAX_PIECE {
            return Err(DecodeError::TooLarge);
        }
        self.body.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), DecodeError> {
        let (result, usage) = match (self.read)(&self.body) {
            Err(error @ DecodeError::Malformed(_)) => return Err(self.error().unwrap_or(error)),
            read => read?,
        };
        // Only what may be no result is looked at a second time.
        let error = match &result {
            Whole::Embeddings(vectors) if vectors.len() != self.inputs => {
                let (came, inputs) = (vectors.len(), self.inputs);
                let message = format!("{came} vectors for {inputs} texts");
                Some(self.error().unwrap_or(DecodeError::Malformed(message)))
            }
            Whole::Document(document) if document.contains_key("error") => self.error(),
            Whole::Tokens(0) => self.error(),
            Whole::Embeddings(_) | Whole::Document(_) | Whole::Tokens(_) => None,
        };
        if let Some(error) = error {
            return Err(error);
        }
        events.push(ChatEvent::Whole(result));
        let finish = Finish::Stop;
        events.push(ChatEvent::Done(Completion { finish, stop_sequence: None, usage }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::RejectionClass;

    fn read(body: &[u8]) -> Result<(Whole, Usage), DecodeError> {
        Ok((Whole::Embeddings(parse(body)?), Usage::default()))
    }

    fn decode(pieces: &[&[u8]], inputs: usize) -> (usize, Result<(), DecodeError>) {
        let failed = |body: &Value| {
            let message = body.get("error")?.as_str()?.to_owned();
            Some(Rejection { class: RejectionClass::Broken, message, retry_after: None })
        };
        let mut decoder = whole(read, failed, inputs);
        let mut events = Vec::new();
        for piece in pieces {
            decoder.feed(piece, &mut events).unwrap();
            assert!(events.is_empty());
        }
        let ended = decoder.finish(&mut events);
        (events.len(), ended)
    }

    #[test]
    fn a_document_is_read_at_its_end_however_it_was_cut() {
        assert_eq!(decode(&[b"[[1.0,", b"2.0]]"], 1), (2, Ok(())));
    }

    #[test]
    fn half_a_document_was_cut_off_and_another_number_of_vectors_is_nonsense() {
        assert_eq!(decode(&[b"[[1.0,"], 1), (0, Err(DecodeError::Cut)));
        assert_eq!(decode(&[], 1), (0, Err(DecodeError::Cut)));
        assert!(matches!(decode(&[b"[[1.0]]"], 2), (0, Err(DecodeError::Malformed(_)))));
        assert!(matches!(decode(&[b"<html>"], 1), (0, Err(DecodeError::Malformed(_)))));
    }

    #[test]
    fn a_document_that_is_an_error_is_a_failure_in_its_words() {
        let (_, ended) = decode(&[b"{\"error\": \"no\"}"], 1);
        assert!(matches!(ended, Err(DecodeError::Reported(told)) if told.message == "no"));
    }
}
