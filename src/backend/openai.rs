//! OpenAI's chat completions API, as OpenAI and the many servers that imitate it speak it.
//!
//! It owns the shapes of requests, chunks and errors. It refuses, with the name of the field,
//! requests that the API cannot express without changing the result, such as several answers.
//! Settings that only tune the answer (`top_k`, `min_p`, `repeat_penalty`) are left out and
//! reported as dropped. The provider decides how many stop texts there may be and which messages
//! may hold pictures.
//!
//! The one thing to know: imitators agree on little more than the outline, so the decoder is
//! lenient about everything except the end. An answer without `finish_reason` was cut, with or
//! without `[DONE]`; if it has one, `[DONE]` may be missing.

mod common;
mod decode;
mod encode;
mod errors;
mod family;
mod features;
mod infill;
mod other_calls;
mod reasoning;
mod system;
pub(super) mod usage;

use super::document::{read_result, unexpected};
use super::stream::EventDecoder;
use super::{
    Backend, Below, DecodeError, Decoder, LimitField, NO_PATH, Rejection, Swapper, Target,
    UpstreamRequest, bearer, unsupported_error,
};
use crate::chat::{Api, Ask, ChatRequest, Endpoint, GatewayError, Listing, Model};

/// OpenAI's chat completions API; the provider's base address ends in `/v1`.
#[derive(Debug)]
pub struct OpenAi;

impl OpenAi {
    /// A decoder that watches a carried answer.
    pub(super) fn watch(request: &ChatRequest, seed: u64) -> Box<dyn Decoder> {
        Box::new(EventDecoder::lenient(decode::Chunks::new(request, seed)))
    }
}

/// Whether this model takes the limit of tokens under its newer name.
pub(super) fn has_newer_limit(model: &str, field: LimitField) -> bool {
    family::Family::of(model).has_newer_limit(field)
}

impl Backend for OpenAi {
    fn api(&self) -> Api {
        Api::OpenAi
    }

    fn unsupported(&self, ask: &Ask) -> Option<&'static str> {
        match ask {
            Ask::Chat(_) | Ask::Embed(_) => None,
            Ask::Show(_) => Some("description of models"),
            Ask::CountTokens(_) => Some("count of tokens"),
            Ask::Raw(_) => Some(NO_PATH),
        }
    }

    fn path(&self, endpoint: Endpoint) -> Option<&'static str> {
        match endpoint {
            Endpoint::OpenAiChat => Some("/chat/completions"),
            Endpoint::OpenAiCompletions => Some("/completions"),
            Endpoint::OpenAiEmbeddings => Some("/embeddings"),
            Endpoint::OpenAiResponses => Some("/responses"),
            Endpoint::AnthropicMessages => Some("/messages"),
            Endpoint::AnthropicCount => Some("/messages/count_tokens"),
            Endpoint::OllamaChat
            | Endpoint::OllamaGenerate
            | Endpoint::OllamaEmbed
            | Endpoint::GeminiGenerate
            | Endpoint::GeminiStream
            | Endpoint::GeminiCount
            | Endpoint::GeminiEmbed
            | Endpoint::GeminiBatchEmbed => None,
        }
    }

    /// The base address ends in `/v1`, as OpenAI's own clients write it; other paths of the server
    /// are below its root.
    fn below<'a>(&self, path: &'a str) -> Below<'a> {
        match path.strip_prefix("/v1").filter(|rest| rest.starts_with('/')) {
            Some(rest) => Below::Base(rest),
            None => Below::Root(path),
        }
    }

    fn credentials(&self, target: Target<'_>) -> Vec<(&'static str, String)> {
        bearer(target.api_key)
    }

    fn encode(&self, ask: &Ask, target: Target<'_>) -> Result<UpstreamRequest, GatewayError> {
        let Target { model, api_key, .. } = target;
        match ask {
            Ask::Chat(request) => encode::chat(request, target),
            Ask::Embed(request) => other_calls::embed(request, model, api_key),
            Ask::Show(_) | Ask::CountTokens(_) | Ask::Raw(_) => {
                Err(unsupported_error(self.unsupported(ask)))
            }
        }
    }

    fn decoder(&self, ask: &Ask, seed: u64) -> Box<dyn Decoder> {
        match ask {
            Ask::Chat(request) => Box::new(EventDecoder::new(decode::Chunks::new(request, seed))),
            Ask::Embed(request) => {
                read_result(other_calls::embeddings, errors::in_band, request.input.len())
            }
            Ask::Show(_) | Ask::CountTokens(_) | Ask::Raw(_) => unexpected(),
        }
    }

    fn listing(&self, listing: Listing, api_key: Option<&str>) -> Option<UpstreamRequest> {
        match listing {
            Listing::Installed => Some(other_calls::listing(api_key)),
            Listing::Loaded => None,
        }
    }

    fn swapper(&self, list: &[Model]) -> Option<Swapper> {
        Swapper::of(list)
    }

    fn read_listing(&self, body: &[u8]) -> Result<Vec<Model>, DecodeError> {
        other_calls::models(body)
    }

    fn rejection(&self, status: u16, body: &[u8], model: &str) -> Rejection {
        errors::read(status, body, model)
    }

    fn unreachable_hint(&self) -> &'static str {
        "is the server running, and does base_url end in `/v1`?"
    }
}

#[cfg(test)]
mod tests;
