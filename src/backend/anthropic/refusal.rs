//! Reading Anthropic's errors, and those of servers that speak its API and keep the errors of another.

use serde_json::Value;

use crate::backend::overflow::is_prompt_too_long;
use crate::backend::report::{Report, unreported};
use crate::backend::{Rejection, RejectionClass, blame, class_of_status, shorten};

/// Reads an answer whose status is not 2xx.
pub(super) fn read(status: u16, body: &[u8], model: &str) -> Rejection {
    let body = serde_json::from_slice::<Value>(body).unwrap_or_default();
    match Report::find(&body) {
        Some(report) => classed(status, Some(status), &report, &body, model),
        None => unreported(status, "; base_url is what stands before `/v1`"),
    }
}

/// Reads an error within an answer that began as a success; `None` when it is none.
pub(super) fn in_band(body: &Value) -> Option<Rejection> {
    let report = Report::find(body)?;
    Some(classed(report.status(), None, &report, body, ""))
}

/// `status` is what counts where the error itself says nothing, `told` that of the answer.
fn classed(
    status: u16,
    told: Option<u16>,
    report: &Report,
    body: &Value,
    model: &str,
) -> Rejection {
    let cap = body.pointer("/error/details/error_code").and_then(Value::as_str).unwrap_or_default();
    let class = match report.kind.as_str() {
        // A spending limit that the account's owner set, or an account that ran dry.
        "invalid_request_error"
            if report.says(&["usage limit", "spending limit", "credit balance"]) =>
        {
            RejectionClass::QuotaExhausted
        }
        "invalid_request_error" if report.says(&["content filtering"]) => {
            RejectionClass::ContentFilter
        }
        _ if is_prompt_too_long(report, told) => RejectionClass::ContextTooLong,
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
        // Its word for everything that went wrong there; a status that says more than 500 is the better one.
        "api_error" if !matches!(status, 503 | 504 | 529) => RejectionClass::Broken,
        _ => class_of_status(status),
    };
    let class = blame::refine(class, &report.message.to_ascii_lowercase());
    let message = if !report.message.is_empty() {
        shorten(&report.message)
    } else if class == RejectionClass::UnknownModel {
        format!("model '{model}' not found")
    } else {
        format!("status {status}")
    };
    Rejection { class, message, retry_after: None }
}
