//! The output for clients of responses: golden answers, the sequence of events, failures midway.

use std::collections::HashSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::chat::{Ask, ChatEvent, ChatRequest, ErrorKind, Finish, Part, TokenLogprob};
use crate::dialect::openai::tests::{
    answer, any_answer, decode, end, events_of, failed, head, piece, tide_table, village,
};

fn request(stream: bool) -> ChatRequest {
    decode(&OpenAiResponses, &json!({"model": "gpt-test-1", "input": "hi", "stream": stream}))
}

fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn kinds(stream: &[Value]) -> Vec<&str> {
    stream.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

#[test]
fn a_whole_response_equals_the_golden_one() {
    let golden = include_str!("../../../../tests/fixtures/dialect/openai/responses.json");
    let written = answer(&OpenAiResponses, &request(false), &village());
    assert_eq!(written, golden.trim_end());
}

#[test]
fn streams_equal_the_golden_ones() {
    let fixtures = [
        (village(), include_str!("../../../../tests/fixtures/dialect/openai/responses.sse")),
        (
            tide_table(),
            include_str!("../../../../tests/fixtures/dialect/openai/responses-tool.sse"),
        ),
    ];
    for (events, golden) in fixtures {
        let written = answer(&OpenAiResponses, &request(true), &events);
        assert_eq!(events_of(&written), events_of(golden));
        let names = |stream: &str| -> Vec<String> {
            let lines = stream.lines().filter(|line| line.starts_with("event: "));
            lines.map(str::to_owned).collect()
        };
        assert_eq!(names(&written), names(golden));
    }
}

#[test]
fn reasoning_is_the_summary_of_a_separate_item() {
    let events = [
        ChatEvent::Reasoning("h".into()),
        ChatEvent::Reasoning("m".into()),
        ChatEvent::Text("yes".into()),
        end(Finish::Stop),
    ];
    let stream = events_of(&answer(&OpenAiResponses, &request(true), &events));
    assert_eq!(
        kinds(&stream),
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.reasoning_summary_part.added",
            "response.reasoning_summary_text.delta",
            "response.reasoning_summary_text.delta",
            "response.reasoning_summary_text.done",
            "response.reasoning_summary_part.done",
            "response.output_item.done",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed",
        ]
    );
    let summary = json!([{"type": "summary_text", "text": "hm"}]);
    let id = "rs_fx01";
    assert_eq!(stream[8]["item"], json!({"id": id, "type": "reasoning", "summary": summary}));
    assert_eq!(stream[6]["text"], "hm");
    assert_eq!(stream[11]["output_index"], 1);
}

#[test]
fn a_call_without_arguments_gets_an_empty_object() {
    let events = [
        piece(0, Some(("call_1", "f")), ""),
        piece(1, Some(("call_2", "g")), "{\"a\""),
        piece(1, None, ":1}"),
        end(Finish::ToolCalls),
    ];
    let stream = events_of(&answer(&OpenAiResponses, &request(true), &events));
    assert_eq!(stream[3]["delta"], "{}");
    assert_eq!(stream[4]["type"], "response.function_call_arguments.done");
    let output = &stream.last().unwrap()["response"]["output"];
    let call = |at: usize| (output[at]["call_id"].clone(), output[at]["arguments"].clone());
    assert_eq!(call(0), (json!("call_1"), json!("{}")));
    assert_eq!(call(1), (json!("call_2"), json!("{\"a\":1}")));
}

/// The answer for a client that offered tools of every kind.
fn called(events: &[ChatEvent]) -> Vec<Value> {
    let body = json!({
        "model": "m", "input": "hi", "stream": true, "include": ["reasoning.encrypted_content"],
        "tools": [
            {"type": "custom", "name": "apply_patch"}, {"type": "local_shell"},
            {"type": "namespace", "name": "agents", "tools": [{"type": "function", "name": "spawn"}]},
        ],
    });
    let stream = decode(&OpenAiResponses, &body);
    let events_written = events_of(&answer(&OpenAiResponses, &stream, events));
    let mut whole = body;
    whole["stream"] = json!(false);
    let whole = read(&answer(&OpenAiResponses, &decode(&OpenAiResponses, &whole), events));
    assert_eq!(events_written.last().unwrap()["response"], whole);
    events_written
}

