//! Shared answers that break off and continue at another provider, for all clients that share them.

use serde_json::Value;

use super::{joined, raw};
use crate::crowd::send;
use crate::harness::{Breaker, Cache, Config, Gateway, Provider, Route, Target, spawn_gateway};
use crate::upstream::{Gate, Upstream, ollama, openai};

/// A gateway whose first provider dies after a token, once the gate is open, and whose second one
/// gives all of the same answer.
async fn dying(gate: &Gate) -> (Gateway, Upstream, Upstream) {
    let held = gate.clone();
    let first = Upstream::spawn(move |_| ollama::opened(&["Hel"]).hold(&held).cut_at(u64::MAX));
    let second = Upstream::spawn(|_| openai::answer(&["Hel", "lo", "!"]));
    let calm =
        |provider: Provider| provider.no_retries().breaker(Breaker::default().failures(1000));
    let config = Config::new()
        .provider(calm(Provider::ollama(&first).name("first")))
        .provider(calm(Provider::openai("second", &second)))
        .route(
            Route::new("chat", [Target::new("first", "m")]).fallback([Target::new("second", "m")]),
        )
        .cache(Cache::default().ttl("1h"));
    (spawn_gateway(config).await, first, second)
}

fn asked(is_streamed: bool) -> Value {
    let mut body = if is_streamed { super::streamed("hi") } else { super::fixed("hi") };
    body["model"] = "chat".into();
    body
}

#[tokio::test]
async fn a_resumed_stream_continues_for_all_clients_and_is_not_cached() {
    let gate = Gate::closed();
    let (gateway, first, second) = dying(&gate).await;
    let mut leader = raw(&gateway, &asked(true)).await;
    leader.read_until("Hel").await;
    let mut late = raw(&gateway, &asked(true)).await;
    let whole = send(&gateway, &[], asked(false));
    joined(&gateway, 2).await;
    gate.open();
    for client in [&mut leader, &mut late] {
        let text = client.read_until("[DONE]").await;
        assert_eq!(text.matches("Hel").count(), 1, "{text}");
        assert!(text.contains(r#""delta":"!""#), "{text}");
    }
    assert_eq!(whole.await.unwrap().json()["content"], "Hello!");
    leader.fin();
    late.fin();
    gateway.adds_up(3).await;
    let lines = gateway.access_lines();
    let attempts: u32 =
        lines.iter().map(|line| line.fields["attempts"].parse::<u32>().unwrap()).sum();
    assert_eq!(attempts, 2, "{lines:#?}");
    assert_eq!((first.calls_so_far().len(), second.calls_so_far().len()), (1, 1));
    assert_eq!(gateway.providers().await["cache"]["entries"], 0);
    gateway.end(3).await;
}

#[tokio::test]
async fn a_whole_answer_that_starts_again_reaches_clients_that_have_seen_nothing_and_is_cached() {
    let gate = Gate::closed();
    let (gateway, first, second) = dying(&gate).await;
    let leader = send(&gateway, &[], asked(false));
    first.calls(1).await;
    let mut streaming = raw(&gateway, &asked(true)).await;
    streaming.read_until("Hel").await;
    let whole = send(&gateway, &[], asked(false));
    joined(&gateway, 2).await;
    gate.open();
    for answer in [leader.await.unwrap(), whole.await.unwrap()] {
        assert_eq!(answer.json()["content"], "Hello!");
        assert_eq!(answer.header("x-gateway-provider"), Some("second"));
    }
    let text = streaming.read_until("event: error").await;
    assert!(!text.contains("[DONE]"), "{text}");
    streaming.fin();
    let mut direct = super::fixed("hi");
    direct["model"] = "second/m".into();
    let kept = send(&gateway, &[], direct).await.unwrap();
    assert_eq!(kept.header("x-gateway-cache"), Some("hit"));
    assert_eq!((first.calls_so_far().len(), second.calls_so_far().len()), (1, 1));
    gateway.end(4).await;
}
