//! The upstream itself, called by a well-behaved client and by raw sockets.

use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::net::TcpStream;

use super::fixture::Fixture;
use super::{Gate, Leaving, Script, Upstream, black_hole, ollama, refusing, silent};
use crate::client::raw::{End, Raw, post_bytes};
use crate::client::{chat, get, post_json, post_json_with, stream, streamed_chat};

#[tokio::test]
async fn the_default_script_streams_or_not_as_asked() {
    let upstream = Upstream::ollama();
    let pieces = stream(&upstream.url(), &streamed_chat("hi")).await.rest().await;
    assert_eq!(pieces.text().lines().count(), 4);
    let mut whole = chat("hi");
    whole["stream"] = false.into();
    let answer = post_json(&upstream.url(), &whole).await;
    assert_eq!(answer.json()["message"]["content"], "Hello!");
}

#[tokio::test]
async fn a_call_is_recorded_as_it_was_sent() {
    let upstream = Upstream::ollama();
    let url = format!("{}/api/chat?x=1", upstream.url());
    post_json_with(&url, &[("X-Kept", "As Sent")], &chat("hi")).await;
    let calls = upstream.calls(1).await;
    let call = &calls[0];
    assert_eq!((call.method.as_str(), call.path.as_str()), ("POST", "/api/chat?x=1"));
    assert_eq!(call.header("x-kept"), Some("As Sent"));
    assert_eq!(call.json(), chat("hi"));
    assert!(upstream.answered(0).await >= call.arrived);
}

#[tokio::test]
async fn questions_about_the_provider_are_answered_but_not_counted() {
    let upstream = Upstream::spawn(|_| Script::status(500));
    let answer = get(&format!("{}/api/tags", upstream.url())).await;
    assert_eq!(answer.json()["models"][0]["name"], ollama::MODEL);
    assert_eq!((upstream.calls_so_far().len(), upstream.questions_so_far().len()), (0, 1));
    let scripted = Upstream::spawn_whole(|_| Script::status(500));
    assert_eq!(get(&format!("{}/api/tags", scripted.url())).await.status, 500);
    assert_eq!(scripted.calls_so_far().len(), 1);
}

#[tokio::test]
async fn a_chunked_request_body_is_read_whole() {
    let upstream = Upstream::ollama();
    let mut raw = Raw::connect(upstream.address()).await;
    raw.send(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n").await;
    raw.read_until("\"done\":true").await;
    assert_eq!(upstream.calls(1).await[0].body, "{}");
}

#[tokio::test]
async fn pieces_wait_at_a_gate_until_it_opens() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream =
        Upstream::spawn(move |_| ollama::opened(&["one"]).hold(&held).piece(ollama::done(1)));
    let mut streamed = stream(&upstream.url(), &streamed_chat("hi")).await;
    let before = streamed.until("one").await;
    gate.reached(1).await;
    assert!(!before.contains("\"done\":true"));
    assert_eq!(upstream.under_way(), 1);
    gate.open();
    streamed.until("\"done\":true").await;
    upstream.at_rest().await;
}

#[tokio::test]
async fn a_gate_lets_as_many_through_as_it_is_told() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::spawn(move |_| Script::status(200).head_hold(&held));
    let url = upstream.url();
    let call = || {
        let url = url.clone();
        tokio::spawn(async move { post_json(&url, &chat("hi")).await.status })
    };
    let calls = [call(), call(), call()];
    gate.reached(3).await;
    upstream.busy(3).await;
    gate.let_through(2);
    upstream.until("one is left", |ledger| (ledger.under_way() == 1).then_some(())).await;
    gate.let_through(1);
    for call in calls {
        assert_eq!(call.await.unwrap(), 200);
    }
    assert_eq!((upstream.peak(), upstream.under_way()), (3, 0));
}

