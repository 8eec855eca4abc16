//! Tests of reading answers from Ollama, wherever they are cut, and of what is not accepted as an
//! answer.

use proptest::prelude::*;

use super::*;
use crate::backend::DecodeError;
use crate::backend::call_ids::is_made_like;
use crate::backend::testing::{Read, cut, succeeds_only_with_an_end};
use crate::chat::{ChatEvent, Completion, Finish, Usage};

fn decode(pieces: &[&[u8]]) -> Read {
    crate::backend::testing::decode(&Ollama, &ChatRequest::default(), pieces)
}

const STREAM: &str = concat!(
    "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"Grüße \"},\"done\":false}\n",
    "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"🦙\"},\"done\":false}\n",
    "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,",
    "\"done_reason\":\"stop\",\"prompt_eval_count\":15,\"eval_count\":248}\n",
);

fn stream_events() -> Vec<ChatEvent> {
    vec![
        ChatEvent::Text("Grüße ".into()),
        ChatEvent::Text("🦙".into()),
        ChatEvent::Done(Completion {
            finish: Finish::Stop,
            stop_sequence: None,
            usage: Usage { prompt: Some(15), completion: Some(248), ..Usage::default() },
        }),
    ]
}

#[test]
fn a_stream_becomes_events_and_usage() {
    assert_eq!(decode(&[STREAM.as_bytes()]), (stream_events(), Ok(())));
}

#[test]
fn a_stream_that_stops_before_its_end_is_cut() {
    let bytes = STREAM.as_bytes();
    for end in 0..bytes.len() - 1 {
        let (events, ended) = decode(&[&bytes[..end]]);
        assert_eq!(ended, Err(DecodeError::Cut), "at {end}");
        assert!(!events.iter().any(|event| matches!(event, ChatEvent::Done(_))));
    }
    // Only the line feed of the last line is missing: the line is whole.
    assert_eq!(decode(&[&bytes[..bytes.len() - 1]]), (stream_events(), Ok(())));
}

#[test]
fn an_error_line_inside_a_success_is_a_failure() {
    let line = "{\"message\":{\"content\":\"a\"}}\n{\"error\":\"runner   stopped\"}\n";
    let (events, ended) = decode(&[line.as_bytes()]);
    assert_eq!(events, [ChatEvent::Text("a".into())]);
    let Err(DecodeError::Reported(rejection)) = ended else { panic!("{ended:?}") };
    assert_eq!(rejection.class, RejectionClass::Broken);
    assert_eq!(rejection.message, "runner stopped");
}

#[test]
fn an_answer_in_no_known_shape_is_malformed() {
    for body in
        ["<html>oops</html>\n", "[]\n", "{}\n", "{\"message\":{\"content\":1}}\n", "\u{1}\n"]
    {
        let (_, ended) = decode(&[body.as_bytes()]);
        assert!(matches!(ended, Err(DecodeError::Malformed(_))), "{body}: {ended:?}");
    }
    let (_, ended) = decode(&[b"{\"message\":{\"content\":\"\xff\xfe\"}}\n"]);
    assert!(matches!(ended, Err(DecodeError::Malformed(_))), "{ended:?}");
}

#[test]
fn each_call_without_an_id_gets_one_and_the_answer_finishes_with_calls() {
    let line = concat!(
        "{\"message\":{\"content\":\"\",\"tool_calls\":[{\"function\":{\"name\":\"a\",\"arguments\":{\"x\":1}}},",
        "{\"id\":\"own\",\"function\":{\"name\":\"b\"}}]},\"done\":true,\"done_reason\":\"stop\"}\n"
    );
    let (events, ended) = decode(&[line.as_bytes()]);
    assert_eq!(ended, Ok(()));
    let [ChatEvent::ToolCall(first), ChatEvent::ToolCall(second), ChatEvent::Done(done)] =
        &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!((first.index, first.arguments.as_str()), (0, "{\"x\":1}"));
    assert!(is_made_like(first.id.as_deref().unwrap()));
    assert_eq!(
        (second.index, second.id.as_deref(), second.arguments.as_str()),
        (1, Some("own"), "{}")
    );
    assert_eq!(done.finish, Finish::ToolCalls);
}

#[test]
fn finish_reasons_of_load_and_length_are_distinguished() {
    let load = "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"done_reason\":\"load\"}";
    let (events, ended) = decode(&[load.as_bytes()]);
    assert_eq!(ended, Ok(()));
    assert!(matches!(&events[..], [ChatEvent::Done(done)] if done.finish == Finish::Load));
    let (events, _) = decode(&[load.replace("load", "length").as_bytes()]);
    assert!(matches!(&events[..], [ChatEvent::Done(done)] if done.finish == Finish::Length));
}

