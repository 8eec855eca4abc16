//! Slow clients: heads and bodies that drip, answers that no client reads, idle connections, and
//! more of them than there are descriptors.
//!
//! These tests never measure a time limit closely: they check that it ends.

use std::time::{Duration, Instant};

use crate::client::raw::{Raw, post_bytes};
use crate::client::{chat, get, post_json, stream, streamed_chat};
use crate::harness::{Config, Gateway, Provider, Server, spawn_gateway, spawn_gateway_under};
use crate::patience::{eventually, within};
use crate::upstream::{Gate, Upstream, ollama};

const DRIP: Duration = Duration::from_millis(300);
const MIB: u64 = 1024 * 1024;

fn config(provider: Provider, server: Server) -> Config {
    Config::new().server(server).provider(provider)
}

#[tokio::test]
async fn a_head_that_drips_is_cut_off_on_a_new_connection_and_on_a_kept_one() {
    let upstream = Upstream::ollama();
    let gateway = spawn_gateway(Provider::ollama(&upstream)).await;
    let head = [b"POST /v1/chat HTTP/1.1\r\nhost: g\r\nx-long: ".as_slice(), &[b'a'; 400]].concat();
    let first = async {
        let mut raw = Raw::connect(gateway.address()).await;
        raw.send_slowly(&head, DRIP).await
    };
    let second = async {
        let mut raw = Raw::connect(gateway.address()).await;
        raw.send(&post_bytes("/v1/chat", &[], &chat("kept"))).await;
        assert!(raw.read_answer().await.starts_with("HTTP/1.1 200"));
        raw.send_slowly(&head, DRIP).await
    };
    let behind = async {
        let mut raw = Raw::connect(gateway.address()).await;
        let mut bytes = post_bytes("/v1/chat", &[], &chat("with the next head behind it"));
        bytes.extend_from_slice(b"POST /v1");
        raw.send(&bytes).await;
        assert!(raw.read_answer().await.starts_with("HTTP/1.1 200"));
        raw.send_slowly(&head, DRIP).await
    };
    let ends =
        within("every dripping head is cut off", async { tokio::join!(first, second, behind) });
    let (first, second, behind) = ends.await;
    assert!(
        first.is_err() && second.is_err() && behind.is_err(),
        "a whole dripping head was taken"
    );
    gateway.end(2).await;
}

#[tokio::test]
async fn a_body_left_over_after_a_refusal_is_not_read_for_ever() {
    let upstream = Upstream::ollama();
    let gateway = spawn_gateway(Provider::ollama(&upstream)).await;
    let mut raw = Raw::connect(gateway.address()).await;
    raw.send(b"POST /nowhere HTTP/1.1\r\nhost: g\r\ntransfer-encoding: chunked\r\n\r\n").await;
    assert!(raw.read_answer().await.starts_with("HTTP/1.1 404"));
    let chunks = b"1\r\na\r\n".repeat(100);
    let end = within("the chunks are cut off", raw.send_slowly(&chunks, DRIP)).await;
    assert!(end.is_err(), "the whole left-over body was read");
    gateway.end(1).await;
}

#[tokio::test]
async fn a_body_that_drips_is_refused_after_its_time() {
    let upstream = Upstream::ollama();
    let gateway =
        spawn_gateway(config(Provider::ollama(&upstream), Server::default().body_timeout("500ms")))
            .await;
    let mut raw = Raw::connect(gateway.address()).await;
    let bytes = post_bytes("/v1/chat", &[], &chat("slow"));
    raw.send(&bytes[..bytes.len() - 1]).await;
    let answer = raw.read_answer().await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    raw.read_to_end().await;
    assert!(upstream.calls_so_far().is_empty());
    gateway.end(1).await;
}

#[tokio::test]
async fn a_reader_that_stalls_is_reset_and_its_call_closed() {
    let upstream = Upstream::spawn(|_| ollama::many_small_events(256 * MIB));
    let gateway =
        spawn_gateway(config(Provider::ollama(&upstream), Server::default().write_stall("1s")))
            .await;
    let mut raw = Raw::with_small_buffer(gateway.address(), 4096).await;
    raw.send(&post_bytes("/v1/chat", &[], &streamed_chat("flood"))).await;
    raw.read_until("data:").await;
    let left = upstream.left(0).await;
    assert!(!left.answered, "all of the flood was held for somebody who does not read");
    // The kernel has dropped the connection; using it fails.
    raw.offer(b"x").await;
    raw.reset_by_peer().await;
    assert_eq!(gateway.access_lines()[0].outcome, "cancelled");
    gateway.end(1).await;
}

#[tokio::test]
async fn fifty_stalled_readers_hold_little_memory_and_stop_their_providers() {
    let upstream = Upstream::spawn(|_| ollama::many_small_events(256 * MIB));
    let gateway = spawn_gateway(config(
        Provider::ollama(&upstream).slots(50),
        Server::default().write_stall("60s"),
    ))
    .await;
    let mut readers = Vec::new();
    let mut memory = Vec::new();
    for _ in 0..5 {
        for _ in 0..10 {
            let mut raw = Raw::with_small_buffer(gateway.address(), 4096).await;
            raw.send(&post_bytes("/v1/chat", &[], &streamed_chat("flood"))).await;
            raw.read_until("data:").await;
            readers.push(raw);
        }
        memory.push(steady_memory(&gateway).await);
    }
    // The median step: some steps bring in what all share, or a whole block of the allocator's.
    let mut steps: Vec<_> = memory.windows(2).map(|pair| (pair[1] - pair[0]) / 10).collect();
    steps.sort();
    let each = steps[steps.len() / 2 - 1];
    assert_eq!(upstream.under_way(), 50);
    assert!(each < 256 * 1024, "{} KiB are held for each", each / 1024);
    readers.into_iter().for_each(Raw::rst);
    upstream.at_rest().await;
    gateway.end(50).await;
}

