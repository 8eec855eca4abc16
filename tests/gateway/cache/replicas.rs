//! Answers that two gateways share through a real Redis, and what remains when it fails.

use super::{ask, ask_with, fixed, numbered, said};
use crate::client::post_json;
use crate::crowd::press;
use crate::harness::{Cache, Config, Gateway, Provider, spawn_gateway};
use crate::patience::eventually;
use crate::redis::{Keys, Redis};
use crate::upstream::Upstream;

/// A gateway that shares its answers, once it has found the Redis.
async fn sharing(upstream: &Upstream, redis: &Redis) -> Gateway {
    let config = Config::new()
        .provider(Provider::ollama(upstream))
        // Far above what an answer takes, so that a loaded machine does not look like a slow Redis.
        .redis(redis.section("5s"))
        .cache(Cache::default().ttl("1h"));
    let gateway = spawn_gateway(config).await;
    linked(&gateway).await;
    gateway
}

async fn linked(gateway: &Gateway) {
    eventually(
        || "the gateway finds its Redis".to_owned(),
        async || {
            let up = gateway.metrics().await.sum("llm_gateway_redis_up", &[]);
            (up == 1.0).then_some(())
        },
    )
    .await;
}

/// Awaits the moment when so many answers are in the Redis.
async fn kept(redis: &Redis, count: usize) {
    eventually(
        || format!("{count} answers are in the Redis"),
        async || {
            let keys = redis.ask("KEYS llm-gateway:answer:*").await;
            (keys.matches("llm-gateway:answer:").count() == count).then_some(())
        },
    )
    .await;
}

#[tokio::test]
async fn one_gateway_reuses_the_cached_answer_of_another() {
    let (upstream, redis) = (Upstream::spawn(numbered), Redis::start().await);
    let one = sharing(&upstream, &redis).await;
    let other = sharing(&upstream, &redis).await;
    assert_eq!(said(&ask(&one, &fixed("hi")).await), ("call 0".into(), Some("miss")));
    kept(&redis, 1).await;
    let found = ask(&other, &fixed("hi")).await;
    assert_eq!(said(&found), ("call 0".into(), Some("hit")));
    assert_eq!(found.header("x-gateway-attempts"), Some("0"));
    assert_eq!(other.providers().await["cache"]["entries"], 1, "and it is at hand from now on");
    let fresh = ask_with(&other, &[("cache-control", "no-cache")], &fixed("hi")).await;
    assert_eq!(said(&fresh), ("call 1".into(), Some("miss")));
    let metrics = other.metrics().await;
    let counted = |result| metrics.sum("llm_gateway_cache_total", &[("result", result)]);
    assert_eq!((counted("hit"), counted("miss")), (1.0, 1.0));
    let key = redis.ask("KEYS llm-gateway:answer:*").await;
    assert!(!key.contains("hi\r"), "keys are digests: {key}");
    one.end(1).await;
    other.end(2).await;
}

#[tokio::test]
async fn a_prompt_that_must_stay_local_never_goes_to_the_redis() {
    let (upstream, redis) = (Upstream::spawn(numbered), Redis::start().await);
    let gateway = sharing(&upstream, &redis).await;
    let policy = [("x-gateway-data-policy", "local")];
    for cache in ["miss", "hit"] {
        let answer = ask_with(&gateway, &policy, &fixed("hi")).await;
        assert_eq!(said(&answer), ("call 0".into(), Some(cache)));
    }
    let mut hinted = fixed("ho");
    hinted["model_hint"] = "secure".into();
    ask(&gateway, &hinted).await;
    ask(&gateway, &fixed("he")).await;
    // The last write is there, so an earlier one would be.
    kept(&redis, 1).await;
    gateway.end(4).await;
}

#[tokio::test]
async fn without_its_redis_a_gateway_continues_with_its_own_memory() {
    let (upstream, mut redis) = (Upstream::spawn(numbered), Redis::start().await);
    let gateway = sharing(&upstream, &redis).await;
    assert_eq!(said(&ask(&gateway, &fixed("hi")).await), ("call 0".into(), Some("miss")));
    redis.stop(Keys::Lost).await;
    assert_eq!(said(&ask(&gateway, &fixed("ho")).await), ("call 1".into(), Some("miss")));
    assert_eq!(said(&ask(&gateway, &fixed("hi")).await), ("call 0".into(), Some("hit")));
    assert_eq!(said(&ask(&gateway, &fixed("ho")).await), ("call 1".into(), Some("hit")));
    let refused = post_json(&gateway.admin_url("/admin/cache/clear"), &().into()).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    redis.start_again().await;
    linked(&gateway).await;
    assert_eq!(said(&ask(&gateway, &fixed("he")).await), ("call 2".into(), Some("miss")));
    kept(&redis, 1).await;
    gateway.end(5).await;
}

#[tokio::test]
async fn cleared_answers_are_not_found_and_foreign_bytes_are_a_miss() {
    let (upstream, redis) = (Upstream::spawn(numbered), Redis::start().await);
    let one = sharing(&upstream, &redis).await;
    let other = sharing(&upstream, &redis).await;
    ask(&one, &fixed("hi")).await;
    kept(&redis, 1).await;
    assert_eq!(press(&one, "cache/clear").await.status, 200);
    assert_eq!(said(&ask(&other, &fixed("hi")).await), ("call 1".into(), Some("miss")));
    ask(&one, &fixed("ho")).await;
    kept(&redis, 2).await;
    let keys = redis.ask("KEYS llm-gateway:answer:*").await;
    for key in keys.lines().filter(|line| line.starts_with("llm-gateway:")) {
        redis.ask(&format!("SET {key} 9999999999999nonsense")).await;
    }
    assert_eq!(said(&ask(&other, &fixed("ho")).await), ("call 3".into(), Some("miss")));
    one.end(2).await;
    other.end(2).await;
}
