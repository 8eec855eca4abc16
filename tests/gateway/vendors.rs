//! Every vendor's dialect through the whole gateway: answers, streams, tools, and errors in the
//! vendor's envelope.

use serde_json::{Value, json};

use crate::client::{ask, post_json, post_json_with, stream};
use crate::harness::{Config, Gateway, Provider, Route, Server, Target, spawn_gateway};
use crate::upstream::{Call, Script, Upstream, ollama};

/// Calls the offered tool, else answers a few tokens.
fn reply(call: &Call) -> Script {
    let tool = call.json()["tools"][0]["function"]["name"].as_str().map(str::to_owned);
    match tool {
        Some(name) => calling(&name, &json!({ "city": "Rome" })),
        None => ollama::reply(call),
    }
}

/// One call of a tool and the end.
fn calling(name: &str, arguments: &Value) -> Script {
    let function = json!({ "name": name, "arguments": arguments });
    let message =
        json!({ "role": "assistant", "content": "", "tool_calls": [{ "function": function }] });
    let line = json!({ "model": ollama::MODEL, "message": message, "done": false });
    ollama::stream_head().piece(format!("{line}\n")).piece(ollama::done(1))
}

/// A gateway whose only model has another name for clients.
async fn with_alias(upstream: &Upstream) -> Gateway {
    let config = Config::new()
        .provider(Provider::ollama(upstream))
        .route(Route::new("quick", [Target::new("ollama", "llama3.1")]));
    spawn_gateway(&config).await
}

