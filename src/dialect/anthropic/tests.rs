//! The output for Anthropic clients: golden answers, streams, errors.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use super::*;
use crate::chat::{ChatEvent, ChatRequest, Completion, Effort, Finish, ToolCallPiece, Usage};
use crate::dialect::Waiting;
use proptest::prelude::*;

macro_rules! golden {
    ($file:literal) => {
        include_str!(concat!("../../../tests/fixtures/dialect/anthropic/", $file))
    };
}

fn encoder(stream: bool, effort: Option<Effort>) -> Box<dyn Encoder> {
    let model = Some("claude-test-1".to_owned());
    let request = ChatRequest { model, stream, effort, ..ChatRequest::default() };
    let head = AnswerHead {
        id: Uuid::nil(),
        created: SystemTime::UNIX_EPOCH,
        provider: Arc::from("ollama"),
        model: Arc::from("other"),
        fell_back: false,
        waited: Duration::ZERO,
    };
    Anthropic.encoder(&Ask::Chat(request), head)
}

fn written(stream: bool, effort: Option<Effort>, events: Vec<ChatEvent>) -> String {
    let mut encoder = encoder(stream, effort);
    let mut out = Vec::new();
    for event in events {
        encoder.event(event, Duration::ZERO, &mut out).unwrap();
    }
    String::from_utf8(out).unwrap()
}

fn whole(effort: Option<Effort>, events: Vec<ChatEvent>) -> Value {
    serde_json::from_str(&written(false, effort, events)).unwrap()
}

/// The events of a stream, each with a check that its name matches its data.
fn events(text: &str) -> Vec<Value> {
    let blocks = text.split("\n\n").filter(|block| !block.trim().is_empty());
    blocks
        .filter(|block| !block.starts_with(':'))
        .map(|block| {
            let (name, data) = block.split_once('\n').unwrap();
            let event: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
            assert_eq!(name, format!("event: {}", event["type"].as_str().unwrap()));
            event
        })
        .collect()
}

/// A client's result of a stream: its complete blocks and the stop reason.
fn assembled(text: &str) -> (Vec<Value>, Value) {
    let mut blocks: Vec<Value> = Vec::new();
    let mut arguments = String::new();
    let mut reason = Value::Null;
    let mut is_open = false;
    for event in events(text) {
        match event["type"].as_str().unwrap() {
            "content_block_start" => {
                assert!(!is_open && event["index"] == blocks.len());
                is_open = true;
                blocks.push(event["content_block"].clone());
                arguments.clear();
            }
            "content_block_delta" => {
                assert!(is_open && event["index"] == blocks.len() - 1);
                let block = blocks.last_mut().unwrap();
                for (key, value) in event["delta"].as_object().unwrap() {
                    let value = value.as_str().unwrap();
                    match key.as_str() {
                        "type" => {}
                        "partial_json" => arguments.push_str(value),
                        // Anthropic's own client takes a second signature instead of the first.
                        "signature" => block["signature"] = json!(value),
                        key => {
                            block[key] = json!(format!("{}{value}", block[key].as_str().unwrap()))
                        }
                    }
                }
            }
            "content_block_stop" => {
                assert!(is_open && event["index"] == blocks.len() - 1);
                is_open = false;
                if !arguments.is_empty() {
                    blocks.last_mut().unwrap()["input"] = serde_json::from_str(&arguments).unwrap();
                    arguments.clear();
                }
            }
            "message_delta" => reason = event["delta"]["stop_reason"].clone(),
            _ => {}
        }
    }
    (blocks, reason)
}

/// Without the id, which is random, the tier, which is unknown here, and the counts at a stream's
/// start, which are unknown yet.
fn comparable(mut event: Value) -> Value {
    let is_start = event["type"] == "message_start";
    let message = if is_start { &mut event["message"] } else { &mut event };
    if let Some(id) = message.get_mut("id") {
        assert!(id.as_str().unwrap().starts_with("msg_"));
        *id = json!("msg");
    }
    if let Some(Value::Object(usage)) = message.get_mut("usage") {
        usage.remove("service_tier");
        if is_start {
            usage.values_mut().for_each(|count| *count = json!(0));
        }
    }
    event
}

