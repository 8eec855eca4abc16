//! What is translated from one API to another, and what is left out because the other does not
//! support it.

use serde_json::{Value, json};

use crate::client::{Answer, post_json};
use crate::harness::{Config, Gateway, Provider, spawn_gateway};
use crate::upstream::{Call, Script, Upstream, ollama, openai};

/// An Ollama with a model that thinks, one that does not, and one that an old server does not
/// describe.
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
    let gateway = spawn_gateway(Provider::ollama(&upstream)).await;
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
    // The description is cached.
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
    let gateway = spawn_gateway(Provider::new("gemini", "gemini", upstream.url())).await;
    let body = json!({ "model": "gemini-2.5-flash",
        "messages": [{ "role": "user", "content": "hi" }] });
    let answer = post_json(&gateway.url("/v1/messages/count_tokens"), &body).await;
    assert_eq!(answer.json(), json!({ "input_tokens": 17 }));
    assert_eq!(answer.header("x-gateway-estimate"), None);
    gateway.end(1).await;
}

#[tokio::test]
async fn geminis_signature_comes_back_through_clients_that_echo_their_calls() {
    let upstream = Upstream::spawn(|call| {
        let asked = call.json()["contents"].as_array().map_or(0, Vec::len);
        let part = match asked {
            1 => json!({ "functionCall": { "id": "g-1", "name": "f", "args": {} },
                "thoughtSignature": "c2lnbmVk" }),
            _ => json!({ "text": "done" }),
        };
        let candidate = json!({ "content": { "role": "model", "parts": [part] },
            "finishReason": "STOP" });
        let answer = json!({ "candidates": [candidate] });
        Script::status(200)
            .header("content-type", "text/event-stream")
            .piece(format!("data: {answer}\n\n"))
    });
    let gateway = spawn_gateway(Provider::new("gemini", "gemini", upstream.url())).await;
    let tool = json!({ "type": "function", "function": { "name": "f" } });
    let mut body = json!({ "model": "gemini-3-pro", "tools": [tool],
        "messages": [{ "role": "user", "content": "hi" }] });
    let url = gateway.url("/v1/chat/completions");
    let message = post_json(&url, &body).await.json()["choices"][0]["message"].clone();
    assert_eq!(message["tool_calls"][0]["id"], "g-1");
    let result = json!({ "role": "tool", "tool_call_id": "g-1", "content": "42" });
    body["messages"].as_array_mut().unwrap().extend([message, result]);
    let answer = post_json(&url, &body).await;
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "done", "{}", answer.text());
    assert_eq!(answer.header("x-gateway-dropped"), None);
    let second = upstream.calls(2).await[1].json();
    assert_eq!(second["contents"][1]["parts"][0]["thoughtSignature"], "c2lnbmVk");
    gateway.end(2).await;
}

#[tokio::test]
async fn gaps_are_filled_where_the_provider_can_and_refused_by_name_elsewhere() {
    let local = Upstream::spawn(|call| match call.path.as_str() {
        "/api/generate" => {
            let line = json!({ "response": " c", "done": true, "done_reason": "stop" });
            Script::status(200).piece(format!("{line}\n"))
        }
        _ => ollama::reply(call),
    });
    let coder = Upstream::spawn(|call| {
        assert_eq!(call.path, "/v1/completions");
        let choice = json!({ "index": 0, "text": " c", "finish_reason": "stop" });
        Script::json(200, &json!({ "object": "text_completion", "choices": [choice] }))
    });
    let other = Upstream::ollama();
    let gateway = spawn_gateway(
        Config::new()
            .provider(Provider::ollama(&local).name("local"))
            .provider(Provider::openai("coder", &coder))
            .provider(Provider::new("claude", "anthropic", other.url())),
    )
    .await;
    for (provider, upstream) in [("local", &local), ("coder", &coder)] {
        let model = format!("{provider}/m");
        let body = json!({ "model": model, "prompt": "a", "suffix": "b", "stream": false });
        let answer = post_json(&gateway.url("/v1/completions"), &body).await;
        assert_eq!(answer.json()["choices"][0]["text"], " c", "{}", answer.text());
        let answer = post_json(&gateway.url("/api/generate"), &body).await;
        assert_eq!(answer.json()["response"], " c", "{}", answer.text());
        for call in upstream.calls(2).await {
            assert_eq!(
                (&call.json()["prompt"], &call.json()["suffix"]),
                (&json!("a"), &json!("b"))
            );
        }
    }
    let body = json!({ "model": "claude/m", "prompt": "a", "suffix": "b" });
    let answer = post_json(&gateway.url("/v1/completions"), &body).await;
    assert_eq!(answer.status, 400);
    assert!(answer.json()["error"]["message"].as_str().unwrap().starts_with("suffix"));
    assert!(other.calls_so_far().is_empty());
    gateway.end(5).await;
}

#[tokio::test]
async fn clients_of_every_api_are_told_which_fields_were_left_out() {
    let (local, other) = (Upstream::ollama(), Upstream::spawn(|_| openai::answer(&["Hel", "lo"])));
    let gateway = spawn_gateway(
        Config::new()
            .provider(Provider::ollama(&local).name("local"))
            .provider(Provider::openai("other", &other)),
    )
    .await;
    let messages = json!([{ "role": "user", "content": "hi" }]);
    let chat = json!({ "model": "local/m", "messages": messages, "frobnicate": 1 });
    let with = |more: Value| {
        let mut body = chat.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let asked = [
        (
            "/v1/chat",
            with(json!({ "top_p": 0.5, "stop": ["x"], "seed": null })),
            "top_p, stop, frobnicate",
        ),
        ("/v1/chat/completions", with(json!({})), "frobnicate"),
        ("/v1/completions", with(json!({ "prompt": "hi", "messages": null })), "frobnicate"),
        ("/v1/responses", with(json!({ "input": "hi", "messages": null })), "frobnicate"),
        ("/v1/messages", with(json!({ "max_tokens": 9 })), "frobnicate"),
        ("/api/chat", with(json!({ "model": "other/m" })), "frobnicate"),
        (
            "/api/generate",
            with(json!({ "model": "other/m", "prompt": "hi", "messages": null })),
            "frobnicate",
        ),
    ];
    for is_streamed in [false, true] {
        for (path, body, dropped) in &asked {
            let mut body = body.clone();
            body["stream"] = is_streamed.into();
            let answer = post_json(&gateway.url(path), &body).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            let told = answer.header("x-gateway-dropped").unwrap_or_default();
            let mut told: Vec<&str> = told.split(", ").collect();
            let mut expected: Vec<&str> = dropped.split(", ").collect();
            told.sort_unstable();
            expected.sort_unstable();
            assert_eq!(told, expected, "{path}");
        }
    }
    gateway.end(2 * asked.len()).await;
}

#[tokio::test]
async fn a_completion_of_a_model_that_thinks_has_all_that_it_wrote() {
    let upstream = Upstream::spawn(|_| {
        let line = |content: &str, thinking: &str, done: bool| {
            let message = json!({ "role": "assistant", "content": content, "thinking": thinking });
            format!("{}\n", json!({ "message": message, "done": done }))
        };
        ollama::stream_head()
            .piece(line("", "hm ", false))
            .piece(line("so", "", false))
            .piece(line("", "", true))
    });
    let gateway = spawn_gateway(Provider::ollama(&upstream)).await;
    let body = json!({ "model": "m", "prompt": "hi" });
    let answer = post_json(&gateway.url("/v1/completions"), &body).await.json();
    assert_eq!(answer["choices"][0]["text"], "hm so");
    gateway.end(1).await;
}
