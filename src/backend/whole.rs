//! Reading an answer that is one JSON document: the result of a request that is no chat.
//!
//! The one thing to know: nothing is said before the end, since half a document means nothing.

use serde::Deserialize;

use super::{DecodeError, Decoder, MAX_PIECE};
use crate::chat::{ChatEvent, Completion, Finish, Usage, Whole};

/// What a document says.
pub(super) type Read = fn(&[u8]) -> Result<(Whole, Usage), DecodeError>;

/// A decoder that gives `read` the whole body. Of `inputs` texts as many vectors are wanted.
pub(super) fn whole(read: Read, inputs: usize) -> Box<dyn Decoder> {
    Box::new(Document { body: Vec::new(), read, inputs })
}

/// A decoder for what this API is never asked: it reads nothing and fails.
pub(super) fn nothing() -> Box<dyn Decoder> {
    whole(|_| Err(DecodeError::Malformed("nothing was asked".to_owned())), 0)
}

/// Parses a document.
///
/// # Errors
///
/// [`DecodeError::Cut`] when it stops before its end, else [`DecodeError::Malformed`].
pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, DecodeError> {
    serde_json::from_slice(body).map_err(|error| match error.is_eof() {
        true => DecodeError::Cut,
        false => DecodeError::Malformed(error.to_string()),
    })
}

struct Document {
    body: Vec<u8>,
    read: Read,
    inputs: usize,
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
        let (result, usage) = (self.read)(&self.body)?;
        if let Whole::Embeddings(vectors) = &result {
            let (came, inputs) = (vectors.len(), self.inputs);
            if came != inputs {
                let message = format!("{came} vectors for {inputs} texts");
                return Err(DecodeError::Malformed(message));
            }
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

    fn read(body: &[u8]) -> Result<(Whole, Usage), DecodeError> {
        Ok((Whole::Embeddings(parse(body)?), Usage::default()))
    }

    fn decode(pieces: &[&[u8]], inputs: usize) -> (usize, Result<(), DecodeError>) {
        let mut decoder = whole(read, inputs);
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
}