fn same(found: &str, golden: &str) {
    let read = |text: &str| events(text).into_iter().map(comparable).collect::<Vec<Value>>();
    assert_eq!(read(found), read(golden));
}

fn text(text: &str) -> ChatEvent {
    ChatEvent::Text(text.into())
}

fn call(index: u32, id: Option<&str>, name: Option<&str>, arguments: &str) -> ChatEvent {
    ChatEvent::ToolCall(ToolCallPiece {
        index,
        id: id.map(str::to_owned),
        name: name.map(str::to_owned),
        arguments: arguments.into(),
    })
}

fn end(finish: Finish, usage: Usage) -> ChatEvent {
    ChatEvent::Done(Completion { finish, stop_sequence: None, usage })
}

fn done(finish: Finish) -> ChatEvent {
    end(finish, Usage { completion: Some(12), ..Usage::default() })
}

fn village() -> Vec<ChatEvent> {
    ["The village", " looks east", " over Lake", " Merrow."].map(text).into()
}

fn tides() -> ChatEvent {
    let arguments = "{\"harbour\":\"Port Ésto\",\"day\":\"2026-03-09\"}";
    call(0, Some("toolu_fxA1"), Some("tide_table"), arguments)
}

#[test]
fn streams_look_as_anthropics_do() {
    let ended = |mut events: Vec<ChatEvent>, finish| {
        events.push(done(finish));
        written(true, None, events)
    };
    same(&ended(village(), Finish::Stop), golden!("messages.sse"));
    same(&ended(vec![tides()], Finish::ToolCalls), golden!("messages-tool.sse"));
}

#[test]
fn whole_messages_look_as_anthropics_do() {
    let golden = |text: &str| comparable(serde_json::from_str(text).unwrap());
    let usage =
        Usage { prompt: Some(30), completion: Some(12), cached: Some(0), ..Usage::default() };
    let mut said = village();
    said.push(end(Finish::Stop, usage));
    assert_eq!(comparable(whole(None, said)), golden(golden!("messages.json")));
    let called = vec![tides(), end(Finish::ToolCalls, usage)];
    assert_eq!(comparable(whole(None, called)), golden(golden!("messages-tool.json")));
}

#[test]
fn a_failure_midway_is_an_error_event() {
    let mut encoder = encoder(true, None);
    let mut out = Vec::new();
    encoder.event(text("The village"), Duration::ZERO, &mut out).unwrap();
    let error = GatewayError::upstream(ErrorKind::BadUpstream, "upstream ended early");
    encoder.failure(&error, &mut out);
    encoder.event(done(Finish::Stop), Duration::ZERO, &mut out).unwrap();
    same(&String::from_utf8(out).unwrap(), golden!("messages-error.sse"));
}

#[test]
fn a_waiting_client_reads_the_start_and_pings() {
    let mut encoder = encoder(true, None);
    let mut out = Vec::new();
    encoder.heartbeat(Some(Waiting { ahead: 3, expected: Duration::ZERO, load: None }), &mut out);
    encoder.heartbeat(None, &mut out);
    encoder.event(text("a"), Duration::ZERO, &mut out).unwrap();
    let found = String::from_utf8(out).unwrap();
    assert!(found.contains(": waiting, 3 ahead\n\n"));
    let kinds: Vec<Value> = events(&found).iter().map(|event| event["type"].clone()).collect();
    let expected = ["message_start", "ping", "ping", "content_block_start", "content_block_delta"];
    assert_eq!(kinds, expected);
}

