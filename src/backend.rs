//! What providers speak.
//!
//! A [`Backend`] turns an [`Ask`] into the call its kind of provider understands, and whatever comes back
//! into events. It is pure: it never sees a socket, a clock or a log, and it never decides what happens after a
//! failure, only what the failure means.
//!
//! The one thing to know: a transport that ends cleanly proves nothing. Only [`Decoder::finish`] tells whether the
//! answer was whole.

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
mod names;
mod ollama;
mod openai;
mod output_limit;
mod overflow;
mod quirks;
mod report;
mod stream;
#[cfg(test)]
mod testing;
mod vendor_errors;

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::chat::{
    Api, Ask, ChatEvent, ChatRequest, EmbedRequest, Endpoint, Extra, GatewayError, Listing, Model,
    Naming,
};
use crate::wire::json;
use crate::wire::ndjson::LineTooLong;

pub use anthropic::Anthropic;
pub use gemini::Gemini;
pub use ollama::Ollama;
pub use openai::OpenAi;
use openai::has_newer_limit;
pub use output_limit::allowed_output_tokens;
pub use quirks::{ApiVersion, LimitField, Quirks, SystemPlace};

/// The most that one undivided piece of an answer may hold: a line, an event or a unary body.
pub const MAX_PIECE: usize = 32 * 1024 * 1024;

/// A kind of API that providers speak.
pub trait Backend: Sync {
    /// The API, to tell whether a client's unknown fields mean something here.
    fn api(&self) -> Api;

    /// How its providers read the names of models.
    fn naming(&self) -> Naming {
        Naming::Plain
    }

    /// What `ask` wants and the API has no word for at all; `None` when it can be asked.
    fn unsupported(&self, ask: &Ask) -> Option<&'static str>;

    /// Where its providers answer what a client asks at `endpoint`, below their base address; `None` where they never do.
    fn path(&self, _endpoint: Endpoint) -> Option<&'static str> {
        None
    }

    /// The headers by which every call says who asks.
    fn credentials(&self, _target: Target<'_>) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Builds the call for `ask`, to be answered by `target`.
    ///
    /// # Errors
    ///
    /// `InvalidRequest` naming the field, when the API cannot express something that would change the result, or
    /// [does not support](Backend::unsupported) the whole.
    fn encode(&self, ask: &Ask, target: Target<'_>) -> Result<UpstreamRequest, GatewayError>;

    /// Whether `model` goes on where a last assistant message ends, instead of answering anew. `false` wherever that is
    /// not known for certain.
    fn continues_prefill(&self, _request: &ChatRequest, _model: &str) -> bool {
        false
    }

    /// Begins to read the answer to `ask`. `seed` makes ids that the provider did not give.
    fn decoder(&self, ask: &Ask, seed: u64) -> Box<dyn Decoder>;

    /// The question which models there are; `None` when the API cannot be asked.
    fn listing(&self, listing: Listing, api_key: Option<&str>) -> Option<UpstreamRequest>;

    /// Reads the whole answer to [`Backend::listing`].
    ///
    /// # Errors
    ///
    /// [`DecodeError::Malformed`] when it is not what the API answers.
    fn read_listing(&self, body: &[u8]) -> Result<Vec<Model>, DecodeError>;

    /// Reads an answer whose status is not 2xx.
    fn rejection(&self, status: u16, body: &[u8], model: &str) -> Rejection;

    /// What an operator can do when the provider cannot be reached: a clause for the error message.
    fn unreachable_hint(&self) -> &'static str;
}

/// Who answers a call.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The model's name at the provider.
    pub model: &'a str,
    /// The gateway's own key.
    pub api_key: Option<&'a str>,
    /// Whether the model can think; `None` when nobody knows.
    pub thinks: Option<bool>,
    /// What is particular to the provider.
    pub quirks: Quirks,
}

impl<'a> Target<'a> {
    /// A model of which nothing more is known.
    #[must_use]
    pub fn new(model: &'a str, api_key: Option<&'a str>) -> Self {
        Self { model, api_key, thinks: None, quirks: Quirks::default() }
    }

    /// The limit of tokens that the client asks for, else the operator's.
    fn limit(&self, request: &ChatRequest) -> Option<u32> {
        request.sampling.max_tokens.or(self.quirks.default_max_tokens)
    }
}

/// A call ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamRequest {
    /// The path below the provider's base address, with its leading slash.
    pub path: String,
    /// Headers beside the content type, names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// The JSON body, sent by POST; without one the call is a GET.
    pub body: Vec<u8>,
    /// What the client asked for and the API has no place for, by OpenAI's names where it has one.
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

    /// Adds an operator's own fields to the body. What is there already stays; tables are filled in.
    pub fn add_fields(&mut self, fields: &Map<String, Value>) {
        if !fields.is_empty() {
            self.body = added_fields::add(std::mem::take(&mut self.body), fields);
        }
    }
}

