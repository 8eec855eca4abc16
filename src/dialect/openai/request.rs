//! Request fields that several of OpenAI's routes share.
//!
//! It owns the model's name, token selection, effort, and what is left over. It refuses by name what would change
//! the answer and cannot be had.

use serde_json::Value;

use super::{INVALID_VALUE, UNSUPPORTED_PARAMETER};
use crate::chat::{Api, Effort, Extra, Sampling};
use crate::wire::fields::{Fields, Object, take};

/// Takes the model's name, which must be there.
pub(super) fn model(fields: &mut Fields, body: &mut Object) -> Option<String> {
    let model = fields.required_text(body, "model")?;
    if model.trim().is_empty() {
        fields.problem("model", INVALID_VALUE, "should name a model");
        return None;
    }
    Some(model)
}

/// Takes what the routes agree on about token selection; the bound of tokens has another name on each.
pub(super) fn sampling(fields: &mut Fields, body: &mut Object) -> Sampling {
    // The bounds are the provider's: models differ in them.
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

/// Takes a bound of tokens. Below 0 there is none, as LM Studio and llama.cpp have it.
pub(super) fn limit(fields: &mut Fields, body: &mut Object, key: &str) -> Option<u32> {
    if body.get(key).and_then(Value::as_f64).is_some_and(|limit| limit < 0.0) {
        body.swap_remove(key);
    }
    fields.unsigned(body, key, 1)
}

/// One text or a list. How many a provider takes is its own to say. Empty ones would end every answer at once, and are
/// left out.
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

/// Takes `stream_options`, which only a stream may have. Whether the counts are wanted at its end.
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

/// Takes how much the model is to think.
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

/// Leaves a bias out that biases nothing. What it says otherwise depends on the model's own token ids, so it stays
/// for a provider that knows them.
pub(super) fn check_logit_bias(fields: &mut Fields, body: &mut Object) {
    if let Some(bias) = fields.object(body, "logit_bias").filter(|bias| !bias.is_empty()) {
        body.insert("logit_bias".to_owned(), Value::Object(bias));
    }
}

/// Refuses `key` when it asks for something. `null`, `false`, an empty text and an empty list ask for nothing; an
/// empty object does ask, with every default (`web_search_options: {}` searches).
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

/// What nobody took, for a provider of the same API.
pub(super) fn rest(mut body: Object) -> Option<Extra> {
    body.retain(|_, value| !value.is_null());
    (!body.is_empty()).then_some(Extra { api: Api::OpenAi, fields: body })
}

/// The beginning of a client's own word, fit for a message.
pub(super) fn shown(word: &str) -> String {
    const MOST: usize = 64;
    word.chars().take(MOST).collect()
}