#[test]
fn thinking_is_written_only_for_clients_that_asked_for_it() {
    let thoughts = || {
        vec![
            ChatEvent::Reasoning("h".into()),
            ChatEvent::Reasoning("m".into()),
            ChatEvent::Signature("proof".into()),
            ChatEvent::Reasoning("so".into()),
            text("42"),
            done(Finish::Stop),
        ]
    };
    let said = json!({"type": "text", "text": "42"});
    for effort in [None, Some(Effort::None)] {
        assert_eq!(assembled(&written(true, effort, thoughts())).0, std::slice::from_ref(&said));
        assert_eq!(whole(effort, thoughts())["content"], json!([said]));
    }
    let thought =
        |text: &str, proof: &str| json!({"type": "thinking", "thinking": text, "signature": proof});
    let expected = [thought("hm", "proof"), thought("so", ""), said];
    let asked = Some(Effort::Budget(1024));
    assert_eq!(assembled(&written(true, asked, thoughts())).0, expected);
    assert_eq!(whole(asked, thoughts())["content"], json!(expected));
}

#[test]
fn text_inside_an_incomplete_call_comes_after_it() {
    let said = vec![
        call(0, Some("a"), Some("add"), "{\"x\":"),
        text("so"),
        call(0, None, None, "1}"),
        text(" be it"),
        call(1, Some("b"), Some("sub"), ""),
        done(Finish::Stop),
    ];
    let used = |id: &str, name: &str, input: Value| json!({"type": "tool_use", "id": id, "name": name, "input": input});
    let expected = [
        used("a", "add", json!({"x": 1})),
        json!({"type": "text", "text": "so be it"}),
        used("b", "sub", json!({})),
    ];
    let (blocks, reason) = assembled(&written(true, None, said.clone()));
    assert_eq!(blocks, expected);
    assert_eq!(reason, "tool_use", "a call counts, whatever the provider says");
    let message = whole(None, said);
    assert_eq!(message["content"], json!(expected));
    assert_eq!(message["stop_reason"], "tool_use");
}

#[test]
fn arguments_that_are_not_an_object_are_passed_on_unless_cut_off() {
    for arguments in ["{\"x\":", "[1]", "nonsense"] {
        let said = |finish| vec![call(0, Some("a"), Some("add"), arguments), done(finish)];
        let message = whole(None, said(Finish::ToolCalls));
        assert_eq!(message["content"][0]["input"], json!({"_raw": arguments}));
        let message = whole(None, said(Finish::Length));
        assert_eq!(message["content"], json!([]));
        assert_eq!(message["stop_reason"], "max_tokens");
    }
}

#[test]
fn reasons_have_anthropics_names() {
    let reason = |finish, stop_sequence: Option<&str>| {
        let stop_sequence = stop_sequence.map(str::to_owned);
        let done = Completion { finish, stop_sequence, usage: Usage::default() };
        let message = whole(None, vec![ChatEvent::Done(done)]);
        (message["stop_reason"].clone(), message["stop_sequence"].clone())
    };
    assert_eq!(reason(Finish::Stop, None), (json!("end_turn"), Value::Null));
    assert_eq!(reason(Finish::Stop, Some("END")), (json!("stop_sequence"), json!("END")));
    assert_eq!(reason(Finish::Length, None), (json!("max_tokens"), Value::Null));
    assert_eq!(reason(Finish::Paused, None), (json!("pause_turn"), Value::Null));
    assert_eq!(reason(Finish::ToolCalls, None), (json!("tool_use"), Value::Null));
    assert_eq!(reason(Finish::ContentFilter, None), (json!("refusal"), Value::Null));
    assert_eq!(reason(Finish::Load, None), (json!("end_turn"), Value::Null));
}

#[test]
fn input_tokens_exclude_cached_tokens() {
    let usage = Usage {
        prompt: Some(100),
        completion: Some(7),
        cached: Some(60),
        cache_written: Some(30),
        reasoning: Some(2),
        durations: None,
    };
    let expected = json!({
        "input_tokens": 10, "cache_creation_input_tokens": 30, "cache_read_input_tokens": 60, "output_tokens": 7,
    });
    assert_eq!(whole(None, vec![end(Finish::Stop, usage)])["usage"], expected);
    let streamed = events(&written(true, None, vec![end(Finish::Stop, usage)]));
    assert_eq!(streamed[1]["usage"], expected);
    let more_cached_than_read = Usage { prompt: Some(50), ..usage };
    let message = whole(None, vec![end(Finish::Stop, more_cached_than_read)]);
    assert_eq!(message["usage"]["input_tokens"], 0);
    let unknown = events(&written(true, None, vec![end(Finish::Stop, Usage::default())]));
    assert_eq!(unknown[1]["usage"], json!({"output_tokens": 0}));
}

