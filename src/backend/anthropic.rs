//! Anthropic's Messages API.
//!
//! It owns the shapes of requests, events and errors. It refuses by name what the API has no word for and what
//! would change the result: several answers, log probabilities, blank stop texts. Penalties, `seed`, `min_p` and
//! `repeat_penalty` are left out and named as dropped.
//!
//! The one thing to know: thinking excludes much else, and of two wishes that exclude each other the one that
//! decides the answer's shape wins. A forced tool call, a limit below 1025 tokens, or a tool loop that began
//! without thinking turn thinking off, which is then named as dropped.

mod decode;
mod encode;
mod other_calls;
mod refusal;
mod request_body;
mod thinking;
mod thinking_style;

use serde_json::Value;

use super::document::{read_result, unexpected};
use super::stream::EventDecoder;
use super::{Backend, DecodeError, Decoder, Rejection, Target, UpstreamRequest, unsupported_error};
use crate::chat::{Api, Ask, ChatRequest, Endpoint, GatewayError, Listing, Model};

/// The limit of tokens for requests without one, since the API demands one: the most that all models in service
/// allow. A thinking budget is added to it. `default_max_tokens` of the provider takes its place.
pub const DEFAULT_MAX_TOKENS: u32 = 8192;

/// Anthropic's Messages API; the provider's base address has no path.
#[derive(Debug)]
pub struct Anthropic;

impl Anthropic {
    /// Watches an answer that is carried.
    pub(super) fn watch(request: &ChatRequest, seed: u64) -> Box<dyn Decoder> {
        Box::new(EventDecoder::lenient(decode::Messages::new(request, seed)))
    }
}

/// Reads an error within an answer.
fn in_band(body: &Value) -> Option<Rejection> {
    refusal::ERRORS.in_band(body)
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
            | Endpoint::OllamaEmbed => None,
        }
    }

    fn credentials(&self, target: Target<'_>) -> Vec<(&'static str, String)> {
        encode::headers(target.api_key, target.quirks.api_version)
    }

    fn encode(&self, ask: &Ask, target: Target<'_>) -> Result<UpstreamRequest, GatewayError> {
        match ask {
            Ask::Chat(request) => encode::chat(request, target),
            Ask::CountTokens(request) => other_calls::count(request, target),
            Ask::Embed(_) | Ask::Show(_) => Err(unsupported_error(self.unsupported(ask))),
        }
    }

    /// The newest models answer 400 to a last assistant message, so that only the old family is trusted to go on; and
    /// who thinks begins with that.
    fn continues_prefill(&self, request: &ChatRequest, model: &str) -> bool {
        model.starts_with("claude-3")
            && !thinking::Thinking::of(request, thinking_style::ThinkingStyle::of(model), None)
                .is_on()
    }

    fn decoder(&self, ask: &Ask, seed: u64) -> Box<dyn Decoder> {
        match ask {
            Ask::Chat(request) => Box::new(EventDecoder::new(decode::Messages::new(request, seed))),
            Ask::CountTokens(_) => read_result(other_calls::tokens, in_band, 0),
            Ask::Embed(_) | Ask::Show(_) => unexpected(),
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
        refusal::ERRORS.read(status, body, model)
    }

    fn unreachable_hint(&self) -> &'static str {
        "can this machine reach the internet?"
    }
}

#[cfg(test)]
mod tests;
