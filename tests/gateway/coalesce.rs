//! Identical requests in flight: one call, an answer for each client, and no client delayed by
//! another.

mod failures;
mod resumed;

use serde_json::{Value, json};

use crate::client::raw::Raw;
use crate::client::{Answer, post_json, streamed_chat};
use crate::crowd::{Sent, answers, count, send, shows};
use crate::harness::{Cache, Config, Gateway, Key, Provider, spawn_gateway};
use crate::patience::eventually;
use crate::upstream::{Call, Gate, Script, Upstream, ollama};

/// A gateway without any special configuration.
async fn in_front_of(upstream: &Upstream) -> Gateway {
    spawn_gateway(Provider::ollama(upstream)).await
}

/// A chat that repeats.
fn fixed(content: &str) -> Value {
    let mut body = crate::client::chat(content);
    body["temperature"] = 0.into();
    body
}

/// The same, streamed.
fn streamed(content: &str) -> Value {
    let mut body = streamed_chat(content);
    body["temperature"] = 0.into();
    body
}

/// One token, then the rest once the gate is open.
fn held_midway(gate: &Gate) -> impl Fn(&Call) -> Script + Send + Sync + 'static {
    let gate = gate.clone();
    move |_| ollama::opened(&["one"]).hold(&gate).piece(ollama::line(" two")).piece(ollama::done(2))
}

/// Awaits the moment when so many have joined a call since the beginning.
async fn joined(gateway: &Gateway, expected: usize) {
    let seen = std::cell::Cell::new(0.0);
    eventually(
        || format!("{expected} join, {} have", seen.get()),
        async || {
            let metrics = gateway.metrics().await;
            seen.set(metrics.sum("llm_gateway_cache_total", &[("result", "shared")]));
            (seen.get() == expected as f64).then_some(())
        },
    )
    .await;
}

/// A client that can stop reading.
async fn raw(gateway: &Gateway, body: &Value) -> Raw {
    let mut client = Raw::connect(gateway.address()).await;
    client.send(&crate::client::raw::post_bytes("/v1/chat", &[], body)).await;
    client
}

fn send_to(gateway: &Gateway, path: &str, body: Value) -> Sent {
    let url = gateway.url(path);
    tokio::spawn(async move { post_json(&url, &body).await })
}

fn is_shared(answer: &Answer) -> bool {
    answer.header("x-gateway-cache") == Some("shared")
}

#[tokio::test]
async fn two_hundred_identical_requests_in_any_form_make_one_call() {
    let gate = Gate::closed();
    let upstream = Upstream::spawn(held_midway(&gate));
    let gateway = spawn_gateway(Provider::ollama(&upstream).slots(8)).await;
    let messages = json!([{ "role": "user", "content": "hi" }]);
    let openai = |stream: bool| json!({ "model": "llama3.1", "messages": messages, "temperature": 0, "stream": stream });
    let ollama = json!({ "model": "llama3.1", "messages": messages,
        "options": { "temperature": 0 } });
    let leader = send(&gateway, &[], fixed("hi"));
    upstream.calls(1).await;
    let mut sent = Vec::new();
    for _ in 0..40 {
        sent.push(send(&gateway, &[], fixed("hi")));
        sent.push(send(&gateway, &[], streamed("hi")));
        sent.push(send_to(&gateway, "/v1/chat/completions", openai(false)));
        sent.push(send_to(&gateway, "/v1/chat/completions", openai(true)));
        sent.push(send_to(&gateway, "/api/chat", ollama.clone()));
    }
    joined(&gateway, 200).await;
    gate.open();
    let leader = leader.await.unwrap();
    assert_eq!(leader.json()["content"], "one two");
    assert_eq!(leader.header("x-gateway-attempts"), Some("1"));
    assert_eq!(leader.header("x-gateway-cache"), None, "nothing is kept, so nothing was missed");
    let answers = answers(sent).await;
    assert_eq!(count(&answers, 200), 200);
    for answer in &answers {
        let text = answer.text();
        assert!(
            text.contains("one two") || text.contains("one") && text.contains(" two"),
            "{text}"
        );
        assert!(is_shared(answer), "{:?}", answer.headers);
        assert_eq!(answer.header("x-gateway-attempts"), Some("0"));
        assert_eq!(answer.header("x-gateway-provider"), Some("ollama"));
    }
    let ids: std::collections::HashSet<_> =
        answers.iter().map(|answer| answer.header("x-request-id").unwrap()).collect();
    assert_eq!(ids.len(), 200);
    assert_eq!(upstream.calls_so_far().len(), 1);
    gateway.end(201).await;
}

