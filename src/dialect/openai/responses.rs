//! `POST /v1/responses`.
//!
//! It owns the route. `request`, `items` and `tools` decode, `output` and `call` hold the items of
//! the answer, `answer` writes them, streamed or whole; `free_text` and `sealed` translate
//! free-form calls and signatures, `memory` inserts earlier turns. It rejects conversations, stored
//! prompts and background work by name. Unknown tools and items are not rejected: they are dropped
//! and named.
//!
//! The one thing to know: this file stores nothing. Earlier turns come in with the body, as far as
//! they are stored, and a turn that will be stored goes out with its answer.

mod answer;
mod call;
mod free_text;
mod items;
mod memory;
mod object;
mod output;
mod request;
mod sealed;
mod tools;

use crate::chat::{Ask, Endpoint, GatewayError};
use crate::dialect::single::misdirected;
use crate::dialect::{AnswerHead, Dialect, Encoder, ErrorBody, Turns};

pub use memory::not_found as response_not_found;

/// OpenAI's responses.
#[derive(Debug)]
pub struct OpenAiResponses;

impl Dialect for OpenAiResponses {
    fn name(&self) -> &'static str {
        super::NAME
    }

    fn paths(&self) -> &'static [&'static str] {
        &["/v1/responses", "/responses"]
    }

    fn has_heartbeat(&self) -> bool {
        true
    }

    fn endpoint(&self) -> Option<Endpoint> {
        Some(Endpoint::OpenAiResponses)
    }

    fn decode(&self, body: &[u8]) -> Result<Ask, GatewayError> {
        self.decode_after(body, &Turns::new())
    }

    fn referenced_ids(&self, body: &[u8]) -> Vec<String> {
        memory::referenced_ids(body)
    }

    fn unknown_reference(&self, body: &[u8]) -> Option<GatewayError> {
        memory::unknown_reference(body)
    }

    fn decode_after(&self, body: &[u8], turns: &Turns) -> Result<Ask, GatewayError> {
        request::decode(body, turns).map(Ask::Chat)
    }

    fn encoder(&self, ask: &Ask, head: AnswerHead) -> Box<dyn Encoder> {
        let Ask::Chat(request) = ask else { return misdirected() };
        Box::new(answer::Answer::new(request, &head))
    }

    fn error(&self, error: &GatewayError, _request_id: &str) -> ErrorBody {
        super::error_body(error)
    }
}

#[cfg(test)]
mod tests;
