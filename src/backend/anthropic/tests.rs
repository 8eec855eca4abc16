//! Tests of the backend as its callers see it; encoding and decoding have a file each.

mod decoding;
mod encoding;

use serde_json::{Value, json};

use super::*;
use crate::backend::RejectionClass as Class;

fn error(kind: &str, message: &str, details: Value) -> String {
    let error = json!({"type": kind, "message": message, "details": details});
    json!({"type": "error", "error": error, "request_id": "req_1"}).to_string()
}

#[test]
fn refusals_are_classed_and_keep_anthropics_words() {
    let none = || Value::Null;
    let cap = |code: &str| json!({"error_code": code});
    let invalid = "invalid_request_error";
    let table = [
        (400, invalid, "messages: first must be user", none(), Class::BadRequest),
        (400, invalid, "prompt is too long: 300000 tokens", none(), Class::ContextTooLong),
        (
            400,
            invalid,
            "You have reached your specified API usage limits",
            none(),
            Class::QuotaExhausted,
        ),
        (400, invalid, "Your credit balance is too low", none(), Class::QuotaExhausted),
        (400, invalid, "Output blocked by content filtering policy", none(), Class::ContentFilter),
        (401, "authentication_error", "invalid x-api-key", none(), Class::Auth),
        (402, "billing_error", "pay", none(), Class::QuotaExhausted),
        (403, "permission_error", "no", none(), Class::Forbidden),
        (404, "not_found_error", "model: x", none(), Class::UnknownModel),
        (409, "conflict_error", "no", none(), Class::Broken),
        (413, "request_too_large", "no", none(), Class::BadRequest),
        (429, "rate_limit_error", "slow", none(), Class::RateLimited),
        (
            429,
            "rate_limit_error",
            "cap",
            cap("enforced_spend_limit_reached"),
            Class::QuotaExhausted,
        ),
        (
            429,
            "rate_limit_error",
            "cap",
            cap("contract_spend_limit_reached"),
            Class::QuotaExhausted,
        ),
        (500, "api_error", "oops", none(), Class::Broken),
        (504, "timeout_error", "late", none(), Class::Timeout),
        (529, "overloaded_error", "Overloaded", none(), Class::Overloaded),
        (503, "unheard_of", "busy", none(), Class::Overloaded),
    ];
    for (status, kind, message, details, class) in table {
        let body = error(kind, message, details);
        let rejection = Anthropic.rejection(status, body.as_bytes(), "m");
        assert_eq!((rejection.class, rejection.message.as_str()), (class, message), "{body}");
    }
    for (status, class) in [(404, Class::Broken), (502, Class::Broken), (529, Class::Overloaded)] {
        let rejection = Anthropic.rejection(status, b"<html>Sorry</html>", "m");
        assert_eq!((rejection.class, rejection.message), (class, format!("status {status}")));
    }
}
