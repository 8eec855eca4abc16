//! Clients that ask for another protocol: none gets one, and all are served.

use crate::harness::{Config, Key};
use serde_json::Value;

use super::{GAP, echo, gateway, gateway_with, read_chunked};
use crate::client::raw::{Raw, post_bytes};
use crate::client::{ask, chat, streamed_chat};
use crate::hostile::forms;
use crate::upstream::Upstream;

/// How clients wish for another protocol.
const WISHES: &[&[(&str, &str)]] = &[
    // The JDK's client, with every request in the clear.
    &[
        ("Connection", "Upgrade, HTTP2-Settings"),
        ("HTTP2-Settings", "AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA"),
        ("Upgrade", "h2c"),
    ],
    // curl --http2.
    &[
        ("Connection", "Upgrade, HTTP2-Settings"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABkAAQCAAAAAAIAAAAA"),
    ],
    &[("Connection", "keep-alive, Upgrade"), ("Upgrade", "h2c")],
    &[("connection", "UPGRADE"), ("upgrade", "H2C, TLS/1.0")],
    &[("CONNECTION", "keep-alive"), ("CONNECTION", " upgrade "), ("UPGRADE", "irc/6.9")],
    &[("Connection", "TE,Upgrade"), ("TE", "trailers"), ("Upgrade", "TLS/1.2, HTTP/1.1")],
    // A proxy that passes on an unrequested upgrade.
    &[("Connection", "upgrade")],
    &[("Connection", "upgrade"), ("Upgrade", "")],
    // Not a WebSocket, although it says so (RFC 6455 4.1): that would be a GET.
    &[("Connection", "Upgrade"), ("Upgrade", "websocket")],
    &[("Upgrade", "websocket")],
];

/// Fails the test unless the answer is one and its connection stays open.
fn check_kept(answer: &str, asked: &str) {
    let head = answer.split("\r\n\r\n").next().unwrap().to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200"), "{answer}");
    assert!(!head.contains("\r\nconnection:") && !head.contains("\r\nupgrade:"), "{answer}");
    assert!(answer.contains(asked), "{asked:?} is not in {answer}");
}

#[tokio::test]
async fn a_client_that_asks_for_another_protocol_is_served_and_keeps_its_connection() {
    let upstream = Upstream::spawn(echo);
    let gateway = gateway(&upstream).await;
    let mut raw = Raw::connect(gateway.address()).await;
    for (number, wish) in WISHES.iter().enumerate() {
        let asked = format!("whole {number}");
        raw.send(&post_bytes("/v1/chat", wish, &chat(&asked))).await;
        check_kept(&raw.read_answer().await, &asked);
        let asked = format!("streamed {number}");
        raw.send(&post_bytes("/v1/chat", wish, &streamed_chat(&asked))).await;
        check_kept(&read_chunked(&mut raw).await, &asked);
    }
    gateway.end(2 * WISHES.len()).await;
}

#[tokio::test]
async fn it_makes_no_difference_how_the_bytes_of_such_a_request_are_cut() {
    let upstream = Upstream::spawn(echo);
    let gateway = gateway(&upstream).await;
    let wish = WISHES[0];
    let bytes = post_bytes("/v1/chat", wish, &chat("cut"));
    let mut raw = Raw::connect(gateway.address()).await;
    for cut in 1..bytes.len() {
        let (first, second) = bytes.split_at(cut);
        raw.send_apart(first, GAP, second).await;
        check_kept(&raw.read_answer().await, "echo cut");
    }
    raw.send_slowly(&bytes, GAP).await.unwrap();
    check_kept(&raw.read_answer().await, "echo cut");
    gateway.end(bytes.len()).await;
}

#[tokio::test]
async fn such_requests_may_be_chunked_and_pipelined() {
    let upstream = Upstream::spawn(echo);
    let gateway = gateway(&upstream).await;
    // A body that looks like a head must reach the provider as it was sent.
    let inner = "\r\n\r\nPOST / HTTP/1.1\r\nConnection: upgrade\r\n\r\n";
    let wish =
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n";
    let host = "host: g\r\n";
    let mut bytes = Vec::new();
    for number in 0..6 {
        let asked = chat(&format!("{number}{inner}"));
        let request = match number % 2 {
            0 => forms::chunked("/v1/chat", asked.to_string().as_bytes()),
            _ => forms::post("/v1/chat", asked.to_string().as_bytes()),
        };
        let request = String::from_utf8(request).unwrap();
        bytes.extend(request.replacen(host, &format!("{host}{wish}"), 1).into_bytes());
    }
    let mut raw = Raw::connect(gateway.address()).await;
    raw.send(&bytes).await;
    for number in 0..6 {
        let answer = raw.read_answer().await;
        check_kept(&answer, &format!("echo {number}"));
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["content"], format!("echo {number}{inner}"));
    }
    gateway.end(6).await;
}

#[tokio::test]
async fn the_admin_listener_says_that_it_closes_the_connection_of_such_a_request() {
    let upstream = Upstream::spawn(echo);
    let gateway = gateway(&upstream).await;
    let wish = [("connection", "Upgrade, HTTP2-Settings"), ("upgrade", "h2c")];
    for path in ["/metrics", "/admin/providers", "/nowhere"] {
        let answer = ask("GET", &gateway.admin_url(path), &wish).await;
        assert_eq!(answer.header("connection"), Some("close"), "{path}: {}", answer.text());
        assert_eq!(ask("GET", &gateway.admin_url(path), &[]).await.header("connection"), None);
    }
    gateway.end(0).await;
}

#[tokio::test]
async fn a_websocket_is_refused_at_once_in_the_envelope_of_its_path() {
    let upstream = Upstream::spawn(echo);
    let gateway = gateway_with(&upstream, Config::new().key(Key::new("a"))).await;
    let mut raw = Raw::connect(gateway.address()).await;
    let paths = [
        ("/v1/responses", "/error/code"),
        ("/v1/chat/completions", "/error/code"),
        ("/v1/messages", "/error/type"),
        ("/api/chat", "/error"),
        ("/v1/chat", "/code"),
        ("/v1/models", "/error/code"),
        ("/api/tags", "/error"),
        ("/", "/code"),
        ("/nowhere?model=x", "/code"),
    ];
    for (path, place) in paths {
        for wish in ["websocket", "WebSocket", "h2c, websocket"] {
            let request = format!(
                "GET {path} HTTP/1.1\r\nhost: g\r\nConnection: Upgrade\r\nUpgrade: {wish}\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            );
            raw.send(request.as_bytes()).await;
            let answer = raw.read_answer().await;
            assert!(answer.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{path}: {answer}");
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.contains("\r\nupgrade: HTTP/1.1"), "{head}");
            assert!(head.contains("\r\nconnection: upgrade"), "{head}");
            let body: Value = serde_json::from_str(body).unwrap();
            let said = body.pointer(place).and_then(Value::as_str).unwrap_or_default();
            let expected = match place {
                "/error/type" => "invalid_request_error",
                "/error" => "there are no WebSockets here, ask over HTTP/1.1",
                _ => "upgrade_required",
            };
            assert_eq!(said, expected, "{path}: {body}");
        }
    }
    raw.send(&post_bytes("/v1/chat", &[("x-api-key", "sk-a")], &chat("over HTTP"))).await;
    check_kept(&raw.read_answer().await, "echo over HTTP");
    gateway.end(3 * paths.len() + 1).await;
}
