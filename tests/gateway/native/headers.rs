//! Headers that name the provider and the request, and those by which a client limits it.

use std::time::Duration;

use super::{check_error, gateway_for};
use crate::client::{chat, post_json, post_json_with, stream, streamed_chat};
use crate::upstream::{Upstream, ollama};

#[tokio::test]
async fn every_answer_names_its_provider() {
    let upstream = Upstream::ollama();
    let gateway = gateway_for(&upstream).await;
    let answer = post_json(&gateway.url("/v1/chat"), &chat("hi")).await;
    let streamed = stream(&gateway.url("/v1/chat"), &streamed_chat("hi")).await;
    for (name, value) in [
        ("x-gateway-provider", "ollama"),
        ("x-gateway-model", "llama3.1"),
        ("x-gateway-attempts", "1"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
        assert_eq!(streamed.header(name), Some(value), "{name}");
    }
    for waited in [answer.header("x-gateway-queue-ms"), streamed.header("x-gateway-queue-ms")] {
        assert!(waited.unwrap().parse::<u64>().is_ok());
    }
    assert!(streamed.rest().await.ended_properly);
    // No provider was chosen for a request that is refused before.
    let answer = post_json(&gateway.url("/v1/chat"), &serde_json::json!({})).await;
    assert_eq!((answer.status, answer.header("x-gateway-provider")), (422, None));
    gateway.end(3).await;
}

#[tokio::test]
async fn a_sane_request_id_is_kept_and_another_is_replaced() {
    let upstream = Upstream::ollama();
    let gateway = gateway_for(&upstream).await;
    let url = gateway.url("/v1/chat");
    let long = "x".repeat(129);
    let longest = "x".repeat(128);
    let cases = [
        ("req_01-a.b:c/d", true),
        ("0f8fad5b-d9cb-469f-a165-70867728950e", true),
        (longest.as_str(), true),
        ("", false),
        ("a b", false),
        ("<script>", false),
        ("a\"b", false),
        (long.as_str(), false),
    ];
    for (index, (own, is_kept)) in cases.into_iter().enumerate() {
        let answer = post_json_with(&url, &[("x-request-id", own)], &chat("hi")).await;
        let id = answer.header("x-request-id").unwrap();
        assert_eq!(id == own, is_kept, "{own}: {id}");
        assert!(is_kept || id.parse::<uuid::Uuid>().is_ok(), "{id}");
        // The provider's log and ours speak of the same request.
        assert_eq!(upstream.calls_so_far()[index].header("x-request-id"), Some(id));
        assert!(gateway.logged(&format!("request_id={id} ")).await.contains("outcome=ok"));
    }
    gateway.end(cases.len()).await;
}

#[tokio::test]
async fn a_clients_deadline_is_a_positive_number_of_milliseconds() {
    let upstream =
        Upstream::spawn(|call| ollama::reply(call).head_pause(Duration::from_millis(50)));
    let gateway = gateway_for(&upstream).await;
    let url = gateway.url("/v1/chat");
    for good in ["60000", "99999999999"] {
        let answer = post_json_with(&url, &[("x-request-timeout-ms", good)], &chat("hi")).await;
        assert_eq!(answer.status, 200, "{good}: {}", answer.text());
    }
    let nonsense = ["0", "-1", "1.5", "1s", "soon", ""];
    for bad in nonsense {
        let answer = post_json_with(&url, &[("x-request-timeout-ms", bad)], &chat("hi")).await;
        let detail = check_error(&answer, 400, "invalid_request");
        assert!(detail.as_str().unwrap().contains("x-request-timeout-ms"), "{detail}");
    }
    assert_eq!(upstream.calls_so_far().len(), 2);
    gateway.end(2 + nonsense.len()).await;
}
