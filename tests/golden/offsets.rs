//! Every recorded answer, spoilt at every byte, read by its backend and written in every dialect.
//!
//! It is what `tests/gateway/offsets.rs` does over sockets, without them: all bytes of all answers
//! that end well. An answer is cut, or 0xFF is put in, which no UTF-8 text contains. Where it hits
//! what nobody reads, such as the value of an unknown field, the answer may still be whole, but
//! then it is no other than the true one.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use llm_gateway::backend::{Backend, DecodeError};
use llm_gateway::chat::{Ask, ChatEvent, ChatRequest, ErrorKind, GatewayError};
use llm_gateway::dialect::{AnswerHead, DIALECTS, Dialect};
use serde_json::{Value, json};

use super::{Case, Read, cases, read};

/// Where a body's end marker has come whole; `None` when the body is one document.
fn marked(case: &Case) -> usize {
    let text = String::from_utf8_lossy(&case.body);
    assert_eq!(text.len(), case.body.len(), "{}", case.name);
    // The last that is not null, and the end of its line.
    let marker = match case.backend_name.as_str() {
        "ollama" => "\"done\":true",
        "openai" => "\"finish_reason\":\"",
        "gemini" => "\"finishReason\":\"",
        "anthropic" => "\"type\":\"message_stop\"",
        other => panic!("{other}"),
    };
    let is_document = !text.trim_start().starts_with(['d', 'e']) && !text.trim_end().contains('\n');
    let from = if is_document { 0 } else { text.rfind(marker).unwrap() };
    let line = text[from..].lines().next().unwrap_or_default();
    from + line.trim_end().len()
}

/// The paths of streams, a request for one, and what is in the last event alone.
fn endings() -> [(&'static str, Value, &'static str); 7] {
    let messages = json!([{ "role": "user", "content": "hi" }]);
    let chat = json!({ "model": "m", "stream": true, "max_tokens": 9, "messages": messages });
    let prompt = json!({ "model": "m", "stream": true, "prompt": "hi" });
    let input = json!({ "model": "m", "stream": true, "input": "hi" });
    [
        ("/v1/chat", chat.clone(), "[DONE]"),
        ("/v1/chat/completions", chat.clone(), "[DONE]"),
        ("/v1/completions", prompt.clone(), "[DONE]"),
        ("/v1/responses", input, "response.completed"),
        ("/v1/messages", chat.clone(), "message_stop"),
        ("/api/chat", chat, "\"done\":true"),
        ("/api/generate", prompt, "\"done\":true"),
    ]
}

fn dialect(path: &str) -> &'static dyn Dialect {
    *DIALECTS.iter().find(|dialect| dialect.paths().contains(&path)).unwrap()
}

/// What the client of a dialect reads of these events; the failure is written when they do not end.
fn written(path: &str, ask: &Ask, events: &[ChatEvent]) -> String {
    let head = AnswerHead {
        id: uuid::Uuid::nil(),
        created: SystemTime::UNIX_EPOCH,
        provider: Arc::from("p"),
        model: Arc::from("m"),
        fell_back: false,
        waited: Duration::ZERO,
    };
    let mut encoder = dialect(path).encoder(ask, head);
    let mut out = Vec::new();
    for event in events {
        if !ask.stream() {
            assert!(out.is_empty(), "{path}: a whole answer began before its end");
        }
        if let Err(error) = encoder.event(event.clone(), Duration::ZERO, &mut out) {
            encoder.failure(&error, &mut out);
            return String::from_utf8(out).unwrap();
        }
    }
    if ask.stream() && events.last().is_none_or(|last| last.done().is_none()) {
        let error = GatewayError::upstream(ErrorKind::BadUpstream, "it broke off");
        encoder.failure(&error, &mut out);
    }
    String::from_utf8(out).unwrap()
}

/// The events that a backend makes of one piece and its end.
fn events(backend: &dyn Backend, bytes: &[u8]) -> (Vec<ChatEvent>, Result<(), DecodeError>) {
    let mut decoder = backend.decoder(&Ask::Chat(ChatRequest::default()), 11);
    let mut events = Vec::new();
    let ended = decoder.feed(bytes, &mut events);
    let ended = ended.and_then(|()| decoder.finish(&mut events));
    (events, ended)
}

/// Whether `part` is a beginning of `all`, as far as it goes.
fn is_beginning(part: &Read, all: &Read) -> bool {
    let begins = |(part, all): (&(String, String, String), &(String, String, String))| {
        part.0 == all.0 && part.1 == all.1 && all.2.starts_with(&part.2)
    };
    all.text.starts_with(&part.text)
        && all.reasoning.starts_with(&part.reasoning)
        && part.calls.len() <= all.calls.len()
        && part.calls.iter().zip(&all.calls).all(begins)
}

fn good_cases() -> Vec<Case> {
    cases().into_iter().filter(|case| case.expected["kind"] == "ok").collect()
}

#[test]
fn an_answer_that_is_cut_at_any_byte_ends_well_only_after_its_end_marker() {
    for case in good_cases() {
        let (marked, all) = (marked(&case), read(case.backend, &[&case.body]).0);
        for at in 0..=case.body.len() {
            let (part, ended) = read(case.backend, &[&case.body[..at]]);
            let what = format!("{} at {at} of {marked}: {part:?} {ended:?}", case.name);
            assert!(is_beginning(&part, &all), "{what}");
            assert_eq!(part.end.is_some(), ended.is_ok(), "{what}");
            assert!(ended.is_err() || at >= marked, "{what}");
            assert!(ended.is_ok() || (at != marked && at != case.body.len()), "{what}");
        }
    }
}

#[test]
fn an_answer_that_is_corrupted_at_any_byte_is_the_true_one_or_none() {
    for case in good_cases() {
        let all = read(case.backend, &[&case.body]).0;
        for at in 0..=case.body.len() {
            let (before, after) = case.body.split_at(at);
            let (part, ended) = read(case.backend, &[before, b"\xff", after]);
            let what = format!("{} at {at}: {part:?} {ended:?}", case.name);
            assert_eq!(part.end.is_some(), ended.is_ok(), "{what}");
            assert!(is_beginning(&part, &all), "{what}");
            if ended.is_ok() {
                assert_eq!((&part.text, &part.calls), (&all.text, &all.calls), "{what}");
            }
        }
    }
}

#[test]
fn no_dialect_ends_an_answer_that_was_cut() {
    let asks = endings().map(|(path, body, end)| {
        let read = |body: &Value| dialect(path).decode(body.to_string().as_bytes());
        let mut whole = body.clone();
        whole["stream"] = false.into();
        (path, read(&body).expect("a request"), read(&whole).expect("a request"), end)
    });
    for case in good_cases() {
        let mut last = None;
        for at in 0..=case.body.len() {
            let (events, ended) = events(case.backend, &case.body[..at]);
            // Most bytes complete nothing.
            if last.as_ref() == Some(&events) {
                continue;
            }
            for (path, streamed, whole, end) in &asks {
                let what = format!("{} at {at}, {path}", case.name);
                let said = written(path, streamed, &events);
                let ends = said.matches(end).count();
                assert!(ended.is_ok() || ends == 0, "{what}: {said}");
                assert!(ends > 0 || said.contains("error"), "{what}: {said}");
                let said = written(path, whole, &events);
                assert!(ended.is_ok() || said.is_empty(), "{what}: {said}");
            }
            last = Some(events);
        }
    }
}
