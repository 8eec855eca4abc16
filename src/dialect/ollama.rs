//! Ollama's own API: `/api/chat`, `/api/generate`, embeddings, and facts about models.
//!
//! It owns the shapes of requests and of their answers, which are lines of JSON or one document. It
//! rejects by name the fields that make a generation something other than a chat: `raw`, `template`
//! and `context`.
//!
//! The one thing to know: an answer is streamed unless the client says otherwise. There is no
//! heartbeat that a waiting client would accept, because Ollama's Python client fails on a blank
//! line.

mod answer;
mod embed;
mod models;
mod request;

use serde_json::json;

use super::single::{misdirected, single};
use super::{AnswerHead, Dialect, Encoder, ErrorBody};
use crate::chat::{Ask, Endpoint, ErrorKind, GatewayError, Whole};
use crate::wire::fields::Fields;
use crate::wire::json;

pub use models::{VERSION, described, installed, loaded};

/// Ollama's own API, one value per route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ollama {
    /// `/api/chat`: a conversation.
    Chat,
    /// `/api/generate`: one prompt.
    Generate,
    /// `/api/embed`: embeddings of texts.
    Embed,
    /// `/api/embeddings`: the embedding of one text, in the older form.
    Embeddings,
    /// `/api/show`: the facts about a model.
    Show,
}

impl Dialect for Ollama {
    fn name(&self) -> &'static str {
        "ollama"
    }

    fn paths(&self) -> &'static [&'static str] {
        match self {
            Self::Chat => &["/api/chat"],
            Self::Generate => &["/api/generate"],
            Self::Embed => &["/api/embed"],
            Self::Embeddings => &["/api/embeddings"],
            Self::Show => &["/api/show"],
        }
    }

    fn ignores_content_type(&self) -> bool {
        true
    }

    fn endpoint(&self) -> Option<Endpoint> {
        match self {
            Self::Chat => Some(Endpoint::OllamaChat),
            Self::Generate => Some(Endpoint::OllamaGenerate),
            Self::Embed => Some(Endpoint::OllamaEmbed),
            Self::Embeddings | Self::Show => None,
        }
    }

    fn decode(&self, body: &[u8]) -> Result<Ask, GatewayError> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Err(GatewayError::invalid("missing request body"));
        }
        let mut body = json::read_object(body)?;
        let mut fields = Fields::new();
        let mut ask = match self {
            Self::Chat => Ask::Chat(request::chat(&mut fields, &mut body)?),
            Self::Generate => Ask::Chat(request::generate(&mut fields, &mut body)?),
            Self::Embed => Ask::Embed(embed::many(&mut fields, &mut body)?),
            Self::Embeddings => Ask::Embed(embed::one(&mut fields, &mut body)?),
            Self::Show => Ask::Show(request::show(&mut fields, &mut body)?),
        };
        let take_dropped = fields.take_dropped();
        fields.finish()?;
        if let Ask::Chat(request) = &mut ask {
            request.dropped = take_dropped;
        }
        Ok(ask)
    }

    fn encoder(&self, ask: &Ask, head: AnswerHead) -> Box<dyn Encoder> {
        match ask {
            Ask::Chat(request) => Box::new(answer::Answer::new(*self, request, &head)),
            Ask::Embed(_) => embed::encoder(*self, head.model_for(ask.model()), head.waited),
            Ask::Show(_) => single(|result, _, _| match result {
                Whole::Document(document) => Some(json::to_vec(&document)),
                Whole::Embeddings(_) | Whole::Tokens(_) => None,
            }),
            Ask::CountTokens(_) | Ask::Raw(_) => misdirected(),
        }
    }

    fn error(&self, error: &GatewayError, _request_id: &str) -> ErrorBody {
        // Ollama has one status for every invalid request.
        let is_unfit = error.kind == ErrorKind::SchemaMismatch;
        let status = if is_unfit { 400 } else { error.kind.status() };
        ErrorBody { status, body: json::to_vec(&json!({"error": words(error)})) }
    }
}

/// The error message for a client.
fn words(error: &GatewayError) -> &str {
    if error.kind == ErrorKind::Overloaded {
        // Ollama's own text, two spaces included: clients compare with it.
        return "server busy, please try again.  maximum pending requests exceeded";
    }
    &error.message
}

#[cfg(test)]
mod tests;
