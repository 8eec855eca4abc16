//! Anthropic's Messages API: `/v1/messages`.
//!
//! It owns the shapes of its requests, messages, events and errors. Features of Anthropic's own
//! servers, such as server tools, are kept for them and refused only by a provider that lacks them.
//!
//! The one thing to know: thinking is written only for clients that asked for it, by `thinking` or
//! by `output_config.effort`. Its signature is empty unless the provider sent one, and an empty one
//! that comes back is dropped.

mod count;
mod foreign;
mod message;
mod messages;
mod models;
mod request;
mod stream;
mod tools;
mod whole;

use serde_json::{Value, json};

use super::single::{AtEnd, misdirected};
use super::{AnswerHead, Dialect, Encoder, ErrorBody};
use crate::chat::{Ask, Endpoint, ErrorKind, GatewayError};
use crate::wire::fields::Fields;
use crate::wire::json;
use request::Limit;

pub use count::AnthropicCount;
pub use models::{one as model, some as models};

/// The name of both routes in metrics and logs.
const NAME: &str = "anthropic";

/// The header in which Anthropic's clients look for the request's id.
const REQUEST_ID: &str = "request-id";

/// Anthropic's Messages API.
#[derive(Debug)]
pub struct Anthropic;

impl Dialect for Anthropic {
    fn name(&self) -> &'static str {
        NAME
    }

    fn paths(&self) -> &'static [&'static str] {
        &["/v1/messages"]
    }

    fn has_heartbeat(&self) -> bool {
        true
    }

    fn endpoint(&self) -> Option<Endpoint> {
        Some(Endpoint::AnthropicMessages)
    }

    fn decode(&self, body: &[u8]) -> Result<Ask, GatewayError> {
        let mut body = json::read_object(body)?;
        let mut fields = Fields::new();
        let request = request::read(&mut fields, &mut body, Limit::Required);
        fields.finish()?;
        Ok(Ask::Chat(request))
    }

    fn encoder(&self, ask: &Ask, head: AnswerHead) -> Box<dyn Encoder> {
        let Ask::Chat(request) = ask else { return misdirected() };
        let head = message::Head::new(request, &head);
        if request.stream {
            Box::new(stream::Streamed::new(head))
        } else {
            Box::new(AtEnd(whole::Whole::new(head)))
        }
    }

    fn error(&self, error: &GatewayError, request_id: &str) -> ErrorBody {
        error_body(error, request_id)
    }

    fn request_id_header(&self) -> Option<&'static str> {
        Some(REQUEST_ID)
    }
}

/// Writes an error in place of an answer.
fn error_body(error: &GatewayError, request_id: &str) -> ErrorBody {
    let (status, _) = class(error.kind);
    let body = json!({"type": "error", "error": detail(error), "request_id": request_id});
    ErrorBody { status, body: json::to_vec(&body) }
}

/// The status and type of an error.
fn class(kind: ErrorKind) -> (u16, &'static str) {
    match kind {
        ErrorKind::InvalidRequest | ErrorKind::SchemaMismatch | ErrorKind::ContextTooLong => {
            (400, "invalid_request_error")
        }
        ErrorKind::MethodNotAllowed
        | ErrorKind::UnsupportedMediaType
        | ErrorKind::UpgradeRequired
        | ErrorKind::NotImplemented => (kind.status(), "invalid_request_error"),
        ErrorKind::InvalidApiKey => (401, "authentication_error"),
        ErrorKind::NotAllowed => (403, "permission_error"),
        ErrorKind::ModelNotFound | ErrorKind::NotFound => (404, "not_found_error"),
        ErrorKind::BodyTooLarge => (413, "request_too_large"),
        ErrorKind::RateLimited | ErrorKind::QuotaExhausted => (429, "rate_limit_error"),
        ErrorKind::BodyTimeout | ErrorKind::Timeout => (kind.status(), "timeout_error"),
        // Anthropic's own status for a temporary overload, which its clients retry.
        ErrorKind::Overloaded | ErrorKind::ProviderUnavailable | ErrorKind::Draining => {
            (529, "overloaded_error")
        }
        ErrorKind::BadUpstream | ErrorKind::NoProviderForPolicy | ErrorKind::Internal => {
            (kind.status(), "api_error")
        }
    }
}

/// The error object in bodies and events.
fn detail(error: &GatewayError) -> Value {
    let (_, kind) = class(error.kind);
    let mut message = error.message.to_string();
    if error.kind == ErrorKind::ContextTooLong {
        // Agents look for this text in order to shorten a conversation.
        message.insert_str(0, "prompt is too long: ");
    }
    json!({"type": kind, "message": message})
}

#[cfg(test)]
mod tests;
