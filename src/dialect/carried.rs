//! The client's side of requests that are passed on unchanged: what the gateway reads of them, and
//! how the answer is written.
//!
//! It owns the parts of a request that the gateway decides by, and the encoder that writes carried
//! bytes. It rejects only what two parsers could read differently: a duplicate key.
//!
//! The one thing to know: the dialect's encoder is behind it. Events that come without bytes,
//! because another provider continued the answer or the bytes have another form, are translated.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use serde_json::{Map, Value};

use super::{Address, Encoder, Turn};
use crate::chat::{
    Ask, Carry, ChatEvent, ChatRequest, EmbedRequest, Endpoint, GatewayError, Message, Role,
    Sampling, Waiting, is_list,
};
use crate::wire::json;
use crate::wire::splice::Outline;

/// Fields that the gateway decides by.
const OWN: &[&str] = &["model", "stream", "model_hint"];

/// A longer text without a space is not text but an image or another file.
const LONGEST_WORD: usize = 4096;

/// The part of a request that the gateway decides by, even if the rest is unknown; `None` if that
/// part cannot be read. The body [is clear](is_clear).
#[must_use]
pub fn ask_of(endpoint: Endpoint, body: &[u8]) -> Option<Ask> {
    let fields = &json::read_object(body).ok()?;
    let text = |name: &str| match fields.get(name) {
        None | Some(Value::Null) => Some(None),
        Some(Value::String(text)) => Some(Some(text.clone()).filter(|text| !text.is_empty())),
        Some(_) => None,
    };
    let stream = match fields.get("stream").filter(|_| !endpoint.is_gemini()) {
        None | Some(Value::Null) => endpoint.streams_by_default(),
        Some(value) => value.as_bool()?,
    };
    let (model, hint) = (text("model")?, text("model_hint")?);
    let mut texts = String::new();
    for (name, value) in fields {
        if !OWN.contains(&name.as_str()) {
            collect(value, &mut texts);
        }
    }
    if matches!(
        endpoint,
        Endpoint::OpenAiEmbeddings
            | Endpoint::OllamaEmbed
            | Endpoint::GeminiEmbed
            | Endpoint::GeminiBatchEmbed
    ) {
        let input = vec![texts];
        return Some(Ask::Embed(EmbedRequest { model, hint, input, ..EmbedRequest::default() }));
    }
    let sampling = sampling(fields);
    let messages = vec![Message::text(Role::User, texts)];
    let chat = ChatRequest { model, hint, messages, stream, sampling, ..ChatRequest::default() };
    Some(match endpoint {
        Endpoint::AnthropicCount | Endpoint::GeminiCount => Ask::CountTokens(chat),
        Endpoint::OpenAiChat
        | Endpoint::OpenAiCompletions
        | Endpoint::OpenAiEmbeddings
        | Endpoint::OpenAiResponses
        | Endpoint::AnthropicMessages
        | Endpoint::OllamaChat
        | Endpoint::OllamaGenerate
        | Endpoint::OllamaEmbed
        | Endpoint::GeminiGenerate
        | Endpoint::GeminiStream
        | Endpoint::GeminiEmbed
        | Endpoint::GeminiBatchEmbed => Ask::Chat(chat),
    })
}

/// The sampling options that the gateway decides by, at the places of all APIs.
fn sampling(fields: &Map<String, Value>) -> Sampling {
    let tables = ["options", "generationConfig", "generation_config"];
    let options = tables.iter().find_map(|table| fields.get(*table));
    let number = |name: &str| {
        fields.get(name).or_else(|| options?.get(name)).filter(|value| !value.is_null())
    };
    let limits = [
        "max_completion_tokens",
        "max_tokens",
        "max_output_tokens",
        "num_predict",
        "maxOutputTokens",
    ];
    let limit = limits.iter().find_map(|name| number(name)?.as_u64());
    Sampling {
        max_tokens: limit.and_then(|limit| u32::try_from(limit).ok()),
        temperature: number("temperature").and_then(Value::as_f64),
        ..Sampling::default()
    }
}

/// Whether the gateway's own decoding holds everything the request says, so that an identical
/// request in another form may share its answer: it has only fields whose meaning is known, and no
/// number that would lose precision. Reads the whole body.
#[must_use]
pub fn is_plain(carry: &Carry) -> bool {
    // A prompt for completion is not a chat, although both decode to one.
    carry.may_be_plain
        && carry.endpoint != Endpoint::OpenAiCompletions
        && json::read_object(&carry.body).is_ok_and(|fields| fields.iter().all(plain))
}

