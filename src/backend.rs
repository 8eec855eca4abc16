//! The APIs that providers speak.
//!
//! A [`Backend`] turns an [`Ask`] into a call that its kind of provider understands, and the answer
//! into events. It is pure: it uses no socket, clock or log, and it never decides what happens
//! after a failure, only what the failure means.
//!
//! The one thing to know: a transport that ends cleanly does not prove a whole answer. Only
//! [`Decoder::finish`] does.

mod added_fields;
mod anthropic;
mod blame;
mod call_ids;
mod calls;
pub mod carry;
mod degrade;
mod document;
mod finish_reason;
mod gemini;
mod history;
mod lenient;
mod logprobs;
mod model_list;
mod model_load;
mod ollama;
mod openai;
mod output_limit;
mod overflow;
mod own_fields;
pub mod pins;
mod quirks;
mod report;
mod stream;
mod swapper;
#[cfg(test)]
mod testing;
mod tool_names;
mod vendor_errors;

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::chat::{
    Api, Ask, ChatEvent, ChatRequest, EmbedRequest, Endpoint, GatewayError, Listing, Model, Naming,
    RawHead,
};
use crate::wire::json;
use crate::wire::ndjson::LineTooLong;

pub use anthropic::Anthropic;
pub use gemini::Gemini;
pub use model_load::{Load, ModelRunner};
pub use ollama::Ollama;
pub use openai::OpenAi;
use openai::has_newer_limit;
pub use output_limit::allowed_output_tokens;
use own_fields::{foreign_fields, own_fields};
pub use quirks::{ApiVersion, LimitField, Quirks, SystemPlace};
pub use swapper::Swapper;

/// The largest undivided piece of an answer, in bytes: a line, an event or a unary body.
pub const MAX_PIECE: usize = 32 * 1024 * 1024;

/// A kind of API that providers speak.
pub trait Backend: Sync {
    /// The API, which tells whether a client's own fields have a meaning here.
    fn api(&self) -> Api;

    /// The form of the names of its models.
    fn naming(&self) -> Naming {
        Naming::Plain
    }

    /// The kind of result that `ask` wants and the API does not have; `None` if it can be asked
    /// for.
    fn unsupported(&self, ask: &Ask) -> Option<&'static str>;

    /// The path below the base address for what a client asks at `endpoint`, or the part of it
    /// after the model if the path names the model; `None` if the API has no such path.
    fn path(&self, _endpoint: Endpoint) -> Option<&'static str> {
        None
    }

    /// The whole path for asking `model` at `endpoint`; `None` if the API has no such path, or this
    /// cannot be a model's name.
    fn path_for(&self, endpoint: Endpoint, _model: &str) -> Option<String> {
        self.path(endpoint).map(str::to_owned)
    }

    /// Where a path that is passed on belongs: below the provider's base address, or below its
    /// root.
    fn below<'a>(&self, path: &'a str) -> Below<'a> {
        Below::Base(path)
    }

    /// The headers that identify the gateway in every call.
    fn credentials(&self, _target: Target<'_>) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Builds the call for `ask`, to be sent to `target`.
    ///
    /// # Errors
    ///
    /// `InvalidRequest` naming the field, when the API cannot express something that would change
    /// the result, or [does not support](Backend::unsupported) the request at all.
    fn encode(&self, ask: &Ask, target: Target<'_>) -> Result<UpstreamRequest, GatewayError>;

    /// Whether `model` continues a last assistant message instead of writing a new answer. `false`
    /// unless that is known for certain.
    fn continues_prefill(&self, _request: &ChatRequest, _model: &str) -> bool {
        false
    }

    /// Begins to read the answer to `ask`. `seed` makes the ids that the provider does not give.
    fn decoder(&self, ask: &Ask, seed: u64) -> Box<dyn Decoder>;

    /// Builds the call for a list of models; `None` if the API has no such list.
    fn listing(&self, listing: Listing, api_key: Option<&str>) -> Option<UpstreamRequest>;

    /// Reads the whole answer to [`Backend::listing`].
    ///
    /// # Errors
    ///
    /// [`DecodeError::Malformed`] when it is not a list of models.
    fn read_listing(&self, body: &[u8]) -> Result<Vec<Model>, DecodeError>;

    /// The call that loads a model and does nothing else; `None` where servers have no such call.
    fn load(&self, _load: Load<'_>) -> Option<UpstreamRequest> {
        None
    }

    /// What the server is that has listed these models, where it is one that loads models as others
    /// of its API do not; `None` if it is not known to load any.
    fn swapper(&self, _list: &[Model]) -> Option<Swapper> {
        None
    }

    /// What is known of the runner of a model that the provider lists; `None` where the server
    /// loads nothing for it.
    fn runner(&self, _model: &Model) -> Option<ModelRunner> {
        None
    }

    /// Reads an answer whose status is not 2xx.
    fn rejection(&self, status: u16, body: &[u8], model: &str) -> Rejection;

    /// What an operator can do if the provider cannot be reached, as a clause for the error
    /// message.
    fn unreachable_hint(&self) -> &'static str;

    /// The same for a gateway in a container, where that has a usual cause of its own.
    fn unreachable_hint_in_container(&self) -> &'static str {
        self.unreachable_hint()
    }
}

