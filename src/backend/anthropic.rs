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
mod refusal;
mod shape;
mod thinking;

use super::stream::EventDecoder;
use super::{Backend, Decoder, Rejection, UpstreamRequest};
use crate::chat::{Api, ChatRequest, GatewayError};

/// The version of the API that is spoken. The later 2026-10-21 has no `temperature`, `top_p` and `top_k`.
pub const VERSION: &str = "2023-06-01";

/// The limit of tokens for requests without one, since the API demands one: the most that all models in service
/// allow. A thinking budget is added to it.
pub const DEFAULT_MAX_TOKENS: u32 = 8192;

/// Anthropic's Messages API; the provider's base address has no path.
#[derive(Debug)]
pub struct Anthropic;

impl Backend for Anthropic {
    fn api(&self) -> Api {
        Api::Anthropic
    }

    fn encode(
        &self,
        request: &ChatRequest,
        model: &str,
        api_key: Option<&str>,
    ) -> Result<UpstreamRequest, GatewayError> {
        encode::chat(request, model, api_key)
    }

    fn decoder(&self, request: &ChatRequest, seed: u64) -> Box<dyn Decoder> {
        Box::new(EventDecoder::new(decode::Messages::new(request, seed)))
    }

    fn rejection(&self, status: u16, body: &[u8], model: &str) -> Rejection {
        refusal::read(status, body, model)
    }

    fn unreachable_hint(&self) -> &'static str {
        "can this machine reach the internet?"
    }
}

#[cfg(test)]
mod tests;
