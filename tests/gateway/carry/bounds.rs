//! Limits of all requests also apply to carried ones.

use serde_json::json;

use super::answered;
use crate::client::{post_bytes, post_json_with, stream_bytes};
use crate::harness::{Breaker, Config, Key, Provider, Route, Target, Timeouts, spawn_gateway};
use crate::upstream::{Script, Upstream, ollama, openai};

const KEY: [(&str, &str); 1] = [("authorization", "Bearer sk-a")];

#[tokio::test]
async fn the_tokens_of_a_carried_answer_count_towards_the_limits_of_its_key() {
    let upstream = Upstream::spawn(answered);
    let url = format!("{}/v1", upstream.url());
    let gateway = spawn_gateway(
        Config::new()
            .provider(Provider::new("own", "openai", &url))
            .key(Key::new("a").tokens_per_day(1000)),
    )
    .await;
    let ask =
        json!({ "model": "m", "messages": [{ "role": "new", "content": "hi" }], "max_tokens": 50 });
    let url = gateway.url("/v1/chat/completions");
    let left = async || {
        let answer = post_json_with(&url, &KEY, &ask).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let left = answer.header("x-ratelimit-remaining-tokens").unwrap();
        left.parse::<u64>().unwrap()
    };
    // Before each answer what it may cost is set aside; of the one before only the five it cost are
    // gone.
    let (first, second) = (left().await, left().await);
    assert_eq!(first - second, 5);
    gateway.end(2).await;
}

#[tokio::test]
async fn requests_that_the_gateway_does_not_understand_are_distinguished() {
    let upstream = Upstream::spawn(|call| match call.json()["picture"].as_str().unwrap() {
        picture if picture.starts_with('A') => Script::hang_up(),
        _ => openai::whole(&["hi"]),
    });
    let gateway = spawn_gateway(
        Provider::openai("own", &upstream).no_retries().breaker(Breaker::default().failures(1000)),
    )
    .await;
    let url = gateway.url("/v1/chat/completions");
    let ask = async |letter: &str| {
        let body = json!({ "model": "m", "messages": 7, "picture": letter.repeat(9000) });
        post_bytes(&url, &[], &body.to_string()).await.status
    };
    for _ in 0..5 {
        assert_eq!(ask("A").await, 502);
    }
    let calls = upstream.calls_so_far().len();
    assert_eq!(ask("A").await, 502);
    assert_eq!(upstream.calls_so_far().len(), calls, "it is in quarantine");
    assert_eq!(ask("B").await, 200);
    gateway.end(7).await;
}

#[tokio::test]
async fn what_must_stay_local_is_carried_to_local_providers_only() {
    let (near, far) = (Upstream::spawn(ollama::reply), Upstream::spawn(answered));
    let gateway = spawn_gateway(
        Config::new()
            .provider(Provider::openai("far", &far))
            .provider(Provider::ollama(&near).name("near"))
            .route(Route::new("m", [Target::new("far", "m")]).fallback([Target::new("near", "m")])),
    )
    .await;
    let url = gateway.url("/v1/chat/completions");
    let local = [("x-gateway-data-policy", "local")];
    let plain = r#"{"model":"m","messages":[{"role":"user","content":"a"}]}"#;
    let answer = post_bytes(&url, &local, plain).await;
    assert_eq!((answer.status, answer.header("x-gateway-provider")), (200, Some("near")));
    // What could only be carried there is refused and goes nowhere.
    let refused = post_bytes(&url, &local, r#"{"model":"m","messages":7}"#).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(far.calls_so_far().is_empty());
    gateway.end(2).await;
}

#[tokio::test]
async fn a_carried_stream_that_stalls_ends_with_an_error() {
    let upstream = Upstream::spawn(|_| openai::opened(&["Hel"]).stall());
    let gateway = spawn_gateway(
        Provider::openai("own", &upstream).timeouts(Timeouts::default().idle("200ms")).no_retries(),
    )
    .await;
    let body = r#"{"model":"m","messages":[],"stream":true}"#;
    let pieces = stream_bytes(&gateway.url("/v1/chat/completions"), &[], body).await.rest().await;
    assert!(!pieces.ended_properly && pieces.text().contains("stalled"), "{}", pieces.text());
    assert!(!upstream.left(0).await.answered);
    gateway.end(1).await;
}
