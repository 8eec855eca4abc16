//! Passes on requests that the gateway does not understand, and their answers.
//!
//! It owns the place of such a request below a provider's address, and the only change to it: the
//! model's name behind an alias, in the path's query or in the body. Of an answer it reads only the
//! usage, if the answer is JSON.
//!
//! The one thing to know: the framing of the transport marks the end of such an answer. An answer
//! whose connection breaks is cut, whatever has arrived.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::backend::openai::usage;
use crate::backend::{Backend, Below, DecodeError, Decoder, Target, UpstreamRequest};
use crate::chat::{Carried, ChatEvent, Completion, Finish, ModelAt, RawHead, RawRequest, Usage};
use crate::wire::splice::{Outline, quoted};

/// The longest document that is kept for its usage, in bytes; of a longer one only the end is kept.
const LONGEST: usize = 1024 * 1024;
/// How much of the end of a long document is kept, in bytes.
const END: usize = 4 * 1024;
/// Characters that are escaped in the value of a query parameter.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Builds the call that passes a request on; the flag tells whether its path is below the address
/// without the version.
#[must_use]
pub fn encode(
    raw: &RawRequest,
    backend: &dyn Backend,
    target: Target<'_>,
) -> (UpstreamRequest, bool) {
    let (path, at_root) = match backend.below(raw.path.as_str()) {
        Below::Base(path) => (path, false),
        Below::Root(path) => (path, true),
    };
    let is_alias = raw.model.as_deref().is_some_and(|asked| asked != target.model);
    let mut path = path.to_owned();
    if !raw.query.is_empty() {
        path.push('?');
        path.push_str(&match &raw.model_at {
            ModelAt::Query if is_alias => with_model(&raw.query, target.model),
            ModelAt::Query | ModelAt::Nowhere | ModelAt::Json | ModelAt::Form(_) => {
                raw.query.clone()
            }
        });
    }
    let body = match &raw.model_at {
        ModelAt::Json if is_alias => Outline::read(&raw.body).map(|outline| {
            let mut edits = outline.edit();
            edits.set("model", quoted(target.model));
            edits.apply()
        }),
        ModelAt::Form(place) if is_alias => {
            let (before, after) = (raw.body.get(..place.start), raw.body.get(place.end..));
            before
                .zip(after)
                .map(|(before, after)| [before, target.model.as_bytes(), after].concat())
        }
        ModelAt::Json | ModelAt::Form(_) | ModelAt::Query | ModelAt::Nowhere => None,
    };
    let mut headers = backend.credentials(target);
    headers.retain(|(name, _)| !raw.headers.iter().any(|(other, _)| other == name));
    headers.extend(raw.headers.iter().cloned());
    let body = body.unwrap_or_else(|| raw.body.to_vec());
    (UpstreamRequest { path, headers, body, dropped: Vec::new() }, at_root)
}

/// Begins to read an answer.
#[must_use]
pub fn decoder() -> Box<dyn Decoder> {
    Box::new(Pieces { seen: None, is_end: false })
}

/// The query with another model's name.
fn with_model(query: &str, model: &str) -> String {
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some(("model", _)) => format!("model={}", utf8_percent_encode(model, KEPT)),
        Some(_) | None => pair.to_owned(),
    });
    pairs.collect::<Vec<_>>().join("&")
}

/// Passes on an answer in pieces as they come.
struct Pieces {
    /// The part of a document that is kept for its usage; `None` if the answer is not JSON.
    seen: Option<Vec<u8>>,
    /// Whether only the end of the document is kept.
    is_end: bool,
}

impl Pieces {
    fn usage(&self) -> Usage {
        let Some(seen) = &self.seen else { return Usage::default() };
        let counts = if self.is_end { usage_at_end(seen) } else { usage_of(seen) };
        counts.map(|counts| usage::read(&counts)).unwrap_or_default()
    }
}

impl Decoder for Pieces {
    fn head(&mut self, head: &RawHead) {
        let kind = head.headers.iter().find(|(name, _)| *name == "content-type");
        let is_json = kind.is_some_and(|(_, kind)| {
            let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default();
            kind.trim_ascii().eq_ignore_ascii_case(b"application/json")
        });
        self.seen = is_json.then(Vec::new);
    }

    fn feed(&mut self, bytes: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), DecodeError> {
        if let Some(seen) = &mut self.seen {
            seen.extend_from_slice(bytes);
            if seen.len() > if self.is_end { 8 * END } else { LONGEST } {
                self.is_end = true;
                seen.drain(..seen.len() - END);
                seen.shrink_to(16 * END);
            }
        }
        if !bytes.is_empty() {
            let bytes = bytes.to_vec();
            let carried = Carried { bytes, covers: 0, form: 0, has_more: true };
            events.push(ChatEvent::Carried(carried));
        }
        Ok(())
    }

