//! How urgent a single request is: `x-gateway-priority` and `priority_field`.

use llm_gateway::policy::Priority;
use serde_json::{Value, json};

use crate::client::{ask, chat, post_json_with};
use crate::crowd::{answers, count, key, send, snapshot, waiting};
use crate::harness::{Config, Key, Provider, spawn_gateway};
use crate::upstream::{Gate, Script, Upstream, ollama, openai};

fn keys() -> [Key; 2] {
    [Key::new("nightly").priority(Priority::Batch), Key::new("people")]
}

#[tokio::test]
async fn a_request_may_rank_below_its_key_and_never_above() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::spawn(move |call| ollama::reply(call).head_hold(&held));
    let gateway = spawn_gateway(
        Config::new().keys(keys()).provider(Provider::ollama(&upstream).slots(5).max_queue(9)),
    )
    .await;
    let says = |key: &'static str, word: &'static str| {
        send(&gateway, &[("x-api-key", key), ("x-gateway-priority", word)], chat("hi"))
    };
    // Of five slots four are for batch work, whichever of the two makes it that.
    let mut sent: Vec<_> = (0..3).map(|_| says("sk-people", "batch")).collect();
    sent.extend((0..3).map(|_| says("sk-nightly", "interactive")));
    upstream.busy(4).await;
    waiting(&gateway, "ollama", 2).await;
    assert_eq!(snapshot(&gateway, "ollama").await["batch_in_flight"], 4);
    sent.push(says("sk-people", "interactive"));
    upstream.busy(5).await;
    assert_eq!(snapshot(&gateway, "ollama").await["batch_in_flight"], 4);
    gate.open();
    assert_eq!(count(&answers(sent).await, 200), 7);
    gateway.end(7).await;
}

#[tokio::test]
async fn another_word_is_refused_by_the_headers_name() {
    let upstream = Upstream::ollama();
    let gateway = spawn_gateway(Provider::ollama(&upstream)).await;
    for word in ["urgent", "Batch", ""] {
        let headers = [("x-gateway-priority", word)];
        let refused = post_json_with(&gateway.url("/v1/chat"), &headers, &chat("hi")).await;
        assert_eq!(refused.status, 400, "{word:?}: {}", refused.text());
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with("x-gateway-priority: "), "{detail}");
        assert_eq!(ask("GET", &gateway.url("/v1/models"), &headers).await.status, 400);
    }
    assert!(upstream.calls_so_far().is_empty());
    gateway.end(6).await;
}

#[tokio::test]
async fn a_server_with_its_own_queue_gets_the_priority_and_clients_cannot_change_it() {
    let upstream = Upstream::spawn(|call| match call.path.as_str() {
        "/v1/embeddings" => {
            Script::json(200, &json!({ "data": [{ "index": 0, "embedding": [1.0] }] }))
        }
        _ if call.json()["stream"] == true => openai::answer(&["Hi"]),
        _ => openai::whole(&["Hi"]),
    });
    let url = format!("{}/v1", upstream.url());
    let gateway = spawn_gateway(
        Config::new()
            .keys(keys())
            .provider(Provider::new("rig", "openai", &url).priority_field("priority")),
    )
    .await;
    let mut calls = 0;
    let mut told = async |path: &str, caller: &str, word: &str, own: Value| {
        let mut headers = vec![key(caller)[0]];
        headers.extend(Some(("x-gateway-priority", word)).filter(|(_, word)| !word.is_empty()));
        let mut body = json!({ "model": "qwen3", "priority": own, "max_tokens": 9, "input": "hi",
            "messages": [{ "role": "user", "content": "hi" }] });
        let unwanted = if path == "/v1/embeddings" { "messages" } else { "input" };
        body.as_object_mut().unwrap().remove(unwanted);
        let answer = post_json_with(&gateway.url(path), &headers, &body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        calls += 1;
        upstream.calls(calls).await.pop().unwrap().json()["priority"].clone()
    };
    // The first is carried, the second translated.
    for path in ["/v1/chat/completions", "/v1/messages"] {
        assert_eq!(told(path, "sk-people", "", json!(-9)).await, 0, "{path}");
        assert_eq!(told(path, "sk-people", "batch", json!(-9)).await, 1, "{path}");
        assert_eq!(told(path, "sk-nightly", "interactive", json!(-9)).await, 1, "{path}");
    }
    // Embeddings are sent without one, but never with a client's own.
    assert_eq!(told("/v1/embeddings", "sk-people", "", json!(-9)).await, 0);
    assert_eq!(told("/v1/embeddings", "sk-people", "", Value::Null).await, 0);
    gateway.end(8).await;
}
