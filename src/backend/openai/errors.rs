//! Reads the errors of OpenAI and its imitators, in all their shapes.

use serde_json::Value;

use crate::backend::overflow::is_prompt_too_long;
use crate::backend::report::Report;
use crate::backend::stream::NO_REASON;
use crate::backend::{Rejection, RejectionClass, blame, class_of_status, shorten};

/// Reads an answer whose status is not 2xx.
pub(super) fn read(status: u16, body: &[u8], model: &str) -> Rejection {
    let found = Report::of_body(body);
    let class = match &found {
        Some(report) => classify(report, status, Some(status)),
        // Every server that has the path answers with an error in JSON; only a wrong base_url does
        // not.
        None if status == 404 => RejectionClass::Broken,
        None => class_of_status(status),
    };
    let said = found.map(|report| shorten(&report.message)).unwrap_or_default();
    let message = if !said.is_empty() {
        said
    } else if class == RejectionClass::UnknownModel {
        format!("model '{model}' not found")
    } else if status == 404 {
        "status 404; does base_url end in `/v1`?".to_owned()
    } else {
        format!("status {status}")
    };
    Rejection { class, message, retry_after: None }
}

/// Reads an error in the place of an answer; `None` if it is not an error.
pub(super) fn in_band(body: &Value) -> Option<Rejection> {
    Report::find(body).map(|report| rejection(&report))
}

/// Reads the error of a choice; `None` if there is none.
pub(super) fn of_choice(error: &Value) -> Option<Rejection> {
    Report::of_error(error).map(|report| rejection(&report))
}

/// The rejection for an error within an answer.
fn rejection(report: &Report) -> Rejection {
    let class = classify(report, report.status(), None);
    let said = shorten(&report.message);
    let message = if said.is_empty() { NO_REASON.to_owned() } else { said };
    Rejection { class, message, retry_after: None }
}

/// Classifies an error. `status` counts if the error itself says nothing; `answer_status` is the
/// status of the answer, if it has one.
fn classify(report: &Report, status: u16, answer_status: Option<u16>) -> RejectionClass {
    if report.has_code(&["insufficient_quota", "credit_balance_exhausted", "billing"]) {
        return RejectionClass::QuotaExhausted;
    }
    if report.has_code(&["content_filter", "content_policy", "responsibleaipolicy", "moderation"]) {
        return RejectionClass::ContentFilter;
    }
    if report.has_code(&["overloaded", "slow_down"]) {
        return RejectionClass::Overloaded;
    }
    if is_prompt_too_long(report, answer_status) {
        return RejectionClass::ContextTooLong;
    }
    match class_of_status(status) {
        RejectionClass::BadRequest | RejectionClass::Forbidden
            if report.has_code(&["model_not_found"]) =>
        {
            RejectionClass::UnknownModel
        }
        // Google's compatible endpoint answers this to a wrong key, which is the gateway's and not
        // the caller's.
        RejectionClass::BadRequest
            if report.has_code(&["invalid_api_key"])
                || report.mentions(&["api key not valid", "api key expired"]) =>
        {
            RejectionClass::Auth
        }
        // FastAPI and Starlette answer this to a path that they do not have.
        RejectionClass::UnknownModel
            if report.message.eq_ignore_ascii_case("not found") && report.kind.is_empty() =>
        {
            RejectionClass::Broken
        }
        class => blame::refine(class, &report.message.to_ascii_lowercase()),
    }
}
