//! What is never cached, for how long, for which keys, and within which size.

use llm_gateway::policy::Trust;
use serde_json::{Value, json};

use super::{ask, ask_with, config, fixed, hour, keeping, numbered, said};
use crate::client::stream;
use crate::harness::{Auth, Cache, Config, Gateway, Key, Provider, Rate, spawn_gateway};
use crate::patience::eventually;
use crate::upstream::{Call, Script, Upstream, ollama};

/// Two keys, and a third that may not use the model.
fn keys() -> [Key; 3] {
    [Key::new("a"), Key::new("b"), Key::new("c").models(["other"])]
}

/// Asks twice and returns the cache's header each time; the second answer must come from its own
/// call.
async fn asks_twice(gateway: &Gateway, upstream: &Upstream, body: &Value) -> [u16; 2] {
    let before = upstream.calls_so_far().len();
    let first = ask(gateway, body).await;
    let second = ask(gateway, body).await;
    assert_ne!(second.header("x-gateway-cache"), Some("hit"), "{}", second.text());
    assert_eq!(upstream.calls_so_far().len(), before + 2, "{body}");
    [first.status, second.status]
}

fn ended_by(reason: &str) -> Script {
    let last = json!({ "model": ollama::MODEL, "message": { "role": "assistant", "content": "" },
        "done": true, "done_reason": reason, "prompt_eval_count": 1, "eval_count": 1 });
    ollama::opened(&["a"]).piece(format!("{last}\n"))
}

#[tokio::test]
async fn failed_truncated_and_refused_answers_are_never_cached() {
    let upstream =
        Upstream::spawn(|call| match call.json()["messages"][0]["content"].as_str().unwrap() {
            "refuse" => ollama::error(400, "no"),
            "cut" => ollama::opened(&["a", "b"]).closing().cut_at(1_000_000),
            "break" => ollama::opened(&["a"]).piece(ollama::error_line("broken")),
            "long" => ended_by("length"),
            other => panic!("{other}"),
        });
    let gateway = keeping(&upstream).await;
    assert_eq!(asks_twice(&gateway, &upstream, &fixed("refuse")).await, [400, 400]);
    assert_eq!(asks_twice(&gateway, &upstream, &fixed("cut")).await, [502, 502]);
    assert_eq!(asks_twice(&gateway, &upstream, &fixed("break")).await, [502, 502]);
    assert_eq!(asks_twice(&gateway, &upstream, &fixed("long")).await, [200, 200]);
    for _ in 0..2 {
        let mut body = fixed("cut");
        body["stream"] = true.into();
        let read = stream(&gateway.url("/v1/chat"), &body).await.rest().await;
        assert!(!read.ended_properly && read.text().contains("event: error"), "{}", read.text());
    }
    assert_eq!(upstream.calls_so_far().len(), 10);
    assert_eq!(gateway.providers().await["cache"]["entries"], 0);
    gateway.end(10).await;
}

#[tokio::test]
async fn a_cached_answer_is_reused_for_its_ttl_and_no_longer() {
    let upstream = Upstream::spawn(numbered);
    let ollama = Provider::ollama(&upstream);
    let gateway =
        spawn_gateway(Config::new().provider(ollama).cache(Cache::default().ttl("400ms"))).await;
    let asked = std::cell::Cell::new(0);
    eventually(
        || format!("the answer grows too old, {} were asked", asked.get()),
        async || {
            asked.set(asked.get() + 1);
            let answer = ask(&gateway, &fixed("hi")).await;
            (said(&answer).0 == "call 1").then_some(())
        },
    )
    .await;
    assert_eq!(upstream.calls_so_far().len(), 2);
    gateway.end(asked.get()).await;
}

#[tokio::test]
async fn the_cache_never_exceeds_its_size() {
    let upstream = Upstream::spawn(|_| ollama::answer(&["x".repeat(1000).as_str()]));
    let gateway =
        spawn_gateway(config(&upstream, hour().max_size("8KiB").max_answer("4KiB"))).await;
    for number in 0..20 {
        ask(&gateway, &fixed(&format!("question {number}"))).await;
        let bytes = gateway.providers().await["cache"]["bytes"].as_u64().unwrap();
        assert!(bytes <= 8 << 10, "{bytes} after {number}");
    }
    let status = gateway.providers().await["cache"].clone();
    assert!(status["entries"].as_u64().unwrap() >= 2, "{status}");
    gateway.end(20).await;
}