#[test]
fn a_call_of_a_free_form_tool_is_its_text() {
    let stream = called(&[
        piece(0, Some(("call_1", "apply_patch")), "{\"inp"),
        piece(0, None, "ut\": \"*** \\"),
        piece(0, None, "u00e9"),
        piece(0, None, "\\n\"}"),
        end(Finish::ToolCalls),
    ]);
    assert_eq!(
        kinds(&stream),
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.custom_tool_call_input.delta",
            "response.custom_tool_call_input.delta",
            "response.custom_tool_call_input.delta",
            "response.custom_tool_call_input.done",
            "response.output_item.done",
            "response.completed",
        ]
    );
    let item = |input: &str, status: &str| {
        json!({
            "id": "ctc_fx01", "type": "custom_tool_call", "call_id": "call_1", "name": "apply_patch",
            "input": input, "status": status,
        })
    };
    assert_eq!(stream[2]["item"], item("", "in_progress"));
    let deltas: Vec<&Value> = stream[3..6].iter().map(|event| &event["delta"]).collect();
    assert_eq!(deltas, ["*** ", "é", "\n"]);
    assert_eq!(stream[6]["input"], "*** é\n");
    assert_eq!(stream[7]["item"], item("*** é\n", "completed"));
}

#[test]
fn bare_text_of_a_model_is_the_text_of_the_call() {
    let patch = "*** Begin Patch";
    let first = piece(0, Some(("call_1", "apply_patch")), patch);
    let stream = called(&[first, end(Finish::ToolCalls)]);
    assert_eq!(stream[3]["delta"], patch);
    assert_eq!(stream.last().unwrap()["response"]["output"][0]["input"], patch);
}

#[test]
fn calls_come_back_under_their_namespace_and_as_commands() {
    let stream = called(&[
        piece(0, Some(("call_1", "spawn")), "{\"a\":1}"),
        piece(1, Some(("call_2", "agents__spawn")), ""),
        piece(2, Some(("call_3", "local_shell")), "{\"command\": [\"ls\"], \"user\": null}"),
        piece(3, Some(("call_4", "local_shell")), "{\"command\": \"ls | wc\"}"),
        piece(4, Some(("call_5", "unheard_of")), "{}"),
        end(Finish::ToolCalls),
    ]);
    let output = &stream.last().unwrap()["response"]["output"];
    for at in [0, 1] {
        assert_eq!(output[at]["name"], "spawn");
        assert_eq!(output[at]["namespace"], "agents");
    }
    let action = json!({"type": "exec", "command": ["ls"], "env": {}});
    assert_eq!(output[2]["type"], "local_shell_call");
    assert_eq!(output[2]["action"], action);
    assert_eq!(output[3]["action"]["command"], json!(["bash", "-lc", "ls | wc"]));
    assert_eq!(output[4]["type"], "function_call");
    assert_eq!(output[4]["name"], "unheard_of");
    assert!(output[4].get("namespace").is_none());
}

#[test]
fn signatures_are_written_sealed_for_clients_that_send_them_back() {
    let signature = |text: &str| ChatEvent::Signature(text.to_owned());
    let events = [
        ChatEvent::Reasoning("h".into()),
        ChatEvent::Reasoning("m".into()),
        signature("sig"),
        signature("redacted:x"),
        piece(0, Some(("call_1", "spawn")), "{}"),
        signature("gemini:y"),
        end(Finish::ToolCalls),
    ];
    let stream = called(&events);
    let output = stream.last().unwrap()["response"]["output"].clone();
    assert_eq!(output[0]["summary"], json!([{"type": "summary_text", "text": "hm"}]));
    assert_eq!(output[2]["summary"], json!([]));
    let body = json!({"model": "m", "input": output, "tools": []});
    let messages = decode(&OpenAiResponses, &body).messages;
    let proved = |text: &str, signature: &str| Part::Reasoning {
        text: text.to_owned(),
        signature: Some(signature.to_owned()),
    };
    assert_eq!(messages[0].content[..2], [proved("hm", "sig"), proved("", "redacted:x")]);
    assert_eq!(messages[0].content[3], proved("", "gemini:y"));
    let forgetful = json!({"model": "m", "input": "hi", "store": false});
    let plain = answer(&OpenAiResponses, &decode(&OpenAiResponses, &forgetful), &events);
    assert!(!plain.contains("encrypted_content"));
}

