//! What gets through from one API to another, and what is left out because the other side has no place for it.

use serde_json::{Value, json};

use crate::client::{Answer, post_json};
use crate::harness::{Gateway, provider, spawn_gateway};
use crate::upstream::{Call, Script, Upstream, ollama};

/// An Ollama with a model that thinks, one that does not, and one that an old server says nothing about.
fn described(call: &Call) -> Script {
    match call.path.as_str() {
        "/api/show" => match call.json()["model"].as_str() {
            Some("wise") => {
                Script::json(200, &json!({ "capabilities": ["completion", "thinking"] }))
            }
            Some("plain") => Script::json(200, &json!({ "capabilities": ["completion"] })),
            Some("old") => Script::json(200, &json!({ "model_info": {} })),
            _ => ollama::error(404, "not found"),
        },
        _ => ollama::reply(call),
    }
}

async fn with_effort(gateway: &Gateway, model: &str, effort: &str) -> Answer {
    let body = json!({ "model": model, "reasoning_effort": effort,
        "messages": [{ "role": "user", "content": "hi" }] });
    let answer = post_json(&gateway.url("/v1/chat/completions"), &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

#[tokio::test]
async fn thinking_is_not_asked_of_a_model_that_says_it_cannot() {
    let upstream = Upstream::spawn_whole(described);
    let gateway = spawn_gateway(&provider("ollama", "ollama", &upstream.url(), "")).await;
    let cases = [
        ("wise", "high", json!("high"), None),
        ("plain", "high", Value::Null, Some("reasoning_effort")),
        ("plain", "none", json!(false), None),
        ("old", "low", json!("low"), None),
        ("absent", "low", json!("low"), None),
    ];
    for (model, effort, _, dropped) in &cases {
        let answer = with_effort(&gateway, model, effort).await;
        assert_eq!(answer.header("x-gateway-dropped"), *dropped, "{model} {effort}");
    }
    // What was told is remembered.
    with_effort(&gateway, "plain", "low").await;
    let calls = upstream.calls_so_far();
    let sent: Vec<Value> = calls
        .iter()
        .filter(|call| call.path == "/api/chat")
        .map(|call| call.json()["think"].clone())
        .collect();
    let expected = cases.into_iter().map(|(_, _, think, _)| think).chain([Value::Null]);
    assert_eq!(sent, expected.collect::<Vec<_>>());
    let described = calls.iter().filter(|call| call.path == "/api/show").count();
    assert_eq!(described, 4, "once for each model that is to think");
    gateway.end(6).await;
}

#[tokio::test]
async fn gemini_counts_the_tokens_of_its_own_prompts() {
    let upstream = Upstream::spawn_whole(|call| {
        assert_eq!(call.path, "/v1beta/models/gemini-2.5-flash:countTokens");
        let wrapped = &call.json()["generateContentRequest"];
        assert_eq!(wrapped["contents"][0]["parts"][0]["text"], "hi");
        Script::json(200, &json!({ "totalTokens": 17 }))
    });
    let gateway = spawn_gateway(&provider("gemini", "gemini", &upstream.url(), "")).await;
    let body = json!({ "model": "gemini-2.5-flash",
        "messages": [{ "role": "user", "content": "hi" }] });
    let answer = post_json(&gateway.url("/v1/messages/count_tokens"), &body).await;
    assert_eq!(answer.json(), json!({ "input_tokens": 17 }));
    assert_eq!(answer.header("x-gateway-estimate"), None);
    gateway.end(1).await;
}
