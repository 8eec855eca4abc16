//! What clients speak.
//!
//! A [`Dialect`] is one client-facing way to ask: it turns a body into an [`Ask`], the events of an answer into
//! bytes, and an error into its own envelope. It is pure and knows neither HTTP nor providers.
//!
//! To add one, write a file here and add its line to [`DIALECTS`]; it names its own paths.

mod anthropic;
mod arguments;
pub mod carried;
mod gemini;
mod native;
mod ollama;
mod openai;
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

/// Every dialect, in the order in which paths are matched.
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

/// The dialect in which everything at `path` is answered, errors about the path itself included.
#[must_use]
pub fn dialect_of(path: &str) -> &'static dyn Dialect {
    dialect_at(path).unwrap_or(&Native)
}

/// The dialect of those who ask at `path`, if it is anything like a path of one.
#[must_use]
pub fn dialect_at(path: &str) -> Option<&'static dyn Dialect> {
    /// Where a vendor's clients ask, the longer beginnings first.
    const BEGINNINGS: [(&str, &dyn Dialect); 5] = [
        ("/v1/messages", &Anthropic),
        ("/api/v1/", &Native),
        ("/v1beta/", &Gemini::Generate),
        ("/v1/", &OpenAiChat),
        ("/api/", &Ollama::Chat),
    ];
    let exact = DIALECTS.iter().find(|dialect| dialect.paths().contains(&path)).copied();
    let begins = || BEGINNINGS.iter().find(|(beginning, _)| path.starts_with(beginning));
    exact.or_else(|| begins().map(|(_, dialect)| *dialect))
}

/// One client-facing way to ask.
pub trait Dialect: Sync {
    /// The name in metrics and logs: one of a closed set.
    fn name(&self) -> &'static str;

    /// The paths that are answered, all by POST. One that ends in a method has the model's name as `{model}`.
    fn paths(&self) -> &'static [&'static str];

    /// Whether a body is read as JSON whatever its content type says.
    fn ignores_content_type(&self) -> bool {
        false
    }

    /// Whether the clients of a streamed answer understand signs of life, so that it may begin before the answer does.
    fn shows_life(&self) -> bool {
        false
    }

    /// The vendor's path that this is, where a provider may speak it as well and be handed requests as they came.
    fn endpoint(&self) -> Option<Endpoint> {
        None
    }

    /// Reads a request body.
    ///
    /// # Errors
    ///
    /// `InvalidRequest` or `SchemaMismatch`, naming what would be right.
    fn decode(&self, body: &[u8]) -> Result<Ask, GatewayError>;

    /// The ids of answers given before that a body refers to.
    fn refers(&self, _body: &[u8]) -> Vec<String> {
        Vec::new()
    }

    /// Says of a body that goes on from an answer which is not remembered here that it is not; `None` when it stands for
    /// itself. Where several callers share the gateway's account at a provider, that provider may not be asked whose it is.
    fn refers_to_unknown(&self, _body: &[u8]) -> Option<GatewayError> {
        None
    }

    /// As [`Dialect::decode`], of a body that refers to earlier turns, which are given by the ids of their answers as
    /// far as they are remembered.
    ///
    /// # Errors
    ///
    /// As [`Dialect::decode`], and `NotFound` where one is not there that is referred to.
    fn decode_after(&self, body: &[u8], _turns: &Turns) -> Result<Ask, GatewayError> {
        self.decode(body)
    }

    /// Takes in what the address of a request says beside its body. `ask` is what [`Dialect::decode`] gave.
    fn address(&self, _ask: &mut Ask, _address: Address<'_>) {}

    /// Begins to write one answer, streamed or whole as `ask` wants it. `ask` is what [`Dialect::decode`] gave.
    fn encoder(&self, ask: &Ask, head: AnswerHead) -> Box<dyn Encoder>;

    /// Writes an error that comes instead of an answer.
    fn error(&self, error: &GatewayError, request_id: &str) -> ErrorBody;

    /// The header in which clients of this API look for the request's id, beside `x-request-id`.
    fn request_id_header(&self) -> Option<&'static str> {
        None
    }
}

