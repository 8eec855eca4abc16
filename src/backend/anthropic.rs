//! Anthropic's Messages API.
//!
//! It owns the shapes of requests, events and errors. It refuses, with the name of the field,
//! requests that the API cannot express without changing the result: several answers, log
//! probabilities, blank stop texts. Penalties, `seed`, `min_p` and `repeat_penalty` are left out
//! and reported as dropped.
//!
//! The one thing to know: thinking excludes several other settings, and of two settings that
//! exclude each other, the one that decides the shape of the answer wins. A forced tool call, a
//! limit below 1025 tokens, or a tool loop that began without thinking turns thinking off, which is
//! then reported as dropped.

mod decode;
mod encode;
mod errors;
mod other_calls;
mod request_body;
mod thinking;
mod thinking_style;

use serde_json::Value;

use super::document::{read_result, unexpected};
use super::stream::EventDecoder;
use super::{
    Backend, DecodeError, Decoder, NO_PATH, Rejection, Target, UpstreamRequest, unsupported_error,
};
use crate::chat::{Api, Ask, ChatRequest, Endpoint, GatewayError, Listing, Model};

/// The limit of tokens for requests without one, since the API requires one: the largest that all
/// models in service accept. A thinking budget is added to it. `default_max_tokens` of the provider
/// replaces it.
pub const DEFAULT_MAX_TOKENS: u32 = 8192;

/// Anthropic's Messages API; the provider's base address has no path.
#[derive(Debug)]
pub struct Anthropic;

impl Anthropic {
    /// A decoder that watches a carried answer.
    pub(super) fn watch(request: &ChatRequest, seed: u64) -> Box<dyn Decoder> {
        Box::new(EventDecoder::lenient(decode::Messages::new(request, seed)))
    }
}

/// Reads an error within an answer.
fn in_band(body: &Value) -> Option<Rejection> {
    errors::ERRORS.in_band(body)
}

impl Backend for Anthropic {
    fn api(&self) -> Api {
        Api::Anthropic
    }

    fn unsupported(&self, ask: &Ask) -> Option<&'static str> {
        match ask {
            Ask::Chat(_) | Ask::CountTokens(_) => None,
            Ask::Embed(_) => Some("embeddings"),
            Ask::Show(_) => Some("description of models"),
            Ask::Raw(_) => Some(NO_PATH),
        }
    }

    fn path(&self, endpoint: Endpoint) -> Option<&'static str> {
        match endpoint {
            Endpoint::AnthropicMessages => Some("/v1/messages"),
            Endpoint::AnthropicCount => Some("/v1/messages/count_tokens"),
            Endpoint::OpenAiChat
            | Endpoint::OpenAiCompletions
            | Endpoint::OpenAiEmbeddings
            | Endpoint::OpenAiResponses
            | Endpoint::OllamaChat
            | Endpoint::OllamaGenerate
            | Endpoint::OllamaEmbed
            | Endpoint::GeminiGenerate
            | Endpoint::GeminiStream
            | Endpoint::GeminiCount
            | Endpoint::GeminiEmbed
            | Endpoint::GeminiBatchEmbed => None,
        }
    }

    fn credentials(&self, target: Target<'_>) -> Vec<(&'static str, String)> {
        encode::headers(target.api_key, target.quirks.api_version)
    }

    fn encode(&self, ask: &Ask, target: Target<'_>) -> Result<UpstreamRequest, GatewayError> {
        match ask {
            Ask::Chat(request) => encode::chat(request, target),
            Ask::CountTokens(request) => other_calls::count(request, target),
            Ask::Embed(_) | Ask::Show(_) | Ask::Raw(_) => {
                Err(unsupported_error(self.unsupported(ask)))
            }
        }
    }

    /// The newest models answer 400 to a last assistant message, so only the old family is known to
    /// continue it; and a model that thinks begins with its thinking.
    fn continues_prefill(&self, request: &ChatRequest, model: &str) -> bool {
        model.starts_with("claude-3")
            && !thinking::Thinking::of(request, thinking_style::ThinkingStyle::of(model), None)
                .is_on()
    }

    fn decoder(&self, ask: &Ask, seed: u64) -> Box<dyn Decoder> {
        match ask {
            Ask::Chat(request) => Box::new(EventDecoder::new(decode::Messages::new(request, seed))),
            Ask::CountTokens(_) => read_result(other_calls::tokens, in_band, 0),
            Ask::Embed(_) | Ask::Show(_) | Ask::Raw(_) => unexpected(),
        }
    }

    fn listing(&self, listing: Listing, api_key: Option<&str>) -> Option<UpstreamRequest> {
        match listing {
            Listing::Installed => Some(other_calls::listing(api_key)),
            Listing::Loaded => None,
        }
    }

    fn read_listing(&self, body: &[u8]) -> Result<Vec<Model>, DecodeError> {
        other_calls::models(body)
    }

    fn rejection(&self, status: u16, body: &[u8], model: &str) -> Rejection {
        errors::ERRORS.read(status, body, model)
    }

    fn unreachable_hint(&self) -> &'static str {
        "can this machine reach the internet?"
    }
}

#[cfg(test)]
mod tests;
