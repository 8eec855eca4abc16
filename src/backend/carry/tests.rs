//! What is spliced into requests, and what reaches the client of an answer however it was cut.

use bytes::Bytes;
use serde_json::json;

use super::*;
use crate::backend::{Ollama, OpenAi, Quirks};
use crate::chat::{ChatEvent, ChatRequest};

fn carry(endpoint: Endpoint, body: &str) -> Carry {
    let outline = Outline::read(body.as_bytes()).unwrap();
    let stream = outline.get("stream").map_or(endpoint.streams_by_default(), |it| it == b"true");
    let (headers, query) = (Vec::new(), String::new());
    let body = Bytes::copy_from_slice(body.as_bytes());
    Carry { endpoint, body, headers, query, stream, form: 0, is_plain: false, refusal: None }
}

fn body_of(carry: &Carry, backend: &dyn Backend, fields: &Value, quirks: Quirks) -> String {
    let target = Target { quirks, ..Target::new("m", Some("k")) };
    let call = encode(carry, backend, fields.as_object().unwrap(), target).unwrap();
    String::from_utf8(call.body).unwrap()
}

/// The bytes for the client, all events, and how it ended, of an answer in these pieces.
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
fn a_body_that_needs_no_change_has_none() {
    let body = "{\"x\":1e2,\n \"model\":\"m\" ,\"x\":{}}";
    let carry = carry(Endpoint::OpenAiChat, body);
    assert_eq!(body_of(&carry, &OpenAi, &json!({}), Quirks::default()), body);
}

#[test]
fn the_gateways_own_field_is_taken_out() {
    let carry = carry(Endpoint::OpenAiChat, r#"{"model_hint":"fast","model":null}"#);
    assert_eq!(body_of(&carry, &OpenAi, &json!({}), Quirks::default()), r#"{"model":"m"}"#);
}

#[test]
fn a_limit_that_is_missing_goes_where_the_api_has_it() {
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
fn the_client_that_asked_for_the_count_keeps_it() {
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
fn however_a_stream_is_cut_the_client_reads_the_same() {
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
fn what_is_no_json_is_no_answer_and_unknown_json_is() {
    let carry = carry(Endpoint::OpenAiChat, r#"{"model":"m","stream":true}"#);
    let good = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
    let end = "data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let (_, _, ended) = answered(&carry, &[good, "data: {\"choices\": \"strange\"}\n\n", end]);
    assert_eq!(ended, Ok(()));
    let (bytes, _, ended) = answered(&carry, &[good, "data: {\"choi\n\n", end]);
    assert_eq!((bytes.as_str(), ended), (good, Err(())));
}
