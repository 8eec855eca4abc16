//! Request rates: what is granted, what the headers say, and what a reload keeps.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{account, ask, config, gateway_with, limited, number};
use crate::client::{chat, get, post_json, post_json_with};
use crate::crowd::{answers, count, key, press, send_many};
use crate::harness::{Key, Provider, Rate, spawn_gateway, spawn_gateway_with};
use crate::patience::eventually;
use crate::upstream::Upstream;

/// Such a slow refill that nothing comes back while a test runs.
const SLOW: f64 = 0.001;

/// The key `a` with this rate.
fn limited_to(capacity: u32, refill_per_second: f64) -> Key {
    Key::new("a").rate(Rate::of(capacity, refill_per_second))
}

#[tokio::test]
async fn a_key_has_its_capacity_at_once_and_reads_what_is_left() {
    let upstream = Upstream::ollama();
    let keys = [limited_to(3, SLOW), Key::new("free")];
    let gateway = gateway_with(&upstream, keys).await;
    for left in [2, 1, 0] {
        let answer = ask(&gateway, "sk-a").await;
        assert_eq!(answer.status, 200);
        assert_eq!(number(&answer, "x-ratelimit-limit-requests"), 3);
        assert_eq!(number(&answer, "x-ratelimit-remaining-requests"), left);
        assert!(answer.header("x-ratelimit-limit-tokens").is_none());
    }
    let refused = ask(&gateway, "sk-a").await;
    // The next one comes in about 1000 s; `Retry-After` is never longer than a minute.
    assert_eq!(
        limited(&refused, "has used its requests, there is enough for this request in 16m"),
        60
    );
    assert_eq!(number(&refused, "x-ratelimit-remaining-requests"), 0);
    let reset = refused.header("x-ratelimit-reset-requests").unwrap();
    assert!(reset.starts_with("49m") || reset == "50m0s", "{reset}");
    // Other keys are not affected, and without a limit there are no such headers.
    let other = ask(&gateway, "sk-free").await;
    assert_eq!(other.status, 200);
    assert!(other.header("x-ratelimit-limit-requests").is_none());
    let status = account(&gateway, "a").await;
    let requests = json!({ "limit": 3, "remaining": 0, "refill_per_second": 0.001 });
    for (name, value) in requests.as_object().unwrap() {
        assert_eq!(&status["requests"][name], value, "{status}");
    }
    assert_eq!(account(&gateway, "free").await["requests"], json!(null));
    assert_eq!(upstream.calls_so_far().len(), 4);
    let metrics = gateway.metrics().await;
    let decided = |decision| metrics.sum("llm_gateway_rate_limit_total", &[("decision", decision)]);
    assert_eq!((decided("allowed"), decided("requests")), (3.0, 1.0));
    gateway.end(5).await;
}

#[tokio::test]
async fn a_client_that_waits_for_retry_after_is_admitted() {
    let upstream = Upstream::ollama();
    let gateway = gateway_with(&upstream, [limited_to(1, 0.8)]).await;
    assert_eq!(ask(&gateway, "sk-a").await.status, 200);
    let refused = ask(&gateway, "sk-a").await;
    let after = Duration::from_secs(limited(&refused, "has used its requests"));
    // Being refused costs nothing, so that impatience neither helps nor hurts.
    let (since, asked) = (Instant::now(), std::cell::Cell::new(0));
    eventually(
        || "the next request is let in".to_owned(),
        async || {
            asked.set(asked.get() + 1);
            (ask(&gateway, "sk-a").await.status == 200).then_some(())
        },
    )
    .await;
    assert!(since.elapsed() < after + Duration::from_secs(5), "{:?}", since.elapsed());
    gateway.end(2 + asked.get()).await;
}

#[tokio::test]
async fn a_burst_is_granted_the_capacity_and_the_refill_and_no_more() {
    let upstream = Upstream::ollama();
    let gateway = gateway_with(&upstream, [limited_to(40, 20.0)]).await;
    let began = Instant::now();
    let mut granted = 0;
    for _ in 0..5 {
        granted += count(&answers(send_many(&gateway, &key("sk-a"), "hi", 60)).await, 200);
    }
    let most = 40.0 + 20.0 * began.elapsed().as_secs_f64();
    assert!((40..=most.ceil() as usize).contains(&granted), "{granted} of at most {most}");
    gateway.end(300).await;
}

