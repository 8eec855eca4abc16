//! Ollama's own API: `/api/chat` and `/api/generate`.
//!
//! It owns the shapes of both requests and of their answers, lines of JSON or one document. It refuses by name
//! what makes a generation something else than a chat: `raw`, `template`, `context` and `suffix`.
//!
//! The one thing to know: an answer is streamed unless the client says otherwise, and there is no sign of life
//! that a waiting client would accept, because its Python client fails on a blank line.

mod answer;
mod request;

use serde_json::json;

use super::{AnswerHead, Dialect, Encoder, ErrorBody};
use crate::chat::{ChatRequest, ErrorKind, GatewayError};
use crate::wire::fields::Fields;
use crate::wire::json;

/// Ollama's own API, one value per route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ollama {
    /// `/api/chat`: a conversation.
    Chat,
    /// `/api/generate`: one prompt.
    Generate,
}

impl Dialect for Ollama {
    fn name(&self) -> &'static str {
        "ollama"
    }

    fn paths(&self) -> &'static [&'static str] {
        match self {
            Self::Chat => &["/api/chat"],
            Self::Generate => &["/api/generate"],
        }
    }

    fn ignores_content_type(&self) -> bool {
        true
    }

    fn decode(&self, body: &[u8]) -> Result<ChatRequest, GatewayError> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Err(GatewayError::invalid("missing request body"));
        }
        let mut body = json::read_object(body)?;
        let mut fields = Fields::new();
        let request = match self {
            Self::Chat => request::chat(&mut fields, &mut body)?,
            Self::Generate => request::generate(&mut fields, &mut body)?,
        };
        fields.finish()?;
        Ok(request)
    }

    fn encoder(&self, request: &ChatRequest, head: AnswerHead) -> Box<dyn Encoder> {
        Box::new(answer::Answer::new(*self, request, &head))
    }

    fn error(&self, error: &GatewayError, _request_id: &str) -> ErrorBody {
        // Ollama knows one status for every request that it cannot read.
        let is_unfit = error.kind == ErrorKind::SchemaMismatch;
        let status = if is_unfit { 400 } else { error.kind.status() };
        ErrorBody { status, body: json::to_vec(&json!({"error": words(error)})) }
    }
}

/// What a client reads of an error.
fn words(error: &GatewayError) -> &str {
    if error.kind == ErrorKind::Overloaded {
        // Ollama's own, two spaces included: clients compare with them.
        return "server busy, please try again.  maximum pending requests exceeded";
    }
    &error.message
}

#[cfg(test)]
mod tests;
