//! Answers that break after their first event. A streaming client gets what arrived, one error
//! event, no `[DONE]` and a connection that ends without the end of its body; a whole answer is the
//! failure alone.

use std::time::Duration;

use serde_json::Value;

use super::{BOTH, at, chat_with, check_error, check_error_at, model_of, once, streamed_with};
use crate::client::{post_json, stream};
use crate::harness::{Timeouts, spawn_gateway};
use crate::upstream::{Script, Upstream, ollama};

const EVERYTHING: u64 = u64::MAX;
const MEBIBYTE: u64 = 1 << 20;

/// Every way to break after two tokens, with the code that follows.
///
/// A reset takes what the kernel has not handed over with it, hence its pause.
type Case = (&'static str, &'static str, fn(Script) -> Script);

const CASES: [Case; 11] = [
    ("cut", "bad_upstream", |script| script.cut_at(EVERYTHING)),
    ("cut-in-a-line", "bad_upstream", |script| {
        script.piece(ollama::line("PLANTED").slice(..30)).cut_at(EVERYTHING)
    }),
    ("reset", "bad_upstream", |script| {
        script.pause(Duration::from_millis(300)).reset_at(EVERYTHING)
    }),
    ("ends-without-done", "bad_upstream", |script| script),
    ("bad-json", "bad_upstream", |script| script.piece("{PLANTED\n")),
    ("bad-utf8", "bad_upstream", |script| script.piece(&b"{\"PLANTED\":\"\xff\"}\n"[..])),
    ("html", "bad_upstream", |script| script.piece("<html>PLANTED</html>\n")),
    ("bad-shape", "bad_upstream", |script| script.piece("{\"message\":\"PLANTED\"}\n")),
    ("error-object", "bad_upstream", |script| script.piece(ollama::error_line("out of memory"))),
    ("stall", "timeout", Script::stall),
    ("stall-in-a-line", "timeout", |script| script.piece("{\"message\":").stall()),
];

fn play(model: &str) -> Script {
    let (_, _, breaks) = CASES.iter().find(|(name, ..)| *name == model).unwrap();
    breaks(ollama::opened(&["Hel", "lo"]))
}

#[tokio::test]
async fn a_stream_that_breaks_midway_ends_with_one_error_event_and_abnormally() {
    let upstream = Upstream::spawn(|call| play(&model_of(call)));
    let gateway =
        spawn_gateway(once(upstream.url()).timeouts(Timeouts::default().idle("2s"))).await;
    for (name, code, _) in CASES {
        let streamed = stream(&gateway.url("/v1/chat"), &streamed_with(name)).await;
        assert_eq!(streamed.status, 200, "{name}");
        let pieces = streamed.rest().await;
        assert!(!pieces.ended_properly, "{name}: {}", pieces.text());
        let (text, errors) = text_and_errors(&pieces.events());
        assert_eq!(text, "Hello", "{name}");
        assert_eq!(errors.len(), 1, "{name}: {}", pieces.text());
        assert_eq!(errors[0]["code"], code, "{name}: {}", pieces.text());
        assert!(errors[0]["detail"].is_string(), "{name}");
        let all = pieces.text();
        assert!(!all.contains("[DONE]") && !all.contains("PLANTED"), "{name}: {all}");
    }
    assert_eq!(upstream.calls_so_far().len(), CASES.len());
    gateway.end(CASES.len()).await;
}

/// Where answers are carried, JSON that nobody knows is a part of one.
fn is_broken_at(path: &str, name: &str) -> bool {
    path == "/v1/chat" || name != "bad-shape"
}

#[tokio::test]
async fn a_carried_stream_that_breaks_midway_ends_with_one_error_and_abnormally() {
    let upstream = Upstream::spawn(|call| play(&model_of(call)));
    let gateway =
        spawn_gateway(once(upstream.url()).timeouts(Timeouts::default().idle("2s"))).await;
    let cases: Vec<_> =
        CASES.into_iter().filter(|(name, ..)| is_broken_at("/api/chat", name)).collect();
    for (name, ..) in &cases {
        let asked = at("/api/chat", streamed_with(name));
        let streamed = stream(&gateway.url("/api/chat"), &asked).await;
        assert_eq!(streamed.status, 200, "{name}");
        let pieces = streamed.rest().await;
        let all = pieces.text();
        assert!(!pieces.ended_properly && !all.contains("PLANTED"), "{name}: {all}");
        let lines: Vec<Value> =
            all.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let (error, said) = lines.split_last().unwrap();
        assert!(error["error"].is_string() && error["done"].is_null(), "{name}: {all}");
        let text = said.iter().map(|line| line["message"]["content"].as_str().unwrap());
        assert_eq!(text.collect::<String>(), "Hello", "{name}");
    }
    assert_eq!(upstream.calls_so_far().len(), cases.len());
    gateway.end(cases.len()).await;
}

