//! Google's Gemini API through the whole gateway: its paths, its keys, its errors, on every kind of
//! provider.

use serde_json::{Value, json};

use crate::client::{ask, get, post_json, post_json_with, stream};
use crate::harness::{Config, Gateway, Key, Names, Provider, spawn_gateway, spawn_gateway_with};
use crate::upstream::{Script, Upstream, anthropic, gemini, ollama, openai};

const KEY: &str = "sk-planted+for/google";
const METHODS: [&str; 2] = ["generateContent", "streamGenerateContent"];

fn question() -> Value {
    json!({ "contents": [{ "role": "user", "parts": [{ "text": "hi" }] }] })
}

fn path(method: &str) -> String {
    format!("/v1beta/models/llama3.1:{method}")
}

/// A provider of this kind that says `Hello!` in two pieces, and a gateway before it. To
/// `translated` one requests of its own API are translated too.
async fn before(backend: &str) -> (Upstream, Gateway) {
    let say = || ["Hel", "lo!"];
    let upstream = match backend {
        "ollama" => Upstream::spawn(ollama::reply),
        "openai" => Upstream::spawn(move |_| openai::answer(&say())),
        "anthropic" => Upstream::spawn(move |_| anthropic::answer(&say())),
        "gemini" => Upstream::spawn(move |call| gemini::reply(call, &say())),
        _ => Upstream::spawn(move |_| gemini::answer(&say())),
    };
    let provider = match backend {
        "translated" => Provider::new("p", "gemini", upstream.url()).apis(Names::none()),
        backend => Provider::new("p", backend, upstream.url()),
    };
    let gateway = spawn_gateway(provider).await;
    (upstream, gateway)
}

fn text_of(piece: &Value) -> &str {
    piece["candidates"][0]["content"]["parts"][0]["text"].as_str().unwrap()
}

fn joined(pieces: &[Value]) -> String {
    pieces.iter().map(text_of).collect()
}

#[tokio::test]
async fn every_kind_of_provider_answers_whole_as_events_and_as_a_list() {
    for backend in ["ollama", "openai", "anthropic", "gemini", "translated"] {
        let (upstream, gateway) = before(backend).await;
        let whole = post_json(&gateway.url(&path("generateContent")), &question()).await;
        assert_eq!(whole.status, 200, "{backend}: {}", whole.text());
        assert_eq!(text_of(&whole.json()), "Hello!", "{backend}");
        assert_eq!(whole.json()["candidates"][0]["finishReason"], "STOP", "{backend}");
        let version = if backend == "gemini" { "gemini-scripted" } else { "llama3.1" };
        assert_eq!(whole.json()["modelVersion"], version, "{backend}");
        assert!(whole.json()["usageMetadata"]["totalTokenCount"].as_u64() > Some(0), "{backend}");

        let url = gateway.url(&path("streamGenerateContent?alt=sse"));
        let events = stream(&url, &question()).await;
        assert_eq!(events.header("content-type"), Some("text/event-stream"), "{backend}");
        let events = events.rest().await;
        assert!(events.ended_properly, "{backend}");
        let text = events.text();
        let pieces: Vec<Value> = text
            .split_terminator("\r\n\r\n")
            .map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap())
            .collect();
        assert_eq!(joined(&pieces), "Hello!", "{backend}: {text}");
        let last = pieces.last().unwrap();
        assert_eq!(last["candidates"][0]["finishReason"], "STOP", "{backend}: {text}");
        assert_eq!(last["usageMetadata"], whole.json()["usageMetadata"], "{backend}");

        let list = stream(&gateway.url(&path("streamGenerateContent")), &question()).await;
        assert_eq!(list.header("content-type"), Some("application/json"), "{backend}");
        let list = list.rest().await;
        assert!(list.ended_properly, "{backend}");
        let list: Vec<Value> = serde_json::from_str(&list.text()).unwrap();
        assert_eq!(joined(&list), "Hello!", "{backend}");
        assert_eq!(list.len(), pieces.len(), "{backend}");
        assert_eq!(upstream.calls(3).await.len(), 3);
        gateway.end(3).await;
    }
}

