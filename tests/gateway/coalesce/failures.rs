//! A client that shares a call and stalls, disconnects, runs out of time or fails does not affect
//! the others.

use serde_json::Value;

use super::{fixed, held_midway, in_front_of, joined, raw, streamed};
use crate::client::raw::{Raw, post_bytes};
use crate::client::stream;
use crate::crowd::{answers, count, send};
use crate::harness::{Cache, Config, Gateway, Provider, spawn_gateway};
use crate::upstream::{Gate, Upstream, ollama};

const MIB: u64 = 1 << 20;

/// A streaming client that has sent its request and reads nothing.
async fn stalled(gateway: &Gateway, body: &Value) -> Raw {
    let mut client = Raw::with_small_buffer(gateway.address(), 4096).await;
    client.send(&post_bytes("/v1/chat", &[], body)).await;
    client
}

#[tokio::test]
async fn a_client_that_stalls_delays_no_other_and_is_cut_off_when_too_far_behind() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::spawn(move |_| ollama::many_small_events(24 * MIB).head_hold(&held));
    let gateway = in_front_of(&upstream).await;
    let mut slow = stalled(&gateway, &streamed("flood")).await;
    upstream.calls(1).await;
    let url = gateway.url("/v1/chat");
    let fast = tokio::spawn(async move { stream(&url, &streamed("flood")).await.rest().await });
    joined(&gateway, 1).await;
    gate.open();
    let fast = fast.await.unwrap();
    assert!(fast.ended_properly && fast.text().contains("[DONE]"), "the fast one got everything");
    let last_words = slow.read_until("event: error").await;
    assert!(!last_words.contains("[DONE]"), "the slow one got everything");
    assert!(slow.read_to_end().await.0.contains("too slowly"));
    assert_eq!(upstream.calls_so_far().len(), 1);
    gateway.end(2).await;
}

#[tokio::test]
async fn the_call_ends_with_its_last_reader_and_not_before() {
    for is_streamed in [false, true] {
        let gate = Gate::closed();
        let upstream = Upstream::spawn(held_midway(&gate));
        let gateway = in_front_of(&upstream).await;
        let body = if is_streamed { streamed("hi") } else { fixed("hi") };
        let leader = raw(&gateway, &body).await;
        upstream.calls(1).await;
        let second = raw(&gateway, &body).await;
        let third = raw(&gateway, &body).await;
        joined(&gateway, 2).await;
        leader.fin();
        gateway.adds_up(1).await;
        second.rst();
        gateway.adds_up(2).await;
        assert_eq!(upstream.under_way(), 1, "somebody still reads");
        third.fin();
        upstream.left(0).await;
        gateway.adds_up(3).await;
        let metrics = gateway.metrics().await;
        let cancelled = [("outcome", "cancelled")];
        assert_eq!(metrics.sum("llm_gateway_requests_total", &cancelled), 3.0);
        assert_eq!(metrics.sum("llm_gateway_upstream_attempts_total", &cancelled), 1.0);
        gateway.end(3).await;
    }
}

#[tokio::test]
async fn the_first_clients_disconnect_does_not_affect_the_others() {
    let gate = Gate::closed();
    let upstream = Upstream::spawn(held_midway(&gate));
    let gateway = in_front_of(&upstream).await;
    let mut leader = raw(&gateway, &streamed("hi")).await;
    leader.read_until("one").await;
    let sent = vec![send(&gateway, &[], fixed("hi")), send(&gateway, &[], fixed("hi"))];
    joined(&gateway, 2).await;
    leader.rst();
    gateway.adds_up(1).await;
    // A request that arrives now still joins.
    let late = send(&gateway, &[], fixed("hi"));
    joined(&gateway, 3).await;
    gate.open();
    for answer in answers(sent.into_iter().chain([late]).collect()).await {
        assert_eq!(answer.json()["content"], "one two");
    }
    assert_eq!(upstream.calls_so_far().len(), 1);
    gateway.end(4).await;
}

#[tokio::test]
async fn each_request_keeps_its_own_deadline() {
    let gate = Gate::closed();
    let upstream = Upstream::spawn(held_midway(&gate));
    let gateway = in_front_of(&upstream).await;
    let short = [("x-request-timeout-ms", "600")];
    let leader = send(&gateway, &short, fixed("hi"));
    upstream.calls(1).await;
    let patient = send(&gateway, &[], fixed("hi"));
    let hasty = send(&gateway, &short, fixed("hi"));
    joined(&gateway, 2).await;
    for late in [leader.await.unwrap(), hasty.await.unwrap()] {
        assert_eq!(late.status, 504, "{}", late.text());
        assert_eq!(late.json()["code"], "timeout");
    }
    gate.open();
    assert_eq!(patient.await.unwrap().json()["content"], "one two");
    assert_eq!(upstream.calls_so_far().len(), 1);
    gateway.end(3).await;
}

#[tokio::test]
async fn when_the_last_deadline_has_passed_the_call_is_closed() {
    let gate = Gate::closed();
    let upstream = Upstream::spawn(held_midway(&gate));
    let gateway = in_front_of(&upstream).await;
    let short = [("x-request-timeout-ms", "400")];
    let sent = vec![send(&gateway, &short, fixed("hi")), send(&gateway, &short, fixed("hi"))];
    assert_eq!(count(&answers(sent).await, 504), 2);
    upstream.left(0).await;
    gateway.end(2).await;
}

#[tokio::test]
async fn all_clients_get_a_failure_each_with_its_own_retry_after() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::spawn(move |_| {
        ollama::error(429, "slow down").header("retry-after", "40").head_hold(&held)
    });
    let gateway = spawn_gateway(Provider::ollama(&upstream).no_retries()).await;
    let mut sent = vec![send(&gateway, &[], fixed("hi"))];
    upstream.calls(1).await;
    sent.extend((0..20).map(|_| send(&gateway, &[], fixed("hi"))));
    joined(&gateway, 20).await;
    gate.open();
    let answers = answers(sent).await;
    assert_eq!(count(&answers, 429), 21);
    let after = |answer: &crate::client::Answer| -> u64 {
        answer.header("retry-after").unwrap().parse().unwrap()
    };
    let times: std::collections::BTreeSet<u64> = answers.iter().map(after).collect();
    assert!(times.len() > 1, "they would all come back together: {times:?}");
    assert!(times.iter().all(|seconds| (30..=60).contains(seconds)), "{times:?}");
    assert_eq!(upstream.calls_so_far().len(), 1);
    gateway.end(21).await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_does_so_for_all_and_the_next_request_makes_a_new_call() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::spawn(move |call| match call.number {
        0 => ollama::opened(&["one"]).hold(&held).cut_at(1_000_000),
        _ => ollama::answer(&["whole"]),
    });
    let ollama = Provider::ollama(&upstream);
    let gateway =
        spawn_gateway(Config::new().provider(ollama).cache(Cache::default().ttl("1h"))).await;
    let mut leader = raw(&gateway, &streamed("hi")).await;
    leader.read_until("one").await;
    let whole = send(&gateway, &[], fixed("hi"));
    joined(&gateway, 1).await;
    gate.open();
    leader.read_until("event: error").await;
    leader.fin();
    assert_eq!(whole.await.unwrap().status, 502);
    let next = send(&gateway, &[], fixed("hi")).await.unwrap();
    assert_eq!(next.json()["content"], "whole");
    assert_eq!(next.header("x-gateway-cache"), Some("miss"));
    gateway.end(3).await;
}