#[tokio::test]
async fn a_client_that_joins_late_gets_earlier_pieces_then_each_new_one() {
    let gate = Gate::closed();
    let upstream = Upstream::spawn(held_midway(&gate));
    let gateway = in_front_of(&upstream).await;
    let mut first = raw(&gateway, &streamed("hi")).await;
    first.read_until("one").await;
    let mut late = raw(&gateway, &streamed("hi")).await;
    late.read_until("one").await;
    gate.open();
    for mut client in [first, late] {
        let text = client.read_until("[DONE]").await;
        assert!(text.contains(" two"), "{text}");
        client.fin();
    }
    assert_eq!(upstream.calls_so_far().len(), 1);
    gateway.end(2).await;
}

#[tokio::test]
async fn what_differs_in_anything_or_samples_is_asked_by_itself() {
    let gate = Gate::closed();
    let upstream = Upstream::spawn(held_midway(&gate));
    let gateway = spawn_gateway(Provider::ollama(&upstream).slots(16)).await;
    let with = |field: &str, value: Value| {
        let mut body = fixed("hi");
        body[field] = value;
        body
    };
    let bodies = [
        fixed("hi"),
        fixed("hi "),
        with("max_tokens", 7.into()),
        with("model", "llama3.1:8b".into()),
        with("temperature", 0.5.into()),
        with("temperature", 0.5.into()),
    ];
    let mut sent: Vec<Sent> = bodies.into_iter().map(|body| send(&gateway, &[], body)).collect();
    // Others may join a request that makes a new call, so it comes last.
    upstream.calls(6).await;
    sent.push(send(&gateway, &[("cache-control", "no-store")], fixed("hi")));
    sent.push(send(&gateway, &[("cache-control", "no-cache")], fixed("hi")));
    sent.push(send(&gateway, &[("x-gateway-data-policy", "local")], fixed("hi")));
    upstream.calls(9).await;
    gate.open();
    let answers = answers(sent).await;
    assert_eq!(count(&answers, 200), 9);
    assert!(!answers.iter().any(is_shared));
    gateway.end(9).await;
}

#[tokio::test]
async fn keys_share_calls_with_each_other_only_when_they_share_answers() {
    for (shared, calls) in [(false, 2), (true, 1)] {
        let gate = Gate::closed();
        let upstream = Upstream::spawn(held_midway(&gate));
        let ollama = Provider::ollama(&upstream);
        let config = Config::new()
            .key(Key::new("a"))
            .key(Key::new("b"))
            .provider(ollama)
            .cache(Cache::default().shared(shared));
        let gateway = spawn_gateway(&config).await;
        let first = send(&gateway, &[("x-api-key", "sk-a")], fixed("hi"));
        upstream.calls(1).await;
        let second = send(&gateway, &[("x-api-key", "sk-b")], fixed("hi"));
        if shared {
            joined(&gateway, 1).await;
        }
        upstream.calls(calls).await;
        gate.open();
        assert_eq!(count(&answers(vec![first, second]).await, 200), 2);
        assert_eq!(upstream.calls_so_far().len(), calls);
        gateway.end(2).await;
    }
}

#[tokio::test]
async fn it_can_be_turned_off() {
    let gate = Gate::closed();
    let upstream = Upstream::spawn(held_midway(&gate));
    let ollama = Provider::ollama(&upstream);
    let gateway =
        spawn_gateway(Config::new().provider(ollama).cache(Cache::default().coalesce(false))).await;
    let sent = vec![send(&gateway, &[], fixed("hi")), send(&gateway, &[], fixed("hi"))];
    upstream.calls(2).await;
    gate.open();
    assert_eq!(count(&answers(sent).await, 200), 2);
    gateway.end(2).await;
}

#[tokio::test]
async fn requests_that_share_a_call_take_one_place_in_the_line() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::spawn(move |call| ollama::reply(call).head_hold(&held));
    let gateway = spawn_gateway(Provider::ollama(&upstream).slots(1).max_queue(1)).await;
    let mut sent = vec![send(&gateway, &[], fixed("runs"))];
    upstream.calls(1).await;
    sent.extend((0..10).map(|_| send(&gateway, &[], fixed("waits"))));
    joined(&gateway, 9).await;
    shows(&gateway, "ollama", "queued", 1).await;
    gate.open();
    assert_eq!(count(&answers(sent).await, 200), 11);
    assert_eq!(upstream.calls_so_far().len(), 2);
    gateway.end(11).await;
}