#[tokio::test]
async fn every_dialect_says_it_in_its_own_words() {
    let upstream = Upstream::ollama();
    let gateway = gateway_with(&upstream, [limited_to(1, SLOW)]).await;
    assert_eq!(ask(&gateway, "sk-a").await.status, 200);
    let mut body = chat("hi");
    body["model"] = "llama3.1".into();
    body["max_tokens"] = 5.into();
    for (path, pointer, expected) in [
        ("/v1/chat", "/code", "rate_limited"),
        ("/v1/chat/completions", "/error/code", "rate_limit_exceeded"),
        ("/v1/messages", "/error/type", "rate_limit_error"),
        ("/api/chat", "/error", "this key has used its requests"),
    ] {
        let answer = post_json_with(&gateway.url(path), &key("sk-a"), &body).await;
        let found = answer.json().pointer(pointer).cloned().unwrap_or_default();
        assert_eq!(answer.status, 429, "{path}: {}", answer.text());
        assert!(found.as_str().unwrap().starts_with(expected), "{path}: {}", answer.text());
        assert_eq!(number(&answer, "x-ratelimit-limit-requests"), 1);
        assert!((1..=60).contains(&number(&answer, "retry-after")));
    }
    let texts = json!({ "model": "llama3.1", "input": ["hi"] });
    let answer = post_json_with(&gateway.url("/v1/embeddings"), &key("sk-a"), &texts).await;
    assert_eq!(answer.status, 429);
    // What costs a provider nothing costs the caller nothing.
    for path in ["/v1/models", "/api/tags", "/livez", "/readyz", "/api/version"] {
        let answer = crate::client::ask("GET", &gateway.url(path), &key("sk-a")).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }
    gateway.end(6 + 2).await;
}

#[tokio::test]
async fn the_short_names_limit_every_key_without_a_rate() {
    let upstream = Upstream::ollama();
    let plain = Provider::ollama(&upstream);
    let variables = [("RATE_LIMITER_CAPACITY", "2"), ("RATE_LIMITER_REFILL_RATE", "0.001")];
    let gateway = spawn_gateway_with(&plain, &variables).await;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(post_json(&gateway.url("/v1/chat"), &chat("hi")).await.status);
    }
    assert_eq!(statuses, [200, 200, 429]);
    gateway.end(3).await;
    let own = |name: &str, capacity| Key::new(name).rate(Rate::default().capacity(capacity));
    let keys = [own("own", 5), own("none", 0), Key::new("all")];
    let gateway = spawn_gateway_with(config(&upstream, keys), &variables).await;
    for (secret, limit) in [("sk-own", Some("5")), ("sk-none", None), ("sk-all", Some("2"))] {
        let answer = ask(&gateway, secret).await;
        assert_eq!(answer.header("x-ratelimit-limit-requests"), limit, "{secret}");
    }
    gateway.end(3).await;
}

#[tokio::test]
async fn a_reload_changes_limits_at_once_and_keeps_what_was_used() {
    let upstream = Upstream::ollama();
    let with = |capacity| config(&upstream, [limited_to(capacity, SLOW)]);
    let gateway = spawn_gateway(with(3)).await;
    for _ in 0..3 {
        assert_eq!(ask(&gateway, "sk-a").await.status, 200);
    }
    for (capacity, left) in [(3, 0), (5, 2), (4, 1)] {
        gateway.write_config(with(capacity));
        assert_eq!(press(&gateway, "reload").await.status, 200);
        assert_eq!(account(&gateway, "a").await["requests"]["remaining"], left);
    }
    assert_eq!(ask(&gateway, "sk-a").await.status, 200);
    limited(&ask(&gateway, "sk-a").await, "has used its requests");
    let shown = get(&gateway.admin_url("/admin/keys")).await.text();
    assert!(!shown.contains("sk-a"), "{shown}");
    gateway.end(5).await;
}