/// A digest of everything beside the question that the bytes of an answer depend on.
#[must_use]
pub fn form(endpoint: Endpoint, outline: &Outline<'_>, address: Address<'_>) -> u64 {
    let parts = ["model", "stream", "stream_options", "encoding_format"];
    let parts = parts.map(|name| outline.get(name));
    let mut digest = DefaultHasher::new();
    (endpoint, parts).hash(&mut digest);
    if endpoint.is_gemini() {
        (address.model, is_list(address.query)).hash(&mut digest);
    }
    digest.finish()
}

fn plain((name, value): (&String, &Value)) -> bool {
    const PLAIN: &[&str] = &[
        "content",
        "dimensions",
        "encoding_format",
        "include_usage",
        "input",
        "max_completion_tokens",
        "max_output_tokens",
        "max_tokens",
        "messages",
        "model",
        "model_hint",
        "num_predict",
        "options",
        "prompt",
        "role",
        "seed",
        "stream",
        "stream_options",
        "system",
        "temperature",
        "text",
        "top_p",
        "type",
    ];
    let is_known_role = || matches!(value.as_str(), Some("system" | "user" | "assistant"));
    PLAIN.contains(&name.as_str()) && (name != "role" || is_known_role()) && plain_value(value)
}

fn plain_value(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => true,
        Value::Number(number) => {
            number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|it| it.abs() < 1e9)
        }
        Value::Array(items) => items.iter().all(plain_value),
        Value::Object(fields) => fields.iter().all(plain),
    }
}

/// Whether the request changes something at the provider, so that a repetition has another effect:
/// a turn of a conversation that the provider stores, or work that continues after the answer.
#[must_use]
pub fn changes_state(endpoint: Endpoint, outline: &Outline<'_>) -> bool {
    let says = |name: &str, nothing: &[&[u8]]| {
        outline.get(name).is_some_and(|value| !nothing.contains(&value))
    };
    endpoint == Endpoint::OpenAiResponses
        && (says("conversation", &[b"null"]) || says("background", &[b"null", b"false"]))
}

/// Whether every parser reads the fields that the gateway decides by in the same way.
#[must_use]
pub fn is_clear(outline: &Outline<'_>) -> bool {
    !OWN.iter().any(|name| outline.is_ambiguous(name))
}

/// Appends the texts of a value, for an estimate of their tokens.
fn collect(value: &Value, out: &mut String) {
    match value {
        Value::String(text) => {
            // Text without spaces is binary, unless its script has none.
            if text.len() <= LONGEST_WORD || text.contains(' ') || !text.is_ascii() {
                out.push_str(text);
                out.push('\n');
            }
        }
        // A token id counts as the average length of a token.
        Value::Number(_) => out.push_str("xxx "),
        Value::Array(items) => items.iter().for_each(|item| collect(item, out)),
        Value::Object(fields) => fields.values().for_each(|field| collect(field, out)),
        Value::Null | Value::Bool(_) => {}
    }
}

/// Writes carried bytes unchanged.
pub struct CarryEncoder {
    inner: Box<dyn Encoder>,
    endpoint: Endpoint,
    /// Whether a candidate gets the request unchanged.
    may_be_carried: bool,
    /// Whether the dialect's encoder must see all events, in order to continue the answer or to end
    /// it with an error.
    tracks_events: bool,
    /// The form that the client reads.
    form: u64,
    /// How many of the next events the client already has as bytes.
    covered: u32,
    has_carried: bool,
    /// Whether the last carried byte is the first half of a line end.
    is_half_line_end: bool,
    unread: Vec<u8>,
}

impl CarryEncoder {
    /// Writes bytes in this form of an API, and lets `inner` write the events without bytes.
    #[must_use]
    pub fn new(
        (endpoint, form): (Endpoint, u64),
        may_be_carried: bool,
        ask: &Ask,
        inner: Box<dyn Encoder>,
    ) -> Self {
        let has_state = matches!(
            endpoint,
            Endpoint::AnthropicMessages | Endpoint::OpenAiResponses | Endpoint::GeminiStream
        );
        Self {
            inner,
            endpoint,
            may_be_carried,
            tracks_events: has_state && ask.stream(),
            form,
            covered: 0,
            has_carried: false,
            is_half_line_end: false,
            unread: Vec::new(),
        }
    }
}

impl CarryEncoder {
    /// Ends a line that broke off between the two bytes of its end: many clients take only both.
    fn end_line(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.is_half_line_end) {
            out.push(b'\n');
        }
    }
}

