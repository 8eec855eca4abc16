//! Limits of tokens that leave no room for the prompt: `max_tokens = "fit"`.

use serde_json::{Value, json};

use crate::client::post_json;
use crate::harness::{Provider, spawn_gateway};
use crate::upstream::{Call, Script, Upstream, openai};

/// A vLLM whose models take 32768 tokens, and whose prompts have 17000. Whole answers if they are
/// requested.
fn vllm(call: &Call) -> Script {
    let body = call.json();
    let limit = ["max_tokens", "max_completion_tokens"].iter().find_map(|name| body[name].as_u64());
    match limit {
        Some(limit) if limit > 15_768 => openai::error(
            400,
            "BadRequestError",
            &format!(
                "'max_tokens' or 'max_completion_tokens' is too large: {limit}. This model's maximum \
                 context length is 32768 tokens and your request has 17000 input tokens ({limit} > \
                 32768 - 17000)."
            ),
        ),
        _ if body["stream"] == true => openai::answer(&["Hi"]),
        _ => openai::whole(&["Hi"]),
    }
}

fn asks(limit: Value) -> Value {
    json!({ "model": "qwen3", "max_tokens": limit, "messages": [{ "role": "user", "content": "hi" }] })
}

#[tokio::test]
async fn a_token_limit_that_does_not_fit_is_reported_as_such() {
    let upstream = Upstream::spawn(vllm);
    let url = format!("{}/v1", upstream.url());
    let gateway = spawn_gateway(Provider::new("rig", "openai", &url)).await;
    let refused = post_json(&gateway.url("/v1/messages"), &asks(json!(32_000))).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("is too large: 32000") && !message.contains("prompt is too long"));
    let refused = post_json(&gateway.url("/v1/chat/completions"), &asks(json!(32_000))).await;
    assert_ne!(refused.json()["error"]["code"], "context_length_exceeded");
    assert_eq!(upstream.calls_so_far().len(), 2);
    gateway.end(2).await;
}

#[tokio::test]
async fn a_token_limit_is_lowered_to_what_fits_and_named_if_configured() {
    let upstream = Upstream::spawn(vllm);
    let url = format!("{}/v1", upstream.url());
    let gateway = spawn_gateway(Provider::new("rig", "openai", &url).max_tokens("fit")).await;
    let mut calls = 0;
    // The first is translated, the others are carried.
    for (path, stream) in
        [("/v1/messages", false), ("/v1/chat/completions", false), ("/v1/chat/completions", true)]
    {
        let mut body = asks(json!(32_000));
        body["stream"] = json!(stream);
        let answer = post_json(&gateway.url(path), &body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let dropped = answer.header("x-gateway-dropped").unwrap_or_default();
        assert!(dropped.contains("max_tokens"), "{path}: {dropped:?}");
        assert_eq!(answer.header("x-gateway-attempts"), Some("2"));
        calls += 2;
        let last = upstream.calls(calls).await.pop().unwrap().json();
        assert_eq!(last["max_tokens"], 15_768, "{path}");
    }
    // What fits is left alone.
    let answer = post_json(&gateway.url("/v1/messages"), &asks(json!(100))).await;
    assert_eq!((answer.status, answer.header("x-gateway-attempts")), (200, Some("1")));
    assert!(answer.header("x-gateway-dropped").is_none());
    gateway.end(4).await;
}

#[tokio::test]
async fn a_limit_is_lowered_once_and_never_for_a_prompt_that_is_too_long() {
    let stubborn = Upstream::spawn(|_| {
        let said = "max_tokens is too large: 9. This model supports at most 5 completion tokens";
        openai::error(400, "invalid_request_error", said)
    });
    let long = Upstream::spawn(|_| {
        let said = "This model's maximum context length is 4096 tokens. However, you requested 9000 \
                    tokens (5000 in the messages, 4000 in the completion).";
        openai::error(400, "invalid_request_error", said)
    });
    for (upstream, calls, limit) in [(&stubborn, 2, 9), (&long, 1, 4000)] {
        let url = format!("{}/v1", upstream.url());
        let gateway = spawn_gateway(Provider::new("rig", "openai", &url).max_tokens("fit")).await;
        let refused = post_json(&gateway.url("/v1/messages"), &asks(json!(limit))).await;
        assert_eq!(refused.status, 400, "{}", refused.text());
        assert_eq!(upstream.calls_so_far().len(), calls);
        gateway.end(1).await;
    }
}
