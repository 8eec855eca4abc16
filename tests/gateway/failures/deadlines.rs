//! Time that runs out: before the head, before the first event, in the line, and midway.

use std::time::Duration;

use serde_json::Value;

use super::{chat_with, check_error, once, quick, streamed_with};
use crate::client::raw::{Raw, post_bytes};
use crate::client::{post_json, post_json_with, stream_with};
use crate::harness::{Timeouts, spawn_gateway};
use crate::patience::eventually;
use crate::upstream::{Gate, Script, Upstream, ollama, silent};

/// Far above the limits that the tests set, for a busy machine; far below the defaults.
const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_provider_that_does_not_begin_is_504_and_its_connection_closed() {
    let stalls: [fn() -> Script; 2] = [Script::never, || ollama::stream_head().stall()];
    for stalls in stalls {
        let upstream = Upstream::spawn(move |_| stalls());
        let timeouts = Timeouts::default().first_event("300ms");
        let gateway = spawn_gateway(quick(upstream.url()).timeouts(timeouts)).await;
        for (number, chat) in [chat_with("whole"), streamed_with("streamed")].iter().enumerate() {
            let answer = post_json(&gateway.url("/v1/chat"), chat).await;
            let said = check_error(&answer, 504, "timeout");
            assert!(said.contains("did not begin to answer"), "{said}");
            assert!(answer.took >= Duration::from_millis(300) && answer.took < SOON);
            assert!(!upstream.left(number).await.answered);
        }
        // Other requests do not ask a loading model meanwhile.
        assert_eq!(upstream.calls_so_far().len(), 2);
        gateway.end(2).await;
    }
}

#[tokio::test]
async fn a_host_that_accepts_connections_and_sends_nothing_is_504() {
    let nobody = silent();
    let timeouts = Timeouts::default().first_event("300ms");
    let gateway = spawn_gateway(quick(nobody.url()).timeouts(timeouts)).await;
    let answer = post_json(&gateway.url("/v1/chat"), &chat_with("llama3.1")).await;
    check_error(&answer, 504, "timeout");
    gateway.end(1).await;
}

#[tokio::test]
async fn a_clients_own_deadline_ends_the_call_at_the_provider() {
    let upstream = Upstream::spawn(|_| Script::never());
    let gateway = spawn_gateway(quick(upstream.url())).await;
    for (number, chat) in [chat_with("whole"), streamed_with("streamed")].iter().enumerate() {
        let deadline = [("x-request-timeout-ms", "400")];
        let answer = post_json_with(&gateway.url("/v1/chat"), &deadline, chat).await;
        check_error(&answer, 504, "timeout");
        assert!(answer.took >= Duration::from_millis(400) && answer.took < SOON);
        assert!(!upstream.left(number).await.answered);
    }
    assert_eq!(upstream.calls_so_far().len(), 2);
    gateway.end(2).await;
}

#[tokio::test]
async fn a_clients_own_deadline_ends_a_stream_with_an_error_event() {
    let upstream = Upstream::spawn(|_| ollama::opened(&["Hel"]).stall());
    let gateway = spawn_gateway(quick(upstream.url())).await;
    let deadline = [("x-request-timeout-ms", "2000")];
    let chat = streamed_with("llama3.1");
    let pieces = stream_with(&gateway.url("/v1/chat"), &deadline, &chat).await.rest().await;
    assert!(!pieces.ended_properly);
    let events = pieces.events();
    let (name, data) = events.last().unwrap();
    let data: Value = serde_json::from_str(data).unwrap();
    assert_eq!((name.as_str(), &data["code"]), ("error", &"timeout".into()));
    assert!(!upstream.left(0).await.answered);
    gateway.end(1).await;
}

#[tokio::test]
async fn a_clients_own_deadline_counts_in_the_line_and_the_call_is_never_made() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::spawn(move |call| ollama::reply(call).head_hold(&held));
    let gateway = spawn_gateway(quick(upstream.url()).slots(1)).await;
    let url = gateway.url("/v1/chat");
    let first = tokio::spawn({
        let url = url.clone();
        async move { post_json(&url, &chat_with("llama3.1")).await }
    });
    upstream.calls(1).await;
    for chat in [chat_with("llama3.1"), streamed_with("llama3.1")] {
        let answer = post_json_with(&url, &[("x-request-timeout-ms", "400")], &chat).await;
        let said = check_error(&answer, 504, "timeout");
        assert!(said.contains("in its line"), "{said}");
        assert!(answer.took >= Duration::from_millis(400) && answer.took < SOON);
        assert_eq!(answer.header("x-gateway-attempts"), Some("0"));
    }
    gate.open();
    assert_eq!(first.await.unwrap().status, 200);
    assert_eq!(upstream.calls_so_far().len(), 1);
    gateway.end(3).await;
}

#[tokio::test]
async fn the_longest_wait_in_a_line_is_the_operators() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::spawn(move |call| ollama::reply(call).head_hold(&held));
    let provider = once(upstream.url()).slots(1).max_queue_wait("300ms");
    let gateway = spawn_gateway(provider).await;
    let url = gateway.url("/v1/chat");
    let first = tokio::spawn({
        let url = url.clone();
        async move { post_json(&url, &chat_with("llama3.1")).await }
    });
    upstream.calls(1).await;
    let answer = post_json(&url, &chat_with("llama3.1")).await;
    check_error(&answer, 503, "overloaded");
    gate.open();
    assert_eq!(first.await.unwrap().status, 200);
    assert_eq!(upstream.calls_so_far().len(), 1);
    gateway.end(2).await;
}

#[tokio::test]
async fn a_full_line_is_503_at_once_and_nothing_is_sent() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::spawn(move |call| ollama::reply(call).head_hold(&held));
    let gateway = spawn_gateway(once(upstream.url()).slots(1).max_queue(1)).await;
    let url = gateway.url("/v1/chat");
    let post = |url: String| async move { post_json(&url, &chat_with("llama3.1")).await };
    let first = tokio::spawn(post(url.clone()));
    upstream.calls(1).await;
    let second = tokio::spawn(post(url.clone()));
    eventually(
        || "the second request waits".to_owned(),
        async || (gateway.metrics().await.sum("llm_gateway_queued", &[]) == 1.0).then_some(()),
    )
    .await;
    let answer = post(url).await;
    check_error(&answer, 503, "overloaded");
    super::retry_after(&answer);
    gate.open();
    assert_eq!((first.await.unwrap().status, second.await.unwrap().status), (200, 200));
    assert_eq!(upstream.calls_so_far().len(), 2);
    gateway.end(3).await;
}

#[tokio::test]
async fn a_client_that_reads_too_slowly_for_its_deadline_gets_the_error_when_it_continues() {
    let upstream = Upstream::spawn(|_| {
        ollama::stream_head().flood(std::iter::repeat(ollama::line(&"x".repeat(1000))))
    });
    let gateway = spawn_gateway(quick(upstream.url())).await;
    let mut client = Raw::with_small_buffer(gateway.address(), 4096).await;
    let deadline = [("x-request-timeout-ms", "1000")];
    client.send(&post_bytes("/v1/chat", &deadline, &streamed_with("llama3.1"))).await;
    assert!(!upstream.left(0).await.answered);
    let (answer, _) = client.read_to_end().await;
    let last = answer.split("event: error").last().unwrap();
    assert!(last.contains("\"timeout\"") && !answer.contains("[DONE]"), "{last:.500}");
    gateway.end(1).await;
}
