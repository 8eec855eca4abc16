//! OpenAI's API: chat completions, legacy completions, responses, embeddings, lists of models.
//!
//! This file owns what the routes have in common in their answers: the error envelope, finish
//! reasons, token counts, the shape of log probabilities. Each route has its own file, and
//! `request` and `tools` have what the routes have in common in their requests. Unknown request
//! fields are kept for providers of the same API and never rejected, because clients add fields
//! every month.
//!
//! The one thing to know: SDKs switch on the status and on `code`, so a failure for which OpenAI
//! has a code gets that code instead of the gateway's own.

mod chat;
mod completion_object;
mod completions;
mod content;
mod document;
mod embeddings;
mod image;
mod models;
mod request;
mod responses;
mod tools;

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Value, json};

use super::ErrorBody;
use crate::chat::{ErrorKind, FieldProblem, Finish, GatewayError, Origin, TokenLogprob, Usage};
use crate::wire::json;

pub use chat::OpenAiChat;
pub use completions::OpenAiCompletions;
pub use embeddings::OpenAiEmbeddings;
pub use models::{one as model, some as models};
pub use responses::{OpenAiResponses, response_not_found};

/// The name of all routes in metrics and logs.
const NAME: &str = "openai";

/// The rule of a known field that is not supported.
const UNSUPPORTED_PARAMETER: &str = "unsupported_parameter";

/// The rule of a value that is not supported, although other values of its field are.
const UNSUPPORTED_VALUE: &str = "unsupported_value";

/// The rule of a value that is not one of those allowed.
const INVALID_VALUE: &str = "invalid_value";

/// Writes an error in place of an answer.
fn error_body(error: &GatewayError) -> ErrorBody {
    let status = if error.kind == ErrorKind::SchemaMismatch { 400 } else { error.kind.status() };
    ErrorBody { status, body: json::to_vec(&envelope(error)) }
}

/// `{"error": {…}}`, with all four keys that the specification requires.
fn envelope(error: &GatewayError) -> Value {
    json!({"error": {
        "message": message(error),
        "type": error_type(error.kind),
        "param": param(error),
        "code": code(error),
    }})
}

/// Lists the problems, up to a limit.
fn message(error: &GatewayError) -> Cow<'_, str> {
    const MOST: usize = 5;
    if error.problems.is_empty() {
        return Cow::Borrowed(&error.message);
    }
    let mut problems: Vec<String> = error
        .problems
        .iter()
        .take(MOST)
        .map(|problem| format!("{}: {}", path(problem), problem.message))
        .collect();
    if error.problems.len() > MOST {
        problems.push(format!("and {} more", error.problems.len() - MOST));
    }
    Cow::Owned(problems.join("; "))
}

fn error_type(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidRequest
        | ErrorKind::SchemaMismatch
        | ErrorKind::ContextTooLong
        | ErrorKind::InvalidApiKey
        | ErrorKind::NotAllowed
        | ErrorKind::ModelNotFound
        | ErrorKind::NotFound
        | ErrorKind::MethodNotAllowed
        | ErrorKind::BodyTooLarge
        | ErrorKind::BodyTimeout
        | ErrorKind::UnsupportedMediaType
        | ErrorKind::UpgradeRequired
        | ErrorKind::NotImplemented => "invalid_request_error",
        ErrorKind::RateLimited => "rate_limit_error",
        ErrorKind::QuotaExhausted => "insufficient_quota",
        ErrorKind::Overloaded
        | ErrorKind::ProviderUnavailable
        | ErrorKind::Draining
        | ErrorKind::NoProviderForPolicy => "service_unavailable_error",
        ErrorKind::BadUpstream | ErrorKind::Timeout | ErrorKind::Internal => "server_error",
    }
}