#[tokio::test]
async fn functions_go_both_ways_on_every_kind_of_provider() {
    for backend in ["ollama", "openai", "anthropic", "translated"] {
        let (upstream, gateway) = before(backend).await;
        let mut body = question();
        let place = json!({ "type": "OBJECT", "properties": { "city": { "type": "STRING" } } });
        body["tools"] = json!([
            { "functionDeclarations": [{ "name": "weather", "parameters": place }] },
            { "googleSearch": {} },
        ]);
        body["generationConfig"] = json!({ "mediaResolution": "MEDIA_RESOLUTION_LOW", "topK": 3 });
        body["safetySettings"] = json!([{ "category": "X", "threshold": "BLOCK_NONE" }]);
        let contents = body["contents"].as_array_mut().unwrap();
        let call = json!({ "functionCall": { "name": "weather", "args": { "city": "Rome" } } });
        contents.push(json!({ "role": "model", "parts": [call] }));
        let result = json!({ "name": "weather", "response": { "output": "rain" } });
        contents.push(json!({ "role": "user", "parts": [{ "functionResponse": result }] }));
        let answer = post_json(&gateway.url(&path("generateContent")), &body).await;
        assert_eq!(answer.status, 200, "{backend}: {}", answer.text());
        let sent = upstream.calls(1).await[0].json();
        let text = sent.to_string();
        assert!(text.contains("rain") && text.contains("Rome"), "{backend}: {text}");
        let schema = match backend {
            "anthropic" => &sent["tools"][0]["input_schema"],
            "translated" => &sent["tools"][0]["functionDeclarations"][0]["parametersJsonSchema"],
            _ => &sent["tools"][0]["function"]["parameters"],
        };
        assert_eq!(schema["properties"]["city"]["type"], "string", "{backend}: {sent}");
        if backend == "translated" {
            assert_eq!(sent["tools"][1], json!({ "googleSearch": {} }), "{sent}");
            assert_eq!(sent["safetySettings"], body["safetySettings"], "{sent}");
            assert_eq!(sent["generationConfig"], body["generationConfig"], "{sent}");
            assert_eq!(answer.header("x-gateway-dropped"), None);
        } else {
            let dropped = answer.header("x-gateway-dropped").unwrap_or_default();
            assert!(dropped.contains("googleSearch"), "{backend}: {dropped}");
            assert!(dropped.contains("safetySettings"), "{backend}: {dropped}");
            assert!(dropped.contains("generationConfig.mediaResolution"), "{backend}: {dropped}");
        }
        gateway.end(1).await;
    }
}

#[tokio::test]
async fn a_call_and_its_proof_come_and_go_unchanged() {
    let call = json!({ "functionCall": { "id": "c-1", "name": "f", "args": { "a": 1 } },
        "thoughtSignature": "Zml4dHVyZQ==" });
    let said = json!({ "candidates": [{ "content": { "role": "model", "parts": [call] },
        "finishReason": "STOP" }], "usageMetadata": { "promptTokenCount": 1 } });
    let upstream = Upstream::spawn(move |_| {
        Script::status(200)
            .header("content-type", "text/event-stream")
            .chunked()
            .piece(format!("data: {said}\r\n\r\n"))
    });
    let provider = Provider::new("p", "gemini", upstream.url()).apis(Names::none());
    let gateway = spawn_gateway(provider).await;
    let url = gateway.url("/v1beta/models/gemini-3-pro:generateContent");
    let answer = post_json(&url, &question()).await.json();
    let content = answer["candidates"][0]["content"].clone();
    assert_eq!(content["parts"], json!([call]), "{answer}");
    let mut body = question();
    let result = json!({ "id": "c-1", "name": "f", "response": { "b": 2 } });
    let contents = body["contents"].as_array_mut().unwrap();
    contents.push(content);
    contents.push(json!({ "role": "user", "parts": [{ "functionResponse": result }] }));
    assert_eq!(post_json(&url, &body).await.status, 200);
    let sent = upstream.calls(2).await[1].json();
    assert_eq!(sent["contents"][1]["parts"], json!([call]), "{sent}");
    assert_eq!(sent["contents"][2]["parts"][0]["functionResponse"], result, "{sent}");
    gateway.end(2).await;
}

