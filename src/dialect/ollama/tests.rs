//! The output for Ollama clients: golden answers, streams, errors.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::chat::{ChatEvent, ChatRequest, Completion, Finish, TokenLogprob, ToolCallPiece, Usage};
use proptest::prelude::*;

fn asked(stream: bool) -> ChatRequest {
    ChatRequest {
        model: Some("tiny-chat:1b".into()),
        stream,
        logprobs: Some(0),
        ..ChatRequest::default()
    }
}

fn encoder(route: Ollama, stream: bool) -> Box<dyn Encoder> {
    let head = AnswerHead {
        id: Uuid::nil(),
        // 2026-11-22T10:00:00Z, the start of the golden answers.
        created: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_341_600),
        provider: Arc::from("ollama"),
        model: Arc::from("other"),
        fell_back: false,
        waited: Duration::ZERO,
    };
    route.encoder(&Ask::Chat(asked(stream)), head)
}

/// The output for `events`, one per second from the first second after the arrival.
fn written(route: Ollama, stream: bool, events: Vec<ChatEvent>) -> String {
    let mut encoder = encoder(route, stream);
    let mut out = Vec::new();
    for (second, event) in (1..).zip(events) {
        encoder.event(event, Duration::from_secs(second), &mut out).unwrap();
    }
    String::from_utf8(out).unwrap()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Without the values that depend on time; their form is checked.
fn timeless(mut answer: Value) -> Value {
    for (key, value) in answer.as_object_mut().unwrap() {
        if key.ends_with("_duration") {
            assert!(value.is_u64(), "{key}");
            *value = json!(1);
        }
    }
    if let Some(created) = answer["created_at"].as_str() {
        assert!(created.starts_with("2026-11-22T10:00:0") && created.ends_with('Z'));
        answer["created_at"] = json!("now");
    }
    // Only the provider can measure how long it loads.
    answer.as_object_mut().unwrap().remove("load_duration");
    answer
}

fn same(found: &str, golden: &str) {
    let found: Vec<Value> = lines(found).into_iter().map(timeless).collect();
    let golden: Vec<Value> = lines(golden).into_iter().map(timeless).collect();
    assert_eq!(found, golden);
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

fn done(finish: Finish) -> ChatEvent {
    let usage = Usage { prompt: Some(31), completion: Some(11), ..Usage::default() };
    ChatEvent::Done(Completion { finish, stop_sequence: None, usage })
}

fn village() -> Vec<ChatEvent> {
    let mut events: Vec<ChatEvent> =
        ["The village", " looks east", " over Lake", " Merrow."].map(text).into();
    events.push(done(Finish::Stop));
    events
}

macro_rules! golden {
    ($file:literal) => {
        include_str!(concat!("../../../tests/fixtures/dialect/ollama/", $file))
    };
}

#[test]
fn a_load_is_answered_by_one_document() {
    let answer = written(Ollama::Chat, false, vec![done(Finish::Load)]);
    assert_eq!(
        timeless(serde_json::from_str(&answer).unwrap()),
        json!({
            "model": "tiny-chat:1b", "created_at": "now",
            "message": {"role": "assistant", "content": ""}, "done": true, "done_reason": "load",
        })
    );
}

#[test]
fn streams_look_as_ollamas_do() {
    same(&written(Ollama::Chat, true, village()), golden!("chat.ndjson"));
    same(&written(Ollama::Generate, true, village()), golden!("generate.ndjson"));
}

#[test]
fn whole_answers_look_as_ollamas_do() {
    same(&written(Ollama::Chat, false, village()), golden!("chat.json"));
    let events = vec![
        call(0, Some("call_k3v9q2ab"), Some("tide_table"), "{\"harbour\":\"Port Ésto\","),
        call(0, None, None, "\"day\":"),
        call(0, None, None, " \"2026-03-09\"}"),
        done(Finish::ToolCalls),
    ];
    same(&written(Ollama::Chat, false, events), golden!("chat-tool.json"));
}

#[test]
fn a_failure_midway_is_an_error_line() {
    let mut encoder = encoder(Ollama::Chat, true);
    let mut out = Vec::new();
    encoder.event(text("The village"), Duration::from_secs(1), &mut out).unwrap();
    let error = GatewayError::upstream(ErrorKind::BadUpstream, "upstream ended early");
    encoder.failure(&error, &mut out);
    encoder.event(done(Finish::Stop), Duration::from_secs(2), &mut out).unwrap();
    same(&String::from_utf8(out).unwrap(), golden!("chat-error.ndjson"));
}

#[test]
fn calls_are_complete_and_on_separate_lines() {
    let events = vec![
        ChatEvent::Reasoning("hm".into()),
        call(0, Some("a"), Some("add"), ""),
        call(1, Some("b"), Some("sub"), "{\"x\":"),
        text("so"),
        call(1, None, None, "1}"),
        done(Finish::ToolCalls),
    ];
    let found = lines(&written(Ollama::Chat, true, events));
    let call = |id: &str, index: u32, name: &str, arguments: &Value| {
        let function = json!({"index": index, "name": name, "arguments": arguments});
        json!([{"id": id, "function": function}])
    };
    assert_eq!(found[0]["message"], json!({"role": "assistant", "content": "", "thinking": "hm"}));
    assert_eq!(found[1]["message"]["tool_calls"], call("a", 0, "add", &json!({})));
    assert_eq!(found[2]["message"]["content"], "so");
    assert_eq!(found[3]["message"]["tool_calls"], call("b", 1, "sub", &json!({"x": 1})));
    assert_eq!(found[4]["message"], json!({"role": "assistant", "content": ""}));
    assert_eq!(found[4]["done_reason"], "stop");
    assert_eq!(found.len(), 5);
}

#[test]
fn arguments_that_are_not_an_object_end_the_answer_with_an_error() {
    for arguments in ["{\"x\":", "[1]", "nonsense"] {
        for stream in [true, false] {
            let mut encoder = encoder(Ollama::Chat, stream);
            let mut out = Vec::new();
            let call = call(0, Some("a"), Some("add"), arguments);
            encoder.event(call, Duration::ZERO, &mut out).unwrap();
            let error = encoder.event(done(Finish::ToolCalls), Duration::ZERO, &mut out);
            let error = error.unwrap_err();
            assert_eq!(error.kind, ErrorKind::BadUpstream);
            assert!(error.message.contains("`add`"));
            encoder.failure(&error, &mut out);
            let found = lines(std::str::from_utf8(&out).unwrap());
            assert_eq!(found.len(), usize::from(stream), "the whole answer is the error");
            assert!(found.iter().all(|line| line["error"].as_str().unwrap().contains("`add`")));
        }
    }
    // Cut off by the limit, as the finish reason says.
    let events = vec![call(0, Some("a"), Some("add"), "{\"x\":"), done(Finish::Length)];
    let found = lines(&written(Ollama::Chat, true, events));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["done_reason"], "length");
}

#[test]
fn times_are_nanoseconds_from_the_arrival() {
    let mut encoder = encoder(Ollama::Chat, true);
    let mut out = Vec::new();
    encoder.event(text("a"), Duration::from_millis(1500), &mut out).unwrap();
    encoder.event(text("b"), Duration::from_millis(1750), &mut out).unwrap();
    encoder.event(done(Finish::Stop), Duration::from_millis(2000), &mut out).unwrap();
    let found = lines(std::str::from_utf8(&out).unwrap());
    assert_eq!(found[1]["created_at"], "2026-11-22T10:00:00.250000000Z");
    let last = &found[2];
    assert_eq!(last["total_duration"], 2_000_000_000_u64);
    assert_eq!(last["prompt_eval_duration"], 1_500_000_000_u64);
    assert_eq!(last["eval_duration"], 250_000_000_u64);
    assert_eq!(last.get("load_duration"), None);
}

#[test]
fn unknown_counts_are_omitted() {
    let completion =
        Completion { finish: Finish::Stop, stop_sequence: None, usage: Usage::default() };
    let found = lines(&written(Ollama::Generate, true, vec![ChatEvent::Done(completion)]));
    assert_eq!(found[0].get("prompt_eval_count"), None);
    assert_eq!(found[0].get("eval_count"), None);
    assert_eq!(found[0]["response"], "");
}

#[test]
fn log_probabilities_are_written_if_requested() {
    let leaf =
        |token: &str| TokenLogprob { token: token.into(), logprob: -0.5, bytes: None, top: vec![] };
    let token = TokenLogprob { top: vec![leaf("b")], bytes: Some(vec![97]), ..leaf("a") };
    let events = || vec![ChatEvent::Logprobs(vec![token.clone()]), done(Finish::Stop)];
    let found = lines(&written(Ollama::Chat, true, events()));
    let top = json!([{"token": "b", "logprob": -0.5}]);
    assert_eq!(
        found[0]["logprobs"],
        json!([{"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": top}])
    );
}

#[test]
fn errors_have_ollamas_statuses_and_messages() {
    let table = [
        (ErrorKind::SchemaMismatch, 400, "said"),
        (ErrorKind::InvalidApiKey, 401, "said"),
        (ErrorKind::ModelNotFound, 404, "said"),
        (ErrorKind::RateLimited, 429, "said"),
        (ErrorKind::BadUpstream, 502, "said"),
        (ErrorKind::Draining, 503, "said"),
        (ErrorKind::Timeout, 504, "said"),
    ];
    for (kind, status, words) in table {
        let written = Ollama::Chat.error(&GatewayError::new(kind, "said"), "r-1");
        assert_eq!(written.status, status);
        assert_eq!(written.body, json!({"error": words}).to_string().as_bytes());
    }
    let busy = Ollama::Chat.error(&GatewayError::new(ErrorKind::Overloaded, "the line"), "r-1");
    assert_eq!((busy.status, &busy.body[..]), (503, golden!("error-503.json").trim().as_bytes()));
    let absent = GatewayError::new(ErrorKind::ModelNotFound, "model 'absent' not found");
    let absent = Ollama::Chat.error(&absent, "r-1");
    assert_eq!(&absent.body[..], golden!("error-404.json").trim().as_bytes());
}

#[test]
fn nothing_is_sent_to_a_client_that_waits() {
    let mut out = Vec::new();
    encoder(Ollama::Chat, true).heartbeat(None, &mut out);
    assert!(out.is_empty());
}

proptest! {
    #[test]
    fn streamed_pieces_joined_are_the_whole_answer(pieces in proptest::collection::vec((any::<bool>(), ".{1,20}"), 0..8)) {
        let events = || {
            let mut events: Vec<ChatEvent> = pieces.iter().map(|(thinks, said)| match thinks {
                true => ChatEvent::Reasoning(said.clone()),
                false => ChatEvent::Text(said.clone()),
            }).collect();
            events.push(call(0, Some("a"), Some("add"), "{\"u\":\"\u{2028}\",\n\"v\":1}"));
            events.push(done(Finish::ToolCalls));
            events
        };
        let streamed = written(Ollama::Chat, true, events());
        let has_separator = streamed.contains(['\u{85}', '\u{2028}', '\u{2029}', '\r']);
        prop_assert!(!has_separator);
        prop_assert!(streamed.lines().all(|line| !line.is_empty()));
        let joined = |key: &str| lines(&streamed).iter().filter_map(|line| {
            line["message"][key].as_str().map(str::to_owned)
        }).collect::<String>();
        let whole: Value = serde_json::from_str(&written(Ollama::Chat, false, events())).unwrap();
        let said = |key: &str| whole["message"][key].as_str().unwrap_or_default().to_owned();
        prop_assert_eq!(joined("content"), said("content"));
        prop_assert_eq!(joined("thinking"), said("thinking"));
        let calls: Vec<Value> = lines(&streamed).iter().filter_map(|line| {
            line["message"].get("tool_calls").cloned()
        }).collect();
        prop_assert_eq!(&calls[0], &whole["message"]["tool_calls"]);
    }
}
