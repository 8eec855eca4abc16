//! Clients that disconnect, by FIN and by RST, in every phase of a request: a waiting request never
//! reaches the provider, a running call is closed, the slot is free again, and the request counts
//! as `cancelled`.

use std::time::{Duration, Instant};

use crate::client::raw::{Raw, post_bytes};
use crate::client::{chat, post_json, streamed_chat};
use crate::harness::{Config, Gateway, Provider, Server, spawn_gateway};
use crate::patience::eventually;
use crate::upstream::{Call, Gate, Script, Upstream, ollama};

/// A bound for what takes milliseconds, on a busy machine.
const SOON: Duration = Duration::from_secs(5);

/// How a client disconnects.
const WAYS: [fn(Raw); 2] = [Raw::fin, Raw::rst];

/// Where the provider's answer is translated, and where it is carried.
const BOTH: &[&str] = &["/v1/chat", "/api/chat"];

/// A client that has sent a request, streamed or not, and reads nothing yet.
async fn client(gateway: &Gateway, is_streamed: bool) -> Raw {
    client_at("/v1/chat", gateway, is_streamed).await
}

async fn client_at(path: &str, gateway: &Gateway, is_streamed: bool) -> Raw {
    let mut body = if is_streamed { streamed_chat("hi") } else { chat("hi") };
    body["stream"] = is_streamed.into();
    let mut client = Raw::connect(gateway.address()).await;
    client.send(&post_bytes(path, &[], &body)).await;
    client
}

/// Awaits the moment when the only provider reports `value` under `name`.
async fn says(gateway: &Gateway, name: &str, value: u64) {
    eventually(
        || format!("the provider's {name} is {value}"),
        async || {
            let providers = gateway.providers().await;
            let provider = providers.get("providers").unwrap_or(&providers);
            let first = provider.get(0).or_else(|| provider.get("ollama")).unwrap();
            (first[name] == value).then_some(())
        },
    )
    .await;
}

/// Disconnects clients once a provider that plays `script` has their calls; streaming ones read
/// `reads_first` before.
async fn leave_a_running_call(
    script: impl Fn(&Call) -> Script + Send + Sync + 'static,
    server: Server,
    reads_first: Option<&str>,
    paths: &[&'static str],
) {
    let upstream = Upstream::spawn(script);
    let config = Config::new().server(server).provider(Provider::ollama(&upstream).slots(1));
    let gateway = spawn_gateway(config).await;
    let mut number = 0;
    let ways = WAYS.into_iter().flat_map(|leave| paths.iter().map(move |path| (*path, leave)));
    for is_streamed in [false, true] {
        for (path, leave) in ways.clone() {
            let mut client = client_at(path, &gateway, is_streamed).await;
            // With one slot, this call shows that the slot of the one before was given back.
            upstream.calls(number + 1).await;
            if let (true, Some(text)) = (is_streamed, reads_first) {
                client.read_until(text).await;
            }
            let since = Instant::now();
            leave(client);
            let left = upstream.left(number).await;
            assert!(!left.answered && left.at - since < SOON, "{left:?}");
            number += 1;
        }
    }
    gateway.settled().await;
    gateway.adds_up(number).await;
    let metrics = gateway.metrics().await;
    let count = |name, outcome| metrics.sum(name, &[("outcome", outcome)]);
    assert_eq!(count("llm_gateway_requests_total", "cancelled"), number as f64);
    assert_eq!(count("llm_gateway_upstream_attempts_total", "cancelled"), number as f64);
    assert_eq!(metrics.sum("llm_gateway_cancel_seconds_count", &[]), number as f64);
    gateway.end(number).await;
}

#[tokio::test]
async fn a_disconnect_before_the_head_ends_the_call() {
    leave_a_running_call(|_| Script::never(), Server::default(), None, BOTH).await;
}

#[tokio::test]
async fn a_disconnect_after_an_early_head_ends_the_call() {
    let early = Server::default().heartbeat_after("50ms");
    // Ollama's clients know no heartbeats.
    let translated = &["/v1/chat"];
    leave_a_running_call(|_| Script::never(), early, Some("\r\n\r\n"), translated).await;
}

#[tokio::test]
async fn a_disconnect_between_the_head_and_the_first_event_ends_the_call() {
    leave_a_running_call(|_| ollama::stream_head().stall(), Server::default(), None, BOTH).await;
}

#[tokio::test]
async fn a_disconnect_from_a_running_answer_ends_the_call() {
    leave_a_running_call(
        |_| ollama::opened(&["Hel"]).stall(),
        Server::default(),
        Some("Hel"),
        BOTH,
    )
    .await;
}

#[tokio::test]
async fn a_disconnect_while_pieces_arrive_ends_the_call() {
    let endless = |_: &Call| ollama::stream_head().flood(std::iter::repeat(ollama::line("Hel")));
    let upstream = Upstream::spawn(endless);
    let gateway = spawn_gateway(Provider::ollama(&upstream).slots(1)).await;
    for (number, leave) in WAYS.into_iter().enumerate() {
        let mut client = client(&gateway, true).await;
        client.read_until("Hel").await;
        leave(client);
        upstream.left(number).await;
    }
    gateway.adds_up(2).await;
    let cancelled = [("outcome", "cancelled")];
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.sum("llm_gateway_requests_total", &cancelled), 2.0);
    gateway.end(2).await;
}

