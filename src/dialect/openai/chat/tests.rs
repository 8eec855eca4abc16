//! The output for clients of chat completions: golden answers, the order in a stream, old
//! functions.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::chat::{ErrorKind, Part, ToolChoice};
use crate::dialect::openai::tests::{
    answer, any_answer, decode, end, events_of, failed, piece, tide_table, village, without,
};

/// Fields of the golden answers that a gateway cannot know.
const UNSAID: &[&str] = &[
    "service_tier",
    "system_fingerprint",
    "annotations",
    "audio_tokens",
    "accepted_prediction_tokens",
    "rejected_prediction_tokens",
];

fn minimal() -> Value {
    json!({"model": "gpt-test-1-0001", "messages": [{"role": "user", "content": "hi"}]})
}

fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn streamed_minimal() -> ChatRequest {
    let mut request = decode(&OpenAiChat, &minimal());
    request.stream = true;
    request
}

#[test]
fn whole_answers_equal_the_golden_ones() {
    let request = decode(&OpenAiChat, &minimal());
    for (events, golden) in [
        (village(), include_str!("../../../../tests/fixtures/dialect/openai/chat.json")),
        (tide_table(), include_str!("../../../../tests/fixtures/dialect/openai/chat-tool.json")),
    ] {
        let golden = without(read(golden), UNSAID);
        assert_eq!(read(&answer(&OpenAiChat, &request, &events)), golden);
    }
}

#[test]
fn streams_equal_the_golden_ones() {
    let mut request = streamed_minimal();
    request.shape.stream_usage = true;
    for (events, golden) in [
        (village(), include_str!("../../../../tests/fixtures/dialect/openai/chat.sse")),
        (tide_table(), include_str!("../../../../tests/fixtures/dialect/openai/chat-tool.sse")),
    ] {
        // One of the two omits the null refusal.
        let unsaid = [UNSAID, &["refusal"]].concat();
        let comparable = |stream: &str| -> Vec<Value> {
            events_of(stream).into_iter().map(|event| without(event, &unsaid)).collect()
        };
        assert_eq!(comparable(&answer(&OpenAiChat, &request, &events)), comparable(golden));
    }
}

#[test]
fn nothing_follows_a_failure_midway() {
    let mut request = streamed_minimal();
    request.shape.stream_usage = true;
    let error = GatewayError::upstream(ErrorKind::BadUpstream, "upstream ended early");
    let written = failed(&OpenAiChat, &request, &village()[..1], &error);
    let golden = include_str!("../../../../tests/fixtures/dialect/openai/chat-error.sse");
    let golden = golden.replace("upstream_truncated", "bad_upstream");
    let golden: Vec<Value> =
        events_of(&golden).into_iter().map(|event| without(event, UNSAID)).collect();
    assert_eq!(events_of(&written), golden);
}

