//! Google's Gemini: `streamGenerateContent` of the Generative Language API, v1beta.
//!
//! It owns the shapes of requests, answers and errors. It refuses by name what the API has no word for and what
//! would change the result: several answers, more than five stop texts, images at plain `http` addresses. The
//! key travels in a header only; addresses end up in logs.
//!
//! The one thing to know: newer models demand their thought signatures back with every call of a tool, and no
//! client's API but Gemini's has a place for them. A signature therefore travels twice: as
//! [`crate::chat::ChatEvent::Signature`], for clients that keep thinking, and folded into the id of a call that
//! came without one, for clients that keep only that. `signature.rs` has the details.

mod config;
mod decode;
mod encode;
mod refusal;
mod signature;

use super::stream::EventDecoder;
use super::{Backend, Decoder, Rejection, UpstreamRequest};
use crate::chat::{Api, ChatRequest, GatewayError};

/// Google's Gemini; the provider's base address has no path.
#[derive(Debug)]
pub struct Gemini;

impl Backend for Gemini {
    fn api(&self) -> Api {
        Api::Gemini
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
        Box::new(EventDecoder::new(decode::Responses::new(request, seed)))
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
