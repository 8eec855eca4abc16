//! Tests of answers of OpenAI's imitators in shapes of their own.

use super::decoding::{STOP, decode};
use crate::backend::testing::{calls, done, said as text, stream};
use crate::backend::{DecodeError, RejectionClass};
use crate::chat::{ChatEvent, Finish, Usage};

fn thought(text: &str) -> ChatEvent {
    ChatEvent::Reasoning(text.into())
}

#[test]
fn null_counts_as_missing_in_every_field() {
    let body = stream(&[
        r#"{"id":null,"choices":null,"usage":null,"error":null,"x_groq":null}"#,
        r#"{"choices":[null,{"index":null,"delta":{"role":null,"content":null,"refusal":null,"tool_calls":null,"function_call":null,"reasoning":null,"reasoning_content":null,"reasoning_details":null},"logprobs":null,"finish_reason":null,"usage":null,"error":null}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[null,{"index":0,"id":"a","type":null,"function":null},{"index":0,"id":null,"function":{"name":"f","arguments":null}}]},"logprobs":{"content":null}}]}"#,
        r#"{"choices":[{"delta":null,"message":null,"text":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":null,"prompt_tokens_details":null,"completion_tokens_details":{"reasoning_tokens":null}}}"#,
        "[DONE]",
    ]);
    let (events, ended) = decode(&body);
    assert_eq!(ended, Ok(()));
    let calls = calls(&events);
    assert_eq!((calls.len(), calls[0].arguments.as_str()), (1, "{}"));
    assert_eq!(events.last(), Some(&done(Finish::ToolCalls, Usage::default())));
}

#[test]
fn thinking_in_content_parts_is_read_as_thinking() {
    let body = stream(&[
        r#"{"choices":[{"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]}]}}]}"#,
        r#"{"choices":[{"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"!"}],"closed":true},{"type":"text","text":"a"}]}}]}"#,
        r#"{"choices":[{"delta":{"content":[{"type":"output_text","text":"b"},{"type":"reference","reference_ids":[0]}]}}]}"#,
        STOP,
    ]);
    let ended = done(Finish::Stop, Usage::default());
    let expected = vec![thought("hm"), thought("!"), text("a"), text("b"), ended];
    assert_eq!(decode(&body), (expected, Ok(())));
}

