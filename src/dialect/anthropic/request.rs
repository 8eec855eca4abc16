//! Decodes a request of the Messages API.
//!
//! The ranges are those of the API's older version, which most clients speak; sampling fields that
//! its newer version rejects are accepted too. Unknown fields go to a provider of the same API.

use serde_json::Value;

use super::{foreign, messages, tools};
use crate::chat::{ChatRequest, Effort, Format, Sampling, ToolChoice};
use crate::wire::fields::{Fields, Object};

/// Whether `max_tokens` is required.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// In a request for a message.
    Required,
    /// In a request that only counts.
    Optional,
}

/// Decodes a request; problems are noted in `fields`.
pub(super) fn read(fields: &mut Fields, body: &mut Object, limit: Limit) -> ChatRequest {
    let model = fields.required_text(body, "model");
    if model.as_ref().is_some_and(String::is_empty) {
        fields.problem("model", "too_short", "String should have at least 1 character");
    }
    let sampling = sampling(fields, body, limit);
    let (tool_choice, parallel_tool_calls) = tool_choice(fields, body);
    let mut dropped = Vec::new();
    let (effort, format) = output_config(fields, body, &mut dropped);
    let thinking = thinking(fields, body, sampling.max_tokens, &mut dropped);
    let conversation = messages::read(fields, body);
    let (mut tools, hosted) = tools::read(fields, body);
    tools.extend(conversation.late_tools);
    dropped.extend(conversation.unread);
    let mut request = ChatRequest {
        model,
        messages: conversation.messages,
        stream: fields.flag(body, "stream").unwrap_or(false),
        tools,
        hosted,
        tool_choice,
        parallel_tool_calls,
        format,
        effort: thinking.effort(effort),
        thinking_display: thinking.display,
        sampling,
        dropped,
        ..ChatRequest::default()
    };
    request.extra = foreign::extra(std::mem::take(body));
    request
}

fn sampling(fields: &mut Fields, body: &mut Object, limit: Limit) -> Sampling {
    if limit == Limit::Required && body.get("max_tokens").is_none_or(Value::is_null) {
        fields.problem("max_tokens", "missing", "Field required");
    }
    Sampling {
        // 0 is allowed: it only fills the provider's cache.
        max_tokens: fields.unsigned(body, "max_tokens", 0),
        temperature: fields.number(body, "temperature", 0.0, 1.0),
        top_p: fields.number(body, "top_p", 0.0, 1.0),
        top_k: fields.unsigned(body, "top_k", 0),
        stop: fields
            .texts(body, "stop_sequences")
            .map(|stop| stop.into_iter().filter(|text| !text.is_empty()).collect())
            .unwrap_or_default(),
        ..Sampling::default()
    }
}

/// The choice, and whether one answer may hold several calls.
fn tool_choice(fields: &mut Fields, body: &mut Object) -> (ToolChoice, Option<bool>) {
    let Some(mut choice) = fields.object(body, "tool_choice") else {
        return (ToolChoice::default(), None);
    };
    fields.within("tool_choice", |fields| {
        let one_at_most = fields.flag(&mut choice, "disable_parallel_tool_use");
        let choice = match fields.required_text(&mut choice, "type").as_deref() {
            Some("auto") | None => ToolChoice::Auto,
            Some("any") => ToolChoice::Required,
            Some("none") => ToolChoice::None,
            Some("tool") => {
                ToolChoice::Named(fields.required_text(&mut choice, "name").unwrap_or_default())
            }
            Some(_) => {
                let expected = "Input should be 'auto', 'any', 'tool' or 'none'";
                fields.problem("type", "literal_error", expected);
                ToolChoice::Auto
            }
        };
        (choice, one_at_most.map(|one_at_most| !one_at_most))
    })
}

/// The effort and the format. Unknown efforts and kinds of format are dropped, and their names
/// noted.
fn output_config(
    fields: &mut Fields,
    body: &mut Object,
    dropped: &mut Vec<String>,
) -> (Option<Effort>, Format) {
    let Some(mut config) = fields.object(body, "output_config") else {
        return (None, Format::Text);
    };
    let mut unknown = |name: &str| dropped.push(format!("output_config.{name}"));
    let read = fields.within("output_config", |fields| {
        let effort = fields.text(&mut config, "effort").and_then(|level| match level.as_str() {
            "minimal" => Some(Effort::Minimal),
            "low" => Some(Effort::Low),
            "medium" => Some(Effort::Medium),
            "high" => Some(Effort::High),
            "xhigh" => Some(Effort::XHigh),
            "max" => Some(Effort::Max),
            _ => {
                unknown("effort");
                None
            }
        });
        let Some(mut format) = fields.object(&mut config, "format") else {
            return (effort, Format::Text);
        };
        fields.within("format", |fields| {
            if fields.required_text(&mut format, "type").is_some_and(|kind| kind != "json_schema") {
                unknown("format");
                return (effort, Format::Text);
            }
            let schema = fields.required_object(&mut format, "schema").unwrap_or_default();
            let schema = Value::Object(schema);
            let format = Format::Schema { name: None, description: None, schema, strict: None };
            (effort, format)
        })
    });
    config.iter().filter(|(_, value)| !value.is_null()).for_each(|(name, _)| unknown(name));
    read
}

/// The content of `thinking`.
#[derive(Default)]
struct Thinking {
    /// Whether to think, or the token budget; `None` if neither is given.
    amount: Option<Effort>,
    display: Option<String>,
}

impl Thinking {
    /// How much to think, together with the effort of `output_config`: that counts unless thinking
    /// is off or has a budget.
    fn effort(&self, word: Option<Effort>) -> Option<Effort> {
        match self.amount {
            Some(Effort::On) | None => word.or(self.amount),
            Some(amount) => Some(amount),
        }
    }
}

/// Whether to think, with a budget or with the amount left to the model. Unknown kinds are dropped,
/// and their names noted.
fn thinking(
    fields: &mut Fields,
    body: &mut Object,
    max_tokens: Option<u32>,
    dropped: &mut Vec<String>,
) -> Thinking {
    let Some(mut thinking) = fields.object(body, "thinking") else {
        return Thinking::default();
    };
    let thinking = fields.within("thinking", |fields| {
        let display = fields.text(&mut thinking, "display");
        let kind = fields.required_text(&mut thinking, "type");
        let amount = match kind.as_deref()? {
            "disabled" => Some(Effort::None),
            "adaptive" | "between_tools" => Some(Effort::On),
            "enabled" => {
                if thinking.get("budget_tokens").is_none_or(Value::is_null) {
                    fields.problem("budget_tokens", "missing", "Field required");
                }
                let budget = fields.unsigned(&mut thinking, "budget_tokens", 1024)?;
                if max_tokens.is_some_and(|most| budget >= most) {
                    let expected = "Input should be less than max_tokens";
                    fields.problem("budget_tokens", "less_than", expected);
                }
                Some(Effort::Budget(budget))
            }
            _ => {
                dropped.push("thinking".to_owned());
                None
            }
        };
        Some(Thinking { amount, display })
    });
    thinking.unwrap_or_default()
}

#[cfg(test)]
mod tests;
