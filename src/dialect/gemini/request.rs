//! Decodes a request for `generateContent`.
//!
//! Unknown fields go to a provider of the same API, those of `generationConfig` with that name and
//! a dot as a prefix.

use serde_json::Value;

use super::{camel, contents, schema, tools};
use crate::chat::{Api, ChatRequest, Effort, Extra, Format, Sampling};
use crate::wire::fields::{Fields, Object, take};

/// Decodes a request for an answer; problems are noted in `fields`.
pub(super) fn read(fields: &mut Fields, body: &mut Object) -> ChatRequest {
    // The path has the model.
    body.swap_remove("model");
    // A client that names one of the account's caches could read another caller's content.
    if take(body, "cachedContent").is_some() {
        let message = "caches are not kept here, send their contents";
        fields.problem("cachedContent", "unsupported", message);
    }
    let messages = contents::read(fields, body);
    let tools = tools::read(fields, body);
    let config = fields.object(body, "generationConfig").map(camel).unwrap_or_default();
    let mut request = ChatRequest {
        messages,
        tools: tools.tools,
        hosted: tools.hosted,
        tool_choice: tools.choice,
        ..ChatRequest::default()
    };
    let rest = fields.within("generationConfig", |fields| generation(fields, config, &mut request));
    let mut extra = std::mem::take(body);
    extra.extend(rest.into_iter().map(|(name, value)| (format!("generationConfig.{name}"), value)));
    extra.retain(|_, value| !is_void(value));
    request.dropped = fields.take_dropped();
    request.extra = (!extra.is_empty()).then_some(Extra { api: Api::Gemini, fields: extra });
    request
}

/// Decodes a request that only counts: contents, or a whole request for an answer.
pub(super) fn counted(fields: &mut Fields, body: &mut Object) -> ChatRequest {
    match fields.object(body, "generateContentRequest").map(camel) {
        Some(mut inner) => {
            fields.within("generateContentRequest", |fields| read(fields, &mut inner))
        }
        None => read(fields, body),
    }
}

/// Whether a value is null or empty.
fn is_void(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Decodes `generationConfig`; returns its unknown fields.
fn generation(fields: &mut Fields, mut config: Object, request: &mut ChatRequest) -> Object {
    let config = &mut config;
    request.sampling = Sampling {
        max_tokens: fields.unsigned(config, "maxOutputTokens", 1),
        temperature: fields.number(config, "temperature", 0.0, 2.0),
        top_p: fields.number(config, "topP", 0.0, 1.0),
        top_k: fields.unsigned(config, "topK", 0).filter(|top| *top > 0),
        presence_penalty: fields.number(config, "presencePenalty", -2.0, 2.0),
        frequency_penalty: fields.number(config, "frequencyPenalty", -2.0, 2.0),
        seed: fields.integer(config, "seed", i64::from(i32::MIN), i64::from(i32::MAX)),
        stop: fields
            .texts(config, "stopSequences")
            .map(|stop| stop.into_iter().filter(|text| !text.is_empty()).collect())
            .unwrap_or_default(),
        ..Sampling::default()
    };
    if fields.unsigned(config, "candidateCount", 1).is_some_and(|count| count > 1) {
        let message = "only one candidate is given, ask for candidateCount = 1";
        fields.problem("candidateCount", "less_than_equal", message);
    }
    let top = fields.integer(config, "logprobs", 0, 20).and_then(|top| u8::try_from(top).ok());
    let wants_logprobs = fields.flag(config, "responseLogprobs") == Some(true);
    request.logprobs = wants_logprobs.then_some(top.unwrap_or(0));
    request.format = format(fields, config);
    let thinking = fields.object(config, "thinkingConfig").map(camel).unwrap_or_default();
    fields.within("thinkingConfig", |fields| think(fields, thinking, request));
    let only_text = |kinds: &Value| {
        let is_text =
            |kind: &Value| kind.as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("text"));
        kinds.as_array().is_some_and(|kinds| kinds.iter().all(is_text))
    };
    if config.get("responseModalities").is_some_and(only_text) {
        config.swap_remove("responseModalities");
    }
    std::mem::take(config)
}

fn format(fields: &mut Fields, config: &mut Object) -> Format {
    let own = take(config, "responseSchema").map(schema::json_schema);
    let schema = take(config, "responseJsonSchema").or(own);
    match fields.text(config, "responseMimeType").as_deref() {
        None | Some("" | "text/plain") => Format::Text,
        Some("application/json") => match schema {
            None => Format::Json,
            Some(schema) => Format::Schema { name: None, description: None, schema, strict: None },
        },
        Some(_) => {
            fields.note_dropped("generationConfig.responseMimeType");
            Format::Text
        }
    }
}

/// Decodes `thinkingConfig`. A level takes precedence over a budget, as in models that accept both.
fn think(fields: &mut Fields, mut config: Object, request: &mut ChatRequest) {
    let shows = fields.flag(&mut config, "includeThoughts");
    let budget = fields.integer(&mut config, "thinkingBudget", -1, i64::from(u32::MAX));
    let budget = budget.map(|tokens| match u32::try_from(tokens) {
        Ok(0) => Effort::None,
        Ok(tokens) => Effort::Budget(tokens),
        // The model decides.
        Err(_) => Effort::On,
    });
    let level = fields.text(&mut config, "thinkingLevel").unwrap_or_default();
    let level = match level.to_ascii_uppercase().as_str() {
        "MINIMAL" => Some(Effort::Minimal),
        "LOW" => Some(Effort::Low),
        "MEDIUM" => Some(Effort::Medium),
        "HIGH" => Some(Effort::High),
        "" | "THINKING_LEVEL_UNSPECIFIED" => None,
        _ => {
            fields.note_dropped("generationConfig.thinkingConfig.thinkingLevel");
            None
        }
    };
    for name in config.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name) {
        fields.note_dropped(&format!("generationConfig.thinkingConfig.{name}"));
    }
    let shows = shows == Some(true);
    request.shape.shows_thoughts = shows;
    request.effort = level.or(budget).or(shows.then_some(Effort::On));
}
