//! Google's Gemini API, v1beta: `generateContent` and related methods.
//!
//! It owns the shapes of requests, answers and errors. It rejects by name what would change the
//! question if it were dropped, such as files and caches that Google stores, unless the request is
//! carried there; settings that only tune an answer are dropped for providers of other APIs.
//!
//! The one thing to know: the model and whether the answer is streamed are in the path, so a body
//! has neither. There is no heartbeat that a waiting client would accept, because Google's Python
//! client fails on a comment.

mod account;
mod answer;
mod contents;
mod embed;
mod models;
mod request;
mod schema;
mod thought_signature;
mod tools;

use serde_json::{Value, json};

use super::single::{misdirected, single};
use super::{Address, AnswerHead, Dialect, Encoder, ErrorBody};
use crate::chat::{Ask, Endpoint, ErrorKind, GatewayError, Whole, is_list};
use crate::wire::fields::{Fields, Object};
use crate::wire::json;

pub use models::{one as model, some as models};

/// Google's Gemini API, one value per method of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gemini {
    /// `:generateContent`: a whole answer.
    Generate,
    /// `:streamGenerateContent`: a streamed answer.
    Stream,
    /// `:countTokens`: the length of a prompt.
    Count,
    /// `:embedContent`: the embedding of one text.
    Embed,
    /// `:batchEmbedContents`: the embeddings of several texts.
    BatchEmbed,
}

impl Dialect for Gemini {
    fn name(&self) -> &'static str {
        "gemini"
    }

    fn paths(&self) -> &'static [&'static str] {
        match self {
            Self::Generate => &["/v1beta/models/{model:.+}:generateContent"],
            Self::Stream => &["/v1beta/models/{model:.+}:streamGenerateContent"],
            Self::Count => &["/v1beta/models/{model:.+}:countTokens"],
            Self::Embed => &["/v1beta/models/{model:.+}:embedContent"],
            Self::BatchEmbed => &["/v1beta/models/{model:.+}:batchEmbedContents"],
        }
    }

    fn endpoint(&self) -> Option<Endpoint> {
        Some(match self {
            Self::Generate => Endpoint::GeminiGenerate,
            Self::Stream => Endpoint::GeminiStream,
            Self::Count => Endpoint::GeminiCount,
            Self::Embed => Endpoint::GeminiEmbed,
            Self::BatchEmbed => Endpoint::GeminiBatchEmbed,
        })
    }

    fn unknown_reference(&self, body: &[u8]) -> Option<GatewayError> {
        account::unknown_reference(body)
    }

    fn decode(&self, body: &[u8]) -> Result<Ask, GatewayError> {
        let mut body = camel(json::read_object(body)?);
        let mut fields = Fields::new();
        let ask = match self {
            Self::Generate | Self::Stream => {
                let mut request = request::read(&mut fields, &mut body);
                request.stream = *self == Self::Stream;
                Ask::Chat(request)
            }
            Self::Count => Ask::CountTokens(request::counted(&mut fields, &mut body)),
            Self::Embed => Ask::Embed(embed::one(&mut fields, &mut body)),
            Self::BatchEmbed => Ask::Embed(embed::many(&mut fields, &mut body)),
        };
        fields.finish()?;
        Ok(ask)
    }

    fn address(&self, ask: &mut Ask, address: Address<'_>) {
        let model = Some(address.model.to_owned());
        match ask {
            Ask::Chat(chat) | Ask::CountTokens(chat) => {
                chat.model = model;
                chat.shape.is_list = is_list(address.query);
            }
            Ask::Embed(embed) => embed.model = model,
            Ask::Show(_) | Ask::Raw(_) => {}
        }
    }

    fn encoder(&self, ask: &Ask, head: AnswerHead) -> Box<dyn Encoder> {
        match ask {
            Ask::Chat(request) => Box::new(answer::Answer::new(request, &head)),
            Ask::CountTokens(_) => single(|result, _, _| match result {
                Whole::Tokens(tokens) => Some(json::to_vec(&json!({"totalTokens": tokens}))),
                Whole::Embeddings(_) | Whole::Document(_) => None,
            }),
            Ask::Embed(_) => embed::encoder(*self == Self::BatchEmbed),
            Ask::Show(_) | Ask::Raw(_) => misdirected(),
        }
    }

    fn error(&self, error: &GatewayError, _request_id: &str) -> ErrorBody {
        let (status, _) = class(error.kind);
        ErrorBody { status, body: json::to_vec(&envelope(error)) }
    }
}

