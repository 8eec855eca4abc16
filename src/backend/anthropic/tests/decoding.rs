//! Tests of reading answers from Anthropic, wherever they are cut, and of what is not accepted as
//! an answer.

use proptest::prelude::*;

use super::*;
use crate::backend::DecodeError;
use crate::backend::testing::{
    self, Read, calls, cut, done, said as text, stream, succeeds_only_with_an_end, tool,
};
use crate::chat::{ChatEvent, ChatRequest, Finish, Usage};

fn decode_for(request: &ChatRequest, pieces: &[&[u8]]) -> Read {
    testing::decode(&Anthropic, request, pieces)
}

fn decode(body: &str) -> Read {
    testing::read(&Anthropic, body.as_bytes())
}

/// A text block, and the end with this stop reason.
fn answer(reason: &str) -> String {
    stream(&[
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"ä"}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        &r#"{"type":"message_delta","delta":{"stop_reason":"REASON","stop_sequence":null}}"#
            .replace("REASON", reason),
        r#"{"type":"message_stop"}"#,
    ])
}

#[test]
fn only_message_stop_ends_an_answer() {
    let body = answer("end_turn");
    let whole = body.rfind('}').unwrap() + 1;
    for end in 0..=body.len() {
        let (_, ended) = decode_for(&ChatRequest::default(), &[&body.as_bytes()[..end]]);
        let expected = if end < whole { Err(DecodeError::Cut) } else { Ok(()) };
        assert_eq!(ended, expected, "at {end}");
    }
}

#[test]
fn stop_reasons_are_understood() {
    for (reason, finish) in [
        ("end_turn", Finish::Stop),
        ("stop_sequence", Finish::Stop),
        ("pause_turn", Finish::Paused),
        ("tool_use", Finish::Stop),
        ("max_tokens", Finish::Length),
        ("model_context_window_exceeded", Finish::Length),
        ("refusal", Finish::ContentFilter),
        ("max_output_tokens", Finish::Length),
    ] {
        let expected = vec![text("ä"), done(finish, Usage::default())];
        assert_eq!(decode(&answer(reason)), (expected, Ok(())), "{reason}");
    }
    for reason in ["error", "abort", "unheard_of"] {
        let (events, ended) = decode(&answer(reason));
        let Err(DecodeError::Reported(rejection)) = ended else { panic!("{reason}: {ended:?}") };
        assert_eq!((events, rejection.class), (vec![text("ä")], Class::Broken), "{reason}");
    }
    let stopped =
        answer("stop_sequence").replace("\"stop_sequence\":null", "\"stop_sequence\":\"END\"");
    let (events, _) = decode(&stopped);
    let Some(ChatEvent::Done(end)) = events.last() else { panic!("{events:?}") };
    assert_eq!(end.stop_sequence.as_deref(), Some("END"));
}

#[test]
fn counts_of_the_start_and_the_end_are_combined() {
    let body = stream(&[
        r#"{"type":"message_start","message":{"usage":{"input_tokens":5,"cache_read_input_tokens":3,"cache_creation_input_tokens":2,"output_tokens":1}}}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":7}}"#,
        r#"{"type":"message_delta","delta":{},"usage":{"output_tokens":9,"output_tokens_details":{"thinking_tokens":4}}}"#,
        r#"{"type":"message_stop"}"#,
    ]);
    let usage = Usage {
        prompt: Some(10),
        completion: Some(9),
        cached: Some(3),
        cache_written: Some(2),
        reasoning: Some(4),
        durations: None,
    };
    assert_eq!(decode(&body), (vec![done(Finish::Stop, usage)], Ok(())));
}

#[test]
fn thinking_and_signatures_are_separate_events() {
    let body = stream(&[
        r#"{"type":"ping"}"#,
        r#"{"type":"content_block_start","content_block":{"type":"thinking","thinking":"","signature":""}}"#,
        r#"{"type":"content_block_delta","delta":{"type":"thinking_delta","thinking":"hm"}}"#,
        r#"{"type":"content_block_delta","delta":{"type":"signature_delta","signature":"c2ln"}}"#,
        r#"{"type":"content_block_stop"}"#,
        r#"{"type":"content_block_start","content_block":{"type":"redacted_thinking","data":"eA=="}}"#,
        r#"{"type":"content_block_stop"}"#,
        r#"{"type":"content_block_delta","delta":{"type":"citations_delta","citation":{}}}"#,
        r#"{"type":"never_heard_of","delta":{"type":"text_delta"}}"#,
        r#"{"type":"message_stop"}"#,
    ]);
    let expected = vec![
        ChatEvent::Reasoning("hm".into()),
        ChatEvent::Signature("c2ln".into()),
        ChatEvent::Signature("redacted:eA==".into()),
        done(Finish::Stop, Usage::default()),
    ];
    assert_eq!(decode(&body), (expected, Ok(())));
}

