//! What is promised of limits, cache, shared calls, deadlines, retries and data policy, for answers
//! that are carried.
//!
//! It owns one request and its answers in each of three APIs, at a provider that speaks the same
//! one. Every request has a field that no gateway knows, so that a test sees that it was carried.

mod failures;

use llm_gateway::policy::{DataPolicy, Trust};
use serde_json::{Value, json};

use super::of_kind;
use crate::client::raw::{Raw, post_bytes};
use crate::client::{Answer, post_json, post_json_with, stream_with};
use crate::crowd::key;
use crate::harness::{
    Breaker, Cache, Config, Gateway, Key, Provider, Rate, Retry, Route, Target, spawn_gateway,
};
use crate::limits::account_shows;
use crate::patience::eventually;
use crate::upstream::{Call, Gate, Script, Upstream, anthropic, ollama, openai};

/// An API, by its path, and the kind of provider that speaks it.
#[derive(Clone, Copy, Debug)]
struct Api {
    path: &'static str,
    kind: &'static str,
}

const APIS: [Api; 3] = [
    Api { path: "/v1/chat/completions", kind: "openai" },
    Api { path: "/v1/messages", kind: "anthropic" },
    Api { path: "/api/chat", kind: "ollama" },
];

/// Every API, with a whole and with a streamed answer.
fn forms() -> impl Iterator<Item = (Api, bool)> {
    APIS.into_iter().flat_map(|api| [(api, false), (api, true)])
}

/// A request that repeats.
fn asked(api: Api, content: &str, is_streamed: bool) -> Value {
    let mut body = json!({ "model": "m", "new": 1, "stream": is_streamed,
        "messages": [{ "role": "user", "content": content }] });
    match api.kind {
        "ollama" => body["options"] = json!({ "temperature": 0 }),
        _ => body["temperature"] = 0.into(),
    }
    if api.kind == "anthropic" {
        body["max_tokens"] = 9.into();
    }
    if api.kind == "openai" && is_streamed {
        body["stream_options"] = json!({ "include_usage": true });
    }
    body
}

/// An answer of three tokens in the form that the call asks for.
fn replied(kind: &str, call: &Call) -> Script {
    let body = call.json();
    assert_eq!(body["new"], 1, "it was not carried: {body}");
    let pieces = ["Hel", "lo", "!"];
    match (kind, body["stream"] == true) {
        ("openai", true) => openai::answer(&pieces),
        ("openai", false) => openai::whole(&pieces),
        ("anthropic", true) => anthropic::answer(&pieces),
        ("anthropic", false) => anthropic::whole(&pieces),
        _ => ollama::reply(call),
    }
}

/// A stream that has begun.
fn begun(kind: &str) -> Script {
    match kind {
        "openai" => openai::opened(&["Hel"]),
        "anthropic" => anthropic::opened(&["Hel"]),
        _ => ollama::opened(&["Hel"]),
    }
}

fn failed(kind: &str, status: u16) -> Script {
    let class = match status {
        400 => "invalid_request_error",
        429 => "rate_limit_error",
        _ => "api_error",
    };
    match kind {
        "openai" => openai::error(status, class, "not now"),
        "anthropic" => anthropic::error(status, class, "not now"),
        _ => ollama::error(status, "not now"),
    }
}

/// The upstream of this API that answers, each call after it has passed the gate.
fn behind(api: Api, gate: &Gate) -> Upstream {
    let gate = gate.clone();
    Upstream::spawn(move |call| replied(api.kind, call).head_hold(&gate))
}

fn healthy(api: Api) -> Upstream {
    Upstream::spawn(move |call| replied(api.kind, call))
}

/// The provider `own`, which is tried again soon, and whose breaker stays closed.
fn own(api: Api, upstream: &Upstream) -> Provider {
    of_kind(api.kind, upstream)
        .retry(Retry::default().max_retries(2).backoff("1ms").max_backoff("2ms"))
        .breaker(Breaker::default().failures(1000))
}

async fn ask(gateway: &Gateway, api: Api, headers: &[(&str, &str)], body: &Value) -> Answer {
    post_json_with(&gateway.url(api.path), headers, body).await
}

/// Checks an error that the gateway itself decided.
fn check_refused(answer: &Answer, status: u16, reason: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("x-gateway-reason"), Some(reason), "{}", answer.text());
    assert_eq!(answer.header("retry-after").is_some(), status != 504, "{:?}", answer.headers);
}

