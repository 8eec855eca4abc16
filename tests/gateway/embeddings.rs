//! Vectors of texts, in every client's form and from every provider's.

use serde_json::{Value, json};

use crate::client::post_json;
use crate::harness::{Config, Names, Provider, spawn_gateway};
use crate::upstream::{Call, Script, Upstream};

/// A vector for each text, whichever API asks.
fn vectors(call: &Call) -> Script {
    let body = call.json();
    match call.path.as_str() {
        "/api/embed" => {
            let count = body["input"].as_array().unwrap().len();
            let vectors: Vec<Value> = (0..count).map(|index| json!([0.5, index])).collect();
            Script::json(200, &json!({ "embeddings": vectors, "prompt_eval_count": 3 }))
        }
        "/v1/embeddings" => {
            let entry = |index| json!({ "index": index, "embedding": [0.5, index] });
            let usage = json!({ "prompt_tokens": 3, "total_tokens": 3 });
            Script::json(200, &json!({ "data": [entry(1), entry(0)], "usage": usage }))
        }
        _ => Script::status(404),
    }
}

#[tokio::test]
async fn every_client_gets_its_own_form() {
    let upstream = Upstream::spawn(vectors);
    let gateway = spawn_gateway(Provider::ollama(&upstream)).await;
    let openai = gateway.url("/v1/embeddings");
    let body = json!({ "model": "m", "input": ["a", "b"], "dimensions": 2, "user": "u" });
    let floats = post_json(&openai, &body).await;
    assert_eq!(floats.status, 200, "{}", floats.text());
    assert_eq!(floats.header("x-gateway-dropped"), Some("user"));
    let floats = floats.json();
    assert_eq!(floats["data"][1]["embedding"], json!([0.5, 1.0]));
    assert_eq!((&floats["model"], &floats["usage"]["prompt_tokens"]), (&json!("m"), &json!(3)));
    let body = json!({ "model": "m", "input": "a", "encoding_format": "base64" });
    let base64 = post_json(&openai, &body).await.json();
    assert_eq!(base64["data"][0]["embedding"], "AAAAPwAAAAA=");
    let body = json!({ "model": "m", "input": ["a", "b"] });
    let new = post_json(&gateway.url("/api/embed"), &body).await.json();
    assert_eq!(new["embeddings"], json!([[0.5, 0], [0.5, 1]]));
    assert_eq!(new["prompt_eval_count"], 3);
    let old = json!({ "model": "m", "prompt": "a" });
    let old = post_json(&gateway.url("/api/embeddings"), &old).await.json();
    assert_eq!(old, json!({ "embedding": [0.5, 0.0] }));
    assert_eq!(upstream.calls(4).await[0].json()["dimensions"], 2);
    gateway.settled().await;
    let tokens = gateway.metrics().await;
    assert_eq!(tokens.sum("llm_gateway_tokens_total", &[("kind", "prompt")]), 12.0);
    gateway.end(4).await;
}

#[tokio::test]
async fn what_cannot_be_embedded_is_refused_before_a_provider_is_asked() {
    let upstream = Upstream::spawn(vectors);
    let gateway = spawn_gateway(
        Config::new()
            .provider(Provider::ollama(&upstream).models(["m"]).apis(Names::none()))
            .provider(Provider::new("claude", "anthropic", upstream.url()).models(["claude-*"])),
    )
    .await;
    let openai = gateway.url("/v1/embeddings");
    for (input, model) in
        [(json!([1, 2]), "m"), (json!([[1]]), "m"), (json!(""), "m"), (json!("a"), "claude-1")]
    {
        let refused = post_json(&openai, &json!({ "model": model, "input": input })).await;
        assert_eq!(refused.status, 400, "{input}: {}", refused.text());
        assert_eq!(refused.json()["error"]["type"], "invalid_request_error");
    }
    let refused =
        post_json(&gateway.url("/api/embed"), &json!({ "model": "m", "input": [1] })).await;
    assert_eq!((refused.status, refused.json()), (400, json!({ "error": "invalid input type" })));
    assert!(upstream.calls_so_far().is_empty());
    gateway.end(5).await;
}

#[tokio::test]
async fn vectors_of_an_openai_provider_come_in_order_and_a_wrong_number_is_nonsense() {
    let upstream = Upstream::spawn(vectors);
    let url = format!("{}/v1", upstream.url());
    let gateway = spawn_gateway(Provider::new("cloud", "openai", &url)).await;
    let body = json!({ "model": "m", "input": ["a", "b"] });
    let answer = post_json(&gateway.url("/api/embed"), &body).await;
    assert_eq!(answer.json()["embeddings"], json!([[0.5, 0.0], [0.5, 1.0]]), "{}", answer.text());
    assert_eq!(upstream.calls(1).await[0].json()["encoding_format"], "float");
    let body = json!({ "model": "m", "input": "a" });
    let nonsense = post_json(&gateway.url("/v1/embeddings"), &body).await;
    assert_eq!(nonsense.status, 502, "{}", nonsense.text());
    gateway.end(2).await;
}
