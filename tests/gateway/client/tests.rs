//! The clients against the scripted upstream: each sees what really happened.

use std::time::Duration;

use serde_json::json;

use super::raw::{End, Raw, post_bytes};
use super::{chat, post_json, stream, streamed_chat};
use crate::upstream::{Leaving, Script, Upstream, ollama};

#[tokio::test]
async fn a_whole_answer_has_its_status_headers_and_body() {
    let upstream = Upstream::spawn(|_| Script::json(418, &json!({"a": 1})).header("x-b", "c"));
    let answer = post_json(&upstream.url(), &chat("hi")).await;
    assert_eq!((answer.status, answer.header("x-b")), (418, Some("c")));
    assert_eq!(answer.json(), json!({"a": 1}));
}

#[tokio::test]
async fn a_stream_distinguishes_a_proper_end_from_a_cut() {
    for (script, proper) in [
        (ollama::answer(&["a"]) as Script, true),
        (ollama::opened(&["a"]).cut_at(9), false),
        (ollama::opened(&["a"]).reset_at(9), false),
    ] {
        let script = std::sync::Mutex::new(Some(script));
        let upstream = Upstream::spawn(move |_| script.lock().unwrap().take().unwrap());
        let streamed = stream(&upstream.url(), &streamed_chat("hi")).await;
        assert_eq!(streamed.rest().await.ended_properly, proper);
    }
}

#[tokio::test]
async fn events_are_distinguished_with_their_names() {
    let body = "data: {\"a\":1}\n\n: heartbeat\n\nevent: error\ndata: x\ndata: y\n\n";
    let upstream = Upstream::spawn(move |_| Script::status(200).piece(body));
    let pieces = stream(&upstream.url(), &streamed_chat("hi")).await.rest().await;
    let named = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    assert_eq!(pieces.events(), [named("", "{\"a\":1}"), named("error", "x\ny")]);
}

#[tokio::test]
async fn a_raw_client_disconnects_by_fin_or_by_rst() {
    for (by_reset, how) in [(false, Leaving::Fin), (true, Leaving::Reset)] {
        let upstream = Upstream::spawn(|_| Script::never());
        let mut raw = Raw::connect(upstream.address()).await;
        raw.send(&post_bytes("/api/chat", &[], &chat("hi"))).await;
        upstream.calls(1).await;
        if by_reset {
            raw.rst()
        } else {
            raw.fin()
        }
        let left = upstream.left(0).await;
        assert_eq!((left.how, left.answered), (how, false));
    }
}

#[tokio::test]
async fn two_answers_on_one_connection_are_read_apart() {
    let upstream = Upstream::spawn(|call| Script::status(200).piece(call.number.to_string()));
    let mut raw = Raw::connect(upstream.address()).await;
    for number in ["0", "1"] {
        raw.send(&post_bytes("/x", &[], &chat("hi"))).await;
        assert!(raw.read_answer().await.ends_with(&format!("\r\n\r\n{number}")));
    }
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn a_slow_sender_is_received_in_the_end() {
    let upstream = Upstream::ollama();
    let mut raw = Raw::connect(upstream.address()).await;
    let request = post_bytes("/api/chat", &[], &json!({}));
    assert_eq!(raw.send_slowly(&request, Duration::from_micros(100)).await, Ok(()));
    raw.read_until("\"done\":true").await;
}

#[tokio::test]
async fn a_slow_reader_reads_everything_at_its_own_pace() {
    let upstream = Upstream::spawn(|_| ollama::many_small_events(1 << 20).until_close());
    let mut raw = Raw::with_small_buffer(upstream.address(), 4096).await;
    raw.send(&post_bytes("/api/chat", &[], &chat("hi"))).await;
    let (read, end) = raw.read_slowly(256 * 1024, Duration::from_micros(50)).await;
    assert!(read > 900_000, "only {read} bytes");
    assert_eq!(end, End::Fin);
}
