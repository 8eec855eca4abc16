//! Tests of reading answers from OpenAI, wherever they are cut, and of what is not accepted as an
//! answer.

use proptest::prelude::*;

use super::*;
use crate::backend::call_ids::is_made_like;
use crate::backend::testing::{
    self, Read, calls, cut, done, said as text, stream, succeeds_only_with_an_end, tool,
};
use crate::backend::{DecodeError, RejectionClass};
use crate::chat::{ChatEvent, ChatRequest, Finish, Usage};

fn decode_for(request: &ChatRequest, pieces: &[&[u8]]) -> Read {
    testing::decode(&OpenAi, request, pieces)
}

pub(super) fn decode(body: &str) -> Read {
    testing::read(&OpenAi, body.as_bytes())
}

pub(super) const STOP: &str = r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#;

#[test]
fn a_stream_with_imitators_deviations_is_read() {
    let body = concat!(
        ": OPENROUTER PROCESSING\r\n\r\n",
        "data:{\"created\":1.5,\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":\"\"}]}\r\n\r\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"hm\"}}],\"usage\":{\"prompt_tokens\":3}}\r\n\r\n",
        "data: {\"choices\":[{\"delta\":{\"reasoning\":\"so\",\"content\":null,\"tool_calls\":null}}]}\r\n\r\n",
        "data: {\"choices\":[{\"delta\":{\"content\":[{\"type\":\"text\",\"text\":\"a\"}]}},{\"index\":1,\"delta\":{\"content\":\"other\"}}]}\r\n\r\n",
        "data: {\"choices\":[{\"delta\":null,\"finish_reason\":\"eos\"}],\"usage\":{\"prompt_tokens\":3.0,\"completion_tokens\":\"4\"}}\r\n\r\n",
        "data: {\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":5,\"prompt_tokens_details\":{\"cached_tokens\":2},\"completion_tokens_details\":{\"reasoning_tokens\":1}}}\r\n\r\n",
        "data: [DONE]\r\n\r\ndata: not read\r\n\r\n",
    );
    let usage = Usage {
        prompt: Some(3),
        completion: Some(5),
        cached: Some(2),
        cache_written: None,
        reasoning: Some(1),
        durations: None,
    };
    let thought = |text: &str| ChatEvent::Reasoning(text.into());
    let expected = vec![thought("hm"), thought("so"), text("a"), done(Finish::Stop, usage)];
    assert_eq!(decode(body), (expected, Ok(())));
}

#[test]
fn the_finish_reason_is_the_end_marker_and_done_is_not() {
    let begun = r#"{"choices":[{"delta":{"content":"a"}}]}"#;
    let ended = done(Finish::Stop, Usage::default());
    assert_eq!(decode(&stream(&[begun, STOP])), (vec![text("a"), ended], Ok(())));
    for cut in [stream(&[begun, "[DONE]"]), stream(&[begun]), String::new(), " \n".into()] {
        let (events, ended) = decode(&cut);
        assert_eq!(ended, Err(DecodeError::Cut), "{cut}");
        assert!(!events.iter().any(|event| matches!(event, ChatEvent::Done(_))));
    }
}

