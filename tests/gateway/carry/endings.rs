//! Carried answers that fail, before and after their first event.

use llm_gateway::policy::OnCut;
use serde_json::json;

use crate::client::{post_bytes, stream_bytes};
use crate::harness::{Config, Provider, Retry, Route, Target, spawn_gateway};
use crate::upstream::{Script, Upstream, anthropic, ollama, openai};

const CHAT: &str =
    r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true,"new":1}"#;

#[tokio::test]
async fn a_carried_stream_without_its_end_is_never_whole() {
    let end = "data: {\"choices\":[{\"delta\":{\"content\":\"half";
    let upstream = Upstream::spawn(move |_| openai::opened(&["a"]).piece(end));
    let gateway = spawn_gateway(Provider::openai("own", &upstream)).await;
    let url = gateway.url("/v1/chat/completions");
    let pieces = stream_bytes(&url, &[], CHAT).await.rest().await;
    assert!(!pieces.ended_properly, "{}", pieces.text());
    let events = pieces.events();
    let last: serde_json::Value = serde_json::from_str(&events.last().unwrap().1).unwrap();
    assert!(last["error"]["message"].is_string(), "{last}");
    assert!(!pieces.text().contains("half") && !pieces.text().contains("[DONE]"));
    gateway.end(1).await;
}

#[tokio::test]
async fn an_anthropic_stream_that_breaks_off_ends_with_its_error_event() {
    let upstream = Upstream::spawn(|_| anthropic::opened(&["a"]));
    let gateway = spawn_gateway(Provider::new("own", "anthropic", upstream.url())).await;
    let body = r#"{"model":"m","max_tokens":9,"messages":[],"stream":true,"new":1}"#;
    let pieces = stream_bytes(&gateway.url("/v1/messages"), &[], body).await.rest().await;
    assert!(!pieces.ended_properly, "{}", pieces.text());
    assert_eq!(pieces.events().last().unwrap().0, "error", "{}", pieces.text());
    gateway.end(1).await;
}

#[tokio::test]
async fn a_failure_before_the_first_event_is_retried_unseen() {
    let role = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"}}]}\n\n";
    let error = "data: {\"error\":{\"message\":\"out of order\",\"code\":500}}\n\n";
    for first in [role.to_owned(), format!("{role}{error}")] {
        let upstream = Upstream::spawn(move |call| match call.number {
            0 => Script::status(200).piece(first.clone()),
            _ => openai::answer(&["a"]),
        });
        let url = format!("{}/v1", upstream.url());
        let gateway = spawn_gateway(
            Provider::new("own", "openai", &url)
                .retry(Retry::default().backoff("1ms").max_backoff("1ms")),
        )
        .await;
        let url = gateway.url("/v1/chat/completions");
        let streamed = stream_bytes(&url, &[], CHAT).await;
        assert_eq!(streamed.header("x-gateway-attempts"), Some("2"));
        let pieces = streamed.rest().await;
        assert!(pieces.ended_properly && !pieces.text().contains("\"role\""), "{}", pieces.text());
        gateway.end(1).await;
    }
}

#[tokio::test]
async fn a_carried_stream_that_breaks_off_continues_with_another_providers_words() {
    let dies = Upstream::spawn(|_| openai::opened(&["Hel", "lo"]));
    let other = Upstream::spawn(|call| ollama::reply_with(call, &["Hello", " there"]));
    let gateway = spawn_gateway(
        Config::new()
            .provider(Provider::openai("own", &dies))
            .provider(Provider::ollama(&other))
            .route(
                Route::new("m", [Target::new("own", "m")])
                    .fallback([Target::new("ollama", "m")])
                    .on_cut(OnCut::Resume),
            ),
    )
    .await;
    let url = gateway.url("/v1/chat/completions");
    let body = CHAT.replace("\"new\":1", "\"max_tokens\":50");
    let pieces = stream_bytes(&url, &[], &body).await.rest().await;
    assert!(pieces.ended_properly, "{}", pieces.text());
    let events = pieces.events();
    let said = events.iter().filter_map(|(_, data)| {
        let event: serde_json::Value = serde_json::from_str(data).ok()?;
        Some(event["choices"][0]["delta"]["content"].as_str()?.to_owned())
    });
    assert_eq!(said.collect::<String>(), "Hello there");
    gateway.end(1).await;
}

#[tokio::test]
async fn a_whole_answer_that_breaks_off_is_requested_again() {
    let upstream = Upstream::spawn(|call| match call.number {
        0 => openai::whole(&["a"]).cut_at(20),
        _ => openai::whole(&["b"]),
    });
    let gateway = spawn_gateway(
        Provider::openai("own", &upstream)
            .retry(Retry::default().backoff("1ms").max_backoff("1ms")),
    )
    .await;
    let url = gateway.url("/v1/chat/completions");
    let answer = post_bytes(&url, &[], r#"{"model":"m","messages":[],"new":1}"#).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["id"], "chatcmpl-scripted");
    assert_eq!(upstream.calls_so_far().len(), 2);
    gateway.end(1).await;
}

#[tokio::test]
async fn a_providers_refusal_comes_in_its_own_words() {
    let upstream = Upstream::spawn(|_| openai::error(400, "invalid_request_error", "no such tea"));
    let gateway = spawn_gateway(Provider::openai("own", &upstream)).await;
    let url = gateway.url("/v1/chat/completions");
    let answer = post_bytes(&url, &[], CHAT).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["error"]["message"], json!("no such tea"));
    gateway.end(1).await;
}
