//! Request fields that several of OpenAI's routes have in common.
//!
//! It owns the model's name, token selection, effort, and the unread rest. It rejects by name
//! settings that would change the answer and are not supported.

use serde_json::Value;

use super::{INVALID_VALUE, UNSUPPORTED_PARAMETER};
use crate::chat::{Api, Effort, Extra, Sampling};
use crate::wire::fields::{Fields, Object, take};

/// Takes the model's name, which is required.
pub(super) fn model(fields: &mut Fields, body: &mut Object) -> Option<String> {
    let model = fields.required_text(body, "model")?;
    if model.trim().is_empty() {
        fields.problem("model", INVALID_VALUE, "should name a model");
        return None;
    }
    Some(model)
}

/// Takes the settings for token selection that all routes have; the token limit has another name on
/// each.
pub(super) fn sampling(fields: &mut Fields, body: &mut Object) -> Sampling {
    // The provider checks the ranges, which differ between models.
    let mut number = |key: &str| fields.number(body, key, f64::MIN, f64::MAX);
    Sampling {
        temperature: number("temperature"),
        top_p: number("top_p"),
        presence_penalty: number("presence_penalty"),
        frequency_penalty: number("frequency_penalty"),
        seed: fields.integer(body, "seed", i64::MIN, i64::MAX),
        stop: stop(fields, body),
        ..Sampling::default()
    }
}

/// Takes a token limit. Below 0 there is none, as in LM Studio and llama.cpp.
pub(super) fn limit(fields: &mut Fields, body: &mut Object, key: &str) -> Option<u32> {
    if body.get(key).and_then(Value::as_f64).is_some_and(|limit| limit < 0.0) {
        body.swap_remove(key);
    }
    fields.unsigned(body, key, 1)
}

/// One text or a list. The provider limits how many. Empty ones would end every answer at once, and
/// are dropped.
fn stop(fields: &mut Fields, body: &mut Object) -> Vec<String> {
    let list = match take(body, "stop") {
        None => return Vec::new(),
        Some(Value::Array(list)) => list,
        Some(single) => vec![single],
    };
    let mut texts = Vec::with_capacity(list.len());
    for value in list {
        match value {
            Value::String(text) if text.is_empty() => {}
            Value::String(text) => texts.push(text),
            Value::Null => {}
            _ => {
                fields.problem("stop", "string_type", "should be a string or a list of strings");
                return Vec::new();
            }
        }
    }
    texts
}

/// Takes `stream_options`, which only a stream may have, and returns whether the counts are wanted
/// at its end.
pub(super) fn stream_usage(fields: &mut Fields, body: &mut Object, stream: bool) -> bool {
    let Some(mut options) = fields.object(body, "stream_options") else { return false };
    if !stream {
        let message = "is only allowed when `stream` is true";
        fields.problem("stream_options", INVALID_VALUE, message);
    }
    fields
        .within("stream_options", |fields| fields.flag(&mut options, "include_usage"))
        .unwrap_or(false)
}

/// Takes how much the model should think.
pub(super) fn effort(fields: &mut Fields, object: &mut Object, key: &str) -> Option<Effort> {
    match fields.text(object, key)?.as_str() {
        "none" => Some(Effort::None),
        "minimal" | "low" => Some(Effort::Low),
        "medium" => Some(Effort::Medium),
        "high" => Some(Effort::High),
        "xhigh" | "max" => Some(Effort::Max),
        _ => {
            let allowed = "should be none, minimal, low, medium, high, xhigh or max";
            fields.problem(key, INVALID_VALUE, allowed);
            None
        }
    }
}

/// Drops a bias without effect. Others depend on the model's own token ids, so they stay for a
/// provider that knows these.
pub(super) fn check_logit_bias(fields: &mut Fields, body: &mut Object) {
    if let Some(bias) = fields.object(body, "logit_bias").filter(|bias| !bias.is_empty()) {
        body.insert("logit_bias".to_owned(), Value::Object(bias));
    }
}

/// Rejects `key` if it requests something. `null`, `false`, an empty text and an empty list request
/// nothing; an empty object does, with all defaults (`web_search_options: {}` searches).
pub(super) fn refuse(fields: &mut Fields, body: &mut Object, key: &str, instead: &str) {
    let asks = match take(body, key) {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Bool(true) | Value::Number(_) | Value::Object(_)) => true,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(list)) => !list.is_empty(),
    };
    if asks {
        fields.problem(key, UNSUPPORTED_PARAMETER, format!("is not supported; {instead}"));
    }
}

/// The fields that were not read, for a provider of the same API.
pub(super) fn rest(mut body: Object) -> Option<Extra> {
    body.retain(|_, value| !value.is_null());
    (!body.is_empty()).then_some(Extra { api: Api::OpenAi, fields: body })
}

/// The beginning of a client's text, for a message.
pub(super) fn shown(word: &str) -> String {
    const MOST: usize = 64;
    word.chars().take(MOST).collect()
}
