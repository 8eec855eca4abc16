//! What a client of a stream is told while nothing of its answer has arrived.

use std::time::Instant;

use llm_gateway::http::settings::ServerSettings;
use llm_gateway::provider::settings::ProviderSettings;

use crate::client::{chat, stream, streamed_chat};
use crate::crowd::{send, waiting};
use crate::harness::{Config, Provider, Server, spawn_gateway};
use crate::upstream::{Gate, Upstream, ollama};

/// Long enough that a comment that comes an interval later is told from one that comes at once.
const EVERY: &str = "2s";

#[tokio::test]
async fn the_headers_of_a_waiting_stream_come_with_its_place_and_once_measured_its_wait() {
    let gates = [Gate::closed(), Gate::closed()];
    let held = gates.clone();
    // Two requests in turn at each gate: the one that holds the slot, and the one behind it.
    let upstream = Upstream::spawn(move |call| {
        ollama::reply(call).head_hold(&held[usize::from(call.number >= 2)])
    });
    let config = Config::new()
        .server(Server::default().heartbeat_after(EVERY))
        .provider(Provider::ollama(&upstream).slots(1));
    let gateway = spawn_gateway(config).await;
    let told = [": waiting, 0 ahead\n\n", ": waiting, 0 ahead, about "];
    for (round, gate) in gates.iter().enumerate() {
        let running = send(&gateway, &[], chat("hi"));
        upstream.calls(2 * round + 1).await;
        let asked = Instant::now();
        let mut waits = stream(&gateway.url("/v1/chat"), &streamed_chat("hi")).await;
        let headers = asked.elapsed();
        waiting(&gateway, "ollama", 1).await;
        assert_eq!(waits.status, 200);
        let seen = waits.until(told[round]).await;
        assert!(seen.starts_with(told[round]), "the first comment: {seen}");
        // The next one would come as long after the headers as these came after the request.
        assert!(asked.elapsed() < 2 * headers, "{:?} after {headers:?}", asked.elapsed());
        gate.open();
        assert_eq!(running.await.unwrap().status, 200);
        let rest = waits.rest().await;
        assert!(rest.ended_properly && rest.text().contains("\"delta\""), "{}", rest.text());
    }
    gateway.end(4).await;
}

#[test]
fn by_default_whoever_waits_is_told_long_before_the_wait_ends() {
    let heartbeat = ServerSettings::default().heartbeat_after;
    assert!(heartbeat * 6 <= ProviderSettings::default().max_queue_wait, "{heartbeat:?}");
}