/// The resident memory once it has not grown for a second.
async fn steady_memory(gateway: &Gateway) -> u64 {
    let (mut last, mut since) = (0, Instant::now());
    eventually(
        || "the memory stops to grow".to_owned(),
        async || {
            let now = gateway.resident_bytes();
            if now > last + 64 * 1024 {
                (last, since) = (now, Instant::now());
            }
            (since.elapsed() > Duration::from_secs(1)).then_some(now)
        },
    )
    .await
}

#[tokio::test]
async fn ten_thousand_idle_connections_are_kept_cheaply_and_closed_in_time() {
    let upstream = Upstream::ollama();
    let gateway = spawn_gateway(Provider::ollama(&upstream)).await;
    let (memory, descriptors) = (gateway.resident_bytes(), gateway.open_descriptors());
    let count = affordable(10_000);
    let mut idle = Vec::new();
    for _ in 0..count {
        idle.push(Raw::connect(gateway.address()).await);
    }
    let answer = post_json(&gateway.url("/v1/chat"), &chat("among many")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let each = gateway.resident_bytes().saturating_sub(memory) / count as u64;
    assert!(each < 48 * 1024, "{each} bytes for each idle connection");
    eventually(
        || format!("unused connections are closed: {} left", gateway.open_descriptors()),
        async || (gateway.open_descriptors() < descriptors + 50).then_some(()),
    )
    .await;
    idle.into_iter().for_each(Raw::rst);
    gateway.end(1).await;
}

/// As many as `wanted` of this test's own descriptors, if the machine allows so many.
fn affordable(wanted: usize) -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let soft = line.split_whitespace().next().unwrap().parse().unwrap_or(usize::MAX);
    wanted.min(soft.saturating_sub(soft / 4))
}

#[tokio::test]
async fn a_low_soft_limit_of_descriptors_is_raised_at_the_start() {
    let upstream = Upstream::ollama();
    let gateway = spawn_gateway_under("ulimit -Sn 64", Provider::ollama(&upstream)).await;
    let (soft, hard) = gateway.descriptor_limits();
    assert_eq!(soft, hard);
    gateway.end(0).await;
}

#[tokio::test]
async fn without_descriptors_callers_are_refused_and_with_some_again_served() {
    let held = Gate::closed();
    let gate = held.clone();
    let upstream = Upstream::spawn(move |call| {
        ollama::answer(&["a"]).head_hold(&gate).header("x-number", &call.number.to_string())
    });
    // No question of the gateway's own gives back a descriptor midway: it asks at its start, and
    // again and again where it schedules loads.
    let provider = Provider::ollama(&upstream).slots(100).scheduling("fair");
    let config = config(provider, Server::default().workers(1));
    let gateway = spawn_gateway_under("ulimit -n 64", config).await;
    gateway.logged("provider `ollama`, ").await;
    // One is served all the while.
    let mut early = Raw::connect(gateway.address()).await;
    early.send(&post_bytes("/v1/chat", &[], &streamed_chat("early"))).await;
    upstream.calls(1).await;
    let mut late = Raw::connect(gateway.address()).await;
    late.send(b"GET /livez HTTP/1.1\r\nhost: g\r\n\r\n").await;
    late.read_answer().await;
    let mut crowd = Vec::new();
    for _ in 0..100 {
        crowd.push(Raw::connect(gateway.address()).await);
    }
    eventually(
        || format!("descriptors run out at 64: {}", gateway.open_descriptors()),
        async || (gateway.open_descriptors() >= 64).then_some(()),
    )
    .await;
    late.send(&post_bytes("/v1/chat", &[], &chat("late"))).await;
    let refused = late.read_answer().await;
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    assert!(refused.contains("\r\nretry-after: "), "{refused}");
    crowd.into_iter().for_each(Raw::rst);
    held.open();
    early.read_until("[DONE]").await;
    early.fin();
    late.fin();
    let answer = post_json(&gateway.url("/v1/chat"), &chat("afterwards")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(get(&gateway.url("/readyz")).await.status, 200);
    gateway.end(3).await;
}

#[tokio::test]
async fn a_reader_that_is_slow_but_reads_gets_everything() {
    let upstream = Upstream::spawn(|_| ollama::many_small_events(2 * MIB));
    let gateway =
        spawn_gateway(config(Provider::ollama(&upstream), Server::default().write_stall("2s")))
            .await;
    let mut streamed = stream(&gateway.url("/v1/chat"), &streamed_chat("much")).await;
    for _ in 0..8 {
        streamed.piece().await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let pieces = streamed.rest().await;
    assert!(pieces.ended_properly && pieces.text().ends_with("data: [DONE]\n\n"));
    gateway.end(1).await;
}
