//! Ollama's native `/api/chat`, streamed as newline-delimited JSON.
//!
//! It owns the shapes of Ollama's requests, lines and errors. It refuses, with the name of the
//! field, requests that Ollama cannot express without changing the result: several answers, images
//! at addresses, arguments that are not an object.
//!
//! The one thing to know: the gateway asks for a stream even if the client wants a whole answer,
//! because Ollama sends headers only with the first token, which distinguishes a model that loads
//! from one that hangs. A line with `error` may follow a status of 200, and a stream may end
//! without `done`; both are failures.

mod common;
mod decode;
mod encode;
mod errors;
mod infill;
mod load;
mod other_calls;

use super::document::{read_result, unexpected};
use super::{
    Backend, DecodeError, Decoder, Load, ModelRunner, NO_PATH, Rejection, Target, UpstreamRequest,
    bearer, unsupported_error,
};
use crate::chat::{Api, Ask, ChatRequest, Endpoint, GatewayError, Listing, Model, Naming};

/// Ollama's native API.
#[derive(Debug)]
pub struct Ollama;

impl Ollama {
    /// A decoder that watches a carried answer.
    pub(super) fn watch(request: &ChatRequest, seed: u64) -> Box<dyn Decoder> {
        Box::new(decode::Answer::lenient(request, seed))
    }
}

impl Backend for Ollama {
    fn api(&self) -> Api {
        Api::Ollama
    }

    fn naming(&self) -> Naming {
        Naming::Tagged
    }

    fn unsupported(&self, ask: &Ask) -> Option<&'static str> {
        match ask {
            Ask::Chat(_) | Ask::Embed(_) | Ask::Show(_) => None,
            Ask::CountTokens(_) => Some("count of tokens"),
            Ask::Raw(_) => Some(NO_PATH),
        }
    }

    // Never Ollama's own `/v1/…`, which has no field for `num_ctx` and loads the model again.
    fn path(&self, endpoint: Endpoint) -> Option<&'static str> {
        match endpoint {
            Endpoint::OllamaChat => Some("/api/chat"),
            Endpoint::OllamaGenerate => Some("/api/generate"),
            Endpoint::OllamaEmbed => Some("/api/embed"),
            Endpoint::OpenAiChat
            | Endpoint::OpenAiCompletions
            | Endpoint::OpenAiEmbeddings
            | Endpoint::OpenAiResponses
            | Endpoint::AnthropicMessages
            | Endpoint::AnthropicCount
            | Endpoint::GeminiGenerate
            | Endpoint::GeminiStream
            | Endpoint::GeminiCount
            | Endpoint::GeminiEmbed
            | Endpoint::GeminiBatchEmbed => None,
        }
    }

    fn credentials(&self, target: Target<'_>) -> Vec<(&'static str, String)> {
        bearer(target.api_key)
    }

    fn encode(&self, ask: &Ask, target: Target<'_>) -> Result<UpstreamRequest, GatewayError> {
        let Target { model, api_key, .. } = target;
        match ask {
            Ask::Chat(request) => encode::chat(request, target),
            Ask::Embed(request) => Ok(other_calls::embed(request, model, api_key)),
            Ask::Show(request) => Ok(other_calls::show(request, model, api_key)),
            Ask::CountTokens(_) | Ask::Raw(_) => Err(unsupported_error(self.unsupported(ask))),
        }
    }

    /// The template of a chat leaves a last assistant message open. A model that is asked to think
    /// does that first.
    fn continues_prefill(&self, request: &ChatRequest, _model: &str) -> bool {
        request.effort.is_none()
    }

    fn decoder(&self, ask: &Ask, seed: u64) -> Box<dyn Decoder> {
        match ask {
            Ask::Chat(request) => Box::new(decode::Answer::new(request, seed)),
            Ask::Embed(request) => {
                read_result(other_calls::embeddings, errors::in_band, request.input.len())
            }
            Ask::Show(_) => read_result(other_calls::description, errors::in_band, 0),
            Ask::CountTokens(_) | Ask::Raw(_) => unexpected(),
        }
    }

    fn listing(&self, listing: Listing, api_key: Option<&str>) -> Option<UpstreamRequest> {
        Some(other_calls::listing(listing, api_key))
    }

    fn read_listing(&self, body: &[u8]) -> Result<Vec<Model>, DecodeError> {
        other_calls::models(body)
    }

    fn load(&self, load: Load<'_>) -> Option<UpstreamRequest> {
        Some(load::call(load))
    }

    fn runner(&self, model: &Model) -> Option<ModelRunner> {
        load::runner(model)
    }

    fn rejection(&self, status: u16, body: &[u8], model: &str) -> Rejection {
        errors::read(status, body, model)
    }

    fn unreachable_hint(&self) -> &'static str {
        "is Ollama running? start it with `ollama serve`"
    }

    fn unreachable_hint_in_container(&self) -> &'static str {
        "is Ollama running? start it with `ollama serve`; in this container `localhost` is the container itself, and an \
         Ollama on the host listens on the host's loopback only, where no container gets to, unless it has \
         `OLLAMA_HOST=0.0.0.0`"
    }
}

#[cfg(test)]
mod tests;