#[test]
fn errors_have_anthropics_statuses_and_types() {
    let table = [
        (ErrorKind::InvalidRequest, 400, "invalid_request_error"),
        (ErrorKind::SchemaMismatch, 400, "invalid_request_error"),
        (ErrorKind::InvalidApiKey, 401, "authentication_error"),
        (ErrorKind::NotAllowed, 403, "permission_error"),
        (ErrorKind::ModelNotFound, 404, "not_found_error"),
        (ErrorKind::MethodNotAllowed, 405, "invalid_request_error"),
        (ErrorKind::BodyTooLarge, 413, "request_too_large"),
        (ErrorKind::UpgradeRequired, 426, "invalid_request_error"),
        (ErrorKind::RateLimited, 429, "rate_limit_error"),
        (ErrorKind::Internal, 500, "api_error"),
        (ErrorKind::BadUpstream, 502, "api_error"),
        (ErrorKind::NoProviderForPolicy, 503, "api_error"),
        (ErrorKind::Timeout, 504, "timeout_error"),
        (ErrorKind::Overloaded, 529, "overloaded_error"),
        (ErrorKind::ProviderUnavailable, 529, "overloaded_error"),
        (ErrorKind::Draining, 529, "overloaded_error"),
    ];
    for (kind, status, name) in table {
        let written = Anthropic.error(&GatewayError::new(kind, "said"), "r-1");
        assert_eq!(written.status, status, "{kind:?}");
        let body: Value = serde_json::from_slice(&written.body).unwrap();
        let error = json!({"type": name, "message": "said"});
        assert_eq!(body, json!({"type": "error", "error": error, "request_id": "r-1"}));
    }
    for (kind, message, golden) in [
        (ErrorKind::Overloaded, "Overloaded", golden!("error-529.json")),
        (ErrorKind::ModelNotFound, "model: absent", golden!("error-404.json")),
    ] {
        let written = Anthropic.error(&GatewayError::new(kind, message), "req_fxn0001");
        assert_eq!(written.body, golden.trim().as_bytes());
    }
    let long = GatewayError::invalid("8192 tokens at most");
    let long = GatewayError { kind: ErrorKind::ContextTooLong, ..long };
    let written = Anthropic.error(&long, "r-1");
    let body: Value = serde_json::from_slice(&written.body).unwrap();
    assert_eq!(body["error"]["message"], "prompt is too long: 8192 tokens at most");
}

fn any_event() -> impl Strategy<Value = ChatEvent> {
    prop_oneof![
        ".{1,12}".prop_map(ChatEvent::Text),
        ".{1,12}".prop_map(ChatEvent::Reasoning),
        "[a-z]{1,4}".prop_map(ChatEvent::Signature),
    ]
}

proptest! {
    #[test]
    fn streamed_blocks_are_those_of_the_whole_message(
        before in proptest::collection::vec(any_event(), 0..8),
        amid in proptest::collection::vec(any_event(), 0..4),
        after in proptest::collection::vec(any_event(), 0..4),
        asked in any::<bool>(),
    ) {
        let effort = asked.then_some(Effort::On);
        let mut said = before;
        said.push(call(0, Some("a"), Some("add"), "{\"x\":"));
        said.extend(amid);
        said.push(call(0, None, None, "\"\u{2028}\"}"));
        said.extend(after);
        said.push(done(Finish::ToolCalls));
        let streamed = written(true, effort, said.clone());
        let has_separator = streamed.contains(['\u{85}', '\u{2028}', '\u{2029}', '\r']);
        prop_assert!(!has_separator);
        let (blocks, reason) = assembled(&streamed);
        let message = whole(effort, said);
        prop_assert_eq!(&Value::Array(blocks), &message["content"]);
        prop_assert_eq!(&reason, &message["stop_reason"]);
    }
}
