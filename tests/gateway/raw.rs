//! Requests at paths that providers list: passed on as they came, and their answers as they come.

mod bounds;
mod endings;
mod failures;
mod paths;
mod scope;

use llm_gateway::policy::Trust;
use serde_json::json;

use crate::client::{Answer, get, open, post_bytes, send, send_stream};
use crate::harness::{Gateway, Provider, spawn_gateway};
use crate::upstream::{Call, Gate, Script, Upstream};

/// What a speech server, an image server and a reranker are asked.
const LISTED: [&str; 4] = ["/v1/audio/*", "/v1/images/*", "/v1/rerank", "/tokenize"];

/// The content type of [`form`].
const FORM: (&str, &str) = ("content-type", "multipart/form-data; boundary=----WebKit7MA4");
const JSON: (&str, &str) = ("content-type", "application/json");

/// Bytes that are no text, and lines that look like a form's.
fn sound() -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    bytes.extend_from_slice(b"\r\n--\r\n------WebKit\r\n\r\n");
    bytes
}

/// A form with these fields and a file after them.
fn form(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut form = Vec::new();
    for (name, value) in fields {
        form.extend_from_slice(
            format!(
                "------WebKit7MA4\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            )
            .as_bytes(),
        );
    }
    form.extend_from_slice(
        b"------WebKit7MA4\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a \\\"b\\\".wav\"\r\n\
          Content-Type: audio/wav\r\n\r\n",
    );
    form.extend_from_slice(&sound());
    form.extend_from_slice(b"\r\n------WebKit7MA4--\r\n");
    form
}

/// A provider of OpenAI's kind that lists some paths.
fn lister(name: &str, upstream: &Upstream) -> Provider {
    Provider::openai(name, upstream).trust(Trust::Local).passthrough(LISTED)
}

async fn gateway(upstream: &Upstream) -> Gateway {
    spawn_gateway(lister("own", upstream)).await
}

async fn transcribe(gateway: &Gateway, model: &str) -> Answer {
    let body = form(&[("model", model)]);
    send("POST", &gateway.url("/v1/audio/transcriptions"), &[FORM], body).await
}

fn said(_: &Call) -> Script {
    Script::json(200, &json!({"text": "hello"}))
}

#[tokio::test]
async fn a_form_with_a_file_arrives_as_it_was_sent() {
    let upstream = Upstream::spawn(|_| {
        Script::status(200)
            .header("content-type", "application/json; x=1")
            .header("content-disposition", "attachment; filename=\"a.json\"")
            .header("set-cookie", "a=b")
            .header("openai-organization", "org-1")
            .header("x-request-id", "theirs")
            .piece(
                "{ \"text\":\"caf\\u00e9\",\"usage\":{\"input_tokens\":7,\"output_tokens\":2}}\n",
            )
    });
    let gateway = spawn_gateway(lister("own", &upstream).api_key("sk-own")).await;
    let body = form(&[("model", "whisper-1"), ("language", "de")]);
    let headers = [FORM, ("authorization", "Bearer sk-theirs"), ("accept", "application/json")];
    let url = gateway.url("/v1/audio/transcriptions?response_format=json&api_key=sk-theirs");
    let answer = send("POST", &url, &headers, body.clone()).await;
    let text = "{ \"text\":\"caf\\u00e9\",\"usage\":{\"input_tokens\":7,\"output_tokens\":2}}\n";
    assert_eq!((answer.status, answer.text().as_str()), (200, text));
    for (name, value) in [
        ("content-type", Some("application/json; x=1")),
        ("content-disposition", Some("attachment; filename=\"a.json\"")),
        ("x-content-type-options", Some("nosniff")),
        ("x-gateway-provider", Some("own")),
        ("x-gateway-model", Some("whisper-1")),
        ("x-gateway-attempts", Some("1")),
        ("set-cookie", None),
        ("openai-organization", None),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
    assert_ne!(answer.header("x-request-id"), Some("theirs"));
    let call = upstream.calls_so_far().remove(0);
    assert_eq!(call.body, body);
    assert_eq!(call.path, "/v1/audio/transcriptions?response_format=json");
    assert_eq!(call.header("content-type"), Some(FORM.1));
    assert_eq!(call.header("accept"), Some("application/json"));
    assert_eq!(call.header("authorization"), Some("Bearer sk-own"));
    assert!(!call.head.contains("theirs"), "{}", call.head);
    gateway.settled().await;
    gateway.adds_up(1).await;
    let line = gateway.access_lines().remove(0);
    let field = |name: &str| line.fields[name].clone();
    assert_eq!((field("dialect"), field("provider")), ("raw".to_owned(), "own".to_owned()));
    assert_eq!((field("model"), field("status")), ("whisper-1".to_owned(), "200".to_owned()));
    assert_eq!((field("prompt_tokens"), field("completion_tokens")), ("7".into(), "2".into()));
    let metrics = gateway.metrics().await;
    let labels = [("dialect", "raw"), ("provider", "own"), ("outcome", "ok")];
    assert_eq!(metrics.sum("llm_gateway_requests_total", &labels), 1.0);
    assert_eq!(metrics.sum("llm_gateway_admissions_total", &[("decision", "run")]), 1.0);
    gateway.end(1).await;
}

#[tokio::test]
async fn speech_arrives_piece_by_piece() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::spawn(move |_| {
        Script::status(200)
            .header("content-type", "audio/mpeg")
            .chunked()
            .piece(&b"\xff\xfb\0\r\n"[..])
            .hold(&held)
            .piece(sound())
    });
    let gateway = gateway(&upstream).await;
    let body = r#"{ "model" : "tts-1", "input":"hi", "speed":1.0 }"#;
    let mut speech = send_stream("POST", &gateway.url("/v1/audio/speech"), &[JSON], body).await;
    assert_eq!((speech.status, speech.header("content-type")), (200, Some("audio/mpeg")));
    assert_eq!(speech.piece().await.unwrap().unwrap(), &b"\xff\xfb\0\r\n"[..]);
    gate.open();
    let pieces = speech.rest().await;
    assert!(pieces.ended_properly);
    let bytes: Vec<u8> = pieces.pieces.iter().flat_map(|(_, piece)| piece.to_vec()).collect();
    assert_eq!(bytes, sound());
    assert_eq!(upstream.calls_so_far()[0].body, body);
    gateway.end(1).await;
}

#[tokio::test]
async fn pictures_documents_and_tokens_take_the_same_way() {
    let upstream = Upstream::spawn(|call| match call.path.as_str() {
        "/v1/images/generations" => Script::json(200, &json!({"data": [{"b64_json": "AAAA"}]})),
        "/v1/images/edits" => Script::json(201, &json!({"data": []})),
        "/v1/rerank" => Script::json(200, &json!({"results": [{"index": 0}]})),
        "/tokenize" => Script::json(200, &json!({"tokens": [1, 2]})),
        path => panic!("nobody asks at {path}"),
    });
    let gateway = gateway(&upstream).await;
    let picture = r#"{"model":"image-1","prompt":"a cat","n":1}"#;
    let drawn = post_bytes(&gateway.url("/v1/images/generations"), &[], picture).await;
    assert_eq!((drawn.status, &drawn.json()["data"][0]["b64_json"]), (200, &json!("AAAA")));
    let edit = form(&[("prompt", "a dog"), ("model", "image-1")]);
    let edited = send("POST", &gateway.url("/v1/images/edits"), &[FORM], edit.clone()).await;
    assert_eq!(edited.status, 201);
    let ranked = post_bytes(&gateway.url("/v1/rerank"), &[], r#"{"model":"r","query":"a"}"#).await;
    assert_eq!((ranked.status, &ranked.json()["results"][0]["index"]), (200, &json!(0)));
    // It is beside `/v1`, and names no model: the only provider that lists it is asked.
    let counted = post_bytes(&gateway.url("/tokenize"), &[], r#"{"content":"a b"}"#).await;
    assert_eq!((counted.status, &counted.json()["tokens"]), (200, &json!([1, 2])));
    assert_eq!(counted.header("x-gateway-model"), None);
    let calls = upstream.calls_so_far();
    assert_eq!(calls[0].body, picture);
    assert_eq!(calls[1].body, edit);
    assert_eq!(calls[3].body, r#"{"content":"a b"}"#);
    gateway.end(4).await;
}

#[tokio::test]
async fn a_list_is_read_by_get() {
    let upstream = Upstream::spawn_whole(|call| match call.path.as_str() {
        "/v1/audio/voices?language=de" => Script::json(200, &json!({"voices": ["a"]})),
        "/v1/audio/none" => Script::status(204),
        _ => Script::status(404),
    });
    let gateway = gateway(&upstream).await;
    let voices = get(&gateway.url("/v1/audio/voices?language=de")).await;
    assert_eq!((voices.status, voices.text().as_str()), (200, r#"{"voices":["a"]}"#));
    let calls = upstream.calls_so_far();
    let call = calls.iter().find(|call| call.path.contains("voices")).unwrap();
    assert_eq!((call.method.as_str(), call.body.len()), ("GET", 0));
    assert_eq!(call.header("content-type"), None);
    let nothing = get(&gateway.url("/v1/audio/none")).await;
    assert_eq!((nothing.status, nothing.body.len()), (204, 0));
    gateway.end(2).await;
}

#[tokio::test]
async fn an_answer_goes_as_far_as_its_client_reads() {
    // Endless: were it collected, the gateway would hold all of it.
    let upstream = Upstream::spawn(|_| {
        let pieces = std::iter::repeat_with(|| bytes::Bytes::from(vec![7; 64 * 1024]));
        Script::status(200).chunked().flood(pieces)
    });
    let gateway = gateway(&upstream).await;
    let headers = [JSON];
    let url = gateway.url("/v1/audio/speech");
    let mut speech = send_stream("POST", &url, &headers, r#"{"model":"m"}"#).await;
    let mut read = 0;
    while read < 64 * 1024 * 1024 {
        read += speech.piece().await.unwrap().unwrap().len();
    }
    assert!(gateway.resident_bytes() < 256 * 1024 * 1024);
    drop(speech);
    assert!(!upstream.left(0).await.answered);
    gateway.end(1).await;
}

#[tokio::test]
async fn nothing_is_passed_on_where_nothing_is_listed() {
    let upstream = Upstream::spawn(said);
    let gateway = spawn_gateway(Provider::openai("own", &upstream)).await;
    for path in ["/v1/audio/speech", "/tokenize", "/v1/rerank"] {
        let answer = post_bytes(&gateway.url(path), &[], r#"{"model":"m"}"#).await;
        assert_eq!(answer.status, 404, "{}", answer.text());
        assert_eq!(open(&gateway.url(path), &[]).await.status, 404);
    }
    assert!(upstream.calls_so_far().is_empty());
    gateway.end(6).await;
}
