//! The response object: all fields of an answer beside its items.
//!
//! It owns the fields that the specification requires, with their defaults. The client's values are
//! repeated unchanged.

use serde::Serialize;
use serde_json::{Value, json};

use super::output::{Item, Status};
use crate::chat::{ChatRequest, Usage};
use crate::dialect::AnswerHead;
use crate::dialect::openai::completion_object::created;
use crate::wire::fields::Object;

/// The fields that are known from the beginning.
pub(super) struct Response {
    /// The answer's random id, which the ids of its items contain.
    pub(super) id: String,
    created: u64,
    model: String,
    echo: Object,
    is_kept: bool,
}

impl Response {
    pub(super) fn new(request: &ChatRequest, head: &AnswerHead) -> Self {
        Self {
            id: head.id.simple().to_string(),
            created: created(head),
            model: head.model_for(request.model.as_deref()),
            echo: request.shape.echo.clone(),
            is_kept: request.shape.input.is_some(),
        }
    }

    /// The response so far, without its counts.
    pub(super) fn object(&self, status: Status, items: &[Item]) -> Object {
        let fields = [
            ("id", json!(format!("resp_{}", self.id))),
            ("object", json!("response")),
            ("created_at", json!(self.created)),
            ("status", json!(status.as_str())),
            ("error", Value::Null),
            ("incomplete_details", Value::Null),
            ("instructions", self.echoed("instructions", Value::Null)),
            ("max_output_tokens", self.echoed("max_output_tokens", Value::Null)),
            ("metadata", self.echoed("metadata", json!({}))),
            ("model", json!(self.model)),
            ("output", items.iter().map(Item::value).collect()),
            ("parallel_tool_calls", self.echoed("parallel_tool_calls", json!(true))),
            ("previous_response_id", self.echoed("previous_response_id", Value::Null)),
            ("reasoning", self.filled("reasoning", json!({"effort": null, "summary": null}))),
            ("store", json!(self.is_kept)),
            ("temperature", self.echoed("temperature", json!(1.0))),
            ("text", self.filled("text", json!({"format": {"type": "text"}}))),
            ("tool_choice", self.echoed("tool_choice", json!("auto"))),
            ("tools", self.tools()),
            ("top_p", self.echoed("top_p", json!(1.0))),
            ("truncation", self.echoed("truncation", json!("disabled"))),
        ];
        fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    fn echoed(&self, key: &str, default: Value) -> Value {
        self.echo.get(key).cloned().unwrap_or(default)
    }

    /// The default with the client's fields on top.
    fn filled(&self, key: &str, mut default: Value) -> Value {
        if let (Value::Object(default), Some(Value::Object(sent))) =
            (&mut default, self.echo.get(key))
        {
            default.extend(sent.clone());
        }
        default
    }

    /// Typed clients require both fields of functions, which requests may omit.
    fn tools(&self) -> Value {
        let mut tools = self.echoed("tools", json!([]));
        for tool in tools.as_array_mut().into_iter().flatten() {
            if let Value::Object(tool) = tool
                && tool.get("type").is_none_or(|kind| kind == "function")
            {
                tool.entry("parameters").or_insert(Value::Null);
                tool.entry("strict").or_insert(Value::Null);
            }
        }
        tools
    }
}

/// Token counts. The specification requires every field, so an unknown one is 0.
#[derive(Serialize)]
pub(super) struct Counts {
    input_tokens: u64,
    input_tokens_details: InputDetails,
    output_tokens: u64,
    output_tokens_details: OutputDetails,
    total_tokens: u64,
}

#[derive(Serialize)]
struct InputDetails {
    cached_tokens: u64,
    cache_write_tokens: u64,
}

#[derive(Serialize)]
struct OutputDetails {
    reasoning_tokens: u64,
}

impl From<&Usage> for Counts {
    fn from(usage: &Usage) -> Self {
        Self {
            input_tokens: usage.prompt.unwrap_or(0),
            input_tokens_details: InputDetails {
                cached_tokens: usage.cached.unwrap_or(0),
                cache_write_tokens: usage.cache_written.unwrap_or(0),
            },
            output_tokens: usage.completion.unwrap_or(0),
            output_tokens_details: OutputDetails { reasoning_tokens: usage.reasoning.unwrap_or(0) },
            total_tokens: usage.total(),
        }
    }
}
