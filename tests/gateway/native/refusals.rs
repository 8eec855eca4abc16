//! Requests that are refused: keys, media types, sizes, syntax and schema.

use serde_json::{Value, json};

use super::{PATHS, check_error, gateway_for, gateway_with};
use crate::client::raw::{Raw, post_bytes};
use crate::client::{chat, post_json, post_json_with};
use crate::harness::{Config, Key, Provider, Server, spawn_gateway_with};
use crate::upstream::Upstream;

fn with_keys() -> Config {
    Config::new().keys([Key::new("a"), Key::new("b")])
}

#[tokio::test]
async fn a_key_is_taken_from_either_header() {
    let upstream = Upstream::ollama();
    let gateway = gateway_with(&upstream, with_keys()).await;
    let cases = [
        ("authorization", "Bearer sk-a"),
        ("authorization", "bearer sk-b"),
        ("x-api-key", "sk-a"),
        ("X-API-Key", "sk-b"),
    ];
    for path in PATHS {
        for case in cases {
            let answer = post_json_with(&gateway.url(path), &[case], &chat("hi")).await;
            assert_eq!(answer.status, 200, "{case:?}: {}", answer.text());
        }
    }
    gateway.end(8).await;
}

#[tokio::test]
async fn every_invalid_key_gets_the_same_answer() {
    let upstream = Upstream::ollama();
    let gateway = gateway_with(&upstream, with_keys()).await;
    let cases: [&[(&str, &str)]; 9] = [
        &[],
        &[("authorization", "Bearer")],
        &[("authorization", "Bearer sk-c")],
        &[("authorization", "sk-a")],
        &[("authorization", "Basic c2stYTo=")],
        &[("authorization", "Bearer sk-a,sk-b")],
        &[("x-api-key", "")],
        &[("x-api-key", "SK-A")],
        &[("x-api-key", "Bearer sk-a")],
    ];
    let mut bodies = Vec::new();
    for case in cases {
        let answer = post_json_with(&gateway.url("/v1/chat"), case, &chat("hi")).await;
        let detail = check_error(&answer, 401, "invalid_api_key");
        assert_eq!(detail, "Invalid or missing API Key");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        let mut body = answer.json();
        body["request_id"].take();
        let mut headers: Vec<_> = answer.headers.keys().map(|name| name.to_string()).collect();
        headers.sort();
        bodies.push((body, headers));
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    // A client without a key does not learn whether a body would be valid.
    let answer = post_json(&gateway.url("/v1/chat"), &json!({ "nonsense": true })).await;
    check_error(&answer, 401, "invalid_api_key");
    assert_eq!(upstream.calls_so_far().len(), 0);
    gateway.end(cases.len() + 1).await;
}

#[tokio::test]
async fn keys_come_from_the_environment_too() {
    let upstream = Upstream::ollama();
    let config = Provider::ollama(&upstream);
    let gateway = spawn_gateway_with(&config, &[("API_KEYS", "sk-one, sk-two")]).await;
    let url = gateway.url("/v1/chat");
    for (key, status) in [("sk-one", 200), ("sk-two", 200), ("sk-one, sk-two", 401)] {
        let answer = post_json_with(&url, &[("x-api-key", key)], &chat("hi")).await;
        assert_eq!(answer.status, status, "{key}: {}", answer.text());
    }
    assert_eq!(post_json(&url, &chat("hi")).await.status, 401);
    gateway.end(4).await;
}

/// A problem as FastAPI reports it.
fn problem(loc: &Value, detail: &Value) -> bool {
    let problems = detail.as_array().unwrap();
    problems.iter().all(|problem| problem["msg"].is_string() && problem["type"].is_string())
        && problems.iter().any(|problem| &problem["loc"] == loc)
}

#[tokio::test]
async fn a_body_that_does_not_fit_is_422_and_says_where() {
    let upstream = Upstream::ollama();
    let gateway = gateway_for(&upstream).await;
    let with = |name: &str, value: Value| {
        let mut chat = chat("hi");
        chat[name] = value;
        chat
    };
    let user = json!({ "role": "user", "content": "hi" });
    let cases = [
        (json!({}), json!(["body", "messages"])),
        (with("messages", json!([])), json!(["body", "messages"])),
        (with("messages", json!("hi")), json!(["body", "messages"])),
        (with("messages", json!([user, 7])), json!(["body", "messages", 1])),
        (with("messages", json!([{ "role": "user" }])), json!(["body", "messages", 0, "content"])),
        (
            with("messages", json!([user, { "role": "king", "content": "x" }])),
            json!(["body", "messages", 1, "role"]),
        ),
        (
            with("messages", json!([{ "role": "user", "content": 5 }])),
            json!(["body", "messages", 0, "content"]),
        ),
        (with("model", json!(5)), json!(["body", "model"])),
        (with("model_hint", json!(["x"])), json!(["body", "model_hint"])),
        (with("max_tokens", json!(0)), json!(["body", "max_tokens"])),
        (with("max_tokens", json!(-1)), json!(["body", "max_tokens"])),
        (with("max_tokens", json!("many")), json!(["body", "max_tokens"])),
        (with("temperature", json!(2.1)), json!(["body", "temperature"])),
        (with("temperature", json!(-0.1)), json!(["body", "temperature"])),
        (with("stream", json!("perhaps")), json!(["body", "stream"])),
    ];
    for (body, loc) in &cases {
        let answer = post_json(&gateway.url("/v1/chat"), body).await;
        let detail = check_error(&answer, 422, "invalid_request");
        assert!(problem(loc, &detail), "{body}: {detail}");
    }
    // All problems at once.
    let body = json!({ "messages": [], "max_tokens": 0, "temperature": 3 });
    let answer = post_json(&gateway.url("/v1/chat"), &body).await;
    assert_eq!(check_error(&answer, 422, "invalid_request").as_array().unwrap().len(), 3);
    assert_eq!(upstream.calls_so_far().len(), 0);
    gateway.end(cases.len() + 1).await;
}

/// Sends a body as it is; returns the status and all of the answer.
async fn post_text(gateway: &crate::harness::Gateway, kind: &str, body: &str) -> (u16, String) {
    let mut client = Raw::connect(gateway.address()).await;
    let head = format!(
        "POST /v1/chat HTTP/1.1\r\nhost: gateway\r\n{kind}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    client.send(head.as_bytes()).await;
    let answer = client.read_answer().await;
    (answer[9..12].parse().unwrap(), answer)
}

#[tokio::test]
async fn what_is_not_json_is_400() {
    let upstream = Upstream::ollama();
    let gateway = gateway_for(&upstream).await;
    let json = "content-type: application/json\r\n";
    let deep = "[".repeat(100_000);
    let bodies = ["", "{", "{\"messages\":[}", "{\"messages\":[]}x", "nonsense", deep.as_str()];
    for body in bodies {
        let (status, answer) = post_text(&gateway, json, body).await;
        assert!(status == 400 && answer.contains("\"invalid_request\""), "{body:.20}: {answer}");
    }
    assert_eq!(upstream.calls_so_far().len(), 0);
    gateway.end(bodies.len()).await;
}

#[tokio::test]
async fn another_media_type_than_json_is_415() {
    let upstream = Upstream::ollama();
    let gateway = gateway_for(&upstream).await;
    let body = chat("hi").to_string();
    for (kind, expected) in [
        ("content-type: text/plain\r\n", 415),
        ("content-type: multipart/form-data; boundary=x\r\n", 415),
        ("content-type: application/x-www-form-urlencoded\r\n", 415),
        ("content-type: application/json; charset=utf-8\r\n", 200),
        ("content-type: APPLICATION/JSON\r\n", 200),
        ("content-type: application/vnd.api+json\r\n", 200),
        ("", 200),
    ] {
        let (status, answer) = post_text(&gateway, kind, &body).await;
        assert_eq!(status, expected, "{kind}: {answer}");
        assert!(status == 200 || answer.contains("\"unsupported_media_type\""), "{answer}");
    }
    gateway.end(7).await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_413_and_the_answer_can_be_read() {
    let upstream = Upstream::ollama();
    let gateway =
        gateway_with(&upstream, Config::new().server(Server::default().max_body("64KiB"))).await;
    let large = chat(&"x".repeat(4 << 20));
    let declared = post_bytes("/v1/chat", &[], &large);
    let mut chunked = b"POST /v1/chat HTTP/1.1\r\nhost: gateway\r\ntransfer-encoding: chunked\r\n\
        content-type: application/json\r\n\r\n"
        .to_vec();
    for piece in large.to_string().as_bytes().chunks(16 << 10) {
        chunked.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        chunked.extend_from_slice(piece);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    for request in [declared, chunked] {
        let mut client = Raw::connect(gateway.address()).await;
        client.send(&request).await;
        let answer = client.read_answer().await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert!(answer.contains("\"body_too_large\"") && answer.contains("64"), "{answer}");
    }
    // A client that waits for `100 Continue` is answered before it sends.
    let mut client = Raw::connect(gateway.address()).await;
    let head = "POST /v1/chat HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\n\
        content-length: 9000000\r\nexpect: 100-continue\r\n\r\n";
    client.send(head.as_bytes()).await;
    client.read_until("\"body_too_large\"").await;
    // And an ordinary client, which does all this by itself.
    let answer = post_json(&gateway.url("/v1/chat"), &large).await;
    check_error(&answer, 413, "body_too_large");
    assert_eq!(upstream.calls_so_far().len(), 0);
    gateway.end(4).await;
}
