//! Watches answers of OpenAI's Responses API, streamed or whole.
//!
//! It owns the few facts that the gateway needs of them: text, thinking, counts and how the answer
//! ended. It translates nothing.

use serde_json::Value;

use super::failure::failure;
use crate::backend::DecodeError;
use crate::backend::document::parse;
use crate::backend::stream::Reader;
use crate::chat::{ChatEvent, Completion, Finish, Usage};

/// The state of watching one answer.
#[derive(Default)]
pub(super) struct Responses {
    done: bool,
}

impl Responses {
    /// A response that has ended.
    fn complete(&mut self, response: &Value, events: &mut Vec<ChatEvent>) {
        let output = response.get("output").and_then(Value::as_array);
        let calls = |item: &Value| {
            let kind = item.get("type").and_then(Value::as_str).unwrap_or_default();
            matches!(kind, "function_call" | "custom_tool_call" | "local_shell_call")
        };
        let incomplete = response.pointer("/incomplete_details/reason").and_then(Value::as_str);
        let finish = match incomplete {
            Some("content_filter") => Finish::ContentFilter,
            Some(_) => Finish::Length,
            None if output.is_some_and(|items| items.iter().any(calls)) => Finish::ToolCalls,
            None => Finish::Stop,
        };
        let count = |pointer: &str| response.pointer(pointer).and_then(Value::as_u64);
        let usage = Usage {
            prompt: count("/usage/input_tokens"),
            completion: count("/usage/output_tokens"),
            cached: count("/usage/input_tokens_details/cached_tokens"),
            cache_written: None,
            reasoning: count("/usage/output_tokens_details/reasoning_tokens"),
            ..Usage::default()
        };
        self.done = true;
        events.push(ChatEvent::Done(Completion { finish, stop_sequence: None, usage }));
    }

    /// The texts of a whole answer.
    fn texts(response: &Value, events: &mut Vec<ChatEvent>) {
        let items = response.get("output").and_then(Value::as_array).into_iter().flatten();
        let parts = items.filter_map(|item| item.get("content")?.as_array()).flatten();
        let texts = parts.filter_map(|part| part.get("text")?.as_str());
        let texts = texts.filter(|text| !text.is_empty()).map(str::to_owned);
        events.extend(texts.map(ChatEvent::Text));
    }
}

impl Reader for Responses {
    fn piece(
        &mut self,
        name: &[u8],
        data: &[u8],
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), DecodeError> {
        if matches!(data.trim_ascii(), b"" | b"[DONE]") {
            return Ok(());
        }
        let event: Value = parse(data)?;
        let kind = event.get("type").and_then(Value::as_str).map(str::as_bytes).unwrap_or(name);
        let delta = event.get("delta").and_then(Value::as_str).filter(|delta| !delta.is_empty());
        match kind {
            b"response.output_text.delta" | b"response.refusal.delta" => {
                events.extend(delta.map(|delta| ChatEvent::Text(delta.to_owned())));
            }
            b"response.reasoning_text.delta" | b"response.reasoning_summary_text.delta" => {
                events.extend(delta.map(|delta| ChatEvent::Reasoning(delta.to_owned())));
            }
            b"response.completed" | b"response.incomplete" => {
                self.complete(event.get("response").unwrap_or(&event), events);
            }
            b"response.failed" | b"error" => {
                return Err(self.failure_in(&event).unwrap_or(DecodeError::Cut));
            }
            _ => {
                let status = event.get("status").and_then(Value::as_str);
                if event.get("object").and_then(Value::as_str) == Some("response") {
                    if let Some(error) = self.failure_in(&event) {
                        return Err(error);
                    }
                    Self::texts(&event, events);
                    // A response that runs in the background is answered by its state so far.
                    if status != Some("failed") {
                        self.complete(&event, events);
                    }
                } else if event.get("type").is_none() && event.get("error").is_some() {
                    return Err(self.failure_in(&event).unwrap_or(DecodeError::Cut));
                }
            }
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn failure_in(&self, body: &Value) -> Option<DecodeError> {
        let error = body.pointer("/response/error").or(body.get("error"));
        let own = || body.get("message").map(|_| body);
        error.or_else(own).and_then(failure).map(DecodeError::Reported)
    }

    fn end(&mut self, _events: &mut Vec<ChatEvent>) -> Result<(), DecodeError> {
        Err(DecodeError::Cut)
    }
}