/// What the address of a request says.
#[derive(Debug, Clone, Copy)]
pub struct Address<'a> {
    /// The model that stands in the path; empty where none does.
    pub model: &'a str,
    /// The query, without the question mark.
    pub query: &'a str,
}

/// Turns by the ids of their answers.
pub type Turns = HashMap<String, Turn>;

/// One turn of a conversation that a client need not send again, in the client's own form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// The answer.
    pub response: Map<String, Value>,
    /// What was asked, without the turns before it.
    pub input: Vec<Value>,
    /// The answer of the turn before it.
    pub previous: Option<String>,
}

/// What is known of an answer before its first event.
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
    /// How much of the time since the request's arrival it waited in lines.
    pub waited: Duration,
}

impl AnswerHead {
    /// The model's name for a client that asked for `asked`: that, unless a fallback answers.
    fn model_for(&self, asked: Option<&str>) -> String {
        asked.filter(|_| !self.fell_back).unwrap_or(&self.model).to_owned()
    }
}

/// The state of writing one answer.
pub trait Encoder: Send {
    /// The answer's content type.
    fn content_type(&self) -> &'static str;

    /// Appends what the client is to read of `event`, which came `at` after the request's arrival. The encoder of
    /// a whole answer appends nothing before [`ChatEvent::Done`].
    ///
    /// # Errors
    ///
    /// `BadUpstream` when the dialect cannot say what the model answered. Nothing may be given afterwards; a stream
    /// is ended by [`Encoder::failure`], a whole answer becomes the error.
    fn event(
        &mut self,
        event: ChatEvent,
        at: Duration,
        out: &mut Vec<u8>,
    ) -> Result<(), GatewayError>;

    /// Appends what tells a client that a stream failed midway. Nothing follows it.
    fn failure(&mut self, error: &GatewayError, out: &mut Vec<u8>);

    /// Appends a sign of life that changes nothing, saying how many wait ahead and for how long. What has no word for
    /// one appends nothing; see [`Dialect::shows_life`].
    fn heartbeat(&mut self, _waiting: Option<Waiting>, _out: &mut Vec<u8>) {}

    /// Whether signs of life have begun the answer already, so that it must go on with this encoder even where it was
    /// made before anybody was known to answer.
    fn has_begun(&self) -> bool {
        false
    }

    /// The turn that is to be remembered, and the id of its answer, once the answer is whole.
    fn kept(&mut self) -> Option<(String, Turn)> {
        None
    }
}

/// An error as a client reads it.
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

/// A server-sent comment that says where a waiting request stands.
fn comment(waiting: Option<Waiting>, out: &mut Vec<u8>) {
    let text = match waiting {
        None => ": keep-alive\n\n".to_owned(),
        Some(Waiting { ahead, expected: Duration::ZERO }) => {
            format!(": waiting, {ahead} ahead\n\n")
        }
        Some(Waiting { ahead, expected }) => {
            let seconds = expected.as_secs_f64().ceil();
            format!(": waiting, {ahead} ahead, about {seconds} s\n\n")
        }
    };
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A streamed request in terms of every dialect that has them.
    const STREAMED: [&str; 4] = [
        r#"{"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": true}"#,
        r#"{"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": true, "max_tokens": 9}"#,
        r#"{"model": "m", "prompt": "hi", "stream": true}"#,
        r#"{"model": "m", "input": "hi", "stream": true}"#,
    ];

    #[test]
    fn a_dialect_that_shows_life_has_a_sign_for_it_and_no_other_has() {
        let mut showing = 0;
        for dialect in DIALECTS {
            let asks = STREAMED.iter().filter_map(|body| dialect.decode(body.as_bytes()).ok());
            let Some(ask) = asks.into_iter().find(Ask::stream) else {
                assert!(!dialect.shows_life(), "{:?}", dialect.paths());
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
            assert_eq!(dialect.shows_life(), !out.is_empty(), "{:?}", dialect.paths());
            showing += usize::from(dialect.shows_life());
        }
        assert_eq!(showing, 5);
    }
}
