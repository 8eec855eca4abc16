//! Reads Anthropic's errors, and those of servers that speak its API but keep the errors of
//! another.

use std::time::Duration;

use serde_json::Value;

use crate::backend::overflow::is_prompt_too_long;
use crate::backend::vendor_errors::{VendorError, VendorErrors};
use crate::backend::{RejectionClass, blame, class_of_status};

/// Anthropic's errors.
pub(super) const ERRORS: VendorErrors =
    VendorErrors { classify, hint: "; base_url is what stands before `/v1`" };

fn classify(error: &VendorError<'_>) -> (RejectionClass, Option<Duration>) {
    let VendorError { report, body, status, answer_status } = error;
    let cap = body.pointer("/error/details/error_code").and_then(Value::as_str).unwrap_or_default();
    let class = match report.kind.as_str() {
        // A spending limit set by the account's owner, or an account without credit.
        "invalid_request_error"
            if report.mentions(&["usage limit", "spending limit", "credit balance"]) =>
        {
            RejectionClass::QuotaExhausted
        }
        "invalid_request_error" if report.mentions(&["content filtering"]) => {
            RejectionClass::ContentFilter
        }
        _ if is_prompt_too_long(report, *answer_status) => RejectionClass::ContextTooLong,
        "invalid_request_error" | "request_too_large" => RejectionClass::BadRequest,
        "authentication_error" if *status != 403 => RejectionClass::Auth,
        "authentication_error" | "permission_error" => RejectionClass::Forbidden,
        "billing_error" => RejectionClass::QuotaExhausted,
        "not_found_error" => RejectionClass::UnknownModel,
        // A spending cap, which does not pass like a rate limit.
        "rate_limit_error" if cap.ends_with("spend_limit_reached") => {
            RejectionClass::QuotaExhausted
        }
        "rate_limit_error" => RejectionClass::RateLimited,
        "overloaded_error" => RejectionClass::Overloaded,
        "timeout_error" => RejectionClass::Timeout,
        // Anthropic's word for every failure of its own; a status with more detail than 500 counts
        // more.
        "api_error" if !matches!(status, 503 | 504 | 529) => RejectionClass::Broken,
        _ => class_of_status(*status),
    };
    (blame::refine(class, &report.message.to_ascii_lowercase()), None)
}