#[tokio::test]
async fn googles_ways_to_show_a_key_open_googles_paths_alone_and_leave_no_trace() {
    let upstream = Upstream::spawn(ollama::reply);
    let filter = ("RUST_LOG", "llm_gateway=trace,access=trace,attempt=trace,warn");
    let config = Config::new()
        .key(Key::new("team").key(KEY))
        .provider(Provider::ollama(&upstream).name("p"));
    let gateway = spawn_gateway_with(&config, &[filter]).await;
    let escaped = KEY.replace('+', "%2B").replace('/', "%2f");
    for method in METHODS {
        let url = gateway.url(&path(method));
        let by_header = post_json_with(&url, &[("x-goog-api-key", KEY)], &question()).await;
        assert_eq!(by_header.status, 200, "{}", by_header.text());
        for key in [KEY, escaped.as_str()] {
            let by_query = post_json(&format!("{url}?alt=sse&key={key}"), &question()).await;
            assert_eq!(by_query.status, 200, "{}", by_query.text());
        }
        for url in [url.clone(), format!("{url}?key=sk-planted-wrong")] {
            let refused = post_json(&url, &question()).await;
            assert_eq!(refused.status, 401, "{}", refused.text());
            assert_eq!(refused.json()["error"]["status"], "UNAUTHENTICATED");
            assert!(!refused.text().contains("planted"), "{}", refused.text());
        }
    }
    let body = json!({ "model": "llama3.1", "messages": [{ "role": "user", "content": "hi" }] });
    let elsewhere = format!("{}?key={escaped}", gateway.url("/v1/chat/completions"));
    let elsewhere = post_json_with(&elsewhere, &[("x-goog-api-key", KEY)], &body).await;
    assert_eq!(elsewhere.status, 401, "{}", elsewhere.text());
    for call in upstream.calls(6).await {
        assert!(!call.head.contains("planted"), "{}", call.head);
    }
    for line in gateway.log_lines().iter().chain(&gateway.printed_lines()) {
        assert!(!line.contains("planted"), "{line}");
    }
    let metrics = get(&gateway.admin_url("/metrics")).await.text();
    assert!(metrics.contains("dialect=\"gemini\"") && !metrics.contains("planted"), "{metrics}");
    gateway.end(2 * 5 + 1).await;
}

#[tokio::test]
async fn errors_come_in_googles_form() {
    let upstream = Upstream::spawn(|_| ollama::error(404, "model 'llama3.1' not found"));
    let gateway = spawn_gateway(Provider::ollama(&upstream).name("p")).await;
    for (path, body, status, word) in [
        (path("generateContent"), question(), 404, "NOT_FOUND"),
        (path("generateContent"), json!({}), 400, "INVALID_ARGUMENT"),
        (path("predict"), json!({}), 404, "NOT_FOUND"),
        ("/v1beta/files".to_owned(), json!({}), 404, "NOT_FOUND"),
        ("/v1beta/models".to_owned(), json!({}), 405, "INVALID_ARGUMENT"),
    ] {
        let failed = post_json(&gateway.url(&path), &body).await;
        assert_eq!(failed.status, status, "{path}: {}", failed.text());
        let error = &failed.json()["error"];
        assert_eq!(error["code"], status, "{path}");
        assert_eq!(error["status"], word, "{path}");
        assert!(error["message"].is_string(), "{path}");
    }
    let wrong = ask("GET", &gateway.url(&path("generateContent")), &[]).await;
    assert_eq!(wrong.status, 405, "{}", wrong.text());
    assert_eq!(wrong.json()["error"]["status"], "INVALID_ARGUMENT");
    gateway.end(6).await;
}

