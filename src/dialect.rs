//! The APIs that clients speak.
//!
//! A [`Dialect`] is one route of a client API: it turns a body into an [`Ask`], the events of an
//! answer into bytes, and an error into the API's own envelope. It is pure and knows neither HTTP
//! nor providers.
//!
//! To add one, write a file here and add its line to [`DIALECTS`]; it declares its own paths.

mod anthropic;
mod arguments;
pub mod carried;
mod gemini;
mod native;
mod ollama;
mod openai;
pub mod raw;
mod single;
#[cfg(test)]
mod testing;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::chat::{Ask, ChatEvent, Endpoint, GatewayError, Waiting};

pub use anthropic::{
    Anthropic, AnthropicCount, model as anthropic_model, models as anthropic_models,
};
pub use gemini::{Gemini, model as gemini_model, models as gemini_models};
pub use native::Native;
pub use ollama::{Ollama, VERSION as OLLAMA_VERSION, described, installed, loaded};
pub use openai::{
    OpenAiChat, OpenAiCompletions, OpenAiEmbeddings, OpenAiResponses, model as openai_model,
    models as openai_models, response_not_found,
};

/// All dialects, in the order in which paths are matched.
pub const DIALECTS: &[&dyn Dialect] = &[
    &Native,
    &OpenAiChat,
    &OpenAiCompletions,
    &OpenAiResponses,
    &OpenAiEmbeddings,
    &Ollama::Chat,
    &Ollama::Generate,
    &Ollama::Embed,
    &Ollama::Embeddings,
    &Ollama::Show,
    &Anthropic,
    &AnthropicCount,
    &Gemini::Generate,
    &Gemini::Stream,
    &Gemini::Count,
    &Gemini::Embed,
    &Gemini::BatchEmbed,
];

/// The dialect of all responses at `path`, including errors about the path itself.
#[must_use]
pub fn dialect_of(path: &str) -> &'static dyn Dialect {
    dialect_at(path).unwrap_or(&Native)
}

/// The dialect of `path`, if the path is or resembles a path of one.
#[must_use]
pub fn dialect_at(path: &str) -> Option<&'static dyn Dialect> {
    /// The prefixes of each vendor's paths, the longer ones first.
    const PREFIXES: [(&str, &dyn Dialect); 5] = [
        ("/v1/messages", &Anthropic),
        ("/api/v1/", &Native),
        ("/v1beta/", &Gemini::Generate),
        ("/v1/", &OpenAiChat),
        ("/api/", &Ollama::Chat),
    ];
    let exact = DIALECTS.iter().find(|dialect| dialect.paths().contains(&path)).copied();
    let begins = || PREFIXES.iter().find(|(prefix, _)| path.starts_with(prefix));
    exact.or_else(|| begins().map(|(_, dialect)| *dialect))
}

/// One route of a client API.
pub trait Dialect: Sync {
    /// The name in metrics and logs: one of a closed set.
    fn name(&self) -> &'static str;

    /// Its paths, all for POST. A path that ends in a method has the model's name as `{model}`.
    fn paths(&self) -> &'static [&'static str];

    /// Whether a body is read as JSON whatever its content type is.
    fn ignores_content_type(&self) -> bool {
        false
    }

    /// Whether clients accept heartbeats in a streamed answer, so that it may begin before the
    /// first event.
    fn has_heartbeat(&self) -> bool {
        false
    }

    /// The vendor's endpoint, if providers may speak it too and then get requests unchanged.
    fn endpoint(&self) -> Option<Endpoint> {
        None
    }

    /// Decodes a request body.
    ///
    /// # Errors
    ///
    /// `InvalidRequest` or `SchemaMismatch`, with what would be right.
    fn decode(&self, body: &[u8]) -> Result<Ask, GatewayError>;

    /// The ids of earlier answers that a body refers to.
    fn referenced_ids(&self, _body: &[u8]) -> Vec<String> {
        Vec::new()
    }

    /// The error for a body that continues an answer which is not stored here; `None` if the body
    /// is complete by itself. If several callers share the gateway's account at a provider, that
    /// provider must not be asked for the answer, since it cannot tell whose it is.
    fn unknown_reference(&self, _body: &[u8]) -> Option<GatewayError> {
        None
    }

    /// Like [`Dialect::decode`], for a body that refers to earlier turns. `turns` has those that
    /// are stored, by the ids of their answers.
    ///
    /// # Errors
    ///
    /// As in [`Dialect::decode`], and `NotFound` if a turn that the body refers to is missing.
    fn decode_after(&self, body: &[u8], _turns: &Turns) -> Result<Ask, GatewayError> {
        self.decode(body)
    }

    /// Adds what the URL says beside the body. `ask` is the result of [`Dialect::decode`].
    fn address(&self, _ask: &mut Ask, _address: Address<'_>) {}

    /// Begins an answer, streamed or whole as `ask` requires. `ask` is the result of
    /// [`Dialect::decode`].
    fn encoder(&self, ask: &Ask, head: AnswerHead) -> Box<dyn Encoder>;

    /// Writes an error in place of an answer.
    fn error(&self, error: &GatewayError, request_id: &str) -> ErrorBody;

    /// The header in which clients of this API look for the request's id, in addition to
    /// `x-request-id`.
    fn request_id_header(&self) -> Option<&'static str> {
        None
    }
}

