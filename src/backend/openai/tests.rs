//! Tests of the backend through its public functions; encoding and decoding have a file each.

mod decoding;
mod encoding;
mod imitators;

use serde_json::json;

use super::*;
use crate::backend::RejectionClass;

#[test]
fn errors_of_all_shapes_are_classified_and_keep_the_providers_message() {
    use RejectionClass as Class;
    let coded = |message: &str, kind: &str, code: &str| {
        json!({"error": {"message": message, "type": kind, "param": null, "code": code}})
            .to_string()
    };
    let invalid = "invalid_request_error";
    let quota =
        coded("you exceeded your current quota", "insufficient_quota", "insufficient_quota");
    let table: &[(u16, String, Class, &str)] = &[
        (400, coded("stop: bad", invalid, "invalid_value"), Class::BadRequest, "stop: bad"),
        (400, coded("too long", invalid, "context_length_exceeded"), Class::ContextTooLong, "long"),
        (400, coded("no", invalid, "content_policy_violation"), Class::ContentFilter, "no"),
        (400, coded("no", "", "content_filter"), Class::ContentFilter, "no"),
        (401, coded("bad key", invalid, "invalid_api_key"), Class::Auth, "bad key"),
        (403, coded("country", "permission", "unsupported_country"), Class::Forbidden, "country"),
        (402, coded("pay", "", ""), Class::QuotaExhausted, "pay"),
        (404, coded("no `x`", invalid, "model_not_found"), Class::UnknownModel, "no `x`"),
        (400, coded("no `x`", invalid, "model_not_found"), Class::UnknownModel, "no `x`"),
        (408, coded("slow", "", ""), Class::Timeout, "slow"),
        (409, coded("conflict", "", ""), Class::Broken, "conflict"),
        (413, coded("big", "", ""), Class::BadRequest, "big"),
        (429, coded("slow down", "requests", "rate_limit_exceeded"), Class::RateLimited, "slow"),
        (429, quota, Class::QuotaExhausted, "quota"),
        (429, coded("x", "", "billing_hard_limit_reached"), Class::QuotaExhausted, "x"),
        (500, coded("oops", "server_error", ""), Class::Broken, "oops"),
        (500, coded("busy", "", "server_is_overloaded"), Class::Overloaded, "busy"),
        (503, coded("busy", "service_unavailable_error", ""), Class::Overloaded, "busy"),
        (504, "<html>gateway</html>".into(), Class::Timeout, "status 504"),
        (502, "<html>gateway</html>".into(), Class::Broken, "status 502"),
        (400, "{\"error\":\"just text\"}".into(), Class::BadRequest, "just text"),
        (422, "{\"detail\":\"in words\"}".into(), Class::BadRequest, "in words"),
        (404, "{\"detail\":\"Not Found\"}".into(), Class::Broken, "Not Found"),
        (404, "404 page not found".into(), Class::Broken, "base_url"),
        (404, "{\"error\":{}}".into(), Class::UnknownModel, "model 'm' not found"),
        (400, "{\"message\":\"at the top\"}".into(), Class::BadRequest, "at the top"),
        (500, String::new(), Class::Broken, "status 500"),
    ];
    for (status, body, class, part) in table {
        let rejection = OpenAi.rejection(*status, body.as_bytes(), "m");
        assert_eq!(rejection.class, *class, "{status} {body}");
        assert!(rejection.message.contains(part), "{status} {body}: {}", rejection.message);
    }
}

#[test]
fn errors_in_imitators_own_shapes_are_read() {
    use RejectionClass as Class;
    let vllm = json!({"object": "error", "message": "The model `x` does not exist.",
        "type": "NotFoundError", "param": null, "code": 404});
    let problem = json!({"loc": ["body", "messages", 0, "role"], "msg": "field required"});
    let llama_cpp = json!({"error": {"code": 400, "type": "exceed_context_size_error",
        "message": "the request exceeds the available context size"}});
    let google = json!([{"error": {"code": 400, "status": "INVALID_ARGUMENT",
        "message": "API key not valid. Please pass a valid API key."}}]);
    let table = [
        (404, vllm, Class::UnknownModel, "does not exist"),
        (422, json!({"detail": [problem]}), Class::BadRequest, "body.messages.0.role: field"),
        (400, llama_cpp, Class::ContextTooLong, "context size"),
        (400, google, Class::Auth, "API key"),
    ];
    for (status, body, class, part) in table {
        let rejection = OpenAi.rejection(status, body.to_string().as_bytes(), "m");
        assert_eq!(rejection.class, class, "{body}");
        assert!(rejection.message.contains(part), "{body}: {}", rejection.message);
    }
}