/// Awaits the moment when so many have joined a call since the beginning.
async fn joined(gateway: &Gateway, count: usize) {
    let shared = async || {
        let metrics = gateway.metrics().await;
        let shared = metrics.sum("llm_gateway_cache_total", &[("result", "shared")]);
        (shared == count as f64).then_some(())
    };
    eventually(|| format!("{count} join a call"), shared).await;
}

#[tokio::test]
async fn a_key_pays_what_the_provider_counted_and_nothing_for_a_failure() {
    for api in APIS {
        let upstream = Upstream::spawn(move |call| match call.number {
            0 => failed(api.kind, 400),
            _ => replied(api.kind, call),
        });
        let key_a = Key::new("a").tokens_per_day(1000);
        let gateway = spawn_gateway(Config::new().key(key_a).provider(own(api, &upstream))).await;
        let forms = [(false, 400, 1000), (false, 200, 987), (true, 200, 974)];
        for (is_streamed, status, left) in forms {
            let answer = ask(&gateway, api, &key("sk-a"), &asked(api, "hi", is_streamed)).await;
            assert_eq!(answer.status, status, "{api:?}: {}", answer.text());
            assert_eq!(answer.header("x-ratelimit-limit-tokens"), Some("1000"), "{api:?}");
            account_shows(&gateway, "a", "/tokens_per_day/remaining", left).await;
        }
        gateway.end(3).await;
    }
}

#[tokio::test]
async fn what_a_key_has_used_up_is_refused_before_it_is_sent() {
    for (api, is_streamed) in forms() {
        let upstream = healthy(api);
        let keys = [
            Key::new("rate").rate(Rate::of(1, 0.001)),
            // One request of 13 tokens empties it.
            Key::new("tokens").tokens_per_day(20),
        ];
        let gateway = spawn_gateway(Config::new().keys(keys).provider(own(api, &upstream))).await;
        let mut body = asked(api, "hi", is_streamed);
        for (secret, reason) in [("sk-rate", "requests"), ("sk-tokens", "tokens_per_day")] {
            // A bound that the budget holds once.
            match api.kind {
                "ollama" => body["options"]["num_predict"] = 9.into(),
                _ => body["max_tokens"] = 9.into(),
            }
            let answer = ask(&gateway, api, &key(secret), &body).await;
            assert_eq!(answer.status, 200, "{api:?}: {}", answer.text());
            check_refused(&ask(&gateway, api, &key(secret), &body).await, 429, reason);
        }
        assert_eq!(upstream.calls_so_far().len(), 2);
        gateway.end(4).await;
    }
}

#[tokio::test]
async fn a_cached_answer_has_the_same_bytes_and_its_tokens_count_once() {
    for (api, is_streamed) in forms() {
        let upstream = healthy(api);
        let cache = Cache::default().ttl("1h");
        let config = Config::new().cache(cache).keys([Key::new("a"), Key::new("b")]);
        let gateway = spawn_gateway(config.provider(own(api, &upstream))).await;
        let body = asked(api, "hi", is_streamed);
        let first = ask(&gateway, api, &key("sk-a"), &body).await;
        let again = ask(&gateway, api, &key("sk-a"), &body).await;
        assert_eq!(first.header("x-gateway-cache"), Some("miss"), "{api:?}");
        assert_eq!(again.header("x-gateway-cache"), Some("hit"), "{api:?}");
        assert_eq!(again.header("x-gateway-attempts"), Some("0"), "{api:?}");
        assert_eq!(again.text(), first.text(), "{api:?}");
        gateway.settled().await;
        let metrics = gateway.metrics().await;
        let tokens = |kind| metrics.sum("llm_gateway_tokens_total", &[("kind", kind)]);
        assert_eq!((tokens("prompt"), tokens("completion")), (10.0, 3.0), "{api:?}");
        // Another key's answer is its own, and so is one for a field that nobody knows.
        let other = ask(&gateway, api, &key("sk-b"), &body).await;
        assert_eq!(other.header("x-gateway-cache"), Some("miss"), "{api:?}");
        let mut differs = body.clone();
        differs["newer"] = 2.into();
        let other = ask(&gateway, api, &key("sk-a"), &differs).await;
        assert_eq!(other.header("x-gateway-cache"), Some("miss"), "{api:?}");
        assert_eq!(upstream.calls_so_far().len(), 3);
        gateway.end(4).await;
    }
}