#[test]
fn a_heartbeat_is_an_event_that_begins_the_response_or_repeats_that_it_is_in_progress() {
    let mut encoder = OpenAiResponses.encoder(&Ask::Chat(request(true)), head());
    assert!(!encoder.has_begun());
    let mut out = Vec::new();
    encoder.heartbeat(None, &mut out);
    assert!(encoder.has_begun());
    encoder.heartbeat(None, &mut out);
    for event in village() {
        encoder.event(event, std::time::Duration::ZERO, &mut out).unwrap();
    }
    let written = String::from_utf8(out).unwrap();
    assert!(written.starts_with(": keep-alive\n\nevent: response.created"));
    let stream = events_of(&written);
    let begun = ["response.created", "response.in_progress", "response.in_progress"];
    assert_eq!(kinds(&stream)[..3], begun);
    assert_eq!(kinds(&stream)[3], "response.output_item.added");
    for (number, event) in stream.iter().enumerate() {
        assert_eq!(event["sequence_number"], json!(number));
    }
}

#[test]
fn a_conversation_by_references_is_decoded_like_one_sent_in_full() {
    let asked = decode(&OpenAiResponses, &json!({"model": "m", "input": "hi"}));
    let mut encoder = OpenAiResponses.encoder(&Ask::Chat(asked), head());
    assert!(encoder.take_turn().is_none());
    for event in [ChatEvent::Text("yes".into()), end(Finish::Stop)] {
        encoder.event(event, std::time::Duration::ZERO, &mut Vec::new()).unwrap();
    }
    let (id, turn) = encoder.take_turn().unwrap();
    let item = turn.response["output"][0]["id"].clone();
    let turns = crate::dialect::Turns::from([(id.clone(), turn)]);
    let user = |text: &str| json!({"role": "user", "content": text});
    let bodies = [
        json!({"model": "m", "input": "go", "previous_response_id": id}),
        json!({"model": "m", "input": [user("hi"), {"type": "item_reference", "id": item}, user("go")]}),
        json!({"model": "m", "input": [user("hi"), {"id": item}, user("go")]}),
    ];
    for body in bodies {
        let body = body.to_string();
        assert_eq!(OpenAiResponses.referenced_ids(body.as_bytes()), [id.as_str()]);
        let read = OpenAiResponses.decode_after(body.as_bytes(), &turns).unwrap();
        let said: Vec<String> =
            read.chat().unwrap().messages.iter().map(crate::chat::Message::joined_text).collect();
        assert_eq!(said, ["hi", "yes", "go"]);
        let error = OpenAiResponses.decode(body.as_bytes()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound);
        assert!(error.message.contains("store: false"), "{}", error.message);
    }
}

#[test]
fn a_limit_or_a_filter_makes_the_response_incomplete() {
    for (finish, reason) in
        [(Finish::Length, "max_output_tokens"), (Finish::ContentFilter, "content_filter")]
    {
        let events = [ChatEvent::Text("a".into()), end(finish)];
        let stream = events_of(&answer(&OpenAiResponses, &request(true), &events));
        let last = stream.last().unwrap();
        assert_eq!(last["type"], "response.incomplete");
        let response = &last["response"];
        assert_eq!(response["status"], "incomplete");
        assert_eq!(response["incomplete_details"], json!({"reason": reason}));
        assert_eq!(response["output"][0]["status"], "incomplete");
        assert_eq!(response["usage"]["total_tokens"], 39);
        assert_eq!(*response, read(&answer(&OpenAiResponses, &request(false), &events)));
    }
}

#[test]
fn an_empty_answer_is_an_empty_message() {
    let written = read(&answer(&OpenAiResponses, &request(false), &[end(Finish::Stop)]));
    assert_eq!(written["output"][0]["content"][0]["text"], "");
}

#[test]
fn a_failure_midway_ends_with_the_failed_response_and_its_items() {
    let error = GatewayError::upstream(ErrorKind::BadUpstream, "cut off");
    let written = failed(&OpenAiResponses, &request(true), &village()[..2], &error);
    let stream = events_of(&written);
    let last = stream.last().unwrap();
    assert_eq!(last["type"], "response.failed");
    assert_eq!(last["sequence_number"], 6);
    let response = &last["response"];
    assert_eq!(response["status"], "failed");
    assert_eq!(response["error"], json!({"code": "server_error", "message": "cut off"}));
    assert_eq!(response["output"][0]["status"], "incomplete");
    assert_eq!(response["output"][0]["content"][0]["text"], "The village looks east");
    assert!(!written.contains("[DONE]"));
}

