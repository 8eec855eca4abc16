//! `POST /v1/messages/count_tokens`: the length of a prompt, before it is sent.
//!
//! The one thing to know: only Anthropic's and Google's own servers can count. For every other
//! provider the count is the gateway's estimate, marked by the header `x-gateway-estimate: true`.

use serde_json::json;

use super::request::{self, Limit};
use crate::chat::{Ask, Endpoint, GatewayError, Whole};
use crate::dialect::single::single;
use crate::dialect::{AnswerHead, Dialect, Encoder, ErrorBody};
use crate::wire::fields::Fields;
use crate::wire::json;

/// Anthropic's token counting.
#[derive(Debug)]
pub struct AnthropicCount;

impl Dialect for AnthropicCount {
    fn name(&self) -> &'static str {
        super::NAME
    }

    fn paths(&self) -> &'static [&'static str] {
        &["/v1/messages/count_tokens"]
    }

    fn endpoint(&self) -> Option<Endpoint> {
        Some(Endpoint::AnthropicCount)
    }

    fn decode(&self, body: &[u8]) -> Result<Ask, GatewayError> {
        let mut body = json::read_object(body)?;
        let mut fields = Fields::new();
        let mut request = request::read(&mut fields, &mut body, Limit::Optional);
        fields.finish()?;
        request.stream = false;
        Ok(Ask::CountTokens(request))
    }

    fn encoder(&self, _ask: &Ask, _head: AnswerHead) -> Box<dyn Encoder> {
        single(|result, _, _| match result {
            Whole::Tokens(tokens) => Some(json::to_vec(&json!({"input_tokens": tokens}))),
            Whole::Embeddings(_) | Whole::Document(_) => None,
        })
    }

    fn error(&self, error: &GatewayError, request_id: &str) -> ErrorBody {
        super::error_body(error, request_id)
    }

    fn request_id_header(&self) -> Option<&'static str> {
        Some(super::REQUEST_ID)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_needs_no_max_tokens() {
        let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
        let ask = AnthropicCount.decode(body.to_string().as_bytes()).unwrap();
        assert!(matches!(ask, Ask::CountTokens(chat) if chat.messages.len() == 1));
        assert!(AnthropicCount.decode(br#"{"model": "m"}"#).is_err());
    }
}