#[test]
fn a_stream_that_stops_before_its_finish_reason_is_cut() {
    let body = stream(&[r#"{"choices":[{"delta":{"content":"ä"}}]}"#, STOP]);
    let whole = body.rfind('}').unwrap() + 1;
    for end in 0..body.len() {
        let (_, ended) = decode_for(&ChatRequest::default(), &[&body.as_bytes()[..end]]);
        let expected = if end < whole { Err(DecodeError::Cut) } else { Ok(()) };
        assert_eq!(ended, expected, "at {end}");
    }
}

#[test]
fn finish_reasons_are_understood() {
    for (reason, finish) in [
        ("stop", Finish::Stop),
        ("length", Finish::Length),
        ("content_filter", Finish::ContentFilter),
        ("tool_calls", Finish::Stop),
        ("function_call", Finish::Stop),
        ("eos", Finish::Stop),
        ("COMPLETE", Finish::Stop),
        ("model_length", Finish::Length),
        ("max_output_tokens", Finish::Length),
        ("content_filter: SAFETY", Finish::ContentFilter),
    ] {
        let (events, ended) = decode(&stream(&[&STOP.replace("stop", reason)]));
        assert_eq!((events, ended), (vec![done(finish, Usage::default())], Ok(())), "{reason}");
    }
}

#[test]
fn an_unknown_finish_reason_is_a_failure_before_and_after_text() {
    let said = r#"{"choices":[{"delta":{"content":"a"}}]}"#;
    for (reason, class) in [
        ("error", RejectionClass::Broken),
        ("abort", RejectionClass::Broken),
        ("cancelled", RejectionClass::Broken),
        ("insufficient_system_resource", RejectionClass::Overloaded),
        ("unheard_of", RejectionClass::Broken),
    ] {
        let failed = STOP.replace("stop", reason);
        for (chunks, expected) in [
            (vec![failed.as_str(), "[DONE]"], vec![]),
            (vec![said, failed.as_str(), "[DONE]"], vec![text("a")]),
        ] {
            let (events, ended) = decode(&stream(&chunks));
            let Err(DecodeError::Reported(rejection)) = ended else { panic!("{ended:?}") };
            assert_eq!((events, rejection.class), (expected, class), "{reason}");
            assert!(rejection.message.ends_with(reason), "{}", rejection.message);
        }
    }
}

#[test]
fn a_whole_answer_to_a_streamed_request_is_read() {
    let body = r#" {"choices":[{"message":{"content":null,"refusal":"I can't.","tool_calls":[]},
        "logprobs":{"content":[{"token":"I","logprob":-0.5,"bytes":[73],"top_logprobs":[]}]},
        "finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
    let (events, ended) = decode(body);
    assert_eq!(ended, Ok(()));
    let [ChatEvent::Text(said), ChatEvent::Logprobs(tokens), ChatEvent::Done(end)] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!((said.as_str(), tokens[0].token.as_str()), ("I can't.", "I"));
    assert_eq!((end.finish, end.usage.total()), (Finish::Stop, 3));
    let (_, ended) = decode(&body.replace("\"stop\"", "null"));
    assert_eq!(ended, Err(DecodeError::Cut));
    let (_, ended) = decode(&body[..body.len() - 1]);
    assert_eq!(ended, Err(DecodeError::Cut));
}

/// The calls in these `tool_calls` lists, one chunk each: id, name and arguments, joined per call.
fn joined_calls(lists: &[&str]) -> Result<Vec<(String, String, String)>, DecodeError> {
    let chunks: Vec<String> = lists
        .iter()
        .map(|list| format!("{{\"choices\":[{{\"delta\":{{\"tool_calls\":{list}}}}}]}}"))
        .collect();
    let mut chunks: Vec<&str> = chunks.iter().map(String::as_str).collect();
    chunks.push(STOP);
    let (events, ended) = decode(&stream(&chunks));
    ended?;
    let Some(ChatEvent::Done(end)) = events.last() else { panic!("{events:?}") };
    assert_eq!(end.finish, Finish::ToolCalls);
    let mut joined: Vec<(String, String, String)> = Vec::new();
    for piece in calls(&events) {
        if piece.index as usize == joined.len() {
            joined.push((piece.id.unwrap(), piece.name.unwrap(), String::new()));
        }
        joined[piece.index as usize].2.push_str(&piece.arguments);
    }
    Ok(joined)
}

fn triple(id: &str, name: &str, arguments: &str) -> (String, String, String) {
    (id.into(), name.into(), arguments.into())
}

#[test]
fn fragments_of_calls_are_joined_in_every_known_form() {
    let expected = vec![triple("a", "f", "{\"x\":1}"), triple("b", "g", "{}")];
    let table: &[&[&str]] = &[
        // As documented.
        &[
            r#"[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}}]"#,
            r#"[{"index":0,"function":{"arguments":"{\"x\""}}]"#,
            r#"[{"index":0,"function":{"arguments":":1}"}}]"#,
            r#"[{"index":1,"id":"b","function":{"name":"g","arguments":""}}]"#,
        ],
        // Indexes from 1, id and name repeated.
        &[
            r#"[{"index":1,"id":"a","function":{"name":"f","arguments":"{\"x\""}}]"#,
            r#"[{"index":1,"id":"a","function":{"name":"f","arguments":":1}"}}]"#,
            r#"[{"index":2,"id":"b","function":{"name":"g","arguments":"{}"}}]"#,
        ],
        // Whole calls in one chunk without indexes, arguments as an object.
        &[
            r#"[{"id":"a","function":{"name":"f","arguments":{"x":1}}},{"id":"b","function":{"name":"g"}}]"#,
        ],
        // Whole calls that all have index 0.
        &[
            r#"[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":1}"}}]"#,
            r#"[{"index":0,"id":"b","function":{"name":"g","arguments":null}}]"#,
        ],
        // Interleaved pieces, repeated names, a late empty piece.
        &[
            r#"[{"index":0,"id":"a","function":{"name":"f","arguments":""}},{"index":1,"id":"b","function":{"name":"g","arguments":""}}]"#,
            r#"[{"index":0,"function":{"name":"f","arguments":"{\"x\""}}]"#,
            r#"[{"index":1,"function":{"name":"g","arguments":"{"}}]"#,
            r#"[{"index":0,"function":{"name":null,"arguments":":1}"}}]"#,
            r#"[{"index":1,"function":{"arguments":"}"}},{"index":0,"id":"","function":{"name":"","arguments":""}}]"#,
        ],
        // The name comes after the first arguments.
        &[
            r#"[{"index":0,"id":"a","function":{"arguments":"{\"x\""}}]"#,
            r#"[{"index":0,"function":{"name":"f","arguments":":1}"}},{"index":1,"id":"b","function":{"name":"g"}}]"#,
        ],
    ];
    for lists in table {
        assert_eq!(joined_calls(lists).unwrap(), expected, "{lists:?}");
    }
}

#[test]
fn each_call_without_an_id_gets_one() {
    let list = r#"[{"function":{"name":"f","arguments":"{}"}},{"id":"","function":{"name":"g","arguments":"{}"}}]"#;
    let joined = joined_calls(&[list]).unwrap();
    assert_eq!(joined.len(), 2);
    assert!(is_made_like(&joined[0].0) && joined[0].0 != joined[1].0, "{joined:?}");
}

#[test]
fn calls_without_a_name_or_with_late_pieces_are_malformed() {
    let nameless = joined_calls(&[r#"[{"index":0,"id":"a","function":{"arguments":"{}"}}]"#]);
    assert!(matches!(nameless, Err(DecodeError::Malformed(_))), "{nameless:?}");
    let goes_on = joined_calls(&[
        r#"[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}]"#,
        r#"[{"index":1,"id":"b","function":{"name":"g","arguments":"{"}}]"#,
        r#"[{"index":0,"function":{"arguments":"{}"}}]"#,
    ]);
    assert!(matches!(goes_on, Err(DecodeError::Malformed(_))), "{goes_on:?}");
}

#[test]
fn calls_are_given_under_the_clients_own_names() {
    let request = ChatRequest { tools: vec![tool("fs.read")], ..ChatRequest::default() };
    let list =
        r#"{"choices":[{"delta":{"tool_calls":[{"id":"a","function":{"name":"fs_read"}}]}}]}"#;
    let (events, _) = decode_for(&request, &[stream(&[list, STOP]).as_bytes()]);
    assert_eq!(calls(&events)[0].name.as_deref(), Some("fs.read"));
}

#[test]
fn an_error_within_a_success_is_classified() {
    use RejectionClass as Class;
    for (error, class, words) in [
        (r#"{"error":{"message":"boom","code":502}}"#, Class::Broken, "boom"),
        (
            r#"{"error":{"message":"busy","code":"server_is_overloaded"}}"#,
            Class::Overloaded,
            "busy",
        ),
        (r#"{"error":{"message":"slow","type":"rate_limit_error"}}"#, Class::RateLimited, "slow"),
        (r#"{"error":{"message":"x","code":"insufficient_quota"}}"#, Class::QuotaExhausted, "x"),
        (r#"{"error":"runner stopped"}"#, Class::Broken, "runner stopped"),
        (r#"{"detail":"in words"}"#, Class::Broken, "in words"),
        (r#"{"object":"error","message":"no","code":400}"#, Class::BadRequest, "no"),
        (r#"{"error":{"message":"late","code":504},"choices":[]}"#, Class::Timeout, "late"),
    ] {
        for body in [error.to_owned(), stream(&[error])] {
            let (_, ended) = decode(&body);
            let Err(DecodeError::Reported(rejection)) = ended else { panic!("{body}: {ended:?}") };
            assert_eq!((rejection.class, rejection.message.as_str()), (class, words), "{body}");
        }
    }
}

#[test]
fn an_answer_in_no_known_shape_is_malformed() {
    for body in ["<html>oops</html>", "data: {\"choices\":1}\n\n", "data: oops\n\n", "{\"a\":}"] {
        let (_, ended) = decode(body);
        assert!(matches!(ended, Err(DecodeError::Malformed(_))), "{body}: {ended:?}");
    }
}

proptest! {
    #[test]
    fn cuts_between_pieces_change_nothing(cuts in proptest::collection::vec(0usize..600, 0..8)) {
        let body = stream(&[
            r#"{"choices":[{"delta":{"role":"assistant","content":"Grüße 🦙"}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{"}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"}"}}]}}]}"#,
            STOP,
            r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#,
            "[DONE]",
        ]);
        let whole = decode(&body);
        prop_assert_eq!(&whole.1, &Ok(()));
        prop_assert_eq!(decode_for(&ChatRequest::default(), &cut(&body, cuts)), whole);
    }

    #[test]
    fn arbitrary_bytes_neither_panic_nor_succeed_without_an_end(
        mut body in proptest::collection::vec(any::<u8>(), 0..300),
        opening in "(data: |\\{|data: \\{\"choices\":\\[\\{)?",
    ) {
        body.splice(0..0, opening.into_bytes());
        prop_assert!(succeeds_only_with_an_end(&OpenAi, &body));
    }
}