#[test]
fn a_failure_before_any_event_still_begins_the_response() {
    let error = GatewayError::upstream(ErrorKind::RateLimited, "slow down");
    let stream = events_of(&failed(&OpenAiResponses, &request(true), &[], &error));
    assert_eq!(kinds(&stream), ["response.created", "response.in_progress", "response.failed"]);
    assert_eq!(stream[2]["response"]["error"]["code"], "rate_limit_exceeded");
}

#[test]
fn settings_of_the_request_are_repeated() {
    let tool = json!({"type": "function", "name": "f"});
    let body = json!({
        "model": "m", "input": "hi", "instructions": "Be brief.", "max_output_tokens": 9,
        "metadata": {"k": "v"}, "parallel_tool_calls": false, "reasoning": {"effort": "low"},
        "store": true, "temperature": 0.5, "text": {"verbosity": "low"}, "tools": [tool],
        "tool_choice": "none", "top_p": 0.5, "truncation": "auto",
    });
    let written =
        read(&answer(&OpenAiResponses, &decode(&OpenAiResponses, &body), &[end(Finish::Stop)]));
    let same = [
        "instructions",
        "max_output_tokens",
        "metadata",
        "parallel_tool_calls",
        "temperature",
        "tool_choice",
        "top_p",
        "truncation",
    ];
    for key in same {
        assert_eq!(written[key], body[key], "{key}");
    }
    assert_eq!(written["store"], true);
    assert_eq!(written["reasoning"], json!({"effort": "low", "summary": null}));
    assert_eq!(written["text"], json!({"format": {"type": "text"}, "verbosity": "low"}));
    let tool = json!({"type": "function", "name": "f", "parameters": null, "strict": null});
    assert_eq!(written["tools"], json!([tool]));
}

#[test]
fn log_probabilities_are_written_when_the_text_is_done() {
    let token = TokenLogprob { token: "a".into(), logprob: -0.5, bytes: None, top: Vec::new() };
    let events = [ChatEvent::Text("a".into()), ChatEvent::Logprobs(vec![token]), end(Finish::Stop)];
    let mut asked = request(true);
    asked.logprobs = Some(0);
    let stream = events_of(&answer(&OpenAiResponses, &asked, &events));
    let done = stream.iter().find(|event| event["type"] == "response.output_text.done").unwrap();
    let token = json!({"token": "a", "logprob": -0.5, "bytes": null, "top_logprobs": []});
    assert_eq!(done["logprobs"], json!([token]));
    let stream = events_of(&answer(&OpenAiResponses, &request(true), &events));
    let done = stream.iter().find(|event| event["type"] == "response.output_text.done").unwrap();
    assert_eq!(done["logprobs"], json!([]));
}

proptest! {
    #[test]
    fn the_last_event_holds_the_whole_response(events in any_answer()) {
        let stream = events_of(&answer(&OpenAiResponses, &request(true), &events));
        let whole = read(&answer(&OpenAiResponses, &request(false), &events));
        prop_assert_eq!(&stream.last().unwrap()["response"], &whole);
        for (number, event) in stream.iter().enumerate() {
            prop_assert_eq!(&event["sequence_number"], &json!(number));
        }
    }

    #[test]
    fn joined_deltas_are_the_items(events in any_answer()) {
        let stream = events_of(&answer(&OpenAiResponses, &request(true), &events));
        let output = stream.last().unwrap()["response"]["output"].as_array().unwrap().clone();
        let ids: HashSet<_> = output.iter().map(|item| item["id"].to_string()).collect();
        prop_assert_eq!(ids.len(), output.len());
        for (position, item) in output.iter().enumerate() {
            let own = stream.iter().filter(|event| event["output_index"] == position);
            let joined: String = own.filter_map(|event| event["delta"].as_str()).collect();
            let whole = match item["type"].as_str().unwrap() {
                "message" => &item["content"][0]["text"],
                "reasoning" => &item["summary"][0]["text"],
                _ => &item["arguments"],
            };
            prop_assert_eq!(joined.as_str(), whole.as_str().unwrap());
        }
    }
}
