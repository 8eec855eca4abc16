//! The error envelope, and helpers for the tests of the routes: golden events, random answers,
//! bodies with one wrong value.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::dialect::testing::chat;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::chat::{Ask, ChatEvent, ChatRequest, Completion, ToolCallPiece};
use crate::dialect::{AnswerHead, Dialect};

/// Decodes `body`, which must be valid.
pub(super) fn decode(dialect: &dyn Dialect, body: &Value) -> ChatRequest {
    chat(dialect.decode(body.to_string().as_bytes()).unwrap())
}

/// The first problem of `body` and the error's own form of it.
pub(super) fn refusal(dialect: &dyn Dialect, body: &Value) -> (String, String) {
    let error = dialect.decode(body.to_string().as_bytes()).unwrap_err();
    let written = dialect.error(&error, "r-1");
    assert_eq!(written.status, 400);
    let body: Value = serde_json::from_slice(&written.body).unwrap();
    let error = &body["error"];
    assert_eq!(error["type"], "invalid_request_error");
    let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
    (text("param"), text("code"))
}

/// Checks that each of `cases` — fields to merge into `base`, the field at fault, the code — is
/// rejected by name.
pub(super) fn refuses(dialect: &dyn Dialect, base: &Value, cases: &[(Value, &str, &str)]) {
    decode(dialect, base);
    for (fields, param, code) in cases {
        let mut body = base.clone();
        let merged = body.as_object_mut().unwrap();
        merged.extend(fields.as_object().unwrap().clone());
        let expected = ((*param).to_owned(), (*code).to_owned());
        assert_eq!(refusal(dialect, &body), expected, "{fields}");
    }
}

/// The output for `events`.
pub(super) fn answer(dialect: &dyn Dialect, request: &ChatRequest, events: &[ChatEvent]) -> String {
    let mut encoder = dialect.encoder(&Ask::Chat(request.clone()), head());
    let mut out = Vec::new();
    for event in events {
        encoder.event(event.clone(), Duration::ZERO, &mut out).unwrap();
    }
    shortened(out)
}

/// The output for `events` and a failure after them.
pub(super) fn failed(
    dialect: &dyn Dialect,
    request: &ChatRequest,
    events: &[ChatEvent],
    error: &GatewayError,
) -> String {
    let mut encoder = dialect.encoder(&Ask::Chat(request.clone()), head());
    let mut out = Vec::new();
    for event in events {
        encoder.event(event.clone(), Duration::ZERO, &mut out).unwrap();
    }
    encoder.failure(error, &mut out);
    shortened(out)
}

const NIL: &str = "00000000000000000000000000000000";

/// The id of the golden answers.
const ID: &str = "fx01";

/// The answer with the golden id in place of its own; the first item's id is the answer's and a 0.
fn shortened(out: Vec<u8>) -> String {
    String::from_utf8(out).unwrap().replace(&format!("{NIL}0"), ID).replace(NIL, ID)
}

pub(super) fn head() -> AnswerHead {
    AnswerHead {
        id: Uuid::nil(),
        created: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_341_600),
        provider: Arc::from("ollama"),
        model: Arc::from("llama3.1"),
        fell_back: false,
        waited: Duration::ZERO,
    }
}

/// The documents of a stream, with its end marker as a string.
pub(super) fn events_of(stream: &str) -> Vec<Value> {
    let lines = stream.lines().filter_map(|line| line.strip_prefix("data: "));
    lines.map(|line| serde_json::from_str(line).unwrap_or_else(|_| json!(line))).collect()
}

