//! The stored form of an answer: bytes that hold its events as they came.
//!
//! It owns the format of those bytes, the same in memory and in Redis. It does not write answers
//! that are never cached (documents, estimates), and reads only complete answers.
//!
//! The one thing to know: events are stored as bytes because a token of four letters takes six of
//! them, and more than a hundred as a value. Other facts about an answer, such as who gave it, are
//! part of its key.

use bytes::Bytes;

use crate::chat::{ChatEvent, Whole};

/// A complete answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The requested features that the provider does not support.
    pub dropped: Vec<String>,
    events: Bytes,
}

/// The events of an entry, in order; the last one is the end.
#[derive(Debug)]
pub struct Events(Bytes);

/// Writes an answer of these events and a last one; `None` when it cannot be stored, or takes more
/// than `most` bytes.
#[must_use]
pub fn write<'a>(
    dropped: &[String],
    events: impl Iterator<Item = &'a ChatEvent>,
    last: &ChatEvent,
    most: usize,
) -> Option<Bytes> {
    let mut out = postcard::to_extend(dropped, Vec::new()).ok()?;
    for event in events {
        out = write_event(event, out)?;
        if out.len() > most {
            return None;
        }
    }
    let out = write_event(last, out)?;
    (out.len() <= most).then(|| Bytes::from(out))
}

impl Entry {
    /// Reads what [`write()`] wrote in this process.
    #[must_use]
    pub fn read(bytes: &Bytes) -> Option<Self> {
        let (dropped, rest) = postcard::take_from_bytes(bytes).ok()?;
        Some(Self { dropped, events: bytes.slice_ref(rest) })
    }

    /// Reads bytes from another process; `None` unless every event is there.
    #[must_use]
    pub fn read_foreign(bytes: &Bytes) -> Option<Self> {
        let entry = Self::read(bytes)?;
        let mut events = entry.events();
        let last = events.by_ref().last()?;
        let is_whole = last.done().is_some() && events.0.is_empty();
        is_whole.then_some(entry)
    }

    /// Its events.
    #[must_use]
    pub fn events(&self) -> Events {
        Events(self.events.clone())
    }
}

impl Iterator for Events {
    type Item = ChatEvent;

    fn next(&mut self) -> Option<ChatEvent> {
        let (event, rest) = postcard::take_from_bytes(&self.0).ok()?;
        self.0 = self.0.slice_ref(rest);
        Some(event)
    }
}

fn write_event(event: &ChatEvent, out: Vec<u8>) -> Option<Vec<u8>> {
    match event {
        ChatEvent::Whole(Whole::Document(_) | Whole::Tokens(_)) => None,
        ChatEvent::Whole(Whole::Embeddings(_))
        | ChatEvent::Text(_)
        | ChatEvent::Reasoning(_)
        | ChatEvent::Signature(_)
        | ChatEvent::ToolCall(_)
        | ChatEvent::Logprobs(_)
        | ChatEvent::Carried(_)
        | ChatEvent::Done(_) => postcard::to_extend(event, out).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Completion, Finish, TokenLogprob, ToolCallPiece, Usage};

    fn events() -> Vec<ChatEvent> {
        let alternative =
            TokenLogprob { token: "b".into(), logprob: -0.1, bytes: None, top: Vec::new() };
        let token = TokenLogprob {
            token: "é".into(),
            logprob: -1.0 / 3.0,
            bytes: Some(vec![195, 169]),
            top: vec![alternative],
        };
        let call = ToolCallPiece {
            index: 1,
            id: Some("call_1".into()),
            name: None,
            arguments: "{\"a\"".into(),
        };
        let usage = Usage { prompt: Some(15), completion: None, ..Usage::default() };
        let done = Completion { finish: Finish::Stop, stop_sequence: Some("\n".into()), usage };
        vec![
            ChatEvent::Reasoning("hm".into()),
            ChatEvent::Signature("s".into()),
            ChatEvent::Text("Hé".into()),
            ChatEvent::Logprobs(vec![token]),
            ChatEvent::ToolCall(call),
            ChatEvent::Whole(Whole::Embeddings(vec![vec![0.1, -2.5], Vec::new()])),
            ChatEvent::Done(done),
        ]
    }

    fn written(dropped: &[String], events: &[ChatEvent], most: usize) -> Option<Bytes> {
        let (last, before) = events.split_last().unwrap();
        write(dropped, before.iter(), last, most)
    }

    #[test]
    fn what_is_read_is_what_was_written() {
        let dropped = ["top_k".to_owned()];
        let bytes = written(&dropped, &events(), 4096).unwrap();
        for entry in [Entry::read(&bytes), Entry::read_foreign(&bytes)] {
            let entry = entry.unwrap();
            assert_eq!(entry.dropped, dropped);
            assert_eq!(entry.events().collect::<Vec<_>>(), events());
        }
    }

    #[test]
    fn truncated_bytes_are_refused_wherever_they_end() {
        let bytes = written(&[], &events(), 4096).unwrap();
        for end in 0..bytes.len() {
            assert_eq!(Entry::read_foreign(&bytes.slice(..end)), None, "{end} bytes");
        }
        let more = [&bytes[..], b"x"].concat();
        assert_eq!(Entry::read_foreign(&Bytes::from(more)), None);
        let unfinished = written(&[], &events()[..3], 4096).unwrap();
        assert_eq!(Entry::read_foreign(&unfinished), None);
    }

    #[test]
    fn a_token_takes_little_more_than_its_letters() {
        let tokens = vec![ChatEvent::Text("word".into()); 1000];
        let bytes = written(&[], &tokens, 1 << 20).unwrap();
        assert!(bytes.len() < 6100, "{}", bytes.len());
    }

    #[test]
    fn an_answer_that_is_too_large_or_not_storable_is_not_written() {
        for most in [0, 10, written(&[], &events(), 4096).unwrap().len() - 1] {
            assert_eq!(written(&[], &events(), most), None);
        }
        let tokens = [ChatEvent::Whole(Whole::Tokens(3))];
        assert_eq!(written(&[], &tokens, 4096), None);
    }
}
