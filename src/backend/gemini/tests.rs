//! Tests of the backend through its public functions; encoding and decoding have a file each.

mod decoding;
mod encoding;

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::backend::RejectionClass as Class;

fn error(code: u16, status: &str, message: &str, details: Value) -> String {
    let error = json!({"code": code, "status": status, "message": message, "details": details});
    json!({"error": error}).to_string()
}

#[test]
fn errors_are_classified_and_keep_googles_message() {
    let invalid = "INVALID_ARGUMENT";
    let key =
        json!([{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]);
    let precondition = "FAILED_PRECONDITION";
    let too_long = "The input token count exceeds the maximum number of tokens allowed";
    let table = [
        (400, invalid, "Unknown name", json!([]), Class::BadRequest),
        (400, invalid, "bad key", key, Class::Auth),
        (400, invalid, "API key expired. Please renew it.", json!([]), Class::Auth),
        (400, invalid, too_long, json!([]), Class::ContextTooLong),
        (400, precondition, "enable billing", json!([]), Class::QuotaExhausted),
        (400, precondition, "User location is not supported", json!([]), Class::Forbidden),
        (401, "UNAUTHENTICATED", "no", json!([]), Class::Auth),
        (403, "PERMISSION_DENIED", "no", json!([]), Class::Forbidden),
        (404, "NOT_FOUND", "models/x is not found", json!([]), Class::UnknownModel),
        (409, "ABORTED", "no", json!([]), Class::Broken),
        (429, "RESOURCE_EXHAUSTED", "no", json!([]), Class::RateLimited),
        (429, "RESOURCE_EXHAUSTED", "over the spending cap", json!([]), Class::QuotaExhausted),
        (499, "CANCELLED", "no", json!([]), Class::Broken),
        (500, "INTERNAL", "no", json!([]), Class::Broken),
        (503, "UNAVAILABLE", "no", json!([]), Class::Overloaded),
        (504, "DEADLINE_EXCEEDED", "no", json!([]), Class::Timeout),
    ];
    for (code, status, message, details, class) in table {
        let body = error(code, status, message, details);
        for body in [body.clone(), format!("[{body}]")] {
            let rejection = Gemini.rejection(code, body.as_bytes(), "m");
            assert_eq!((rejection.class, rejection.message.as_str()), (class, message), "{body}");
        }
    }
    for (status, class) in [(404, Class::Broken), (502, Class::Broken), (503, Class::Overloaded)] {
        let rejection = Gemini.rejection(status, b"<html>Sorry</html>", "m");
        assert_eq!(rejection.class, class);
        assert!(rejection.message.starts_with(&format!("status {status}")), "{rejection:?}");
        assert_eq!(rejection.message.contains("base_url"), status == 404);
    }
}

#[test]
fn an_exhausted_daily_limit_is_a_quota_even_with_a_delay() {
    let limit = |id: &str| json!({"quotaId": id});
    let failure = |limits: Value| {
        json!([
            {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": limits},
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "19.5s"},
        ])
    };
    let minute = failure(json!([limit("RequestsPerMinutePerProject")]));
    let both =
        failure(json!([limit("TokensPerMinute"), limit("GenerateRequestsPerDayPerProject")]));
    let read = |details| {
        let body = error(429, "RESOURCE_EXHAUSTED", "quota", details);
        let rejection = Gemini.rejection(429, body.as_bytes(), "m");
        (rejection.class, rejection.retry_after)
    };
    assert_eq!(read(minute), (Class::RateLimited, Some(Duration::from_millis(19_500))));
    assert_eq!(read(both), (Class::QuotaExhausted, None));
}

#[test]
fn a_delay_is_read_from_the_message_unless_it_is_invalid() {
    let read = |message: &str| {
        let body = error(429, "RESOURCE_EXHAUSTED", message, json!([]));
        Gemini.rejection(429, body.as_bytes(), "m").retry_after
    };
    assert_eq!(read("quota. Please retry in 45.57s."), Some(Duration::from_millis(45_570)));
    for message in
        ["retry in a while", "retry in -s", "retry in infs", "retry in 1e300s", "retry in "]
    {
        assert_eq!(read(message), None, "{message}");
    }
}
