//! What providers do to a connection, byte by byte: no client ever gets the answer to another
//! request.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`peer`] | a provider whose every byte the test controls |
//! | [`proxies`] | calls through a proxy |
//! | [`codings`] | compressed answers |
//! | [`desync`] | many clients, and providers that misbehave at random |
//! | [`early`] | answers that arrive while the request is still being sent |

mod codings;
mod desync;
mod early;
#[allow(dead_code, reason = "a vocabulary for tests; no one test needs all its words")]
mod peer;
mod proxies;

use std::time::Duration;

use serde_json::json;

use crate::client::{Answer, chat, post_json_with};
use crate::harness::{Breaker, Config, Gateway, Provider, Server, spawn_gateway};
use peer::{Act, Asked, Peer};

/// One provider without retries, and one worker: each has its own connections.
async fn gateway(url: &str) -> Gateway {
    let provider = Provider::new("ollama", "ollama", url)
        .no_retries()
        .breaker(Breaker::default().failures(1000));
    spawn_gateway(Config::new().server(Server::default().workers(1)).provider(provider)).await
}

/// Sends a request and returns the outcome.
async fn ask(gateway: &Gateway, marker: &str) -> Answer {
    post_json_with(&gateway.url("/v1/chat"), &[("x-request-id", marker)], &chat(marker)).await
}

/// Sends a request, and fails the test unless its own answer arrives.
async fn is_answered(gateway: &Gateway, marker: &str) {
    let answer = ask(gateway, marker).await;
    assert_eq!(answer.status, 200, "{marker}: {}", answer.text());
    assert_eq!(answer.json()["content"], marker, "{}", answer.text());
}

/// The body of an answer with `text`.
fn body(text: &str) -> String {
    json!({
        "model": "llama3.1", "message": { "role": "assistant", "content": text },
        "done": true, "done_reason": "stop", "prompt_eval_count": 1, "eval_count": 1,
    })
    .to_string()
}

/// A whole answer with `text` and these fields.
fn answer(text: &str, fields: &str) -> String {
    let body = body(text);
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n{fields}\r\n{body}", body.len())
}

fn write(bytes: impl Into<Vec<u8>>) -> Act {
    Act::Write(bytes.into())
}

/// Reads the request and writes this.
fn answered(bytes: impl Into<Vec<u8>>) -> Vec<Act> {
    vec![Act::ReadBody, write(bytes)]
}

/// Its own answer.
fn own(asked: &Asked) -> Vec<Act> {
    answered(answer(&asked.marker, ""))
}

#[tokio::test]
async fn interim_heads_are_skipped_and_no_client_gets_the_answer_of_another() {
    const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n";
    let peer = Peer::spawn(|asked| {
        let own = answer(&asked.marker, "");
        let together = |interim: &str| answered(format!("{interim}{own}"));
        match asked.marker.as_str() {
            "hints" => together(HINTS),
            "continue" => together("HTTP/1.1 100 Continue\r\n\r\n"),
            "processing" => together("HTTP/1.1 102 Processing\r\nx: y\r\n\r\n"),
            "any" => together("HTTP/1.1 199 Whatever\r\n\r\n"),
            "many" => together(&HINTS.repeat(500)),
            "paused" => {
                let pause = Act::Pause(Duration::from_millis(400));
                vec![Act::ReadBody, write(HINTS), pause, write(own)]
            }
            "split" => {
                let bytes = format!("{HINTS}{HINTS}{own}").into_bytes();
                let bytes = bytes.chunks(1).map(write);
                std::iter::once(Act::ReadBody).chain(bytes).collect()
            }
            _ => answered(own),
        }
    });
    let gateway = gateway(&peer.url()).await;
    let markers = ["hints", "continue", "processing", "any", "many", "paused", "split"];
    for marker in markers {
        is_answered(&gateway, marker).await;
        is_answered(&gateway, &format!("next-{marker}")).await;
    }
    // Such a connection is as good as any other.
    let connections = peer.asked().iter().map(|asked| asked.connection).max();
    assert_eq!(connections, Some(peer.asked()[0].connection));
    gateway.end(2 * markers.len()).await;
}

#[tokio::test]
async fn an_unrequested_protocol_switch_is_an_error_and_closes_the_connection() {
    let peer = Peer::spawn(|asked| match asked.marker.as_str() {
        "alice" => answered(format!(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n{}",
            answer("alice", "")
        )),
        _ => own(asked),
    });
    let gateway = gateway(&peer.url()).await;
    let refused = ask(&gateway, "alice").await;
    assert_eq!((refused.status, refused.text().contains("protocol")), (502, true), "{refused:?}");
    peer.left(peer.asked()[0].connection).await;
    is_answered(&gateway, "bob").await;
    gateway.end(2).await;
}

