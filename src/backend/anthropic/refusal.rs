//! Reading Anthropic's errors.

use serde_json::Value;

use crate::backend::{Rejection, RejectionClass, blame, class_of_status, shorten};

/// Reads an answer whose status is not 2xx.
pub(super) fn read(status: u16, body: &[u8], model: &str) -> Rejection {
    let body = serde_json::from_slice::<Value>(body).unwrap_or_default();
    match body.get("error").filter(|error| error.is_object()) {
        Some(error) => classed(status, error, model),
        None => {
            // What answers without the envelope is not this API, or something before it.
            let class = match class_of_status(status) {
                RejectionClass::UnknownModel => RejectionClass::Broken,
                class => class,
            };
            Rejection { class, message: format!("status {status}"), retry_after: None }
        }
    }
}

/// Reads the `error` of an answer that began as a success.
pub(super) fn in_band(error: &Value) -> Rejection {
    classed(500, error, "")
}

fn classed(status: u16, error: &Value, model: &str) -> Rejection {
    let said = error.get("message").and_then(Value::as_str).unwrap_or_default();
    let lower = said.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let kind = error.get("type").and_then(Value::as_str).unwrap_or_default();
    let cap = error.pointer("/details/error_code").and_then(Value::as_str).unwrap_or_default();
    let class = match kind {
        "invalid_request_error"
            if says(&["prompt is too long", "context window", "context limit"]) =>
        {
            RejectionClass::ContextTooLong
        }
        // A spending limit that the account's owner set, or an account that ran dry.
        "invalid_request_error" if says(&["usage limit", "spending limit", "credit balance"]) => {
            RejectionClass::QuotaExhausted
        }
        "invalid_request_error" if says(&["content filtering"]) => RejectionClass::ContentFilter,
        "invalid_request_error" | "request_too_large" => RejectionClass::BadRequest,
        "authentication_error" if status != 403 => RejectionClass::Auth,
        "authentication_error" | "permission_error" => RejectionClass::Forbidden,
        "billing_error" => RejectionClass::QuotaExhausted,
        "not_found_error" => RejectionClass::UnknownModel,
        // A cap, not a rate: it does not pass by itself.
        "rate_limit_error" if cap.ends_with("spend_limit_reached") => {
            RejectionClass::QuotaExhausted
        }
        "rate_limit_error" => RejectionClass::RateLimited,
        "overloaded_error" => RejectionClass::Overloaded,
        "timeout_error" => RejectionClass::Timeout,
        "api_error" => RejectionClass::Broken,
        _ => class_of_status(status),
    };
    let class = blame::refine(class, &lower);
    let message = if !said.is_empty() {
        shorten(said)
    } else if class == RejectionClass::UnknownModel {
        format!("model '{model}' not found")
    } else {
        format!("status {status}")
    };
    Rejection { class, message, retry_after: None }
}