impl Encoder for CarryEncoder {
    fn content_type(&self) -> &'static str {
        self.inner.content_type()
    }

    fn event(
        &mut self,
        event: ChatEvent,
        at: Duration,
        out: &mut Vec<u8>,
    ) -> Result<(), GatewayError> {
        if let ChatEvent::Carried(carried) = event {
            // The bytes are for an identical request in another form.
            if carried.form != self.form {
                return Ok(());
            }
            if !std::mem::replace(&mut self.has_carried, true) {
                self.inner.begun_by_another();
            }
            self.covered = self.covered.saturating_add(carried.covers);
            self.is_half_line_end = carried.bytes.ends_with(b"\r");
            out.extend_from_slice(&carried.bytes);
            return Ok(());
        }
        let Some(covered) = self.covered.checked_sub(1) else {
            self.end_line(out);
            return self.inner.event(event, at, out);
        };
        self.covered = covered;
        if self.tracks_events {
            // The client has the bytes even if the dialect cannot express the event.
            drop(self.inner.event(event, at, &mut self.unread));
            self.unread.clear();
        }
        Ok(())
    }

    fn failure(&mut self, error: &GatewayError, out: &mut Vec<u8>) {
        if self.has_carried && self.tracks_events && !self.inner.has_begun() {
            // The carried bytes have begun the answer.
            self.inner.heartbeat(None, &mut self.unread);
        }
        self.end_line(out);
        self.inner.failure(error, out);
    }

    /// Until it is known whether bytes or events begin the answer, a heartbeat must not begin it.
    fn heartbeat(&mut self, waiting: Option<Waiting>, out: &mut Vec<u8>) {
        let is_open = self.may_be_carried && !self.inner.has_begun();
        let sign: &[u8] = match self.endpoint {
            Endpoint::AnthropicMessages => b"event: ping\ndata: {\"type\":\"ping\"}\n\n",
            // OpenAI's own event, which clients that do not know it ignore.
            Endpoint::OpenAiResponses => b"event: keepalive\ndata: {\"type\":\"keepalive\"}\n\n",
            Endpoint::OpenAiChat
            | Endpoint::OpenAiCompletions
            | Endpoint::OpenAiEmbeddings
            | Endpoint::AnthropicCount
            | Endpoint::OllamaChat
            | Endpoint::OllamaGenerate
            | Endpoint::OllamaEmbed
            | Endpoint::GeminiGenerate
            | Endpoint::GeminiStream
            | Endpoint::GeminiCount
            | Endpoint::GeminiEmbed
            | Endpoint::GeminiBatchEmbed => return self.inner.heartbeat(waiting, out),
        };
        if self.has_carried || is_open {
            super::comment(waiting, out);
            out.extend_from_slice(sign);
        } else {
            self.inner.heartbeat(waiting, out);
        }
    }

    fn has_begun(&self) -> bool {
        self.inner.has_begun()
    }

    fn take_turn(&mut self) -> Option<(String, Turn)> {
        // A provider that carried the answer stores it under its own id.
        self.inner.take_turn().filter(|_| !self.has_carried)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(endpoint: Endpoint, body: &[u8]) -> Option<Ask> {
        Outline::read(body).filter(is_clear).and_then(|_| ask_of(endpoint, body))
    }

    #[test]
    fn the_fields_that_decide_are_read_and_the_rest_is_ignored() {
        let body = br#"{"model":"m","stream":true,"max_tokens":9,"input":{"new":["thing"]},
            "image":"AAAA","stop":[1,2,3,4,5]}"#;
        let ask = outline(Endpoint::OpenAiChat, body).unwrap();
        assert_eq!((ask.model(), ask.stream()), (Some("m"), true));
        let chat = ask.chat().unwrap();
        assert_eq!(chat.sampling.max_tokens, Some(9));
        assert!(chat.messages[0].joined_text().contains("thing"));
    }

    #[test]
    fn ambiguous_bodies_are_not_read() {
        for body in [
            r#"{"model":"a","model":"b"}"#,
            r#"{"model":"a","MODEL":"b"}"#,
            r#"{"model":1}"#,
            r#"{"model":"a","stream":"yes"}"#,
            "[]",
            "{",
        ] {
            assert!(outline(Endpoint::OllamaChat, body.as_bytes()).is_none(), "{body}");
        }
        let twice = br#"{"model":"a","messages":[{"a":1,"a":2}]}"#;
        assert!(outline(Endpoint::OllamaChat, twice).is_none());
    }
}
