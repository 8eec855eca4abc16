//! Reads Google's errors.

use std::time::Duration;

use serde_json::Value;

use crate::backend::overflow::is_prompt_too_long;
use crate::backend::vendor_errors::{VendorError, VendorErrors};
use crate::backend::{RejectionClass, blame, class_of_status};

/// Google's errors.
pub(super) const ERRORS: VendorErrors =
    VendorErrors { classify, hint: "; base_url is what stands before `/v1beta`" };

fn classify(error: &VendorError<'_>) -> (RejectionClass, Option<Duration>) {
    let VendorError { report, body, status, answer_status } = error;
    // The error in its envelope, which is sometimes a list of one.
    let error = body.get("error").or_else(|| body.get(0)?.get("error")).unwrap_or(&Value::Null);
    let state = error.get("status").and_then(Value::as_str).unwrap_or_default();
    let class = match class_of_status(*status) {
        _ if is_prompt_too_long(report, *answer_status) => RejectionClass::ContextTooLong,
        RejectionClass::BadRequest
            if is_key(error) || report.mentions(&["api key not valid", "api key expired"]) =>
        {
            RejectionClass::Auth
        }
        RejectionClass::BadRequest
            if state == "FAILED_PRECONDITION" && report.mentions(&["billing"]) =>
        {
            RejectionClass::QuotaExhausted
        }
        RejectionClass::BadRequest
            if state == "FAILED_PRECONDITION" && report.mentions(&["location"]) =>
        {
            RejectionClass::Forbidden
        }
        // Cancelled, perhaps because another client disconnected.
        RejectionClass::BadRequest if *status == 499 => RejectionClass::Broken,
        // Google adds a delay of seconds to an exhausted daily quota as well, and lists both limits
        // together.
        RejectionClass::RateLimited
            if is_daily(error) || report.mentions(&["spending cap", "spend limit"]) =>
        {
            RejectionClass::QuotaExhausted
        }
        class => blame::refine(class, &report.message.to_ascii_lowercase()),
    };
    let passes = matches!(class, RejectionClass::RateLimited | RejectionClass::Overloaded);
    let retry_after =
        passes.then(|| delay(error).or_else(|| delay_in_message(&report.message))).flatten();
    (class, retry_after)
}

/// The details of this type.
fn details<'a>(error: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    let all = error.get("details").and_then(Value::as_array).into_iter().flatten();
    all.filter(move |detail| {
        let named = detail.get("@type").and_then(Value::as_str).unwrap_or_default();
        named.ends_with(kind)
    })
}

/// Whether the error is about the gateway's own key, which Google reports as a mistake of the
/// caller.
fn is_key(error: &Value) -> bool {
    let mut reasons =
        details(error, "google.rpc.ErrorInfo").filter_map(|detail| detail.get("reason"));
    reasons.any(|reason| reason == "API_KEY_INVALID")
}

/// Whether one of the limits is a daily one.
fn is_daily(error: &Value) -> bool {
    let failures = details(error, "google.rpc.QuotaFailure");
    let lists = failures.filter_map(|detail| detail.get("violations").and_then(Value::as_array));
    let mut limits = lists.flatten().filter_map(|violation| violation.get("quotaId")?.as_str());
    limits.any(|limit| limit.contains("PerDay"))
}

fn delay(error: &Value) -> Option<Duration> {
    let mut delays = details(error, "google.rpc.RetryInfo");
    seconds(delays.find_map(|detail| detail.get("retryDelay")?.as_str())?)
}

/// The delay in `… Please retry in 45.57s.`
fn delay_in_message(said: &str) -> Option<Duration> {
    let (_, rest) = said.split_once("retry in ")?;
    let end = rest.find('s')?;
    seconds(rest.get(..=end)?)
}

/// A duration as protocol buffers write it: `19.5s`.
fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.strip_suffix('s')?.parse().ok()?;
    Duration::try_from_secs_f64(seconds.max(0.0)).ok()
}