#[tokio::test]
async fn a_client_that_disconnects_while_waiting_never_reaches_the_provider() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::spawn(move |call| ollama::reply(call).head_hold(&held));
    let gateway = spawn_gateway(Provider::ollama(&upstream).slots(1)).await;
    let url = gateway.url("/v1/chat");
    let first = tokio::spawn(async move { post_json(&url, &chat("hi")).await });
    upstream.calls(1).await;
    for is_streamed in [false, true] {
        for leave in WAYS {
            let client = client(&gateway, is_streamed).await;
            says(&gateway, "queued", 1).await;
            leave(client);
            says(&gateway, "queued", 0).await;
        }
    }
    gate.open();
    assert_eq!(first.await.unwrap().status, 200);
    gateway.settled().await;
    assert_eq!(upstream.calls_so_far().len(), 1);
    let cancelled = [("outcome", "cancelled")];
    gateway.adds_up(5).await;
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.sum("llm_gateway_requests_total", &cancelled), 4.0);
    // They disconnected while waiting for a provider, and are counted there.
    let there = [("outcome", "cancelled"), ("provider", "ollama")];
    assert_eq!(metrics.sum("llm_gateway_requests_total", &there), 4.0);
    assert_eq!(metrics.sum("llm_gateway_queue_wait_seconds_count", &[("provider", "ollama")]), 5.0);
    let lines = gateway.access_lines();
    let left: Vec<_> = lines.iter().filter(|line| line.outcome == "cancelled").collect();
    assert!(left.iter().all(|line| line.fields["model"] == "llama3.1"), "{lines:?}");
    assert!(left.iter().any(|line| line.fields["queue_ms"] != "0"), "{lines:?}");
    gateway.end(5).await;
}

#[tokio::test]
async fn a_client_that_disconnects_while_waiting_frees_its_place() {
    let upstream = Upstream::spawn(|call| match call.number {
        0 => Script::never(),
        _ => ollama::reply(call),
    });
    let gateway = spawn_gateway(Provider::ollama(&upstream).slots(1)).await;
    let leaving = client(&gateway, false).await;
    upstream.calls(1).await;
    let url = gateway.url("/v1/chat");
    let next = tokio::spawn(async move { post_json(&url, &chat("hi")).await });
    says(&gateway, "queued", 1).await;
    leaving.fin();
    assert_eq!(next.await.unwrap().status, 200);
    assert_eq!(upstream.peak(), 1);
    gateway.end(2).await;
}

#[tokio::test]
async fn a_disconnect_between_two_attempts_ends_the_retries() {
    let upstream = Upstream::spawn(|_| ollama::error(503, "busy").header("retry-after", "15"));
    let gateway = spawn_gateway(Provider::ollama(&upstream)).await;
    for (number, leave) in WAYS.into_iter().enumerate() {
        let client = client(&gateway, number == 0).await;
        upstream.answered(number).await;
        says(&gateway, "retries_in_flight", 1).await;
        // The slot is not held while nothing runs.
        says(&gateway, "in_flight", 0).await;
        leave(client);
        says(&gateway, "retries_in_flight", 0).await;
    }
    gateway.adds_up(2).await;
    assert_eq!(upstream.calls_so_far().len(), 2);
    let cancelled = [("outcome", "cancelled")];
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.sum("llm_gateway_requests_total", &cancelled), 2.0);
    gateway.end(2).await;
}

#[tokio::test]
async fn a_disconnect_in_the_middle_of_a_request_reaches_no_provider() {
    let upstream = Upstream::ollama();
    let gateway = spawn_gateway(Provider::ollama(&upstream)).await;
    for leave in WAYS {
        let mut client = Raw::connect(gateway.address()).await;
        let request = post_bytes("/v1/chat", &[], &chat("hi"));
        client.send(&request[..request.len() - 5]).await;
        leave(client);
    }
    gateway.adds_up(2).await;
    assert_eq!(upstream.calls_so_far().len(), 0);
    gateway.end(2).await;
}
