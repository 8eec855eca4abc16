//! Token budgets per minute and per day: estimated before, settled after, and never lost in
//! between.
//!
//! The scripted provider counts ten tokens for every prompt and one for every piece; the gateway's
//! own estimate of the prompt `hi` is five.

use serde_json::{Value, json};

use super::{account, account_shows, ask, gateway_with, limited, number};
use crate::client::raw::{Raw, post_bytes};
use crate::client::{Answer, chat, post_json_with, stream_with, streamed_chat};
use crate::crowd::key;
use crate::harness::{Gateway, Key};
use crate::upstream::{Gate, Upstream, ollama};

const LEFT: &str = "/tokens_per_day/remaining";

/// So large a budget that none of it visibly refills while a test runs: 0.01 tokens in a second.
fn budget() -> Key {
    Key::new("a").tokens_per_day(1000)
}

/// A chat whose answer may have so many tokens.
fn bounded(max_tokens: u64) -> Value {
    let mut chat = chat("hi");
    chat["max_tokens"] = max_tokens.into();
    chat
}

async fn post(gateway: &Gateway, body: &Value) -> Answer {
    post_json_with(&gateway.url("/v1/chat"), &key("sk-a"), body).await
}

#[tokio::test]
async fn reserved_tokens_are_settled_by_the_providers_count() {
    let upstream = Upstream::ollama();
    let gateway = gateway_with(&upstream, [budget()]).await;
    let answer = post(&gateway, &bounded(400)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(number(&answer, "x-ratelimit-limit-tokens"), 1000);
    assert_eq!(number(&answer, "x-ratelimit-remaining-tokens"), 595);
    assert!(answer.header("x-ratelimit-reset-tokens").unwrap().contains('h'));
    account_shows(&gateway, "a", LEFT, 987).await;
    // A stream is settled at its end, and so is a request that names no bound.
    let streamed = stream_with(&gateway.url("/v1/chat"), &key("sk-a"), &streamed_chat("hi")).await;
    assert_eq!(streamed.header("x-ratelimit-remaining-tokens"), Some("0"));
    assert!(streamed.rest().await.ended_properly);
    account_shows(&gateway, "a", LEFT, 974).await;
    assert_eq!(account(&gateway, "a").await["tokens_used"], 26);
    gateway.end(2).await;
}

#[tokio::test]
async fn a_budget_that_is_used_up_says_when_it_refills() {
    let upstream = Upstream::ollama();
    let keys = [Key::new("a").tokens_per_minute(30), Key::new("b").tokens_per_day(30)];
    let gateway = gateway_with(&upstream, keys).await;
    for (secret, words) in [("sk-a", "its tokens per minute"), ("sk-b", "its tokens per day")] {
        for _ in 0..2 {
            assert_eq!(ask(&gateway, secret).await.status, 200);
        }
        let refused = ask(&gateway, secret).await;
        let after = limited(&refused, words);
        let reason = refused.header("x-gateway-reason").unwrap();
        assert!(words.replace(' ', "_").ends_with(reason), "{reason}");
        assert!(number(&refused, "x-ratelimit-remaining-tokens") < 5);
        if secret == "sk-a" {
            // Four tokens are left of the five that are needed, and one is refilled in 2 s.
            assert!((1..=3).contains(&after), "{after}");
        }
    }
    let metrics = gateway.metrics().await;
    for decision in ["tokens_per_minute", "tokens_per_day"] {
        let refused = metrics.sum("llm_gateway_rate_limit_total", &[("decision", decision)]);
        assert_eq!(refused, 1.0, "{decision}");
        // The same word everywhere.
        let reason = [("provider", "none"), ("reason", decision)];
        assert_eq!(metrics.sum("llm_gateway_refusals_total", &reason), 1.0, "{decision}");
        let lines = gateway.access_lines();
        assert!(lines.iter().any(|line| line.fields["cause"] == decision), "{lines:?}");
    }
    assert_eq!(upstream.calls_so_far().len(), 4);
    gateway.end(6).await;
}

#[tokio::test]
async fn a_request_that_could_never_fit_is_a_400() {
    let upstream = Upstream::ollama();
    let gateway = gateway_with(&upstream, [Key::new("a").tokens_per_minute(100)]).await;
    let refused = post(&gateway, &bounded(500)).await;
    let body = refused.json();
    assert_eq!((refused.status, &body["code"]), (400, &"invalid_request".into()), "{body}");
    let detail = "this request may need 505 tokens, and this key has 100 tokens per minute: shorten it, \
                  or lower max_tokens";
    assert_eq!(body["detail"], detail);
    assert!(refused.header("retry-after").is_none());
    let long = chat(&"x".repeat(1000));
    assert_eq!(post(&gateway, &long).await.status, 400);
    assert!(upstream.calls_so_far().is_empty());
    account_shows(&gateway, "a", "/tokens_per_minute/remaining", 100).await;
    assert_eq!(ask(&gateway, "sk-a").await.status, 200);
    gateway.end(3).await;
}

#[tokio::test]
async fn two_at_once_cannot_spend_the_same_tokens() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::spawn(move |call| ollama::reply(call).head_hold(&held));
    let gateway = gateway_with(&upstream, [budget()]).await;
    let url = gateway.url("/v1/chat");
    let first =
        tokio::spawn(async move { post_json_with(&url, &key("sk-a"), &bounded(700)).await });
    upstream.calls(1).await;
    limited(&post(&gateway, &bounded(700)).await, "its tokens per day");
    gate.open();
    assert_eq!(first.await.unwrap().status, 200);
    account_shows(&gateway, "a", LEFT, 987).await;
    assert_eq!(post(&gateway, &bounded(700)).await.status, 200);
    gateway.end(3).await;
}