#[tokio::test]
async fn hundreds_of_calls_at_once_are_all_held_and_counted() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream =
        Upstream::spawn(move |_| ollama::opened(&["a"]).hold(&held).piece(ollama::done(1)));
    let url = upstream.url();
    let calls = (0..500).map(|_| {
        let url = url.clone();
        tokio::spawn(async move { post_json(&url, &chat("hi")).await.status })
    });
    let calls: Vec<_> = calls.collect();
    gate.reached(500).await;
    assert_eq!((upstream.peak(), upstream.under_way()), (500, 500));
    gate.open();
    for call in calls {
        assert_eq!(call.await.unwrap(), 200);
    }
    upstream.at_rest().await;
}

#[tokio::test]
async fn calls_one_after_another_never_appear_to_overlap() {
    let upstream = Upstream::ollama();
    let mut raw = Raw::connect(upstream.address()).await;
    for round in 0..200 {
        raw.send(&post_bytes("/api/chat", &[], &streamed_chat("hi"))).await;
        raw.read_until("\"done\":true").await;
        // Disconnecting at once, without the last chunk, is the closest a caller can get.
        if round % 2 == 0 {
            raw.rst()
        } else {
            raw.fin()
        }
        raw = Raw::connect(upstream.address()).await;
    }
    assert_eq!((upstream.calls(200).await.len(), upstream.peak()), (200, 1));
}

#[tokio::test]
async fn a_peers_disconnect_is_noticed_at_once_in_every_phase() {
    let before_head: fn() -> Script = Script::never;
    let after_head: fn() -> Script = || ollama::stream_head().stall();
    let midway: fn() -> Script = || ollama::opened(&["one"]).stall();
    let paced: fn() -> Script = || ollama::answer(&["one"; 100]).paced(Duration::from_secs(1));
    for script in [before_head, after_head, midway, paced] {
        let upstream = Upstream::spawn(move |_| script());
        let mut raw = Raw::connect(upstream.address()).await;
        raw.send(&post_bytes("/api/chat", &[], &chat("hi"))).await;
        upstream.calls(1).await;
        let leaving = Instant::now();
        raw.fin();
        let left = upstream.left(0).await;
        assert!(!left.answered);
        assert!(left.at - leaving < Duration::from_secs(1));
        upstream.at_rest().await;
    }
}

#[tokio::test]
async fn a_disconnect_after_the_answer_is_distinguished() {
    let upstream = Upstream::ollama();
    let mut raw = Raw::connect(upstream.address()).await;
    raw.send(&post_bytes("/api/chat", &[], &chat("hi"))).await;
    raw.read_until("0\r\n\r\n").await;
    upstream.answered(0).await;
    raw.fin();
    let left = upstream.left(0).await;
    assert_eq!((left.how, left.answered), (Leaving::Fin, true));
}

/// Sends one chat and returns everything received, and how it ended.
async fn outcome(script: fn() -> Script) -> (String, End) {
    let upstream = Upstream::spawn(move |_| script());
    let mut raw = Raw::connect(upstream.address()).await;
    raw.send(&post_bytes("/api/chat", &[], &chat("hi"))).await;
    raw.read_to_end().await
}

#[tokio::test]
async fn cuts_and_resets_fall_on_the_byte_they_name() {
    assert_eq!(outcome(Script::hang_up).await, (String::new(), End::Fin));
    assert_eq!(outcome(Script::reset).await, (String::new(), End::Reset));
    let (text, end) = outcome(|| Script::status(200).piece("abcdef").reset_at(0)).await;
    assert!(text.ends_with("content-length: 6\r\n\r\n"), "{text}");
    assert_eq!(end, End::Reset);
    let (text, end) = outcome(|| Script::status(200).pieces(["abc", "def"]).cut_at(4)).await;
    assert!(text.ends_with("content-length: 6\r\n\r\nabcd"), "{text}");
    assert_eq!(end, End::Fin);
    let (text, end) =
        outcome(|| Script::status(200).chunked().pieces(["abc", "def"]).reset_at(4)).await;
    assert!(text.ends_with("\r\n\r\n3\r\nabc\r\n3\r\nd"), "{text}");
    assert_eq!(end, End::Reset);
    let (text, _) = outcome(|| Script::status(200).chunked().piece("abc").cut_at(9)).await;
    assert!(text.ends_with("3\r\nabc\r\n"), "{text}");
}

