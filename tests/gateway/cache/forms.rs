//! One cached answer in every form: whole or streamed, in any client's API.

use serde_json::{Value, json};

use super::{ask, fixed, keeping, numbered, said};
use crate::client::{post_json, stream};
use crate::crowd::press;
use crate::harness::{Cache, Config, Gateway, Provider, Route, Target, spawn_gateway};
use crate::upstream::{Call, Script, Upstream, ollama};

/// The same question in each client's form, with where the answer's text stands.
fn questions() -> [(&'static str, Value, &'static str); 5] {
    let messages = json!([{ "role": "user", "content": "hi" }]);
    let openai = json!({ "model": "llama3.1", "messages": messages, "temperature": 0 });
    let old = json!({ "model": "llama3.1", "messages": messages, "stream": false,
        "options": { "temperature": 0 } });
    let generate = json!({ "model": "llama3.1", "prompt": "hi", "stream": false,
        "options": { "temperature": 0.0 } });
    let responses = json!({ "model": "llama3.1", "input": "hi", "temperature": 0.0 });
    [
        ("/v1/chat", fixed("hi"), "/content"),
        ("/v1/chat/completions", openai, "/choices/0/message/content"),
        ("/v1/responses", responses, "/output/0/content/0/text"),
        ("/api/chat", old, "/message/content"),
        ("/api/generate", generate, "/response"),
    ]
}

/// The pieces of a native stream, and whether it ended as it should.
async fn pieces(gateway: &Gateway, body: &Value) -> (Vec<String>, Option<String>) {
    let mut body = body.clone();
    body["stream"] = true.into();
    let streamed = stream(&gateway.url("/v1/chat"), &body).await;
    let cache = streamed.header("x-gateway-cache").map(str::to_owned);
    let read = streamed.rest().await;
    assert!(read.ended_properly && read.text().contains("[DONE]"), "{}", read.text());
    let deltas = read.events().into_iter().filter_map(|(_, event)| {
        let event: Value = serde_json::from_str(&event).ok()?;
        event["delta"].as_str().map(str::to_owned)
    });
    (deltas.collect(), cache)
}

#[tokio::test]
async fn one_cached_answer_serves_clients_of_every_api() {
    let upstream = Upstream::spawn(numbered);
    let gateway = keeping(&upstream).await;
    for (index, (path, body, text)) in questions().into_iter().enumerate() {
        let answer = post_json(&gateway.url(path), &body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(answer.json().pointer(text), Some(&json!("call 0")), "{path}");
        let cache = if index == 0 { "miss" } else { "hit" };
        assert_eq!(answer.header("x-gateway-cache"), Some(cache), "{path}");
    }
    assert_eq!(upstream.calls_so_far().len(), 1);
    gateway.end(5).await;
}

#[tokio::test]
async fn a_cached_stream_is_replayed_as_a_stream_whichever_client_asked_first() {
    let upstream = Upstream::spawn(|call| ollama::reply_with(call, &["a", "b", "c"]));
    let gateway = keeping(&upstream).await;
    let whole = ask(&gateway, &fixed("whole first")).await;
    assert_eq!(whole.json()["content"], "abc");
    let (again, cache) = pieces(&gateway, &fixed("whole first")).await;
    assert_eq!((again.concat().as_str(), cache.as_deref()), ("abc", Some("hit")));
    let (first, cache) = pieces(&gateway, &fixed("stream first")).await;
    assert_eq!(cache.as_deref(), Some("miss"));
    let (again, cache) = pieces(&gateway, &fixed("stream first")).await;
    assert_eq!((again, cache.as_deref()), (first, Some("hit")));
    let whole = ask(&gateway, &fixed("stream first")).await;
    assert_eq!(whole.json()["content"], "abc");
    assert_eq!(whole.header("x-gateway-cache"), Some("hit"));
    gateway.end(5).await;
}

#[tokio::test]
async fn cached_tool_calls_and_dropped_fields_are_repeated() {
    let upstream = Upstream::spawn(|_| {
        let function = json!({ "name": "look", "arguments": { "city": "Rome" } });
        let message = json!({ "role": "assistant", "content": "",
            "tool_calls": [{ "function": function }] });
        let line = json!({ "model": ollama::MODEL, "message": message, "done": false });
        ollama::stream_head().piece(format!("{line}\n")).piece(ollama::done(1))
    });
    let gateway = keeping(&upstream).await;
    let tool = json!({ "type": "function", "function": { "name": "look" } });
    let body = json!({ "model": "llama3.1", "temperature": 0, "tools": [tool], "user": "u",
        "messages": [{ "role": "user", "content": "hi" }] });
    let url = gateway.url("/v1/chat/completions");
    let first = post_json(&url, &body).await;
    let again = post_json(&url, &body).await;
    assert_eq!(again.header("x-gateway-cache"), Some("hit"));
    assert_eq!(again.header("x-gateway-dropped"), Some("user"));
    assert_eq!(again.json()["choices"], first.json()["choices"]);
    assert_eq!(again.json()["choices"][0]["finish_reason"], "tool_calls");
    gateway.end(2).await;
}

#[tokio::test]
async fn vectors_are_cached_for_every_api() {
    fn vectors(call: &Call) -> Script {
        let number = call.number;
        Script::json(200, &json!({ "embeddings": [[0.1, number]], "prompt_eval_count": 3 }))
    }
    let upstream = Upstream::spawn(vectors);
    let gateway = keeping(&upstream).await;
    let body = json!({ "model": "m", "input": "a" });
    let url = gateway.url("/v1/embeddings");
    let first = post_json(&url, &body).await.json();
    let again = post_json(&url, &body).await;
    assert_eq!(again.header("x-gateway-cache"), Some("hit"));
    assert_eq!(again.json(), first);
    let ollama = post_json(&gateway.url("/api/embed"), &body).await;
    assert_eq!(ollama.header("x-gateway-cache"), Some("hit"));
    assert_eq!(ollama.json()["embeddings"], json!([[0.1, 0.0]]));
    let other = json!({ "model": "m", "input": "b" });
    let other = post_json(&gateway.url("/api/embed"), &other).await;
    assert_eq!(other.json()["embeddings"], json!([[0.1, 1]]));
    gateway.end(4).await;
}

#[tokio::test]
async fn an_answer_of_a_fallback_is_cached_for_the_model_that_gave_it() {
    let one = Upstream::spawn(|_| ollama::answer(&["first"]));
    let two = Upstream::spawn(|_| ollama::answer(&["second"]));
    let config = Config::new()
        .provider(Provider::ollama(&one).name("one"))
        .provider(Provider::ollama(&two).name("two"))
        .route(Route::new("quick", [Target::new("one", "a")]).fallback([Target::new("two", "b")]))
        .cache(Cache::default().ttl("1h"));
    let gateway = spawn_gateway(&config).await;
    let named = |model: &str| {
        let mut body = fixed("hi");
        body["model"] = model.into();
        body
    };
    press(&gateway, "providers/one/drain").await;
    let answer = ask(&gateway, &named("quick")).await;
    assert_eq!(said(&answer), ("second".into(), Some("miss")));
    assert_eq!(answer.header("x-gateway-provider"), Some("two"));
    let again = ask(&gateway, &named("two/b")).await;
    assert_eq!(said(&again), ("second".into(), Some("hit")));
    press(&gateway, "providers/one/resume").await;
    let primary = ask(&gateway, &named("quick")).await;
    assert_eq!(said(&primary), ("first".into(), Some("miss")));
    gateway.end(3).await;
}
