//! What the gateway may hold in memory: request bodies, streamed answers, and answers that must be
//! complete.
//!
//! `LLM_GATEWAY_FLOOD_MIB` (default 24) is how much is streamed to show that memory does not grow
//! with it; `tests/run soak` takes 512.

use parking_lot::Mutex;

use crate::client::raw::{Raw, post_bytes};
use crate::client::{chat, post_json, stream, streamed_chat};
use crate::harness::{Config, Provider, Server, spawn_gateway};
use crate::patience::eventually;
use crate::upstream::{Gate, Script, Upstream, ollama};

const MIB: u64 = 1024 * 1024;

#[tokio::test]
async fn bodies_beyond_the_budget_are_refused_until_others_are_given_back() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::spawn(move |call| ollama::reply(call).head_hold(&held));
    let budget = Server::default().max_body("1MiB").max_buffered("1MiB");
    let config = Config::new().server(budget).provider(Provider::ollama(&upstream));
    let gateway = spawn_gateway(config).await;
    let large = chat(&"x".repeat(700 * 1024));
    let url = gateway.url("/v1/chat");

    let first = post_json(&url, &large);
    let others = async {
        upstream.calls(1).await;
        let held = gateway.providers().await["buffered_bytes"].as_u64().unwrap();
        assert!(held >= 700 * 1024, "{held}");
        // One that is half there counts as well.
        let mut half = Raw::connect(gateway.address()).await;
        let bytes = post_bytes("/v1/chat", &[], &large);
        half.send(&bytes[..200 * 1024]).await;
        eventually(
            || "half a body is counted".to_owned(),
            async || {
                let now = gateway.providers().await["buffered_bytes"].as_u64().unwrap();
                (now > held + 100 * 1024).then_some(())
            },
        )
        .await;
        half.rst();
        let refused = post_json(&url, &large).await;
        assert_eq!((refused.status, &refused.json()["code"]), (503, &"overloaded".into()));
        assert!(refused.header("retry-after").is_some());
        gate.open();
    };
    let (first, ()) = tokio::join!(first, others);
    assert_eq!(first.status, 200, "{}", first.text());
    eventually(
        || "the budget is given back".to_owned(),
        async || (gateway.providers().await["buffered_bytes"] == 0).then_some(()),
    )
    .await;
    assert_eq!(post_json(&url, &large).await.status, 200);
    gateway.end(4).await;
}

#[tokio::test]
async fn a_flood_of_small_events_passes_with_flat_memory() {
    let size = std::env::var("LLM_GATEWAY_FLOOD_MIB").map_or(24, |mib| mib.parse().unwrap()) * MIB;
    let upstream = Upstream::spawn(move |_| ollama::many_small_events(size));
    let gateway = spawn_gateway(Provider::ollama(&upstream)).await;
    let mut streamed = stream(&gateway.url("/v1/chat"), &streamed_chat("flood")).await;
    let (mut read, mut tail, mut early, mut peak) = (0u64, Vec::new(), None, 0);
    while let Some(piece) = streamed.piece().await.unwrap() {
        let before = read / MIB;
        read += piece.len() as u64;
        tail = [tail.as_slice(), &piece].concat();
        tail.drain(..tail.len().saturating_sub(64));
        if read / MIB > before {
            let now = gateway.resident_bytes();
            early.get_or_insert(now);
            peak = peak.max(now);
        }
    }
    assert!(tail.ends_with(b"data: [DONE]\n\n"), "{}", String::from_utf8_lossy(&tail));
    let grown = peak - early.unwrap();
    assert!(grown < 8 * MIB, "{grown} bytes more after {} MiB", read / MIB);
    gateway.end(1).await;
}

#[tokio::test]
async fn a_reader_that_pauses_stops_the_provider_and_loses_nothing() {
    let upstream = Upstream::spawn(|_| ollama::many_small_events(24 * MIB));
    let gateway = spawn_gateway(Provider::ollama(&upstream)).await;
    // Once without a pause, to bring in what a flood needs anyhow.
    let whole = stream(&gateway.url("/v1/chat"), &streamed_chat("flood")).await;
    assert!(whole.rest().await.ended_properly);
    let before = gateway.resident_bytes();
    let mut raw = Raw::with_small_buffer(gateway.address(), 4096).await;
    raw.send(&post_bytes("/v1/chat", &[("connection", "close")], &streamed_chat("flood"))).await;
    raw.read_until("data:").await;
    // Another request takes its whole way meanwhile; the flood has had every chance to pile up.
    for _ in 0..20 {
        drop(gateway.metrics().await);
    }
    assert_eq!(upstream.under_way(), 1);
    assert!(gateway.resident_bytes() < before + 8 * MIB);
    let (text, _) = raw.read_to_end().await;
    assert!(text.ends_with("data: [DONE]\n\n\r\n0\r\n\r\n"), "{}", &text[text.len() - 100..]);
    let piece = serde_json::to_string("a").unwrap();
    let deltas = text.matches(&format!("\"delta\":{piece}")).count();
    let tokens = text.split("\"completion_tokens\":").nth(1).unwrap();
    let tokens: usize = tokens.split([',', '}']).next().unwrap().parse().unwrap();
    assert_eq!(deltas, tokens);
    gateway.end(2).await;
}

#[tokio::test]
async fn an_answer_too_large_to_be_held_is_cut_and_its_call_closed() {
    for large in [ollama::one_endless_line(1024 * MIB), many_large_events(1024 * MIB)] {
        let large = Mutex::new(Some(large));
        let upstream = Upstream::spawn(move |_| large.lock().take().expect("one call only"));
        let gateway = spawn_gateway(Provider::ollama(&upstream)).await;
        let before = gateway.resident_bytes();
        let answer = post_json(&gateway.url("/v1/chat"), &chat("whole")).await;
        assert_eq!((answer.status, &answer.json()["code"]), (502, &"bad_upstream".into()));
        let left = upstream.left(0).await;
        assert!(!left.answered);
        let held = gateway.resident_bytes().saturating_sub(before);
        assert!(held < 160 * MIB, "{} MiB were held", held / MIB);
        gateway.end(1).await;
    }
}

/// About `total` bytes of lines that are each far below any bound.
fn many_large_events(total: u64) -> Script {
    let line = ollama::line(&"a".repeat(64 * 1024));
    let lines = usize::try_from(total).unwrap() / line.len();
    ollama::stream_head().flood(std::iter::repeat_n(line, lines))
}
