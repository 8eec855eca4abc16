//! Tests of the backend through its public functions; encoding and decoding have a file each.

mod decoding;
mod encoding;
mod newer;

use serde_json::{Value, json};

use super::*;
use crate::backend::RejectionClass as Class;

fn error(kind: &str, message: &str, details: Value) -> String {
    let error = json!({"type": kind, "message": message, "details": details});
    json!({"type": "error", "error": error, "request_id": "req_1"}).to_string()
}

#[test]
fn errors_are_classified_and_keep_anthropics_message() {
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
        assert_eq!(rejection.class, class);
        assert!(rejection.message.starts_with(&format!("status {status}")), "{rejection:?}");
        assert_eq!(rejection.message.contains("base_url"), status == 404);
    }
}

#[test]
fn errors_of_other_servers_with_this_api_are_read() {
    let llama = json!({"error": {"code": 400, "type": "exceed_context_size_error", "n_ctx": 8192,
        "message": "request (9412 tokens) exceeds the available context size (8192 tokens), try increasing it"}});
    let vllm = |message: &str| json!({"type": "error", "error": {"type": "BadRequestError", "message": message}});
    let inner = json!({"error": {"message": "no", "type": "invalid_request_error"}}).to_string();
    for (status, body, class, words) in [
        (400, llama, Class::ContextTooLong, "available context size"),
        (
            400,
            vllm(
                "This model's maximum context length is 8 tokens. However, your request has 9 input tokens.",
            ),
            Class::ContextTooLong,
            "9 input tokens",
        ),
        (
            400,
            vllm(
                "'max_tokens' or 'max_completion_tokens' is too large: 32000. This model's maximum context length is 32768 tokens and your request has 17000 input tokens.",
            ),
            Class::BadRequest,
            "is too large",
        ),
        (
            404,
            json!({"error": {"code": 404, "message": "model not found", "type": "not_found_error"}}),
            Class::UnknownModel,
            "model not found",
        ),
        (404, json!({"detail": "no such model"}), Class::UnknownModel, "no such model"),
        (
            503,
            json!({"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}),
            Class::NotBegun,
            "Loading model",
        ),
        (
            400,
            json!({"error": {"type": "invalid_request_error", "message": inner}}),
            Class::BadRequest,
            "no",
        ),
        (500, json!({"error": "in words"}), Class::Broken, "in words"),
    ] {
        let rejection = Anthropic.rejection(status, body.to_string().as_bytes(), "m");
        assert_eq!(rejection.class, class, "{body}");
        assert!(
            rejection.message.contains(words) && !rejection.message.contains('{'),
            "{rejection:?}"
        );
    }
}

#[test]
fn a_status_of_overload_counts_more_than_the_type_api_error() {
    for (status, class) in [
        (500, Class::Broken),
        (503, Class::Overloaded),
        (529, Class::Overloaded),
        (504, Class::Timeout),
    ] {
        let body = error("api_error", "Service unavailable", Value::Null);
        assert_eq!(Anthropic.rejection(status, body.as_bytes(), "m").class, class, "{status}");
    }
}
