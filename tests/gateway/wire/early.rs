//! Answers that arrive while the request is still being sent: they count by their status.

use serde_json::Value;

use super::peer::{Act, Asked, Peer};
use super::{gateway, is_answered, own, write};
use crate::client::{Answer, chat, post_json_with};
use crate::harness::{Gateway, Provider, spawn_gateway};

/// More than the sockets between take.
const LARGE: usize = 12 << 20;

/// Asks a question that takes a while to send.
async fn ask_at_length(gateway: &Gateway, marker: &str) -> Answer {
    let body = chat(&format!("{marker}{}", "x".repeat(LARGE)));
    post_json_with(&gateway.url("/v1/chat"), &[("x-request-id", marker)], &body).await
}

/// A refusal with these fields.
fn refusal(status: &str, fields: &str) -> Vec<u8> {
    let body = r#"{"error":"so it says"}"#;
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{fields}content-length: {length}\r\n\r\n{body}").into()
}

/// Refuses at once, without reading the body, then does this.
fn refuses(asked: &Asked, status: &'static str, fields: &str, then: Vec<Act>) -> Vec<Act> {
    match asked.marker.as_str() {
        "the-next" => own(asked),
        _ => std::iter::once(write(refusal(status, fields))).chain(then).collect(),
    }
}

fn code(answer: &Answer) -> Value {
    answer.json()["code"].clone()
}

#[tokio::test]
async fn an_early_refusal_counts_once_however_the_connection_ends() {
    type Then = fn() -> Vec<Act>;
    let ends: [(&str, Then); 5] = [
        ("stays open, unread", Vec::new),
        ("fin", || vec![Act::Fin]),
        ("close", || vec![Act::Close]),
        ("reset", || vec![Act::Pause(std::time::Duration::from_millis(50)), Act::Reset]),
        ("reset at once", || vec![Act::Reset]),
    ];
    for (end, then) in ends {
        let peer = Peer::spawn(move |asked| {
            let mut then = then();
            if asked.marker == "413" && then.is_empty() {
                // Until the gateway has gone.
                then.push(Act::Pause(std::time::Duration::from_secs(60)));
            }
            refuses(asked, "413 Content Too Large", "connection: close\r\n", then)
        });
        let gateway = gateway(&peer.url()).await;
        let refused = ask_at_length(&gateway, "413").await;
        assert!(refused.text().contains("so it says"), "{end}: {}", refused.text());
        assert!((400..500).contains(&refused.status), "{end}: {refused:?}");
        is_answered(&gateway, "the-next").await;
        assert_eq!(peer.asked().len(), 2, "{end}: it was sent again");
        gateway.end(2).await;
    }
}

#[tokio::test]
async fn an_early_429_is_a_429() {
    let peer = Peer::spawn(|asked| {
        let fields = "retry-after: 30\r\nconnection: close\r\n";
        refuses(asked, "429 Too Many Requests", fields, vec![Act::Close])
    });
    let gateway = gateway(&peer.url()).await;
    let refused = ask_at_length(&gateway, "429").await;
    assert_eq!((refused.status, code(&refused)), (429, "rate_limited".into()), "{refused:?}");
    assert_eq!(peer.asked().len(), 1);
    gateway.end(1).await;
}

#[tokio::test]
async fn a_refusal_on_a_kept_connection_is_read_too() {
    let peer = Peer::spawn(|asked| {
        refuses(asked, "413 Content Too Large", "connection: close\r\n", vec![Act::Close])
    });
    let gateway = gateway(&peer.url()).await;
    is_answered(&gateway, "the-next").await;
    let refused = ask_at_length(&gateway, "413").await;
    assert!(refused.text().contains("so it says"), "{}", refused.text());
    let asked = peer.asked();
    assert_eq!((asked.len(), asked[1].nth), (2, 1), "{asked:?}");
    gateway.end(2).await;
}

#[tokio::test]
async fn a_provider_that_closes_during_a_large_request_fails_that_request_alone() {
    let peer = Peer::spawn(|asked| match asked.marker.as_str() {
        marker if marker.starts_with("large") => vec![Act::Close],
        _ => own(asked),
    });
    let config = Provider::new("ollama", "ollama", peer.url()).no_retries();
    let gateway = spawn_gateway(&config).await;
    // As many different requests as open a breaker.
    for number in 0..5 {
        let refused = ask_at_length(&gateway, &format!("large-{number}")).await;
        assert_eq!((refused.status, code(&refused)), (502, "bad_upstream".into()), "{refused:?}");
        assert!(refused.text().contains("still being sent"), "{}", refused.text());
    }
    is_answered(&gateway, "small").await;
    gateway.end(6).await;
}