#[tokio::test]
async fn a_stream_that_fails_midway_ends_with_the_error_and_a_broken_connection() {
    let upstream =
        Upstream::spawn(|_| ollama::opened(&["Hel"]).piece(ollama::error_line("out of memory")));
    let gateway = spawn_gateway(Provider::ollama(&upstream).name("p")).await;
    for query in ["?alt=sse", ""] {
        let url = gateway.url(&path(&format!("streamGenerateContent{query}")));
        let pieces = stream(&url, &question()).await.rest().await;
        assert!(!pieces.ended_properly, "{query}: {}", pieces.text());
        let text = pieces.text();
        assert!(text.contains("Hel"), "{query}: {text}");
        let last = text.trim_end().rsplit("\r\n").next().unwrap();
        let last = last.trim_start_matches("data: ").trim_end_matches(']');
        let last: Value = serde_json::from_str(last).unwrap();
        assert!(last["error"]["code"].as_u64() >= Some(500), "{query}: {text}");
    }
    gateway.end(2).await;
}

#[tokio::test]
async fn gemini_is_told_what_a_vector_is_for() {
    let upstream = Upstream::spawn(|_| {
        Script::json(200, &json!({ "embeddings": [{ "values": [0.5] }, { "values": [1.0] }] }))
    });
    let provider = Provider::new("p", "gemini", upstream.url()).apis(Names::none());
    let gateway = spawn_gateway(provider).await;
    let text = |text: &str| {
        json!({ "model": "models/other", "content": { "parts": [{ "text": text }] },
            "taskType": "CLUSTERING", "output_dimensionality": 8 })
    };
    let body = json!({ "requests": [text("a"), text("b")] });
    let answer = post_json(&gateway.url(&path("batchEmbedContents")), &body).await;
    let vectors = json!({ "embeddings": [{ "values": [0.5] }, { "values": [1.0] }] });
    assert_eq!(answer.json(), vectors, "{}", answer.text());
    let call = &upstream.calls(1).await[0];
    assert_eq!(call.path, path("batchEmbedContents"));
    for (sent, said) in call.json()["requests"].as_array().unwrap().iter().zip(["a", "b"]) {
        assert_eq!(sent["model"], "models/llama3.1", "the path says which: {sent}");
        assert_eq!(sent["content"]["parts"][0]["text"], said, "{sent}");
        assert_eq!(sent["taskType"], "CLUSTERING", "{sent}");
        assert_eq!(sent["outputDimensionality"], 8, "{sent}");
    }
    gateway.end(1).await;
}

#[tokio::test]
async fn vectors_and_counts_are_had_and_models_listed() {
    let upstream = Upstream::spawn(|call| match call.path.as_str() {
        "/api/embed" => Script::json(
            200,
            &json!({ "embeddings": vec![[0.5, 1.0]; call.json()["input"].as_array().map_or(1, Vec::len)] }),
        ),
        "/api/tags" => {
            Script::json(200, &json!({ "models": [{ "name": "llama3.1", "model": "llama3.1" }] }))
        }
        _ => ollama::reply(call),
    });
    let gateway = spawn_gateway(Provider::ollama(&upstream).name("p")).await;
    let text = |text: &str| json!({ "content": { "parts": [{ "text": text }] } });
    let one = post_json(&gateway.url(&path("embedContent")), &text("a")).await;
    assert_eq!(one.json()["embedding"]["values"], json!([0.5, 1.0]), "{}", one.text());
    let batch = json!({ "requests": [text("a"), text("b")] });
    let batch = post_json(&gateway.url(&path("batchEmbedContents")), &batch).await;
    assert_eq!(batch.json()["embeddings"].as_array().map(Vec::len), Some(2), "{}", batch.text());
    let counted = post_json(&gateway.url(&path("countTokens")), &question()).await;
    assert!(counted.json()["totalTokens"].as_u64() > Some(0), "{}", counted.text());
    assert_eq!(counted.header("x-gateway-estimate"), Some("true"));
    let listed = get(&gateway.url("/v1beta/models?pageSize=1000")).await;
    let entry = listed.json()["models"][0].clone();
    assert_eq!(entry["name"], "models/llama3.1", "{}", listed.text());
    assert!(entry["supportedGenerationMethods"].to_string().contains("generateContent"));
    let found = get(&gateway.url("/v1beta/models/llama3.1")).await;
    assert_eq!(found.json(), entry, "{}", found.text());
    let lost = get(&gateway.url("/v1beta/models/absent")).await;
    assert_eq!((lost.status, &lost.json()["error"]["status"]), (404, &json!("NOT_FOUND")));
    gateway.end(6).await;
}