/// The state of reading one answer.
pub trait Decoder: Send {
    /// Takes what arrived, however it was cut, and appends the events it completes.
    ///
    /// # Errors
    ///
    /// What the bytes say or fail to say. Nothing may be fed afterwards.
    fn feed(&mut self, bytes: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), DecodeError>;

    /// Says that no more bytes come. Ends with [`ChatEvent::Done`] unless that was given before.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Cut`] when the answer was not whole.
    fn finish(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), DecodeError>;
}

/// Why an answer could not be read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecodeError {
    /// It stopped before its end marker.
    Cut,
    /// It is not what the API answers; for the log only.
    Malformed(String),
    /// One piece was larger than [`MAX_PIECE`].
    TooLarge,
    /// The provider said, within the answer, that it failed.
    Reported(Rejection),
}

impl From<serde_json::Error> for DecodeError {
    /// Says what is wrong and where, but not in serde's words: they quote the answer, which no log may hold.
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

/// What a provider's refusal means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The class, which decides about retries and the caller's status.
    pub class: RejectionClass,
    /// The provider's own words, shortened, for the caller where they help, else for the log.
    pub message: String,
    /// When the provider's body says to come back.
    pub retry_after: Option<Duration>,
}

/// The classes of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectionClass {
    /// The request is wrong, everywhere.
    BadRequest,
    /// The prompt does not fit this model.
    ContextTooLong,
    /// A filter refused the content.
    ContentFilter,
    /// The provider does not have the model.
    UnknownModel,
    /// The provider may not accept the gateway's key: 401, which others than the key may be the reason for as well.
    Auth,
    /// The provider does not permit this request: 403, which says nothing about others.
    Forbidden,
    /// The provider has not built what the request asks for: 501.
    NotImplemented,
    /// Nothing was begun, because a model is still being loaded or the provider's own queue is full: the same request
    /// may be asked again in a moment.
    NotBegun,
    /// Too many requests; a little later it works.
    RateLimited,
    /// The account has nothing left; a little later it does not work.
    QuotaExhausted,
    /// The process that runs the model died under the request.
    Crashed,
    /// Busy.
    Overloaded,
    /// The provider gave up waiting.
    Timeout,
    /// Anything else that went wrong there.
    Broken,
}

/// The class that a bare status says.
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
        // 409 among them: two of the provider's own steps met, which is not the request's fault.
        _ => RejectionClass::Broken,
    }
}

/// Takes apart the fields that only the client's own API knows: all of them when the provider speaks `api`.
///
/// # Errors
///
/// `InvalidRequest` naming a field that the provider has no place for and that would change the result.
fn foreign_fields<'a>(
    request: &'a ChatRequest,
    api: Api,
    dropped: &mut Vec<String>,
) -> Result<Vec<(&'a str, &'a Value)>, GatewayError> {
    dropped.extend(request.untold.iter().cloned());
    own_fields(request.extra.as_ref(), api, dropped)
}

/// As [`foreign_fields`], of any request.
fn own_fields<'a>(
    extra: Option<&'a Extra>,
    api: Api,
    dropped: &mut Vec<String>,
) -> Result<Vec<(&'a str, &'a Value)>, GatewayError> {
    /// They decide about the answer's shape or content rather than tune it.
    const DECISIVE: &[&str] = &["logit_bias", "modalities", "audio", "cachedContent"];
    let Some(extra) = extra else { return Ok(Vec::new()) };
    if extra.api == api {
        return Ok(extra.fields.iter().map(|(name, value)| (name.as_str(), value)).collect());
    }
    for (name, value) in &extra.fields {
        let is_default = match value {
            Value::Null => true,
            Value::Object(fields) => fields.is_empty() && name == "logit_bias",
            Value::Array(items) => items.iter().all(|item| item == "text"),
            Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        };
        if DECISIVE.contains(&name.as_str()) && !is_default {
            return Err(GatewayError::invalid(format!(
                "{name}: this provider has nothing like it, leave it out"
            )));
        }
        dropped.push(name.clone());
    }
    Ok(Vec::new())
}

/// Refuses a request for vectors of nothing, for APIs that need a text.
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

/// Refuses what an API has no word for.
fn unsupported_error(what: Option<&'static str>) -> GatewayError {
    let what = what.unwrap_or("answer to this");
    GatewayError::invalid(format!("this provider has no {what}, name another's model"))
}

/// The first 300 characters of a provider's words, on one line.
#[must_use]
fn shorten(words: &str) -> String {
    const MOST: usize = 300;
    let one_line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    match one_line.char_indices().nth(MOST) {
        None => one_line,
        Some((end, _)) => format!("{}…", one_line.get(..end).unwrap_or_default()),
    }
}
