//! Tests of what is spliced into requests, and of what reaches the client wherever an answer is
//! cut.

use bytes::Bytes;
use serde_json::json;

use super::*;
use crate::backend::{Ollama, OpenAi, Quirks};
use crate::chat::{ChatEvent, ChatRequest};

/// The request of a Gemini client that reads events; with any other request it reads a list.
const EVENTS: &str = r#"{"contents":["events"]}"#;

fn carry(endpoint: Endpoint, body: &str) -> Carry {
    let outline = Outline::read(body.as_bytes()).unwrap();
    let stream = outline.get("stream").map_or(endpoint.streams_by_default(), |it| it == b"true");
    let query = if body == EVENTS { "alt=sse" } else { "" };
    let (headers, query) = (Vec::new(), query.to_owned());
    let body = Bytes::copy_from_slice(body.as_bytes());
    let (form, may_be_plain, refusal, changes_state) = (0, false, None, false);
    Carry { endpoint, body, headers, query, stream, form, may_be_plain, refusal, changes_state }
}

fn body_of(carry: &Carry, backend: &dyn Backend, fields: &Value, quirks: Quirks) -> String {
    let target = Target { quirks, ..Target::new("m", Some("k")) };
    let call = encode(carry, backend, fields.as_object().unwrap(), target).unwrap();
    String::from_utf8(call.body).unwrap()
}

/// The bytes for the client, all events, and how the answer ended, for an answer in these pieces.
fn answered(carry: &Carry, pieces: &[&str]) -> (String, Vec<ChatEvent>, Result<(), ()>) {
    let ask = Ask::Chat(ChatRequest::default());
    let mut decoder = decoder(carry, &ask, (Target::new("m", None), false), 1);
    let (mut events, mut ended) = (Vec::new(), Ok(()));
    for piece in pieces {
        ended = ended.and_then(|()| decoder.feed(piece.as_bytes(), &mut events).map_err(drop));
    }
    ended = ended.and_then(|()| decoder.finish(&mut events).map_err(drop));
    let bytes = events.iter().filter_map(|event| match event {
        ChatEvent::Carried(carried) => Some(carried.bytes.as_slice()),
        _ => None,
    });
    (String::from_utf8(bytes.collect::<Vec<_>>().concat()).unwrap(), events, ended)
}

#[test]
fn a_body_that_needs_no_change_is_not_changed() {
    let body = "{\"x\":1e2,\n \"model\":\"m\" ,\"x\":{}}";
    let carry = carry(Endpoint::OpenAiChat, body);
    assert_eq!(body_of(&carry, &OpenAi, &json!({}), Quirks::default()), body);
}

