//! Requests that no honest client sends: broken HTTP, smuggling, and JSON made to hurt.
//!
//! It owns a table of bytes for each kind. The gateway answers each of them with 4xx or closes the
//! connection, none reaches a provider, and the next caller is served as before.

mod bombs;
pub mod forms;

use serde_json::Value;

use crate::client::raw::{End, Raw, post_bytes};
use crate::client::{Answer, chat, post_json};
use crate::harness::{Config, Gateway, Provider, Server, spawn_gateway};
use crate::upstream::{Call, Script, Upstream, ollama};

/// Answers with what it was asked.
fn echo(call: &Call) -> Script {
    let body = call.json();
    let asked = body["messages"][0]["content"].as_str().unwrap_or_default().to_owned();
    ollama::reply_with(call, &[&asked])
}

/// Sends `bytes` on a connection of their own and returns everything received until the end or the
/// first whole head. A gateway that closes before it has read everything is within its rights.
async fn verdict(gateway: &Gateway, bytes: &[u8]) -> String {
    let mut raw = Raw::connect(gateway.address()).await;
    raw.offer(bytes).await;
    let mut answer = String::new();
    while !answer.contains("\r\n\r\n") {
        match raw.some().await {
            Ok(()) => answer = raw.text(),
            Err(End::Fin | End::Reset) => break,
        }
    }
    answer
}

/// Fails the test unless it is a refusal.
fn check_refusal(what: &str, answer: &str) {
    let is_closed = answer.is_empty();
    let status = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    let is_refused = status.is_some_and(|status| status.starts_with('4'));
    assert!(is_closed || is_refused, "{what}: {answer}");
}

async fn check_serves(gateway: &Gateway, what: &str) {
    let answer = post_json(&gateway.url("/v1/chat"), &chat("honest")).await;
    assert_eq!((answer.status, content(&answer)), (200, "honest".into()), "after {what}");
}

fn content(answer: &Answer) -> Value {
    answer.json()["content"].clone()
}

/// How many requests the gateway has counted; what it refuses earlier is not one.
async fn counted(gateway: &Gateway) -> usize {
    gateway.metrics().await.sum("llm_gateway_requests_total", &[]) as usize
}

#[tokio::test]
async fn malformed_requests_are_refused_and_the_next_caller_is_served() {
    let upstream = Upstream::spawn(echo);
    let gateway = spawn_gateway(Provider::ollama(&upstream)).await;
    let forms = forms::all();
    assert!(forms.len() >= 30);
    let honest = verdict(&gateway, &forms::honest()).await;
    assert!(honest.starts_with("HTTP/1.1 200"), "or nothing below would show anything: {honest}");
    for (served, (what, bytes)) in forms.iter().enumerate() {
        check_refusal(what, &verdict(&gateway, bytes).await);
        check_serves(&gateway, what).await;
        assert_eq!(upstream.calls_so_far().len(), served + 2, "{what} reached the provider");
    }
    let sent = counted(&gateway).await;
    gateway.end(sent).await;
}

#[tokio::test]
async fn json_made_to_hurt_is_refused_in_every_dialect() {
    let upstream = Upstream::spawn(echo);
    let gateway = spawn_gateway(Provider::ollama(&upstream)).await;
    for path in ["/v1/chat", "/v1/chat/completions", "/api/chat", "/v1/messages"] {
        for (what, body) in bombs::all() {
            let what = format!("{what} at {path}");
            let answer = verdict(&gateway, &forms::post(path, &body)).await;
            assert!(answer.starts_with("HTTP/1.1 4"), "{what}: {answer}");
        }
        let honest = verdict(&gateway, &forms::post(path, &bombs::harmless())).await;
        assert!(honest.starts_with("HTTP/1.1 200"), "{path} minds something else: {honest}");
    }
    assert_eq!(upstream.calls_so_far().len(), 4);
    let sent = counted(&gateway).await;
    gateway.end(sent).await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_and_never_mixed() {
    let upstream = Upstream::spawn(echo);
    let gateway = spawn_gateway(Provider::ollama(&upstream)).await;
    let mut raw = Raw::connect(gateway.address()).await;
    let ids: Vec<String> = (0..24).map(|number| format!("pipelined-{number}")).collect();
    let mut bytes = Vec::new();
    for id in &ids {
        bytes.extend(post_bytes("/v1/chat", &[("x-request-id", id)], &chat(id)));
    }
    raw.send(&bytes).await;
    for id in &ids {
        let answer = raw.read_answer().await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains(&format!("x-request-id: {id}\r\n")), "{id}: {answer}");
        assert!(answer.contains(&format!("\"content\":\"{id}\"")), "{id}: {answer}");
    }
    gateway.end(ids.len()).await;
}

#[tokio::test]
async fn two_connections_at_once_never_mix_their_answers() {
    let upstream = Upstream::spawn(|call| echo(call).paced(std::time::Duration::from_millis(1)));
    let gateway = spawn_gateway(Provider::ollama(&upstream)).await;
    let talk = async |name: &str| {
        let mut raw = Raw::connect(gateway.address()).await;
        for turn in 0..20 {
            let asked = format!("{name}-{turn}");
            raw.send(&post_bytes("/v1/chat", &[], &chat(&asked))).await;
            let answer = raw.read_answer().await;
            assert!(answer.contains(&format!("\"content\":\"{asked}\"")), "{asked}: {answer}");
        }
    };
    tokio::join!(talk("a"), talk("b"), talk("c"));
    gateway.end(60).await;
}

#[tokio::test]
async fn a_request_hidden_in_the_body_of_another_is_never_run() {
    let upstream = Upstream::spawn(echo);
    let small = Server::default().max_body("1KiB").max_buffered("1KiB");
    let config = Config::new().server(small).provider(Provider::ollama(&upstream));
    let gateway = spawn_gateway(config).await;
    let hidden = String::from_utf8(post_bytes("/v1/chat", &[], &chat("hidden"))).unwrap();
    for (what, carrier) in [
        ("a body that is none", forms::post("/v1/chat", hidden.as_bytes())),
        ("a path that is none", forms::post("/nowhere", hidden.as_bytes())),
        ("a body that is too large", forms::post("/v1/chat", hidden.repeat(20).as_bytes())),
        ("a chunk that is too large", forms::chunked("/v1/chat", hidden.repeat(20).as_bytes())),
    ] {
        let mut raw = Raw::connect(gateway.address()).await;
        raw.offer(&carrier).await;
        raw.offer(&post_bytes("/v1/chat", &[], &chat("behind"))).await;
        let first = raw.read_answer().await;
        assert!(first.starts_with("HTTP/1.1 4"), "{what}: {first}");
        raw.fin();
    }
    let calls = upstream.calls_so_far();
    let hidden = calls.iter().find(|call| call.json()["messages"][0]["content"] == "hidden");
    assert!(hidden.is_none(), "a smuggled request reached the provider: {hidden:?}");
    gateway.settled().await;
    check_serves(&gateway, "smuggling").await;
    let sent = counted(&gateway).await;
    gateway.end(sent).await;
}