#[test]
fn calls_are_numbered_without_other_blocks_and_have_arguments() {
    let body = stream(&[
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"server_tool_use","id":"s","name":"web_search","input":{}}}"#,
        r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"q\":1}"}}"#,
        r#"{"type":"content_block_stop","index":1}"#,
        r#"{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"a","name":"fs_read","input":{}}}"#,
        r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":""}}"#,
        r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"x\":1}"}}"#,
        r#"{"type":"content_block_stop","index":2}"#,
        r#"{"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"b","name":"g","input":{}}}"#,
        r#"{"type":"content_block_stop","index":3}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"}}"#,
        r#"{"type":"message_stop"}"#,
    ]);
    let request = ChatRequest { tools: vec![tool("fs.read")], ..ChatRequest::default() };
    let (events, ended) = decode_for(&request, &[body.as_bytes()]);
    assert_eq!(ended, Ok(()));
    let calls = calls(&events);
    let told: Vec<_> = calls
        .iter()
        .map(|call| (call.index, call.id.as_deref(), call.name.as_deref(), call.arguments.as_str()))
        .collect();
    let expected = [(0, Some("a"), Some("fs.read"), "{\"x\":1}"), (1, Some("b"), Some("g"), "{}")];
    assert_eq!(told, expected);
    assert!(matches!(events.last(), Some(ChatEvent::Done(end)) if end.finish == Finish::ToolCalls));
}

#[test]
fn a_whole_answer_to_a_streamed_request_is_read() {
    let body = r#"{"type":"message","content":[{"type":"thinking","thinking":"hm","signature":"s"},
        {"type":"text","text":"a"},{"type":"tool_use","id":"1","name":"f","input":{"x":1}}],
        "stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":2}}"#;
    let (events, ended) = decode(body);
    assert_eq!((events.len(), ended), (5, Ok(())));
    assert_eq!(calls(&events)[0].arguments, "{\"x\":1}");
    let unstopped = body.replace("\"stop_reason\":\"tool_use\"", "\"stop_reason\":null");
    assert_eq!(decode(&unstopped).1, Err(DecodeError::Cut));
    assert_eq!(decode(&body[..body.len() - 1]).1, Err(DecodeError::Cut));
}

#[test]
fn a_later_count_of_zero_does_not_erase_an_earlier_one() {
    let body = stream(&[
        r#"{"type":"message_start","message":{"usage":{"input_tokens":25,"cache_read_input_tokens":5,"output_tokens":1}}}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":0,"cache_read_input_tokens":0,"output_tokens":9}}"#,
        r#"{"type":"message_delta","delta":{},"usage":{}}"#,
        r#"{"type":"message_stop"}"#,
    ]);
    let (events, _) = decode(&body);
    let Some(ChatEvent::Done(end)) = events.last() else { panic!("{events:?}") };
    let told = (end.usage.prompt, end.usage.completion, end.usage.cached);
    assert_eq!(told, (Some(30), Some(9), Some(5)));
}

#[test]
fn null_counts_as_missing_in_every_field_and_content_may_be_one_text() {
    let body = stream(&[
        r#"{"type":"message_start","message":null}"#,
        r#"{"type":"message_start","message":{"content":null,"stop_reason":null,"usage":null}}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":null,"citations":null}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a","partial_json":null}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":null}"#,
        r#"{"type":"content_block_stop","index":null}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens_details":null,"input_tokens":null}}"#,
        r#"{"type":"message_stop"}"#,
    ]);
    let expected = vec![text("a"), done(Finish::Stop, Usage::default())];
    assert_eq!(decode(&body), (expected.clone(), Ok(())));
    for content in [r#""a""#, r#"[null,{"type":"text","text":"a","id":null}]"#] {
        let whole = format!(
            r#"{{"type":"message","content":{content},"stop_reason":"end_turn","usage":null,"error":null}}"#
        );
        assert_eq!(decode(&whole), (expected.clone(), Ok(())), "{whole}");
    }
}

