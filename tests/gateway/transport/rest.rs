//! Requests that are answered before their body was read: the answer arrives, and the connection is
//! kept if that is cheaper than a new one.

use std::time::{Duration, Instant};

use super::{GAP, gateway, gateway_with};
use crate::client::raw::{End, Raw, post_bytes};
use crate::client::{chat, get};
use crate::harness::{Config, Gateway, Key, Provider, Rate, Server, Signal};
use crate::hostile::forms;
use crate::patience::eventually;
use crate::upstream::{Gate, Upstream, ollama};

fn with_keys() -> Config {
    let spent = Key::new("spent").rate(Rate::of(1, 0.0001));
    let other = Key::new("other").models(["other"]);
    Config::new().keys([Key::new("a"), spent, other]).server(Server::default().max_body("16KiB"))
}

const KEY: (&str, &str) = ("x-api-key", "sk-a");

/// What is refused, and with which status.
fn refusals() -> Vec<(u16, Vec<u8>)> {
    let body = chat(&"x".repeat(3000));
    let large = "x".repeat(40_000);
    let post = |headers: &[(&str, &str)]| post_bytes("/v1/chat", headers, &body);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let with =
        |bytes: Vec<u8>, from: &str, to: &str| text(bytes).replacen(from, to, 1).into_bytes();
    let json = "content-type: application/json";
    vec![
        (401, post(&[])),
        (401, post(&[("authorization", "Bearer sk-b")])),
        (401, forms::chunked("/v1/chat", body.to_string().as_bytes())),
        (429, post(&[("x-api-key", "sk-spent")])),
        (403, post(&[("x-api-key", "sk-other")])),
        (403, with(post(&[KEY]), "/v1/chat", "/api/pull")),
        (404, with(post(&[KEY]), "/v1/chat", "/nowhere")),
        (404, forms::chunked("/nowhere", body.to_string().as_bytes())),
        (405, with(post(&[KEY]), "POST", "PUT")),
        (405, with(post(&[KEY]), "POST /v1/chat", "POST /livez")),
        (415, with(post(&[KEY]), json, "content-type: text/plain")),
        (400, post(&[KEY, ("x-request-timeout-ms", "soon")])),
        (413, post_bytes("/v1/chat", &[KEY], &chat(&large))),
        (
            413,
            with(
                forms::chunked("/v1/chat", large.as_bytes()),
                "host: g",
                "host: g\r\nx-api-key: sk-a",
            ),
        ),
    ]
}

fn check(answer: &str, status: u16, is_kept: bool) {
    let head = answer.split("\r\n\r\n").next().unwrap().to_ascii_lowercase();
    assert!(head.starts_with(&format!("http/1.1 {status} ")), "{status} is expected: {answer}");
    assert_eq!(!head.contains("\r\nconnection: close"), is_kept, "{answer}");
}

/// Uses up what the key `sk-spent` may ask.
async fn spend(gateway: &Gateway) {
    let mut raw = Raw::connect(gateway.address()).await;
    raw.send(&post_bytes("/v1/chat", &[("x-api-key", "sk-spent")], &chat("the last"))).await;
    check(&raw.read_answer().await, 200, true);
}

#[tokio::test]
async fn a_refused_client_keeps_its_connection() {
    let upstream = Upstream::ollama();
    let gateway = gateway_with(&upstream, with_keys()).await;
    spend(&gateway).await;
    let honest = post_bytes("/v1/chat", &[KEY], &chat("hi"));
    let refusals = refusals();
    let mut raw = Raw::connect(gateway.address()).await;
    for (status, bytes) in &refusals {
        raw.send(bytes).await;
        check(&raw.read_answer().await, *status, true);
        raw.send(&honest).await;
        check(&raw.read_answer().await, 200, true);
    }
    // One behind the other, before any answer is read.
    for (_, bytes) in &refusals {
        raw.send(bytes).await;
        raw.send(&honest).await;
    }
    for (status, _) in &refusals {
        check(&raw.read_answer().await, *status, true);
        check(&raw.read_answer().await, 200, true);
    }
    gateway.end(1 + 4 * refusals.len()).await;
}

#[tokio::test]
async fn it_keeps_it_also_when_the_body_comes_after_the_head_and_in_pieces() {
    let upstream = Upstream::ollama();
    let gateway = gateway_with(&upstream, with_keys()).await;
    spend(&gateway).await;
    let refusals = refusals();
    let mut raw = Raw::connect(gateway.address()).await;
    for (status, bytes) in &refusals {
        let head = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let (first, second) = bytes.split_at(head);
        raw.send_apart(first, GAP, &second[..100]).await;
        raw.send_apart(&second[100..200], GAP, &second[200..]).await;
        check(&raw.read_answer().await, *status, true);
    }
    gateway.end(1 + refusals.len()).await;
}