#[tokio::test]
async fn failures_cost_nothing_and_a_disconnect_costs_what_ran() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::spawn(move |call| match call.number {
        0 => ollama::error(400, "no"),
        1 => ollama::opened(&["four", "five"]).closing().cut_at(20),
        2 => ollama::opened(&["eight ch", "eight ch"]).hold(&held),
        3 => ollama::reply(call).head_hold(&held),
        _ => ollama::reply(call),
    });
    let gateway = gateway_with(&upstream, [budget()]).await;
    assert_eq!(post(&gateway, &bounded(100)).await.status, 400);
    account_shows(&gateway, "a", LEFT, 1000).await;
    // The second call broke off; the third is its retry, streamed until the client disconnects.
    let mut leaves = Raw::connect(gateway.address()).await;
    leaves.send(&post_bytes("/v1/chat", &key("sk-a"), &streamed_chat("hi"))).await;
    leaves.read_until("eight").await;
    upstream.calls(3).await;
    leaves.read_until("eight").await;
    leaves.rst();
    upstream.left(2).await;
    // The prompt's five, and four for sixteen letters or two for the first eight.
    account_shows(&gateway, "a", "/in_flight", 0).await;
    let left = account(&gateway, "a").await["tokens_per_day"]["remaining"].as_u64().unwrap();
    assert!([991, 993].contains(&left), "{left}");
    // A client that disconnects before the first piece pays for its prompt.
    let mut leaves = Raw::connect(gateway.address()).await;
    leaves.send(&post_bytes("/v1/chat", &key("sk-a"), &chat("hi"))).await;
    upstream.calls(4).await;
    leaves.fin();
    upstream.left(3).await;
    account_shows(&gateway, "a", LEFT, left - 5).await;
    gate.open();
    gateway.end(3).await;
}

#[tokio::test]
async fn a_disconnect_while_waiting_costs_nothing() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::spawn(move |call| ollama::reply(call).head_hold(&held));
    let gateway = gateway_with(&upstream, [budget(), Key::new("b")]).await;
    crate::crowd::turn(&gateway, "ollama", json!({ "max_concurrency": 1 })).await;
    let runs = crate::crowd::send(&gateway, &key("sk-b"), chat("hi"));
    upstream.calls(1).await;
    let mut leaves = Raw::connect(gateway.address()).await;
    leaves.send(&post_bytes("/v1/chat", &key("sk-a"), &bounded(300))).await;
    crate::crowd::waiting(&gateway, "ollama", 1).await;
    account_shows(&gateway, "a", LEFT, 695).await;
    leaves.rst();
    account_shows(&gateway, "a", LEFT, 1000).await;
    gate.open();
    assert_eq!(runs.await.unwrap().status, 200);
    gateway.end(2).await;
}

#[tokio::test]
async fn embeddings_cost_what_their_texts_do() {
    let upstream = Upstream::spawn(|_| {
        let answer = json!({ "model": "llama3.1", "embeddings": [[1.0, 0.0]],
            "prompt_eval_count": 7 });
        crate::upstream::Script::json(200, &answer)
    });
    let gateway = gateway_with(&upstream, [budget()]).await;
    let texts = json!({ "model": "llama3.1", "input": ["x".repeat(40)] });
    let answer = post_json_with(&gateway.url("/v1/embeddings"), &key("sk-a"), &texts).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(number(&answer, "x-ratelimit-remaining-tokens"), 990);
    account_shows(&gateway, "a", LEFT, 993).await;
    let long = json!({ "model": "llama3.1", "input": ["x".repeat(4400)] });
    let refused = post_json_with(&gateway.url("/v1/embeddings"), &key("sk-a"), &long).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    gateway.end(2).await;
}
