//! Tests of reading answers from Gemini, wherever they are cut, and of what is not accepted as an
//! answer.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::backend::DecodeError;
use crate::backend::call_ids::is_made_like;
use crate::backend::testing::{
    self, Read, calls, cut, done, said as text, stream, succeeds_only_with_an_end, tool,
};
use crate::chat::{ChatEvent, ChatRequest, Finish, Usage};

fn decode_for(request: &ChatRequest, pieces: &[&[u8]]) -> Read {
    testing::decode(&Gemini, request, pieces)
}

fn decode(body: &str) -> Read {
    testing::read(&Gemini, body.as_bytes())
}

fn candidate(candidate: serde_json::Value) -> String {
    json!({"candidates": [candidate]}).to_string()
}

const STOP: &str = r#"{"candidates":[{"content":{"role":"model"},"finishReason":"STOP"}]}"#;

#[test]
fn thoughts_are_not_text_and_the_last_usage_counts() {
    let body = concat!(
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"hm\",\"thought\":true}]}}],\"usageMetadata\":{\"promptTokenCount\":5}}\r\n\r\n",
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"so\"}]}},{\"index\":1,\"content\":{\"parts\":[{\"text\":\"other\"}]}}]}\r\n\r\n",
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\"}]},\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":5,\"toolUsePromptTokenCount\":2,\"candidatesTokenCount\":3,\"thoughtsTokenCount\":4,\"cachedContentTokenCount\":1}}\r\n\r\n",
    );
    let usage = Usage {
        prompt: Some(7),
        completion: Some(7),
        cached: Some(1),
        cache_written: None,
        reasoning: Some(4),
        durations: None,
    };
    let expected = vec![ChatEvent::Reasoning("hm".into()), text("so"), done(Finish::Stop, usage)];
    assert_eq!(decode(body), (expected, Ok(())));
}