/// The HTTP status and Google's status name of an error.
fn class(kind: ErrorKind) -> (u16, &'static str) {
    match kind {
        ErrorKind::InvalidRequest | ErrorKind::SchemaMismatch | ErrorKind::ContextTooLong => {
            (400, "INVALID_ARGUMENT")
        }
        ErrorKind::BodyTooLarge
        | ErrorKind::UnsupportedMediaType
        | ErrorKind::MethodNotAllowed
        | ErrorKind::UpgradeRequired => (kind.status(), "INVALID_ARGUMENT"),
        ErrorKind::InvalidApiKey => (401, "UNAUTHENTICATED"),
        ErrorKind::NotAllowed => (403, "PERMISSION_DENIED"),
        ErrorKind::ModelNotFound | ErrorKind::NotFound => (404, "NOT_FOUND"),
        ErrorKind::BodyTimeout | ErrorKind::Timeout => (kind.status(), "DEADLINE_EXCEEDED"),
        ErrorKind::RateLimited | ErrorKind::QuotaExhausted => (429, "RESOURCE_EXHAUSTED"),
        ErrorKind::Internal => (500, "INTERNAL"),
        ErrorKind::NotImplemented => (501, "UNIMPLEMENTED"),
        ErrorKind::BadUpstream
        | ErrorKind::Overloaded
        | ErrorKind::ProviderUnavailable
        | ErrorKind::Draining
        | ErrorKind::NoProviderForPolicy => (kind.status(), "UNAVAILABLE"),
    }
}

/// The error object in bodies and streams.
fn envelope(error: &GatewayError) -> Value {
    let (code, status) = class(error.kind);
    let mut message = error.message.to_string();
    if error.kind == ErrorKind::ContextTooLong {
        // Google's message, by which clients detect that a conversation must be shortened.
        message.insert_str(0, "The input token count exceeds the maximum number of tokens: ");
    }
    let mut details = Vec::new();
    if !error.problems.is_empty() {
        let violation = |problem: &crate::chat::FieldProblem| json!({"field": problem.path.join("."), "description": problem.message});
        let violations: Vec<Value> = error.problems.iter().map(violation).collect();
        details.push(json!({
            "@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations,
        }));
    }
    // Google's clients look here instead of in the header.
    if let Some(after) = error.retry_after.filter(|_| matches!(code, 429 | 503)) {
        details.push(json!({
            "@type": "type.googleapis.com/google.rpc.RetryInfo",
            "retryDelay": format!("{}s", after.as_secs_f64()),
        }));
    }
    let mut inner = json!({"code": code, "message": message, "status": status});
    if let (false, Some(fields)) = (details.is_empty(), inner.as_object_mut()) {
        fields.insert("details".to_owned(), Value::Array(details));
    }
    json!({"error": inner})
}

/// An object with all field names in Google's spelling. The API accepts `snake_case` too, and its
/// clients mix both.
fn camel(object: Object) -> Object {
    if object.keys().all(|name| !name.contains('_')) {
        return object;
    }
    object.into_iter().map(|(name, value)| (camel_name(&name), value)).collect()
}

fn camel_name(name: &str) -> String {
    let mut words = name.split('_');
    let mut written = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        written.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        written.push_str(letters.as_str());
    }
    written
}

#[cfg(test)]
mod tests;