/// The parts of a request's URL that say something about the request.
#[derive(Debug, Clone, Copy)]
pub struct Address<'a> {
    /// The model in the path; empty if there is none.
    pub model: &'a str,
    /// The query, without the question mark.
    pub query: &'a str,
}

/// Turns by the ids of their answers.
pub type Turns = HashMap<String, Turn>;

/// One turn of a stored conversation, in the client's own form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// The answer.
    pub response: Map<String, Value>,
    /// The input, without the turns before it.
    pub input: Vec<Value>,
    /// The id of the previous turn's answer.
    pub previous: Option<String>,
}

/// What is known about an answer before its first event.
#[derive(Debug, Clone)]
pub struct AnswerHead {
    /// A random id of the answer.
    pub id: Uuid,
    /// When the answer began.
    pub created: SystemTime,
    /// The provider that answers.
    pub provider: Arc<str>,
    /// The model that runs there.
    pub model: Arc<str>,
    /// Whether it is a fallback.
    pub fell_back: bool,
    /// How long the request waited in lines since its arrival.
    pub waited: Duration,
}

impl AnswerHead {
    /// The model's name for a client that asked for `asked`: that name, unless a fallback answers.
    fn model_for(&self, asked: Option<&str>) -> String {
        asked.filter(|_| !self.fell_back).unwrap_or(&self.model).to_owned()
    }
}

/// Writes one answer.
pub trait Encoder: Send {
    /// The answer's content type.
    fn content_type(&self) -> &'static str;

    /// Appends the client's bytes for `event`, which arrived `at` after the request's arrival. The
    /// encoder of a whole answer appends nothing before [`ChatEvent::Done`].
    ///
    /// # Errors
    ///
    /// `BadUpstream` if the dialect cannot express the model's answer. No events may follow; a
    /// stream is ended by [`Encoder::failure`], a whole answer is replaced by the error.
    fn event(
        &mut self,
        event: ChatEvent,
        at: Duration,
        out: &mut Vec<u8>,
    ) -> Result<(), GatewayError>;

    /// Appends the error of a stream that failed midway. Nothing follows it.
    fn failure(&mut self, error: &GatewayError, out: &mut Vec<u8>);

    /// Appends a heartbeat, with the number of requests ahead, the load that is waited for and the
    /// expected wait. Without heartbeats in its API it appends nothing; see [`Dialect::has_heartbeat`].
    fn heartbeat(&mut self, _waiting: Option<Waiting>, _out: &mut Vec<u8>) {}

    /// Whether heartbeats have already begun the answer, so that this encoder must continue it even
    /// if it was made before a provider was chosen.
    fn has_begun(&self) -> bool {
        false
    }

    /// Says that the answer begins with bytes of another encoder, which it may have to continue.
    fn begun_by_another(&mut self) {}

    /// The turn to store and the id of its answer, once the answer is complete.
    fn take_turn(&mut self) -> Option<(String, Turn)> {
        None
    }
}

/// An error in the client's form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorBody {
    /// The HTTP status.
    pub status: u16,
    /// A JSON document.
    pub body: Vec<u8>,
}

/// Appends a text; the first one is not copied.
fn append(to: &mut String, text: String) {
    if to.is_empty() {
        *to = text;
    } else {
        to.push_str(&text);
    }
}

/// A server-sent comment with a waiting request's place in line.
fn comment(waiting: Option<Waiting>, out: &mut Vec<u8>) {
    let text = match waiting {
        None => ": keep-alive\n\n".to_owned(),
        Some(waiting) => format!(": {waiting}\n\n"),
    };
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A streamed request in the form of each dialect that streams.
    const STREAMED: [&str; 4] = [
        r#"{"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": true}"#,
        r#"{"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": true, "max_tokens": 9}"#,
        r#"{"model": "m", "prompt": "hi", "stream": true}"#,
        r#"{"model": "m", "input": "hi", "stream": true}"#,
    ];

    #[test]
    fn exactly_the_dialects_that_declare_heartbeats_write_them() {
        let mut showing = 0;
        for dialect in DIALECTS {
            let asks = STREAMED.iter().filter_map(|body| dialect.decode(body.as_bytes()).ok());
            let Some(ask) = asks.into_iter().find(Ask::stream) else {
                assert!(!dialect.has_heartbeat(), "{:?}", dialect.paths());
                continue;
            };
            let head = AnswerHead {
                id: Uuid::nil(),
                created: SystemTime::UNIX_EPOCH,
                provider: Arc::from("ollama"),
                model: Arc::from("m"),
                fell_back: false,
                waited: Duration::ZERO,
            };
            let mut out = Vec::new();
            dialect.encoder(&ask, head).heartbeat(None, &mut out);
            assert_eq!(dialect.has_heartbeat(), !out.is_empty(), "{:?}", dialect.paths());
            showing += usize::from(dialect.has_heartbeat());
        }
        assert_eq!(showing, 5);
    }
}