#[test]
fn a_stream_that_stops_before_its_finish_reason_is_cut() {
    let body = stream(&[r#"{"candidates":[{"content":{"parts":[{"text":"ä"}]}}]}"#, STOP]);
    let whole = body.rfind('}').unwrap() + 1;
    for end in 0..body.len() {
        let (_, ended) = decode_for(&ChatRequest::default(), &[&body.as_bytes()[..end]]);
        let expected = if end < whole { Err(DecodeError::Cut) } else { Ok(()) };
        assert_eq!(ended, expected, "at {end}");
    }
    let unspecified = STOP.replace("STOP", "FINISH_REASON_UNSPECIFIED");
    assert_eq!(decode(&stream(&[&unspecified])).1, Err(DecodeError::Cut));
}

#[test]
fn finish_reasons_are_understood() {
    for (reason, finish) in [
        ("STOP", Finish::Stop),
        ("MAX_TOKENS", Finish::Length),
        ("SAFETY", Finish::ContentFilter),
        ("RECITATION", Finish::ContentFilter),
        ("SPII", Finish::ContentFilter),
        ("IMAGE_SAFETY", Finish::ContentFilter),
        ("LANGUAGE", Finish::ContentFilter),
        ("IMAGE_SAFETY", Finish::ContentFilter),
        ("MODEL_ARMOR", Finish::ContentFilter),
    ] {
        let (events, ended) = decode(&STOP.replace("STOP", reason));
        assert_eq!((events, ended), (vec![done(finish, Usage::default())], Ok(())), "{reason}");
    }
}

#[test]
fn a_blocked_prompt_is_filtered_not_broken() {
    let blocked =
        r#"{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":3}}"#;
    let (events, ended) = decode(&stream(&[blocked]));
    assert_eq!(ended, Ok(()));
    let [ChatEvent::Done(end)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((end.finish, end.usage.prompt), (Finish::ContentFilter, Some(3)));
}

#[test]
fn a_finish_reason_of_failure_is_a_failure_before_and_after_output() {
    let said = candidate(json!({"content": {"parts": [{"text": "a"}]}}));
    for reason in [
        "MALFORMED_FUNCTION_CALL",
        "MALFORMED_RESPONSE",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "MISSING_THOUGHT_SIGNATURE",
        "NO_IMAGE",
        "OTHER",
        "UNHEARD_OF",
    ] {
        let failed = candidate(json!({"finishReason": reason, "finishMessage": "why"}));
        for (chunks, expected) in [
            (vec![failed.as_str()], vec![]),
            (vec![said.as_str(), failed.as_str()], vec![text("a")]),
        ] {
            let (events, ended) = decode(&stream(&chunks));
            let Err(DecodeError::Reported(rejection)) = ended else { panic!("{ended:?}") };
            assert_eq!((events, rejection.class), (expected, Class::Broken), "{reason}");
            assert!(rejection.message.ends_with(&format!("{reason}: why")), "{rejection:?}");
        }
    }
}

#[test]
fn calls_come_whole_with_ids_and_signatures() {
    let first =
        json!({"functionCall": {"name": "fs_read", "args": {"x": 1}}, "thoughtSignature": "c2ln"});
    let parts = json!([
        first,
        {"functionCall": {"id": "fc-2", "name": "g"}, "thoughtSignature": "bW9yZQ=="},
        {"functionCall": {"name": "h", "args": {}}},
    ]);
    let body = stream(&[&candidate(json!({"content": {"parts": parts}})), STOP]);
    let request = ChatRequest { tools: vec![tool("fs.read")], ..ChatRequest::default() };
    let (events, ended) = decode_for(&request, &[body.as_bytes()]);
    assert_eq!(ended, Ok(()));
    assert_eq!(events[0], ChatEvent::Signature("gemini:c2ln".into()));
    assert!(matches!(events[1], ChatEvent::ToolCall(_)));
    assert_eq!(events[2], ChatEvent::Signature("gemini:bW9yZQ==".into()));
    let calls = calls(&events);
    let ids: Vec<_> = calls.iter().map(|call| call.id.as_deref().unwrap()).collect();
    let minted = ids[0].strip_suffix("_sig_c2ln").unwrap();
    assert!(is_made_like(minted) && ids[1] == "fc-2" && is_made_like(ids[2]), "{ids:?}");
    let told: Vec<_> = calls
        .iter()
        .map(|call| (call.index, call.name.as_deref().unwrap(), call.arguments.as_str()))
        .collect();
    assert_eq!(told, [(0, "fs.read", "{\"x\":1}"), (1, "g", "{}"), (2, "h", "{}")]);
    assert!(matches!(events.last(), Some(ChatEvent::Done(end)) if end.finish == Finish::ToolCalls));
}

#[test]
fn log_probabilities_get_bytes_where_the_token_is_whole_text() {
    let token = |token: &str| json!({"token": token, "logProbability": -0.5});
    let result = json!({"chosenCandidates": [token("ä"), token("\u{fffd}")],
        "topCandidates": [{"candidates": [token("b")]}]});
    let body = candidate(json!({"finishReason": "STOP", "logprobsResult": result}));
    let (events, _) = decode(&body);
    let ChatEvent::Logprobs(tokens) = &events[0] else { panic!("{events:?}") };
    assert_eq!(tokens[0].bytes.as_deref(), Some("ä".as_bytes()));
    assert_eq!((tokens[0].top[0].token.as_str(), &tokens[1].bytes), ("b", &None));
}

#[test]
fn a_list_of_responses_is_read_like_a_stream() {
    let said = candidate(json!({"content": {"parts": [{"text": "a"}]}}));
    let (events, ended) = decode(&format!("[{said}\r\n,\r\n{STOP}]"));
    let expected = vec![text("a"), done(Finish::Stop, Usage::default())];
    assert_eq!((events, ended), (expected, Ok(())));
    assert_eq!(decode(&format!("[{said}\r\n")).1, Err(DecodeError::Cut));
}

#[test]
fn an_error_within_a_success_is_classified() {
    let busy = r#"{"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}"#;
    for body in [busy.to_owned(), format!("[{busy}]"), stream(&[busy]), stream(&[STOP, busy])] {
        let (_, ended) = decode(&body);
        let Err(DecodeError::Reported(rejection)) = ended else { panic!("{body}: {ended:?}") };
        assert_eq!((rejection.class, rejection.message.as_str()), (Class::Overloaded, "busy"));
    }
}

#[test]
fn an_answer_in_no_known_shape_is_malformed() {
    for body in ["<html></html>", "data: {\"candidates\":1}\n\n", "data: oops\n\n", "{\"a\":}"] {
        let (_, ended) = decode(body);
        assert!(matches!(ended, Err(DecodeError::Malformed(_))), "{body}: {ended:?}");
    }
}

#[test]
fn null_counts_as_missing_in_every_field() {
    let body = stream(&[
        r#"{"candidates":null,"promptFeedback":null,"usageMetadata":null,"error":null}"#,
        r#"{"candidates":[null,{"content":null,"index":null,"finishReason":null,"logprobsResult":null}],"promptFeedback":{"blockReason":null}}"#,
        r#"{"candidates":[{"content":{"parts":null,"role":null}}]}"#,
        r#"{"candidates":[{"content":{"parts":[null,{"text":"a","thought":null,"thoughtSignature":null,"functionCall":null},{"text":null,"functionCall":{"id":null,"name":"f","args":null}}]}}]}"#,
        STOP,
    ]);
    let (events, ended) = decode(&body);
    assert_eq!((events[0].clone(), ended), (text("a"), Ok(())));
    assert_eq!(calls(&events)[0].arguments, "{}");
}

#[test]
fn arguments_as_a_text_of_json_are_not_encoded_twice_and_a_call_has_a_name() {
    let call = |call: serde_json::Value| {
        let body = candidate(json!({"content": {"parts": [{"functionCall": call}]}}));
        decode(&stream(&[&body, STOP]))
    };
    let (events, _) = call(json!({"name": "f", "args": "{\"x\": 1}"}));
    assert_eq!(calls(&events)[0].arguments, "{\"x\": 1}");
    assert!(matches!(call(json!({"args": {}})).1, Err(DecodeError::Malformed(_))));
}

#[test]
fn a_later_count_of_zero_does_not_erase_an_earlier_one() {
    let counted = |counts: &str| format!(r#"{{"candidates":[],"usageMetadata":{counts}}}"#);
    let body = stream(&[
        STOP,
        &counted(r#"{"promptTokenCount":25,"candidatesTokenCount":"3","thoughtsTokenCount":4.0}"#),
        &counted(r#"{"promptTokenCount":0,"candidatesTokenCount":5}"#),
        &counted("{}"),
    ]);
    let (events, _) = decode(&body);
    let Some(ChatEvent::Done(end)) = events.last() else { panic!("{events:?}") };
    let told = (end.usage.prompt, end.usage.completion, end.usage.reasoning);
    assert_eq!(told, (Some(25), Some(9), Some(4)));
}

#[test]
fn an_error_within_a_success_is_found_in_every_shape() {
    let inner = json!({"error": {"message": "no"}}).to_string();
    for (error, class) in [
        (
            json!({"error": {"code": 503, "message": "no", "status": "UNAVAILABLE"}}),
            Class::Overloaded,
        ),
        (json!({"error": "no"}), Class::Broken),
        (json!({"error": {"message": inner, "code": 400}}), Class::BadRequest),
        (
            json!([{"error": {"code": 429, "message": "no", "status": "RESOURCE_EXHAUSTED"}}]),
            Class::RateLimited,
        ),
    ] {
        let error = error.to_string();
        for body in
            [error.clone(), stream(&[&error]), format!("event: error\n{}", stream(&[&error]))]
        {
            let (_, ended) = decode(&body);
            let Err(DecodeError::Reported(rejection)) = ended else { panic!("{body}: {ended:?}") };
            assert_eq!((rejection.class, rejection.message.as_str()), (class, "no"), "{body}");
        }
    }
}

proptest! {
    #[test]
    fn cuts_between_pieces_change_nothing(cuts in proptest::collection::vec(0usize..300, 0..8)) {
        let body = stream(&[
            r#"{"candidates":[{"content":{"parts":[{"text":"Grüße 🦙"}]}}]}"#,
            r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f"},"thoughtSignature":"c2ln"}]}}]}"#,
            STOP,
        ]).replace('\n', "\r\n");
        let whole = decode(&body);
        prop_assert_eq!(&whole.1, &Ok(()));
        prop_assert_eq!(decode_for(&ChatRequest::default(), &cut(&body, cuts)), whole);
    }

    #[test]
    fn arbitrary_bytes_neither_panic_nor_succeed_without_an_end(
        mut body in proptest::collection::vec(any::<u8>(), 0..300),
        opening in "(data: |\\[|\\{|data: \\{\"candidates\":\\[\\{)?",
    ) {
        body.splice(0..0, opening.into_bytes());
        prop_assert!(succeeds_only_with_an_end(&Gemini, &body));
    }
}
