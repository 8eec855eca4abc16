//! Models that should continue an answer and refuse the beginning that they are given.

use serde_json::json;

use super::{asked, dies, ollama_at, read, with_route};
use crate::client::stream;
use crate::harness::{Config, Provider, Target, spawn_gateway};
use crate::upstream::{Call, Script, Upstream, anthropic, ollama};

/// Whether the call ends with an assistant message.
fn is_prefilled(call: &Call) -> bool {
    let messages = call.json()["messages"].clone();
    let last = messages.as_array().and_then(|messages| messages.last().cloned());
    last.is_some_and(|last| last["role"] == "assistant")
}

/// A second provider of this kind that refuses to continue, and answers this when it is asked from
/// the start.
fn refusing(backend: &str, pieces: &'static [&'static str]) -> Upstream {
    let said = "This model does not support assistant message prefill.";
    match backend {
        "anthropic" => Upstream::spawn(move |call| match is_prefilled(call) {
            true => anthropic::error(400, "invalid_request_error", said),
            false => anthropic::answer(pieces),
        }),
        _ => Upstream::spawn(move |call| match is_prefilled(call) {
            true => Script::json(400, &json!({ "error": said })),
            false => ollama::answer(pieces),
        }),
    }
}

/// A route to one that dies and to another of this kind.
fn config(first: &Upstream, backend: &str, second: &Upstream) -> Config {
    let model = if backend == "anthropic" { "claude-3-5-haiku" } else { "llama3.1" };
    let one = ollama_at("first", first);
    let other = Provider::new("second", backend, second.url());
    with_route([one, other], |route| route.fallback([Target::new("second", model)]))
}

#[tokio::test]
async fn a_model_that_refuses_to_continue_is_asked_from_the_start_and_compared() {
    for backend in ["ollama", "anthropic"] {
        for (pieces, expected) in [
            (&["Hel", "lo, wor", "ld"][..], ("Hello, world", 0, 1)),
            (&["Another", " answer"], ("Hello", 1, 0)),
        ] {
            let (first, second) = (dies(), refusing(backend, pieces));
            let gateway = spawn_gateway(&config(&first, backend, &second)).await;
            let answer = stream(&gateway.url("/v1/chat"), &asked()).await.rest().await;
            let (text, errors, ends) = read(&answer);
            assert_eq!(
                (text.as_str(), errors.len(), ends),
                expected,
                "{backend}: {}",
                answer.text()
            );
            assert_eq!(answer.ended_properly, ends == 1);
            let calls: Vec<bool> = second.calls(2).await.iter().map(is_prefilled).collect();
            assert_eq!(calls, [true, false], "{backend}");
            gateway.adds_up(1).await;
            assert_eq!(gateway.access_lines()[0].fields["attempts"], "3");
            gateway.end(1).await;
        }
    }
}

#[tokio::test]
async fn a_provider_that_refuses_the_request_itself_is_not_asked_a_third_time() {
    let (first, second) = (dies(), Upstream::spawn(|_| ollama::error(400, "what is this")));
    let gateway = spawn_gateway(&config(&first, "ollama", &second)).await;
    let answer = stream(&gateway.url("/v1/chat"), &asked()).await.rest().await;
    let (text, errors, ends) = read(&answer);
    assert_eq!((text.as_str(), errors, ends), ("Hello", vec!["bad_upstream".to_owned()], 0));
    assert_eq!(second.calls(2).await.len(), 2);
    gateway.end(1).await;
}