#[test]
fn interleaved_blocks_and_undivided_inputs_become_whole_calls() {
    let begin = |index: u32, id: &str, input: &str| {
        format!(
            r#"{{"type":"content_block_start","index":{index},"content_block":{{"type":"tool_use","id":"{id}","name":"f","input":{input}}}}}"#
        )
    };
    let more = |index: u32, json: &str| {
        let delta = serde_json::json!({"type": "input_json_delta", "partial_json": json});
        serde_json::json!({"type": "content_block_delta", "index": index, "delta": delta})
            .to_string()
    };
    let stop = |index: u32| format!(r#"{{"type":"content_block_stop","index":{index}}}"#);
    let documents = [
        begin(0, "a", "{}"),
        begin(1, "b", "{}"),
        more(0, "{\"x\""),
        more(1, "{\"y\""),
        more(0, ":1}"),
        more(1, ":2}"),
        stop(0),
        stop(1),
        begin(2, "c", r#"{"z":3}"#),
        stop(2),
        begin(3, "d", r#"{"z":3}"#),
        more(3, r#"{"z":4}"#),
        stop(3),
        r#"{"type":"message_stop"}"#.to_owned(),
    ];
    let (events, ended) =
        decode(&stream(&documents.iter().map(String::as_str).collect::<Vec<_>>()));
    assert_eq!(ended, Ok(()));
    let mut told = vec![String::new(); 4];
    calls(&events).iter().for_each(|piece| told[piece.index as usize].push_str(&piece.arguments));
    assert_eq!(told, ["{\"x\":1}", "{\"y\":2}", "{\"z\":3}", "{\"z\":4}"]);
}

#[test]
fn an_error_within_a_success_is_classified() {
    for (kind, class) in [
        ("overloaded_error", Class::Overloaded),
        ("api_error", Class::Broken),
        ("rate_limit_error", Class::RateLimited),
        ("unheard_of", Class::Broken),
    ] {
        let body = error(kind, "said", Value::Null);
        for body in [body.clone(), stream(&[&body]), format!("event: error\n{}", stream(&[&body]))]
        {
            let (_, ended) = decode(&body);
            let Err(DecodeError::Reported(rejection)) = ended else { panic!("{body}: {ended:?}") };
            assert_eq!((rejection.class, rejection.message.as_str()), (class, "said"), "{body}");
        }
    }
}

#[test]
fn other_servers_errors_within_a_success_are_failures_too() {
    for (data, class) in [
        (r#"{"error":"said"}"#, Class::Broken),
        (r#"{"type":"error","message":"said"}"#, Class::Broken),
        (
            r#"{"error":{"code":400,"type":"exceed_context_size_error","message":"said"}}"#,
            Class::ContextTooLong,
        ),
    ] {
        for body in [data.to_owned(), stream(&[data]), format!("event: error\n{}", stream(&[data]))]
        {
            let (_, ended) = decode(&body);
            let Err(DecodeError::Reported(rejection)) = ended else { panic!("{body}: {ended:?}") };
            assert_eq!((rejection.class, rejection.message.as_str()), (class, "said"), "{body}");
        }
    }
}

#[test]
fn the_events_name_replaces_a_missing_type() {
    let (events, ended) = decode("event: message_stop\ndata: {}\n\n");
    assert_eq!((events, ended), (vec![done(Finish::Stop, Usage::default())], Ok(())));
}

#[test]
fn an_answer_in_no_known_shape_is_malformed() {
    for body in ["<html></html>", "data: {\"delta\":1}\n\n", "data: oops\n\n", "{\"a\":}"] {
        let (_, ended) = decode(body);
        assert!(matches!(ended, Err(DecodeError::Malformed(_))), "{body}: {ended:?}");
    }
}

proptest! {
    #[test]
    fn cuts_between_pieces_change_nothing(cuts in proptest::collection::vec(0usize..420, 0..8)) {
        let body = answer("end_turn").replace("data:", "event: x\ndata:");
        let whole = decode(&body);
        prop_assert_eq!(&whole.1, &Ok(()));
        prop_assert_eq!(decode_for(&ChatRequest::default(), &cut(&body, cuts)), whole);
    }

    #[test]
    fn arbitrary_bytes_neither_panic_nor_succeed_without_an_end(
        mut body in proptest::collection::vec(any::<u8>(), 0..300),
        opening in "(event: message|data: |\\{|data: \\{\"type\":\"message)?",
    ) {
        body.splice(0..0, opening.into_bytes());
        prop_assert!(succeeds_only_with_an_end(&Anthropic, &body));
    }
}
