//! Requests of native clients, and the answers for them.

use std::sync::Arc;
use std::time::SystemTime;

use super::*;
use crate::chat::Finish;
use crate::dialect::testing::chat;
use proptest::prelude::*;

fn problems(body: &Value) -> Vec<(String, &'static str)> {
    let error = Native.decode(body.to_string().as_bytes()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::SchemaMismatch);
    error.problems.iter().map(|problem| (problem.path.join("."), problem.rule)).collect()
}

fn encoder(stream: bool) -> Box<dyn Encoder> {
    let request = ChatRequest { stream, ..ChatRequest::default() };
    let head = AnswerHead {
        id: Uuid::nil(),
        created: SystemTime::UNIX_EPOCH,
        provider: Arc::from("ollama"),
        model: Arc::from("llama3.1"),
        fell_back: false,
        waited: Duration::ZERO,
    };
    Native.encoder(&Ask::Chat(request), head)
}

fn write(encoder: &mut dyn Encoder, event: ChatEvent) -> String {
    let mut out = Vec::new();
    encoder.event(event, Duration::ZERO, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn done() -> ChatEvent {
    ChatEvent::Done(Completion {
        finish: Finish::Length,
        stop_sequence: None,
        usage: Usage { prompt: Some(15), ..Usage::default() },
    })
}

#[test]
fn a_full_request_is_read() {
    let body = json!({
        "model": "llama3.1", "model_hint": "local", "max_tokens": 512, "temperature": 0.7, "stream": true,
        "messages": [{"role": "system", "content": "Be brief.", "name": null}, {"role": "tool", "content": "42", "name": "f"}],
        "unknown": {"is": "left out"}, "top_p": null,
    });
    let request = chat(Native.decode(body.to_string().as_bytes()).unwrap());
    assert_eq!(request.model.as_deref(), Some("llama3.1"));
    assert_eq!(request.hint.as_deref(), Some("local"));
    assert_eq!(request.sampling.max_tokens, Some(512));
    assert_eq!(request.sampling.temperature, Some(0.7));
    assert!(request.stream);
    assert_eq!(request.messages[0], Message::text(Role::System, "Be brief."));
    assert_eq!(request.messages[1].role, Role::Tool);
    assert_eq!(request.dropped, ["name", "unknown"]);
}

#[test]
fn empty_names_are_absent() {
    let body =
        br#"{"messages": [{"role": "user", "content": "hi"}], "model": "", "model_hint": ""}"#;
    let Ask::Chat(request) = Native.decode(body).unwrap() else { panic!("not a chat") };
    assert_eq!((request.model, request.hint), (None, None));
}

#[test]
fn nulls_are_absent() {
    let body = json!({
        "messages": [{"role": "user", "content": "hi"}],
        "model": null, "model_hint": null, "max_tokens": null, "temperature": null, "stream": null,
    });
    let request = chat(Native.decode(body.to_string().as_bytes()).unwrap());
    assert_eq!(request.model, None);
    assert!(!request.stream);
}

#[test]
fn problems_are_named_by_field() {
    let message = json!({"role": "user", "content": "hi"});
    assert_eq!(problems(&json!({})), [("messages".to_owned(), "missing")]);
    assert_eq!(problems(&json!({"messages": []})), [("messages".to_owned(), "too_short")]);
    assert_eq!(
        problems(&json!({"messages": [{"role": "robot", "content": 1}, 7, {}]})),
        [
            ("messages.0.content".to_owned(), "string_type"),
            ("messages.0.role".to_owned(), "literal_error"),
            ("messages.1".to_owned(), "model_attributes_type"),
            ("messages.2.role".to_owned(), "missing"),
            ("messages.2.content".to_owned(), "missing"),
        ]
    );
    assert_eq!(
        problems(&json!({
            "messages": [message], "max_tokens": 0, "temperature": 2.1, "stream": "yes", "model": 1,
        })),
        [
            ("model".to_owned(), "string_type"),
            ("max_tokens".to_owned(), "greater_than"),
            ("temperature".to_owned(), "less_than_equal"),
            ("stream".to_owned(), "bool_type"),
        ]
    );
}

#[test]
fn a_schema_error_lists_its_fields_as_fastapi_does() {
    let error = Native.decode(br#"{"messages":[{"role":"user"}]}"#).unwrap_err();
    let written = Native.error(&error, "r-1");
    assert_eq!(written.status, 422);
    let body: Value = serde_json::from_slice(&written.body).unwrap();
    assert_eq!(
        body["detail"],
        json!([{"loc": ["body", "messages", 0, "content"], "msg": "Field required", "type": "missing"}])
    );
    assert_eq!(body["request_id"], "r-1");
}

#[test]
fn a_whole_answer_is_written_once_at_the_end() {
    let mut encoder = encoder(false);
    assert_eq!(write(&mut *encoder, ChatEvent::Text("Hel".into())), "");
    assert_eq!(write(&mut *encoder, ChatEvent::Text("lo".into())), "");
    let answer: Value = serde_json::from_str(&write(&mut *encoder, done())).unwrap();
    assert_eq!(
        answer,
        json!({
            "id": Uuid::nil(), "provider": "ollama", "model": "llama3.1", "content": "Hello",
            "finish_reason": "length",
            "usage": {"prompt_tokens": 15, "completion_tokens": 0, "total_tokens": 15},
        })
    );
}

#[test]
fn a_stream_is_one_event_per_piece_and_ends_with_done() {
    let mut encoder = encoder(true);
    let head =
        r#""id":"00000000-0000-0000-0000-000000000000","provider":"ollama","model":"llama3.1""#;
    assert_eq!(
        write(&mut *encoder, ChatEvent::Text("a\u{2028}b".into())),
        format!("data: {{{head},\"delta\":\"a\\u2028b\"}}\n\n")
    );
    let usage = r#"{"prompt_tokens":15,"completion_tokens":0,"total_tokens":15}"#;
    assert_eq!(
        write(&mut *encoder, done()),
        format!(
            "data: {{{head},\"finish_reason\":\"length\",\"usage\":{usage}}}\n\ndata: [DONE]\n\n"
        )
    );
}

#[test]
fn a_failure_midway_is_an_error_event_without_done() {
    let mut out = Vec::new();
    let error = GatewayError::upstream(ErrorKind::BadUpstream, "the provider was cut off");
    encoder(true).failure(&error, &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "event: error\ndata: {\"detail\":\"the provider was cut off\",\"code\":\"bad_upstream\"}\n\n"
    );
}

proptest! {
    #[test]
    fn no_bytes_cause_a_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Native.decode(&body);
    }
}

#[test]
fn cached_tokens_are_written_if_there_are_any() {
    let counted = |cached| {
        let usage = Usage { prompt: Some(15), cached, ..Usage::default() };
        let done = Completion { finish: Finish::Stop, stop_sequence: None, usage };
        let written = write(&mut *encoder(false), ChatEvent::Done(done));
        serde_json::from_str::<Value>(&written).unwrap()["usage"].clone()
    };
    assert_eq!(counted(Some(9))["prompt_tokens_details"], json!({"cached_tokens": 9}));
    for nothing in [None, Some(0)] {
        let usage = json!({"prompt_tokens": 15, "completion_tokens": 0, "total_tokens": 15});
        assert_eq!(counted(nothing), usage);
    }
}
