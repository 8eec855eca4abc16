//! Three gateways keep one limit together, in normal operation and when one of them stops.

use std::time::Duration;

use super::crew::{Clients, LIMIT, crew, end_all, hire, parts, ready, stop_all};
use crate::client::{chat, get};
use crate::crowd::{answers, count, send_many, snapshot, turn, waiting};
use crate::harness::Signal;
use crate::redis::Redis;
use crate::upstream::{Gate, Upstream, ollama};

/// A provider that holds every call until the gate is opened.
fn holding(gate: &Gate) -> Upstream {
    let gate = gate.clone();
    Upstream::spawn(move |call| ollama::reply(call).head_hold(&gate))
}

/// A provider whose calls take a while.
fn slow(pause: Duration) -> Upstream {
    Upstream::spawn(move |call| ollama::reply(call).head_pause(pause))
}

#[tokio::test]
async fn one_busy_gateway_of_three_gets_the_whole_limit_and_never_more() {
    let (redis, gate) = (Redis::start().await, Gate::closed());
    let upstream = holding(&gate);
    let crew = crew(&redis, &upstream, 3, "1s").await;
    let sent = send_many(&crew[1], &[], "hi", 20);
    upstream.busy(LIMIT).await;
    waiting(&crew[1], "ollama", 20 - LIMIT).await;
    parts(&crew, "all of it is at one", |parts| parts.iter().map(|part| part.0).eq([0, 8, 0]))
        .await;
    // Another client arrives and has to wait until one of the eight ends.
    let late = send_many(&crew[2], &[], "hi", 1);
    waiting(&crew[2], "ollama", 1).await;
    assert_eq!(upstream.under_way(), LIMIT);
    gate.open();
    assert_eq!(count(&answers(sent).await, 200) + count(&answers(late).await, 200), 21);
    assert_eq!(upstream.peak(), LIMIT);
    end_all(crew, [0, 20, 1]).await;
}

#[tokio::test]
async fn three_busy_gateways_use_the_whole_limit_and_never_more() {
    let (redis, upstream) = (Redis::start().await, slow(Duration::from_millis(30)));
    let crew = crew(&redis, &upstream, 3, "1s").await;
    let clients: Vec<_> = crew.iter().map(|gateway| Clients::start(gateway, 12)).collect();
    upstream.busy(LIMIT).await;
    parts(&crew, "a fair share for each", |parts| {
        let mut leases: Vec<u64> = parts.iter().map(|part| part.0).collect();
        leases.sort_unstable();
        leases == [2, 3, 3] && parts.iter().all(|part| part.1 == 3 && !part.2)
    })
    .await;
    for clients in &clients {
        clients.served(100).await;
    }
    for (gateway, clients) in crew.iter().zip(&clients) {
        let seen = snapshot(gateway, "ollama").await;
        assert_eq!(seen["limit"], seen["shared"]["lease"], "{seen}");
        assert_eq!((&seen["max_concurrency"], &seen["shared"]["of"]), (&8.into(), &8.into()));
        let shown = gateway.metrics().await.sum("llm_gateway_max_concurrency", &[]);
        assert!((2.0..=3.0).contains(&shown), "{shown}");
        clients.served(1).await;
    }
    let sent = stop_all(clients).await;
    assert_eq!(upstream.peak(), LIMIT);
    end_all(crew, sent).await;
}

#[tokio::test]
async fn what_a_killed_gateway_held_goes_to_the_others_and_the_limit_holds_all_along() {
    let (redis, gate) = (Redis::start().await, Gate::closed());
    let upstream = holding(&gate);
    let mut crew = crew(&redis, &upstream, 3, "1s").await;
    let mut killed = crew.remove(0);
    // The one that is killed has all eight; the others wait for them.
    let client = reqwest::Client::new();
    let lost: Vec<_> = (0..10)
        .map(|_| {
            let request = client.post(killed.url("/v1/chat")).json(&chat("hi"));
            tokio::spawn(async move { request.send().await.is_ok() })
        })
        .collect();
    upstream.busy(LIMIT).await;
    let calls = upstream.calls_so_far().len();
    let sent: Vec<_> = crew.iter().map(|gateway| send_many(gateway, &[], "hi", 12)).collect();
    for gateway in &crew {
        waiting(gateway, "ollama", 12).await;
    }
    killed.signal(Signal::Kill);
    killed.exited().await;
    upstream.calls(calls + LIMIT).await;
    upstream.busy(LIMIT).await;
    assert_eq!(upstream.peak(), LIMIT);
    parts(&crew, "the two share it", |parts| parts.iter().map(|part| part.0).eq([4, 4])).await;
    gate.open();
    for sent in sent {
        assert_eq!(count(&answers(sent).await, 200), 12);
    }
    for one in lost {
        assert!(!one.await.unwrap(), "a killed gateway answers nobody");
    }
    assert_eq!(upstream.peak(), LIMIT);
    for gateway in crew {
        gateway.end(12).await;
    }
}

#[tokio::test]
async fn a_gateway_that_stops_returns_its_lease_and_a_new_one_gets_its_own() {
    let (redis, upstream) = (Redis::start().await, slow(Duration::from_millis(20)));
    let mut crew = crew(&redis, &upstream, 2, "1s").await;
    parts(&crew, "two know of each other", |parts| parts.iter().all(|part| part.1 == 2)).await;
    crew.remove(0).end(0).await;
    parts(&crew, "one has all", |parts| parts[0].0 == 8 && parts[0].1 == 1).await;
    let clients = Clients::start(&crew[0], 12);
    upstream.busy(LIMIT).await;
    crew.push(hire(&redis, &upstream, "1s").await);
    ready(&crew[1]).await;
    let newcomers = Clients::start(&crew[1], 12);
    newcomers.served(50).await;
    parts(&crew, "half for each", |parts| parts.iter().map(|part| part.0).eq([4, 4])).await;
    // A limit that is lowered at one of them counts for both.
    assert_eq!(
        turn(&crew[0], "ollama", serde_json::json!({"max_concurrency": 4})).await.status,
        200
    );
    parts(&crew, "half of less", |parts| parts.iter().map(|part| part.0).eq([2, 2])).await;
    newcomers.served(50).await;
    assert_eq!(upstream.peak(), LIMIT);
    let sent = [clients.stop().await, newcomers.stop().await];
    end_all(crew, sent).await;
}

#[tokio::test]
async fn a_gateway_is_ready_once_it_knows_its_lease() {
    let (redis, upstream) = (Redis::start().await, slow(Duration::ZERO));
    let gateway = hire(&redis, &upstream, "1s").await;
    // The Redis knows nothing, so for two seconds a gateway might hold slots that it has forgotten.
    let early = get(&gateway.url("/readyz")).await;
    assert_eq!((early.status, early.text().as_str()), (503, r#"{"status":"starting"}"#));
    // A client that arrives early waits and is served.
    let sent = send_many(&gateway, &[], "hi", 20);
    ready(&gateway).await;
    assert_eq!(get(&gateway.url("/readyz")).await.text(), r#"{"status":"ok","redis":"ok"}"#);
    assert_eq!(count(&answers(sent).await, 200), 20);
    assert!(upstream.peak() <= LIMIT);
    gateway.end(20).await;
}
