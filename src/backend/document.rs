//! Reads an answer that is one JSON document: the result of a request that is not a chat.
//!
//! It collects the bytes, up to [`MAX_PIECE`], and parses them.
//!
//! The one thing to know: no event is given before the end, since half a document means nothing.

use serde::Deserialize;
use serde_json::Value;

use super::{DecodeError, Decoder, MAX_PIECE, Rejection};
use crate::chat::{ChatEvent, Completion, Finish, Usage, Whole};

/// Reads the result in a document.
pub(super) type ReadResult = fn(&[u8]) -> Result<(Whole, Usage), DecodeError>;

/// Reads the error in a document; `None` when there is none.
pub(super) type ReadError = fn(&Value) -> Option<Rejection>;

/// A decoder that collects the whole body and gives it to `read` at the end.
pub(super) fn read_at_end<F>(read: F) -> Box<dyn Decoder>
where
    F: FnMut(&[u8], &mut Vec<ChatEvent>) -> Result<(), DecodeError> + Send + 'static,
{
    Box::new(Document { body: Vec::new(), read })
}

/// A decoder that gives the whole body to `read`, and to `failed` if it holds no result. `inputs`
/// is the number of texts whose embeddings were requested.
pub(super) fn read_result(read: ReadResult, failed: ReadError, inputs: usize) -> Box<dyn Decoder> {
    read_at_end(move |body, events| {
        let (result, usage) = result(body, read, failed, inputs)?;
        events.push(ChatEvent::Whole(result));
        let finish = Finish::Stop;
        events.push(ChatEvent::Done(Completion { finish, stop_sequence: None, usage }));
        Ok(())
    })
}

/// A decoder for a request that this API is never sent: it fails at the end.
pub(super) fn unexpected() -> Box<dyn Decoder> {
    read_at_end(|_, _| {
        Err(DecodeError::Malformed("the API has no answer to this request".to_owned()))
    })
}

/// Appends what arrived to a document.
///
/// # Errors
///
/// [`DecodeError::TooLarge`] when it would exceed [`MAX_PIECE`].
pub(super) fn append(document: &mut Vec<u8>, bytes: &[u8]) -> Result<(), DecodeError> {
    if document.len().saturating_add(bytes.len()) > MAX_PIECE {
        return Err(DecodeError::TooLarge);
    }
    document.extend_from_slice(bytes);
    Ok(())
}

/// Parses a document, or one piece of a stream.
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

/// The error for a document whose number of vectors differs from the number of texts.
pub(super) fn wrong_count(vectors: usize, texts: usize) -> DecodeError {
    DecodeError::Malformed(format!("{vectors} vectors for {texts} texts"))
}

struct Document<F> {
    body: Vec<u8>,
    read: F,
}

impl<F> Decoder for Document<F>
where
    F: FnMut(&[u8], &mut Vec<ChatEvent>) -> Result<(), DecodeError> + Send,
{
    fn feed(&mut self, bytes: &[u8], _events: &mut Vec<ChatEvent>) -> Result<(), DecodeError> {
        append(&mut self.body, bytes)
    }

    fn finish(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), DecodeError> {
        (self.read)(&self.body, events)
    }
}

/// The result in a document, unless it is an error instead.
fn result(
    body: &[u8],
    read: ReadResult,
    failed: ReadError,
    inputs: usize,
) -> Result<(Whole, Usage), DecodeError> {
    let error = || failed(&serde_json::from_slice(body).ok()?).map(DecodeError::Reported);
    let (result, usage) = match read(body) {
        Err(malformed @ DecodeError::Malformed(_)) => return Err(error().unwrap_or(malformed)),
        read => read?,
    };
    // Only a document that may hold no result is parsed a second time.
    let error = match &result {
        Whole::Embeddings(vectors) if vectors.len() != inputs => {
            Some(error().unwrap_or_else(|| wrong_count(vectors.len(), inputs)))
        }
        Whole::Document(document) if document.contains_key("error") => error(),
        Whole::Tokens(0) => error(),
        Whole::Embeddings(_) | Whole::Document(_) | Whole::Tokens(_) => None,
    };
    match error {
        Some(error) => Err(error),
        None => Ok((result, usage)),
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
        let mut decoder = read_result(read, failed, inputs);
        let mut events = Vec::new();
        for piece in pieces {
            decoder.feed(piece, &mut events).unwrap();
            assert!(events.is_empty());
        }
        let ended = decoder.finish(&mut events);
        (events.len(), ended)
    }

    #[test]
    fn a_document_is_read_at_its_end_wherever_it_was_cut() {
        assert_eq!(decode(&[b"[[1.0,", b"2.0]]"], 1), (2, Ok(())));
    }

    #[test]
    fn half_a_document_is_cut_and_a_wrong_number_of_vectors_is_malformed() {
        assert_eq!(decode(&[b"[[1.0,"], 1), (0, Err(DecodeError::Cut)));
        assert_eq!(decode(&[], 1), (0, Err(DecodeError::Cut)));
        assert!(matches!(decode(&[b"[[1.0]]"], 2), (0, Err(DecodeError::Malformed(_)))));
        assert!(matches!(decode(&[b"<html>"], 1), (0, Err(DecodeError::Malformed(_)))));
    }

    #[test]
    fn a_document_that_is_an_error_is_a_failure_with_its_message() {
        let (_, ended) = decode(&[b"{\"error\": \"no\"}"], 1);
        assert!(matches!(ended, Err(DecodeError::Reported(told)) if told.message == "no"));
    }
}