/// `value` without `keys`, at any depth.
pub(super) fn without(mut value: Value, keys: &[&str]) -> Value {
    match &mut value {
        Value::Object(object) => {
            object.retain(|key, _| !keys.contains(&key.as_str()));
            for inner in object.values_mut() {
                *inner = without(inner.take(), keys);
            }
        }
        Value::Array(list) => {
            for inner in list {
                *inner = without(inner.take(), keys);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    value
}

/// The end of the golden answers.
pub(super) fn end(finish: Finish) -> ChatEvent {
    let usage = Usage {
        prompt: Some(29),
        completion: Some(10),
        cached: Some(0),
        cache_written: None,
        reasoning: Some(0),
        durations: None,
    };
    ChatEvent::Done(Completion { finish, stop_sequence: None, usage })
}

/// The golden text, in its pieces.
pub(super) fn village() -> Vec<ChatEvent> {
    let texts = ["The village", " looks east", " over Lake", " Merrow."];
    let texts = texts.into_iter().map(|text| ChatEvent::Text(text.to_owned()));
    texts.chain([end(Finish::Stop)]).collect()
}

/// A piece of a call; the first of an index has an id and a name.
pub(super) fn piece(index: u32, first: Option<(&str, &str)>, arguments: &str) -> ChatEvent {
    ChatEvent::ToolCall(ToolCallPiece {
        index,
        id: first.map(|(id, _)| id.to_owned()),
        name: first.map(|(_, name)| name.to_owned()),
        arguments: arguments.to_owned(),
    })
}

/// The complete golden call.
pub(super) fn tide_table() -> Vec<ChatEvent> {
    let arguments = r#"{"harbour":"Port Ésto","day":"2026-03-09"}"#;
    vec![piece(0, Some(("call_FxA1", "tide_table")), arguments), end(Finish::ToolCalls)]
}

/// Answers of every kind: reasoning, text, calls in pieces, an end.
pub(super) fn any_answer() -> impl Strategy<Value = Vec<ChatEvent>> {
    let text = prop_oneof![
        "[a-z\u{e9}\u{2028} ]{1,6}".prop_map(ChatEvent::Text),
        "[a-z]{1,6}".prop_map(ChatEvent::Reasoning),
    ];
    let texts = proptest::collection::vec(text, 0..6);
    let calls = proptest::collection::vec(proptest::collection::vec("[a-z]{0,4}", 1..4), 0..3);
    (texts, calls).prop_map(|(mut events, calls)| {
        let finish = if calls.is_empty() { Finish::Stop } else { Finish::ToolCalls };
        for (index, fragments) in (0u32..).zip(calls) {
            let id = format!("call_{index}");
            for (at, fragment) in fragments.into_iter().enumerate() {
                let first = (at == 0).then_some((id.as_str(), "f"));
                events.push(piece(index, first, &fragment));
            }
        }
        events.push(end(finish));
        events
    })
}

/// `body` with one of its nodes, chosen by `place`, replaced.
pub(super) fn altered(body: &Value, place: usize, by: Value) -> Value {
    fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
        found.push(at.to_owned());
        match value {
            Value::Object(object) => {
                object
                    .iter()
                    .for_each(|(key, inner)| pointers(inner, &format!("{at}/{key}"), found));
            }
            Value::Array(list) => {
                let items = list.iter().enumerate();
                items.for_each(|(index, inner)| pointers(inner, &format!("{at}/{index}"), found));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut found = Vec::new();
    pointers(body, "", &mut found);
    let mut altered = body.clone();
    *altered.pointer_mut(&found[place % found.len()]).unwrap() = by;
    altered
}

/// Values that a field may wrongly have.
pub(super) fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!([1, "a", null])),
        Just(json!({"type": "function", "name": "f"})),
    ]
}

fn written(error: &GatewayError) -> (u16, Value) {
    let body = error_body(error);
    let mut value: Value = serde_json::from_slice(&body.body).unwrap();
    let keys: Vec<_> = value["error"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["message", "type", "param", "code"]);
    (body.status, value["error"].take())
}

#[test]
fn every_kind_has_the_status_type_and_code_that_sdks_know() {
    use ErrorKind as Kind;
    let table = [
        (Kind::InvalidRequest, 400, "invalid_request_error", "invalid_request"),
        (Kind::SchemaMismatch, 400, "invalid_request_error", "invalid_request"),
        (Kind::ContextTooLong, 400, "invalid_request_error", "context_length_exceeded"),
        (Kind::InvalidApiKey, 401, "invalid_request_error", "invalid_api_key"),
        (Kind::NotAllowed, 403, "invalid_request_error", "not_allowed"),
        (Kind::ModelNotFound, 404, "invalid_request_error", "model_not_found"),
        (Kind::NotFound, 404, "invalid_request_error", "not_found"),
        (Kind::MethodNotAllowed, 405, "invalid_request_error", "method_not_allowed"),
        (Kind::BodyTimeout, 408, "invalid_request_error", "body_timeout"),
        (Kind::BodyTooLarge, 413, "invalid_request_error", "body_too_large"),
        (Kind::UnsupportedMediaType, 415, "invalid_request_error", "unsupported_media_type"),
        (Kind::UpgradeRequired, 426, "invalid_request_error", "upgrade_required"),
        (Kind::RateLimited, 429, "rate_limit_error", "rate_limit_exceeded"),
        (Kind::QuotaExhausted, 429, "insufficient_quota", "insufficient_quota"),
        (Kind::Internal, 500, "server_error", "internal"),
        (Kind::BadUpstream, 502, "server_error", "bad_upstream"),
        (Kind::Overloaded, 503, "service_unavailable_error", "server_is_overloaded"),
        (Kind::ProviderUnavailable, 503, "service_unavailable_error", "server_is_overloaded"),
        (Kind::Draining, 503, "service_unavailable_error", "draining"),
        (Kind::NoProviderForPolicy, 503, "service_unavailable_error", "no_provider_for_policy"),
        (Kind::Timeout, 504, "server_error", "timeout"),
    ];
    for (kind, status, kind_name, code) in table {
        let (answered, error) = written(&GatewayError::new(kind, "why"));
        assert_eq!(answered, status, "{kind:?}");
        assert_eq!(error["message"], "why");
        assert_eq!((&error["type"], &error["code"]), (&json!(kind_name), &json!(code)), "{kind:?}");
    }
}

#[test]
fn errors_equal_the_golden_ones() {
    let table = [
        (
            ErrorKind::InvalidApiKey,
            "Incorrect API key provided.",
            include_str!("../../../tests/fixtures/dialect/openai/error-401.json"),
        ),
        (
            ErrorKind::ModelNotFound,
            "The model 'absent' does not exist or you do not have access to it.",
            include_str!("../../../tests/fixtures/dialect/openai/error-404.json"),
        ),
        (
            ErrorKind::RateLimited,
            "Rate limit exceeded. Retry in 2.75 s.",
            include_str!("../../../tests/fixtures/dialect/openai/error-429.json"),
        ),
    ];
    for (kind, message, golden) in table {
        let body = error_body(&GatewayError::new(kind, message)).body;
        assert_eq!(String::from_utf8(body).unwrap(), golden.trim_end());
    }
}

#[test]
fn problems_are_joined_and_the_first_names_the_param() {
    let problem = |path: &[&str], rule| FieldProblem {
        path: path.iter().map(|segment| (*segment).to_owned()).collect(),
        message: "is wrong".to_owned(),
        rule,
    };
    let mut error = GatewayError::new(ErrorKind::SchemaMismatch, "first");
    error.problems = vec![problem(&["messages", "0", "role"], "missing"), problem(&["n"], "odd")];
    let (_, body) = written(&error);
    assert_eq!(body["param"], "messages[0].role");
    assert_eq!(body["code"], "missing_required_parameter");
    assert_eq!(body["message"], "messages[0].role: is wrong; n: is wrong");
    error.problems = vec![problem(&["n"], "int_type"); 9];
    let (_, body) = written(&error);
    assert_eq!(body["code"], "invalid_type");
    assert!(body["message"].as_str().unwrap().ends_with("n: is wrong; and 4 more"));
}

#[test]
fn a_field_that_a_provider_cannot_express_is_the_param() {
    let refused = GatewayError::invalid("image_url: this provider takes images in the request");
    assert_eq!(written(&refused).1["param"], "image_url");
    let malformed = GatewayError::invalid("the body is not valid JSON: EOF at line 1 column 0");
    assert_eq!(written(&malformed).1["param"], Value::Null);
}