#[test]
fn thinking_under_several_names_is_given_once() {
    let details = r#"[{"type":"reasoning.text","text":"hm"}]"#;
    for delta in [
        format!(r#"{{"reasoning":"hm","reasoning_content":"hm","reasoning_details":{details}}}"#),
        format!(r#"{{"reasoning":null,"reasoning_details":{details}}}"#),
        r#"{"reasoning_content":[{"type":"text","text":"hm"}]}"#.to_owned(),
    ] {
        let chunk = format!(r#"{{"choices":[{{"delta":{delta}}}]}}"#);
        let (events, _) = decode(&stream(&[&chunk, STOP]));
        assert_eq!(events[..events.len() - 1], [thought("hm")], "{delta}");
    }
}

#[test]
fn an_older_function_call_is_read_as_a_tool_call() {
    let streamed = stream(&[
        r#"{"choices":[{"delta":{"role":"assistant","content":null,"function_call":{"name":"f","arguments":""}}}]}"#,
        r#"{"choices":[{"delta":{"function_call":{"arguments":"{\"x\""}}}]}"#,
        r#"{"choices":[{"delta":{"function_call":{"name":"f","arguments":":1}"}}}]}"#,
        &STOP.replace("stop", "function_call"),
    ]);
    let whole = r#"{"choices":[{"message":{"content":null,"function_call":{"name":"f","arguments":{"x":1}}},"finish_reason":"function_call"}]}"#;
    for body in [streamed.as_str(), whole] {
        let (events, ended) = decode(body);
        assert_eq!(ended, Ok(()), "{body}");
        let calls = calls(&events);
        let arguments: String = calls.iter().map(|piece| piece.arguments.as_str()).collect();
        assert_eq!((calls[0].name.as_deref(), arguments.as_str()), (Some("f"), "{\"x\":1}"));
        let Some(ChatEvent::Done(end)) = events.last() else { panic!("{events:?}") };
        assert_eq!(end.finish, Finish::ToolCalls);
    }
}

#[test]
fn counts_are_found_in_every_place_and_empty_counts_do_not_erase_them() {
    let counted = r#"{"prompt_tokens":25,"completion_tokens":9}"#;
    let tables = [
        vec![
            format!(r#"{{"choices":[],"usage":{counted}}}"#),
            r#"{"choices":[],"usage":{}}"#.into(),
        ],
        vec![
            format!(r#"{{"choices":[],"usage":{counted}}}"#),
            r#"{"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}}"#.into(),
            r#"{"usage":[]}"#.into(),
        ],
        vec![format!(r#"{{"choices":[{{"delta":{{}},"usage":{counted}}}]}}"#)],
        vec![format!(r#"{{"choices":[],"x_groq":{{"id":"1","usage":{counted}}}}}"#)],
        vec![r#"{"choices":[],"usage":{"input_tokens":25.0,"output_tokens":"9"}}"#.into()],
    ];
    let usage = Usage { prompt: Some(25), completion: Some(9), ..Usage::default() };
    for chunks in tables {
        let chunks = [STOP].into_iter().chain(chunks.iter().map(String::as_str));
        let body = stream(&chunks.chain(["[DONE]"]).collect::<Vec<_>>());
        assert_eq!(decode(&body), (vec![done(Finish::Stop, usage)], Ok(())), "{body}");
    }
}

#[test]
fn an_error_within_a_success_is_found_in_every_shape() {
    use RejectionClass as Class;
    let inner = r#"{\"error\":{\"message\":\"no\",\"type\":\"exceed_context_size_error\"}}"#;
    for (data, class) in [
        (r#"{"choices":[{"delta":{"content":""},"finish_reason":"error","error":{"code":502,"message":"no"}}]}"#.to_owned(), Class::Broken),
        (r#"{"choices":null,"base_resp":{"status_code":1004,"status_msg":"no"}}"#.to_owned(), Class::Broken),
        (r#"{"errors":[{"code":429,"message":"no"}],"success":false}"#.to_owned(), Class::RateLimited),
        (r#"{"error":{"message":"no","type":"NotFoundError"},"choices":[]}"#.to_owned(), Class::UnknownModel),
        (r#"{"error":"no","error_type":"overloaded"}"#.to_owned(), Class::Overloaded),
        (format!(r#"{{"error":{{"message":"{inner}"}}}}"#), Class::ContextTooLong),
        (format!(r#"{{"error":"{inner}"}}"#), Class::ContextTooLong),
        (r#"{"choices":"none","message":{"error":"no"},"error":"no"}"#.to_owned(), Class::Broken),
    ] {
        for body in [data.clone(), stream(&[&data]), format!("event: error\n{}", stream(&[&data]))] {
            let (_, ended) = decode(&body);
            let Err(DecodeError::Reported(rejection)) = ended else { panic!("{body}: {ended:?}") };
            assert_eq!((rejection.class, rejection.message.as_str()), (class, "no"), "{body}");
        }
    }
    for (data, words) in [("plain words", "plain words"), ("{}", "the provider named no reason")] {
        let (_, ended) = decode(&format!("event: error\ndata: {data}\n\n"));
        let Err(DecodeError::Reported(rejection)) = ended else { panic!("{data}: {ended:?}") };
        assert_eq!((rejection.class, rejection.message.as_str()), (Class::Broken, words));
    }
    // The error was cut off in the middle.
    let (_, ended) = decode("event: error\ndata: {\"error\": {\"mess");
    assert_eq!(ended, Err(DecodeError::Cut));
}

#[test]
fn a_reason_to_finish_may_be_an_object() {
    let aborted = STOP.replace("\"stop\"", r#"{"type":"abort","message":"x"}"#);
    let (_, ended) = decode(&stream(&[&aborted]));
    assert!(matches!(ended, Err(DecodeError::Reported(_))), "{ended:?}");
}