#[tokio::test]
async fn an_answer_larger_than_max_answer_is_sent_and_not_cached() {
    let upstream = Upstream::spawn(|_| ollama::answer(&["x".repeat(5000).as_str(); 4]));
    let gateway = spawn_gateway(config(&upstream, hour().max_answer("10KiB"))).await;
    for _ in 0..2 {
        let (content, cache) = {
            let answer = ask(&gateway, &fixed("hi")).await;
            let (content, cache) = said(&answer);
            (content, cache.map(str::to_owned))
        };
        assert_eq!((content.len(), cache.as_deref()), (20_000, Some("miss")));
    }
    assert_eq!(gateway.providers().await["cache"]["entries"], 0);
    gateway.end(2).await;
}

#[tokio::test]
async fn every_key_has_its_own_cached_answers() {
    let upstream = Upstream::spawn(numbered);
    let gateway = spawn_gateway(config(&upstream, hour()).keys(keys())).await;
    let mut answers = Vec::new();
    for key in ["sk-a", "sk-b", "sk-a", "sk-b"] {
        answers.push(ask_with(&gateway, &[("x-api-key", key)], &fixed("hi")).await);
    }
    let answers: Vec<_> = answers.iter().map(|answer| said(answer).0).collect();
    assert_eq!(answers, ["call 0", "call 1", "call 0", "call 1"]);
    gateway.end(4).await;
}

#[tokio::test]
async fn shared_answers_reach_only_those_who_may_use_the_model() {
    let upstream = Upstream::spawn(numbered);
    let gateway = spawn_gateway(config(&upstream, hour().shared(true)).keys(keys())).await;
    let first = ask_with(&gateway, &[("x-api-key", "sk-a")], &fixed("hi")).await;
    assert_eq!(said(&first), ("call 0".into(), Some("miss")));
    let other = ask_with(&gateway, &[("x-api-key", "sk-b")], &fixed("hi")).await;
    assert_eq!(said(&other), ("call 0".into(), Some("hit")));
    let barred = ask_with(&gateway, &[("x-api-key", "sk-c")], &fixed("hi")).await;
    assert_eq!((barred.status, barred.header("x-gateway-cache")), (403, None));
    let nobody = ask_with(&gateway, &[("x-api-key", "sk-d")], &fixed("hi")).await;
    assert_eq!(nobody.status, 401);
    gateway.end(4).await;
}

#[tokio::test]
async fn a_hit_does_not_count_against_a_rate_unless_configured() {
    for (counts, expected) in [(false, [200; 4]), (true, [200, 200, 200, 429])] {
        let upstream = Upstream::spawn(numbered);
        let config = config(&upstream, hour())
            .key(Key::new("a").rate(Rate::of(3, 0.0001)))
            .auth(Auth::default().count_cache_hits(counts));
        let gateway = spawn_gateway(config).await;
        let mut statuses = Vec::new();
        for _ in 0..4 {
            let answer = ask_with(&gateway, &[("x-api-key", "sk-a")], &fixed("hi")).await;
            statuses.push(answer.status);
            if !counts {
                assert_eq!(answer.header("x-ratelimit-remaining-requests"), Some("2"));
            }
        }
        assert_eq!(statuses, expected);
        assert_eq!(upstream.calls_so_far().len(), 1);
        gateway.end(4).await;
    }
}

#[tokio::test]
async fn a_prompt_that_must_stay_local_gets_no_cached_cloud_answer() {
    fn named(name: &'static str) -> impl Fn(&Call) -> Script {
        move |_| ollama::answer(&[name])
    }
    let (cloud, local) = (Upstream::spawn(named("cloud")), Upstream::spawn(named("local")));
    let config = Config::new()
        .provider(Provider::ollama(&cloud).name("cloud").trust(Trust::Cloud))
        .provider(Provider::ollama(&local))
        .default_providers(["cloud", "ollama"])
        .cache(Cache::default().ttl("1h"));
    let gateway = spawn_gateway(&config).await;
    let policy = [("x-gateway-data-policy", "local")];
    let body = fixed("hi");
    assert_eq!(said(&ask(&gateway, &body).await), ("cloud".into(), Some("miss")));
    for cache in ["miss", "hit"] {
        let answer = ask_with(&gateway, &policy, &body).await;
        assert_eq!(said(&answer), ("local".into(), Some(cache)));
    }
    assert_eq!(said(&ask(&gateway, &body).await), ("cloud".into(), Some("hit")));
    gateway.end(4).await;
}
