//! Google's Gemini: `streamGenerateContent` of the Generative Language API, v1beta.
//!
//! It owns the shapes of requests, answers and errors. It refuses, with the name of the field,
//! requests that the API cannot express without changing the result: several answers, images at
//! plain `http` addresses. The key is sent only in a header, because addresses end up in logs.
//!
//! The one thing to know: newer models require their thought signatures back with every tool call,
//! and only Gemini's own API has a field for them. A signature is therefore sent twice: as
//! [`crate::chat::ChatEvent::Signature`], for clients that keep thinking, and within the id of a
//! call that came without one, for clients that keep only the id. `signature.rs` has the details.

mod config;
mod decode;
mod encode;
mod errors;
mod media;
mod other_calls;
mod signature;

use serde_json::Value;

use super::document::{read_result, unexpected};
use super::stream::EventDecoder;
use super::{
    Backend, DecodeError, Decoder, NO_PATH, Rejection, Target, UpstreamRequest, unsupported_error,
};
use crate::chat::{Api, Ask, ChatRequest, Endpoint, GatewayError, Listing, Model};

/// Google's Gemini; the provider's base address has no path.
#[derive(Debug)]
pub struct Gemini;

impl Gemini {
    /// Watches an answer that is carried.
    pub(super) fn watch(request: &ChatRequest, seed: u64) -> Box<dyn Decoder> {
        Box::new(EventDecoder::lenient(decode::Responses::watching(request, seed)))
    }
}

/// Reads an error within an answer.
fn in_band(body: &Value) -> Option<Rejection> {
    errors::ERRORS.in_band(body)
}

impl Backend for Gemini {
    fn api(&self) -> Api {
        Api::Gemini
    }

    fn unsupported(&self, ask: &Ask) -> Option<&'static str> {
        match ask {
            Ask::Chat(_) | Ask::Embed(_) | Ask::CountTokens(_) => None,
            Ask::Show(_) => Some("description of models"),
            Ask::Raw(_) => Some(NO_PATH),
        }
    }

    fn path(&self, endpoint: Endpoint) -> Option<&'static str> {
        match endpoint {
            Endpoint::GeminiGenerate => Some(":generateContent"),
            Endpoint::GeminiStream => Some(":streamGenerateContent"),
            Endpoint::GeminiCount => Some(":countTokens"),
            Endpoint::GeminiEmbed => Some(":embedContent"),
            Endpoint::GeminiBatchEmbed => Some(":batchEmbedContents"),
            Endpoint::OpenAiChat
            | Endpoint::OpenAiCompletions
            | Endpoint::OpenAiEmbeddings
            | Endpoint::OpenAiResponses
            | Endpoint::AnthropicMessages
            | Endpoint::AnthropicCount
            | Endpoint::OllamaChat
            | Endpoint::OllamaGenerate
            | Endpoint::OllamaEmbed => None,
        }
    }

    fn path_for(&self, endpoint: Endpoint, model: &str) -> Option<String> {
        let method = self.path(endpoint)?;
        let model = encode::path_of(model.strip_prefix("models/").unwrap_or(model)).ok()?;
        Some(format!("/v1beta/{model}{method}"))
    }

    fn credentials(&self, target: Target<'_>) -> Vec<(&'static str, String)> {
        encode::headers(target.api_key)
    }

    fn encode(&self, ask: &Ask, target: Target<'_>) -> Result<UpstreamRequest, GatewayError> {
        let Target { model, api_key, .. } = target;
        match ask {
            Ask::Chat(request) => encode::chat(request, target),
            Ask::Embed(request) => other_calls::embed(request, model, api_key),
            Ask::CountTokens(request) => other_calls::count(request, target),
            Ask::Show(_) | Ask::Raw(_) => Err(unsupported_error(self.unsupported(ask))),
        }
    }

    fn decoder(&self, ask: &Ask, seed: u64) -> Box<dyn Decoder> {
        match ask {
            Ask::Chat(request) => {
                Box::new(EventDecoder::new(decode::Responses::new(request, seed)))
            }
            Ask::Embed(request) => {
                read_result(other_calls::embeddings, in_band, request.input.len())
            }
            Ask::CountTokens(_) => read_result(other_calls::tokens, in_band, 0),
            Ask::Show(_) | Ask::Raw(_) => unexpected(),
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
