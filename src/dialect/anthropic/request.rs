//! Reading what a client of the Messages API asks.
//!
//! The ranges are those of the API's older version, which most clients speak; sampling fields that its newer
//! version refuses are read all the same. Fields without a place here go on to a provider of the same API.

use serde_json::Value;

use super::messages;
use crate::chat::{Api, ChatRequest, Effort, Extra, Format, Sampling, Tool, ToolChoice};
use crate::wire::fields::{Fields, Object};

/// Whether `max_tokens` must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// As in a request for a message.
    Required,
    /// As in a request that only counts.
    Optional,
}

/// Reads a request; problems are noted in `fields`.
pub(super) fn read(fields: &mut Fields, body: &mut Object, limit: Limit) -> ChatRequest {
    let model = fields.required_text(body, "model");
    if model.as_ref().is_some_and(String::is_empty) {
        fields.problem("model", "too_short", "String should have at least 1 character");
    }
    let sampling = sampling(fields, body, limit);
    let (tool_choice, parallel_tool_calls) = tool_choice(fields, body);
    let (effort, format) = output_config(fields, body);
    let mut request = ChatRequest {
        model,
        messages: messages::read(fields, body),
        stream: fields.flag(body, "stream").unwrap_or(false),
        tools: tools(fields, body),
        tool_choice,
        parallel_tool_calls,
        format,
        effort: thinking(fields, body, effort, sampling.max_tokens),
        sampling,
        ..ChatRequest::default()
    };
    body.retain(|_, value| !value.is_null());
    if !body.is_empty() {
        request.extra = Some(Extra { api: Api::Anthropic, fields: std::mem::take(body) });
    }
    request
}

fn sampling(fields: &mut Fields, body: &mut Object, limit: Limit) -> Sampling {
    if limit == Limit::Required && body.get("max_tokens").is_none_or(Value::is_null) {
        fields.problem("max_tokens", "missing", "Field required");
    }
    Sampling {
        // 0 is allowed: it only warms the provider's cache.
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

fn tools(fields: &mut Fields, body: &mut Object) -> Vec<Tool> {
    let list = fields.list(body, "tools").unwrap_or_default();
    fields.within("tools", |fields| {
        let items = list.into_iter().enumerate();
        items
            .filter_map(|(index, item)| {
                let mut item = fields.item(index, item)?;
                fields.within(index, |fields| tool(fields, &mut item))
            })
            .collect()
    })
}

fn tool(fields: &mut Fields, item: &mut Object) -> Option<Tool> {
    if let Some(kind) = fields.text(item, "type").filter(|kind| kind != "custom") {
        let kind: String = kind.chars().take(64).collect();
        let message = format!("the server tool `{kind}` is not available here, send a custom tool");
        fields.problem("type", "unsupported", message);
        return None;
    }
    let name = fields.required_text(item, "name");
    let description = fields.text(item, "description");
    let schema = fields.required_object(item, "input_schema");
    let strict = fields.flag(item, "strict");
    let (parameters, cache_mark) = (Some(Value::Object(schema?)), messages::cache_mark(item));
    Some(Tool { name: name?, description, parameters, strict, cache_mark, ..Tool::default() })
}

/// The choice, and whether several calls in one answer are welcome.
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

fn output_config(fields: &mut Fields, body: &mut Object) -> (Option<Effort>, Format) {
    let Some(mut config) = fields.object(body, "output_config") else {
        return (None, Format::Text);
    };
    fields.within("output_config", |fields| {
        let effort = fields.text(&mut config, "effort").and_then(|level| match level.as_str() {
            "low" => Some(Effort::Low),
            "medium" => Some(Effort::Medium),
            "high" => Some(Effort::High),
            "xhigh" | "max" => Some(Effort::Max),
            _ => {
                let expected = "Input should be 'low', 'medium', 'high', 'xhigh' or 'max'";
                fields.problem("effort", "literal_error", expected);
                None
            }
        });
        let Some(mut format) = fields.object(&mut config, "format") else {
            return (effort, Format::Text);
        };
        fields.within("format", |fields| {
            if fields.required_text(&mut format, "type").is_some_and(|kind| kind != "json_schema") {
                fields.problem("type", "literal_error", "Input should be 'json_schema'");
            }
            let schema = fields.required_object(&mut format, "schema").unwrap_or_default();
            let schema = Value::Object(schema);
            let format = Format::Schema { name: None, description: None, schema, strict: None };
            (effort, format)
        })
    })
}

/// How much to think: `thinking` says whether, with a budget or, left to the model, with the `effort`.
fn thinking(
    fields: &mut Fields,
    body: &mut Object,
    effort: Option<Effort>,
    max_tokens: Option<u32>,
) -> Option<Effort> {
    let Some(mut thinking) = fields.object(body, "thinking") else { return effort };
    fields.within("thinking", |fields| {
        match fields.required_text(&mut thinking, "type")?.as_str() {
            "disabled" => Some(Effort::None),
            "adaptive" | "between_tools" => Some(effort.unwrap_or(Effort::On)),
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
                let expected = "Input should be 'enabled', 'disabled' or 'adaptive'";
                fields.problem("type", "literal_error", expected);
                None
            }
        }
    })
}

#[cfg(test)]
mod tests;