#[test]
fn the_gateways_own_field_is_removed() {
    let carry = carry(Endpoint::OpenAiChat, r#"{"model_hint":"fast","model":null}"#);
    assert_eq!(body_of(&carry, &OpenAi, &json!({}), Quirks::default()), r#"{"model":"m"}"#);
}

#[test]
fn a_default_limit_is_set_in_the_field_of_each_api() {
    let quirks = Quirks { default_max_tokens: Some(7), ..Quirks::default() };
    let of = |endpoint, body: &str, backend: &dyn Backend| {
        body_of(&carry(endpoint, body), backend, &json!({}), quirks)
    };
    let body = of(Endpoint::OllamaChat, r#"{"model":"m","options":{"a":1.0}}"#, &Ollama);
    assert_eq!(body, r#"{"model":"m","options":{"a":1.0,"num_predict":7}}"#);
    let body = of(Endpoint::OpenAiResponses, r#"{"model":"m"}"#, &OpenAi);
    assert_eq!(body, r#"{"model":"m","max_output_tokens":7}"#);
    let own = r#"{"model":"m","max_completion_tokens":1}"#;
    assert_eq!(of(Endpoint::OpenAiChat, own, &OpenAi), own);
}

#[test]
fn the_operators_options_and_limit_are_added_together() {
    let quirks = Quirks { default_max_tokens: Some(7), ..Quirks::default() };
    let fields = json!({"options": {"num_ctx": 8192}});
    for (body, expected) in [
        (r#"{"options":{"a":1.0}}"#, r#"{"options":{"a":1.0,"num_ctx":8192,"num_predict":7}"#),
        (r#"{"options":{"num_predict":1}}"#, r#"{"options":{"num_predict":1,"num_ctx":8192}"#),
        ("{}", r#""options":{"num_ctx":8192,"num_predict":7}}"#),
    ] {
        let sent = body_of(&carry(Endpoint::OllamaChat, body), &Ollama, &fields, quirks);
        assert!(sent.contains(expected), "{body}: {sent}");
        assert_eq!(sent.matches("\"options\"").count(), 1, "{sent}");
    }
}

#[test]
fn a_renamed_limit_is_sent_once() {
    let quirks = Quirks { limit_field: LimitField::MaxCompletionTokens, ..Quirks::default() };
    let body = r#"{"model":"m","max_tokens":50,"max_completion_tokens":null}"#;
    let sent = body_of(&carry(Endpoint::OpenAiChat, body), &OpenAi, &json!({}), quirks);
    assert_eq!(sent, r#"{"model":"m","max_completion_tokens":50}"#);
}

#[test]
fn a_stream_of_several_answers_is_whole_when_each_is() {
    let first = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\n";
    let begun = "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"b\"}}]}\n\n";
    let ended = "data: {\"choices\":[{\"index\":1,\"delta\":{},\"finish_reason\":\"length\"}]}\n\n";
    let carry = carry(Endpoint::OpenAiChat, r#"{"model":"m","n":2,"stream":true}"#);
    assert_eq!(answered(&carry, &[begun, first]).2, Err(()));
    assert_eq!(answered(&carry, &[begun, first, ended]).2, Ok(()));
    assert_eq!(answered(&carry, &[begun, first, "data: [DONE]\n\n"]).2, Ok(()));
}

#[test]
fn only_a_client_that_asks_for_the_count_of_tokens_gets_it() {
    let usage = "data: {\"choices\": [ ],\"usage\":{\"prompt_tokens\":1}}\n\n";
    let pieces = [
        "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\n",
        usage,
        "data: [DONE]\n\n",
    ];
    let asked = r#"{"model":"m","stream":true,"stream_options":{"include_usage":true,"x":1}}"#;
    let (bytes, _, ended) = answered(&carry(Endpoint::OpenAiChat, asked), &pieces);
    assert_eq!((bytes, ended), (pieces.concat(), Ok(())));
    let silent =
        carry(Endpoint::OpenAiChat, r#"{"model":"m","stream":true,"stream_options":{"x":1}}"#);
    let body = body_of(&silent, &OpenAi, &json!({}), Quirks::default());
    assert!(body.contains(r#"{"x":1,"include_usage":true}"#), "{body}");
    let (bytes, events, ended) = answered(&silent, &pieces);
    assert_eq!((bytes, ended), (pieces.concat().replace(usage, ""), Ok(())));
    assert_eq!(events.last().unwrap().done().unwrap().usage.prompt, Some(1));
}

#[test]
fn the_client_reads_the_same_wherever_a_stream_is_cut() {
    let stream = ": a\r\n\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\r\n\r\ndata: [DONE]\r\n\r\n";
    let carry = carry(Endpoint::OpenAiChat, r#"{"model":"m","stream":true}"#);
    for at in 0..stream.len() {
        let (first, second) = stream.split_at(at);
        let (bytes, _, ended) = answered(&carry, &[first, second]);
        assert_eq!((bytes.trim_end(), ended), (stream.trim_end(), Ok(())), "{at}");
    }
}

#[test]
fn a_stream_that_stops_anywhere_before_its_end_is_cut() {
    let stream = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}";
    let carry = carry(Endpoint::OpenAiChat, r#"{"model":"m","stream":true}"#);
    for at in 0..stream.len() {
        let (bytes, _, ended) = answered(&carry, &[&stream[..at]]);
        assert_eq!(ended, Err(()), "{at}");
        assert!(bytes.is_empty() || bytes.ends_with("\n\n"), "{at}: {bytes}");
    }
    let (bytes, _, ended) = answered(&carry, &[stream]);
    assert_eq!((bytes, ended), (format!("{stream}\n\ndata: [DONE]\n\n"), Ok(())));
}

#[test]
fn invalid_json_fails_the_answer_and_unknown_json_does_not() {
    let carry = carry(Endpoint::OpenAiChat, r#"{"model":"m","stream":true}"#);
    let good = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
    let end = "data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let (_, _, ended) = answered(&carry, &[good, "data: {\"choices\": \"strange\"}\n\n", end]);
    assert_eq!(ended, Ok(()));
    let (bytes, _, ended) = answered(&carry, &[good, "data: {\"choi\n\n", end]);
    assert_eq!((bytes.as_str(), ended), (good, Err(())));
}

/// An API, its request, a short stream, and the text that ends its end marker.
const STREAMS: [(Endpoint, &str, &str, &str); 6] = [
    (
        Endpoint::OpenAiChat,
        r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#,
        "data: {\"choices\":[{\"delta\":{\"content\":\"Hel\"}}]}\n\ndata: {\"new\":1}\n\n\
         data: {\"choices\":[{\"delta\":{\"content\":\"lo\"},\"finish_reason\":\"stop\"}]}\n\n\
         data: [DONE]\n\n",
        "\"finish_reason\":\"stop\"}]}",
    ),
    (
        Endpoint::AnthropicMessages,
        r#"{"model":"m","stream":true}"#,
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{}}\n\n\
         data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hel\"}}\n\n\
         data: {\"type\":\"tomorrow\"}\n\n\
         data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\n\
         event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        "data: {\"type\":\"message_stop\"}",
    ),
    (
        Endpoint::OpenAiResponses,
        r#"{"model":"m","stream":true}"#,
        "data: {\"type\":\"response.created\",\"response\":{}}\n\n\
         data: {\"type\":\"response.output_text.delta\",\"delta\":\"Hel\"}\n\n\
         data: {\"type\":\"response.tomorrow\"}\n\n\
         data: {\"type\":\"response.completed\",\"response\":{}}\n\n",
        "\"response.completed\",\"response\":{}}",
    ),
    (
        Endpoint::OllamaChat,
        r#"{"model":"m"}"#,
        "{\"message\":{\"content\":\"Hel\"}}\n{\"new\":1}\n{\"message\":{\"content\":\"lo\"},\"done\":true}\n",
        "\"done\":true}",
    ),
    (
        Endpoint::GeminiStream,
        EVENTS,
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hel\"}]}}]}\n\ndata: {\"new\":1}\n\n\
         data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"lo\"}]},\"finishReason\":\"STOP\"}]}\n\n",
        "\"finishReason\":\"STOP\"}]}",
    ),
    (
        Endpoint::GeminiStream,
        "{}",
        "[{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hel\"}]}}]}\r\n,\r\n{\"new\":[1]}\r\n,\r\n\
         {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"lo\"}]},\"finishReason\":\"STOP\"}]}\r\n]",
        "\"finishReason\":\"STOP\"}]}",
    ),
];

#[test]
fn a_cut_at_any_byte_is_no_end_and_no_half_frame_reaches_the_client() {
    for (endpoint, request, body, marker) in STREAMS {
        let carry = carry(endpoint, request);
        let end = body.find(marker).unwrap() + marker.len();
        let piece_ends = match endpoint {
            Endpoint::OllamaChat => "\n",
            Endpoint::GeminiStream if request != EVENTS => "}",
            _ => "\n\n",
        };
        for at in 0..=body.len() {
            let cut = &body[..at];
            let (bytes, events, ended) = answered(&carry, &[cut]);
            let is_done = events.last().is_some_and(|last| last.done().is_some());
            assert_eq!(is_done, ended.is_ok(), "{endpoint:?} at {at}");
            // Behind the end marker a last frame such as `[DONE]` begins; whether an answer that is
            // cut within it has ended is not tested.
            if at <= end || at == body.len() {
                assert_eq!(is_done, at >= end, "{endpoint:?} at {at}");
            }
            if is_done {
                assert!(bytes.starts_with(cut), "{endpoint:?} at {at}: {bytes}");
            } else {
                let is_whole = bytes.is_empty() || bytes.ends_with(piece_ends);
                assert!(cut.starts_with(&bytes) && is_whole, "{endpoint:?} at {at}: {bytes}");
            }
        }
    }
}

#[test]
fn a_stream_of_several_candidates_is_whole_when_each_is() {
    let first = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]},\"finishReason\":\"STOP\"},{\"index\":1,\"content\":{\"parts\":[{\"text\":\"b\"}]}}]}\n\n";
    let ended = "data: {\"candidates\":[{\"index\":1,\"finishReason\":\"MAX_TOKENS\"}]}\n\n";
    let carry = carry(Endpoint::GeminiStream, EVENTS);
    assert_eq!(answered(&carry, &[first]).2, Err(()));
    let (_, events, whole) = answered(&carry, &[first, ended]);
    assert_eq!(whole, Ok(()));
    let untold = |event: &ChatEvent| matches!(event, ChatEvent::Carried(it) if it.has_more);
    assert!(untold(&events[0]) && events.iter().filter(|event| untold(event)).count() == 1);
}

#[test]
fn a_list_with_something_else_between_its_items_is_broken() {
    let item =
        "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]},\"finishReason\":\"STOP\"}]}";
    let carry = carry(Endpoint::GeminiStream, "{}");
    for (list, is_whole) in [
        (format!("[{item}\r\n]"), true),
        (format!(" [\n{item} , {item}\n] \n"), true),
        (format!("[{item}"), true),
        (format!("[{item} x {item}]"), false),
        (format!("[{item}] x"), false),
        ("[1, 2]".to_owned(), false),
        ("[]".to_owned(), false),
    ] {
        let (bytes, _, ended) = answered(&carry, &[&list]);
        assert_eq!(ended.is_ok(), is_whole, "{list}");
        if is_whole {
            assert!(serde_json::from_str::<Vec<Value>>(&bytes).is_ok(), "{bytes}");
        }
    }
}

#[test]
fn a_byte_that_is_not_utf8_is_never_part_of_a_whole_answer() {
    for (endpoint, request, body, _) in STREAMS {
        let (carry, ask) = (carry(endpoint, request), Ask::Chat(ChatRequest::default()));
        for at in 0..=body.len() {
            let (before, after) = body.as_bytes().split_at(at);
            let mut decoder = decoder(&carry, &ask, (Target::new("m", None), false), 1);
            let mut events = Vec::new();
            let fed = decoder.feed(&[before, b"\xff", after].concat(), &mut events);
            let ended = fed.and_then(|()| decoder.finish(&mut events));
            let is_done = events.last().is_some_and(|last| last.done().is_some());
            // Between two lines the byte is an unknown field name.
            assert!(is_done || ended.is_err(), "{endpoint:?} at {at}");
            let text = |event: &ChatEvent| matches!(event, ChatEvent::Text(text) if text.contains('\u{fffd}'));
            assert!(!events.iter().any(text), "{endpoint:?} at {at}");
        }
    }
}