#[tokio::test]
async fn framings_garbage_and_redirects_are_written_as_said() {
    let (text, end) = outcome(|| Script::status(200).piece("abc").until_close()).await;
    assert_eq!((text.as_str(), end), ("HTTP/1.1 200 Scripted\r\n\r\nabc", End::Fin));
    let (text, _) = outcome(|| Script::status(200).piece("abc").sized_as(9).closing()).await;
    assert!(text.ends_with("content-length: 9\r\n\r\nabc"), "{text}");
    assert_eq!(outcome(|| Script::raw("\0\x01nonsense")).await.0, "\0\x01nonsense");
    let (text, _) = outcome(|| Script::redirect(307, "http://elsewhere/").closing()).await;
    assert!(text.contains("HTTP/1.1 307 ") && text.contains("location: http://elsewhere/\r\n"));
    let html = || ollama::answer(&["a"]).header("Content-Type", "text/html").closing();
    let (text, _) = outcome(html).await;
    assert!(text.contains("Content-Type: text/html") && !text.contains("x-ndjson"), "{text}");
}

#[tokio::test]
async fn a_kept_connection_can_be_closed_right_after_an_answer() {
    let upstream = Upstream::spawn(|_| ollama::answer(&["a"]).closing());
    let mut raw = Raw::connect(upstream.address()).await;
    raw.send(&post_bytes("/api/chat", &[], &chat("hi"))).await;
    let (text, end) = raw.read_to_end().await;
    assert!(text.ends_with("0\r\n\r\n") && !text.contains("connection:"), "{text}");
    assert_eq!(end, End::Fin);
}

#[tokio::test]
async fn a_script_can_depend_on_the_place_in_a_connection() {
    let upstream = Upstream::spawn(|call| match call.nth_on_connection {
        0 => Script::status(200),
        _ => Script::hang_up(),
    });
    let mut raw = Raw::connect(upstream.address()).await;
    raw.send(&post_bytes("/api/chat", &[], &chat("one"))).await;
    raw.read_answer().await;
    raw.send(&post_bytes("/api/chat", &[], &chat("two"))).await;
    assert_eq!(raw.read_to_end().await, (String::new(), End::Fin));
    let calls = upstream.calls(2).await;
    assert_eq!((calls[1].connection, calls[1].nth_on_connection), (0, 1));
}

#[tokio::test]
async fn huge_bodies_are_made_while_they_are_written() {
    let gibibyte = 1 << 30;
    let line = Upstream::spawn(move |_| ollama::one_endless_line(gibibyte));
    let events = Upstream::spawn(move |_| ollama::many_small_events(gibibyte));
    for upstream in [&line, &events] {
        let mut streamed = stream(&upstream.url(), &streamed_chat("hi")).await;
        let mut read = 0;
        while read < 4 << 20 {
            let piece: Bytes = streamed.piece().await.unwrap().unwrap();
            read += piece.len();
        }
        drop(streamed);
        assert!(!upstream.left(0).await.answered);
    }
}

#[tokio::test]
async fn every_recorded_answer_is_replayed_byte_for_byte() {
    for provider in ["ollama", "openai", "gemini", "anthropic"] {
        for fixture in Fixture::all_of(provider) {
            let name = fixture.name.clone();
            let body = fixture.body.clone();
            let status = fixture.http["response"]["status"].as_u64().unwrap();
            let request = fixture.request.clone();
            let upstream = Upstream::spawn(move |_| fixture.script());
            let answer = post_json(&upstream.url(), &request).await;
            assert_eq!(u64::from(answer.status), status, "{name}");
            assert_eq!(answer.body, body, "{name}");
        }
    }
}

#[tokio::test]
async fn dead_ends_are_dead_in_three_ways() {
    let refused = TcpStream::connect(refusing().address()).await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    let silence = silent();
    let mut raw = Raw::connect(silence.address()).await;
    raw.send(b"GET / HTTP/1.1\r\n\r\n").await;
    let hole = black_hole();
    let short = Duration::from_millis(100);
    assert!(tokio::time::timeout(short, TcpStream::connect(hole.address())).await.is_err());
}
