//! `POST /v1/responses`.
//!
//! It owns the route; `request`, `items` and `tools` read, `output` and `call` keep the items of the answer, `answer`
//! writes them, streamed or whole; `free_text` and `proofs` translate what has no other word. It refuses by name
//! whatever would need a memory between calls: earlier responses, conversations, stored prompts, work in the
//! background. Tools and items that are not known are no reason to refuse: they are left out and named.
//!
//! The one thing to know: nothing is stored, so `store` is answered with false whatever was asked, and a client
//! continues by sending the whole conversation again.

mod answer;
mod call;
mod free_text;
mod items;
mod object;
mod output;
mod proofs;
mod request;
mod tools;

use crate::chat::{Ask, GatewayError};
use crate::dialect::single::misdirected;
use crate::dialect::{AnswerHead, Dialect, Encoder, ErrorBody};

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

    fn shows_life(&self) -> bool {
        true
    }

    fn decode(&self, body: &[u8]) -> Result<Ask, GatewayError> {
        request::decode(body).map(Ask::Chat)
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
