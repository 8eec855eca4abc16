//! OpenAI's chat completions, as OpenAI and the many servers that imitate it speak them.
//!
//! It owns the shapes of requests, chunks and errors. It refuses by name what the API has no word for and what
//! would change the result: several answers, more than four stop texts, images outside user messages. What only
//! tunes (`top_k`, `min_p`, `repeat_penalty`) is left out and named as dropped.
//!
//! The one thing to know: imitators differ in everything but the outline, so reading is lenient about all of it
//! except the end. An answer without `finish_reason` was cut, with or without `[DONE]`; with it, `[DONE]` may miss.

mod decode;
mod encode;
mod refusal;

use super::stream::EventDecoder;
use super::{Backend, Decoder, Rejection, UpstreamRequest};
use crate::chat::{Api, ChatRequest, GatewayError};

/// OpenAI's chat completions; the provider's base address ends in `/v1`.
#[derive(Debug)]
pub struct OpenAi;

impl Backend for OpenAi {
    fn api(&self) -> Api {
        Api::OpenAi
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
        Box::new(EventDecoder::new(decode::Chunks::new(request, seed)))
    }

    fn rejection(&self, status: u16, body: &[u8], model: &str) -> Rejection {
        refusal::read(status, body, model)
    }

    fn unreachable_hint(&self) -> &'static str {
        "is the server running, and does base_url end in `/v1`?"
    }
}

#[cfg(test)]
mod tests;
