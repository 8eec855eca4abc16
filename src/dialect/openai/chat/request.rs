//! Decodes a chat completion request.
//!
//! The one thing to know: `functions` and `function_call` are the older form of tools. They are
//! decoded as tools, and the answer is then written in the old form. Fields that only OpenAI's API
//! has remain in the rest, which backends name or reject.

use serde_json::Value;

use crate::chat::{AnswerShape, ChatRequest, GatewayError, Sampling, Tool, ToolChoice};
use crate::dialect::openai::request::{
    check_logit_bias, effort, limit, model, rest, sampling, stream_usage,
};
use crate::dialect::openai::tools::{self, Form};
use crate::dialect::openai::{INVALID_VALUE, UNSUPPORTED_PARAMETER};
use crate::wire::fields::{Fields, Object, take};
use crate::wire::json;

use super::message::messages;

/// Decodes a request body.
pub(super) fn decode(body: &[u8]) -> Result<ChatRequest, GatewayError> {
    let mut body = json::read_object(body)?;
    let mut fields = Fields::new();
    let noted = &mut fields;
    let stream = noted.flag(&mut body, "stream").unwrap_or(false);
    let mut request = ChatRequest {
        model: model(noted, &mut body),
        hint: noted.text(&mut body, "model_hint"),
        messages: messages(noted, &mut body),
        stream,
        sampling: chat_sampling(noted, &mut body),
        parallel_tool_calls: noted.flag(&mut body, "parallel_tool_calls"),
        format: tools::format(noted, &mut body, "response_format", Form::Nested),
        effort: effort(noted, &mut body, "reasoning_effort"),
        logprobs: logprobs(noted, &mut body),
        n: answers(noted, &mut body),
        shape: AnswerShape {
            stream_usage: stream_usage(noted, &mut body, stream),
            ..AnswerShape::default()
        },
        ..ChatRequest::default()
    };
    if body.contains_key("functions") || body.contains_key("function_call") {
        old_functions(noted, &mut body, &mut request);
    }
    if !request.shape.old_functions {
        (request.tools, request.tool_choice) = tools::tools(noted, &mut body, Form::Nested);
    }
    check_logit_bias(noted, &mut body);
    request.dropped = fields.take_dropped();
    fields.finish()?;
    request.extra = rest(body);
    Ok(request)
}

fn chat_sampling(fields: &mut Fields, body: &mut Object) -> Sampling {
    let older = limit(fields, body, "max_tokens");
    let newer = limit(fields, body, "max_completion_tokens");
    Sampling { max_tokens: newer.or(older), ..sampling(fields, body) }
}

fn logprobs(fields: &mut Fields, body: &mut Object) -> Option<u8> {
    let wanted = fields.flag(body, "logprobs").unwrap_or(false);
    let top = fields.integer(body, "top_logprobs", 0, i64::from(u8::MAX)).unwrap_or(0);
    if top > 0 && !wanted {
        fields.problem("top_logprobs", INVALID_VALUE, "needs `logprobs` to be true");
    }
    if wanted { u8::try_from(top).ok() } else { None }
}

fn answers(fields: &mut Fields, body: &mut Object) -> Option<u32> {
    u32::try_from(fields.integer(body, "n", 1, i64::from(u32::MAX))?).ok()
}

fn old_functions(fields: &mut Fields, body: &mut Object, request: &mut ChatRequest) {
    let list = fields.list(body, "functions").unwrap_or_default();
    let choice = take(body, "function_call");
    if list.is_empty() && choice.is_none() {
        return;
    }
    let is_empty = |tools: &Value| tools.as_array().is_some_and(Vec::is_empty);
    if body.get("tools").is_some_and(|tools| !tools.is_null() && !is_empty(tools)) {
        let message = "is the old form of `tools`, send only one of them";
        fields.problem("functions", UNSUPPORTED_PARAMETER, message);
        return;
    }
    request.tools = fields.within("functions", |fields| {
        let items = list.into_iter().enumerate();
        items.filter_map(|(index, item)| function(fields, index, item)).collect()
    });
    request.tool_choice = old_choice(fields, choice);
    tools::check_choice(fields, "function_call", &request.tool_choice, &request.tools);
    // The old form has room for one call.
    request.parallel_tool_calls = Some(false);
    request.shape.old_functions = true;
}

fn function(fields: &mut Fields, index: usize, item: Value) -> Option<Tool> {
    let mut item = fields.item(index, item)?;
    fields.within(index, |fields| tools::function(fields, &mut item))
}

fn old_choice(fields: &mut Fields, choice: Option<Value>) -> ToolChoice {
    match choice {
        None => ToolChoice::Auto,
        Some(Value::String(word)) if word == "auto" => ToolChoice::Auto,
        Some(Value::String(word)) if word == "none" => ToolChoice::None,
        Some(Value::Object(mut object)) => fields
            .within("function_call", |fields| fields.required_text(&mut object, "name"))
            .map_or(ToolChoice::Auto, ToolChoice::Named),
        Some(_) => {
            let message = "should be none, auto or an object that names a function";
            fields.problem("function_call", INVALID_VALUE, message);
            ToolChoice::Auto
        }
    }
}

#[cfg(test)]
mod tests;
