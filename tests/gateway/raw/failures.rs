//! What a provider's failure means for a request that is passed on: the same as for a chat.

use serde_json::json;

use super::{lister, said};
use crate::client::{Answer, post_bytes};
use crate::harness::{Breaker, Config, Gateway, Retry, Route, Target, spawn_gateway};
use crate::upstream::{Script, Upstream};

async fn ask(gateway: &Gateway, body: &str) -> Answer {
    post_bytes(&gateway.url("/v1/audio/speech"), &[], body).await
}

#[tokio::test]
async fn refusals_reach_the_client_with_the_provider_s_words() {
    let upstream = Upstream::spawn(|call| {
        let body = call.json();
        let status = u16::try_from(body["status"].as_u64().unwrap()).unwrap();
        Script::json(status, &json!({"error": {"message": "no such voice: zork", "code": "x"}}))
            .header("retry-after", "1")
    });
    let breaker = Breaker::default().failures(100);
    let provider = lister("own", &upstream).no_retries().breaker(breaker);
    let gateway = spawn_gateway(provider).await;
    let mut sent = 0;
    for (theirs, ours, has_words) in [
        (400, 400, true),
        (404, 404, true),
        (413, 400, true),
        (415, 400, true),
        (422, 400, true),
        (403, 403, true),
        (401, 502, false),
        (500, 502, true),
        (501, 501, true),
        (502, 502, true),
        (503, 503, true),
        (504, 504, true),
    ] {
        let body = json!({"model": format!("m{theirs}"), "status": theirs}).to_string();
        let answer = ask(&gateway, &body).await;
        assert_eq!(answer.status, ours, "{theirs}: {}", answer.text());
        assert_eq!(
            answer.text().contains("no such voice"),
            has_words,
            "{theirs}: {}",
            answer.text()
        );
        assert_eq!(answer.header("x-gateway-provider"), Some("own"));
        sent += 1;
    }
    let limited = ask(&gateway, r#"{"model":"m429","status":429}"#).await;
    assert_eq!(limited.status, 429);
    assert!(limited.header("retry-after").is_some());
    gateway.end(sent + 1).await;
}

#[tokio::test]
async fn what_failed_before_its_answer_is_tried_again_and_then_elsewhere() {
    let upstream = Upstream::spawn(|call| match call.number {
        0 => Script::status(500).piece("one"),
        1 => Script::status(200).piece("second"),
        2 | 3 => Script::hang_up(),
        _ => Script::status(200).piece("late"),
    });
    let other = Upstream::spawn(said);
    let own = lister("own", &upstream).retry(Retry::default().backoff("1ms")).models(["a*"]);
    let route = Route::new("alias", [Target::new("own", "a")]);
    let config = Config::new()
        .providers([own, lister("two", &other).models(["x"])])
        .route(route.fallback([Target::new("two", "b")]));
    let gateway = spawn_gateway(config).await;
    let answer = ask(&gateway, r#"{"model":"a","input":"1"}"#).await;
    assert_eq!(
        (answer.text().as_str(), answer.header("x-gateway-attempts")),
        ("second", Some("2"))
    );
    let answer = ask(&gateway, r#"{"model":"alias","input":"2"}"#).await;
    assert_eq!(answer.json(), json!({"text": "hello"}));
    assert_eq!(answer.header("x-gateway-provider"), Some("two"));
    // Each gets its own model's name, whatever the one before was told.
    assert_eq!(upstream.calls_so_far()[2].body, r#"{"model":"a","input":"2"}"#);
    assert_eq!(other.calls_so_far()[0].body, r#"{"model":"b","input":"2"}"#);
    gateway.end(2).await;
}

#[tokio::test]
async fn a_breaker_opens_on_different_requests_and_says_why() {
    let upstream = Upstream::spawn(|_| Script::status(500).piece("cuda error"));
    let breaker = Breaker::default().failures(3).open("60s");
    let provider = lister("own", &upstream).no_retries().breaker(breaker);
    let gateway = spawn_gateway(provider).await;
    for number in 0..3 {
        assert_eq!(ask(&gateway, &format!(r#"{{"model":"m","n":{number}}}"#)).await.status, 502);
    }
    let refused = ask(&gateway, r#"{"model":"m","n":9}"#).await;
    assert_eq!((refused.status, upstream.calls_so_far().len()), (503, 3), "{}", refused.text());
    assert_eq!(refused.header("x-gateway-reason"), Some("breaker_open"));
    assert!(refused.header("retry-after").is_some());
    gateway.end(4).await;
}

#[tokio::test]
async fn a_form_that_kills_its_model_is_recognised_with_another_boundary() {
    let upstream = Upstream::spawn(|_| Script::hang_up());
    let breaker = Breaker::default().failures(1000);
    let provider = lister("own", &upstream).no_retries().breaker(breaker);
    let gateway = spawn_gateway(provider).await;
    let send = async |boundary: &str, content: &str| {
        let body = format!(
            "--{boundary}\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nm\r\n--{boundary}\r\n\
             content-disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n{content}\r\n--{boundary}--\r\n"
        );
        let kind = format!("multipart/form-data; boundary={boundary}");
        let url = gateway.url("/v1/audio/transcriptions");
        crate::client::send("POST", &url, &[("content-type", &*kind)], body).await
    };
    for boundary in ["aaaa", "bbbb", "cccc"] {
        assert_eq!(send(boundary, "killer").await.status, 502);
    }
    let again = send("dddd", "killer").await;
    assert_eq!(again.header("x-gateway-reason"), Some("quarantined"), "{}", again.text());
    assert_eq!(upstream.calls_so_far().len(), 3);
    assert_eq!(send("eeee", "harmless").await.header("x-gateway-reason"), None);
    gateway.end(5).await;
}

#[tokio::test]
async fn no_words_that_quote_a_request_are_logged() {
    let upstream = Upstream::spawn(|_| {
        Script::json(500, &json!({"error": "cannot say: the neighbour's secret number"}))
    });
    let gateway = spawn_gateway(lister("own", &upstream).no_retries()).await;
    let body = r#"{"model":"m","input":"the neighbour's secret number"}"#;
    let answer = ask(&gateway, body).await;
    assert_eq!(answer.status, 502);
    assert!(answer.text().contains("secret number"), "{}", answer.text());
    gateway.adds_up(1).await;
    assert!(!gateway.log_lines().join("\n").contains("secret number"));
    gateway.end(1).await;
}
