//! Gateways under load while their Redis is frozen, stopped, and started again with and without its
//! keys.

use std::time::Duration;

use super::crew::{Clients, LIMIT, crew, end_all, hire, parts, ready, stop_all};
use crate::client::get;
use crate::crowd::{answers, count, send_many};
use crate::harness::Gateway;
use crate::patience::eventually;
use crate::redis::{Keys, Redis};
use crate::upstream::{Upstream, ollama};

/// Awaits that every gateway reports this of its Redis, while it stays ready.
async fn all_say(crew: &[Gateway], state: &str) {
    for gateway in crew {
        let url = gateway.url("/readyz");
        eventually(
            || format!("the redis is {state}"),
            async || {
                let ready = get(&url).await;
                assert_eq!(ready.status, 200, "{}", ready.text());
                (ready.json()["redis"] == state).then_some(())
            },
        )
        .await;
    }
}

/// Three gateways under load, before, during and after an outage: every client is answered with
/// 200, which [`Clients`] checks, and the limit is kept.
async fn survive(
    redis: &mut Redis,
    begin: impl AsyncFn(&mut Redis),
    end: impl AsyncFn(&mut Redis),
) {
    let upstream =
        Upstream::spawn(|call| ollama::reply(call).head_pause(Duration::from_millis(20)));
    let crew = crew(redis, &upstream, 3, "100ms").await;
    let clients: Vec<_> = crew.iter().map(|gateway| Clients::start(gateway, 6)).collect();
    upstream.busy(LIMIT).await;
    parts(&crew, "three know of each other", |parts| parts.iter().all(|part| part.1 == 3)).await;
    begin(redis).await;
    all_say(&crew, "degraded").await;
    for clients in &clients {
        clients.served(20).await;
    }
    parts(&crew, "each takes its share of eight", |parts| {
        parts.iter().all(|part| *part == (2, 3, true))
    })
    .await;
    for (gateway, clients) in crew.iter().zip(&clients) {
        clients.served(20).await;
        let metrics = gateway.metrics().await;
        assert_eq!(metrics.sum("llm_gateway_redis_up", &[]), 0.0);
        let skipped = [("outcome", "skipped")];
        assert!(metrics.sum("llm_gateway_redis_operations_total", &skipped) > 0.0);
    }
    end(redis).await;
    all_say(&crew, "ok").await;
    parts(&crew, "the whole limit is leased again", |parts| {
        parts.iter().all(|part| !part.2) && parts.iter().map(|part| part.0).sum::<u64>() == 8
    })
    .await;
    let mut sent = Vec::new();
    for clients in clients {
        clients.served(20).await;
        sent.push(clients.stop().await);
    }
    assert_eq!(upstream.peak(), LIMIT);
    for (gateway, sent) in crew.into_iter().zip(sent) {
        let lost = "the redis is not available";
        let lines = gateway.log_lines();
        let told = lines.iter().filter(|line| line.contains(lost)).count();
        assert!((1..=3).contains(&told), "told {told} times: {lines:#?}");
        gateway.end(sent).await;
    }
}

#[tokio::test]
async fn a_frozen_redis_fails_no_request_and_the_limit_is_kept() {
    let mut redis = Redis::start().await;
    survive(&mut redis, async |redis| redis.freeze(), async |redis| redis.thaw()).await;
}

#[tokio::test]
async fn a_stopped_redis_that_returns_with_its_keys_fails_no_request_and_the_limit_is_kept() {
    let mut redis = Redis::start().await;
    survive(
        &mut redis,
        async |redis| redis.stop(Keys::Kept).await,
        async |redis| redis.start_again().await,
    )
    .await;
}

#[tokio::test]
async fn a_stopped_redis_that_returns_without_its_keys_fails_no_request_and_the_limit_is_kept() {
    let mut redis = Redis::start().await;
    survive(
        &mut redis,
        async |redis| redis.stop(Keys::Lost).await,
        async |redis| redis.start_again().await,
    )
    .await;
}

#[tokio::test]
async fn a_redis_that_forgets_in_the_middle_leases_nothing_twice() {
    let redis = Redis::start().await;
    let upstream =
        Upstream::spawn(|call| ollama::reply(call).head_pause(Duration::from_millis(20)));
    let crew = crew(&redis, &upstream, 3, "1s").await;
    let clients: Vec<_> = crew.iter().map(|gateway| Clients::start(gateway, 6)).collect();
    upstream.busy(LIMIT).await;
    for _ in 0..3 {
        redis.ask("FLUSHALL").await;
        for clients in &clients {
            clients.served(20).await;
        }
    }
    let sent = stop_all(clients).await;
    assert_eq!(upstream.peak(), LIMIT);
    end_all(crew, sent).await;
}

#[tokio::test]
async fn a_gateway_that_starts_without_its_redis_takes_the_share_it_is_configured_for() {
    let mut redis = Redis::start().await;
    redis.stop(Keys::Lost).await;
    let upstream = Upstream::ollama();
    let one = hire(&redis, &upstream, "50ms").await;
    // It waits a second for the Redis before it goes its own way.
    let sent = send_many(&one, &[], "hi", 3);
    ready(&one).await;
    all_say(std::slice::from_ref(&one), "degraded").await;
    assert_eq!(count(&answers(sent).await, 200), 3);
    let crew = [one];
    parts(&crew, "one of one", |parts| parts == [(8, 1, true)]).await;
    redis.start_again().await;
    all_say(&crew, "ok").await;
    parts(&crew, "all of it", |parts| parts == [(8, 1, false)]).await;
    let [one] = crew;
    one.end(3).await;
}