    fn finish(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), DecodeError> {
        let usage = self.usage();
        events.push(ChatEvent::Done(Completion {
            finish: Finish::Stop,
            stop_sequence: None,
            usage,
        }));
        Ok(())
    }

    fn broken(&mut self, _events: &mut Vec<ChatEvent>) -> Result<(), DecodeError> {
        Err(DecodeError::Cut)
    }
}

/// The usage in a whole document.
fn usage_of(document: &[u8]) -> Option<Map<String, Value>> {
    #[derive(Deserialize)]
    struct Costs {
        usage: Option<Map<String, Value>>,
    }
    serde_json::from_slice::<Costs>(document).ok()?.usage
}

/// The usage in the end of a document, where nearly all servers write it.
fn usage_at_end(end: &[u8]) -> Option<Map<String, Value>> {
    const NAME: &[u8] = b"\"usage\"";
    let at = memchr::memmem::rfind(end, NAME)?;
    let value = end.get(at + NAME.len()..)?.trim_ascii_start().strip_prefix(b":")?;
    serde_json::Deserializer::from_slice(value).into_iter().next()?.ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::backend::{Ollama, OpenAi};
    use crate::chat::{CleanPath, Lane, Method};

    fn raw(path: &str, query: &str, model_at: ModelAt, body: &'static str) -> RawRequest {
        RawRequest {
            lane: Lane::Listed,
            method: Method::Post,
            path: CleanPath::read(path).unwrap(),
            query: query.to_owned(),
            model: Some("fast".to_owned()),
            model_at,
            headers: vec![("content-type", "a/b".to_owned())],
            boundary: None,
            body: body.into(),
        }
    }

    #[test]
    fn an_alias_is_replaced_in_its_place_and_nothing_else_is_changed() {
        let sent = |raw: &RawRequest, model: &str| {
            let (call, _) = encode(raw, &OpenAi, Target::new(model, Some("k")));
            (call.path, String::from_utf8(call.body).unwrap())
        };
        let json = raw("/v1/x", "a=1", ModelAt::Json, "{ \"b\":1.0, \"model\" : \"fast\" }\n");
        assert_eq!(sent(&json, "m/1").1, "{ \"b\":1.0, \"model\" : \"m/1\" }\n");
        assert_eq!(sent(&json, "fast").1, "{ \"b\":1.0, \"model\" : \"fast\" }\n");
        let form = raw("/v1/x", "", ModelAt::Form(2..6), "--fast--");
        assert_eq!(sent(&form, "longer").1, "--longer--");
        let query = raw("/v1/x", "a=%20&model=fast&model_b=fast", ModelAt::Query, "fast");
        let expected = ("/x?a=%20&model=m%2F1&model_b=fast".to_owned(), "fast".to_owned());
        assert_eq!(sent(&query, "m/1"), expected);
    }

    #[test]
    fn paths_below_v1_are_below_an_openai_base_address_and_others_below_its_root() {
        let place = |path: &str, backend: &dyn Backend| {
            let raw = raw(path, "", ModelAt::Nowhere, "");
            let (call, at_root) = encode(&raw, backend, Target::new("m", None));
            (call.path, at_root)
        };
        assert_eq!(place("/v1/audio/speech", &OpenAi), ("/audio/speech".to_owned(), false));
        assert_eq!(place("/tokenize", &OpenAi), ("/tokenize".to_owned(), true));
        assert_eq!(place("/v1/rerank", &Ollama), ("/v1/rerank".to_owned(), false));
    }

    #[test]
    fn the_usage_of_an_answer_is_read_if_it_is_json() {
        let cost = |kind: &str, pieces: &[&str]| {
            let kind: Arc<[u8]> = kind.as_bytes().into();
            let head = RawHead { status: 200, headers: vec![("content-type", kind)] };
            let (mut decoder, mut events) = (decoder(), Vec::new());
            decoder.head(&head);
            for piece in pieces {
                decoder.feed(piece.as_bytes(), &mut events).unwrap();
            }
            assert!(decoder.broken(&mut Vec::new()).is_err());
            decoder.finish(&mut events).unwrap();
            events.last().unwrap().done().unwrap().usage.prompt
        };
        let document = r#"{"usage": {"input_tokens": 7}, "text": "a"}"#;
        assert_eq!(cost("application/json; charset=utf-8", &[document]), Some(7));
        assert_eq!(cost("application/json", &[&document[..20], &document[20..]]), Some(7));
        assert_eq!(cost("audio/mpeg", &[document]), None);
        assert_eq!(cost("application/json", &["[1]"]), None);
        let long = format!("{{\"b64\": \"{}", "a".repeat(LONGEST + 9));
        let end = r#"", "usage": {"prompt_tokens": 8, "n": {}}, "x": 1}"#;
        assert_eq!(cost("application/json", &[&long, end]), Some(8));
    }
}