#[test]
fn null_counts_as_missing_in_every_field() {
    let lines = concat!(
        "{\"model\":\"m\",\"message\":null,\"done\":null,\"error\":null}\n",
        "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"a\",\"tool_calls\":null,\"thinking\":null,\"images\":null},",
        "\"done\":null,\"logprobs\":null,\"done_reason\":null,\"response\":null}\n",
        "{\"message\":{\"content\":null,\"tool_calls\":[null,{\"id\":null,\"function\":{\"name\":\"f\",\"arguments\":null}}]}}\n",
        "{\"message\":null,\"done\":true,\"done_reason\":null,\"eval_count\":null,\"prompt_eval_count\":\"3\"}\n",
    );
    let (events, ended) = decode(&[lines.as_bytes()]);
    assert_eq!(ended, Ok(()));
    let [ChatEvent::Text(said), ChatEvent::ToolCall(call), ChatEvent::Done(end)] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!((said.as_str(), call.arguments.as_str()), ("a", "{}"));
    assert_eq!((end.finish, end.usage.prompt), (Finish::ToolCalls, Some(3)));
}

#[test]
fn arguments_as_a_text_of_json_are_not_encoded_twice() {
    for (arguments, expected) in
        [("{\"x\": 1}", "{\"x\": 1}"), ("\"{\\\"x\\\": 1}\"", "{\"x\": 1}"), ("\"\"", "{}")]
    {
        let line = format!(
            "{{\"message\":{{\"tool_calls\":[{{\"function\":{{\"name\":\"f\",\"arguments\":{arguments}}}}}]}},\"done\":true}}\n"
        );
        let (events, _) = decode(&[line.as_bytes()]);
        let ChatEvent::ToolCall(call) = &events[0] else { panic!("{events:?}") };
        assert_eq!(call.arguments, expected);
    }
}

#[test]
fn a_bare_prompt_is_answered_with_all_that_the_model_writes() {
    let lines =
        "{\"message\":{\"thinking\":\"hm \"}}\n{\"message\":{\"content\":\"so\"},\"done\":true}\n";
    for (is_prompt, thought) in
        [(true, ChatEvent::Text("hm ".into())), (false, ChatEvent::Reasoning("hm ".into()))]
    {
        let asked = ChatRequest { is_prompt, ..ChatRequest::default() };
        let (events, ended) = crate::backend::testing::decode(&Ollama, &asked, &[lines.as_bytes()]);
        assert_eq!(
            (&events[0], &events[1], ended),
            (&thought, &ChatEvent::Text("so".into()), Ok(()))
        );
    }
}

#[test]
fn tokens_read_from_the_cache_are_counted() {
    let line = "{\"message\":{\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\",\"prompt_eval_count\":100,\"prompt_eval_cached_count\":90,\"eval_count\":2.0}";
    let (events, _) = decode(&[line.as_bytes()]);
    let usage =
        Usage { prompt: Some(100), completion: Some(2), cached: Some(90), ..Usage::default() };
    let end = Completion { finish: Finish::Stop, stop_sequence: None, usage };
    assert_eq!(events, [ChatEvent::Done(end)]);
}

#[test]
fn an_unknown_finish_reason_is_a_failure() {
    for (reason, finish) in [("stop", Finish::Stop), ("eos", Finish::Stop), ("", Finish::Stop)] {
        let line = format!("{{\"message\":{{}},\"done\":true,\"done_reason\":\"{reason}\"}}\n");
        let (events, _) = decode(&[line.as_bytes()]);
        assert!(matches!(&events[..], [ChatEvent::Done(end)] if end.finish == finish), "{reason}");
    }
    for reason in ["abort", "error", "cancelled", "unheard_of"] {
        let line = format!(
            "{{\"message\":{{\"content\":\"a\"}},\"done\":true,\"done_reason\":\"{reason}\"}}\n"
        );
        let (events, ended) = decode(&[line.as_bytes()]);
        assert_eq!(events, [ChatEvent::Text("a".into())], "{reason}");
        let Err(DecodeError::Reported(rejection)) = ended else { panic!("{ended:?}") };
        assert_eq!(rejection.class, RejectionClass::Broken);
    }
}

#[test]
fn an_error_within_a_success_is_found_in_every_shape() {
    let inner =
        json!({"error": {"message": "no", "code": 400, "type": "exceed_context_size_error"}});
    for (error, class) in [
        (json!({"error": "no"}), RejectionClass::Broken),
        (json!({"error": {"message": "no", "code": 503}}), RejectionClass::Overloaded),
        (json!({"error": inner.to_string()}), RejectionClass::ContextTooLong),
        (json!({"error": "no", "done": true}), RejectionClass::Broken),
        (json!({"detail": "no"}), RejectionClass::Broken),
    ] {
        let (_, ended) = decode(&[format!("{error}\n").as_bytes()]);
        let Err(DecodeError::Reported(rejection)) = ended else { panic!("{error}: {ended:?}") };
        assert_eq!((rejection.class, rejection.message.as_str()), (class, "no"), "{error}");
    }
}

proptest! {
    #[test]
    fn cuts_between_pieces_change_nothing(cuts in proptest::collection::vec(0..STREAM.len(), 0..6)) {
        prop_assert_eq!(decode(&cut(STREAM, cuts)), (stream_events(), Ok(())));
    }

    #[test]
    fn arbitrary_bytes_neither_panic_nor_succeed_without_an_end(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(succeeds_only_with_an_end(&Ollama, &body));
    }
}