#[test]
fn a_stream_has_no_usage_unless_asked() {
    let written = answer(&OpenAiChat, &streamed_minimal(), &village()[3..]);
    let head = concat!(
        r#"data: {"id":"chatcmpl-fx01","object":"chat.completion.chunk","created":1795341600,"#,
        r#""model":"gpt-test-1-0001","choices":[{"index":0,"delta":"#,
    );
    let chunk = |delta: &str, finish: &str| {
        format!("{head}{delta},\"logprobs\":null,\"finish_reason\":{finish}}}]}}\n\n")
    };
    let expected = [
        chunk(r#"{"role":"assistant","content":"","refusal":null}"#, "null"),
        chunk(r#"{"content":" Merrow."}"#, "null"),
        chunk("{}", "\"stop\""),
        "data: [DONE]\n\n".to_owned(),
    ];
    assert_eq!(written, expected.concat());
}

#[test]
fn a_stream_names_each_call_once_and_never_leaves_its_arguments_empty() {
    let events = [
        piece(0, Some(("call_1", "f")), ""),
        piece(0, None, "{\"a\""),
        piece(0, None, ":1}"),
        piece(1, Some(("call_2", "g")), ""),
        end(Finish::ToolCalls),
    ];
    let written = events_of(&answer(&OpenAiChat, &streamed_minimal(), &events));
    let calls: Vec<Value> = written
        .iter()
        .filter_map(|event| event["choices"][0]["delta"]["tool_calls"].get(0).cloned())
        .collect();
    let first = |index, id, name| {
        json!({
            "index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""},
        })
    };
    let more = |index, text| json!({"index": index, "function": {"arguments": text}});
    assert_eq!(
        calls,
        [
            first(0, "call_1", "f"),
            more(0, "{\"a\""),
            more(0, ":1}"),
            first(1, "call_2", "g"),
            more(1, "{}")
        ]
    );
}

#[test]
fn a_call_carries_geminis_signature_and_brings_it_back() {
    let answer = |request: &ChatRequest, signature: &str| {
        let events = vec![
            ChatEvent::Signature(signature.to_owned()),
            piece(0, Some(("g-1", "f")), "{}"),
            piece(1, Some(("g-2", "f")), "{}"),
            end(Finish::ToolCalls),
        ];
        answer(&OpenAiChat, request, &events)
    };
    let whole = read(&answer(&decode(&OpenAiChat, &minimal()), "gemini:c2ln"));
    let message = whole["choices"][0]["message"].clone();
    let extra = json!({"google": {"thought_signature": "c2ln"}});
    assert_eq!(message["tool_calls"][0]["extra_content"], extra);
    assert_eq!(message["tool_calls"][1].get("extra_content"), None);
    let streamed = answer(&streamed_minimal(), "gemini:c2ln");
    assert_eq!(streamed.matches(&extra.to_string()).count(), 1, "{streamed}");
    // Another provider's signature has no place here.
    assert!(!answer(&streamed_minimal(), "c2ln").contains("extra_content"));
    let mut back = minimal();
    back["messages"].as_array_mut().unwrap().push(message);
    let parts = &decode(&OpenAiChat, &back).messages[1].content;
    let [Part::Reasoning { text, signature }, Part::ToolCall(_), Part::ToolCall(_)] = &parts[..]
    else {
        panic!("{parts:?}")
    };
    assert_eq!((text.as_str(), signature.as_deref()), ("", Some("gemini:c2ln")));
}

#[test]
fn log_probabilities_are_written_if_requested() {
    let token = |text: &str, top| TokenLogprob {
        token: text.to_owned(),
        logprob: -0.5,
        bytes: Some(text.as_bytes().to_vec()),
        top,
    };
    let tokens = vec![token("a", vec![token("b", Vec::new())])];
    let events = [ChatEvent::Text("a".into()), ChatEvent::Logprobs(tokens), end(Finish::Stop)];
    let mut request = decode(&OpenAiChat, &minimal());
    let logprobs = |request: &ChatRequest| {
        read(&answer(&OpenAiChat, request, &events))["choices"][0]["logprobs"].take()
    };
    assert_eq!(logprobs(&request), Value::Null);
    request.logprobs = Some(1);
    let top = json!([{"token": "b", "logprob": -0.5, "bytes": [98]}]);
    let token = json!({"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": top});
    let expected = json!({"content": [token], "refusal": null});
    assert_eq!(logprobs(&request), expected);
    request.stream = true;
    let written = events_of(&answer(&OpenAiChat, &request, &events));
    assert_eq!(written[2]["choices"][0]["logprobs"], expected);
}

#[test]
fn the_model_is_the_requested_one_or_else_the_one_that_ran() {
    let request = ChatRequest::default();
    assert_eq!(read(&answer(&OpenAiChat, &request, &village()))["model"], "llama3.1");
}

#[test]
fn functions_are_tools_and_are_answered_in_the_old_form() {
    let mut body = minimal();
    body["functions"] = json!([{"name": "tide_table", "parameters": {"type": "object"}}]);
    body["function_call"] = json!({"name": "tide_table"});
    body["messages"] = json!([
        {"role": "assistant", "content": null, "function_call": {"name": "tide_table", "arguments": "{}"}},
        {"role": "function", "name": "tide_table", "content": "low"},
    ]);
    let request = decode(&OpenAiChat, &body);
    assert_eq!(request.tool_choice, ToolChoice::Named("tide_table".into()));
    let Part::ToolResult(result) = &request.messages[1].content[0] else { panic!() };
    assert_eq!(result.name.as_deref(), Some("tide_table"));
    let written: Value =
        serde_json::from_str(&answer(&OpenAiChat, &request, &tide_table())).unwrap();
    let choice = &written["choices"][0];
    assert_eq!(choice["finish_reason"], "function_call");
    assert_eq!(choice["message"]["function_call"]["name"], "tide_table");
    assert_eq!(choice["message"].get("tool_calls"), None);
    body["stream"] = json!(true);
    let request = decode(&OpenAiChat, &body);
    let events = [
        piece(0, Some(("call_1", "tide_table")), "{\"a\""),
        piece(0, None, ":1}"),
        piece(1, Some(("call_2", "tide_table")), "{}"),
        end(Finish::ToolCalls),
    ];
    let written = events_of(&answer(&OpenAiChat, &request, &events));
    let deltas: Vec<_> = written[1..4].iter().map(|event| &event["choices"][0]["delta"]).collect();
    assert_eq!(
        deltas,
        [
            &json!({"function_call": {"name": "tide_table", "arguments": "{\"a\""}}),
            &json!({"function_call": {"arguments": ":1}"}}),
            &json!({}),
        ]
    );
    assert_eq!(written[3]["choices"][0]["finish_reason"], "function_call");
}

/// A client's result of a stream's deltas: SDKs join strings of the same key.
fn joined(stream: &[Value]) -> (String, String, String, Vec<(Value, String, String)>) {
    let (mut role, mut content, mut reasoning) = Default::default();
    let add = |to: &mut String, text: &Value| to.push_str(text.as_str().unwrap_or_default());
    let mut calls: Vec<(Value, String, String)> = Vec::new();
    for event in stream {
        let delta = &event["choices"][0]["delta"];
        add(&mut role, &delta["role"]);
        add(&mut content, &delta["content"]);
        add(&mut reasoning, &delta["reasoning_content"]);
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let index = usize::try_from(call["index"].as_u64().unwrap()).unwrap();
            if index == calls.len() {
                calls.push((call["id"].clone(), String::new(), String::new()));
            }
            add(&mut calls[index].1, &call["function"]["name"]);
            add(&mut calls[index].2, &call["function"]["arguments"]);
        }
    }
    (role, content, reasoning, calls)
}

proptest! {
    #[test]
    fn joined_pieces_are_the_whole_answer(events in any_answer()) {
        let mut request = decode(&OpenAiChat, &minimal());
        let whole = read(&answer(&OpenAiChat, &request, &events));
        request.stream = true;
        let stream = events_of(&answer(&OpenAiChat, &request, &events));
        let (role, content, reasoning, calls) = joined(&stream);
        let message = &whole["choices"][0]["message"];
        let text = |key: &str| message[key].as_str().unwrap_or_default().to_owned();
        prop_assert_eq!(role, text("role"));
        prop_assert_eq!(content, text("content"));
        prop_assert_eq!(reasoning, text("reasoning_content"));
        let expected = message["tool_calls"].as_array().cloned().unwrap_or_default();
        prop_assert_eq!(calls.len(), expected.len());
        for ((id, name, arguments), call) in calls.iter().zip(&expected) {
            prop_assert_eq!(id, &call["id"]);
            prop_assert_eq!(name.as_str(), call["function"]["name"].as_str().unwrap());
            prop_assert_eq!(arguments.as_str(), call["function"]["arguments"].as_str().unwrap());
        }
        let ends: Vec<_> = stream.iter().filter(|event| event["choices"][0]["finish_reason"].is_string()).collect();
        prop_assert_eq!(ends.len(), 1);
        prop_assert_eq!(&ends[0]["choices"][0]["finish_reason"], &whole["choices"][0]["finish_reason"]);
        prop_assert_eq!(stream.last().unwrap(), "[DONE]");
    }
}