#[tokio::test]
async fn a_refusal_for_a_full_line_keeps_the_connection() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream =
        Upstream::spawn(move |_| ollama::opened(&["Hel"]).hold(&held).piece(ollama::done(1)));
    let provider = Provider::ollama(&upstream).slots(1).max_queue(0);
    let gateway = crate::harness::spawn_gateway(provider).await;
    let mut first = Raw::connect(gateway.address()).await;
    first.send(&post_bytes("/v1/chat", &[], &chat("first"))).await;
    upstream.calls(1).await;
    let mut raw = Raw::connect(gateway.address()).await;
    for _ in 0..50 {
        raw.send(&post_bytes("/v1/chat", &[], &chat("refused"))).await;
        check(&raw.read_answer().await, 503, true);
    }
    gate.open();
    check(&first.read_answer().await, 200, true);
    gateway.settled().await;
    raw.send(&post_bytes("/v1/chat", &[], &chat("served"))).await;
    check(&raw.read_answer().await, 200, true);
    gateway.end(52).await;
}

#[tokio::test]
async fn a_client_that_does_not_send_its_body_is_refused_soon_and_its_connection_closed() {
    let upstream = Upstream::ollama();
    let gateway = gateway_with(&upstream, with_keys()).await;
    let mut refused = 0;
    for (status, bytes) in refusals() {
        // Refusals that need the body are no case for this, nor are keys that have requests left.
        let is_late = String::from_utf8_lossy(&bytes).contains("sk-other");
        if is_late || [413, 429].contains(&status) {
            continue;
        }
        let head = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let mut raw = Raw::connect(gateway.address()).await;
        let began = Instant::now();
        raw.send(&bytes[..head + 1]).await;
        let answer = raw.read_answer().await;
        check(&answer, status, false);
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        raw.send(&bytes[head + 1..]).await;
        let (more, end) = raw.read_to_end().await;
        assert_eq!((more.as_str(), end), ("", End::Fin), "after {status}");
        refused += 1;
    }
    gateway.end(refused).await;
}

#[tokio::test]
async fn a_client_that_sends_a_large_body_first_still_reads_the_answer() {
    let upstream = Upstream::ollama();
    let gateway = gateway_with(&upstream, with_keys()).await;
    let length = 4_000_000;
    let piece = vec![b'x'; length / 20];
    for key in ["sk-a", "sk-unknown"] {
        let head = format!(
            "POST /v1/chat HTTP/1.1\r\nhost: g\r\nx-api-key: {key}\r\ncontent-length: {length}\r\n\
             content-type: application/json\r\n\r\n"
        );
        let mut raw = Raw::connect(gateway.address()).await;
        raw.send(head.as_bytes()).await;
        // Longer than the second that actix gives by itself.
        for _ in 0..20 {
            raw.send_apart(&piece, Duration::from_millis(100), b"").await;
        }
        let status = if key == "sk-a" { 413 } else { 401 };
        check(&raw.read_answer().await, status, false);
        assert_eq!(raw.read_to_end().await, (String::new(), End::Fin), "{key}");
    }
    gateway.end(2).await;
}

#[tokio::test]
async fn expect_100_continue_is_answered() {
    let upstream = Upstream::ollama();
    let gateway = gateway_with(&upstream, with_keys()).await;
    let mut raw = Raw::connect(gateway.address()).await;
    for (status, key) in [(200, "sk-a"), (401, "sk-b"), (200, "sk-a")] {
        let headers = [("Expect", "100-continue"), ("x-api-key", key)];
        let bytes = post_bytes("/v1/chat", &headers, &chat("hi"));
        let head = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        raw.send(&bytes[..head]).await;
        assert!(raw.read_answer().await.starts_with("HTTP/1.1 100 Continue\r\n"));
        raw.send(&bytes[head..]).await;
        check(&raw.read_answer().await, status, true);
    }
    gateway.end(3).await;
}

#[tokio::test]
async fn while_the_gateway_stops_the_answer_says_that_the_connection_ends() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream =
        Upstream::spawn(move |_| ollama::opened(&["Hel"]).hold(&held).piece(ollama::done(1)));
    let mut gateway = gateway(&upstream).await;
    let mut running = Raw::connect(gateway.address()).await;
    running.send(&post_bytes("/v1/chat", &[], &chat("runs"))).await;
    upstream.calls(1).await;
    gateway.signal(Signal::Term);
    eventually(
        || "the gateway is no longer ready".to_owned(),
        async || (get(&gateway.url("/readyz")).await.status != 200).then_some(()),
    )
    .await;
    let mut raw = Raw::connect(gateway.address()).await;
    raw.send(&post_bytes("/v1/chat", &[], &chat("late"))).await;
    check(&raw.read_answer().await, 503, false);
    assert_eq!(raw.read_to_end().await, (String::new(), End::Fin));
    gate.open();
    assert!(running.read_answer().await.starts_with("HTTP/1.1 200 "));
    assert!(gateway.exited().await.success());
}
