//! Cached answers: what is cached, for which keys, and what never is.

mod forms;
mod limits;
mod replicas;

use serde_json::{Value, json};

use crate::client::{Answer, chat, post_json, post_json_with};
use crate::crowd::press;
use crate::harness::{Cache, Config, Gateway, Provider, spawn_gateway};
use crate::upstream::{Call, Script, Upstream, ollama};

/// Answers with the number of the call, so that a cached answer can be distinguished from a new
/// one.
fn numbered(call: &Call) -> Script {
    let number = call.number.to_string();
    ollama::answer(&["call ", &number])
}

/// A gateway that keeps answers for an hour.
async fn keeping(upstream: &Upstream) -> Gateway {
    spawn_gateway(config(upstream, hour())).await
}

fn config(upstream: &Upstream, cache: Cache) -> Config {
    Config::new().provider(Provider::ollama(upstream).no_retries()).cache(cache)
}

fn hour() -> Cache {
    Cache::default().ttl("1h")
}

/// A chat that repeats.
fn fixed(content: &str) -> Value {
    let mut body = chat(content);
    body["temperature"] = 0.into();
    body
}

/// The text of a native answer, and its cache header.
fn said(answer: &Answer) -> (String, Option<&str>) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let content = answer.json()["content"].as_str().unwrap().to_owned();
    (content, answer.header("x-gateway-cache"))
}

async fn ask(gateway: &Gateway, body: &Value) -> Answer {
    post_json(&gateway.url("/v1/chat"), body).await
}

async fn ask_with(gateway: &Gateway, headers: &[(&str, &str)], body: &Value) -> Answer {
    post_json_with(&gateway.url("/v1/chat"), headers, body).await
}

#[tokio::test]
async fn the_same_question_is_answered_again_without_a_call() {
    let upstream = Upstream::spawn(numbered);
    let gateway = keeping(&upstream).await;
    let first = ask(&gateway, &fixed("hi")).await;
    assert_eq!(said(&first), ("call 0".into(), Some("miss")));
    assert_eq!(first.header("x-gateway-attempts"), Some("1"));
    let again = ask(&gateway, &fixed("hi")).await;
    assert_eq!(said(&again), ("call 0".into(), Some("hit")));
    assert_eq!(again.header("x-gateway-attempts"), Some("0"));
    assert_eq!(again.header("x-gateway-provider"), Some("ollama"));
    assert_eq!(again.header("x-gateway-model"), Some("llama3.1"));
    assert_eq!(again.json()["usage"], first.json()["usage"]);
    assert_ne!(again.json()["id"], first.json()["id"], "ids are fresh");
    let other = ask(&gateway, &fixed("ho")).await;
    assert_eq!(said(&other), ("call 1".into(), Some("miss")));
    let metrics = gateway.metrics().await;
    let counted = |result: &str| metrics.sum("llm_gateway_cache_total", &[("result", result)]);
    assert_eq!((counted("hit"), counted("miss"), counted("shared")), (1.0, 2.0, 0.0));
    let ok = [("provider", "ollama"), ("outcome", "ok")];
    assert_eq!(metrics.sum("llm_gateway_requests_total", &ok), 3.0);
    assert_eq!(upstream.calls_so_far().len(), 2);
    gateway.end(3).await;
}

#[tokio::test]
async fn a_nondeterministic_answer_is_not_cached_unless_configured() {
    let upstream = Upstream::spawn(numbered);
    let gateway = keeping(&upstream).await;
    for number in 0..2 {
        let answer = ask(&gateway, &chat("hi")).await;
        assert_eq!(said(&answer), (format!("call {number}"), None));
    }
    let allowed = [("x-gateway-cache", "allow")];
    let answer = ask_with(&gateway, &allowed, &chat("hi")).await;
    assert_eq!(said(&answer), ("call 2".into(), Some("miss")));
    let answer = ask_with(&gateway, &allowed, &chat("hi")).await;
    assert_eq!(said(&answer), ("call 2".into(), Some("hit")));
    let wrong = ask_with(&gateway, &[("x-gateway-cache", "force")], &chat("hi")).await;
    assert_eq!(wrong.status, 400);
    gateway.end(5).await;
    let gateway = spawn_gateway(config(&upstream, hour().nondeterministic(true))).await;
    for cache in ["miss", "hit"] {
        assert_eq!(said(&ask(&gateway, &chat("hi")).await), ("call 3".into(), Some(cache)));
    }
    gateway.end(2).await;
}

#[tokio::test]
async fn no_cache_makes_a_new_call_and_caches_it_and_no_store_does_not_cache() {
    let upstream = Upstream::spawn(numbered);
    let gateway = keeping(&upstream).await;
    let mut answers = Vec::new();
    for control in ["", "no-store", "no-cache", ""] {
        let headers = [("cache-control", control)];
        answers.push(ask_with(&gateway, &headers, &fixed("hi")).await);
    }
    let answers: Vec<_> = answers.iter().map(said).collect();
    let expected = [
        ("call 0".to_owned(), Some("miss")),
        ("call 1".to_owned(), None),
        ("call 2".to_owned(), Some("miss")),
        ("call 2".to_owned(), Some("hit")),
    ];
    assert_eq!(answers, expected);
    gateway.end(4).await;
}

#[tokio::test]
async fn without_a_ttl_nothing_is_cached_and_no_header_mentions_it() {
    let upstream = Upstream::spawn(numbered);
    let gateway = spawn_gateway(Provider::ollama(&upstream)).await;
    for number in 0..2 {
        let answer = ask(&gateway, &fixed("hi")).await;
        assert_eq!(said(&answer), (format!("call {number}"), None));
    }
    gateway.end(2).await;
}

#[tokio::test]
async fn operators_see_what_is_cached_and_clear_it() {
    let upstream = Upstream::spawn(numbered);
    let gateway = keeping(&upstream).await;
    ask(&gateway, &fixed("hi")).await;
    let status = gateway.providers().await["cache"].clone();
    assert_eq!((&status["entries"], &status["in_flight"]), (&json!(1), &json!(0)));
    assert!(status["bytes"].as_u64().unwrap() > 0, "{status}");
    let cleared = press(&gateway, "cache/clear").await;
    assert_eq!(cleared.json(), json!({ "entries": 0, "bytes": 0, "in_flight": 0 }));
    assert_eq!(said(&ask(&gateway, &fixed("hi")).await), ("call 1".into(), Some("miss")));
    gateway.end(2).await;
}

#[tokio::test]
async fn a_reload_that_turns_it_off_is_obeyed_at_once() {
    let upstream = Upstream::spawn(numbered);
    let gateway = keeping(&upstream).await;
    ask(&gateway, &fixed("hi")).await;
    gateway.write_config(config(&upstream, Cache::default().ttl("0s")));
    assert_eq!(press(&gateway, "reload").await.status, 200);
    assert_eq!(said(&ask(&gateway, &fixed("hi")).await), ("call 1".into(), None));
    gateway.end(2).await;
}
