//! How providers say that answers end: a reason that is not known to mean "complete" is a failure,
//! midway as well as before any text, from every kind of provider.

use serde_json::{Value, json};

use crate::client::{post_json, stream};
use crate::harness::{Config, Provider, Route, Target, spawn_gateway};
use crate::upstream::{Script, Upstream, anthropic, gemini, ollama, openai};

/// A kind of provider, its answer before the end, and the end with its own reason.
type Ending = (&'static str, &'static str, fn(&[&str]) -> Script, fn(&str) -> String);

const ENDINGS: [Ending; 4] = [
    ("ollama", "abort", ollama::opened, |reason| {
        let message = json!({ "role": "assistant", "content": "" });
        format!("{}\n", json!({ "message": message, "done": true, "done_reason": reason }))
    }),
    ("openai", "abort", openai::opened, |reason| {
        let choice = json!({ "index": 0, "delta": {}, "finish_reason": reason });
        format!("data: {}\n\ndata: [DONE]\n\n", json!({ "choices": [choice] }))
    }),
    ("gemini", "MALFORMED_FUNCTION_CALL", gemini::opened, |reason| {
        let candidate = json!({ "content": {}, "finishReason": reason, "index": 0 });
        format!("data: {}\n\n", json!({ "candidates": [candidate] }))
    }),
    ("anthropic", "error", anthropic::opened, |reason| {
        let delta = json!({ "stop_reason": reason, "stop_sequence": null });
        let end =
            json!({ "type": "message_delta", "delta": delta, "usage": { "output_tokens": 2 } });
        format!("data: {end}\n\ndata: {{\"type\": \"message_stop\"}}\n\n")
    }),
];

/// A chat with a model whose name is the provider's text before its end.
fn asked(model: &str, is_streamed: bool) -> Value {
    let messages = json!([{ "role": "user", "content": "hi" }]);
    json!({ "model": model, "messages": messages, "stream": is_streamed })
}

#[tokio::test]
async fn a_reason_that_is_not_known_to_mean_whole_is_a_failure_of_every_kind_of_provider() {
    for (backend, reason, opened, end) in ENDINGS {
        let upstream = Upstream::spawn(move |call| match call.number {
            0 => opened(&["Hel", "lo"]).piece(end(reason)),
            _ => opened(&[]).piece(end(reason)),
        });
        let config = Provider::new("one", backend, upstream.url()).no_retries();
        let gateway =
            spawn_gateway(Config::new().provider(config).default_providers(["one"])).await;
        let url = gateway.url("/v1/chat");
        let pieces = stream(&url, &asked("m", true)).await.rest().await;
        let said = pieces.text();
        assert!(!pieces.ended_properly && !said.contains("[DONE]"), "{backend}: {said}");
        assert!(said.contains("\"Hel\"") && said.contains("event: error"), "{backend}: {said}");
        assert!(!said.contains("finish_reason"), "{backend}: {said}");
        for is_streamed in [true, false] {
            let answer = post_json(&url, &asked("m", is_streamed)).await;
            let told = answer.text();
            assert_eq!(answer.status, 502, "{backend}: {told}");
            assert!(told.contains(reason) && told.contains("bad_upstream"), "{backend}: {told}");
        }
        gateway.end(3).await;
    }
}

#[tokio::test]
async fn an_aborted_answer_continues_at_another_provider() {
    for (backend, reason, opened, end) in ENDINGS {
        let first = Upstream::spawn(move |_| opened(&["Hel", "lo"]).piece(end(reason)));
        let second = Upstream::spawn(|_| openai::answer(&["Hello", ", world"]));
        let route = Route::new("chat", [Target::new("one", "a")]);
        let config = Config::new()
            .provider(Provider::new("one", backend, first.url()).no_retries())
            .provider(Provider::new("other", "openai", second.url()).no_retries())
            .route(route.fallback([Target::new("other", "b")]));
        let gateway = spawn_gateway(config).await;
        let url = gateway.url("/v1/chat");
        let pieces = stream(&url, &asked("chat", true)).await.rest().await;
        let said = pieces.text();
        assert!(pieces.ended_properly && said.contains("[DONE]"), "{backend}: {said}");
        assert!(said.contains("\", world\""), "{backend}: {said}");
        let whole = post_json(&url, &asked("chat", false)).await;
        assert_eq!(whole.json()["content"], "Hello, world", "{backend}");
        gateway.end(2).await;
    }
}