/// OpenAI's own code if it has one that clients compare with, else the gateway's.
fn code(error: &GatewayError) -> &'static str {
    match error.kind {
        ErrorKind::InvalidRequest | ErrorKind::SchemaMismatch => {
            error.problems.first().map_or(error.kind.code(), problem_code)
        }
        ErrorKind::RateLimited => "rate_limit_exceeded",
        ErrorKind::QuotaExhausted => "insufficient_quota",
        ErrorKind::Overloaded | ErrorKind::ProviderUnavailable => "server_is_overloaded",
        ErrorKind::ContextTooLong
        | ErrorKind::InvalidApiKey
        | ErrorKind::NotAllowed
        | ErrorKind::ModelNotFound
        | ErrorKind::NotFound
        | ErrorKind::MethodNotAllowed
        | ErrorKind::BodyTooLarge
        | ErrorKind::BodyTimeout
        | ErrorKind::UnsupportedMediaType
        | ErrorKind::UpgradeRequired
        | ErrorKind::NotImplemented
        | ErrorKind::BadUpstream
        | ErrorKind::Draining
        | ErrorKind::NoProviderForPolicy
        | ErrorKind::Timeout
        | ErrorKind::Internal => error.kind.code(),
    }
}

fn problem_code(problem: &FieldProblem) -> &'static str {
    match problem.rule {
        UNSUPPORTED_PARAMETER => UNSUPPORTED_PARAMETER,
        UNSUPPORTED_VALUE => UNSUPPORTED_VALUE,
        "missing" | "none_not_allowed" => "missing_required_parameter",
        rule if rule.ends_with("_type") => "invalid_type",
        _ => INVALID_VALUE,
    }
}

/// The field that caused an error.
fn param(error: &GatewayError) -> Option<String> {
    if let Some(problem) = error.problems.first() {
        return Some(path(problem));
    }
    if error.kind == ErrorKind::ModelNotFound {
        return Some("model".to_owned());
    }
    // A backend's message about a field begins with the field's name.
    if error.kind != ErrorKind::InvalidRequest || error.origin != Origin::Client {
        return None;
    }
    let (name, _) = error.message.split_once(": ")?;
    let named = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    named.then(|| name.to_owned())
}

/// A path in OpenAI's form: `messages[0].role`.
fn path(problem: &FieldProblem) -> String {
    let mut path = String::new();
    for segment in &problem.path {
        if segment.bytes().all(|byte| byte.is_ascii_digit()) {
            path.push('[');
            path.push_str(segment);
            path.push(']');
        } else {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(segment);
        }
    }
    path
}

/// One of OpenAI's own values: clients with typed enums fail on others.
pub(super) fn finish_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::Paused | Finish::Load | Finish::Unload => "stop",
        Finish::Length => "length",
        Finish::ToolCalls => "tool_calls",
        Finish::ContentFilter => "content_filter",
    }
}

/// Token counts of chat and legacy completions. The totals are required, so an unknown one is 0;
/// details are written only if they are known.
#[derive(Serialize)]
pub(super) struct Counts {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens_details: Option<PromptDetails>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_tokens_details: Option<CompletionDetails>,
}

#[derive(Serialize)]
struct PromptDetails {
    cached_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_write_tokens: Option<u64>,
}

#[derive(Serialize)]
struct CompletionDetails {
    reasoning_tokens: u64,
}

impl From<&Usage> for Counts {
    fn from(usage: &Usage) -> Self {
        let details = usage.cached.is_some() || usage.cache_written.is_some();
        Self {
            prompt_tokens: usage.prompt.unwrap_or(0),
            completion_tokens: usage.completion.unwrap_or(0),
            total_tokens: usage.total(),
            prompt_tokens_details: details.then(|| PromptDetails {
                cached_tokens: usage.cached.unwrap_or(0),
                cache_write_tokens: usage.cache_written,
            }),
            completion_tokens_details: usage
                .reasoning
                .map(|reasoning_tokens| CompletionDetails { reasoning_tokens }),
        }
    }
}

/// A token's log probability with OpenAI's field names.
#[derive(Serialize)]
struct Logprob<'a> {
    token: &'a str,
    logprob: f64,
    bytes: Option<&'a [u8]>,
    top_logprobs: Vec<TopLogprob<'a>>,
}

#[derive(Serialize)]
struct TopLogprob<'a> {
    token: &'a str,
    logprob: f64,
    bytes: Option<&'a [u8]>,
}

impl<'a> From<&'a TokenLogprob> for Logprob<'a> {
    fn from(token: &'a TokenLogprob) -> Self {
        let top = token.top.iter().map(|top| TopLogprob {
            token: &top.token,
            logprob: top.logprob,
            bytes: top.bytes.as_deref(),
        });
        Self {
            token: &token.token,
            logprob: token.logprob,
            bytes: token.bytes.as_deref(),
            top_logprobs: top.collect(),
        }
    }
}

#[cfg(test)]
mod tests;