#[tokio::test]
async fn bytes_after_the_end_are_no_clients_answer() {
    let more = |asked: &Asked| answer(&format!("another answer to {}", asked.marker), "");
    type Join = fn(&str, &str) -> String;
    let surplus: [(&str, Join); 6] = [
        ("two-answers", |own, more| format!("{own}{more}")),
        ("a-body-too-long", |own, _| format!("{own}and more")),
        ("a-line-end", |own, _| format!("{own}\r\n")),
        ("behind-the-last-chunk", |_, more| {
            let body = body("behind-the-last-chunk");
            let chunks = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
            format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}{more}")
        }),
        ("another-head", |own, _| format!("{own}HTTP/1.1 100 Continue\r\n\r\n")),
        ("half-of-another-head", |own, _| format!("{own}HTTP/1.1 200 OK\r\ncontent-le")),
    ];
    for (marker, join) in surplus {
        let peer = Peer::spawn(move |asked| match asked.marker.as_str() {
            marker if marker.starts_with("next") => own(asked),
            _ => answered(join(&answer(&asked.marker, ""), &more(asked))),
        });
        let gateway = gateway(&peer.url()).await;
        is_answered(&gateway, marker).await;
        is_answered(&gateway, &format!("next-{marker}")).await;
        peer.left(peer.asked()[0].connection).await;
        assert_eq!(peer.asked()[1].nth, 0, "{marker}: the connection was used again");
        gateway.logged("that nobody had asked for").await;
        gateway.end(2).await;
    }
}

#[tokio::test]
async fn bytes_on_an_idle_connection_close_it() {
    for unasked in
        [answer("alice again", ""), "\r\n".to_owned(), "HTTP/1.1 408 x\r\n\r\n".to_owned()]
    {
        let peer = Peer::spawn(move |asked| {
            let mut acts = own(asked);
            if asked.marker == "alice" {
                acts.push(Act::Pause(Duration::from_millis(200)));
                acts.push(Act::Unasked(unasked.clone().into_bytes()));
            }
            acts
        });
        let gateway = gateway(&peer.url()).await;
        is_answered(&gateway, "alice").await;
        // It is closed before anybody else asks.
        peer.left(peer.asked()[0].connection).await;
        is_answered(&gateway, "bob").await;
        assert_eq!(peer.asked()[1].nth, 0);
        gateway.end(2).await;
    }
}

#[tokio::test]
async fn a_connection_that_is_closed_while_idle_is_closed_here_too() {
    let peer = Peer::spawn(|asked| {
        let mut acts = own(asked);
        acts.push(Act::Fin);
        acts
    });
    let gateway = gateway(&peer.url()).await;
    is_answered(&gateway, "alice").await;
    peer.left(peer.asked()[0].connection).await;
    is_answered(&gateway, "bob").await;
    gateway.end(2).await;
}

#[tokio::test]
async fn only_an_exchange_that_ended_exactly_leaves_a_connection_to_the_next() {
    let chunked = |own: &str, fields: &str, trailers: &str| {
        let chunks = format!("{:x};a=b\r\n{own}\r\n0\r\n{trailers}\r\n", own.len());
        format!("HTTP/1.1 200 OK\r\n{fields}transfer-encoding: chunked\r\n\r\n{chunks}")
    };
    let sized = |own: &str, version: &str, fields: &str| {
        format!("HTTP/{version} 200 OK\r\n{fields}content-length: {}\r\n\r\n{own}", own.len())
    };
    let cases = move |marker: &str| {
        let own = &body(marker);
        match marker {
            "sized" => (sized(own, "1.1", ""), true),
            "chunked" => (chunked(own, "", ""), true),
            "trailers" => (chunked(own, "", "x-sum: 1\r\nx-more: 2\r\n"), true),
            "kept-1.0" => (sized(own, "1.0", "connection: keep-alive\r\n"), true),
            "twice-the-same-length" => {
                (sized(own, "1.1", &format!("content-length: {}\r\n", own.len())), true)
            }
            "1.0" => (sized(own, "1.0", ""), false),
            "close" => (sized(own, "1.1", "connection: close\r\n"), false),
            "close-in-a-list" => (sized(own, "1.1", "Connection: keep-alive, Close\r\n"), false),
            "chunked-and-close" => (chunked(own, "connection: close\r\n", ""), false),
            other => panic!("{other}"),
        }
    };
    let peer = Peer::spawn(move |asked| match asked.marker.as_str() {
        marker if marker.starts_with("next") => own(asked),
        marker => answered(cases(marker).0),
    });
    let gateway = gateway(&peer.url()).await;
    let markers = [
        "sized",
        "chunked",
        "trailers",
        "kept-1.0",
        "twice-the-same-length",
        "1.0",
        "close",
        "close-in-a-list",
        "chunked-and-close",
    ];
    for marker in markers {
        is_answered(&gateway, marker).await;
        is_answered(&gateway, &format!("next-{marker}")).await;
        let asked = peer.asked();
        let [.., first, next] = asked.as_slice() else { panic!("{asked:?}") };
        let is_kept = (next.connection, next.nth) == (first.connection, first.nth + 1);
        assert_eq!(is_kept, cases(marker).1, "{marker}");
        if !is_kept {
            peer.left(first.connection).await;
        }
    }
    gateway.end(2 * markers.len()).await;
}

