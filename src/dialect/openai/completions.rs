//! `POST /v1/completions`, the API before chat completions.
//!
//! It owns the route's requests; `answer` writes its answers. It rejects by name what a chat cannot
//! provide: several prompts or answers, token ids instead of text, the prompt repeated.
//!
//! The one thing to know: the model gets the prompt as a user's message, so its chat template
//! applies, unless a `suffix` asks it to fill in the middle. The default of `max_tokens` is 16, as
//! in OpenAI's API.

mod answer;

use serde_json::Value;

use super::INVALID_VALUE;
use super::request::{check_logit_bias, model, refuse, rest, sampling, stream_usage};
use crate::chat::{AnswerShape, Ask, ChatRequest, Endpoint, GatewayError, Message, Role, Sampling};
use crate::dialect::single::misdirected;
use crate::dialect::{AnswerHead, Dialect, Encoder, ErrorBody};
use crate::wire::fields::{Fields, Object, take};
use crate::wire::json;

/// The most tokens of the answer if the client sets no limit.
const DEFAULT_MAX_TOKENS: u32 = 16;

/// OpenAI's legacy completions.
#[derive(Debug)]
pub struct OpenAiCompletions;

impl Dialect for OpenAiCompletions {
    fn name(&self) -> &'static str {
        super::NAME
    }

    fn paths(&self) -> &'static [&'static str] {
        &["/v1/completions", "/completions"]
    }

    fn has_heartbeat(&self) -> bool {
        true
    }

    fn endpoint(&self) -> Option<Endpoint> {
        Some(Endpoint::OpenAiCompletions)
    }

    fn decode(&self, body: &[u8]) -> Result<Ask, GatewayError> {
        let mut body = json::read_object(body)?;
        let mut fields = Fields::new();
        refuse(&mut fields, &mut body, "echo", "put the prompt before the answer yourself");
        refuse_several(&mut fields, &mut body, "n");
        refuse_several(&mut fields, &mut body, "best_of");
        let stream = fields.flag(&mut body, "stream").unwrap_or(false);
        let max_tokens = fields.unsigned(&mut body, "max_tokens", 1).unwrap_or(DEFAULT_MAX_TOKENS);
        let mut request = ChatRequest {
            model: model(&mut fields, &mut body),
            hint: fields.text(&mut body, "model_hint"),
            messages: prompt(&mut fields, &mut body).into_iter().collect(),
            suffix: fields.text(&mut body, "suffix").filter(|suffix| !suffix.is_empty()),
            is_prompt: true,
            stream,
            sampling: Sampling { max_tokens: Some(max_tokens), ..sampling(&mut fields, &mut body) },
            logprobs: fields
                .integer(&mut body, "logprobs", 0, 5)
                .and_then(|top| u8::try_from(top).ok()),
            shape: AnswerShape {
                stream_usage: stream_usage(&mut fields, &mut body, stream),
                ..AnswerShape::default()
            },
            ..ChatRequest::default()
        };
        check_logit_bias(&mut fields, &mut body);
        fields.finish()?;
        request.extra = rest(body);
        Ok(Ask::Chat(request))
    }

    fn encoder(&self, ask: &Ask, head: AnswerHead) -> Box<dyn Encoder> {
        let Ask::Chat(request) = ask else { return misdirected() };
        answer::encoder(request, &head)
    }

    fn error(&self, error: &GatewayError, _request_id: &str) -> ErrorBody {
        super::error_body(error)
    }
}

fn refuse_several(fields: &mut Fields, body: &mut Object, key: &str) {
    // 128 is OpenAI's own limit.
    if fields.integer(body, key, 1, 128).is_some_and(|count| count > 1) {
        fields.problem(key, super::UNSUPPORTED_VALUE, "one answer is given, ask for 1");
    }
}

/// One text, or a list of one.
fn prompt(fields: &mut Fields, body: &mut Object) -> Option<Message> {
    let value = match take(body, "prompt") {
        Some(Value::Array(list)) if list.len() == 1 => list.into_iter().next(),
        other => other,
    };
    let (rule, message) = match value {
        Some(Value::String(text)) => return Some(Message::text(Role::User, text)),
        None => ("missing", "Field required"),
        Some(Value::Array(list)) if list.is_empty() => ("too_short", "should hold a text"),
        Some(Value::Array(list)) if list.iter().all(Value::is_string) => {
            (super::UNSUPPORTED_VALUE, "one prompt is answered, send one call for each")
        }
        Some(Value::Array(_) | Value::Number(_)) => {
            (super::UNSUPPORTED_VALUE, "token ids are not supported, send text")
        }
        Some(Value::Null | Value::Bool(_) | Value::Object(_)) => {
            (INVALID_VALUE, "should be a string")
        }
    };
    fields.problem("prompt", rule, message);
    None
}

#[cfg(test)]
mod tests;
