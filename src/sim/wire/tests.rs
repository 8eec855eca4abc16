//! The bytes of Ollama's shapes.

use super::*;
use crate::sim::answer::DoneReason;
use crate::sim::prompt_cache::Reading;

fn writer(shape: Shape) -> Writer {
    Writer { shape, model: "Mistral".into(), counts: Counts::OlderOllama }
}

fn answer() -> Answer {
    let pieces = vec![Piece::Text("Hello".into()), Piece::Text(" there".into())];
    Answer { pieces, reason: DoneReason::Stop }
}

fn times() -> Times {
    let total = Duration::from_millis(1500);
    Times { total, prompt: Duration::from_nanos(7), reading: reading(), ..Times::default() }
}

fn reading() -> Reading {
    Reading { tokens: 9, cached: 4, ..Reading::default() }
}

/// The text without the value of `created_at`.
fn text(bytes: &Bytes) -> String {
    let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let (before, rest) = text.split_once("\"created_at\":\"").expect("created_at");
    let (at, after) = rest.split_once('"').expect("a string");
    humantime::parse_rfc3339(at).expect("RFC 3339");
    format!("{before}{after}")
}

#[test]
fn a_chat_line_holds_a_message_and_no_counters() {
    let line = writer(Shape::Chat).piece(&Piece::Text("Hi".into()));
    assert_eq!(
        text(&line),
        "{\"model\":\"Mistral\",,\"message\":{\"role\":\"assistant\",\"content\":\"Hi\"},\
         \"done\":false}\n"
    );
}

#[test]
fn the_last_chat_line_has_whole_nanoseconds_and_omits_zeros() {
    let line = writer(Shape::Chat).last(&answer(), times());
    assert_eq!(
        text(&line),
        "{\"model\":\"Mistral\",,\"message\":{\"role\":\"assistant\",\"content\":\"\"},\
         \"done\":true,\"done_reason\":\"stop\",\"total_duration\":1500000000,\
         \"prompt_eval_count\":9,\"prompt_eval_duration\":7,\"eval_count\":2}\n"
    );
}

#[test]
fn a_newer_ollama_tells_the_remembered_tokens_among_the_prompts() {
    let newer = Writer { counts: Counts::Ollama, ..writer(Shape::Chat) };
    let line = text(&newer.last(&answer(), times()));
    assert!(line.contains("\"prompt_eval_count\":9,\"prompt_eval_cached_count\":4,"), "{line}");
    let loaded = text(&newer.whole(&Answer::silent(DoneReason::Load), Times::default()));
    assert!(!loaded.contains("prompt_eval"), "{loaded}");
}

#[test]
fn generate_writes_to_response_and_whole_answers_have_no_newline() {
    let whole =
        writer(Shape::Generate).whole(&answer(), Times { reading: reading(), ..Times::default() });
    assert_eq!(
        text(&whole),
        "{\"model\":\"Mistral\",,\"response\":\"Hello there\",\"done\":true,\
         \"done_reason\":\"stop\",\"prompt_eval_count\":9,\"eval_count\":2}"
    );
}

#[test]
fn tool_calls_carry_an_index_and_arguments_as_an_object() {
    let call = ToolCall {
        id: "call_k3v9q2ab".into(),
        index: 0,
        name: "tide_table".into(),
        arguments: json!({"day": "monday"}),
    };
    let line = writer(Shape::Chat).piece(&Piece::Call(call));
    let line: Value = serde_json::from_slice(&line).expect("JSON");
    let expected = json!([{"id": "call_k3v9q2ab", "function":
        {"index": 0, "name": "tide_table", "arguments": {"day": "monday"}}}]);
    assert_eq!(line["message"]["tool_calls"], expected);
    assert_eq!(line["message"]["content"], "");
}

#[test]
fn characters_that_go_escapes_are_escaped_and_mean_the_same() {
    let value = json!({"a": "<b>&\u{2028}\u{2029}é"});
    let bytes = object(&value);
    assert_eq!(bytes, "{\"a\":\"\\u003cb\\u003e\\u0026\\u2028\\u2029é\"}");
    assert_eq!(serde_json::from_slice::<Value>(&bytes).expect("JSON"), value);
}

#[test]
fn refusals_have_the_envelope_of_their_api() {
    let refusal = Refusal::not_found("absent");
    assert_eq!(writer(Shape::Chat).refusal(&refusal), r#"{"error":"model 'absent' not found"}"#);
    let openai = writer(Shape::Openai(Openai::default())).refusal(&refusal);
    let openai: Value = serde_json::from_slice(&openai).expect("JSON");
    assert_eq!(openai["error"]["type"], "not_found_error");
}