#[tokio::test]
async fn an_answer_without_a_body_is_the_last_of_its_connection() {
    let planted = answer("alice", "");
    for status in ["204 No Content", "304 Not Modified", "205 Reset Content"] {
        for (head, is_late) in [("", false), ("", true), ("content-length: 9\r\n", false)] {
            let bytes = format!("HTTP/1.1 {status}\r\n{head}\r\n");
            let planted = planted.clone();
            let peer = Peer::spawn(move |asked| match asked.marker.as_str() {
                "alice" if is_late => {
                    let late = Act::Pause(Duration::from_millis(50));
                    vec![Act::ReadBody, write(&*bytes), late, Act::Unasked(planted.clone().into())]
                }
                "alice" => answered(format!("{bytes}{planted}")),
                _ => own(asked),
            });
            let gateway = gateway(&peer.url()).await;
            let empty = ask(&gateway, "alice").await;
            assert_eq!(empty.status, 502, "{status}: {empty:?}");
            is_answered(&gateway, "bob").await;
            peer.left(peer.asked()[0].connection).await;
            assert!(peer.asked().iter().all(|asked| asked.nth == 0), "{status}: used again");
            gateway.end(2).await;
        }
    }
}

#[tokio::test]
async fn a_body_that_ends_with_its_connection_is_complete_with_its_end_marker() {
    let peer = Peer::spawn(|asked| {
        let own = body(&asked.marker);
        let own = match asked.marker.as_str() {
            "half" => &own[..own.len() / 2],
            _ => own.as_str(),
        };
        let version = if asked.marker == "1.0" { "1.0" } else { "1.1" };
        let head = format!("HTTP/{version} 200 OK\r\n\r\n");
        vec![Act::ReadBody, write(head), write(own), Act::Close]
    });
    let gateway = gateway(&peer.url()).await;
    is_answered(&gateway, "1.1").await;
    is_answered(&gateway, "1.0").await;
    let half = ask(&gateway, "half").await;
    assert_eq!(half.status, 502, "{half:?}");
    gateway.end(3).await;
}

#[tokio::test]
async fn an_answer_with_ambiguous_framing_is_an_error() {
    let (said, length) = (body("alice"), body("alice").len());
    let chunks = format!("{length:x}\r\n{said}\r\n0\r\n\r\n");
    let long = "x".repeat(70_000);
    let answers = [
        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\ncontent-length: 5\r\n\r\n{said}"),
        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}, 5\r\n\r\n{said}"),
        format!("HTTP/1.1 200 OK\r\ncontent-length: +{length}\r\n\r\n{said}"),
        format!("HTTP/1.1 200 OK\r\ncontent-length : {length}\r\n\r\n{said}"),
        format!(
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n{chunks}"
        ),
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n{chunks}"),
        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nx: a\r\n b\r\n\r\n{said}"),
        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nx: {long}\r\n\r\n{said}"),
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n{said}"),
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{said}\r\n0\r\n\r\n"),
        format!("\r\nHTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{said}"),
        format!("HTTP/3.0 200 OK\r\ncontent-length: {length}\r\n\r\n{said}"),
    ];
    for bytes in answers {
        let shown: String = bytes.chars().take(90).collect();
        let peer = Peer::spawn(move |asked| match asked.marker.as_str() {
            "alice" => answered(&*bytes),
            _ => own(asked),
        });
        let gateway = gateway(&peer.url()).await;
        let refused = ask(&gateway, "alice").await;
        assert_eq!(
            (refused.status, refused.json()["code"].as_str()),
            (502, Some("bad_upstream")),
            "{shown:?}"
        );
        is_answered(&gateway, "bob").await;
        peer.left(peer.asked()[0].connection).await;
        gateway.end(2).await;
    }
}