/// Where a path that is passed on belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Below<'a> {
    /// Below the provider's base address, with its leading slash.
    Base(&'a str),
    /// Below the base address without the version at its end.
    Root(&'a str),
}

/// The provider's model that answers a call.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The model's name at the provider.
    pub model: &'a str,
    /// The gateway's own key.
    pub api_key: Option<&'a str>,
    /// Whether the model can think; `None` if that is unknown.
    pub thinks: Option<bool>,
    /// The settings particular to the provider.
    pub quirks: Quirks,
}

impl<'a> Target<'a> {
    /// A model about which nothing more is known.
    #[must_use]
    pub fn new(model: &'a str, api_key: Option<&'a str>) -> Self {
        Self { model, api_key, thinks: None, quirks: Quirks::default() }
    }

    /// The client's limit of tokens, else the operator's.
    fn limit(&self, request: &ChatRequest) -> Option<u32> {
        request.sampling.max_tokens.or(self.quirks.default_max_tokens)
    }
}

/// A call ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamRequest {
    /// The path below the provider's base address, with its leading slash.
    pub path: String,
    /// Headers other than the content type, with names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// The JSON body, sent by POST; a call without a body is a GET.
    pub body: Vec<u8>,
    /// The settings that the API cannot express, by OpenAI's names if it has them.
    pub dropped: Vec<String>,
}

impl UpstreamRequest {
    /// A call with `body`, written as JSON.
    fn post(
        path: impl Into<String>,
        headers: Vec<(&'static str, String)>,
        body: &impl Serialize,
        dropped: Vec<String>,
    ) -> Self {
        Self { path: path.into(), headers, body: json::to_vec(body), dropped }
    }

    /// A call without a body.
    fn get(path: &str, headers: Vec<(&'static str, String)>) -> Self {
        Self { path: path.to_owned(), headers, body: Vec::new(), dropped: Vec::new() }
    }

    /// Adds an operator's own fields to the body. Values that are there stay; missing entries of
    /// tables are added.
    pub fn add_fields(&mut self, fields: &Map<String, Value>) {
        if !fields.is_empty() {
            self.body = added_fields::add(std::mem::take(&mut self.body), fields);
        }
    }
}

/// The state of reading one answer.
pub trait Decoder: Send {
    /// Takes the head of the answer, before its first byte. Only the decoder of an answer that is
    /// passed on needs it.
    fn head(&mut self, _head: &RawHead) {}

    /// Takes what arrived, wherever it was cut, and appends the events that it completes.
    ///
    /// # Errors
    ///
    /// When the bytes are not an answer, or report a failure. Nothing may be fed afterwards.
    fn feed(&mut self, bytes: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), DecodeError>;

    /// Ends the answer: no more bytes come. Appends [`ChatEvent::Done`] unless that was given
    /// before.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Cut`] when the answer was not whole.
    fn finish(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), DecodeError>;

    /// As [`Decoder::finish`], for an answer whose connection broke. An answer with an end marker
    /// is whole if the marker has arrived.
    ///
    /// # Errors
    ///
    /// As [`Decoder::finish`].
    fn broken(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), DecodeError> {
        self.finish(events)
    }
}

/// Every kind of provider lacks this by itself: a path that is only passed on.
const NO_PATH: &str = "such path in its `passthrough`";

/// Why an answer could not be read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecodeError {
    /// It stopped before its end marker.
    Cut,
    /// It is not an answer of the API; the text is only for the log.
    Malformed(String),
    /// One piece was larger than [`MAX_PIECE`].
    TooLarge,
    /// The provider reported, within the answer, that it failed.
    Reported(Rejection),
}

impl From<serde_json::Error> for DecodeError {
    /// Tells what is wrong and where, but not in serde's words, which quote the answer: no log may
    /// hold that.
    fn from(error: serde_json::Error) -> Self {
        let what = if error.is_data() { "JSON of another shape" } else { "not JSON" };
        Self::Malformed(format!("{what} from line {} column {} on", error.line(), error.column()))
    }
}

impl From<LineTooLong> for DecodeError {
    fn from(_: LineTooLong) -> Self {
        Self::TooLarge
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut => formatter.write_str("the answer stopped before its end"),
            Self::Malformed(what) => write!(formatter, "the answer is malformed: {what}"),
            Self::TooLarge => {
                write!(formatter, "one piece of the answer exceeds {MAX_PIECE} bytes")
            }
            Self::Reported(rejection) => {
                write!(formatter, "the provider failed: {}", rejection.message)
            }
        }
    }
}