#[tokio::test]
async fn a_whole_answer_that_breaks_midway_is_the_failure_alone() {
    let upstream = Upstream::spawn(|call| play(&model_of(call)));
    let timeouts = Timeouts::default().idle("2s").whole("2s");
    let gateway = spawn_gateway(once(upstream.url()).timeouts(timeouts)).await;
    for path in BOTH {
        for (name, code, _) in CASES {
            let answer = post_json(&gateway.url(path), &at(path, chat_with(name))).await;
            let status = if code == "timeout" { 504 } else { 502 };
            let said = check_error_at(path, &answer, status, code);
            assert!(!said.contains("PLANTED") && !said.contains("Hel"), "{name}: {said}");
        }
    }
    gateway.end(2 * CASES.len()).await;
}

#[tokio::test]
async fn the_connection_to_a_stalled_provider_is_closed() {
    let upstream = Upstream::spawn(|_| ollama::opened(&["Hel"]).stall());
    let gateway =
        spawn_gateway(once(upstream.url()).timeouts(Timeouts::default().idle("200ms"))).await;
    post_json(&gateway.url("/v1/chat"), &chat_with("llama3.1")).await;
    assert!(!upstream.left(0).await.answered);
    stream(&gateway.url("/v1/chat"), &streamed_with("llama3.1")).await.rest().await;
    assert!(!upstream.left(1).await.answered);
    gateway.end(2).await;
}

#[tokio::test]
async fn a_line_without_end_is_cut_at_32_mib() {
    let upstream = Upstream::spawn(|call| match model_of(call).as_str() {
        "at-once" => ollama::one_endless_line(1024 * MEBIBYTE),
        _ => {
            let flood = std::iter::repeat_n(vec![b'a'; 1 << 16].into(), 1 << 14);
            ollama::opened(&["Hel", "lo"]).piece("{\"message\":{\"content\":\"").flood(flood)
        }
    });
    let gateway = spawn_gateway(once(upstream.url())).await;
    let url = gateway.url("/v1/chat");
    let answer = post_json(&url, &chat_with("at-once")).await;
    let said = check_error(&answer, 502, "bad_upstream");
    assert!(said.contains("more at once than can be held"), "{said}");
    upstream.left(0).await;
    let pieces = stream(&url, &streamed_with("later")).await.rest().await;
    upstream.left(1).await;
    assert!(!pieces.ended_properly);
    let (text, errors) = text_and_errors(&pieces.events());
    assert_eq!((text.as_str(), errors.len()), ("Hello", 1));
    let resident = gateway.resident_bytes();
    assert!(resident < 300 * MEBIBYTE, "{resident} bytes held");
    gateway.end(2).await;
}

#[tokio::test]
async fn many_small_events_pass_without_being_held() {
    let upstream = Upstream::spawn(|_| ollama::many_small_events(32 * MEBIBYTE));
    let gateway = spawn_gateway(once(upstream.url())).await;
    let mut streamed = stream(&gateway.url("/v1/chat"), &streamed_with("llama3.1")).await;
    let mut last = Vec::new();
    while let Some(piece) = streamed.piece().await.unwrap() {
        last.extend_from_slice(&piece);
        let keep = last.len().saturating_sub(1024);
        last.drain(..keep);
    }
    assert!(last.ends_with(b"data: [DONE]\n\n"));
    let resident = gateway.resident_bytes();
    assert!(resident < 100 * MEBIBYTE, "{resident} bytes held");
    gateway.end(1).await;
}

/// The deltas put together, and the data of the error events.
fn text_and_errors(events: &[(String, String)]) -> (String, Vec<Value>) {
    let (mut text, mut errors) = (String::new(), Vec::new());
    for (name, data) in events {
        let data: Value = serde_json::from_str(data).unwrap();
        match name.as_str() {
            "error" => errors.push(data),
            _ => {
                assert!(errors.is_empty(), "something follows the error: {events:?}");
                text.push_str(data["delta"].as_str().unwrap());
            }
        }
    }
    (text, errors)
}
