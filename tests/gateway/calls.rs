//! What an operator adds to the calls of a provider: headers, fields, and the version of the API.

use serde_json::{Value, json};
use toml::toml;

use crate::client::{chat, get, post_json};
use crate::harness::{Config, Provider, run_in, spawn_gateway, spawn_gateway_with};
use crate::upstream::{Script, Upstream, ollama, openai};

#[tokio::test]
async fn every_call_has_the_operators_headers_in_place_of_ours() {
    let upstream = Upstream::spawn(|_| openai::answer(&["ok"]));
    let config = Provider::openai("cloud", &upstream)
        .headers(toml! { X-Title = "kiosk" User-Agent = "kiosk/1" })
        .headers_env(toml! { Authorization = "PROXY_AUTH" });
    let variables = [("PROXY_AUTH", "Basic sk-planted")];
    let gateway = spawn_gateway_with(&config, &variables).await;
    let mut body = chat("hi");
    body["model"] = "cloud/m".into();
    let answer = post_json(&gateway.url("/v1/chat"), &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    get(&gateway.url("/v1/models")).await;
    let mut calls = upstream.calls(1).await;
    calls.extend(upstream.questions_so_far());
    assert!(calls.iter().any(|call| call.path == "/v1/models"));
    for call in calls {
        assert_eq!(call.header("x-title"), Some("kiosk"), "{}", call.head);
        assert_eq!(call.header("user-agent"), Some("kiosk/1"), "{}", call.head);
        assert_eq!(call.header("authorization"), Some("Basic sk-planted"), "{}", call.head);
    }
    let shown = get(&gateway.admin_url("/admin/config")).await.text();
    assert!(shown.contains("X-Title = \"***\"") && !shown.contains("planted"), "{shown}");
    let folder = gateway.config_file().parent().unwrap().to_owned();
    let checked =
        run_in(&folder, &["check", "--print", "--config", "gateway.toml"], &variables).await;
    assert_eq!(checked.status, Some(0), "{}", checked.stderr);
    assert!(checked.stdout.contains("X-Title") && !checked.stdout.contains("kiosk"));
    gateway.end(2).await;
}

#[tokio::test]
async fn a_header_that_a_provider_quotes_is_masked() {
    let upstream = Upstream::spawn(|call| {
        let token = call.header("x-token").unwrap_or_default();
        ollama::error(400, &format!("what is {token}?"))
    });
    let headers = toml! { X-Token = "sk-planted-token" };
    let gateway = spawn_gateway(Provider::ollama(&upstream).headers(headers)).await;
    let answer = post_json(&gateway.url("/v1/chat"), &chat("hi")).await;
    assert_eq!(answer.json()["detail"], "what is ***?", "{}", answer.text());
    assert!(!gateway.log_lines().join("\n").contains("planted"));
    gateway.end(1).await;
}

#[tokio::test]
async fn chats_have_the_operators_fields_where_the_request_says_nothing() {
    let upstream = Upstream::spawn(|call| match call.path.as_str() {
        "/api/embed" => Script::json(200, &json!({ "embeddings": [[0.5]] })),
        _ => ollama::reply(call),
    });
    let body = toml! { keep_alive = "30m" options = { num_ctx = 8192, temperature = 0.1 } };
    let gateway = spawn_gateway(Provider::ollama(&upstream).body(body)).await;
    let mut own = json!({ "model": "llama3.1", "keep_alive": "1m", "stream": false,
        "options": { "temperature": 0.9 }, "messages": [{ "role": "user", "content": "hi" }] });
    for _ in 0..2 {
        assert_eq!(post_json(&gateway.url("/api/chat"), &own).await.status, 200);
        own.as_object_mut().unwrap().retain(|name, _| name != "keep_alive" && name != "options");
    }
    let embed = json!({ "model": "llama3.1", "input": "hi" });
    assert_eq!(post_json(&gateway.url("/api/embed"), &embed).await.status, 200);
    let sent: Vec<Value> = upstream.calls(3).await.iter().map(|call| call.json()).collect();
    // What decides how the model is loaded is the operator's, in every call.
    assert_eq!(sent[0]["keep_alive"], "30m");
    assert_eq!(sent[0]["options"], json!({ "temperature": 0.9, "num_ctx": 8192 }));
    assert_eq!(sent[1]["keep_alive"], "30m");
    assert_eq!(sent[1]["options"], json!({ "num_ctx": 8192, "temperature": 0.1 }));
    assert_eq!(sent[2]["keep_alive"], "30m");
    assert_eq!(sent[2]["options"], json!({ "num_ctx": 8192 }));
    gateway.end(3).await;
}

#[tokio::test]
async fn usage_is_always_asked_for_and_kept_from_clients_that_did_not_ask() {
    let upstream = Upstream::spawn(|_| openai::answer(&["ok"]));
    let config = Config::new()
        .provider(Provider::openai("usual", &upstream))
        .provider(Provider::openai("shy", &upstream).stream_usage(false));
    let gateway = spawn_gateway(&config).await;
    let ask = async |name: &str, wants: bool| {
        let mut body = json!({ "model": format!("{name}/m"), "stream": true,
            "messages": [{ "role": "user", "content": "hi" }] });
        if wants {
            body["stream_options"] = json!({ "include_usage": true });
        }
        let url = gateway.url("/v1/chat/completions");
        let pieces = crate::client::stream(&url, &body).await.rest().await;
        assert!(pieces.ended_properly && pieces.text().contains("[DONE]"), "{}", pieces.text());
        pieces.text()
    };
    assert!(!ask("usual", false).await.contains("prompt_tokens"));
    assert!(ask("usual", true).await.contains("prompt_tokens"));
    ask("shy", true).await;
    let sent = upstream.calls(3).await;
    let options = |index: usize| sent[index].json().get("stream_options").cloned();
    let asked = Some(json!({ "include_usage": true }));
    assert_eq!([options(0), options(1), options(2)], [asked.clone(), asked, None]);
    gateway.end(3).await;
}

#[tokio::test]
async fn anthropic_is_spoken_to_in_the_version_that_is_configured() {
    let upstream = Upstream::spawn(|_| crate::upstream::anthropic::answer(&["ok"]));
    let gateway = spawn_gateway(
        Provider::new("claude", "anthropic", upstream.url())
            .api_version("2026-10-21")
            .default_max_tokens(100),
    )
    .await;
    let mut body = chat("hi");
    body["temperature"] = 0.5.into();
    body["model"] = "claude/m".into();
    let answer = post_json(&gateway.url("/v1/chat"), &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-gateway-dropped"), Some("temperature"));
    let call = &upstream.calls(1).await[0];
    assert_eq!(call.header("anthropic-version"), Some("2026-10-21"));
    assert_eq!((&call.json()["max_tokens"], call.json().get("temperature")), (&json!(100), None));
    gateway.end(1).await;
}