/// The meaning of a provider's error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The class, which decides about retries and the status for the caller.
    pub class: RejectionClass,
    /// The provider's own message, shortened, for the caller if it helps, else for the log.
    pub message: String,
    /// How long to wait before a retry, if the provider's body says so.
    pub retry_after: Option<Duration>,
}

/// The classes of errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectionClass {
    /// Every provider would refuse the request.
    BadRequest,
    /// The prompt does not fit this model.
    ContextTooLong,
    /// A filter refused the content.
    ContentFilter,
    /// The provider does not have the model.
    UnknownModel,
    /// The provider may not accept the gateway's key: 401, which can have other reasons too.
    Auth,
    /// The provider does not permit this request: 403, which says nothing about other requests.
    Forbidden,
    /// The provider does not implement what the request asks for: 501.
    NotImplemented,
    /// Nothing has begun, because a model is still being loaded or the provider's own queue is
    /// full: the same request may be sent again in a moment.
    NotBegun,
    /// Too many requests; a retry will succeed later.
    RateLimited,
    /// The account has no credit left; a retry will not succeed soon.
    QuotaExhausted,
    /// The process that runs the model died during the request.
    Crashed,
    /// The provider is busy.
    Overloaded,
    /// The provider gave up waiting.
    Timeout,
    /// Any other failure of the provider.
    Broken,
}

/// The class of a status without an error that could be read.
#[must_use]
fn class_of_status(status: u16) -> RejectionClass {
    match status {
        401 => RejectionClass::Auth,
        403 => RejectionClass::Forbidden,
        402 => RejectionClass::QuotaExhausted,
        404 => RejectionClass::UnknownModel,
        408 | 504 => RejectionClass::Timeout,
        429 => RejectionClass::RateLimited,
        501 => RejectionClass::NotImplemented,
        503 | 529 => RejectionClass::Overloaded,
        400 | 405..=407 | 410..=428 | 430..=499 => RejectionClass::BadRequest,
        // 409 among them: two steps within the provider conflicted, which is not the request's
        // fault.
        _ => RejectionClass::Broken,
    }
}

/// Refuses a request for embeddings of nothing, for APIs that require a text.
fn refuse_no_input(request: &EmbedRequest) -> Result<(), GatewayError> {
    match request.input.as_slice() {
        [] => Err(GatewayError::invalid("input: this provider needs a text")),
        [_, ..] => Ok(()),
    }
}

/// The header with the gateway's key, for APIs that take it as a bearer token.
fn bearer(api_key: Option<&str>) -> Vec<(&'static str, String)> {
    api_key.map(|key| ("authorization", format!("Bearer {key}"))).into_iter().collect()
}

/// The error for a request that an API does not support.
fn unsupported_error(what: Option<&'static str>) -> GatewayError {
    let what = what.unwrap_or("answer to this");
    GatewayError::invalid(format!("this provider has no {what}, name another's model"))
}

/// The first 300 characters of a provider's message, on one line.
#[must_use]
fn shorten(words: &str) -> String {
    const MOST: usize = 300;
    let one_line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    match one_line.char_indices().nth(MOST) {
        None => one_line,
        Some((end, _)) => format!("{}…", one_line.get(..end).unwrap_or_default()),
    }
}
