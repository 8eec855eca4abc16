//! Unstreamed answers that break off: their client has seen nothing, so another provider starts
//! them again.

use llm_gateway::policy::{OnCut, Trust};
use serde_json::{Value, json};

use super::{asked, counted, dies, ollama_at, routed, two, with_route};

use crate::client::{chat, post_json, post_json_with};
use crate::harness::{Config, spawn_gateway};
use crate::upstream::{Upstream, ollama, openai};

/// The same chat, not streamed.
fn whole() -> Value {
    let mut chat = asked();
    chat["stream"] = false.into();
    chat
}

#[tokio::test]
async fn a_whole_answer_starts_again_elsewhere_even_if_that_one_differs() {
    let first = dies();
    let second = Upstream::spawn(|_| openai::answer(&["Good", " day"]));
    let gateway = two(&first, &second).await;
    for path in ["/v1/chat", "/v1/chat/completions", "/api/chat"] {
        let answer = post_json(&gateway.url(path), &whole()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let text = answer.text();
        assert!(text.contains("Good day") && !text.contains("Hel"), "{text}");
        assert_eq!(answer.header("x-gateway-provider"), Some("second"));
        assert_eq!(answer.header("x-gateway-attempts"), Some("2"));
    }
    assert_eq!(counted(&gateway, "upstream_attempts", "first", ("outcome", "broken")).await, 3.0);
    // It is a fallback like any other: nothing was joined.
    assert_eq!(counted(&gateway, "fallbacks", "first", ("reason", "bad_upstream")).await, 3.0);
    gateway.end(3).await;
}

#[tokio::test]
async fn tools_and_log_probabilities_are_no_hindrance_where_nothing_is_joined() {
    let first = dies();
    let second = Upstream::spawn(|_| openai::answer(&["Good day"]));
    let gateway = two(&first, &second).await;
    let mut body = whole();
    body["logprobs"] = true.into();
    body["tools"] = json!([{ "type": "function", "function": { "name": "f" } }]);
    let answer = post_json(&gateway.url("/v1/chat/completions"), &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    gateway.end(1).await;
}

#[tokio::test]
async fn a_whole_answer_that_dies_everywhere_is_the_last_failure() {
    let (first, second) = (dies(), dies());
    let providers = [ollama_at("first", &first), ollama_at("second", &second)];
    let gateway = spawn_gateway(routed(providers)).await;
    let answer = post_json(&gateway.url("/v1/chat"), &whole()).await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (502, Some("bad_upstream")));
    assert_eq!(answer.header("x-gateway-provider"), Some("second"));
    assert_eq!(answer.header("x-should-retry"), Some("false"));
    gateway.end(1).await;
}

#[tokio::test]
async fn where_the_route_says_error_a_whole_answer_dies_with_its_provider() {
    let (first, second) = (dies(), Upstream::ollama());
    let providers = [ollama_at("first", &first), ollama_at("second", &second)];
    let gateway = spawn_gateway(with_route(providers, |route| route.on_cut(OnCut::Error))).await;
    let answer = post_json(&gateway.url("/v1/chat"), &whole()).await;
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert!(second.calls_so_far().is_empty());
    gateway.end(1).await;
}

#[tokio::test]
async fn without_a_route_a_whole_answer_falls_back_within_its_data_policy() {
    let first = dies();
    let second = Upstream::spawn(|_| ollama::whole(&["Good day"]));
    let cloud = Upstream::ollama();
    let config = Config::new()
        .provider(ollama_at("first", &first))
        .provider(ollama_at("cloud", &cloud).trust(Trust::Cloud))
        .provider(ollama_at("second", &second))
        .default_providers(["first", "cloud", "second"]);
    let gateway = spawn_gateway(config).await;
    let policy = [("x-gateway-data-policy", "local")];
    let answer = post_json_with(&gateway.url("/v1/chat"), &policy, &chat("hi")).await;
    assert_eq!((answer.status, answer.json()["content"].as_str()), (200, Some("Good day")));
    assert_eq!(cloud.calls_so_far().len(), 0);
    gateway.end(1).await;
}