/// A question in each vendor's form: the path and the body.
fn questions() -> [(&'static str, Value); 6] {
    let messages = json!([{ "role": "user", "content": "hi" }]);
    [
        ("/v1/chat/completions", json!({ "model": "quick", "messages": messages })),
        ("/v1/completions", json!({ "model": "quick", "prompt": "hi" })),
        ("/v1/responses", json!({ "model": "quick", "input": "hi" })),
        ("/v1/messages", json!({ "model": "quick", "max_tokens": 9, "messages": messages })),
        ("/api/chat", json!({ "model": "quick", "messages": messages, "stream": false })),
        ("/api/generate", json!({ "model": "quick", "prompt": "hi", "stream": false })),
    ]
}

#[tokio::test]
async fn whole_answers_carry_the_name_that_was_asked_for() {
    let upstream = Upstream::spawn(reply);
    let gateway = with_alias(&upstream).await;
    let said = [
        "/choices/0/message/content",
        "/choices/0/text",
        "/output/0/content/0/text",
        "/content/0/text",
        "/message/content",
        "/response",
    ];
    for ((path, body), said) in questions().into_iter().zip(said) {
        let answer = post_json(&gateway.url(path), &body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(
            answer.json().pointer(said),
            Some(&json!("Hello!")),
            "{path}: {}",
            answer.text()
        );
        assert_eq!(answer.json()["model"], "quick", "{path}");
        assert_eq!(answer.header("x-gateway-model"), Some("llama3.1"), "{path}");
        let is_anthropic = path.starts_with("/v1/messages");
        let id = answer.header("request-id");
        assert_eq!(id, answer.header("x-request-id").filter(|_| is_anthropic), "{path}");
    }
    gateway.end(6).await;
}

#[tokio::test]
async fn streams_end_as_each_vendor_ends_them() {
    let upstream = Upstream::spawn(reply);
    let gateway = with_alias(&upstream).await;
    let ends = [
        "[DONE]",
        "[DONE]",
        "response.completed",
        "message_stop",
        "\"done\":true",
        "\"done\":true",
    ];
    for ((path, mut body), end) in questions().into_iter().zip(ends) {
        body["stream"] = true.into();
        let pieces = stream(&gateway.url(path), &body).await.rest().await;
        assert!(pieces.ended_properly, "{path}");
        let text = pieces.text();
        assert!(text.contains("\"quick\"") && text.contains("Hel"), "{path}: {text}");
        assert!(text.trim_end().lines().rev().take(3).any(|line| line.contains(end)), "{text}");
    }
    gateway.end(6).await;
}

#[tokio::test]
async fn tools_go_both_ways() {
    let upstream = Upstream::spawn(reply);
    let gateway = with_alias(&upstream).await;
    let schema = json!({ "type": "object", "properties": { "city": { "type": "string" } } });
    let function = json!({ "name": "weather", "description": "d", "parameters": schema });
    let openai = json!([{ "type": "function", "function": function }]);
    let anthropic = json!([{ "name": "weather", "description": "d", "input_schema": schema }]);
    for (path, tools, name, arguments) in [
        (
            0,
            &openai,
            "/choices/0/message/tool_calls/0/function/name",
            "/choices/0/message/tool_calls/0/function/arguments",
        ),
        (3, &anthropic, "/content/0/name", "/content/0/input"),
        (
            4,
            &openai,
            "/message/tool_calls/0/function/name",
            "/message/tool_calls/0/function/arguments",
        ),
    ] {
        let (path, mut body) = questions()[path].clone();
        body["tools"] = tools.clone();
        let answer = post_json(&gateway.url(path), &body).await.json();
        assert_eq!(answer.pointer(name), Some(&json!("weather")), "{path}: {answer}");
        let arguments = match answer.pointer(arguments) {
            Some(Value::String(text)) => serde_json::from_str(text).unwrap(),
            other => other.cloned().unwrap(),
        };
        assert_eq!(arguments, json!({ "city": "Rome" }), "{path}");
    }
    for call in upstream.calls(3).await {
        assert_eq!(call.json()["tools"][0]["function"]["parameters"], schema, "{}", call.path);
    }
    gateway.end(3).await;
}

/// Whether `body` is an error in the envelope of the vendor of `path`.
fn is_enveloped(path: &str, body: &Value) -> bool {
    if path.starts_with("/v1/messages") {
        body["type"] == "error"
            && body["error"]["type"].is_string()
            && body["request_id"].is_string()
    } else if path.starts_with("/v1/") {
        body["error"]["message"].is_string() && body["error"].get("param").is_some()
    } else {
        body["error"].is_string()
    }
}

#[tokio::test]
async fn errors_about_a_path_come_in_the_envelope_of_its_vendor() {
    let upstream = Upstream::spawn(reply);
    let config = Config::new()
        .server(Server::default().max_body("1KiB"))
        .provider(Provider::ollama(&upstream));
    let gateway = spawn_gateway(&config).await;
    for path in ["/v1/files", "/v1/messages/batches", "/api/nothing"] {
        let lost = ask("POST", &gateway.url(path), &[]).await;
        assert_eq!(lost.status, 404, "{path}");
        assert!(is_enveloped(path, &lost.json()), "{path}: {}", lost.text());
        assert_eq!(lost.header("request-id").is_some(), path.contains("messages"), "{path}");
    }
    for (path, method) in [
        ("/v1/chat/completions", "GET"),
        ("/v1/messages", "GET"),
        ("/api/chat", "GET"),
        ("/v1/models", "POST"),
        ("/api/tags", "DELETE"),
    ] {
        let wrong = ask(method, &gateway.url(path), &[]).await;
        assert_eq!(wrong.status, 405, "{path}");
        assert!(wrong.header("allow").is_some() && is_enveloped(path, &wrong.json()), "{path}");
    }
    for (path, mut body) in questions() {
        body["model"] = "x".repeat(2000).into();
        let large = post_json(&gateway.url(path), &body).await;
        assert_eq!(large.status, 413, "{path}");
        assert!(is_enveloped(path, &large.json()), "{path}: {}", large.text());
    }
    for path in ["/v1/chat/completions", "/v1/messages", "/v1/embeddings"] {
        let headers = [("content-type", "text/plain")];
        let wrong = ask("POST", &gateway.url(path), &headers).await;
        assert_eq!(wrong.status, 415, "{path}");
        assert!(is_enveloped(path, &wrong.json()), "{path}: {}", wrong.text());
    }
    assert!(upstream.calls_so_far().is_empty());
    gateway.end(3 + 5 + 9).await;
}

#[tokio::test]
async fn a_provider_s_failure_comes_in_each_envelope() {
    let upstream = Upstream::spawn(|_| ollama::error(404, "model 'llama3.1' not found"));
    let gateway = with_alias(&upstream).await;
    for (path, body) in questions() {
        let failed = post_json(&gateway.url(path), &body).await;
        assert_eq!(failed.status, 404, "{path}");
        assert!(is_enveloped(path, &failed.json()), "{path}: {}", failed.text());
    }
    gateway.end(6).await;
}

#[tokio::test]
async fn arguments_that_no_ollama_client_could_read_are_a_bad_answer() {
    // OpenAI's arguments are text, which may be cut by a careless model; Ollama's are an object.
    let call = json!({ "index": 0, "id": "c", "type": "function",
        "function": { "name": "weather", "arguments": "{\"city\":" } });
    let chunk = |delta: Value, finish: Value| {
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": finish });
        format!("data: {}\n\n", json!({ "id": "x", "model": "m", "choices": [choice] }))
    };
    let upstream = Upstream::spawn(move |_| {
        Script::status(200)
            .header("content-type", "text/event-stream")
            .chunked()
            .piece(chunk(json!({ "tool_calls": [call] }), Value::Null))
            .piece(chunk(json!({}), json!("tool_calls")))
            .piece("data: [DONE]\n\n")
    });
    let url = format!("{}/v1", upstream.url());
    let gateway = spawn_gateway(Provider::new("cloud", "openai", &url)).await;
    let (path, mut body) = questions()[4].clone();
    let failed = post_json(&gateway.url(path), &body).await;
    assert_eq!(failed.status, 502, "{}", failed.text());
    assert!(failed.json()["error"].as_str().unwrap().contains("weather"));
    body["stream"] = true.into();
    let pieces = stream(&gateway.url(path), &body).await.rest().await;
    assert!(pieces.text().contains("\"error\"") && !pieces.ended_properly, "{}", pieces.text());
    let metrics = gateway.metrics().await;
    let failures = [("dialect", "ollama"), ("outcome", "upstream_error")];
    assert_eq!(metrics.sum("llm_gateway_requests_total", &failures), 2.0);
    gateway.end(2).await;
}

#[tokio::test]
async fn anthropic_counts_its_own_tokens_and_what_has_no_place_is_named() {
    let upstream = Upstream::spawn(|call| match call.path.as_str() {
        "/v1/messages/count_tokens" => Script::json(200, &json!({ "input_tokens": 30 })),
        _ => crate::upstream::anthropic::answer(&["ok"]),
    });
    let gateway = spawn_gateway(Provider::new("claude", "anthropic", upstream.url())).await;
    let (_, body) = questions()[3].clone();
    let url = gateway.url("/v1/messages/count_tokens");
    let counted = post_json_with(&url, &[("anthropic-version", "2023-06-01")], &body).await;
    assert_eq!((counted.status, counted.json()), (200, json!({ "input_tokens": 30 })));
    assert_eq!(counted.header("x-gateway-estimate"), None);
    let (path, mut body) = questions()[0].clone();
    body["seed"] = 7.into();
    let answer = post_json(&gateway.url(path), &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-gateway-dropped"), Some("seed"));
    gateway.end(2).await;
}