#[tokio::test]
async fn an_answer_that_failed_or_broke_off_is_never_cached() {
    for api in APIS {
        let upstream = Upstream::spawn(move |call| match call.json()["stream"] == true {
            true => begun(api.kind),
            false => failed(api.kind, 400),
        });
        let config = Config::new().cache(Cache::default().ttl("1h"));
        let gateway = spawn_gateway(config.provider(own(api, &upstream))).await;
        for _ in 0..2 {
            let answer = ask(&gateway, api, &[], &asked(api, "hi", false)).await;
            assert_eq!(answer.status, 400, "{}", answer.text());
            let url = gateway.url(api.path);
            let pieces = stream_with(&url, &[], &asked(api, "hi", true)).await.rest().await;
            assert!(!pieces.ended_properly && pieces.text().contains("Hel"), "{}", pieces.text());
        }
        assert_eq!(upstream.calls_so_far().len(), 4);
        assert_eq!(gateway.providers().await["cache"]["entries"], 0);
        gateway.end(4).await;
    }
}

#[tokio::test]
async fn two_that_ask_the_same_share_a_call_which_outlives_the_one_that_leaves() {
    for (api, is_streamed) in forms() {
        let gate = Gate::closed();
        let upstream = behind(api, &gate);
        let gateway = spawn_gateway(own(api, &upstream)).await;
        let body = asked(api, "hi", is_streamed);
        let mut leader = Raw::connect(gateway.address()).await;
        leader.send(&post_bytes(api.path, &[], &body)).await;
        upstream.calls(1).await;
        let (url, same) = (gateway.url(api.path), body.clone());
        let stays = tokio::spawn(async move { post_json(&url, &same).await });
        joined(&gateway, 1).await;
        leader.rst();
        gateway.adds_up(1).await;
        assert_eq!(upstream.under_way(), 1, "{api:?}: somebody still reads");
        gate.open();
        let shared = stays.await.unwrap();
        assert_eq!(shared.header("x-gateway-cache"), Some("shared"), "{api:?}");
        // It is what one reads who asks alone.
        let alone = ask(&gateway, api, &[("cache-control", "no-store")], &body).await;
        assert_eq!((shared.status, shared.text()), (200, alone.text()), "{api:?}");
        assert_eq!(upstream.calls_so_far().len(), 2);
        gateway.end(3).await;
    }
}

#[tokio::test]
async fn what_must_stay_local_never_reaches_a_provider_in_the_cloud() {
    for (api, is_streamed) in forms() {
        let fails = Upstream::spawn(move |_| failed(api.kind, 500));
        let cloud = healthy(api);
        let config = Config::new()
            .keys([Key::new("all"), Key::new("home").data_policy(DataPolicy::Local)])
            .provider(own(api, &cloud).name("cloud").trust(Trust::Cloud))
            .provider(own(api, &fails).trust(Trust::Local))
            .route(
                Route::new("m", [Target::new("own", "m")]).fallback([Target::new("cloud", "m")]),
            );
        let gateway = spawn_gateway(config).await;
        let policy = ("x-gateway-data-policy", "local");
        let (all, home) = (("x-api-key", "sk-all"), ("x-api-key", "sk-home"));
        for (number, headers) in [vec![all, policy], vec![home]].into_iter().enumerate() {
            let content = number.to_string();
            let mut body = asked(api, &content, is_streamed);
            // The provider in the cloud would be next.
            let answer = ask(&gateway, api, &headers, &body).await;
            assert_eq!(answer.status, 502, "{api:?}: {}", answer.text());
            body["model"] = "cloud/m".into();
            let answer = ask(&gateway, api, &headers, &body).await;
            assert_eq!(answer.status, 503, "{api:?}: {}", answer.text());
        }
        assert_eq!(cloud.calls_so_far().len(), 0, "{api:?}");
        let anywhere = ask(&gateway, api, &[all], &asked(api, "free", is_streamed)).await;
        assert_eq!(anywhere.header("x-gateway-provider"), Some("cloud"), "{api:?}");
        gateway.end(5).await;
    }
}
