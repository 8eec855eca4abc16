//! Providers that cannot be reached or refuse: the resulting status, the message, and what is never
//! retried.

use serde_json::json;

use super::{chat_with, check_error, model_of, once, quick, retry_after, streamed_with};
use crate::client::{post_json, stream};
use crate::harness::{Timeouts, spawn_gateway};
use crate::upstream::{Script, Upstream, black_hole, ollama, refusing};

#[tokio::test]
async fn a_refused_connection_is_502_and_says_how_to_start_the_provider() {
    let nobody = refusing();
    let gateway = spawn_gateway(quick(nobody.url())).await;
    for chat in [chat_with("llama3.1"), streamed_with("llama3.1")] {
        let answer = post_json(&gateway.url("/v1/chat"), &chat).await;
        let said = check_error(&answer, 502, "bad_upstream");
        assert!(said.contains("connection refused") && said.contains("`ollama serve`"), "{said}");
        assert!(!said.contains(&nobody.address().to_string()), "{said}");
        assert_eq!(answer.header("x-gateway-attempts"), Some("3"));
        assert_eq!(answer.header("x-should-retry"), Some("false"));
    }
    gateway.end(2).await;
}

#[tokio::test]
async fn a_provider_that_does_not_take_connections_is_given_up_in_time() {
    let hole = black_hole();
    let timeouts = Timeouts::default().connect("300ms");
    let gateway = spawn_gateway(once(hole.url()).timeouts(timeouts)).await;
    let answer = post_json(&gateway.url("/v1/chat"), &chat_with("llama3.1")).await;
    let said = check_error(&answer, 502, "bad_upstream");
    assert!(said.contains("connecting took too long"), "{said}");
    gateway.end(1).await;
}

#[tokio::test]
async fn a_model_that_is_not_installed_is_404_in_ollamas_words_with_the_remedy() {
    let upstream = Upstream::spawn(|call| {
        ollama::error(404, &format!("model '{}' not found", model_of(call)))
    });
    let gateway = spawn_gateway(quick(upstream.url())).await;
    for chat in [chat_with("nope"), streamed_with("nope")] {
        let answer = post_json(&gateway.url("/v1/chat"), &chat).await;
        let said = check_error(&answer, 404, "model_not_found");
        assert!(said.starts_with("model 'nope' not found"), "{said}");
        assert!(said.contains("`ollama pull nope`"), "{said}");
        assert_eq!(answer.header("x-gateway-model"), Some("nope"));
        assert_eq!(answer.header("x-gateway-attempts"), Some("1"));
    }
    assert_eq!(upstream.calls_so_far().len(), 2);
    gateway.end(2).await;
}

#[tokio::test]
async fn a_request_that_the_provider_rejects_is_400_in_its_words_and_not_retried() {
    let upstream = Upstream::spawn(|_| ollama::error(400, "\"nope\" does not support tools"));
    let gateway = spawn_gateway(quick(upstream.url())).await;
    let answer = post_json(&gateway.url("/v1/chat"), &chat_with("nope")).await;
    let said = check_error(&answer, 400, "invalid_request");
    assert!(said.contains("does not support tools"), "{said}");
    assert_eq!(upstream.calls_so_far().len(), 1);
    gateway.end(1).await;
}

#[tokio::test]
async fn a_provider_that_refuses_the_gateways_key_is_502_once_and_then_not_called() {
    {
        // The list of models is refused as well, so it is about the credentials.
        let upstream =
            Upstream::spawn_whole(|_| ollama::error(401, "the token sk-planted is not valid"));
        let gateway = spawn_gateway(quick(upstream.url())).await;
        let answer = post_json(&gateway.url("/v1/chat"), &chat_with("llama3.1")).await;
        let said = check_error(&answer, 502, "bad_upstream");
        assert!(said.contains("credentials") && !said.contains("sk-planted"), "{said}");
        assert_eq!(answer.header("x-gateway-attempts"), Some("1"));
        assert_eq!(answer.header("x-should-retry"), Some("false"));
        let answer = post_json(&gateway.url("/v1/chat"), &chat_with("llama3.1")).await;
        check_error(&answer, 503, "provider_unavailable");
        retry_after(&answer);
        let chats = upstream.calls_so_far().into_iter().filter(|call| call.path == "/api/chat");
        assert_eq!(chats.count(), 1);
        gateway.end(2).await;
    }
}

#[tokio::test]
async fn an_address_that_is_not_ollama_s_is_distinguished_from_a_missing_model() {
    let upstream = Upstream::spawn(|call| match call.path.starts_with("/v1/") {
        true => {
            Script::status(404).header("content-type", "text/plain").piece("404 page not found")
        }
        false => ollama::reply(call),
    });
    let gateway = spawn_gateway(quick(format!("{}/v1", upstream.url()))).await;
    let answer = post_json(&gateway.url("/v1/chat"), &chat_with("llama3.1")).await;
    let said = check_error(&answer, 502, "bad_upstream");
    assert!(said.contains("base_url") && said.contains("/v1"), "{said}");
    assert!(!said.contains("ollama pull"), "{said}");
    gateway.end(1).await;
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let elsewhere = Upstream::ollama();
    let target = format!("{}/api/chat", elsewhere.url());
    let upstream =
        Upstream::spawn(move |call| Script::redirect(model_of(call).parse().unwrap(), &target));
    let gateway = spawn_gateway(quick(upstream.url())).await;
    let codes = ["301", "302", "303", "307", "308"];
    for code in codes {
        let answer = post_json(&gateway.url("/v1/chat"), &chat_with(code)).await;
        let said = check_error(&answer, 502, "bad_upstream");
        assert!(!said.contains("http"), "{said}");
        assert_eq!(answer.header("location"), None);
    }
    assert_eq!(upstream.calls_so_far().len(), codes.len());
    assert_eq!(elsewhere.calls_so_far().len(), 0);
    gateway.end(codes.len()).await;
}

#[tokio::test]
async fn a_load_without_a_prompt_is_an_answer_without_content() {
    let loaded = json!({ "model": "llama3.1", "created_at": "2026-11-22T10:00:00Z", "done": true,
        "message": { "role": "assistant", "content": "" }, "done_reason": "load" });
    let upstream = Upstream::spawn(move |_| Script::json(200, &loaded));
    let gateway = spawn_gateway(quick(upstream.url())).await;
    let url = gateway.url("/v1/chat");
    let answer = post_json(&url, &chat_with("llama3.1")).await.json();
    assert_eq!((&answer["content"], &answer["finish_reason"]), (&json!(""), &json!("stop")));
    let nothing = json!({ "prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0 });
    assert_eq!(answer["usage"], nothing);
    let pieces = stream(&url, &streamed_with("llama3.1")).await.rest().await;
    assert!(pieces.ended_properly);
    let events = pieces.events();
    assert_eq!(events.len(), 2, "{events:?}");
    assert!(events[0].1.contains("\"finish_reason\":\"stop\"") && events[1].1 == "[DONE]");
    gateway.end(2).await;
}
